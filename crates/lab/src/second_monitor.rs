//! A second monitor, on a host that is not meant to have one: what an operator does by mistake.

use std::time::Duration;

use rustix::process::Signal;

use crate::command::Output;
use crate::error::{LabError, Result};
use crate::host::{MON, Program};
use crate::lab::Lab;
use crate::process::ProcessId;
use crate::settings::ConfigFile;
use crate::wait::wait_for;

const END_LIMIT: Duration = Duration::from_secs(10);

/// A monitor that runs beside the lab's own, with a copy of its configuration and files of its own. It ends with the lab at the
/// latest; [`SecondMonitor::end`] ends it earlier.
#[derive(Debug)]
pub struct SecondMonitor<'a> {
    lab: &'a Lab,
    host: String,
    process: ProcessId,
}

impl Lab {
    /// Starts a second monitor on a host that has none.
    pub fn start_second_monitor(&self, host: &str) -> Result<SecondMonitor<'_>> {
        let on = self.host(host)?;
        if Program::Monitor.belongs_on(on.kind) {
            return Err(LabError::Other(format!(
                "{host} is the monitor's own host: start a second one elsewhere"
            )));
        }
        for file in [ConfigFile::Common, ConfigFile::Monitor, ConfigFile::Three] {
            if let Some(text) = self.find_config(MON, file)? {
                self.write_config(host, file, &text)?;
            }
        }
        let program = self.program(Program::Monitor.executable())?.to_string_lossy().into_owned();
        let process = self.store.update(|state| {
            let process = self.spawn(on, &[program], &on.output_file(Program::Monitor))?;
            state.started.push(process);
            Ok(process)
        })?;
        Ok(SecondMonitor { lab: self, host: host.to_owned(), process })
    }
}

impl SecondMonitor<'_> {
    pub fn is_running(&self) -> bool {
        self.process.is_alive()
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        self.lab.log(&self.host, Program::Monitor)
    }

    /// Waits for words in its log, and gives the line.
    pub fn wait_log(&self, words: &str, limit: Duration) -> Result<String> {
        wait_for(&format!("`{words}` in the log of the second monitor"), limit, || {
            let log = self.log().map_err(|error| error.to_string())?;
            log.lines().find(|line| line.contains(words)).map(str::to_owned).ok_or(log)
        })
    }

    /// `mmm_control` with these words, answered by this monitor.
    pub fn control(&self, words: &[&str]) -> Result<Output> {
        self.lab.control_on(&self.host, words)
    }

    /// Kills it and waits for its end.
    pub fn end(self) -> Result<()> {
        self.process.signal(Signal::KILL);
        if self.process.wait_end(END_LIMIT) {
            return Ok(());
        }
        Err(LabError::Timeout {
            what: format!("the end of the second monitor on {}", self.host),
            limit: END_LIMIT,
            last: format!("process {} is still there", self.process.pid),
        })
    }
}
