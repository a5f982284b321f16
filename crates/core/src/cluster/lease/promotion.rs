//! Making a host the writer: the choice, its epoch, the proof, and taking back what was chosen before.

use super::Waiting;
use crate::cluster::keeper::Trust;
use crate::cluster::{Action, Cluster, LogLevel};
use crate::lease::{Epoch, Proof};
use crate::message::{AgentStatus, Promotion, Takeover};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::settings::HostSettings;

impl Cluster {
    /// What this host is to give back: everything it may have that is not the role as it was given to it now.
    pub(in crate::cluster) fn release_for(&self, name: &HostName) -> Option<Epoch> {
        let host = self.hosts.get(name)?;
        let slot = self.writer_role().and_then(|role| self.slots.get(role))?;
        let kept = slot
            .grant
            .as_ref()
            .filter(|_| slot.holder.as_ref() == Some(name))
            .map(|promotion| promotion.epoch);
        let lease = &host.agent.status.lease;
        let record = self.running_record().filter(|record| record.host == *name).map(|record| record.epoch);
        let known = [Some(lease.accepted), record, self.promoted.get(name).copied()];
        let greatest = known.into_iter().flatten().max()?;
        let wanted = match kept {
            // Older ones end with the newer one being accepted.
            Some(kept) if kept >= greatest => return None,
            Some(_) | None => greatest,
        };
        (wanted > lease.released).then_some(wanted)
    }

    /// Promotes the host that was chosen as the writer, when nobody else can be writing any more.
    pub(in crate::cluster) fn promote(&mut self, now: Moment, role: &Role, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get(role) else { return };
        let Some(holder) = slot.holder.clone() else { return };
        self.void_given_back(role, &holder);
        if self.adopt_held(role, &holder, actions) {
            return;
        }
        if self.inferred_release()
            && let Some((host, epoch)) = self.record().map(|record| (record.host.clone(), record.epoch))
            && host != holder
        {
            self.keeper.take_in_release(&host, epoch);
        }
        let greatest = self.record().map_or(Epoch::NONE, |record| record.epoch);
        let Some(slot) = self.slots.get_mut(role) else { return };
        if slot.grant.is_some() {
            self.strengthen_proof(now, role, &holder);
            self.withdraw_from_blind(role, &holder, actions);
            return;
        }
        let epoch = if let Some(epoch) = slot.chosen.filter(|epoch| *epoch > greatest) {
            epoch
        } else {
            if self.keeper.trust != Trust::Known {
                return;
            }
            let epoch = self.keeper.issue();
            slot.chosen = Some(epoch);
            self.keeper.book.note_plan(&holder, epoch);
            epoch
        };
        let Ok(proof) = self.writer_proof(now, &holder) else {
            self.choose_another(now, role, &holder, actions);
            return;
        };
        if !self.keeper.is_durable(epoch) {
            return;
        }
        self.grant_writer(role, &holder, epoch, proof, actions);
    }

    /// The host that was chosen can't follow a holder that has vanished meanwhile, but another one can.
    pub(in crate::cluster) fn choose_another(
        &mut self,
        now: Moment,
        role: &Role,
        chosen: &HostName,
        actions: &mut Vec<Action>,
    ) {
        let vanished = self
            .running_record()
            .and_then(|record| self.hosts.get(&record.host))
            .is_some_and(|holder| !holder.agent.connected);
        let unproven = matches!(self.writer_proof(now, chosen), Err(Waiting::Unproven { .. }));
        let forced = self.slots.get(role).is_none_or(|slot| slot.forced);
        let another = self.settings.candidates().iter().any(|other| {
            other != chosen && self.eligible(now, role.name(), other) && self.writer_proof(now, other).is_ok()
        });
        if (vanished || unproven) && another && !forced {
            let why = if unproven {
                "which is not proven to have everything that was acknowledged"
            } else {
                "which the lost writer did not know of"
            };
            let text = format!("Role '{role}' does not go to '{chosen}', {why}");
            actions.push(Action::log(LogLevel::Info, text));
            self.unassign(role);
        }
    }

    /// A host that was restarted between the choice of it and its word that it takes the role: it knows no more what it lacks.
    fn withdraw_from_blind(&mut self, role: &Role, holder: &HostName, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get(role).filter(|slot| !slot.forced) else { return };
        let Some(epoch) = slot.grant.as_ref().map(|promotion| promotion.epoch) else { return };
        let taken = self.lease_status(holder).is_none_or(|lease| lease.accepted >= epoch)
            || self.record().is_some_and(|record| record.epoch >= epoch);
        let connected = self.hosts.get(holder).is_some_and(|host| host.agent.connected);
        let Some((_, why)) = self.successor_blind(holder).filter(|_| connected && !taken) else { return };
        let text = format!("Role '{role}' is withdrawn from '{holder}', which has not taken it yet: {why}");
        actions.push(Action::log(LogLevel::Warn, text));
        self.unassign(role);
    }

    /// A host that gave back the epoch it was promoted with, or whose lease was ended, needs a new choice.
    pub(in crate::cluster) fn void_given_back(&mut self, role: &Role, holder: &HostName) {
        let released = self.lease_status(holder).map(|lease| lease.released).unwrap_or_default();
        let ended = self.record().filter(|record| record.ended.is_some()).map(|record| record.epoch);
        let released = released.max(ended.unwrap_or_default());
        if let Some(slot) = self.slots.get_mut(role)
            && slot.grant.as_ref().is_some_and(|promotion| promotion.epoch <= released)
        {
            slot.grant = None;
            slot.chosen = None;
        }
    }

    /// The host that is wanted as the writer holds the lease already, by a promotion of before: it goes on with that.
    pub(in crate::cluster) fn adopt_held(
        &mut self,
        role: &Role,
        holder: &HostName,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(record) = self.running_record().filter(|record| record.host == *holder) else {
            return false;
        };
        let epoch = record.epoch;
        let Some(host) = self.hosts.get(holder) else { return false };
        if host.agent.protocol1.is_some() && !self.keeper.is_durably_unfenced(holder, epoch) {
            // What was granted to an agent that keeps leases has to be recorded anew.
            return false;
        }
        let has_it = host.agent.connected
            && host.agent.status.lease.held.as_ref().is_some_and(|held| held.epoch == epoch);
        let held_back = self.held_back_from(holder);
        let asked = self.promoted.get(holder).copied().unwrap_or_default();
        let Some(slot) = self.slots.get_mut(role) else { return false };
        let newer = slot.grant.as_ref().is_none_or(|promotion| promotion.epoch < epoch);
        // A host that may have been told to give it back is chosen anew.
        let may_have_been_told = slot.taken_from.get(holder).is_some_and(|told| *told >= epoch);
        if !has_it || !newer || may_have_been_told || epoch == Epoch::NONE || asked > epoch {
            return false;
        }
        slot.lost.retain(|lost| lost.host != *holder);
        if let Some(held_back) = held_back.filter(|_| slot.lost.is_empty()) {
            slot.note_lost(held_back);
        }
        let hold = slot.is_to_hold();
        slot.grant =
            Some(Promotion { epoch, proof: Proof::Own, takeover: Takeover::Keep, hold, salvage: None });
        slot.last = Some(holder.clone());
        slot.chosen = Some(epoch);
        let text = format!("Host '{holder}' holds the role '{role}' with epoch {epoch}: it stays there");
        actions.push(Action::log(LogLevel::Info, text));
        true
    }

    /// From whom a writer that another monitor promoted holds its replication: from the one that its server replicates from.
    pub(in crate::cluster) fn held_back_from(&self, holder: &HostName) -> Option<HostName> {
        let status = self.hosts.get(holder).map(|host| &host.agent.status).filter(|status| status.holding)?;
        let from_there = |(_, settings): &(&HostName, &HostSettings)| Some(settings.ip) == status.source_ip;
        let source = self.settings.hosts.iter().find(from_there).map(|(name, _)| name.clone());
        source.or_else(|| self.settings.hosts.get(holder)?.peer.clone())
    }

    /// A proof that does not rest on time counts at once where one that does may have to wait.
    pub(in crate::cluster) fn strengthen_proof(&mut self, now: Moment, role: &Role, holder: &HostName) {
        let Ok(proof) = self.writer_proof(now, holder) else { return };
        if let Some(promotion) = self.slots.get_mut(role).and_then(|slot| slot.grant.as_mut())
            && matches!((promotion.proof, proof), (Proof::RanOut(_), Proof::Ended(..)))
        {
            promotion.proof = proof;
        }
    }

    /// What would follow if the holder's word about its server were taken for its release. Never in force; it shows
    /// that it must not be.
    pub(in crate::cluster) fn inferred_release(&self) -> bool {
        if self.keeper.rules().nothing_is_inferred_from_silence {
            return false;
        }
        let holder = self.running_record().and_then(|record| self.hosts.get(&record.host));
        holder.is_some_and(|host| {
            let status = &host.agent.status;
            host.agent.connected
                && !status.held.iter().any(|role| self.settings.is_writer(role))
                && !status.server.is_writable()
        })
    }

    /// Where no lease was ever granted somebody may still have the address or take writes: it is told to stop first.
    pub(in crate::cluster) fn serves_without_lease(&self, chosen: &HostName) -> Option<&HostName> {
        let serves = |status: &AgentStatus| {
            status.server.is_writable() || status.held.iter().any(|role| self.settings.is_writer(role))
        };
        let mut hosts = self.hosts.iter().filter(|(name, host)| *name != chosen && host.agent.connected);
        hosts.find(|(_, host)| serves(&host.agent.status)).map(|(name, _)| name)
    }
}
