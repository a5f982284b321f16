//! Socket addresses of the two families that the standard library does not know: netlink and link layer.
#![expect(
    unsafe_code,
    reason = "these address structures exist only in libc, and receiving into plain bytes"
)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::slice;

use socket2::{SockAddr, SockAddrStorage, Socket};

/// The hardware side of an Ethernet interface.
pub(crate) type HardwareAddress = [u8; 6];

/// The address of the kernel when `groups` is 0; to bind to, it also joins the groups named by its bits.
pub(crate) fn netlink_address(groups: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    {
        // SAFETY: `sockaddr_nl` is one of the platform's `sockaddr_*` types, and all zeros is valid for it.
        let netlink = unsafe { storage.view_as::<libc::sockaddr_nl>() };
        netlink.nl_family = family(libc::AF_NETLINK);
        netlink.nl_groups = groups;
    }
    // SAFETY: the storage holds a `sockaddr_nl` with its family set, and the length is that type's.
    unsafe { SockAddr::new(storage, length_of::<libc::sockaddr_nl>()) }
}

/// An address on a link. `protocol` is the ethertype, 0 to receive nothing when it is bound to.
pub(crate) fn link_address(interface: u32, protocol: u16, hardware: HardwareAddress) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    {
        // SAFETY: `sockaddr_ll` is one of the platform's `sockaddr_*` types, and all zeros is valid for it.
        let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        link.sll_family = family(libc::AF_PACKET);
        link.sll_protocol = protocol.to_be();
        link.sll_ifindex = i32::try_from(interface).map_err(io::Error::other)?;
        link.sll_halen = 6;
        link.sll_addr[..6].copy_from_slice(&hardware);
    }
    // SAFETY: the storage holds a `sockaddr_ll` with its family set, and the length is that type's.
    Ok(unsafe { SockAddr::new(storage, length_of::<libc::sockaddr_ll>()) })
}

/// The hardware address in an address on a link; `None` if that link is no Ethernet.
pub(crate) fn hardware_address(address: SockAddr) -> Option<HardwareAddress> {
    if address.family() != family(libc::AF_PACKET) {
        return None;
    }
    let mut storage = address.as_storage();
    // SAFETY: `sockaddr_ll` is one of the platform's `sockaddr_*` types, and the family says that the kernel filled
    // in this one. Bytes that the kernel left out are zeros in the storage.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    if link.sll_hatype != libc::ARPHRD_ETHER || link.sll_halen != 6 {
        return None;
    }
    let mut hardware = [0; 6];
    hardware.copy_from_slice(&link.sll_addr[..6]);
    Some(hardware)
}

/// Receives one packet, cut to the size of `buffer`, with the address that it came from.
pub(crate) fn receive_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, SockAddr)> {
    let length = buffer.len();
    // SAFETY: it is the same memory, borrowed for as long, and `MaybeUninit<u8>` is laid out as `u8` is. `recv_from`
    // only ever writes initialised bytes to it, which is its documented promise.
    let buffer = unsafe { slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<MaybeUninit<u8>>(), length) };
    socket.recv_from(buffer)
}

fn family(number: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).expect("address families are small numbers")
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("socket addresses are small")
}
