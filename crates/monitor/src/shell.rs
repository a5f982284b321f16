//! The task that owns the mind: events come in from all parts, actions go out to them. No action waits for a host.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_core::{Action, Cluster, Event, HostName, Moment, MonitorState, Restored, ToAgent};
use mmm_daemon::{PidFile, SlotWriter};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::checkups::Checkups;
use crate::control::{Command, ControlPort};
use crate::doctor::Doctor;
use crate::kill_host::kill_host;
use crate::network::NetworkCheck;
use crate::sessions::AgentSession;
use crate::setup::Setup;
use crate::{epoch_file, pairs, probes, status_file};

/// Events wait here while one is taken in, which takes microseconds.
const EVENTS_MAX: usize = 1024;
/// Messages to one agent; a session that lets so many pile up is dead.
const MESSAGES_MAX: usize = 64;
const TICK: Duration = Duration::from_millis(200);
/// The last states are written within this time at the end.
const LAST_WRITE_LIMIT: Duration = Duration::from_secs(1);

/// What every part shares with the task that owns the mind.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    pub(crate) setup: Arc<Setup>,
    pub(crate) events: mpsc::Sender<Event>,
    /// Zero point of the mind's time, on the clock that goes on while the host is suspended: leases do too.
    zero: Duration,
    /// Number of the state that this monitor goes by.
    pub(crate) lineage: u64,
    /// Whether the network check has ever got an answer.
    pub(crate) network: watch::Receiver<bool>,
    /// The doctor's way to each agent.
    pub(crate) checkups: Arc<BTreeMap<HostName, Checkups>>,
}

impl Wiring {
    pub(crate) fn now(&self) -> Moment {
        let uptime = mmm_net::uptime().expect("each kernel that runs these programs has a boot clock");
        Moment::from(uptime.saturating_sub(self.zero))
    }

    /// Waits until the monitor's own network has been seen to work: what fails before proves nothing.
    pub(crate) async fn network_was_there(&mut self) {
        // Fails when the network check has ended, and then the monitor is ending too.
        let _ = self.network.wait_for(|seen| *seen).await;
    }
}

#[cfg(test)]
impl Wiring {
    /// What a part needs that runs alone, and the events it sends.
    pub(crate) fn for_test(setup: Setup) -> (Self, mpsc::Receiver<Event>) {
        let (events, told) = mpsc::channel(EVENTS_MAX);
        let (_, network) = watch::channel(true);
        let zero = mmm_net::uptime().expect("each kernel that runs these programs has a boot clock");
        let checkups = Arc::default();
        (Self { setup: Arc::new(setup), events, zero, lineage: 1, network, checkups }, told)
    }
}

struct Shell {
    wiring: Wiring,
    mind: Cluster,
    agents: BTreeMap<HostName, mpsc::Sender<ToAgent>>,
    /// Clients of the control port that wait for an answer.
    waiting: BTreeMap<u64, oneshot::Sender<String>>,
    status: watch::Sender<String>,
    epochs: mpsc::Sender<(u64, MonitorState)>,
}

pub(crate) fn run(setup: Setup, pid_file: &mut PidFile) -> Result<ExitCode> {
    mmm_daemon::raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let code = runtime.block_on(serve(setup, pid_file));
    // A write that hangs on its disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn serve(setup: Setup, pid_file: &mut PidFile) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    tracing::info!("STARTING...");
    for warning in setup.transport.warnings() {
        tracing::warn!("{warning}");
    }
    let setup = Arc::new(setup);
    let restored = restore(&setup);
    let found = epoch_file::load(&setup.epoch_path, &setup.epoch_owner);
    let zero = mmm_net::uptime().context("read the time since boot")?;
    let mind = Cluster::new(setup.mind.clone(), restored, found, Moment::ZERO);
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let (commands, mut orders) = mpsc::channel(EVENTS_MAX);
    let (seen, network) = watch::channel(false);
    let checkups = setup.hosts.iter().map(|host| (host.name.clone(), Checkups::default())).collect();
    let wiring = Wiring {
        setup: Arc::clone(&setup),
        events,
        zero,
        lineage: mind.lineage(),
        network,
        checkups: Arc::new(checkups),
    };
    // Bound before anything else begins: a monitor that nobody can talk to must not start.
    let port = ControlPort::bind(&setup, commands).await?;
    tokio::spawn(port.run());
    pid_file.publish()?;
    let (status, statuses) = watch::channel(String::new());
    let mut writer = tokio::spawn(status_file::write_changes(setup.status_path.clone(), statuses));
    let (epochs, new_epochs) = mpsc::channel(epoch_file::STATES_MAX);
    let file = SlotWriter::new(setup.epoch_path.clone(), setup.epoch_owner.clone());
    let mut epoch_writer = tokio::spawn(epoch_file::write_states(file, new_epochs, wiring.events.clone()));
    let agents = start_parts(&wiring, seen);
    let doctor = Doctor::start(&wiring);
    let mut shell = Shell { wiring, mind, agents, waiting: BTreeMap::new(), status, epochs };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_client = 0;
    loop {
        let event = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            event = inbox.recv() => event.context("no part of the monitor is left")?,
            Some(Command { line, answer }) = orders.recv() => {
                if let Some(of) = Doctor::is_asked(&line) {
                    doctor.answer(of, answer);
                    continue;
                }
                next_client += 1;
                shell.waiting.insert(next_client, answer);
                Event::Commanded { client: next_client, line }
            }
            _ = tick.tick() => Event::Tick,
        };
        shell.take_in(event);
    }
    tracing::info!("Signal received: exiting...");
    drop(shell);
    drop(inbox);
    if timeout(LAST_WRITE_LIMIT, async { tokio::join!(&mut writer, &mut epoch_writer) }).await.is_err() {
        tracing::warn!(
            "The status file and the epoch file could not both be written within {} s",
            LAST_WRITE_LIMIT.as_secs()
        );
    }
    tracing::info!("END");
    Ok(ExitCode::SUCCESS)
}

fn restore(setup: &Setup) -> Option<Restored> {
    let path = &setup.status_path;
    let Ok(text) = std::fs::read_to_string(path) else {
        mmm_daemon::fatal!(
            "Couldn't open status file '{}': Starting up without status information.",
            path.display()
        );
        return None;
    };
    let (restored, odd) = Restored::parse(&text);
    for line in odd {
        tracing::warn!("The status file {} has a line that makes no sense: '{line}'", path.display());
    }
    Some(restored)
}

fn start_parts(wiring: &Wiring, seen: watch::Sender<bool>) -> BTreeMap<HostName, mpsc::Sender<ToAgent>> {
    tracing::info!("Waiting for network connection...");
    tokio::spawn(NetworkCheck::new(wiring, seen).run());
    tokio::spawn(pairs::check_auto_increment(wiring.clone()));
    let mut agents = BTreeMap::new();
    for host in &wiring.setup.hosts {
        probes::start(wiring, host);
        let (messages, inbox) = mpsc::channel(MESSAGES_MAX);
        agents.insert(host.name.clone(), messages);
        tokio::spawn(AgentSession { wiring: wiring.clone(), host: host.clone() }.run(inbox));
    }
    agents
}

impl Shell {
    fn take_in(&mut self, event: Event) {
        for action in self.mind.step(self.wiring.now(), event) {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tell { host, message } => {
                let Some(agent) = self.agents.get(&host) else { return };
                if agent.try_send(message).is_err() {
                    tracing::warn!(
                        "The agent on host '{host}' takes no more messages; it is told again when its session is renewed"
                    );
                }
            }
            Action::KillHost { host, ping, epoch } => {
                tokio::spawn(kill_host(self.wiring.clone(), host, ping, epoch));
            }
            Action::SaveState { number, state } => {
                if self.epochs.try_send((number, state)).is_err() {
                    // The mind waits for each state before it hands in the next, so this is a task that has died.
                    let outcome = Err("this part of the monitor does not answer".to_owned());
                    let events = self.wiring.events.clone();
                    tokio::spawn(async move { events.send(Event::StateSaved { number, outcome }).await });
                }
            }
            Action::Answer { client, text } => {
                // A client that went away meanwhile needs no answer.
                if let Some(waiting) = self.waiting.remove(&client) {
                    let _ = waiting.send(text);
                }
            }
            Action::SaveStatus(text) => {
                self.status.send_replace(text);
            }
            Action::Log(level, text) => mmm_daemon::log(level, &text),
        }
        self.waiting.retain(|_, waiting| !waiting.is_closed());
    }
}
