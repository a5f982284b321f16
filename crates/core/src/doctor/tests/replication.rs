use super::fixture::{after, cluster, told};
use crate::doctor::{Severity, judge_cluster};

#[test]
fn a_master_that_replicates_from_nobody() {
    let finding = after(|facts| facts.server("db1").replication = Some(None));
    let (severity, host, check, fixes) = told(&finding);
    assert_eq!((severity, host, check), (Severity::Error, "db1", "replication"));
    assert_eq!(
        fixes,
        [
            "db1 sql: CHANGE MASTER TO MASTER_HOST = '192.168.8.33', MASTER_PORT = 3306, MASTER_USER = 'replication_user', MASTER_PASSWORD = 'replication_password', MASTER_USE_GTID = slave_pos",
            "db1 sql: START SLAVE"
        ]
    );
}

#[test]
fn replication_that_may_not_be_seen_is_not_taken_for_none() {
    let mut facts = cluster();
    facts.server("db1").replication = None;
    assert_eq!(judge_cluster(&facts), []);
}

#[test]
fn a_master_that_replicates_from_somebody_else() {
    for host in ["192.168.8.30", "db2.example.org"] {
        let finding = after(|facts| facts.server("db1").running().source_host = host.to_owned());
        let (severity, _, check, fixes) = told(&finding);
        assert_eq!((severity, check), (Severity::Error, "replication"));
        assert_eq!(
            fixes,
            [
                "db1 sql: STOP SLAVE",
                "db1 sql: CHANGE MASTER TO MASTER_HOST = '192.168.8.33', MASTER_PORT = 3306",
                "db1 sql: START SLAVE"
            ]
        );
    }
    let finding = after(|facts| {
        facts.server("db1").running().source_port = 3307;
        facts.server("db1").running().uses_gtid = false;
    });
    assert!(told(&finding).3[1].ends_with("MASTER_LOG_FILE = 'FILE', MASTER_LOG_POS = POSITION"));
}

#[test]
fn a_thread_that_is_stopped_or_has_an_error() {
    let finding = after(|facts| facts.server("db2").running().applies = false);
    assert_eq!(told(&finding), (Severity::Error, "db2", "replication", vec!["db2 sql: START SLAVE".into()]));
    assert!(finding.what.contains("(applying)"));
    let finding = after(|facts| facts.server("db2").running().errors.push("Duplicate entry".to_owned()));
    assert!(finding.what.ends_with("has an error: Duplicate entry"));
}

#[test]
fn a_replica_may_follow_either_master_and_nobody_else() {
    let mut facts = cluster();
    let mut replica = facts.hosts.values().next().unwrap().clone();
    replica.is_master = false;
    replica.peer = None;
    replica.ip = "192.168.8.36".parse().unwrap();
    let server = replica.server.as_mut().unwrap();
    server.set("server_id", "14");
    facts.hosts.insert("db3".into(), replica);
    for (source, count) in [("192.168.8.32", 0), ("192.168.8.33", 0), ("192.168.8.77", 1)] {
        facts.server("db3").running().source_host = source.to_owned();
        assert_eq!(judge_cluster(&facts).len(), count, "{source}");
    }
}

#[test]
fn a_dead_link_that_is_noticed_too_late() {
    let finding = after(|facts| {
        facts.server("db1").set("slave_net_timeout", "60");
        facts.server("db1").set("slave_heartbeat_period", "30.000");
    });
    let (severity, _, check, fixes) = told(&finding);
    assert_eq!((severity, check), (Severity::Warn, "slave_net_timeout"));
    assert_eq!(
        fixes,
        [
            "db1 sql: SET GLOBAL slave_net_timeout = 10",
            "db1 cnf: slave_net_timeout = 10",
            "db1 sql: STOP SLAVE",
            "db1 sql: CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 5",
            "db1 sql: START SLAVE"
        ]
    );
}

#[test]
fn a_heartbeat_slower_than_the_patience_of_its_receiver() {
    for beat in ["30.000", "0.000"] {
        let finding = after(|facts| facts.server("db1").set("slave_heartbeat_period", beat));
        let fixes = told(&finding).3;
        assert_eq!(fixes[1], "db1 sql: CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 5");
    }
}

#[test]
fn mysql_is_told_in_its_own_words() {
    let finding = after(|facts| {
        for host in ["db1", "db2"] {
            facts.server(host).set("version", "9.7.4");
        }
        facts.server("db1").replication = Some(None);
    });
    let fixes = told(&finding).3;
    assert!(fixes[0].starts_with("db1 sql: CHANGE REPLICATION SOURCE TO SOURCE_HOST = '192.168.8.33'"));
    assert!(fixes[0].ends_with("SOURCE_AUTO_POSITION = 1"));
    assert_eq!(fixes[1], "db1 sql: START REPLICA");
}
