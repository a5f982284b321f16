//! A writer's server dies with transactions that nobody has received: its agent hands them to the next writer.

use std::time::Duration;

use mmm_lab::{Builder, Flavour, Judge, M1, M2, MON, Moment, Program};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};

fn mysql(name: &str) -> Builder {
    quick(name).server(Flavour::MySql97)
}

fn without_gtids(name: &str) -> Builder {
    mysql(name).server_line("gtid_mode = OFF").server_line("enforce_gtid_consistency = OFF")
}

fn is_mysql(lab: &Cluster) -> bool {
    lab.sql(M2, "SELECT VERSION()").unwrap().value().is_some_and(|version| !version.contains("MariaDB"))
}

/// From now on the second master receives nothing, while the writer goes on.
fn stop_receiving(lab: &Cluster) {
    let word = if is_mysql(lab) { "STOP REPLICA IO_THREAD" } else { "STOP SLAVE IO_THREAD" };
    lab.sql(M2, word).unwrap();
}

fn expect_nothing_lost(builder: Builder) {
    let lab = Cluster::up(builder);
    lab.wait_covered(SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let before = lab.sql(M2, "SHOW VARIABLES LIKE 'server_id'").unwrap();
    assert_eq!(before.get("Value"), Some(ID2.to_string().as_str()));
    stop_receiving(&lab);
    let stopped = Moment::now();
    lab.sql(M1, "CREATE TABLE lab.big (n INT PRIMARY KEY, t LONGTEXT)").unwrap();
    probe.wait_write_by(ID1, stopped + Duration::from_millis(300), SOON).unwrap();
    lab.sql(M1, "FLUSH BINARY LOGS").unwrap();
    lab.sql(M1, "INSERT INTO lab.big VALUES (1, REPEAT('x', 3000000)), (2, REPEAT('y', 3000000))").unwrap();
    lab.sql(M1, "FLUSH BINARY LOGS").unwrap();
    probe.wait_write_by(ID1, Moment::now() + Duration::from_millis(300), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the other {:?} after the kill", first.end - killed);
    assert!(first.end - killed < Duration::from_secs(3));
    let record = probe.stop().unwrap();
    let judge = Judge::new(&lab, record);
    assert_eq!(judge.lost(M2).unwrap(), Vec::<u64>::new());
    assert_eq!(judge.duplicates(M2).unwrap(), Vec::<u64>::new());
    assert_eq!(lab.sql(M2, "SELECT SUM(LENGTH(t)) FROM lab.big").unwrap().value(), Some("6000000"));
    let line = lab.wait_log(MON, Program::Monitor, "salvaged ", SOON).unwrap();
    eprintln!("{line}");

    // The old one has no more than the new one, and they follow each other as before.
    lab.start(M1, Program::Server).unwrap();
    lab.wait_replicating(M2, SOON).unwrap();
    lab.expect_pair(M2);
    lab.expect_identical(M2, &[M1]);
}

#[test]
fn what_only_a_killed_writer_has_is_on_the_next_one_by_gtid() {
    expect_nothing_lost(quick("salvage_gtid").gtid());
}

#[test]
fn what_only_a_killed_writer_has_is_on_the_next_one_by_place() {
    expect_nothing_lost(quick("salvage_place"));
}

#[test]
fn mysql_9_7_what_only_a_killed_writer_has_is_on_the_next_one_by_gtid() {
    expect_nothing_lost(mysql("salvage_my_gtid").gtid());
}

#[test]
fn mysql_9_7_what_only_a_killed_writer_has_is_on_the_next_one_without_gtids() {
    expect_nothing_lost(without_gtids("salvage_my_off"));
}
