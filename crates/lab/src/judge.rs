//! The judge: compares what the probe was told with what the servers hold. It only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::record::{Outcome, Record};

/// A record, and the lab whose servers it is held against. Everything [`Record`] tells, the judge tells too.
#[derive(Debug)]
pub struct Judge<'a> {
    lab: &'a Lab,
    record: Record,
}

impl Deref for Judge<'_> {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl<'a> Judge<'a> {
    pub fn new(lab: &'a Lab, record: Record) -> Self {
        Self { lab, record }
    }

    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Rows of this run on a server: number and the `server_id` that wrote it first.
    pub fn rows(&self, host: &str) -> Result<BTreeMap<u64, u32>> {
        let numbers = self.record.attempts.iter().map(|attempt| attempt.number);
        let (Some(first), Some(last)) = (numbers.clone().min(), numbers.max()) else {
            return Ok(BTreeMap::new());
        };
        let table = self
            .lab
            .sql(host, &format!("SELECT id, server_id FROM lab.probe WHERE id BETWEEN {first} AND {last}"))?;
        let number = |row: &[Option<String>], index: usize| row.get(index)?.as_deref()?.parse::<u64>().ok();
        table
            .rows
            .iter()
            .map(|row| {
                let id = number(row, 0);
                let server = number(row, 1).and_then(|server| u32::try_from(server).ok());
                id.zip(server)
                    .ok_or_else(|| LabError::Other(format!("odd row of lab.probe on {host}: {row:?}")))
            })
            .collect()
    }

    /// Writes that were acknowledged and are not on this server.
    pub fn lost(&self, host: &str) -> Result<Vec<u64>> {
        let rows = self.rows(host)?;
        Ok(self
            .record
            .acknowledged()
            .map(|attempt| attempt.number)
            .filter(|number| !rows.contains_key(number))
            .collect())
    }

    /// Writes that were made twice: acknowledged by one server but held here as written by another.
    pub fn duplicates(&self, host: &str) -> Result<Vec<u64>> {
        let rows = self.rows(host)?;
        let mut seen = BTreeSet::new();
        Ok(self
            .record
            .acknowledged()
            .filter(|attempt| {
                let elsewhere =
                    rows.get(&attempt.number).is_some_and(|server| Some(*server) != attempt.server_id);
                !seen.insert(attempt.number) || elsewhere
            })
            .map(|attempt| attempt.number)
            .collect())
    }

    /// Rows on this server that were reported as failed. They harm nobody, but tell how sure a failure is.
    pub fn failed_but_there(&self, host: &str) -> Result<Vec<u64>> {
        let rows = self.rows(host)?;
        let is_there = |number: &u64| rows.contains_key(number);
        let failed = self.record.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Failed);
        Ok(failed.map(|attempt| attempt.number).filter(is_there).collect())
    }

    /// The whole comparison with the servers on these hosts.
    pub fn verdict(&self, hosts: &[&str]) -> Result<Verdict> {
        let mut verdict = Verdict {
            acknowledged: self.record.count(Outcome::Acknowledged),
            failed: self.record.count(Outcome::Failed),
            unknown: self.record.count(Outcome::Unknown),
            longest_gap: self.record.gaps().iter().map(crate::record::Gap::length).max().unwrap_or_default(),
            hosts: BTreeMap::new(),
        };
        for host in hosts {
            let judged = HostVerdict { lost: self.lost(host)?, duplicates: self.duplicates(host)? };
            verdict.hosts.insert((*host).to_owned(), judged);
        }
        Ok(verdict)
    }
}

/// What a server makes of the acknowledged writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostVerdict {
    pub lost: Vec<u64>,
    pub duplicates: Vec<u64>,
}

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub acknowledged: usize,
    pub failed: usize,
    pub unknown: usize,
    pub longest_gap: Duration,
    pub hosts: BTreeMap<String, HostVerdict>,
}

impl Verdict {
    /// Every acknowledged write is once on every server looked at.
    pub fn is_clean(&self) -> bool {
        self.hosts.values().all(|host| host.lost.is_empty() && host.duplicates.is_empty())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "writes: {} acknowledged, {} failed, {} unknown; longest time without one: {:.1} ms",
            self.acknowledged,
            self.failed,
            self.unknown,
            self.longest_gap.as_secs_f64() * 1000.0
        )?;
        for (host, verdict) in &self.hosts {
            writeln!(f, "{host}: {} lost, {} duplicates", verdict.lost.len(), verdict.duplicates.len())?;
        }
        Ok(())
    }
}
