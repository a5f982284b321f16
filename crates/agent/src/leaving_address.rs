//! How an address leaves this host: its clients learn of it at once, and it stays on no interface.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mmm_net::{Addresses, Error, end_connections};

/// From the first step on nothing for the address is delivered here any more, so that a client that was reset can't
/// come back before the address is gone; `deaf` is called then. To be followed by [`drop_everywhere`], whatever
/// becomes of this.
pub(crate) async fn turn_clients_away(
    kernel: &Addresses,
    interface: &str,
    ip: IpAddr,
    deaf: impl FnOnce(),
) -> Result<(), Error> {
    kernel.stop_receiving(interface, ip).await?;
    deaf();
    let ended = end_connections(ip).await?;
    tracing::debug!("Reset {ended} connections to {ip}");
    Ok(())
}

/// Somebody may have put the address on another interface; it must not answer there either.
pub(crate) async fn drop_everywhere(kernel: &Addresses, interface: &str, ip: IpAddr) -> Result<(), Error> {
    let held = kernel.list().await?;
    let mut interfaces: BTreeSet<&str> =
        held.iter().filter(|held| held.ip == ip).map(|held| held.interface.as_str()).collect();
    interfaces.insert(interface);
    for interface in interfaces {
        kernel.remove(interface, ip).await?;
    }
    Ok(())
}
