//! Records of hosts that got all their data anew: who wanted it and why, from whom, each step with its time, and what was saved.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Evidence, Kind, Ledger, Outcome, Page, Record, StepKind, Trigger};
use crate::diverged::{Saved, Surplus};
use crate::message::OrderId;
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::rebuild::RebuildStage;

/// Files of one host; more are counted by nobody.
const FILES_MAX: usize = 64;

/// What is told of a rebuild beside its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct RebuildAccount {
    /// By which its agent knows it.
    pub id: OrderId,
    pub bytes: Option<u64>,
    /// Where what only that host had is, on that host.
    pub saved: Vec<String>,
}

/// How a rebuild begins.
pub(in crate::cluster) struct Begun<'a> {
    pub(in crate::cluster) id: OrderId,
    pub(in crate::cluster) host: &'a HostName,
    pub(in crate::cluster) from: &'a HostName,
    pub(in crate::cluster) role: Role,
    pub(in crate::cluster) trigger: Trigger,
    pub(in crate::cluster) evidence: Vec<Evidence>,
    pub(in crate::cluster) surplus: Option<&'a Surplus>,
}

impl Ledger {
    pub(in crate::cluster) fn begin_rebuild(&mut self, now: Moment, begun: Begun) {
        let Begun { id, host, from, role, trigger, evidence, surplus } = begun;
        self.end_rebuild(now, host, Outcome::Superseded, "another one was begun", None);
        let mut record = Record::new(self.last_number.saturating_add(1), Kind::Rebuild, role);
        self.last_number = record.number;
        (record.from, record.to) = (Some(from.clone()), Some(host.clone()));
        record.decision = format!("all data of {host} are replaced by those of {from}");
        record.rebuild = Some(RebuildAccount { id, ..RebuildAccount::default() });
        (record.trigger, record.evidence) = (trigger, evidence);
        if let Some(surplus) = surplus {
            let names = surplus.transactions.to_string();
            Record::note(&mut record.diverged, host, surplus.at_most, &names);
        }
        let what = record.trigger.what.clone();
        let mut page = Page { record, zero: now, base_ms: 0, waits: None, kept: None, hangs: false };
        page.step(now, StepKind::Seen, Some(host), what);
        self.changed.insert(page.record.number);
        self.rebuilds.insert(page.record.number, page);
    }

    fn page_of(&mut self, host: &HostName) -> Option<&mut Page> {
        self.rebuilds.values_mut().find(|page| is_under_way(page, host))
    }

    pub(in crate::cluster) fn has_rebuild(&self, host: &HostName) -> bool {
        self.rebuilds.values().any(|page| is_under_way(page, host))
    }

    /// Those that have not ended, by the hosts that they are of.
    pub(in crate::cluster) fn rebuilds_under_way(&self) -> Vec<(HostName, OrderId)> {
        let open = self.rebuilds.values().filter(|page| page.record.outcome.is_none());
        open.filter_map(|page| {
            let id = page.record.rebuild.as_ref().map(|account| account.id).unwrap_or_default();
            Some((page.record.to.clone()?, id))
        })
        .collect()
    }

    pub(in crate::cluster) fn note_saved(&mut self, now: Moment, host: &HostName, saved: &Saved) {
        let Some(page) = self.page_of(host) else { return };
        let files = saved.files.iter().take(FILES_MAX).cloned().collect();
        let account = page.record.rebuild.get_or_insert_default();
        account.saved = files;
        Record::note(&mut page.record.diverged, host, Some(saved.count), &saved.of);
        page.step(now, StepKind::Saved, Some(host), format!("{} transactions that only it has", saved.count));
        let number = page.record.number;
        self.changed.insert(number);
    }

    /// A step where the stage is another one, not for each byte.
    pub(in crate::cluster) fn note_stage(
        &mut self,
        now: Moment,
        host: &HostName,
        from: &HostName,
        stage: &RebuildStage,
    ) {
        let Some(page) = self.page_of(host) else { return };
        let step = match stage {
            RebuildStage::Preparing => StepKind::Preparing,
            RebuildStage::Copying { .. } => StepKind::Copying,
            RebuildStage::Working(_) => StepKind::Working,
            RebuildStage::AwaitsServer => StepKind::Waits,
            RebuildStage::Attaching => StepKind::Attaching,
            RebuildStage::Again(_) => StepKind::Retried,
            RebuildStage::Done { .. } | RebuildStage::Failed(_) | RebuildStage::Unreadable(_) => return,
        };
        let elsewhere = page.record.from.as_ref() != Some(from);
        let note = if step == StepKind::Copying { format!("from {from}") } else { stage.to_string() };
        // Seconds and bytes in its words are no news.
        let plain = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        let last = page.record.steps.iter().rev().find(|taken| taken.step != StepKind::NextMonitor);
        if !elsewhere && last.is_some_and(|last| last.step == step && plain(&last.note) == plain(&note)) {
            return;
        }
        page.record.from = Some(from.clone());
        page.step(now, step, Some(host), note);
        let number = page.record.number;
        self.changed.insert(number);
    }

    pub(in crate::cluster) fn end_rebuild(
        &mut self,
        now: Moment,
        host: &HostName,
        outcome: Outcome,
        why: &str,
        bytes: Option<u64>,
    ) {
        let Some(page) = self.page_of(host) else { return };
        page.record.rebuild.get_or_insert_default().bytes = bytes;
        page.record.outcome = Some(outcome);
        why.clone_into(&mut page.record.outcome_why);
        page.record.ended_ms = Some(page.at(now));
        let number = page.record.number;
        self.changed.insert(number);
    }

    /// What an earlier monitor has recorded. One that has not ended goes on, as far as its agent tells of it.
    pub(super) fn recall_rebuild(&mut self, now: Moment, record: Record, ago: Duration) {
        self.last_number = self.last_number.max(record.number);
        let Some(host) = record.to.clone().filter(|_| record.outcome.is_none()) else { return };
        self.end_rebuild(now, &host, Outcome::Superseded, "no monitor has seen it end", None);
        let base_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        let mut page = Page { record, zero: now, base_ms, waits: None, kept: None, hangs: false };
        page.step(now, StepKind::NextMonitor, None, "another monitor goes on with this record");
        self.changed.insert(page.record.number);
        self.rebuilds.insert(page.record.number, page);
    }
}

fn is_under_way(page: &Page, host: &HostName) -> bool {
    page.record.to.as_ref() == Some(host) && page.record.outcome.is_none()
}
