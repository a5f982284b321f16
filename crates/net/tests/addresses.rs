//! Addresses put on, refreshed and taken off real interfaces.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mmm_net::{Addresses, Error, HeldAddress};
use rustix::thread::CapabilitySet;
use support::{Peer, drop_capability, enter_own_namespace, ip, run, sysctl, wait_until};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

fn vip4() -> IpAddr {
    "10.99.0.30".parse().unwrap()
}

fn vip6() -> IpAddr {
    "fd99::30".parse().unwrap()
}

fn one_interface() {
    enter_own_namespace();
    add_interfaces();
}

fn add_interfaces() {
    ip("link add eth0 type veth peer name other");
    ip("link set eth0 up");
    ip("link set other up");
}

async fn entries(addresses: &Addresses, wanted: IpAddr) -> Vec<HeldAddress> {
    addresses.list().await.unwrap().into_iter().filter(|held| held.ip == wanted).collect()
}

async fn only_entry(addresses: &Addresses, wanted: IpAddr) -> HeldAddress {
    let mut found = entries(addresses, wanted).await;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn an_added_address_is_a_host_address_of_ours_for_ever() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        for (vip, prefix_len) in [(vip4(), 32), (vip6(), 128)] {
            addresses.add("eth0", vip, None).await.unwrap();
            let interface = "eth0".to_owned();
            let expected = HeldAddress { ip: vip, interface, prefix_len, ours: true, valid_for: None };
            assert_eq!(only_entry(&addresses, vip).await, expected);
        }
    });
    let shown = ip("addr show dev eth0");
    assert!(shown.contains("inet 10.99.0.30/32 scope global"), "{shown}");
    assert!(shown.contains("inet6 fd99::30/128 scope global"), "{shown}");
    assert!(!shown.contains("tentative noprefixroute"), "{shown}");
    assert!(!ip("route show").contains("10.99.0.30"), "no route but the kernel's local one");
}

#[test]
fn adding_again_refreshes_the_lifetime_in_either_direction() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        for vip in [vip4(), vip6()] {
            for (asked, least, most) in [(5, 4, 5), (500, 499, 500), (7, 6, 7)] {
                addresses.add("eth0", vip, Some(Duration::from_secs(asked))).await.unwrap();
                let left = only_entry(&addresses, vip).await.valid_for.unwrap().as_secs();
                assert!((least..=most).contains(&left), "{vip}: {left} s left of {asked}");
            }
            addresses.add("eth0", vip, None).await.unwrap();
            assert_eq!(only_entry(&addresses, vip).await.valid_for, None);
            addresses.add("eth0", vip, Some(Duration::from_secs(9))).await.unwrap();
            assert!(only_entry(&addresses, vip).await.valid_for.is_some());
        }
    });
}

#[test]
fn the_kernel_takes_an_address_down_at_the_end_of_its_lifetime_and_that_is_told() {
    one_interface();
    run(async {
        let (addresses, mut changes) = Addresses::open().unwrap();
        for vip in [vip4(), vip6()] {
            addresses.add("eth0", vip, Some(SECOND)).await.unwrap();
            let added = Instant::now();
            assert_eq!(entries(&addresses, vip).await.len(), 1);
            while !entries(&addresses, vip).await.is_empty() {
                timeout(3 * SECOND, changes.changed()).await.expect("the removal is told");
            }
            let lasted = added.elapsed();
            assert!(lasted > SECOND * 9 / 10 && lasted < SECOND * 5 / 2, "{vip} lasted {lasted:?}");
        }
    });
}

#[test]
fn a_lifetime_below_one_second_is_refused_and_changes_nothing() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        let error = addresses.add("eth0", vip4(), Some(SECOND / 2)).await.unwrap_err();
        assert!(matches!(error, Error::LifetimeTooShort { .. }), "{error}");
        assert!(entries(&addresses, vip4()).await.is_empty());
    });
}

#[test]
fn removing_takes_the_address_off_and_removing_again_is_fine() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        for vip in [vip4(), vip6()] {
            addresses.add("eth0", vip, None).await.unwrap();
            addresses.remove("eth0", vip).await.unwrap();
            assert!(entries(&addresses, vip).await.is_empty());
            addresses.remove("eth0", vip).await.unwrap();
        }
    });
}

#[test]
fn removing_takes_every_entry_of_the_address_whoever_added_it_and_nothing_else() {
    one_interface();
    ip("addr add 10.99.0.1/24 dev eth0");
    ip("addr add 10.99.0.30/24 dev eth0 label eth0:1");
    ip("addr add 10.99.0.30/16 dev eth0");
    ip("addr add 10.99.0.30/32 dev other");
    ip("addr add fd99::1/64 dev eth0 nodad");
    ip("addr add fd99::30/64 dev eth0 nodad");
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        addresses.add("eth0", vip4(), None).await.unwrap();
        assert_eq!(entries(&addresses, vip4()).await.len(), 4);
        addresses.remove("eth0", vip4()).await.unwrap();
        addresses.remove("eth0", vip6()).await.unwrap();
        let left = entries(&addresses, vip4()).await;
        assert!(left.len() == 1 && left[0].interface == "other", "{left:?}");
        assert!(entries(&addresses, vip6()).await.is_empty());
        for own in ["10.99.0.1", "fd99::1"] {
            assert_eq!(entries(&addresses, own.parse().unwrap()).await.len(), 1, "{own}");
        }
    });
}

#[test]
fn an_address_of_somebody_else_is_not_ours_until_we_add_it() {
    one_interface();
    ip("addr add 10.99.0.30/32 dev eth0");
    ip("addr add fd99::30/128 dev eth0 nodad");
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        for vip in [vip4(), vip6()] {
            assert!(!only_entry(&addresses, vip).await.ours);
            addresses.add("eth0", vip, Some(60 * SECOND)).await.unwrap();
            let held = only_entry(&addresses, vip).await;
            assert!(held.ours && held.valid_for.is_some(), "{held:?}");
        }
    });
}

#[test]
fn a_missing_interface_is_named_together_with_those_that_exist() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        for missing in ["eth7", "", "a_name_that_the_kernel_would_cut"] {
            for result in
                [addresses.add(missing, vip4(), None).await, addresses.remove(missing, vip4()).await]
            {
                let error = result.unwrap_err();
                assert!(matches!(error, Error::NoSuchInterface { .. }), "{error}");
                let text = error.to_string();
                for part in [missing, "10.99.0.30", "eth0", "other", "lo"] {
                    assert!(text.contains(part), "{part} in: {text}");
                }
            }
        }
    });
}

#[test]
fn without_the_capability_the_error_names_it() {
    one_interface();
    drop_capability(CapabilitySet::NET_ADMIN);
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        let error = addresses.add("eth0", vip4(), None).await.unwrap_err();
        assert!(matches!(error, Error::NotPermitted { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("CAP_NET_ADMIN") && text.contains("adding 10.99.0.30 to interface eth0"),
            "{text}"
        );
    });
}

#[test]
fn a_flush_and_a_link_going_down_are_told() {
    enter_own_namespace();
    // So that no address comes or goes together with the link.
    sysctl("ipv6/conf/all/disable_ipv6", "1");
    sysctl("ipv6/conf/default/disable_ipv6", "1");
    add_interfaces();
    run(async {
        let (addresses, mut changes) = Addresses::open().unwrap();
        addresses.add("eth0", vip4(), None).await.unwrap();
        changes.changed().await;
        // The link may still be telling that it came up; after that nothing changes any more.
        let quiet = async { while timeout(SECOND / 5, changes.changed()).await.is_ok() {} };
        timeout(5 * SECOND, quiet).await.expect("nothing is told when nothing changes");
        ip("addr flush dev eth0");
        timeout(SECOND, changes.changed()).await.expect("the flush is told");
        assert!(entries(&addresses, vip4()).await.is_empty());
        while timeout(SECOND / 5, changes.changed()).await.is_ok() {}
        ip("link set eth0 down");
        timeout(SECOND, changes.changed()).await.expect("the link going down is told");
    });
}

#[test]
fn more_changes_than_the_kernel_can_keep_for_us_become_one_and_later_ones_are_still_told() {
    one_interface();
    run(async {
        let (addresses, mut changes) = Addresses::open().unwrap();
        for _ in 0..2000 {
            addresses.add("eth0", vip4(), None).await.unwrap();
            addresses.remove("eth0", vip4()).await.unwrap();
        }
        let mut told = 0;
        while timeout(SECOND / 2, changes.changed()).await.is_ok() {
            told += 1;
        }
        assert!((1..10).contains(&told), "told {told} times");
        addresses.add("eth0", vip4(), None).await.unwrap();
        timeout(SECOND, changes.changed()).await.expect("a change after the overrun is told");
    });
}

#[test]
fn calls_through_clones_at_the_same_time_all_succeed() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        let tasks: Vec<_> = (1..=20)
            .map(|host| {
                let addresses = addresses.clone();
                tokio::spawn(
                    async move { addresses.add("eth0", IpAddr::from([10, 98, 0, host]), None).await },
                )
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let ours = addresses.list().await.unwrap().iter().filter(|held| held.ours).count();
        assert_eq!(ours, 20);
    });
}

#[test]
fn an_ipv6_address_of_ours_is_not_chosen_for_own_connections_but_answers() {
    let peer = Peer::connected();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        addresses.add("left", vip6(), None).await.unwrap();
    });
    let route = ip("-6 route get fd99::2");
    assert!(route.contains("src fd99::1 "), "{route}");
    wait_until("the address answers", || {
        peer.run(|| run(async { mmm_net::Pinger::new(vip6()).ping(SECOND).await.unwrap() }))
    });
}
