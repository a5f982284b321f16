//! The worker: starts the parts, feeds the mind with what they see and gives out what it wants done.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mmm_core::{AgentAction, AgentEvent, AgentMind, AgentStatus, Lane, Moment, Role, Step, StepOutcome};
use mmm_net::ANNOUNCE_SCHEDULE;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::addresses::AddressLane;
use crate::heartbeat;
use crate::listener::Listener;
use crate::memory;
use crate::server_steps::ServerLane;
use crate::setup::Setup;
use crate::watch::ServerWatch;

/// Events wait here while one is taken in, which takes microseconds.
const EVENTS_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(setup: &Setup) -> Result<ExitCode> {
    // Without its parent a worker would go on beside the one that the next parent starts: two minds on one host.
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("tie this worker to its parent")?;
    if rustix::process::getppid() != parent {
        bail!("the parent of this worker ended while it started");
    }
    mmm_daemon::raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work(setup))
}

struct Worker<'a> {
    setup: &'a Setup,
    boot_id: String,
    mind: AgentMind,
    zero: Instant,
    address_steps: mpsc::Sender<Step>,
    server_steps: mpsc::Sender<Step>,
    events: mpsc::Sender<AgentEvent>,
    reports: watch::Sender<AgentStatus>,
    announcements: BTreeMap<Role, JoinHandle<()>>,
}

async fn work(setup: &Setup) -> Result<ExitCode> {
    tracing::info!("STARTING...");
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let boot_id = mmm_net::boot_id().context("read the identity of this boot")?;
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let zero = Instant::now();
    let (address_steps, address_inbox) = mpsc::channel(1);
    let (server_steps, server_inbox) = mpsc::channel(1);
    let memory = memory::load(&setup.state_path, &boot_id);
    let mind = AgentMind::new(setup.mind.clone(), memory);
    let first = AgentStatus { boot_id: boot_id.clone(), ..mind.status() };
    let (reports, reported) = watch::channel(first);
    start_parts(setup, zero, &events, address_inbox, server_inbox, reported)?;

    let mut worker = Worker {
        setup,
        boot_id,
        mind,
        zero,
        address_steps,
        server_steps,
        events,
        reports,
        announcements: BTreeMap::new(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            event = inbox.recv() => event.context("no part of the agent is left")?,
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

fn start_parts(
    setup: &Setup,
    zero: Instant,
    events: &mpsc::Sender<AgentEvent>,
    address_steps: mpsc::Receiver<Step>,
    server_steps: mpsc::Receiver<Step>,
    reports: watch::Receiver<AgentStatus>,
) -> Result<()> {
    let kernel = mmm_net::Addresses::open().context("open netlink to manage addresses")?;
    let lane = AddressLane::new(kernel, setup.interface.clone(), setup.roles.clone(), events.clone());
    tokio::spawn(lane.run(address_steps));
    let lane = ServerLane::new(setup.server, setup.account.clone(), setup.own_users.clone(), events.clone());
    tokio::spawn(lane.run(server_steps));
    let watch = ServerWatch::new(
        setup.server,
        setup.account.clone(),
        setup.server_pid_file.clone(),
        zero,
        events.clone(),
    );
    tokio::spawn(watch.run());
    let listener = Listener { setup: Arc::new(setup.clone()), events: events.clone(), reports };
    tokio::spawn(listener.run());
    Ok(())
}

impl Worker<'_> {
    fn take_in(&mut self, event: AgentEvent) {
        let now = Moment::from(self.zero.elapsed());
        for action in self.mind.step(now, event) {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: AgentAction) {
        match action {
            AgentAction::Do(step) => self.begin(step),
            AgentAction::Announce(role) => self.announce(role),
            AgentAction::Report(status) => {
                let status = AgentStatus { boot_id: self.boot_id.clone(), ..*status };
                self.reports.send_replace(status);
            }
            AgentAction::Save(memory) => memory::save(&self.setup.state_path, &self.boot_id, &memory),
            AgentAction::Log(level, text) => mmm_daemon::log(level, &text),
        }
    }

    fn begin(&mut self, step: Step) {
        if let Step::DropAddress(role) = &step
            && let Some(running) = self.announcements.remove(role)
        {
            running.abort();
        }
        let lane = match step.lane() {
            Lane::Address => &self.address_steps,
            Lane::Server => &self.server_steps,
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
