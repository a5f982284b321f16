//! `semi_sync manage`: keeps as many hosts acknowledging as the writer waits for, and no host waiting that is not the writer.
//!
//! Nothing is switched off on a host before it has given the writer role back: a writer that is being demoted must not commit
//! what waits unacknowledged because nobody is waited for any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::moment::Moment;
use crate::names::HostName;
use crate::semi_sync::SemiSyncOrder;
use crate::settings::SemiSyncMode;
use crate::state::{HostState, Mode};

/// Between two attempts to have an acknowledgement repeated that got lost.
const NUDGE_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default)]
pub(super) struct SemiSyncManaged {
    /// For which writer the hosts below acknowledge.
    writer: Option<HostName>,
    acknowledgers: BTreeSet<HostName>,
    /// As many acknowledge as have to.
    enough: bool,
    told_short: bool,
    /// How often each host was to connect anew.
    nudges: BTreeMap<HostName, u64>,
    nudged_at: Option<Moment>,
}

impl Cluster {
    /// The writer, once it is in service.
    fn writer_in_service(&self) -> Option<HostName> {
        let record = self.running_record()?;
        let host = self.hosts.get(&record.host)?;
        let serves = host.agent.connected
            && self.active_master() == Some(&record.host)
            && host.agent.status.server.is_writable()
            && host.agent.status.lease.held.as_ref().is_some_and(|held| held.epoch == record.epoch);
        serves.then(|| record.host.clone())
    }

    /// Hosts that could acknowledge what this one commits: those first that could follow it.
    fn could_acknowledge(&self, writer: &HostName) -> Vec<HostName> {
        let Some(ip) = self.settings.hosts.get(writer).map(|host| host.ip) else { return Vec::new() };
        let mut hosts: Vec<HostName> = self
            .settings
            .hosts
            .keys()
            .filter(|name| *name != writer)
            .filter(|name| {
                self.hosts.get(*name).is_some_and(|host| {
                    let status = &host.agent.status;
                    host.state == HostState::Online
                        && host.agent.connected
                        && status.server.is_up()
                        && status.source_ip == Some(ip)
                        && status.semi_sync.is_some()
                        && !status.holding
                        && host.good(CheckKind::RepThreads)
                })
            })
            .cloned()
            .collect();
        hosts.sort_by_key(|name| (!self.settings.may_be_active_master(name), name.clone()));
        hosts
    }

    pub(super) fn manage_semi_sync(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let is_wanted = self.settings.semi_sync == SemiSyncMode::Manage && self.mode == Mode::Active;
        let Some(writer) = self.writer_in_service().filter(|_| is_wanted) else {
            self.semi_sync_managed.writer = None;
            return;
        };
        let Some(wanted) = self.semi_sync_of(&writer).map(|known| known.wanted.max(1)) else { return };
        let able = self.could_acknowledge(&writer);
        let best: BTreeSet<HostName> =
            able.iter().take(usize::try_from(wanted).unwrap_or(usize::MAX)).cloned().collect();
        let acknowledging: BTreeSet<HostName> = self.acknowledging(&writer).into_iter().cloned().collect();
        let before = &self.semi_sync_managed.acknowledgers;
        // The one before goes on until the better one acknowledges.
        let chosen: BTreeSet<HostName> = if best.is_subset(&acknowledging) {
            best
        } else {
            best.into_iter().chain(before.iter().filter(|host| able.contains(host)).cloned()).collect()
        };
        if chosen != *before {
            let text = format!("Semi-sync: acknowledging for '{writer}' is up to {}", names(&chosen));
            actions.push(Action::log(LogLevel::Info, text));
        }
        let count = u32::try_from(chosen.intersection(&acknowledging).count()).unwrap_or(u32::MAX);
        let managed = &mut self.semi_sync_managed;
        managed.writer = Some(writer.clone());
        managed.enough = count >= wanted;
        let short = u32::try_from(chosen.len()).unwrap_or(u32::MAX) < wanted;
        if short && !managed.told_short {
            let text = format!(
                "Semi-sync: '{writer}' is to have {wanted} hosts that acknowledge, and only {} could ({}): a host has to be ONLINE and replicate from it",
                chosen.len(),
                names(&chosen)
            );
            actions.push(Action::log(LogLevel::Fatal, text));
        }
        managed.told_short = short;
        managed.acknowledgers = chosen;
        self.nudge(now, &writer, actions);
    }

    /// An acknowledgement that got lost is never sent again by itself. A replica that connects anew says how far it is.
    fn nudge(&mut self, now: Moment, writer: &HostName, actions: &mut Vec<Action>) {
        let hangs = self.semi_sync_source_of(writer).is_some_and(|source| source.hanging.is_some());
        let managed = &mut self.semi_sync_managed;
        if !hangs {
            managed.nudged_at = None;
            return;
        }
        let since = *managed.nudged_at.get_or_insert(now);
        if now.since(since) < NUDGE_EVERY || managed.acknowledgers.is_empty() {
            return;
        }
        managed.nudged_at = Some(now);
        for host in &managed.acknowledgers {
            *managed.nudges.entry(host.clone()).or_default() += 1;
        }
        let text = format!(
            "Commits on '{writer}' hang: {} connect anew, so that an acknowledgement that got lost is given again",
            names(&managed.acknowledgers)
        );
        actions.push(Action::log(LogLevel::Warn, text));
    }

    /// What a host's agent is to switch.
    pub(super) fn semi_sync_order(&self, name: &HostName) -> Option<SemiSyncOrder> {
        let managed = &self.semi_sync_managed;
        let writer = managed.writer.as_ref()?;
        if name == writer {
            return Some(SemiSyncOrder {
                source: managed.enough.then_some(true),
                ..SemiSyncOrder::default()
            });
        }
        let status = &self.hosts.get(name)?.agent.status;
        let gave_back = status.lease.held.is_none() && !status.server.is_writable();
        Some(SemiSyncOrder {
            source: gave_back.then_some(false),
            replica: Some(managed.acknowledgers.contains(name)),
            nudge: managed.nudges.get(name).copied().unwrap_or_default(),
        })
    }
}

fn names(hosts: &BTreeSet<HostName>) -> String {
    if hosts.is_empty() {
        return "nobody".to_owned();
    }
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
