//! What a seed means: which servers, which two faults, when, which one is mended. The same seed is the same plan for ever; what comes
//! of it is up to real processes and their timing.

use std::fmt;
use std::time::Duration;

use mmm_lab::Flavour;

use crate::fault::Fault;
use crate::foresight::Death;
use crate::random::Random;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// None is the system's own MariaDB.
    pub(crate) server: Option<Flavour>,
    pub(crate) gtid: bool,
    /// Commits wait for the other master, and nobody is promoted who may lack one.
    pub(crate) semi_sync: bool,
    /// From the clients' start to the first fault, and from that to the second.
    pub(crate) first: (Duration, Fault),
    pub(crate) second: (Duration, Fault),
    /// From the second fault until one of them is mended, and whether that is the first.
    pub(crate) mend: (Duration, bool),
    /// And from there until all is.
    pub(crate) rest: Duration,
    /// How the writer is lost once more, alone this time, and as `explain` foretells it.
    pub(crate) death: Death,
}

impl Plan {
    pub(crate) fn of(seed: u64, strict: bool) -> Self {
        let mut random = Random::new(seed);
        let is_mysql = random.below(2) == 0 || strict;
        let gtid = is_mysql || random.below(2) == 0;
        let first = (random.between(500, 3000), Fault::draw(&mut random));
        // Close together more often than far apart: a fault in the middle of what the first one set off finds most.
        let longest = random.one_of(&[400, 2000, 10_000]);
        let second = (random.between(20, longest), Fault::draw(&mut random));
        let mend = (random.between(200, 8000), random.below(2) == 0);
        let rest = random.between(500, 5000);
        let death = Death::draw(&mut random);
        // While commits hang, MariaDB 10.11 may lock up where one connection of a replica takes the place of another.
        let semi_sync = is_mysql && (random.below(3) == 0 || strict);
        let server = is_mysql.then_some(Flavour::MySql97);
        Self { server, gtid, semi_sync, first, second, mend, rest, death }
    }

    pub(crate) fn faults(&self) -> [Fault; 2] {
        [self.first.1, self.second.1]
    }

    /// Nothing that was acknowledged may be missing on the writer in the end.
    pub(crate) fn loses_nothing(&self) -> bool {
        self.semi_sync || !self.faults().into_iter().any(Fault::may_lose)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.map_or("the system's MariaDB".to_owned(), |flavour| flavour.to_string());
        let by = if self.gtid { "GTID" } else { "positions" };
        let semi_sync = if self.semi_sync { ", semi-synchronous" } else { "" };
        let mended = if self.mend.1 { "first" } else { "second" };
        write!(
            f,
            "{server} by {by}{semi_sync}; after {:?}: {}; {:?} later: {}; {:?} later the {mended} is mended, {:?} later all is; then {}",
            self.first.0, self.first.1, self.second.0, self.second.1, self.mend.0, self.rest, self.death
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_is_one_plan_and_the_seeds_cover_the_table() {
        assert_eq!(Plan::of(7, false), Plan::of(7, false));
        assert_ne!(Plan::of(7, false), Plan::of(8, false));
        let plans: Vec<Plan> = (1..=300).map(|seed| Plan::of(seed, false)).collect();
        let kinds: BTreeSet<String> = plans
            .iter()
            .flat_map(|plan| [plan.first.1, plan.second.1])
            .map(|fault| format!("{fault:?}").split(['(', ' ']).next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(kinds.len(), 18, "{kinds:?}");
        assert!(plans.iter().any(|plan| plan.server.is_none() && !plan.gtid));
        assert!(plans.iter().filter(|plan| plan.server.is_some()).count() > 100);
    }
}
