//! The clocks of this host. Every moment that the mind is told is one of the boot clock, which no clock setting moves and
//! which goes on while the host is suspended.

use std::time::Duration;

use mmm_core::Moment;

/// The wall clock may get ahead of the boot clock by this much from one look to the next without being asked why.
const JUMP_MS: i64 = 1000;

/// The reading of the boot clock.
pub(crate) fn now() -> Moment {
    Moment::from(mmm_net::uptime().expect("each kernel that runs these programs has a boot clock"))
}

/// Notices a wall clock that has gone on by more than the boot clock: this host may have stood still with both its clocks,
/// and then only the wall clock was set right again.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    /// How far the wall clock was ahead at the last look, in milliseconds.
    ahead: Option<i64>,
}

impl WallClock {
    /// To be called before anything is decided. Returns by how much the wall clock has gone on, where that is a jump.
    pub(crate) fn look(&mut self) -> Option<Duration> {
        // A clock that can't be read says nothing; the next look goes on from the last one.
        self.take_in(mmm_net::wall_minus_boot().ok()?)
    }

    fn take_in(&mut self, ahead: i64) -> Option<Duration> {
        let grown = ahead.saturating_sub(self.ahead.replace(ahead)?);
        let grown_ms = u64::try_from(grown).ok().filter(|_| grown > JUMP_MS)?;
        Some(Duration::from_millis(grown_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wall_clock_that_gains_more_than_a_second_at_once_has_jumped() {
        let mut clock = WallClock::default();
        assert_eq!(clock.take_in(5_000_000), None, "the first look compares with nothing");
        assert_eq!(clock.take_in(5_001_000), None);
        assert_eq!(clock.take_in(5_002_001), Some(Duration::from_millis(1001)));
        assert_eq!(clock.take_in(5_002_001), None, "told once");
        assert_eq!(clock.take_in(1_000), None, "set back");
        assert_eq!(clock.take_in(1_900), None);
        assert_eq!(clock.take_in(2_800), None, "a clock that is slewed");
        assert_eq!(
            clock.look(),
            Some(Duration::from_millis(u64::try_from(clock.ahead.unwrap() - 2_800).unwrap()))
        );
        assert_eq!(clock.look(), None);
    }
}
