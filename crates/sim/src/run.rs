//! One run from its seed to its end.

use std::fmt;

use mmm_core::DataRule;
use mmm_core::lease::{LeaseRule, LeaseRules};

use crate::drill::Drill;
use crate::world::World;

/// A fault put into the simulator itself, to show that its invariants notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    #[default]
    None,
    /// A host that the monitor wants to be the writer no longer claims at once that it gave the role back.
    ForgedRelease,
    /// Every server answers that it has applied all at once, whatever it lacks.
    ForgedCatchUp,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub sabotage: Sabotage,
    /// Fewer than all, to see what each is for.
    pub rules: LeaseRules,
    /// Only the course of events for which this rule is there.
    pub aim: Option<LeaseRule>,
    /// Go by all rules about data but this, with faults for which it is there.
    pub left_out: Option<DataRule>,
    /// The same faults with that rule in force.
    pub keep_all: bool,
    /// Nothing is told of how servers replicate, whatever the seed says: as seeds were before that was modelled.
    pub untold: bool,
    /// No other faults than this, and no operator.
    pub drill: Option<Drill>,
    /// Keep the story of the run.
    pub trace: bool,
}

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Milliseconds of virtual time.
    pub at: u64,
    pub invariant: &'static str,
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.at / 1000, self.at % 1000);
        write!(f, "{} at {seconds}.{rest:03} s: {}", self.invariant, self.text)
    }
}

#[derive(Clone, Debug)]
pub struct Report {
    pub violation: Option<Violation>,
    pub trace: Vec<String>,
    /// Virtual milliseconds that the run took.
    pub ended: u64,
    pub events: u64,
    /// How often a server was opened for writes.
    pub openings: u64,
    /// Rows that clients wrote.
    pub writes: u64,
    /// Rows that clients were told are saved and that a new writer lacked.
    pub lacked: u64,
    /// Steps of the drill.
    pub steps: u64,
}

/// Runs one seed to its end or to the first promise that does not hold.
pub fn run(options: Options) -> Report {
    World::new(options).run()
}
