//! The settings of one program, typed.
//!
//! Only what the program uses is filled in. What it cannot do without is reached through the views, which leave nothing to
//! unwrap.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::effective::Effective;
use crate::program::Program;

/// Everything a program takes from its configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program these settings were loaded for.
    pub program: Program,
    /// Name of this host.
    pub this: Option<String>,
    pub debug: bool,
    /// Empty for programs that do not use it.
    pub active_master_role: String,
    /// Rounds of patience, one second each.
    pub max_kill_retries: u32,
    pub secret_file: Option<PathBuf>,
    /// Whether a monitor of 2.2.1 may give orders although a secret is set. For the agent only.
    pub allow_protocol1: bool,
    /// Schema of the table `mmm_heartbeat`; for the agent only.
    pub heartbeat_schema: Option<String>,
    /// Starts the server of a host that is rebuilt.
    pub server_start_command: Option<String>,
    /// Whether the writer role leaves a host that takes no writes. For the monitor only; for others the default.
    pub move_on_stalled_writes: bool,
    pub lease: LeaseSettings,
    /// For the monitor only; for others the default.
    pub diverged: Diverged,
    /// How long a host that came back has to be well before it gets readers.
    pub reader_return_after: Duration,
    /// For the monitor only.
    pub monitor: Option<MonitorSettings>,
    /// Where `mmm_control` reaches the monitor; for the monitor and `mmm_control` only.
    pub control_address: Option<SocketAddr>,
    /// By name; without the template. Empty for `mmm_control`.
    pub hosts: BTreeMap<String, HostSettings>,
    /// For the agent and the monitor only.
    pub roles: BTreeMap<String, RoleSettings>,
    pub checks: Checks,
    pub socket: SocketSettings,
    /// For the tools only.
    pub copy_methods: BTreeMap<String, CopyMethod>,
    /// For the tools only.
    pub default_copy_method: Option<String>,
    /// For the tools only.
    pub clone_dirs: Vec<String>,
    pub(crate) effective: Vec<Effective>,
}

/// The writer lease. The monitor's values hold for all; agents are told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Zero: no leases; the right to write does not run out. An agent's own counts for nothing once it has heard the
    /// monitor's.
    pub writer_lease: Duration,
    /// For the monitor only; for others the default.
    pub isolated: WriterIsolated,
    /// Whether a hung server that may still be writable is killed at the end of a lease. For the monitor only; for
    /// others the default.
    pub fence_hung_server: bool,
    /// How long a crashed server has to come back before its role moves. For the monitor only; for others the default.
    pub failover_grace: Duration,
    /// How long a new writer applies what it received before it opens all the same; zero: as long as it takes. For the monitor only.
    pub promote_apply_timeout: Duration,
    /// For the monitor only; for others the default.
    pub failover_policy: FailoverPolicy,
    /// For monitor and agents; for others the default.
    pub semi_sync: SemiSync,
    /// How long a new writer waits without progress for the end of a dead server's log. For the monitor only; for others the
    /// default.
    pub salvage_timeout: Duration,
}

/// What is done about semi-synchronous replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SemiSync {
    Off,
    Watch,
    Manage,
}

/// Who follows a writer that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailoverPolicy {
    Availability,
    /// Only a host that is proven to have every acknowledged transaction.
    Consistency,
}

/// What becomes of a lost writer that returns with transactions which nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diverged {
    /// It waits for the operator.
    Hold,
    /// The new writer gets them, where they don't conflict.
    Merge,
    /// They are saved, and the host is rebuilt from the new writer.
    Clone,
}

/// What becomes of a writer whose lease ends while it reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriterIsolated {
    /// It stops writing.
    Fence,
    /// It goes on, for those who would rather have two writers than none.
    Keep,
}

/// `<monitor>`
#[derive(Clone, Debug)]
pub struct MonitorSettings {
    pub ip: IpAddr,
    pub port: u16,
    pub ping_ips: Vec<IpAddr>,
    pub status_path: PathBuf,
    pub pid_path: PathBuf,
    pub bin_path: PathBuf,
    pub ping_interval: Duration,
    pub flap_duration: Duration,
    pub flap_count: u32,
    /// Zero: never.
    pub auto_set_online: Duration,
    /// Absolute.
    pub kill_host_bin: PathBuf,
    pub careful_startup: bool,
    pub mode: Mode,
    /// Zero: for ever.
    pub wait_for_other_master: Duration,
}

/// The mode the monitor starts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Active,
    Manual,
    Wait,
    Passive,
}

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostMode {
    Master,
    Slave,
}

/// `<host NAME>`
#[derive(Clone, Debug)]
pub struct HostSettings {
    pub name: String,
    pub ip: IpAddr,
    pub mode: HostMode,
    /// Always there for a master.
    pub peer: Option<String>,
    /// It may become the writer although it is no master; then it is among the hosts of the active master role.
    pub candidate: bool,
    pub cluster_interface: Option<String>,
    pub pid_path: Option<PathBuf>,
    pub bin_path: Option<PathBuf>,
    pub agent_port: u16,
    pub mysql_port: u16,
    pub mysql_pidfile: PathBuf,
    pub mysql_rcscript: String,
    pub mysql_cnf: PathBuf,
    pub agent_user: Option<String>,
    pub agent_password: Option<SecretString>,
    pub monitor_user: Option<String>,
    pub monitor_password: Option<SecretString>,
    pub replication_user: Option<String>,
    pub replication_password: Option<SecretString>,
    pub tools_user: Option<String>,
    pub tools_password: Option<SecretString>,
    pub ssh: SshSettings,
    pub lvm: LvmSettings,
    pub backup_dir: Option<PathBuf>,
    pub restore_dir: Option<PathBuf>,
}

impl HostSettings {
    /// Where its agent listens.
    pub fn agent_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.agent_port)
    }

    /// Where its server listens.
    pub fn mysql_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.mysql_port)
    }
}

/// How the tools reach a host.
#[derive(Clone, Debug)]
pub struct SshSettings {
    pub user: Option<String>,
    pub port: u16,
    pub parameters: String,
}

/// How the tools take a snapshot on a host.
#[derive(Clone, Debug)]
pub struct LvmSettings {
    pub bin_lvcreate: String,
    pub bin_lvremove: String,
    pub snapshot_size: Option<String>,
    pub logical_volume: Option<String>,
    pub volume_group: Option<String>,
    pub mount_dir: Option<PathBuf>,
    pub mount_opts: Option<String>,
}

/// How a role is given to hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleMode {
    Balanced,
    Exclusive,
}

/// `<role NAME>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSettings {
    pub name: String,
    /// An agent's file may leave it out; then only the active master role counts as exclusive.
    pub mode: RoleMode,
    /// In the order of the file; an agent's file may leave it out.
    pub hosts: Vec<String>,
    /// In the order of the file.
    pub ips: Vec<IpAddr>,
    pub prefer: Option<String>,
}

/// `<check NAME>`, all four of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    pub ping: CheckSettings,
    pub mysql: CheckSettings,
    pub rep_backlog: CheckSettings,
    pub rep_threads: CheckSettings,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSettings {
    pub period: Duration,
    /// How long it must fail before it counts.
    pub trap: Duration,
    pub timeout: Duration,
    /// Seconds a replica may be behind.
    pub max_backlog: u64,
}

/// How monitor and agents talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketSettings {
    Plain,
    Tls { cert_file: PathBuf, key_file: PathBuf, ca_file: PathBuf },
}

/// `<copy_method NAME>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyMethod {
    pub name: String,
    pub backup_command: String,
    pub restore_command: String,
    /// Always there when incremental.
    pub incremental_command: Option<String>,
    pub incremental: bool,
    pub single_run: bool,
    pub true_copy: bool,
}
