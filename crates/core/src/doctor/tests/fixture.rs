//! A cluster in which there is nothing to find.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::doctor::{
    AccountFacts, Checkup, ClusterFacts, Finding, HostExamined, InterfaceFacts, LocalFacts, Login, PeerFacts,
    Periods, Place, ReplicationFacts, ServerFacts, Severity, Whose, judge_cluster,
};
use crate::names::{HostName, Role};

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn name(text: &str) -> HostName {
    HostName::from(text)
}

pub(super) fn server(id: u32, offset: u32, source: &str) -> ServerFacts {
    let settings = [
        ("version", "10.11.19-MariaDB-log"),
        ("server_id", &id.to_string()),
        ("log_bin", "ON"),
        ("log_slave_updates", "ON"),
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("slave_net_timeout", "10"),
        ("slave_heartbeat_period", "5.000"),
        ("skip_name_resolve", "ON"),
        ("auto_increment_increment", "2"),
        ("auto_increment_offset", &offset.to_string()),
        ("rpl_semi_sync_master_enabled", "OFF"),
        ("rpl_semi_sync_slave_enabled", "OFF"),
        ("rpl_semi_sync_master_wait_point", "AFTER_COMMIT"),
        ("rpl_semi_sync_master_status", "OFF"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let replication = ReplicationFacts {
        source_host: source.to_owned(),
        source_port: 3306,
        receives: true,
        applies: true,
        uses_gtid: true,
        errors: Vec::new(),
    };
    ServerFacts { settings: settings.into(), replication: Some(Some(replication)) }
}

impl ServerFacts {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    pub(super) fn running(&mut self) -> &mut ReplicationFacts {
        self.replication.as_mut().unwrap().as_mut().unwrap()
    }
}

pub(super) fn account(whose: Whose, server: &str) -> AccountFacts {
    AccountFacts {
        whose,
        user: "mmm_agent".to_owned(),
        server: name(server),
        from: Some(ip("192.168.8.32")),
        needed: "PROCESS, READ ONLY ADMIN".to_owned(),
        login: Login::In { account: "'mmm_agent'@'192.168.8.%'".to_owned(), missing: Vec::new() },
    }
}

pub(super) fn shared() -> BTreeMap<String, String> {
    [("<host db1> ip", "192.168.8.32"), ("<host db1> mode", "master"), ("<role writer> ips", "192.168.8.30")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn host(number: u32, last: u32, peer: &str, source: &str) -> HostExamined {
    HostExamined {
        ip: ip(&format!("192.168.8.{last}")),
        mysql_port: 3306,
        is_master: true,
        peer: Some(name(peer)),
        agent: Ok(Checkup {
            shared: shared(),
            hardware: Some(format!("02:00:00:00:00:{last}")),
            ..Checkup::default()
        }),
        ahead_ms: Some(3),
        server: Ok(server(10 + number, number, source)),
        account: account(Whose::Monitor, &format!("db{number}")),
    }
}

pub(super) fn cluster() -> ClusterFacts {
    ClusterFacts {
        hosts: [
            (name("db1"), host(1, 32, "db2", "192.168.8.33")),
            (name("db2"), host(2, 33, "db1", "192.168.8.32")),
        ]
        .into(),
        periods: Periods { trap: Duration::from_secs(10), proof_ms: None },
        shared: shared(),
        role_ips: BTreeSet::from([ip("192.168.8.30")]),
        manages_semi_sync: false,
    }
}

impl ClusterFacts {
    pub(super) fn host(&mut self, host: &str) -> &mut HostExamined {
        self.hosts.get_mut(&name(host)).unwrap()
    }

    pub(super) fn server(&mut self, host: &str) -> &mut ServerFacts {
        self.host(host).server.as_mut().unwrap()
    }

    pub(super) fn checkup(&mut self, host: &str) -> &mut Checkup {
        self.host(host).agent.as_mut().unwrap()
    }
}

pub(super) fn local() -> LocalFacts {
    let interface =
        InterfaceFacts { is_up: true, has_carrier: true, networks: [(ip("192.168.8.32"), 24)].into() };
    LocalFacts {
        host: name("db1"),
        ip: ip("192.168.8.32"),
        cluster_interface: "eth0".to_owned(),
        interfaces: Ok([("eth0".to_owned(), interface), ("lo".to_owned(), InterfaceFacts::default())].into()),
        roles: [Role::new("writer", ip("192.168.8.30"))].into(),
        answers: [(ip("192.168.8.30"), BTreeSet::new())].into(),
        held: [ip("192.168.8.30")].into(),
        peers: vec![PeerFacts { host: name("db2"), ip: ip("192.168.8.33"), agent_port: 9989, agent: Ok(()) }],
    }
}

/// The one thing that was found after this change.
pub(super) fn after(change: impl FnOnce(&mut ClusterFacts)) -> Finding {
    let mut facts = cluster();
    change(&mut facts);
    only(judge_cluster(&facts))
}

pub(super) fn only(mut findings: Vec<Finding>) -> Finding {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

/// Severity, host and check of a finding, and its fixes as text.
pub(super) fn told(finding: &Finding) -> (Severity, &str, &str, Vec<String>) {
    let fixes = finding.fixes.iter().map(|fix| {
        let place = match fix.place {
            Place::Sql => "sql",
            Place::MyCnf => "cnf",
            Place::Shell => "sh",
            Place::MmmConf => "mmm",
        };
        format!("{} {place}: {}", fix.host, fix.line)
    });
    assert!(!finding.why.is_empty() && !finding.what.is_empty());
    (finding.severity, finding.host.as_str(), finding.check.as_str(), fixes.collect())
}
