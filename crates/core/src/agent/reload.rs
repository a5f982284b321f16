//! New settings while the agent runs.

use super::mind::{AgentMind, AgentSettings};

impl AgentMind {
    /// Goes by new settings from now on. Who this host is, and which role carries the writes, stays as it was at the
    /// start: leases and orders were taken in under these names.
    pub(super) fn take_in_settings(&mut self, new: AgentSettings) {
        let AgentSettings { host, active_master_role, rules, .. } = self.settings.clone();
        self.settings = AgentSettings { host, active_master_role, rules, ..new };
        // What failed may have failed by the old ones.
        self.retry_at.clear();
    }
}
