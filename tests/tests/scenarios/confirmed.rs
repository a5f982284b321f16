//! A writer that vanished while nobody could replace it: only its return, `kill_host` or the operator's word lets another one
//! follow it.

use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, M1, M2, MON, Moment, Program, WRITER};

use crate::cluster::{Cluster, ID2, QUICK_CHECKS, SOON, quick};
use crate::sides::{Sides, quick_sides};

/// As long as a lease and the wait after it, and half of that again.
const LONG_ENOUGH: Duration = Duration::from_secs(8);

/// The other master's host is off when the writer's goes off as well, and comes back alone.
fn lose_both(lab: &Sides) {
    lab.power_off(M2).unwrap();
    lab.wait_show("the other master lost", SOON, |show| show.state(M2) == "HARD_OFFLINE").unwrap();
    wait_long(lab, "does not run out: nobody could take over");
    lab.power_off(M1).unwrap();
    lab.wait_show("the writer lost", SOON, |show| show.state(M1) == "HARD_OFFLINE").unwrap();
    lab.reboot(M2).unwrap();
    lab.start_enabled(M2).unwrap();
    lab.expect_host(M2, "ONLINE", &["reader", "reader"], SOON).unwrap();
}

fn wait_long(lab: &Cluster, words: &str) {
    mmm_lab::wait_for(&format!("`{words}` in `show --long`"), SOON, || {
        let shown = lab.tell(&["show", "--long"]);
        if shown.contains(words) { Ok(()) } else { Err(shown) }
    })
    .unwrap();
}

fn expect_nobody_promoted(lab: &Cluster) {
    assert!(!lab.has_address(M2, WRITER).unwrap() && lab.is_read_only(M2).unwrap());
    assert_eq!(lab.show().unwrap().holder(WRITER), None);
}

/// The old writer's host comes back and takes nothing over.
fn expect_return(mut lab: Sides) {
    lab.lap().expect_one_writer();
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}

#[test]
fn confirm_dead_lets_another_host_follow_a_writer_that_vanished_alone() {
    let lab = Sides::up(quick_sides("confirmed"));
    lose_both(&lab);
    thread::sleep(LONG_ENOUGH);
    expect_nobody_promoted(&lab);
    let shown = lab.tell(&["show", "--long"]);
    let why = "MySQL-M1 vanished while nobody could replace it: needs its return, kill_host, or confirm_dead";
    assert!(shown.contains(why), "{shown}");

    // Without the word that makes it sure it only explains.
    let answer = lab.refusal(&["confirm_dead", M1]);
    assert!(answer.contains("may still be writing") && answer.contains("confirm_dead --yes"), "{answer}");
    thread::sleep(Duration::from_secs(1));
    expect_nobody_promoted(&lab);
    // Nor is one that answers dead by anybody's word.
    let answer = lab.refusal(&["confirm_dead", "--yes", M2]);
    assert!(answer.starts_with("ERROR: The agent on host 'MySQL-M2' answers"), "{answer}");

    let confirmed = Moment::now();
    let answer = lab.tell(&["confirm_dead", "--yes", M1]);
    assert!(answer.starts_with("OK: Host 'MySQL-M1' counts as dead"), "{answer}");
    let first = lab.wait_write_by(ID2, confirmed);
    eprintln!("first write {:?} after the word", first - confirmed);
    expect_return(lab);
}

/// A monitor with a program that writes down how it was called and ends with the number in a file beside it.
pub(crate) fn with_kill_host(builder: Builder) -> Cluster {
    let settings = "<monitor>\nkill_host_bin /etc/mysql-mmm/kill_host\n</monitor>";
    // The monitor looks for the program when it starts, so the host gets it first.
    let lab = Cluster::make(builder.without_daemons().append(ConfigFile::Monitor, settings));
    let script = "#!/bin/sh\necho \"$@\" >>/etc/mysql-mmm/killed\nexit \"$(cat /etc/mysql-mmm/code)\"\n";
    lab.write_file(MON, "/etc/mysql-mmm/kill_host", script.as_bytes()).unwrap();
    assert!(lab.exec(MON, &["chmod", "755", "/etc/mysql-mmm/kill_host"]).unwrap().success());
    set_code(&lab, "1");
    lab.start_daemons().unwrap();
    lab.expect_pair(M1);
    lab
}

pub(crate) fn set_code(lab: &Cluster, code: &str) {
    lab.write_file(MON, "/etc/mysql-mmm/code", code.as_bytes()).unwrap();
}

pub(crate) fn killed(lab: &Cluster) -> String {
    lab.exec(MON, &["cat", "/etc/mysql-mmm/killed"]).unwrap().stdout
}

#[test]
fn after_kill_host_a_host_that_can_not_know_what_it_lacks_follows_by_word_only() {
    let cluster = with_kill_host(quick_sides("killed_alone"));
    let mut lab = Sides::watch(cluster);
    lab.wait_covered(SOON).unwrap();
    lab.lap();
    lose_both(&lab);
    lab.wait_log(MON, Program::Monitor, "Couldn't kill host 'MySQL-M1'", SOON).unwrap();
    thread::sleep(LONG_ENOUGH);
    expect_nobody_promoted(&lab);
    let calls = killed(&lab);
    eprintln!("kill_host was called with {:?}", calls.lines().collect::<Vec<_>>());
    assert!(calls.lines().any(|call| call == "MySQL-M1 0" || call == "MySQL-M1 1"), "{calls}");

    let length = lab.log_length();
    set_code(&lab, "0");
    let succeeded = Moment::now();
    lab.wait_log_since(length, "Host 'MySQL-M1' has been killed", SOON);
    // The writer wrote alone while the other one was off.
    wait_long(&lab, "has not reached 'MySQL-M1' since it was started");
    thread::sleep(Duration::from_secs(2));
    expect_nobody_promoted(&lab);
    assert!(lab.tell(&["confirm_loss", "--yes", M1]).starts_with("OK: "));
    let first = lab.wait_write_by(ID2, succeeded);
    eprintln!("first write {:?} after the program could have succeeded", first - succeeded);
    assert!(killed(&lab).ends_with("MySQL-M1 0\n"), "{}", killed(&lab));
    expect_return(lab);
}

#[test]
fn without_leases_an_unplugged_writer_is_replaced_only_by_word_or_by_kill_host() {
    for by_word in [true, false] {
        let name = if by_word { "lease_0_word" } else { "lease_0_kill" };
        let builder =
            quick(name).append(ConfigFile::Three, "writer_lease 0").append(ConfigFile::Monitor, QUICK_CHECKS);
        let lab = if by_word { Cluster::up(builder) } else { with_kill_host(builder) };
        let probe = lab.start_probe().unwrap();
        lab.unplug(M1).unwrap();
        lab.wait_show("the writer lost", SOON, |show| show.state(M1) == "HARD_OFFLINE").unwrap();
        thread::sleep(LONG_ENOUGH);
        expect_nobody_promoted(&lab);
        let shown = lab.tell(&["show", "--long"]);
        eprintln!("{shown}");
        assert!(shown.contains("MySQL-M1 vanished"), "{shown}");
        assert!(shown.contains("needs its return, kill_host, or confirm_dead"), "{shown}");
        let at = Moment::now();
        if by_word {
            lab.tell(&["confirm_dead", "--yes", M1]);
        } else {
            set_code(&lab, "0");
        }
        let first = probe.wait_write_by(ID2, at, SOON).unwrap();
        eprintln!("by word {by_word}: first write after {:?}", first.end - at);
        probe.stop().unwrap();
    }
}
