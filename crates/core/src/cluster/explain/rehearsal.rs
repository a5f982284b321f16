//! A copy of the mind lives through a loss, in virtual time and beside agents that do at once what they are told.
//!
//! No second set of rules: who takes over, when and why is what the copy does. How long servers take to apply what they
//! have received is not played.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::check::{CheckKind, Verdict};
use crate::cluster::ledger::Record;
use crate::cluster::{Action, Cluster, Event};
use crate::lease::{Duty, Renewal, wait_for};
use crate::message::{AgentStatus, LeaseHeld, Order, ServerView, ToAgent};
use crate::moment::Moment;
use crate::names::{HostName, Role};

/// The monitor's own.
const TICK: Duration = Duration::from_millis(200);
/// A session that has been silent for so long is lost.
const SILENCE: Duration = Duration::from_millis(2500);
/// Between two probes that fail.
const PROBE: Duration = Duration::from_secs(1);
/// What decisions may take beyond the lease and the trap periods.
const PATIENCE: Duration = Duration::from_secs(5);
/// No moment is good for more, whatever is wrong.
const EVENTS_MAX: usize = 2000;

/// How a holder is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ServerDies,
    HostVanishes,
    AgentLost,
}

impl Way {
    pub(super) const ALL: [Way; 3] = [Self::ServerDies, Self::HostVanishes, Self::AgentLost];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ServerDies => "its server dies",
            Self::HostVanishes => "its host vanishes",
            Self::AgentLost => "its agent is lost",
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::ServerDies => "server_dies",
            Self::HostVanishes => "host_vanishes",
            Self::AgentLost => "agent_lost",
        }
    }
}

/// What the copy did.
#[derive(Clone, Debug)]
pub(super) struct Rehearsed {
    /// Who took over, and after how long.
    pub(super) to: Option<(HostName, Duration)>,
    /// What the role waits for at the end, where nobody did.
    pub(super) why: String,
    /// `kill_host` was called for the lost one.
    pub(super) kills: bool,
    pub(super) record: Option<Record>,
}

pub(super) struct Rehearsal {
    mind: Cluster,
    role: Role,
    lost: HostName,
    way: Way,
    began: Moment,
    now: Moment,
    said: BTreeMap<HostName, AgentStatus>,
    events: VecDeque<Event>,
    kills: bool,
}

impl Rehearsal {
    pub(super) fn new(mind: &Cluster, now: Moment, role: &Role, lost: &HostName, way: Way) -> Self {
        let mind = mind.clone();
        let said = mind.hosts.iter().map(|(name, host)| (name.clone(), host.agent.status.clone())).collect();
        Self {
            mind,
            role: role.clone(),
            lost: lost.clone(),
            way,
            began: now,
            now,
            said,
            events: VecDeque::new(),
            kills: false,
        }
    }

    pub(super) fn run(mut self) -> Rehearsed {
        let traps = CheckKind::ALL.map(|kind| self.mind.settings.trap_of(kind)).into_iter().max();
        let limit = wait_for(self.mind.settings.terms.length)
            + traps.unwrap_or_default()
            + self.mind.settings.failover_grace
            + PATIENCE;
        self.begin();
        let mut probed = self.now;
        let mut is_heard = self.way != Way::HostVanishes;
        while self.now.since(self.began) < limit {
            if let Some(to) = self.successor() {
                return self.end(Some(to));
            }
            self.now = self.now + TICK;
            // What an agent has promised ends by its own clock.
            for status in self.said.values_mut() {
                status.uptime += TICK;
            }
            let gone_for = self.now.since(self.began);
            if !is_heard && gone_for >= SILENCE {
                is_heard = true;
                self.lose_session("it said nothing");
            }
            if self.way == Way::HostVanishes && self.now.since(probed) >= PROBE {
                probed = self.now;
                for kind in [CheckKind::Ping, CheckKind::Mysql] {
                    self.fail(kind);
                }
            }
            if self.way == Way::ServerDies && self.now.since(probed) >= PROBE {
                probed = self.now;
                self.fail(CheckKind::Mysql);
            }
            self.take_in(Event::Tick);
        }
        self.end(None)
    }

    fn begin(&mut self) {
        match self.way {
            Way::ServerDies => {
                let writer = self.role.clone();
                self.report(&self.lost.clone(), |status| {
                    status.server = ServerView::Gone;
                    status.held.remove(&writer);
                });
                self.drain();
            }
            Way::AgentLost => self.lose_session("connection closed"),
            Way::HostVanishes => {}
        }
    }

    fn end(self, to: Option<(HostName, Duration)>) -> Rehearsed {
        let stays = to.is_none() && self.mind.active_master() == Some(&self.lost);
        let why = match self.mind.running_record() {
            Some(record) if stays && record.host == self.lost && self.mind.keeper.book.ends().is_none() => {
                format!(
                    "the lease of {} does not run out, as it knows of nobody who could take over",
                    self.lost
                )
            }
            _ => self.mind.why(self.now),
        };
        Rehearsed { to, why, kills: self.kills, record: self.mind.newest_record().cloned() }
    }

    /// Another host that serves.
    fn successor(&self) -> Option<(HostName, Duration)> {
        let holder = self.mind.active_master().filter(|holder| **holder != self.lost)?;
        self.mind.is_serving(holder).then(|| (holder.clone(), self.now.since(self.began)))
    }

    fn lose_session(&mut self, reason: &str) {
        self.take_in(Event::AgentLost { host: self.lost.clone(), reason: reason.to_owned() });
    }

    fn fail(&mut self, kind: CheckKind) {
        let verdict = Verdict::Bad("ERROR: no answer".to_owned());
        let (host, started) = (self.lost.clone(), self.now);
        self.take_in(Event::Checked { host, kind, verdict, started, stamp: String::new() });
    }

    fn take_in(&mut self, event: Event) {
        self.events.push_back(event);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.events.pop_front() else { return };
            for action in self.mind.step(self.now, event) {
                self.carry_out(action);
            }
        }
        self.events.clear();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tell { host, message } if host != self.lost || self.way == Way::ServerDies => {
                self.hear(&host, message);
            }
            Action::SaveState { number, .. } => {
                // A disk that refuses now refuses then.
                let outcome = self.mind.keeper.trouble.clone().map_or(Ok(()), Err);
                if outcome.is_ok() {
                    self.events.push_back(Event::StateSaved { number, outcome });
                }
            }
            Action::KillHost { .. } => self.kills = true,
            _ => {}
        }
    }

    fn hear(&mut self, host: &HostName, message: ToAgent) {
        // What the others say of their own roles decides nothing here, and there may be hundreds of them.
        if !self.mind.settings.may_be_active_master(host) {
            return;
        }
        match message {
            ToAgent::Order(order) => {
                let role = self.role.clone();
                self.report(host, |status| obey(status, &order, &role));
                self.ask_for_grant(host);
            }
            ToAgent::Grant(grant) => {
                let role = self.role.clone();
                self.report(host, |status| {
                    let Some(held) = &mut status.lease.held else { return };
                    if held.epoch != grant.epoch {
                        return;
                    }
                    held.duty = Duty::Write;
                    held.list = grant.list;
                    if status.server.is_up() && status.roles.contains(&role) {
                        status.server = ServerView::Up { writable: true };
                        status.held.insert(role);
                    }
                });
            }
            ToAgent::Look { id } => self.report(host, |status| status.looked = Some(id)),
            _ => {}
        }
    }

    /// What an agent says after a change, if there was one.
    fn report(&mut self, host: &HostName, change: impl FnOnce(&mut AgentStatus)) {
        let Some(status) = self.said.get_mut(host) else { return };
        let before = status.clone();
        change(status);
        if *status != before {
            let status = Box::new(status.clone());
            self.events.push_back(Event::AgentReported { host: host.clone(), status });
        }
    }

    fn ask_for_grant(&mut self, host: &HostName) {
        let Some(status) = self.said.get(host) else { return };
        let Some(held) = status.lease.held.as_ref().filter(|held| held.duty == Duty::Wait) else { return };
        let renewal = Renewal { epoch: held.epoch, reading: self.now, taken: None };
        self.events.push_back(Event::Renewed { host: host.clone(), renewal });
    }
}

/// An agent that does at once, and without fail, what it is told.
fn obey(status: &mut AgentStatus, order: &Order, role: &Role) {
    status.taken_in = Some(order.id);
    status.applied = Some(order.id);
    status.state = Some(order.state);
    status.roles.clone_from(&order.roles);
    let promoted = order.writer.as_ref().map(|promotion| promotion.epoch);
    if let Some(epoch) = promoted.filter(|epoch| *epoch > status.lease.released) {
        let same = status.lease.held.as_ref().is_some_and(|held| held.epoch == epoch);
        if !same && epoch >= status.lease.accepted {
            status.lease.accepted = epoch;
            let list = std::collections::BTreeSet::new();
            status.lease.held = Some(LeaseHeld { epoch, list, duty: Duty::Wait, by_promise: false });
        }
    } else {
        let held = status.lease.held.take().map(|held| held.epoch);
        let released = held.max(order.release).unwrap_or_default();
        status.lease.released = status.lease.released.max(released);
    }
    let serves =
        status.lease.held.as_ref().is_some_and(|held| held.duty == Duty::Write) && promoted.is_some();
    if status.server.is_up() {
        status.server = ServerView::Up { writable: serves };
    }
    status.held = order.roles.iter().filter(|ordered| *ordered != role || serves).cloned().collect();
}
