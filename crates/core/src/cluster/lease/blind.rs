//! Hosts that can't know what they lack: their server was started when the last writer was gone already, as after an outage of
//! everything. Whoever boots first is no better for that; nobody takes the last writer's place from there but by the
//! operator's word.

use crate::cluster::Cluster;
use crate::names::HostName;

impl Cluster {
    /// Why this host is no successor of the last writer yet.
    pub(in crate::cluster) fn blind(&self, lost: &HostName, host: &HostName) -> Option<String> {
        let status = &self.hosts.get(host)?.agent.status;
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
