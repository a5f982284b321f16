//! Somebody writes to the wrong server.

use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, MON, Moment, Program};

use crate::cluster::{Cluster, ID1, QUICK_CHECKS, SOON, quick};
use crate::replicas::REPLICAS;

const FOUND: Duration = Duration::from_secs(30);

fn with_replicas(name: &str) -> Builder {
    quick(name).replicas(2).append(ConfigFile::Monitor, QUICK_CHECKS)
}

/// Writes raise no alarm; one on a replica does, by its name, and only there.
fn a_stray_write_is_named(builder: Builder, my_sql: bool) {
    let lab = Cluster::with_replicas(builder);
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now() + Duration::from_secs(20), Duration::from_secs(30)).unwrap();
    let log = lab.log(MON, Program::Monitor).unwrap();
    assert!(!log.contains("never had") && !lab.tell(&["show"]).contains("never had"), "{log}");

    let stray = REPLICAS[0];
    if my_sql {
        lab.sql(stray, "SET GLOBAL super_read_only = 0").unwrap();
    }
    lab.sql(stray, "INSERT INTO lab.probe VALUES (999999999, 99)").unwrap();
    lab.wait_shown(&format!("# Warning: host {stray} has "), FOUND);
    lab.wait_log(MON, Program::Monitor, "WARN Host", SOON).unwrap();
    let show = lab.tell(&["show"]);
    assert_eq!(show.matches("never had").count(), 1, "{show}");
    let id = lab.sql(stray, "SELECT @@server_id").unwrap().value().unwrap().to_owned();
    let uuid = lab.sql(stray, "SELECT @@server_uuid").ok().and_then(|row| row.value().map(str::to_owned));
    let name = uuid.unwrap_or_else(|| format!("-{id}-"));
    assert!(lab.tell(&["diverged", stray]).contains(&name), "{name}");
    std::thread::sleep(Duration::from_secs(8));
    probe.stop().unwrap();
    let log = lab.log(MON, Program::Monitor).unwrap();
    assert_eq!(log.matches("never had").count(), 1, "{log}");
}

#[test]
fn a_stray_write_on_a_replica_is_named_and_writes_raise_no_alarm() {
    a_stray_write_is_named(with_replicas("er_replica"), false);
}

#[test]
fn mysql_9_7_a_stray_write_on_a_replica_is_named_and_writes_raise_no_alarm() {
    a_stray_write_is_named(with_replicas("er_my_replica").server(Flavour::MySql97).gtid(), true);
}

#[test]
fn a_passive_master_with_a_stray_write_is_promoted_only_with_a_loud_word() {
    let lab = Cluster::up(quick("er_passive").append(ConfigFile::Monitor, QUICK_CHECKS));
    // Else the writer would get it.
    lab.sql(M1, "STOP SLAVE").unwrap();
    lab.sql(M2, "INSERT INTO lab.probe VALUES (999999999, 99)").unwrap();
    lab.wait_shown(&format!("# Warning: host {M2} has "), FOUND);
    let length = lab.log_length();
    lab.kill(M1, Program::Server).unwrap();
    let line = lab.wait_log_since(length, "is promoted with", SOON);
    assert!(line.contains(&format!(" FATAL Host '{M2}' is promoted with ")), "{line}");
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
}
