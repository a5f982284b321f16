//! The bytes of a TCP segment that nobody listens for, and of the reset that answers it (RFC 9293, 3.10.7.1). No
//! sockets here.
//!
//! The checksum of a received segment is not looked at: between hosts on one machine, and with most network cards,
//! it is not in the bytes but known to the kernel only. What a damaged segment could cause is a reset that its
//! receiver does not heed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::checksum;

/// The longest IPv4 header and a TCP header: what has to be received of a packet.
pub(crate) const HEADERS_BYTES: u8 = 60 + 20;

/// IP's number for TCP.
pub(crate) const PROTOCOL_TCP: u8 = 6;

const TCP_BYTES: usize = 20;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const HOPS: u8 = 64;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What has to be known of a segment to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) addresses: Addresses,
    from_port: u16,
    to_port: u16,
    sequence: u32,
    /// `None` without the flag that makes the field count.
    acknowledgement: Option<u32>,
    /// In sequence numbers: the data, and one each for the flags SYN and FIN.
    length: u32,
    reset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    V4 { from: Ipv4Addr, to: Ipv4Addr },
    V6 { from: Ipv6Addr, to: Ipv6Addr },
}

impl Addresses {
    pub(crate) fn to(&self) -> IpAddr {
        match self {
            Self::V4 { to, .. } => IpAddr::V4(*to),
            Self::V6 { to, .. } => IpAddr::V6(*to),
        }
    }

    /// Whether an answer would reach exactly one other host.
    fn are_answerable(&self) -> bool {
        match self {
            Self::V4 { from, to } => {
                let one = !from.is_multicast() && !from.is_broadcast() && !from.is_unspecified();
                one && !from.is_loopback() && from != to
            }
            Self::V6 { from, to } => {
                !from.is_multicast() && !from.is_unspecified() && !from.is_loopback() && from != to
            }
        }
    }
}

impl Segment {
    /// Reads an IP packet of which the end may be missing. `None` for everything but a whole TCP segment from one
    /// host: fragments, IPv6 with extension headers, and what contradicts itself.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let (addresses, tcp, length) = match packet.first()? >> 4 {
            4 => parse_ipv4(packet)?,
            6 => parse_ipv6(packet)?,
            _ => return None,
        };
        if !addresses.are_answerable() {
            return None;
        }
        let header: &[u8; TCP_BYTES] = tcp.first_chunk()?;
        let header_length = usize::from(header[12] >> 4) * 4;
        if header_length < TCP_BYTES {
            return None;
        }
        let data = u32::try_from(length.checked_sub(header_length)?).ok()?;
        let flags = header[13];
        let has = |flag: u8| flags & flag != 0;
        Some(Self {
            addresses,
            from_port: word(header, 0),
            to_port: word(header, 2),
            sequence: double_word(header, 4),
            acknowledgement: has(ACK).then_some(double_word(header, 8)),
            length: data + u32::from(has(SYN)) + u32::from(has(FIN)),
            reset: has(RST),
        })
    }

    /// The IP packet that tells the sender that there is no such connection; `None` for a reset, which is never
    /// answered.
    pub(crate) fn refusal(&self) -> Option<Vec<u8>> {
        if self.reset {
            return None;
        }
        let (sequence, acknowledgement, flags) = match self.acknowledgement {
            Some(acknowledged) => (acknowledged, 0, RST),
            None => (0, self.sequence.wrapping_add(self.length), RST | ACK),
        };
        let mut tcp = [0; TCP_BYTES];
        tcp[0..2].copy_from_slice(&self.to_port.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.from_port.to_be_bytes());
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        tcp[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
        // The length of this header, in units of four bytes.
        tcp[12] = 5 << 4;
        tcp[13] = flags;
        Some(match self.addresses {
            Addresses::V4 { from, to } => {
                let sum = tcp_checksum(&to.octets(), &from.octets(), &tcp);
                tcp[16..18].copy_from_slice(&sum.to_be_bytes());
                [&ipv4_header(to, from)[..], &tcp].concat()
            }
            Addresses::V6 { from, to } => {
                let sum = tcp_checksum(&to.octets(), &from.octets(), &tcp);
                tcp[16..18].copy_from_slice(&sum.to_be_bytes());
                [&ipv6_header(to, from)[..], &tcp].concat()
            }
        })
    }
}

/// The addresses, what there is of the TCP segment, and its length according to the header.
fn parse_ipv4(packet: &[u8]) -> Option<(Addresses, &[u8], usize)> {
    const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;
    let header: &[u8; IPV4_BYTES] = packet.first_chunk()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let whole_header = packet.get(..header_length).filter(|whole| whole.len() >= IPV4_BYTES)?;
    let total_length = usize::from(word(header, 2));
    let is_fragment = word(header, 6) & MORE_FRAGMENTS_OR_OFFSET != 0;
    if is_fragment || header[9] != PROTOCOL_TCP || checksum(&[whole_header]) != 0 {
        return None;
    }
    let from = Ipv4Addr::from_bits(double_word(header, 12));
    let to = Ipv4Addr::from_bits(double_word(header, 16));
    let length = total_length.checked_sub(header_length)?;
    Some((Addresses::V4 { from, to }, up_to(&packet[header_length..], length), length))
}

fn parse_ipv6(packet: &[u8]) -> Option<(Addresses, &[u8], usize)> {
    let (header, rest) = packet.split_first_chunk::<IPV6_BYTES>()?;
    if header[6] != PROTOCOL_TCP {
        return None;
    }
    let from = Ipv6Addr::from(*header[8..].first_chunk::<16>()?);
    let to = Ipv6Addr::from(*header[24..].first_chunk::<16>()?);
    let length = usize::from(word(header, 4));
    Some((Addresses::V6 { from, to }, up_to(rest, length), length))
}

/// Without what a short Ethernet frame was filled up with.
fn up_to(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}

fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr) -> [u8; IPV4_BYTES] {
    const TOTAL_BYTES: u8 = 40;
    const DO_NOT_FRAGMENT: u8 = 0x40;
    let mut header = [0; IPV4_BYTES];
    header[0] = 0x45;
    header[3] = TOTAL_BYTES;
    header[6] = DO_NOT_FRAGMENT;
    header[8] = HOPS;
    header[9] = PROTOCOL_TCP;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6_header(from: Ipv6Addr, to: Ipv6Addr) -> [u8; IPV6_BYTES] {
    const PAYLOAD_BYTES: u8 = 20;
    let mut header = [0; IPV6_BYTES];
    header[0] = 0x60;
    header[5] = PAYLOAD_BYTES;
    header[6] = PROTOCOL_TCP;
    header[7] = HOPS;
    header[8..24].copy_from_slice(&from.octets());
    header[24..40].copy_from_slice(&to.octets());
    header
}

/// Covers the addresses, the protocol and the length too. IPv6 arranges them otherwise, which changes no sum.
fn tcp_checksum(from: &[u8], to: &[u8], tcp: &[u8; TCP_BYTES]) -> u16 {
    const LENGTH: [u8; 2] = [0, 20];
    checksum(&[from, to, &[0, PROTOCOL_TCP], &LENGTH, tcp])
}

fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn double_word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
