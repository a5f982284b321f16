//! Hosts that get all their data anew from the writer: by the operator's word, or by `diverged clone`.
//!
//! What only such a host has is saved there before anything is thrown away; where that fails, nothing is. From the moment at which
//! a rebuild is ordered until it is done the host is `REPLICATION_FAIL` and serves nothing, whatever its checks say, and whoever of
//! monitor and agent was started anew meanwhile: the agent tells of it until it is done.

mod recorded;

use std::time::Duration;

use serde_json::{Value, json};

pub(super) use self::recorded::Wanted;
use super::holds::Held;
use super::ledger::Outcome;
use super::{Action, Cluster, LogLevel};
use crate::diverged::{Saved, Surplus};
use crate::gtid::GtidSet;
use crate::message::{OrderId, ServerView};
use crate::moment::Moment;
use crate::names::HostName;
use crate::rebuild::{RebuildOrder, RebuildStage, RebuildStatus, in_megabytes};
use crate::state::HostState;

/// An agent tries to save transactions each 10 s.
const SAVE_LIMIT: Duration = Duration::from_mins(1);
/// An agent that is there begins at once, unless it still serves something.
const BEGIN_LIMIT: Duration = Duration::from_mins(1);

/// A rebuild that was asked for and is not done.
#[derive(Clone, Debug)]
pub(super) struct Rebuild {
    id: OrderId,
    from: HostName,
    /// What had to be saved first.
    surplus: Option<Surplus>,
    saved: Option<Saved>,
    /// Since when it has been waiting for what comes next.
    since: Moment,
    /// The order may go out.
    ordered: bool,
    begun: bool,
}

impl Cluster {
    /// Whether the data of a host are being replaced, or are about to be.
    pub(super) fn is_rebuilding(&self, name: &HostName) -> bool {
        self.rebuilds.contains_key(name) || self.running_rebuild(name).is_some()
    }

    /// Whether nobody knows what its data are, and nothing is done about it.
    pub(super) fn is_doubtful(&self, name: &HostName) -> bool {
        !self.rebuilds.contains_key(name)
            && self.running_rebuild(name).is_some_and(RebuildStatus::is_unreadable)
    }

    /// What its agent says, though this monitor may never have asked for it.
    fn running_rebuild(&self, name: &HostName) -> Option<&RebuildStatus> {
        let status = self.hosts.get(name)?.agent.status.rebuild.as_deref()?;
        status.is_running().then_some(status)
    }

    pub(super) fn rebuild_order(&self, name: &HostName) -> Option<RebuildOrder> {
        let rebuild = self.rebuilds.get(name).filter(|rebuild| rebuild.ordered)?;
        Some(RebuildOrder { id: rebuild.id, from: rebuild.from.clone() })
    }

    /// What is to be saved before; nothing more once its data are being replaced.
    pub(super) fn surplus_before_rebuild(&self, name: &HostName) -> Option<&Surplus> {
        self.rebuilds.get(name)?.surplus.as_ref()
    }

    /// `rejoin --clone HOST`.
    pub(super) fn rejoin_by_clone(&mut self, now: Moment, name: &str, actions: &mut Vec<Action>) -> String {
        if !self.hosts.contains_key(name) {
            return super::command::unknown_host(name);
        }
        let name = HostName::from(name);
        if self.is_rebuilding(&name) && !self.is_doubtful(&name) {
            return format!("OK: '{name}' is being rebuilt already. See `mmm_control show`.");
        }
        match self.may_rebuild(&name) {
            Err(why) => format!("ERROR: {why} Nothing was changed."),
            Ok(from) => {
                let counted = self.counted_surplus(&name);
                self.begin_rebuild(now, &name, Wanted::Operator, actions);
                let first = counted.map_or_else(String::new, |counted| {
                    format!(" The {counted} that nobody else has are saved there before.")
                });
                format!(
                    "OK: '{name}' gets all its data anew from '{from}'.{first} Now you can wait some time and check `mmm_control show`!"
                )
            }
        }
    }

    /// From whom, or what forbids it.
    fn may_rebuild(&self, name: &HostName) -> Result<HostName, String> {
        let Some(host) = self.hosts.get(name) else { return Err(format!("There is no host '{name}'.")) };
        let status = &host.agent.status;
        let Some(from) = self.active_master().filter(|from| *from != name).cloned() else {
            return Err(format!(
                "There is no other host that is the writer, from which '{name}' could get its data."
            ));
        };
        let serves = self
            .hosts
            .get(&from)
            .is_some_and(|writer| writer.agent.connected && writer.agent.status.server.is_writable());
        if !serves {
            return Err(format!(
                "The writer '{from}' does not take writes at the moment, or its agent can't be reached: its data can't be copied."
            ));
        }
        if host.state == HostState::Online {
            return Err(format!(
                "Host '{name}' is ONLINE, and a rebuild throws all its data away: take it out of service before (`mmm_control set_offline {name}`)."
            ));
        }
        if !host.agent.connected {
            return Err(format!("Can't reach agent daemon on '{name}'!"));
        }
        if !status.rebuilds {
            return Err(format!("The agent on '{name}' is of a version that can't rebuild a host."));
        }
        if status.server != (ServerView::Up { writable: false }) {
            return Err(format!(
                "The server on '{name}' has to be up and read-only, so that what only it has can be saved before its data are thrown away."
            ));
        }
        match self.held_of(name) {
            Some(Held::Uncompared) if !self.is_contained(name) => {
                return Err(format!(
                    "'{name}' was lost as the writer and has not been compared with '{from}' yet."
                ));
            }
            Some(Held::Unreadable) => {
                return Err(format!(
                    "What '{name}' and '{from}' have can't be compared, so what only '{name}' has can't be saved: rebuild it by hand."
                ));
            }
            Some(Held::Merging { .. }) => {
                return Err(format!("'{from}' is receiving what only '{name}' has."));
            }
            Some(Held::Diverged(_) | Held::Uncompared) | None => {}
        }
        let tells =
            |name: &HostName| self.hosts.get(name).is_some_and(|host| host.agent.status.gtid.is_some());
        if let Some(silent) = [name, &from].into_iter().find(|name| !tells(name)) {
            return Err(format!(
                "The agent on '{silent}' has not said yet what its server has: try again in a moment."
            ));
        }
        // A copy says where it was made by both, and only one of them counts there.
        if self.has_gtids(name) != self.has_gtids(&from) {
            return Err(format!(
                "Of '{name}' and '{from}' only one has GTIDs: replication between them could not go on. Give both the same gtid_mode."
            ));
        }
        Ok(from)
    }

    /// Places in logs are told in the same fields, and are no sets.
    fn has_gtids(&self, name: &HostName) -> bool {
        let gtid = self.hosts.get(name).and_then(|host| host.agent.status.gtid.as_ref());
        gtid.is_some_and(|gtid| {
            let both = [&gtid.binlog_state, &gtid.slave_pos];
            both.iter().all(|text| text.is_empty() || GtidSet::parse(text).is_some())
                && both.iter().any(|text| !text.is_empty())
        })
    }

    pub(super) fn begin_rebuild(
        &mut self,
        now: Moment,
        name: &HostName,
        wanted: Wanted,
        actions: &mut Vec<Action>,
    ) {
        let why = wanted.as_str();
        let from = match self.may_rebuild(name) {
            Ok(from) => from,
            Err(why) => {
                let text = format!(
                    "Host '{name}' is not rebuilt: {why} `mmm_control rejoin {name}` says what can be done"
                );
                actions.push(Action::log(LogLevel::Error, text));
                return;
            }
        };
        let id = OrderId { instance: self.settings.instance, number: self.next_number };
        self.next_number += 1;
        let surplus = self.held_surplus(name).cloned().or_else(|| self.errant_of(name));
        let text = format!("Host '{name}' is to be rebuilt from '{from}' ({why})");
        actions.push(Action::log(LogLevel::Warn, text));
        self.record_rebuild(now, name, (id, &from), wanted, surplus.as_ref());
        let ordered = surplus.is_none();
        let rebuild = Rebuild { id, from, surplus, saved: None, since: now, ordered, begun: false };
        self.rebuilds.insert(name.clone(), rebuild);
    }

    pub(super) fn tend_rebuilds(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.adopt_rebuilds(now, actions);
        self.close_records(now);
        let names: Vec<HostName> = self.rebuilds.keys().cloned().collect();
        for name in names {
            self.tend_rebuild(now, &name, actions);
        }
    }

    /// Those that a monitor before this one asked for.
    fn adopt_rebuilds(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for name in names {
            let Some(running) = self.running_rebuild(&name) else { continue };
            if self.rebuilds.contains_key(&name) || running.is_unreadable() {
                continue;
            }
            let (id, from) = (running.id, running.from.clone());
            // From the beginning to the end of a rebuild its agent tells of nothing else that was saved.
            let saved = self.hosts.get(&name).and_then(|host| host.agent.status.saved.as_deref().cloned());
            if !self.ledger.has_rebuild(&name) {
                self.record_rebuild(now, &name, (id, &from), Wanted::Before, None);
            }
            let text = format!("Host '{name}' is being rebuilt from '{from}', as its agent says");
            actions.push(Action::log(LogLevel::Info, text));
            let rebuild = Rebuild { id, from, surplus: None, saved, since: now, ordered: true, begun: true };
            self.rebuilds.insert(name, rebuild);
        }
    }

    fn tend_rebuild(&mut self, now: Moment, name: &HostName, actions: &mut Vec<Action>) {
        let Some(agent) = self.hosts.get(name).map(|host| &host.agent) else {
            self.rebuilds.remove(name);
            return;
        };
        let (connected, saved) = (agent.connected, agent.status.saved.clone());
        let status = agent.status.rebuild.clone();
        let writer = self.active_master().filter(|writer| *writer != name).cloned();
        let Some(rebuild) = self.rebuilds.get_mut(name) else { return };
        if !connected {
            rebuild.since = now;
            return;
        }
        let told = status.filter(|status| status.id == rebuild.id);
        if let Some(told) = told {
            rebuild.begun = true;
            if let Some(writer) = writer {
                rebuild.from = writer;
            }
            self.ledger.note_stage(now, name, &told.from, &told.stage);
            match told.stage {
                RebuildStage::Done { bytes } => self.end_rebuild(now, name, bytes, actions),
                RebuildStage::Failed(why) => self.give_rebuild_up(now, name, &why, actions),
                RebuildStage::Unreadable(_) => {
                    self.give_rebuild_up(now, name, &told.stage.to_string(), actions);
                }
                _ => {}
            }
            return;
        }
        if rebuild.ordered {
            if !rebuild.begun && now.since(rebuild.since) >= BEGIN_LIMIT {
                let why = "its agent did not begin within a minute; see its log";
                self.give_rebuild_up(now, name, why, actions);
            }
            return;
        }
        self.wait_for_saved(now, name, saved, actions);
    }

    /// The only copy of anything is never thrown away.
    fn wait_for_saved(
        &mut self,
        now: Moment,
        name: &HostName,
        saved: Option<Box<Saved>>,
        actions: &mut Vec<Action>,
    ) {
        let Some(rebuild) = self.rebuilds.get_mut(name) else { return };
        let waited = now.since(rebuild.since);
        let transactions = rebuild.surplus.as_ref().map(|surplus| surplus.transactions.to_string());
        let answer = saved.filter(|saved| Some(&saved.of) == transactions.as_ref());
        match answer {
            Some(saved) if saved.whole && !saved.files.is_empty() => {
                (rebuild.ordered, rebuild.since) = (true, now);
                let text = format!(
                    "What only '{name}' has ({}) is saved there in {}: its data may be replaced",
                    transactions.unwrap_or_default(),
                    saved.files.join(", ")
                );
                self.ledger.note_saved(now, name, &saved);
                rebuild.saved = Some(*saved);
                actions.push(Action::log(LogLevel::Info, text));
            }
            Some(saved) if saved.problem.is_some() => {
                let why = saved.problem.unwrap_or_default();
                self.give_rebuild_up(
                    now,
                    name,
                    &format!("what only it has could not be saved. {why}"),
                    actions,
                );
            }
            Some(_) | None if waited >= SAVE_LIMIT => {
                self.give_rebuild_up(now, name, "what only it has was not saved within a minute", actions);
            }
            Some(_) | None => {}
        }
    }

    fn end_rebuild(&mut self, now: Moment, name: &HostName, bytes: u64, actions: &mut Vec<Action>) {
        let Some(rebuild) = self.rebuilds.remove(name) else { return };
        self.ledger.end_rebuild(now, name, Outcome::Done, "its server runs on the copy", Some(bytes));
        // What it had alone is gone from there: the copy is compared like any server that is back.
        self.compare_anew(name);
        let saved = rebuild.saved.map(|saved| {
            let files = saved.files.join(", ");
            format!(". The {} transactions that nobody else has are on '{name}' in {files}", saved.count)
        });
        let text = format!(
            "Host '{name}' was rebuilt from '{}': {} copied{}",
            rebuild.from,
            in_megabytes(bytes),
            saved.unwrap_or_default()
        );
        actions.push(Action::log(LogLevel::Warn, text));
    }

    fn give_rebuild_up(&mut self, now: Moment, name: &HostName, why: &str, actions: &mut Vec<Action>) {
        self.rebuilds.remove(name);
        self.ledger.end_rebuild(now, name, Outcome::Refused, why, None);
        let text = format!(
            "Host '{name}' is not rebuilt, and its data are as they were: {why}. Try again with `mmm_control rejoin --clone {name}`"
        );
        actions.push(Action::log(LogLevel::Fatal, text));
    }

    /// For `show`.
    pub(super) fn rebuild_warnings(&self) -> Vec<String> {
        let told = self.rebuilds.iter().map(|(name, rebuild)| {
            let from = &rebuild.from;
            format!("Warning: host {name} is rebuilt from {from}: {}", self.rebuild_words(name, rebuild))
        });
        let doubtful = self.hosts.keys().filter(|name| self.is_doubtful(name)).filter_map(|name| {
            let stage = &self.running_rebuild(name)?.stage;
            Some(format!("Warning: host {name} is not used: {stage}"))
        });
        told.chain(doubtful).collect()
    }

    fn rebuild_words(&self, name: &HostName, rebuild: &Rebuild) -> String {
        if !rebuild.ordered {
            return "what only it has is saved before".to_owned();
        }
        match self.running_rebuild(name) {
            Some(status) => status.stage.to_string(),
            None if rebuild.begun => "its agent does not say how far it is".to_owned(),
            None => "its agent is to begin".to_owned(),
        }
    }

    pub(super) fn rebuild_json(&self, name: &HostName) -> Value {
        let Some(rebuild) = self.rebuilds.get(name) else { return Value::Null };
        let (copied, of) = match self.running_rebuild(name).map(|status| &status.stage) {
            Some(RebuildStage::Copying { done, of }) => (Some(*done), *of),
            _ => (None, None),
        };
        json!({
            "from": rebuild.from,
            "stage": self.rebuild_words(name, rebuild),
            "bytes_copied": copied,
            "bytes": of,
        })
    }
}
