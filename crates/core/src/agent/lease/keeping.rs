//! What has to be kept before it counts: epochs on disk, lease and list in the run directory, lifetimes in the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::{Saving, Unkept, log};
use crate::agent::event::AgentAction;
use crate::agent::mind::{AgentMind, RETRY};
use crate::agent::step::{Lane, Lifetime, Step};
use crate::cluster::LogLevel;
use crate::lease::{Durable, Grant};
use crate::moment::Moment;

impl AgentMind {
    pub(in crate::agent) fn take_in_grant(&mut self, grant: &Grant) {
        if self.memory.fencing.is_some() || self.leased_promotion().is_none() {
            return;
        }
        let Some(lease) = &mut self.memory.lease else { return };
        let news = *lease.list() != grant.list || self.lease.unkept.is_some_and(|unkept| unkept.news);
        if lease.take_in(grant) {
            // The file that is written next has it; see `number_memory`.
            self.lease.unkept = Some(Unkept { news, reading: grant.reading, memory: self.next_memory });
        }
    }

    /// A grant is kept when list and lease are in the run directory and the kernel would let the address go in time.
    pub(in crate::agent) fn confirm_kept(&mut self) {
        let Some(unkept) = self.lease.unkept else { return };
        let Some(lifetime) = self.writer_lifetime() else { return };
        let on_its_way = match self.busy.get(&Lane::Address) {
            Some(Step::AddAddress(role, at)) => self.is_writer_role(role) && *at == Lifetime::Forever,
            Some(Step::KeepAddresses(kept)) => {
                kept.iter().any(|(role, at)| self.is_writer_role(role) && *at == Lifetime::Forever)
            }
            _ => false,
        };
        let mut held = self.addresses.iter().flatten().filter(|held| self.is_writer_role(&held.role));
        let permanent = held.any(|held| held.permanent) || on_its_way;
        let addresses = self.addresses.is_some() && (lifetime == Lifetime::Forever || !permanent);
        if addresses && self.memory_kept() >= unkept.memory {
            self.lease.unkept = None;
            if unkept.news {
                // Who was named can take over only once the monitor has heard so.
                self.lease.renewed = None;
            }
            if let Some(lease) = &mut self.memory.lease {
                lease.note_kept(unkept.reading);
            }
        }
    }

    pub(in crate::agent) fn save_durable(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        let wanted = self.lease.promiser.durable();
        let resting = self.lease.save_again_at.is_some_and(|at| now < at);
        // A file that only says that nothing is known must not take the place of one that was lost.
        let empty = Durable { lost: wanted.lost, ..Durable::default() };
        let nothing_to_say = self.lease.never_written && *wanted == empty;
        if self.lease.durable == *wanted || self.lease.saving.is_some() || resting || nothing_to_say {
            return;
        }
        self.lease.next_number += 1;
        let (number, durable) = (self.lease.next_number, wanted.clone());
        self.lease.saving = Some(Saving { number, durable: durable.clone() });
        actions.push(AgentAction::SaveDurable { number, durable });
    }

    pub(in crate::agent) fn take_in_saved(
        &mut self,
        now: Moment,
        number: u64,
        outcome: Result<(), String>,
        actions: &mut Vec<AgentAction>,
    ) {
        let Some(saving) = self.lease.saving.take_if(|saving| saving.number == number) else { return };
        match outcome {
            Ok(()) => {
                self.lease.durable = saving.durable;
                self.lease.never_written = false;
                self.lease.save_again_at = None;
                self.problem.remove(&Lane::Process);
            }
            Err(why) => {
                self.lease.save_again_at = Some(now + RETRY);
                let text = format!(
                    "Can't write the epoch file: {why}. No role is taken, no promise given and nothing given back until it can be written"
                );
                if self.problem.insert(Lane::Process, text.clone()).is_none() {
                    actions.push(log(LogLevel::Error, text));
                }
            }
        }
    }

    /// The addresses whose lifetimes have to be renewed now.
    pub(in crate::agent) fn addresses_to_keep(&self, wanted: &BTreeSet<crate::names::Role>) -> Option<Step> {
        let every = self.terms().length.duration() / 10;
        let due: BTreeMap<_, _> = self
            .addresses
            .as_ref()?
            .iter()
            .filter(|held| wanted.contains(&held.role))
            .filter_map(|held| Some((held, self.lifetime_of(&held.role)?)))
            .filter(|(held, lifetime)| match (lifetime, self.lease.kept_until.get(&held.role)) {
                (Lifetime::Forever, _) => !held.permanent || !held.ours,
                (Lifetime::Until(_), _) if held.permanent || !held.ours => true,
                // Whole seconds of what is left now are less than what the kernel was told before: only news counts.
                (Lifetime::Until(until), Some(Lifetime::Until(kept))) => *until >= *kept + every,
                (Lifetime::Until(_), Some(Lifetime::Forever) | None) => true,
            })
            .map(|(held, lifetime)| (held.role.clone(), lifetime))
            .collect();
        (!due.is_empty()).then_some(Step::KeepAddresses(due))
    }

    /// Remembers what the kernel has been told, so that it is told again only when there is news.
    pub(in crate::agent) fn note_lifetimes(
        &mut self,
        lifetimes: impl IntoIterator<Item = (crate::names::Role, Lifetime)>,
    ) {
        self.lease.kept_until.extend(lifetimes);
    }

    pub(in crate::agent) fn forget_lifetime(&mut self, role: &crate::names::Role) {
        self.lease.kept_until.remove(role);
    }
}
