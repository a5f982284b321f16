//! The first half of a planned move, on its target: getting so close to the writer that the move interrupts nobody for long.

use std::time::Duration;

use mmm_core::survey::Reach;
use mmm_core::{OrderId, StepOutcome};
use mmm_mysql::{Coordinates, Flavour, ReplicaStatus, ServerError, ThreadState};
use tokio::time::{Instant, sleep};

use crate::server_steps::{POLL, QUICK, ServerLane, TURN, place, stopped_applier};

/// So far behind what it has received a target may be at most when the writer stops: it is waited for, and nobody writes meanwhile.
const CLOSE: Duration = Duration::from_secs(1);

impl ServerLane {
    /// Waits a turn until this replica has received what it is to reach and is close behind its source.
    pub(crate) async fn approach(
        &mut self,
        order: OrderId,
        reach: Option<&Reach>,
    ) -> Result<StepOutcome, ServerError> {
        let until = Instant::now() + TURN;
        let before = self.approaching.take().filter(|(of, _)| *of == order);
        let mut closeness = before.map(|(_, closeness)| closeness).unwrap_or_default();
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
            if has_received && closeness.is_close(Instant::now(), &status) {
                return Ok(StepOutcome::Done);
            }
            if Instant::now() >= until {
                self.approaching = Some((order, closeness));
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

/// How close a replica is behind its source, by the looks of one approach. The server's own word on its delay does not do: it reckons
/// in whole seconds, with the clocks as they were when it began to receive. After a step of one of them, or where they were read
/// around a full second, a replica calls itself late for ever that is not, or never late.
#[derive(Default)]
pub(crate) struct Closeness {
    /// What had been received at one of these looks.
    mark: Option<(Instant, Coordinates)>,
}

impl Closeness {
    /// Whether it has applied all, or all that it had received at most so long ago. Under writes the applied position trails the
    /// received one at nearly every look.
    fn is_close(&mut self, now: Instant, status: &ReplicaStatus) -> bool {
        if status.io != ThreadState::Yes {
            self.mark = None;
            return false;
        }
        if status.has_applied_all_received() {
            return true;
        }
        self.mark.take_if(|(since, _)| now.duration_since(*since) > CLOSE);
        let Some((_, mark)) = &self.mark else {
            self.mark = status.received.clone().map(|received| (now, received));
            return false;
        };
        status.applied.as_ref().is_some_and(|applied| applied.reaches(mark))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn late(applied: u64, received: u64) -> ReplicaStatus {
        let at = |pos| Some(Coordinates { file: "bin.000001".to_owned(), pos });
        ReplicaStatus {
            io: ThreadState::Yes,
            sql: ThreadState::Yes,
            source_host: "192.168.8.32".to_owned(),
            source_port: 3306,
            source_user: "replicator".to_owned(),
            source_server_id: 1,
            received: at(received),
            applied: at(applied),
            misnamed: false,
            sql_state: String::new(),
            delay_seconds: Some(1),
            io_error: None,
            sql_error: None,
            uses_gtid: false,
            received_gtids: None,
            gtid_sets: None,
        }
    }

    /// What comes of looks, each with its milliseconds.
    fn looks(looks: &[(u64, ReplicaStatus)]) -> Vec<bool> {
        let (began, mut closeness) = (Instant::now(), Closeness::default());
        looks
            .iter()
            .map(|(at, status)| closeness.is_close(began + Duration::from_millis(*at), status))
            .collect()
    }

    #[test]
    fn a_replica_that_applies_what_it_has_just_received_is_close_whatever_it_calls_its_delay() {
        let trailing = [(0, late(100, 400)), (300, late(399, 600)), (1000, late(400, 700))];
        assert_eq!(looks(&trailing), [false, false, true]);
        assert_eq!(looks(&[(0, late(400, 400))]), [true]);
    }

    #[test]
    fn a_replica_that_is_later_is_not_close_until_it_has_caught_up_even_if_it_says_so() {
        let says_so = |status| ReplicaStatus { delay_seconds: Some(0), ..status };
        let slow = [
            (0, says_so(late(100, 400))),
            (900, says_so(late(399, 900))),
            (1001, says_so(late(400, 1000))),
            (1900, says_so(late(999, 1900))),
            (2001, says_so(late(1000, 1990))),
        ];
        assert_eq!(looks(&slow), [false, false, false, false, true]);
    }

    #[test]
    fn nothing_counts_of_a_replica_that_does_not_receive() {
        let cut = |status| ReplicaStatus { io: ThreadState::Connecting, ..status };
        assert_eq!(looks(&[(0, cut(late(400, 400)))]), [false]);
        let anew = [(0, late(100, 400)), (1, cut(late(200, 400))), (2, late(401, 800)), (3, late(800, 900))];
        assert_eq!(looks(&anew), [false, false, false, true], "it begins anew behind the cut");
    }
}
