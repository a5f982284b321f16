//! One server on its own: what it must have switched on to be a master of a pair.

use super::facts::{AtBoot, ServerFacts};
use super::finding::{Finding, Place};
use crate::names::HostName;

const SLAVE_UPDATES: [&str; 2] = ["log_slave_updates", "log_replica_updates"];

/// Findings about a master's or a replica's server. `has_replicas`: there are hosts that replicate from whoever is the
/// writer.
pub fn judge_server(
    host: &HostName,
    facts: &ServerFacts,
    at_boot: Option<&AtBoot>,
    is_master: bool,
    has_replicas: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(judge_server_id(host, facts));
    if is_master {
        findings.extend(judge_log(host, facts));
        findings.extend(judge_log_updates(host, facts, has_replicas));
        findings.extend(judge_durability(host, facts));
    }
    findings.extend(judge_gtid(host, facts));
    findings.extend(at_boot.and_then(|at_boot| judge_boot(host, at_boot)));
    findings.extend(judge_semi_sync(host, facts));
    findings.extend(judge_names(host, facts));
    findings
}

fn judge_server_id(host: &HostName, facts: &ServerFacts) -> Option<Finding> {
    // A fresh number for each host; two of them with the same one are the cluster's finding.
    (facts.number(&["server_id"])? == 0).then(|| {
        Finding::error(
            host,
            "server_id",
            "server_id is 0",
            "a server without a number neither replicates nor is replicated from",
        )
        .fix(Place::Sql, "SET GLOBAL server_id = 101")
        .fix(Place::MyCnf, "server_id = 101")
    })
}

fn judge_log(host: &HostName, facts: &ServerFacts) -> Option<Finding> {
    (!facts.is_on(&["log_bin"])?).then(|| {
        Finding::error(
            host,
            "log_bin",
            "there is no binary log",
            "nothing that is written here as the writer would ever reach the other master",
        )
        .fix(Place::MyCnf, "log_bin = mysql-bin")
    })
}

fn judge_log_updates(host: &HostName, facts: &ServerFacts, has_replicas: bool) -> Option<Finding> {
    if facts.is_on(&SLAVE_UPDATES)? {
        return None;
    }
    let name = SLAVE_UPDATES.into_iter().find(|name| facts.settings.contains_key(*name))?;
    let what = format!("{name} is OFF");
    let finding = if has_replicas {
        Finding::error(
            host,
            "log_slave_updates",
            what,
            "replicas of this master never get what the other master wrote",
        )
    } else {
        Finding::warn(
            host,
            "log_slave_updates",
            what,
            "what the other master wrote is not in this log: no replica and no point in time recovery from here",
        )
    };
    Some(finding.fix(Place::MyCnf, format!("{name} = 1")))
}

fn judge_durability(host: &HostName, facts: &ServerFacts) -> Vec<Finding> {
    let wanted = [
        (
            "sync_binlog",
            "after a power loss the log may end before what clients were told is saved, and the other master goes on from a log that never was",
        ),
        (
            "innodb_flush_log_at_trx_commit",
            "after a crash of the host the last second of acknowledged transactions may be gone here and be there on the other master",
        ),
    ];
    let odd = wanted.into_iter().filter_map(|(name, why)| Some((name, why, facts.number(&[name])?)));
    odd.filter(|(_, _, value)| *value != 1)
        .map(|(name, why, value)| {
            Finding::warn(host, name, format!("{name} is {value}"), why)
                .fix(Place::Sql, format!("SET GLOBAL {name} = 1"))
                .fix(Place::MyCnf, format!("{name} = 1"))
        })
        .collect()
}

fn judge_gtid(host: &HostName, facts: &ServerFacts) -> Option<Finding> {
    // MariaDB always numbers its transactions.
    let mode = facts.text(&["gtid_mode"])?;
    (!mode.eq_ignore_ascii_case("ON")).then(|| {
        Finding::warn(
            host,
            "gtid_mode",
            format!("gtid_mode is {mode}"),
            "after a crash nobody can tell what the old writer is ahead by, so replication from it stays held",
        )
        .fix(Place::MyCnf, "enforce_gtid_consistency = ON")
        .fix(Place::MyCnf, "gtid_mode = ON")
    })
}

fn judge_boot(host: &HostName, at_boot: &AtBoot) -> Option<Finding> {
    let why = "a server that starts is open for writes until its agent has closed it, and that is when an old writer comes back";
    match at_boot {
        AtBoot::ReadOnly => None,
        AtBoot::Writable => Some(
            Finding::warn(host, "read_only", "the option files do not make the server start read-only", why)
                .fix(Place::MyCnf, "read_only = 1"),
        ),
        AtBoot::Unknown(reason) => Some(
            Finding::warn(
                host,
                "read_only",
                format!("whether the server starts read-only cannot be told: {reason}"),
                why,
            )
            .fix(Place::MyCnf, "read_only = 1"),
        ),
    }
}

fn judge_semi_sync(host: &HostName, facts: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names = if facts.settings.contains_key("rpl_semi_sync_source_enabled") {
        ["rpl_semi_sync_source", "source"]
    } else {
        ["rpl_semi_sync_master", "master"]
    };
    let [prefix, word] = names;
    if facts.is_on(&[&format!("{prefix}_enabled")]) != Some(true) {
        return findings;
    }
    let wait_point = format!("{prefix}_wait_point");
    if let Some(point) = facts.text(&[&wait_point])
        && point != "AFTER_SYNC"
    {
        findings.push(
            Finding::warn(
                host,
                "semi_sync_wait_point",
                format!("{wait_point} is {point}"),
                "clients see rows that no other host has yet, and after a crash they are gone",
            )
            .fix(Place::Sql, format!("SET GLOBAL {wait_point} = 'AFTER_SYNC'"))
            .fix(Place::MyCnf, format!("{wait_point} = AFTER_SYNC")),
        );
    }
    if facts.is_on(&[&format!("{prefix}_status")]) == Some(false) {
        findings.push(
            Finding::warn(
                host,
                "semi_sync",
                format!("semi-synchronous replication is enabled for the {word}, but nobody acknowledges"),
                "transactions are acknowledged to clients while no other host has them",
            )
            .fix(Place::Sql, format!("SHOW GLOBAL STATUS LIKE '{prefix}%'")),
        );
    }
    findings
}

fn judge_names(host: &HostName, facts: &ServerFacts) -> Option<Finding> {
    (!facts.is_on(&["skip_name_resolve"])?).then(|| {
        Finding::warn(
            host,
            "skip_name_resolve",
            "the server looks up the name of each client",
            "when the name server is away, each login takes seconds, those of MMM too",
        )
        .fix(Place::MyCnf, "skip_name_resolve = 1")
    })
}
