//! The monitor is away, for short and for long, also in the middle of a failover: the writer stays where it is as long as it is
//! well, and there is never a second one.

use std::thread;
use std::time::Duration;

use mmm_lab::{CLIENT2, Life, M1, M2, MON, Moment, Program};

use crate::cluster::{ID1, ID2, SOON};
use crate::sides::{Sides, quick_sides, sides};

/// Waits until `show` reads as before.
fn expect_shown_as_before(lab: &Sides, before: &str) {
    lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();
}

#[test]
fn a_monitor_killed_for_seven_or_for_twenty_seconds_costs_no_write() {
    let mut lab = Sides::up(sides("mon_away"));
    let before = lab.show().unwrap().text;
    for seconds in [7, 20] {
        lab.kill(MON, Program::Monitor).unwrap();
        thread::sleep(Duration::from_secs(seconds));
        lab.start(MON, Program::Monitor).unwrap();
        expect_shown_as_before(&lab, &before);
        lab.wait_covered(SOON).unwrap();
        thread::sleep(Duration::from_secs(1));
        lab.lap().expect_undisturbed(ID1);
    }
    lab.expect_pair(M1);
    lab.end_clean();
}

#[test]
fn a_monitor_without_power_costs_no_write() {
    let mut lab = Sides::up(sides("mon_power"));
    let before = lab.show().unwrap().text;
    lab.power_off(MON).unwrap();
    thread::sleep(Duration::from_secs(12));
    lab.lap().expect_undisturbed(ID1);
    lab.reboot(MON).unwrap();
    lab.start_enabled(MON).unwrap();
    expect_shown_as_before(&lab, &before);
    lab.expect_pair(M1);
    lab.lap().expect_undisturbed(ID1);
    lab.end_clean();
}

#[test]
fn a_monitor_that_reaches_nobody_goes_on_waiting_and_costs_nothing() {
    let mut lab = Sides::up(quick_sides("mon_alone"));
    let before = lab.show().unwrap().text;
    lab.unplug(MON).unwrap();
    // Without the work that the loss itself makes.
    thread::sleep(Duration::from_secs(3));
    let daemons = [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)];
    let usage = || daemons.map(|(host, program)| lab.usage(host, program).unwrap().cpu);
    let (began, from) = (usage(), Moment::now());
    thread::sleep(Duration::from_secs(10));
    let (ended, length) = (usage(), Moment::now() - from);
    for (index, (host, program)) in daemons.into_iter().enumerate() {
        let used = ended[index].saturating_sub(began[index]);
        eprintln!("{program} on {host}: {used:?} of processor time in {length:?}");
        assert!(used < length / 10, "{program} on {host} used {used:?} in {length:?}");
    }
    assert_eq!(lab.life(MON, Program::Monitor).unwrap(), Life::Running);
    lab.replug(MON).unwrap();
    expect_shown_as_before(&lab, &before);
    lab.expect_pair(M1);
    lab.lap().expect_undisturbed(ID1);
    lab.end_clean();
}

#[test]
fn a_monitor_that_starts_after_the_writers_host_died_waits_for_its_lease_and_replaces_it() {
    let mut lab = Sides::up(sides("mon_late_host"));
    lab.kill(MON, Program::Monitor).unwrap();
    // The writer now holds its lease by the other master's promise.
    thread::sleep(Duration::from_secs(4));
    let off = lab.power_off(M1).unwrap();
    let started = lab.start(MON, Program::Monitor).unwrap();
    lab.wait_write_by(ID2, off);
    let overlap = lab.lap();
    eprintln!(
        "first write {:?} after the power went, {:?} after the monitor's start",
        overlap.takeover(off),
        overlap.takeover(started)
    );
    overlap.expect_one_writer();
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.expect_gave_way(M1, M2);
    // The server of a host that boots is open until its agent closes it.
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}

#[test]
fn a_monitor_frozen_in_the_middle_of_a_failover_ends_it_when_it_thaws() {
    for delay in [0, 40].map(Duration::from_millis) {
        let mut lab = Sides::up(sides("mon_pause"));
        let killed = lab.kill(M1, Program::Server).unwrap();
        thread::sleep(delay);
        lab.freeze(MON, Program::Monitor).unwrap();
        thread::sleep(Duration::from_secs(10));
        lab.thaw(MON, Program::Monitor).unwrap();
        lab.wait_write_by(ID2, killed);
        let overlap = lab.lap();
        eprintln!("frozen {delay:?} after the kill: first write after {:?}", overlap.takeover(killed));
        overlap.expect_one_writer();
        lab.start(M1, Program::Server).unwrap();
        lab.expect_gave_way(M1, M2);
        lab.lap().expect_one_writer_but(Duration::from_millis(1500));
        lab.end_accounted();
    }
}

#[test]
fn a_monitor_killed_at_any_moment_of_a_failover_ends_it_after_its_restart() {
    for delay in [0, 5, 10, 20, 50, 100, 300].map(Duration::from_millis) {
        let mut lab = Sides::up(sides("mon_die"));
        let killed = lab.kill(M1, Program::Server).unwrap();
        thread::sleep((killed + delay) - Moment::now());
        lab.kill(MON, Program::Monitor).unwrap();
        lab.start(MON, Program::Monitor).unwrap();
        lab.wait_write_by(ID2, killed);
        let overlap = lab.lap();
        eprintln!("killed {delay:?} after the server: first write after {:?}", overlap.takeover(killed));
        overlap.expect_one_writer();
        lab.start(M1, Program::Server).unwrap();
        lab.expect_gave_way(M1, M2);
        lab.lap().expect_one_writer_but(Duration::from_millis(1500));
        lab.end_accounted();
    }
}

#[test]
fn a_second_monitor_is_refused_and_carries_out_no_command() {
    let mut lab = Sides::up(sides("mon_second"));
    let second = lab.start_second_monitor(CLIENT2).unwrap();
    second.wait_log("another monitor", SOON).unwrap();
    for words in [&["move_role", "writer", M2][..], &["set_offline", M1], &["set_offline", M2]] {
        let answer = second.control(words).unwrap();
        assert!(!answer.stdout.starts_with("OK"), "{words:?}: {answer}");
    }
    thread::sleep(Duration::from_secs(7));
    assert!(second.is_running());
    second.end().unwrap();
    lab.expect_pair(M1);
    lab.lap().expect_undisturbed(ID1);
    lab.end_clean();
}
