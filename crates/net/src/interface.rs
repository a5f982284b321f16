//! Interfaces by name and number, as the namespace of a given socket sees them.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rustix::io::Errno;
use rustix::net::netdevice;

use crate::error::{Error, Operation};
use crate::netlink_socket::NetlinkSocket;

/// The number of an interface; an unknown name is answered with the names there are.
pub(crate) fn index_of(socket: impl AsFd, interface: &str, operation: &Operation) -> Result<u32, Error> {
    let operation = || operation.clone();
    let missing = || Error::NoSuchInterface {
        operation: operation(),
        interface: interface.to_owned(),
        existing: existing_names(),
    };
    // The kernel's structure would silently cut a longer name, and find another interface with it.
    if interface.is_empty() || interface.len() >= libc::IFNAMSIZ || interface.contains('\0') {
        return Err(missing());
    }
    match netdevice::name_to_index(socket, interface) {
        Ok(index) => Ok(index),
        Err(Errno::NODEV | Errno::NXIO) => Err(missing()),
        Err(errno) => Err(Error::from_io(operation(), "CAP_NET_ADMIN", errno.into())),
    }
}

/// The name of an interface; `None` when it has just gone.
pub(crate) fn name_of(socket: impl AsFd, index: u32) -> io::Result<Option<String>> {
    match netdevice::index_to_name(socket, index) {
        Ok(name) => Ok(Some(name)),
        Err(Errno::NODEV | Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// For a message to the operator only, so a failure shortens the message and nothing else.
fn existing_names() -> String {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let links = NetlinkSocket::open().and_then(|mut netlink| netlink.dump(&request)).unwrap_or_default();
    let names: Vec<String> = links.into_iter().filter_map(link_name).collect();
    if names.is_empty() { "(could not be read)".to_owned() } else { names.join(", ") }
}

fn link_name(message: RouteNetlinkMessage) -> Option<String> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })
}
