//! Making a server read-only and writable again.
//!
//! While `SET GLOBAL read_only = 1` waits for somebody's locks, every new write of every client queues behind it. So the
//! wait is always bounded in the server itself, and a statement that outlives our own deadline is ended through a
//! second connection. What follows from a held lock is for the caller to decide.

use std::time::{Duration, Instant};

use super::Session;
use crate::error::{ErrorKind, ServerError};

/// Clearing up behind a missed deadline may take this much longer than the deadline.
const CLEAR_UP_LIMIT: Duration = Duration::from_secs(1);
const CLEAR_UP_PAUSE: Duration = Duration::from_millis(5);

const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
const ER_QUERY_INTERRUPTED: u16 = 1317;
const ER_STATEMENT_TIMEOUT: u16 = 1969;

/// How an attempt to change `read_only` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnlyOutcome {
    Done,
    /// Somebody's lock stood in the way for the whole wait. Nothing has changed and nothing is left waiting.
    LockHeld,
}

impl Session {
    /// Whether the server refuses writes of ordinary clients.
    pub async fn read_only(&mut self, limit: Duration) -> Result<bool, ServerError> {
        let doing = "reading read_only";
        let rows = self.rows(doing, self.identity.dialect().read_only(), limit).await?;
        match rows.first().and_then(|row| row.first()) {
            Some("0" | "OFF") => Ok(false),
            // Levels of read-only other than plain ON are read-only as well.
            Some(_) => Ok(true),
            None => Err(self.error(doing, ErrorKind::unexpected("no value for read_only"))),
        }
    }

    /// Sets or clears `read_only` (on `MySQL` `super_read_only` with it), waiting at most `lock_wait` for locks that
    /// others hold. `limit` bounds the whole call; when it passes, the statement left behind is ended in the server,
    /// which may take up to one second more, and the session is given up.
    /// [`ErrorKind::TimedOut`] means that the state of the server is not known.
    pub async fn set_read_only(
        &mut self,
        on: bool,
        lock_wait: Duration,
        limit: Duration,
    ) -> Result<ReadOnlyOutcome, ServerError> {
        let doing = if on { "setting read_only" } else { "clearing read_only" };
        let dialect = self.identity.dialect();
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());

        self.rows("bounding the wait for locks", &dialect.bound_lock_wait(lock_wait), left()).await?;
        let outcome = match self.rows(doing, dialect.set_read_only(on), left()).await {
            Ok(_) => ReadOnlyOutcome::Done,
            Err(error) => match error.kind {
                ErrorKind::Said {
                    code: ER_LOCK_WAIT_TIMEOUT | ER_STATEMENT_TIMEOUT | ER_QUERY_INTERRUPTED,
                    ..
                } => ReadOnlyOutcome::LockHeld,
                ErrorKind::TimedOut { .. } => return self.clear_up(on).await.map_err(|_| error),
                _ => return Err(error),
            },
        };
        if let Some(unbound) = dialect.unbound() {
            // The outcome stands whatever this says; a session that could not be restored is not usable any more.
            if self.rows("taking the bound off again", unbound, left().max(CLEAR_UP_LIMIT)).await.is_err() {
                self.conn = None;
                self.line = None;
            }
        }
        Ok(outcome)
    }

    /// Ends what this session left running in the server and looks what came of it.
    async fn clear_up(&mut self, wanted: bool) -> Result<ReadOnlyOutcome, ServerError> {
        let deadline = Instant::now() + CLEAR_UP_LIMIT;
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut second = Session::connect(&self.endpoint, &self.account, left()).await?;
        if !second.identity.is_same_server(&self.identity) {
            let other = format!("server_id {} answers now", second.identity.server_id);
            return Err(second.error("ending a statement left behind", ErrorKind::unexpected(other)));
        }
        second.kill(self.connection_id, left()).await?;
        let still_there =
            format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {}", self.connection_id);
        loop {
            let rows = second.rows("waiting for a statement to end", &still_there, left()).await?;
            if rows.first().and_then(|row| row.first()) == Some("0") {
                break;
            }
            tokio::time::sleep(CLEAR_UP_PAUSE).await;
        }
        let now = second.read_only(left()).await?;
        second.close().await;
        Ok(if now == wanted { ReadOnlyOutcome::Done } else { ReadOnlyOutcome::LockHeld })
    }
}
