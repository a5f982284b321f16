//! A transaction of which only a part had been received when its source was lost. The applier waits for the rest and keeps the locks
//! of what it has applied of it: clients of the new writer would wait for them, and on `MySQL` replication does not stop for a minute.

use std::time::Duration;

use mmm_mysql::{ServerError, ThreadState};

use crate::server_steps::{QUICK, REPLICATION_LIMIT, ServerLane};

/// An applier with nothing half done stops within milliseconds.
const AT_ONCE: Duration = Duration::from_millis(300);
/// One that applies a long transaction may take its time; before that is thought to be a half one.
const PATIENCE: Duration = Duration::from_secs(2);

impl ServerLane {
    /// Lets it go, which rolls it back, and leaves the applier stopped: receiving anew from the source starts that as well.
    pub(crate) async fn let_go_of_half(&mut self) -> Result<(), ServerError> {
        // Where several threads apply, all may be applied long before that is told: as after a salvage.
        self.wait_for_place().await?;
        let Some(status) = self.session().await?.replica_status(QUICK).await? else { return Ok(()) };
        let waits = status.applier_is_idle() && status.received != status.applied;
        if status.io != ThreadState::No || !waits {
            return Ok(());
        }
        match self.session().await?.stop_applying(AT_ONCE).await {
            Err(error) if error.is_timeout() => {
                self.end_waiting_applier().await;
                Ok(())
            }
            other => other,
        }
    }

    /// Stops both threads without waiting for the rest of such a transaction.
    pub(crate) async fn stop_replication(&mut self) -> Result<(), ServerError> {
        match self.session().await?.stop_replication(PATIENCE).await {
            Err(error) if error.is_timeout() => {
                self.end_waiting_applier().await;
                self.session().await?.stop_replication(REPLICATION_LIMIT).await
            }
            other => other,
        }
    }

    /// It has been told to stop, and does so within a minute where it can't be ended.
    async fn end_waiting_applier(&mut self) {
        let ended = match self.session().await {
            Ok(session) => session.end_waiting_applier(QUICK).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(true) => tracing::info!("Ended an applier that waited for the rest of a transaction"),
            Ok(false) => {}
            Err(error) => tracing::warn!(
                "An applier that waits for the rest of a transaction can't be ended; for up to a minute it keeps locks and replication \
                 from stopping. On MySQL it takes SYSTEM_USER: {error}"
            ),
        }
    }
}
