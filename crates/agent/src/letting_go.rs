//! What replication commits here, and what it waits for.
//!
//! On `MySQL` what replication commits waits for an acknowledgement like any commit, where the server is a semi-synchronous source. That
//! is of use to nobody: no client is told of it. Where nobody is there to acknowledge, it holds up what has to be done at once.

use std::time::Duration;

use mmm_core::{SemiSyncSide, StepOutcome};
use mmm_mysql::{Flavour, ServerError, Session};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::client_threads::end_client_threads;
use crate::closing::{END_LIMIT, HEAD_START, LOCK_WAIT, READ_ONLY_LIMIT, outcome_of};
use crate::server_steps::{POLL, QUICK, ServerLane};

const AGAIN: Duration = Duration::from_millis(100);
/// After that the closing may be given up before those who are let go are done, and whoever waits behind it would write on.
const LETS_GO_WITHIN: Duration = Duration::from_millis(500);

/// When somebody looked last what the appliers wait for, within one step.
pub(crate) struct LastLook(Instant);

impl LastLook {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl ServerLane {
    /// Closes a server that came back. Replication starts with it, and what that commits waits for an acknowledgement, which nobody
    /// may give; so does what a client commits. Both would keep the server open for the whole semi-synchronous timeout.
    pub(crate) async fn close_returned(&mut self) -> Result<StepOutcome, ServerError> {
        let own_users = self.own_users.clone();
        let (endpoint, account) = (self.endpoint, self.account.clone());
        let session = self.session().await?;
        let closer = session.connection_id();
        let (ended, began) = (Notify::new(), Instant::now());
        let closing = async {
            let outcome = session.set_read_only(true, LOCK_WAIT, READ_ONLY_LIMIT).await;
            ended.notify_one();
            outcome
        };
        let helping = async {
            tokio::select! {
                () = ended.notified() => return Ok(()),
                () = sleep(HEAD_START) => {}
            }
            let mut second = Session::connect(&endpoint, &account, QUICK).await?;
            let by = began + LETS_GO_WITHIN;
            while !lets_go(&mut second, closer, &own_users, by).await? {
                tokio::select! {
                    () = ended.notified() => return Ok(()),
                    () = sleep(AGAIN) => {}
                }
            }
            let released = second.set_semi_sync(SemiSyncSide::Source, false, QUICK).await;
            if released.is_ok() {
                ended.notified().await;
            }
            // Also when nobody knows whether it was switched off; the agent looks again afterwards, and after its own restart.
            let back = second.set_semi_sync(SemiSyncSide::Source, true, QUICK).await;
            released.and(back)
        };
        let (outcome, helped) = tokio::join!(closing, helping);
        if let Err(error) = helped {
            tracing::warn!("Can't look what keeps the server open, or mend it: {error}");
        }
        Ok(outcome_of(outcome?))
    }

    /// Lets what replication commits go on, where it waits and nobody is connected who could acknowledge it. The server is closed to
    /// clients; [`Self::wait_again`] has to follow before that changes.
    pub(crate) async fn help_appliers(&mut self, last: &mut LastLook) -> Result<(), ServerError> {
        if self.is_unwaiting || last.0.elapsed() < AGAIN {
            return Ok(());
        }
        let own_users = self.own_users.clone();
        let session = self.session().await?;
        if session.identity().flavour != Flavour::MySql {
            return Ok(());
        }
        let seen = session.semi_sync(QUICK).await?;
        let in_vain = seen.source.is_some_and(|source| source.clients == 0 && source.waiting > 0);
        let own: Vec<&str> = own_users.iter().map(String::as_str).collect();
        let in_vain = in_vain && session.unacknowledged(None, &own, QUICK).await?.clients == 0;
        *last = LastLook::new();
        if in_vain {
            tracing::info!(
                "What replication applies waits for an acknowledgement, and nobody is connected who could give it: going on without"
            );
            self.is_unwaiting = true;
            self.session().await?.set_semi_sync(SemiSyncSide::Source, false, QUICK).await?;
        }
        Ok(())
    }

    /// Lets go what replication has been waiting with, once.
    pub(crate) async fn let_go(&mut self) -> Result<StepOutcome, ServerError> {
        let own_users = self.own_users.clone();
        let own: Vec<&str> = own_users.iter().map(String::as_str).collect();
        let seen = self.session().await?.unacknowledged(None, &own, QUICK).await?;
        if seen.waiting == 0 || seen.clients > 0 {
            return Ok(StepOutcome::Done);
        }
        tracing::info!(
            "What replication applied here waits for an acknowledgement that does not come: going on without"
        );
        self.is_unwaiting = true;
        self.session().await?.set_semi_sync(SemiSyncSide::Source, false, QUICK).await?;
        let until = Instant::now() + LETS_GO_WITHIN;
        while Instant::now() < until
            && self.session().await?.unacknowledged(None, &own, QUICK).await?.waiting > 0
        {
            sleep(POLL).await;
        }
        Ok(StepOutcome::Done)
    }

    pub(crate) async fn wait_again(&mut self) -> Result<(), ServerError> {
        if !std::mem::take(&mut self.is_unwaiting) {
            return Ok(());
        }
        // What fails is seen at the next look, which the agent goes by.
        self.session().await?.set_semi_sync(SemiSyncSide::Source, true, QUICK).await
    }
}

/// Whether nothing keeps the server open but waiting for acknowledgements, and nobody can be told any more that he has got his. Clients
/// that could be are ended: none is to take a commit for safe that waited in vain.
async fn lets_go(
    session: &mut Session,
    closer: u64,
    own_users: &[String],
    by: Instant,
) -> Result<bool, ServerError> {
    let own: Vec<&str> = own_users.iter().map(String::as_str).collect();
    if Instant::now() >= by || session.unacknowledged(Some(closer), &own, QUICK).await?.waiting == 0 {
        return Ok(false);
    }
    let ended = end_client_threads(session, own_users, END_LIMIT).await?;
    if ended.done > 0 {
        tracing::info!("{}", ended.describe());
    }
    let seen = session.unacknowledged(Some(closer), &own, QUICK).await?;
    // Ending a crowd may have taken its time.
    let in_time = Instant::now() < by;
    let lets_go = in_time && seen.closer_waits && seen.waiting > 0 && seen.clients == 0 && seen.others == 0;
    if lets_go {
        tracing::info!(
            "{} commits, of replication or of clients that were ended, keep the server open: they wait for an acknowledgement that nobody may give, and are let go",
            seen.waiting
        );
    }
    Ok(lets_go)
}
