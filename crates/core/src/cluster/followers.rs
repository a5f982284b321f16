//! Replicas behind the active master: whom they are told to follow, and from when on.

use super::Cluster;
use crate::following::Source;
use crate::names::HostName;
use crate::settings::HostMode;

impl Cluster {
    /// The active master for a replica, once it serves: nobody follows a host that is still to become the writer, and the
    /// new writer waits for no replica.
    pub(super) fn source_for(&self, name: &HostName) -> Option<Box<Source>> {
        let replica = self.settings.hosts.get(name)?.mode == HostMode::Slave;
        let (role, slot) = self.slots.iter().find(|(role, _)| self.settings.is_writer(role))?;
        let (holder, promotion) = slot.holder.as_ref().zip(slot.grant.as_ref())?;
        let (host, settings) = (self.hosts.get(holder)?, self.settings.hosts.get(holder)?);
        let status = &host.agent.status;
        let serves = host.agent.connected && status.server.is_writable() && status.held.contains(role);
        if !replica || holder == name || !serves {
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
}
