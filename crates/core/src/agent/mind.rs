//! What an agent remembers and how it takes in events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::step::{Lane, Step, StepOutcome};
use crate::cluster::LogLevel;
use crate::gtid::GtidView;
use crate::message::{AgentStatus, Approached, LogPosition, Order, OrderId, ServerView};
use crate::moment::Moment;
use crate::names::{HostName, Role, RoleName};
use crate::state::HostState;

/// How long a lane waits before it tries a failed step again.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Pause between two attempts at read-only behind a held lock, so that writes flow meanwhile.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettings {
    pub host: HostName,
    pub active_master_role: RoleName,
    /// Rounds of patience with threads that hold locks when the writer role leaves.
    pub max_kill_retries: u32,
}

/// A configured role address found on the interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldAddress {
    pub role: Role,
    /// It carries our mark: an agent of 3.x put it there.
    pub ours: bool,
}

/// What an agent has to know again after a restart within the same boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentMemory {
    pub order: Option<Order>,
    /// The choice of a writer for which this server has all the data it could get.
    pub caught_up_for: Option<u64>,
    /// Replication from the old writer was stopped by us.
    pub holding: bool,
    /// Replication was stopped because the host is `ADMIN_OFFLINE`.
    pub stopped_for_offline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    Ordered(Order),
    ApproachOrdered {
        id: OrderId,
        limit: Duration,
    },
    AnnouncementOrdered(Role),
    ServerSeen {
        view: ServerView,
        /// When the question was put; older answers than our own last change are not believed.
        asked: Moment,
        source_ip: Option<IpAddr>,
        gtid: Option<GtidView>,
        /// Whether the thread that receives from the source runs.
        receiving: Option<bool>,
    },
    AddressesSeen(BTreeSet<HeldAddress>),
    StepEnded {
        step: Step,
        outcome: StepOutcome,
    },
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentAction {
    Do(Step),
    /// Tell the neighbours where the address is now, several times over the first seconds.
    Announce(Role),
    Report(Box<AgentStatus>),
    Save(AgentMemory),
    Log(LogLevel, String),
}

/// The deciding half of `mmm_agentd`.
#[derive(Clone, Debug)]
pub struct AgentMind {
    pub(super) settings: AgentSettings,
    pub(super) memory: AgentMemory,
    saved: AgentMemory,
    pub(super) server: ServerView,
    /// Answers put before this moment describe a server that we have changed since.
    pub(super) believe_from: Moment,
    pub(super) source_ip: Option<IpAddr>,
    pub(super) gtid: Option<GtidView>,
    pub(super) receiving: Option<bool>,
    pub(super) addresses: Option<BTreeSet<HeldAddress>>,
    pub(super) busy: BTreeMap<Lane, Step>,
    pub(super) retry_at: BTreeMap<Lane, Moment>,
    /// Replication was stopped for `ADMIN_OFFLINE` by this worker, and the server has not been restarted since.
    pub(super) stop_confirmed: bool,
    /// The choice of a writer that the catching up under way is for.
    pub(super) catching_up_for: Option<u64>,
    pub(super) lock_rounds: u32,
    pub(super) position_due: bool,
    pub(super) clients_due: bool,
    pub(super) released_at: Option<(OrderId, LogPosition)>,
    /// A planned move that this host prepares for, and until when.
    pub(super) approach: Option<(OrderId, Moment)>,
    pub(super) approached: Option<Approached>,
    pub(super) problem: BTreeMap<Lane, String>,
    pub(super) applied: Option<OrderId>,
    reported: Option<AgentStatus>,
}

impl AgentMind {
    /// `memory` is what the state file of this boot holds; the default when there is none.
    pub fn new(settings: AgentSettings, memory: AgentMemory) -> Self {
        Self {
            settings,
            saved: memory.clone(),
            memory,
            server: ServerView::Unknown,
            believe_from: Moment::ZERO,
            source_ip: None,
            gtid: None,
            receiving: None,
            addresses: None,
            busy: BTreeMap::new(),
            retry_at: BTreeMap::new(),
            stop_confirmed: false,
            catching_up_for: None,
            lock_rounds: 0,
            position_due: false,
            clients_due: false,
            released_at: None,
            approach: None,
            approached: None,
            problem: BTreeMap::new(),
            applied: None,
            reported: None,
        }
    }

    /// Takes in one event and says what to do.
    #[must_use]
    pub fn step(&mut self, now: Moment, event: AgentEvent) -> Vec<AgentAction> {
        let mut actions = Vec::new();
        match event {
            AgentEvent::Ordered(order) => self.take_in_order(order, &mut actions),
            AgentEvent::ApproachOrdered { id, limit } => self.approach = Some((id, now + limit)),
            AgentEvent::AnnouncementOrdered(role) => {
                let held = self.addresses.iter().flatten().any(|held| held.role == role);
                actions.extend(held.then_some(AgentAction::Announce(role)));
            }
            AgentEvent::ServerSeen { view, asked, source_ip, gtid, receiving } => {
                let believed = self.take_in_server(view, asked, &mut actions);
                if believed && view.is_up() {
                    self.source_ip = source_ip;
                    // It is asked for less often than the rest; what was said last stands until then.
                    if gtid.is_some() {
                        self.gtid = gtid;
                    }
                    self.receiving = receiving;
                }
            }
            AgentEvent::AddressesSeen(addresses) => self.addresses = Some(addresses),
            AgentEvent::StepEnded { step, outcome } => self.take_in_step(now, &step, outcome, &mut actions),
            AgentEvent::Tick => {}
        }
        self.plan(now, &mut actions);
        self.finish(&mut actions);
        actions
    }

    /// What the agent would report now; used when a session begins.
    pub fn status(&self) -> AgentStatus {
        self.compose_status()
    }

    fn finish(&mut self, actions: &mut Vec<AgentAction>) {
        self.settle();
        if self.memory != self.saved {
            self.saved.clone_from(&self.memory);
            // Saved before anything else is carried out: a restart in the middle must find the order.
            actions.insert(0, AgentAction::Save(self.memory.clone()));
        }
        let status = self.compose_status();
        if self.reported.as_ref() != Some(&status) {
            self.reported = Some(status.clone());
            actions.push(AgentAction::Report(Box::new(status)));
        }
    }

    fn take_in_order(&mut self, order: Order, actions: &mut Vec<AgentAction>) {
        let before = self.memory.order.take();
        let had_writer = before.as_ref().is_some_and(|order| order.writer.is_some());
        let roles_before = before.as_ref().map(|order| order.roles.clone()).unwrap_or_default();
        if roles_before != order.roles {
            log_roles(&roles_before, &order.roles, actions);
        }
        let master_before = before.as_ref().and_then(|order| order.active_master.clone());
        if master_before != order.active_master
            && let Some(master) = &order.active_master
            && *master != self.settings.host
        {
            actions.push(AgentAction::Log(LogLevel::Info, format!("Changing active master to '{master}'")));
        }
        if order.writer.is_none() && (had_writer || self.holds_writer_address()) {
            self.position_due = true;
            self.clients_due = true;
            // An order that is only repeated gives no new patience to those who hold locks.
            if before.as_ref().is_none_or(|before| !before.asks_the_same(&order)) {
                self.lock_rounds = 0;
            }
        }
        if order.writer.is_some() {
            self.position_due = false;
            self.clients_due = false;
            self.released_at = None;
        }
        if before.as_ref().is_none_or(|before| !before.asks_the_same(&order)) {
            self.retry_at.clear();
        }
        self.memory.order = Some(order);
    }

    /// False for an answer that is older than our own last change.
    fn take_in_server(&mut self, view: ServerView, asked: Moment, actions: &mut Vec<AgentAction>) -> bool {
        if view.is_up() && asked < self.believe_from {
            return false;
        }
        let before = std::mem::replace(&mut self.server, view);
        let kind = |view: ServerView| std::mem::discriminant(&view);
        if kind(before) == kind(view) {
            return true;
        }
        self.retry_at.remove(&Lane::Server);
        self.lock_rounds = 0;
        if !view.is_up() {
            // Positions of a server that is started anew are read anew.
            self.gtid = None;
        }
        // A server that is started anew replicates by itself.
        self.stop_confirmed &= view != ServerView::Gone;
        let (level, text) = match view {
            ServerView::Unknown => return true,
            ServerView::Up { writable } => {
                let access = if writable { "writable" } else { "read-only" };
                (LogLevel::Info, format!("The server answers; it is {access}"))
            }
            ServerView::Silent { .. } => {
                (LogLevel::Error, "The server runs but does not answer on its standing connection".to_owned())
            }
            ServerView::Refusing => (
                LogLevel::Error,
                "The server lives but refuses the agent; see the account's grants".to_owned(),
            ),
            ServerView::Gone => (LogLevel::Error, "The server has ended or is stopping".to_owned()),
        };
        actions.push(AgentAction::Log(level, text));
        true
    }

    fn take_in_step(
        &mut self,
        now: Moment,
        step: &Step,
        outcome: StepOutcome,
        actions: &mut Vec<AgentAction>,
    ) {
        let lane = step.lane();
        self.busy.remove(&lane);
        match outcome {
            StepOutcome::Done => {
                self.problem.remove(&lane);
                self.step_done(now, step, actions);
            }
            StepOutcome::Position(position) => {
                self.problem.remove(&lane);
                self.position_due = false;
                if let Some(order) = &self.memory.order {
                    self.released_at = Some((order.id, position));
                }
            }
            StepOutcome::LockHeld => {
                self.lock_rounds += 1;
                self.retry_at.insert(lane, now + LOCK_PAUSE);
                let text = format!(
                    "Somebody holds a lock that keeps the server from becoming read-only (attempt {} of {})",
                    self.lock_rounds, self.settings.max_kill_retries
                );
                actions.push(AgentAction::Log(LogLevel::Warn, text.clone()));
                self.problem.insert(lane, text);
            }
            StepOutcome::NotYet(progress) => self.step_goes_on(now, step, progress, actions),
            StepOutcome::Failed(why) => self.step_failed(now, step, &why, actions),
        }
    }

    fn step_done(&mut self, now: Moment, step: &Step, actions: &mut Vec<AgentAction>) {
        match step {
            Step::AddAddress(role) => {
                let held = HeldAddress { role: role.clone(), ours: true };
                self.addresses.get_or_insert_default().replace(held);
                actions.push(AgentAction::Announce(role.clone()));
            }
            Step::DropAddress(role) => {
                self.addresses.get_or_insert_default().retain(|held| held.role != *role);
            }
            Step::CloseWrites => {
                self.believe_from = now;
                self.lock_rounds = 0;
                // Positions read while the server was open say nothing about where it stopped.
                self.gtid = None;
                // Threads that were let in while the server was open may still hold unanswered statements.
                self.clients_due |= self.memory.order.is_some();
                if self.server.is_up() {
                    self.server = ServerView::Up { writable: false };
                }
            }
            Step::OpenWrites => {
                self.believe_from = now;
                if self.server.is_up() {
                    self.server = ServerView::Up { writable: true };
                }
            }
            Step::ReadPosition => self.position_due = false,
            Step::EndClients => self.clients_due = false,
            Step::EndWriters => self.lock_rounds = 0,
            Step::CatchUp(takeover) => {
                if *takeover == crate::message::Takeover::Lost {
                    self.receiving = Some(false);
                }
                // A newer choice asks for the same again: more may have been received since this one began.
                if self.catching_up_for.is_some() {
                    self.memory.caught_up_for = self.catching_up_for.take();
                }
            }
            Step::StopReplication => self.stop_confirmed = true,
            Step::StartReplication => {
                self.memory.stopped_for_offline = false;
                self.stop_confirmed = false;
            }
            Step::StopReceiving => self.receiving = Some(false),
            Step::ResumeReceiving => {
                self.memory.holding = false;
                self.receiving = Some(true);
            }
            Step::Approach(id) => {
                self.end_approach(*id, Ok(()));
            }
        }
    }

    fn step_failed(&mut self, now: Moment, step: &Step, why: &str, actions: &mut Vec<AgentAction>) {
        let lane = step.lane();
        let text = format!("Couldn't {}: {why}", step.describe());
        if self.problem.get(&lane) != Some(&text) {
            actions.push(AgentAction::Log(LogLevel::Error, text.clone()));
        }
        self.retry_at.insert(lane, now + RETRY);
        match step {
            // Neither may keep an address on a host that is to lose it: the move goes on without them, and the
            // monitor treats the data as that of a lost writer.
            Step::ReadPosition => self.position_due = false,
            Step::EndClients => self.clients_due = false,
            Step::Approach(id) => {
                self.end_approach(*id, Err(why.to_owned()));
                return;
            }
            _ => {}
        }
        self.problem.insert(lane, text);
    }

    fn step_goes_on(&mut self, now: Moment, step: &Step, progress: String, actions: &mut Vec<AgentAction>) {
        if let Step::Approach(id) = step {
            if self.approach.is_none_or(|(wanted, until)| wanted == *id && now >= until) {
                self.end_approach(*id, Err(progress));
            }
            return;
        }
        let text = format!("Still to {}: {progress}", step.describe());
        if self.problem.insert(step.lane(), text.clone()).is_none() {
            actions.push(AgentAction::Log(LogLevel::Info, text));
        }
    }

    fn end_approach(&mut self, id: OrderId, outcome: Result<(), String>) {
        self.approach = self.approach.filter(|(wanted, _)| *wanted != id);
        self.approached = Some(Approached { id, outcome });
    }

    pub(super) fn holds_writer_address(&self) -> bool {
        self.addresses.iter().flatten().any(|held| *held.role.name() == self.settings.active_master_role)
    }

    pub(super) fn ordered_state(&self) -> Option<HostState> {
        self.memory.order.as_ref().map(|order| order.state)
    }
}

fn log_roles(before: &BTreeSet<Role>, after: &BTreeSet<Role>, actions: &mut Vec<AgentAction>) {
    let log = |text: String| AgentAction::Log(LogLevel::Info, text);
    actions.push(log("We have some new roles added or old rules deleted!".to_owned()));
    let deleted: Vec<&Role> = before.difference(after).collect();
    let added: Vec<&Role> = after.difference(before).collect();
    if !deleted.is_empty() {
        actions.push(log(format!("Deleted: {}", Role::join(deleted, ", "))));
    }
    if !added.is_empty() {
        actions.push(log(format!("Added:   {}", Role::join(added, ", "))));
    }
}
