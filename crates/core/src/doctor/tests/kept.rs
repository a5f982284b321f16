use std::collections::BTreeMap;

use super::fixture::{cluster, name, only, server, told};
use crate::doctor::{Finding, ServerFacts, SetByHand, Severity, judge_cluster, judge_kept};

const MARIADB: &str = "10.11.19-MariaDB-log";
const MYSQL: &str = "9.7.1";
const MYSQL_8: &str = "8.4.3";

/// A server of this version on which these were set by hand: name, value, and what `MariaDB` says is the default.
fn set(version: &str, values: &[(&str, &str, &str)]) -> (ServerFacts, BTreeMap<String, SetByHand>) {
    let mut facts = server(11, 1, "192.168.8.33");
    facts.set("version", version);
    let mut by_hand = BTreeMap::new();
    for (name, value, default) in values {
        facts.set(name, value);
        let default = (version == MARIADB).then(|| (*default).to_owned());
        by_hand.insert((*name).to_owned(), SetByHand { default, persisted: None });
    }
    (facts, by_hand)
}

fn judge(version: &str, values: &[(&str, &str, &str)], options: &[&str]) -> Vec<Finding> {
    let (facts, by_hand) = set(version, values);
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    judge_kept(&name("db1"), &facts, &by_hand, &options, true, false)
}

#[test]
fn a_good_setting_that_was_made_by_hand_belongs_into_my_cnf() {
    for (version, variable, value, default) in [
        (MARIADB, "sync_binlog", "1", "0"),
        (MARIADB, "slave_net_timeout", "10", "60"),
        (MYSQL, "replica_net_timeout", "10", ""),
        (MARIADB, "server_id", "11", "1"),
        (MYSQL, "auto_increment_increment", "2", ""),
        (MARIADB, "rpl_semi_sync_master_enabled", "ON", "OFF"),
        (MYSQL, "rpl_semi_sync_replica_enabled", "ON", ""),
    ] {
        let finding = only(judge(version, &[(variable, value, default)], &[]));
        let check = format!("my.cnf ({variable})");
        let fix = format!("db1 cnf: {variable} = {value}");
        assert_eq!(told(&finding), (Severity::Warn, "db1", check.as_str(), vec![fix]));
    }
}

#[test]
fn the_default_and_what_an_option_says_stay() {
    let sync = [("sync_binlog", "1", "0")];
    assert_eq!(judge(MYSQL, &sync, &[]), [], "MySQL's default");
    for option in ["--sync_binlog=1", "--sync-binlog=1", "--loose-sync-binlog=1"] {
        assert_eq!(judge(MARIADB, &sync, &["--sync_binlog=0", option]), [], "{option}");
    }
    assert_eq!(judge(MARIADB, &sync, &["--sync_binlog=1", "--sync_binlog=0"]).len(), 1);
    let on = [("rpl_semi_sync_master_enabled", "ON", "OFF")];
    for option in [
        "--rpl-semi-sync-master-enabled",
        "--rpl_semi_sync_master_enabled=1",
        "--enable-rpl-semi-sync-master-enabled",
    ] {
        assert_eq!(judge(MARIADB, &on, &[option]), [], "{option}");
    }
    assert_eq!(judge(MARIADB, &on, &["--skip-rpl-semi-sync-master-enabled"]).len(), 1);
    let timeout = [("replica_net_timeout", "10", "")];
    assert_eq!(judge(MYSQL, &timeout, &["--slave-net-timeout=10"]), [], "the same by its old name");
}

#[test]
fn a_bad_setting_is_not_to_be_kept() {
    for (variable, value, default) in [
        ("sync_binlog", "0", "1"),
        ("innodb_flush_log_at_trx_commit", "2", "1"),
        ("slave_net_timeout", "600", "60"),
        ("rpl_semi_sync_master_enabled", "OFF", "OFF"),
    ] {
        assert_eq!(judge(MARIADB, &[(variable, value, default)], &["--rpl_semi_sync_master_enabled=1"]), []);
    }
    // Which of two numbers of a host is the right one nobody can say from here.
    assert_eq!(judge(MARIADB, &[("auto_increment_offset", "1", "1")], &["--auto-increment-offset=2"]), []);
}

#[test]
fn what_can_not_be_known_is_not_said() {
    let sync = [("sync_binlog", "1", "0")];
    assert_eq!(judge(MARIADB, &sync, &["--init-file=/etc/mysql/init.sql"]), []);
    assert_eq!(judge(MARIADB, &[("slave_net_timeout", "10", "60")], &["--slave-net-timeout=1M"]), []);
    let (facts, mut by_hand) = set(MARIADB, &sync);
    by_hand.insert("sync_binlog".to_owned(), SetByHand::default());
    assert_eq!(judge_kept(&name("db1"), &facts, &by_hand, &[], true, false), []);
    assert_eq!(judge(MYSQL, &[("gtid_mode", "ON", "")], &["--gtid-mode=3"]), []);
    assert_eq!(
        judge(MYSQL, &[("gtid_mode", "ON", "")], &[]),
        [],
        "the default changed in one of its ninth versions"
    );
    assert_eq!(judge(MYSQL, &[("gtid_mode", "ON", "")], &["--gtid-mode=OFF"]).len(), 1);
}

#[test]
fn gtids_come_with_what_a_server_does_not_start_without() {
    let finding = only(judge(MYSQL_8, &[("gtid_mode", "ON", "")], &[]));
    let fixes = ["db1 cnf: enforce_gtid_consistency = ON", "db1 cnf: gtid_mode = ON"].map(str::to_owned);
    assert_eq!(told(&finding), (Severity::Warn, "db1", "my.cnf (gtid_mode)", fixes.to_vec()));
}

#[test]
fn what_a_server_has_written_down_itself_counts_more_than_its_options() {
    let (facts, mut by_hand) = set(MYSQL, &[("replica_net_timeout", "10", "")]);
    let persisted = |by_hand: &mut BTreeMap<String, SetByHand>, value: &str| {
        by_hand.get_mut("replica_net_timeout").unwrap().persisted = Some(value.to_owned());
    };
    let options = ["--replica-net-timeout=10".to_owned()];
    persisted(&mut by_hand, "10");
    assert_eq!(judge_kept(&name("db1"), &facts, &by_hand, &[], true, false), []);
    persisted(&mut by_hand, "60");
    let finding = only(judge_kept(&name("db1"), &facts, &by_hand, &options, true, false));
    let fix = "db1 sql: SET PERSIST replica_net_timeout = 10".to_owned();
    assert_eq!(told(&finding), (Severity::Warn, "db1", "my.cnf (replica_net_timeout)", vec![fix]));
}

#[test]
fn switches_that_mmm_sets_are_not_wanted_in_my_cnf_and_how_commits_wait_is() {
    let values = [
        ("rpl_semi_sync_master_enabled", "ON", "OFF"),
        ("rpl_semi_sync_slave_enabled", "ON", "OFF"),
        ("rpl_semi_sync_master_wait_point", "AFTER_SYNC", "AFTER_COMMIT"),
        ("rpl_semi_sync_master_timeout", "20000", "10000"),
    ];
    let checks = |managed, values: &[(&str, &str, &str)]| -> Vec<String> {
        let (facts, by_hand) = set(MARIADB, values);
        let findings = judge_kept(&name("db1"), &facts, &by_hand, &[], true, managed);
        findings.into_iter().map(|finding| finding.check).collect()
    };
    let waiting = ["my.cnf (rpl_semi_sync_master_wait_point)", "my.cnf (rpl_semi_sync_master_timeout)"];
    assert_eq!(checks(true, &values), waiting);
    assert_eq!(checks(false, &values).len(), 4);
    assert_eq!(checks(false, &values[2..]), [""; 0], "nobody waits");
}

#[test]
fn a_replica_may_have_a_log_as_it_likes() {
    let (facts, by_hand) = set(MARIADB, &[("sync_binlog", "1", "0")]);
    assert_eq!(judge_kept(&name("db3"), &facts, &by_hand, &[], false, false), []);
}

#[test]
fn an_agent_that_does_not_know_of_the_monitors_switching_is_not_repeated() {
    let values = [("rpl_semi_sync_slave_enabled", "ON", "OFF"), ("sync_binlog", "1", "0")];
    let told = |manages_semi_sync| {
        let mut facts = cluster();
        facts.manages_semi_sync = manages_semi_sync;
        facts.checkup("db1").findings = judge(MARIADB, &values, &[]);
        judge_cluster(&facts).len()
    };
    assert_eq!((told(false), told(true)), (2, 1));
}
