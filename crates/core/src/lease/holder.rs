//! The writer's own side of its lease: how long it may go on, and what it must do when nobody answers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::book::{Grant, Renewal};
use super::epoch::Epoch;
use super::rules::LeaseRules;
use super::times::LeaseLength;
use crate::moment::Moment;
use crate::names::HostName;

/// What the holder has to do now; each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Duty {
    /// No grant has been taken in: it may not open yet.
    Wait,
    Write,
    /// Renewals go unanswered: ask every host of the list for a promise.
    AskPromises,
    /// Close the server and end client threads; the address follows at the end.
    Close,
    /// The lease is over: address off, and whatever is still writable is killed.
    Over,
}

/// A lease as its holder keeps it, also over a restart of its program within one boot. All moments are of the boot clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HolderLease {
    /// Not of the file: no file may drop a rule.
    #[serde(skip)]
    rules: LeaseRules,
    epoch: Epoch,
    /// A grant stands, of this epoch or of the one before.
    granted: bool,
    /// Reading of the last grant that was let in.
    taken: Option<Moment>,
    /// Reading of the last grant that is kept: in the run directory, with the addresses' lifetimes.
    kept: Option<Moment>,
    /// The lease was last lengthened by promises.
    by_promise: bool,
    /// The latest end of all grants and rounds of promises.
    ends: Option<Moment>,
    /// When the last answer was asked for that came.
    answered: Option<Moment>,
    length: LeaseLength,
    list: BTreeSet<HostName>,
    round: Option<Round>,
}

/// One round of asking for promises.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Round {
    asked: Moment,
    promised: BTreeSet<HostName>,
}

impl HolderLease {
    /// A promotion was accepted; nothing may be written before the first grant.
    pub fn new(epoch: Epoch, rules: LeaseRules) -> Self {
        Self {
            rules,
            epoch,
            granted: false,
            taken: None,
            kept: None,
            by_promise: false,
            ends: None,
            answered: None,
            length: LeaseLength::DEFAULT,
            list: BTreeSet::new(),
            round: None,
        }
    }

    /// A holder that is promoted anew: it goes on by its old lease until the first grant of the new epoch.
    pub fn following(before: &HolderLease, epoch: Epoch) -> Self {
        Self { epoch, taken: None, kept: None, round: None, ..before.clone() }
    }

    /// What a running writer of 2.2.1 holds when its first agent of 3.x finds it: epoch 0, and nobody could take over.
    pub fn adopted(rules: LeaseRules) -> Self {
        Self { granted: true, ..Self::new(Epoch::NONE, rules) }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether promises, and no grant, were the last to lengthen it.
    pub fn is_kept_by_promises(&self) -> bool {
        self.by_promise
    }

    /// The last moment of the lease; none when it does not run out or has not begun.
    pub fn ends(&self) -> Option<Moment> {
        self.ends.filter(|_| !self.is_endless())
    }

    pub fn list(&self) -> &BTreeSet<HostName> {
        &self.list
    }

    pub fn length(&self) -> LeaseLength {
        self.length
    }

    /// The request to send now.
    pub fn renewal(&self, now: Moment) -> Renewal {
        let named = if self.rules.grants_are_taken_in_when_kept { self.kept } else { self.taken };
        Renewal { epoch: self.epoch, reading: now, taken: named }
    }

    /// List, lease and the addresses' lifetimes are where they must be for the grant with this reading.
    pub fn note_kept(&mut self, reading: Moment) {
        self.kept = self.kept.max(Some(reading));
    }

    /// Lets a grant in; false when it is of another epoch or not newer than the last one. It counts as taken in, and
    /// may be named in a renewal, only after [`Self::note_kept`].
    pub fn take_in(&mut self, grant: &Grant) -> bool {
        let old =
            self.rules.readings_go_forward_at_agent && self.taken.is_some_and(|taken| grant.reading <= taken);
        if grant.epoch != self.epoch || old {
            return false;
        }
        self.taken = Some(grant.reading);
        self.granted = true;
        self.by_promise = false;
        self.length = grant.length;
        self.list.clone_from(&grant.list);
        self.round = None;
        self.lengthen(grant.reading);
        true
    }

    fn lengthen(&mut self, from: Moment) {
        let end = from + self.length.duration();
        self.ends = Some(self.ends.map_or(end, |ends| ends.max(end)));
        self.answered = Some(self.answered.map_or(from, |answered| answered.max(from)));
    }

    /// Whether nobody else could take over, so that the lease does not run out.
    pub fn is_endless(&self) -> bool {
        self.granted && self.list.is_empty()
    }

    /// How much of the lease is left; `None` when it does not run out.
    pub fn rest(&self, now: Moment) -> Option<Duration> {
        if self.is_endless() {
            return None;
        }
        Some(self.ends.map_or(Duration::ZERO, |ends| ends.since(now)))
    }

    pub fn duty(&self, now: Moment) -> Duty {
        if self.is_endless() {
            return Duty::Write;
        }
        let (Some(ends), Some(answered)) = (self.ends, self.answered) else { return Duty::Wait };
        let unanswered = now.since(answered);
        if now >= ends {
            Duty::Over
        } else if unanswered >= self.length.close_after() && now + (self.length.duration() / 5) >= ends {
            Duty::Close
        } else if unanswered >= self.length.ask_promises_after() {
            Duty::AskPromises
        } else {
            Duty::Write
        }
    }

    /// Begins a round of promises: every host of the list is asked now.
    pub fn begin_round(&mut self, now: Moment) {
        self.round = Some(Round { asked: now, promised: BTreeSet::new() });
    }

    /// A host of the list promised, in the round that was begun at `asked`. True when all have and the lease lasts on.
    pub fn take_in_promise(&mut self, host: &HostName, asked: Moment) -> bool {
        let Some(round) = self.round.as_mut().filter(|round| round.asked == asked) else { return false };
        round.promised.insert(host.clone());
        if !self.list.is_subset(&round.promised) {
            return false;
        }
        self.round = None;
        self.by_promise = true;
        self.lengthen(asked);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn epoch() -> Epoch {
        Epoch { number: 1, origin: 1 }
    }

    fn grant(reading: u64, list: &[&str]) -> Grant {
        Grant {
            epoch: epoch(),
            reading: at(reading),
            length: LeaseLength::DEFAULT,
            list: list.iter().map(|name| HostName::from(*name)).collect(),
        }
    }

    fn leased(list: &[&str]) -> HolderLease {
        let mut lease = HolderLease::new(epoch(), LeaseRules::ALL);
        assert_eq!(lease.duty(at(0)), Duty::Wait);
        assert!(lease.take_in(&grant(1000, list)));
        lease
    }

    #[test]
    fn the_duties_follow_the_deadlines_from_the_reading_of_the_last_answer() {
        let lease = leased(&["b"]);
        let duties =
            [(1000, Duty::Write), (2999, Duty::Write), (3000, Duty::AskPromises), (4999, Duty::AskPromises)];
        for (ms, duty) in
            duties.into_iter().chain([(5000, Duty::Close), (5999, Duty::Close), (6000, Duty::Over)])
        {
            assert_eq!(lease.duty(at(ms)), duty, "at {ms}");
        }
    }

    #[test]
    fn a_late_or_foreign_grant_changes_nothing() {
        let mut lease = leased(&["b"]);
        assert!(!lease.take_in(&grant(1000, &[])));
        assert!(!lease.take_in(&grant(900, &[])));
        let foreign = Grant { epoch: Epoch { number: 2, origin: 1 }, ..grant(2000, &[]) };
        assert!(!lease.take_in(&foreign));
        assert_eq!(lease.duty(at(6000)), Duty::Over);
    }

    #[test]
    fn a_lease_with_an_empty_list_lasts_until_a_grant_names_somebody() {
        let mut lease = leased(&[]);
        assert_eq!(lease.duty(at(10_000_000)), Duty::Write);
        assert_eq!(lease.rest(at(10_000_000)), None);
        assert!(lease.take_in(&grant(20_000, &["b"])));
        assert_eq!(lease.duty(at(25_000)), Duty::Over);
    }

    #[test]
    fn a_reading_is_named_only_when_all_that_belongs_to_its_grant_is_kept() {
        let mut lease = leased(&["b"]);
        assert_eq!(lease.renewal(at(1500)).taken, None);
        lease.note_kept(at(1000));
        assert_eq!(lease.renewal(at(1500)).taken, Some(at(1000)));
    }

    #[test]
    fn a_holder_that_is_promoted_anew_goes_on_by_its_old_lease() {
        let next = Epoch { number: 2, origin: 1 };
        let mut lease = HolderLease::following(&leased(&["b"]), next);
        assert_eq!((lease.duty(at(2000)), lease.duty(at(6000))), (Duty::Write, Duty::Over));
        assert_eq!(lease.renewal(at(2000)).taken, None);
        assert!(!lease.take_in(&grant(2000, &[])), "a grant of the old epoch");
        let mut lease = HolderLease::following(&HolderLease::adopted(LeaseRules::ALL), next);
        assert_eq!(lease.duty(at(9_000_000)), Duty::Write);
        assert!(lease.take_in(&Grant { epoch: next, ..grant(1000, &["b"]) }));
        assert_eq!(lease.duty(at(6000)), Duty::Over);
    }

    #[test]
    fn the_promises_of_all_and_of_nobody_less_carry_the_lease_on() {
        let mut lease = leased(&["b", "c"]);
        lease.begin_round(at(3000));
        assert!(!lease.take_in_promise(&"b".into(), at(3000)));
        assert!(!lease.take_in_promise(&"b".into(), at(2000)), "an answer of an earlier round");
        assert_eq!(lease.duty(at(6000)), Duty::Over);
        assert!(lease.take_in_promise(&"c".into(), at(3000)));
        assert_eq!(lease.duty(at(4999)), Duty::Write);
        assert_eq!(lease.duty(at(8000)), Duty::Over);
    }
}
