//! Replication that has stopped for good where its source's log has a torn end: what it takes to go on is asked of the source's agent and
//! judged by [`crate::following::judge_torn`]. The writer replicates as well, so that this is no matter of following only.

use std::time::Duration;

use super::event::AgentAction;
use super::following::AtTear;
use super::mind::AgentMind;
use super::step::{Step, StepOutcome};
use crate::cluster::LogLevel;
use crate::following::Running;
use crate::message::{Astray, ServerView};
use crate::moment::Moment;
use crate::state::HostState;

/// While the source's agent is being asked.
const SOON: Duration = Duration::from_millis(250);
/// Another reason, or one that an operator has to deal with.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(super) struct TornDesk {
    retry_at: Moment,
    /// Why it is not gone past.
    astray: Option<Astray>,
}

impl AgentMind {
    pub(super) fn next_torn_step(&self, now: Moment) -> Option<Step> {
        let free = matches!(self.server, ServerView::Up { .. })
            && self.memory.order.is_some()
            && !self.memory.holding
            && !self.memory.stopped_for_offline
            && self.ordered_state() != Some(HostState::AdminOffline);
        // Whoever is to replicate from another server finds its place there.
        if !free || now < self.torn.retry_at || self.is_to_follow_another() {
            return None;
        }
        let view = self.view()?;
        let start = match self.memory.following.stopped {
            // Broken off between stopping and starting; whoever is no writer is started by what it follows.
            Some(stopped) if self.server.is_writable() => stopped,
            Some(_) => return None,
            None => match view.tear.as_ref()? {
                AtTear::Stopped(_) if view.running.receives => view.running,
                AtTear::Misnamed if view.running == Running::BOTH => view.running,
                _ => return None,
            },
        };
        Some(Step::GoPastTear { start })
    }

    pub(super) fn end_torn_step(
        &mut self,
        now: Moment,
        outcome: StepOutcome,
        actions: &mut Vec<AgentAction>,
    ) {
        // What is not gone past stays as it was.
        if !matches!(outcome, StepOutcome::Failed(_)) {
            self.memory.following.stopped = None;
        }
        self.torn.retry_at = now
            + match outcome {
                StepOutcome::NotYet(_) => SOON,
                _ => LOOK_AGAIN,
            };
        match outcome {
            StepOutcome::Refused(why) => {
                let text = format!(
                    "it receives nothing more: the log of its source has an end that was torn when the server died, and {why}. Compare the data with \
                     the source's; then rebuild this host, or point its replication at the beginning of the next file by hand"
                );
                if self.torn.astray.as_ref().is_none_or(|astray| astray.text != text) {
                    actions.push(AgentAction::Log(LogLevel::Error, format!("Replication here: {text}")));
                }
                self.torn.astray = Some(Astray { text, refused: true });
            }
            StepOutcome::Failed(why) => {
                let text =
                    format!("Replication could not be taken past the torn end of its source's log: {why}");
                actions.push(AgentAction::Log(LogLevel::Error, text));
            }
            _ => {}
        }
    }

    /// A receiver that runs, or stopped elsewhere, has got over it.
    pub(super) fn tend_torn(&mut self) {
        if self.view().is_none_or(|view| !matches!(view.tear, Some(AtTear::Stopped(_)))) {
            self.torn.astray = None;
        }
    }

    pub(super) fn torn(&self) -> Option<Astray> {
        self.torn.astray.clone()
    }
}
