//! The monitor's book of the last lease it granted.
//!
//! Whom the monitor would like to have as the writer is a plan and stands elsewhere. The book changes only when a grant
//! leaves, and says what has to be true before the next host may get one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::epoch::Epoch;
use super::rules::LeaseRules;
use super::times::{LeaseLength, wait_for};
use crate::moment::Moment;
use crate::names::HostName;

/// Where a host of the list stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Listed {
    /// Named in the grant that answered the renewal with this reading; the holder may not know it yet.
    Named(Moment),
    /// Named by a monitor that has ended since, in a grant that may never have left: to be named again.
    NamedBefore,
    /// The holder has said that it took in a grant with this host: it will ask it for a promise.
    Joined,
}

/// How a lease ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ended {
    /// The holder gave it back.
    Released,
    /// `kill_host` ended with 0, or an operator confirmed that the host is dead.
    Dead,
}

impl Ended {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "given back",
            Self::Dead => "its holder is dead",
        }
    }
}

/// What the monitor must know of the last lease after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GrantRecord {
    pub host: HostName,
    pub epoch: Epoch,
    /// Hosts that could take over. Empty: nobody else could, and the lease does not run out.
    pub list: BTreeMap<HostName, Listed>,
    /// The longest length granted in this epoch.
    pub longest: LeaseLength,
    pub ended: Option<Ended>,
    /// Its holder's agent speaks protocol 1: nothing on that host would end the lease by itself.
    #[serde(default)]
    pub unfenced: bool,
}

/// A holder's request to have its lease renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Renewal {
    pub epoch: Epoch,
    /// The holder's boot clock when it asked: the lease will last from here.
    pub reading: Moment,
    /// The reading of the last grant it took in.
    pub taken: Option<Moment>,
}

/// The monitor's answer that makes a lease last.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    pub epoch: Epoch,
    /// Echo of the renewal's reading.
    pub reading: Moment,
    pub length: LeaseLength,
    pub list: BTreeSet<HostName>,
}

/// Why a host may be promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Proof {
    /// No lease was ever granted, as every candidate has said.
    Nobody,
    /// The last lease that was granted is this host's own.
    Own,
    /// The lease of this epoch was ended, or one before it.
    Ended(Epoch, Ended),
    /// The lease of this epoch has run out on the monitor's clock.
    RanOut(Epoch),
}

/// Why a host may not be promoted (yet).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// The holder's lease runs for so long at most.
    StillRuns { holder: HostName, rest: Duration },
    /// The holder does not know that this host could take over, so it would not ask it for a promise.
    NotListed { holder: HostName },
    /// The holder was told that nobody could take over: its lease does not run out.
    EmptyList { holder: HostName },
}

/// The book. `ends` and `last_reading` are not durable: after a restart a whole wait begins anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrantBook {
    rules: LeaseRules,
    record: Option<GrantRecord>,
    ends: Moment,
    last_reading: Option<Moment>,
    /// Whom the monitor chose since; consulted only where a rule is dropped.
    plans: BTreeMap<HostName, Epoch>,
}

impl GrantBook {
    /// The book of a monitor that starts now and read this record.
    pub fn restart(record: Option<GrantRecord>, now: Moment, rules: LeaseRules) -> Self {
        let mut book = Self { rules, record: None, ends: now, last_reading: None, plans: BTreeMap::new() };
        book.adopt(now, record);
        book
    }

    /// Takes over what is known of the last lease from elsewhere, and waits for its end anew.
    pub fn adopt(&mut self, now: Moment, record: Option<GrantRecord>) {
        self.record = record;
        self.last_reading = None;
        for listed in self.record.iter_mut().flat_map(|record| record.list.values_mut()) {
            if matches!(listed, Listed::Named(_)) {
                *listed = Listed::NamedBefore;
            }
        }
        self.wait_anew(now);
    }

    /// Counts a whole wait from now: the monitor stood still or was cut off, and cannot know what it has missed.
    pub fn wait_anew(&mut self, now: Moment) {
        if let Some(record) = &self.record {
            self.ends = self.ends.max(now + waited(record.longest, self.rules));
        }
    }

    /// When the lease will have run out for certain; none when it was ended, or does not run out.
    pub fn ends(&self) -> Option<Moment> {
        self.record.as_ref().filter(|record| record.ended.is_none() && !record.list.is_empty())?;
        Some(self.ends)
    }

    pub fn record(&self) -> Option<&GrantRecord> {
        self.record.as_ref()
    }

    /// Notes whom the monitor chose. It changes nothing about who holds the lease.
    pub fn note_plan(&mut self, host: &HostName, epoch: Epoch) {
        self.plans.insert(host.clone(), epoch);
    }

    /// Whether `candidate` may be promoted now.
    pub fn proof_for(&self, now: Moment, candidate: &HostName) -> Result<Proof, Obstacle> {
        let Some(record) = &self.record else { return Ok(Proof::Nobody) };
        if let Some(ended) = record.ended {
            return Ok(Proof::Ended(record.epoch, ended));
        }
        if record.host == *candidate {
            return Ok(Proof::Own);
        }
        let holder = record.host.clone();
        if self.rules.only_listed_hosts {
            if record.list.is_empty() {
                return Err(Obstacle::EmptyList { holder });
            }
            if record.list.get(candidate) != Some(&Listed::Joined) {
                return Err(Obstacle::NotListed { holder });
            }
        }
        if now < self.ends {
            return Err(Obstacle::StillRuns { holder, rest: self.ends.since(now) });
        }
        Ok(Proof::RanOut(record.epoch))
    }

    /// Answers a renewal of the lease in the book, or of a host that was promoted with a proof and asks for the first
    /// time. `None`: no answer. The record returned has to be durable before the grant leaves; where that fails, the
    /// caller puts the old book back and asks with the recorded values.
    pub fn renew(
        &mut self,
        now: Moment,
        host: &HostName,
        renewal: &Renewal,
        promotable: &BTreeSet<HostName>,
        length: LeaseLength,
    ) -> Option<Grant> {
        let known =
            self.record.as_ref().is_some_and(|record| record.host == *host && record.epoch == renewal.epoch);
        if known {
            self.extend(renewal, promotable, length)?;
        } else {
            self.begin(now, host, renewal, promotable, length)?;
        }
        let record = self.record.as_ref()?;
        self.last_reading = Some(renewal.reading);
        // The end of a lease is the latest end of all its grants.
        self.ends = self.ends.max(now + waited(length, self.rules));
        Some(Grant {
            epoch: record.epoch,
            reading: renewal.reading,
            length,
            list: record.list.keys().cloned().collect(),
        })
    }

    /// Answers a renewal of the lease in the book without changing anything of the record that has to be durable.
    pub fn renew_as_recorded(
        &mut self,
        now: Moment,
        host: &HostName,
        renewal: &Renewal,
        length: LeaseLength,
    ) -> Option<Grant> {
        let record = self.record.as_ref()?;
        let known = record.host == *host && record.epoch == renewal.epoch && record.ended.is_none();
        if !known || !self.is_newer(renewal) {
            return None;
        }
        // What would be longer than ever before would have to be written down first.
        let length = length.min(record.longest);
        let grant = Grant {
            epoch: record.epoch,
            reading: renewal.reading,
            length,
            list: record.list.keys().cloned().collect(),
        };
        self.last_reading = Some(renewal.reading);
        self.ends = self.ends.max(now + waited(length, self.rules));
        Some(grant)
    }

    fn is_newer(&self, renewal: &Renewal) -> bool {
        !self.rules.readings_go_forward_at_monitor
            || self.last_reading.is_none_or(|last| renewal.reading > last)
    }

    fn extend(
        &mut self,
        renewal: &Renewal,
        promotable: &BTreeSet<HostName>,
        length: LeaseLength,
    ) -> Option<()> {
        let rules = self.rules;
        let newer = self.is_newer(renewal);
        let record = self.record.as_mut()?;
        if record.ended.is_some() || !newer {
            return None;
        }
        for listed in record.list.values_mut() {
            if let Listed::Named(named) = listed
                && renewal.taken.is_some_and(|taken| taken >= *named)
            {
                *listed = Listed::Joined;
            }
        }
        record.list.retain(|name, _| promotable.contains(name));
        for name in promotable.iter().filter(|name| **name != record.host) {
            let entry =
                if rules.joining_is_confirmed { Listed::Named(renewal.reading) } else { Listed::Joined };
            let listed = record.list.entry(name.clone()).or_insert(entry);
            if *listed == Listed::NamedBefore {
                *listed = entry;
            }
        }
        record.longest = record.longest.max(length);
        // Whoever renews keeps a lease.
        record.unfenced = false;
        Some(())
    }

    /// Records the lease of a host that cannot keep one, as it speaks protocol 1: nobody could take over by time.
    pub fn begin_unfenced(&mut self, now: Moment, host: &HostName, epoch: Epoch) -> bool {
        let renewal = Renewal { epoch, reading: now, taken: None };
        let begun = self.begin(now, host, &renewal, &BTreeSet::new(), LeaseLength::LEAST).is_some();
        if let Some(record) = self.record.as_mut().filter(|_| begun) {
            record.unfenced = true;
        }
        begun
    }

    fn begin(
        &mut self,
        now: Moment,
        host: &HostName,
        renewal: &Renewal,
        promotable: &BTreeSet<HostName>,
        length: LeaseLength,
    ) -> Option<()> {
        let newer = self.record.as_ref().is_none_or(|record| renewal.epoch > record.epoch);
        if !newer || self.proof_for(now, host).is_err() {
            return None;
        }
        let entry =
            if self.rules.joining_is_confirmed { Listed::Named(renewal.reading) } else { Listed::Joined };
        // A holder that is promoted anew goes on by its old lease until the first grant of the new epoch.
        let before = self.record.as_ref().filter(|record| record.host == *host && record.ended.is_none());
        let continues = before.is_some();
        let longest = before.map_or(length, |before| before.longest.max(length));
        self.record = Some(GrantRecord {
            host: host.clone(),
            epoch: renewal.epoch,
            list: promotable.iter().filter(|name| *name != host).map(|name| (name.clone(), entry)).collect(),
            longest,
            ended: None,
            unfenced: false,
        });
        if !continues {
            self.ends = now;
        }
        self.last_reading = None;
        self.plans.clear();
        Some(())
    }

    /// Takes in that a host gave back this epoch and every smaller one. True when the record changed.
    pub fn take_in_release(&mut self, host: &HostName, epoch: Epoch) -> bool {
        if !self.rules.grants_count_and_plans_do_not
            && self.plans.get(host).is_some_and(|number| *number <= epoch)
        {
            return self.end(Ended::Released);
        }
        let held = self.record.as_ref().is_some_and(|record| record.host == *host && record.epoch <= epoch);
        held && self.end(Ended::Released)
    }

    /// Takes in that the holder is off. It counts for the epoch that was granted when the word was given and for no
    /// later one. True when the record changed.
    pub fn take_in_death(&mut self, host: &HostName, epoch: Epoch) -> bool {
        let held = self.record.as_ref().is_some_and(|record| record.host == *host && record.epoch == epoch);
        held && self.end(Ended::Dead)
    }

    fn end(&mut self, how: Ended) -> bool {
        match &mut self.record {
            Some(record) if record.ended.is_none() => {
                record.ended = Some(how);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Somebody has promised the holder of this epoch not to take its role for so long: the holder lives.
    pub fn take_in_promise(&mut self, now: Moment, epoch: Epoch, rest: Duration) {
        if self.record.as_ref().is_some_and(|record| record.epoch == epoch) {
            self.ends = self.ends.max(now + rest);
        }
    }
}

fn waited(length: LeaseLength, rules: LeaseRules) -> Duration {
    if rules.waiters_count_longer { wait_for(length) } else { length.duration() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: LeaseLength = LeaseLength::DEFAULT;

    fn host(name: &str) -> HostName {
        name.into()
    }

    fn hosts(names: &[&str]) -> BTreeSet<HostName> {
        names.iter().map(|name| host(name)).collect()
    }

    fn epoch(number: u64) -> Epoch {
        Epoch { number, origin: 1 }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn renewal(number: u64, reading: u64, taken: Option<u64>) -> Renewal {
        Renewal { epoch: epoch(number), reading: at(reading), taken: taken.map(at) }
    }

    fn held_by_a(joined: bool) -> GrantBook {
        let mut book = GrantBook::restart(None, at(0), LeaseRules::ALL);
        assert!(book.renew(at(0), &host("a"), &renewal(1, 100, None), &hosts(&["a", "b"]), LENGTH).is_some());
        if joined {
            assert!(
                book.renew(at(10), &host("a"), &renewal(1, 110, Some(100)), &hosts(&["a", "b"]), LENGTH)
                    .is_some()
            );
        }
        book
    }

    #[test]
    fn a_listed_host_may_follow_only_after_the_whole_wait() {
        let book = held_by_a(true);
        let wait = wait_for(LENGTH);
        let just_before = at(10) + wait.checked_sub(Duration::from_millis(1)).unwrap();
        assert!(matches!(book.proof_for(just_before, &host("b")), Err(Obstacle::StillRuns { .. })));
        assert_eq!(book.proof_for(at(10) + wait, &host("b")), Ok(Proof::RanOut(epoch(1))));
    }

    #[test]
    fn a_host_whose_joining_is_not_confirmed_may_not_follow_on_silence() {
        let book = held_by_a(false);
        let late = at(60_000);
        assert_eq!(book.proof_for(late, &host("b")), Err(Obstacle::NotListed { holder: host("a") }));
        assert!(held_by_a(true).proof_for(late, &host("b")).is_ok());
        assert!(held_by_a(true).proof_for(late, &host("c")).is_err());
    }

    #[test]
    fn a_lease_with_an_empty_list_never_runs_out() {
        let mut book = held_by_a(true);
        assert!(
            book.renew(at(20), &host("a"), &renewal(1, 120, Some(110)), &hosts(&["a"]), LENGTH).is_some()
        );
        assert_eq!(book.proof_for(at(900_000), &host("b")), Err(Obstacle::EmptyList { holder: host("a") }));
        assert!(book.take_in_death(&host("a"), epoch(1)));
        assert_eq!(book.proof_for(at(900_000), &host("b")), Ok(Proof::Ended(epoch(1), Ended::Dead)));
    }

    #[test]
    fn a_host_that_left_the_list_has_to_join_anew() {
        let mut book = held_by_a(true);
        let late = at(60_000);
        let _ = book.renew(at(20), &host("a"), &renewal(1, 120, Some(110)), &hosts(&["a"]), LENGTH);
        let _ = book.renew(at(30), &host("a"), &renewal(1, 130, Some(120)), &hosts(&["a", "b"]), LENGTH);
        assert!(book.proof_for(late, &host("b")).is_err());
        let _ = book.renew(at(40), &host("a"), &renewal(1, 140, Some(130)), &hosts(&["a", "b"]), LENGTH);
        assert!(book.proof_for(late, &host("b")).is_ok());
    }

    #[test]
    fn a_renewal_whose_reading_is_not_newer_is_dropped() {
        let mut book = held_by_a(true);
        for reading in [105, 110] {
            assert!(
                book.renew(at(50), &host("a"), &renewal(1, reading, None), &hosts(&["b"]), LENGTH).is_none()
            );
        }
    }

    #[test]
    fn an_ended_lease_is_never_renewed_and_a_chosen_host_holds_nothing() {
        let mut book = held_by_a(true);
        book.note_plan(&host("b"), epoch(2));
        assert!(!book.take_in_release(&host("b"), epoch(2)), "its refusal frees nobody else");
        assert!(book.proof_for(at(20), &host("b")).is_err());
        assert!(book.take_in_release(&host("a"), epoch(1)));
        assert!(book.renew(at(30), &host("a"), &renewal(1, 200, None), &hosts(&["b"]), LENGTH).is_none());
        assert!(book.renew(at(40), &host("b"), &renewal(2, 7, None), &hosts(&["a", "b"]), LENGTH).is_some());
        assert_eq!(book.record().unwrap().host, host("b"));
    }

    #[test]
    fn a_promoted_host_gets_no_first_grant_while_the_old_lease_may_run() {
        let mut book = held_by_a(true);
        assert!(book.renew(at(100), &host("b"), &renewal(2, 7, None), &hosts(&["a"]), LENGTH).is_none());
        assert!(
            book.renew(at(60_000), &host("b"), &renewal(1, 7, None), &hosts(&["a"]), LENGTH).is_none(),
            "old epoch"
        );
        assert!(book.renew(at(60_000), &host("b"), &renewal(2, 7, None), &hosts(&["a"]), LENGTH).is_some());
    }

    #[test]
    fn a_restarted_monitor_waits_the_recorded_length_anew() {
        let mut before = held_by_a(true);
        let long = LeaseLength::new(Duration::from_secs(20)).unwrap();
        let _ = before.renew(at(20), &host("a"), &renewal(1, 120, Some(110)), &hosts(&["a", "b"]), long);
        let book = GrantBook::restart(before.record().cloned(), at(0), LeaseRules::ALL);
        assert!(book.proof_for(at(6000), &host("b")).is_err());
        assert!(book.proof_for(at(0) + wait_for(long), &host("b")).is_ok());
    }

    #[test]
    fn a_death_counts_for_the_epoch_it_was_said_of_and_for_no_later_one() {
        let mut book = held_by_a(true);
        let _ = book.renew(at(20), &host("a"), &renewal(3, 130, None), &hosts(&["a", "b"]), LENGTH);
        assert!(!book.take_in_death(&host("a"), epoch(1)));
        assert!(book.take_in_death(&host("a"), epoch(3)));
    }

    #[test]
    fn a_promise_for_the_epoch_in_the_book_keeps_others_waiting() {
        let mut book = held_by_a(true);
        book.take_in_promise(at(5000), epoch(1), Duration::from_secs(5));
        assert!(book.proof_for(at(9000), &host("b")).is_err());
        book.take_in_promise(at(5000), epoch(9), Duration::from_secs(500));
        assert!(book.proof_for(at(10_001), &host("b")).is_ok());
    }
}
