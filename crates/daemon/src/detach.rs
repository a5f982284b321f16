//! Going into the background for init scripts; service managers want the foreground.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit, setsid};

/// Given by a program to itself when it starts its detached self.
pub const DETACHED_FLAG: &str = "--detached";

/// A daemon that has not written its pid file by then did not start.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Starts this program again without a terminal and returns once that one has written its pid file.
pub fn detach(arguments: &[String], pid_file: &Path) -> Result<()> {
    let program = std::env::current_exe().context("find our own program file")?;
    let mut child = Command::new(&program)
        .args(arguments)
        .arg(DETACHED_FLAG)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {} in the background", program.display()))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("watch the background process")? {
            bail!(
                "the background process ended at once ({status}): see the log file, or start it without --daemon"
            );
        }
        let written = std::fs::read_to_string(pid_file).ok();
        if written.is_some_and(|pid| pid.trim() == child.id().to_string()) {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            bail!(
                "the background process (pid {}) has not written its pid file {} within {} s: see the log file",
                child.id(),
                pid_file.display(),
                START_LIMIT.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Leaves the session of the terminal. Called by the detached process first of all.
pub fn become_detached() {
    // Fails only for the leader of a process group, which a process started by `detach` never is.
    let _ = setsid();
}

/// Raises the limit on open files to what the system allows: a flood of connections must not use up what the sessions need.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A lower limit only means that a flood is noticed earlier.
    let _ = setrlimit(Resource::Nofile, limit);
}
