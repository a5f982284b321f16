//! Announcements as a neighbour on the link takes them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::IpAddr;

use mmm_net::{Addresses, Error, announce};
use rustix::thread::CapabilitySet;
use support::{Peer, drop_capability, enter_own_namespace, ip, run, wait_until};

/// A neighbour that takes the address for another host's learns better.
fn neighbour_learns(vip: &'static str) {
    let peer = Peer::connected();
    peer.run(move || {
        ip(&format!("neigh replace {vip} lladdr 02:00:00:00:00:99 dev right nud reachable"));
    });
    let vip_address: IpAddr = vip.parse().unwrap();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        addresses.add("left", vip_address, None).await.unwrap();
    });
    let entry = move || ip(&format!("neigh show {vip} dev right"));
    assert!(peer.run(entry).contains("02:00:00:00:00:99"), "adding alone tells nobody");
    let link = ip("-brief link show dev left");
    let hardware = link.split_whitespace().nth(2).unwrap().to_owned();
    assert_eq!(hardware.len(), 17, "{link}");
    // Repeated as in earnest, since a burst may get lost between hosts that have just been joined.
    wait_until("the neighbour has the new hardware address", || {
        announce("left", vip_address).unwrap();
        peer.run(entry).contains(&hardware)
    });
}

#[test]
fn a_neighbour_with_a_wrong_arp_entry_learns_the_right_one() {
    neighbour_learns("10.99.0.30");
}

#[test]
fn a_neighbour_with_a_wrong_ipv6_entry_learns_the_right_one() {
    neighbour_learns("fd99::30");
}

#[test]
fn an_ipv6_address_that_is_not_here_is_not_announced() {
    let _peer = Peer::connected();
    let error = announce("left", "fd99::30".parse().unwrap()).unwrap_err();
    assert!(matches!(error, Error::AddressNotHere { .. }), "{error}");
}

#[test]
fn announcing_on_what_is_no_link_to_neighbours_says_so() {
    enter_own_namespace();
    ip("link add eth0 type veth peer name other");
    let vip = "10.99.0.30".parse().unwrap();
    let error = announce("lo", vip).unwrap_err();
    assert!(matches!(error, Error::NoNeighbours { .. }), "{error}");
    let error = announce("eth7", vip).unwrap_err();
    assert!(matches!(error, Error::NoSuchInterface { .. }), "{error}");
    let error = announce("eth0", vip).unwrap_err();
    assert!(matches!(error, Error::InterfaceDown { .. }), "{error}");
    drop_capability(CapabilitySet::NET_RAW);
    let error = announce("eth0", vip).unwrap_err();
    assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
}
