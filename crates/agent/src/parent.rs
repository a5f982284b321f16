//! The parent (2.x: the angel): keeps a worker running and starts a new one at once when it died.

use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_daemon::PidFile;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::options::Options;
use crate::setup::Setup;

/// A worker that lived this long starts the back-off anew.
const WELL_AFTER: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A worker that does not end by itself within this time is killed.
const STOP_LIMIT: Duration = Duration::from_millis(1500);

pub(crate) fn run(setup: &Setup, options: &Options) -> Result<ExitCode> {
    let mut pid_file = PidFile::acquire(&setup.pid_path, "mmm_agentd")?;
    if pid_file.was_stale {
        tracing::warn!("Unclean start - found stale pid file!");
    }
    pid_file.publish()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(supervise(options))
}

async fn supervise(options: &Options) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let mut pause = Duration::ZERO;
    loop {
        let born = Instant::now();
        let mut worker = start_worker(options)?;
        let status = tokio::select! {
            status = worker.wait() => status.context("wait for the worker")?,
            _ = terminate.recv() => return stop(worker).await,
            _ = interrupt.recv() => return stop(worker).await,
        };
        if !is_worth_another(status) {
            tracing::error!("The worker could not start ({status}); see above for the reason. Ending");
            return Ok(ExitCode::FAILURE);
        }
        // The first restart comes at once; one that keeps dying must not eat the machine.
        pause = if born.elapsed() > WELL_AFTER { Duration::ZERO } else { next_pause(pause) };
        mmm_daemon::fatal!("The worker has ended ({status}); starting it again in {} ms", pause.as_millis());
        tokio::select! {
            () = sleep(pause) => {}
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn start_worker(options: &Options) -> Result<Child> {
    let program = std::env::current_exe().context("find our own program file")?;
    Command::new(&program)
        .args(options.arguments_for_worker())
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start the worker {}", program.display()))
}

/// A worker that says itself that it can't start (status 1) would say so for ever.
fn is_worth_another(status: ExitStatus) -> bool {
    status.code() != Some(1)
}

fn next_pause(pause: Duration) -> Duration {
    if pause.is_zero() { Duration::from_millis(20) } else { (pause * 2).min(PAUSE_MAX) }
}

async fn stop(mut worker: Child) -> Result<ExitCode> {
    tracing::info!("Signal received: exiting...");
    if let Some(pid) = worker.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
        // A worker that has just ended needs no signal.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(STOP_LIMIT, worker.wait()).await.is_err() {
        tracing::warn!("The worker did not end within {} ms: killing it", STOP_LIMIT.as_millis());
        worker.kill().await.context("kill the worker")?;
    }
    tracing::info!("END");
    Ok(ExitCode::SUCCESS)
}
