//! Whoever is left when the writer dies has data of its own, or old ones: nobody takes its place in silence.

use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, MON, Program, WRITER, wait_for};

use crate::cluster::{Cluster, QUICK_CHECKS, SOON, quick};
use crate::replicas::{R1, R2};

/// What is found between two looks has to be found again.
const FOUND: Duration = Duration::from_secs(30);

fn description(name: &str, flavour: Flavour, replicas: u8) -> Builder {
    quick(name).server(flavour).gtid().replicas(replicas).append(ConfigFile::Monitor, QUICK_CHECKS)
}

/// Somebody writes to a server that is not the writer.
fn stray(lab: &Cluster, host: &str, number: u32, flavour: Flavour) {
    if flavour == Flavour::MySql97 {
        lab.sql(host, "SET GLOBAL super_read_only = 0").unwrap();
    }
    lab.sql(host, &format!("INSERT INTO lab.probe VALUES ({number}, 99)")).unwrap();
    lab.wait_shown(&format!("# Warning: host {host} has "), FOUND);
}

/// Each of both that are left has what nobody else has.
fn both_have_their_own(name: &str, flavour: Flavour) {
    let candidate = format!("<host {R1}>\n    candidate yes\n</host>\n");
    let lab = Cluster::with_replicas(description(name, flavour, 1).append(ConfigFile::Three, &candidate));
    // Else the writer would get what the other master has.
    lab.sql(M1, "STOP REPLICA").unwrap();
    stray(&lab, M2, 900_000_001, flavour);
    stray(&lab, R1, 900_000_002, flavour);
    // Told before anything happens.
    for host in [M2, R1] {
        let told = lab.tell(&["diverged", host]);
        assert!(told.contains("1 transaction"), "{told}");
    }
    let length = lab.log_length();
    lab.kill(M1, Program::Server).unwrap();
    let line = lab.wait_log_since(length, "is promoted with", SOON);
    assert!(line.contains(" FATAL Host 'MySQL-M2' is promoted with 1 transaction"), "{line}");
    lab.wait_show("the other master the writer", SOON, |show| show.holder(WRITER) == Some(M2)).unwrap();
    // Both sets stand in the record.
    wait_for("both in the history", FOUND, || match lab.tell(&["history", "last"]) {
        told if told.contains(&format!("Errant on {R1}: 1 "))
            && told.contains(&format!("'{M2}' is promoted with 1 transaction")) =>
        {
            Ok(())
        }
        told => Err(told),
    })
    .unwrap();
    lab.wait_shown(&format!("# Warning: host {R1}"), SOON);
}

#[test]
fn two_survivors_with_writes_of_their_own_are_named_before_and_when_one_is_promoted() {
    both_have_their_own("sv_both", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_two_survivors_with_writes_of_their_own_are_named_before_and_when_one_is_promoted() {
    both_have_their_own("sv_my_both", Flavour::MySql97);
}

/// A replica with a stray write keeps nobody else from following, and has a verdict of its own.
fn a_replica_has_its_own(name: &str, flavour: Flavour) {
    let lab = Cluster::with_replicas(description(name, flavour, 2));
    stray(&lab, R1, 900_000_001, flavour);
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.kill(M1, Program::Server).unwrap();
    lab.wait_show("the other master the writer", SOON, |show| show.holder(WRITER) == Some(M2)).unwrap();
    lab.wait_follows(R2, M2, SOON);
    lab.sql(M2, "INSERT INTO lab.probe VALUES (900000002, 13)").unwrap();
    lab.wait_replicated(M2, R2, SOON).unwrap();
    lab.wait_shown(&format!("# Warning: host {R1}"), SOON);
    wait_for("the replica in the record of the failover", FOUND, || match lab.tell(&["history", "last"]) {
        told if told.contains(&format!("Errant on {R1}: 1 ")) && told.contains("Outcome:  done") => Ok(()),
        told => Err(told),
    })
    .unwrap();
}

#[test]
fn a_replica_with_a_stray_write_keeps_no_other_from_following_the_next_writer() {
    a_replica_has_its_own("sv_replica", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_replica_with_a_stray_write_keeps_no_other_from_following_the_next_writer() {
    a_replica_has_its_own("sv_my_replica", Flavour::MySql97);
}

/// The other master was away for many files of the log, and is back when the writer's host is lost.
fn old_data(name: &str, flavour: Flavour) {
    let lab = Cluster::up(quick(name).server(flavour).gtid().append(ConfigFile::Monitor, QUICK_CHECKS));
    lab.expect_covered();
    lab.stop(M2, Program::Server).unwrap();
    lab.expect_host(M2, "HARD_OFFLINE", &[], SOON).unwrap();
    for number in 0..20 {
        let row = format!("INSERT INTO lab.probe VALUES ({}, 12)", 900_000_000 + number);
        lab.sql(M1, &format!("{row}; FLUSH BINARY LOGS")).unwrap();
    }
    wait_for("a lease that nobody could take over", SOON, || match lab.tell(&["show", "--long"]) {
        shown if shown.contains("does not run out: nobody could take over") => Ok(()),
        shown => Err(shown),
    })
    .unwrap();
    lab.power_off(M1).unwrap();
    lab.start(M2, Program::Server).unwrap();
    // It answers, and is all that there is.
    lab.wait_log(MON, Program::Monitor, "State of host 'MySQL-M2' changed from HARD_OFFLINE", SOON).unwrap();
    thread::sleep(Duration::from_secs(15));
    assert!(lab.is_read_only(M2).unwrap());
    assert_eq!(lab.holders(WRITER).unwrap(), Vec::<&str>::new());
    let told = lab.tell(&["explain", "writer"]);
    eprintln!("{told}");
    assert!(
        told.contains("needs its return, kill_host, or confirm_dead"),
        "the one word that is due: {told}"
    );
    // The next monitor knows it too, from its own disk.
    lab.kill(MON, Program::Monitor).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    thread::sleep(Duration::from_secs(10));
    assert!(lab.is_read_only(M2).unwrap());
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.expect_pair(M1);
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.expect_identical(M1, &[M2]);
}

#[test]
fn a_master_with_old_data_does_not_take_the_place_of_a_lost_writer() {
    old_data("sv_old", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_master_with_old_data_does_not_take_the_place_of_a_lost_writer() {
    old_data("sv_my_old", Flavour::MySql97);
}
