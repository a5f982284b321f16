//! Where each address of each role is, who may still have it, and when the next host may get it.
//!
//! A role is handed on in two steps. The old holder is told to let go and stays in `leaving` until it says that the
//! address is off and, for the writer role, that its server is closed. Only then is the role granted to the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::host::Kill;
use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::gtid::{Comparison, compare_own};
use crate::message::{LogPosition, Takeover, WriterGrant};
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
    pub(super) grant: Option<WriterGrant>,
    /// The holder was found by the start-up vote without the address: an order of an earlier monitor may still bring it
    /// there.
    pub(super) unanswered: bool,
    /// How the last host was to catch up, until it has been seen to serve: a host that lost the role before has to do
    /// it when it gets the role again.
    pub(super) owed: Option<Takeover>,
    /// The last host that was granted the role.
    pub(super) last: Option<HostName>,
    /// Where the log of the last writer ended, when it gave the role back in order.
    pub(super) released: Option<(HostName, LogPosition)>,
    /// The writer that was lost, until its transactions have been compared.
    pub(super) hold_from: Option<HostName>,
    pub(super) warned_divergence: bool,
}

impl Cluster {
    pub(super) fn assign(&mut self, role: &Role, host: &HostName) {
        if let Some(slot) = self.slots.get_mut(role) {
            slot.leaving.remove(host);
            slot.holder = Some(host.clone());
            slot.grant = None;
        }
    }

    /// Takes the role from its holder, who is told with the next orders.
    pub(super) fn unassign(&mut self, role: &Role) {
        let next = self.next_number;
        if let Some(slot) = self.slots.get_mut(role)
            && let Some(holder) = slot.holder.take()
            && (slot.grant.is_some() || slot.unanswered)
        {
            // No order of ours ever had the role for a holder that only the vote named: any of them takes it away.
            let number = if slot.grant.take().is_some() { next } else { 0 };
            slot.unanswered = false;
            slot.leaving.insert(holder, number);
            slot.released = None;
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
            let leaving = self.slots.get(&role).map(|slot| slot.leaving.clone()).unwrap_or_default();
            for (host, number) in leaving {
                if self.has_let_go(now, &role, &host, number, actions)
                    && let Some(slot) = self.slots.get_mut(&role)
                {
                    slot.leaving.remove(&host);
                }
            }
            self.note_service(&role);
            self.grant(&role, actions);
        }
    }

    /// An agent puts the writer address up only behind a server that has caught up and takes writes.
    fn note_service(&mut self, role: &Role) {
        let Some(slot) = self.slots.get_mut(role).filter(|slot| slot.grant.is_some()) else { return };
        let Some(host) = slot.holder.as_ref().and_then(|holder| self.hosts.get(holder)) else { return };
        let status = &host.agent.status;
        if host.agent.connected && status.held.contains(role) && status.server.is_writable() {
            slot.owed = None;
        }
    }

    fn grant(&mut self, role: &Role, actions: &mut Vec<Action>) {
        let writer = self.settings.is_writer(role);
        let choice = self.next_choice;
        let Some(slot) = self.slots.get_mut(role) else { return };
        let Some(holder) = slot.holder.clone() else { return };
        if slot.grant.is_some() || !slot.leaving.is_empty() {
            return;
        }
        let takeover = match (&slot.last, &slot.released) {
            // A server that was restarted meanwhile has received again what is to be held.
            (last, _) if slot.hold_from.is_some() && last.as_ref().is_none_or(|last| *last == holder) => {
                Takeover::Lost
            }
            (None, _) => Takeover::Fresh,
            (Some(last), _) if *last == holder => slot.owed.clone().unwrap_or(Takeover::Keep),
            (Some(last), Some((from, position))) if last == from => Takeover::After(position.clone()),
            (Some(_), _) => Takeover::Lost,
        };
        if writer && slot.last.as_ref().is_some_and(|last| *last != holder) {
            slot.hold_from = slot.last.clone().filter(|_| takeover == Takeover::Lost);
            slot.warned_divergence = false;
        }
        if writer {
            let how = match &takeover {
                Takeover::Keep => "which had it before".to_owned(),
                Takeover::Fresh => "after it has applied what it received".to_owned(),
                Takeover::After(position) => {
                    format!(
                        "after it has applied the old writer's log up to {} {}",
                        position.file, position.position
                    )
                }
                Takeover::Lost => "after it has applied what it received from the lost writer".to_owned(),
            };
            actions.push(Action::log(LogLevel::Info, format!("Granting role '{role}' to '{holder}' {how}")));
        }
        let hold = slot.hold_from.is_some();
        slot.unanswered = false;
        slot.owed = Some(takeover.clone()).filter(|takeover| *takeover != Takeover::Keep);
        slot.grant = Some(WriterGrant { choice, takeover, hold });
        slot.last = Some(holder);
        self.next_choice = self.next_choice.wrapping_add(1);
    }

    fn has_let_go(
        &mut self,
        now: Moment,
        role: &Role,
        name: &HostName,
        number: u64,
        actions: &mut Vec<Action>,
    ) -> bool {
        let writer = self.settings.is_writer(role);
        let instance = self.settings.instance;
        let trap = self.settings.trap_of(CheckKind::Mysql);
        let Some(host) = self.hosts.get_mut(name) else { return true };
        if !host.agent.connected {
            // The state table never takes a host out of ADMIN_OFFLINE, be it as dead as can be.
            let dead = match host.state {
                HostState::HardOffline => true,
                HostState::AdminOffline => !host.good(CheckKind::Ping) || !host.server_well(trap, now),
                _ => false,
            };
            return dead && self.unreachable_may_be_passed(now, role, name, actions);
        }
        let status = &host.agent.status;
        let ours = |id: &crate::message::OrderId| id.instance == instance && id.number >= number;
        let told = status.taken_in.as_ref().is_some_and(ours);
        if !told || status.held.contains(role) || (writer && status.server.is_writable()) {
            return false;
        }
        if writer {
            let released = status.released_at.as_ref().filter(|(id, _)| ours(id));
            let position = released.filter(|_| status.server.is_up()).map(|(_, position)| position.clone());
            if let Some(slot) = self.slots.get_mut(role) {
                slot.released = position.map(|position| (name.clone(), position));
            }
        }
        true
    }

    /// What 2.2.1 did with a host that is offline and cannot be told: kill it where there is a program for that.
    fn unreachable_may_be_passed(
        &mut self,
        now: Moment,
        role: &Role,
        name: &HostName,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(host) = self.hosts.get_mut(name) else { return true };
        if let Err(path) = &self.settings.kill_host {
            if host.warned_unfenced.insert(role.clone()) {
                actions.push(Action::log(
                    LogLevel::Fatal,
                    format!(
                        "Can't tell host '{name}' to let go of role '{role}', and there is no program to kill it ({path}): it is not fenced, the role moves all the same"
                    ),
                ));
            }
            return true;
        }
        match host.kill {
            Kill::Killed => return true,
            Kill::Running => return false,
            Kill::FailedAt(at) if now.since(at) < KILL_RETRY => return false,
            Kill::NotTried | Kill::FailedAt(_) => {}
        }
        host.kill = Kill::Running;
        let ping = host.good(CheckKind::Ping);
        actions.push(Action::log(
            LogLevel::Fatal,
            format!("Can't tell host '{name}' to let go of role '{role}': killing it"),
        ));
        actions.push(Action::KillHost { host: name.clone(), ping });
        false
    }

    pub(super) fn end_kill(
        &mut self,
        now: Moment,
        name: &HostName,
        outcome: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        match outcome {
            Ok(()) => {
                host.kill = Kill::Killed;
                actions.push(Action::log(LogLevel::Fatal, format!("Host '{name}' has been killed")));
            }
            Err(why) => {
                host.kill = Kill::FailedAt(now);
                actions.push(Action::log(
                    LogLevel::Fatal,
                    format!(
                        "Couldn't kill host '{name}': {why}. Its roles stay where they are; trying again in {} s",
                        KILL_RETRY.as_secs()
                    ),
                ));
            }
        }
    }

    /// Lets replication from a lost writer go on once all that it wrote is known to be on the new one.
    pub(super) fn lift_holds(&mut self, actions: &mut Vec<Action>) {
        let Some((role, slot)) =
            self.slots.iter_mut().find(|(role, _)| *role.name() == self.settings.active_master_role)
        else {
            return;
        };
        let (Some(old), Some(new), Some(grant)) = (&slot.hold_from, &slot.holder, &mut slot.grant) else {
            return;
        };
        let (Some(old_host), Some(new_host)) = (self.hosts.get(old), self.hosts.get(new)) else { return };
        let (old_status, new_status) = (&old_host.agent.status, &new_host.agent.status);
        let closed = old_host.agent.connected
            && old_status.server == crate::message::ServerView::Up { writable: false }
            && !old_status.held.contains(role);
        let caught_up = new_host.agent.connected && new_status.server.is_writable() && new_status.holding;
        if !closed || !caught_up {
            return;
        }
        let (Some(old_gtid), Some(new_gtid)) = (&old_status.gtid, &new_status.gtid) else { return };
        match compare_own(old_gtid, new_gtid) {
            Comparison::Contained => {
                let text = format!("All that '{old}' wrote is on '{new}': '{new}' replicates from it again");
                actions.push(Action::log(LogLevel::Info, text));
                grant.hold = false;
                slot.hold_from = None;
            }
            Comparison::Missing(count) if !slot.warned_divergence => {
                slot.warned_divergence = true;
                actions.push(Action::log(
                    LogLevel::Fatal,
                    format!(
                        "Host '{old}' wrote transactions that '{new}' never received (its log is {count} sequence numbers ahead: '{}' against '{}'). Replication from '{old}' stays stopped: compare the data, carry over by hand what is needed, and rebuild '{old}' from '{new}'",
                        old_gtid.binlog_state, new_gtid.slave_pos
                    ),
                ));
            }
            Comparison::Unreadable if !slot.warned_divergence => {
                slot.warned_divergence = true;
                actions.push(Action::log(
                    LogLevel::Error,
                    format!(
                        "The GTID positions of '{old}' ('{}') and '{new}' ('{}') can't be compared: replication from '{old}' stays stopped",
                        old_gtid.binlog_state, new_gtid.slave_pos
                    ),
                ));
            }
            Comparison::Missing(_) | Comparison::Unreadable => {}
        }
    }
}
