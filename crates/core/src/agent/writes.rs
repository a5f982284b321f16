//! What the agent knows of the way of a write through its server, and when it may try it itself.

use super::mind::AgentMind;
use super::step::Lane;
use crate::message::ServerView;
use crate::moment::Moment;
use crate::write_path::{WriteLooks, WriteSight, WriteStatus};

#[derive(Clone, Debug, Default)]
pub(super) struct WriteDesk {
    looks: WriteLooks,
    status: Option<WriteStatus>,
}

impl AgentMind {
    /// Whether this host may write into the table of the probe: as the writer, under its lease, and never into a server that is
    /// closed or about to be. The agent's account may be one that `read_only` does not hold back.
    pub fn may_probe_writes(&self, now: Moment) -> bool {
        self.leased_promotion().is_some()
            && self.may_write(now)
            && self.server.is_writable()
            && !self.busy.contains_key(&Lane::Server)
    }

    pub(super) fn take_in_writes(&mut self, sight: Option<&WriteSight>, asked: Moment) {
        let desk = &mut self.writes;
        desk.status = sight.map(|sight| desk.looks.judge(sight, asked));
        if sight.is_none() {
            desk.looks = WriteLooks::default();
        }
    }

    /// A writer whose writes stand still can't be closed: read-only waits behind them. Once its role is wanted elsewhere it is dealt
    /// with like one that does not answer.
    pub(super) fn tend_writes(&mut self) {
        if self.server == ServerView::Gone {
            self.writes = WriteDesk::default();
        }
        let useless = self.writes.status.as_ref().is_some_and(|status| status.path.is_useless());
        let unwanted = self.memory.order.is_some() && self.promotion().is_none();
        if useless && unwanted && self.server.is_writable() {
            self.server = ServerView::Silent { writable_before: true };
        }
    }

    pub(super) fn write_status(&self) -> Option<WriteStatus> {
        self.writes.status.clone()
    }
}
