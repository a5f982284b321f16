//! New settings while the monitor runs: what they must not do, how they take effect, and how a host leaves.
//!
//! The same goes for hosts that the files of an earlier run name and the configuration of this one does not.
//!
//! Nothing is dropped that somebody relies on: a host that is no longer configured is told to let go of its roles first
//! and forgotten when it has, and an address that left the configuration is given to nobody before it is surely off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::host::Host;
use super::keeper::Trust;
use super::slots::Slot;
use super::{Action, Cluster, LogLevel};
use crate::lease::{LeaseLength, wait_for};
use crate::message::OrderId;
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::settings::Settings;
use crate::state::HostState;

/// A new host whose checks have not all run by then is judged by those that have.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is left of earlier settings, until nobody can go by them any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Leftovers {
    /// Hosts that are configured no longer, each with the number of the first order that takes its roles away (0 where
    /// none can be sent, since nobody knows how to reach it).
    departing: BTreeMap<HostName, u64>,
    /// Hosts that may still have an address which no role has any more.
    addresses: BTreeMap<IpAddr, BTreeMap<HostName, u64>>,
    /// Hosts that may still go by a longer lease, each with the number of the first order that names the shorter one.
    longer: BTreeMap<HostName, (LeaseLength, u64)>,
}

impl Cluster {
    /// Hosts of an earlier run that are not configured any more may still have what they had, and can't be asked.
    pub(super) fn watch_strangers(&mut self, now: Moment) {
        let stored = self.restored.iter().flat_map(|restored| restored.hosts.keys());
        let recorded = self.running_record().map(|record| &record.host);
        let strangers: BTreeSet<HostName> =
            stored.chain(recorded).filter(|name| !self.settings.hosts.contains_key(*name)).cloned().collect();
        for name in strangers {
            let mut host = Host::added(now);
            host.state = HostState::AwaitingRecovery;
            host.agent.tried = true;
            self.hosts.insert(name.clone(), host);
            self.leftovers.departing.insert(name, 0);
        }
    }

    pub(super) fn warn_about_strangers(&self, actions: &mut Vec<Action>) {
        for name in self.leftovers.departing.keys() {
            let text = format!(
                "Host '{name}' is not configured, but the monitor's files name it: nobody is given what it may still have. If it is still part of the cluster, configure it again and send SIGHUP, and move its roles before it leaves. If it is off for good, its lease runs out by itself, or ends with 'mmm_control confirm_dead {name}'"
            );
            actions.push(Action::log(LogLevel::Warn, text));
        }
    }

    /// Whether a host is on its way out and may still have any of the roles.
    pub(super) fn is_departing(&self, name: &HostName) -> bool {
        self.leftovers.departing.contains_key(name)
    }

    /// Why these settings can't take the place of the present ones while the monitor runs. Empty: they can.
    pub fn objections(&self, new: &Settings) -> Vec<String> {
        let mut objections = Vec::new();
        let (old_role, new_role) = (&self.settings.active_master_role, &new.active_master_role);
        if old_role != new_role {
            objections.push(format!(
                "active_master_role is '{new_role}', it was '{old_role}': that changes only with a restart of the monitor"
            ));
            return objections;
        }
        for name in self.settings.candidates().iter().filter(|name| !new.candidates().contains(name)) {
            objections.extend(self.objection_to_losing(name));
        }
        objections
    }

    /// Why a host must stay one that could be the writer.
    fn objection_to_losing(&self, name: &HostName) -> Option<String> {
        let role = &self.settings.active_master_role;
        let holds = self.running_record().is_some_and(|record| record.host == *name);
        if holds || self.active_master() == Some(name) {
            return Some(format!(
                "host '{name}' has the role '{role}': move the role first (mmm_control move_role {role} OTHER_HOST), or tell with 'mmm_control confirm_dead {name}' that it is dead"
            ));
        }
        if !self.has_started() {
            return Some(format!(
                "host '{name}' may have the role '{role}', and the monitor is still finding out who has it: try again when it has started"
            ));
        }
        let unheard = self.keeper.trust != Trust::Known && !self.confirmed_dead.contains(name);
        unheard.then(|| {
            format!(
                "host '{name}' may have the role '{role}', and it is not known who has it: wait until every host that could be the writer has reported, or tell with 'mmm_control confirm_dead {name}' that it is dead"
            )
        })
    }

    /// Goes by new settings from now on.
    pub(super) fn take_in_settings(&mut self, now: Moment, new: Settings, actions: &mut Vec<Action>) {
        let objections = self.objections(&new);
        for objection in &objections {
            let text = format!("The new configuration is not taken in: {objection}");
            actions.push(Action::log(LogLevel::Error, text));
        }
        if !objections.is_empty() {
            return;
        }
        // The run of the monitor stays the same one, and its mode is the operator's since the start.
        let new = Settings { instance: self.settings.instance, mode: self.settings.mode, ..new };
        let old = std::mem::replace(&mut self.settings, new);
        if self.settings.terms.length < old.terms.length {
            let next = self.next_number;
            self.leftovers
                .longer
                .extend(self.hosts.keys().map(|name| (name.clone(), (old.terms.length, next))));
        }
        self.change_hosts(now, actions);
        self.change_slots(actions);
    }

    fn change_hosts(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let wanted: BTreeSet<HostName> = self.settings.hosts.keys().cloned().collect();
        for name in &wanted {
            let returns = self.leftovers.departing.remove(name).is_some();
            if returns || !self.hosts.contains_key(name) {
                let host = self.hosts.entry(name.clone()).or_insert_with(|| Host::added(now));
                // Nothing is known of what became of it meanwhile.
                host.state = HostState::AwaitingRecovery;
                host.since = now;
                actions.push(Action::log(LogLevel::Info, format!("Host '{name}' is watched from now on")));
            }
        }
        let gone: Vec<HostName> = self.hosts.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in gone {
            if self.leftovers.departing.contains_key(&name) {
                continue;
            }
            self.remove_all_roles(&name, actions);
            self.leftovers.departing.insert(name.clone(), self.next_number);
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            // Told anew even if the order is the same, so that its answer is one to this.
            host.agent.sent = None;
            // What an operator has stopped stays stopped: the host is nobody's concern any more.
            if host.state != HostState::AdminOffline {
                host.state = HostState::AwaitingRecovery;
            }
        }
    }

    fn change_slots(&mut self, actions: &mut Vec<Action>) {
        let wanted: BTreeSet<Role> = self.settings.all_roles().collect();
        self.move_writer_address(&wanted, actions);
        let gone: Vec<Role> = self.slots.keys().filter(|role| !wanted.contains(*role)).cloned().collect();
        for role in gone {
            if let Some(holder) = self.slots.get(&role).and_then(|slot| slot.holder.clone()) {
                let text = format!("Removed role '{role}' from host '{holder}': it is no longer configured");
                actions.push(Action::log(LogLevel::Info, text));
            }
            self.unassign(&role);
            if let Some(slot) = self.slots.remove(&role) {
                self.leftovers.addresses.entry(role.ip()).or_default().extend(slot.leaving);
            }
        }
        for role in wanted {
            if !self.slots.contains_key(&role) {
                // An order of an earlier monitor may have brought it to any of its hosts.
                let hosts = self.settings.roles.get(role.name()).map(|settings| settings.hosts.clone());
                let mut leaving: BTreeMap<HostName, u64> =
                    hosts.unwrap_or_default().into_iter().map(|host| (host, 0)).collect();
                leaving.extend(self.leftovers.addresses.remove(&role.ip()).unwrap_or_default());
                self.slots.insert(role.clone(), Slot { leaving, ..Slot::default() });
            }
            let holder = self.slots.get(&role).and_then(|slot| slot.holder.clone());
            let may_hold = |host: &HostName| {
                self.settings.roles.get(role.name()).is_some_and(|settings| settings.hosts.contains(host))
            };
            if let Some(holder) = holder.filter(|holder| !may_hold(holder)) {
                self.unassign(&role);
                let text =
                    format!("Removed role '{role}' from host '{holder}', which may not have it any more");
                actions.push(Action::log(LogLevel::Info, text));
            }
        }
    }

    /// The writer role stays where it is, with its lease, also when it gets another address.
    fn move_writer_address(&mut self, wanted: &BTreeSet<Role>, actions: &mut Vec<Action>) {
        let Some(old) = self.writer_role().filter(|role| !wanted.contains(*role)).cloned() else { return };
        let Some(new) = wanted.iter().find(|role| self.settings.is_writer(role)).cloned() else { return };
        let Some(slot) = self.slots.remove(&old) else { return };
        let next = self.next_number;
        // Who was to give the role back before has been told by some order or other.
        let earlier = slot.taken_from.keys().map(|host| (host.clone(), 0));
        let leaving: BTreeMap<HostName, u64> =
            earlier.chain(slot.holder.iter().map(|host| (host.clone(), next))).collect();
        self.leftovers.addresses.entry(old.ip()).or_default().extend(leaving);
        actions.push(Action::log(LogLevel::Info, format!("Role '{old}' is '{new}' from now on")));
        self.slots.insert(new, slot);
    }

    /// Forgets what nobody can go by any more, and hosts that have let go of everything.
    pub(super) fn settle_leftovers(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let mut left = std::mem::take(&mut self.leftovers);
        left.longer.retain(|name, (_, number)| self.hosts.contains_key(name) && !self.follows(name, *number));
        self.leftovers.longer.clone_from(&left.longer);
        left.addresses.retain(|ip, hosts| {
            hosts.retain(|name, number| !self.is_surely_without(now, name, *number, Some(*ip)));
            !hosts.is_empty()
        });
        let departed: Vec<HostName> = left
            .departing
            .iter()
            .filter(|(name, number)| {
                // A role that somebody else has been granted waits for nobody any more.
                let mut waiting = self.slots.values().filter(|slot| slot.grant.is_none());
                let named = left.addresses.values().any(|hosts| hosts.contains_key(*name))
                    || waiting.any(|slot| slot.leaving.contains_key(*name));
                !named && self.has_left(now, name, **number)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in departed {
            left.departing.remove(&name);
            left.longer.remove(&name);
            self.forget(&name);
            let text = format!("Host '{name}' has let go of its roles and is not watched any more");
            actions.push(Action::log(LogLevel::Info, text));
            actions.push(Action::Dismiss { host: name });
        }
        self.leftovers = left;
    }

    /// Whether nothing hangs on a host any more that is configured no longer.
    fn has_left(&self, now: Moment, name: &HostName, number: u64) -> bool {
        let promises = self.promises.get(name).is_some_and(|(_, until)| now < *until);
        // As long as it counts as the writer there is something that can be said of it: that it is dead.
        let holds = self.running_record().is_some_and(|record| record.host == *name);
        let connected = self.hosts.get(name).is_some_and(|host| host.agent.connected);
        !promises
            && !holds
            && self.is_surely_without(now, name, number, None)
            && (!connected || self.release_for(name).is_none())
    }

    /// Whether a host surely has this address no more, or none of its roles' at all.
    fn is_surely_without(&self, now: Moment, name: &HostName, number: u64, ip: Option<IpAddr>) -> bool {
        let Some(host) = self.hosts.get(name) else { return true };
        if !host.agent.connected {
            return self.has_lapsed(now, name);
        }
        let has = host.agent.status.held.iter().any(|role| ip.is_none_or(|ip| role.ip() == ip));
        self.follows(name, number) && !has
    }

    /// Whether a host works by an order of this monitor with this number or a later one.
    fn follows(&self, name: &HostName, number: u64) -> bool {
        let ours = |id: &OrderId| id.instance == self.settings.instance && id.number >= number;
        self.hosts
            .get(name)
            .is_some_and(|host| host.agent.connected && host.agent.status.taken_in.as_ref().is_some_and(ours))
    }

    fn forget(&mut self, name: &HostName) {
        self.hosts.remove(name);
        self.refused.remove(name);
        self.promises.remove(name);
        self.confirmed_dead.remove(name);
        self.promoted.remove(name);
        self.told_refusals.remove(name);
        self.unfenced_losses.remove(name);
        for slot in self.slots.values_mut() {
            slot.taken_from.remove(name);
            slot.owed.remove(name);
            slot.lost.retain(|lost| lost.host != *name);
            slot.renew_hold();
        }
    }

    /// How long addresses of a host may outlast the last contact with it.
    pub(super) fn lapse_of(&self, name: &HostName) -> Duration {
        let longer = self.leftovers.longer.get(name).map(|(length, _)| wait_for(*length));
        self.lapse().max(longer.unwrap_or_default())
    }

    /// Whether too little is known of a host to judge it: it was added just now.
    pub(super) fn is_too_new(&self, now: Moment, name: &HostName) -> bool {
        self.hosts.get(name).is_some_and(|host| {
            let just_added = host.added.is_some_and(|added| now.since(added) < PATIENCE);
            just_added && !host.checks.values().all(crate::check::Check::has_run)
        })
    }
}
