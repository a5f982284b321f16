//! Decides when the parent stands in for a worker that can't fence: no word from any worker, and a lease that is over. Who spoke just
//! before the lease ended has to speak again then: the next writer does not wait for long.
//!
//! It does so once for each silence, and again only while an address is still there.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::fence::{Fence, Fenced};
use crate::lease_on_disk::{self, LeaseOnDisk};
use crate::setup::Setup;

/// A worker that was heard of within this time fences by itself.
pub(crate) const AWAY_AFTER: Duration = Duration::from_secs(1);
/// One that was not heard of since the lease ended has this time only. Less than what the monitor adds to a lease before it grants
/// the next one, and the server has to be read-only by then.
const LAST_WORD: Duration = Duration::from_millis(200);
/// Pause before the parent looks whether an address is still there.
const AGAIN: Duration = Duration::from_secs(1);

/// What the parent sees and does; apart from the deciding, so that that can be tried out.
pub(crate) trait Hands: Send + Sync + 'static {
    /// The time since boot.
    fn uptime(&self) -> Option<Duration>;
    fn lease(&self) -> Option<LeaseOnDisk>;
    fn fence(&self) -> impl Future<Output = Fenced> + Send;
    fn is_address_left(&self) -> impl Future<Output = bool> + Send;
    fn kill_server(&self, pid_file: Option<PathBuf>);
}

/// The parent's own.
pub(crate) struct OwnHands {
    pub(crate) setup: Setup,
    pub(crate) fence: Fence,
}

impl Hands for OwnHands {
    fn uptime(&self) -> Option<Duration> {
        mmm_net::uptime().ok()
    }

    fn lease(&self) -> Option<LeaseOnDisk> {
        lease_on_disk::read(&self.setup)
    }

    async fn fence(&self) -> Fenced {
        self.fence.carry_out().await
    }

    async fn is_address_left(&self) -> bool {
        self.fence.is_address_left().await
    }

    fn kill_server(&self, pid_file: Option<PathBuf>) {
        self.fence.kill_server(pid_file);
    }
}

#[derive(Debug)]
enum Stage {
    /// Nothing was done in this silence.
    Watching,
    /// Never cut short: an address that receives nothing any more must go off as well. `None`: all is off already.
    Fencing(JoinHandle<Option<Fenced>>),
    Fenced {
        look_again: Instant,
    },
}

pub(crate) struct StandIn<H> {
    hands: Arc<H>,
    stage: Stage,
}

impl<H: Hands> StandIn<H> {
    pub(crate) fn new(hands: H) -> Self {
        Self { hands: Arc::new(hands), stage: Stage::Watching }
    }

    /// What comes next is done with these; a fencing that is under way goes on as it is.
    pub(crate) fn follow(&mut self, hands: H) {
        self.hands = Arc::new(hands);
    }

    /// To be called many times a second with how long no worker was heard of.
    pub(crate) async fn look(&mut self, now: Instant, silence: Duration) {
        // Whether the worker is back does not matter here: the lease that it would write down anew is still over.
        if let Some(Fenced::MayWrite { pid_file }) = self.take_ended(now).await
            && let Some(lease) = self.over()
        {
            self.deal_with_server(&lease, pid_file);
        }
        // The file is looked at only when the worker is slow.
        let over = if silence < LAST_WORD { None } else { self.over() };
        let is_away = silence >= AWAY_AFTER
            || over.as_ref().is_some_and(|lease| {
                let over_for = self.over_for(lease);
                over_for >= LAST_WORD && silence > over_for
            });
        if !is_away {
            // A fencing that is under way ends first.
            if matches!(self.stage, Stage::Fenced { .. }) {
                self.stage = Stage::Watching;
            }
            return;
        }
        if over.is_none() {
            return;
        }
        match self.stage {
            Stage::Watching => {
                mmm_daemon::fatal!(
                    "The parent fences: no word from the worker for {} ms, and the lease of this host is over",
                    silence.as_millis()
                );
                self.begin(false);
            }
            Stage::Fenced { look_again } if now >= look_again => self.begin(true),
            Stage::Fencing(_) | Stage::Fenced { .. } => {}
        }
    }

    /// Lets a fencing that is under way come to its end, for so long at most.
    pub(crate) async fn finish(&mut self, limit: Duration) {
        if let Stage::Fencing(job) = &mut self.stage {
            // The kernel ends what is left of it with the lifetime of the address.
            let _ = timeout(limit, job).await;
        }
    }

    /// The lease, if it is over.
    fn over(&self) -> Option<LeaseOnDisk> {
        let lease = self.hands.lease()?;
        let ends = lease.ends?;
        // A clock that can't be read is no reason to go on writing.
        (self.hands.uptime().is_none_or(|now| now >= ends)).then_some(lease)
    }

    /// For how long it has been over; nothing where the clock can't be read.
    fn over_for(&self, lease: &LeaseOnDisk) -> Duration {
        let (now, ends) = (self.hands.uptime().unwrap_or_default(), lease.ends.unwrap_or_default());
        now.saturating_sub(ends)
    }

    fn begin(&mut self, only_if_address_is_left: bool) {
        let hands = Arc::clone(&self.hands);
        self.stage = Stage::Fencing(tokio::spawn(async move {
            if only_if_address_is_left && !hands.is_address_left().await {
                return None;
            }
            Some(hands.fence().await)
        }));
    }

    /// What a fencing that has just ended came to.
    async fn take_ended(&mut self, now: Instant) -> Option<Fenced> {
        let Stage::Fencing(job) = &mut self.stage else { return None };
        if !job.is_finished() {
            return None;
        }
        let ended = job.await;
        self.stage = Stage::Fenced { look_again: now + AGAIN };
        ended.unwrap_or_else(|error| {
            mmm_daemon::fatal!("The parent fences: that has failed ({error})");
            Some(Fenced::MayWrite { pid_file: None })
        })
    }

    fn deal_with_server(&self, lease: &LeaseOnDisk, pid_file: Option<PathBuf>) {
        if lease.fence_hung_server {
            self.hands.kill_server(pid_file);
        } else {
            mmm_daemon::fatal!(
                "The parent fences: the server may still take writes, and fence_hung_server says not to kill it: end it by hand"
            );
        }
    }
}

#[cfg(test)]
mod tests;
