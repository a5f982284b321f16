//! Where roles should be: orphans to the emptiest host, preferences, and an even spread of balanced roles.

use super::moves::Purpose;
use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::moment::Moment;
use crate::names::{HostName, Role, RoleName};
use crate::settings::RoleMode;
use crate::state::{HostState, Mode};

impl Cluster {
    pub(super) fn is_exclusive(&self, name: &RoleName) -> bool {
        self.settings.roles.get(name).is_some_and(|role| role.mode == RoleMode::Exclusive)
    }

    pub(super) fn place_roles(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.note_well_hosts(now);
        self.place_orphans(now, RoleMode::Exclusive, actions);
        self.place_orphans(now, RoleMode::Balanced, actions);
        if self.mode == Mode::Active {
            self.obey_preferences(now, actions);
        }
        self.balance(now, actions);
    }

    /// Whether a host may be given this role now.
    pub(super) fn eligible(&self, now: Moment, role: &RoleName, name: &HostName) -> bool {
        let Some(settings) = self.settings.roles.get(role) else { return false };
        let Some(host) = self.hosts.get(name) else { return false };
        let able = host.state == HostState::Online && host.agent.connected;
        if !settings.hosts.contains(name) || !able {
            return false;
        }
        if *role == self.settings.active_master_role {
            return host.server_is_up();
        }
        // A writer that its agent vouches for stays ONLINE while nobody can reach its server: no place for readers.
        let trap = self.settings.trap_of(CheckKind::Mysql);
        host.good(CheckKind::Ping) && host.server_well(trap, now)
    }

    fn eligible_hosts(&self, now: Moment, role: &RoleName) -> Vec<HostName> {
        let hosts = self.settings.roles.get(role).map(|role| role.hosts.clone()).unwrap_or_default();
        let mut hosts: Vec<HostName> =
            hosts.into_iter().filter(|host| self.eligible(now, role, host)).collect();
        hosts.sort();
        if !self.is_exclusive(role) && hosts.iter().any(|host| self.has_settled(now, host)) {
            hosts.retain(|host| self.has_settled(now, host));
        }
        hosts
    }

    fn note_well_hosts(&mut self, now: Moment) {
        let master = self.active_master().cloned();
        for (name, host) in &mut self.hosts {
            // What the active master receives is nothing that its readers wait for.
            let kinds = if master.as_ref() == Some(name) {
                &[CheckKind::Ping, CheckKind::Mysql][..]
            } else {
                &CheckKind::ALL[..]
            };
            let is_well =
                host.state == HostState::Online && !kinds.iter().any(|kind| host.check(*kind).failing());
            host.well_since = is_well.then(|| host.well_since.unwrap_or(now));
        }
    }

    /// A server that was started anew reads everything from its disk at first, and may be behind: readers have time to come back.
    fn has_settled(&self, now: Moment, name: &HostName) -> bool {
        let patience = self.settings.reader_return_after;
        patience.is_zero()
            || self
                .hosts
                .get(name)
                .and_then(|host| host.well_since)
                .is_some_and(|since| now.since(since) >= patience)
    }

    /// Weight of what a host carries, in halves of a role: the active master role counts one half, so that readers
    /// fill the other hosts only a little sooner.
    pub(super) fn load(&self, host: &HostName) -> usize {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.holder.as_ref() == Some(host))
            .map(|(role, _)| if self.settings.is_writer(role) { 1 } else { 2 })
            .sum()
    }

    fn place_orphans(&mut self, now: Moment, mode: RoleMode, actions: &mut Vec<Action>) {
        let orphans: Vec<Role> = self
            .slots
            .iter()
            .filter(|(role, slot)| {
                slot.holder.is_none()
                    && self.settings.roles.get(role.name()).is_some_and(|settings| settings.mode == mode)
            })
            .map(|(role, _)| role.clone())
            .collect();
        for role in orphans {
            let mut hosts = self.eligible_hosts(now, role.name());
            if self.settings.is_writer(&role) {
                hosts.retain(|host| self.may_be_chosen(now, host));
                // A holder that is there and did not renew in time is the last choice.
                let stuck = self.stuck_holder(now);
                if hosts.len() > 1 {
                    hosts.retain(|host| Some(host) != stuck.as_ref());
                }
            }
            if self.settings.is_writer(&role) {
                if let Some(host) = self.choose_writer(now, &role, &hosts, actions) {
                    self.give_orphan(&role, &host, actions);
                }
                continue;
            }
            let preferred = self.settings.roles.get(role.name()).and_then(|settings| settings.prefer.clone());
            let chosen = preferred
                .filter(|host| mode == RoleMode::Exclusive && hosts.contains(host))
                .or_else(|| hosts.iter().min_by_key(|host| self.load(host)).cloned());
            if let Some(host) = chosen {
                self.give_orphan(&role, &host, actions);
            }
        }
    }

    fn give_orphan(&mut self, role: &Role, host: &HostName, actions: &mut Vec<Action>) {
        self.assign(role, host);
        let text = format!("Orphaned role '{role}' has been assigned to '{host}'");
        actions.push(Action::log(LogLevel::Info, text));
    }

    /// Whether a host may be chosen as the writer: nobody else holds the role, or who does is there to give it back.
    fn may_be_chosen(&self, now: Moment, host: &HostName) -> bool {
        let holder_answers = self
            .record()
            .and_then(|record| self.hosts.get(&record.host))
            .is_some_and(|holder| holder.agent.connected);
        self.writer_proof(now, host).is_ok()
            || (holder_answers && self.keeper.trust == super::keeper::Trust::Known)
    }

    fn obey_preferences(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let wishes: Vec<(Role, HostName, HostName)> = self
            .slots
            .iter()
            .filter_map(|(role, slot)| {
                let prefer = self.settings.roles.get(role.name())?.prefer.clone()?;
                let holder = slot.holder.clone()?;
                (holder != prefer).then(|| (role.clone(), holder, prefer))
            })
            .collect();
        for (role, holder, prefer) in wishes {
            if self.is_exclusive(role.name())
                && self.eligible(now, role.name(), &prefer)
                && !self.is_moving(&role)
                // Not silently.
                && self.errant_of(&prefer).is_none()
                && !self.rests_after_a_failed_move(now, &role)
            {
                let text = format!("Moving role '{role}' from host '{holder}' to preferred host '{prefer}'");
                actions.push(Action::log(LogLevel::Info, text));
                self.begin_move(now, Purpose::Preference, &role, &holder, &prefer, actions);
            }
        }
    }

    fn balance(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let names: Vec<RoleName> = self
            .settings
            .roles
            .iter()
            .filter(|(_, role)| role.mode == RoleMode::Balanced)
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let hosts = self.eligible_hosts(now, &name);
            // Each turn brings two hosts closer together, so there can't be more turns than addresses.
            for _ in 0..self.slots.len() {
                let counts: Vec<(usize, &HostName)> =
                    hosts.iter().map(|host| (self.addresses_on(&name, host).len(), host)).collect();
                let Some((most, fullest)) = counts.iter().max_by_key(|(count, _)| *count).copied() else {
                    break;
                };
                let Some((least, emptiest)) = counts.iter().min_by_key(|(count, _)| *count).copied() else {
                    break;
                };
                if most <= least + 1 {
                    break;
                }
                let Some(role) = self.addresses_on(&name, fullest).into_iter().next() else { break };
                let (fullest, emptiest) = (fullest.clone(), emptiest.clone());
                self.unassign(&role);
                self.assign(&role, &emptiest);
                let text = format!("Moving role '{role}' from host '{fullest}' to host '{emptiest}'");
                actions.push(Action::log(LogLevel::Info, text));
            }
        }
        self.empty_unreachable_readers(now, actions);
    }

    /// Readers leave a host that stays ONLINE only because its agent vouches for the server.
    fn empty_unreachable_readers(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let stranded: Vec<(Role, HostName)> = self
            .slots
            .iter()
            .filter(|(role, _)| !self.is_exclusive(role.name()))
            .filter_map(|(role, slot)| {
                let holder = slot.holder.clone()?;
                let host = self.hosts.get(&holder)?;
                let vouched = host.state == HostState::Online && host.agent.connected;
                let elsewhere = self.eligible_hosts(now, role.name()).iter().any(|other| *other != holder);
                (vouched && elsewhere && !self.eligible(now, role.name(), &holder))
                    .then(|| (role.clone(), holder))
            })
            .collect();
        for (role, holder) in stranded {
            self.unassign(&role);
            let text =
                format!("Removed role '{role}' from host '{holder}': clients may not reach its server");
            actions.push(Action::log(LogLevel::Warn, text));
        }
    }

    pub(super) fn addresses_on(&self, name: &RoleName, host: &HostName) -> Vec<Role> {
        self.slots
            .iter()
            .filter(|(role, slot)| role.name() == name && slot.holder.as_ref() == Some(host))
            .map(|(role, _)| role.clone())
            .collect()
    }
}
