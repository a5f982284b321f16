//! The lab's memory: one JSON file that every later call reads, written to a temporary file and renamed, under a lock.
//! It records what was started; it does not look whether that still lives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result, at};
use crate::flavour::Software;
use crate::host::{Host, Program};
use crate::network::Cut;
use crate::process::ProcessId;

/// What runs on a host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HostState {
    /// The process that keeps the namespaces alive.
    pub(crate) holder: Option<ProcessId>,
    pub(crate) programs: BTreeMap<Program, ProcessId>,
    /// The programs that were running when the power went or the host was rebooted.
    pub(crate) enabled: Vec<Program>,
}

/// A write probe that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProbeState {
    pub(crate) process: ProcessId,
    pub(crate) record: PathBuf,
}

/// Everything there is to know about a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) name: String,
    /// The process whose end means that nobody will take this lab down any more; none for a lab made by hand.
    pub(crate) owner: Option<ProcessId>,
    pub(crate) bin_dir: PathBuf,
    /// The daemons are started so that their wall clocks can be moved.
    #[serde(default)]
    pub(crate) movable_clocks: bool,
    /// The servers too.
    #[serde(default)]
    pub(crate) movable_server_clocks: bool,
    /// What its servers are.
    #[serde(default)]
    pub(crate) software: Software,
    pub(crate) hosts: Vec<Host>,
    pub(crate) running: BTreeMap<String, HostState>,
    pub(crate) cuts: Vec<Cut>,
    /// Hosts whose data lies on storage that stands still.
    #[serde(default)]
    pub(crate) stalled: BTreeSet<String>,
    pub(crate) probes: Vec<ProbeState>,
    /// All processes ever started, for `down`.
    pub(crate) started: Vec<ProcessId>,
}

/// Where the state lies.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub(crate) fn exists(&self) -> bool {
        self.file().is_file()
    }

    pub(crate) fn read(&self) -> Result<State> {
        let path = self.file();
        let text = at(fs::read_to_string(&path), "cannot read", &path)?;
        serde_json::from_str(&text).map_err(|error| LabError::BadState { path, reason: error.to_string() })
    }

    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let path = self.file();
        let new = self.dir.join("state.json.new");
        let text = serde_json::to_string_pretty(state)
            .map_err(|error| LabError::BadState { path: path.clone(), reason: error.to_string() })?;
        at(fs::write(&new, text), "cannot write", &new)?;
        at(fs::rename(&new, &path), "cannot replace", &path)
    }

    /// Changes the state while no other call can.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let path = self.dir.join("lock");
        let lock = at(File::create(&path), "cannot create", &path)?;
        at(flock(&lock, FlockOperation::LockExclusive).map_err(Into::into), "cannot lock", &path)?;
        let mut state = self.read()?;
        let result = change(&mut state);
        // Written in any case: what was started before something else failed must be found again.
        self.write(&state)?;
        result
    }
}
