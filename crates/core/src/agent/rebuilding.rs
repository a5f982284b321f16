//! While this host gets its data anew its server belongs to that alone: no step of another purpose touches it, and it serves
//! nothing.

use super::event::AgentAction;
use super::following::{FollowingDesk, FollowingMemory};
use super::mind::AgentMind;
use crate::message::ServerView;
use crate::rebuild::{RebuildOrder, RebuildStage, RebuildStatus};

#[derive(Clone, Debug, Default)]
pub(super) struct RebuildDesk {
    /// How the last one stands, also where an earlier worker began it.
    pub(super) status: Option<RebuildStatus>,
    /// Why nobody knows whether the data are whole, until they were replaced.
    unreadable: Option<String>,
}

impl AgentMind {
    /// Whether the server's data are being replaced.
    pub fn is_rebuilding(&self) -> bool {
        self.rebuild.status.as_ref().is_some_and(RebuildStatus::is_running)
    }

    /// Whether what this server has is its own, as far as anybody knows: what only it has can still be saved.
    pub fn has_own_data(&self) -> bool {
        self.rebuild.status.as_ref().is_none_or(|status| !status.is_running() || status.is_unreadable())
    }

    /// What an earlier worker left behind, before anything else is taken in.
    pub fn resume_rebuild(&mut self, status: RebuildStatus) {
        if let RebuildStage::Unreadable(why) = &status.stage {
            self.rebuild.unreadable = Some(why.clone());
        }
        self.rebuild.status = Some(status);
    }

    pub(super) fn take_in_rebuild(&mut self, mut status: RebuildStatus) {
        match (&status.stage, &self.rebuild.unreadable) {
            (RebuildStage::Done { .. }, _) => self.rebuild.unreadable = None,
            // Nothing was changed, so that the data are as doubtful as before.
            (RebuildStage::Failed(why), Some(doubt)) => {
                status.stage = RebuildStage::Unreadable(format!("{doubt}; another one was given up: {why}"));
            }
            _ => {}
        }
        let was_rebuilding = self.is_rebuilding();
        self.rebuild.status = Some(status);
        if was_rebuilding && !self.is_rebuilding() {
            self.forget_old_data();
        }
    }

    /// Nothing that was known of replication holds for the new data.
    fn forget_old_data(&mut self) {
        (self.following, self.memory.following) = (FollowingDesk::default(), FollowingMemory::default());
        (self.memory.holding, self.memory.stopped_for_offline) = (false, false);
        self.stop_confirmed = false;
        (self.memory.caught_up_for, self.memory.released_at) = (None, None);
        self.memory.reached_source = false;
        self.gtid = None;
        self.looks.forget();
        self.retry_at.clear();
        self.problem.clear();
    }

    /// Begins what was ordered as soon as nothing is served here any more, and not twice.
    pub(super) fn tend_rebuild(&mut self, actions: &mut Vec<AgentAction>) {
        let Some(order) = self.memory.order.as_ref().and_then(|order| order.rebuild.as_deref()) else {
            return;
        };
        match &self.rebuild.status {
            Some(status) if status.id == order.id => {
                // The writer is another one now; only what begins anew can go by that.
                if status.is_running() && status.from != order.from {
                    self.begin_rebuild(order.clone(), actions);
                }
                return;
            }
            Some(status) if status.is_running() && !status.is_unreadable() => return,
            Some(_) | None => {}
        }
        if self.serves_nothing() {
            self.begin_rebuild(order.clone(), actions);
        }
    }

    fn begin_rebuild(&mut self, order: RebuildOrder, actions: &mut Vec<AgentAction>) {
        let RebuildOrder { id, from } = order.clone();
        let stage = match self.rebuild.status.take() {
            Some(status) if status.id == id => status.stage,
            _ => RebuildStage::Preparing,
        };
        self.rebuild.status = Some(RebuildStatus { id, from, stage });
        actions.push(AgentAction::Rebuild(order));
    }

    fn serves_nothing(&self) -> bool {
        let ordered = self.memory.order.as_ref();
        ordered.is_some_and(|order| order.writer.is_none() && order.roles.is_empty())
            && self.memory.lease.is_none()
            && self.memory.fencing.is_none()
            && self.server == (ServerView::Up { writable: false })
            && self.addresses.as_ref().is_some_and(std::collections::BTreeSet::is_empty)
            && self.busy.is_empty()
    }

    pub(super) fn rebuild_status(&self) -> Option<Box<RebuildStatus>> {
        self.rebuild.status.clone().map(Box::new)
    }
}
