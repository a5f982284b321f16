//! Semi-synchronous replication: what is told of it, what is never concluded from it, and what it is worth when the writer is lost.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, MON, Moment, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, QUICK_CHECKS, SOON, quick};

/// A server that waits for ever, as far as a scenario is concerned.
const ENDLESS_MS: u32 = 100_000;

fn builder(name: &str, flavour: Flavour) -> Builder {
    let patience = match flavour {
        Flavour::MySql97 => "replica_net_timeout = 4",
        Flavour::MariaDb1011 | Flavour::MariaDb118 | Flavour::MariaDb105 => "slave_net_timeout = 4",
    };
    quick(name).server(flavour).gtid().server_line(patience).append(ConfigFile::Monitor, QUICK_CHECKS)
}

fn wait_long(lab: &Cluster, words: &str) {
    wait_for(&format!("`{words}` in `show --long`"), SOON, || {
        let shown = lab.tell(&["show", "--long"]);
        if shown.contains(words) { Ok(()) } else { Err(shown) }
    })
    .unwrap();
}

/// The replica stops acknowledging for a while, and the writer does not wait for it longer than it is told to.
fn a_fallback_is_told_and_mended(name: &str, flavour: Flavour) {
    let lab = Cluster::up(builder(name, flavour).semi_sync(1500));
    wait_long(
        &lab,
        "# Semi-sync on MySQL-M1: commits wait for 1 acknowledgement(s); acknowledging: MySQL-M2;",
    );
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let told = lab.log_length();
    lab.cut(M1, M2, mmm_lab::Manner::Drop).unwrap();
    lab.wait_log_since(
        told,
        "Semi-synchronous replication on 'MySQL-M1' has fallen back to asynchronous",
        SOON,
    );
    lab.wait_shown("# Warning: host MySQL-M1: semi-synchronous replication has fallen back", SOON);
    wait_long(&lab, "fallen back to asynchronous");
    lab.heal_all().unwrap();
    lab.wait_log_since(told, "Semi-synchronous replication on 'MySQL-M1' is back", SOON);
    wait_long(
        &lab,
        "# Semi-sync on MySQL-M1: commits wait for 1 acknowledgement(s); acknowledging: MySQL-M2;",
    );
    lab.judge_clean(&probe);
}

#[test]
fn a_writer_that_falls_back_to_asynchronous_replication_is_told_and_so_is_its_return() {
    a_fallback_is_told_and_mended("semi_fallback", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_writer_that_falls_back_to_asynchronous_replication_is_told_and_so_is_its_return() {
    a_fallback_is_told_and_mended("semi_fallback_my", Flavour::MySql97);
}

/// Everything but the agents' and the monitor's words between the masters is cut, so that no acknowledgement comes. Ten seconds
/// are longer than any lease and any trap.
fn a_blocked_writer_is_not_dead(name: &str, flavour: Flavour) {
    let lab = Cluster::up(builder(name, flavour).semi_sync(ENDLESS_MS));
    wait_long(&lab, "acknowledging: MySQL-M2;");
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let told = lab.log_length();
    let cut = Moment::now();
    lab.cut(M1, M2, mmm_lab::Manner::Drop).unwrap();
    lab.wait_log_since(told, "Commits on 'MySQL-M1' hang", SOON);
    lab.wait_shown("# Warning: host MySQL-M1 is blocked: ", SOON);
    let refused = lab.refusal(&["move_role", "writer", M2]);
    assert!(refused.contains("stays on 'MySQL-M1'") && refused.contains("hang"), "{refused}");
    let refused = lab.refusal(&["set_offline", M1]);
    assert!(refused.contains("hang"), "{refused}");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let show = lab.show().unwrap();
        assert_eq!(show.state(M1), "ONLINE", "{}", show.text);
        assert_eq!(lab.holders(WRITER).unwrap(), [M1]);
        thread::sleep(Duration::from_millis(250));
    }
    let log = lab.log(M1, Program::Agent).unwrap();
    assert!(!log.contains("does not answer on its standing connection"), "the agent waited behind a commit");
    lab.heal_all().unwrap();
    let healed = Moment::now();
    lab.wait_log_since(told, "Commits on 'MySQL-M1' go on", SOON);
    let first = probe.wait_write_by(ID1, healed, SOON).unwrap();
    eprintln!("blocked for {:?}, goes on {:?} after it was mended", healed - cut, first.end - healed);
    assert!(
        !lab.log(MON, Program::Monitor).unwrap().contains("HARD_OFFLINE"),
        "a blocked writer counted as dead"
    );
    lab.judge_clean(&probe);
}

#[test]
fn a_writer_whose_commits_wait_for_an_acknowledgement_is_blocked_and_not_dead() {
    a_blocked_writer_is_not_dead("semi_blocked", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_writer_whose_commits_wait_for_an_acknowledgement_is_blocked_and_not_dead() {
    a_blocked_writer_is_not_dead("semi_blocked_my", Flavour::MySql97);
}
