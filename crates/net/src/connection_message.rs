//! The messages in which the kernel is asked for TCP connections and told to end one (`sock_diag(7)`).
//!
//! Only what that takes is here: of a connection nothing is known but its handle, and no other sockets are found.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_BC_S_COND: u8 = 7;

/// All states but `TIME_WAIT`, `CLOSE` and `LISTEN`: those in which there is, or may yet be, another side.
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// `struct inet_diag_sockid`: ports, addresses, interface and cookie.
const ID_BYTES: usize = 48;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 8 + ID_BYTES;

/// The two kinds of sockets, as the kernel counts them. One of IPv6 may serve an IPv4 address too, as its mapped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    fn number(self) -> u8 {
        let number = match self {
            Self::V4 => libc::AF_INET,
            Self::V6 => libc::AF_INET6,
        };
        u8::try_from(number).expect("address families are small numbers")
    }
}

/// An address as sockets of one family have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalAddress {
    family: Family,
    bytes: Vec<u8>,
}

impl LocalAddress {
    /// All forms in which sockets may have it.
    pub(crate) fn forms_of(ip: IpAddr) -> Vec<Self> {
        match ip {
            IpAddr::V4(ip) => vec![
                Self { family: Family::V4, bytes: ip.octets().to_vec() },
                Self { family: Family::V6, bytes: ip.to_ipv6_mapped().octets().to_vec() },
            ],
            IpAddr::V6(ip) => vec![Self { family: Family::V6, bytes: ip.octets().to_vec() }],
        }
    }

    /// A program for the kernel's filter: one comparison of the local address, at any port. Accepted is what makes it
    /// end at its own end, rejected what makes it jump 4 bytes past that.
    fn filter(&self) -> Vec<u8> {
        let bytes = u8::try_from(self.bytes.len()).expect("an IP address has 16 bytes at most");
        let length = 12 + bytes;
        let mut filter = vec![INET_DIAG_BC_S_COND, length];
        filter.extend((u16::from(length) + 4).to_ne_bytes());
        filter.extend([self.family.number(), bytes * 8, 0, 0]);
        filter.extend((-1i32).to_ne_bytes());
        filter.extend(&self.bytes);
        filter
    }
}

/// The kernel's name for one connection. Its cookie sees to it that no later one with the same ports is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    family: u8,
    id: [u8; ID_BYTES],
}

impl Connection {
    /// Whether its local address is this one.
    pub(crate) fn is_at(&self, address: &LocalAddress) -> bool {
        // After the two ports; the kernel fills up with zeros.
        self.family == address.family.number() && self.id[4..].starts_with(&address.bytes)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectionMessage {
    /// Asks for the connections of this host with that local address.
    List(LocalAddress),
    /// The answer.
    Found(Connection),
    /// Has the other side sent a reset, and the program on this side told of an aborted connection.
    End(Connection),
}

impl ConnectionMessage {
    fn bytes(&self) -> Vec<u8> {
        let (family, id) = match self {
            Self::List(address) => (address.family.number(), &[0; ID_BYTES]),
            Self::Found(connection) | Self::End(connection) => (connection.family, &connection.id),
        };
        let tcp = u8::try_from(libc::IPPROTO_TCP).expect("the number of TCP is 6");
        let mut bytes = Vec::with_capacity(REQUEST_BYTES);
        bytes.extend([family, tcp, 0, 0]);
        bytes.extend(STATES.to_ne_bytes());
        bytes.extend(id);
        if let Self::List(address) = self {
            let filter = address.filter();
            let length = u16::try_from(4 + filter.len()).expect("the filter has 28 bytes at most");
            bytes.extend(length.to_ne_bytes());
            bytes.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
            bytes.extend(filter);
        }
        bytes
    }
}

impl NetlinkSerializable for ConnectionMessage {
    fn message_type(&self) -> u16 {
        match self {
            Self::List(_) | Self::Found(_) => SOCK_DIAG_BY_FAMILY,
            Self::End(_) => SOCK_DESTROY,
        }
    }

    fn buffer_len(&self) -> usize {
        self.bytes().len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes());
    }
}

impl NetlinkDeserializable for ConnectionMessage {
    type Error = io::Error;

    /// Reads the beginning of a `struct inet_diag_msg`: family, state, two timers, and the handle.
    fn deserialize(_header: &NetlinkHeader, payload: &[u8]) -> io::Result<Self> {
        let short =
            || io::Error::new(io::ErrorKind::InvalidData, "the kernel sent too little of a connection");
        let family = *payload.first().ok_or_else(short)?;
        let id = *payload.get(4..).and_then(<[u8]>::first_chunk).ok_or_else(short)?;
        Ok(Self::Found(Connection { family, id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cut_short_is_an_error_and_no_panic() {
        let header = NetlinkHeader::default();
        for length in 0..4 + ID_BYTES {
            assert!(ConnectionMessage::deserialize(&header, &vec![2; length]).is_err(), "{length} bytes");
        }
        assert!(ConnectionMessage::deserialize(&header, &[2; 4 + ID_BYTES]).is_ok());
    }

    #[test]
    fn a_connection_is_at_its_own_local_address_only() {
        let mut id = [0; ID_BYTES];
        id[4..8].copy_from_slice(&[10, 0, 0, 1]);
        id[20..24].copy_from_slice(&[10, 0, 0, 2]);
        let connection = Connection { family: Family::V4.number(), id };
        let is_at = |ip: &str| {
            LocalAddress::forms_of(ip.parse().unwrap()).iter().map(|form| connection.is_at(form)).collect()
        };
        let forms: Vec<bool> = is_at("10.0.0.1");
        assert_eq!(forms, [true, false], "it is no IPv6 socket");
        let forms: Vec<bool> = is_at("10.0.0.2");
        assert_eq!(forms, [false, false], "that is the other side");
        let forms: Vec<bool> = is_at("a00:1::");
        assert_eq!(forms, [false], "the same bytes in the other family");
    }
}
