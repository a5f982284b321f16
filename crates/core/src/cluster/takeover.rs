//! How the host that is promoted gets the data of whoever wrote before it, and who that was.

use super::Cluster;
use super::slots::Slot;
use crate::lease::{Ended, Epoch};
use crate::message::{LogPosition, ServerView, Takeover};
use crate::names::{HostName, Role};

impl Cluster {
    /// How the host that is promoted gets the data that the last writer had.
    pub(super) fn takeover(&self, slot: &Slot, holder: &HostName) -> Takeover {
        let Some(last) = self.last_writer(slot).or(self.stored_writer().filter(|stored| *stored != holder))
        else {
            return if slot.lost.is_empty() { Takeover::Fresh } else { Takeover::Lost };
        };
        if last == holder {
            // A server that was restarted meanwhile has received again what is to be held.
            let held = slot.lost.iter().map(|lost| &lost.host).find(|from| *from != holder);
            return match held.or(self.wrote_since(holder)) {
                Some(_) => Takeover::Lost,
                None => slot.owed.get(holder).cloned().unwrap_or(Takeover::Keep),
            };
        }
        if self.goes_on_untouched(holder) {
            return Takeover::Keep;
        }
        if let Some(position) = self.final_position(last) {
            return Takeover::After(position);
        }
        if self.can_be_read_to_its_end(last, holder) { Takeover::AskSource } else { Takeover::Lost }
    }

    /// The last writer was lost and has come back, closed: its log is there to be received as a whole.
    fn can_be_read_to_its_end(&self, last: &HostName, holder: &HostName) -> bool {
        let (Some(there), Some(here)) = (self.hosts.get(last), self.hosts.get(holder)) else { return false };
        let ip = self.settings.hosts.get(last).map(|host| host.ip);
        there.agent.connected
            && there.agent.status.server == ServerView::Up { writable: false }
            && here.agent.status.reached_source == Some(true)
            && here.agent.status.source_ip == ip
    }

    /// The configured host that this one's server replicates from.
    pub(super) fn source_of(&self, host: &HostName) -> Option<&HostName> {
        let ip = self.hosts.get(host)?.agent.status.source_ip?;
        let hosts = self.settings.hosts.iter();
        hosts.filter(|(name, _)| *name != host).find(|(_, settings)| settings.ip == ip).map(|(name, _)| name)
    }

    /// Who wrote last: the book knows it better than what was decided since.
    pub(super) fn last_writer<'a>(&'a self, slot: &'a Slot) -> Option<&'a HostName> {
        self.record().map(|record| &record.host).or(slot.last.as_ref())
    }

    /// Where nobody knows of any lease: who had the role when the status file was written. Others may have had it since, so that it is
    /// good for what can be got from there, and never for going on without.
    pub(super) fn stored_writer(&self) -> Option<&HostName> {
        let (restored, role) = (self.restored.as_ref()?, self.writer_role()?);
        let mut stored = restored.hosts.iter().filter(|(_, (_, roles))| roles.contains(role));
        stored
            .next()
            .map(|(name, _)| name)
            .filter(|name| self.record().is_none() && self.hosts.contains_key(*name))
    }

    /// Another host that may have written after the one in the record, by a grant of which the record is lost: it accepted a greater
    /// epoch that was not given out since the start.
    pub(super) fn wrote_since(&self, recorded: &HostName) -> Option<&HostName> {
        let record = self.record().filter(|record| record.host == *recorded)?;
        let accepted = self.hosts.iter().map(|(name, host)| (host.agent.status.lease.accepted, name));
        let unknown = |(epoch, name): &(Epoch, &HostName)| {
            *epoch > record.epoch && self.promoted.get(*name) != Some(epoch)
        };
        accepted.filter(|(_, name)| *name != recorded).filter(unknown).max().map(|(_, name)| name)
    }

    /// Where the log of the last writer ended, when it gave the role back in order and has not been restarted since.
    pub(super) fn final_position(&self, last: &HostName) -> Option<LogPosition> {
        let record = self.record().filter(|record| record.host == *last)?;
        // One that was still to get the data of a lost writer when it gave the role up says nothing about those.
        let owes = |slot: &Slot| matches!(slot.owed.get(last), Some(Takeover::Lost | Takeover::AskSource));
        if self.writer_role().and_then(|role| self.slots.get(role)).is_some_and(owes) {
            return None;
        }
        let agent = &self.hosts.get(last)?.agent;
        let (epoch, position) = agent.status.released_at.as_ref()?;
        let in_order = *epoch == record.epoch && record.ended == Some(Ended::Released);
        (in_order && agent.connected && agent.status.server.is_up()).then(|| position.clone())
    }

    /// The last writer goes on, and holds its replication by the word of a monitor whose state is lost.
    pub(super) fn take_over_hold(&mut self, role: &Role, holder: &HostName) {
        let held_back = self.held_back_from(holder);
        if let Some(slot) = self.slots.get(role)
            && slot.lost.is_empty()
            && self.last_writer(slot) == Some(holder)
            && let Some(slot) = self.slots.get_mut(role)
            && let Some(held_back) = held_back
        {
            slot.note_lost(held_back);
        }
    }

    /// Whose transactions the next writer may lack. Of a host that was chosen in between and never seen to serve it is first of all
    /// those of whoever was lost before it.
    pub(super) fn lost_writer(slot: &Slot, holder: &HostName, last: Option<&HostName>) -> Option<HostName> {
        let before = Self::lost_before_in(slot, last.unwrap_or(holder)).filter(|before| *before != holder);
        before.or(last).cloned()
    }

    /// Who was lost before this host was chosen, where that has never served.
    fn lost_before_in<'a>(slot: &'a Slot, chosen: &HostName) -> Option<&'a HostName> {
        let by_loss = matches!(slot.owed.get(chosen), Some(Takeover::Lost | Takeover::AskSource));
        slot.lost.iter().rev().map(|lost| &lost.host).find(|before| by_loss && *before != chosen)
    }

    pub(super) fn lost_before(&self, chosen: &HostName) -> Option<&HostName> {
        Self::lost_before_in(self.slots.get(self.writer_role()?)?, chosen)
    }
}
