//! What a server without GTIDs can tell in their place, so that an old writer can be compared with the new one: where its log ended
//! when it was closed, and how far it has the log of its source.
//!
//! A writer that was lost and comes back has begun a new file of its log, and puts into it what it gets from the new writer; the
//! place up to which the new writer has applied its log would never reach its end. So the new writer looks through the rest of
//! that log, for transactions that came from anybody but itself. While it receives that log, as in a merge, it comes to the end by
//! itself, and what it has applied is all that has to be told.

use std::time::Duration;

use mmm_core::{LogEnd, LogSeen};
use mmm_mysql::{Account, Coordinates, Endpoint, LogEvent, ReplicaStatus, ServerError, Session, ThreadState};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Looking through a log. It is done beside everything else, and again until it is of no use any more.
const LIMIT: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(2);
const ROWS_MAX: usize = 500;

pub(crate) struct LogPlaces {
    account: Account,
    end: Option<Coordinates>,
    /// What was applied at the last call.
    applied: Option<Coordinates>,
    looking: Option<JoinHandle<Option<LogSeen>>>,
    /// What the last look found, and the place that it began from.
    found: Option<(Coordinates, LogSeen)>,
    began: Option<Coordinates>,
}

impl LogPlaces {
    /// `replication` is the account by which this server replicates: it may read the log of its source.
    pub(crate) fn new(replication: Account) -> Self {
        Self { account: replication, end: None, applied: None, looking: None, found: None, began: None }
    }

    /// The account changes when the configuration is read again.
    pub(crate) fn log_in_as(&mut self, replication: Account) {
        self.account = replication;
    }

    pub(crate) fn forget_end(&mut self) {
        self.end = None;
    }

    /// The two places as text. `end` is where the log ends, of a server that was seen closed before; the first one counts, since
    /// what follows was not written here.
    pub(crate) async fn look(
        &mut self,
        server_id: u64,
        end: Option<Coordinates>,
        replica: Option<&ReplicaStatus>,
    ) -> (String, String) {
        self.end = end.map(|end| self.end.take().unwrap_or(end));
        let is_open = self.end.is_none();
        let own = LogEnd(self.end.clone().map(|end| (end.file, end.pos))).to_string();
        // A look begins where applying has ended: while receiving goes on, or has not been applied, there is no such place. Of a
        // transaction that arrived in part the rest never comes; where several threads apply, the place moves on a little late.
        let before = self.applied.take();
        let applied = replica
            .filter(|status| status.io == ThreadState::No && status.sql == ThreadState::Yes)
            .and_then(|status| Some((status, status.applied.clone()?)));
        self.applied = applied.as_ref().map(|(_, applied)| applied.clone());
        let applied = applied.filter(|(status, _)| {
            status.received == status.applied || (status.applier_is_idle() && before == status.applied)
        });
        let Some((status, applied)) = applied else {
            self.found = None;
            let applied = replica.filter(|_| is_open).and_then(applied_while_receiving);
            return (own, applied.map(|seen| seen.to_string()).unwrap_or_default());
        };
        self.take_in().await;
        if self.looking.is_none()
            && let Ok(ip) = status.source_host.parse()
        {
            let source = Endpoint::new(ip, status.source_port);
            self.began = Some(applied.clone());
            let look = look_through(source, self.account.clone(), applied.clone(), server_id);
            self.looking = Some(tokio::spawn(async move {
                match timeout(LIMIT, look).await {
                    Ok(Ok(seen)) => Some(seen),
                    Ok(Err(error)) => {
                        tracing::debug!("Can't look through the log of the old writer: {error}");
                        None
                    }
                    Err(_) => None,
                }
            }));
        }
        let seen = self.found.as_ref().filter(|(from, _)| *from == applied).map(|(_, seen)| seen.to_string());
        (own, seen.unwrap_or_default())
    }

    async fn take_in(&mut self) {
        if let Some(look) = self.looking.take_if(|look| look.is_finished()) {
            // A look that panicked has found nothing.
            self.found = self.began.take().zip(look.await.ok().flatten());
        }
    }
}

/// Never further than it is: where several threads apply, the place is before the first transaction that is not done. A source that
/// sends has a log that reaches this place, so it is no place in another log.
fn applied_while_receiving(status: &ReplicaStatus) -> Option<LogSeen> {
    let both_run = status.io == ThreadState::Yes && status.sql == ThreadState::Yes;
    let applied = status.applied.as_ref().filter(|_| both_run)?;
    let received = status.received.as_ref()?;
    received.reaches(applied).then(|| LogSeen {
        file: applied.file.clone(),
        position: applied.pos,
        more_follows: false,
    })
}

/// How far the log of `source` holds, from a place on, only what came from the server with this id.
async fn look_through(
    source: Endpoint,
    account: Account,
    from: Coordinates,
    own_id: u64,
) -> Result<LogSeen, ServerError> {
    let mut session = Session::connect(&source, &account, CALL_LIMIT).await?;
    let mut seen = LogSeen { file: from.file.clone(), position: from.pos, more_follows: false };
    let mut at = from;
    loop {
        let events = session.log_events(&at, ROWS_MAX, CALL_LIMIT).await?;
        let Some(events) = events else { break };
        let count = events.len();
        if !goes_on(&mut at, &events, own_id) {
            seen.more_follows = true;
        }
        seen.file.clone_from(&at.file);
        seen.position = at.pos;
        if seen.more_follows {
            break;
        }
        if count < ROWS_MAX {
            let Some(next) = at.next_file() else { break };
            at = next;
        }
    }
    session.close().await;
    Ok(seen)
}

/// Steps over entries that change nothing here; false at the first one that would.
fn goes_on(at: &mut Coordinates, events: &[LogEvent], own_id: u64) -> bool {
    for event in events {
        if event.server_id != own_id && !event.is_housekeeping() {
            return false;
        }
        at.pos = at.pos.max(event.end);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(server_id: u64, kind: &str, end: u64) -> LogEvent {
        LogEvent { server_id, kind: kind.to_owned(), end }
    }

    #[test]
    fn a_look_goes_on_to_the_first_transaction_of_somebody_else() {
        let mut at = Coordinates { file: "bin.000002".into(), pos: 700 };
        let ours = [event(12, "Stop", 723), event(13, "Anonymous_Gtid", 800), event(13, "Query", 900)];
        assert!(goes_on(&mut at, &ours, 13));
        assert_eq!(at.pos, 900);
        let more = [event(12, "Anonymous_Gtid", 977), event(12, "Query", 1060)];
        assert!(!goes_on(&mut at, &more, 13));
        assert_eq!(at.pos, 900, "what follows is not stepped over");
    }

    fn replica(io: ThreadState, sql: ThreadState, received: u64, applied: u64) -> ReplicaStatus {
        let at = |pos| Some(Coordinates { file: "bin.000002".into(), pos });
        ReplicaStatus {
            io,
            sql,
            source_host: "192.168.8.32".into(),
            source_port: 3306,
            source_user: "repl".into(),
            source_server_id: 12,
            received: at(received),
            applied: at(applied),
            misnamed: false,
            sql_state: "Waiting for dependent transaction to commit".into(),
            delay_seconds: None,
            io_error: None,
            sql_error: None,
            uses_gtid: false,
            received_gtids: None,
            gtid_sets: None,
        }
    }

    /// What is received and not applied is not there.
    #[tokio::test]
    async fn an_open_server_that_receives_tells_what_it_has_applied() {
        use ThreadState::{Connecting, No, Yes};
        let mut places = LogPlaces::new(Account::new("repl", "repl"));
        for (io, sql, received, told) in [
            (Yes, Yes, 900, "log:bin.000002:700"),
            (Yes, Yes, 700, "log:bin.000002:700"),
            (Yes, No, 900, ""),
            (Connecting, Yes, 900, ""),
            // The receiver has begun anew in another log.
            (Yes, Yes, 157, ""),
        ] {
            let status = replica(io, sql, received, 700);
            assert_eq!(places.look(13, None, Some(&status)).await.1, told, "{io:?} {sql:?} {received}");
        }
        let closed = Some(Coordinates { file: "bin.000003".into(), pos: 157 });
        assert_eq!(places.look(13, closed, Some(&replica(Yes, Yes, 900, 700))).await.1, "");
    }

    #[tokio::test]
    async fn the_first_end_of_a_closed_server_counts_until_it_opens() {
        let mut places = LogPlaces::new(Account::new("repl", "repl"));
        let at = |pos| Some(Coordinates { file: "bin.000003".into(), pos });
        assert_eq!(places.look(12, None, None).await, ("log:".to_owned(), String::new()));
        assert_eq!(places.look(12, at(157), None).await.0, "log:bin.000003:157");
        assert_eq!(places.look(12, at(900), None).await.0, "log:bin.000003:157");
        assert_eq!(places.look(12, None, None).await.0, "log:");
        assert_eq!(places.look(12, at(950), None).await.0, "log:bin.000003:950");
        places.forget_end();
        assert_eq!(places.look(12, at(990), None).await.0, "log:bin.000003:990");
    }
}
