//! All addresses of a host given their lifetimes in one go, for whoever may have them only for so long.
//!
//! Where less is left than the kernel can count, nothing that would stay longer is left behind.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;

use super::{Addresses, CAPABILITY, dump, host_address, is_ours, lifetime_of, remove_entry, whole_seconds};
use crate::error::{Error, Operation, Result};
use crate::interface::index_of;
use crate::netlink_socket::NetlinkSocket;

/// What became of one address in [`Addresses::hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is there, with our mark and what was asked for.
    Set,
    /// It is there and has longer left than was asked for: it was left as it is.
    RunsOutLater,
    /// Less than a second was asked for: it is there and runs out by a lifetime it was given before.
    RunsOut,
    /// Less than a second was asked for: it would have stayed for ever, and has been taken off.
    TakenOff,
    /// Less than a second was asked for, and it is not there.
    NotThere,
}

impl Addresses {
    /// Gives each address on `interface` what is left of its time, and says in the same order what became of it.
    ///
    /// - `None`: it is put there, or stays, for ever.
    /// - A second or more: it is put there, or stays, for so many whole seconds, with our mark. One that runs out later
    ///   than that keeps its time: what was promised for it once still holds, and whole seconds that are counted anew
    ///   from a moment in between would take up to one of them away.
    /// - Less than a second, which the kernel can't count: one that runs out already is left to it, one that would
    ///   stay for ever is taken off, one that is not there is not put there.
    ///
    /// Each is tried even after another one failed; then the first error is returned. As with [`add`](Self::add), an
    /// IPv4 entry with another prefix length is left alone where a second or more was asked for.
    pub async fn hold(&self, interface: &str, wanted: &[(IpAddr, Option<Duration>)]) -> Result<Vec<Held>> {
        let interface = interface.to_owned();
        let wanted = wanted.to_vec();
        let operation = Operation::HoldAddresses { interface: interface.clone() };
        self.run(operation.clone(), move |netlink| {
            let index = index_of(netlink.socket(), &interface, &operation)?;
            let hold = |(ip, lifetime): (IpAddr, Option<Duration>)| match lifetime {
                Some(rest) if rest.as_secs() == 0 => let_go(netlink, index, &interface, ip),
                _ => set(netlink, index, &interface, ip, lifetime),
            };
            // Collected before it is looked at, so that an error keeps none of the others from its turn.
            let outcomes: Vec<Result<Held>> = wanted.into_iter().map(hold).collect();
            outcomes.into_iter().collect()
        })
        .await
    }
}

fn set(
    netlink: &mut NetlinkSocket,
    index: u32,
    interface: &str,
    ip: IpAddr,
    lifetime: Option<Duration>,
) -> Result<Held> {
    let operation = Operation::AddAddress { interface: interface.to_owned(), ip };
    let mut seconds = whole_seconds(lifetime, &operation)?;
    if lifetime.is_some() {
        let refused = |source| Error::from_io(operation.clone(), CAPABILITY, source);
        if let Some((left, marked)) = time_left(netlink, index, ip).map_err(refused)?
            && left > seconds
        {
            if marked {
                return Ok(Held::RunsOutLater);
            }
            // Only the mark is missing.
            seconds = left;
        }
    }
    let message = RouteNetlinkMessage::NewAddress(host_address(index, ip, seconds));
    match netlink.change(message, NLM_F_CREATE | NLM_F_REPLACE) {
        Ok(()) => Ok(Held::Set),
        Err(source) => Err(Error::from_io(operation, CAPABILITY, source)),
    }
}

/// The whole seconds that the kernel still counts for the host address on this interface, and whether it bears our
/// mark; `None` when it is not there or stays for ever.
fn time_left(netlink: &mut NetlinkSocket, index: u32, ip: IpAddr) -> io::Result<Option<(u32, bool)>> {
    let whole_prefix = if ip.is_ipv4() { 32 } else { 128 };
    let entry = dump(netlink)?.into_iter().find(|(held, entry)| {
        *held == ip && entry.header.index == index && entry.header.prefix_len == whole_prefix
    });
    Ok(entry.and_then(|(_, entry)| {
        let left = lifetime_of(&entry)?.as_secs();
        Some((u32::try_from(left).ok()?, is_ours(&entry)))
    }))
}

fn let_go(netlink: &mut NetlinkSocket, index: u32, interface: &str, ip: IpAddr) -> Result<Held> {
    let operation = Operation::RemoveAddress { interface: interface.to_owned(), ip };
    let refused = |source| Error::from_io(operation.clone(), CAPABILITY, source);
    let found = dump(netlink).map_err(refused)?;
    let entries = found.into_iter().filter(|(held, entry)| *held == ip && entry.header.index == index);
    let mut outcome = Held::NotThere;
    for (_, entry) in entries {
        if lifetime_of(&entry).is_some() {
            outcome = Held::RunsOut;
            continue;
        }
        remove_entry(netlink, index, entry).map_err(refused)?;
        if outcome == Held::NotThere {
            outcome = Held::TakenOff;
        }
    }
    Ok(outcome)
}
