//! What becomes of the writer role, written down as it happens: one record for each failover, move and promotion.
//!
//! It only watches. Before and after each step of the mind it compares who holds the role, and from that come the records;
//! no decision depends on it. The mind knows no wall clock: times count from the beginning of a record, and the shell adds
//! when that was.

mod evidence;
mod gap;
mod rebuilt;
mod record;
mod tell;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub(super) use rebuilt::Begun;
pub use rebuilt::RebuildAccount;
pub use record::{
    Candidate, Evidence, Gap, Kind, Outcome, Record, Said, StepKind, StepTaken, Transactions, Trigger,
};
pub use tell::{table, tale};

use super::event::Event;
use super::{Action, Cluster, DataRule, Rule};
use crate::lease::{Ended, Epoch};
use crate::moment::Moment;
use crate::names::HostName;

/// Records that have ended and may still be added to: what a lost writer had alone shows only when it is back.
const AMENDABLE_MAX: usize = 32;

/// One record and where the mind's time stands to its own.
#[derive(Clone, Debug)]
struct Page {
    record: Record,
    zero: Moment,
    /// What of it had gone by when this mind took it over.
    base_ms: i64,
    /// What the role waited for last.
    waits: Option<String>,
    /// The epoch that a holder in trouble keeps.
    kept: Option<Epoch>,
    /// The new writer was seen to take writes, and none of them to come back.
    hangs: bool,
}

impl Page {
    /// A moment as the record counts.
    fn at(&self, moment: Moment) -> i64 {
        let ms = |moment: Moment| i64::try_from(moment.since_zero().as_millis()).unwrap_or(i64::MAX);
        self.base_ms.saturating_add(ms(moment)).saturating_sub(ms(self.zero))
    }

    fn step(&mut self, at: Moment, step: StepKind, host: Option<&HostName>, note: impl Into<String>) {
        let at_ms = self.at(at);
        self.record.push_step(StepTaken { step, at_ms, host: host.cloned(), note: note.into() });
    }

    fn step_once(&mut self, at: Moment, step: StepKind, host: Option<&HostName>, note: impl Into<String>) {
        if !self.record.has(step) {
            self.step(at, step, host, note);
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    last_number: u64,
    open: Option<Page>,
    ended: VecDeque<Page>,
    /// Rebuilds of hosts, which go on beside whatever becomes of the role.
    rebuilds: BTreeMap<u64, Page>,
    /// When each host's agent said something last.
    heard: BTreeMap<HostName, Moment>,
    /// When the granted holder was last known to take writes at its address.
    sign: Option<(HostName, Moment)>,
    /// The rule of the state table that applied in this step, to which host.
    rule: Option<(HostName, Rule)>,
    /// Records that have changed in this step.
    changed: BTreeSet<u64>,
}

/// What a step begins with.
pub(super) struct Before {
    cause: Cause,
    holder: Option<HostName>,
    chosen: Option<Epoch>,
    record: Option<(HostName, Epoch, Option<Ended>)>,
}

/// The event of a step, as far as it is told.
#[derive(Clone, Debug)]
enum Cause {
    Time,
    Network(bool),
    Checked(HostName, crate::check::CheckKind),
    Agent(HostName),
    AgentLost(HostName, String),
    Renewed(HostName),
    Disk,
    Killed(HostName),
    Commanded(String),
    Reconfigured,
}

impl Cause {
    fn of(event: &Event) -> Self {
        match event {
            Event::Tick => Self::Time,
            Event::NetworkChecked { reachable } => Self::Network(*reachable),
            Event::Checked { host, kind, .. } => Self::Checked(host.clone(), *kind),
            Event::AgentConnected { host, .. }
            | Event::AgentReported { host, .. }
            | Event::Surveyed { host, .. }
            | Event::Protocol1Reported { host, .. } => Self::Agent(host.clone()),
            Event::AgentLost { host, reason } | Event::AgentRefused { host, reason } => {
                Self::AgentLost(host.clone(), reason.clone())
            }
            Event::Renewed { host, .. } => Self::Renewed(host.clone()),
            Event::StateSaved { .. } => Self::Disk,
            Event::HostKillEnded { host, .. } => Self::Killed(host.clone()),
            // A question changes nothing; what it finds has come with the time.
            Event::Commanded { line, .. } if !is_order(line) => Self::Time,
            Event::Commanded { line, .. } => Self::Commanded(line.clone()),
            Event::Reconfigured(_) => Self::Reconfigured,
        }
    }

    /// The host that it is about.
    fn host(&self) -> Option<&HostName> {
        match self {
            Self::Checked(host, _)
            | Self::Agent(host)
            | Self::AgentLost(host, _)
            | Self::Renewed(host)
            | Self::Killed(host) => Some(host),
            Self::Time | Self::Network(_) | Self::Disk | Self::Commanded(_) | Self::Reconfigured => None,
        }
    }
}

/// Whether a command changes something.
fn is_order(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    ["set_", "move_", "confirm_", "rejoin"].iter().any(|start| word.starts_with(start))
}

/// What others note about the transactions of a host that was lost, or has come back.
impl Ledger {
    /// Of the last loss, whoever handed them over: a replica may have been the old writer of an earlier one.
    pub(super) fn note_salvaged(&mut self, host: &HostName, count: Option<u64>, names: &str) {
        let Some(page) = self.ended.iter_mut().chain(self.open.iter_mut()).last() else { return };
        if Record::note(&mut page.record.salvaged, host, count, names) {
            self.changed.insert(page.record.number);
        }
    }

    #[expect(dead_code, reason = "for what nobody has any more")]
    pub(super) fn note_lost(&mut self, host: &HostName, count: Option<u64>, names: &str) {
        self.note(host, count, names, |record| &mut record.lost);
    }

    pub(super) fn note_diverged(&mut self, host: &HostName, count: Option<u64>, names: &str) {
        self.note(host, count, names, |record| &mut record.diverged);
    }

    #[expect(dead_code, reason = "for what was purged before anybody read it")]
    pub(super) fn note_gone(&mut self, host: &HostName, count: Option<u64>, names: &str) {
        self.note(host, count, names, |record| &mut record.gone);
    }

    pub(super) fn note_errant(&mut self, host: &HostName, count: Option<u64>, names: &str) {
        self.note(host, count, names, |record| &mut record.errant);
    }

    /// Into the record of the last time this host was the old writer, else into the newest.
    fn note(
        &mut self,
        host: &HostName,
        count: Option<u64>,
        names: &str,
        list: impl Fn(&mut Record) -> &mut Vec<Transactions>,
    ) {
        let pages = self.ended.iter_mut().chain(self.open.iter_mut());
        let mut pages: Vec<&mut Page> = pages.collect();
        let place = pages.iter().rposition(|page| page.record.from.as_ref() == Some(host));
        let Some(place) = place.or(pages.len().checked_sub(1)) else { return };
        let Some(page) = pages.get_mut(place) else { return };
        if Record::note(list(&mut page.record), host, count, names) {
            self.changed.insert(page.record.number);
        }
    }

    /// The rule of the state table that has just taken a host elsewhere.
    pub(super) fn note_rule(&mut self, host: &HostName, rule: Rule) {
        self.rule = Some((host.clone(), rule));
    }

    fn change(&mut self) {
        self.changed.extend(self.open.iter().map(|page| page.record.number));
    }

    fn begin(&mut self, now: Moment, record: Record) -> &mut Page {
        self.last_number = record.number;
        self.changed.insert(record.number);
        self.open.insert(Page { record, zero: now, base_ms: 0, waits: None, kept: None, hangs: false })
    }

    fn end(&mut self, now: Moment, outcome: Outcome, why: impl Into<String>) {
        let Some(mut page) = self.open.take() else { return };
        let ended = page.at(now);
        page.record.outcome = Some(outcome);
        page.record.outcome_why = why.into();
        page.record.ended_ms = Some(ended);
        self.changed.insert(page.record.number);
        self.ended.push_back(page);
        if self.ended.len() > AMENDABLE_MAX {
            self.ended.pop_front();
        }
    }

    /// The records that have changed, as they are now.
    fn take_changed(&mut self) -> Vec<Record> {
        let changed = std::mem::take(&mut self.changed);
        let pages = self.ended.iter().chain(&self.open).chain(self.rebuilds.values());
        let records = pages.map(|page| &page.record).filter(|record| changed.contains(&record.number));
        let records = records.cloned().collect();
        self.rebuilds.retain(|_, page| page.record.outcome.is_none());
        records
    }
}

impl Cluster {
    /// Takes over what earlier monitors have recorded, oldest first, each with how long ago it began. One that has not
    /// ended is finished as far as this monitor can know.
    pub fn recall(&mut self, now: Moment, records: Vec<(Record, Duration)>) {
        for (record, ago) in records {
            if record.kind == Kind::Rebuild {
                self.ledger.recall_rebuild(now, record, ago);
                continue;
            }
            // Of several that were never ended only the last can still be under way.
            self.ledger.end(now, Outcome::Superseded, "no monitor has seen it end");
            self.ledger.last_number = self.ledger.last_number.max(record.number);
            let base_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            let page = Page { record, zero: now, base_ms, waits: None, kept: None, hangs: false };
            if page.record.outcome.is_none() {
                self.ledger.open = Some(page);
            } else {
                self.ledger.ended.push_back(page);
            }
        }
        let surplus = self.ledger.ended.len().saturating_sub(AMENDABLE_MAX);
        self.ledger.ended.drain(..surplus);
        if let Some(page) = &mut self.ledger.open {
            page.step(now, StepKind::NextMonitor, None, "another monitor goes on with this record");
        }
        self.ledger.change();
    }

    /// The record that has not ended, for tests and the simulator.
    pub fn open_record(&self) -> Option<&Record> {
        self.ledger.open.as_ref().map(|page| &page.record)
    }

    /// The newest record, ended or not.
    pub(super) fn newest_record(&self) -> Option<&Record> {
        self.ledger.open.as_ref().or(self.ledger.ended.back()).map(|page| &page.record)
    }

    /// The newest record and how long ago it ended, if it has.
    pub(super) fn newest_record_ago(&self, now: Moment) -> Option<(&Record, Duration)> {
        let page = self.ledger.ended.back().filter(|_| self.ledger.open.is_none())?;
        let ago = page.at(now).saturating_sub(page.record.ended_ms?);
        Some((&page.record, Duration::from_millis(u64::try_from(ago).unwrap_or_default())))
    }

    pub(super) fn before_step(&self, event: &Event) -> Before {
        let slot = self.writer_role().and_then(|role| self.slots.get(role));
        Before {
            cause: Cause::of(event),
            holder: slot.and_then(|slot| slot.holder.clone()),
            chosen: slot.and_then(|slot| slot.chosen),
            record: self.record().map(|record| (record.host.clone(), record.epoch, record.ended)),
        }
    }

    /// What a lost writer is found to have alone, once it has been compared, and what was written to the wrong server.
    fn note_surplus(&mut self, cause: &Cause) {
        for old in self.lost_writers() {
            let surplus = self.surplus_to_save(&old);
            let noted = surplus.map(|surplus| (surplus.at_most, surplus.transactions.to_string()));
            if let Some((count, names)) = noted.filter(|_| self.goes_by(DataRule::SurplusIsRecorded)) {
                self.ledger.note_diverged(&old, count, &names);
            }
        }
        let Cause::Agent(name) = cause else { return };
        if let Some(errant) = self.errant_of(name) {
            self.ledger.note_errant(name, errant.at_most, &errant.transactions.to_string());
        }
    }

    /// Compares how things are with how they were before the step, and records what that means for the writer role.
    pub(super) fn keep_ledger(&mut self, now: Moment, before: &Before, actions: &mut Vec<Action>) {
        self.note_signs(now, &before.cause);
        if self.has_started() {
            self.watch_writer(now, before, actions);
            self.note_surplus(&before.cause);
        }
        self.ledger.rule = None;
        // First of all, so that what is done is never without a record of it.
        let changed = self.ledger.take_changed();
        actions.splice(0..0, changed.into_iter().map(|record| Action::Record(Box::new(record))));
    }
}
