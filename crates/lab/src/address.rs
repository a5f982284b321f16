//! The addresses on a host as the kernel keeps them, with mark and lifetime. Asked through netlink, because the `ip` of
//! Debian 12 does not show who put an address there, and because a watcher that looks fifty times a second must start no
//! program each time.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{LabError, Result, at};
use crate::lab::Lab;
use crate::network::namespace_file;

/// The number by which the daemons know their own addresses (`IFA_PROTO`).
const MARK: u8 = 77;
const FOREVER: u32 = u32::MAX;
const LIMIT: Duration = Duration::from_secs(5);

// From linux/netlink.h, linux/rtnetlink.h and linux/if_addr.h.
const GET_ADDRESS: u16 = 22;
const NEW_ADDRESS: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const SCOPE_UNIVERSE: u8 = 0;

/// One address of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    /// Whether it bears the daemons' mark of ownership.
    pub is_marked: bool,
    /// How long the kernel keeps it when nobody renews it; none: for ever.
    pub valid_for: Option<Duration>,
}

impl Lab {
    /// Addresses on the host's eth0 with what the kernel knows of each; none that are link-local.
    pub fn address_details(&self, host: &str) -> Result<Vec<Address>> {
        let path = namespace_file(&self.host(host)?.namespace);
        let asked = {
            let path = path.clone();
            // Only the thread that opens the socket goes into the host's network, and it ends here.
            thread::spawn(move || ask(&path)).join()
        };
        let failed = || LabError::Other(format!("the thread that lists the addresses of {host} ended early"));
        at(asked.map_err(|_| failed())?, "cannot list the addresses in", &path)
    }

    /// Whether the host has this address on its eth0; without power it has none, whatever its kernel here still knows.
    pub fn has_address(&self, host: &str, ip: &str) -> Result<bool> {
        Ok(self.has_power(host)?
            && self.address_details(host)?.iter().any(|address| address.ip.to_string() == ip))
    }
}

fn ask(namespace: &Path) -> io::Result<Vec<Address>> {
    move_into_link_name_space(File::open(namespace)?.as_fd(), Some(LinkNameSpaceType::Network))?;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(LIMIT))?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if take_in(&buffer[..length], &mut found)? {
            return Ok(found);
        }
    }
}

/// "All addresses of all families": a message header, then an address header without anything in it.
fn request() -> [u8; HEADER + ADDRESS_HEADER] {
    let mut bytes = [0; HEADER + ADDRESS_HEADER];
    bytes[..4].copy_from_slice(&24_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&GET_ADDRESS.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Splits off what the length at the front says, with the padding behind it.
fn split(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let item = bytes.get(..length)?;
    Some((item, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Takes in the messages of one answer; whether the last of all was among them.
fn take_in(mut bytes: &[u8], found: &mut Vec<Address>) -> io::Result<bool> {
    let torn = || io::Error::new(io::ErrorKind::InvalidData, "a torn netlink message");
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).and_then(|length| usize::try_from(length).ok()).ok_or_else(torn)?;
        let kind = u16_at(bytes, 4).ok_or_else(torn)?;
        let (message, rest) = split(bytes, length.max(HEADER)).ok_or_else(torn)?;
        bytes = rest;
        match kind {
            DONE => return Ok(true),
            ERROR => return Err(io::Error::other("the kernel refused to list addresses")),
            NEW_ADDRESS => found.extend(address(&message[HEADER..])),
            _ => {}
        }
    }
    Ok(false)
}

/// One entry; none for those that are of no interest here, on `lo` and link-local ones.
fn address(message: &[u8]) -> Option<Address> {
    let scope = *message.get(3)?;
    let mut rest = message.get(ADDRESS_HEADER..)?;
    let (mut ip, mut local) = (None, None);
    let (mut is_marked, mut valid_for) = (false, None);
    while let Some(length) = u16_at(rest, 0) {
        let kind = u16_at(rest, 2)?;
        let (attribute, more) = split(rest, usize::from(length).max(4))?;
        rest = more;
        let value = &attribute[4..];
        match kind {
            1 => ip = ip_of(value),
            2 => local = ip_of(value),
            6 => {
                valid_for = u32_at(value, 4)
                    .filter(|seconds| *seconds != FOREVER)
                    .map(|seconds| Duration::from_secs(seconds.into()));
            }
            11 => is_marked = value.first() == Some(&MARK),
            _ => {}
        }
    }
    let ip = local.or(ip)?;
    (scope == SCOPE_UNIVERSE).then_some(Address { ip, is_marked, valid_for })
}

fn ip_of(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_answer_is_an_error_and_no_panic() {
        let mut found = Vec::new();
        let whole = request();
        for length in 1..whole.len() {
            assert!(take_in(&whole[..length], &mut found).is_err(), "{length} bytes");
        }
        assert!(!take_in(&whole, &mut found).unwrap());
        assert_eq!(
            address(&[2, 32, 0, 0, 2, 0, 0, 0, 200, 0, 2, 0, 1]),
            None,
            "an attribute that is too long"
        );
        assert!(found.is_empty());
    }
}
