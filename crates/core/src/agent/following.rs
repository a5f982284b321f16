//! A replica follows the active master: when it is pointed there, and what is told when it can't be.
//!
//! Whether its place in the new log is known is asked by [`crate::following::judge`], with what the server says once its
//! threads are stopped. Nothing here happens before the new writer is up, and nobody waits for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::AgentAction;
use super::mind::{AgentMind, RETRY};
use super::step::{Step, StepOutcome};
use crate::cluster::LogLevel;
use crate::following::{How, Junction, Running, ServerAddress, Source};
use crate::lease::Epoch;
use crate::message::{Astray, LogPosition, ServerView, Takeover};
use crate::moment::Moment;
use crate::state::HostState;

/// What could not be shown once is looked at again: the operator may have mended it.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// How long a server at most stands still for the replicas; they need well below a second.
const STILL_LIMIT: Duration = Duration::from_secs(10);

/// The server's replication at the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaView {
    pub source: ServerAddress,
    /// 0 until the source was reached once.
    pub source_id: u64,
    pub by_gtid: bool,
    /// The server's own transactions have no GTIDs.
    pub without_gtid: bool,
    /// The source answers.
    pub connected: bool,
    /// Threads that run, or stopped by themselves.
    pub running: Running,
    /// What it applied last, by GTID.
    pub slave_pos: String,
    /// Why the source can't be had, while it is tried again and again.
    pub unreached: Option<Unreached>,
    /// Why nothing is applied, where that ended with an error.
    pub applier_error: Option<String>,
    /// What an end of its source's log that was torn has done to it.
    pub tear: Option<AtTear>,
}

/// A replica that does not get over a torn end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtTear {
    /// Its receiver had come so far when its source told it that its log can't be read on.
    Stopped(LogPosition),
    /// It has gone on, and its server says what it has applied with the name of the torn file.
    Misnamed,
}

/// What came of the last attempt of a replica to reach its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    pub text: String,
    /// The source answers and does not let the account in: no further attempt is better.
    pub refused: bool,
}

/// What has to be known again after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FollowingMemory {
    /// The threads as they were before a repointing that may have stopped them.
    pub(super) stopped: Option<Running>,
    /// The channel goes by GTID for a while only, since it had applied this.
    through: Option<String>,
    /// The applying thread was stopped for the replicas.
    #[serde(default)]
    still: bool,
    /// Where this server's own log began, by the choice that made it the writer.
    pub(super) junction: Option<(Epoch, Junction)>,
}

/// What is known of following, besides what is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct FollowingDesk {
    /// Whether the server has been asked at all.
    looked: bool,
    /// `None` where replication is not set up.
    view: Option<ReplicaView>,
    believe_from: Moment,
    source: Option<Box<Source>>,
    retry_at: Moment,
    still_until: Moment,
    astray: Option<Astray>,
}

impl AgentMind {
    pub(super) fn take_in_replica(&mut self, view: Option<ReplicaView>, asked: Moment) {
        if asked >= self.following.believe_from {
            self.following.looked = true;
            if view.as_ref().is_some_and(|view| view.connected) {
                self.memory.reached_source = true;
            }
            self.following.view = view;
        }
    }

    pub(super) fn applier_error(&self) -> Option<String> {
        self.view().and_then(|view| view.applier_error.clone())
    }

    /// Another writer is another question.
    pub(super) fn tend_following(&mut self) {
        let source = self.memory.order.as_ref().and_then(|order| order.source.clone());
        if self.following.source != source {
            self.following.source = source;
            self.following.retry_at = Moment::ZERO;
            self.following.astray = None;
        }
        if self.is_there() == Some(true) {
            self.following.astray = None;
        }
        self.tend_torn();
        let by_file = self.view().is_some_and(|view| !view.by_gtid);
        if by_file && self.memory.following.stopped.is_none() {
            // Somebody has set it back by hand, or nothing came of it.
            self.memory.following.through = None;
        }
    }

    /// What is told of whether the server has been in touch with its source since it was started.
    pub(super) fn reached_source(&self) -> Option<bool> {
        let known = self.memory.reached_source || (self.following.looked && self.view().is_some());
        known.then_some(self.memory.reached_source)
    }

    pub(super) fn view(&self) -> Option<&ReplicaView> {
        self.following.view.as_ref()
    }

    fn is_there(&self) -> Option<bool> {
        let (source, view) = (self.following.source.as_ref()?, self.view()?);
        Some(source.is_at(&view.source, view.source_id))
    }

    pub(super) fn is_to_follow_another(&self) -> bool {
        let source = self.following.source.as_ref().filter(|source| source.host != self.settings.host);
        source.is_some() && self.is_there() != Some(true)
    }

    /// Only a host that has nothing to do with the writer role follows.
    pub(super) fn next_following_step(&self, now: Moment) -> Option<Step> {
        let idle = self.server == ServerView::Up { writable: false }
            && self.promotion().is_none()
            && self.memory.lease.is_none()
            && self.ordered_state() != Some(HostState::AdminOffline);
        let source = self.following.source.as_ref().filter(|source| source.host != self.settings.host)?;
        if !idle || now < self.following.retry_at {
            return None;
        }
        let (there, view) = (self.is_there()?, self.view()?);
        let stopped_by_us = self.memory.stopped_for_offline || self.memory.holding;
        let running = if stopped_by_us { Running::BOTH } else { view.running };
        let start = self.memory.following.stopped.unwrap_or(running);
        if start == Running::NEITHER {
            // Somebody is at work on it, or has taken it out of service: it follows when it is started.
            return None;
        }
        if !there || self.memory.following.stopped.is_some() {
            return Some(Step::Follow { source: source.clone(), start });
        }
        let since = self.memory.following.through.as_ref()?;
        let moved_on = view.by_gtid && view.slave_pos != *since;
        (moved_on && view.running.applies).then(|| Step::LeaveGtid { since: since.clone(), start })
    }

    /// What a repointing that broke off left stopped, as far as a new writer needs it to catch up: nothing more is to
    /// come from a writer that is lost.
    pub(super) fn threads_left_stopped(&self, takeover: &Takeover) -> Option<Running> {
        let still = Running { receives: false, applies: self.memory.following.still };
        let stopped = self.memory.following.stopped.unwrap_or(Running::NEITHER).or(still);
        let receives = stopped.receives && *takeover != Takeover::Lost;
        let threads = Running { receives, ..stopped };
        (threads != Running::NEITHER).then_some(threads)
    }

    /// Only where nothing but the end of this log tells replicas where they are.
    pub(super) fn must_stand_still(&self) -> bool {
        let ordered = self.memory.order.as_ref().is_some_and(|order| order.stand_still);
        let helps = self.view().is_some_and(|view| view.without_gtid && view.running.applies);
        ordered && helps && !self.memory.following.still
    }

    pub(super) fn next_step_after_standing_still(&self, now: Moment) -> Option<Step> {
        let ordered = self.memory.order.as_ref().is_some_and(|order| order.stand_still);
        let is_over = self.memory.following.still && (!ordered || now >= self.following.still_until);
        // An offline host has all of its replication stopped, and gets all of it back.
        let offline =
            self.ordered_state() == Some(HostState::AdminOffline) || self.memory.stopped_for_offline;
        (is_over && !offline).then_some(Step::StartThreads(Running { receives: false, applies: true }))
    }

    pub(super) fn note_following(&mut self, step: &Step) {
        if let Step::Follow { start, .. } | Step::LeaveGtid { start, .. } | Step::GoPastTear { start } = step
        {
            self.memory.following.stopped = Some(*start);
        }
        self.memory.following.still |= *step == Step::StopApplying;
    }

    /// Takes in the end of a step that has to do with following; what is left for everybody else is given back.
    pub(super) fn take_in_following(
        &mut self,
        now: Moment,
        step: &Step,
        outcome: StepOutcome,
        actions: &mut Vec<AgentAction>,
    ) -> Option<StepOutcome> {
        match (step, outcome) {
            (Step::CatchUp(_), StepOutcome::CaughtUp(junction)) => {
                let epoch = self.catching_up_for;
                self.memory.following.junction = epoch.map(|epoch| (epoch, *junction));
                Some(StepOutcome::Done)
            }
            (Step::CatchUp(_), StepOutcome::Done) => {
                // An earlier note is of another catching up.
                self.memory.following.junction = None;
                Some(StepOutcome::Done)
            }
            (Step::StartThreads(_), StepOutcome::Done) => {
                self.memory.following.stopped = None;
                self.memory.following.still = false;
                Some(StepOutcome::Done)
            }
            (Step::StartReplication, StepOutcome::Done) => {
                self.memory.following.still = false;
                Some(StepOutcome::Done)
            }
            (Step::StopApplying, outcome) => {
                self.following.still_until = now + STILL_LIMIT;
                if let StepOutcome::Failed(why) = outcome {
                    let text =
                        format!("The replicas may not find their place in the next writer's log: {why}");
                    actions.push(AgentAction::Log(LogLevel::Warn, text));
                }
                // The move is not to wait for it.
                Some(StepOutcome::Done)
            }
            (Step::Follow { source, start }, outcome) => {
                self.following.believe_from = now;
                self.end_follow(now, source, *start, outcome, actions);
                None
            }
            (Step::LeaveGtid { .. }, outcome) => {
                self.following.believe_from = now;
                self.end_leave(now, outcome, actions);
                None
            }
            (Step::GoPastTear { .. }, outcome) => {
                self.following.believe_from = now;
                self.end_torn_step(now, outcome, actions);
                None
            }
            (_, outcome) => Some(outcome),
        }
    }

    fn end_follow(
        &mut self,
        now: Moment,
        source: &Source,
        start: Running,
        outcome: StepOutcome,
        actions: &mut Vec<AgentAction>,
    ) {
        match outcome {
            StepOutcome::Followed { how, slave_pos } => {
                let text = format!(
                    "Replicating from the active master '{}' ({}) now, {}",
                    source.host,
                    source.address(),
                    how.describe()
                );
                actions.push(AgentAction::Log(LogLevel::Info, text));
                let for_a_while = match how {
                    How::ThroughGtid => true,
                    How::ByGtid => self.memory.following.through.is_some(),
                    How::At(_) => false,
                };
                self.memory.following.through = for_a_while.then_some(slave_pos);
                if let Some(view) = &mut self.following.view {
                    view.by_gtid = !matches!(how, How::At(_));
                }
                // What was held came from the writer before.
                self.memory.holding = false;
                self.end_repointing(source, start);
            }
            StepOutcome::Refused(why) => {
                self.memory.following.stopped = None;
                self.following.retry_at = now + LOOK_AGAIN;
                let text = format!("it can't follow the active master '{}': {why}", source.host);
                self.go_astray(LogLevel::Error, &Astray { text, refused: true }, actions);
            }
            StepOutcome::NotYet(progress) => {
                self.memory.following.stopped = None;
                let text = format!("it does not follow the active master '{}' yet: {progress}", source.host);
                self.go_astray(LogLevel::Info, &Astray { text, refused: false }, actions);
            }
            StepOutcome::Failed(why) => {
                self.following.retry_at = now + RETRY;
                let text = format!("it could not be pointed at the active master '{}': {why}", source.host);
                self.go_astray(LogLevel::Error, &Astray { text, refused: false }, actions);
            }
            _ => self.end_repointing(source, start),
        }
    }

    fn end_repointing(&mut self, source: &Source, start: Running) {
        self.memory.following.stopped = None;
        self.following.astray = None;
        if start == Running::BOTH {
            self.memory.stopped_for_offline = false;
            self.stop_confirmed = false;
        }
        if let Some(view) = &mut self.following.view {
            view.source = source.address();
            view.running = start;
        }
    }

    fn end_leave(&mut self, now: Moment, outcome: StepOutcome, actions: &mut Vec<AgentAction>) {
        match outcome {
            StepOutcome::NotYet(_) => {
                self.memory.following.stopped = None;
                self.following.retry_at = now + RETRY;
            }
            StepOutcome::Failed(why) | StepOutcome::Refused(why) => {
                self.following.retry_at = now + RETRY;
                let text = format!("its replication could not be put back to file and position: {why}");
                self.go_astray(LogLevel::Error, &Astray { text, refused: false }, actions);
            }
            _ => {
                self.memory.following.stopped = None;
                self.memory.following.through = None;
                if let Some(view) = &mut self.following.view {
                    view.by_gtid = false;
                }
                let text = "Replication goes by file and position again".to_owned();
                actions.push(AgentAction::Log(LogLevel::Info, text));
            }
        }
    }

    /// Told in the log when it begins or becomes worse, not whenever a figure in it has changed.
    fn go_astray(&mut self, level: LogLevel, astray: &Astray, actions: &mut Vec<AgentAction>) {
        let before = self.following.astray.replace(astray.clone());
        let news = match before {
            None => true,
            Some(before) if level == LogLevel::Error => before != *astray,
            Some(_) => false,
        };
        if news {
            actions.push(AgentAction::Log(level, format!("This replica: {}", astray.text)));
        }
    }

    pub(super) fn junction(&self) -> Option<(Epoch, Junction)> {
        self.memory.following.junction.clone()
    }

    /// Where this replica is when it is not where it should be.
    pub(super) fn astray(&self) -> Option<Astray> {
        if let Some(astray) = self.following.astray.clone().or_else(|| self.torn()) {
            return Some(astray);
        }
        let source = self.following.source.as_ref().filter(|source| source.host != self.settings.host)?;
        let text = match &self.following.view {
            None if !self.following.looked => return None,
            None => "its replication is not set up".to_owned(),
            Some(view) if self.is_there() == Some(true) => {
                let unreached = view.unreached.as_ref()?;
                let what =
                    if unreached.refused { "does not let it in" } else { "can't be reached from here" };
                let text = format!(
                    "it replicates from the active master '{}' ({}), which {what}: {}",
                    source.host,
                    source.address(),
                    unreached.text
                );
                return Some(Astray { text, refused: unreached.refused });
            }
            Some(view) => format!(
                "it replicates{} from {}, not from the active master '{}' ({})",
                if view.running == Running::NEITHER { " (stopped)" } else { "" },
                view.source,
                source.host,
                source.address()
            ),
        };
        Some(Astray { text, refused: false })
    }
}
