//! Semi-synchronous replication as a server tells of it, whatever its version calls the two sides.
//!
//! None of these questions waits behind a commit that waits for its acknowledgement.

use std::time::{Duration, Instant};

use mmm_core::{SemiSyncReading, SemiSyncSide, SourceReading};

use super::Session;
use crate::error::ServerError;
use crate::record::Record;

/// Those that a server does not know are simply missing from the answer.
const VARIABLES: &str = "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync%'";
const STATES: &str = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync%'";
/// By `semi-sync ACK from slave` on `MariaDB`, `from replica` on newer `MySQL`.
const WAITING: &str =
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync ACK%'";

impl Session {
    /// Neither side is on where the server knows nothing of it.
    pub async fn semi_sync(&mut self, limit: Duration) -> Result<SemiSyncReading, ServerError> {
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let variables = Values(self.rows("asking for semi-synchronous replication", VARIABLES, limit).await?);
        let (source, replica) = (variables.is_on(SOURCE, "enabled"), variables.is_on(REPLICA, "enabled"));
        if !source && !replica {
            return Ok(SemiSyncReading { wanted: wanted(&variables), ..SemiSyncReading::default() });
        }
        let states = Values(self.rows("asking for acknowledgements", STATES, left()).await?);
        let mut reading = SemiSyncReading {
            source: source.then(|| source_reading(&variables, &states)),
            replica,
            acknowledges: states.is_on(REPLICA, "status"),
            wanted: wanted(&variables),
        };
        if let Some(source) = reading.source.as_mut().filter(|source| source.waiting > 0) {
            let doing = "counting the commits that wait for an acknowledgement";
            let rows = self.rows(doing, WAITING, left()).await?;
            source.waiting = rows.first().and_then(|row| row.first()?.parse().ok()).unwrap_or(0);
        }
        Ok(reading)
    }

    /// Switches one side, by the name that this server knows it by. What the other side is told of it counts from its next
    /// connection on.
    pub async fn set_semi_sync(
        &mut self,
        side: SemiSyncSide,
        on: bool,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let until = Instant::now() + limit;
        let doing = "switching semi-synchronous replication";
        let variables = Values(self.rows(doing, VARIABLES, limit).await?);
        let names = match side {
            SemiSyncSide::Source => SOURCE,
            SemiSyncSide::Replica => REPLICA,
        };
        let known = |name: &&&str| variables.text([**name, **name], "enabled").is_some();
        // A server without it says so itself.
        let name = names.iter().find(known).unwrap_or(&names[0]);
        let statement = format!("SET GLOBAL {name}enabled = {}", u8::from(on));
        self.rows(doing, &statement, until.saturating_duration_since(Instant::now())).await.map(drop)
    }
}

const SOURCE: [&str; 2] = ["rpl_semi_sync_source_", "rpl_semi_sync_master_"];
const REPLICA: [&str; 2] = ["rpl_semi_sync_replica_", "rpl_semi_sync_slave_"];

struct Values(Vec<Record>);

impl Values {
    fn text(&self, sides: [&str; 2], name: &str) -> Option<&str> {
        let named = |row: &&Record| {
            row.text(&["Variable_name"]).is_some_and(|known| {
                let known = known.to_ascii_lowercase();
                sides.iter().any(|side| known.strip_prefix(side) == Some(name))
            })
        };
        self.0.iter().find(named)?.text(&["Value"])
    }

    fn is_on(&self, sides: [&str; 2], name: &str) -> bool {
        self.text(sides, name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("ON"))
    }

    fn number(&self, sides: [&str; 2], name: &str) -> Option<u64> {
        self.text(sides, name)?.parse().ok()
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `MariaDB` waits for one, however many there are.
fn wanted(variables: &Values) -> u32 {
    variables
        .number(SOURCE, "wait_for_replica_count")
        .or_else(|| variables.number(SOURCE, "wait_for_slave_count"))
        .map_or(1, small)
}

fn source_reading(variables: &Values, states: &Values) -> SourceReading {
    let count = |name| states.number(SOURCE, name).unwrap_or(0);
    SourceReading {
        waits: states.is_on(SOURCE, "status"),
        clients: small(count("clients")),
        timeout_ms: variables.number(SOURCE, "timeout").unwrap_or(0),
        after_sync: variables
            .text(SOURCE, "wait_point")
            .is_some_and(|point| point.eq_ignore_ascii_case("AFTER_SYNC")),
        wanted: wanted(variables),
        waits_for_absent: ["wait_no_replica", "wait_no_slave"]
            .iter()
            .any(|name| variables.is_on(SOURCE, name)),
        answered: count("yes_tx") + count("no_tx"),
        waiting: count("wait_sessions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rows: &[(&str, &str)]) -> Values {
        let record = |(name, value): &(&str, &str)| {
            Record::of(&[("Variable_name", Some(name)), ("Value", Some(value))])
        };
        Values(rows.iter().map(record).collect())
    }

    #[test]
    fn both_families_are_read() {
        let variables = values(&[
            ("rpl_semi_sync_master_timeout", "10000"),
            ("rpl_semi_sync_master_wait_no_slave", "ON"),
            ("rpl_semi_sync_master_wait_point", "AFTER_COMMIT"),
        ]);
        let states = values(&[
            ("Rpl_semi_sync_master_status", "ON"),
            ("Rpl_semi_sync_master_clients", "2"),
            ("Rpl_semi_sync_master_yes_tx", "7"),
            ("Rpl_semi_sync_master_no_tx", "1"),
        ]);
        let maria = source_reading(&variables, &states);
        let expected = SourceReading {
            waits: true,
            clients: 2,
            timeout_ms: 10_000,
            after_sync: false,
            wanted: 1,
            waits_for_absent: true,
            answered: 8,
            waiting: 0,
        };
        assert_eq!(maria, expected);
        let variables = values(&[
            ("rpl_semi_sync_source_wait_for_replica_count", "2"),
            ("rpl_semi_sync_source_wait_no_replica", "OFF"),
            ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ]);
        let mysql = source_reading(&variables, &values(&[("Rpl_semi_sync_source_status", "OFF")]));
        assert_eq!(
            (mysql.wanted, mysql.waits_for_absent, mysql.after_sync, mysql.waits),
            (2, false, true, false)
        );
    }
}
