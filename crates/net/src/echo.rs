//! The bytes of an ICMP echo request, and how to know its reply. No sockets here.

use std::net::IpAddr;

use crate::checksum::checksum;

/// Type, code, checksum, identifier, sequence.
const HEADER_BYTES: usize = 8;
const TOKEN_BYTES: usize = 8;
const PACKET_BYTES: usize = HEADER_BYTES + TOKEN_BYTES;

/// One echo request. The token tells our reply from those to other programs, and to other hosts' programs of the
/// same identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) identifier: u16,
    pub(crate) sequence: u16,
    pub(crate) token: [u8; TOKEN_BYTES],
}

/// What a socket hands over when it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Raw IPv4: the IP header comes first.
    WithIpHeader,
    /// Raw IPv6.
    IcmpOnly,
    /// Unprivileged ICMP: the kernel exchanged our identifier for one of its own, and compares that itself.
    KernelIdentifier,
}

impl Echo {
    /// The request for a host of the family of `ip`. For IPv6 the kernel fills in the checksum.
    pub(crate) fn request(&self, ip: IpAddr) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        packet[0] = if ip.is_ipv4() { 8 } else { 128 };
        packet[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        packet[HEADER_BYTES..].copy_from_slice(&self.token);
        if ip.is_ipv4() {
            let sum = checksum(&[&packet]);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// Whether `received` is the reply to this very request.
    pub(crate) fn is_answered_by(&self, received: &[u8], ip: IpAddr, framing: Framing) -> bool {
        let Some(packet) = icmp_part(received, framing) else { return false };
        let Some(packet) = packet.first_chunk::<PACKET_BYTES>() else { return false };
        let reply_type = if ip.is_ipv4() { 0 } else { 129 };
        let same_identifier =
            framing == Framing::KernelIdentifier || packet[4..6] == self.identifier.to_be_bytes();
        packet[0] == reply_type
            && packet[1] == 0
            && same_identifier
            && packet[6..8] == self.sequence.to_be_bytes()
            && packet[HEADER_BYTES..] == self.token
    }
}

fn icmp_part(received: &[u8], framing: Framing) -> Option<&[u8]> {
    match framing {
        Framing::IcmpOnly | Framing::KernelIdentifier => Some(received),
        Framing::WithIpHeader => {
            let words = usize::from(received.first()? & 0x0f);
            received.get(words * 4..)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ECHO: Echo = Echo { identifier: 0x1234, sequence: 7, token: *b"12345678" };

    fn reply() -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet.extend(ECHO.request(V4));
        packet[20] = 0;
        packet
    }

    #[test]
    fn a_packet_with_its_checksum_sums_up_to_nothing() {
        assert_eq!(checksum(&[&ECHO.request(V4)]), 0);
    }

    #[test]
    fn the_reply_is_known() {
        assert!(ECHO.is_answered_by(&reply(), V4, Framing::WithIpHeader));
    }

    #[test]
    fn the_request_itself_is_not_its_reply() {
        let mut request = reply();
        request[20] = 8;
        assert!(!ECHO.is_answered_by(&request, V4, Framing::WithIpHeader));
    }

    #[test]
    fn a_reply_with_one_field_of_another_is_not_ours() {
        for offset in [4, 6, 8, 15] {
            let mut other = reply();
            other[20 + offset] ^= 1;
            assert!(!ECHO.is_answered_by(&other, V4, Framing::WithIpHeader), "byte {offset}");
        }
    }

    #[test]
    fn a_cut_packet_is_no_reply_and_no_panic() {
        let whole = reply();
        for length in 0..whole.len() {
            assert!(!ECHO.is_answered_by(&whole[..length], V4, Framing::WithIpHeader));
        }
    }
}
