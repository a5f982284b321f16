//! One host as the monitor knows it: its checks, its agent, its state and how often it left ONLINE.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::protocol1::Protocol1;
use crate::check::{Check, CheckKind};
use crate::lease::Epoch;
use crate::message::{AgentStatus, Order, ServerView};
use crate::moment::Moment;
use crate::state::HostState;
use crate::write_path::WritePath;

/// What became of killing a host that could not be told to let go of its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Kill {
    #[default]
    NotTried,
    Running,
    Killed,
    FailedAt(Moment),
}

/// The agent's side of the host. The last status stays after the session is lost, as old evidence for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Agent {
    pub(super) connected: bool,
    /// A session was there, or could not be had: the first decision waits for either.
    pub(super) tried: bool,
    pub(super) status: AgentStatus,
    /// When that came.
    pub(super) status_at: Moment,
    /// Whose transactions are its server's own, as it said last: an agent whose server has ended says nothing of it.
    pub(super) server_ids: Option<(u64, Option<String>)>,
    /// Its server has answered it since the session began.
    pub(super) was_answered: bool,
    /// Since when the agent has been saying that its server does not answer.
    pub(super) silent_since: Option<Moment>,
    /// Since when the agent has been saying that no write gets through, and what it said of writes last.
    pub(super) useless_since: Option<Moment>,
    pub(super) told_writes: WritePath,
    /// Since when the agent has been saying that its server has ended.
    pub(super) gone_since: Option<Moment>,
    /// When the session was lost, or when another agent was last heard to be asked by this one.
    pub(super) lost_at: Moment,
    pub(super) sent: Option<(Order, Moment)>,
    /// It speaks protocol 1, as agents of 2.2.1 do; `status` is then made up from its answers.
    pub(super) protocol1: Option<Protocol1>,
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) state: HostState,
    pub(super) since: Moment,
    /// Since when it has been ONLINE with none of its checks failing.
    pub(super) well_since: Option<Moment>,
    pub(super) checks: BTreeMap<CheckKind, Check>,
    pub(super) agent: Agent,
    pub(super) leaves: VecDeque<Moment>,
    pub(super) flapping: bool,
    /// The epoch whose holder was given up because its server took no writes.
    pub(super) given_up: Option<Epoch>,
    /// When it left ONLINE for HARD_OFFLINE, and the boot it was in then.
    pub(super) down: Option<(Moment, String)>,
    /// How long it had been down when it came back, if that was short, and the boot it was in before.
    pub(super) back: Option<(Duration, String)>,
    pub(super) kill: Kill,
    /// It was taken out because its lease ran out, and its agent has not been heard since.
    pub(super) lease_lost: bool,
    /// When it came into the configuration, if the monitor was running then.
    pub(super) added: Option<Moment>,
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            state: HostState::Unknown,
            since: Moment::ZERO,
            well_since: None,
            checks: CheckKind::ALL.into_iter().map(|kind| (kind, Check::new())).collect(),
            agent: Agent::default(),
            leaves: VecDeque::new(),
            flapping: false,
            given_up: None,
            down: None,
            back: None,
            kill: Kill::NotTried,
            lease_lost: false,
            added: None,
        }
    }

    /// A host that came into the configuration while the monitor runs.
    pub(super) fn added(now: Moment) -> Self {
        let agent = Agent { lost_at: now, ..Agent::default() };
        Self { since: now, agent, added: Some(now), ..Self::new() }
    }

    pub(super) fn check(&self, kind: CheckKind) -> &Check {
        self.checks.get(&kind).expect("every kind of check is put in by new()")
    }

    pub(super) fn good(&self, kind: CheckKind) -> bool {
        self.check(kind).good()
    }

    /// The mysql check together with what the agent saw: it notices the end of its server long before a probe.
    pub(super) fn server_well(&self, trap: Duration, now: Moment) -> bool {
        let hung = self.agent.silent_since.is_some_and(|since| now.since(since) >= trap);
        (self.good(CheckKind::Mysql) || self.only_logins_wait() || self.agent_waits_too(trap, now))
            && self.agent.gone_since.is_none()
            && !hung
    }

    /// Nobody new is let in, as when a name server is away that the server asks; whoever was there before is answered, the agent
    /// among them.
    pub(super) fn only_logins_wait(&self) -> bool {
        self.logins_wait() && self.vouched()
    }

    fn logins_wait(&self) -> bool {
        let check = self.check(CheckKind::Mysql);
        !check.good() && check.stalled()
    }

    /// Logins wait, and so does its agent, which was started meanwhile: for as long as a silent server is given.
    fn agent_waits_too(&self, trap: Duration, now: Moment) -> bool {
        let agent = &self.agent;
        if !self.logins_wait() || agent.protocol1.is_some() {
            return false;
        }
        if !agent.connected {
            return agent.status.server.is_up() && now.since(agent.lost_at) < trap;
        }
        !agent.was_answered && matches!(agent.status.server, ServerView::Unknown | ServerView::Silent { .. })
    }

    /// Whether the agent, heard of just now, says that its server is well.
    pub(super) fn vouched(&self) -> bool {
        // Protocol 1 has no word for a server that is well.
        self.agent.connected && self.agent.protocol1.is_none() && self.agent.status.server.is_up()
    }

    /// Whether the server is up, by the agent's word where it has one for it, else by the checks.
    pub(super) fn server_is_up(&self) -> bool {
        if self.agent.protocol1.is_some() {
            return self.good(CheckKind::Ping) && self.good(CheckKind::Mysql);
        }
        self.agent.status.server.is_up()
    }

    /// The agent says that its replica can't follow the active master.
    pub(super) fn is_refused(&self) -> bool {
        self.agent.connected && self.agent.status.astray.as_ref().is_some_and(|astray| astray.refused)
    }

    pub(super) fn take_in_status(&mut self, now: Moment, status: AgentStatus) {
        let agent = &mut self.agent;
        match status.server {
            ServerView::Gone => {
                agent.gone_since.get_or_insert(now);
                agent.silent_since = None;
            }
            ServerView::Silent { .. } => {
                agent.silent_since.get_or_insert(now);
                agent.gone_since = None;
            }
            ServerView::Up { .. } | ServerView::Refusing => {
                agent.was_answered = true;
                agent.gone_since = None;
                agent.silent_since = None;
            }
            ServerView::Unknown => {}
        }
        if let Some(received) = &status.received {
            agent.server_ids = Some((received.server_id, received.server_uuid.clone()));
        }
        agent.status = status;
        agent.status_at = now;
    }

    /// How long it was down, if that was short and within the same boot. Only its agent knows of which boot it is: a server may answer
    /// before the agent of a host that was started anew.
    pub(super) fn quick_return(&self) -> Option<Duration> {
        let (down, boot) = self.back.as_ref()?;
        let same = !boot.is_empty() && *boot == self.agent.status.boot_id;
        (self.agent.connected && same).then_some(*down)
    }

    /// Counts a leave of ONLINE; true when the host is flapping from now on.
    pub(super) fn count_leave(&mut self, now: Moment, count: u32, within: Duration) -> bool {
        self.leaves.push_back(now);
        while self.leaves.front().is_some_and(|first| now.since(*first) > within) {
            self.leaves.pop_front();
        }
        let flapping = self.leaves.len() > count as usize;
        let begins = flapping && !self.flapping;
        self.flapping |= flapping;
        begins
    }

    pub(super) fn clear_flapping(&mut self) {
        self.flapping = false;
        self.leaves.clear();
    }

    /// How long all four checks have been as they are.
    pub(super) fn checks_unchanged_for(&self, now: Moment) -> Duration {
        self.checks.values().map(|check| now.since(check.changed())).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_flaps_after_more_leaves_than_allowed_within_the_time() {
        let mut host = Host::new();
        let hour = Duration::from_secs(3600);
        for second in [0, 10, 20] {
            assert!(!host.count_leave(Moment::from_secs(second), 3, hour));
        }
        assert!(host.count_leave(Moment::from_secs(30), 3, hour));
        assert!(host.flapping);
        assert!(!host.count_leave(Moment::from_secs(40), 3, hour), "told once");
        host.clear_flapping();
        assert!(!host.count_leave(Moment::from_secs(50), 3, hour));
    }

    #[test]
    fn leaves_longer_ago_than_the_flap_duration_are_forgotten() {
        let mut host = Host::new();
        let minute = Duration::from_secs(60);
        for second in [0, 50, 100, 150, 200, 250] {
            assert!(!host.count_leave(Moment::from_secs(second), 3, minute), "at {second}");
        }
    }
}
