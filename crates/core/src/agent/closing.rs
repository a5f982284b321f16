//! Whether a server that is being closed really is. `MySQL` says that it is read-only from the moment at which that is asked for,
//! also while this still waits for a lock or a commit, and takes it back when the wait is over.

use super::mind::AgentMind;
use super::step::Step;
use crate::message::ServerView;
use crate::moment::Moment;

/// What is known of attempts at closing the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// None was begun, or one has ended well.
    Settled,
    /// One may still wait in the server.
    Tried,
    /// The same; since this moment the server has been saying that it is read-only.
    Said(Moment),
}

impl AgentMind {
    /// Only the end of the step proves that a server which this agent closes is closed; what it says of itself before may be a wish.
    pub(super) fn without_wishes(&mut self, now: Moment, view: ServerView) -> ServerView {
        let wants_open =
            self.memory.fencing.is_none() && self.leased_promotion().is_some() && self.may_open(now);
        match view {
            ServerView::Up { writable: false } if self.closing != Closing::Settled && !wants_open => {
                if self.closing == Closing::Tried {
                    self.closing = Closing::Said(now);
                }
                ServerView::Up { writable: true }
            }
            _ => view,
        }
    }

    /// Since when the server has been closed by its own word, where nothing else tells yet that it is: a worker that was started anew
    /// has to find that out by a step of its own.
    pub(super) fn said_closed_since(&self) -> Option<Moment> {
        match self.closing {
            Closing::Said(since) => Some(since),
            Closing::Settled | Closing::Tried => None,
        }
    }

    /// A step on the server begins or has ended well.
    pub(super) fn note_closing(&mut self, step: &Step, ended: bool) {
        match step {
            Step::CloseWrites | Step::CloseReturned | Step::EndWriters
                if !ended && self.closing == Closing::Settled =>
            {
                self.closing = Closing::Tried;
            }
            Step::CloseWrites | Step::CloseReturned | Step::OpenWrites if ended => {
                self.closing = Closing::Settled;
            }
            _ => {}
        }
    }

    /// A server that has ended carries out nothing any more, and has no clients of the writer left when it comes back.
    pub(super) fn forget_closing(&mut self, view: ServerView) {
        if view == ServerView::Gone {
            self.closing = Closing::Settled;
            self.memory.semi_sync.came_back = true;
            self.memory.semi_sync.unwaiting = false;
            self.semi_sync.see_end();
        }
    }

    /// The host was booted since it accepted anything: its server was started since it had a lease.
    pub fn note_boot(&mut self) {
        self.memory.semi_sync.came_back = self.memory.lease.is_none();
    }

    /// The step that closes a server which takes writes.
    pub(super) fn closing_step(&self) -> Step {
        if self.lock_rounds >= self.patience() {
            return Step::EndWriters;
        }
        // Clients of a host that gives its role away are never let off their acknowledgement.
        let lets_go = self.has_returned() && self.semi_sync.waits();
        if lets_go { Step::CloseReturned } else { Step::CloseWrites }
    }

    /// It was started since this host had a lease, and is nobody's writer.
    pub(super) fn has_returned(&self) -> bool {
        self.memory.semi_sync.came_back
            && self.memory.lease.is_none()
            && self.memory.fencing.is_none()
            && self.promotion().is_none()
    }

    /// The attempt was given up: the server takes writes again.
    pub(super) fn reopen_after_attempt(&mut self, now: Moment, step: &Step) {
        let closes = matches!(step, Step::CloseWrites | Step::CloseReturned | Step::EndWriters);
        if closes && self.server.is_up() {
            self.believe_from = now;
            self.server = ServerView::Up { writable: true };
        }
    }
}
