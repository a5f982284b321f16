//! The monitor's decisions about the writer's lease: whose renewals are answered with what, who may be promoted when,
//! and what an operator is told while nobody can be.

mod blind;
mod evidence;
mod promotion;
mod trust;
mod vanished;
mod why;

pub use evidence::{Doubt, Evidence};

use std::collections::BTreeSet;
use std::time::Duration;

use super::host::Kill;
use super::keeper::Trust;
use super::{Action, Cluster, LogLevel};
use crate::lease::{GrantRecord, Obstacle, Proof, Renewal};
use crate::message::LeaseStatus;
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::state::Mode;

/// A monitor that did not get round to anything for so long may have missed what others did meanwhile.
const STALL: Duration = Duration::from_millis(1500);

/// Why a host can't be promoted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Waiting {
    StateLost {
        why: String,
        unheard: Vec<HostName>,
    },
    Disk(String),
    /// It never had a lease, and has the address or takes writes all the same.
    StillServes(HostName),
    Lease(Obstacle),
    /// The policy forbids it: what this host acknowledged may not be on it.
    Unproven {
        lost: HostName,
        why: String,
    },
}

impl Cluster {
    pub(in crate::cluster) fn writer_role(&self) -> Option<&Role> {
        self.slots.keys().find(|role| self.settings.is_writer(role))
    }

    pub(in crate::cluster) fn record(&self) -> Option<&GrantRecord> {
        self.keeper.book.record()
    }

    /// The record, where it is one of a lease that was not ended.
    pub(in crate::cluster) fn running_record(&self) -> Option<&GrantRecord> {
        self.record().filter(|record| record.ended.is_none())
    }

    pub(in crate::cluster) fn lease_status(&self, name: &HostName) -> Option<&LeaseStatus> {
        self.hosts.get(name).map(|host| &host.agent.status.lease)
    }

    pub(in crate::cluster) fn notice_stall(&mut self, now: Moment) {
        if now.since(self.last_step) > STALL {
            self.keeper.wait_anew(now);
        }
        self.last_step = now;
    }

    /// Whether a promise for the epoch in the book runs: its holder lives, though it can't be reached from here.
    pub(in crate::cluster) fn promise_runs(&self, now: Moment) -> bool {
        let Some(record) = self.running_record() else { return false };
        self.promises.values().any(|(epoch, until)| *epoch == record.epoch && now < *until)
    }

    /// Who vouches by a promise for the holder of the lease.
    pub(in crate::cluster) fn promisers(&self, now: Moment) -> Vec<&HostName> {
        let Some(record) = self.running_record() else { return Vec::new() };
        let running =
            self.promises.iter().filter(|(_, (epoch, until))| *epoch == record.epoch && now < *until);
        running.map(|(name, _)| name).collect()
    }

    /// Whether this host, heard of just now, has the lease in the book and a server that is well.
    pub(in crate::cluster) fn holds_lease(&self, now: Moment, name: &HostName) -> bool {
        let Some(record) = self.running_record().filter(|record| record.host == *name) else { return false };
        let Some(host) = self.hosts.get(name) else { return false };
        let held = host.agent.status.lease.held.as_ref().is_some_and(|held| held.epoch == record.epoch);
        // Who says that it holds and does not renew may be stuck: its word counts as long as its lease can last.
        let lasts = self.keeper.book.ends().is_none_or(|ends| now < ends);
        (host.vouched() && held && lasts) || (!host.agent.connected && self.promise_runs(now))
    }

    /// Whether the lease of this host has run out, so that somebody else could be promoted this very moment.
    pub(in crate::cluster) fn lease_ran_out(&self, now: Moment, name: &HostName) -> bool {
        let holds = self.running_record().is_some_and(|record| record.host == *name);
        if !holds || self.promise_runs(now) || self.active_master() != Some(name) {
            return false;
        }
        let writer = &self.settings.active_master_role;
        self.settings.candidates().iter().filter(|other| *other != name).any(|other| {
            self.eligible(now, writer, other) && matches!(self.writer_proof(now, other), Ok(Proof::RanOut(_)))
        })
    }

    /// A holder that is there, let its lease run out all the same, and could be replaced.
    pub(in crate::cluster) fn stuck_holder(&self, now: Moment) -> Option<HostName> {
        let record = self.running_record()?;
        let there = self.hosts.get(&record.host)?.agent.connected;
        let over = self.keeper.book.ends().is_some_and(|ends| now >= ends);
        (there && over && !self.holds_lease(now, &record.host)).then(|| record.host.clone())
    }

    /// The role leaves a holder that is there and does not renew, for whatever reason: it is not waited for.
    pub(in crate::cluster) fn pass_on_stuck_role(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(stuck) = self.stuck_holder(now).filter(|stuck| self.lease_ran_out(now, stuck)) else {
            return;
        };
        let Some(role) = self.writer_role().cloned() else { return };
        let text = format!(
            "Role '{role}' leaves host '{stuck}': its agent answers, but did not renew the lease in time"
        );
        actions.push(Action::log(LogLevel::Fatal, text));
        self.unassign(&role);
    }

    /// Whether this host may be promoted now, and by what right.
    pub(in crate::cluster) fn writer_proof(&self, now: Moment, host: &HostName) -> Result<Proof, Waiting> {
        if let Trust::Lost(why) = &self.keeper.trust {
            let unheard = self.unheard().into_iter().cloned().collect();
            return Err(Waiting::StateLost { why: why.clone(), unheard });
        }
        if let Some(trouble) = &self.keeper.trouble {
            return Err(Waiting::Disk(trouble.clone()));
        }
        let proof = self.keeper.proof_for(now, host);
        if proof == Ok(Proof::Nobody)
            && let Some(other) = self.serves_without_lease(host)
        {
            return Err(Waiting::StillServes(other.clone()));
        }
        if let (Ok(Proof::RanOut(_)), Some(record)) = (&proof, self.running_record())
            && self.speaks_protocol1(host)
        {
            // It cannot say whether it promised anything before its agent was replaced.
            return Err(Waiting::Lease(Obstacle::NotListed { holder: record.host.clone() }));
        }
        let proof = proof.map_err(Waiting::Lease)?;
        match self.unproven(now, host) {
            Some((lost, why)) => Err(Waiting::Unproven { lost, why }),
            None => Ok(proof),
        }
    }

    /// The hosts that could be promoted instead of the holder right now; `None`: what is recorded stays.
    pub(in crate::cluster) fn promotable(
        &self,
        now: Moment,
        holder: &HostName,
    ) -> Option<BTreeSet<HostName>> {
        let settled = self.has_started() && self.network && self.refused.is_empty();
        let in_conflict = self.mode == Mode::Passive && self.conflict;
        if !settled || in_conflict || self.keeper.trouble.is_some() {
            return None;
        }
        if self.mode != Mode::Active || !self.settings.leases_run_out || self.has_protocol1_candidate() {
            return Some(BTreeSet::new());
        }
        let writer = &self.settings.active_master_role;
        let others = self.settings.candidates().iter().filter(|other| *other != holder);
        Some(others.filter(|other| self.eligible(now, writer, other)).cloned().collect())
    }

    pub(in crate::cluster) fn take_in_renewal(
        &mut self,
        now: Moment,
        name: &HostName,
        renewal: &Renewal,
        actions: &mut Vec<Action>,
    ) {
        let Some(host) = self.hosts.get(name) else { return };
        // What a host that is being killed would be told by the answer is not true any more.
        if self.keeper.trust != Trust::Known || host.kill == Kill::Running {
            return;
        }
        let known = self.record().is_some_and(|record| record.host == *name && record.epoch == renewal.epoch);
        let chosen = self.slots.values().any(|slot| {
            slot.holder.as_ref() == Some(name)
                && slot.grant.as_ref().is_some_and(|promotion| promotion.epoch == renewal.epoch)
        });
        if !known && !chosen {
            return;
        }
        let mut promotable = self.promotable(now, name);
        if !known {
            // A first grant is a decision, and needs a monitor that decides.
            let decides = self.has_started() && self.network && self.refused.is_empty();
            if !decides || self.keeper.trouble.is_some() {
                return;
            }
            promotable = promotable.or_else(|| Some(BTreeSet::new()));
        }
        let length = self.settings.terms.length;
        self.keeper.renew(now, name, renewal, promotable.as_ref(), length, actions);
    }
}

fn join(names: &[&HostName]) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}
