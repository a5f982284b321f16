//! Who replicates from whom, and how soon a dead link between two servers is noticed.

use std::net::IpAddr;
use std::time::Duration;

use super::{ClusterFacts, HostExamined};
use crate::doctor::facts::{ReplicationFacts, ServerFacts};
use crate::doctor::finding::{Finding, Place};
use crate::names::HostName;

const NET_TIMEOUT: [&str; 2] = ["replica_net_timeout", "slave_net_timeout"];
const HEARTBEAT: [&str; 2] = ["replica_heartbeat_period", "slave_heartbeat_period"];

pub(super) fn judge(facts: &ClusterFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, host, server) in facts.servers() {
        match &server.replication {
            None => {}
            Some(None) => findings.extend(judge_missing(facts, name, host, server)),
            Some(Some(replication)) => {
                findings.extend(judge_running(facts, name, host, server, replication));
                findings.extend(judge_timeout(name, server, facts.periods.trap));
            }
        }
    }
    findings
}

/// The statements of one family.
struct Words {
    change: &'static str,
    prefix: &'static str,
    threads: &'static str,
    gtid: &'static str,
}

impl Words {
    fn of(server: &ServerFacts) -> Self {
        if server.has_new_words() {
            Self {
                change: "CHANGE REPLICATION SOURCE TO",
                prefix: "SOURCE",
                threads: "REPLICA",
                gtid: "SOURCE_AUTO_POSITION = 1",
            }
        } else {
            let gtid =
                if server.is_mariadb() { "MASTER_USE_GTID = slave_pos" } else { "MASTER_AUTO_POSITION = 1" };
            Self { change: "CHANGE MASTER TO", prefix: "MASTER", threads: "SLAVE", gtid }
        }
    }

    fn source(&self, ip: IpAddr, port: u16) -> String {
        format!("{} {p}_HOST = '{ip}', {p}_PORT = {port}", self.change, p = self.prefix)
    }
}

/// Where a host should replicate from: a master from its peer, a replica from any master.
fn sources<'a>(facts: &'a ClusterFacts, host: &HostExamined) -> Vec<(&'a HostName, &'a HostExamined)> {
    let masters = facts.hosts.iter().filter(|(_, other)| other.is_master && other.ip != host.ip);
    if host.is_master {
        masters.filter(|(name, _)| host.peer.as_ref() == Some(name)).collect()
    } else {
        masters.collect()
    }
}

fn judge_missing(
    facts: &ClusterFacts,
    name: &HostName,
    host: &HostExamined,
    server: &ServerFacts,
) -> Option<Finding> {
    let (source, at) = sources(facts, host).into_iter().next()?;
    let words = Words::of(server);
    let p = words.prefix;
    Some(
        Finding::error(
            name,
            "replication",
            format!("does not replicate from {source}"),
            "it has nothing of what the writer writes, and must not become the writer",
        )
        .fix(
            Place::Sql,
            format!(
                "{}, {p}_USER = 'replication_user', {p}_PASSWORD = 'replication_password', {}",
                words.source(at.ip, at.mysql_port),
                words.gtid
            ),
        )
        .fix(Place::Sql, format!("START {}", words.threads)),
    )
}

fn judge_running(
    facts: &ClusterFacts,
    name: &HostName,
    host: &HostExamined,
    server: &ServerFacts,
    replication: &ReplicationFacts,
) -> Option<Finding> {
    let words = Words::of(server);
    let wanted = sources(facts, host);
    let ReplicationFacts { source_host, source_port, .. } = replication;
    let is_wanted = |at: &HostExamined| at.mysql_port == *source_port && at.ip.to_string() == *source_host;
    if let Some((source, at)) = wanted.first()
        && !wanted.iter().any(|(_, at)| is_wanted(at))
    {
        let what = format!(
            "replicates from {source_host}:{source_port}, not from {source} ({}:{})",
            at.ip, at.mysql_port
        );
        let why = "after a failover it would follow the wrong server, or a name or address that has moved";
        let change = words.source(at.ip, at.mysql_port);
        let change = if replication.uses_gtid {
            change
        } else {
            format!("{change}, {p}_LOG_FILE = 'FILE', {p}_LOG_POS = POSITION", p = words.prefix)
        };
        return Some(
            Finding::error(name, "replication", what, why)
                .fix(Place::Sql, format!("STOP {}", words.threads))
                .fix(Place::Sql, change)
                .fix(Place::Sql, format!("START {}", words.threads)),
        );
    }
    let stopped: Vec<&str> = [(replication.receives, "receiving"), (replication.applies, "applying")]
        .into_iter()
        .filter_map(|(runs, what)| (!runs).then_some(what))
        .collect();
    if stopped.is_empty() && replication.errors.is_empty() {
        return None;
    }
    let errors: Vec<&str> = replication.errors.iter().map(String::as_str).collect();
    let errors = if errors.is_empty() { String::new() } else { format!(": {}", errors.join("; ")) };
    let what = if stopped.is_empty() {
        format!("replication from {source_host} has an error{errors}")
    } else {
        format!("replication from {source_host} is stopped ({}){errors}", stopped.join(", "))
    };
    Some(
        Finding::error(
            name,
            "replication",
            what,
            "it falls behind and could not take over (the monitor stops it on purpose after a failover, until nothing is missing: see its log)",
        )
        .fix(Place::Sql, format!("START {}", words.threads)),
    )
}

fn judge_timeout(name: &HostName, server: &ServerFacts, trap: Duration) -> Option<Finding> {
    let variable = NET_TIMEOUT.into_iter().find(|name| server.settings.contains_key(*name))?;
    let timeout = server.number(&[variable])?;
    let heartbeat = server.seconds(&HEARTBEAT);
    let wanted = trap.as_secs().max(2);
    let is_late = timeout > wanted;
    let beats_in_time =
        |timeout: u64| heartbeat.is_none_or(|beat| !beat.is_zero() && beat < Duration::from_secs(timeout));
    let (what, why) = if is_late {
        (
            format!(
                "{variable} is {timeout} s, and checks of replication are believed after {} s",
                trap.as_secs_f64()
            ),
            "for as long as that a dead link between the servers looks like replication without any delay",
        )
    } else if beats_in_time(timeout) {
        return None;
    } else {
        let beat = heartbeat.unwrap_or_default().as_secs_f64();
        (
            format!(
                "{variable} is {timeout} s, but its source says something only each {beat} s when nothing is written"
            ),
            "an idle connection is taken for a dead one and made anew again and again",
        )
    };
    let words = Words::of(server);
    let timeout = timeout.min(wanted).max(1);
    let mut finding = Finding::warn(name, "slave_net_timeout", what, why);
    if is_late {
        finding = finding
            .fix(Place::Sql, format!("SET GLOBAL {variable} = {timeout}"))
            .fix(Place::MyCnf, format!("{variable} = {timeout}"));
    }
    if !beats_in_time(timeout) || is_late {
        // Also makes the receiving thread take up the new limit.
        let half = Duration::from_secs(timeout).as_secs_f64() / 2.0;
        finding = finding
            .fix(Place::Sql, format!("STOP {}", words.threads))
            .fix(Place::Sql, format!("{} {}_HEARTBEAT_PERIOD = {half}", words.change, words.prefix))
            .fix(Place::Sql, format!("START {}", words.threads));
    }
    Some(finding)
}
