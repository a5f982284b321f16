//! Transactions that a replica or the passive master has and the writer never had, as when somebody wrote to the wrong server.
//!
//! What the host has is read first, what the writer has surely later: whatever came from there is there too. What is found has to be
//! found again before anybody hears of it, since of two masters each gets what the other one wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use super::surplus::{errant, surplus_of};
use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::diverged::{Named, Surplus};
use crate::gtid::{GtidSet, GtidView, Origin};
use crate::message::OrderId;
use crate::moment::Moment;
use crate::names::HostName;

const EVERY: Duration = Duration::from_secs(3);
/// A writer that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long a transaction has to be missing on the writer.
const SETTLED: Duration = Duration::from_secs(5);
/// The same where the writer replicates from that host and is on its way through what was written there.
const UNDER_WAY: Duration = Duration::from_mins(2);

#[derive(Clone, Debug, Default)]
pub(super) struct Errants {
    round: Option<Round>,
    next_at: Moment,
    found: BTreeMap<HostName, Found>,
}

/// What hosts had when the writer was asked.
#[derive(Clone, Debug)]
struct Round {
    writer: HostName,
    look: OrderId,
    since: Moment,
    had: BTreeMap<HostName, GtidView>,
}

#[derive(Clone, Debug)]
struct Found {
    set: GtidSet,
    since: Moment,
    told: bool,
}

impl Cluster {
    /// What this host has that the writer never had.
    pub(super) fn errant_of(&self, name: &HostName) -> Option<Surplus> {
        let found = self.errants.found.get(name).filter(|found| found.told)?;
        let surplus = surplus_of(&found.set)?;
        Some(Surplus { transactions: Named::Gtids(worded(&found.set)), ..surplus })
    }

    pub(super) fn watch_errants(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(writer) = self.serving_writer() else {
            // What was found before stands: by that the next writer is chosen.
            self.errants.round = None;
            return;
        };
        self.errants.found.remove(&writer);
        match self.errants.round.take() {
            Some(round) if round.writer == writer && self.has_looked(&writer, round.look) => {
                self.end_round(now, &round, actions);
            }
            Some(round) if round.writer == writer && now.since(round.since) < PATIENCE => {
                self.errants.round = Some(round);
            }
            Some(_) | None if now >= self.errants.next_at => {
                let had = self.sets_beside(&writer);
                if !had.is_empty() && self.can_look(&writer) {
                    let look = self.ask_for_a_look(std::slice::from_ref(&writer), actions);
                    self.errants.round = Some(Round { writer, look, since: now, had });
                }
                self.errants.next_at = now + EVERY;
            }
            Some(_) | None => {}
        }
    }

    fn serving_writer(&self) -> Option<HostName> {
        let name = self.active_master()?;
        let host = self.hosts.get(name)?;
        (host.agent.connected && host.agent.status.server.is_writable()).then(|| name.clone())
    }

    /// What each other host says that it has; a lost writer that is held is compared on its own.
    fn sets_beside(&self, writer: &HostName) -> BTreeMap<HostName, GtidView> {
        let others = self.hosts.iter().filter(|(name, host)| {
            *name != writer
                && host.agent.connected
                && host.agent.status.server.is_up()
                && self.held_of(name).is_none()
        });
        others.filter_map(|(name, host)| Some((name.clone(), host.agent.status.gtid.clone()?))).collect()
    }

    fn end_round(&mut self, now: Moment, round: &Round, actions: &mut Vec<Action>) {
        let Some(status) = self.hosts.get(&round.writer).map(|host| &host.agent.status) else { return };
        let uuid = status.received.as_ref().and_then(|received| received.server_uuid.clone());
        let Some(has) = status.gtid.clone() else { return };
        for (name, had) in &round.had {
            let Some(set) = errant(had, &has, uuid.as_deref()) else { continue };
            self.note_errant(now, name, &round.writer, &set, actions);
        }
    }

    fn note_errant(
        &mut self,
        now: Moment,
        name: &HostName,
        writer: &HostName,
        set: &GtidSet,
        actions: &mut Vec<Action>,
    ) {
        let limit = if self.receives_from(writer, name) { UNDER_WAY } else { SETTLED };
        let before = self.errants.found.remove(name);
        if set.is_empty() {
            if before.is_some_and(|before| before.told) {
                let text = format!("Host '{name}' has nothing any more that '{writer}' never had");
                actions.push(Action::log(LogLevel::Info, text));
            }
            return;
        }
        // Only what is still missing has been missing for so long.
        let kept = before.filter(|before| !before.set.intersection(set).is_empty());
        let since = kept.as_ref().map_or(now, |kept| kept.since);
        let told = kept.is_some_and(|kept| kept.told);
        let set = set.clone();
        let tells = !told && now.since(since) >= limit;
        if tells {
            let count = surplus_of(&set).map(|surplus| surplus.counted()).unwrap_or_default();
            let text = format!(
                "Host '{name}' has {count} that the writer '{writer}' never had ({}): was it written to by mistake? It becomes the writer only when no other host can. Carry over to '{writer}' what is needed, then rebuild '{name}'",
                worded(&set)
            );
            actions.push(Action::log(LogLevel::Warn, text));
        }
        self.errants.found.insert(name.clone(), Found { set, since, told: told || tells });
    }

    /// Whether what a host wrote is on its way to the writer.
    fn receives_from(&self, writer: &HostName, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(writer) else { return false };
        let status = &host.agent.status;
        let ip = self.settings.hosts.get(name).map(|settings| settings.ip);
        status.source_ip.is_some()
            && status.source_ip == ip
            && !status.holding
            && status.applier_error.is_none()
            && host.good(CheckKind::RepThreads)
    }

    /// For `show`.
    pub(super) fn errant_warnings(&self) -> Vec<String> {
        let warning = |name: &HostName| {
            let surplus = self.errant_of(name)?;
            Some(format!(
                "Warning: host {name} has {} that the writer never had ({}): it becomes the writer only when no other host can",
                surplus.counted(),
                surplus.transactions
            ))
        };
        self.errants.found.keys().filter_map(warning).collect()
    }
}

/// Numbers of `MariaDB` are those of a whole domain: where nothing is known of a server but its last one, the others up to it may be
/// anybody's.
fn worded(set: &GtidSet) -> String {
    let word = |(origin, from, to): (&Origin, u64, u64)| match origin {
        Origin::Server { domain, server } if from == 1 && to > 1 => format!("up to {domain}-{server}-{to}"),
        _ if from == to => GtidSet::of(origin.clone(), to).to_string(),
        _ => format!("{} to {}", GtidSet::of(origin.clone(), from), GtidSet::of(origin.clone(), to)),
    };
    set.ranges().map(word).collect::<Vec<_>>().join(", ")
}
