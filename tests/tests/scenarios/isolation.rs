//! The writer's host can't be reached any more, but lives: it has to stop by its own clock before the other one begins.

use std::thread;
use std::time::Duration;

use mmm_lab::{CLIENT, CLIENT2, GATEWAY, M1, M2, MON, Manner, Moment, Show, WRITER, wait_for};

use crate::cluster::{ID1, ID2, SOON};
use crate::overlap::Overlap;
use crate::sides::{Sides, quick_sides, sides};

/// As long as a lease and the wait after it, and half of that again.
const OUTAGE: Duration = Duration::from_secs(15);

fn tell(what: &str, overlap: &Overlap, fault: Moment) {
    eprintln!(
        "{what}: last write by the old writer {:?} after the fault, first by the new one after {:?}",
        overlap.last_by_old.map(|last| last - fault),
        overlap.takeover(fault)
    );
}

/// Waits until a client sends what is for the writer's address to this host.
fn expect_neighbour(lab: &Sides, client: &str, host: &str) {
    let mac = lab.host(host).unwrap().mac();
    wait_for(&format!("{client} sending to {host}"), SOON, || {
        let entry = lab.exec(client, &["ip", "neigh", "show", WRITER]).unwrap().stdout;
        if entry.contains(&mac) { Ok(()) } else { Err(entry) }
    })
    .unwrap();
}

/// The old writer is back in reach: it takes nothing over, and nobody notices.
fn expect_quiet_return(lab: &mut Sides, back: Moment) {
    lab.expect_gave_way(M1, M2);
    for client in [CLIENT, CLIENT2] {
        expect_neighbour(lab, client, M2);
    }
    for probe in &lab.probes {
        probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    }
    thread::sleep((back + Duration::from_secs(4)) - Moment::now());
    let overlap = lab.lap();
    overlap.expect_one_writer();
    assert_eq!((overlap.old, overlap.new), (Some(ID2), None), "{overlap}");
    assert!(overlap.gap < Duration::from_secs(1), "{overlap}");
}

#[test]
fn a_writer_cut_off_with_a_client_stops_before_the_other_one_begins() {
    let mut lab = Sides::up(sides("split"));
    let cut = lab.partition(&[&[M1, CLIENT2], &[MON, M2, CLIENT, GATEWAY]]).unwrap();
    lab.wait_write_by(ID2, cut);
    thread::sleep((cut + OUTAGE) - Moment::now());
    let overlap = lab.lap();
    tell("partition", &overlap, cut);
    overlap.expect_one_writer();
    assert!(!lab.has_address(M1, WRITER).unwrap() && lab.is_read_only(M1).unwrap());
    assert_eq!(lab.show().unwrap().holder(WRITER), Some(M2));
    let healed = lab.heal_all().unwrap();
    expect_quiet_return(&mut lab, healed);
    lab.end_accounted();
}

#[test]
fn an_unplugged_writer_is_replaced_and_changes_nothing_when_it_is_plugged_in_again() {
    let mut lab = Sides::up(sides("unplugged"));
    let unplugged = lab.unplug(M1).unwrap();
    lab.wait_write_by(ID2, unplugged);
    assert!(!lab.has_address(M1, WRITER).unwrap(), "the address was off before the other one wrote");
    thread::sleep((unplugged + OUTAGE) - Moment::now());
    let overlap = lab.lap();
    tell("unplugged", &overlap, unplugged);
    overlap.expect_one_writer();
    assert!(lab.role_addresses(M1).unwrap().is_empty() && lab.is_read_only(M1).unwrap());
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    lab.expect_host(M2, "ONLINE", &["writer", "reader", "reader"], SOON).unwrap();
    let replugged = lab.replug(M1).unwrap();
    expect_quiet_return(&mut lab, replugged);
    // What a client wrote while the cable was being pulled may be there alone.
    let settled = |show: &Show| ["ONLINE", "REPLICATION_FAIL"].contains(&show.state(M1));
    let show = lab.wait_show("the old writer compared", SOON, settled).unwrap();
    if show.state(M1) == "REPLICATION_FAIL" {
        eprintln!("{}", lab.tell(&["diverged", M1]));
        lab.tell(&["rejoin", "--merge", M1]);
    }
    lab.expect_host(M2, "ONLINE", &["writer", "reader"], SOON).unwrap();
    lab.end_accounted();
}

#[test]
fn a_connection_that_loses_packets_between_monitor_and_writer_moves_nothing() {
    let mut lab = Sides::up(quick_sides("lossy"));
    lab.cut(MON, M1, Manner::Lossy(30)).unwrap();
    thread::sleep(OUTAGE);
    lab.heal_all().unwrap();
    lab.expect_pair(M1);
    lab.lap().expect_undisturbed(ID1);
    lab.end_clean();
}
