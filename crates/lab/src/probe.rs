//! The write probe as seen from outside: started on the client host as a process of its own, read, stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::error::{LabError, Result, at};
use crate::host::{CLIENT, WRITER};
use crate::lab::Lab;
use crate::moment::Moment;
use crate::process::ProcessId;
use crate::record::{Attempt, Record};
use crate::state::ProbeState;
use crate::wait::wait_for;

/// Rows of different runs are told apart by their numbers.
const NUMBERS_PER_RUN: u64 = 1_000_000_000;

/// The usual pace.
const EVERY: Duration = Duration::from_millis(5);

/// A probe that was started.
#[derive(Clone, Debug)]
pub struct Probe {
    process: ProcessId,
    record: PathBuf,
}

impl Lab {
    /// Starts a write probe through the writer's address.
    pub fn start_probe(&self) -> Result<Probe> {
        self.start_probe_to(WRITER)
    }

    /// Starts a write probe through any address; returns once its first attempt is on record.
    pub fn start_probe_to(&self, target: &str) -> Result<Probe> {
        self.start_probe_on(CLIENT, target)
    }

    /// Starts a write probe on any host. Any number of them may run at once; no two write the same row.
    pub fn start_probe_on(&self, host: &str, target: &str) -> Result<Probe> {
        self.start_probe_every(host, target, EVERY)
    }

    /// As [`Lab::start_probe_on`], with a pace of its own: several probes at full pace write more than a replica of a small
    /// machine can apply.
    pub fn start_probe_every(&self, host: &str, target: &str, every: Duration) -> Result<Probe> {
        let host = self.host(host)?;
        let program = self.program("mmm_lab")?;
        let dir = self.dir.join("probes");
        at(fs::create_dir_all(&dir), "cannot create", &dir)?;
        let probe = self.store.update(|state| {
            let run = u64::try_from(state.probes.len()).unwrap_or(u64::MAX);
            let record = dir.join(format!("{run}.record"));
            let first = run * NUMBERS_PER_RUN + 1;
            let argv = [
                program.to_string_lossy().into_owned(),
                "probe-run".to_owned(),
                "--target".to_owned(),
                target.to_owned(),
                "--first".to_owned(),
                first.to_string(),
                "--every-ms".to_owned(),
                every.as_millis().to_string(),
                "--record".to_owned(),
                record.to_string_lossy().into_owned(),
            ];
            let process = self.spawn(host, &argv, &dir.join(format!("{run}.log")))?;
            state.started.push(process);
            state.probes.push(ProbeState { process, record: record.clone() });
            Ok(Probe { process, record })
        })?;
        wait_for("the probe's first attempt", Duration::from_secs(10), || {
            let made = probe.record().map_err(|error| error.to_string())?.attempts.len();
            if made > 0 { Ok(()) } else { Err("no attempt yet".to_owned()) }
        })?;
        Ok(probe)
    }

    /// The probe that was started last, running or not.
    pub fn last_probe(&self) -> Result<Probe> {
        let state = self.store.read()?;
        let probe = state.probes.last().ok_or(LabError::NoProbe)?;
        Ok(Probe { process: probe.process, record: probe.record.clone() })
    }
}

impl Probe {
    /// The record as far as it is written.
    pub fn record(&self) -> Result<Record> {
        Record::read(&self.record)
    }

    pub fn record_path(&self) -> &Path {
        &self.record
    }

    pub fn is_running(&self) -> bool {
        self.process.is_alive()
    }

    /// Ends the probe and gives its whole record; one that has ended already is no error.
    pub fn stop(&self) -> Result<Record> {
        self.process.signal(Signal::TERM);
        if !self.process.wait_end(Duration::from_secs(5)) {
            return Err(LabError::Timeout {
                what: "the probe's end".to_owned(),
                limit: Duration::from_secs(5),
                last: format!("process {} is still there", self.process.pid),
            });
        }
        self.record()
    }

    /// Waits until a write is acknowledged after a moment.
    pub fn wait_write(&self, after: Moment, limit: Duration) -> Result<Attempt> {
        self.wait_attempt("a write being acknowledged", limit, |attempt| {
            attempt.end > after && attempt.is_acknowledged()
        })
    }

    /// Waits until a write is acknowledged by this server after a moment.
    pub fn wait_write_by(&self, server_id: u32, after: Moment, limit: Duration) -> Result<Attempt> {
        self.wait_attempt(&format!("a write being acknowledged by server {server_id}"), limit, |attempt| {
            attempt.end > after && attempt.server_id == Some(server_id)
        })
    }

    /// Waits for an attempt that satisfies a condition.
    pub fn wait_attempt(
        &self,
        what: &str,
        limit: Duration,
        accept: impl Fn(&Attempt) -> bool,
    ) -> Result<Attempt> {
        wait_for(what, limit, || {
            let record = self.record().map_err(|error| error.to_string())?;
            match record.attempts.iter().find(|attempt| accept(attempt)) {
                Some(attempt) => Ok(attempt.clone()),
                None => Err(record.attempts.last().map_or("nothing".to_owned(), ToString::to_string)),
            }
        })
    }
}
