//! Hosts that can't be asked: killing them, the operator's word, and how long their addresses last.

use std::collections::BTreeSet;
use std::time::Duration;

use super::join;
use crate::cluster::keeper::Trust;
use crate::cluster::{Action, Cluster, LogLevel};
use crate::lease::{Epoch, wait_for};
use crate::message::ToAgent;
use crate::moment::Moment;
use crate::names::HostName;
use crate::settings::FailoverPolicy;

impl Cluster {
    /// Kills hosts that can't be told to let go of what they may still have, where there is a program for that.
    pub(in crate::cluster) fn kill_lost_hosts(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.settings.kill_host.is_err() {
            return;
        }
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for name in names {
            let record = self.running_record().filter(|record| record.host == name);
            let epoch = record.map_or(Epoch::NONE, |record| record.epoch);
            let holds = record.is_some();
            let leaving = self.slots.values().any(|slot| slot.leaving.contains_key(&name));
            let promised = holds && self.promise_runs(now);
            if (holds || leaving) && !promised {
                self.kill_if_lost(now, &name, epoch, actions);
            }
        }
    }

    /// How long an address that is kept by contact may outlast the last contact.
    pub(in crate::cluster) fn lapse(&self) -> Duration {
        wait_for(self.settings.terms.length)
    }

    /// Whoever asks another agent whether the monitor is still there keeps its addresses meanwhile.
    pub(in crate::cluster) fn note_contacts(&mut self, now: Moment) {
        let asked: BTreeSet<HostName> = self
            .hosts
            .values()
            .filter(|host| host.agent.connected)
            .flat_map(|host| host.agent.status.lease.contacts.iter().cloned())
            .collect();
        for name in asked {
            if let Some(host) = self.hosts.get_mut(&name) {
                host.agent.lost_at = now;
            }
        }
    }

    /// `mmm_control confirm_dead HOST`: the operator's word that a host is off and cannot write.
    pub(in crate::cluster) fn confirm_dead(
        &mut self,
        now: Moment,
        name: &str,
        sure: bool,
        actions: &mut Vec<Action>,
    ) -> String {
        let Some((name, host)) = self.hosts.get_key_value(name) else {
            return format!("ERROR: Unknown host name '{name}'!");
        };
        let name = name.clone();
        if host.agent.connected {
            return format!(
                "ERROR: The agent on host '{name}' answers: that host is not dead. Use 'set_offline {name}' to take its roles."
            );
        }
        let held = self.running_record().filter(|record| record.host == name).map(|record| record.epoch);
        if held.is_some() && self.promise_runs(now) {
            return format!(
                "ERROR: Host '{name}' lives: {} promised it not to take its role. Cut its power or end its server first.",
                join(&self.promisers(now))
            );
        }
        let lost = self.keeper.trust != Trust::Known && self.settings.may_be_active_master(&name);
        if held.is_none() && !lost {
            return format!("OK: Nobody waits for host '{name}': it holds no lease. Nothing was changed.");
        }
        if !sure {
            return format!(
                "Host '{name}' can't be reached and may still be writing. If it is, and another host becomes the writer by your word, two servers take writes and data is lost. Confirm only when it is off, or its server has ended and stays so. To confirm: confirm_dead --yes {name}"
            );
        }
        let text = format!(
            "Admin confirmed that host '{name}' is dead (epoch {})",
            held.map_or("unknown".to_owned(), |epoch| epoch.to_string())
        );
        actions.push(Action::log(LogLevel::Fatal, text));
        if let Some(epoch) = held.filter(|_| self.settings.failover_policy == FailoverPolicy::Availability) {
            // Whoever says so wants another writer, also one that can't know what it lacks. The other policy asks for more.
            self.keeper.loss_confirmed = epoch;
        }
        match held {
            Some(epoch) => {
                self.keeper.take_in_death(&name, epoch);
            }
            None => {
                self.confirmed_dead.insert(name.clone());
            }
        }
        if let Some(role) = self.writer_role().cloned()
            && self.active_master() == Some(&name)
        {
            self.unassign(&role);
        }
        format!("OK: Host '{name}' counts as dead until its agent is heard of again.")
    }

    /// Tells the present holders of all roles to announce them: somebody came back who may have answered for them.
    pub(in crate::cluster) fn announce_all(&self, actions: &mut Vec<Action>) {
        for (role, slot) in &self.slots {
            if let Some(holder) = slot.holder.clone().filter(|_| slot.grant.is_some()) {
                actions.push(Action::Tell { host: holder, message: ToAgent::Announce(role.clone()) });
            }
        }
    }
}
