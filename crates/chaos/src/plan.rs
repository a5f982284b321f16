//! What a seed means: which servers, which two faults, when, which one is mended. The same seed is the same plan for ever; what comes
//! of it is up to real processes and their timing.

use std::fmt;
use std::time::Duration;

use mmm_lab::Flavour;

use crate::fault::Fault;
use crate::random::Random;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// None is the system's own MariaDB.
    pub(crate) server: Option<Flavour>,
    pub(crate) gtid: bool,
    /// From the clients' start to the first fault, and from that to the second.
    pub(crate) first: (Duration, Fault),
    pub(crate) second: (Duration, Fault),
    /// From the second fault until one of them is mended, and whether that is the first.
    pub(crate) mend: (Duration, bool),
    /// And from there until all is.
    pub(crate) rest: Duration,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let is_mysql = random.below(2) == 0;
        let gtid = is_mysql || random.below(2) == 0;
        let first = (random.between(500, 3000), Fault::draw(&mut random));
        // Close together more often than far apart: a fault in the middle of what the first one set off finds most.
        let longest = random.one_of(&[400, 2000, 10_000]);
        let second = (random.between(20, longest), Fault::draw(&mut random));
        let mend = (random.between(200, 8000), random.below(2) == 0);
        let rest = random.between(500, 5000);
        Self { server: is_mysql.then_some(Flavour::MySql97), gtid, first, second, mend, rest }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.map_or("the system's MariaDB".to_owned(), |flavour| flavour.to_string());
        let by = if self.gtid { "GTID" } else { "positions" };
        let mended = if self.mend.1 { "first" } else { "second" };
        write!(
            f,
            "{server} by {by}; after {:?}: {}; {:?} later: {}; {:?} later the {mended} is mended, {:?} later all is",
            self.first.0, self.first.1, self.second.0, self.second.1, self.mend.0, self.rest
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_is_one_plan_and_the_seeds_cover_the_table() {
        assert_eq!(Plan::of(7), Plan::of(7));
        assert_ne!(Plan::of(7), Plan::of(8));
        let plans: Vec<Plan> = (1..=300).map(Plan::of).collect();
        let kinds: BTreeSet<String> = plans
            .iter()
            .flat_map(|plan| [plan.first.1, plan.second.1])
            .map(|fault| format!("{fault:?}").split(['(', ' ']).next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(kinds.len(), 16, "{kinds:?}");
        assert!(plans.iter().any(|plan| plan.server.is_none() && !plan.gtid));
        assert!(plans.iter().filter(|plan| plan.server.is_some()).count() > 100);
    }
}
