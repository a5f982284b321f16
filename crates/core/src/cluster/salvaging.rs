//! When the next writer is to get what only the old one's log has, and what is said of it.

use super::{Action, Cluster, DataRule, LogLevel};
use crate::message::{AgentStatus, ServerView, Takeover};
use crate::names::HostName;
use crate::salvage::{SalvageOrder, SalvageState, Vain};

impl Cluster {
    /// The old writer's server has ended, and its agent is there to hand over the end of the log.
    pub(super) fn salvage_from(
        &self,
        takeover: &Takeover,
        holder: &HostName,
        last: Option<&HostName>,
    ) -> Option<Box<SalvageOrder>> {
        let patience = self.settings.salvage_timeout;
        let from =
            last.filter(|last| *takeover == Takeover::Lost && *last != holder && !patience.is_zero())?;
        let agent = |name: &HostName| self.hosts.get(name).map(|host| &host.agent);
        // An agent that is lost since then may be back, be it the old one or the new one: whether the old one is, the new one finds
        // out at once.
        let (old, new) = (agent(from)?, agent(holder)?);
        let can = self.goes_by(DataRule::TailsAreSalvaged)
            && old.status.salvages
            && new.status.salvages
            && old.status.server == ServerView::Gone;
        can.then(|| Box::new(SalvageOrder { from: from.clone(), patience }))
    }

    /// Said once, when it ends, and kept in the record of the loss.
    pub(super) fn note_salvage(&mut self, name: &HostName, status: &AgentStatus, actions: &mut Vec<Action>) {
        let before = self.hosts.get(name).and_then(|host| host.agent.status.salvage.as_ref());
        let Some((_, from, state)) = status.salvage.as_ref().filter(|told| before != Some(*told)) else {
            return;
        };
        let level = match state {
            SalvageState::InVain { .. } => LogLevel::Fatal,
            SalvageState::Done { transactions: 0, damage: None, .. } => LogLevel::Info,
            SalvageState::Done { transactions, first, last, .. } => {
                let names: Vec<&str> = first.iter().chain(last).map(String::as_str).collect();
                self.ledger.note_salvaged(from, Some(*transactions), &names.join(" to "));
                LogLevel::Warn
            }
            SalvageState::Finding | SalvageState::Fetching { .. } | SalvageState::Applying { .. } => return,
        };
        let link = self.link_between(name, from, state).unwrap_or_default();
        actions.push(Action::log(level, format!("Host '{name}': {}{link}", state.describe(from))));
    }

    /// What the monitor knows of an agent that another one could not reach.
    fn link_between(&self, name: &HostName, from: &HostName, state: &SalvageState) -> Option<String> {
        let unreached = matches!(state, SalvageState::InVain { why: Vain::Unreachable { .. }, .. });
        let connected = self.hosts.get(from).is_some_and(|host| host.agent.connected);
        unreached.then(|| {
            if connected {
                format!(
                    ". The monitor reaches the agent of '{from}': look at the network between '{name}' and '{from}'"
                )
            } else {
                format!(". The monitor does not reach the agent of '{from}' either")
            }
        })
    }

    /// What the writer tells of its salvage, as long as it is under way or has been in vain.
    pub(super) fn salvage_warning(&self) -> Option<String> {
        let slot = self.slots.get(self.writer_role()?)?;
        let (holder, grant) = (slot.holder.as_ref()?, slot.grant.as_ref()?);
        let status = &self.hosts.get(holder)?.agent.status;
        let (_, from, state) = status.salvage.as_ref().filter(|(epoch, ..)| *epoch == grant.epoch)?;
        let is_over = matches!(state, SalvageState::Done { .. });
        (!is_over).then(|| format!("Warning: host {holder}: {}", state.describe(from)))
    }
}
