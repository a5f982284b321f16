//! Whether a host is proven to hold every transaction that the last writer acknowledged: what `failover_policy consistency` asks.
//!
//! A semi-synchronous writer that has waited for acknowledgements until it was heard last can't have acknowledged anything by
//! itself before its own timeout. Where that is longer than its lease can last unheard, whoever acknowledges has all.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::join;
use crate::cluster::keeper::Trust;
use crate::cluster::{Action, Cluster, DataRule, LogLevel};
use crate::gtid::Compared;
use crate::lease::{Ended, Epoch, GrantRecord, wait_for};
use crate::message::{Isolated, ServerView};
use crate::moment::Moment;
use crate::names::HostName;
use crate::settings::{FailoverPolicy, Settings};

/// An agent says what it saw of its server at most so long ago.
const LOOK: Duration = Duration::from_secs(3);

/// What was known of a writer's acknowledgements when it was heard last. Durable, beside the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Evidence {
    pub epoch: Epoch,
    /// Why it proves nothing.
    pub doubt: Option<Doubt>,
    pub acknowledging: BTreeSet<HostName>,
    /// Hosts that would from the moment on at which they connect. The writer and the others are not looked at at the same time: the last to
    /// acknowledge may be one of these.
    #[serde(default)]
    pub may_acknowledge: BTreeSet<HostName>,
    /// Connections that acknowledge by the writer's own count, which knows of hosts that are not configured here too.
    pub clients: u32,
    /// How many have to acknowledge each transaction.
    pub wanted: u32,
    pub timeout_ms: u64,
}

/// Why what was known of a writer proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Doubt {
    #[error("it had fallen back to asynchronous replication")]
    FallenBack,
    #[error("it does not wait where nobody is connected (rpl_semi_sync_*_wait_no_replica or _slave is OFF)")]
    WaitsForNobodyAbsent,
    #[error(
        "it could fall back to asynchronous replication before its lease was over: its timeout of {timeout_ms} ms has to be {wanted_ms} ms at least"
    )]
    ShortTimeout { timeout_ms: u64, wanted_ms: u64 },
    #[error("its agent could not see for some time whether it still waited for acknowledgements")]
    Unseen,
    #[error("it went on by promises, unheard by the monitor")]
    Promised,
    #[error("it may write on unheard (writer_isolated keep)")]
    Isolated,
}

fn timeout_for_proof(settings: &Settings) -> Duration {
    wait_for(settings.terms.length) + LOOK
}

impl Settings {
    /// Where only a proven host may follow a lost writer: the shortest timeout that proves anything.
    pub fn timeout_for_proof_ms(&self) -> Option<u64> {
        let asks = self.failover_policy == FailoverPolicy::Consistency;
        asks.then(|| u64::try_from(timeout_for_proof(self).as_millis()).unwrap_or(u64::MAX))
    }
}

impl Cluster {
    /// The shortest timeout with which a lost writer proves anything.
    fn timeout_wanted(&self) -> Duration {
        timeout_for_proof(&self.settings)
    }

    /// Writes down what is known of the writer's acknowledgements, while it is heard.
    pub(in crate::cluster) fn take_evidence(&mut self, now: Moment) {
        let Some((name, epoch)) = self.running_record().map(|record| (record.host.clone(), record.epoch))
        else {
            return;
        };
        let Some(host) = self.hosts.get(&name) else { return };
        if !host.agent.connected {
            if self.promise_runs(now) {
                self.doubt(epoch, Doubt::Promised);
            }
            return;
        }
        if host.agent.status.server == ServerView::Gone {
            // It writes nothing any more: what was known before is what counts.
            return;
        }
        let wanted = self.timeout_wanted();
        let Some(known) = self.semi_sync_of(&name).cloned() else {
            // What was seen before goes on to count as long as nothing can have changed before the lease is over.
            let timeout = self.keeper.evidence.as_ref().map_or(0, |known| known.timeout_ms);
            let surely = self.evidence_at.map(|at| at + Duration::from_millis(timeout));
            if surely.is_none_or(|surely| now + wanted > surely) {
                self.doubt(epoch, Doubt::Unseen);
            }
            return;
        };
        self.evidence_at = Some(now);
        let Some(source) = known.source else {
            self.keeper.evidence = None;
            return;
        };
        let doubt = if source.fallen_back.is_some() {
            Some(Doubt::FallenBack)
        } else if !source.waits_for_absent {
            Some(Doubt::WaitsForNobodyAbsent)
        } else if self.settings.terms.isolated == Isolated::Keep {
            Some(Doubt::Isolated)
        } else if u128::from(source.timeout_ms) < wanted.as_millis() {
            let wanted_ms = u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX);
            Some(Doubt::ShortTimeout { timeout_ms: source.timeout_ms, wanted_ms })
        } else {
            None
        };
        let mut acknowledging: BTreeSet<HostName> = self.acknowledging(&name).into_iter().cloned().collect();
        // Who is not heard now goes on acknowledging, as far as anybody knows.
        if let Some(before) = self.keeper.evidence.as_ref().filter(|before| {
            before.epoch == epoch && before.doubt.is_none() && before.clients == source.clients
        }) {
            let unheard = |name: &&HostName| self.hosts.get(*name).is_some_and(|host| !host.agent.connected);
            acknowledging.extend(before.acknowledging.iter().filter(unheard).cloned());
        }
        let mut may_acknowledge = self.switched_on(&name);
        may_acknowledge.retain(|name| !acknowledging.contains(name));
        self.keeper.evidence = Some(Evidence {
            epoch,
            doubt,
            acknowledging,
            may_acknowledge,
            clients: source.clients,
            wanted: source.wanted,
            timeout_ms: source.timeout_ms,
        });
    }

    /// Hosts that replicate from this one, and are to acknowledge what they receive, whether they are connected to it now or not.
    fn switched_on(&self, writer: &HostName) -> BTreeSet<HostName> {
        let Some(ip) = self.settings.hosts.get(writer).map(|host| host.ip) else { return BTreeSet::new() };
        let is_on = |name: &HostName| {
            self.hosts.get(name).map(|host| &host.agent).is_some_and(|agent| {
                agent.connected
                    && agent.status.source_ip == Some(ip)
                    && agent.status.semi_sync.as_ref().is_some_and(|known| known.replica)
            })
        };
        self.hosts.keys().filter(|name| *name != writer && is_on(name)).cloned().collect()
    }

    /// A host is heard of (again) while the writer is not: it may have promised, meanwhile, to let it go on.
    pub(in crate::cluster) fn doubt_promised(&mut self, name: &HostName) {
        let Some(record) = self.running_record() else { return };
        let (holder, epoch) = (record.host.clone(), record.epoch);
        let unheard = self.hosts.get(&holder).is_some_and(|host| !host.agent.connected);
        if holder != *name && unheard && self.lease_status(name).is_some_and(|lease| lease.promised == epoch)
        {
            self.doubt(epoch, Doubt::Promised);
        }
    }

    fn doubt(&mut self, epoch: Epoch, doubt: Doubt) {
        if let Some(evidence) = self.keeper.evidence.as_mut().filter(|evidence| evidence.epoch == epoch) {
            evidence.doubt.get_or_insert(doubt);
        }
    }

    /// Why this host may not be promoted now, though nobody else can be writing: for what it may lack.
    pub(in crate::cluster) fn unproven(&self, now: Moment, host: &HostName) -> Option<(HostName, String)> {
        let Some(record) = self.record() else { return self.successor_blind(host) };
        if record.host == *host {
            return None;
        }
        // A move in order: the old writer has told where its log ended.
        if self.keeper.loss_confirmed >= record.epoch || self.final_position(&record.host).is_some() {
            return None;
        }
        if let Some(blind) = self.successor_blind(host) {
            return Some(blind);
        }
        if self.settings.failover_policy == FailoverPolicy::Availability
            || !self.goes_by(DataRule::AcknowledgedIsProven)
        {
            return None;
        }
        let why = self.proven(now, record, host).err()?;
        Some((record.host.clone(), format!("failover_policy is consistency, and {why}")))
    }

    fn proven(&self, now: Moment, record: &GrantRecord, host: &HostName) -> Result<(), String> {
        let lost = &record.host;
        let Some(evidence) = self.keeper.evidence.as_ref().filter(|known| known.epoch == record.epoch) else {
            return Err(format!(
                "'{lost}' did not wait for acknowledgements (no semi-synchronous replication) when it was heard last"
            ));
        };
        if let Some(doubt) = evidence.doubt {
            return Err(format!("of '{lost}': {doubt}"));
        }
        let heard = self.hosts.get(lost).is_some_and(|host| host.agent.connected);
        if record.unfenced || (record.list.is_empty() && record.ended != Some(Ended::Released) && !heard) {
            return Err(format!(
                "'{lost}' could write on unheard, since nobody could take over when it vanished"
            ));
        }
        // What counts is how many may have acknowledged something that it lacks: hosts that have more, and connections of which nobody
        // knows whose they are. Who only may have acknowledged makes these no fewer.
        let who: Vec<&HostName> = evidence.acknowledging.union(&evidence.may_acknowledge).collect();
        let named = u32::try_from(evidence.acknowledging.len()).unwrap_or(u32::MAX);
        let has_all_of: Vec<&HostName> =
            who.iter().copied().filter(|other| self.has_all_of(now, lost, host, other)).collect();
        let others = u32::try_from(who.len() - has_all_of.len()).unwrap_or(u32::MAX);
        let outside = others.saturating_add(evidence.clients.saturating_sub(named));
        let anybody = evidence.clients.max(named) > 0;
        if anybody && outside < evidence.wanted.max(1) {
            return Ok(());
        }
        let all = u32::try_from(has_all_of.len()).unwrap_or(u32::MAX).saturating_add(outside);
        Err(format!(
            "{} of {all} acknowledged each transaction ({}), and {outside} of these may have what it has not",
            evidence.wanted,
            join(&who)
        ))
    }

    /// Whether this host is known to have all that another one has received.
    fn has_all_of(&self, now: Moment, lost: &HostName, host: &HostName, other: &HostName) -> bool {
        if host == other {
            return true;
        }
        let (Some(here), Some(there)) = (self.hosts.get(host), self.hosts.get(other)) else { return false };
        // What both said before the loss may be older than that.
        let since = self.hosts.get(lost).map(|lost| lost.agent.gone_since.unwrap_or(lost.agent.lost_at));
        let settled = since.is_some_and(|since| now.since(since) >= LOOK);
        let connected = here.agent.connected && there.agent.connected;
        match (&here.agent.status.received, &there.agent.status.received) {
            (Some(here), Some(there)) if settled && connected => {
                matches!(here.compare(there), Compared::Same | Compared::More(_))
            }
            _ => false,
        }
    }

    /// Nobody follows a lost writer for want of proof: the first host that could, and why not.
    pub(in crate::cluster) fn nobody_proven(&self, now: Moment) -> Option<(HostName, HostName, String)> {
        let is_free = match self.record() {
            Some(record) => {
                let over = record.ended.is_some() || self.keeper.book.ends().is_some_and(|ends| now >= ends);
                let there = self.hosts.get(&record.host).is_some_and(|host| host.agent.connected);
                over && !(there && record.ended.is_none())
            }
            None => self.keeper.trust == Trust::Known,
        };
        if !is_free || self.promise_runs(now) {
            return None;
        }
        let writer = &self.settings.active_master_role;
        let mut able = self.settings.candidates().iter().filter(|host| self.eligible(now, writer, host));
        if able.clone().any(|host| self.unproven(now, host).is_none()) {
            return None;
        }
        able.find_map(|host| self.unproven(now, host).map(|(lost, why)| (host.clone(), lost, why)))
    }

    /// Tells once for each lease that was lost.
    pub(in crate::cluster) fn tell_unproven(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some((host, lost, why)) = self.nobody_proven(now) else { return };
        let epoch = self.record().map_or(Epoch::NONE, |record| record.epoch);
        if self.told_unproven.replace((epoch, why.clone())) != Some((epoch, why.clone())) {
            actions.push(Action::log(LogLevel::Fatal, describe_unproven(&host, &lost, &why)));
        }
    }

    /// `mmm_control confirm_loss HOST`: the operator's word that what only a lost writer has may be lost.
    pub(in crate::cluster) fn confirm_loss(
        &mut self,
        now: Moment,
        name: &str,
        sure: bool,
        actions: &mut Vec<Action>,
    ) -> String {
        let Some(name) = self.hosts.get_key_value(name).map(|(name, _)| name.clone()) else {
            return format!("ERROR: Unknown host name '{name}'!");
        };
        let Some((host, lost, why)) = self.nobody_proven(now) else {
            return format!("OK: Nobody waits for host '{name}' for want of proof. Nothing was changed.");
        };
        if lost != name {
            return format!(
                "ERROR: It is not '{name}' whose transactions may be lost, but '{lost}': confirm_loss {lost}"
            );
        }
        if !sure {
            return format!(
                "Host '{host}' is not proven to have everything that '{lost}' acknowledged to clients: {why}. If it becomes the writer by your word, what only '{lost}' has is lost, or has to be carried over by hand when that comes back. To confirm: confirm_loss --yes {lost}"
            );
        }
        let epoch = self.record().map_or(Epoch::NONE, |record| record.epoch);
        let text = format!(
            "Admin confirmed that transactions may be lost which only '{lost}' has (epoch {epoch}); it was not proven that '{host}' has all: {why}"
        );
        actions.push(Action::log(LogLevel::Fatal, text));
        self.keeper.loss_confirmed = epoch;
        if self.record().is_none() {
            // There is no epoch that it could be said of.
            self.confirmed_dead.insert(name.clone());
        }
        format!("OK: What only host '{lost}' has may be lost: another host takes its role now.")
    }
}

pub(in crate::cluster) fn describe_unproven(host: &HostName, lost: &HostName, why: &str) -> String {
    format!(
        "nobody follows {lost}: {host} is not proven to have every transaction that was acknowledged: {why}. Needs the return of {lost}, or your word that its transactions may be lost: mmm_control confirm_loss {lost}"
    )
}
