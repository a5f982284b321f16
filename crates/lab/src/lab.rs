//! A lab that is up: finding hosts, running programs inside them, looking at addresses, logs, servers and the cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::builder::Builder;
use crate::cleanup;
use crate::command::{Output, run, run_with_input};
use crate::error::{LabError, Result, at};
use crate::flavour::Software;
use crate::holder;
use crate::host::{Host, HostKind, Program};
use crate::network;
use crate::process::ProcessId;
use crate::sql::{self, Table};
use crate::state::{State, Store};
use crate::wait::wait_for;

/// How long a program inside a host may take when nothing else is said.
const EXEC_LIMIT: Duration = Duration::from_secs(30);

/// Directory all labs of this machine lie in, each under its name; `MMM_LAB_DIR` or /tmp/mmm-lab.
pub fn base_dir() -> PathBuf {
    std::env::var_os("MMM_LAB_DIR").map_or_else(|| PathBuf::from("/tmp/mmm-lab"), PathBuf::from)
}

/// Hosts, servers and daemons that run in namespaces of this machine.
///
/// A lab that a builder made for its own process goes down when the value is dropped, unless `MMM_LAB_KEEP` is set or
/// [`Lab::keep`] was called; one that was opened stays.
#[derive(Debug)]
pub struct Lab {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) hosts: Vec<Host>,
    pub(crate) software: Software,
    pub(crate) bin_dir: PathBuf,
    pub(crate) store: Store,
    pub(crate) down_on_drop: bool,
}

impl Lab {
    /// Starts the description of a new lab.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// A lab that is up already, made by whomever.
    pub fn open(base: &Path, name: &str) -> Result<Self> {
        let dir = base.join(name);
        let store = Store::new(&dir);
        if !store.exists() {
            return Err(LabError::NoLab { name: name.to_owned(), path: dir });
        }
        Ok(Self::from_state(store.read()?, dir, false))
    }

    pub(crate) fn from_state(state: State, dir: PathBuf, down_on_drop: bool) -> Self {
        Self {
            name: state.name,
            store: Store::new(&dir),
            dir,
            hosts: state.hosts,
            software: state.software,
            bin_dir: state.bin_dir,
            down_on_drop,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lab's own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    pub fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.iter().find(|host| host.name == name).ok_or_else(|| LabError::NoHost {
            lab: self.name.clone(),
            host: name.to_owned(),
            known: self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Leaves the lab up when this value is dropped.
    pub fn keep(&mut self) {
        self.down_on_drop = false;
    }

    /// Ends and removes everything.
    pub fn down(mut self) -> Result<()> {
        self.down_on_drop = false;
        cleanup::down(&self.name, &self.dir)
    }

    /// Ends and removes whatever there is of the lab of this name, complete or not.
    pub fn down_by_name(base: &Path, name: &str) -> Result<()> {
        crate::builder::check_name(name)?;
        cleanup::down(name, &base.join(name))
    }

    /// Takes down all labs whose owners ended without doing so, and names them.
    pub fn down_abandoned(base: &Path) -> Result<Vec<String>> {
        cleanup::down_abandoned(base)
    }

    pub(crate) fn holder(&self, host: &Host) -> Result<ProcessId> {
        let state = self.store.read()?;
        state
            .running
            .get(&host.name)
            .and_then(|running| running.holder)
            .filter(|holder| holder.is_alive())
            .ok_or_else(|| LabError::HostDown { lab: self.name.clone(), host: host.name.clone() })
    }

    /// A command that becomes `argv` inside the host when it is run; for callers that want the streams for themselves.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, host: &str, argv: &[S]) -> Result<Command> {
        let host = self.host(host)?;
        let mut command = holder::enter(&self.dir, host, self.holder(host)?);
        if let Some(first) = self.software.path() {
            // The programs of the server that runs here, not those of the system.
            command.env("PATH", format!("{first}:{}", std::env::var("PATH").unwrap_or_default()));
        }
        command.args(argv);
        Ok(command)
    }

    /// Runs a program inside the host to its end, within 30 s.
    pub fn exec<S: AsRef<std::ffi::OsStr>>(&self, host: &str, argv: &[S]) -> Result<Output> {
        self.exec_within(host, argv, EXEC_LIMIT)
    }

    /// Runs a program inside the host to its end.
    pub fn exec_within<S: AsRef<std::ffi::OsStr>>(
        &self,
        host: &str,
        argv: &[S],
        limit: Duration,
    ) -> Result<Output> {
        run(self.command(host, argv)?, limit)
    }

    /// Runs a program inside the host with `input` on its stdin.
    pub fn exec_with_input<S: AsRef<std::ffi::OsStr>>(
        &self,
        host: &str,
        argv: &[S],
        input: &str,
    ) -> Result<Output> {
        run_with_input(self.command(host, argv)?, input, EXEC_LIMIT)
    }

    /// Full path of one of the product's programs, for running it through [`Lab::exec`].
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.bin_dir.join(name);
        if path.is_file() {
            return Ok(path);
        }
        Err(LabError::MissingProgram { program: name.to_owned(), dir: self.bin_dir.clone() })
    }

    /// Addresses on the host's eth0: its own first, then the cluster's.
    pub fn addresses(&self, host: &str) -> Result<Vec<String>> {
        network::addresses(self.host(host)?)
    }

    /// The cluster's addresses on the host, without its own.
    pub fn role_addresses(&self, host: &str) -> Result<BTreeSet<String>> {
        let host = self.host(host)?;
        Ok(network::addresses(host)?.into_iter().filter(|ip| *ip != host.ip).collect())
    }

    /// What the program has logged on the host: its log file, or what it printed where it has none.
    pub fn log(&self, host: &str, program: Program) -> Result<String> {
        let path = self.host(host)?.dir.join("log").join(format!("{}.log", program.executable()));
        if path.is_file() {
            return at(fs::read(&path), "cannot read", &path)
                .map(|text| String::from_utf8_lossy(&text).into_owned());
        }
        self.printed(host, program)
    }

    /// Waits until a line of the program's log contains the words, and gives that line.
    pub fn wait_log(&self, host: &str, program: Program, words: &str, limit: Duration) -> Result<String> {
        wait_for(&format!("`{words}` in the log of the {program} on {host}"), limit, || {
            let log = self.log(host, program).map_err(|error| error.to_string())?;
            let line = log.lines().find(|line| line.contains(words)).map(str::to_owned);
            line.ok_or_else(|| log.lines().last().unwrap_or("an empty log").to_owned())
        })
    }

    /// Hosts that have this address on their eth0 now, as [`Lab::has_address`] has it; more than one, or none, is worth a test's attention.
    pub fn holders(&self, ip: &str) -> Result<Vec<&str>> {
        let mut holders = Vec::new();
        for host in &self.hosts {
            if self.has_power(&host.name)? && network::addresses(host)?.iter().any(|address| address == ip) {
                holders.push(host.name.as_str());
            }
        }
        Ok(holders)
    }

    /// Whether the host's server refuses writes of ordinary accounts.
    pub fn is_read_only(&self, host: &str) -> Result<bool> {
        Ok(self.sql(host, "SELECT @@read_only")?.value() != Some("0"))
    }

    /// What the program has printed since the lab came up, both streams.
    pub fn printed(&self, host: &str, program: Program) -> Result<String> {
        let path = self.host(host)?.output_file(program);
        if !path.exists() {
            return Ok(String::new());
        }
        at(fs::read(&path), "cannot read", &path).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a statement on the host's server through its socket, as an account with all rights.
    pub fn sql(&self, host: &str, statement: &str) -> Result<Table> {
        self.sql_within(host, statement, EXEC_LIMIT)
    }

    /// Runs a statement on the host's server with a time limit of its own, for servers that may hang.
    pub fn sql_within(&self, host: &str, statement: &str, limit: Duration) -> Result<Table> {
        let host = self.host(host)?;
        if !host.has_server() {
            return Err(host.lacks(Program::Server));
        }
        let holder = self.holder(host)?;
        // Through the holder's root, because the path must stay short enough for a socket wherever the lab's directory is.
        let socket = format!("/proc/{}/root/run/mysqld/mysqld.sock", holder.pid);
        sql::query(&host.name, Path::new(&socket), statement, limit)
    }

    /// Hosts that have a server: the masters, then the replicas.
    pub fn servers(&self) -> Vec<&str> {
        let of = |kind| self.hosts.iter().filter(move |host| host.kind == kind);
        of(HostKind::Master).chain(of(HostKind::Replica)).map(|host| host.name.as_str()).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.down_on_drop
            && let Err(error) = cleanup::down(&self.name, &self.dir)
        {
            eprintln!("lab `{}` was not taken down completely: {error}", self.name);
        }
    }
}
