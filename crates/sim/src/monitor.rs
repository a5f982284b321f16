//! A monitor's process and what outlives it.

use std::collections::BTreeMap;

use mmm_core::ledger::Record;
use mmm_core::{Cluster, HostName, Moment, MonitorState};

/// Its end of the session with one agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) number: u64,
    pub(crate) heard: u64,
    /// The reading of the agent's last heartbeat.
    pub(crate) reading: Option<Moment>,
}

#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) cluster: Option<Cluster>,
    pub(crate) life: u64,
    pub(crate) started: u64,
    /// What its clock shows in 10 000 ms.
    pub(crate) rate: u64,
    pub(crate) instance: u64,
    pub(crate) sessions: BTreeMap<HostName, Ending>,
    /// The number of its first session.
    pub(crate) first_session: u64,
    /// The status file, which outlives the monitor.
    pub(crate) status: Option<String>,
    /// The epoch file, as it was written one after the other.
    pub(crate) states: Vec<(u64, MonitorState)>,
    /// The history file: when each record began, and what was written of it last.
    pub(crate) history: BTreeMap<u64, (u64, Record)>,
    /// The newest slot of the epoch file is torn, or there is no file at all.
    pub(crate) state_is_lost: bool,
    pub(crate) disk_full: bool,
    pub(crate) frozen_until: u64,
    /// It dies in the middle of its next actions and is away for so long.
    pub(crate) dies_midway: Option<u64>,
}

impl Monitor {
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            cluster: None,
            life: 0,
            started: 0,
            rate,
            instance: 0,
            sessions: BTreeMap::new(),
            first_session: 0,
            status: None,
            states: Vec::new(),
            history: BTreeMap::new(),
            state_is_lost: false,
            disk_full: false,
            frozen_until: 0,
            dies_midway: None,
        }
    }

    pub(crate) fn lives(&self, life: u64) -> bool {
        self.cluster.is_some() && self.life == life
    }

    pub(crate) fn moment(&self, at: u64) -> Moment {
        Moment::from_millis(at.saturating_sub(self.started) * self.rate / 10_000 + 1_000)
    }
}
