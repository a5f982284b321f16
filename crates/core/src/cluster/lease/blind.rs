//! Hosts that can't know what they lack: their server was started when the last writer was gone already, as after an outage of
//! everything. Whoever boots first is no better for that; nobody takes the last writer's place from there but by the
//! operator's word.

use crate::cluster::{Cluster, DataRule};
use crate::names::HostName;

impl Cluster {
    /// The last writer that this host can't follow for that, unless the operator has said that it may, and why.
    pub(in crate::cluster) fn successor_blind(&self, host: &HostName) -> Option<(HostName, String)> {
        let Some(record) = self.record() else { return self.blind_at_first(host) };
        if record.host == *host {
            return None;
        }
        // A move in order: the old writer has told where its log ended.
        if self.keeper.loss_confirmed >= record.epoch || self.final_position(&record.host).is_some() {
            return None;
        }
        let last = self.lost_before(&record.host).filter(|lost| *lost != host).unwrap_or(&record.host);
        // Whoever was granted the role since may never have served, which a monitor that was started anew does not know.
        let before = self.lost_writers().into_iter().filter(|lost| lost != host);
        std::iter::once(last.clone()).chain(before).find_map(|lost| {
            let why = self.blind(&lost, host)?;
            Some((lost, why))
        })
    }

    /// Where nobody is known to have written. A cluster that is new looks like one of which all records are lost: the server that may
    /// have more is waited for, or the operator's word.
    fn blind_at_first(&self, host: &HostName) -> Option<(HostName, String)> {
        let source = self.source_of(host).filter(|source| self.settings.may_be_active_master(source))?;
        let blind = self.blind(source, host).filter(|_| !self.confirmed_dead.contains(source))?;
        Some((source.clone(), blind))
    }

    /// Why this host is no successor of the last writer yet.
    fn blind(&self, lost: &HostName, host: &HostName) -> Option<String> {
        let status = &self.hosts.get(host).filter(|_| self.goes_by(DataRule::TheBlindWait))?.agent.status;
        // Where a host replicates from somebody else, nothing is known of what it has of this writer.
        let ip = self.settings.hosts.get(lost).map(|lost| lost.ip);
        let from_there = status.source_ip.is_none() || status.source_ip == ip;
        (from_there && status.reached_source == Some(false)).then(|| {
            format!(
                "its server has not reached '{lost}' since it was started, so that nobody knows what it lacks"
            )
        })
    }
}
