use super::fixture::{name, only, server, told};
use crate::doctor::{AtBoot, Finding, ServerFacts, Severity, judge_server};

fn judge(change: impl FnOnce(&mut ServerFacts)) -> Vec<Finding> {
    let mut facts = server(11, 1, "192.168.8.33");
    change(&mut facts);
    judge_server(&name("db1"), &facts, Some(&AtBoot::ReadOnly), true, true)
}

fn check(change: impl FnOnce(&mut ServerFacts), severity: Severity, check: &str, fixes: &[&str]) {
    let finding = only(judge(change));
    let fixes = fixes.iter().map(|fix| format!("db1 {fix}")).collect();
    assert_eq!(told(&finding), (severity, "db1", check, fixes));
}

#[test]
fn a_server_that_is_set_up_well_is_no_finding() {
    assert_eq!(judge(|_| {}), []);
}

#[test]
fn a_server_without_a_number() {
    let fixes = ["sql: SET GLOBAL server_id = 101", "cnf: server_id = 101"];
    check(|server| server.set("server_id", "0"), Severity::Error, "server_id", &fixes);
}

#[test]
fn a_master_without_a_binary_log() {
    let fixes = ["cnf: log_bin = mysql-bin"];
    check(|server| server.set("log_bin", "OFF"), Severity::Error, "log_bin", &fixes);
}

#[test]
fn replicated_changes_that_are_not_logged_are_worse_where_there_are_replicas() {
    let off = |server: &mut ServerFacts| server.set("log_slave_updates", "OFF");
    check(off, Severity::Error, "log_slave_updates", &["cnf: log_slave_updates = 1"]);
    let mut facts = server(11, 1, "192.168.8.33");
    off(&mut facts);
    let findings = judge_server(&name("db1"), &facts, Some(&AtBoot::ReadOnly), true, false);
    assert_eq!(only(findings).severity, Severity::Warn);
}

#[test]
fn mysql_has_the_same_setting_under_its_new_name() {
    let change = |server: &mut ServerFacts| {
        server.settings.remove("log_slave_updates");
        server.set("log_replica_updates", "OFF");
    };
    check(change, Severity::Error, "log_slave_updates", &["cnf: log_replica_updates = 1"]);
}

#[test]
fn logs_that_are_not_written_through() {
    for name in ["sync_binlog", "innodb_flush_log_at_trx_commit"] {
        let fixes = [format!("sql: SET GLOBAL {name} = 1"), format!("cnf: {name} = 1")];
        let fixes: Vec<&str> = fixes.iter().map(String::as_str).collect();
        check(|server| server.set(name, "0"), Severity::Warn, name, &fixes);
    }
}

#[test]
fn transactions_without_a_gtid() {
    let fixes = ["cnf: enforce_gtid_consistency = ON", "cnf: gtid_mode = ON"];
    check(|server| server.set("gtid_mode", "OFF"), Severity::Warn, "gtid_mode", &fixes);
}

#[test]
fn a_server_that_starts_writable_or_nobody_knows() {
    let facts = server(11, 1, "192.168.8.33");
    for at_boot in [AtBoot::Writable, AtBoot::Unknown("no pid file".to_owned())] {
        let finding = only(judge_server(&name("db1"), &facts, Some(&at_boot), true, true));
        let expected = vec!["db1 cnf: read_only = 1".to_owned()];
        assert_eq!(told(&finding), (Severity::Warn, "db1", "read_only", expected));
        assert_eq!(finding.what.contains("cannot be told: no pid file"), at_boot != AtBoot::Writable);
    }
    assert_eq!(judge_server(&name("db1"), &facts, None, true, true), []);
}

#[test]
fn semi_synchronous_replication_that_acknowledges_too_early_or_not_at_all() {
    let early = |server: &mut ServerFacts| {
        server.set("rpl_semi_sync_master_enabled", "ON");
        server.set("rpl_semi_sync_master_status", "ON");
    };
    let fixes = [
        "sql: SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
        "cnf: rpl_semi_sync_master_wait_point = AFTER_SYNC",
    ];
    check(early, Severity::Warn, "semi_sync_wait_point", &fixes);
    let alone = |server: &mut ServerFacts| {
        server.set("rpl_semi_sync_master_enabled", "ON");
        server.set("rpl_semi_sync_master_wait_point", "AFTER_SYNC");
    };
    check(alone, Severity::Warn, "semi_sync", &["sql: SHOW GLOBAL STATUS LIKE 'rpl_semi_sync_master%'"]);
}

#[test]
fn names_that_are_looked_up_at_each_login() {
    let fixes = ["cnf: skip_name_resolve = 1"];
    check(|server| server.set("skip_name_resolve", "OFF"), Severity::Warn, "skip_name_resolve", &fixes);
}

#[test]
fn a_setting_that_a_server_does_not_have_is_no_finding() {
    let findings = judge(|server| {
        server.settings.retain(|name, _| name == "version");
    });
    assert_eq!(findings, []);
}

#[test]
fn a_replica_needs_no_log_of_its_own() {
    let mut facts = server(14, 1, "192.168.8.32");
    facts.set("log_bin", "OFF");
    facts.set("sync_binlog", "0");
    assert_eq!(judge_server(&name("db3"), &facts, Some(&AtBoot::ReadOnly), false, true), []);
}
