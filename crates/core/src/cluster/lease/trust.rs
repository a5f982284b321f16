//! Whether what the monitor knows of leases is all there is to know, and what the agents say of it.

use crate::cluster::keeper::Trust;
use crate::cluster::{Action, Cluster, LogLevel};
use crate::lease::{Ended, Epoch, GrantRecord};
use crate::message::{LeaseStatus, ServerView};
use crate::moment::Moment;
use crate::names::HostName;
use crate::state::HostState;

impl Cluster {
    /// Candidates that have not said yet what they know of leases.
    pub(in crate::cluster) fn unheard(&self) -> Vec<&HostName> {
        let heard = |name: &HostName| {
            self.hosts.get(name).is_some_and(|host| {
                // It has written down whose state counts: no monitor that goes by another one is believed from now on.
                let status = &host.agent.status;
                let told = status.lease.lineage == self.keeper.lineage();
                host.agent.connected && told && status.server != ServerView::Unknown
            })
        };
        self.settings
            .candidates()
            .iter()
            .filter(|name| !heard(name) && !self.confirmed_dead.contains(*name))
            .collect()
    }

    /// What an agent says of leases: releases, promises, and whether it knows more than this monitor does.
    pub(in crate::cluster) fn take_in_lease_status(
        &mut self,
        now: Moment,
        name: &HostName,
        actions: &mut Vec<Action>,
    ) {
        let Some(host) = self.hosts.get(name) else { return };
        let status = host.agent.status.lease.clone();
        // The agent's clock is that of its host's uptime, which came with the same message.
        let clock = Moment::from(host.agent.status.uptime);
        match &status.promise {
            Some(given) if clock < given.until => {
                let rest = given.until.since(clock);
                self.keeper.take_in_promise(now, given.promise.epoch, rest);
                let until = now + rest;
                let news = self.promises.insert(name.clone(), (given.promise.epoch, until)).is_none();
                if news && self.running_record().is_some_and(|record| record.epoch == given.promise.epoch) {
                    actions.push(Action::log(
                        LogLevel::Warn,
                        format!(
                            "Host '{name}' has promised '{}' not to take the writer role (epoch {}): it lives, nothing is moved",
                            given.promise.holder, given.promise.epoch
                        ),
                    ));
                }
            }
            Some(_) | None => {
                self.promises.remove(name);
            }
        }
        let greatest = status.greatest();
        let candidate = self.settings.may_be_active_master(name);
        let foreign = candidate && status.lineage != 0 && status.lineage != self.keeper.lineage();
        if self.keeper.trust == Trust::Known && foreign {
            let why =
                format!("the agent on host '{name}' has since heard a monitor that goes by another state");
            let text = format!(
                "The monitor's state may be out of date: {why}. Nobody is promoted until every host that could be the writer has reported"
            );
            actions.push(Action::log(LogLevel::Fatal, text));
            self.keeper.distrust(now, why);
        }
        if self.keeper.trust == Trust::Known
            && (greatest > self.keeper.issued() || status.generation > self.keeper.generation())
        {
            let why = format!(
                "host '{name}' knows epoch {greatest} and state {}, this monitor only epoch {} and state {}",
                status.generation,
                self.keeper.issued(),
                self.keeper.generation()
            );
            let text = format!(
                "The monitor's state is older than what the agents have seen ({why}): nobody is promoted until every host that could be the writer has reported"
            );
            actions.push(Action::log(LogLevel::Fatal, text));
            self.keeper.distrust(now, why);
        }
        // An adopted writer holds epoch 0, which is not given back as long as it is held.
        let gave_back = self.running_record().is_some_and(|record| {
            record.host == *name
                && record.epoch <= status.released
                && (record.epoch > Epoch::NONE || status.held.is_none())
        });
        if gave_back && self.keeper.take_in_release(name, status.released) {
            let epoch = self.record().map_or(Epoch::NONE, |record| record.epoch);
            actions.push(Action::log(LogLevel::Info, format!("Host '{name}' gave back epoch {epoch}")));
        }
        if !self.keeper.rules().grants_count_and_plans_do_not {
            self.keeper.take_in_release(name, status.released);
        }
        if let Some((epoch, refusal)) = &status.refusal
            && self.told_refusals.insert(name.clone(), *epoch) != Some(*epoch)
        {
            let text = format!("Host '{name}' refuses the writer role with epoch {epoch}: {refusal}");
            actions.push(Action::log(LogLevel::Warn, text));
        }
    }

    /// Where the own state is lost: once every candidate was heard, what they know together takes its place.
    pub(in crate::cluster) fn restore_trust(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.keeper.trust == Trust::Known || !self.unheard().is_empty() {
            return;
        }
        let said: Vec<(HostName, LeaseStatus, String)> = self
            .settings
            .candidates()
            .iter()
            .filter_map(|name| Some((name.clone(), self.hosts.get(name)?)))
            .filter(|(_, host)| host.agent.connected)
            .map(|(name, host)| (name, host.agent.status.lease.clone(), host.agent.status.boot_id.clone()))
            .collect();
        let greatest = said.iter().map(|(_, lease, _)| lease.greatest()).max().unwrap_or_default();
        let generation = said.iter().map(|(_, lease, _)| lease.generation).max().unwrap_or_default();
        let longest = said.iter().filter_map(|(_, lease, _)| lease.longest).max();
        // Of several that hold something only the greatest counts; the others are asked to give theirs back first.
        let holders: Vec<&(HostName, LeaseStatus, String)> = said
            .iter()
            .filter(|(_, lease, _)| lease.held.is_some() || lease.accepted > lease.released)
            .collect();
        if holders.len() > 1 {
            return;
        }
        let record = match holders.first() {
            Some((name, lease, _)) => Some(GrantRecord {
                host: name.clone(),
                epoch: lease.held.as_ref().map_or(lease.accepted, |held| held.epoch),
                list: std::collections::BTreeMap::new(),
                longest: longest.unwrap_or_default(),
                ended: None,
                unfenced: self.speaks_protocol1(name),
            }),
            None => said
                .iter()
                .filter(|(_, lease, _)| lease.released > Epoch::NONE)
                .max_by_key(|(_, lease, _)| lease.released)
                .map(|(name, lease, _)| GrantRecord {
                    host: name.clone(),
                    epoch: lease.released,
                    list: std::collections::BTreeMap::new(),
                    longest: longest.unwrap_or_default(),
                    ended: Some(Ended::Released),
                    unfenced: false,
                }),
        };
        let text = match &record {
            Some(record) if record.ended.is_none() => {
                format!(
                    "Every candidate has reported: '{}' holds the writer role with epoch {}",
                    record.host, record.epoch
                )
            }
            Some(record) => format!(
                "Every candidate has reported: nobody holds the writer role since epoch {}",
                record.epoch
            ),
            None => "Every candidate has reported: nobody has ever held a lease".to_owned(),
        };
        actions.push(Action::log(LogLevel::Info, text));
        // A running writer of an earlier version holds epoch 0, and nobody has ever promised anything to it.
        if greatest == Epoch::NONE {
            self.keeper.absolved = said.into_iter().map(|(name, _, boot)| (name, boot)).collect();
        }
        let holder =
            record.as_ref().filter(|record| record.ended.is_none()).map(|record| record.host.clone());
        // One that wrote later by the status file, and has lost what it knew of that, is compared as well.
        let later = self.stored_writer().cloned().filter(|stored| {
            record.as_ref().is_some_and(|record| record.ended.is_some() && record.host != *stored)
        });
        self.keeper.restore(now, record, greatest, generation);
        self.restore_lost(later.into_iter().collect());
        // Whatever was planned before rested on less than this.
        if let Some(role) = self.writer_role().cloned()
            && holder.is_some()
            && self.active_master() != holder.as_ref()
        {
            self.unassign(&role);
            if let Some(holder) = holder.filter(|holder| self.is_online(holder)) {
                self.assign(&role, &holder);
            }
        }
    }

    pub(in crate::cluster) fn is_online(&self, name: &HostName) -> bool {
        self.hosts.get(name).is_some_and(|host| host.state == HostState::Online)
    }
}
