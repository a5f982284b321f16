//! The command line.

use clap::Parser;
use mmm_daemon::DaemonOptions;

/// Carries out on this host what the monitor decides: role addresses, read-only, replication.
///
/// Exit status: 0 after a clean end, 1 when it could not start or the configuration is wrong.
#[derive(Debug, Parser)]
#[command(name = "mmm_agentd", version)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) daemon: DaemonOptions,
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
