//! All hosts together: what only somebody who sees more than one of them can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::facts::{AccountFacts, Checkup, Periods, ServerFacts};
use super::finding::{Finding, Place};
use super::kept::is_about_a_switch;
use super::{judge_account, judge_server};
use crate::names::HostName;

mod replication;
mod semi_sync;

/// A clock that is off by more than this is told; answers take some of it.
const SKEW_MS_MAX: u64 = 1000;

/// What a monitor knows of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostExamined {
    pub ip: IpAddr,
    pub mysql_port: u16,
    pub is_master: bool,
    pub peer: Option<HostName>,
    /// What its agent says; or why it says nothing.
    pub agent: Result<Checkup, String>,
    /// How far its clock is ahead of the monitor's.
    pub ahead_ms: Option<i64>,
    /// What its server says to the monitor's account; or why it says nothing.
    pub server: Result<ServerFacts, String>,
    /// The monitor's own account there.
    pub account: AccountFacts,
}

/// What a monitor knows of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFacts {
    pub hosts: BTreeMap<HostName, HostExamined>,
    pub periods: Periods,
    /// What the monitor's configuration says that all must agree on.
    pub shared: BTreeMap<String, String>,
    /// All addresses of all roles.
    pub role_ips: BTreeSet<IpAddr>,
    /// Then the monitor switches semi-synchronous replication, whatever an agent's own files say of it.
    pub manages_semi_sync: bool,
}

impl ClusterFacts {
    fn servers(&self) -> impl Iterator<Item = (&HostName, &HostExamined, &ServerFacts)> {
        self.hosts.iter().filter_map(|(name, host)| Some((name, host, host.server.as_ref().ok()?)))
    }

    /// Each pair of masters once, where both servers are known.
    fn pairs(&self) -> impl Iterator<Item = [(&HostName, &ServerFacts); 2]> {
        self.hosts.iter().filter(|(_, host)| host.is_master).filter_map(|(name, host)| {
            let peer = host.peer.as_ref().filter(|peer| name < *peer)?;
            let (peer, other) = self.hosts.get_key_value(peer)?;
            Some([(name, host.server.as_ref().ok()?), (peer, other.server.as_ref().ok()?)])
        })
    }
}

/// Everything that is found: what agents found, and what only all facts together tell.
pub fn judge_cluster(facts: &ClusterFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has_replicas = facts.hosts.values().any(|host| !host.is_master);
    for (name, host) in &facts.hosts {
        match &host.agent {
            Ok(checkup) => {
                let is_meant = |found: &&Finding| !(facts.manages_semi_sync && is_about_a_switch(found));
                findings.extend(checkup.findings.iter().filter(is_meant).cloned());
            }
            Err(why) => {
                findings.push(judge_agent(name, why));
                // The next best: what the server says to the monitor.
                if let Ok(server) = &host.server {
                    findings.extend(judge_server(name, server, None, host.is_master, has_replicas));
                }
            }
        }
        findings.extend(judge_account(&host.account));
        findings.extend(judge_clock(name, host));
        findings.extend(judge_shared(name, host, &facts.shared));
        findings.extend(judge_strangers(name, host, facts));
    }
    findings.extend(judge_server_ids(facts));
    findings.extend(facts.pairs().filter_map(judge_auto_increment));
    findings.extend(facts.pairs().flat_map(judge_pair));
    findings.extend(replication::judge(facts));
    findings.extend(semi_sync::judge(facts));
    findings
}

fn judge_agent(host: &HostName, why: &str) -> Finding {
    Finding::error(
        host,
        "agent",
        why,
        "without its agent the host takes no role, and what is local to it is not known",
    )
    .fix(Place::Shell, "mmm_agentd --daemon")
}

fn judge_clock(name: &HostName, host: &HostExamined) -> Option<Finding> {
    let ahead = host.ahead_ms?;
    (ahead.unsigned_abs() > SKEW_MS_MAX).then(|| {
        let which = if ahead > 0 { "ahead of" } else { "behind" };
        Finding::warn(
            name,
            "clock",
            format!("its clock is {} ms {which} the monitor's", ahead.unsigned_abs()),
            "logs can't be read together, and timestamps jump when the writer role moves (leases do not depend on it)",
        )
        .fix(Place::Shell, "timedatectl set-ntp true")
    })
}

/// Values that must be the same on monitor and agents. An agent's file may leave out what it does not need.
fn judge_shared(name: &HostName, host: &HostExamined, shared: &BTreeMap<String, String>) -> Vec<Finding> {
    let Ok(checkup) = &host.agent else { return Vec::new() };
    if checkup.shared.is_empty() {
        // An agent that does not tell.
        return Vec::new();
    }
    let why = "the monitor gives orders that the agent does not understand as they are meant, and roles do not move";
    let keys: BTreeSet<&String> = shared.keys().chain(checkup.shared.keys()).collect();
    let differ = keys.into_iter().filter_map(|key| {
        let (ours, theirs) = (shared.get(key), checkup.shared.get(key));
        let is_needed = key.ends_with(" ip") || key.ends_with(" ips");
        let (what, line) = match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => (
                format!("`{key}` is {theirs} in its configuration, and {ours} in the monitor's"),
                line_of(key, ours),
            ),
            (Some(ours), None) if is_needed => (
                format!("`{key}` is missing in its configuration; the monitor has {ours}"),
                line_of(key, ours),
            ),
            (None, Some(theirs)) if is_needed => {
                let section = key.rsplit_once(' ').map_or("", |(section, _)| section);
                (
                    format!("`{key}` is {theirs} in its configuration, and the monitor has none"),
                    format!("# remove {section}, or add it to the monitor's"),
                )
            }
            _ => return None,
        };
        Some(Finding::error(name, format!("configuration ({key})"), what, why).fix(Place::MmmConf, line))
    });
    differ.collect()
}

/// `<role writer> ips` and its value as a line of the file.
fn line_of(key: &str, value: &str) -> String {
    match key.rsplit_once(' ') {
        Some((section, variable)) => format!("{variable} {value} # in {section}"),
        None => format!("{key} {value}"),
    }
}

/// Answers for an address that come from none of the cluster's hosts.
fn judge_strangers(name: &HostName, host: &HostExamined, facts: &ClusterFacts) -> Vec<Finding> {
    let Ok(checkup) = &host.agent else { return Vec::new() };
    let checkups = || facts.hosts.values().map(|host| host.agent.as_ref().ok());
    let known: BTreeSet<&String> = checkups().flatten().filter_map(|other| other.hardware.as_ref()).collect();
    if checkups().any(|other| other.is_none_or(|other| other.hardware.is_none())) {
        // Whoever answers may be the host whose hardware address is not known.
        return Vec::new();
    }
    let answers = checkup.answers.iter().filter(|(ip, _)| facts.role_ips.contains(*ip));
    let strangers = answers.flat_map(|(ip, who)| who.iter().map(move |who| (ip, who)));
    strangers
        .filter(|(_, who)| !known.contains(who))
        .map(|(ip, who)| {
            Finding::error(
                name,
                format!("duplicate {ip}"),
                format!("{who} answers for {ip}, and is none of the cluster's hosts"),
                "clients that reach it by that address are not at the server that has the role",
            )
            .fix(Place::Shell, format!("ip neighbour | grep {who} # find that host and take {ip} off it"))
        })
        .collect()
}

fn judge_server_ids(facts: &ClusterFacts) -> Vec<Finding> {
    let mut ids: BTreeMap<u64, Vec<&HostName>> = BTreeMap::new();
    for (name, _, server) in facts.servers() {
        if let Some(id) = server.number(&["server_id"]).filter(|id| *id != 0) {
            ids.entry(id).or_default().push(name);
        }
    }
    let taken: BTreeSet<u64> = ids.keys().copied().collect();
    let mut free = (1..).filter(|id| !taken.contains(id));
    let mut findings = Vec::new();
    for (id, names) in ids.iter().filter(|(_, names)| names.len() > 1) {
        for name in names.iter().skip(1) {
            let first = names[0];
            let Some(next) = free.next() else { break };
            let is_running =
                facts.hosts[*name].server.as_ref().is_ok_and(|s| matches!(s.replication, Some(Some(_))));
            let new_words = facts.hosts[*name].server.as_ref().is_ok_and(ServerFacts::has_new_words);
            let word = if new_words { "REPLICA" } else { "SLAVE" };
            let mut finding = Finding::error(
                name,
                "server_id",
                format!("server_id is {id}, the same as on {first}"),
                "a server skips what bears its own number: transactions of the other one are lost without an error",
            )
            .fix(Place::Sql, format!("SET GLOBAL server_id = {next}"));
            if is_running {
                finding =
                    finding.fix(Place::Sql, format!("STOP {word}")).fix(Place::Sql, format!("START {word}"));
            }
            findings.push(finding.fix(Place::MyCnf, format!("server_id = {next}")));
        }
    }
    findings
}

fn judge_auto_increment(pair: [(&HostName, &ServerFacts); 2]) -> Option<Finding> {
    const INCREMENT: &str = "auto_increment_increment";
    const OFFSET: &str = "auto_increment_offset";
    let [(name, one), (peer, other)] = pair;
    let numbers = |server: &ServerFacts| Some((server.number(&[INCREMENT])?, server.number(&[OFFSET])?));
    let ((increment, offset), (other_increment, other_offset)) = (numbers(one)?, numbers(other)?);
    let is_fine = increment >= 2
        && increment == other_increment
        && offset != other_offset
        && offset.max(other_offset) <= increment;
    if is_fine {
        return None;
    }
    let what = format!(
        "{INCREMENT}/{OFFSET} are {increment}/{offset}, and {other_increment}/{other_offset} on {peer}: both may create the same numbers"
    );
    let why = "rows written on both around a failover get the same key, and replication stops at them";
    let mut finding = Finding::warn(name, "auto_increment", what, why);
    for (host, offset) in [(name, 1), (peer, 2)] {
        for (variable, value) in [(INCREMENT, 2), (OFFSET, offset)] {
            finding = finding.fix_on(host, Place::Sql, format!("SET GLOBAL {variable} = {value}")).fix_on(
                host,
                Place::MyCnf,
                format!("{variable} = {value}"),
            );
        }
    }
    Some(finding)
}

/// What must be the same on both masters, or match.
fn judge_pair(pair: [(&HostName, &ServerFacts); 2]) -> Vec<Finding> {
    let [one, other] = pair;
    let mut findings = Vec::new();
    let modes = (one.1.text(&["gtid_mode"]), other.1.text(&["gtid_mode"]));
    if let (Some(mine), Some(theirs)) = modes
        && !mine.eq_ignore_ascii_case(theirs)
    {
        findings.push(
            Finding::error(
                one.0,
                "gtid_mode of the pair",
                format!("gtid_mode is {mine}, and {theirs} on {}", other.0),
                "replication between the two stops at the first transaction that the other does not take",
            )
            .fix(Place::MyCnf, "enforce_gtid_consistency = ON")
            .fix(Place::MyCnf, "gtid_mode = ON")
            .fix_on(other.0, Place::MyCnf, "enforce_gtid_consistency = ON")
            .fix_on(other.0, Place::MyCnf, "gtid_mode = ON"),
        );
    }
    if one.1.is_mariadb() != other.1.is_mariadb() {
        findings.push(Finding::error(
            one.0,
            "flavour",
            format!("one of {} and {} is MariaDB, the other is MySQL", one.0, other.0),
            "they do not understand each other's logs for long",
        ));
    }
    for ((source, server), (replica, receiver)) in [(one, other), (other, one)] {
        let ends = ["rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"];
        let sends = server.is_on(&["rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"]);
        if sends == Some(true) && receiver.is_on(&ends) == Some(false) {
            let name = ends.into_iter().find(|name| receiver.settings.contains_key(*name));
            let word = if receiver.has_new_words() { "REPLICA" } else { "SLAVE" };
            let Some(name) = name else { continue };
            findings.push(
                Finding::warn(
                    replica,
                    "semi_sync of the pair",
                    format!("{source} waits for an acknowledgement, and {name} is OFF here"),
                    "each commit waits for the whole time limit and then goes on without it",
                )
                .fix(Place::Sql, format!("SET GLOBAL {name} = 1"))
                .fix(Place::Sql, format!("STOP {word} IO_THREAD"))
                .fix(Place::Sql, format!("START {word} IO_THREAD"))
                .fix(Place::MyCnf, format!("{name} = 1")),
            );
        }
    }
    findings
}
