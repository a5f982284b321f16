//! Semi-synchronous replication: what is told of it, what is never concluded from it, and what it is worth when the writer is lost.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{
    Builder, ConfigFile, Flavour, Judge, Load, M1, M2, MON, Manner, Moment, Probe, Program, Tolerance,
    WRITER, wait_for,
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

const TIMEOUT_MS: u32 = 10_000;
/// Far below the time that a commit waits for, and enough for a machine that is busy.
const CLOSED: Duration = Duration::from_secs(3);
const M1_IP: &str = "192.168.8.32";

/// How long it took from the first answer until it was closed, and not only about to be: `MySQL` says so from the moment at which it
/// is asked for.
fn closed_after_its_answer(lab: &Cluster, host: &str) -> Duration {
    let closed = "SELECT @@global.read_only AND NOT EXISTS \
        (SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SET GLOBAL%read_only%')";
    let mut answered = None;
    wait_for(&format!("{host} closed"), SOON, || {
        let answer = lab.sql(host, closed).map_err(|error| error.to_string())?;
        answered.get_or_insert_with(Instant::now);
        if answer.value() == Some("1") { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .unwrap();
    answered.unwrap().elapsed()
}

/// As it was configured, and soon after it was switched off for something.
fn wait_for_waiting(lab: &Cluster, host: &str) {
    let source = |name: &str| name.contains("source") || name.contains("master");
    wait_for(&format!("{host} waiting for acknowledgements"), CLOSED, || {
        let variables = lab.sql(host, "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%_enabled'").unwrap();
        let is_on = |row: &Vec<Option<String>>| {
            row[0].as_deref().is_some_and(source) && row[1].as_deref() == Some("ON")
        };
        if variables.rows.iter().any(is_on) { Ok(()) } else { Err(format!("{variables:?}")) }
    })
    .unwrap();
}

/// `MySQL` has what its replication commits wait as well. A server whose agent is quick is mostly closed before that, so that it is held
/// up in the scenarios.
fn applies_or_waits(lab: &Cluster, flavour: Flavour) {
    let waiting = match flavour {
        Flavour::MySql97 => {
            "SELECT COUNT(*) > 0 FROM information_schema.PROCESSLIST \
                WHERE USER = 'system user' AND STATE LIKE 'Waiting for semi-sync ACK%'"
        }
        _ => "SELECT COUNT(*) > 0 FROM lab.entry WHERE server_id <> @@server_id",
    };
    wait_for("its replication at work", SOON, || match lab.sql(M1, waiting) {
        Ok(answer) if answer.value() == Some("1") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
}

/// The writer's server dies under load and comes back open. Its replication commits at once what was written meanwhile, and nobody
/// may acknowledge that before the two are compared.
fn a_returned_writer_is_closed(name: &str, flavour: Flavour) {
    let lab =
        Cluster::up(quick(name).server(flavour).gtid().server_line("read_only = 0").semi_sync(TIMEOUT_MS));
    lab.expect_covered();
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    clients.wait_by(ID2, killed, SOON).unwrap();
    lab.freeze(M1, Program::Agent).unwrap();
    lab.start(M1, Program::Server).unwrap();
    applies_or_waits(&lab, flavour);
    lab.thaw(M1, Program::Agent).unwrap();
    let closed = closed_after_its_answer(&lab, M1);
    let answered = Instant::now().checked_sub(closed).unwrap();
    lab.wait_show(&format!("{M1} ONLINE"), SOON, |show| show.state(M1) == "ONLINE").unwrap();
    let online = answered.elapsed();
    eprintln!("closed {closed:?} after its agent goes on, ONLINE {online:?} after that");
    assert!(closed < CLOSED, "{closed:?}");
    assert!(online < Duration::from_secs(5), "{online:?}");
    wait_for_waiting(&lab, M1);
    lab.expect_pair(M2);
    clients.stop().unwrap();
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

#[test]
fn a_writer_that_comes_back_open_is_closed_at_once_and_soon_online() {
    a_returned_writer_is_closed("semi_closed", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_writer_that_comes_back_open_is_closed_at_once_and_soon_online() {
    a_returned_writer_is_closed("semi_closed_my", Flavour::MySql97);
}

/// Its server may be there before its agent has seen that it was away.
#[test]
fn mysql_9_7_a_writer_whose_host_boots_is_closed_at_once() {
    let builder = quick("semi_boot_my").server(Flavour::MySql97).gtid();
    let lab = Cluster::up(builder.server_line("read_only = 0").semi_sync(TIMEOUT_MS));
    lab.expect_covered();
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    let rebooted = lab.reboot(M1).unwrap();
    clients.wait_by(ID2, rebooted, Duration::from_secs(40)).unwrap();
    lab.start(M1, Program::Server).unwrap();
    applies_or_waits(&lab, Flavour::MySql97);
    lab.start(M1, Program::Agent).unwrap();
    let closed = closed_after_its_answer(&lab, M1);
    eprintln!("closed {closed:?} after its agent is there");
    assert!(closed < CLOSED, "{closed:?}");
    wait_for_waiting(&lab, M1);
    clients.stop().unwrap();
}

/// A client writes to it as soon as it is back and waits for an acknowledgement: it is ended before anything is let go, and never
/// told that its row is safe.
fn nobody_is_told_by_a_returned_writer(name: &str, flavour: Flavour) {
    let lab = Cluster::up(builder(name, flavour).server_line("read_only = 0").semi_sync(TIMEOUT_MS));
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    lab.freeze(M1, Program::Agent).unwrap();
    let started = lab.start(M1, Program::Server).unwrap();
    let direct = lab.start_probe_to(M1_IP).unwrap();
    // On MySQL it may wait behind a commit of the replication, which waits for an acknowledgement itself.
    let waiting = "SELECT COUNT(*) > 0 FROM information_schema.PROCESSLIST \
        WHERE USER = 'probe' AND COMMAND <> 'Sleep' AND TIME > 0";
    wait_for("a client whose write waits", SOON, || match lab.sql(M1, waiting) {
        Ok(answer) if answer.value() == Some("1") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    lab.thaw(M1, Program::Agent).unwrap();
    let closed = closed_after_its_answer(&lab, M1);
    eprintln!("closed {closed:?} after its agent goes on");
    assert!(closed < CLOSED, "{closed:?}");
    wait_for_waiting(&lab, M1);
    // What the ended client wrote is in the log of one server alone.
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    let told = direct.stop().unwrap();
    let told: Vec<_> = told.acknowledged().filter(|attempt| attempt.end > started).collect();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(lost_by(&lab, &probe, M2), Vec::<u64>::new());
    probe.stop().unwrap();
}

#[test]
fn no_client_is_told_by_a_writer_that_comes_back_that_its_row_is_safe() {
    nobody_is_told_by_a_returned_writer("semi_untold", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_no_client_is_told_by_a_writer_that_comes_back_that_its_row_is_safe() {
    nobody_is_told_by_a_returned_writer("semi_untold_my", Flavour::MySql97);
}

/// Nobody has got the last of what a killed writer committed, and nobody is left who could acknowledge anything of the next one. It
/// applies that all the same, and both go on when the lost one is back.
fn salvaged_without_waiting(builder: Builder) {
    let lab = Cluster::up(builder.server_line("read_only = 0").semi_sync(ENDLESS_MS));
    wait_long(&lab, "acknowledging: MySQL-M2;");
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let told = lab.log_length();
    lab.cut(M1, M2, Manner::Drop).unwrap();
    lab.wait_log_since(told, "Commits on 'MySQL-M1' hang", SOON);
    let killed = Moment::now();
    lab.kill(M1, Program::Server).unwrap();
    lab.heal_all().unwrap();
    lab.wait_log_since(told, "Host 'MySQL-M2': salvaged", SOON);
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    let took = Moment::now() - killed;
    wait_for_waiting(&lab, M2);
    lab.start(M1, Program::Server).unwrap();
    let closed = closed_after_its_answer(&lab, M1);
    eprintln!("the other one is the writer after {took:?}; the lost one closed {closed:?} after its answer");
    assert!(closed < CLOSED, "{closed:?}");
    // Its commits are acknowledged again.
    probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    lab.expect_pair(M2);
    lab.judge_clean(&probe);
}

#[test]
fn what_is_salvaged_waits_for_no_acknowledgement() {
    salvaged_without_waiting(builder("semi_salvage", Flavour::MariaDb1011));
}

#[test]
fn mysql_9_7_what_is_salvaged_waits_for_no_acknowledgement() {
    salvaged_without_waiting(builder("semi_salvage_my", Flavour::MySql97));
}

#[test]
fn what_is_salvaged_by_place_waits_for_no_acknowledgement() {
    let patience = "slave_net_timeout = 4";
    salvaged_without_waiting(
        quick("semi_salvage_pos").server_line(patience).append(ConfigFile::Monitor, QUICK_CHECKS),
    );
}

#[test]
fn mariadb_11_8_what_is_salvaged_waits_for_no_acknowledgement() {
    salvaged_without_waiting(builder("semi_salvage_118", Flavour::MariaDb118));
}

#[test]
fn mariadb_10_5_what_is_salvaged_waits_for_no_acknowledgement() {
    salvaged_without_waiting(builder("semi_salvage_105", Flavour::MariaDb105));
}
