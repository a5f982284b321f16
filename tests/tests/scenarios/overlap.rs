//! The proof that there was one writer at most: what clients on several hosts were told, and what a thread saw that looked at
//! both servers and both hosts' addresses, put together.
//!
//! What the clients were told decides. The looks see the dangerous states between two writes as well, but a look takes
//! milliseconds, so that something shorter may be missed by them.

use std::fmt;
use std::time::{Duration, Instant};

use mmm_lab::{Lab, M1, M2, Moment, Record, WRITER};

/// A server that hangs takes no writes from anybody else either; waiting longer for it would leave the other one unwatched.
const LOOK_LIMIT: Duration = Duration::from_millis(150);

/// What the looks saw since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looks {
    pub(crate) count: usize,
    both_addressed: usize,
    /// Both hosts had the writer's address and both servers took writes.
    both_serving: usize,
    /// The longest time for which both servers took writes, with or without the address.
    both_writable: Duration,
    both_writable_since: Option<Instant>,
}

impl Looks {
    pub(crate) fn look(&mut self, lab: &Lab) {
        let began = Instant::now();
        let writable = |host: &str| {
            lab.sql_within(host, "SELECT @@read_only", LOOK_LIMIT)
                .is_ok_and(|table| table.value() == Some("0"))
        };
        let addressed = |host: &str| lab.has_address(host, WRITER).unwrap_or(false);
        // The first is looked at again after the second: only if it was so before and after, both were at once.
        let both = |has: &dyn Fn(&str) -> bool| has(M1) && has(M2) && has(M1);
        let (both_addressed, both_writable) = (both(&addressed), both(&writable));
        self.count += 1;
        self.both_addressed += usize::from(both_addressed);
        self.both_serving += usize::from(both_addressed && both_writable);
        if both_writable {
            let since = *self.both_writable_since.get_or_insert(began);
            self.both_writable = self.both_writable.max(since.elapsed());
        } else {
            self.both_writable_since = None;
        }
    }

    /// What was seen up to now; what is going on at this moment belongs to the next report as well.
    pub(crate) fn take(&mut self) -> Self {
        let next = Self { both_writable_since: self.both_writable_since, ..Self::default() };
        std::mem::replace(self, next)
    }
}

/// What became of the writer in a stretch of time in which the role moved once at most.
#[derive(Clone, Debug)]
pub(crate) struct Overlap {
    /// The servers that acknowledged writes: the one that was first, and the other one.
    pub(crate) old: Option<u32>,
    pub(crate) new: Option<u32>,
    /// Writes that the old writer acknowledged after the new one had acknowledged its first.
    pub(crate) late: usize,
    /// From the first write of the new one to the last of those.
    pub(crate) length: Duration,
    /// The last write of the old one, and the first of the new one.
    pub(crate) last_by_old: Option<Moment>,
    pub(crate) first_by_new: Option<Moment>,
    /// The longest time in which no client at all had a write acknowledged.
    pub(crate) gap: Duration,
    pub(crate) acknowledged: usize,
    pub(crate) not_acknowledged: usize,
    looks: Looks,
}

impl Overlap {
    pub(crate) fn of(records: &[Record], from: Moment, until: Moment, looks: Looks) -> Self {
        let attempts =
            || records.iter().flat_map(|record| &record.attempts).filter(|a| a.end > from && a.end <= until);
        let mut writes: Vec<(Moment, u32)> = attempts()
            .filter(|attempt| attempt.is_acknowledged())
            .map(|attempt| (attempt.end, attempt.server_id.unwrap_or_default()))
            .collect();
        writes.sort_unstable();
        let old = writes.first().map(|write| write.1);
        let first_by_new = writes.iter().find(|write| Some(write.1) != old).copied();
        let by_old = || writes.iter().filter(|write| Some(write.1) == old).map(|write| write.0);
        let late: Vec<Duration> = by_old()
            .filter_map(|end| first_by_new.filter(|first| end > first.0).map(|first| end - first.0))
            .collect();
        let ends: Vec<Moment> = writes.iter().map(|write| write.0).chain([until]).collect();
        let starts = [from].into_iter().chain(writes.iter().map(|write| write.0));
        Self {
            old,
            new: first_by_new.map(|write| write.1),
            late: late.len(),
            length: late.into_iter().max().unwrap_or_default(),
            last_by_old: by_old().max(),
            first_by_new: first_by_new.map(|write| write.0),
            gap: starts.zip(ends).map(|(start, end)| end - start).max().unwrap_or_default(),
            acknowledged: writes.len(),
            not_acknowledged: attempts().count() - writes.len(),
            looks,
        }
    }

    /// From a fault to the first write of the new writer.
    pub(crate) fn takeover(&self, fault: Moment) -> Option<Duration> {
        self.first_by_new.map(|first| first - fault)
    }

    /// What must never be, in words. An open server that no client can reach is only half of it: it counts when it stays open
    /// for longer than `open`.
    pub(crate) fn problems(&self, open: Duration) -> Vec<String> {
        let looks = &self.looks;
        let mut problems = Vec::new();
        if looks.count == 0 {
            problems.push("nobody looked".to_owned());
        }
        if self.acknowledged == 0 {
            problems.push("nobody wrote".to_owned());
        }
        if self.late > 0 {
            problems.push(format!("two writers for {:?}: {} late writes", self.length, self.late));
        }
        if looks.both_addressed > 0 {
            problems
                .push(format!("the writer's address was on both hosts in {} looks", looks.both_addressed));
        }
        if looks.both_serving > 0 {
            problems
                .push(format!("both took writes at the writer's address in {} looks", looks.both_serving));
        }
        if looks.both_writable > open {
            problems.push(format!("both servers took writes for {:?}", looks.both_writable));
        }
        problems
    }

    /// At no time were there two writers, and never were both servers open.
    pub(crate) fn expect_one_writer(&self) {
        self.expect_one_writer_but(Duration::ZERO);
    }

    /// As [`Overlap::expect_one_writer`], where nobody could close the old server, or not before it was open: it may have been open
    /// for so long, but out of every client's reach.
    pub(crate) fn expect_one_writer_but(&self, open: Duration) {
        let problems = self.problems(open);
        assert!(problems.is_empty(), "{}; in all: {self}", problems.join("; "));
    }

    /// Nobody noticed anything: one server took all writes, and none of them failed.
    pub(crate) fn expect_undisturbed(&self, server_id: u32) {
        self.expect_one_writer();
        assert_eq!((self.old, self.new), (Some(server_id), None), "the writer changed: {self}");
        assert_eq!(self.not_acknowledged, 0, "{self}");
        assert!(self.gap < Duration::from_secs(1), "{self}");
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = |id: Option<u32>| id.map_or("nobody".to_owned(), |id| format!("server {id}"));
        let looks = &self.looks;
        write!(
            f,
            "writer {} then {}: overlap {:?} ({} late writes), longest time without a write {:?}, {} acknowledged, {} not; \
             {} looks: address on both hosts in {}, both serving in {}, both open for {:?} at most",
            server(self.old),
            server(self.new),
            self.length,
            self.late,
            self.gap,
            self.acknowledged,
            self.not_acknowledged,
            looks.count,
            looks.both_addressed,
            looks.both_serving,
            looks.both_writable,
        )
    }
}

#[cfg(test)]
mod tests {
    use mmm_lab::{Attempt, Outcome};

    use super::*;

    fn write(end_ms: u64, server: u32) -> Attempt {
        Attempt {
            number: end_ms,
            start: Moment::from_micros(end_ms * 1000 - 500),
            end: Moment::from_micros(end_ms * 1000),
            outcome: if server == 0 { Outcome::Failed } else { Outcome::Acknowledged },
            server_id: (server != 0).then_some(server),
            error: String::new(),
        }
    }

    fn of(one: &[(u64, u32)], other: &[(u64, u32)]) -> Overlap {
        let record = |writes: &[(u64, u32)]| Record {
            attempts: writes.iter().map(|(end, id)| write(*end, *id)).collect(),
        };
        let looks = Looks { count: 1, ..Looks::default() };
        let (from, until) = (Moment::from_micros(0), Moment::from_micros(1_000_000));
        Overlap::of(&[record(one), record(other)], from, until, looks)
    }

    #[test]
    fn a_late_write_of_one_client_is_seen_through_the_other_clients_record() {
        let overlap = of(&[(10, 12), (20, 12), (90, 12)], &[(15, 12), (50, 0), (60, 13), (980, 13)]);
        assert_eq!((overlap.old, overlap.new, overlap.late), (Some(12), Some(13), 1));
        assert_eq!(overlap.length, Duration::from_millis(30));
        assert_eq!(overlap.gap, Duration::from_millis(890));
        assert_eq!((overlap.acknowledged, overlap.not_acknowledged), (6, 1));
        assert_eq!(overlap.problems(Duration::ZERO).len(), 1);
    }

    #[test]
    fn a_move_without_late_writes_is_none_and_silence_is_no_proof() {
        let overlap = of(&[(10, 12), (20, 12), (60, 13)], &[(15, 12), (50, 0), (65, 13)]);
        assert_eq!((overlap.late, overlap.length), (0, Duration::ZERO));
        assert_eq!(overlap.takeover(Moment::from_micros(21_000)), Some(Duration::from_millis(39)));
        overlap.expect_one_writer();
        assert_eq!(of(&[], &[(10, 0)]).problems(Duration::ZERO), ["nobody wrote"]);
    }
}
