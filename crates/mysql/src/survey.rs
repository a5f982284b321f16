//! What a planned move would meet on this server: connections of clients with what they do and hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mmm_core::survey::{Connection, Lock, LockKind, Prepared};

use crate::dialect::Flavour;
use crate::error::ServerError;
use crate::record::Record;
use crate::session::Session;
use crate::threads::ClientThread;

/// Every thread, and since when it has had a transaction open. Of statements only the beginning is ever shown.
const CONNECTIONS: &str = "SELECT p.ID, p.USER, p.HOST, p.COMMAND, p.TIME, p.STATE, LEFT(p.INFO, 512) AS INFO, \
     t.trx_id AS TRX, t.trx_rows_modified AS TRX_ROWS, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS TRX_AGE \
     FROM information_schema.PROCESSLIST p \
     LEFT JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID";

/// `MariaDB`, where its plugin is installed.
const LOCKS_BY_PLUGIN: &str = "SELECT THREAD_ID AS ID, LOCK_MODE, LOCK_TYPE, TABLE_SCHEMA, TABLE_NAME \
     FROM information_schema.METADATA_LOCK_INFO WHERE LOCK_MODE IN ('MDL_SHARED_NO_READ_WRITE', \
     'MDL_SHARED_READ_ONLY', 'MDL_EXCLUSIVE', 'MDL_BACKUP_FTWRL1', 'MDL_BACKUP_FTWRL2', 'MDL_BACKUP_START', \
     'MDL_BACKUP_FLUSH', 'MDL_BACKUP_WAIT_FLUSH', 'MDL_BACKUP_WAIT_DDL', 'MDL_BACKUP_WAIT_COMMIT') LIMIT 1000";
/// `MySQL`, and `MariaDB` where the performance schema is switched on.
const LOCKS_BY_SCHEMA: &str = "SELECT t.PROCESSLIST_ID AS ID, m.LOCK_TYPE AS LOCK_MODE, \
     m.OBJECT_TYPE AS LOCK_TYPE, m.OBJECT_SCHEMA AS TABLE_SCHEMA, m.OBJECT_NAME AS TABLE_NAME \
     FROM performance_schema.metadata_locks m JOIN performance_schema.threads t \
     ON t.THREAD_ID = m.OWNER_THREAD_ID WHERE m.LOCK_STATUS = 'GRANTED' AND ((m.OBJECT_TYPE = 'TABLE' \
     AND m.LOCK_TYPE IN ('SHARED_NO_READ_WRITE', 'SHARED_READ_ONLY', 'EXCLUSIVE')) OR (m.OBJECT_TYPE IN \
     ('GLOBAL', 'COMMIT', 'BACKUP', 'BACKUP LOCK') AND m.LOCK_TYPE IN ('SHARED', 'BACKUP_FTWRL1', 'BACKUP_FTWRL2', \
     'BACKUP_START', 'BACKUP_FLUSH', 'BACKUP_WAIT_FLUSH', 'BACKUP_WAIT_DDL', 'BACKUP_WAIT_COMMIT'))) LIMIT 1000";
/// Transactions that belong to no connection; those of the server itself are over sooner.
const WITHOUT_CONNECTION: &str = "SELECT COUNT(*) AS N, MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())) AS AGE \
     FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = 0 AND trx_started < NOW() - INTERVAL 1 SECOND";
const SCHEMA_IS_ON: &str = "SELECT @@performance_schema";

impl Session {
    /// The connections of clients, never of `spare_users`. Where held locks can't be seen, the second value says why and what
    /// would change that.
    pub async fn survey_connections(
        &mut self,
        spare_users: &[&str],
        limit: Duration,
    ) -> Result<(Vec<Connection>, Option<String>), ServerError> {
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let rows = self.rows("listing what connections do", CONNECTIONS, limit).await?;
        let mut connections = connections(&rows, self.connection_id(), spare_users);
        let locks = match self.identity().flavour {
            Flavour::MariaDb => match self.rows("listing locks", LOCKS_BY_PLUGIN, left()).await {
                Ok(rows) => Ok(rows),
                Err(error) if error.code().is_some() => self.locks_by_schema(left()).await.map_err(|()| {
                    "who holds table locks can't be seen here: INSTALL SONAME 'metadata_lock_info' would show it"
                }),
                Err(error) => return Err(error),
            },
            Flavour::MySql => self.locks_by_schema(left()).await.map_err(|()| {
                "who holds table locks can't be seen here: GRANT SELECT ON performance_schema.* to the agent's account would show it"
            }),
        };
        let unseen = match locks {
            Ok(rows) => {
                let mut held = locks_of(&rows);
                for connection in &mut connections {
                    connection.locks = held.remove(&connection.id).unwrap_or_default();
                }
                None
            }
            Err(why) => Some(why.to_owned()),
        };
        Ok((connections, unseen))
    }

    /// Prepared branches of distributed transactions. Their names take a right of their own on `MySQL`; without it they are only counted.
    pub async fn prepared_branches(&mut self, limit: Duration) -> Result<Prepared, ServerError> {
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let rows = self.rows("counting prepared transactions", WITHOUT_CONNECTION, left()).await?;
        let number = |name| rows.first().and_then(|row| row.number(&[name]));
        let count = number("N").and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        let ask = match self.identity().flavour {
            Flavour::MariaDb => "XA RECOVER FORMAT='SQL'",
            Flavour::MySql => "XA RECOVER CONVERT XID",
        };
        let names = match self.rows("listing prepared transactions", ask, left()).await {
            Ok(branches) => branches.iter().filter_map(name_of_branch).collect(),
            Err(error) if error.code().is_some() => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Prepared::of(names, count, number("AGE")))
    }

    async fn locks_by_schema(&mut self, limit: Duration) -> Result<Vec<Record>, ()> {
        let on = self.rows("asking for the performance schema", SCHEMA_IS_ON, limit).await.map_err(drop)?;
        if on.first().and_then(Record::first) != Some("1") {
            return Err(());
        }
        self.rows("listing locks", LOCKS_BY_SCHEMA, limit).await.map_err(drop)
    }
}

fn connections(rows: &[Record], own_id: u64, spare: &[&str]) -> Vec<Connection> {
    let of = |row: &Record| {
        let thread = ClientThread::from_record(row)?;
        let counts = thread.id != own_id && thread.is_client() && !spare.contains(&thread.user.as_str());
        counts.then(|| Connection {
            id: thread.id,
            user: thread.user,
            client: thread.host,
            command: thread.command,
            time_s: thread.time_s,
            state: thread.state,
            statement: thread.statement,
            transaction_s: thread.in_transaction.then(|| row.number(&["TRX_AGE"]).unwrap_or(0)),
            has_changes: row.number(&["TRX_ROWS"]).is_some_and(|rows| rows > 0),
            locks: Vec::new(),
        })
    };
    rows.iter().filter_map(of).collect()
}

/// As `XA COMMIT` takes it: `MariaDB` says it so, `MySQL` in one piece of hexadecimal digits.
fn name_of_branch(row: &Record) -> Option<String> {
    let data = row.text(&["data"])?;
    let Some(digits) = data.strip_prefix("0x") else { return Some(data.to_owned()) };
    let length = |name| usize::try_from(row.number(&[name])?.checked_mul(2)?).ok();
    let (first, rest) = digits.split_at_checked(length("gtrid_length")?)?;
    let second = if rest.is_empty() { "''".to_owned() } else { format!("0x{rest}") };
    Some(format!("0x{first},{second},{}", row.number(&["formatID"])?))
}

fn locks_of(rows: &[Record]) -> BTreeMap<u64, Vec<Lock>> {
    let mut locks: BTreeMap<u64, Vec<Lock>> = BTreeMap::new();
    for row in rows {
        let (Some(id), Some(mode)) = (row.number(&["ID"]), row.text(&["LOCK_MODE"])) else { continue };
        let text = |name| row.text(&[name]).unwrap_or_default();
        let table = format!("{}.{}", text("TABLE_SCHEMA"), text("TABLE_NAME"));
        let of_table = text("LOCK_TYPE").to_ascii_lowercase().starts_with("table");
        let of_backup = text("LOCK_TYPE").eq_ignore_ascii_case("backup lock");
        let kind = match mode.trim_start_matches("MDL_") {
            "SHARED" if of_backup => LockKind::Backup,
            "BACKUP_START" | "BACKUP_FLUSH" | "BACKUP_WAIT_FLUSH" | "BACKUP_WAIT_DDL"
            | "BACKUP_WAIT_COMMIT" => LockKind::Backup,
            "SHARED_NO_READ_WRITE" | "EXCLUSIVE" if of_table => LockKind::Table,
            "SHARED_READ_ONLY" if of_table => LockKind::TableRead,
            "SHARED" | "BACKUP_FTWRL1" | "BACKUP_FTWRL2" if !of_table => LockKind::Global,
            _ => continue,
        };
        locks.entry(id).or_default().push(Lock { kind, table });
    }
    locks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(id: &str, mode: &str, kind: &str) -> Record {
        let fields = [
            ("ID", id),
            ("LOCK_MODE", mode),
            ("LOCK_TYPE", kind),
            ("TABLE_SCHEMA", "s"),
            ("TABLE_NAME", "t"),
        ];
        Record::of(&fields.map(|(name, value)| (name, Some(value))))
    }

    #[test]
    fn locks_are_told_by_the_words_of_both_families() {
        let rows = [
            lock("5", "MDL_BACKUP_DDL", "Backup lock"),
            lock("5", "MDL_SHARED_NO_READ_WRITE", "Table metadata lock"),
            lock("6", "MDL_BACKUP_FTWRL2", "Backup lock"),
            lock("7", "SHARED_READ_ONLY", "TABLE"),
            lock("8", "SHARED", "GLOBAL"),
            lock("9", "SHARED", "TABLE"),
            lock("10", "MDL_BACKUP_WAIT_DDL", "Backup lock"),
            lock("11", "SHARED", "BACKUP LOCK"),
        ];
        let locks = locks_of(&rows);
        let kinds: Vec<(u64, LockKind)> = locks.iter().map(|(id, locks)| (*id, locks[0].kind)).collect();
        let expected = [
            (5, LockKind::Table),
            (6, LockKind::Global),
            (7, LockKind::TableRead),
            (8, LockKind::Global),
            (10, LockKind::Backup),
            (11, LockKind::Backup),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(locks[&5][0].table, "s.t");
    }

    #[test]
    fn branches_are_named_as_the_word_that_ends_them_takes_them() {
        let branch = |data, gtrid, bqual| {
            let fields =
                [("formatID", "3"), ("gtrid_length", gtrid), ("bqual_length", bqual), ("data", data)];
            name_of_branch(&Record::of(&fields.map(|(name, value)| (name, Some(value)))))
        };
        assert_eq!(branch("'b1','q',3", "2", "1").as_deref(), Some("'b1','q',3"));
        assert_eq!(branch("0x623171", "2", "1").as_deref(), Some("0x6231,0x71,3"));
        assert_eq!(branch("0x6231", "2", "0").as_deref(), Some("0x6231,'',3"));
        assert_eq!(branch("0x62", "2", "0"), None);
    }
}
