//! Semi-synchronous replication across hosts: how many have to acknowledge, and whether that proves anything.

use super::{ClusterFacts, Finding, Place};

pub(super) fn judge(facts: &ClusterFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let others = u64::try_from(facts.hosts.len()).unwrap_or(u64::MAX).saturating_sub(1);
    for (name, _, server) in facts.servers().filter(|(_, host, _)| host.is_master) {
        let prefix = if server.settings.contains_key("rpl_semi_sync_source_enabled") {
            "rpl_semi_sync_source"
        } else {
            "rpl_semi_sync_master"
        };
        if server.is_on(&[&format!("{prefix}_enabled")]) != Some(true) {
            continue;
        }
        let counts = [format!("{prefix}_wait_for_replica_count"), format!("{prefix}_wait_for_slave_count")];
        for count in counts {
            if server.number(&[&count]).is_some_and(|wanted| wanted > others) {
                findings.push(
                    Finding::error(
                        name,
                        "semi_sync count",
                        format!(
                            "{count} is {}, and there are {others} other hosts",
                            server.number(&[&count]).unwrap_or(0)
                        ),
                        "never do as many acknowledge, so each commit waits for the whole timeout",
                    )
                    .fix(Place::Sql, format!("SET GLOBAL {count} = {others}"))
                    .fix(Place::MyCnf, format!("{count} = {others}")),
                );
            }
        }
        let Some(wanted_ms) = facts.periods.proof_ms else { continue };
        let why = "failover_policy is consistency, and nobody would be proven to have what a lost writer acknowledged: it would be followed by your word only";
        let timeout = format!("{prefix}_timeout");
        if server.number(&[&timeout]).is_some_and(|ms| ms < wanted_ms) {
            findings.push(
                Finding::warn(
                    name,
                    "semi_sync timeout",
                    format!(
                        "{timeout} is {} ms, shorter than a lease can last unheard",
                        server.number(&[&timeout]).unwrap_or(0)
                    ),
                    why,
                )
                .fix(Place::Sql, format!("SET GLOBAL {timeout} = {wanted_ms}"))
                .fix(Place::MyCnf, format!("{timeout} = {wanted_ms}")),
            );
        }
        for absent in [format!("{prefix}_wait_no_replica"), format!("{prefix}_wait_no_slave")] {
            if server.is_on(&[&absent]) == Some(false) {
                findings.push(
                    Finding::warn(name, "semi_sync wait_no", format!("{absent} is OFF"), why)
                        .fix(Place::Sql, format!("SET GLOBAL {absent} = 1"))
                        .fix(Place::MyCnf, format!("{absent} = 1")),
                );
            }
        }
    }
    findings
}
