//! One state: three clocks, two candidates, a monitor, and the messages on their way.

use std::hash::{Hash, Hasher};

use mmm_core::Moment;
use mmm_core::lease::{
    Durable, Duty, Epoch, Grant, GrantBook, HolderLease, LeaseRules, Promise, Promiser, Proof, Renewal, Waits,
};

use super::fingerprint::{Relative, zero_of_clock};

pub(super) const NAMES: [&str; 2] = ["a", "b"];
pub(super) const MONITOR: usize = 2;

/// A candidate, and the messages to and from it. A message lies beside the host whose clock it names.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(super) promiser: Promiser,
    pub(super) lease: Option<HolderLease>,
    /// A renewal has been sent since the clock moved.
    pub(super) asked_now: bool,
    pub(super) renewals: Vec<Renewal>,
    pub(super) grants: Vec<Grant>,
    pub(super) promotions: Vec<(Epoch, Proof)>,
    /// This host's request to the other one, and when its round began.
    pub(super) request: Option<(Promise, Moment)>,
    /// The other one's answer to the round begun then.
    pub(super) answer: Option<Moment>,
    /// The epoch that was granted when `kill_host` was started against this host.
    pub(super) dying: Option<Epoch>,
}

#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    pub(super) book: GrantBook,
    pub(super) plan: Option<(usize, Epoch)>,
    /// The greatest epoch made durable.
    pub(super) issued: Epoch,
}

/// How often what must not happen for ever has happened.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(crate) struct Faults {
    pub(super) reboots: u8,
    pub(super) agent_restarts: u8,
    pub(super) monitor_restarts: u8,
    pub(super) kills: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(super) clocks: [Moment; 3],
    pub(super) hosts: [Candidate; 2],
    pub(super) monitor: Monitor,
    pub(super) faults: Faults,
    pub(super) epoch_went_back: bool,
    pub(super) window_ms: u64,
}

impl State {
    /// Nobody has ever held the role.
    pub(super) fn fresh(rules: LeaseRules, window_ms: u64) -> Self {
        let clocks = [zero_of_clock(0), zero_of_clock(1), zero_of_clock(2)];
        let host = Candidate {
            promiser: Promiser::after_restart(Durable::default(), Waits::default(), rules),
            lease: None,
            asked_now: false,
            renewals: Vec::new(),
            grants: Vec::new(),
            promotions: Vec::new(),
            request: None,
            answer: None,
            dying: None,
        };
        let book = GrantBook::restart(None, clocks[MONITOR], rules);
        Self {
            clocks,
            hosts: [host.clone(), host],
            monitor: Monitor { book, plan: None, issued: Epoch::NONE },
            faults: Faults::default(),
            epoch_went_back: false,
            window_ms,
        }
    }

    pub(super) fn duty(&self, host: usize) -> Option<Duty> {
        self.hosts[host].lease.as_ref().map(|lease| lease.duty(self.clocks[host]))
    }

    /// The epoch in which this host accepts writes. Its address goes at the end of the lease, whatever the agent does;
    /// a server that was closed earlier is counted as open.
    pub(crate) fn writes(&self, host: usize) -> Option<Epoch> {
        let writes = self.duty(host).is_some_and(|duty| duty > Duty::Wait && duty < Duty::Over);
        self.hosts[host].lease.as_ref().filter(|_| writes).map(HolderLease::epoch)
    }

    pub(crate) fn writers(&self) -> usize {
        (0..2).filter(|host| self.writes(*host).is_some()).count()
    }

    pub(crate) fn epoch_went_back(&self) -> bool {
        self.epoch_went_back
    }

    pub(crate) fn a_released_epoch_writes(&self) -> bool {
        (0..2).any(|host| {
            self.writes(host).is_some_and(|epoch| epoch <= self.hosts[host].promiser.durable().released)
        })
    }

    /// Whether somebody writes who was promoted with such a proof.
    pub(crate) fn writes_with(&self, wanted: impl Fn(&Proof) -> bool) -> bool {
        (0..2).any(|host| {
            self.writes(host).is_some_and(|writes| {
                let mut promotions = self.hosts[host].promotions.iter();
                promotions.any(|(epoch, proof)| *epoch == writes && wanted(proof))
            })
        })
    }

    /// Whether somebody writes whose last grant is over.
    pub(crate) fn writes_by_promise(&self) -> bool {
        (0..2).any(|host| {
            let now = self.clocks[host];
            self.writes(host).is_some()
                && self.hosts[host].lease.as_ref().is_some_and(|lease| {
                    let taken = lease.renewal(now).taken;
                    !lease.is_endless() && taken.is_some_and(|taken| now >= taken + lease.length().duration())
                })
        })
    }
}

impl State {
    /// What two states have in common that are the same.
    fn seen_from_now(&self) -> Vec<u64> {
        let mut relative = Relative::new(self.clocks, self.window_ms);
        for (index, host) in self.hosts.iter().enumerate() {
            relative.ends_of([index == 0, index == 1, false], &host.promiser);
            host.lease.hash(&mut relative);
            host.asked_now.hash(&mut relative);
            host.renewals.hash(&mut relative);
            host.grants.hash(&mut relative);
            host.promotions.hash(&mut relative);
            host.request.hash(&mut relative);
            host.answer.hash(&mut relative);
            host.dying.hash(&mut relative);
        }
        match self.monitor.book.record() {
            // Nothing of a lease that was ended counts any more but that it was.
            Some(record) if record.ended.is_some() => {
                (&record.host, record.epoch, record.ended).hash(&mut relative);
            }
            Some(_) | None => relative.ends_of([false, false, true], &self.monitor.book),
        }
        self.monitor.plan.hash(&mut relative);
        self.monitor.issued.hash(&mut relative);
        self.faults.hash(&mut relative);
        self.epoch_went_back.hash(&mut relative);
        relative.into_words()
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        digest(&self.seen_from_now()).hash(hasher);
    }
}

/// Mixes many words into two. The checker's own hasher takes them one by one, which without optimisation costs a third
/// of the whole exploration.
fn digest(words: &[u64]) -> (u64, u64) {
    words.iter().fold((words.len() as u64, 1), |(left, right), word| {
        let left = (left ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let right = (right.rotate_left(29) ^ word).wrapping_mul(0x94d0_49bb_1331_11eb);
        (left ^ (left >> 31), right ^ (right >> 32))
    })
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.seen_from_now() == other.seen_from_now()
    }
}
