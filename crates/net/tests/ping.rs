//! Pings over a real link.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use mmm_net::{Error, Pinger};
use rustix::thread::CapabilitySet;
use support::{Peer, drop_capability, enter_own_namespace, ip, run, sysctl, wait_for_link};

const SECOND: Duration = Duration::from_secs(1);

fn pinger(address: &str) -> Pinger {
    Pinger::new(address.parse().unwrap())
}

/// The first packet between two hosts that have just been joined may get lost while they find each other.
async fn meet(address: &str) -> Pinger {
    let mut pinger = pinger(address);
    for _ in 0..5 {
        if pinger.ping(SECOND).await.unwrap() {
            return pinger;
        }
    }
    panic!("{address} did not answer one of five pings");
}

#[test]
fn a_host_that_is_there_answers_again_and_again() {
    let _peer = Peer::connected();
    run(async {
        for address in ["10.99.0.2", "fd99::2", "127.0.0.1", "::1"] {
            let mut pinger = meet(address).await;
            for _ in 0..50 {
                assert!(pinger.ping(SECOND).await.unwrap(), "{address}");
            }
        }
    });
}

#[test]
fn a_silent_host_is_no_answer_and_its_first_answer_afterwards_counts() {
    let peer = Peer::connected();
    run(async {
        for (address, parameter) in
            [("10.99.0.2", "ipv4/icmp_echo_ignore_all"), ("fd99::2", "ipv6/icmp/echo_ignore_all")]
        {
            let mut pinger = meet(address).await;
            peer.run(move || sysctl(parameter, "1"));
            let asked = Instant::now();
            assert!(!pinger.ping(SECOND / 5).await.unwrap(), "{address}");
            let took = asked.elapsed();
            assert!(took >= SECOND / 5 && took < SECOND, "{took:?}");
            peer.run(move || sysctl(parameter, "0"));
            assert!(pinger.ping(SECOND).await.unwrap(), "{address}");
        }
    });
}

#[test]
fn a_host_without_route_or_neighbour_is_no_answer() {
    let _peer = Peer::connected();
    run(async {
        for address in ["10.77.0.1", "fd77::1", "10.99.0.77", "fd99::77"] {
            assert!(!pinger(address).ping(SECOND / 5).await.unwrap(), "{address}");
        }
    });
}

#[test]
fn an_interface_that_went_down_under_a_kept_socket_is_no_answer_and_coming_back_heals_it() {
    let _peer = Peer::connected();
    run(async {
        let mut pinger = meet("10.99.0.2").await;
        ip("link set left down");
        assert!(!pinger.ping(SECOND / 5).await.unwrap());
        ip("link set left up");
        wait_for_link("left");
        meet("10.99.0.2").await;
        assert!(pinger.ping(SECOND).await.unwrap());
    });
}

#[test]
fn an_own_address_that_changed_under_a_kept_socket_costs_one_ping_at_most() {
    let _peer = Peer::connected();
    run(async {
        let mut pinger = meet("10.99.0.2").await;
        ip("addr del 10.99.0.1/24 dev left");
        ip("addr add 10.99.0.11/24 dev left");
        let _may_be_lost = pinger.ping(SECOND / 5).await.unwrap();
        assert!(pinger.ping(SECOND).await.unwrap());
    });
}

#[test]
fn without_raw_sockets_the_unprivileged_kind_serves() {
    let _peer = Peer::connected();
    sysctl("ipv4/ping_group_range", "0 2147483647");
    drop_capability(CapabilitySet::NET_RAW);
    run(async {
        for address in ["10.99.0.2", "fd99::2"] {
            let mut pinger = meet(address).await;
            for _ in 0..5 {
                assert!(pinger.ping(SECOND).await.unwrap(), "{address}");
            }
        }
    });
}

#[test]
fn without_any_permission_it_is_an_error_that_names_the_capability() {
    enter_own_namespace();
    sysctl("ipv4/ping_group_range", "1 0");
    drop_capability(CapabilitySet::NET_RAW);
    run(async {
        for address in ["127.0.0.1", "::1"] {
            let error = pinger(address).ping(SECOND).await.unwrap_err();
            assert!(matches!(error, Error::NotPermitted { .. }), "{error}");
            assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
        }
    });
}
