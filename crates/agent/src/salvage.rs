//! Getting what only a dead writer's log has to the next writer, before that is opened: `log_keeper` knows where the log of the
//! server here is and whether the server is dead, `serve` hands it out to another agent, `fetch` gets it from one, and `apply` has
//! the server here apply it by its own replication.

mod apply;
mod fetch;
mod journal;
mod log_keeper;
mod own_server;
mod serve;
mod silence;
mod torn;
mod turn;

use std::path::{Path, PathBuf};

pub(crate) use apply::Salvage;
pub(crate) use log_keeper::LogKeeper;
pub(crate) use serve::TailDesk;

/// Where this agent keeps what belongs to it, beside its epoch file.
#[derive(Clone, Debug)]
pub(crate) struct SalvagePaths {
    /// Where the log of the server here is.
    pub(crate) log: PathBuf,
    /// What was fetched.
    pub(crate) spool: PathBuf,
    /// Where replication here pointed before.
    pub(crate) journal: PathBuf,
}

impl SalvagePaths {
    pub(crate) fn beside(epoch_file: &Path) -> Self {
        let with = |ending: &str| epoch_file.with_extension(ending);
        Self { log: with("log"), spool: with("spool"), journal: with("source") }
    }
}
