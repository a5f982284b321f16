//! The model of one database server: whether it runs and takes writes, and what it has of its own and others' rows.

use std::collections::BTreeMap;

use mmm_core::{GtidView, HostName, Received, ServerView, Step};

use crate::semi_sync::SemiSync;

/// A statement that reached the server while it was frozen and takes effect when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Open,
    Close,
}

/// Rows of one other server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) received: u64,
    pub(crate) applied: u64,
}

#[expect(clippy::struct_excessive_bools, reason = "each is one switch of a real server")]
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) id: u64,
    /// Counts the starts, so that what belongs to an earlier process is told apart.
    pub(crate) life: u64,
    pub(crate) running: bool,
    pub(crate) frozen: bool,
    pub(crate) writable: bool,
    /// Since its start, for clients of the writer.
    pub(crate) opened: bool,
    pub(crate) lock_held: bool,
    /// An attempt at closing it waits until then for whoever holds a lock, and the server says that it is closed.
    pub(crate) seems_closed_until: u64,
    /// The receiving and the applying thread of the replication.
    pub(crate) receiving: bool,
    pub(crate) applying: bool,
    /// Whom a replica was pointed at. What it gets does not depend on it here: a replica gets the rows of all others.
    pub(crate) follows: Option<HostName>,
    /// The receiving thread has reached its source since this server was started.
    pub(crate) reached: bool,
    /// Rows written here by clients.
    pub(crate) own: u64,
    /// Up to which of them a client was told that they are saved.
    pub(crate) acknowledged: u64,
    pub(crate) semi_sync: Option<SemiSync>,
    /// Rows of each other host.
    pub(crate) copied: BTreeMap<HostName, Copied>,
    /// Where the log of the source ended when it was asked.
    pub(crate) asked: Option<(HostName, u64)>,
    /// Rows of a dead server, of each that wrote them, that lie beside and wait to be applied.
    pub(crate) fetched: Option<BTreeMap<HostName, u64>>,
    pub(crate) pending: Vec<Pending>,
}

impl Server {
    pub(crate) fn new(id: u64, writable: bool) -> Self {
        Self {
            id,
            life: 1,
            running: true,
            frozen: false,
            writable,
            opened: writable,
            lock_held: false,
            seems_closed_until: 0,
            receiving: true,
            applying: true,
            follows: None,
            reached: false,
            own: 0,
            acknowledged: 0,
            semi_sync: None,
            asked: None,
            copied: BTreeMap::new(),
            fetched: None,
            pending: Vec::new(),
        }
    }

    pub(crate) fn answers(&self) -> bool {
        self.running && !self.frozen
    }

    pub(crate) fn commits_hang(&self, now: u64) -> bool {
        self.semi_sync.as_ref().is_some_and(|semi_sync| semi_sync.hangs(now))
    }

    pub(crate) fn serves_writes(&self) -> bool {
        self.running && self.writable
    }

    pub(crate) fn stop(&mut self) {
        self.running = false;
        self.frozen = false;
        self.writable = false;
        self.lock_held = false;
        self.reached = false;
        self.pending.clear();
        if let Some(semi_sync) = &mut self.semi_sync {
            semi_sync.end();
        }
    }

    /// A restarted server replicates again by itself and is as writable as its configuration file says.
    pub(crate) fn start(&mut self, writable: bool) {
        self.life += 1;
        self.running = true;
        self.frozen = false;
        self.writable = writable;
        self.opened = false;
        self.receiving = true;
        self.applying = true;
    }

    /// Whether somebody keeps it from being closed.
    pub(crate) fn keeps_open(&self, step: &Step, now: u64) -> bool {
        self.lock_held || (*step == Step::CloseWrites && self.commits_hang(now))
    }

    pub(crate) fn open(&mut self) {
        (self.writable, self.opened) = (true, true);
    }

    /// Its clients are ended, and what still waited for an acknowledgement is let go.
    pub(crate) fn let_go(&mut self, closed: bool) {
        self.writable &= !closed;
        if let Some(semi_sync) = &mut self.semi_sync {
            semi_sync.let_go();
        }
    }

    pub(crate) fn thaw(&mut self) {
        self.frozen = false;
        for pending in std::mem::take(&mut self.pending) {
            self.writable = pending == Pending::Open;
        }
    }

    /// Whether everything that had been received by the time of `goal` is applied.
    pub(crate) fn has_applied(&self, goal: &BTreeMap<HostName, u64>) -> bool {
        goal.iter()
            .all(|(name, received)| self.copied.get(name).is_some_and(|copied| copied.applied >= *received))
    }

    /// Everything of every host that is in its log.
    pub(crate) fn logged(&self, name: &HostName) -> BTreeMap<HostName, u64> {
        let copied = self.copied.iter().map(|(name, copied)| (name.clone(), copied.applied));
        copied.chain([(name.clone(), self.own)]).collect()
    }

    /// Rows of another host that are here, or its own.
    pub(crate) fn applied_of(&self, host: &HostName) -> u64 {
        self.copied.get(host).map_or(0, |copied| copied.applied)
    }

    pub(crate) fn received_of(&self, host: &HostName) -> u64 {
        self.copied.get(host).map_or(0, |copied| copied.received)
    }

    pub(crate) fn received(&self) -> BTreeMap<HostName, u64> {
        self.copied.iter().map(|(name, copied)| (name.clone(), copied.received)).collect()
    }

    pub(crate) fn view(&self) -> ServerView {
        if !self.running {
            ServerView::Gone
        } else if self.frozen {
            ServerView::Silent { writable_before: self.writable }
        } else {
            ServerView::Up { writable: self.writable }
        }
    }

    /// The same of what is still to be applied as well.
    pub(crate) fn all_received(&self, ids: &BTreeMap<HostName, u64>) -> Received {
        let received = self.copied.iter().filter_map(|(name, copied)| {
            let id = ids.get(name)?;
            Some(format!("{id}-{id}-{}", copied.received))
        });
        let own = format!("{0}-{0}-{1}", self.id, self.own);
        let gtids = std::iter::once(own).chain(received).collect::<Vec<_>>().join(",");
        Received { server_id: self.id, gtids, ..Received::default() }
    }

    /// Positions with one replication domain a server, since the model counts the rows of each apart.
    pub(crate) fn gtid(&self, ids: &BTreeMap<HostName, u64>) -> GtidView {
        let applied: Vec<String> = self
            .copied
            .iter()
            .filter_map(|(name, copied)| {
                let id = ids.get(name)?;
                Some(format!("{id}-{id}-{}", copied.applied))
            })
            .collect();
        GtidView {
            server_id: self.id,
            binlog_state: format!("{0}-{0}-{1}", self.id, self.own),
            slave_pos: applied.join(","),
        }
    }
}
