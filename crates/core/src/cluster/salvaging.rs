//! When the next writer is to get what only the old one's log has, or what only a replica has received, and what is said of it.

use super::host::Host;
use super::{Action, Cluster, DataRule, LogLevel};
use crate::gtid::GtidSet;
use crate::message::{AgentStatus, ServerView, Takeover};
use crate::names::HostName;
use crate::salvage::{SalvageOrder, SalvageState, Vain, Wanted};

impl Cluster {
    /// From where the next writer gets what it lacks of those that may have written last, the likeliest first.
    pub(super) fn salvage_order(
        &self,
        takeover: &Takeover,
        holder: &HostName,
        wrote: [Option<&HostName>; 2],
        actions: &mut Vec<Action>,
    ) -> Option<Box<SalvageOrder>> {
        let from_log = wrote.into_iter().find_map(|last| self.salvage_from(takeover, holder, last));
        let last = wrote.into_iter().flatten().next();
        let lent = last.filter(|_| *takeover == Takeover::Lost).and_then(|last| self.lent_to(holder, last));
        if let Some((order, words)) = lent.as_ref().filter(|_| from_log.is_none()) {
            let text = format!(
                "Host '{}' has received {words} than '{holder}', which becomes the writer and gets them from there",
                order.from
            );
            actions.push(Action::log(LogLevel::Info, text));
        }
        let lent = lent.map(|(order, _)| order);
        match from_log {
            Some(order) => Some(Box::new(SalvageOrder { otherwise: lent, ..*order })),
            None => lent,
        }
    }

    /// The host that has received most of what the next writer lacks of the last one, and how much that is.
    fn lent_to(&self, holder: &HostName, last: &HostName) -> Option<(Box<SalvageOrder>, String)> {
        let patience = self.settings.salvage_timeout;
        let new = self.hosts.get(holder).map(|host| &host.agent.status)?;
        if patience.is_zero() || !new.lends || !self.goes_by(DataRule::ReplicasLend) {
            return None;
        }
        // Whose server it was is known of one that was seen. Without that, what somebody wrote by mistake might be carried over.
        let (server_id, server_uuid) = self.hosts.get(last)?.agent.server_ids.clone()?;
        let there = new.received.as_deref()?;
        let more = |name: &HostName| -> Option<GtidSet> {
            let beyond = self.hosts.get(name)?.agent.status.received.as_deref()?.beyond(there)?;
            Some(beyond.filter(|origin| origin.is_of(server_id, server_uuid.as_deref())))
                .filter(|more| !more.is_empty())
        };
        let lenders = self.lenders().into_iter().filter(|name| name != holder && name != last);
        let (from, more) = lenders
            .filter_map(|name| more(&name).map(|more| (name, more)))
            .max_by_key(|(_, more)| more.count())?;
        let lent = Wanted { server_id, server_uuid: server_uuid.clone(), at_least: more.to_string() };
        let words = format!("{} transactions more ({more})", more.count());
        let order = SalvageOrder { lent: Some(lent), ..SalvageOrder::new(from, patience) };
        Some((Box::new(order), words))
    }

    /// Hosts whose servers can hand over what they have received: each that applies it into its own log sooner or later.
    pub(super) fn lenders(&self) -> Vec<HostName> {
        let lends = |(name, host): &(&HostName, &Host)| {
            let status = &host.agent.status;
            host.agent.connected
                && status.lends
                && status.server.is_up()
                && status.applier_error.is_none()
                && status.received.as_ref().is_some_and(|received| !received.gtids.is_empty())
                && !host.is_refused()
                && self.held_of(name).is_none()
                && !self.is_rebuilding(name)
        };
        self.hosts.iter().filter(lends).map(|(name, _)| name.clone()).collect()
    }

    /// The old writer's server has ended, and its agent is there to hand over the end of the log.
    fn salvage_from(
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
        can.then(|| Box::new(SalvageOrder::new(from.clone(), patience)))
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
            SalvageState::Finding
            | SalvageState::Waiting { .. }
            | SalvageState::Fetching { .. }
            | SalvageState::Applying { .. } => return,
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
