//! The monitor's verdicts over what its queries gave, word for word as operators know them from 2.2.1.
//!
//! Pure: no connection, no clock. One difference from 2.2.1 is meant: an error packet proves that the server lives, so
//! it makes a check unknown, never failed.

use std::fmt;

use crate::error::{ErrorKind, ServerError};
use crate::replica::{ReplicaStatus, ThreadState};

/// What one check found, with the message that `mmm_control checks` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    Ok(String),
    Failed(String),
    /// Nothing was learnt; only the message changes.
    Unknown(String),
}

impl CheckVerdict {
    pub fn message(&self) -> &str {
        let (Self::Ok(message) | Self::Failed(message) | Self::Unknown(message)) = self;
        message
    }

    fn ok() -> Self {
        Self::Ok("OK".into())
    }
}

impl fmt::Display for CheckVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// Does the server answer? A closed kept connection is no answer to that: connect anew and judge the result of that.
pub fn mysql_check<T>(result: &Result<T, ServerError>) -> CheckVerdict {
    match result {
        Ok(_) => CheckVerdict::ok(),
        Err(error) => match &error.kind {
            ErrorKind::TimedOut { .. } if !error.while_connecting() => {
                CheckVerdict::Failed("ERROR: Timeout".into())
            }
            ErrorKind::Unexpected { .. } => unknown(error),
            _ if error.proves_life() => unknown(error),
            _ => CheckVerdict::Failed(format!("ERROR: {error}")),
        },
    }
}

/// Do both replication threads run? A receiver that is still connecting is no failure, since the survivor of a dying
/// writer looks just like that.
pub fn rep_threads_check(result: &Result<Option<ReplicaStatus>, ServerError>) -> CheckVerdict {
    match result {
        Err(error) => unknown(error),
        Ok(None) => not_set_up(),
        Ok(Some(status)) if status.io == ThreadState::No || status.sql == ThreadState::No => {
            CheckVerdict::Failed("ERROR: Replication is broken".into())
        }
        Ok(Some(_)) => CheckVerdict::ok(),
    }
}

/// Is the replica less than `max_backlog` seconds behind? An unknown delay counts as none.
pub fn rep_backlog_check(
    result: &Result<Option<ReplicaStatus>, ServerError>,
    max_backlog_seconds: u64,
) -> CheckVerdict {
    match result {
        Err(error) => unknown(error),
        Ok(None) => not_set_up(),
        Ok(Some(status)) => match status.delay_seconds.unwrap_or(0) {
            0 => CheckVerdict::Ok("OK: Backlog is null".into()),
            delay if delay > max_backlog_seconds => CheckVerdict::Failed("ERROR: Backlog is too big".into()),
            _ => CheckVerdict::ok(),
        },
    }
}

/// A delay that gets smaller by more than this between two looks is real.
const JITTER_SECONDS: u64 = 2;

/// Whether a replica that seems to be late only has another clock than its source: a moment later it has applied all that it had
/// received, it receives, and by the seconds it does not catch up.
pub fn keeps_up(before: &ReplicaStatus, after: &ReplicaStatus) -> bool {
    let runs = |status: &ReplicaStatus| status.io == ThreadState::Yes && status.sql == ThreadState::Yes;
    let source = |status: &ReplicaStatus| (status.source_host.clone(), status.source_port);
    let applied = match (&before.received, &after.applied) {
        (Some(received), Some(applied)) => applied.reaches(received),
        _ => false,
    };
    let catches_up = match (before.delay_seconds, after.delay_seconds) {
        (Some(before), Some(after)) => before > after.saturating_add(JITTER_SECONDS),
        _ => false,
    };
    runs(before) && runs(after) && source(before) == source(after) && applied && !catches_up
}

fn not_set_up() -> CheckVerdict {
    CheckVerdict::Failed("ERROR: Replication is not set up".into())
}

fn unknown(error: &ServerError) -> CheckVerdict {
    let message = match &error.kind {
        ErrorKind::Said { code: 1040, message } => format!("UNKNOWN: Too many connections! {message}"),
        ErrorKind::TimedOut { .. } if !error.while_connecting() => "UNKNOWN: Timeout".into(),
        _ => format!("UNKNOWN: {error}"),
    };
    CheckVerdict::Unknown(message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::address::Endpoint;
    use crate::record::Record;

    fn error(kind: ErrorKind, doing: Option<&'static str>) -> ServerError {
        let endpoint = Endpoint::new("192.168.8.32".parse().unwrap(), 3306);
        ServerError { kind, endpoint, user: "mmm_monitor".into(), doing }
    }

    fn said(code: u16, message: &str) -> ServerError {
        error(ErrorKind::Said { code, message: message.into() }, None)
    }

    fn replica(io: &str, sql: &str, delay: Option<&str>) -> ReplicaStatus {
        let fields = [
            ("Slave_IO_Running", Some(io)),
            ("Slave_SQL_Running", Some(sql)),
            ("Seconds_Behind_Master", delay),
        ];
        ReplicaStatus::from_record(&Record::of(&fields))
    }

    #[test]
    fn a_server_that_answers_is_ok_and_one_that_refuses_has_failed() {
        assert_eq!(mysql_check(&Ok(())), CheckVerdict::Ok("OK".into()));
        let expected = "ERROR: Connect error (host = 192.168.8.32:3306, user = mmm_monitor)! \
                        Can't connect to server on '192.168.8.32' (111)";
        assert_eq!(
            mysql_check::<()>(&Err(error(ErrorKind::Refused, None))),
            CheckVerdict::Failed(expected.into())
        );
    }

    #[test]
    fn a_query_without_answer_is_a_timeout() {
        let late = error(ErrorKind::TimedOut { after: Duration::from_secs(2) }, Some("SELECT 1"));
        assert_eq!(mysql_check::<()>(&Err(late)), CheckVerdict::Failed("ERROR: Timeout".into()));
    }

    #[test]
    fn error_packets_make_the_mysql_check_unknown() {
        let full = mysql_check::<()>(&Err(said(1040, "Too many connections")));
        assert_eq!(full, CheckVerdict::Unknown("UNKNOWN: Too many connections! Too many connections".into()));
        for code in [1045, 1129, 1227] {
            let verdict = mysql_check::<()>(&Err(said(code, "no")));
            assert!(
                matches!(&verdict, CheckVerdict::Unknown(text) if text.starts_with("UNKNOWN: Connect error"))
            );
        }
    }

    #[test]
    fn a_server_that_says_it_is_stopping_has_failed() {
        let verdict = mysql_check::<()>(&Err(said(1053, "Server shutdown in progress")));
        assert!(matches!(verdict, CheckVerdict::Failed(_)));
    }

    #[test]
    fn only_a_stopped_thread_breaks_replication() {
        let table = [
            ("Yes", "Yes", "OK"),
            ("Connecting", "Yes", "OK"),
            ("No", "Yes", "ERROR: Replication is broken"),
            ("Yes", "No", "ERROR: Replication is broken"),
            ("Connecting", "No", "ERROR: Replication is broken"),
        ];
        for (io, sql, message) in table {
            assert_eq!(rep_threads_check(&Ok(Some(replica(io, sql, None)))).message(), message, "{io} {sql}");
        }
        assert_eq!(rep_threads_check(&Ok(None)).message(), "ERROR: Replication is not set up");
    }

    #[test]
    fn an_unknown_delay_counts_as_none() {
        let verdict = |delay| rep_backlog_check(&Ok(Some(replica("Yes", "Yes", delay))), 60);
        assert_eq!(verdict(None), CheckVerdict::Ok("OK: Backlog is null".into()));
        assert_eq!(verdict(Some("0")), CheckVerdict::Ok("OK: Backlog is null".into()));
        assert_eq!(verdict(Some("60")), CheckVerdict::Ok("OK".into()));
        assert_eq!(verdict(Some("61")), CheckVerdict::Failed("ERROR: Backlog is too big".into()));
        // By a clock that is behind that of the source.
        assert_eq!(verdict(Some("-744")), CheckVerdict::Ok("OK: Backlog is null".into()));
    }

    #[test]
    fn a_replica_that_applies_what_it_receives_is_late_by_its_clock_only() {
        let status = |(io, received, applied, delay)| {
            ReplicaStatus::from_record(&Record::of(&[
                ("Slave_IO_Running", Some(io)),
                ("Slave_SQL_Running", Some("Yes")),
                ("Master_Log_File", Some("bin.000002")),
                ("Read_Master_Log_Pos", Some(received)),
                ("Relay_Master_Log_File", Some("bin.000002")),
                ("Exec_Master_Log_Pos", Some(applied)),
                ("Seconds_Behind_Master", Some(delay)),
            ]))
        };
        let first = ("Yes", "700", "600", "744");
        for (later, keeps) in [
            (("Yes", "800", "700", "744"), true),
            (("Yes", "800", "700", "742"), true),
            (("Yes", "700", "699", "744"), false),
            // It fetches old transactions no faster than it applies them.
            (("Yes", "800", "700", "741"), false),
            (("Connecting", "800", "700", "744"), false),
        ] {
            assert_eq!(keeps_up(&status(first), &status(later)), keeps, "{later:?}");
        }
        let elsewhere = ReplicaStatus { source_host: "192.168.8.33".into(), ..status(first) };
        assert!(!keeps_up(&status(first), &elsewhere));
    }

    #[test]
    fn replication_checks_know_nothing_about_an_unreachable_server() {
        let unreachable = Err(error(ErrorKind::Refused, None));
        let expected = CheckVerdict::Unknown(
            "UNKNOWN: Connect error (host = 192.168.8.32:3306, user = mmm_monitor)! \
             Can't connect to server on '192.168.8.32' (111)"
                .into(),
        );
        assert_eq!(rep_threads_check(&unreachable), expected);
        assert_eq!(rep_backlog_check(&unreachable, 60), expected);
    }
}
