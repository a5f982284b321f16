//! Addresses that stay for as long as their holder may have them, seen as `ip` shows them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mmm_net::{Addresses, Error, Held};
use support::{enter_own_namespace, ip, run};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const FOREVER: u64 = 4_294_967_295;

fn vips() -> [IpAddr; 2] {
    ["10.99.0.30".parse().unwrap(), "fd99::30".parse().unwrap()]
}

fn one_interface() {
    enter_own_namespace();
    ip("link add eth0 type veth peer name other");
    ip("link set eth0 up");
    ip("link set other up");
}

/// The seconds that `ip` shows for each entry of an address.
fn lifetimes(wanted: IpAddr) -> Vec<u64> {
    let shown = ip("-j addr show dev eth0");
    let name = format!("\"local\":\"{wanted}\"");
    let entries = shown.split(&name).skip(1).map(|rest| {
        let (_, rest) = rest.split_once("\"valid_life_time\":").unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    });
    entries.collect()
}

fn assert_runs_out_in(wanted: IpAddr, seconds: u64) {
    let shown = lifetimes(wanted);
    assert!(shown == [seconds] || shown == [seconds - 1], "{wanted}: {shown:?}, not {seconds}");
}

async fn hold_both(addresses: &Addresses, lifetime: Option<Duration>) -> Vec<Held> {
    addresses.hold("eth0", &vips().map(|vip| (vip, lifetime))).await.unwrap()
}

#[test]
fn an_address_gets_the_whole_seconds_that_are_left_and_one_without_end_stays_for_ever() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        assert_eq!(hold_both(&addresses, Some(Duration::from_millis(4999))).await, [Held::Set; 2]);
        for vip in vips() {
            assert_runs_out_in(vip, 4);
        }
        assert_eq!(hold_both(&addresses, Some(60 * SECOND)).await, [Held::Set; 2]);
        for vip in vips() {
            assert_runs_out_in(vip, 60);
        }
        assert_eq!(hold_both(&addresses, None).await, [Held::Set; 2]);
        for vip in vips() {
            assert_eq!(lifetimes(vip), [FOREVER]);
        }
    });
}

#[test]
fn a_lifetime_is_made_longer_and_never_shorter() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        hold_both(&addresses, Some(9 * SECOND)).await;
        assert_eq!(hold_both(&addresses, Some(4 * SECOND)).await, [Held::RunsOutLater; 2]);
        for vip in vips() {
            assert_runs_out_in(vip, 9);
        }
        // The same whole seconds from now on are longer than those of before.
        assert_eq!(hold_both(&addresses, Some(9 * SECOND)).await, [Held::Set; 2]);
        assert_eq!(hold_both(&addresses, Some(30 * SECOND)).await, [Held::Set; 2]);
        for vip in vips() {
            assert_runs_out_in(vip, 30);
        }
    });
}

#[test]
fn an_address_of_somebody_else_that_runs_out_later_gets_our_mark_and_keeps_its_time() {
    one_interface();
    ip("addr add 10.99.0.30/32 dev eth0 valid_lft 50 preferred_lft 50");
    ip("addr add fd99::30/128 dev eth0 nodad valid_lft 50 preferred_lft 50");
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        assert_eq!(hold_both(&addresses, Some(7 * SECOND)).await, [Held::Set; 2]);
        for vip in vips() {
            assert_runs_out_in(vip, 50);
        }
        assert_eq!(addresses.list().await.unwrap().iter().filter(|held| held.ours).count(), 2);
    });
}

#[test]
fn an_address_of_somebody_else_that_stays_for_ever_becomes_ours_and_runs_out() {
    one_interface();
    ip("addr add 10.99.0.30/32 dev eth0");
    ip("addr add fd99::30/128 dev eth0 nodad");
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        assert_eq!(hold_both(&addresses, Some(7 * SECOND)).await, [Held::Set; 2]);
        for vip in vips() {
            assert_runs_out_in(vip, 7);
        }
        let ours = addresses.list().await.unwrap().iter().filter(|held| held.ours).count();
        assert_eq!(ours, 2);
    });
}

#[test]
fn with_less_than_a_second_left_what_would_stay_for_ever_is_taken_off_and_nothing_is_put_there() {
    one_interface();
    let short = Some(Duration::from_millis(999));
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        assert_eq!(hold_both(&addresses, short).await, [Held::NotThere; 2]);
        hold_both(&addresses, None).await;
        assert_eq!(hold_both(&addresses, Some(Duration::ZERO)).await, [Held::TakenOff; 2]);
        assert!(vips().into_iter().all(|vip| lifetimes(vip).is_empty()));
        // Of several entries only those that would stay.
        addresses.hold("eth0", &[(vips()[0], Some(30 * SECOND))]).await.unwrap();
        ip("addr add 10.99.0.30/24 dev eth0");
        ip("addr add 10.99.0.1/24 dev eth0");
        assert_eq!(addresses.hold("eth0", &[(vips()[0], short)]).await.unwrap(), [Held::RunsOut]);
        assert_runs_out_in(vips()[0], 30);
    });
}

#[test]
fn with_less_than_a_second_left_a_lifetime_stays_and_the_kernel_alone_ends_it() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        hold_both(&addresses, Some(2 * SECOND)).await;
        let set_at = Instant::now();
        sleep(SECOND / 2).await;
        assert_eq!(hold_both(&addresses, Some(SECOND / 2)).await, [Held::RunsOut; 2]);
        // Nobody of ours is left to do anything.
        drop(addresses);
        for vip in vips() {
            while !lifetimes(vip).is_empty() {
                assert!(set_at.elapsed() < SECOND * 7 / 2, "{vip} is still there: {:?}", lifetimes(vip));
                sleep(SECOND / 20).await;
            }
        }
        assert!(set_at.elapsed() > SECOND * 9 / 5, "gone after {:?}", set_at.elapsed());
    });
}

#[test]
fn each_address_is_told_for_itself_and_in_order() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        let [four, six] = vips();
        let more: [IpAddr; 2] = ["10.99.0.31".parse().unwrap(), "10.99.0.32".parse().unwrap()];
        addresses.add("eth0", six, None).await.unwrap();
        addresses.add("eth0", more[0], Some(9 * SECOND)).await.unwrap();
        let short = Some(SECOND / 2);
        let wanted = [(six, short), (four, Some(3 * SECOND)), (more[1], short), (more[0], short)];
        let outcome = addresses.hold("eth0", &wanted).await.unwrap();
        assert_eq!(outcome, [Held::TakenOff, Held::Set, Held::NotThere, Held::RunsOut]);
        assert_eq!(addresses.hold("eth0", &[]).await.unwrap(), []);
    });
}

#[test]
fn an_address_that_the_kernel_refuses_is_named_and_keeps_none_of_the_others_from_its_lifetime() {
    one_interface();
    run(async {
        let (addresses, _changes) = Addresses::open().unwrap();
        let multicast: IpAddr = "ff02::1".parse().unwrap();
        let wanted = [(multicast, Some(9 * SECOND)), (vips()[0], Some(9 * SECOND)), (vips()[1], None)];
        let text = addresses.hold("eth0", &wanted).await.unwrap_err().to_string();
        assert!(text.contains("adding ff02::1 to interface eth0"), "{text}");
        assert_runs_out_in(vips()[0], 9);
        assert_eq!(lifetimes(vips()[1]), [FOREVER]);
        let error = addresses.hold("eth7", &wanted).await.unwrap_err();
        assert!(matches!(error, Error::NoSuchInterface { .. }), "{error}");
    });
}
