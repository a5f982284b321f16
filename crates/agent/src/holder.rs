//! Which monitor has the session: one at a time, and a second one only when the first can't be there any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mmm_core::lease::{LeaseLength, Renewal, wait_for};
use mmm_wire::{Refusal, RefusalCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Renewals that wait for a connection; one that takes so few is about to be given up.
const RENEWALS_MAX: usize = 8;

/// Which monitor has the session.
#[derive(Debug)]
pub(crate) struct Holder(Mutex<Held>);

#[derive(Debug)]
struct Held {
    /// Counts sessions, so that an old one's end is not taken for the new one's.
    number: u64,
    /// Of the last order: while a monitor may still count on a lease of this length, no other one gets in.
    length: LeaseLength,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    instance: u64,
    name: String,
    heard: Instant,
    /// Dropped to end the session.
    renewals: mpsc::Sender<Renewal>,
}

/// A place that was given to a session.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    holder: Arc<Holder>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The connection is closed, so the monitor knows of it, or is gone.
    Closed,
    /// It may still be there, on the other side of a network that lets nothing through.
    Silent,
}

impl Holder {
    pub(crate) fn new(length: LeaseLength) -> Self {
        Self(Mutex::new(Held { number: 0, length, current: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a second monitor until the first one has been silent for as long as whoever waits for a lease waits. The
    /// same monitor may come back on a new connection before its old one was noticed to be dead.
    pub(crate) fn judge(&self, instance: u64) -> Result<(), Refusal> {
        let held = self.lock();
        match &held.current {
            Some(current)
                if current.instance != instance && current.heard.elapsed() < wait_for(held.length) =>
            {
                let reason = format!(
                    "this agent has a session with another monitor ({}), heard of {} ms ago; two monitors on one cluster would fight over it: stop one of them",
                    current.name,
                    current.heard.elapsed().as_millis()
                );
                Err(Refusal::new(RefusalCode::OtherMonitor, reason))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The second value holds the renewals that are to go out, and ends when another session took over.
    pub(crate) fn take(self: &Arc<Self>, instance: u64, name: &str) -> (Place, mpsc::Receiver<Renewal>) {
        let (renewals, outgoing) = mpsc::channel(RENEWALS_MAX);
        let mut held = self.lock();
        held.number += 1;
        let number = held.number;
        held.current =
            Some(Current { number, instance, name: name.to_owned(), heard: Instant::now(), renewals });
        (Place { number, holder: Arc::clone(self) }, outgoing)
    }

    /// Hands a renewal to this session; false when it has another one by now, or does not take it.
    pub(crate) fn renew(&self, session: u64, renewal: Renewal) -> bool {
        let held = self.lock();
        let current = held.current.as_ref().filter(|current| current.number == session);
        current.is_some_and(|current| current.renewals.try_send(renewal).is_ok())
    }
}

impl Place {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn heard(&self) {
        if let Some(current) = self.holder.lock().current.as_mut().filter(|held| held.number == self.number) {
            current.heard = Instant::now();
        }
    }

    pub(crate) fn note_length(&self, length: LeaseLength) {
        self.holder.lock().length = length;
    }

    pub(crate) fn leave(self, how: Leaving) {
        let mut held = self.holder.lock();
        held.current.take_if(|current| current.number == self.number && how == Leaving::Closed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mmm_core::Moment;
    use mmm_core::lease::Epoch;

    use super::*;

    fn holder() -> Arc<Holder> {
        Arc::new(Holder::new(LeaseLength::DEFAULT))
    }

    fn wait() -> Duration {
        wait_for(LeaseLength::DEFAULT)
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_monitor_is_refused_until_the_first_has_been_silent_for_a_whole_wait() {
        let holder = holder();
        assert!(holder.judge(1).is_ok());
        let (place, _) = holder.take(1, "monitor at a");
        assert!(holder.judge(1).is_ok(), "the same monitor may reconnect");
        let refusal = holder.judge(2).unwrap_err();
        assert!(refusal.reason.contains("monitor at a"), "{}", refusal.reason);
        tokio::time::advance(wait() / 2).await;
        place.heard();
        tokio::time::advance(wait() / 2).await;
        place.leave(Leaving::Silent);
        assert!(holder.judge(2).is_err(), "a session that fell silent leaves the place to nobody");
        assert!(holder.judge(1).is_ok(), "but to its own monitor");
        tokio::time::advance(wait() / 2).await;
        assert!(holder.judge(2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_that_of_the_lease_the_last_order_named() {
        let holder = holder();
        let (place, _) = holder.take(1, "monitor at a");
        place.note_length(LeaseLength::GREATEST);
        tokio::time::advance(wait() * 2).await;
        assert!(holder.judge(2).is_err());
        tokio::time::advance(wait_for(LeaseLength::GREATEST)).await;
        assert!(holder.judge(2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_session_leaves_its_place_at_once() {
        let holder = holder();
        let (place, _) = holder.take(1, "monitor at a");
        place.leave(Leaving::Closed);
        assert!(holder.judge(2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_monitor_that_comes_back_ends_its_own_old_session_and_only_that() {
        let holder = holder();
        let (old, mut replaced) = holder.take(1, "monitor at a");
        let _new = holder.take(1, "monitor at a");
        assert!(replaced.recv().await.is_none());
        old.leave(Leaving::Closed);
        assert!(holder.judge(2).is_err(), "the new one is still there");
    }

    #[tokio::test]
    async fn a_renewal_goes_out_over_its_own_session_or_not_at_all() {
        let holder = holder();
        let renewal = |ms| Renewal { epoch: Epoch::NONE, reading: Moment::from_millis(ms), taken: None };
        let (first, mut over_first) = holder.take(1, "monitor at a");
        assert!(holder.renew(first.number(), renewal(1)));
        let (second, mut over_second) = holder.take(1, "monitor at a");
        assert!(!holder.renew(first.number(), renewal(2)));
        assert!(holder.renew(second.number(), renewal(3)));
        assert_eq!(over_first.recv().await, Some(renewal(1)));
        assert_eq!(over_first.recv().await, None);
        assert_eq!(over_second.recv().await, Some(renewal(3)));
        while holder.renew(second.number(), renewal(4)) {}
    }
}
