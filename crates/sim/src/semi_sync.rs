//! Semi-synchronous replication in the model: commits that wait until a replica has them, or until they have waited too long.

use std::collections::{BTreeMap, VecDeque};

use mmm_core::{HostName, SemiSyncReading, SourceReading};

use crate::happening::Node;
use crate::settings::{Replication, WRITER};
use crate::world::World;

/// A replica that fetched nothing for so long is not connected any more.
const CONNECTED: u64 = 1_000;
/// So many clients wait at most; then nobody is left to write.
const CLIENTS: usize = 40;

/// The side that waits.
#[derive(Clone, Debug)]
pub(crate) struct SemiSync {
    timeout: u64,
    /// Otherwise it has fallen back to asynchronous replication.
    waits: bool,
    /// Commits that wait: up to which row each, and since when.
    waiting: VecDeque<(u64, u64)>,
    answered: u64,
    /// When each replica fetched last.
    fetched: BTreeMap<HostName, u64>,
}

impl SemiSync {
    pub(crate) fn new(replication: Replication) -> Option<Self> {
        let Replication::SemiSync { timeout, .. } = replication else { return None };
        Some(Self { timeout, waits: true, waiting: VecDeque::new(), answered: 0, fetched: BTreeMap::new() })
    }

    /// What waited is never acknowledged, though it is in the log; a server that starts waits again.
    pub(crate) fn end(&mut self) {
        self.waits = true;
        self.waiting.clear();
        self.fetched.clear();
    }

    /// Nobody is there any more to be told that it is safe.
    pub(crate) fn let_go(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn takes_no_more(&self) -> bool {
        self.waiting.len() >= CLIENTS
    }

    /// Commits that hang keep a server from becoming read-only.
    pub(crate) fn hangs(&self, now: u64) -> bool {
        self.waiting.front().is_some_and(|(_, since)| now - since > CONNECTED)
    }

    /// Whether the commit of these rows is answered at once.
    pub(crate) fn commits(&mut self, rows: u64, now: u64) -> bool {
        if self.waits {
            self.waiting.push_back((rows, now));
        }
        !self.waits
    }

    fn clients(&self, now: u64) -> u32 {
        let connected = self.fetched.values().filter(|at| now - **at <= CONNECTED);
        u32::try_from(connected.count()).unwrap_or(u32::MAX)
    }
}

impl World {
    /// A replica has fetched from its source, and says so.
    pub(crate) fn acknowledge(&mut self, replica: &HostName, source: &HostName) {
        let now = self.now;
        if !self.passes(&Node::Host(replica.clone()), &Node::Host(source.clone())) {
            return;
        }
        let received = self.hosts.get(replica).map_or(0, |host| host.server.received_of(source));
        let Some(server) = self.hosts.get_mut(source).map(|host| &mut host.server) else { return };
        let own = server.own;
        let Some(semi_sync) = &mut server.semi_sync else { return };
        semi_sync.fetched.insert(replica.clone(), now);
        while let Some((rows, _)) = semi_sync.waiting.front().copied().filter(|(rows, _)| *rows <= received) {
            semi_sync.waiting.pop_front();
            semi_sync.answered += 1;
            server.acknowledged = server.acknowledged.max(rows);
        }
        if !semi_sync.waits && received >= own {
            semi_sync.waits = true;
            self.tell(|| format!("commits on {source} wait for an acknowledgement again"));
        }
    }

    /// Commits that have waited too long are answered all the same, to those clients that can still be reached.
    pub(crate) fn fall_back(&mut self) {
        let now = self.now;
        let mut fallen = Vec::new();
        for host in self.hosts.values_mut().filter(|host| host.powered && host.server.answers()) {
            let reached = host.addresses.keys().any(|role| role.name().as_str() == WRITER);
            let server = &mut host.server;
            let Some(semi_sync) = &mut server.semi_sync else { continue };
            let oldest = semi_sync.waiting.front().map(|(_, since)| *since);
            if semi_sync.waits && oldest.is_some_and(|since| now - since >= semi_sync.timeout) {
                semi_sync.waits = false;
                semi_sync.answered += semi_sync.waiting.len() as u64;
                semi_sync.waiting.clear();
                if reached {
                    server.acknowledged = server.own;
                }
                fallen.push(host.name.clone());
            }
        }
        for name in fallen {
            self.tell(|| format!("{name} falls back to asynchronous replication"));
        }
    }

    /// What a look at a server shows of it.
    pub(crate) fn semi_sync_reading(&self, name: &HostName) -> Option<SemiSyncReading> {
        let now = self.now;
        let server = &self.hosts.get(name)?.server;
        let semi_sync = server.semi_sync.as_ref()?;
        let source = self.source_of(name);
        let there = self.hosts.get(&source).and_then(|host| host.server.semi_sync.as_ref());
        let fetched = there.and_then(|there| there.fetched.get(name));
        Some(SemiSyncReading {
            source: Some(SourceReading {
                waits: semi_sync.waits,
                clients: semi_sync.clients(now),
                timeout_ms: semi_sync.timeout,
                after_sync: true,
                wanted: 1,
                waits_for_absent: true,
                answered: semi_sync.answered,
                waiting: semi_sync.waiting.len() as u64,
            }),
            replica: true,
            acknowledges: server.receiving && fetched.is_some_and(|at| now - at <= CONNECTED),
            wanted: 1,
        })
    }
}
