//! What an agent's steps do that get the next writer what it lacks: from a dead server's log, or from a replica.

use std::collections::BTreeMap;

use mmm_core::salvage::{SalvageState, Vain, Wanted};
use mmm_core::{DataRule, GtidSet, HostName, StepOutcome};

use crate::happening::Node;
use crate::server::Server;
use crate::steps::{Attempt, PATIENCE};
use crate::world::World;

impl World {
    /// From a server that has ended, by its agent: whole, or, where that agent stays away, in vain.
    pub(crate) fn fetch_tail(&mut self, name: &HostName, from: &HostName, tries: u64) -> Attempt {
        let reached = self.reaches(&Node::Host(name.clone()), &Node::Host(from.clone()));
        let now = self.now;
        let old =
            self.hosts.get(from).filter(|old| reached && old.agent.is_some() && old.frozen_until <= now);
        let state = match old.map(|old| (old.server.running, old.server.logged(from))) {
            Some((false, logged)) => {
                let mut lacking = 0;
                if let Some(host) = self.hosts.get_mut(name) {
                    let new = |(source, rows): (&HostName, &u64)| {
                        if source == name { 0 } else { rows.saturating_sub(host.server.received_of(source)) }
                    };
                    lacking = logged.iter().map(new).sum();
                    if let Some((_, received)) = &mut host.chosen {
                        // From now on it may not be opened without them.
                        let own = logged.get(from).copied().unwrap_or_default();
                        received.insert(from.clone(), own);
                    }
                    host.server.fetched = Some(logged);
                }
                SalvageState::Applying { transactions: lacking }
            }
            Some((true, _)) => SalvageState::InVain { why: Vain::ServerLives, lacking: None },
            None if tries < PATIENCE => return Attempt::Later,
            None => SalvageState::InVain { why: Vain::NoLog, lacking: None },
        };
        // An agent that was started again in between does not know what the one before it had fetched.
        if matches!(state, SalvageState::InVain { .. })
            && let Some(host) = self.hosts.get_mut(name)
            && let Some((_, received)) = &mut host.chosen
        {
            let kept = host.server.received_of(from);
            received.entry(from.clone()).and_modify(|rows| *rows = kept.min(*rows));
        }
        Attempt::Ended(StepOutcome::Salvage(state, None))
    }

    /// Whether servers have in their own logs what they replicate. Where they have, it matters little who is chosen: the next writer
    /// gets the rest from the others.
    pub(crate) fn logs_replicated(&self) -> bool {
        self.options.left_out != Some(DataRule::ReceivedDecides)
    }

    /// From a replica whose server lives, by its agent: when it has applied all that it was known to have received.
    pub(crate) fn fetch_lent(
        &mut self,
        name: &HostName,
        from: &HostName,
        lent: &Wanted,
        tries: u64,
    ) -> Attempt {
        if !self.logs_replicated() {
            let state = SalvageState::InVain { why: Vain::LogsOnlyItsOwn, lacking: None };
            return Attempt::Ended(StepOutcome::Salvage(state, None));
        }
        let reached = self.reaches(&Node::Host(name.clone()), &Node::Host(from.clone()));
        let now = self.now;
        let writer = self.hosts.values().find(|host| host.server.id == lent.server_id);
        let writer = writer.map(|host| host.name.clone());
        let at_least = GtidSet::parse_shown(&lent.at_least).unwrap_or_default();
        let end = at_least.ranges().map(|(_, _, last)| last).max().unwrap_or_default();
        let there = self
            .hosts
            .get(from)
            .filter(|there| reached && there.agent.is_some() && there.frozen_until <= now);
        let logged = writer.zip(there).map(|(writer, there)| {
            let rows = there.server.applied_of(&writer);
            (writer, rows)
        });
        let state = match logged.filter(|(_, rows)| *rows >= end) {
            Some((writer, rows)) => {
                let Some(host) = self.hosts.get_mut(name) else { return Attempt::Later };
                let transactions = rows.saturating_sub(host.server.received_of(&writer));
                if let Some((_, received)) = &mut host.chosen {
                    // From now on it may not be opened without them.
                    let known = received.entry(writer.clone()).or_default();
                    *known = rows.max(*known);
                }
                host.server.fetched = Some(BTreeMap::from([(writer, rows)]));
                SalvageState::Applying { transactions }
            }
            None if tries < PATIENCE => return Attempt::Later,
            None => SalvageState::InVain { why: Vain::NoLog, lacking: None },
        };
        Attempt::Ended(StepOutcome::Salvage(state, None))
    }
}

/// All or nothing: what an agent's start in between leaves half applied is for scenarios.
pub(crate) fn apply_tail(server: &mut Server, name: &HostName) -> StepOutcome {
    let Some(logged) = server.fetched.take() else {
        return StepOutcome::Salvage(SalvageState::Finding, None);
    };
    let mut transactions = 0;
    for (source, rows) in logged.into_iter().filter(|(source, _)| source != name) {
        let copied = server.copied.entry(source).or_default();
        transactions += rows.saturating_sub(copied.applied);
        copied.received = copied.received.max(rows);
        copied.applied = copied.applied.max(rows);
    }
    let (first, last, damage) = (None, None, None);
    StepOutcome::Salvage(SalvageState::Done { transactions, first, last, damage }, None)
}
