//! Asking a link who has an address, without claiming it: an ARP probe as in RFC 5227, whose sender address is 0.0.0.0, so that
//! nobody's table changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Operation, Result};
use crate::interface::index_of;
use crate::link_socket::LinkSocket;
use crate::links::written;
use crate::ready_fd::ReadyFd;
use crate::socket_address::{HardwareAddress, hardware_address, link_address, receive_from};

const ETHERTYPE_ARP: u16 = 0x0806;
const BROADCAST: HardwareAddress = [0xff; 6];
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REPLY: [u8; 2] = [0, 2];
const PACKET_BYTES: usize = 28;
/// A link on which more is said meanwhile is not listened to any further.
const PACKETS_MAX: usize = 4096;

/// Who answers for these addresses within `wait`, by hardware addresses; this interface's own is left out. Asks for IPv4
/// addresses only. Must be called inside a tokio runtime.
pub async fn who_has(
    interface: &str,
    ips: &[IpAddr],
    wait: Duration,
) -> Result<BTreeMap<IpAddr, BTreeSet<String>>> {
    let first = ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let operation = Operation::AskWhoHas { interface: interface.to_owned(), ip: first };
    let refused = |source: io::Error| Error::from_io(operation.clone(), "CAP_NET_RAW", source);
    let link = LinkSocket::open().map_err(refused)?;
    let index = index_of(&*link, interface, &operation)?;
    link.set_nonblocking(true).map_err(refused)?;
    link.bind(&link_address(index, ETHERTYPE_ARP, [0; 6]).map_err(refused)?).map_err(refused)?;
    let Some(own) = hardware_address(link.local_addr().map_err(refused)?) else {
        return Err(Error::NoNeighbours { operation, interface: interface.to_owned(), ip: first });
    };
    let everyone = link_address(index, ETHERTYPE_ARP, BROADCAST).map_err(refused)?;
    let mut answers = BTreeMap::new();
    for ip in ips {
        if let IpAddr::V4(target) = ip {
            link.send_to_with_flags(&probe(own, *target), &everyone, libc::MSG_DONTWAIT).map_err(refused)?;
            answers.insert(*ip, BTreeSet::new());
        }
    }
    let ready = ReadyFd::new(link).map_err(refused)?;
    let until = Instant::now() + wait;
    let mut buffer = [0; PACKET_BYTES];
    for _ in 0..PACKETS_MAX {
        let Ok(readable) = timeout_at(until, ready.readable()).await else { break };
        let mut readable = readable.map_err(refused)?;
        let received = readable.try_io(|inner| receive_from(inner.get_ref(), &mut buffer));
        let length = match received {
            Ok(received) => received.map_err(refused)?.0,
            Err(_would_block) => continue,
        };
        let answered = buffer.get(..length).and_then(answer);
        if let Some((ip, hardware)) = answered
            && hardware != own
            && let Some(found) = answers.get_mut(&IpAddr::V4(ip))
        {
            found.extend(written(&hardware));
        }
    }
    Ok(answers)
}

fn probe(own: HardwareAddress, target: Ipv4Addr) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[..6].copy_from_slice(&KIND);
    packet[7] = 1;
    packet[8..14].copy_from_slice(&own);
    packet[24..28].copy_from_slice(&target.octets());
    packet
}

/// Whose address it is and who says so; `None` for whatever is no answer.
fn answer(packet: &[u8]) -> Option<(Ipv4Addr, HardwareAddress)> {
    let rest = packet.strip_prefix(&KIND)?.strip_prefix(&REPLY)?;
    let hardware: HardwareAddress = rest.get(..6)?.try_into().ok()?;
    let ip: [u8; 4] = rest.get(6..10)?.try_into().ok()?;
    Some((Ipv4Addr::from(ip), hardware))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_claims_nothing_and_is_no_answer() {
        let packet = probe([2, 0, 0, 0, 0, 1], Ipv4Addr::new(192, 168, 8, 30));
        assert_eq!(packet[14..18], [0, 0, 0, 0]);
        assert_eq!(packet[24..], [192, 168, 8, 30]);
        assert_eq!(answer(&packet), None);
    }

    #[test]
    fn an_answer_tells_whose_address_it_is_and_half_of_one_tells_nothing() {
        let mut packet = probe([2, 0, 0, 0, 0, 1], Ipv4Addr::UNSPECIFIED);
        packet[7] = 2;
        packet[14..18].copy_from_slice(&[192, 168, 8, 30]);
        assert_eq!(answer(&packet), Some((Ipv4Addr::new(192, 168, 8, 30), [2, 0, 0, 0, 0, 1])));
        assert_eq!(answer(&packet[..17]), None);
    }
}
