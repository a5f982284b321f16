//! What the agent knows of semi-synchronous replication on its server. It is watched, and never a reason to call a server dead.

use std::time::Duration;

use super::mind::AgentMind;
use crate::message::ServerView;
use crate::moment::Moment;
use crate::semi_sync::{SemiSync, SemiSyncEnd, SemiSyncReading};

/// The server is asked each second; what was seen longer ago than this tells nothing of now.
const OUTDATED_AFTER: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, Default)]
pub(super) struct SemiSyncDesk {
    seen: Option<(SemiSync, SemiSyncReading)>,
    asked: Moment,
    end: Option<SemiSyncEnd>,
}

impl AgentMind {
    pub(super) fn take_in_semi_sync(&mut self, reading: SemiSyncReading, asked: Moment) {
        let desk = &mut self.semi_sync;
        desk.asked = asked;
        let before = desk.seen.as_ref().map(|(known, reading)| (known, reading));
        desk.seen = Some((SemiSync::after(before, &reading, asked), reading));
    }

    /// Keeps what was seen last of a server that has ended, and forgets it when that opens as the writer again.
    pub(super) fn tend_semi_sync(&mut self, now: Moment) {
        let desk = &mut self.semi_sync;
        if self.server == ServerView::Gone
            && let Some((known, _)) = desk.seen.take()
        {
            desk.end = known.end();
        }
        if self.server.is_writable() {
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
