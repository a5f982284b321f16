//! Replicas behind the active master: whom they are told to follow, and from when on.

use super::Cluster;
use crate::following::Source;
use crate::message::Takeover;
use crate::names::HostName;
use crate::settings::HostMode;

impl Cluster {
    /// The active master for a replica, once it serves: nobody follows a host that is still to become the writer, and the
    /// new writer waits for no replica.
    pub(super) fn source_for(&self, name: &HostName) -> Option<Box<Source>> {
        let (role, slot) = self.slots.iter().find(|(role, _)| self.settings.is_writer(role))?;
        let (holder, promotion) = slot.holder.as_ref().zip(slot.grant.as_ref())?;
        let (host, settings) = (self.hosts.get(holder)?, self.settings.hosts.get(holder)?);
        let status = &host.agent.status;
        let serves = host.agent.connected && status.server.is_writable() && status.held.contains(role);
        if holder == name || !serves || !self.is_led_by(name, holder) {
            return None;
        }
        // A writer that goes on under a newer epoch has caught up with nobody since.
        let noted = status.junction.as_ref().filter(|(epoch, _)| *epoch <= promotion.epoch);
        Some(Box::new(Source {
            host: holder.clone(),
            ip: settings.ip,
            port: settings.port,
            epoch: promotion.epoch,
            junction: noted.map(|(_, junction)| junction.clone()),
        }))
    }

    /// Replicas follow every writer. Masters replicate from each other, whoever of them writes; only a replica that took the role is
    /// followed by them too, and left again when one of them has it back.
    pub(super) fn is_led_by(&self, name: &HostName, writer: &HostName) -> bool {
        if !self.is_master(name) || !self.is_master(writer) {
            return true;
        }
        let source = self.hosts.get(name).and_then(|host| host.agent.status.source_ip);
        let slaves = self.settings.hosts.values().filter(|host| host.mode == HostMode::Slave);
        source.is_some_and(|source| slaves.into_iter().any(|host| host.ip == source))
    }

    /// Whether a host that gave the writer role up in order is to log nothing of the next writer: some replica is still to be
    /// pointed there, and the end of the old log may be all by which its place is known.
    pub(super) fn is_to_stand_still(&self, name: &HostName) -> bool {
        let Some((_, slot)) = self.slots.iter().find(|(role, _)| self.settings.is_writer(role)) else {
            return false;
        };
        let Some(holder) = slot.holder.as_ref().filter(|holder| *holder != name) else { return false };
        let in_order = slot.grant.as_ref().is_none_or(|grant| matches!(grant.takeover, Takeover::After(_)));
        in_order && self.settings.candidates().contains(name) && self.has_replicas_elsewhere(holder)
    }

    fn has_replicas_elsewhere(&self, writer: &HostName) -> bool {
        let Some(ip) = self.settings.hosts.get(writer).map(|host| host.ip) else { return false };
        let is_elsewhere = |name: &HostName| {
            let Some(host) = self.hosts.get(name) else { return false };
            let status = &host.agent.status;
            // A source that is known by name has no address to be told by.
            let away = status.source_ip.map_or(status.astray.is_some(), |source| source != ip);
            host.agent.connected && status.server.is_up() && !host.is_refused() && away
        };
        let hosts = self.settings.hosts.iter().filter(|(_, host)| host.mode == HostMode::Slave);
        hosts.map(|(name, _)| name).any(is_elsewhere)
    }
}
