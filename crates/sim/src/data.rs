//! What clients were told is saved, what each change of the writer makes of it, and since when nothing was in the way of
//! keeping it.

use std::collections::{BTreeMap, BTreeSet};

use mmm_core::HostName;

use crate::fault::Fault;
use crate::happening::Node;
use crate::settings;
use crate::world::World;

/// Rows of one host: behind the first, up to and with the second.
pub(crate) type Rows = (u64, u64);

/// A host wrote after another one, and lacked these of its rows.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: u64,
    pub(crate) from: HostName,
    pub(crate) to: HostName,
    /// Of all that the old writer had written.
    pub(crate) lacking: Rows,
    /// Up to here clients had been told that they are saved.
    pub(crate) acknowledged: u64,
    /// Of every other host's: what a host before the last one wrote may be lacking as well.
    pub(crate) of_others: BTreeMap<HostName, Rows>,
    /// Why nobody has to name them.
    pub(crate) excuse: Option<&'static str>,
}

impl Change {
    pub(crate) fn lacked(&self) -> impl Iterator<Item = (HostName, Rows)> + '_ {
        let lacking = self.of_others.iter().filter(|(_, (has, own))| has < own);
        lacking.map(|(host, rows)| (host.clone(), *rows))
    }

    /// How many rows it lacked of which clients were told that they are saved.
    pub(crate) fn lost(&self) -> u64 {
        self.lacking.1.min(self.acknowledged).saturating_sub(self.lacking.0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Data {
    /// Who took rows last.
    pub(crate) last_writer: Option<HostName>,
    /// Who was opened last, before it took any row.
    pub(crate) opened: Option<Change>,
    pub(crate) changes: Vec<Change>,
    /// Rows of each host that whoever came to write did not have.
    pub(crate) lacked: BTreeSet<(HostName, Rows)>,
    /// Promoted as if nobody had ever written: where all that knew better is lost, a cluster is not told from a new one. This is a known
    /// limit, and what such a host lacks is neither proven nor named.
    pub(crate) as_first: BTreeSet<HostName>,
    /// Who was chosen as the writer since, and who of them had reached the last one by then.
    pub(crate) chosen: BTreeMap<HostName, bool>,
    /// Hosts of which the operator said that what only they have may be lost.
    pub(crate) given_up: BTreeSet<HostName>,
    /// Until when something was the matter with it, besides its server.
    disturbed: BTreeMap<Node, u64>,
    /// Since when a server that does not run has not run, and since when one that runs has.
    pub(crate) ended: BTreeMap<HostName, u64>,
    pub(crate) started: BTreeMap<HostName, u64>,
}

impl World {
    /// Whom this host's server replicates from: each master from the other one, every other host at first from the first master.
    pub(crate) fn source_of(&self, name: &HostName) -> HostName {
        let follows = self.hosts.get(name).and_then(|host| host.server.follows.clone());
        follows.unwrap_or_else(|| {
            let first = settings::NAMES[0];
            HostName::from(if name.as_str() == first { settings::NAMES[1] } else { first })
        })
    }

    pub(crate) fn disturb(&mut self, node: &Node, time: u64) {
        let until = self.now.saturating_add(time);
        let known = self.data.disturbed.entry(node.clone()).or_default();
        *known = until.max(*known);
    }

    pub(crate) fn disturb_all(&mut self) {
        let hosts: Vec<Node> = self.hosts.keys().cloned().map(Node::Host).collect();
        for node in hosts.iter().chain([&Node::Monitor(0)]) {
            self.disturb(node, 0);
        }
    }

    pub(crate) fn note_server_end(&mut self, name: &HostName) {
        self.data.started.remove(name);
        self.data.ended.entry(name.clone()).or_insert(self.now);
    }

    pub(crate) fn note_server_start(&mut self, name: &HostName) {
        self.data.ended.remove(name);
        self.data.started.insert(name.clone(), self.now);
    }

    /// Since when this host's agent, or the monitor, has been there and in reach of everybody; `None` while it is not.
    pub(crate) fn quiet_since(&self, node: &Node) -> Option<u64> {
        let there = match node {
            Node::Monitor(index) => self.monitors.get(*index).is_some_and(|one| one.cluster.is_some()),
            Node::Host(name) => self.hosts.get(name).is_some_and(|host| host.powered && host.agent.is_some()),
        };
        let cut = self.cuts.keys().any(|(from, to)| from == node || to == node);
        let until = self.data.disturbed.get(node).copied().unwrap_or_default();
        (there && !cut && until <= self.now).then_some(until)
    }

    /// Notes whom a fault is the matter with, and for how long.
    pub(crate) fn note_disturbance(&mut self, fault: &Fault) {
        let host = |name: &HostName| Node::Host(name.clone());
        let monitor = Node::Monitor(0);
        let nodes: Vec<(Node, u64)> = match fault {
            Fault::KillWorker { host: name } | Fault::LoseMemory { host: name } => vec![(host(name), 0)],
            Fault::BreakSession { host: name } | Fault::StepWallClock { host: name, .. } => {
                vec![(host(name), 0)]
            }
            Fault::FreezeServer { host: name, time }
            | Fault::HoldLock { host: name, time }
            | Fault::FreezeWorker { host: name, time }
            | Fault::FreezeAgent { host: name, time }
            | Fault::FillDisk { host: name, time }
            | Fault::SlowRunDirectory { host: name, time } => vec![(host(name), *time)],
            Fault::KillAgent { host: name, down }
            | Fault::PowerOff { host: name, down }
            | Fault::LoseDurable { host: name, down }
            | Fault::TearDurable { host: name, down } => vec![(host(name), *down)],
            Fault::Slow { from, to, time, .. } | Fault::Cut { from, to, time } => {
                vec![(from.clone(), *time), (to.clone(), *time)]
            }
            Fault::Isolate { node, time } => vec![(node.clone(), *time)],
            Fault::KillMonitor { down }
            | Fault::KillMonitorMidway { down }
            | Fault::LoseState { down, .. }
            | Fault::RestoreState { down }
            | Fault::ChangeLease { down, .. } => vec![(monitor, *down)],
            Fault::FreezeMonitor { time } | Fault::FillMonitorDisk { time } => vec![(monitor, *time)],
            // From here on nobody knows by whose word things are done.
            Fault::SecondMonitor => vec![(monitor, u64::MAX)],
            Fault::KillServer { .. }
            | Fault::StopServer { .. }
            | Fault::FlushAddresses { .. }
            | Fault::WorstClocks
            | Fault::Command { .. } => Vec::new(),
        };
        for (node, time) in nodes {
            self.disturb(&node, time);
        }
    }

    /// The operator's word was taken.
    pub(crate) fn note_answer(&mut self, text: &str) {
        let lost = ["OK: What only host '", "OK: Host '"].into_iter().find_map(|begin| {
            let (name, rest) = text.strip_prefix(begin)?.split_once('\'')?;
            let taken = rest.contains("may be lost") || rest.contains("counts as dead");
            taken.then(|| HostName::from(name))
        });
        self.data.given_up.extend(lost);
    }

    /// What a host that is opened for writes lacks of the last one that took any.
    pub(crate) fn change_to(&self, name: &HostName) -> Option<Change> {
        let last = self.data.last_writer.as_ref().filter(|last| *last != name)?;
        let (here, there) = (self.hosts.get(name)?, &self.hosts.get(last)?.server);
        Some(Change {
            at: self.now,
            from: last.clone(),
            to: name.clone(),
            lacking: (here.server.applied_of(last), there.own),
            acknowledged: there.acknowledged,
            of_others: self
                .hosts
                .values()
                .filter(|other| other.name != *name)
                .map(|other| (other.name.clone(), (here.server.applied_of(&other.name), other.server.own)))
                .collect(),
            excuse: None,
        })
    }

    /// What a writer lacked, and had got when it was opened again, was away in between and is not lost.
    pub(crate) fn note_opened(&mut self, name: &HostName) {
        let here = self.hosts.get(name).map(|host| &host.server);
        let has =
            |change: &Change| here.is_some_and(|server| server.applied_of(&change.from) >= change.lacking.1);
        for change in self.data.changes.iter_mut().filter(|change| change.to == *name && has(change)) {
            change.excuse.get_or_insert("the same writer had them when it was opened again");
        }
    }

    /// Clients write here now.
    pub(crate) fn note_writer(&mut self, name: &HostName) {
        if self.data.last_writer.as_ref() == Some(name) {
            return;
        }
        let opened = self.data.opened.take().filter(|change| change.to == *name);
        let change = opened.or_else(|| self.change_to(name));
        if let Some(change) = &change {
            self.data.lacked.extend(change.lacked());
        }
        if let Some(mut change) = change.filter(|change| change.lacking.0 < change.lacking.1) {
            if self.data.as_first.contains(name) {
                change.excuse = Some("nobody knew any more that anybody had written");
            }
            if !self.shape.replication.is_told() && self.shape.candidates > 2 {
                change.excuse = Some("nobody told from whom replication is held");
            }
            self.tell(|| format!("{name} lacks rows {:?} of {}", change.lacking, change.from));
            self.data.changes.push(change);
        }
        // What was away and is on a later writer from its beginning is not lost any more, nor what a writer has itself.
        let here = self.hosts.get(name).map(|host| &host.server);
        let has =
            |change: &Change| here.is_some_and(|server| server.applied_of(&change.from) >= change.lacking.1);
        for change in self.data.changes.iter_mut().filter(|change| change.to != *name && has(change)) {
            change.excuse.get_or_insert("a later writer had them");
        }
        for change in self.data.changes.iter_mut().filter(|change| change.from == *name) {
            change.excuse.get_or_insert("its host is the writer again");
        }
        self.data.last_writer = Some(name.clone());
        self.data.chosen.clear();
    }
}
