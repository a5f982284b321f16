//! The addresses on this host's interfaces: list, add with a lifetime and our mark, remove.
//!
//! An address of ours is a host address (/32 or /128) without a label. It does not say when an address should be
//! there, and it does not announce one.

mod hold;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use tokio::sync::Mutex;

use crate::address_changes::AddressChanges;
use crate::error::{Error, Operation, Result};
use crate::interface::{index_of, name_of};
use crate::netlink_socket::NetlinkSocket;

pub use self::hold::Held;

/// The value of `IFA_PROTO` that marks an address as put there by us (Linux 5.18 and later keep it).
pub const OWNERSHIP_MARK: u8 = 77;

const DEADLINE: Duration = Duration::from_secs(2);
const CAPABILITY: &str = "CAP_NET_ADMIN";
/// The kernel's word for a lifetime without end.
const FOREVER: u32 = u32::MAX;

/// An address found on an interface of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAddress {
    pub ip: IpAddr,
    pub interface: String,
    pub prefix_len: u8,
    /// It carries our mark.
    pub ours: bool,
    /// What is left of its lifetime, in whole seconds; `None` means for ever.
    pub valid_for: Option<Duration>,
}

/// A handle on the addresses of this host (of the network namespace it was opened in). Calls through all clones of
/// a handle happen one after the other, each under a deadline of two seconds.
#[derive(Debug, Clone)]
pub struct Addresses {
    netlink: Arc<Mutex<NetlinkSocket>>,
}

impl Addresses {
    /// Must be called inside a tokio runtime. The second value tells of every change from now on.
    pub fn open() -> Result<(Self, AddressChanges)> {
        let refused = |source| Error::from_io(Operation::OpenNetlink, CAPABILITY, source);
        // Changes are watched before anything can be listed, so that none falls in between.
        let changes = AddressChanges::open().map_err(refused)?;
        let netlink = NetlinkSocket::open().map_err(refused)?;
        Ok((Self { netlink: Arc::new(Mutex::new(netlink)) }, changes))
    }

    /// All addresses of all interfaces, ours or not.
    pub async fn list(&self) -> Result<Vec<HeldAddress>> {
        let operation = Operation::ListAddresses;
        self.run(operation.clone(), move |netlink| {
            list(netlink).map_err(|source| Error::from_io(operation, CAPABILITY, source))
        })
        .await
    }

    /// Puts `ip` on `interface`, marked as ours, for `lifetime` (cut to whole seconds) or for ever. Where it is there
    /// already it gets this lifetime and our mark. An IPv4 entry with another prefix length is left alone.
    pub async fn add(&self, interface: &str, ip: IpAddr, lifetime: Option<Duration>) -> Result<()> {
        let interface = interface.to_owned();
        let operation = Operation::AddAddress { interface: interface.clone(), ip };
        let seconds = whole_seconds(lifetime, &operation)?;
        self.run(operation.clone(), move |netlink| {
            let index = index_of(netlink.socket(), &interface, &operation)?;
            let message = RouteNetlinkMessage::NewAddress(host_address(index, ip, seconds));
            netlink
                .change(message, NLM_F_CREATE | NLM_F_REPLACE)
                .map_err(|source| Error::from_io(operation, CAPABILITY, source))
        })
        .await
    }

    /// Takes `ip` off `interface`, whoever put it there and with whatever prefix length. It is no error when it is
    /// not there.
    pub async fn remove(&self, interface: &str, ip: IpAddr) -> Result<()> {
        let interface = interface.to_owned();
        let operation = Operation::RemoveAddress { interface: interface.clone(), ip };
        self.run(operation.clone(), move |netlink| {
            let index = index_of(netlink.socket(), &interface, &operation)?;
            remove(netlink, index, ip).map_err(|source| Error::from_io(operation, CAPABILITY, source))
        })
        .await
    }

    /// Has `ip` on `interface` receive nothing any more, while it can still be sent from: a client that is reset then
    /// cannot come back to this host. It is no error when it receives nothing already. To be followed by
    /// [`remove`](Self::remove), whatever happens in between: adding the address again does not undo it as long as the
    /// address is there.
    pub async fn stop_receiving(&self, interface: &str, ip: IpAddr) -> Result<()> {
        let interface = interface.to_owned();
        let operation = Operation::StopReceiving { interface: interface.clone(), ip };
        self.run(operation.clone(), move |netlink| {
            let index = index_of(netlink.socket(), &interface, &operation)?;
            match netlink.change(RouteNetlinkMessage::DelRoute(local_route(index, ip)), 0) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    Err(Error::from_io(operation, CAPABILITY, error))
                }
                _ => Ok(()),
            }
        })
        .await
    }

    /// Runs `work` on a thread that may block. The socket stays with `work` until it ends, even when nobody waits
    /// for it any more: what is asked for next cannot overtake it.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut NetlinkSocket) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let attempt = async {
            let mut netlink = Arc::clone(&self.netlink).lock_owned().await;
            tokio::task::spawn_blocking(move || work(&mut netlink)).await
        };
        match tokio::time::timeout(DEADLINE, attempt).await {
            Ok(Ok(result)) => result,
            Ok(Err(ended)) => Err(Error::Refused { operation, source: io::Error::other(ended) }),
            Err(_) => Err(Error::TimedOut { operation, after: DEADLINE }),
        }
    }
}

fn whole_seconds(lifetime: Option<Duration>, operation: &Operation) -> Result<u32> {
    match lifetime {
        None => Ok(FOREVER),
        Some(lifetime) if lifetime.as_secs() == 0 => {
            Err(Error::LifetimeTooShort { operation: operation.clone(), lifetime })
        }
        Some(lifetime) => Ok(u32::try_from(lifetime.as_secs()).unwrap_or(FOREVER).min(FOREVER - 1)),
    }
}

fn host_address(index: u32, ip: IpAddr, seconds: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    let mut flags = AddressFlags::Noprefixroute;
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = seconds;
    match ip {
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            message.header.prefix_len = 32;
            lifetime.ifa_preferred = seconds;
        }
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.header.prefix_len = 128;
            flags |= AddressFlags::Nodad;
            // A preferred /128 would win the choice of a source address for this host's own connections, which would
            // then break when the address moves. An address that is not preferred still answers.
            lifetime.ifa_preferred = 0;
        }
    }
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Address(ip),
        AddressAttribute::Local(ip),
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(lifetime),
        AddressAttribute::Protocol(AddressProtocol::Other(OWNERSHIP_MARK)),
    ];
    message
}

/// What makes the kernel take packets to `ip` for its own. The kernel lays it with an address and takes it up with it.
fn local_route(index: u32, ip: IpAddr) -> RouteMessage {
    const TABLE_LOCAL: u8 = 255;
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: if ip.is_ipv4() { 32 } else { 128 },
        table: TABLE_LOCAL,
        // To remove one this means: of any scope.
        scope: RouteScope::NoWhere,
        kind: RouteType::Local,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Destination(ip.into()), RouteAttribute::Oif(index)];
    message
}

fn dump(netlink: &mut NetlinkSocket) -> io::Result<Vec<(IpAddr, AddressMessage)>> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let found = netlink.dump(&request)?.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewAddress(message) => Some((local_ip(&message)?, message)),
        _ => None,
    });
    Ok(found.collect())
}

/// The address of this side. On a point-to-point link `IFA_ADDRESS` is the other side's.
fn local_ip(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

fn list(netlink: &mut NetlinkSocket) -> io::Result<Vec<HeldAddress>> {
    let mut names: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let mut held = Vec::new();
    for (ip, message) in dump(netlink)? {
        let index = message.header.index;
        if let std::collections::btree_map::Entry::Vacant(entry) = names.entry(index) {
            entry.insert(name_of(netlink.socket(), index)?);
        }
        let Some(Some(interface)) = names.get(&index) else { continue };
        held.push(held_address(ip, interface.clone(), &message));
    }
    Ok(held)
}

fn held_address(ip: IpAddr, interface: String, message: &AddressMessage) -> HeldAddress {
    let (ours, valid_for) = (is_ours(message), lifetime_of(message));
    HeldAddress { ip, interface, prefix_len: message.header.prefix_len, ours, valid_for }
}

fn is_ours(message: &AddressMessage) -> bool {
    message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Protocol(mark) => u8::from(*mark) == OWNERSHIP_MARK,
        _ => false,
    })
}

/// What is left of an entry's lifetime; `None` means for ever.
fn lifetime_of(message: &AddressMessage) -> Option<Duration> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::CacheInfo(lifetime) if lifetime.ifa_valid != FOREVER => {
            Some(Duration::from_secs(lifetime.ifa_valid.into()))
        }
        _ => None,
    })
}

fn remove(netlink: &mut NetlinkSocket, index: u32, ip: IpAddr) -> io::Result<()> {
    let entries =
        dump(netlink)?.into_iter().filter(|(held, entry)| *held == ip && entry.header.index == index);
    for (_, entry) in entries {
        remove_entry(netlink, index, entry)?;
    }
    Ok(())
}

fn remove_entry(netlink: &mut NetlinkSocket, index: u32, entry: AddressMessage) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = entry.header.family;
    message.header.prefix_len = entry.header.prefix_len;
    message.header.index = index;
    // The entry's own address and prefix name exactly one of several entries with this ip.
    message.attributes = entry
        .attributes
        .into_iter()
        .filter(|attribute| matches!(attribute, AddressAttribute::Address(_) | AddressAttribute::Local(_)))
        .collect();
    match netlink.change(RouteNetlinkMessage::DelAddress(message), 0) {
        Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_call_behind_one_that_hangs_ends_at_the_deadline() {
        let (addresses, _changes) = Addresses::open().unwrap();
        let hung = addresses.netlink.lock().await;
        let asked = Instant::now();
        let error = addresses.list().await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(asked.elapsed() >= DEADLINE && asked.elapsed() < DEADLINE * 2);
        drop(hung);
        addresses.list().await.expect("the next call finds the socket free");
    }
}
