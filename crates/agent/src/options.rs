//! The command line.

use clap::Parser;
use mmm_daemon::DaemonOptions;

/// Carries out on this host what the monitor decides: role addresses, read-only, replication.
///
/// Exit status: 0 after a clean end, 1 when it could not start, the configuration is wrong, or `--doctor` found an error.
#[derive(Clone, Debug, Parser)]
#[command(name = "mmm_agentd", version)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) daemon: DaemonOptions,
    /// Look for what would go wrong in a bad night on this host, and exit with 1 when there is an error.
    #[arg(long)]
    pub(crate) doctor: bool,
    #[arg(long, hide = true)]
    pub(crate) worker: bool,
}

impl Options {
    pub(crate) fn arguments_for_worker(&self) -> Vec<String> {
        let mut arguments = self.daemon.arguments();
        arguments.push("--worker".to_owned());
        arguments
    }
}
