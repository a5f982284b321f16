//! Refusals that repeat: a program that is refused tries again several times a second, and its host is named once a minute.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const AGAIN: Duration = Duration::from_secs(60);

/// Different things that are remembered; whoever makes up more of them fills no log.
const THINGS_MAX: usize = 256;

/// What was told of whom, and when.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<BTreeMap<(IpAddr, String), Instant>>);

impl Seldom {
    /// Whether this text about a host is to be told now. Numbers in it, such as ports and times, do not make it another one.
    pub fn tell(&self, host: IpAddr, text: &str) -> bool {
        self.tell_at(Instant::now(), host, text)
    }

    fn tell_at(&self, now: Instant, host: IpAddr, text: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        let thing = (host, text.replace(|character: char| character.is_ascii_digit(), ""));
        if told.contains_key(&thing) || told.len() >= THINGS_MAX {
            return false;
        }
        told.insert(thing, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_same_is_told_once_a_minute_for_each_host() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert!(seldom.tell_at(now, host(1), "10.0.0.1:4711 expired 3 days ago"));
        assert!(!seldom.tell_at(now + AGAIN / 2, host(1), "10.0.0.1:4712 expired 4 days ago"));
        assert!(seldom.tell_at(now + AGAIN / 2, host(2), "10.0.0.2:4711 expired 3 days ago"));
        assert!(seldom.tell_at(now + AGAIN / 2, host(1), "10.0.0.1:4711 showed no certificate"));
        assert!(seldom.tell_at(now + AGAIN, host(1), "10.0.0.1:4713 expired 3 days ago"));
    }

    #[test]
    fn who_makes_up_ever_new_things_is_heard_of_no_more_than_so_often() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        let things = (0..2 * THINGS_MAX).map(|number| "x".repeat(number));
        assert_eq!(things.filter(|thing| seldom.tell_at(now, host(1), thing)).count(), THINGS_MAX);
        assert!(seldom.tell_at(now + AGAIN, host(1), "another"));
    }
}
