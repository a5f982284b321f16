//! The worker: starts the parts, feeds the mind with what they see and gives out what it wants done.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mmm_config::Program;
use mmm_core::rebuild::{RebuildOrder, RebuildStage, RebuildStatus};
use mmm_core::{AgentAction, AgentEvent, AgentMind, AgentStatus, Lane, OrderId, Role, Step, StepOutcome};
use mmm_daemon::{Reloads, Seldom};
use mmm_net::ANNOUNCE_SCHEDULE;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::addresses::AddressLane;
use crate::clock::{self, WallClock};
use crate::diverged::Diverged;
use crate::doctor;
use crate::epoch_file::{self, EpochFile};
use crate::heartbeat;
use crate::holder::Holder;
use crate::line_port::{LineAskers, LinePort, LineRules};
use crate::listener::Listener;
use crate::memory::{self, MemoryFile};
use crate::peer_calls::PeerCalls;
use crate::peer_port::{Askers, PeerPort};
use crate::process_lane::ProcessLane;
use crate::rebuild::{BackupDesk, Journal, Rebuilds, journal_path, status_of};
use crate::reload::Files;
use crate::salvage::{LogKeeper, SalvagePaths, TailDesk};
use crate::server_steps::ServerLane;
use crate::session::Desk;
use crate::setup::Setup;
use crate::survey;
use crate::watch::ServerWatch;
use crate::write_watch::WriteWatch;

/// Events wait here while one is taken in, which takes microseconds.
const EVENTS_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(setup: &Setup, files: Files) -> Result<ExitCode> {
    // Without its parent a worker would go on beside the one that the next parent starts: two minds on one host.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("tie this worker to its parent")?;
    // The kernel says nothing of one that had ended before.
    if !heartbeat::has_parent() {
        bail!("the parent of this worker ended while it started");
    }
    mmm_daemon::raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work(setup, files))
}

pub(crate) struct Worker {
    pub(crate) files: Files,
    pub(crate) setup: Arc<Setup>,
    /// The same for all parts, each of which follows it.
    pub(crate) setups: watch::Sender<Arc<Setup>>,
    pub(crate) server_pid_file: watch::Sender<PathBuf>,
    /// The last look at the server that was ordered.
    looks: watch::Sender<OrderId>,
    boot_id: String,
    mind: AgentMind,
    wall_clock: WallClock,
    memory: MemoryFile,
    epoch_file: EpochFile,
    lanes: Lanes,
    holder: Arc<Holder>,
    begun: watch::Sender<u64>,
    pub(crate) calls: PeerCalls,
    askers: Arc<Askers>,
    line_askers: Arc<LineAskers>,
    pub(crate) line_rules: watch::Sender<Arc<LineRules>>,
    pub(crate) events: mpsc::Sender<AgentEvent>,
    reports: watch::Sender<AgentStatus>,
    diverged: Diverged,
    rebuilds: Rebuilds,
    may_probe: watch::Sender<bool>,
    announcements: BTreeMap<Role, JoinHandle<()>>,
}

/// Where the steps of each lane go.
struct Lanes {
    address: mpsc::Sender<Step>,
    server: mpsc::Sender<Step>,
    process: mpsc::Sender<Step>,
}

async fn work(setup: &Setup, files: Files) -> Result<ExitCode> {
    let mut reloads = Reloads::new(&files.options.daemon, Program::Agent).context("catch SIGHUP")?;
    tracing::info!("STARTING...");
    for warning in setup.transport.warnings() {
        tracing::warn!("{warning}");
    }
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let mut worker = Worker::start(Arc::new(setup.clone()), files, events)?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            event = inbox.recv() => event.context("no part of the agent is left")?,
            (config, _) = reloads.next() => {
                worker.reload(config);
                continue;
            }
            _ = tick.tick() => {
                heartbeat::beat();
                AgentEvent::Tick
            }
        };
        worker.take_in(event);
    }
    // Addresses and read-only stay as they are: stopping an agent is no reason to interrupt anybody.
    tracing::info!("Signal received: exiting...");
    Ok(ExitCode::SUCCESS)
}

fn start_lanes(
    setup: &watch::Receiver<Arc<Setup>>,
    pid_file: watch::Receiver<PathBuf>,
    looks: watch::Receiver<OrderId>,
    reported: watch::Receiver<AgentStatus>,
    events: &mpsc::Sender<AgentEvent>,
    keeper: Arc<LogKeeper>,
) -> Result<Lanes> {
    let kernel = mmm_net::Addresses::open().context("open netlink to manage addresses")?;
    let (address, steps) = mpsc::channel(1);
    let lane = AddressLane::new(kernel, setup.clone(), events.clone());
    tokio::spawn(lane.run(steps));
    let (server, steps) = mpsc::channel(1);
    let lane = ServerLane::new(setup.clone(), events.clone());
    tokio::spawn(lane.run(steps));
    let (name, named) = watch::channel(None);
    let (process, steps) = mpsc::channel(1);
    let lane = ProcessLane { pid_file, named, events: events.clone() };
    tokio::spawn(lane.run(steps));
    let watch = ServerWatch::new(setup.clone(), looks, reported, events.clone(), name, keeper);
    tokio::spawn(watch.run());
    Ok(Lanes { address, server, process })
}

impl Worker {
    fn start(setup: Arc<Setup>, files: Files, events: mpsc::Sender<AgentEvent>) -> Result<Self> {
        mmm_net::uptime().context("read the time since boot")?;
        let boot_id = mmm_net::boot_id().context("read the identity of this boot")?;
        let memory = memory::load(&setup.state_path, &boot_id);
        let stored = epoch_file::load(&setup.epoch_path, &setup.epoch_owner);
        // A state file of this boot knows more: a monitor of 2.2.1 gives the role without an epoch.
        let rebooted =
            memory.is_none() && stored.as_ref().is_some_and(|stored| stored.is_of_an_earlier_boot(&boot_id));
        let durable = stored.map(|stored| stored.durable);
        let length = memory.as_ref().and_then(|memory| memory.order.as_ref());
        let length = length.map(|order| order.terms.length).unwrap_or_default();
        let mut mind = AgentMind::new(setup.mind.clone(), memory, durable, clock::now());
        if rebooted {
            mind.note_boot();
        }
        let rebuild = Journal::load(&journal_path(&setup));
        if let Some(status) = status_of(&rebuild, &setup) {
            mind.resume_rebuild(status);
        }
        let saved = rebuild.as_ref().ok().and_then(|rebuild| rebuild.as_ref()?.saved.clone());
        let first = AgentStatus { boot_id: boot_id.clone(), saved, ..mind.status() };
        let (reports, reported) = watch::channel(first);
        let (begun, has_begun) = watch::channel(0);
        let (holder, askers) = (Arc::new(Holder::new(length)), Arc::new(Askers::default()));
        let line_askers = Arc::new(LineAskers::default());
        let (line_rules, rules) = watch::channel(Arc::new(LineRules::new(&setup)));
        let (setups, current) = watch::channel(Arc::clone(&setup));
        let (server_pid_file, pid_file) = watch::channel(setup.server_pid_file.clone());
        let (looks, ordered) = watch::channel(OrderId::default());
        let keeper = Arc::new(LogKeeper::load(&SalvagePaths::beside(&setup.epoch_path).log));
        let lanes = start_lanes(&current, pid_file, ordered, reported.clone(), &events, Arc::clone(&keeper))?;
        let tails = TailDesk::new(keeper, setup.instance);
        let backups = BackupDesk::new(current.clone(), setup.instance);
        let listener = Listener {
            setup: current.clone(),
            holder: Arc::clone(&holder),
            peers: PeerPort::new(setup.peers.keys(), Arc::clone(&askers), tails, backups, events.clone()),
            lines: LinePort::new(setup.host.clone(), rules, Arc::clone(&line_askers), events.clone()),
            desk: Desk {
                events: events.clone(),
                reports: reported,
                begun: has_begun,
                surgery: doctor::start(current.clone()),
                surveyor: survey::start(current.clone()),
            },
            refusals: Seldom::default(),
        };
        tokio::spawn(listener.run());
        let (may_probe, may) = watch::channel(false);
        tokio::spawn(WriteWatch::new(current.clone(), may, events.clone()).run());
        let rebuilds = Rebuilds::start(current.clone(), rebuild, events.clone());
        Ok(Self {
            memory: MemoryFile::new(setup.state_path.clone(), boot_id.clone()),
            epoch_file: EpochFile::start(
                setup.epoch_path.clone(),
                setup.epoch_owner.clone(),
                boot_id.clone(),
                events.clone(),
            ),
            calls: PeerCalls::start(&setup, &events),
            wall_clock: WallClock::default(),
            announcements: BTreeMap::new(),
            files,
            setup,
            setups,
            server_pid_file,
            looks,
            boot_id,
            mind,
            lanes,
            holder,
            begun,
            askers,
            line_askers,
            line_rules,
            events,
            rebuilds,
            diverged: Diverged::start(current, reports.clone()),
            reports,
            may_probe,
        })
    }

    pub(crate) fn take_in(&mut self, event: AgentEvent) {
        if let AgentEvent::Ordered(order) = &event {
            // What was saved before is not in the data that come.
            if self.mind.has_own_data() {
                self.diverged.save(order.surplus.as_deref());
            }
        }
        let jump = self.wall_clock.look().map(|by| AgentEvent::ClockJumped { by });
        let mut events: VecDeque<AgentEvent> = jump.into_iter().chain([event]).collect();
        while let Some(event) = events.pop_front() {
            let began = match event {
                AgentEvent::SessionBegan { session, .. } => Some(session),
                _ => None,
            };
            for action in self.mind.step(clock::now(), event) {
                // What the mind is told at once it is told before anything else happens.
                events.extend(self.carry_out(action));
            }
            if let Some(session) = began {
                self.begun.send_replace(session);
            }
        }
        let may = self.mind.may_probe_writes(clock::now());
        self.may_probe.send_if_modified(|before| std::mem::replace(before, may) != may);
    }

    /// Returns what is already known of the outcome.
    fn carry_out(&mut self, action: AgentAction) -> Option<AgentEvent> {
        match action {
            AgentAction::Do(step) => self.begin(step),
            AgentAction::Announce(role) => self.announce(role),
            AgentAction::Look { id } => {
                self.looks.send_replace(id);
            }
            AgentAction::Report(status) => {
                self.reports.send_modify(|reported| {
                    let saved = reported.saved.take();
                    *reported = AgentStatus { boot_id: self.boot_id.clone(), saved, ..*status };
                });
            }
            AgentAction::Save { number, memory } => {
                let outcome = self.memory.save(&memory);
                return Some(AgentEvent::MemorySaved { number, outcome });
            }
            AgentAction::SaveDurable { number, durable } => self.epoch_file.write(number, durable),
            AgentAction::Renew { session, renewal } => {
                if !self.holder.renew(session, renewal) {
                    tracing::debug!(
                        "A renewal of epoch {} did not go out: its session is over",
                        renewal.epoch
                    );
                }
            }
            AgentAction::AskPeer { host, request } => self.calls.ask(&host, request),
            AgentAction::AnswerPeer { asker, answer } => self.askers.answer(asker, answer),
            AgentAction::AnswerLine { asker, answer } => self.line_askers.answer(asker, answer),
            AgentAction::Rebuild(order) => return self.begin_rebuild(order),
            AgentAction::Log(level, text) => mmm_daemon::log(level, &text),
        }
        None
    }

    fn begin_rebuild(&mut self, order: RebuildOrder) -> Option<AgentEvent> {
        let (id, from) = (order.id, order.from.clone());
        let (surplus, saved) = (self.diverged.wanted(), self.reports.borrow().saved.clone());
        let why = self.rebuilds.begin(order, surplus.as_ref(), saved).err()?;
        Some(AgentEvent::RebuildSeen(RebuildStatus { id, from, stage: RebuildStage::Failed(why) }))
    }

    fn begin(&mut self, step: Step) {
        if let Step::DropAddress(role) = &step
            && let Some(running) = self.announcements.remove(role)
        {
            running.abort();
        }
        let lane = match step.lane() {
            Lane::Address => &self.lanes.address,
            Lane::Server => &self.lanes.server,
            Lane::Process => &self.lanes.process,
        };
        if let Err(error) = lane.try_send(step) {
            // The mind begins one step a lane at a time, so this is a lane that has died.
            let (mpsc::error::TrySendError::Full(step) | mpsc::error::TrySendError::Closed(step)) = error;
            let outcome = StepOutcome::Failed("this part of the agent does not answer".to_owned());
            let events = self.events.clone();
            tokio::spawn(async move { events.send(AgentEvent::StepEnded { step, outcome }).await });
        }
    }

    fn announce(&mut self, role: Role) {
        let interface = self.setup.interface.clone();
        let address = role.ip();
        let task = tokio::spawn(async move {
            let began = Instant::now();
            for at in ANNOUNCE_SCHEDULE {
                sleep(at.saturating_sub(began.elapsed())).await;
                if let Err(error) = mmm_net::announce(&interface, address) {
                    tracing::warn!("Can't announce {address} on {interface}: {error}");
                    return;
                }
            }
        });
        if let Some(earlier) = self.announcements.insert(role, task) {
            earlier.abort();
        }
    }
}
