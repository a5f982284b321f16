//! Makes the server read-only and ends its clients: what a writer does that gives its role away.

use std::future::pending;
use std::time::Duration;

use mmm_core::StepOutcome;
use mmm_mysql::{Flavour, ReadOnlyOutcome, ServerError, Session};
use tokio::time::{Instant, sleep};

use crate::client_threads::{Ended, end_client_threads};
use crate::server_steps::{QUICK, ServerLane};

/// How long a waiting `SET read_only` may make writes queue behind it.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(1);
pub(crate) const READ_ONLY_LIMIT: Duration = Duration::from_secs(3);
/// Ending client threads, however many there are.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(3);
/// `SET read_only` is to wait in the server before the first client is ended.
pub(crate) const HEAD_START: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_millis(100);
/// A client that is ended in the middle of a commit finishes it first.
const LAST_COMMITS: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(2);

impl ServerLane {
    pub(crate) async fn set_read_only(&mut self, on: bool) -> Result<StepOutcome, ServerError> {
        let outcome = self.session().await?.set_read_only(on, LOCK_WAIT, READ_ONLY_LIMIT).await?;
        Ok(outcome_of(outcome))
    }

    pub(crate) async fn end_clients(&mut self) -> Result<StepOutcome, ServerError> {
        let own_users = self.own_users.clone();
        let session = self.session().await?;
        let ended = end_client_threads(session, &own_users, END_LIMIT).await?;
        if !ended.all() {
            let text = format!("only {} of {} were ended in time", ended.done, ended.of);
            return Ok(StepOutcome::Failed(text));
        }
        if ended.done > 0 {
            tracing::info!("{}", ended.describe());
            // `super_read_only` keeps everybody from committing; nothing on MariaDB does that to privileged accounts.
            if session.identity().flavour == Flavour::MariaDb {
                wait_for_last_commits(session, &own_users, &ended).await?;
            }
        }
        Ok(StepOutcome::Done)
    }

    /// Ends clients while the server is asked to become read-only. That keeps those out that connect anew at once: where there are many, one
    /// of them would always hold the next lock.
    pub(crate) async fn end_writers(&mut self) -> Result<StepOutcome, ServerError> {
        let own_users = self.own_users.clone();
        let (endpoint, account) = (self.endpoint, self.account.clone());
        let mut second = match Session::connect(&endpoint, &account, QUICK).await {
            Ok(second) => second,
            Err(error) => {
                // All connections may be in use; ending them makes room.
                tracing::warn!("Ending clients before the server is asked to become read-only: {error}");
                return self.end_clients().await;
            }
        };
        let closing = self.session().await?.set_read_only(true, LOCK_WAIT, READ_ONLY_LIMIT);
        let mut trouble = None;
        let ending = async {
            sleep(HEAD_START).await;
            loop {
                match end_client_threads(&mut second, &own_users, END_LIMIT).await {
                    Ok(ended) if ended.done > 0 => tracing::info!("{}", ended.describe()),
                    Ok(_) => {}
                    Err(error) => break trouble = Some(error),
                }
                sleep(AGAIN).await;
            }
            // How it ends is for the server to say.
            pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = closing => outcome?,
            () = ending => ReadOnlyOutcome::LockHeld,
        };
        Ok(match (outcome_of(outcome), trouble) {
            (StepOutcome::LockHeld, Some(error)) => StepOutcome::Failed(error.to_string()),
            (outcome, _) => outcome,
        })
    }
}

pub(crate) fn outcome_of(outcome: ReadOnlyOutcome) -> StepOutcome {
    match outcome {
        ReadOnlyOutcome::Done => StepOutcome::Done,
        ReadOnlyOutcome::LockHeld => StepOutcome::LockHeld,
    }
}

async fn wait_for_last_commits(
    session: &mut Session,
    own_users: &[String],
    ended: &Ended,
) -> Result<(), ServerError> {
    let own: Vec<&str> = own_users.iter().map(String::as_str).collect();
    let until = Instant::now() + LAST_COMMITS;
    loop {
        let threads = session.client_threads(&own, QUICK).await?;
        let left = threads.iter().filter(|thread| ended.ids.contains(&thread.id)).count();
        if left == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            tracing::warn!(
                "{left} clients that were ended are still there: what those commit that may write to a read-only server reaches the next writer by replication only"
            );
            return Ok(());
        }
        sleep(POLL).await;
    }
}
