//! What a server tells of writes that do not get on, and our own small write.
//!
//! Only statements that were seen to answer while the storage stood still: on `MySQL` 9.7 a look into `information_schema.PROCESSLIST`
//! or `performance_schema` hangs then as well.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Session;
use crate::error::{ErrorKind, ServerError};
use crate::record::Record;

const THREADS: &str = "SHOW PROCESSLIST";
const CONNECTED: &str = "SHOW GLOBAL STATUS LIKE 'Threads_connected'";
const PLACES: &str = "SELECT @@max_connections AS most, @@datadir AS data, @@log_bin_basename AS log";

/// What commits wait for that somebody holds. By `slave` or `replica`, of the backup lock also as `MDL`.
const HELD_UP: [&str; 7] = [
    "Waiting for semi-sync ACK",
    "Waiting for global read lock",
    "Waiting for commit lock",
    "Waiting for backup lock",
    "Waiting for table metadata lock",
    "Waiting for table level lock",
    "Waiting for table flush",
];
/// The first so many of these hold everybody up who comes to them, the rest only the probe.
const FOR_ALL: usize = 4;
/// The first so many also hold up who seems to wait for nothing: a commit that waits for its acknowledgement has others behind it. Locks
/// are taken before a commit begins, and whoever is in the middle of one has them already.
const INSIDE: usize = 1;
/// How both families call the middle of a commit.
const COMMITTING: [&str; 2] = ["Commit", "waiting for handler commit"];

/// The process list as far as it is about writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteThreads {
    pub committing: BTreeSet<u64>,
    /// Those of them that nothing holds up which somebody holds: not even those that wait for them to end, as who closes the server does,
    /// and whoever comes behind that.
    pub inside: BTreeSet<u64>,
    /// What they, or the probe, wait for that somebody holds.
    pub held_up_by: Option<String>,
    pub connections: Option<(u32, u32)>,
}

/// The row that was written last by another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub server_id: u64,
    /// By the clock of that server.
    pub written_us: u64,
    /// By the clock of this one, when it was read.
    pub now_us: u64,
}

/// Where the server writes, and how many it lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WritePlaces {
    pub folders: Vec<String>,
    pub connections_max: u32,
}

impl Session {
    pub async fn write_places(&mut self, limit: Duration) -> Result<WritePlaces, ServerError> {
        let rows = self.rows("asking where the server writes", PLACES, limit).await?;
        let Some(row) = rows.first() else { return Ok(WritePlaces::default()) };
        let data = row.text(&["data"]).map(str::to_owned);
        let log =
            row.text(&["log"]).and_then(|path| path.rsplit_once('/')).map(|(folder, _)| folder.to_owned());
        let connections_max = row.number(&["most"]).and_then(|most| most.try_into().ok()).unwrap_or(0);
        Ok(WritePlaces { folders: data.into_iter().chain(log).collect(), connections_max })
    }

    /// `probe` is the connection of our own write.
    pub async fn write_threads(
        &mut self,
        probe: Option<u64>,
        connections_max: u32,
        limit: Duration,
    ) -> Result<WriteThreads, ServerError> {
        let until = Instant::now() + limit;
        let rows = self.rows("listing the threads", THREADS, limit).await?;
        let left = until.saturating_duration_since(Instant::now());
        let connected = self.rows("counting the connections", CONNECTED, left).await?;
        let connected = connected.first().and_then(|row| row.number(&["Value"])?.try_into().ok());
        Ok(WriteThreads {
            connections: connected.map(|connected| (connected, connections_max)),
            ..sorted(&rows, probe)
        })
    }

    pub async fn read_heartbeat(
        &mut self,
        schema: &str,
        limit: Duration,
    ) -> Result<Option<Heartbeat>, ServerError> {
        let schema = schema.replace('`', "``");
        let statement = format!(
            "SELECT server_id, written_us, ROUND(UNIX_TIMESTAMP(NOW(6)) * 1000000) AS now_us \
             FROM `{schema}`.mmm_heartbeat WHERE server_id <> {} ORDER BY written_us DESC LIMIT 1",
            self.identity().server_id
        );
        let rows = self.rows("reading mmm_heartbeat", &statement, limit).await?;
        Ok(rows.first().and_then(|row| {
            let number = |name| row.number(&[name]);
            Some(Heartbeat {
                server_id: number("server_id")?,
                written_us: number("written_us")?,
                now_us: number("now_us")?,
            })
        }))
    }

    /// The server's wall clock, in microseconds.
    pub async fn wall_clock_us(&mut self, limit: Duration) -> Result<u64, ServerError> {
        let doing = "asking for the time";
        let rows =
            self.rows(doing, "SELECT ROUND(UNIX_TIMESTAMP(NOW(6)) * 1000000) AS now_us", limit).await?;
        rows.first()
            .and_then(|row| row.number(&["now_us"]))
            .ok_or_else(|| self.error(doing, ErrorKind::unexpected("no time in the answer")))
    }

    /// What the server has against our row; nothing is written.
    pub async fn explain_heartbeat(&mut self, schema: &str, limit: Duration) -> Result<(), ServerError> {
        let statement = format!("EXPLAIN {}", heartbeat(schema, self.identity().server_id));
        self.rows("looking at mmm_heartbeat", &statement, limit).await.map(drop)
    }

    /// Makes our row in the table of the probe, or renews it. It waits for no lock longer than a second.
    pub async fn write_heartbeat(&mut self, schema: &str, limit: Duration) -> Result<(), ServerError> {
        let statement = heartbeat(schema, self.identity().server_id);
        let until = Instant::now() + limit;
        let waits = "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1";
        self.rows("limiting the wait for locks", waits, limit).await?;
        let left = until.saturating_duration_since(Instant::now());
        self.rows("writing into mmm_heartbeat", &statement, left).await.map(drop)
    }
}

/// Our write, which waits for nobody if it is only explained.
fn heartbeat(schema: &str, server_id: u64) -> String {
    let schema = schema.replace('`', "``");
    let now = "ROUND(UNIX_TIMESTAMP(NOW(6)) * 1000000)";
    format!(
        "INSERT INTO `{schema}`.mmm_heartbeat (server_id, written_us) VALUES ({server_id}, {now}) \
         ON DUPLICATE KEY UPDATE written_us = {now}"
    )
}

fn sorted(rows: &[Record], probe: Option<u64>) -> WriteThreads {
    let mut found = WriteThreads::default();
    let mut held_inside = false;
    for row in rows {
        let Some(id) = row.number(&["Id"]) else { continue };
        let state = row.text(&["State"]).unwrap_or_default();
        if COMMITTING.contains(&state) {
            found.committing.insert(id);
            found.inside.insert(id);
        }
        let holder = HELD_UP.iter().position(|known| state.starts_with(known));
        held_inside |= holder.is_some_and(|index| index < INSIDE);
        if holder.is_some_and(|index| index < FOR_ALL || Some(id) == probe) {
            found.held_up_by.get_or_insert_with(|| state.to_owned());
            // Two wait for the same acknowledgement, one of them in its turn.
            found.committing.insert(id);
        }
    }
    if held_inside {
        found.inside.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, state: Option<&str>) -> Record {
        Record::of(&[("Id", Some(id)), ("State", state)])
    }

    #[test]
    fn what_holds_commits_up_is_told_from_commits_that_stand_by_themselves() {
        let rows = [
            row("3", Some("Commit")),
            row("4", Some("waiting for handler commit")),
            row("5", None),
            row("6", Some("Waiting for table metadata lock")),
            row("7", Some("Waiting for source to send event")),
        ];
        let alone = sorted(&rows, None);
        assert_eq!(alone.committing, BTreeSet::from([3, 4]));
        assert_eq!(alone.inside, BTreeSet::from([3, 4]));
        assert_eq!(alone.held_up_by, None, "somebody else's lock on some table");
        let own = sorted(&rows, Some(6));
        assert_eq!(own.held_up_by.as_deref(), Some("Waiting for table metadata lock"));
        let mut rows = rows.to_vec();
        rows.push(row("8", Some("Waiting for semi-sync ACK from slave")));
        let unacknowledged = sorted(&rows, None);
        assert_eq!(unacknowledged.held_up_by.as_deref(), Some("Waiting for semi-sync ACK from slave"));
        assert_eq!(unacknowledged.inside, BTreeSet::new(), "these may be behind it");
    }

    #[test]
    fn a_lock_that_is_waited_for_holds_up_nobody_in_the_middle_of_a_commit() {
        for lock in ["Waiting for backup lock", "Waiting for commit lock", "Waiting for global read lock"] {
            let found = sorted(&[row("3", Some("Commit")), row("8", Some(lock))], None);
            assert_eq!(found.held_up_by.as_deref(), Some(lock));
            assert_eq!(found.committing, BTreeSet::from([3, 8]));
            assert_eq!(found.inside, BTreeSet::from([3]));
        }
    }
}
