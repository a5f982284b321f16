//! The four modes of the monitor, where nothing, or not everything, is done by itself.

use std::time::Duration;

use mmm_lab::{ConfigFile, Flavour, M1, M2, MON, Moment, Program, READERS, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

fn wait_mode(lab: &Cluster, mode: &str) {
    wait_for(&format!("mode {mode}"), SOON, || {
        let output = lab.control(&["mode"]).unwrap().stdout;
        if output.trim() == mode { Ok(()) } else { Err(output) }
    })
    .unwrap();
}

#[test]
fn in_manual_mode_a_crash_takes_the_address_off_and_moves_nothing() {
    let lab = Cluster::quick("manual");
    let probe = lab.start_probe().unwrap();
    assert_eq!(lab.tell(&["set_manual"]), "OK: Switched into manual mode.");
    assert_eq!(lab.tell(&["set_manual"]), "OK: Already in manual mode.");
    lab.kill(M1, Program::Server).unwrap();
    lab.wait_show("the loss", SOON, |show| show.state(M1) == "HARD_OFFLINE").unwrap();
    wait_for("the writer's address off", SOON, || match lab.holders(WRITER).unwrap() {
        holders if holders.is_empty() => Ok(()),
        holders => Err(format!("{holders:?}")),
    })
    .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let show = lab.show().unwrap();
    assert_eq!(show.holder(WRITER), Some(M1), "{}", show.text);
    assert!(lab.holders(WRITER).unwrap().is_empty() && lab.is_read_only(M2).unwrap());

    // Back again, it is the writer as before.
    lab.start(M1, Program::Server).unwrap();
    let back = Moment::now();
    probe.wait_write_by(ID1, back, SOON).unwrap();
    lab.expect_pair(M1);

    // The operator may move roles, and what manual mode held back happens in active mode.
    lab.tell(&["move_role", "writer", M2]);
    lab.expect_pair(M2);
    lab.kill(M2, Program::Server).unwrap();
    lab.wait_show("the loss", SOON, |show| show.state(M2) == "HARD_OFFLINE").unwrap();
    let active = Moment::now();
    assert_eq!(lab.tell(&["set_active"]), "OK: Switched into active mode.");
    probe.wait_write_by(ID1, active, SOON).unwrap();
    probe.stop().unwrap();
}

/// The operator gives the role to the other master while the host of the old one is out of reach: the answer comes at once, `show` says what is
/// waited for, and the role is there when the lease has run out.
fn moved_by_hand_from_a_lost_host(name: &str, flavour: Flavour) {
    let lab = Cluster::up(quick(name).server(flavour).gtid().append(ConfigFile::Monitor, QUICK_CHECKS));
    lab.wait_covered(SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.tell(&["set_manual"]);
    let lost = lab.power_off(M1).unwrap();
    lab.wait_show("the loss", SOON, |show| show.state(M1) == "HARD_OFFLINE").unwrap();
    let asked = std::time::Instant::now();
    let answer = lab.tell(&["move_role", "writer", M2]);
    eprintln!("after {:?}: {answer}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(2) && answer.starts_with("OK: Role 'writer'"), "{answer}");
    let waits = lab.tell(&["show", "--long"]);
    eprintln!("{waits}");
    let first = probe.wait_write_by(ID2, lost, SOON).unwrap();
    eprintln!("first write on the other {:?} after the loss", first.end - lost);
    assert!(waits.contains("MySQL-M1") && waits.contains("lease"), "{waits}");
    let told = lab.tell(&["history", "last"]);
    eprintln!("{told}");
    assert!(told.contains("run out"), "{told}");
    assert!(lab.tell(&["history", "last"]).contains(M2));
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.tell(&["set_active"]);
    lab.expect_read_only(M1, SOON);
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    probe.stop().unwrap();
}

#[test]
fn a_move_by_hand_from_a_lost_host_answers_at_once() {
    moved_by_hand_from_a_lost_host("by_hand", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_move_by_hand_from_a_lost_host_answers_at_once() {
    moved_by_hand_from_a_lost_host("by_my_hand", Flavour::MySql97);
}

#[test]
fn in_passive_mode_nothing_moves_but_what_the_operator_sets() {
    let lab = Cluster::quick("passive");
    assert_eq!(lab.refusal(&["set_ip", WRITER, M2]), "ERROR: This command is only allowed in passive mode");
    assert_eq!(lab.tell(&["set_passive"]), "OK: Switched into passive mode.");
    let header = "# --- Monitor is in PASSIVE MODE ---\n# Cause: Admin switched to passive mode.\n";
    assert!(lab.tell(&["show"]).starts_with(header));
    assert_eq!(
        lab.refusal(&["move_role", "writer", M2]),
        "ERROR: This command is not allowed in passive mode"
    );
    let before = (lab.tell(&["show"]), lab.role_addresses(M1).unwrap(), lab.role_addresses(M2).unwrap());
    let of_m2 = before.2.iter().next().unwrap().clone();
    lab.kill(M2, Program::Server).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let after = (lab.tell(&["show"]), lab.role_addresses(M1).unwrap(), lab.role_addresses(M2).unwrap());
    assert_eq!(after, before);
    lab.start(M2, Program::Server).unwrap();
    // Closed by its agent, which has seen it then.
    lab.expect_read_only(M2, SOON);

    assert_eq!(lab.refusal(&["set_ip", "10.0.0.1", M1]), "ERROR: Unknown ip '10.0.0.1'!");
    let answer = lab.tell(&["set_ip", &of_m2, M1]);
    assert_eq!(answer, format!("OK: Set role 'reader({of_m2})' to host 'MySQL-M1'."));
    assert_eq!(lab.show().unwrap().holder(&of_m2), Some(M1));
    let other = READERS.into_iter().find(|ip| **ip != *of_m2).unwrap();
    lab.tell(&["set_ip", other, M2]);
    // Carried out once the monitor decides again.
    assert_eq!(lab.role_addresses(M2).unwrap(), before.2);
    lab.tell(&["set_active"]);
    wait_for("the readers exchanged", SOON, || {
        let now = (lab.holders(&of_m2).unwrap(), lab.holders(other).unwrap());
        if now == (vec![M1], vec![M2]) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .unwrap();
}

#[test]
fn wait_mode_ends_when_both_masters_are_there_or_one_has_been_for_long_enough() {
    let wait = "<monitor>\nmode wait\nwait_for_other_master 4\n</monitor>";
    let lab = Cluster::up(quick("wait").append(ConfigFile::Monitor, wait));
    wait_mode(&lab, "ACTIVE");
    let probe = lab.start_probe().unwrap();
    lab.stop(MON, Program::Monitor).unwrap();
    lab.stop(M1, Program::Server).unwrap();
    let length = lab.log_length();
    let started = lab.start(MON, Program::Monitor).unwrap();
    wait_mode(&lab, "WAIT");
    lab.wait_log_since(length, "the wait for the other master is over", SOON);
    assert!(Moment::now() - started >= Duration::from_secs(4));
    wait_mode(&lab, "ACTIVE");
    probe.wait_write_by(ID2, started, SOON).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    probe.stop().unwrap();
}
