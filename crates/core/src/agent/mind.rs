//! What an agent remembers and how it takes in events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::closing::Closing;
use super::event::{AgentAction, AgentEvent};
use super::following::{FollowingDesk, FollowingMemory};
use super::lease::{Fencing, LeaseDesk};
use super::looks::Looks;
use super::protocol1::LineDesk;
use super::rebuilding::RebuildDesk;
use super::salvaging::SalvageMemory;
use super::semi_sync::{SemiSyncDesk, SemiSyncMemory};
use super::step::{Lane, Lifetime, Step, StepOutcome};
use super::torn::TornDesk;
use super::writes::WriteDesk;
use crate::cluster::LogLevel;
use crate::gtid::GtidView;
use crate::lease::{Durable, Epoch, HolderLease, LeaseRules, Promiser, Waits};
use crate::message::{AgentStatus, Approached, LogPosition, Order, OrderId, ServerView, Takeover};
use crate::moment::Moment;
use crate::names::{HostName, Role, RoleName};
use crate::survey::Reach;

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
    /// Hosts that may hold each role, as far as this host's configuration says.
    pub role_hosts: BTreeMap<RoleName, BTreeSet<HostName>>,
    pub rules: LeaseRules,
}

/// A configured role address found on the interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldAddress {
    pub role: Role,
    /// It carries our mark: an agent of 3.x put it there.
    pub ours: bool,
    /// The kernel keeps it for ever.
    pub permanent: bool,
}

/// What an agent has to know again after a restart within the same boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentMemory {
    pub order: Option<Order>,
    /// The choice of a writer for which this server has all the data it could get.
    pub caught_up_for: Option<Epoch>,
    /// Replication from the old writer was stopped by us.
    pub holding: bool,
    /// Replication was stopped because the host is `ADMIN_OFFLINE`.
    pub stopped_for_offline: bool,
    pub lease: Option<HolderLease>,
    pub fencing: Option<Fencing>,
    pub waits: Waits,
    /// A copy of what the epoch file held, in case that file is older when it is read again.
    pub durable: Durable,
    /// The reading of the last renewal.
    pub last_reading: Option<Moment>,
    /// The greatest generation of the monitor's state that was shown.
    pub generation: u64,
    /// Its server has reached the one that it replicates from since it was started: it may know what is there.
    #[serde(default)]
    pub reached_source: bool,
    #[serde(default)]
    pub following: FollowingMemory,
    /// Where this server's log ended when it gave this epoch back in order.
    #[serde(default)]
    pub released_at: Option<(Epoch, LogPosition)>,
    /// See [`AgentStatus::unopened`].
    #[serde(default)]
    pub unopened: Option<(Epoch, LogPosition)>,
    #[serde(default)]
    pub salvage: SalvageMemory,
    #[serde(default)]
    pub semi_sync: SemiSyncMemory,
}

/// The deciding half of `mmm_agentd`.
#[derive(Clone, Debug)]
pub struct AgentMind {
    pub(super) settings: AgentSettings,
    pub(super) memory: AgentMemory,
    pub(super) saved: AgentMemory,
    pub(super) next_memory: u64,
    /// The number of the last memory that is surely kept.
    pub(super) memory_saved: u64,
    pub(super) save_again_at: Option<Moment>,
    pub(super) lease: LeaseDesk,
    pub(super) lines: LineDesk,
    pub(super) following: FollowingDesk,
    pub(super) torn: TornDesk,
    pub(super) semi_sync: SemiSyncDesk,
    pub(super) writes: WriteDesk,
    pub(super) rebuild: RebuildDesk,
    pub(super) server: ServerView,
    /// Answers put before this moment describe a server that we have changed since.
    pub(super) believe_from: Moment,
    pub(super) source_ip: Option<IpAddr>,
    pub(super) gtid: Option<GtidView>,
    pub(super) receiving: Option<bool>,
    pub(super) looks: Looks,
    /// Since when this server has been catching up for the same choice of a writer.
    pub(super) catch_up_began: Option<(Epoch, Moment)>,
    pub(super) addresses: Option<BTreeSet<HeldAddress>>,
    pub(super) busy: BTreeMap<Lane, Step>,
    pub(super) retry_at: BTreeMap<Lane, Moment>,
    /// Replication was stopped for `ADMIN_OFFLINE` by this worker, and the server has not been restarted since.
    pub(super) stop_confirmed: bool,
    /// The choice of a writer that the catching up under way is for.
    pub(super) catching_up_for: Option<Epoch>,
    /// For this choice of a writer the end of the old one's log lies here, and waits to be applied.
    pub(super) salvage_fetched_for: Option<Epoch>,
    pub(super) lock_rounds: u32,
    pub(super) closing: Closing,
    pub(super) position_due: bool,
    pub(super) clients_due: bool,
    /// A planned move that this host prepares for, and until when.
    pub(super) approach: Option<(OrderId, Moment, Option<Box<Reach>>)>,
    pub(super) approached: Option<Approached>,
    pub(super) problem: BTreeMap<Lane, String>,
    pub(super) applied: Option<OrderId>,
    reported: Option<AgentStatus>,
}

impl AgentMind {
    /// `memory` is what the state file of this boot holds, `durable` what the epoch file holds; none where there is
    /// no such file. Moments are of the boot clock.
    pub fn new(
        settings: AgentSettings,
        memory: Option<AgentMemory>,
        durable: Option<Durable>,
        now: Moment,
    ) -> Self {
        let rules = settings.rules;
        let never_written = durable.is_none();
        let first_contact = memory.is_none() && never_written;
        let (promiser, durable) = match &memory {
            Some(memory) => {
                let known = durable.unwrap_or_default().merged(memory.durable.clone());
                (Promiser::after_restart(known.clone(), memory.waits, rules), known)
            }
            None => (Promiser::after_boot(now, durable.clone(), rules), durable.unwrap_or_default()),
        };
        let mut memory = memory.unwrap_or_default();
        // A newer epoch than this memory knows was accepted here, and may have had clients.
        memory.semi_sync.came_back &= durable.accepted <= memory.durable.accepted;
        // The file of this boot may be older than the epoch file: what was given back since, or followed by a newer
        // epoch, is held no more.
        memory.lease.take_if(|lease| {
            lease.epoch() > Epoch::NONE
                && (lease.epoch() <= durable.released || lease.epoch() < durable.accepted)
        });
        Self {
            lease: LeaseDesk::new(promiser, durable, never_written, first_contact),
            following: FollowingDesk::default(),
            torn: TornDesk::default(),
            semi_sync: SemiSyncDesk::default(),
            writes: WriteDesk::default(),
            rebuild: RebuildDesk::default(),
            settings,
            // An attempt of an earlier worker may still wait in the server.
            closing: if memory.lease.is_some() { Closing::Tried } else { Closing::Settled },
            saved: memory.clone(),
            next_memory: 1,
            memory_saved: 0,
            save_again_at: None,
            lines: LineDesk::default(),
            memory,
            server: ServerView::Unknown,
            believe_from: Moment::ZERO,
            source_ip: None,
            gtid: None,
            receiving: None,
            looks: Looks::default(),
            catch_up_began: None,
            addresses: None,
            busy: BTreeMap::new(),
            retry_at: BTreeMap::new(),
            stop_confirmed: false,
            catching_up_for: None,
            salvage_fetched_for: None,
            lock_rounds: 0,
            position_due: false,
            clients_due: false,
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
            AgentEvent::ApproachOrdered { id, limit, reach } => {
                self.approach = Some((id, now + limit, reach));
            }
            AgentEvent::AnnouncementOrdered(role) => {
                let held = self.addresses.iter().flatten().any(|held| held.role == role);
                actions.extend(held.then_some(AgentAction::Announce(role)));
            }
            AgentEvent::ServerSeen { view, asked, source_ip, gtid, receiving } => {
                let believed = self.take_in_server(now, view, asked, &mut actions);
                if believed && view.is_up() {
                    self.source_ip = source_ip;
                    // It is asked for less often than the rest; what was said last stands until then.
                    if gtid.is_some() {
                        self.gtid = gtid;
                    }
                    self.receiving = receiving;
                }
            }
            AgentEvent::ReplicaSeen(view, asked) => self.take_in_replica(view, asked),
            AgentEvent::SemiSyncSeen(reading, asked) => self.take_in_semi_sync(reading, asked),
            AgentEvent::WritesSeen(sight, asked) => self.take_in_writes(sight.as_ref(), asked),
            AgentEvent::ReceivedSeen(received) => self.looks.take_in_received(*received, self.server),
            AgentEvent::LookOrdered { id } => actions.push(AgentAction::Look { id }),
            AgentEvent::Looked { id } => self.looks.done = id,
            AgentEvent::AddressesSeen(addresses) => self.addresses = Some(addresses),
            AgentEvent::SessionBegan { session, lineage } => self.begin_session(session, lineage),
            AgentEvent::SessionEnded { session } => {
                self.lease.session.take_if(|current| *current == session);
            }
            AgentEvent::Heard { echo } => {
                self.lease.contact = self.lease.contact.max(Some(echo.min(now)));
            }
            AgentEvent::Granted(grant) => self.take_in_grant(&grant),
            AgentEvent::PeerAsked { asker, from, request } => {
                self.take_in_request(now, asker, &from, request, &mut actions);
            }
            AgentEvent::PeerAnswered { host, answer } => {
                self.take_in_peer_answer(now, &host, &answer, &mut actions);
            }
            AgentEvent::LineAsked { asker, request } => self.take_in_line(now, asker, request),
            AgentEvent::DurableSaved { number, outcome } => {
                self.take_in_saved(now, number, outcome, &mut actions);
            }
            AgentEvent::MemorySaved { number, outcome } => self.take_in_memory_saved(now, number, &outcome),
            AgentEvent::ClockJumped { by } => self.take_in_clock_jump(now, by, &mut actions),
            AgentEvent::StepEnded { step, outcome } => self.take_in_step(now, &step, outcome, &mut actions),
            AgentEvent::RebuildSeen(status) => self.take_in_rebuild(status),
            AgentEvent::Reconfigured(settings) => self.take_in_settings(settings),
            AgentEvent::Tick => {}
        }
        self.tend_semi_sync(now);
        self.tend_writes();
        self.tend_lease(now, &mut actions);
        self.tend_rebuild(&mut actions);
        self.plan(now, &mut actions);
        self.finish(now, &mut actions);
        self.answer_lines(now, &mut actions);
        actions
    }

    fn begin_session(&mut self, session: u64, lineage: u64) {
        self.lease.begin_session(session);
        self.lease.promiser.note_lineage(lineage);
        // Whoever was told something may not have heard it.
        self.reported = None;
    }

    /// What the agent would report now; used when a session begins.
    pub fn status(&self) -> AgentStatus {
        self.compose_status()
    }

    fn finish(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        self.settle(now);
        if self.memory != self.saved || self.save_again_at.is_some_and(|at| now >= at) {
            self.save_again_at = None;
            self.saved.clone_from(&self.memory);
            let number = self.next_memory;
            self.next_memory += 1;
            // Saved before anything else is carried out: a restart in the middle must find the order.
            actions.insert(0, AgentAction::Save { number, memory: Box::new(self.memory.clone()) });
        }
        let status = self.compose_status();
        if self.reported.as_ref() != Some(&status) {
            self.reported = Some(status.clone());
            actions.push(AgentAction::Report(Box::new(status)));
        }
    }

    pub(super) fn take_in_order(&mut self, order: Order, actions: &mut Vec<AgentAction>) {
        let newest = self.memory.order.as_ref().map(|order| order.id);
        if newest
            .is_some_and(|newest| newest.instance == order.id.instance && order.id.number < newest.number)
        {
            let text = format!("Order {} comes after a newer one: it is not followed", order.id.number);
            actions.push(AgentAction::Log(LogLevel::Warn, text));
            return;
        }
        let order = self.with_first_takeover(order);
        self.memory.generation = self.memory.generation.max(order.generation);
        self.lease.confirmed = true;
        if order.absolved {
            self.lease.promiser.absolve();
        }
        let before = self.memory.order.take();
        let had_writer = before.as_ref().is_some_and(|order| order.writer.is_some());
        let roles_before = before.as_ref().map(|order| order.roles.clone()).unwrap_or_default();
        if roles_before != order.roles {
            super::report::log_roles(&roles_before, &order.roles, actions);
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
            self.memory.released_at = None;
        }
        if before.as_ref().is_none_or(|before| !before.asks_the_same(&order)) {
            self.retry_at.clear();
        }
        self.memory.order = Some(order);
    }

    /// False for an answer that is older than our own last change.
    fn take_in_server(
        &mut self,
        now: Moment,
        view: ServerView,
        asked: Moment,
        actions: &mut Vec<AgentAction>,
    ) -> bool {
        if view.is_up() && asked < self.believe_from {
            return false;
        }
        let view = self.without_wishes(now, self.with_own_changes(view));
        self.forget_closing(view);
        let before = std::mem::replace(&mut self.server, view);
        if std::mem::discriminant(&before) == std::mem::discriminant(&view) {
            return true;
        }
        self.retry_at.remove(&Lane::Server);
        self.lock_rounds = 0;
        self.lease.killed &= !(view.is_up() || view == ServerView::Gone);
        if !view.is_up() {
            // Positions of a server that is started anew are read anew.
            self.gtid = None;
            self.looks.forget();
        }
        // A server that is started anew replicates by itself.
        self.stop_confirmed &= view != ServerView::Gone;
        self.memory.reached_source &= view != ServerView::Gone;
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
        if matches!(step, Step::SetSemiSync { .. } | Step::ReceiveAnew) {
            self.end_semi_sync_step(now, step, &outcome);
            actions.extend(super::semi_sync::describe_end(step, &outcome));
            return;
        }
        if step.may_stop_waiting() {
            self.semi_sync.look_again(now);
        }
        let Some(outcome) = self.take_in_following(now, step, outcome, actions) else { return };
        match outcome {
            StepOutcome::Done | StepOutcome::CaughtUp(_) | StepOutcome::Followed { .. } => {
                self.problem.remove(&lane);
                self.step_done(now, step, actions);
            }
            StepOutcome::Position(position) => {
                self.problem.remove(&lane);
                self.position_due = false;
                self.memory.released_at = self.memory.lease.as_ref().map(|lease| (lease.epoch(), position));
            }
            StepOutcome::LockHeld => {
                self.reopen_after_attempt(now, step);
                self.lock_rounds += 1;
                self.retry_at.insert(lane, now + LOCK_PAUSE);
                let attempt = match self.settings.max_kill_retries {
                    most if self.lock_rounds <= most => format!("attempt {} of {most}", self.lock_rounds),
                    _ => "also while clients are being ended".to_owned(),
                };
                let text = format!(
                    "Somebody holds a lock that keeps the server from becoming read-only ({attempt})"
                );
                actions.push(AgentAction::Log(LogLevel::Warn, text.clone()));
                self.problem.insert(lane, text);
            }
            StepOutcome::Salvage(state, gtid) => {
                if let Some(gtid) = gtid {
                    self.note_salvaged(&gtid);
                }
                self.take_in_salvage(now, step, state, actions);
            }
            StepOutcome::NotYet(progress) => self.step_goes_on(now, step, progress, actions),
            StepOutcome::Failed(why) | StepOutcome::Refused(why) => {
                self.step_failed(now, step, &why, actions);
            }
        }
    }

    fn step_done(&mut self, now: Moment, step: &Step, actions: &mut Vec<AgentAction>) {
        self.note_closing(step, true);
        match step {
            Step::AddAddress(role, lifetime) => {
                self.see_address(role, *lifetime);
                actions.push(AgentAction::Announce(role.clone()));
            }
            Step::KeepAddresses(lifetimes) => {
                for (role, lifetime) in lifetimes {
                    if self.addresses.iter().flatten().any(|held| held.role == *role) {
                        self.see_address(role, *lifetime);
                    }
                }
            }
            Step::DropAddress(role) => {
                self.forget_lifetime(role);
                self.addresses.get_or_insert_default().retain(|held| held.role != *role);
            }
            Step::CloseWrites | Step::CloseReturned => {
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
                if *takeover == Takeover::Lost {
                    self.receiving = Some(false);
                }
                self.forget_positions(now);
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
                self.semi_sync.stopped = false;
                self.memory.holding = false;
                self.receiving = Some(true);
            }
            Step::Approach(id, _) => self.end_approach(*id, Ok(())),
            Step::KillServer => self.lease.killed = true,
            Step::Follow { .. }
            | Step::LeaveGtid { .. }
            | Step::GoPastTear { .. }
            | Step::StopApplying
            | Step::StartThreads(_)
            | Step::SetSemiSync { .. }
            | Step::ReceiveAnew
            | Step::LetGo
            | Step::FetchTail(_)
            | Step::ApplyTail(_) => {}
        }
    }

    /// Positions that were read while there was more to apply say nothing about what this server has: compared with what the old
    /// writer wrote, they would make a loss of what is here.
    pub(super) fn forget_positions(&mut self, now: Moment) {
        // A look of this very moment may have come before.
        self.believe_from = now + Duration::from_nanos(1);
        self.gtid = None;
    }

    fn see_address(&mut self, role: &Role, lifetime: Lifetime) {
        let addresses = self.addresses.get_or_insert_default();
        addresses.retain(|held| held.role != *role);
        let permanent = lifetime == Lifetime::Forever;
        addresses.insert(HeldAddress { role: role.clone(), ours: true, permanent });
        self.note_lifetimes([(role.clone(), lifetime)]);
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
            // The address is off: what a server that can't be killed still does reaches no client of the writer.
            Step::KillServer => self.lease.killed = true,
            Step::Approach(id, _) => {
                self.end_approach(*id, Err(why.to_owned()));
                return;
            }
            _ => {}
        }
        self.problem.insert(lane, text);
    }

    fn step_goes_on(&mut self, now: Moment, step: &Step, progress: String, actions: &mut Vec<AgentAction>) {
        if let Step::CatchUp(takeover) = step
            && self.ends_catch_up(now, takeover, &progress, actions)
        {
            self.problem.remove(&step.lane());
            return;
        }
        if self.tail_waits(now, step, &progress, actions) {
            return;
        }
        if let Step::Approach(id, _) = step {
            if self.approach.as_ref().is_none_or(|(wanted, until, _)| wanted == id && now >= *until) {
                self.end_approach(*id, Err(progress));
            }
            return;
        }
        let text = format!("Still to {}: {progress}", step.describe());
        if self.problem.insert(step.lane(), text.clone()).is_none() {
            actions.push(AgentAction::Log(LogLevel::Info, text));
        }
    }
}
