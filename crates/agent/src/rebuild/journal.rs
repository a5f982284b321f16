//! How far a rebuild is, on disk.

use std::path::{Path, PathBuf};

use mmm_core::diverged::Saved;
use mmm_core::rebuild::{RebuildOrder, RebuildStage, RebuildStatus};
use mmm_core::{HostName, OrderId};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Nothing is changed.
    Prepare,
    /// From here on the server's own data may be gone.
    Copy,
    /// The copy is whole, and a server has to be started on it.
    Start,
    /// That server has to be pointed at the writer.
    Attach,
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) id: OrderId,
    pub(crate) from: HostName,
    pub(crate) phase: Phase,
    /// What was saved of this host's own transactions, which nobody else can tell any more.
    pub(crate) saved: Option<Box<Saved>>,
    pub(crate) bytes: u64,
    /// How replication logged in.
    pub(crate) tls: bool,
    pub(crate) asks_for_key: bool,
    /// The copy that the server told of before this one.
    pub(crate) copy_before: Option<String>,
    /// The process of the server that the copy was made in: its pid, and when it was started.
    pub(crate) server: Option<(u32, std::time::Duration)>,
    /// That server was told to break its copy off, and has not said that it did.
    #[serde(default)]
    pub(crate) broken_off: bool,
    pub(crate) pid_file: Option<PathBuf>,
    /// Where the server of a copy that was made by a backup has its data.
    pub(crate) data: Option<PathBuf>,
    /// What such a copy has, and the past of the log that belongs to it.
    pub(crate) gtid: Option<String>,
    pub(crate) log_state: String,
    /// Where in the writer's log such a copy ends, for a channel that goes by that.
    pub(crate) place: Option<(String, u64)>,
    /// Whose copy it is: in no other log its place means anything.
    #[serde(default)]
    pub(crate) copied_from: Option<HostName>,
    /// Seconds between two attempts to reach the writer.
    pub(crate) retry: u64,
    /// How it ended.
    pub(crate) end: Option<RebuildStage>,
}

impl Journal {
    pub(crate) fn new(order: RebuildOrder, saved: Option<Box<Saved>>) -> Self {
        Self {
            id: order.id,
            from: order.from,
            phase: Phase::Prepare,
            saved,
            bytes: 0,
            tls: false,
            asks_for_key: false,
            copy_before: None,
            server: None,
            broken_off: false,
            pid_file: None,
            data: None,
            gtid: None,
            log_state: String::new(),
            place: None,
            copied_from: None,
            retry: 60,
            end: None,
        }
    }

    /// What the mind is told when it begins.
    pub(crate) fn status(&self) -> RebuildStatus {
        let stage = match (&self.end, self.phase) {
            (Some(end), _) => end.clone(),
            (None, Phase::Prepare) => RebuildStage::Preparing,
            (None, Phase::Copy) => RebuildStage::Copying { done: 0, of: None },
            (None, Phase::Start) => RebuildStage::Working("its server is started again".to_owned()),
            (None, Phase::Attach | Phase::Over) => RebuildStage::Attaching,
        };
        RebuildStatus { id: self.id, from: self.from.clone(), stage }
    }

    /// An error means that nobody knows whether the data are whole.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, String> {
        mmm_daemon::read_state(path)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        mmm_daemon::write_state(path, &text)
            .map_err(|error| format!("{} can't be written: {error}", path.display()))
    }
}
