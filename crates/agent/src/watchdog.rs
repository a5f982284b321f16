//! How long a worker may be silent. It reads no clock and kills nobody.

use std::time::Duration;

use tokio::time::Instant;

/// A worker that was heard of before is given up after this.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(2);
/// A new one may take so much longer for its first word.
const START_LIMIT: Duration = Duration::from_secs(3);
/// A parent that looks this late was held up itself.
const LATE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Watchdog {
    since: Instant,
    looked: Instant,
    has_spoken: bool,
}

impl Watchdog {
    pub(crate) fn new(born: Instant) -> Self {
        Self { since: born, looked: born, has_spoken: false }
    }

    /// To be called many times a second with whether the worker was heard of since the last call. Returns how long it
    /// has been silent once that is too long.
    pub(crate) fn look(&mut self, now: Instant, was_heard: bool) -> Option<Duration> {
        let was_late = now - self.looked > LATE;
        self.looked = now;
        // What held the parent up has held the worker up too: it gets its whole time again.
        if was_heard || was_late {
            self.since = now;
        }
        self.has_spoken |= was_heard;
        let limit = if self.has_spoken { SILENT_AFTER } else { SILENT_AFTER + START_LIMIT };
        let silent = now - self.since;
        (silent >= limit).then_some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    /// Looks every tick without hearing anything; returns after how long the worker was given up.
    fn given_up_after(watchdog: &mut Watchdog, mut now: Instant) -> Duration {
        let start = now;
        loop {
            now += TICK;
            if watchdog.look(now, false).is_some() {
                return now - start;
            }
            assert!(now - start < Duration::from_secs(60));
        }
    }

    #[test]
    fn a_worker_that_fell_silent_is_given_up_after_two_seconds() {
        let mut now = Instant::now();
        let mut watchdog = Watchdog::new(now);
        for _ in 0..100 {
            now += TICK;
            assert_eq!(watchdog.look(now, true), None);
        }
        assert_eq!(given_up_after(&mut watchdog, now), Duration::from_secs(2));
    }

    #[test]
    fn a_worker_that_has_not_spoken_yet_is_given_up_after_five_seconds() {
        let now = Instant::now();
        assert_eq!(given_up_after(&mut Watchdog::new(now), now), Duration::from_secs(5));
    }

    #[test]
    fn a_parent_that_was_held_up_gives_the_worker_its_whole_time_again() {
        let mut now = Instant::now();
        let mut watchdog = Watchdog::new(now);
        now += TICK;
        watchdog.look(now, true);
        now += Duration::from_mins(1);
        assert_eq!(watchdog.look(now, false), None);
        assert_eq!(given_up_after(&mut watchdog, now), Duration::from_secs(2));
    }
}
