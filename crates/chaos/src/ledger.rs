//! The history as `mmm_control history --json` tells it, with the machine's own clock instead of the monitor's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use mmm_lab::{Lab, Moment};
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Trigger {
    pub(crate) what: String,
    pub(crate) by: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Step {
    pub(crate) step: String,
    pub(crate) at_ms: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the history's own names")]
pub(crate) struct Gap {
    pub(crate) from_ms: Option<i64>,
    pub(crate) possible_until_ms: Option<i64>,
    pub(crate) until_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Transactions {
    pub(crate) host: String,
    pub(crate) names: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) kind: String,
    pub(crate) began_unix_ms: Option<i64>,
    #[serde(default)]
    pub(crate) trigger: Trigger,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) gap: Gap,
    #[serde(default)]
    pub(crate) diverged: Vec<Transactions>,
    #[serde(default)]
    pub(crate) lost: Vec<Transactions>,
    pub(crate) outcome: Option<String>,
    pub(crate) ended_ms: Option<i64>,
}

/// All records, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    /// What the machine's wall clock is ahead of its monotonic one.
    ahead_us: i64,
}

impl Record {
    /// The role went to another host, which served.
    pub(crate) fn is_change(&self) -> bool {
        self.outcome.as_deref() == Some("done")
            && self.kind != "rebuild"
            && self.from != self.to
            && self.from.is_some()
    }

    pub(crate) fn words(&self) -> String {
        let host = |host: &Option<String>| host.clone().unwrap_or_else(|| "nobody".to_owned());
        let outcome = self.outcome.as_deref().unwrap_or("under way");
        let (number, kind, what) = (self.number, &self.kind, &self.trigger.what);
        format!("record {number} ({kind} {} -> {}, {outcome}, `{what}`)", host(&self.from), host(&self.to))
    }

    pub(crate) fn gap_length(&self) -> Option<Duration> {
        let ms = self.gap.until_ms? - self.gap.from_ms?;
        Some(Duration::from_millis(u64::try_from(ms).unwrap_or_default()))
    }
}

impl Ledger {
    pub(crate) fn read(lab: &Lab) -> Result<Self> {
        let answer = lab.control(&["--json", "history", "all"])?;
        ensure!(answer.success(), "`history --json` is refused: {answer}");
        let mut records: Vec<Record> = serde_json::from_str(&answer.stdout)
            .with_context(|| format!("understand the history: {}", answer.stdout))?;
        records.sort_by_key(|record| record.number);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = |micros: u128| i64::try_from(micros).unwrap_or(i64::MAX);
        let ahead_us = micros(unix.as_micros()) - micros(u128::from(Moment::now().micros()));
        Ok(Self { records, ahead_us })
    }

    #[cfg(test)]
    pub(crate) fn of(records: Vec<Record>) -> Self {
        Self { records, ahead_us: 0 }
    }

    /// A time of a record by the machine's monotonic clock. Wrong where the monitor's wall clock was.
    pub(crate) fn moment(&self, record: &Record, at_ms: i64) -> Option<Moment> {
        let unix_us = record.began_unix_ms?.saturating_add(at_ms).saturating_mul(1000);
        u64::try_from(unix_us.saturating_sub(self.ahead_us)).ok().map(Moment::from_micros)
    }

    /// From the first to the last thing told of.
    pub(crate) fn span(&self, record: &Record) -> Option<(Moment, Moment)> {
        let times = record.steps.iter().map(|step| step.at_ms).chain([0]).chain(record.ended_ms);
        let first = times.clone().min().unwrap_or_default();
        let last = times.max().unwrap_or_default();
        Some((self.moment(record, first)?, self.moment(record, last)?))
    }
}
