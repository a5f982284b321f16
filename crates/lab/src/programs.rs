//! Starting programs on hosts and following them: the servers, the agents, the monitor.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::clock;
use crate::error::{LabError, Result, at};
use crate::holder::{enter, reap};
use crate::host::{Host, Program};
use crate::lab::Lab;
use crate::moment::Moment;
use crate::process::{Life, ProcessId};
use crate::wait::wait_for;

/// How long a server may take until it answers; a second is usual, but the machine may be busy with other labs.
const SERVER_LIMIT: Duration = Duration::from_mins(1);

impl Lab {
    fn argv(&self, program: Program) -> Result<Vec<String>> {
        let state = self.store.read()?;
        let moves = match program {
            Program::Server => state.movable_server_clocks,
            Program::Agent | Program::Monitor => state.movable_clocks,
        };
        let mut argv = if moves { clock::prefix(program)? } else { Vec::new() };
        match program {
            Program::Server => {
                argv.push(self.software.server().to_string_lossy().into_owned());
                argv.push("--defaults-file=/etc/mysql/my.cnf".to_owned());
            }
            Program::Agent | Program::Monitor => {
                argv.push(self.program(program.executable())?.to_string_lossy().into_owned());
            }
        }
        Ok(argv)
    }

    /// Starts a program inside the host as a process of its own session, its output appended to `output`, and records it.
    pub(crate) fn spawn(&self, host: &Host, argv: &[String], output: &Path) -> Result<ProcessId> {
        let open = || at(OpenOptions::new().create(true).append(true).open(output), "cannot open", output);
        let inner = {
            let mut inner = enter(&self.dir, host, self.holder(host)?);
            inner.args(argv);
            inner
        };
        // A session of its own, so that a terminal that goes away or an interrupt typed there does not reach it.
        let mut command = Command::new("setsid");
        command.arg(inner.get_program()).args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(key, value)| value.map(|value| (key, value))));
        command.current_dir("/").stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        let child = command.spawn().map_err(|source| LabError::Spawn { command: argv.join(" "), source })?;
        let process = i32::try_from(child.id()).ok().and_then(ProcessId::of);
        reap(child);
        process.ok_or_else(|| LabError::Died {
            host: host.name.clone(),
            program: argv.first().cloned().unwrap_or_default(),
            tail: tail(output),
        })
    }

    /// Starts a program on a host, without waiting for anything.
    pub(crate) fn launch(&self, host: &Host, program: Program) -> Result<ProcessId> {
        if !program.belongs_on(host.kind) {
            return Err(host.lacks(program));
        }
        let argv = self.argv(program)?;
        let output = host.output_file(program);
        self.store.update(|state| {
            let running = state.running.entry(host.name.clone()).or_default();
            if let Some(process) = running.programs.get(&program).filter(|process| process.is_alive()) {
                return Err(LabError::AlreadyRunning {
                    host: host.name.clone(),
                    program: program.to_string(),
                    pid: process.pid,
                });
            }
            let process = self.spawn(host, &argv, &output)?;
            running.programs.insert(program, process);
            state.started.retain(|process| process.is_alive());
            state.started.push(process);
            Ok(process)
        })
    }

    /// Starts a program; a server is waited for until it answers. Returns when the start was made.
    pub fn start(&self, host: &str, program: Program) -> Result<Moment> {
        let host = self.host(host)?;
        let at = Moment::now();
        let process = self.launch(host, program)?;
        if program == Program::Server {
            self.wait_server(host, process)?;
        }
        Ok(at)
    }

    pub(crate) fn wait_server(&self, host: &Host, process: ProcessId) -> Result<()> {
        wait_for(&format!("the server on {} answering", host.name), SERVER_LIMIT, || {
            if !process.is_alive() {
                return Ok(Err(LabError::Died {
                    host: host.name.clone(),
                    program: "the server".to_owned(),
                    tail: tail(&host.output_file(Program::Server)),
                }));
            }
            match self.sql_within(&host.name, "SELECT 1", Duration::from_secs(5)) {
                Ok(_) => Ok(Ok(())),
                Err(error) => Err(error.to_string()),
            }
        })?
    }

    /// The process of a program, if it runs (or is frozen).
    pub fn process(&self, host: &str, program: Program) -> Result<Option<ProcessId>> {
        let host = self.host(host)?;
        let state = self.store.read()?;
        let process =
            state.running.get(&host.name).and_then(|running| running.programs.get(&program).copied());
        Ok(process.filter(|process| process.is_alive()))
    }

    /// Whether a program runs, is stopped (frozen) or has ended.
    pub fn life(&self, host: &str, program: Program) -> Result<Life> {
        Ok(self.process(host, program)?.map_or(Life::Ended, ProcessId::life))
    }

    pub(crate) fn running(&self, host: &str, program: Program) -> Result<ProcessId> {
        self.process(host, program)?
            .ok_or_else(|| LabError::NotRunning { host: host.to_owned(), program: program.to_string() })
    }

    /// Starts all agents and the monitor.
    pub fn start_daemons(&self) -> Result<()> {
        for program in [Program::Agent, Program::Monitor] {
            for host in self.hosts.iter().filter(|host| program.belongs_on(host.kind)) {
                self.launch(host, program)?;
            }
        }
        Ok(())
    }
}

/// The last lines of a program's output, for messages.
fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
