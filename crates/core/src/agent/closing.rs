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
            Step::CloseWrites | Step::EndWriters if !ended && self.closing == Closing::Settled => {
                self.closing = Closing::Tried;
            }
            Step::CloseWrites | Step::OpenWrites if ended => self.closing = Closing::Settled,
            _ => {}
        }
    }

    /// A server that has ended carries out nothing any more.
    pub(super) fn forget_closing(&mut self, view: ServerView) {
        if view == ServerView::Gone {
            self.closing = Closing::Settled;
        }
    }

    /// The attempt was given up: the server takes writes again.
    pub(super) fn reopen_after_attempt(&mut self, now: Moment, step: &Step) {
        if matches!(step, Step::CloseWrites | Step::EndWriters) && self.server.is_up() {
            self.believe_from = now;
            self.server = ServerView::Up { writable: true };
        }
    }
}
