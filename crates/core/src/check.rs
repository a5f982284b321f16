//! One check of one host: when its verdict turns, and what `checks` shows of it. The probing itself is the monitor's.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// The four checks, in the order in which `mmm_control checks` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    Ping,
    Mysql,
    RepThreads,
    RepBacklog,
}

impl CheckKind {
    pub const ALL: [CheckKind; 4] = [Self::Ping, Self::Mysql, Self::RepThreads, Self::RepBacklog];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Mysql => "mysql",
            Self::RepThreads => "rep_threads",
            Self::RepBacklog => "rep_backlog",
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one run of a check found; the text is shown as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Good(String),
    Bad(String),
    /// As [`Verdict::Bad`] for what is seen from here; but something was there that took the call and let it wait.
    Stalled(String),
    /// Nothing was learnt: changes the message and nothing else.
    Unknown(String),
}

/// What a run of a check changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Nothing,
    /// A line for the log at INFO.
    Recovered,
    /// A line for the log at ERROR.
    Failed,
    /// The same for the first run of all, which has no patience.
    FailedAtOnce,
    /// The verdict became unknown: a line for the log at WARN, once.
    Unclear,
}

/// A check's standing. It turns good at once and bad only after failing for its trap period.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    good: bool,
    stalled: bool,
    unclear: bool,
    runs: u64,
    failing_since: Option<Moment>,
    changed: Moment,
    stamp: String,
    message: String,
    recent: Recent,
}

/// How the last runs went, of those that learnt something: a success now and then tells little of a host that mostly fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Recent {
    /// A bit each, the newest lowest; set for a failure.
    failed: u16,
    count: u32,
}

impl Recent {
    const KEPT: u32 = 10;

    fn note(&mut self, failed: bool) {
        self.failed = (self.failed << 1 | u16::from(failed)) & ((1 << Self::KEPT) - 1);
        self.count = (self.count + 1).min(Self::KEPT);
    }
}

impl Check {
    /// A check that has not run yet. Unknown is not bad, so it starts out good.
    pub fn new() -> Self {
        Self {
            good: true,
            stalled: false,
            unclear: false,
            runs: 0,
            failing_since: None,
            changed: Moment::ZERO,
            stamp: String::new(),
            message: "UNKNOWN: not checked yet".to_owned(),
            recent: Recent::default(),
        }
    }

    pub fn good(&self) -> bool {
        self.good
    }

    /// Whether what fails is that calls wait.
    pub fn stalled(&self) -> bool {
        self.stalled
    }

    pub fn has_run(&self) -> bool {
        self.runs > 0
    }

    /// When it last turned.
    pub fn changed(&self) -> Moment {
        self.changed
    }

    /// The wall-clock time of the last turn as the shell wrote it.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the last run was a failure, be it within the trap period.
    pub fn failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// How many of the last ten runs failed, where most of them did though the check has not turned bad.
    pub fn mostly_failing(&self) -> Option<u32> {
        let failed = self.recent.failed.count_ones();
        (self.good && self.recent.count == Recent::KEPT && failed * 2 > Recent::KEPT).then_some(failed)
    }

    /// Forgets failures that have not lasted for the trap period yet.
    pub fn forgive(&mut self) {
        self.failing_since = None;
    }

    /// Takes in one run. `stamp` is the wall-clock time to show if this run turns the check.
    pub fn observe(&mut self, now: Moment, trap: Duration, verdict: &Verdict, stamp: &str) -> Turn {
        self.runs += 1;
        self.stalled = matches!(verdict, Verdict::Stalled(_));
        match verdict {
            Verdict::Good(_) => self.recent.note(false),
            Verdict::Bad(_) | Verdict::Stalled(_) => self.recent.note(true),
            Verdict::Unknown(_) => {}
        }
        if self.stamp.is_empty() {
            stamp.clone_into(&mut self.stamp);
            self.changed = now;
        }
        match verdict {
            Verdict::Good(message) => {
                self.message.clone_from(message);
                self.failing_since = None;
                let was_unclear = std::mem::replace(&mut self.unclear, false);
                if self.good {
                    return if was_unclear { Turn::Recovered } else { Turn::Nothing };
                }
                self.turn(now, stamp, true);
                Turn::Recovered
            }
            Verdict::Bad(message) | Verdict::Stalled(message) => {
                self.unclear = false;
                let since = *self.failing_since.get_or_insert(now);
                // The first run of all has no history to be patient with: a host found dead at start-up is dead.
                let patience_over = now.since(since) >= trap || self.runs == 1;
                if !self.good || patience_over {
                    self.message.clone_from(message);
                }
                if self.good && patience_over {
                    self.turn(now, stamp, false);
                    return if self.runs == 1 { Turn::FailedAtOnce } else { Turn::Failed };
                }
                Turn::Nothing
            }
            Verdict::Unknown(message) => {
                self.message.clone_from(message);
                // What nobody could see is no failure, so a failure seen before it has to start anew.
                self.failing_since = None;
                if std::mem::replace(&mut self.unclear, true) { Turn::Nothing } else { Turn::Unclear }
            }
        }
    }

    fn turn(&mut self, now: Moment, stamp: &str, good: bool) {
        self.good = good;
        self.changed = now;
        stamp.clone_into(&mut self.stamp);
    }
}

impl Default for Check {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAP: Duration = Duration::from_secs(10);

    fn good() -> Verdict {
        Verdict::Good("OK".into())
    }

    fn bad() -> Verdict {
        Verdict::Bad("ERROR: no".into())
    }

    #[test]
    fn it_turns_bad_only_after_the_trap_period_and_good_at_once() {
        let mut check = Check::new();
        assert_eq!(check.observe(Moment::from_secs(0), TRAP, &good(), "a"), Turn::Nothing);
        assert_eq!(check.observe(Moment::from_secs(5), TRAP, &bad(), "b"), Turn::Nothing);
        assert_eq!(check.observe(Moment::from_secs(14), TRAP, &bad(), "c"), Turn::Nothing);
        assert!(check.good());
        assert_eq!(check.message(), "OK", "within the trap period the last good message stays");
        assert_eq!(check.observe(Moment::from_secs(15), TRAP, &bad(), "d"), Turn::Failed);
        assert!(!check.good());
        assert_eq!((check.stamp(), check.message()), ("d", "ERROR: no"));
        assert_eq!(check.observe(Moment::from_secs(16), TRAP, &good(), "e"), Turn::Recovered);
        assert!(check.good());
    }

    #[test]
    fn an_unknown_result_changes_nothing_but_the_message() {
        let mut check = Check::new();
        check.observe(Moment::from_secs(0), TRAP, &good(), "a");
        let unknown = Verdict::Unknown("UNKNOWN: Too many connections!".into());
        assert_eq!(check.observe(Moment::from_secs(5), TRAP, &unknown, "b"), Turn::Unclear);
        assert_eq!(check.observe(Moment::from_secs(60), TRAP, &unknown, "c"), Turn::Nothing);
        assert!(check.good());
        assert_eq!((check.stamp(), check.message()), ("a", "UNKNOWN: Too many connections!"));
    }

    #[test]
    fn a_call_that_waits_fails_as_others_do_and_tells_so() {
        let mut check = Check::new();
        check.observe(Moment::from_secs(0), TRAP, &good(), "a");
        let waits = Verdict::Stalled("ERROR: waits".into());
        assert_eq!(check.observe(Moment::from_secs(5), TRAP, &waits, "b"), Turn::Nothing);
        assert_eq!(check.observe(Moment::from_secs(15), TRAP, &waits, "c"), Turn::Failed);
        assert!(check.stalled() && !check.good());
        check.observe(Moment::from_secs(16), TRAP, &bad(), "d");
        assert!(!check.stalled() && !check.good());
    }

    #[test]
    fn one_success_in_ten_is_no_health() {
        let mut check = Check::new();
        check.observe(Moment::from_secs(0), TRAP, &good(), "a");
        for second in 1..40 {
            let verdict = if second % 10 == 0 { good() } else { bad() };
            assert_eq!(check.observe(Moment::from_secs(second), TRAP, &verdict, "b"), Turn::Nothing);
            assert_eq!(check.mostly_failing(), (second >= 9).then_some(9), "{second}");
        }
        for second in 40..46 {
            check.observe(Moment::from_secs(second), TRAP, &good(), "c");
        }
        assert_eq!(check.mostly_failing(), None);
    }

    #[test]
    fn a_bad_check_stays_bad_while_nothing_can_be_seen() {
        let mut check = Check::new();
        check.observe(Moment::from_secs(0), TRAP, &bad(), "a");
        assert!(!check.good(), "the first run of all decides at once");
        check.observe(Moment::from_secs(5), TRAP, &Verdict::Unknown("?".into()), "b");
        assert!(!check.good());
    }
}
