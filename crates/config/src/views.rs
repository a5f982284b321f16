//! What each program cannot do without, borrowed from its settings without an `Option` left to unwrap.

use std::net::SocketAddr;
use std::path::Path;

use secrecy::SecretString;
use thiserror::Error;

use crate::program::Program;
use crate::settings::{HostSettings, MonitorSettings, Settings};

/// A view was asked of settings that were loaded for another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("these settings were loaded for {loaded}, not for {wanted}")]
pub struct WrongProgram {
    pub loaded: Program,
    pub wanted: Program,
}

/// An account on a server.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    pub user: &'a str,
    pub password: &'a SecretString,
}

impl<'a> Account<'a> {
    fn new(user: Option<&'a String>, password: Option<&'a SecretString>) -> Option<Self> {
        Some(Self { user: user?, password: password? })
    }
}

/// What an agent has for certain.
#[derive(Clone, Copy, Debug)]
pub struct AgentView<'a> {
    /// The agent's own host.
    pub host: &'a HostSettings,
    pub cluster_interface: &'a str,
    pub pid_path: &'a Path,
    pub bin_path: &'a Path,
    /// For the agent's own sessions with its server.
    pub agent: Account<'a>,
    /// For a replica of this host; those of other hosts: [`Settings::replication_account`].
    pub replication: Account<'a>,
}

/// What a monitor has for certain.
#[derive(Clone, Debug)]
pub struct MonitorView<'a> {
    pub monitor: &'a MonitorSettings,
    /// All hosts, by name.
    pub hosts: Vec<WatchedHost<'a>>,
}

/// A host as a monitor needs it.
#[derive(Clone, Copy, Debug)]
pub struct WatchedHost<'a> {
    pub host: &'a HostSettings,
    /// For the checks.
    pub account: Account<'a>,
}

/// What `mmm_control` has for certain.
#[derive(Clone, Copy, Debug)]
pub struct ControlView<'a> {
    pub address: SocketAddr,
    pub secret_file: Option<&'a Path>,
}

impl Settings {
    /// What the agent cannot do without.
    pub fn agent_view(&self) -> Result<AgentView<'_>, WrongProgram> {
        self.own_host().and_then(view_of_own).ok_or(self.wrong(Program::Agent))
    }

    /// What the monitor cannot do without.
    pub fn monitor_view(&self) -> Result<MonitorView<'_>, WrongProgram> {
        let wrong = self.wrong(Program::Monitor);
        let hosts: Option<Vec<WatchedHost>> = self.hosts.values().map(watched_host).collect();
        let monitor = self.monitor.as_ref().ok_or(wrong)?;
        Ok(MonitorView { monitor, hosts: hosts.ok_or(wrong)? })
    }

    /// What `mmm_control` cannot do without.
    pub fn control_view(&self) -> Result<ControlView<'_>, WrongProgram> {
        let address = self.control_address.ok_or(self.wrong(Program::Control))?;
        Ok(ControlView { address, secret_file: self.secret_file.as_deref() })
    }

    /// The section of the host the program runs on.
    pub fn own_host(&self) -> Option<&HostSettings> {
        self.hosts.get(self.this.as_deref()?)
    }

    /// The account with which a replica connects to that host; agents and tools have one for every host.
    pub fn replication_account(&self, host: &str) -> Option<Account<'_>> {
        let host = self.hosts.get(host)?;
        Account::new(host.replication_user.as_ref(), host.replication_password.as_ref())
    }

    fn wrong(&self, wanted: Program) -> WrongProgram {
        WrongProgram { loaded: self.program, wanted }
    }
}

fn view_of_own(host: &HostSettings) -> Option<AgentView<'_>> {
    Some(AgentView {
        host,
        cluster_interface: host.cluster_interface.as_deref()?,
        pid_path: host.pid_path.as_deref()?,
        bin_path: host.bin_path.as_deref()?,
        agent: Account::new(host.agent_user.as_ref(), host.agent_password.as_ref())?,
        replication: Account::new(host.replication_user.as_ref(), host.replication_password.as_ref())?,
    })
}

fn watched_host(host: &HostSettings) -> Option<WatchedHost<'_>> {
    let account = Account::new(host.monitor_user.as_ref(), host.monitor_password.as_ref())?;
    Some(WatchedHost { host, account })
}
