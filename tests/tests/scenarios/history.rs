//! The history beside what clients saw: a crash, a move, a monitor that is killed in the middle, and a disk that is full.

use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, MON, Moment, Program, wait_for};
use serde_json::Value;

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

/// Between what the monitor heard and what clients saw, on a machine with other things to do.
const GENEROUS: Duration = Duration::from_millis(400);

fn builder(name: &str, flavour: Flavour) -> Builder {
    quick(name).server(flavour).gtid().append(ConfigFile::Monitor, QUICK_CHECKS)
}

fn records(lab: &Cluster) -> Vec<Value> {
    let text = lab.tell(&["--json", "history", "all"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The newest record, once it has ended.
fn ended(lab: &Cluster, kind: &str, count: usize) -> Value {
    wait_for(&format!("{count} records, the last a {kind} that has ended"), SOON, || {
        let records = records(lab);
        let last = records.first().cloned().unwrap_or_default();
        let fits = records.len() == count && last["kind"] == kind && last["outcome"].is_string();
        if fits { Ok(last) } else { Err(lab.tell(&["history"])) }
    })
    .unwrap()
}

fn step_ms(record: &Value, step: &str) -> i64 {
    let steps = record["steps"].as_array().unwrap();
    let found = steps.iter().find(|taken| taken["step"] == step);
    found.unwrap_or_else(|| panic!("no step {step}: {record:#}"))["at_ms"].as_i64().unwrap()
}

fn gap(record: &Value) -> Duration {
    let at = |field: &str| record["gap"][field].as_i64().unwrap_or_else(|| panic!("{record:#}"));
    Duration::from_millis(u64::try_from(at("until_ms") - at("from_ms")).unwrap())
}

fn expect_close(told: Duration, seen: Duration, detection: Duration) {
    eprintln!("no writer for {told:?} by the record, {seen:?} by the clients");
    assert!(told <= seen + GENEROUS && seen <= told + GENEROUS + detection, "{told:?} and {seen:?}");
}

fn a_crash_and_a_move(name: &str, flavour: Flavour) {
    let lab = Cluster::up(builder(name, flavour));
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let start = ended(&lab, "start", 1);
    assert_eq!(start["to"], M1, "{start:#}");

    let moved = Moment::now();
    lab.tell(&["move_role", "writer", M2]);
    probe.wait_write_by(ID2, moved, SOON).unwrap();
    let record = ended(&lab, "move", 2);
    eprintln!("{}", lab.tell(&["history", "last"]));
    assert_eq!(
        (&record["from"], &record["to"], &record["outcome"]),
        (&M1.into(), &M2.into(), &"done".into())
    );
    assert_eq!(record["trigger"]["what"], format!("move_role writer {M2}"));
    expect_close(gap(&record), probe.record().unwrap().gap_after(moved).unwrap().length(), Duration::ZERO);
    assert!(step_ms(&record, "approached") <= step_ms(&record, "closed"));
    lab.expect_pair(M2);
    lab.expect_covered();

    probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    let killed = lab.kill(M2, Program::Server).unwrap();
    probe.wait_write_by(ID1, killed, SOON).unwrap();
    let record = ended(&lab, "failover", 3);
    // MySQL closes its connections some 100 ms before its process has ended, and not before that its agent speaks.
    let detection = if flavour == Flavour::MySql97 { Duration::from_millis(400) } else { Duration::ZERO };
    eprintln!("{}", lab.tell(&["history", "last"]));
    assert_eq!(
        (&record["from"], &record["to"], &record["outcome"]),
        (&M2.into(), &M1.into(), &"done".into())
    );
    assert_eq!(record["trigger"]["what"], format!("agent on {M2}: its server has ended"), "{record:#}");
    assert_eq!(record["trigger"]["rule"], "ServerLost");
    expect_close(gap(&record), probe.record().unwrap().gap_after(killed).unwrap().length(), detection);
    for (before, after) in [("closed", "promoted"), ("promoted", "open"), ("open", "applied")] {
        assert!(step_ms(&record, before) <= step_ms(&record, after), "{before}, {after}: {record:#}");
    }
    let table = lab.tell(&["history"]);
    eprintln!("{table}");
    let whats: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(whats, ["failover", "move", "start"]);
    assert!(lab.refusal(&["history", "99"]).contains("There are records 1 to 3."));
    probe.stop().unwrap();
}

#[test]
fn a_crash_and_a_move_are_recorded_as_clients_saw_them() {
    a_crash_and_a_move("history", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_crash_and_a_move_are_recorded_as_clients_saw_them() {
    a_crash_and_a_move("history_my", Flavour::MySql97);
}

#[test]
fn a_record_that_a_killed_monitor_left_open_is_finished_by_the_next_one() {
    let lab = Cluster::up(builder("history_killed", Flavour::MariaDb1011));
    lab.expect_covered();
    ended(&lab, "start", 1);
    // The new writer can't be told, so that the failover is under way when the monitor is killed.
    lab.freeze(M2, Program::Agent).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    wait_for("a record that is open", SOON, || {
        let records = records(&lab);
        let open = records.first().is_some_and(|record| record["outcome"].is_null());
        if open { Ok(()) } else { Err(lab.tell(&["history"])) }
    })
    .unwrap();
    thread::sleep(Duration::from_millis(300));
    lab.kill(MON, Program::Monitor).unwrap();
    lab.thaw(M2, Program::Agent).unwrap();
    thread::sleep(Duration::from_secs(1));
    lab.start(MON, Program::Monitor).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    let record = ended(&lab, "failover", 2);
    eprintln!("{}", lab.tell(&["history", "last"]));
    assert_eq!(
        (&record["from"], &record["to"], &record["outcome"]),
        (&M1.into(), &M2.into(), &"done".into())
    );
    step_ms(&record, "next_monitor");
    assert!(gap(&record) <= Moment::now() - killed + GENEROUS, "{record:#}");
    assert!(gap(&record) >= Duration::from_millis(1300), "{record:#}");
}

#[test]
fn a_full_disk_keeps_the_history_from_the_disk_and_nobody_from_the_role() {
    let lab = Cluster::up(builder("history_full", Flavour::MariaDb1011));
    lab.expect_covered();
    ended(&lab, "start", 1);
    lab.fill_disk(MON).unwrap();
    let told = lab.log_length();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    let record = ended(&lab, "failover", 2);
    assert_eq!(record["outcome"], "done");
    lab.wait_log_since(told, "Can't write the history /var/lib/mysql-mmm/mmm_mond.history", SOON);
    lab.free_disk(MON).unwrap();
    lab.wait_log_since(told, "The history /var/lib/mysql-mmm/mmm_mond.history can be written again", SOON);
    lab.stop(MON, Program::Monitor).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    let again = ended(&lab, "failover", 2);
    assert_eq!(again["gap"], record["gap"]);
    probe.stop().unwrap();
}

/// Who would take over by the word of `explain` if the writer were lost in this way, and after how long.
fn foreseen(lab: &Cluster, way: &str) -> (String, Duration, String) {
    let text = lab.tell(&["--json", "explain"]);
    let explained: Value = serde_json::from_str(&text).unwrap();
    let ways = explained["if_lost"].as_array().unwrap();
    let found = ways.iter().find(|foreseen| foreseen["way"] == way).unwrap();
    let to = found["to"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    let why = found["why"].as_str().unwrap().to_owned();
    (to, Duration::from_millis(found["after_ms"].as_u64().unwrap()), why)
}

fn explained_losses_come_true(name: &str, flavour: Flavour) {
    let lab = Cluster::up(builder(name, flavour));
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let asked = Moment::now();
    eprintln!("{}", lab.tell(&["explain"]));
    eprintln!("asked and answered within {:?}", Moment::now() - asked);
    let (to, after, _) = foreseen(&lab, "server_dies");
    assert_eq!(to, M2);
    let killed = lab.kill(M1, Program::Server).unwrap();
    let took = probe.wait_write_by(ID2, killed, SOON).unwrap().end - killed;
    eprintln!("server killed: foreseen {after:?}, first write after {took:?}");
    assert!(took < after + Duration::from_secs(1), "{took:?}");

    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);
    lab.expect_covered();
    probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    // One who could not take over is not foreseen either.
    lab.tell(&["set_offline", M1]);
    wait_for("an explanation without a successor", SOON, || {
        let text = lab.tell(&["explain"]);
        let fits = text.contains("its host vanishes  nobody takes over")
            && text.contains(&format!("-> mmm_control set_online {M1}"));
        if fits { Ok(()) } else { Err(text) }
    })
    .unwrap();
    lab.tell(&["set_online", M1]);
    lab.expect_pair(M2);
    lab.expect_covered();
    let (to, after, why) = foreseen(&lab, "host_vanishes");
    assert_eq!(to, M1);
    let unplugged = lab.unplug(M2).unwrap();
    let took = probe.wait_write_by(ID1, unplugged, SOON).unwrap().end - unplugged;
    eprintln!("host unplugged: foreseen {after:?}, first write after {took:?}");
    let far = took.abs_diff(after);
    // The last renewal may have come a second after the question, and the session is missed after 2.5 s.
    assert!(far < Duration::from_secs(2), "{took:?}");
    let record = ended(&lab, "failover", 3);
    let rule = record["trigger"]["rule"].as_str().unwrap();
    assert!(why.contains(rule), "foreseen {why}, in truth {rule}");
    probe.stop().unwrap();
}

#[test]
fn what_explain_foresees_of_a_loss_comes_true() {
    explained_losses_come_true("explain", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_what_explain_foresees_of_a_loss_comes_true() {
    explained_losses_come_true("explain_my", Flavour::MySql97);
}
