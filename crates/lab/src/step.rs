//! Programs killed at a step, not at a time: at the n-th call of the kernel by which they say something to others or make a
//! file durable. What they have done before is done, and that call is not.
//!
//! `strace` counts the calls and sends the signal. It counts for each thread of the program on its own.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::error::{LabError, Result};
use crate::host::Program;
use crate::lab::Lab;
use crate::process::ProcessId;
use crate::wait::wait_for;

const ATTACH_LIMIT: Duration = Duration::from_secs(10);
const DETACH_LIMIT: Duration = Duration::from_secs(1);

/// The calls at which a program may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Something said to a server, to the kernel's network or to another program.
    Say,
    /// A file made durable.
    Sync,
    /// A file put in the place of another.
    Rename,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Say => "sendto",
            Self::Sync => "fdatasync,fsync",
            Self::Rename => "rename",
        }
    }
}

/// A program that is to be killed at a step; it is spared when this is dropped before.
#[derive(Debug)]
pub struct Doomed {
    victim: ProcessId,
    tracer: Child,
}

fn tracer_of(task: &std::path::Path) -> bool {
    let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
}

impl Doomed {
    /// Whether it has been killed.
    pub fn is_dead(&self) -> bool {
        !self.victim.is_alive()
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(tracer) = i32::try_from(self.tracer.id()).ok().and_then(ProcessId::of) {
            // It lets go of the program and ends; where it waits for a thread that has died, the kernel lets go for it.
            tracer.signal(Signal::INT);
            if !tracer.wait_end(DETACH_LIMIT) {
                tracer.signal(Signal::KILL);
            }
        }
        let _ = self.tracer.wait();
    }
}

impl Lab {
    /// Kills a program's process at its n-th call of a kind from now on. Of an agent it is the worker.
    pub fn kill_at(&self, host: &str, program: Program, call: Call, nth: u32) -> Result<Doomed> {
        let mut victim = self.running(host, program)?;
        if program == Program::Agent {
            victim = victim.descendants().first().copied().ok_or_else(|| LabError::NotRunning {
                host: host.to_owned(),
                program: "agent's worker".to_owned(),
            })?;
        }
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e"])
            .arg(format!("trace={}", call.name()))
            .arg("-e")
            .arg(format!("inject={}:signal=KILL:when={nth}", call.name()))
            .args(["-p", &victim.pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|_| LabError::MissingPackage { program: "strace", package: "strace" })?;
        let doomed = Doomed { victim, tracer };
        wait_for(&format!("strace following {program} on {host}"), ATTACH_LIMIT, || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", victim.pid));
            let tasks: Vec<_> = tasks.into_iter().flatten().flatten().map(|task| task.path()).collect();
            // It may have died at its first calls already.
            if tasks.iter().all(|task| tracer_of(task)) { Ok(()) } else { Err(format!("{tasks:?}")) }
        })?;
        Ok(doomed)
    }
}
