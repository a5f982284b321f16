//! What a monitor of 2.2.1 says to this host, line by line: its status is taken for an order without a lease.
//!
//! Its writer holds epoch 0 and nobody could take over, as a running writer of 2.2.1 does that was found at first contact;
//! so the monitor that comes next finds here what it finds there. Whoever has a monitor of ours follows no other one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::event::AgentAction;
use super::mind::AgentMind;
use crate::cluster::LogLevel;
use crate::lease::{Epoch, HolderLease, Proof, wait_for};
use crate::message::{LeaseTerms, Order, OrderId, Promotion, ServerView, Takeover};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::state::HostState;

/// Stands where the start number of a monitor stands in orders that came as lines; start numbers are random.
const INSTANCE: u64 = 0;
/// The number of the monitor's state that is written down while lines are followed: a monitor of ours that comes back
/// learns by it that its own state is no longer all there is to know.
const LINEAGE: u64 = u64::MAX;
/// An agent that was just started looks at its server and addresses before it answers what hangs on them.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// What carrying out a status may take besides the patience with those who hold locks.
const STATUS_SLACK: Duration = Duration::from_secs(10);

/// What is asked by a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineRequest {
    /// The whole truth for this host.
    SetStatus {
        state: HostState,
        roles: BTreeSet<Role>,
        active_master: Option<HostName>,
    },
    AgentStatus,
    SystemStatus,
    ClearBadRoles,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineAnswer {
    Applied,
    AgentStatus {
        state: HostState,
        roles: BTreeSet<Role>,
        active_master: Option<HostName>,
    },
    SystemStatus {
        writable: bool,
        roles: BTreeSet<Role>,
        source_ip: Option<IpAddr>,
    },
    Removed(u32),
    /// What is the matter and what to do, for people.
    Refused(String),
}

/// A line that was not answered yet.
#[derive(Clone, Debug)]
struct Waiting {
    asker: u64,
    request: LineRequest,
    since: Moment,
    /// It is being carried out.
    begun: Option<Begun>,
}

#[derive(Clone, Debug)]
enum Begun {
    Status(OrderId),
    Clearing(BTreeSet<Role>),
}

/// What the mind keeps of lines.
#[derive(Clone, Debug, Default)]
pub(in crate::agent) struct LineDesk {
    waiting: Vec<Waiting>,
    /// When a monitor of ours, or its word, was last there.
    monitor_seen: Option<Moment>,
    /// A refusal is logged once and not with every repetition.
    refusal_told: bool,
}

impl AgentMind {
    pub(super) fn take_in_line(&mut self, now: Moment, asker: u64, request: LineRequest) {
        self.lines.waiting.push(Waiting { asker, request, since: now, begun: None });
    }

    /// Whether the order at hand came as a line.
    pub(super) fn follows_lines(&self) -> bool {
        self.memory.order.as_ref().is_some_and(|order| order.id.instance == INSTANCE)
    }

    /// Begins what can be begun.
    pub(in crate::agent) fn tend_lines(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        self.note_monitor(now);
        for mut waiting in std::mem::take(&mut self.lines.waiting) {
            if waiting.begun.is_none() {
                match self.begin_line(now, &waiting, actions) {
                    Ok(begun) => waiting.begun = begun,
                    Err(answer) => {
                        actions.push(AgentAction::AnswerLine { asker: waiting.asker, answer });
                        continue;
                    }
                }
            }
            self.lines.waiting.push(waiting);
        }
    }

    /// Answers what has been carried out, or can't be in any bearable time.
    pub(super) fn answer_lines(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        for waiting in std::mem::take(&mut self.lines.waiting) {
            match waiting.begun.as_ref().and_then(|begun| self.line_outcome(now, waiting.since, begun)) {
                Some(answer) => actions.push(AgentAction::AnswerLine { asker: waiting.asker, answer }),
                None => self.lines.waiting.push(waiting),
            }
        }
    }

    fn note_monitor(&mut self, now: Moment) {
        // A program that was started again can't tell how long ago its monitor was there.
        let unknown = self.lines.monitor_seen.is_none() && self.knows_monitor();
        if self.lease.session.is_some() || unknown {
            self.lines.monitor_seen = Some(now);
        }
    }

    /// Whether a monitor of ours has ever ordered or chosen anything here, as far as it is remembered.
    fn knows_monitor(&self) -> bool {
        let durable = self.lease.promiser.durable();
        let ordered = self.memory.order.is_some() && !self.follows_lines();
        ordered || durable.accepted > Epoch::NONE || durable.promise.is_some()
    }

    /// `Ok(None)`: later. The error is the answer.
    fn begin_line(
        &mut self,
        now: Moment,
        waiting: &Waiting,
        actions: &mut Vec<AgentAction>,
    ) -> Result<Option<Begun>, LineAnswer> {
        let has_looked = self.addresses.is_some() && self.server != ServerView::Unknown;
        let late = now.since(waiting.since) >= LOOK_LIMIT;
        match &waiting.request {
            LineRequest::AgentStatus => Err(self.line_agent_status()),
            LineRequest::SystemStatus if has_looked || late => Err(self.line_system_status()),
            LineRequest::SystemStatus => Ok(None),
            LineRequest::SetStatus { .. } | LineRequest::ClearBadRoles => {
                if let Some(why) = self.why_no_lines(now) {
                    if !std::mem::replace(&mut self.lines.refusal_told, true) {
                        let text = format!("A monitor of 2.2.1 is not followed: {why}");
                        actions.push(AgentAction::Log(LogLevel::Warn, text));
                    }
                    return Err(LineAnswer::Refused(format!("Nothing was changed: {why}")));
                }
                if !has_looked && late {
                    let why = "this agent can't see its server or its addresses yet; its log says why";
                    return Err(LineAnswer::Refused(format!("Nothing was changed: {why}")));
                }
                if !has_looked {
                    return Ok(None);
                }
                self.lines.refusal_told = false;
                Ok(Some(match waiting.request.clone() {
                    LineRequest::SetStatus { state, roles, active_master } => {
                        Begun::Status(self.follow_status(state, roles, active_master, actions))
                    }
                    _ => Begun::Clearing(self.bad_roles()),
                }))
            }
        }
    }

    /// Why lines may change nothing here now, and what to do about it.
    fn why_no_lines(&self, now: Moment) -> Option<String> {
        if self.lease.session.is_some() {
            return Some(
                "a monitor of version 3 has a session with this agent. Stop one of the two monitors"
                    .to_owned(),
            );
        }
        let host = &self.settings.host;
        let durable = self.lease.promiser.durable();
        let held = self.memory.lease.as_ref().map(HolderLease::epoch).filter(|epoch| *epoch > Epoch::NONE);
        if let Some(epoch) = held.or(Some(durable.accepted).filter(|epoch| *epoch > durable.released)) {
            return Some(format!(
                "this host holds the writer role with epoch {epoch} of a monitor of version 3. Start that monitor, let it take the role back (mmm_control set_offline --force {host}), and stop it again"
            ));
        }
        if let Some((promise, rest)) = self.lease.promiser.running_promise(now) {
            return Some(format!(
                "this host has promised '{}' not to take the writer role for another {} ms. Wait for that",
                promise.holder,
                rest.as_millis()
            ));
        }
        let booted = self.lease.promiser.waits().booted_until.filter(|_| self.knows_monitor());
        let length = self.terms().length.max(durable.longest.unwrap_or_default());
        let seen = self.lines.monitor_seen.map(|seen| seen + wait_for(length));
        let until = seen.max(booted).filter(|until| now < *until)?;
        Some(format!(
            "a monitor of version 3 was here until lately and may count on this host. If it is stopped, wait another {} ms",
            until.since(now).as_millis()
        ))
    }

    /// Turns a status into the order that asks for the same; one that only repeats what was asked changes nothing.
    fn follow_status(
        &mut self,
        state: HostState,
        roles: BTreeSet<Role>,
        active_master: Option<HostName>,
        actions: &mut Vec<AgentAction>,
    ) -> OrderId {
        self.lease.confirmed = true;
        let adopted = self.memory.order.is_none() && self.memory.lease.is_some();
        let before = self.memory.order.as_ref().filter(|_| self.follows_lines());
        let last = before.map_or(OrderId { instance: INSTANCE, number: 0 }, |order| order.id);
        let given = before.and_then(|order| order.writer.clone());
        let fresh = given.is_none();
        let writer = roles.iter().any(|role| self.is_writer_role(role)).then(|| {
            let takeover = if adopted { Takeover::Keep } else { Takeover::AskSource };
            given.unwrap_or(Promotion {
                epoch: Epoch::NONE,
                proof: Proof::Nobody,
                takeover,
                hold: false,
                salvage: None,
            })
        });
        let order = Order {
            id: OrderId { number: last.number + 1, ..last },
            state,
            roles,
            active_master,
            source: None,
            writer,
            release: None,
            terms: LeaseTerms::default(),
            absolved: false,
            stand_still: false,
            surplus: None,
            generation: 0,
            semi_sync: None,
            rebuild: None,
        };
        if before.is_some_and(|before| before.asks_the_same(&order)) {
            return last;
        }
        if before.is_none() {
            let text = "This host follows a monitor of 2.2.1: its writer has no lease and is not fenced";
            actions.push(AgentAction::Log(LogLevel::Warn, text.to_owned()));
        }
        if order.writer.is_some() {
            if fresh {
                // What it caught up with at an earlier time says nothing about now.
                self.memory.caught_up_for = None;
            }
            let in_force = self.settings.rules;
            self.memory.lease.get_or_insert_with(|| HolderLease::adopted(in_force));
        }
        // There is no heartbeat that addresses could hang on.
        self.lease.contact = None;
        if !self.lease.never_written {
            self.lease.promiser.note_lineage(LINEAGE);
        }
        let id = order.id;
        self.take_in_order(order, actions);
        id
    }

    /// Configured addresses that are up here and not assigned. Before the first status those that somebody else put up
    /// are left alone: they may be those of a running writer.
    fn bad_roles(&self) -> BTreeSet<Role> {
        let assigned = self.memory.order.as_ref().map(|order| &order.roles);
        let held = self.addresses.iter().flatten();
        held.filter(|held| assigned.map_or(held.ours, |assigned| !assigned.contains(&held.role)))
            .map(|held| held.role.clone())
            .collect()
    }

    fn line_agent_status(&self) -> LineAnswer {
        let order = self.memory.order.as_ref();
        // Only replicas have somebody to follow.
        let is_master = self
            .settings
            .role_hosts
            .get(&self.settings.active_master_role)
            .is_some_and(|hosts| hosts.contains(&self.settings.host));
        LineAnswer::AgentStatus {
            state: order.map_or(HostState::Unknown, |order| order.state),
            roles: order.map(|order| order.roles.clone()).unwrap_or_default(),
            active_master: order.and_then(|order| order.active_master.clone()).filter(|_| !is_master),
        }
    }

    /// As careful as what our own monitor is told: what is on its way counts as being there.
    fn line_system_status(&self) -> LineAnswer {
        let status = self.status();
        let writable = match status.server {
            ServerView::Up { writable } => writable,
            ServerView::Silent { writable_before } => writable_before,
            ServerView::Unknown | ServerView::Refusing | ServerView::Gone => false,
        };
        LineAnswer::SystemStatus { writable, roles: status.held, source_ip: status.source_ip }
    }

    fn line_outcome(&self, now: Moment, since: Moment, begun: &Begun) -> Option<LineAnswer> {
        let limit = Duration::from_secs(self.settings.max_kill_retries.into()) + STATUS_SLACK;
        let late = now.since(since) >= limit;
        match begun {
            Begun::Clearing(bad) => {
                let left = self.addresses.iter().flatten().any(|held| bad.contains(&held.role));
                let count = || LineAnswer::Removed(u32::try_from(bad.len()).unwrap_or(u32::MAX));
                match (left, late) {
                    (false, _) => Some(count()),
                    (true, true) => Some(LineAnswer::Refused(self.still_there(limit))),
                    (true, false) => None,
                }
            }
            Begun::Status(id) => {
                let order = self.memory.order.as_ref().filter(|order| order.id == *id);
                let Some(order) = order else {
                    let text = "a newer order came before this one was carried out";
                    return Some(LineAnswer::Refused(text.to_owned()));
                };
                if self.applied == Some(*id) {
                    return Some(LineAnswer::Applied);
                }
                if self.is_letting_go(order) {
                    return late.then(|| LineAnswer::Refused(self.still_there(limit)));
                }
                // Only what is to be gained is missing. That may need a server that is not there, and a monitor of
                // 2.2.1 does nothing else while it waits; what is really here, GET_SYSTEM_STATUS tells it.
                let hopeless = !self.server.is_up() || !self.problem.is_empty();
                (hopeless || late).then_some(LineAnswer::Applied)
            }
        }
    }

    /// Whether this host still has what the order takes away: an answer now would make somebody else the writer too.
    fn is_letting_go(&self, order: &Order) -> bool {
        let keeps = self.addresses.iter().flatten().any(|held| !order.roles.contains(&held.role));
        keeps || (order.writer.is_none() && !self.has_let_go())
    }

    fn still_there(&self, limit: Duration) -> String {
        let problems: Vec<&str> = self.problem.values().map(String::as_str).collect();
        let why = if problems.is_empty() { "no step has failed".to_owned() } else { problems.join("; ") };
        format!(
            "this host still has roles that it is to give up after {} s, and goes on trying ({why})",
            limit.as_secs()
        )
    }
}
