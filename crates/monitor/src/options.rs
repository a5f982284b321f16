//! The command line.

use clap::Parser;
use mmm_daemon::DaemonOptions;

/// Watches the hosts of a cluster, decides where its roles are, and answers `mmm_control`.
///
/// Exit status: 0 after a clean end, 1 when it could not start or the configuration is wrong.
#[derive(Clone, Debug, Parser)]
#[command(name = "mmm_mond", version)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) daemon: DaemonOptions,
}
