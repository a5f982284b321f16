//! Where each address of each role is, who may still have it, and when the next host may get it.
//!
//! A role is handed on in two steps. The old holder is told to let go and stays in `leaving` until it says that the
//! address is off, or until the kernel has taken it off there for certain. Only then is the role granted to the next one.
//! The writer role has its lease in place of that; see `lease`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::holds::{Held, Lost};
use super::host::Kill;
use super::{Action, Cluster, DataRule, LogLevel};
use crate::check::CheckKind;
use crate::lease::{Epoch, Proof};
use crate::message::{Promotion, Takeover};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::state::HostState;

/// Time between two attempts at killing a host that nobody can reach.
const KILL_RETRY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) holder: Option<HostName>,
    /// Hosts that may still have the address, each with the number of the first order that takes it away.
    pub(super) leaving: BTreeMap<HostName, u64>,
    /// Made when nobody else can have the address any more; the role is in no order before.
    pub(super) grant: Option<Promotion>,
    /// The writer role: the epoch this holder is to be promoted with.
    pub(super) chosen: Option<Epoch>,
    /// The writer role: hosts that may have been told to give back this epoch.
    pub(super) taken_from: BTreeMap<HostName, Epoch>,
    /// An operator forced the role to its holder: no lost writer that returns takes it back.
    pub(super) forced: bool,
    /// The holder was found by the start-up vote without the address: an order of an earlier monitor may still bring it
    /// there.
    pub(super) unanswered: bool,
    /// How hosts were to catch up that have not been seen to serve since: one that lost the role before has to do it
    /// when it gets the role again.
    pub(super) owed: BTreeMap<HostName, Takeover>,
    /// The last host that was granted the role.
    pub(super) last: Option<HostName>,
    /// Writers that were lost, the last one at the end, until their transactions have been compared with those of whoever writes.
    pub(super) lost: Vec<Lost>,
}

impl Slot {
    /// Its replication stays stopped as long as there is anything to compare, but for what is to be received on purpose.
    pub(super) fn is_to_hold(&self) -> bool {
        !self.lost.is_empty() && !self.lost.iter().any(|lost| lost.held.is_merging())
    }

    pub(super) fn renew_hold(&mut self) {
        let hold = self.is_to_hold();
        if let Some(grant) = &mut self.grant {
            grant.hold = hold;
        }
    }

    pub(super) fn note_lost(&mut self, host: HostName) {
        self.lost.retain(|lost| lost.host != host);
        self.lost.push(Lost { host, held: Held::default() });
    }
}

impl Cluster {
    pub(super) fn assign(&mut self, role: &Role, host: &HostName) {
        if let Some(slot) = self.slots.get_mut(role) {
            slot.leaving.remove(host);
            slot.holder = Some(host.clone());
            slot.grant = None;
            slot.chosen = None;
            slot.forced = false;
        }
    }

    /// Takes the role from its holder, who is told with the next orders.
    pub(super) fn unassign(&mut self, role: &Role) {
        let next = self.next_number;
        let writer = self.settings.is_writer(role);
        let Some(slot) = self.slots.get_mut(role) else { return };
        let Some(holder) = slot.holder.take() else { return };
        let granted = slot.grant.take();
        slot.chosen = None;
        slot.forced = false;
        let unanswered = std::mem::take(&mut slot.unanswered);
        if writer {
            if let Some(promotion) = granted {
                slot.taken_from.insert(holder, promotion.epoch);
            }
        } else if granted.is_some() || unanswered {
            // No order of ours ever had the role for a holder that only the vote named: any of them takes it away.
            slot.leaving.insert(holder, if granted.is_some() { next } else { 0 });
        }
    }

    pub(super) fn remove_all_roles(&mut self, host: &HostName, actions: &mut Vec<Action>) {
        actions.push(Action::log(LogLevel::Info, format!("Removing all roles from host '{host}':")));
        // Exclusive roles first, as 2.2.1 lists them.
        let mut roles: Vec<Role> = self.roles_of(host).into_iter().collect();
        roles.sort_by_key(|role| !self.is_exclusive(role.name()));
        for role in roles {
            self.unassign(&role);
            let text = format!("    Removed role '{role}' from host '{host}'");
            actions.push(Action::log(LogLevel::Info, text));
        }
    }

    /// Grants every role whose last holder has let go of it.
    pub(super) fn settle_slots(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let roles: Vec<Role> = self.slots.keys().cloned().collect();
        for role in roles {
            if self.settings.is_writer(&role) {
                self.note_service(&role);
                self.promote(now, &role, actions);
            } else {
                self.settle_plain(now, &role);
            }
        }
    }

    /// A role without a lease goes on when nobody else can have its address any more.
    fn settle_plain(&mut self, now: Moment, role: &Role) {
        let Some(slot) = self.slots.get(role) else { return };
        let said: Vec<HostName> = slot
            .leaving
            .iter()
            .filter(|(host, number)| self.has_said_goodbye(role, host, **number))
            .map(|(host, _)| host.clone())
            .collect();
        let waits = slot.leaving.keys().any(|host| !said.contains(host) && !self.has_lapsed(now, host));
        let elsewhere = self.hosts.iter().any(|(name, host)| {
            // Another monitor may have put it there.
            slot.holder.as_ref() != Some(name)
                && host.agent.connected
                && host.agent.status.held.contains(role)
        });
        // Only a holder that is heard of can have told who asked it meanwhile.
        let heard = slot
            .holder
            .as_ref()
            .and_then(|holder| self.hosts.get(holder))
            .is_some_and(|host| host.agent.connected);
        let free = heard && !waits && !elsewhere && slot.grant.is_none();
        let Some(slot) = self.slots.get_mut(role) else { return };
        slot.leaving.retain(|host, _| !said.contains(host));
        if let Some(holder) = slot.holder.clone().filter(|_| free) {
            // Who has lapsed is forgotten only now: whoever is heard of before this may have vouched for it.
            slot.leaving.clear();
            slot.unanswered = false;
            slot.last = Some(holder);
            slot.grant = Some(plain_grant());
        }
    }

    /// An agent puts the writer address up only behind a server that has caught up and takes writes.
    fn note_service(&mut self, role: &Role) {
        let Some(slot) = self.slots.get_mut(role).filter(|slot| slot.grant.is_some()) else { return };
        let Some(host) = slot.holder.as_ref().and_then(|holder| self.hosts.get(holder)) else { return };
        let status = &host.agent.status;
        if host.agent.connected && status.held.contains(role) && status.server.is_writable() {
            slot.owed.clear();
        }
    }

    pub(super) fn grant_writer(
        &mut self,
        role: &Role,
        holder: &HostName,
        epoch: Epoch,
        proof: Proof,
        actions: &mut Vec<Action>,
    ) {
        self.tell_of_surplus(holder, actions);
        self.take_over_hold(role, holder);
        let Some(slot) = self.slots.get(role) else { return };
        let takeover = self.takeover(slot, holder);
        let last = self
            .last_writer(slot)
            .or(self.stored_writer())
            .filter(|last| *last != holder)
            .or(self.wrote_since(holder))
            .cloned();
        // An agent of 2.2.1 holds no replication.
        let holds = !self.speaks_protocol1(holder);
        let missed = Self::lost_writer(slot, holder, last.as_ref());
        let salvage = self.salvage_order(&takeover, holder, [missed.as_ref(), last.as_ref()], actions);
        let keeps_all = self.goes_by(DataRule::TheLostStayHeld);
        let Some(slot) = self.slots.get_mut(role) else { return };
        slot.lost.retain(|_| keeps_all);
        // What a writer lost before has is to be compared with whoever writes, also where the role has gone on in order since.
        slot.lost.iter_mut().for_each(|lost| lost.held.end_merge());
        // One that is asked for the end of its log may be gone again before it answers; and one that was never seen to serve may have
        // served all the same.
        if matches!(takeover, Takeover::Lost | Takeover::AskSource) {
            for host in last.into_iter().chain(missed) {
                slot.note_lost(host);
            }
        }
        slot.lost.retain(|lost| holds && lost.host != *holder);
        let how = match &takeover {
            Takeover::Keep => "which had it before".to_owned(),
            Takeover::Fresh => "after it has applied what it received".to_owned(),
            Takeover::AskSource => "after it has applied the log of the server it replicates from".to_owned(),
            Takeover::After(position) => format!(
                "after it has applied the old writer's log up to {} {}",
                position.file, position.position
            ),
            Takeover::Lost => "after it has applied what it received from the lost writer".to_owned(),
        };
        let text = format!(
            "Granting role '{role}' to '{holder}' with epoch {epoch}, {how} ({})",
            crate::agent::describe_proof(proof)
        );
        actions.push(Action::log(LogLevel::Info, text));
        let hold = slot.is_to_hold();
        slot.unanswered = false;
        if takeover != Takeover::Keep {
            slot.owed.insert(holder.clone(), takeover.clone());
        }
        slot.grant = Some(Promotion { epoch, proof, takeover, hold, salvage });
        slot.last = Some(holder.clone());
        self.promoted.insert(holder.clone(), epoch);
    }

    /// Whether a host says, after it was told, that it does not have the address any more.
    fn has_said_goodbye(&self, role: &Role, name: &HostName, number: u64) -> bool {
        let Some(host) = self.hosts.get(name) else { return true };
        let status = &host.agent.status;
        // A role that was given and taken before any order went out is in none: no new one will take it away either.
        let sent = host.agent.sent.as_ref().map(|(order, _)| order).filter(|sent| !sent.roles.contains(role));
        let number = sent.map_or(number, |sent| number.min(sent.id.number));
        let ours =
            |id: &crate::message::OrderId| id.instance == self.settings.instance && id.number >= number;
        host.agent.connected && status.taken_in.as_ref().is_some_and(ours) && !status.held.contains(role)
    }

    /// Whether nobody has renewed the lifetimes of this host's addresses for so long that the kernel has taken them off.
    pub(super) fn has_lapsed(&self, now: Moment, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name).filter(|host| !host.agent.connected) else { return false };
        now.since(host.agent.lost_at) >= self.lapse_of(name) || host.kill == Kill::Killed
    }

    /// Kills a host that is offline and cannot be told to let go of what it may still have.
    pub(super) fn kill_if_lost(
        &mut self,
        now: Moment,
        name: &HostName,
        epoch: Epoch,
        actions: &mut Vec<Action>,
    ) {
        let trap = self.settings.trap_of(CheckKind::Mysql);
        let Some(host) = self.hosts.get_mut(name) else { return };
        // The state table never takes a host out of ADMIN_OFFLINE, be it as dead as can be.
        let dead = match host.state {
            HostState::HardOffline => {
                !host.lease_lost || !host.good(CheckKind::Ping) || !host.server_well(trap, now)
            }
            HostState::AdminOffline => !host.good(CheckKind::Ping) || !host.server_well(trap, now),
            _ => false,
        };
        if host.agent.connected || !dead {
            return;
        }
        match host.kill {
            Kill::Killed | Kill::Running => return,
            Kill::FailedAt(at) if now.since(at) < KILL_RETRY => return,
            Kill::NotTried | Kill::FailedAt(_) => {}
        }
        host.kill = Kill::Running;
        let ping = host.good(CheckKind::Ping);
        actions.push(Action::log(
            LogLevel::Fatal,
            format!("Can't tell host '{name}' to let go of its roles: killing it"),
        ));
        actions.push(Action::KillHost { host: name.clone(), ping, epoch });
    }

    pub(super) fn end_kill(
        &mut self,
        now: Moment,
        name: &HostName,
        epoch: Epoch,
        outcome: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        match outcome {
            Ok(()) => {
                host.kill = Kill::Killed;
                self.keeper.take_in_death(name, epoch);
                actions.push(Action::log(LogLevel::Fatal, format!("Host '{name}' has been killed")));
            }
            Err(why) => {
                host.kill = Kill::FailedAt(now);
                actions.push(Action::log(
                    LogLevel::Fatal,
                    format!("Couldn't kill host '{name}': {why}. Trying again in {} s", KILL_RETRY.as_secs()),
                ));
            }
        }
    }
}

/// The mark that a role other than the writer's may be in the orders; it has neither lease nor data.
pub(super) fn plain_grant() -> Promotion {
    Promotion {
        epoch: Epoch::NONE,
        proof: Proof::Nobody,
        takeover: Takeover::Keep,
        hold: false,
        salvage: None,
    }
}
