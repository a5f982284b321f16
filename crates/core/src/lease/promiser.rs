//! A candidate's side: which promotions it accepts, and what it promises to a holder that lost its monitor.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::book::Proof;
use super::epoch::Epoch;
use super::rules::LeaseRules;
use super::times::{LeaseLength, wait_for};
use crate::moment::Moment;
use crate::names::HostName;

/// Not to accept the role from anyone for one lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promise {
    pub holder: HostName,
    /// The epoch it protects.
    pub epoch: Epoch,
    pub length: LeaseLength,
}

/// What a candidate knows for ever, over reboots. It has to be on disk before an answer that rests on it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Durable {
    /// The greatest epoch accepted.
    pub accepted: Epoch,
    /// The greatest epoch given back.
    pub released: Epoch,
    /// The longest lease accepted or promised: what it waits by after a reboot.
    pub longest: Option<LeaseLength>,
    pub promise: Option<Promise>,
    /// The number of the state of the last monitor.
    pub lineage: u64,
    /// An earlier file was lost, and what it may have promised is still waited for.
    pub lost: bool,
}

impl Durable {
    /// What two copies together know.
    #[must_use]
    pub fn merged(self, other: Durable) -> Durable {
        let epoch = |promise: &Option<Promise>| promise.as_ref().map_or(Epoch::NONE, |promise| promise.epoch);
        Durable {
            accepted: self.accepted.max(other.accepted),
            released: self.released.max(other.released),
            longest: self.longest.max(other.longest),
            promise: if epoch(&self.promise) >= epoch(&other.promise) { self.promise } else { other.promise },
            lineage: if self.lineage == 0 { other.lineage } else { self.lineage },
            lost: self.lost || other.lost,
        }
    }
}

/// Why a promotion or a promise was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("epoch {asked} is older than epoch {known}, which this host has accepted")]
    Old { asked: Epoch, known: Epoch },
    #[error("this host has given back epoch {released}, and with it epoch {asked}")]
    Released { asked: Epoch, released: Epoch },
    #[error("this host has promised {holder} not to take the role for another {} ms", .rest.as_millis())]
    Promised { holder: HostName, rest: Duration },
    #[error("this host was restarted and waits another {} ms for what it may have promised before", .rest.as_millis())]
    JustBooted { rest: Duration },
    #[error("this host holds epoch {held} itself")]
    Holds { held: Epoch },
}

/// What a candidate waits for before it takes the role. Kept beside the lease, for a program that is started again in the
/// same boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Waits {
    pub promised_until: Option<Moment>,
    /// After a reboot nobody can tell how much of a promise had passed.
    pub booted_until: Option<Moment>,
    /// It was booted without a file: which epoch it may have promised to protect is unknown.
    pub forgot: bool,
}

/// A candidate. Moments are of its boot clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Promiser {
    rules: LeaseRules,
    durable: Durable,
    waits: Waits,
}

impl Promiser {
    /// A host that was booted now. Without a file (`None`) the longest lease that is allowed rules.
    pub fn after_boot(now: Moment, durable: Option<Durable>, rules: LeaseRules) -> Self {
        let mut durable = durable.unwrap_or(Durable { lost: true, ..Durable::default() });
        let longest = if durable.lost { Some(LeaseLength::GREATEST) } else { durable.longest };
        let waits = Waits {
            promised_until: None,
            booted_until: longest.map(|longest| now + waited(longest, rules)),
            forgot: durable.lost,
        };
        durable.longest = durable.longest.max(longest.filter(|_| !durable.lost));
        Self { rules, durable, waits }
    }

    /// A session with a monitor begins that goes by the state with this number.
    pub fn note_lineage(&mut self, lineage: u64) {
        self.durable.lineage = lineage;
    }

    /// The monitor says that every candidate, this one among them, has said that it knows of no lease: nothing that was
    /// forgotten can matter any more.
    pub fn absolve(&mut self) {
        if self.durable.accepted == Epoch::NONE && self.durable.promise.is_none() {
            self.durable.lost = false;
            self.waits.booted_until = None;
            self.waits.forgot = false;
        }
    }

    /// Whether the wait of a host that was booted is over; what was lost with its file does not matter from then on.
    pub fn settle(&mut self, now: Moment) {
        if self.waits.booted_until.is_some_and(|until| now >= until) {
            self.waits.booted_until = None;
            self.waits.forgot = false;
            self.durable.lost = false;
        }
    }

    /// A program that was started again within the boot that wrote the file: it goes on waiting.
    pub fn after_restart(durable: Durable, waits: Waits, rules: LeaseRules) -> Self {
        Self { rules, durable, waits }
    }

    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    pub fn waits(&self) -> Waits {
        self.waits
    }

    /// The epoch this host holds or may be about to hold.
    fn held(&self) -> Option<Epoch> {
        (self.durable.accepted > self.durable.released).then_some(self.durable.accepted)
    }

    /// A promise that runs, and how long still.
    pub fn running_promise(&self, now: Moment) -> Option<(&Promise, Duration)> {
        let until = self.waits.promised_until.filter(|until| now < *until)?;
        Some((self.durable.promise.as_ref()?, until.since(now)))
    }

    /// A holder asks for a promise. After `Ok` the state is to be made durable before the answer leaves.
    pub fn promise(&mut self, now: Moment, promise: Promise) -> Result<(), Refusal> {
        if let Some(held) = self.held() {
            return Err(Refusal::Holds { held });
        }
        if promise.epoch < self.durable.accepted {
            return Err(Refusal::Old { asked: promise.epoch, known: self.durable.accepted });
        }
        if let Some((running, rest)) = self.running_promise(now)
            && running.epoch > promise.epoch
        {
            return Err(Refusal::Promised { holder: running.holder.clone(), rest });
        }
        let until = now + waited(promise.length, self.rules);
        self.waits.promised_until = Some(self.waits.promised_until.map_or(until, |before| before.max(until)));
        self.durable.longest = self.durable.longest.max(Some(promise.length));
        self.durable.promise = Some(promise);
        Ok(())
    }

    /// The monitor wants this host as the writer of `epoch`. After `Ok` the state is to be made durable before
    /// anything else is done.
    pub fn accept(
        &mut self,
        now: Moment,
        epoch: Epoch,
        proof: Proof,
        length: LeaseLength,
    ) -> Result<(), Refusal> {
        let durable = &self.durable;
        if self.rules.release_covers_promotions_on_their_way && epoch <= durable.released {
            return Err(Refusal::Released { asked: epoch, released: durable.released });
        }
        if epoch < durable.accepted {
            return Err(Refusal::Old { asked: epoch, known: durable.accepted });
        }
        if epoch > durable.accepted {
            self.check_waits(now, proof)?;
        }
        self.durable.accepted = epoch;
        self.durable.longest = self.durable.longest.max(Some(length));
        self.durable.promise = None;
        self.waits.promised_until = None;
        if proof == Proof::Nobody {
            self.waits.booted_until = None;
            self.waits.forgot = false;
            self.durable.lost = false;
        }
        Ok(())
    }

    /// A proof that the protected lease was ended counts at once; one that it ran out waits for the promise.
    fn check_waits(&self, now: Moment, proof: Proof) -> Result<(), Refusal> {
        if self.held().is_some() {
            // A holder has promised nothing to anybody else.
            return Ok(());
        }
        if let Some((promise, rest)) = self.running_promise(now) {
            let ended = matches!(proof, Proof::Ended(epoch, _) if epoch >= promise.epoch);
            if !ended && self.rules.promises_hold_against_time {
                return Err(Refusal::Promised { holder: promise.holder.clone(), rest });
            }
        }
        // The promise of before the reboot may run: a proof about an older epoch says nothing against it.
        let protected = self.durable.promise.as_ref().map_or(Epoch::NONE, |promise| promise.epoch);
        let ended = matches!(proof, Proof::Ended(epoch, _) if epoch >= protected && !self.waits.forgot);
        match self.waits.booted_until.filter(|until| now < *until) {
            // Where no candidate knows of any lease there is none that a forgotten promise could protect.
            Some(_) if proof == Proof::Nobody => Ok(()),
            Some(until) if !ended => Err(Refusal::JustBooted { rest: until.since(now) }),
            Some(_) | None => Ok(()),
        }
    }

    /// Gives back this epoch and every smaller one, also those of promotions on their way. The state is to be made
    /// durable before the answer leaves.
    pub fn release(&mut self, epoch: Epoch) {
        self.durable.released = self.durable.released.max(epoch);
    }
}

fn waited(length: LeaseLength, rules: LeaseRules) -> Duration {
    if rules.waiters_count_longer { wait_for(length) } else { length.duration() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Ended;

    const LENGTH: LeaseLength = LeaseLength::DEFAULT;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn epoch(number: u64) -> Epoch {
        Epoch { number, origin: 1 }
    }

    fn fresh() -> Promiser {
        Promiser::after_restart(Durable::default(), Waits::default(), LeaseRules::ALL)
    }

    fn promise(number: u64) -> Promise {
        Promise { holder: "a".into(), epoch: epoch(number), length: LENGTH }
    }

    #[test]
    fn a_promise_holds_against_time_and_ends_with_a_proof_for_its_epoch() {
        let mut host = fresh();
        host.promise(at(0), promise(3)).unwrap();
        let ran_out = Proof::RanOut(epoch(3));
        assert!(matches!(host.accept(at(5299), epoch(4), ran_out, LENGTH), Err(Refusal::Promised { .. })));
        let older = Proof::Ended(epoch(2), Ended::Dead);
        assert!(
            host.accept(at(100), epoch(4), older, LENGTH).is_err(),
            "another epoch's death proves nothing"
        );
        let mut same = host.clone();
        assert!(same.accept(at(100), epoch(4), Proof::Ended(epoch(3), Ended::Dead), LENGTH).is_ok());
        assert!(host.accept(at(0) + wait_for(LENGTH), epoch(4), ran_out, LENGTH).is_ok());
    }

    #[test]
    fn a_release_also_stops_the_promotion_that_is_on_its_way() {
        let mut host = fresh();
        host.release(epoch(4));
        assert!(matches!(host.accept(at(0), epoch(4), Proof::Nobody, LENGTH), Err(Refusal::Released { .. })));
        assert!(host.accept(at(0), epoch(5), Proof::Nobody, LENGTH).is_ok());
        assert!(host.accept(at(0), epoch(4), Proof::Nobody, LENGTH).is_err());
    }

    #[test]
    fn a_holder_promises_nothing_and_an_old_holder_is_promised_nothing() {
        let mut host = fresh();
        host.accept(at(0), epoch(5), Proof::Nobody, LENGTH).unwrap();
        assert!(matches!(host.promise(at(1), promise(6)), Err(Refusal::Holds { .. })));
        host.release(epoch(5));
        assert!(matches!(host.promise(at(1), promise(4)), Err(Refusal::Old { .. })));
        assert!(host.promise(at(1), promise(6)).is_ok());
    }

    #[test]
    fn a_rebooted_host_waits_by_the_longest_lease_it_knows_and_without_a_file_by_the_longest_allowed() {
        let known = Durable { longest: Some(LENGTH), ..Durable::default() };
        let mut host = Promiser::after_boot(at(0), Some(known), LeaseRules::ALL);
        assert!(matches!(
            host.accept(at(5000), epoch(1), Proof::Own, LENGTH),
            Err(Refusal::JustBooted { .. })
        ));
        assert!(host.accept(at(0) + wait_for(LENGTH), epoch(1), Proof::Own, LENGTH).is_ok());
        let mut lost = Promiser::after_boot(at(0), None, LeaseRules::ALL);
        let fresh = lost.clone().accept(at(0), epoch(1), Proof::Nobody, LENGTH);
        assert!(fresh.is_ok(), "every candidate of a new cluster says so");
        assert!(lost.accept(at(60_000), epoch(1), Proof::Own, LENGTH).is_err());
        assert!(lost.accept(at(0) + wait_for(LeaseLength::GREATEST), epoch(1), Proof::Own, LENGTH).is_ok());
    }

    #[test]
    fn after_a_reboot_only_a_proof_about_the_promised_epoch_shortens_the_wait() {
        let mut before = fresh();
        before.promise(at(0), promise(2)).unwrap();
        let ended = |number| Proof::Ended(epoch(number), Ended::Released);
        let booted = Promiser::after_boot(at(0), Some(before.durable().clone()), LeaseRules::ALL);
        assert!(matches!(
            booted.clone().accept(at(1), epoch(3), ended(1), LENGTH),
            Err(Refusal::JustBooted { .. })
        ));
        assert!(booted.clone().accept(at(1), epoch(3), ended(2), LENGTH).is_ok());
        let mut forgetful = Promiser::after_boot(at(0), None, LeaseRules::ALL);
        assert!(forgetful.accept(at(1), epoch(3), ended(2), LENGTH).is_err());
    }

    #[test]
    fn a_program_started_again_goes_on_waiting_for_what_it_waited_for() {
        let known = Durable { longest: Some(LENGTH), ..Durable::default() };
        let booted = Promiser::after_boot(at(0), Some(known), LeaseRules::ALL);
        let again = Promiser::after_restart(booted.durable().clone(), booted.waits(), LeaseRules::ALL);
        assert_eq!(again, booted);
        assert!(matches!(
            again.clone().accept(at(5000), epoch(1), Proof::Own, LENGTH),
            Err(Refusal::JustBooted { .. })
        ));
    }

    #[test]
    fn a_host_whose_file_was_lost_waits_again_after_a_second_reboot() {
        let mut lost = Promiser::after_boot(at(0), None, LeaseRules::ALL);
        lost.promise(at(1), promise(2)).unwrap();
        let mut again = Promiser::after_boot(at(10_000), Some(lost.durable().clone()), LeaseRules::ALL);
        let ran_out = Proof::RanOut(epoch(2));
        assert!(again.accept(at(60_000), epoch(3), ran_out, LENGTH).is_err());
        again.settle(at(10_000) + wait_for(LeaseLength::GREATEST));
        assert!(!again.durable().lost);
        assert!(again.accept(at(100_000), epoch(3), ran_out, LENGTH).is_ok());
    }

    #[test]
    fn a_new_host_that_is_absolved_waits_for_nothing_and_one_that_knows_a_lease_is_not() {
        let mut fresh = Promiser::after_boot(at(0), None, LeaseRules::ALL);
        fresh.absolve();
        let ended = Proof::Ended(epoch(1), Ended::Released);
        assert!(fresh.accept(at(1), epoch(2), ended, LENGTH).is_ok());
        let mut promised = Promiser::after_boot(at(0), None, LeaseRules::ALL);
        promised.promise(at(1), promise(1)).unwrap();
        promised.absolve();
        assert!(promised.accept(at(2), epoch(2), ended, LENGTH).is_err());
    }

    #[test]
    fn accepting_the_same_epoch_again_changes_nothing() {
        let mut host = fresh();
        host.accept(at(0), epoch(5), Proof::Nobody, LENGTH).unwrap();
        let before = host.clone();
        host.accept(at(9), epoch(5), Proof::Nobody, LENGTH).unwrap();
        assert_eq!(host, before);
    }
}
