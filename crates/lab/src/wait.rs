//! Waiting for something to become true, with a limit and with the last thing seen in the failure.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Looks every 20 ms until `look` returns a value. What it returns as an error is what was seen instead; the last one is in the
/// failure at the limit.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(last) if began.elapsed() >= limit => {
                return Err(LabError::Timeout { what: what.to_owned(), limit, last });
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thing_seen_is_in_the_failure() {
        let mut count = 0;
        let error = wait_for("five", Duration::from_millis(50), || {
            count += 1;
            Err::<(), _>(format!("saw {count}"))
        })
        .unwrap_err();
        assert!(count >= 2);
        assert_eq!(error.to_string(), format!("five did not happen within 50ms; last seen: saw {count}"));
    }

    #[test]
    fn the_value_is_handed_back_as_soon_as_it_is_there() {
        let mut count = 0;
        let value = wait_for("three", Duration::from_secs(10), || {
            count += 1;
            if count == 3 { Ok(count) } else { Err(String::new()) }
        });
        assert_eq!(value.unwrap(), 3);
    }
}
