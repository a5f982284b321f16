//! What the server has received, and how fresh that is: the monitor may ask for a look that begins after its question.

use crate::gtid::Received;
use crate::message::{OrderId, ServerView};

#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    pub(super) received: Option<Received>,
    /// The last look that was ordered and is done.
    pub(super) done: OrderId,
}

impl Looks {
    pub(super) fn take_in_received(&mut self, received: Received, server: ServerView) {
        if server.is_up() {
            self.received = Some(received);
        }
    }

    /// The server has ended: what it had received is read anew.
    pub(super) fn forget(&mut self) {
        self.received = None;
    }
}
