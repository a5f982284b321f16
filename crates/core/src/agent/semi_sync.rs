//! What the agent knows of semi-synchronous replication on its server. It is watched, and never a reason to call a server dead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::AgentAction;
use super::mind::AgentMind;
use super::step::{Lane, Step, StepOutcome};
use crate::cluster::LogLevel;
use crate::message::ServerView;
use crate::moment::Moment;
use crate::semi_sync::{SemiSync, SemiSyncEnd, SemiSyncReading, SemiSyncSide, SourceReading};
use crate::state::HostState;

/// The server is asked each second; what was seen longer ago than this tells nothing of now.
const OUTDATED_AFTER: Duration = Duration::from_secs(3);

/// What an agent has to know of it after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SemiSyncMemory {
    /// The server was started since this host had a lease: no client of the writer waits for it.
    pub(super) came_back: bool,
    /// Waiting for acknowledgements may still be off, as it was for a step that would have waited in vain.
    pub(super) unwaiting: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SemiSyncDesk {
    seen: Option<(SemiSync, SemiSyncReading)>,
    asked: Moment,
    end: Option<SemiSyncEnd>,
    /// When the last of these steps ended.
    changed: Moment,
    /// Nothing is switched before.
    again_at: Option<Moment>,
    /// The last wish to connect anew that was met.
    nudged: u64,
    /// The thread that receives was stopped to connect anew, and did not run since as far as is known.
    pub(super) stopped: bool,
}

impl AgentMind {
    pub(super) fn take_in_semi_sync(&mut self, reading: SemiSyncReading, asked: Moment) {
        let stopped = self.busy.get(&Lane::Server).is_some_and(Step::may_stop_waiting);
        let desk = &mut self.semi_sync;
        if self.memory.semi_sync.unwaiting {
            let is_settled = !stopped && asked > desk.changed;
            if reading.source.is_none() && !is_settled {
                // It tells of what is switched off for a step.
                return;
            }
            self.memory.semi_sync.unwaiting = reading.source.is_none() || !is_settled;
        }
        let before = desk.seen.as_ref().map(|(known, reading)| (known, reading, desk.asked));
        let known = SemiSync::after(before, &reading, asked);
        desk.asked = asked;
        desk.seen = Some((known, reading));
    }

    /// Forgets what was seen last of a server that had ended when that opens as the writer again.
    pub(super) fn tend_semi_sync(&mut self, now: Moment) {
        // One that comes up open by itself, as its my.cnf says, is not the writer.
        let writes = self.server.is_writable() && self.leased_promotion().is_some();
        let desk = &mut self.semi_sync;
        if writes {
            desk.end = None;
        }
        if let Some((known, _)) = &mut desk.seen {
            known.outdated = now.since(desk.asked) > OUTDATED_AFTER;
        }
    }

    pub(super) fn semi_sync(&self) -> Option<SemiSync> {
        self.semi_sync.seen.as_ref().map(|(known, _)| known.clone())
    }

    pub(super) fn semi_sync_end(&self) -> Option<SemiSyncEnd> {
        self.semi_sync.end
    }
}

impl SemiSyncDesk {
    /// Commits wait for an acknowledgement, as far as is known, or would if they were not too many in vain.
    pub(super) fn waits(&self) -> bool {
        self.seen.as_ref().is_some_and(|(_, reading)| reading.source.is_some())
    }

    /// Keeps what was seen last of a server that has ended. The first look at the next one comes before anything else that is seen of it.
    pub(super) fn see_end(&mut self) {
        if let Some((known, _)) = self.seen.take() {
            self.end = known.end();
        }
    }

    /// What was seen until now tells nothing.
    pub(super) fn look_again(&mut self, now: Moment) {
        self.changed = now;
    }
}

/// Between two attempts at what failed, or had no effect yet.
const AGAIN: Duration = Duration::from_secs(5);

impl AgentMind {
    /// The server is to wait for acknowledgements again, as it did before it was closed.
    pub(super) fn next_waiting_step(&self, now: Moment) -> Option<Step> {
        let desk = &self.semi_sync;
        let told_off =
            self.memory.order.as_ref().and_then(|order| order.semi_sync.as_ref()?.source) == Some(false);
        let known_off = self.memory.semi_sync.unwaiting
            && desk.asked > desk.changed
            && desk.seen.is_some()
            && !desk.waits();
        let due = desk.again_at.is_none_or(|at| now >= at);
        (known_off && due && !told_off).then_some(Step::SetSemiSync { side: SemiSyncSide::Source, on: true })
    }

    /// On `MySQL` a replica that goes by GTID never acknowledges what it had when it connected. What this server applied before that
    /// waits for the whole timeout, and with it all that comes behind.
    pub(super) fn next_letting_go(&self, now: Moment) -> Option<Step> {
        let desk = &self.semi_sync;
        let (known, _) = desk.seen.as_ref()?;
        let hangs = known.source.as_ref().is_some_and(|source| source.hanging.is_some()) && !known.outdated;
        let due = desk.asked > desk.changed && desk.again_at.is_none_or(|at| now >= at);
        (hangs && due && self.server == ServerView::Up { writable: false } && self.has_returned())
            .then_some(Step::LetGo)
    }

    /// What is left to switch of what the monitor wants. Nothing of it is urgent, and it holds no other step up.
    pub(super) fn next_semi_sync_step(&self, now: Moment) -> Option<Step> {
        let order = self.memory.order.as_ref()?;
        let wanted = order.semi_sync.as_ref()?;
        let desk = &self.semi_sync;
        let (known, reading) = desk.seen.as_ref()?;
        let settled = self.server.is_up() && self.memory.fencing.is_none() && !known.outdated;
        if !settled || desk.asked <= desk.changed || desk.again_at.is_some_and(|at| now < at) {
            return None;
        }
        let waits = |side: &SourceReading| side.waiting > 0;
        match wanted.source {
            Some(true) if reading.source.is_none() && self.may_write(now) => {
                return Some(Step::SetSemiSync { side: SemiSyncSide::Source, on: true });
            }
            // Whoever waits here would be told that it is committed.
            Some(false)
                if reading.source.as_ref().is_some_and(|source| !waits(source))
                    && !self.server.is_writable()
                    && self.memory.lease.is_none() =>
            {
                return Some(Step::SetSemiSync { side: SemiSyncSide::Source, on: false });
            }
            _ => {}
        }
        let offline = self.ordered_state() == Some(HostState::AdminOffline);
        if order.writer.is_some() || self.memory.holding || offline {
            return None;
        }
        if self.receiving != Some(true) {
            // Stopped by us, and not started again.
            return desk.stopped.then_some(Step::ResumeReceiving);
        }
        match wanted.replica {
            Some(on) if on != reading.replica => Some(Step::SetSemiSync { side: SemiSyncSide::Replica, on }),
            // The thread that receives goes by what was set when it connected.
            Some(on) if on != reading.acknowledges => Some(Step::ReceiveAnew),
            _ => (wanted.nudge > desk.nudged).then_some(Step::ReceiveAnew),
        }
    }

    /// A step of these has ended; the next look tells what came of it.
    pub(super) fn end_semi_sync_step(&mut self, now: Moment, step: &Step, outcome: &StepOutcome) {
        let wanted = self.memory.order.as_ref().and_then(|order| order.semi_sync.as_ref());
        let nudge = wanted.map(|wanted| wanted.nudge);
        let desk = &mut self.semi_sync;
        let switched = matches!((step, outcome), (Step::SetSemiSync { .. }, StepOutcome::Done));
        // What was seen before is not true any more.
        desk.changed = now;
        desk.again_at = (!switched).then_some(now + AGAIN);
        if *step == Step::ReceiveAnew {
            desk.stopped = *outcome != StepOutcome::Done;
            desk.nudged = nudge.unwrap_or(desk.nudged);
        }
    }
}

pub(super) fn describe_end(step: &Step, outcome: &StepOutcome) -> Option<AgentAction> {
    let (level, text) = match outcome {
        StepOutcome::Done => (LogLevel::Info, format!("Semi-sync: this host was to {}", step.describe())),
        StepOutcome::Failed(why) => (
            LogLevel::Error,
            format!(
                "Couldn't {}: {why}. The agent's account needs REPLICATION MASTER ADMIN for that on MariaDB, and MySQL its plugins (INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so', rpl_semi_sync_replica SONAME 'semisync_replica.so')",
                step.describe()
            ),
        ),
        _ => return None,
    };
    Some(AgentAction::Log(level, text))
}
