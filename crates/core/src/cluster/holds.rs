//! Replication from a lost writer: held until what that one has was compared with what the new one has, then lifted, or held on
//! with the names of what nobody else has.

use std::time::Duration;

use super::rebuilds::Wanted;
use super::slots::Slot;
use super::surplus::{Compared, compare};
use super::{Action, Cluster, LogLevel};
use crate::diverged::Surplus;
use crate::message::ServerView;
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::settings::Diverged;

/// An error that was there before the new writer began to receive counts for nothing; agents look each second.
const SETTLED: Duration = Duration::from_secs(3);

/// What is known of the transactions of a lost writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    #[default]
    Uncompared,
    /// It told something that can't be compared.
    Unreadable,
    Diverged(Surplus),
    /// The new writer is to receive them.
    Merging {
        /// All that there were.
        first: Surplus,
        /// What is left.
        surplus: Surplus,
        /// When it was first heard to receive again.
        since: Option<Moment>,
    },
}

/// A writer that was lost, and what came of comparing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) host: HostName,
    pub(super) held: Held,
}

impl Held {
    pub(super) fn is_merging(&self) -> bool {
        matches!(self, Self::Merging { .. })
    }

    /// Another writer has not received what this one was on its way to.
    pub(super) fn end_merge(&mut self) {
        if let Self::Merging { first, .. } = self {
            *self = Self::Diverged(first.clone());
        }
    }

    fn surplus(&self) -> Option<&Surplus> {
        match self {
            Self::Diverged(surplus) | Self::Merging { surplus, .. } => Some(surplus),
            Self::Uncompared | Self::Unreadable => None,
        }
    }
}

/// Both sides of a hold, where both can be compared.
struct Pair {
    role: Role,
    old: HostName,
    new: HostName,
    compared: Compared,
}

impl Cluster {
    /// The slot of the writer role, which has those that were lost.
    fn writer_slot(&self) -> Option<(&Role, &Slot)> {
        let role = self.writer_role()?;
        Some((role, self.slots.get(role)?))
    }

    fn held_mut(&mut self, role: &Role, name: &HostName) -> Option<&mut Held> {
        let lost = self.slots.get_mut(role)?.lost.iter_mut().find(|lost| lost.host == *name)?;
        Some(&mut lost.held)
    }

    pub(super) fn held_of(&self, name: &HostName) -> Option<&Held> {
        let (_, slot) = self.writer_slot()?;
        slot.lost.iter().find(|lost| lost.host == *name).map(|lost| &lost.held)
    }

    /// What was said of its data is not true any more.
    pub(super) fn compare_anew(&mut self, name: &HostName) {
        if let Some(role) = self.writer_role().cloned()
            && let Some(held) = self.held_mut(&role, name)
        {
            *held = Held::default();
        }
    }

    pub(super) fn lost_writers(&self) -> Vec<HostName> {
        let lost = self.writer_slot().into_iter().flat_map(|(_, slot)| &slot.lost);
        lost.map(|lost| lost.host.clone()).collect()
    }

    /// What the next monitor is to know: those whose transactions are being received on purpose are no more held.
    pub(super) fn lost_and_held(&self) -> Vec<HostName> {
        let mut lost = self.lost_writers();
        lost.retain(|name| !self.held_of(name).is_some_and(Held::is_merging));
        lost
    }

    /// Hosts that an earlier monitor had not seen compared.
    pub(super) fn restore_lost(&mut self, names: Vec<HostName>) {
        let known: Vec<HostName> = names.into_iter().filter(|name| self.hosts.contains_key(name)).collect();
        if let Some(role) = self.writer_role().cloned()
            && let Some(slot) = self.slots.get_mut(&role)
        {
            for name in known {
                slot.note_lost(name);
            }
        }
    }

    /// What a lost writer has and nobody else.
    pub(super) fn held_surplus(&self, name: &HostName) -> Option<&Surplus> {
        self.held_of(name).and_then(Held::surplus)
    }

    /// What its agent is to save: while it is merged, all that there was.
    pub(super) fn surplus_to_save(&self, name: &HostName) -> Option<&Surplus> {
        if let Some(surplus) = self.surplus_before_rebuild(name) {
            return Some(surplus);
        }
        match self.held_of(name)? {
            Held::Merging { first, .. } => Some(first),
            held => held.surplus(),
        }
    }

    /// Whether it must not become ONLINE beside the writer that took its place. Where there is none it is no worse than others
    /// that are not; nor is it where the next one was only chosen and may not follow, while the last lease was its own: it has all.
    fn is_measured_by_another(&self, name: &HostName) -> bool {
        let slot = self.writer_role().and_then(|role| self.slots.get(role));
        let only_chosen = slot.is_some_and(|slot| slot.grant.is_none());
        let wrote_last = self.record().is_some_and(|record| record.host == *name);
        !(only_chosen && wrote_last) && self.active_master().is_some_and(|master| master != name)
    }

    pub(super) fn is_diverged(&self, name: &HostName) -> bool {
        let diverged = self.held_of(name).is_some_and(|held| *held != Held::Uncompared);
        diverged && self.is_measured_by_another(name)
    }

    pub(super) fn is_uncompared(&self, name: &HostName) -> bool {
        // An agent of 2.2.1 tells no positions.
        self.held_of(name) == Some(&Held::Uncompared)
            && self.is_measured_by_another(name)
            && !self.speaks_protocol1(name)
    }

    /// Whether a host that held replication from a lost writer is to be pointed at the new one and has not been: it goes on holding,
    /// which it does as long as it hears of no writer.
    pub(super) fn would_receive_from_lost(&self, name: &HostName, writer: Option<&HostName>) -> bool {
        let holds = self.hosts.get(name).is_some_and(|host| host.agent.status.holding);
        let (Some(source), Some(writer)) = (self.source_of(name), writer) else { return false };
        holds
            && writer != name
            && source != writer
            && self.held_of(source).is_some()
            && self.is_led_by(name, writer)
    }

    pub(super) fn tend_holds(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for name in self.lost_writers() {
            if let Some(pair) = self.pair(&name) {
                self.tend_hold(now, &pair, actions);
            }
        }
    }

    fn tend_hold(&mut self, now: Moment, pair: &Pair, actions: &mut Vec<Action>) {
        let is_doubtful = self.is_doubtful(&pair.old);
        let Some(held) = self.held_mut(&pair.role, &pair.old) else { return };
        if let Held::Merging { surplus, .. } = held {
            if let Compared::Has(left) = &pair.compared {
                surplus.clone_from(left);
            }
            if self.merge_has_settled(now, pair, actions) && pair.compared == Compared::Contained {
                self.lift(pair, actions);
            }
            return;
        }
        match (pair.compared.clone(), &held) {
            // Nobody receives anything from data that may not be whole.
            (Compared::Contained, _) if is_doubtful => {}
            (Compared::Contained, _) => self.lift(pair, actions),
            (Compared::Unreadable, Held::Uncompared) => {
                *held = Held::Unreadable;
                self.tell_unreadable(pair, actions);
            }
            (Compared::Has(surplus), Held::Diverged(_)) => *held = Held::Diverged(surplus),
            (Compared::Has(surplus), _) => {
                *held = Held::Diverged(surplus.clone());
                self.tell_diverged(pair, &surplus, actions);
                match self.settings.diverged {
                    Diverged::Hold => {}
                    Diverged::Merge if is_doubtful => {}
                    Diverged::Merge => self.begin_merge(&pair.role, &pair.old, "diverged merge", actions),
                    Diverged::Clone => self.begin_rebuild(now, &pair.old, Wanted::Policy, actions),
                }
            }
            (Compared::NotYet | Compared::Unreadable, _) => {}
        }
    }

    /// Both hosts, as soon as each can be asked for what it has: the old one is closed, and the new one has caught up.
    fn pair(&self, old: &HostName) -> Option<Pair> {
        let (role, slot) = self.writer_slot()?;
        // What it had is on its way out, and what it gets is no answer before it is whole.
        if self.is_rebuilding(old) && !self.is_doubtful(old) {
            return None;
        }
        let new = slot.holder.as_ref()?;
        slot.grant.as_ref()?;
        let (old_host, new_host) = (self.hosts.get(old)?, self.hosts.get(new)?);
        let merging = self.held_of(old).is_some_and(Held::is_merging);
        let (old_status, new_status) = (&old_host.agent.status, &new_host.agent.status);
        let closed = old_host.agent.connected
            && old_status.server == (ServerView::Up { writable: false })
            && !old_status.held.contains(role);
        let caught_up =
            new_host.agent.connected && new_status.server.is_writable() && (new_status.holding || merging);
        let new_uuid = new_status.received.as_ref().and_then(|received| received.server_uuid.as_deref());
        let (old_gtid, new_gtid) = (old_status.gtid.as_ref()?, new_status.gtid.as_ref()?);
        (closed && caught_up).then(|| Pair {
            role: role.clone(),
            old: old.clone(),
            new: new.clone(),
            compared: match compare(old_gtid, new_gtid, new_uuid) {
                _ if new_gtid.is_of_a_log() && !self.is_log_of(new, old) => Compared::NotYet,
                // `MariaDB` counts as applied what it only received when the receiver is started while the applier is stopped.
                Compared::Contained if new_status.applier_error.is_some() => Compared::NotYet,
                compared => compared,
            },
        })
    }

    /// Whether the place that the new writer tells is one in the log of this lost one: logs of several have the same names.
    fn is_log_of(&self, new: &HostName, old: &HostName) -> bool {
        self.source_of(new).map_or_else(|| self.lost_writers().len() == 1, |source| source == old)
    }

    /// Whether the writer that took its place has all that it has.
    pub(super) fn is_contained(&self, name: &HostName) -> bool {
        self.pair(name).is_some_and(|pair| pair.compared == Compared::Contained)
    }

    fn lift(&mut self, pair: &Pair, actions: &mut Vec<Action>) {
        let Pair { role, old, new, .. } = pair;
        let Some(slot) = self.slots.get_mut(role) else { return };
        let text = match slot.lost.iter().find(|lost| lost.host == *old).map(|lost| &lost.held) {
            Some(Held::Merging { first, .. }) => {
                format!("The {} of '{old}' that nobody else had are on '{new}' now", first.counted())
            }
            _ => format!("All that '{old}' wrote is on '{new}': '{new}' replicates from it again"),
        };
        actions.push(Action::log(LogLevel::Info, text));
        slot.lost.retain(|lost| lost.host != *old);
        slot.renew_hold();
    }

    /// Where the server waited for acknowledgements until it ended, what it commits by itself when it is started again was never
    /// acknowledged.
    pub(super) fn unacknowledged(&self, host: &HostName) -> &'static str {
        let end = self.hosts.get(host).and_then(|host| host.agent.status.semi_sync_end);
        match end.map(|end| end.after_sync) {
            None => "",
            Some(true) => {
                " Its server waited for acknowledgements until it ended, and committed them by itself when it was started: no client was told that they are saved, and nobody read them."
            }
            Some(false) => {
                " Its server waited for acknowledgements until it ended: no client was told that they are saved, but others may have read them (it waits after the commit)."
            }
        }
    }

    fn tell_diverged(&self, pair: &Pair, surplus: &Surplus, actions: &mut Vec<Action>) {
        let Pair { old, new, .. } = pair;
        let (counted, unacknowledged) = (surplus.counted(), self.unacknowledged(old));
        actions.push(Action::log(
            LogLevel::Fatal,
            format!(
                "Host '{old}' has {counted} nobody else has ({}): '{new}' never received them.{unacknowledged} Replication from '{old}' stays stopped. `mmm_control diverged {old}` lists them, `mmm_control rejoin {old}` says what can be done",
                surplus.transactions
            ),
        ));
    }

    fn tell_unreadable(&self, pair: &Pair, actions: &mut Vec<Action>) {
        let Pair { old, new, .. } = pair;
        let said = |name: &HostName| {
            let gtid = self.hosts.get(name).and_then(|host| host.agent.status.gtid.as_ref());
            gtid.map(|gtid| format!("{} {}", gtid.binlog_state, gtid.slave_pos)).unwrap_or_default()
        };
        let text = format!(
            "What '{old}' has ('{}') and what '{new}' has ('{}') can't be compared: replication from '{old}' stays stopped",
            said(old).trim(),
            said(new).trim()
        );
        actions.push(Action::log(LogLevel::Error, text));
    }

    /// Lets the new writer receive what nobody but the lost one has.
    pub(super) fn begin_merge(&mut self, role: &Role, old: &HostName, why: &str, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(role) else { return };
        let Some(lost) = slot.lost.iter_mut().find(|lost| lost.host == *old) else { return };
        let (Held::Diverged(surplus), Some(new)) = (&lost.held, &slot.holder) else { return };
        let text = format!("'{new}' receives the {} that only '{old}' has ({why})", surplus.counted());
        actions.push(Action::log(LogLevel::Warn, text));
        lost.held = Held::Merging { first: surplus.clone(), surplus: surplus.clone(), since: None };
        slot.renew_hold();
    }

    /// Whether the new writer has received long enough for its word to count. A transaction that is in conflict ends the merge.
    fn merge_has_settled(&mut self, now: Moment, pair: &Pair, actions: &mut Vec<Action>) -> bool {
        let Some(status) = self.hosts.get(&pair.new).map(|host| &host.agent.status) else { return false };
        let (holding, error) = (status.holding, status.applier_error.clone());
        let Some(held) = self.held_mut(&pair.role, &pair.old) else { return false };
        let Held::Merging { surplus, since, .. } = held else { return false };
        if holding || now.since(*since.get_or_insert(now)) < SETTLED {
            return false;
        }
        let Some(error) = error else { return true };
        *held = Held::Diverged(surplus.clone());
        if let Some(slot) = self.slots.get_mut(&pair.role) {
            slot.renew_hold();
        }
        let Pair { old, new, .. } = pair;
        let text = format!(
            "'{new}' can't apply what only '{old}' has: {error}. Replication from '{old}' is held again: resolve the conflict on '{new}' and try again (`mmm_control rejoin --merge {old}`), or carry over by hand what is needed and rebuild '{old}' from '{new}'"
        );
        actions.push(Action::log(LogLevel::Fatal, text));
        false
    }

    /// A host that is promoted with what nobody else has is told of: what the others did meanwhile may be in conflict with it.
    pub(super) fn tell_of_surplus(&self, host: &HostName, actions: &mut Vec<Action>) {
        let Some(surplus) = self.held_surplus(host).cloned().or_else(|| self.errant_of(host)) else { return };
        let text = format!(
            "Host '{host}' is promoted with {} nobody else has ({}), which may be in conflict with what the others have: compare the data of all hosts",
            surplus.counted(),
            surplus.transactions
        );
        actions.push(Action::log(LogLevel::Fatal, text));
    }

    /// For `show`.
    pub(super) fn hold_warnings(&self) -> Vec<String> {
        self.lost_writers().iter().filter_map(|old| self.hold_warning(old)).collect()
    }

    fn hold_warning(&self, old: &HostName) -> Option<String> {
        let (_, slot) = self.writer_slot()?;
        slot.holder.as_ref()?;
        let begin = format!("Warning: replication from {old}, which was lost as the writer, is held");
        Some(match self.held_of(old)? {
            Held::Uncompared => format!("{begin} until its transactions have been compared"),
            Held::Unreadable => format!("{begin}: its positions can't be compared with the new writer's"),
            Held::Diverged(surplus) => format!(
                "{begin}: it has {} nobody else has ({}); see mmm_control diverged {old}",
                self.counted_surplus(old)?,
                surplus.transactions
            ),
            Held::Merging { .. } => format!(
                "Warning: the {} that only {old} has are being applied to {}",
                self.counted_surplus(old)?,
                slot.holder.as_ref()?
            ),
        })
    }
}
