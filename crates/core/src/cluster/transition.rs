//! Applies the state table to every host and says in the log why.

use super::rules::{Facts, QUICK_RETURN, Rule, judge};
use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::diverged::Surplus;
use crate::moment::Moment;
use crate::names::HostName;
use crate::state::HostState;

impl Cluster {
    pub(super) fn update_states(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for name in names {
            // One that is leaving is judged no more.
            if !self.settings.hosts.contains_key(&name) {
                continue;
            }
            let Some(facts) = self.facts(now, &name) else { continue };
            // One that has just come is not judged yet, unless it is the writer: an order before would take the role from it.
            if self.is_too_new(now, &name) && !facts.holds_lease {
                continue;
            }
            if let Some((rule, state)) = judge(&facts) {
                self.apply(now, &name, &facts, rule, state, actions);
            }
        }
    }

    pub(super) fn facts(&self, now: Moment, name: &HostName) -> Option<Facts> {
        let host = self.hosts.get(name)?;
        let trap = self.settings.trap_of(CheckKind::Mysql);
        let peer = self.peer_of(name).filter(|peer| peer != name).and_then(|peer| self.hosts.get(&peer));
        let useless = self.is_given_up(name);
        Some(Facts {
            state: host.state,
            ping: host.good(CheckKind::Ping),
            mysql: host.server_well(trap, now) && !useless,
            threads: host.good(CheckKind::RepThreads) && !host.is_refused(),
            refused: host.is_refused(),
            diverged: self.is_diverged(name) || self.is_rebuilding(name),
            uncompared: self.is_uncompared(name),
            backlog: host.good(CheckKind::RepBacklog),
            is_active_master: self.active_master() == Some(name),
            vouched: host.vouched() && !useless,
            holds_lease: self.holds_lease(now, name) && !self.is_forced_elsewhere(name) && !useless,
            lease_ran_out: !host.agent.connected && self.lease_ran_out(now, name),
            lease_lost: host.lease_lost,
            in_grace: host.agent.connected
                && host.agent.gone_since.is_some_and(|gone| now.since(gone) < self.settings.failover_grace),
            there_is_an_active_master: self.active_master().is_some(),
            may_be_active_master: self.settings.may_be_active_master(name),
            peer_online: peer.is_some_and(|peer| peer.state == HostState::Online),
            peer_reachable: peer
                .is_some_and(|peer| peer.good(CheckKind::Ping) && peer.server_well(trap, now)),
            peer_online_for: peer.map(|peer| now.since(peer.since)).unwrap_or_default(),
            flapping: host.flapping,
            quick_return: host.quick_return(),
            in_state_for: now.since(host.since),
            checks_unchanged_for: host.checks_unchanged_for(now),
            auto_set_online: self.settings.auto_set_online,
            flap_duration: self.settings.flap_duration,
        })
    }

    fn apply(
        &mut self,
        now: Moment,
        name: &HostName,
        facts: &Facts,
        rule: Rule,
        state: HostState,
        actions: &mut Vec<Action>,
    ) {
        self.ledger.note_rule(name, rule);
        let before = facts.state;
        let change = format!("State of host '{name}' changed from {before} to {state}");
        let text = match rule {
            Rule::ServerLost | Rule::LostWhileAwaitingRecovery | Rule::LostWhileReplicationBad => {
                let word = |good: bool| if good { "OK" } else { "not OK" };
                format!("{change} (ping: {}, mysql: {})", word(facts.ping), word(facts.mysql))
            }
            Rule::LeaseRanOut => {
                format!("{change} because its lease has run out and its agent can't be reached")
            }
            Rule::BackWithLease => format!("{change} because it still has the lease of the writer"),
            Rule::DownOnlyShortly => {
                let seconds = facts.quick_return.unwrap_or_default().as_secs();
                format!("{change} because it was down for only {seconds} seconds")
            }
            Rule::AutoSetOnline => format!(
                "{change} because of auto_set_online({} seconds). It was in state {before} for {} seconds",
                facts.auto_set_online.as_secs(),
                facts.in_state_for.as_secs()
            ),
            Rule::AutoSetOnlineAfterFlapping => format!(
                "{change} because of auto_set_online and flap_duration({} seconds): its checks have not changed for {} seconds",
                facts.flap_duration.as_secs(),
                facts.checks_unchanged_for.as_secs()
            ),
            Rule::Diverged if self.is_rebuilding(name) => format!("{change}: its data are being replaced"),
            Rule::Diverged => {
                let counted =
                    self.held_surplus(name).map_or_else(|| "transactions".to_owned(), Surplus::counted);
                format!("{change}: {counted} nobody else has")
            }
            Rule::ReplicationWellButFlapping => format!("{change} (host is flapping)"),
            Rule::ReplicationBroken
            | Rule::ReplicationBehind
            | Rule::BackWithBrokenReplication
            | Rule::BackBehind
            | Rule::Back
            | Rule::ReplicationWorse
            | Rule::ReplicationBetter
            | Rule::ReplicationWell => change,
        };
        actions.push(Action::log(LogLevel::Fatal, text));
        self.set_state(now, name, state, actions);
        if rule == Rule::LeaseRanOut
            && let Some(host) = self.hosts.get_mut(name)
        {
            host.lease_lost = true;
        }
        if rule == Rule::BackWithLease {
            self.give_writer_back(name, actions);
        }
    }

    /// Whether an operator forced the writer role to another host.
    fn is_forced_elsewhere(&self, name: &HostName) -> bool {
        let slot = self.writer_role().and_then(|role| self.slots.get(role));
        slot.is_some_and(|slot| slot.forced && slot.holder.as_ref() != Some(name))
    }

    /// A writer that nobody has taken the place of goes on.
    fn give_writer_back(&mut self, name: &HostName, actions: &mut Vec<Action>) {
        let Some(role) = self.writer_role().cloned() else { return };
        if self.active_master() == Some(name) {
            return;
        }
        self.unassign(&role);
        self.assign(&role, name);
        let text = format!("Role '{role}' stays on '{name}', which still has its lease");
        actions.push(Action::log(LogLevel::Info, text));
    }

    /// Changes a state with all that hangs on it. Roles leave with ONLINE, except where the mode keeps them.
    pub(super) fn set_state(
        &mut self,
        now: Moment,
        name: &HostName,
        state: HostState,
        actions: &mut Vec<Action>,
    ) {
        let (count, within) = (self.settings.flap_count, self.settings.flap_duration);
        let Some(host) = self.hosts.get_mut(name) else { return };
        let before = std::mem::replace(&mut host.state, state);
        host.since = now;
        if before == HostState::Online
            && state != HostState::AdminOffline
            && host.count_leave(now, count, within)
        {
            actions.push(Action::log(LogLevel::Fatal, format!("Host {name} is flapping!")));
        }
        match state {
            HostState::HardOffline => {
                if before == HostState::Online {
                    host.down = Some((now, host.agent.status.boot_id.clone()));
                }
                host.back = None;
            }
            HostState::AwaitingRecovery => {
                let down = host.down.take().map(|(since, boot)| (now.since(since), boot));
                host.back = down.filter(|(down, _)| *down < QUICK_RETURN);
            }
            HostState::Online => {
                host.back = None;
                host.down = None;
            }
            HostState::Unknown
            | HostState::AdminOffline
            | HostState::ReplicationDelay
            | HostState::ReplicationFail => host.back = None,
        }
        let keeps = self.mode.keeps_roles_of_failed_hosts() && state == HostState::HardOffline;
        let leaves_online = before == HostState::Online && state != HostState::Online;
        if (leaves_online && !keeps) || state == HostState::AdminOffline {
            self.remove_all_roles(name, actions);
        }
    }
}
