//! Two losses, one after the other: what the writer still depends on decides whether the second one costs anything.

use std::thread;
use std::time::Duration;

use mmm_lab::{M1, M2, MON, Moment, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, SOON};
use crate::sides::{Sides, sides};

fn wait_long(lab: &Cluster, words: &str) {
    wait_for(&format!("`{words}` in `show --long`"), SOON, || {
        let shown = lab.tell(&["show", "--long"]);
        if shown.contains(words) { Ok(()) } else { Err(shown) }
    })
    .unwrap();
}

/// The other master's host comes back, with a server that is open until its agent closes it, and costs nothing.
fn expect_back(mut lab: Sides) {
    lab.reboot(M2).unwrap();
    lab.start_enabled(M2).unwrap();
    lab.expect_pair(M1);
    let overlap = lab.lap();
    overlap.expect_one_writer_but(Duration::from_millis(1500));
    assert_eq!((overlap.old, overlap.new), (Some(ID1), None), "{overlap}");
    assert_eq!(overlap.not_acknowledged, 0, "{overlap}");
    lab.end_clean();
}

#[test]
fn the_other_masters_host_lost_and_then_the_monitor_costs_no_writes() {
    let mut lab = Sides::up(sides("other_then_mon"));
    lab.power_off(M2).unwrap();
    thread::sleep(Duration::from_secs(8));
    wait_long(&lab, "does not run out: nobody could take over");
    lab.kill(MON, Program::Monitor).unwrap();
    thread::sleep(Duration::from_secs(15));
    lab.lap().expect_undisturbed(ID1);
    lab.start(MON, Program::Monitor).unwrap();
    lab.wait_show("the writer where it was", SOON, |show| show.holder(WRITER) == Some(M1)).unwrap();
    lab.lap().expect_undisturbed(ID1);
    expect_back(lab);
}

#[test]
fn the_monitor_lost_and_then_the_other_masters_host_stops_the_writer_as_show_said() {
    let mut lab = Sides::up(sides("mon_then_other"));
    let shown = lab.tell(&["show", "--long"]);
    let said = "# Could take over: MySQL-M2. Without the monitor the writer depends on the promise of each.";
    assert!(shown.contains(said), "{shown}");
    lab.kill(MON, Program::Monitor).unwrap();
    thread::sleep(Duration::from_secs(8));
    lab.lap().expect_undisturbed(ID1);
    let off = lab.power_off(M2).unwrap();
    lab.wait_log(M1, Program::Agent, "this host fences itself", SOON).unwrap();
    lab.expect_read_only(M1, SOON);
    let took = Moment::now() - off;
    eprintln!("fenced {took:?} after the other master's power went");
    assert!(took < Duration::from_millis(6500), "{took:?}");
    lab.expect_addresses(M1, 0, SOON);
    lab.lap().expect_one_writer();
    // The monitor alone is enough: the writer has given its lease back, or will when it is asked.
    let started = lab.start(MON, Program::Monitor).unwrap();
    let first = lab.wait_write_by(ID1, started);
    eprintln!("written to again {:?} after the monitor's start", first - started);
    // What the other client began while nobody wrote may fail a moment after the first one's success.
    thread::sleep(Duration::from_secs(1));
    lab.lap().expect_one_writer();
    expect_back(lab);
}
