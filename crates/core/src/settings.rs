//! What the monitor's mind needs to know of the configuration. Built by the monitor from `mmm-config`, by tests by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::check::CheckKind;
use crate::message::LeaseTerms;
use crate::names::{HostName, Role, RoleName};
use crate::state::Mode;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostMode {
    Master,
    Slave,
}

impl HostMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostSettings {
    pub ip: IpAddr,
    /// Of the server.
    pub port: u16,
    pub mode: HostMode,
    /// The other master; `None` for a slave, whose peer is the active master.
    pub peer: Option<HostName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleMode {
    Exclusive,
    Balanced,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoleSettings {
    pub mode: RoleMode,
    /// In the order of the configuration, which messages keep.
    pub hosts: Vec<HostName>,
    pub ips: BTreeSet<IpAddr>,
    pub prefer: Option<HostName>,
}

/// What becomes of a lost writer that returns with transactions which nobody else has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Diverged {
    /// It waits for the operator.
    #[default]
    Hold,
    /// The new writer receives them, as long as none of them is in conflict with what it has.
    Merge,
    /// They are saved, and the host gets all data anew from the writer.
    Clone,
}

/// Who may follow a writer that was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailoverPolicy {
    /// The best host there is.
    #[default]
    Availability,
    /// A host that is proven to have everything that was acknowledged to clients; else nobody, before an operator says so.
    Consistency,
}

/// What the monitor does about a writer whose disk is full or whose storage stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnStalledWrites {
    /// Tells of it.
    #[default]
    Show,
    /// Gives its role to another host that is well.
    Move,
}

/// What the monitor does about semi-synchronous replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SemiSyncMode {
    /// It tells nothing of it.
    Off,
    #[default]
    Watch,
    /// It keeps the right number of hosts acknowledging.
    Manage,
}

/// Everything that rules the monitor's decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Random number of this run of the monitor: orders of an earlier run are told apart by it.
    pub instance: u64,
    pub hosts: BTreeMap<HostName, HostSettings>,
    pub roles: BTreeMap<RoleName, RoleSettings>,
    pub active_master_role: RoleName,
    pub mode: Mode,
    /// How long each check must fail before it counts as bad.
    pub trap: BTreeMap<CheckKind, Duration>,
    pub flap_duration: Duration,
    pub flap_count: u32,
    /// Zero means never by itself.
    pub auto_set_online: Duration,
    pub careful_startup: bool,
    pub wait_for_other_master: Duration,
    /// Whether a program for killing hosts is there; its path when it is not, for the log.
    pub kill_host: Result<(), String>,
    /// How the writer's lease is handled. Its length is used for the addresses of readers also where there are no leases.
    pub terms: LeaseTerms,
    /// Leases run out. Without them (`writer_lease 0`) nobody is replaced who can't be asked.
    pub leases_run_out: bool,
    /// How long the role waits for a writer's server that has ended and may be restarted in place.
    pub failover_grace: Duration,
    /// How long a host that came back has to be well before it gets balanced roles, while there are others for them.
    pub reader_return_after: Duration,
    pub diverged: Diverged,
    pub failover_policy: FailoverPolicy,
    /// What becomes of a writer whose server answers and takes no writes.
    pub on_stalled_writes: OnStalledWrites,
    pub semi_sync: SemiSyncMode,
    /// How long a new writer waits without progress for the end of a dead server's log; zero: it never asks.
    pub salvage_timeout: Duration,
    /// How long a planned move waits for its target to catch up before anything is stopped.
    pub approach_limit: Duration,
    /// How long the old writer of a planned move may take to let go, before it keeps the role.
    pub close_limit: Duration,
    /// How long the new one may take to get the rest of the old one's log, before the role goes back.
    pub handover_limit: Duration,
}

impl Settings {
    pub fn trap_of(&self, kind: CheckKind) -> Duration {
        self.trap.get(&kind).copied().unwrap_or(Duration::from_secs(10))
    }

    /// Every address of every role.
    pub fn all_roles(&self) -> impl Iterator<Item = Role> + '_ {
        self.roles.iter().flat_map(|(name, role)| role.ips.iter().map(move |ip| Role::new(name.clone(), *ip)))
    }

    pub fn masters(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().filter(|(_, host)| host.mode == HostMode::Master).map(|(name, _)| name)
    }

    /// The hosts that could ever be the writer.
    pub fn candidates(&self) -> &[HostName] {
        self.roles.get(&self.active_master_role).map_or(&[], |role| &role.hosts)
    }

    /// Whether a host could ever be the active master.
    pub fn may_be_active_master(&self, host: &HostName) -> bool {
        self.candidates().contains(host)
    }

    pub fn is_writer(&self, role: &Role) -> bool {
        *role.name() == self.active_master_role
    }
}
