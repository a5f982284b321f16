//! The task that owns the mind: events come in from all parts, actions go out to them. No action waits for a host.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_config::Program;
use mmm_core::{Action, Cluster, Event, HostName, Moment, MonitorState, Restored};
use mmm_daemon::{PidFile, Reloads, SlotWriter};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::checkups::AllCheckups;
use crate::control::{Command, ControlPort};
use crate::doctor::Doctor;
use crate::history::{self, History};
use crate::kill_host::kill_host;
use crate::network::NetworkCheck;
use crate::reload::{Files, Watched};
use crate::setup::Setup;
use crate::{epoch_file, pairs, status_file};

/// Events wait here while one is taken in, which takes microseconds.
const EVENTS_MAX: usize = 1024;
const TICK: Duration = Duration::from_millis(200);
/// The last states are written within this time at the end.
const LAST_WRITE_LIMIT: Duration = Duration::from_secs(1);

/// What every part shares with the task that owns the mind.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    /// Another one after each reload.
    pub(crate) setup: watch::Receiver<Arc<Setup>>,
    pub(crate) events: mpsc::Sender<Event>,
    /// Zero point of the mind's time, on the clock that goes on while the host is suspended: leases do too.
    zero: Duration,
    /// Number of the state that this monitor goes by.
    pub(crate) lineage: u64,
    /// Whether the network check has ever got an answer.
    pub(crate) network: watch::Receiver<bool>,
    /// The doctor's way to each agent.
    pub(crate) checkups: AllCheckups,
}

impl Wiring {
    /// As it is now.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.borrow())
    }

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
        let (_, setup) = watch::channel(Arc::new(setup));
        let zero = mmm_net::uptime().expect("each kernel that runs these programs has a boot clock");
        (Self { setup, events, zero, lineage: 1, network, checkups: AllCheckups::default() }, told)
    }
}

pub(crate) struct Shell {
    pub(crate) wiring: Wiring,
    pub(crate) mind: Cluster,
    pub(crate) files: Files,
    pub(crate) setups: watch::Sender<Arc<Setup>>,
    /// What goes on for each host.
    pub(crate) watched: BTreeMap<HostName, Watched>,
    /// Clients of the control port that wait for an answer.
    waiting: BTreeMap<u64, oneshot::Sender<String>>,
    status: watch::Sender<String>,
    epochs: mpsc::Sender<(u64, MonitorState)>,
    history: History,
    /// Lets the checks begin.
    network: watch::Sender<bool>,
}

pub(crate) fn run(setup: Setup, files: Files, pid_file: &mut PidFile) -> Result<ExitCode> {
    mmm_daemon::raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let code = runtime.block_on(serve(setup, files, pid_file));
    // A write that hangs on its disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn serve(setup: Setup, files: Files, pid_file: &mut PidFile) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let mut reloads = Reloads::new(&files.options.daemon, Program::Monitor).context("catch SIGHUP")?;
    tracing::info!("STARTING...");
    for warning in setup.transport.warnings() {
        tracing::warn!("{warning}");
    }
    let setup = Arc::new(setup);
    let restored = restore(&setup);
    let found = epoch_file::load(&setup.epoch_path, &setup.epoch_owner);
    let zero = mmm_net::uptime().context("read the time since boot")?;
    let mut mind = Cluster::new(setup.mind.clone(), restored, found, Moment::ZERO);
    let (history, unwritten) = History::load(&setup.history_path);
    mind.recall(Moment::ZERO, history.to_recall());
    let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
    let (commands, mut orders) = mpsc::channel(EVENTS_MAX);
    let (there, network) = watch::channel(false);
    let (setups, current) = watch::channel(Arc::clone(&setup));
    let wiring = Wiring {
        setup: current,
        events,
        zero,
        lineage: mind.lineage(),
        network,
        checkups: AllCheckups::default(),
    };
    // Bound before anything else begins: a monitor that nobody can talk to must not start.
    let port = ControlPort::bind(wiring.setup.clone(), commands).await?;
    tokio::spawn(port.run());
    pid_file.publish()?;
    let (status, statuses) = watch::channel(String::new());
    let mut writer = tokio::spawn(status_file::write_changes(setup.status_path.clone(), statuses));
    let (epochs, new_epochs) = mpsc::channel(epoch_file::STATES_MAX);
    let file = SlotWriter::new(setup.epoch_path.clone(), setup.epoch_owner.clone());
    let mut epoch_writer = tokio::spawn(epoch_file::write_states(file, new_epochs, wiring.events.clone()));
    let mut historian = tokio::spawn(history::write_changes(setup.history_path.clone(), unwritten));
    let watched = start_parts(&wiring);
    let doctor = Doctor::start(&wiring);
    let waiting = BTreeMap::new();
    let mut shell =
        Shell { wiring, mind, files, setups, watched, waiting, status, epochs, history, network: there };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_client = 0;
    loop {
        let event = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            event = inbox.recv() => event.context("no part of the monitor is left")?,
            Some(Command { line, answer }) = orders.recv() => {
                if let Some(question) = History::is_asked(&line) {
                    // A client that went away meanwhile needs no answer.
                    let _ = answer.send(shell.history.answer(&question));
                    continue;
                }
                if let Some(of) = Doctor::is_asked(&line) {
                    doctor.answer(of, answer);
                    continue;
                }
                next_client += 1;
                shell.waiting.insert(next_client, answer);
                Event::Commanded { client: next_client, line }
            }
            (config, began) = reloads.next() => {
                shell.reload(config, began);
                continue;
            }
            _ = tick.tick() => Event::Tick,
        };
        shell.take_in(event);
    }
    tracing::info!("Signal received: exiting...");
    drop(shell);
    drop(inbox);
    if timeout(LAST_WRITE_LIMIT, async { tokio::join!(&mut writer, &mut epoch_writer, &mut historian) })
        .await
        .is_err()
    {
        tracing::warn!(
            "The status file, the epoch file and the history could not all be written within {} s",
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

fn start_parts(wiring: &Wiring) -> BTreeMap<HostName, Watched> {
    tracing::info!("Waiting for network connection...");
    tokio::spawn(NetworkCheck::new(wiring).run());
    tokio::spawn(pairs::check_auto_increment(wiring.clone()));
    let setup = wiring.setup();
    setup.hosts.iter().map(|host| (host.name.clone(), Watched::start(wiring, host))).collect()
}

impl Shell {
    pub(crate) fn take_in(&mut self, event: Event) {
        let network = matches!(event, Event::NetworkChecked { reachable: true });
        for action in self.mind.step(self.wiring.now(), event) {
            self.carry_out(action);
        }
        if network {
            // Not before the mind knows of it: what a check finds that began earlier is not believed, and at the start all would wait
            // for the next run of it.
            self.network.send_if_modified(|there| !std::mem::replace(there, true));
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tell { host, message } => {
                let Some(watched) = self.watched.get(&host) else { return };
                if watched.messages.try_send(message).is_err() {
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
            Action::Record(record) => self.history.take_in(*record),
            Action::Dismiss { host } => {
                if let Some(watched) = self.watched.remove(&host) {
                    watched.end();
                }
                self.wiring.checkups.remove(&host);
            }
            Action::Log(level, text) => mmm_daemon::log(level, &text),
        }
        self.waiting.retain(|_, waiting| !waiting.is_closed());
    }
}
