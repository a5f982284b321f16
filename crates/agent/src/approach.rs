//! The first half of a planned move, on its target: getting so close to the writer that the move interrupts nobody for long.

use mmm_core::StepOutcome;
use mmm_core::survey::Reach;
use mmm_mysql::{Coordinates, Flavour, ReplicaStatus, ServerError, ThreadState};
use tokio::time::{Instant, sleep};

use crate::server_steps::{POLL, QUICK, ServerLane, TURN, place, stopped_applier};

impl ServerLane {
    /// Waits a turn until this replica has received what it is to reach and is close behind its source.
    pub(crate) async fn approach(&mut self, reach: Option<&Reach>) -> Result<StepOutcome, ServerError> {
        let until = Instant::now() + TURN;
        let mut close = 0;
        // Once is enough: what was received stays.
        let mut has_received = reach.is_none();
        loop {
            let Some(status) = self.session().await?.replica_status(QUICK).await? else {
                return Ok(StepOutcome::Failed("replication is not set up on this server".to_owned()));
            };
            if status.sql == ThreadState::No {
                return Ok(StepOutcome::Failed(stopped_applier(&status)));
            }
            if status.io == ThreadState::No {
                return Ok(StepOutcome::Failed(
                    "replication does not receive (the IO thread is stopped)".to_owned(),
                ));
            }
            if let Some(reach) = reach
                && !has_received
            {
                has_received = match self.has_received(&status, reach).await? {
                    Some(has) => has,
                    None => {
                        return Ok(StepOutcome::Failed(format!(
                            "this server does not replicate from the writer (server_id {}) and has no GTIDs to compare: whether it has all can't be told",
                            reach.server_id
                        )));
                    }
                };
            }
            let receiving = status.io == ThreadState::Yes;
            close = if receiving && status.delay_seconds == Some(0) { close + 1 } else { 0 };
            // Under writes the applied position trails the received one by a transaction at nearly every look.
            if has_received && ((receiving && status.has_applied_all_received()) || close >= 3) {
                return Ok(StepOutcome::Done);
            }
            if Instant::now() >= until {
                return Ok(StepOutcome::NotYet(behind(&status, reach.filter(|_| !has_received))));
            }
            sleep(POLL).await;
        }
    }

    /// Whether all of that has arrived here; `None` where nothing tells. A thread that says that it receives proves nothing: a cut link
    /// is noticed late.
    async fn has_received(
        &mut self,
        status: &ReplicaStatus,
        reach: &Reach,
    ) -> Result<Option<bool>, ServerError> {
        let flavour = self.session().await?.identity().flavour;
        if let Some((retrieved, executed)) = &status.gtid_sets
            && flavour == Flavour::MySql
            && !reach.gtid.is_empty()
        {
            let all = format!("{retrieved},{executed}");
            return Ok(mmm_core::is_gtid_subset(&reach.gtid, &all));
        }
        if status.source_server_id == reach.server_id
            && let Some(end) = &reach.position
        {
            let end = Coordinates { file: end.file.clone(), pos: end.position };
            return Ok(Some(status.received.as_ref().is_some_and(|received| received.reaches(&end))));
        }
        if flavour == Flavour::MariaDb && !reach.gtid.is_empty() {
            let here = self.session().await?.gtid_state(QUICK).await?;
            return Ok(reach.is_within(&[&here.slave_pos, &here.binlog_state]));
        }
        Ok(None)
    }
}

fn behind(status: &ReplicaStatus, reach: Option<&Reach>) -> String {
    let delay = status.delay_seconds.map_or("unknown".to_owned(), |delay| format!("{delay} s"));
    let (applied, received) = (place(status.applied.as_ref()), place(status.received.as_ref()));
    match reach {
        Some(reach) => format!(
            "it has not received what the writer had when the move began ({received} of {}); is the link between both cut?",
            reach
                .position
                .as_ref()
                .map_or(reach.gtid.clone(), |end| format!("{}:{}", end.file, end.position))
        ),
        None => format!("still behind (delay {delay}, {applied} of {received} received)"),
    }
}
