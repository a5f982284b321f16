//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::attack::Attack;

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
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Kill, Self::Stop, Self::Move, Self::Idle, Self::Show];
}
