//! The interfaces of this host as they are: up or down, and with which addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::error::{Error, Operation, Result};
use crate::netlink_socket::NetlinkSocket;

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub is_up: bool,
    pub has_carrier: bool,
    /// `02:00:00:00:00:20`; `None` where it has none of six bytes.
    pub hardware: Option<String>,
    /// Every address with the length of its network, whoever put it there.
    pub addresses: BTreeSet<(IpAddr, u8)>,
}

/// All interfaces by name. Blocks for as long as the kernel takes to answer two questions.
pub fn links() -> Result<BTreeMap<String, Link>> {
    let refused = |source: io::Error| Error::from_io(Operation::ListAddresses, "CAP_NET_ADMIN", source);
    let mut netlink = NetlinkSocket::open().map_err(refused)?;
    let mut found = BTreeMap::new();
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    for message in netlink.dump(&request).map_err(refused)? {
        let RouteNetlinkMessage::NewLink(message) = message else { continue };
        let mut link = Link {
            is_up: message.header.flags.contains(LinkFlags::Up),
            has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
            ..Link::default()
        };
        let mut name = None;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::Address(bytes) => link.hardware = written(&bytes),
                _ => {}
            }
        }
        found.insert(message.header.index, (name.unwrap_or_default(), link));
    }
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    for message in netlink.dump(&request).map_err(refused)? {
        let RouteNetlinkMessage::NewAddress(message) = message else { continue };
        let Some((_, link)) = found.get_mut(&message.header.index) else { continue };
        // On a point-to-point link the local one is ours and the other is the peer's.
        let find =
            |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
        let local = find(|attribute| match attribute {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
        let plain = find(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
        link.addresses.extend(local.or(plain).map(|ip| (ip, message.header.prefix_len)));
    }
    Ok(found.into_values().collect())
}

/// A hardware address as people write it.
pub(crate) fn written(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 6).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}
