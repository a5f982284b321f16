//! Telling the neighbours on a link where an address now is: gratuitous ARP and unsolicited neighbour advertisement.
//!
//! One call is one burst, sent without waiting. When and how often to send is the caller's, by
//! [`ANNOUNCE_SCHEDULE`]. A neighbour that has no entry for the address makes none from this, and needs none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::error::{Error, Operation, Result};
use crate::interface::index_of;
use crate::link_socket::LinkSocket;
use crate::socket_address::{HardwareAddress, hardware_address, link_address};

/// When to announce, counted from the moment the address is up: at once and closely repeated against loss, and
/// later again for neighbours and switches that were not listening yet.
pub const ANNOUNCE_SCHEDULE: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(30),
    Duration::from_millis(40),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

const CAPABILITY: &str = "CAP_NET_RAW";
const BROADCAST: HardwareAddress = [0xff; 6];
const ETHERTYPE_ARP: u16 = 0x0806;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Sends one burst for `ip`, which must be on `interface`, to all neighbours there.
pub fn announce(interface: &str, ip: IpAddr) -> Result<()> {
    let operation = Operation::Announce { interface: interface.to_owned(), ip };
    let refused = |source: io::Error| match source.raw_os_error() {
        Some(libc::ENETDOWN) => {
            Error::InterfaceDown { operation: operation.clone(), interface: interface.to_owned(), source }
        }
        Some(libc::EADDRNOTAVAIL) => Error::AddressNotHere { operation: operation.clone(), ip, source },
        _ => Error::from_io(operation.clone(), CAPABILITY, source),
    };
    let link = LinkSocket::open().map_err(refused)?;
    let index = index_of(&*link, interface, &operation)?;
    link.bind(&link_address(index, 0, [0; 6]).map_err(refused)?).map_err(refused)?;
    let Some(hardware) = hardware_address(link.local_addr().map_err(refused)?) else {
        return Err(Error::NoNeighbours { operation, interface: interface.to_owned(), ip });
    };
    match ip {
        IpAddr::V4(ip) => announce_v4(&link, index, ip, hardware),
        IpAddr::V6(ip) => announce_v6(index, ip, hardware),
    }
    .map_err(refused)
}

/// Both kinds, since there are neighbours that heed only one of them.
fn announce_v4(link: &Socket, index: u32, ip: Ipv4Addr, hardware: HardwareAddress) -> io::Result<()> {
    let everyone = link_address(index, ETHERTYPE_ARP, BROADCAST)?;
    for operation in [ArpOperation::Request, ArpOperation::Reply] {
        link.send_to_with_flags(&arp(operation, ip, hardware), &everyone, libc::MSG_DONTWAIT)?;
    }
    Ok(())
}

fn announce_v6(index: u32, ip: Ipv6Addr, hardware: HardwareAddress) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    // A receiver drops an advertisement that may have come through a router, which any other hop limit tells.
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(false)?;
    socket.bind(&SockAddr::from(SocketAddrV6::new(ip, 0, 0, index)))?;
    let everyone = SockAddr::from(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    socket.send_to_with_flags(&advertisement(ip, hardware), &everyone, libc::MSG_DONTWAIT)?;
    Ok(())
}

#[derive(Clone, Copy)]
enum ArpOperation {
    Request,
    Reply,
}

fn arp(operation: ArpOperation, ip: Ipv4Addr, hardware: HardwareAddress) -> [u8; 28] {
    let mut packet = [0; 28];
    // Ethernet, IPv4, and the lengths of their addresses.
    packet[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    packet[7] = match operation {
        ArpOperation::Request => 1,
        ArpOperation::Reply => 2,
    };
    packet[8..14].copy_from_slice(&hardware);
    packet[14..18].copy_from_slice(&ip.octets());
    packet[18..24].copy_from_slice(&BROADCAST);
    packet[24..28].copy_from_slice(&ip.octets());
    packet
}

/// The checksum stays 0: the kernel fills it in on a raw `ICMPv6` socket.
fn advertisement(ip: Ipv6Addr, hardware: HardwareAddress) -> [u8; 32] {
    const TYPE: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    let mut packet = [0; 32];
    packet[0] = TYPE;
    packet[4] = OVERRIDE;
    packet[8..24].copy_from_slice(&ip.octets());
    // The option's length is counted in units of eight bytes.
    packet[24..26].copy_from_slice(&[TARGET_LINK_LAYER_ADDRESS, 1]);
    packet[26..32].copy_from_slice(&hardware);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arp_names_the_address_as_sender_and_as_target() {
        let packet = arp(ArpOperation::Reply, Ipv4Addr::new(192, 168, 8, 30), [2, 0, 0, 0, 0, 1]);
        let expected = [
            0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 192, 168, 8, 30, 255, 255, 255, 255, 255, 255, 192,
            168, 8, 30,
        ];
        assert_eq!(packet, expected);
    }
}
