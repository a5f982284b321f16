//! Positions in binary logs and the state of replication as a server reports it.

use std::fmt;

use crate::record::Record;

/// Every log file has a few bytes in front that mark it as one.
const LOG_BEGINS_AT: u64 = 4;

/// A place in a binary log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinates {
    pub file: String,
    pub pos: u64,
}

impl Coordinates {
    pub(crate) fn from_record(record: &Record, file: &[&str], pos: &[&str]) -> Option<Self> {
        let file = record.text(file).filter(|name| !name.is_empty())?;
        Some(Self { file: file.to_owned(), pos: record.number(pos)? })
    }
}

impl Coordinates {
    /// Whether this place is the other one or behind it in the same sequence of log files.
    pub fn reaches(&self, other: &Self) -> bool {
        match (self.numbered(), other.numbered()) {
            (Some((base, number)), Some((other_base, other_number))) => {
                base == other_base && (number, self.pos) >= (other_number, other.pos)
            }
            _ => self.file == other.file && self.pos >= other.pos,
        }
    }

    /// `bin.000012` is the 12th file of `bin`; the number gets longer when six digits don't do any more.
    fn numbered(&self) -> Option<(&str, u64)> {
        let (base, number) = self.file.rsplit_once('.')?;
        Some((base, number.parse().ok()?))
    }
}

impl Coordinates {
    /// The beginning of the next file of the same log.
    pub fn next_file(&self) -> Option<Self> {
        let (base, number) = self.numbered()?;
        Some(Self { file: format!("{base}.{:06}", number.checked_add(1)?), pos: LOG_BEGINS_AT })
    }
}

/// One entry of a binary log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Where it first happened.
    pub server_id: u64,
    pub kind: String,
    /// Where the next one begins.
    pub end: u64,
}

impl LogEvent {
    pub(crate) fn from_record(record: &Record) -> Option<Self> {
        Some(Self {
            server_id: record.number(&["Server_id"])?,
            kind: record.text(&["Event_type"])?.to_owned(),
            end: record.number(&["End_log_pos"])?,
        })
    }

    /// Whether it only serves the log itself and changes no data.
    pub fn is_housekeeping(&self) -> bool {
        ["Format_desc", "Previous_gtids", "Rotate", "Stop"].contains(&self.kind.as_str())
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.pos)
    }
}

/// The state of the receiving (IO) or the applying (SQL) thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadState {
    Yes,
    No,
    /// Trying to reach the source; `MariaDB` also says `Preparing` for a moment, which counts as this.
    Connecting,
}

impl ThreadState {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Yes") => Self::Yes,
            Some("Connecting" | "Preparing") => Self::Connecting,
            _ => Self::No,
        }
    }
}

/// Replication as seen by the receiving server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    pub io: ThreadState,
    pub sql: ThreadState,
    pub source_host: String,
    pub source_port: u16,
    pub source_user: String,
    /// 0 until the source has been reached once.
    pub source_server_id: u64,
    /// How far the source's log has been fetched; `None` before the first contact.
    pub received: Option<Coordinates>,
    /// How far it has been applied.
    pub applied: Option<Coordinates>,
    /// The server itself says it with the name of an earlier file, see [`Self::name_applied`].
    pub misnamed: bool,
    /// What the applying thread says that it does.
    pub sql_state: String,
    /// Means nothing without `io`: a dead link shows 0 or nothing for a while.
    pub delay_seconds: Option<u64>,
    pub io_error: Option<(u32, String)>,
    pub sql_error: Option<(u32, String)>,
    pub uses_gtid: bool,
    /// GTIDs of what was fetched from the source, whether it is applied or not; `None` where it is fetched without them.
    pub received_gtids: Option<String>,
    /// On `MySQL`: the transactions that were fetched whole, and those that this server has; white space removed.
    pub gtid_sets: Option<(String, String)>,
}

impl ReplicaStatus {
    pub(crate) fn from_record(record: &Record) -> Self {
        let text = |names: &[&str]| record.text(names).unwrap_or_default().to_owned();
        let error = |number: &str, message: &str| {
            let number = record.number(&[number]).and_then(|n| u32::try_from(n).ok()).filter(|n| *n != 0)?;
            Some((number, text(&[message])))
        };
        let using_gtid = record.text(&["Using_Gtid"]).is_some_and(|value| !value.eq_ignore_ascii_case("No"));
        let mut status = Self {
            io: ThreadState::parse(record.text(&["Replica_IO_Running", "Slave_IO_Running"])),
            sql: ThreadState::parse(record.text(&["Replica_SQL_Running", "Slave_SQL_Running"])),
            source_host: text(&["Source_Host", "Master_Host"]),
            source_port: record
                .number(&["Source_Port", "Master_Port"])
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(0),
            source_user: text(&["Source_User", "Master_User"]),
            source_server_id: record.number(&["Source_Server_Id", "Master_Server_Id"]).unwrap_or(0),
            received: Coordinates::from_record(
                record,
                &["Source_Log_File", "Master_Log_File"],
                &["Read_Source_Log_Pos", "Read_Master_Log_Pos"],
            ),
            applied: Coordinates::from_record(
                record,
                &["Relay_Source_Log_File", "Relay_Master_Log_File"],
                &["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"],
            ),
            misnamed: false,
            sql_state: text(&["Replica_SQL_Running_State", "Slave_SQL_Running_State"]),
            delay_seconds: record.number(&["Seconds_Behind_Source", "Seconds_Behind_Master"]),
            io_error: error("Last_IO_Errno", "Last_IO_Error"),
            sql_error: error("Last_SQL_Errno", "Last_SQL_Error"),
            gtid_sets: record
                .text(&["Retrieved_Gtid_Set"])
                .zip(record.text(&["Executed_Gtid_Set"]))
                .map(|(retrieved, executed)| (compact(retrieved), compact(executed))),
            received_gtids: match record.text(&["Retrieved_Gtid_Set"]) {
                Some(retrieved) => Some(compact(retrieved)),
                None => record.text(&["Gtid_IO_Pos"]).filter(|_| using_gtid).map(compact),
            },
            uses_gtid: using_gtid || record.number(&["Auto_Position"]) == Some(1),
        };
        status.name_applied();
        status
    }

    /// Where a log file ends behind the first event of a transaction, as a full disk leaves it, `MariaDB` takes the next file for a part
    /// of that transaction and does not note its name: until the file after that it says what it has applied with the right
    /// position and the name of the torn file. (Seen on 10.11.)
    ///
    /// An applier that has read everything is not in an earlier file. One that has not, or is stopped, may well be, and at the same
    /// position: logs whose transactions are all alike have the same positions in each file.
    fn name_applied(&mut self) {
        let (Some(received), Some(applied)) = (&self.received, &self.applied) else { return };
        let is_other_file = received.file != applied.file && !applied.file.is_empty();
        let is_behind = received.pos == applied.pos && received.reaches(applied);
        let is_mariadb = self.gtid_sets.is_none();
        if is_mariadb && is_other_file && is_behind && self.applier_is_idle() {
            self.misnamed = true;
            self.applied.clone_from(&self.received);
        }
    }

    /// Takes over what was known a moment ago, if nothing has moved since: an applier that is stopped does not show it.
    pub fn name_as(&mut self, seen: &Self) {
        let pos = |place: &Option<Coordinates>| place.as_ref().map(|place| place.pos);
        if seen.misnamed && self.received == seen.received && pos(&self.applied) == pos(&seen.applied) {
            self.misnamed = true;
            self.applied.clone_from(&seen.applied);
        }
    }

    /// Whether everything fetched has been applied, and the fetching side has begun at all.
    pub fn has_applied_all_received(&self) -> bool {
        self.received.is_some() && self.received == self.applied
    }

    /// Whether the applying thread says that it has nothing left to read. Once receiving has stopped this is the end
    /// where one thread applies, also where the last transaction arrived in part only and the two positions never become
    /// equal. Where several do, see [`crate::Session::busy_appliers`].
    pub fn applier_is_idle(&self) -> bool {
        self.sql == ThreadState::Yes && self.sql_state.contains("has read all relay log")
    }

    /// Whether what it has received and not applied is gone as soon as its applier is started: on `MariaDB` a replica by GTID of which
    /// neither thread runs begins anew behind what it has applied.
    pub fn begins_anew(&self) -> bool {
        self.keeps_only_while_receiving() && self.io == ThreadState::No && self.sql == ThreadState::No
    }

    /// Whether its receiver has to run on until everything is applied, so that an applier that stops loses nothing when it is
    /// started.
    pub fn keeps_only_while_receiving(&self) -> bool {
        self.uses_gtid && self.gtid_sets.is_none() && self.received != self.applied
    }
}

/// What a server holds, by GTID. Text as the server writes it, white space removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidState {
    /// Who wrote what into this server's log.
    pub binlog_state: String,
    /// How far it has replicated; empty on `MySQL`, where one set holds everything.
    pub slave_pos: String,
}

impl GtidState {
    pub(crate) fn from_record(record: &Record) -> Self {
        let set = |name| compact(record.text(&[name]).unwrap_or_default());
        Self { binlog_state: set("binlog_state"), slave_pos: set("slave_pos") }
    }
}

/// `MySQL` breaks lines after each comma of a set.
fn compact(set: &str) -> String {
    set.split_whitespace().collect()
}

/// How a wait for a position ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    Reached,
    TimedOut,
    /// No replication is set up, or its applying thread is stopped (or was stopped while waiting).
    NotAReplica,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mariadb() -> Record {
        Record::of(&[
            ("Slave_IO_State", Some("Waiting for master to send event")),
            ("Master_Host", Some("192.168.8.33")),
            ("Master_User", Some("repl")),
            ("Master_Port", Some("3306")),
            ("Master_Log_File", Some("bin.000002")),
            ("Read_Master_Log_Pos", Some("700")),
            ("Relay_Master_Log_File", Some("bin.000002")),
            ("Slave_IO_Running", Some("Yes")),
            ("Slave_SQL_Running", Some("No")),
            ("Exec_Master_Log_Pos", Some("600")),
            ("Seconds_Behind_Master", None),
            ("Last_IO_Errno", Some("0")),
            ("Last_IO_Error", Some("")),
            ("Last_SQL_Errno", Some("1062")),
            ("Last_SQL_Error", Some("Duplicate entry")),
            ("Master_Server_Id", Some("13")),
            ("Using_Gtid", Some("Slave_Pos")),
            ("Gtid_IO_Pos", Some("0-13-45, 1-13-2")),
        ])
    }

    #[test]
    fn every_fact_of_a_broken_replica_is_read() {
        let status = ReplicaStatus::from_record(&mariadb());
        assert_eq!((status.io, status.sql), (ThreadState::Yes, ThreadState::No));
        assert_eq!((status.source_host.as_str(), status.source_port), ("192.168.8.33", 3306));
        assert_eq!(status.received.as_ref().unwrap().to_string(), "bin.000002:700");
        assert_eq!(status.applied.as_ref().unwrap().to_string(), "bin.000002:600");
        assert_eq!(status.delay_seconds, None);
        assert_eq!(status.io_error, None);
        assert_eq!(status.sql_error, Some((1062, "Duplicate entry".to_owned())));
        assert!(status.uses_gtid);
        assert_eq!(status.received_gtids.as_deref(), Some("0-13-45,1-13-2"));
        assert!(!status.has_applied_all_received());
    }

    /// With the names of two files, two positions, and what the applier does.
    fn by_place(received: (&str, &str), applied: (&str, &str), (runs, does): (&str, &str)) -> ReplicaStatus {
        ReplicaStatus::from_record(&Record::of(&[
            ("Master_Log_File", Some(received.0)),
            ("Read_Master_Log_Pos", Some(received.1)),
            ("Relay_Master_Log_File", Some(applied.0)),
            ("Exec_Master_Log_Pos", Some(applied.1)),
            ("Slave_SQL_Running", Some(runs)),
            ("Slave_SQL_Running_State", Some(does)),
        ]))
    }

    const IDLE: (&str, &str) = ("Yes", "Slave has read all relay log; waiting for more updates");

    #[test]
    fn only_an_applier_with_nothing_left_is_known_to_be_in_the_file_that_is_received() {
        let applied =
            |status: &ReplicaStatus| (status.misnamed, status.applied.as_ref().unwrap().to_string());
        let (torn, next) = (("bin.000002", "328"), ("bin.000003", "328"));
        assert_eq!(applied(&by_place(next, torn, IDLE)), (true, "bin.000003:328".to_owned()));
        for (received, doing) in [
            (next, ("Yes", "Reading event from the relay log")),
            (next, ("No", "")),
            (("bin.000003", "900"), IDLE),
            (("bin.000001", "328"), IDLE),
            (torn, IDLE),
        ] {
            let status = by_place(received, torn, doing);
            assert_eq!(applied(&status), (false, "bin.000002:328".to_owned()), "{received:?}");
        }
    }

    #[test]
    fn a_name_that_was_known_is_known_while_nothing_moves() {
        let (torn, next, stopped) = (("bin.000002", "328"), ("bin.000003", "328"), ("No", ""));
        let seen = by_place(next, torn, IDLE);
        let named = |mut status: ReplicaStatus, seen: &ReplicaStatus| {
            status.name_as(seen);
            status.applied.unwrap().to_string()
        };
        assert_eq!(named(by_place(next, torn, stopped), &seen), "bin.000003:328");
        let moved = ("bin.000003", "900");
        assert_eq!(named(by_place(moved, torn, stopped), &seen), "bin.000002:328");
        assert_eq!(named(by_place(next, ("bin.000002", "400"), stopped), &seen), "bin.000002:400");
        assert_eq!(named(by_place(next, torn, stopped), &by_place(next, torn, stopped)), "bin.000002:328");
    }

    #[test]
    fn what_waits_to_be_applied_is_kept_by_a_thread_that_runs() {
        let receiving = ReplicaStatus::from_record(&mariadb());
        assert!(receiving.keeps_only_while_receiving() && !receiving.begins_anew());
        let stands_still = ReplicaStatus { io: ThreadState::No, ..receiving.clone() };
        assert!(stands_still.begins_anew());
        let at_rest = ReplicaStatus { applied: receiving.received.clone(), ..stands_still.clone() };
        assert!(!at_rest.begins_anew() && !at_rest.keeps_only_while_receiving());
        let by_place = ReplicaStatus { uses_gtid: false, ..stands_still.clone() };
        assert!(!by_place.begins_anew() && !by_place.keeps_only_while_receiving());
        let mysql = ReplicaStatus { gtid_sets: Some((String::new(), String::new())), ..stands_still };
        assert!(!mysql.begins_anew() && !mysql.keeps_only_while_receiving());
    }

    #[test]
    fn the_names_of_mysql_give_the_same_facts() {
        let status = ReplicaStatus::from_record(&Record::of(&[
            ("Source_Host", Some("192.168.8.33")),
            ("Source_Port", Some("3306")),
            ("Replica_IO_Running", Some("Connecting")),
            ("Replica_SQL_Running", Some("Yes")),
            ("Source_Log_File", Some("bin.1")),
            ("Read_Source_Log_Pos", Some("4")),
            ("Relay_Source_Log_File", Some("bin.1")),
            ("Exec_Source_Log_Pos", Some("4")),
            ("Seconds_Behind_Source", Some("7")),
            ("Auto_Position", Some("0")),
            ("Retrieved_Gtid_Set", Some("a:3-5")),
            ("Executed_Gtid_Set", Some("a:1-5,\nb:1-2")),
        ]));
        assert_eq!((status.io, status.sql), (ThreadState::Connecting, ThreadState::Yes));
        assert_eq!(status.delay_seconds, Some(7));
        assert!(status.has_applied_all_received());
        assert!(!status.uses_gtid);
        assert_eq!(status.gtid_sets, Some(("a:3-5".to_owned(), "a:1-5,b:1-2".to_owned())));
        assert_eq!(ReplicaStatus::from_record(&mariadb()).gtid_sets, None);
    }

    #[test]
    fn before_the_first_contact_there_are_no_coordinates() {
        let record = Record::of(&[("Master_Log_File", Some("")), ("Read_Master_Log_Pos", Some("4"))]);
        let status = ReplicaStatus::from_record(&record);
        assert_eq!(status.received, None);
        assert!(!status.has_applied_all_received());
    }

    #[test]
    fn places_are_ordered_by_the_number_of_the_file_and_then_by_position() {
        let at = |file: &str, pos| Coordinates { file: file.to_owned(), pos };
        for (here, there, reaches) in [
            (at("bin.000002", 7), at("bin.000002", 7), true),
            (at("bin.000002", 6), at("bin.000002", 7), false),
            (at("bin.000003", 4), at("bin.000002", 700), true),
            (at("bin.1000000", 4), at("bin.999999", 700), true),
            (at("other.000003", 4), at("bin.000002", 7), false),
            (at("bin", 9), at("bin", 8), true),
        ] {
            assert_eq!(here.reaches(&there), reaches, "{here} {there}");
        }
    }

    #[test]
    fn line_breaks_in_gtid_sets_are_dropped() {
        let record = Record::of(&[("binlog_state", Some("a:1-5,\nb:1-2")), ("slave_pos", Some(""))]);
        assert_eq!(GtidState::from_record(&record).binlog_state, "a:1-5,b:1-2");
    }
}
