//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use mmm_lab::Flavour;

use crate::attack::Attack;
use crate::cluster::Make;

/// Measures failover, planned moves, memory, CPU and the control port on a real master pair; see bench/README.md.
#[derive(Debug, Parser)]
#[command(name = "mmm_bench", version)]
pub(crate) struct Options {
    /// How often each kind is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// Measure only this; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<Kind>,
    /// How long the idle cluster's CPU time is counted, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) idle_seconds: u64,
    /// Seconds of `writer_lease`, in place of the default
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(3..=60))]
    pub(crate) lease: Option<u64>,
    /// Servers of this flavour, as `mmm_lab servers` names them, in place of the system's
    #[arg(long, value_name = "SERVER")]
    pub(crate) server: Option<Flavour>,
    /// Also write every single value as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep logs (with `debug 1`) and the probe's record of each run in this directory, for looking where the time goes
    #[arg(long, value_name = "DIR")]
    pub(crate) evidence: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) helper: Option<Helper>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Helper {
    /// The attack on the control port; the bench runs it on the monitor's host
    #[command(hide = true)]
    Attack(Attack),
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// The writer's server killed
    Kill,
    /// The writer's server stopped cleanly
    Stop,
    /// The writer role moved while a client writes
    Move,
    /// Memory and CPU of an idle cluster
    Idle,
    /// How fast `show` answers, idle and under attack
    Show,
    /// The writer's host unplugged, and plugged in again
    Unplug,
    /// The agent's worker on the writer hangs, then the server is killed
    Hang,
    /// The monitor killed for a minute
    MonitorAway,
    /// The writer's agent stopped and started, killed and started
    AgentRestart,
    /// The writer's server killed while the other master is 5 s behind
    Behind,
    /// The writer's server killed after the other master had received nothing for 2 s
    Unsent,
    /// The writer role moved past an open transaction and a long read
    BusyMove,
    /// The old writer's server comes back, and has nothing of its own
    Rejoin,
    /// The writer's host unplugged under semi-synchronous replication
    SemiSync,
}

/// The lease where none is configured, in seconds.
const DEFAULT_LEASE: u64 = 5;

impl Options {
    pub(crate) fn make(&self) -> Make {
        Make { evidence: self.evidence.clone(), lease: self.lease, server: self.server, ..Make::default() }
    }

    /// The most that may pass until another master writes when a writer can't be asked: its lease, and 1.5 s.
    pub(crate) fn lease_limit(&self) -> Duration {
        Duration::from_secs(self.lease.unwrap_or(DEFAULT_LEASE)) + Duration::from_millis(1500)
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Kill,
        Self::Stop,
        Self::Move,
        Self::Idle,
        Self::Show,
        Self::Unplug,
        Self::Hang,
        Self::MonitorAway,
        Self::AgentRestart,
        Self::Behind,
        Self::Unsent,
        Self::BusyMove,
        Self::Rejoin,
        Self::SemiSync,
    ];
}
