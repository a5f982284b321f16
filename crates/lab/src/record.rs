//! What the write probe did, attempt by attempt, and the file it is kept in: one line each, written before the next attempt, so that a
//! probe that is killed loses nothing it knew.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::error::{LabError, Result, at};
use crate::moment::Moment;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server said that the row is committed.
    Acknowledged,
    /// The row was surely not written: no connection, or the server refused it.
    Failed,
    /// It was sent and no answer came: the row may or may not be there.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acknowledged => "acknowledged",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        })
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Acknowledged, Self::Failed, Self::Unknown]
            .into_iter()
            .find(|outcome| outcome.to_string() == word)
            .ok_or_else(|| format!("`{word}` is no outcome"))
    }
}

/// One attempt to write one numbered row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: u64,
    pub start: Moment,
    pub end: Moment,
    pub outcome: Outcome,
    /// `@@server_id` of the server that acknowledged it.
    pub server_id: Option<u32>,
    /// Why it was not acknowledged.
    pub error: String,
}

impl Attempt {
    pub fn is_acknowledged(&self) -> bool {
        self.outcome == Outcome::Acknowledged
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start.micros(), self.end.micros());
        let server = self.server_id.unwrap_or_default();
        let error: String = self.error.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "{}\t{start}\t{end}\t{}\t{server}\t{error}", self.number, self.outcome)
    }
}

impl FromStr for Attempt {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.splitn(6, '\t').collect();
        let [number, start, end, outcome, server, error] = fields[..] else {
            return Err(format!("6 fields expected, {} found", fields.len()));
        };
        let whole = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no whole number"));
        let server: u32 = server.parse().map_err(|_| format!("`{server}` is no server id"))?;
        Ok(Self {
            number: whole(number)?,
            start: Moment::from_micros(whole(start)?),
            end: Moment::from_micros(whole(end)?),
            outcome: outcome.parse()?,
            server_id: (server != 0).then_some(server),
            error: error.to_owned(),
        })
    }
}

/// A stretch of time without an acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last write acknowledged before it; none when there was none.
    pub before: Option<Attempt>,
    /// The first one acknowledged after it; none while the gap is open.
    pub after: Option<Attempt>,
    pub from: Moment,
    pub until: Moment,
    /// Attempts in it that were not acknowledged.
    pub failures: usize,
}

impl Gap {
    pub fn length(&self) -> Duration {
        self.until - self.from
    }

    /// Whether no write was acknowledged any more up to the end of the record.
    pub fn is_open(&self) -> bool {
        self.after.is_none()
    }
}

/// All attempts of one run, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub attempts: Vec<Attempt>,
}

impl Record {
    /// Reads a record, also while the probe is still writing it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = at(fs::read_to_string(path), "cannot read", path)?;
        Self::parse(&text).map_err(|(line, reason)| LabError::BadRecord {
            path: PathBuf::from(path),
            line,
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        // A last line without its end is still being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |(index, line): (usize, &str)| line.parse().map_err(|reason| (index + 1, reason));
        Ok(Self { attempts: whole.lines().enumerate().map(parse).collect::<Result<_, _>>()? })
    }

    pub fn acknowledged(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.is_acknowledged())
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.attempts.iter().filter(|attempt| attempt.outcome == outcome).count()
    }

    /// The first write acknowledged after a moment.
    pub fn first_after(&self, moment: Moment) -> Option<&Attempt> {
        self.acknowledged().find(|attempt| attempt.end > moment)
    }

    /// Time from a moment (a fault) to the first write that this server acknowledged after it.
    pub fn takeover(&self, moment: Moment, server_id: u32) -> Option<Duration> {
        self.acknowledged()
            .find(|attempt| attempt.end > moment && attempt.server_id == Some(server_id))
            .map(|attempt| attempt.end - moment)
    }

    /// The longest time between two acknowledged writes that lies, at least in part, between the two moments.
    pub fn longest_gap(&self, from: Moment, until: Moment) -> Option<Gap> {
        self.gaps().into_iter().filter(|gap| gap.until > from && gap.from < until).max_by_key(Gap::length)
    }

    /// The longest time without an acknowledged write from a moment on.
    pub fn gap_after(&self, moment: Moment) -> Option<Gap> {
        self.longest_gap(moment, Moment::from_micros(u64::MAX))
    }

    /// The times between acknowledged writes, with what lies before the first and behind the last.
    pub fn gaps(&self) -> Vec<Gap> {
        let (Some(first), Some(last)) = (self.attempts.first(), self.attempts.last()) else {
            return Vec::new();
        };
        let mut gaps = Vec::new();
        let mut open = Gap { before: None, after: None, from: first.start, until: last.end, failures: 0 };
        for attempt in &self.attempts {
            if !attempt.is_acknowledged() {
                open.failures += 1;
                continue;
            }
            let next = Gap {
                before: Some(attempt.clone()),
                after: None,
                from: attempt.end,
                until: last.end,
                failures: 0,
            };
            let mut closed = std::mem::replace(&mut open, next);
            closed.until = attempt.end;
            closed.after = Some(attempt.clone());
            gaps.push(closed);
        }
        if open.until > open.from || open.failures > 0 {
            gaps.push(open);
        }
        gaps
    }

    /// Writes that `old` acknowledged after `new` had acknowledged its first, and for how long.
    pub fn overlap(&self, old: u32, new: u32) -> (usize, Duration) {
        let Some(first) = self.acknowledged().find(|attempt| attempt.server_id == Some(new)) else {
            return (0, Duration::ZERO);
        };
        let late: Vec<&Attempt> = self
            .acknowledged()
            .filter(|attempt| attempt.server_id == Some(old) && attempt.end > first.end)
            .collect();
        let length = late.iter().map(|attempt| attempt.end - first.end).max().unwrap_or_default();
        (late.len(), length)
    }
}

#[cfg(test)]
mod tests;
