//! Semi-synchronous replication: what is told of it, what is never concluded from it, and what it is worth when the writer is lost.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{
    Builder, ConfigFile, Flavour, Judge, M1, M2, MON, Manner, Moment, Probe, Program, WRITER, wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

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
    lab.cut(M1, M2, Manner::Drop).unwrap();
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
    // The replica keeps its connection: while commits hang, MariaDB 10.11 may lock up where one takes the place of another.
    let patience = match flavour {
        Flavour::MySql97 => "replica_net_timeout = 60",
        _ => "slave_net_timeout = 60",
    };
    let lab = Cluster::up(builder(name, flavour).server_line(patience).semi_sync(ENDLESS_MS));
    wait_long(&lab, "acknowledging: MySQL-M2;");
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let told = lab.log_length();
    let cut = Moment::now();
    lab.cut(M1, M2, Manner::Drop).unwrap();
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

/// How often a scenario is to be repeated: `RUNS=20` for a measurement.
fn runs() -> u32 {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// A writer that can't acknowledge anything by itself before its lease is over, and a monitor that asks for that.
fn consistent(name: &str, flavour: Flavour, timeout_ms: u32) -> Cluster {
    let builder = builder(name, flavour).semi_sync(timeout_ms);
    let lab = Cluster::up(builder.append(ConfigFile::Three, "failover_policy consistency"));
    wait_long(&lab, "acknowledging: MySQL-M2;");
    lab.expect_covered();
    lab
}

fn lost_by(lab: &Cluster, probe: &Probe, host: &str) -> Vec<u64> {
    Judge::new(lab, probe.record().unwrap()).lost(host).unwrap()
}

/// The writer's host vanishes under writes. Everything that it acknowledged is on the other master, and that is why it follows.
fn a_vanished_writer_loses_nothing(name: &str, flavour: Flavour) {
    for run in 1..=runs() {
        let lab = consistent(name, flavour, 10_000);
        let probe = lab.start_probe().unwrap();
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
        // Not always at the same place between two renewals, looks and writes.
        thread::sleep(Duration::from_millis(500 + u64::from(run) * 137 % 1000));
        let unplugged = lab.unplug(M1).unwrap();
        let first = probe.wait_write_by(ID2, unplugged, Duration::from_secs(40)).unwrap();
        let lost = lost_by(&lab, &probe, M2);
        let acknowledged = probe.record().unwrap().acknowledged().count();
        eprintln!(
            "run {run}: {} of {acknowledged} acknowledged writes lost; first write after {:?}",
            lost.len(),
            first.end - unplugged
        );
        assert!(lost.is_empty(), "{lost:?}");
        probe.stop().unwrap();
    }
}

#[test]
fn a_writer_that_vanishes_under_writes_loses_nothing_that_was_acknowledged() {
    a_vanished_writer_loses_nothing("semi_vanish", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_writer_that_vanishes_under_writes_loses_nothing_that_was_acknowledged() {
    a_vanished_writer_loses_nothing("semi_vanish_my", Flavour::MySql97);
}

/// The writer has fallen back and acknowledges by itself when it vanishes: nobody follows it, whatever becomes of the monitor, before
/// the operator takes the loss upon himself.
fn nobody_follows_unproven(name: &str, flavour: Flavour) {
    let lab = consistent(name, flavour, 9000);
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let told = lab.log_length();
    lab.cut(M1, M2, Manner::Drop).unwrap();
    lab.wait_log_since(told, "Semi-synchronous replication on 'MySQL-M1' has fallen back", SOON);
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.unplug(M1).unwrap();
    let refusal = "of 'MySQL-M1': it had fallen back to asynchronous replication";
    lab.wait_log_since(told, refusal, SOON);
    wait_long(&lab, refusal);
    lab.stop(MON, Program::Monitor).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    thread::sleep(Duration::from_secs(9));
    wait_long(&lab, refusal);
    assert!(lab.is_read_only(M2).unwrap() && !lab.has_address(M2, WRITER).unwrap());
    let explained = lab.refusal(&["confirm_loss", M1]);
    assert!(explained.contains("To confirm: confirm_loss --yes MySQL-M1"), "{explained}");
    assert!(lab.is_read_only(M2).unwrap());
    let confirmed = Moment::now();
    let answer = lab.tell(&["confirm_loss", "--yes", M1]);
    assert!(answer.starts_with("OK: What only host 'MySQL-M1' has may be lost"), "{answer}");
    let first = probe.wait_write_by(ID2, confirmed, Duration::from_secs(30)).unwrap();
    let lost = lost_by(&lab, &probe, M2);
    eprintln!("first write {:?} after the word; {} lost, as was said", first.end - confirmed, lost.len());
    assert!(!lost.is_empty(), "there was something to lose");
    probe.stop().unwrap();
}

#[test]
fn nobody_follows_a_writer_that_had_fallen_back_before_the_operator_confirms_the_loss() {
    nobody_follows_unproven("semi_unproven", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_nobody_follows_a_writer_that_had_fallen_back_before_the_operator_confirms_the_loss() {
    nobody_follows_unproven("semi_unproven_my", Flavour::MySql97);
}

/// A monitor that manages; nobody has switched anything on, and the accounts may.
fn managed(name: &str, flavour: Flavour, replicas: u8) -> Cluster {
    let builder = builder(name, flavour).semi_sync_off().replicas(replicas).without_daemons();
    let lab = Cluster::make(builder.append(ConfigFile::Three, "semi_sync manage"));
    if flavour != Flavour::MySql97 {
        for host in lab.servers() {
            lab.sql(host, "GRANT REPLICATION MASTER ADMIN ON *.* TO mmm_agent@'192.168.8.%'").unwrap();
        }
    }
    lab.start_daemons().unwrap();
    lab.wait_show("the first master as the writer", SOON, |show| show.holder(WRITER) == Some(M1)).unwrap();
    lab
}

fn wait_acknowledging(lab: &Cluster, writer: &str, who: &str) {
    wait_long(
        lab,
        &format!("# Semi-sync on {writer}: commits wait for 1 acknowledgement(s); acknowledging: {who};"),
    );
}

/// Three hosts. The one that acknowledges is frozen: another one takes its place, and commits go on before the writer would give up.
fn a_dead_acknowledger_is_replaced(name: &str, flavour: Flavour) {
    let lab = managed(name, flavour, 1);
    wait_acknowledging(&lab, M1, M2);
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let told = lab.log_length();
    let killed = lab.kill(M2, Program::Server).unwrap();
    wait_acknowledging(&lab, M1, "MySQL-R1");
    let first = probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let gap = Judge::new(&lab, probe.record().unwrap()).gap_after(killed).map(|gap| gap.length());
    eprintln!(
        "a write with the other one's acknowledgement {:?} after the loss; gap {gap:?}",
        first.end - killed
    );
    let log = lab.log_since(told);
    assert!(!log.contains("fallen back"), "{log}");
    lab.start(M2, Program::Server).unwrap();
    wait_acknowledging(&lab, M1, M2);
    lab.wait_show("all ONLINE", SOON, |show| show.hosts.values().all(|host| host.state == "ONLINE")).unwrap();
    lab.judge_clean(&probe);
}

#[test]
fn a_host_that_acknowledges_and_dies_is_replaced() {
    a_dead_acknowledger_is_replaced("semi_replace", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_host_that_acknowledges_and_dies_is_replaced() {
    a_dead_acknowledger_is_replaced("semi_replace_my", Flavour::MySql97);
}

/// Both sides go with the role, and no write waits for a timeout.
fn acknowledging_follows_the_role(name: &str, flavour: Flavour) {
    let lab = managed(name, flavour, 0);
    wait_acknowledging(&lab, M1, M2);
    let probe = lab.start_probe().unwrap();
    for (to, from) in [(M2, M1), (M1, M2)] {
        lab.tell(&["move_role", "writer", to]);
        wait_acknowledging(&lab, to, from);
    }
    let record = lab.judge_clean(&probe);
    let longest = record.gaps().iter().map(mmm_lab::Gap::length).max().unwrap();
    eprintln!("longest time without a write: {longest:?}");
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    // A writer that is alone takes writes at once: nobody has been told to wait for somebody.
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let unplugged = lab.unplug(M1).unwrap();
    let first = probe.wait_write_by(ID2, unplugged, SOON).unwrap();
    eprintln!("first write of the other one {:?} after the loss", first.end - unplugged);
    assert!(first.end - unplugged < Duration::from_secs(9));
    assert!(lost_by(&lab, &probe, M2).is_empty());
    probe.stop().unwrap();
}

#[test]
fn acknowledging_moves_with_the_role_and_holds_no_writer_up_that_is_alone() {
    acknowledging_follows_the_role("semi_moves", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_acknowledging_moves_with_the_role_and_holds_no_writer_up_that_is_alone() {
    acknowledging_follows_the_role("semi_moves_my", Flavour::MySql97);
}
