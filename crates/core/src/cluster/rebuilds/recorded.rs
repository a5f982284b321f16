//! What the ledger is told of rebuilds.

use crate::cluster::Cluster;
use crate::cluster::ledger::{Begun, Outcome, Trigger};
use crate::diverged::Surplus;
use crate::message::OrderId;
use crate::moment::Moment;
use crate::names::HostName;
use crate::rebuild::RebuildStage;

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Wanted {
    Operator,
    Policy,
    /// Whoever asked a monitor before this one.
    Before,
}

impl Wanted {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "rejoin --clone",
            Self::Policy => "diverged clone",
            Self::Before => "asked for before",
        }
    }

    fn trigger(self, name: &HostName) -> Trigger {
        let (what, by) = match self {
            Self::Operator => (format!("rejoin --clone {name}"), "an operator, by mmm_control"),
            Self::Policy => (
                format!("{name} is back with transactions that nobody else has"),
                "the monitor, by `diverged clone`",
            ),
            Self::Before => {
                (format!("the agent on {name} says that it is being rebuilt"), "a monitor before this one")
            }
        };
        Trigger { what, by: by.to_owned(), rule: None }
    }
}

impl Cluster {
    pub(super) fn record_rebuild(
        &mut self,
        now: Moment,
        host: &HostName,
        (id, from): (OrderId, &HostName),
        wanted: Wanted,
        surplus: Option<&Surplus>,
    ) {
        let Some(role) = self.writer_role().cloned() else { return };
        let mut evidence = self.evidence(now, host);
        evidence.extend(self.evidence(now, from));
        let trigger = wanted.trigger(host);
        self.ledger.begin_rebuild(now, Begun { id, host, from, role, trigger, evidence, surplus });
    }

    /// Records of rebuilds that an earlier monitor began and this one never saw running.
    pub(super) fn close_records(&mut self, now: Moment) {
        for (name, id) in self.ledger.rebuilds_under_way() {
            let agent = self.hosts.get(&name).map(|host| &host.agent).filter(|agent| agent.connected);
            let Some(agent) = agent.filter(|_| !self.rebuilds.contains_key(&name)) else { continue };
            let told = agent.status.rebuild.as_deref().filter(|told| told.id == id).map(|told| &told.stage);
            let (outcome, why, bytes) = match told.cloned() {
                Some(RebuildStage::Done { bytes }) => {
                    (Outcome::Done, "its server runs on the copy".to_owned(), Some(bytes))
                }
                Some(stage) => (Outcome::Refused, stage.to_string(), None),
                None => (Outcome::Undone, "the monitor ended before anything was begun".to_owned(), None),
            };
            self.ledger.end_rebuild(now, &name, outcome, &why, bytes);
        }
    }
}
