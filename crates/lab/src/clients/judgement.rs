//! What clients were told, held against what servers have: which changes are missing, which are there that nobody made, and whether what
//! is there agrees with itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::books::Books;
use super::deed::{Deed, Done};
use super::{ACCOUNTS, BALANCE};
use crate::moment::Moment;
use crate::record::Outcome;

/// What may be missing of what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Everything acknowledged must be there.
    NothingLost,
    /// What this server acknowledged last, after `since`, and had not sent when it was lost: nothing that it acknowledged later may be there.
    UnsentTail { server_id: u32, since: Moment },
    /// What is missing on one host must be on another of those looked at, which may differ then: masters of which one was lost, and nobody
    /// has brought them together yet.
    Elsewhere,
}

/// How many numbers of a list are printed in full.
const NAMED: usize = 40;

/// The outcome. Without faults all lists but `allowed` are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub acknowledged: usize,
    pub failed: usize,
    pub unknown: usize,
    /// Changes without an answer that are there, on the first host.
    pub unknown_there: usize,
    /// By host: numbers of acknowledged changes that are not there, and may not be missing.
    pub missing: BTreeMap<String, Vec<u64>>,
    /// By host: numbers of acknowledged changes that are not there, as the tolerance allows.
    pub allowed: BTreeMap<String, Vec<u64>>,
    /// By host: numbers that are there though the attempt failed, was never made, or was another server's.
    pub surplus: BTreeMap<String, Vec<u64>>,
    /// What hosts do not agree on, where they may.
    pub differences: Vec<String>,
    /// Everything else that cannot be: counters out of bounds, sums that changed, hosts that differ.
    pub faults: Vec<String>,
}

impl Judgement {
    pub fn is_clean(&self) -> bool {
        self.missing.values().all(Vec::is_empty)
            && self.surplus.values().all(Vec::is_empty)
            && self.faults.is_empty()
    }

    /// How many acknowledged changes the host lacks, whether that is allowed or not.
    pub fn lost(&self, host: &str) -> usize {
        [&self.missing, &self.allowed].into_iter().filter_map(|lists| lists.get(host)).map(Vec::len).sum()
    }

    pub(super) fn of(done: &[Done], books: &[(String, Books)], tolerance: Tolerance) -> Self {
        let count = |outcome| done.iter().filter(|done| done.outcome() == outcome).count();
        let mut judgement = Self {
            acknowledged: count(Outcome::Acknowledged),
            failed: count(Outcome::Failed),
            unknown: count(Outcome::Unknown),
            ..Self::default()
        };
        if let Some((_, first)) = books.first() {
            judgement.unknown_there = done
                .iter()
                .filter(|done| done.outcome() == Outcome::Unknown && first.server_of(done).is_some())
                .count();
        }
        for pair in books.windows(2) {
            let [(one, first), (other, second)] = pair else { continue };
            judgement
                .differences
                .extend(first.differences(second).map(|what| format!("{one} and {other}: {what}")));
        }
        for (host, own) in books {
            judgement.take_in(host, own, done, (tolerance, books));
        }
        if tolerance != Tolerance::Elsewhere {
            judgement.faults.append(&mut judgement.differences);
        }
        judgement
    }

    fn take_in(
        &mut self,
        host: &str,
        books: &Books,
        done: &[Done],
        (tolerance, all): (Tolerance, &[(String, Books)]),
    ) {
        let numbered = done.iter().filter(|done| !matches!(done.deed, Deed::Count { .. }));
        let absent: Vec<&Done> = numbered
            .clone()
            .filter(|done| done.attempt.is_acknowledged() && books.server_of(done).is_none())
            .collect();
        let (mut allowed, mut missing): (Vec<&Done>, Vec<&Done>) =
            absent.into_iter().partition(|done| tolerance.allows(done, all));
        // A tail has nothing behind it: what is missing though something that began after its acknowledgement is there, was not unsent.
        if let Tolerance::UnsentTail { server_id, .. } = tolerance {
            let last_kept = numbered
                .clone()
                .filter(|done| done.attempt.is_acknowledged() && books.server_of(done) == Some(server_id))
                .map(|done| done.attempt.start)
                .max();
            let is_hole = |done: &&Done| last_kept.is_some_and(|kept| done.attempt.end < kept);
            missing.extend(allowed.iter().filter(|done| is_hole(done)));
            allowed.retain(|done| !is_hole(done));
        }
        let numbers = |list: Vec<&Done>| -> Vec<u64> {
            list.into_iter().map(|done| done.attempt.number).collect::<BTreeSet<_>>().into_iter().collect()
        };
        self.missing.insert(host.to_owned(), numbers(missing));
        self.allowed.insert(host.to_owned(), numbers(allowed));
        self.surplus.insert(host.to_owned(), books.surplus(done));
        // Counts have no numbers: where hosts differ, nobody can tell which of them went with the rest.
        let is_short = |done: &Done| match tolerance {
            Tolerance::Elsewhere => !self.differences.is_empty() || !self.allowed[host].is_empty(),
            Tolerance::NothingLost | Tolerance::UnsentTail { .. } => tolerance.allows(done, all),
        };
        self.faults.extend(books.counter_faults(done, is_short).map(|fault| format!("{host}: {fault}")));
        self.faults.extend(books.account_faults().map(|fault| format!("{host}: {fault}")));
    }
}

impl Tolerance {
    fn allows(self, done: &Done, all: &[(String, Books)]) -> bool {
        match self {
            Self::NothingLost => false,
            Self::UnsentTail { server_id, since } => {
                done.attempt.server_id == Some(server_id) && done.attempt.end > since
            }
            Self::Elsewhere => all.iter().any(|(_, books)| books.server_of(done).is_some()),
        }
    }
}

impl Books {
    /// The server that wrote a numbered change first, when it is there as it was made.
    fn server_of(&self, done: &Done) -> Option<u32> {
        let number = done.attempt.number;
        match done.deed {
            Deed::Insert => self.entries.get(&number).copied(),
            Deed::Count { .. } => None,
            Deed::Transfer { source, target, amount } => self
                .transfers
                .get(&number)
                .filter(|moved| (moved.source, moved.target, moved.amount) == (source, target, amount))
                .map(|moved| moved.server_id),
        }
    }

    /// Numbers that are here and should not be.
    fn surplus(&self, done: &[Done]) -> Vec<u64> {
        let made: BTreeMap<u64, &Done> = done.iter().map(|done| (done.attempt.number, done)).collect();
        let there = self.entries.keys().chain(self.transfers.keys());
        there
            .filter(|number| {
                let Some(done) = made.get(number) else { return true };
                let server = self.server_of(done);
                match done.outcome() {
                    Outcome::Acknowledged => server != done.attempt.server_id,
                    Outcome::Unknown => server.is_none(),
                    Outcome::Failed => true,
                }
            })
            .copied()
            .collect()
    }

    fn counter_faults(
        &self,
        done: &[Done],
        may_lack: impl Fn(&Done) -> bool,
    ) -> impl Iterator<Item = String> {
        let mut bounds: BTreeMap<u32, (i64, i64)> = self.counters.keys().map(|id| (*id, (0, 0))).collect();
        for done in done {
            let Deed::Count { counter } = done.deed else { continue };
            let (least, most) = bounds.entry(counter).or_default();
            match done.outcome() {
                Outcome::Acknowledged if may_lack(done) => *most += 1,
                Outcome::Acknowledged => {
                    *least += 1;
                    *most += 1;
                }
                Outcome::Unknown => *most += 1,
                Outcome::Failed => {}
            }
        }
        bounds.into_iter().filter_map(|(id, (least, most))| {
            let value = self.counters.get(&id).copied().unwrap_or_default();
            let is_within = (least..=most).contains(&value);
            (!is_within)
                .then(|| format!("counter {id} is {value}, between {least} and {most} were told of it"))
        })
    }

    /// Each account has what its transfers left on it, and all together what they began with.
    fn account_faults(&self) -> impl Iterator<Item = String> {
        let mut balances: BTreeMap<u32, i64> = (0..ACCOUNTS).map(|id| (id, BALANCE)).collect();
        for moved in self.transfers.values() {
            *balances.entry(moved.source).or_default() -= moved.amount;
            *balances.entry(moved.target).or_default() += moved.amount;
        }
        let (wanted, sum) = (i64::from(ACCOUNTS) * BALANCE, self.accounts.values().sum::<i64>());
        let changed = (sum != wanted).then(|| format!("all accounts together have {sum}, not {wanted}"));
        let apart = balances.into_iter().filter_map(|(id, balance)| {
            let there = self.accounts.get(&id).copied();
            (there != Some(balance))
                .then(|| format!("account {id} has {there:?}, its transfers make {balance}"))
        });
        changed.into_iter().chain(apart)
    }

    /// What two servers do not agree on.
    fn differences(&self, other: &Self) -> impl Iterator<Item = String> {
        let apart = |what: &'static str, only: Vec<String>| {
            (!only.is_empty()).then(|| format!("{what} differ: {}", named(&only)))
        };
        [
            apart("rows", differing(&self.entries, &other.entries)),
            apart("transfers", differing(&self.transfers, &other.transfers)),
            apart("counters", differing(&self.counters, &other.counters)),
            apart("accounts", differing(&self.accounts, &other.accounts)),
        ]
        .into_iter()
        .flatten()
    }
}

/// Keys that only one has, or each with another value.
fn differing<K: Ord + ToString, V: PartialEq>(one: &BTreeMap<K, V>, other: &BTreeMap<K, V>) -> Vec<String> {
    let keys: BTreeSet<&K> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(key) != other.get(key)).map(ToString::to_string).collect()
}

fn named<T: ToString>(all: &[T]) -> String {
    let mut text = all.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if all.len() > NAMED {
        let _ = write!(text, " and {} more", all.len() - NAMED);
    }
    text
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "changes: {} acknowledged, {} failed, {} unknown ({} of them there)",
            self.acknowledged, self.failed, self.unknown, self.unknown_there
        )?;
        for (what, lists) in
            [("MISSING", &self.missing), ("missing, as allowed", &self.allowed), ("SURPLUS", &self.surplus)]
        {
            for (host, numbers) in lists.iter().filter(|(_, numbers)| !numbers.is_empty()) {
                writeln!(f, "{host}: {} {what}: {}", numbers.len(), named(numbers))?;
            }
        }
        for fault in self.differences.iter().chain(&self.faults) {
            writeln!(f, "{fault}")?;
        }
        Ok(())
    }
}
