//! One host: its kernel's addresses, its server and its agent, with what survives a restart of each.

use std::collections::BTreeMap;

use mmm_core::lease::{Durable, Epoch};
use mmm_core::{AgentMemory, AgentMind, HostName, Lane, Moment, Role, Step};

use crate::server::Server;

/// A clock that starts with a boot and is off by a little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When it showed nought.
    pub(crate) zero: u64,
    /// What it shows in 10 000 ms.
    pub(crate) rate: u64,
}

impl Clock {
    pub(crate) fn read(self, now: u64) -> Moment {
        // No clock begins at nought when a program starts.
        Moment::from_millis(now.saturating_sub(self.zero) * self.rate / 10_000 + 1_000)
    }

    /// The same clock, faster or slower from now on.
    pub(crate) fn going_on(self, now: u64, rate: u64) -> Self {
        let shown = now.saturating_sub(self.zero) * self.rate / 10_000;
        Self { zero: now.saturating_sub(shown * 10_000 / rate), rate }
    }

    /// The first time at which it shows this or more.
    pub(crate) fn time_of(self, moment: Moment) -> u64 {
        let shown = u64::try_from(moment.since_zero().as_millis()).unwrap_or(u64::MAX).saturating_sub(1_000);
        self.zero + shown.saturating_mul(10_000).div_ceil(self.rate)
    }
}

/// The worker of `mmm_agentd`.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) mind: AgentMind,
    /// Steps that the mind asked for and whose end it has not heard of.
    pub(crate) under_way: BTreeMap<Lane, Step>,
}

/// The session as the agent believes in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) monitor: usize,
    pub(crate) instance: u64,
    pub(crate) heard: u64,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that can be wrong with a host")]
pub(crate) struct Host {
    pub(crate) name: HostName,
    pub(crate) powered: bool,
    pub(crate) boot: u64,
    pub(crate) clock: Clock,
    /// Each with the time at which the kernel takes it off.
    pub(crate) addresses: BTreeMap<Role, Option<u64>>,
    /// When the lifetime that the kernel was told is over; it acts a little before or after.
    pub(crate) told: BTreeMap<Role, u64>,
    pub(crate) server: Server,
    pub(crate) agent: Option<Agent>,
    /// Counts the workers, so that what belongs to an earlier one is told apart.
    pub(crate) agent_life: u64,
    /// The parent is there to start a worker again, and to fence where there is none.
    pub(crate) parent: bool,
    /// The worker, or worker and parent, stand still until then.
    pub(crate) frozen_until: u64,
    /// The state file under the run directory: lost with a boot.
    pub(crate) memory: Option<AgentMemory>,
    /// The epoch file, and what it held before the last write.
    pub(crate) durable: Option<Durable>,
    pub(crate) durable_before: Option<Durable>,
    /// In which boot it was written last.
    pub(crate) durable_boot: u64,
    /// Writes to the run directory take seconds until then.
    pub(crate) slow_until: u64,
    /// Writes to the epoch file fail.
    pub(crate) disk_full: bool,
    pub(crate) session: Option<Session>,
    /// What the server had received when its agent was told of the present choice of a writer.
    pub(crate) chosen: Option<(Epoch, BTreeMap<HostName, u64>)>,
    /// It does not come back any more.
    pub(crate) away_for_good: bool,
}
