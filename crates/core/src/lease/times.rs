//! The arithmetic of the lease, in one place.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Two clocks that each may be off by 1 %.
const DRIFT_PERCENT: u32 = 2;
/// What is added to every wait besides.
const MARGIN: Duration = Duration::from_millis(300);
/// The kernel may take an address down this much after its whole-second lifetime is over, and a little before.
const KERNEL_SLACK: Duration = Duration::from_millis(900);

/// How long a lease lasts: 3 to 60 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Duration", into = "Duration")]
pub struct LeaseLength(Duration);

impl LeaseLength {
    pub const LEAST: LeaseLength = LeaseLength(Duration::from_secs(3));
    pub const DEFAULT: LeaseLength = LeaseLength(Duration::from_secs(5));
    pub const GREATEST: LeaseLength = LeaseLength(Duration::from_secs(60));

    /// `None` outside of the allowed range.
    pub fn new(length: Duration) -> Option<Self> {
        let length = Self(length);
        (Self::LEAST..=Self::GREATEST).contains(&length).then_some(length)
    }

    pub const fn duration(self) -> Duration {
        self.0
    }

    /// How often the holder asks for a renewal.
    pub fn renew_every(self) -> Duration {
        self.0 / 5
    }

    /// Unanswered for so long, the holder asks the hosts of its list for promises.
    pub fn ask_promises_after(self) -> Duration {
        self.0 * 2 / 5
    }

    /// Unanswered for so long, the holder closes its server and ends client threads.
    pub fn close_after(self) -> Duration {
        self.0 * 4 / 5
    }
}

impl TryFrom<Duration> for LeaseLength {
    type Error = String;

    fn try_from(length: Duration) -> Result<Self, String> {
        Self::new(length).ok_or_else(|| {
            let (least, greatest) = (Self::LEAST.0.as_secs(), Self::GREATEST.0.as_secs());
            format!("a lease of {length:?}: expected {least} to {greatest} s")
        })
    }
}

impl From<LeaseLength> for Duration {
    fn from(length: LeaseLength) -> Self {
        length.0
    }
}

impl Default for LeaseLength {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How long somebody waits who must be sure that a lease of this length is over.
pub fn wait_for(length: LeaseLength) -> Duration {
    let length = length.duration();
    length + length * DRIFT_PERCENT / 100 + MARGIN
}

/// The lifetime an address gets when so much of the lease is left: whole seconds, and zero where the kernel could keep it
/// longer than the lease lasts.
pub fn kernel_lifetime(rest: Duration) -> Duration {
    Duration::from_secs(rest.saturating_sub(KERNEL_SLACK).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_counts_longer_than_whoever_acts_under_any_allowed_drift() {
        for seconds in [3, 5, 60] {
            let length = LeaseLength::new(Duration::from_secs(seconds)).unwrap();
            // The holder's clock is slow by 1 %, the waiter's fast by 1 %.
            let acted = length.duration().mul_f64(1.0 / 0.99);
            let waited = wait_for(length).mul_f64(1.0 / 1.01);
            assert!(waited > acted, "{seconds} s: {waited:?} against {acted:?}");
        }
    }

    #[test]
    fn an_address_never_outlives_the_lease_in_the_kernel() {
        for rest_ms in 0..6000 {
            let rest = Duration::from_millis(rest_ms);
            let latest = kernel_lifetime(rest) + Duration::from_secs(1);
            assert!(
                kernel_lifetime(rest).is_zero() || latest <= rest + Duration::from_millis(100),
                "{rest_ms}"
            );
        }
        assert_eq!(kernel_lifetime(Duration::from_secs(5)), Duration::from_secs(4));
        assert_eq!(kernel_lifetime(Duration::from_millis(1899)), Duration::ZERO);
    }

    #[test]
    fn a_lease_is_between_3_and_60_seconds() {
        assert!(LeaseLength::new(Duration::from_millis(2999)).is_none());
        assert!(LeaseLength::new(Duration::from_secs(61)).is_none());
        assert_eq!(LeaseLength::new(Duration::from_secs(5)), Some(LeaseLength::DEFAULT));
        let read = serde_json::from_str::<LeaseLength>;
        assert_eq!(read(r#"{"secs":5,"nanos":0}"#).unwrap(), LeaseLength::DEFAULT);
        assert!(read(r#"{"secs":18446744073709551615,"nanos":0}"#).is_err());
    }
}
