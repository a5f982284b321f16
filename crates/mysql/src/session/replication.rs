//! Reading and steering replication. Sources are never changed here.

use std::time::{Duration, Instant};

use super::Session;
use crate::dialect::{Dialect, PLACE_PERIOD, Threads};
use crate::error::{ErrorKind, ServerError};
use crate::replica::{Coordinates, GtidState, LogEvent, ReplicaStatus, WaitOutcome};

/// The server's own limit ends a wait; ours only steps in when the server does not answer any more.
const WAIT_SLACK: Duration = Duration::from_secs(1);
const ER_ERROR_WHEN_EXECUTING_COMMAND: u16 = 1220;
/// The server counts in milliseconds and may round down.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// The thread that reads the relay log, where it has come to its end.
const WAITING_APPLIER: &str = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'system user' \
     AND STATE LIKE '%has read all relay log%'";

impl Session {
    /// `None` when no replication is set up. With several sources, the first one.
    pub async fn replica_status(&mut self, limit: Duration) -> Result<Option<ReplicaStatus>, ServerError> {
        let sql = self.identity.dialect().replica_status();
        let rows = self.rows("reading the replication status", sql, limit).await?;
        Ok(rows.first().map(ReplicaStatus::from_record))
    }

    /// How many threads that apply in parallel are still at work; 0 where nothing is applied in parallel.
    pub async fn busy_appliers(&mut self, limit: Duration) -> Result<u64, ServerError> {
        let doing = "asking whether replication still applies";
        let rows = self.rows(doing, self.identity.dialect().busy_appliers(), limit).await?;
        rows.first()
            .and_then(|row| row.first()?.parse().ok())
            .ok_or_else(|| self.error(doing, ErrorKind::unexpected("no number in the answer")))
    }

    /// How often `MySQL` writes down how far several threads have applied: the place that it tells may be so old.
    pub async fn place_period(&mut self, limit: Duration) -> Result<Duration, ServerError> {
        let rows = self.rows("asking how often the place is written down", PLACE_PERIOD, limit).await?;
        let period = rows.first().and_then(|row| row.number(&["Value"]));
        Ok(Duration::from_millis(period.unwrap_or_default()))
    }

    /// The end of the server's own binary log; `None` when it keeps none.
    pub async fn log_position(&mut self, limit: Duration) -> Result<Option<Coordinates>, ServerError> {
        let sql = self.identity.dialect().log_position();
        let rows = self.rows("reading the binary log position", sql, limit).await?;
        Ok(rows.first().and_then(|row| Coordinates::from_record(row, &["File"], &["Position"])))
    }

    /// What the server's own log holds from a place on, at most `rows_max` entries; `None` where there is no such file. Needs
    /// the privilege of a replica.
    pub async fn log_events(
        &mut self,
        from: &Coordinates,
        rows_max: usize,
        limit: Duration,
    ) -> Result<Option<Vec<LogEvent>>, ServerError> {
        let doing = "reading the binary log";
        let sql = Dialect::log_events(from, rows_max);
        let rows = match self.rows(doing, &sql, limit).await {
            Err(error) if error.code() == Some(ER_ERROR_WHEN_EXECUTING_COMMAND) => return Ok(None),
            other => other?,
        };
        let events: Option<Vec<LogEvent>> = rows.iter().map(LogEvent::from_record).collect();
        events.map(Some).ok_or_else(|| self.error(doing, ErrorKind::unexpected("an entry without its place")))
    }

    pub async fn gtid_state(&mut self, limit: Duration) -> Result<GtidState, ServerError> {
        let doing = "reading the GTID state";
        let rows = self.rows(doing, self.identity.dialect().gtid_state(), limit).await?;
        let row = rows.first().ok_or_else(|| self.error(doing, ErrorKind::unexpected("an empty answer")))?;
        Ok(GtidState::from_record(row))
    }

    /// Waits until replication has applied the source's log up to `target`, at most `limit` (on `MySQL` rounded up to
    /// whole seconds). The session stays usable after a wait that timed out.
    pub async fn wait_for_position(
        &mut self,
        target: &Coordinates,
        limit: Duration,
    ) -> Result<WaitOutcome, ServerError> {
        let doing = "waiting for replication to catch up";
        let sql = self.identity.dialect().wait_for_position(target, limit);
        let began = Instant::now();
        let rows = self.rows(doing, &sql, limit + WAIT_SLACK).await?;
        let row = rows.first().ok_or_else(|| self.error(doing, ErrorKind::unexpected("an empty answer")))?;
        Ok(match row.first() {
            Some("-1") => WaitOutcome::TimedOut,
            Some(_) => WaitOutcome::Reached,
            // Where the limit on the statement ended the wait, the answer is NULL as well.
            None if began.elapsed() + TIMER_GRAIN >= limit => WaitOutcome::TimedOut,
            None => WaitOutcome::NotAReplica,
        })
    }

    /// Stops fetching and applying. The server first finishes the event it is applying; a missed deadline leaves it
    /// stopping.
    pub async fn stop_replication(&mut self, limit: Duration) -> Result<(), ServerError> {
        let sql = self.identity.dialect().stop(Threads::Both);
        self.rows("stopping replication", &sql, limit).await.map(drop)
    }

    pub async fn start_replication(&mut self, limit: Duration) -> Result<(), ServerError> {
        let sql = self.identity.dialect().start(Threads::Both);
        self.rows("starting replication", &sql, limit).await.map(drop)
    }

    /// Stops fetching from the source; what has been fetched goes on being applied.
    pub async fn stop_receiving(&mut self, limit: Duration) -> Result<(), ServerError> {
        let sql = self.identity.dialect().stop(Threads::Receiver);
        self.rows("stopping the receiver of replication", &sql, limit).await.map(drop)
    }

    /// Stops applying; what the source has is fetched on.
    pub async fn stop_applying(&mut self, limit: Duration) -> Result<(), ServerError> {
        let sql = self.identity.dialect().stop(Threads::Applier);
        self.rows("stopping the applier of replication", &sql, limit).await.map(drop)
    }

    /// Ends an applier that has read everything and yet does not stop: it waits for the rest of a transaction, on `MySQL` for a
    /// minute, and keeps its locks meanwhile. What it has applied of it is rolled back. Takes `SYSTEM_USER` there, as for every
    /// thread of the server. Whether there was one to end.
    pub async fn end_waiting_applier(&mut self, limit: Duration) -> Result<bool, ServerError> {
        let rows = self.rows("looking for an applier that waits", WAITING_APPLIER, limit).await?;
        let ids: Vec<u64> = rows.iter().filter_map(|row| row.first()?.parse().ok()).collect();
        for id in &ids {
            self.kill(*id, limit).await?;
        }
        Ok(!ids.is_empty())
    }

    pub async fn start_receiving(&mut self, limit: Duration) -> Result<(), ServerError> {
        let sql = self.identity.dialect().start(Threads::Receiver);
        self.rows("starting the receiver of replication", &sql, limit).await.map(drop)
    }
}
