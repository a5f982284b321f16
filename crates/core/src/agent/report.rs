//! What the agent tells of itself: to the monitor, and of its roles in the log.

use std::collections::BTreeSet;

use super::event::AgentAction;
use super::mind::{AgentMind, RETRY};
use super::step::{Lane, Step};
use crate::cluster::LogLevel;
use crate::lease::Duty;
use crate::message::{AgentStatus, LeaseHeld, LeaseStatus, PromiseGiven, ServerView};
use crate::moment::Moment;
use crate::names::Role;

impl AgentMind {
    /// Up to which number memories are kept; what has not changed needs no new file.
    pub(super) fn memory_kept(&self) -> u64 {
        let all = self.memory_saved + 1 == self.next_memory && self.memory == self.saved;
        if all { self.next_memory } else { self.memory_saved }
    }

    pub(super) fn take_in_memory_saved(&mut self, now: Moment, number: u64, outcome: &Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.memory_saved = self.memory_saved.max(number);
                self.save_again_at = None;
            }
            Err(_) => self.save_again_at = Some(now + RETRY),
        }
    }

    /// Only what is surely on disk is said of epochs.
    fn lease_status(&self) -> LeaseStatus {
        let durable = &self.lease.durable;
        let told = self.lease.told_duty();
        LeaseStatus {
            accepted: durable.accepted,
            released: durable.released,
            longest: durable.longest,
            lineage: durable.lineage,
            held: self.memory.lease.as_ref().map(|lease| LeaseHeld {
                epoch: lease.epoch(),
                list: lease.list().clone(),
                duty: told.unwrap_or(Duty::Wait),
                by_promise: lease.is_kept_by_promises(),
            }),
            promise: self
                .lease
                .promiser
                .waits()
                .promised_until
                .zip(durable.promise.clone())
                .map(|(until, promise)| PromiseGiven { promise, until }),
            promised: durable.promise.as_ref().map(|promise| promise.epoch).unwrap_or_default(),
            refusal: self.lease.refusal.clone(),
            generation: self.memory.generation,
            contacts: self.lease.contacts.keys().cloned().collect(),
        }
    }

    fn has_looked(&self) -> bool {
        self.addresses.is_some() && self.server != ServerView::Unknown
    }

    /// Steps that are under way count as done where that is the careful thing to say: an address on its way to the
    /// interface is held, a server that is being opened is writable.
    pub(super) fn compose_status(&self) -> AgentStatus {
        let mut held: BTreeSet<_> = self.addresses.iter().flatten().map(|held| held.role.clone()).collect();
        if let Some(Step::AddAddress(role, _)) = self.busy.get(&Lane::Address) {
            held.insert(role.clone());
        }
        let server = match (self.server, self.busy.get(&Lane::Server)) {
            (ServerView::Up { .. }, Some(Step::OpenWrites)) => ServerView::Up { writable: true },
            (view, _) => view,
        };
        let order = self.memory.order.as_ref();
        AgentStatus {
            // Before both were looked at, holding nothing and not being writable are no answers to an order.
            taken_in: order.filter(|_| self.has_looked()).map(|order| order.id),
            applied: self.applied,
            problem: (!self.problem.is_empty())
                .then(|| self.problem.values().cloned().collect::<Vec<_>>().join("; ")),
            state: order.map(|order| order.state),
            roles: order.map(|order| order.roles.clone()).unwrap_or_default(),
            held,
            server,
            lease: self.lease_status(),
            released_at: self.memory.released_at.clone(),
            approached: self.approached.clone(),
            holding: self.memory.holding,
            source_ip: self.source_ip,
            gtid: self.gtid.clone(),
            received: self.looks.received.clone().map(Box::new),
            reached_source: self.reached_source(),
            looked: Some(self.looks.done),
            junction: self.junction(),
            astray: self.astray(),
            salvages: true,
            lends: true,
            salvage: self.memory.salvage.told(),
            semi_sync: self.semi_sync(),
            semi_sync_end: self.semi_sync_end(),
            applier_error: self.applier_error(),
            // Filled in by the shell, which saves them.
            saved: None,
            rebuilds: true,
            rebuild: self.rebuild_status(),
            surveys: true,
            unopened: self.memory.unopened.clone(),
            writes: self.write_status(),
            // Both belong to the host and are filled in by the shell when it sends.
            uptime: std::time::Duration::ZERO,
            boot_id: String::new(),
        }
    }
}

/// As 2.2.1 logs it.
pub(super) fn log_roles(before: &BTreeSet<Role>, after: &BTreeSet<Role>, actions: &mut Vec<AgentAction>) {
    let log = |text: String| AgentAction::Log(LogLevel::Info, text);
    actions.push(log("We have some new roles added or old rules deleted!".to_owned()));
    let deleted: Vec<&Role> = before.difference(after).collect();
    let added: Vec<&Role> = after.difference(before).collect();
    if !deleted.is_empty() {
        actions.push(log(format!("Deleted: {}", Role::join(deleted, ", "))));
    }
    if !added.is_empty() {
        actions.push(log(format!("Added:   {}", Role::join(added, ", "))));
    }
}
