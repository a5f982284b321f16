//! The parent (2.x: the angel): keeps a worker running, starts a new one at once when it died or hangs, and fences this
//! host when its lease ends while there is none.

use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_config::{Program, Settings};
use mmm_daemon::{PidFile, Reloads};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::fence::Fence;
use crate::heartbeat::Pulse;
use crate::options::Options;
use crate::reload::next_setup;
use crate::setup::Setup;
use crate::stand_in::{OwnHands, StandIn};
use crate::watchdog::Watchdog;

/// A worker that lived this long starts the back-off anew.
const WELL_AFTER: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A worker that does not end by itself within this time is killed.
const STOP_LIMIT: Duration = Duration::from_millis(1500);
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(setup: &Setup, options: &Options) -> Result<ExitCode> {
    let mut pid_file = PidFile::acquire(&setup.pid_path, "mmm_agentd")?;
    if pid_file.was_stale {
        tracing::warn!("Unclean start - found stale pid file!");
    }
    pid_file.publish()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(supervise(setup, options))
}

async fn supervise(setup: &Setup, options: &Options) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let mut reloads = Reloads::new(&options.daemon, Program::Agent).context("catch SIGHUP")?;
    let mut parent = Parent::new(setup, options)?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (must_start, start_at) = (parent.worker.is_none(), parent.start_at);
        tokio::select! {
            status = parent.worker_ended() => {
                if !parent.take_end(status?) {
                    return Ok(ExitCode::FAILURE);
                }
            }
            () = sleep_until(start_at), if must_start => parent.start_worker()?,
            (config, _) = reloads.next() => parent.reload(&config, options),
            _ = tick.tick() => parent.look().await,
            _ = terminate.recv() => return parent.stop().await,
            _ = interrupt.recv() => return parent.stop().await,
        }
    }
}

struct Worker {
    child: Child,
    born: Instant,
    pulse: Pulse,
    watchdog: Watchdog,
    /// Given up and sent SIGKILL. One that the kernel can't end yet must not get a second one beside it.
    is_killed: bool,
    /// It has not been told yet to read the configuration again.
    must_reload: bool,
}

struct Parent {
    setup: Setup,
    program: PathBuf,
    arguments: Vec<String>,
    worker: Option<Worker>,
    /// When there is no worker, the time for the next one.
    start_at: Instant,
    pause: Duration,
    /// When any worker was last heard of; the start of the parent before that.
    heard: Instant,
    has_heard: bool,
    stand_in: StandIn<OwnHands>,
}

impl Parent {
    fn new(setup: &Setup, options: &Options) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            setup: setup.clone(),
            // Asked for once: later the file may have been replaced by a newer one, and would count as deleted.
            program: std::env::current_exe().context("find our own program file")?,
            arguments: options.arguments_for_worker(),
            worker: None,
            start_at: now,
            pause: Duration::ZERO,
            heard: now,
            has_heard: false,
            stand_in: StandIn::new(OwnHands { setup: setup.clone(), fence: Fence::new(setup) }),
        })
    }

    /// An error only as long as no worker has ever lived. Later somebody has to be there to fence.
    fn start_worker(&mut self) -> Result<()> {
        match self.spawn_worker() {
            Ok(worker) => self.worker = Some(worker),
            Err(error) if !self.has_heard => return Err(error),
            Err(error) => {
                self.pause = next_pause(self.pause);
                self.start_at = Instant::now() + self.pause;
                mmm_daemon::fatal!("Can't {error:#}; trying again in {} ms", self.pause.as_millis());
            }
        }
        Ok(())
    }

    fn spawn_worker(&self) -> Result<Worker> {
        let (pulse, of_worker) = Pulse::pair().context("make a socket to hear of the worker by")?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::from(of_worker))
            .spawn()
            .with_context(|| format!("start the worker {}", self.program.display()))?;
        let born = Instant::now();
        Ok(Worker { child, born, pulse, watchdog: Watchdog::new(born), is_killed: false, must_reload: false })
    }

    async fn worker_ended(&mut self) -> Result<ExitStatus> {
        match &mut self.worker {
            Some(worker) => worker.child.wait().await.context("wait for the worker"),
            None => std::future::pending().await,
        }
    }

    /// Arranges for the next worker; `false` when that would be in vain.
    fn take_end(&mut self, status: ExitStatus) -> bool {
        let born = self.worker.take().map_or(self.start_at, |worker| worker.born);
        // A worker that says itself that it can't start would say so for ever. One that did start has left something
        // behind that must be looked after; what is in the way now may be a configuration being edited.
        if status.code() == Some(1) && !self.has_heard {
            tracing::error!("The worker could not start ({status}); see above for the reason. Ending");
            return false;
        }
        // The first restart comes at once; one that keeps dying must not eat the machine.
        self.pause = if born.elapsed() > WELL_AFTER { Duration::ZERO } else { next_pause(self.pause) };
        self.start_at = Instant::now() + self.pause;
        mmm_daemon::fatal!(
            "The worker has ended ({status}); starting it again in {} ms",
            self.pause.as_millis()
        );
        true
    }

    /// Listens for the worker's word, kills one that is silent, and fences where nobody else can.
    async fn look(&mut self) {
        let now = Instant::now();
        if let Some(worker) = &mut self.worker {
            let was_heard = worker.pulse.was_felt();
            if was_heard {
                self.heard = now;
                self.has_heard = true;
                // Not before: until it listens for the signal, that would end it.
                worker.reload_if_due();
            }
            if let Some(silent) = worker.watchdog.look(now, was_heard)
                && !worker.is_killed
            {
                worker.give_up(silent);
            }
        }
        self.stand_in.look(now, now - self.heard).await;
    }

    /// Fences by another configuration from now on, and has the worker go by it.
    fn reload(&mut self, config: &Settings, options: &Options) {
        match next_setup(config, options, &self.setup) {
            Ok(mut setup) => {
                // An address that is configured no longer may still be here when this host is to be fenced.
                for (ip, role) in std::mem::replace(&mut self.setup, setup.clone()).roles {
                    setup.roles.entry(ip).or_insert(role);
                }
                self.stand_in.follow(OwnHands { fence: Fence::new(&setup), setup });
                if let Some(worker) = &mut self.worker {
                    worker.must_reload = true;
                }
            }
            Err(error) => {
                tracing::error!("The new configuration is not taken in; nothing is changed: {error:#}");
            }
        }
    }

    async fn stop(mut self) -> Result<ExitCode> {
        tracing::info!("Signal received: exiting...");
        self.stand_in.finish(STOP_LIMIT).await;
        if let Some(worker) = self.worker {
            stop(worker.child).await?;
        }
        tracing::info!("END");
        Ok(ExitCode::SUCCESS)
    }
}

impl Worker {
    fn reload_if_due(&mut self) {
        if !std::mem::take(&mut self.must_reload) {
            return;
        }
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            // One that has just ended is started again with the new configuration.
            let _ = kill_process(pid, Signal::HUP);
        }
    }

    fn give_up(&mut self, silent: Duration) {
        self.is_killed = true;
        mmm_daemon::fatal!(
            "The worker (pid {}) has given no sign of life for {} ms: killing it, to start it again",
            self.child.id().unwrap_or_default(),
            silent.as_millis()
        );
        if let Err(error) = self.child.start_kill() {
            mmm_daemon::fatal!("Can't kill the worker: {error}");
        }
    }
}

fn next_pause(pause: Duration) -> Duration {
    if pause.is_zero() { Duration::from_millis(20) } else { (pause * 2).min(PAUSE_MAX) }
}

async fn stop(mut worker: Child) -> Result<()> {
    if let Some(pid) = worker.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
        // A worker that has just ended needs no signal.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(STOP_LIMIT, worker.wait()).await.is_err() {
        tracing::warn!("The worker did not end within {} ms: killing it", STOP_LIMIT.as_millis());
        worker.kill().await.context("kill the worker")?;
    }
    Ok(())
}
