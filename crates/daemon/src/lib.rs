//! What `mmm_mond` and `mmm_agentd` have in common as processes: options, log file, pid file, detaching, state files.
//!
//! Nothing here knows of hosts, roles or servers.
#![forbid(unsafe_code)]

mod detach;
mod log;
mod options;
mod pid_file;
mod reload;
mod seldom;
mod slot_file;
mod slot_writer;
mod state_file;
mod transport;

pub use detach::{DETACHED_FLAG, become_detached, detach, raise_file_limit};
pub use log::{FATAL, LogSettings, log, start_log, wall_clock, wall_clock_of};
pub use options::DaemonOptions;
pub use pid_file::PidFile;
pub use reload::{Fixed, Reloads, log_differences};
pub use seldom::Seldom;
pub use slot_file::{Found, SlotFile};
pub use slot_writer::SlotWriter;
pub use state_file::{read_state, write_run_state, write_state};
pub use transport::transport;

/// Runs a program whose errors end it, and says on stderr which one did.
pub fn exit_with(result: anyhow::Result<std::process::ExitCode>) -> std::process::ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        std::process::ExitCode::FAILURE
    })
}

/// Logs at FATAL, the level that marks what an operator must see.
#[macro_export]
macro_rules! fatal {
    ($($arg:tt)+) => {
        $crate::tracing::error!(target: $crate::FATAL, $($arg)+)
    };
}

pub use tracing;
