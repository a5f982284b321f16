//! Which statement says what to which server. The one place to extend for another flavour or version.
//!
//! Names of result columns are not chosen here: rows are read by name, with the names of both families.

mod change;

use std::fmt;
use std::time::Duration;

use crate::replica::Coordinates;

/// The family a server belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    MariaDb,
    MySql,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        })
    }
}

/// A version such as 10.11.19; suffixes of distributions are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The variables that tell who a server is; those it does not know are simply missing from the answer, so that one
/// statement serves every flavour.
pub(crate) const IDENTITY: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'version_comment', \
     'server_id', 'server_uuid', 'server_uid', 'hostname', 'pid_file', 'datadir', 'gtid_mode', 'log_bin', \
     'log_slave_updates', 'log_replica_updates')";

/// In milliseconds, under the name of each version.
pub(crate) const PLACE_PERIOD: &str =
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('replica_checkpoint_period', 'slave_checkpoint_period')";

pub(crate) const ALIVE: &str = "SELECT 1";
pub(crate) const AUTO_INCREMENT: &str =
    "SELECT @@global.auto_increment_increment AS increment_by, @@global.auto_increment_offset AS begins_at";

/// Client address and port of this very connection as the server sees it.
pub(crate) const OWN_CLIENT: &str =
    "SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()";

/// Every thread, with a mark on those that hold an open `InnoDB` transaction. Statements are cut: only their beginning
/// is ever shown.
pub(crate) const THREADS: &str = "SELECT p.ID, p.USER, p.HOST, p.COMMAND, p.TIME, p.STATE, LEFT(p.INFO, 512) AS INFO, \
     t.trx_id AS TRX FROM information_schema.PROCESSLIST p \
     LEFT JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID";

/// Chooses statements for one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    flavour: Flavour,
    version: Version,
}

/// What a replication command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    Both,
    /// The thread that fetches from the source; what has been fetched goes on being applied.
    Receiver,
    /// The threads that apply what was fetched.
    Applier,
}

impl Dialect {
    pub(crate) fn new(flavour: Flavour, version: Version) -> Self {
        Self { flavour, version }
    }

    /// Finds family and version in what `version` and `version_comment` hold.
    pub(crate) fn detect(version: &str, comment: &str) -> (Flavour, Version) {
        // Some MariaDB builds put 5.5.5- in front for the sake of old replicas.
        let plain = version.strip_prefix("5.5.5-").unwrap_or(version);
        let maria = [version, comment].iter().any(|text| text.to_ascii_lowercase().contains("mariadb"));
        let digits = plain.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        let mut parts = digits.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        let version = Version { major: next(), minor: next(), patch: next() };
        (if maria { Flavour::MariaDb } else { Flavour::MySql }, version)
    }

    fn is_mysql_since(self, major: u32, minor: u32, patch: u32) -> bool {
        self.flavour == Flavour::MySql && self.version >= Version { major, minor, patch }
    }

    /// `SLAVE` and `MASTER` words were removed from `MySQL` in 8.4, the new ones came in 8.0.22.
    fn has_new_words(self) -> bool {
        self.is_mysql_since(8, 0, 22)
    }

    fn has_super_read_only(self) -> bool {
        self.is_mysql_since(5, 7, 8)
    }

    /// Newer `MariaDB` answers with the name of a level.
    pub(crate) fn read_only(self) -> &'static str {
        if self.has_super_read_only() {
            "SELECT @@global.read_only OR @@global.super_read_only"
        } else {
            "SELECT @@global.read_only"
        }
    }

    /// `super_read_only` stops privileged accounts too and sets `read_only` with it; clearing `read_only` clears both.
    pub(crate) fn set_read_only(self, on: bool) -> &'static str {
        match on {
            true if self.has_super_read_only() => "SET GLOBAL super_read_only = 1",
            true => "SET GLOBAL read_only = 1",
            false => "SET GLOBAL read_only = 0",
        }
    }

    /// Bounds how long the next statement may wait for locks. `lock_wait_timeout` knows whole seconds only; `MariaDB`
    /// can end any statement after a fraction of one.
    pub(crate) fn bound_lock_wait(self, wait: Duration) -> String {
        let seconds = whole_seconds(wait);
        match self.flavour {
            Flavour::MariaDb => {
                let exact = wait.max(Duration::from_millis(1)).as_secs_f64();
                format!("SET SESSION lock_wait_timeout = {seconds}, max_statement_time = {exact:.3}")
            }
            Flavour::MySql => format!("SET SESSION lock_wait_timeout = {seconds}"),
        }
    }

    /// Takes the bound on statements off again, where there is one.
    pub(crate) fn unbound(self) -> Option<&'static str> {
        (self.flavour == Flavour::MariaDb).then_some("SET SESSION max_statement_time = 0")
    }

    pub(crate) fn replica_status(self) -> &'static str {
        if self.has_new_words() { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" }
    }

    pub(crate) fn log_position(self) -> &'static str {
        if self.is_mysql_since(8, 2, 0) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
    }

    pub(crate) fn log_events(from: &Coordinates, rows_max: usize) -> String {
        format!("SHOW BINLOG EVENTS IN {} FROM {} LIMIT {rows_max}", quoted(&from.file), from.pos)
    }

    pub(crate) fn gtid_state(self) -> &'static str {
        match self.flavour {
            Flavour::MariaDb => {
                "SELECT @@global.gtid_binlog_state AS binlog_state, @@global.gtid_slave_pos AS slave_pos"
            }
            Flavour::MySql => "SELECT @@global.gtid_executed AS binlog_state, '' AS slave_pos",
        }
    }

    pub(crate) fn wait_for_position(self, target: &Coordinates, limit: Duration) -> String {
        let file = quoted(&target.file);
        let seconds = whole_seconds(limit);
        let function = if self.is_mysql_since(8, 0, 26) { "SOURCE_POS_WAIT" } else { "MASTER_POS_WAIT" };
        let wait = format!("SELECT {function}({file}, {}, {seconds})", target.pos);
        match self.flavour {
            Flavour::MariaDb => {
                let exact = limit.max(Duration::from_millis(1)).as_secs_f64();
                format!("SET STATEMENT max_statement_time = {exact:.3} FOR {wait}")
            }
            Flavour::MySql => wait,
        }
    }

    /// How many threads that apply in parallel have something to do. The one that hands the work out may have read all
    /// there is long before they are done.
    pub(crate) fn busy_appliers(self) -> &'static str {
        match self.flavour {
            Flavour::MariaDb => {
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND = 'Slave_worker' \
                 AND COALESCE(STATE, '') <> 'Waiting for work from SQL thread'"
            }
            // Neither who waits for work, nor the one that hands it out, nor the one that fetches.
            Flavour::MySql => {
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'system user' \
                 AND COMMAND <> 'Daemon' AND HOST <> 'connecting host' \
                 AND COALESCE(STATE, '') NOT LIKE 'Waiting for an event from Coordinator%' \
                 AND COALESCE(STATE, '') NOT LIKE '%has read all relay log%' \
                 AND COALESCE(STATE, '') NOT LIKE 'Waiting for % to send event'"
            }
        }
    }

    pub(crate) fn stop(self, threads: Threads) -> String {
        format!("STOP {}", self.threads(threads))
    }

    pub(crate) fn start(self, threads: Threads) -> String {
        format!("START {}", self.threads(threads))
    }

    fn threads(self, threads: Threads) -> String {
        let word = if self.has_new_words() { "REPLICA" } else { "SLAVE" };
        match threads {
            Threads::Both => word.to_owned(),
            Threads::Receiver => format!("{word} IO_THREAD"),
            Threads::Applier => format!("{word} SQL_THREAD"),
        }
    }
}

/// Rounded up, never 0: several settings take 0 as "for ever".
fn whole_seconds(duration: Duration) -> u64 {
    let more = u64::from(duration.subsec_nanos() > 0);
    (duration.as_secs() + more).max(1)
}

pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: Dialect =
        Dialect { flavour: Flavour::MariaDb, version: Version { major: 10, minor: 11, patch: 19 } };

    #[test]
    fn flavour_and_version_are_found_in_what_servers_say() {
        let cases = [
            ("10.11.19-MariaDB-0+deb12u1-log", "Debian 12", Flavour::MariaDb, (10, 11, 19)),
            ("5.5.5-10.5.23-MariaDB", "", Flavour::MariaDb, (10, 5, 23)),
            ("9.7.4-2", "(Debian)", Flavour::MySql, (9, 7, 4)),
            ("8.0.36", "MySQL Community Server - GPL", Flavour::MySql, (8, 0, 36)),
            ("rubbish", "", Flavour::MySql, (0, 0, 0)),
        ];
        for (version, comment, flavour, (major, minor, patch)) in cases {
            assert_eq!(
                Dialect::detect(version, comment),
                (flavour, Version { major, minor, patch }),
                "{version}"
            );
        }
    }

    #[test]
    fn a_short_wait_is_bounded_below_a_second_on_mariadb() {
        assert_eq!(
            MARIADB.bound_lock_wait(Duration::from_millis(150)),
            "SET SESSION lock_wait_timeout = 1, max_statement_time = 0.150"
        );
    }

    #[test]
    fn no_wait_ever_becomes_endless() {
        assert_eq!(
            MARIADB.bound_lock_wait(Duration::ZERO),
            "SET SESSION lock_wait_timeout = 1, max_statement_time = 0.001"
        );
    }

    #[test]
    fn a_log_name_cannot_end_its_quotes() {
        let target = Coordinates { file: "a'b\\".into(), pos: 4 };
        let statement = MARIADB.wait_for_position(&target, Duration::from_millis(2500));
        assert_eq!(
            statement,
            "SET STATEMENT max_statement_time = 2.500 FOR SELECT MASTER_POS_WAIT('a''b\\\\', 4, 3)"
        );
    }

    /// Every version hears the words that it knows: the newer ones do not know the old words any more.
    #[test]
    fn each_version_hears_its_own_words() {
        let position = Coordinates { file: "bin.1".into(), pos: 4 };
        let words = |version: &str| {
            let (flavour, version) = Dialect::detect(version, "");
            let dialect = Dialect::new(flavour, version);
            let wait = dialect.wait_for_position(&position, Duration::from_secs(2));
            [
                dialect.replica_status().to_owned(),
                dialect.log_position().to_owned(),
                dialect.stop(Threads::Receiver),
                dialect.start(Threads::Both),
                dialect.set_read_only(true).to_owned(),
                wait.rsplit("SELECT ").next().unwrap_or_default().to_owned(),
            ]
        };
        let mariadb = [
            "SHOW SLAVE STATUS",
            "SHOW MASTER STATUS",
            "STOP SLAVE IO_THREAD",
            "START SLAVE",
            "SET GLOBAL read_only = 1",
            "MASTER_POS_WAIT('bin.1', 4, 2)",
        ];
        for version in ["10.5.23-MariaDB", "10.11.19-MariaDB-log", "11.8.9-MariaDB", "12.1.2-MariaDB"] {
            assert_eq!(words(version), mariadb, "{version}");
        }
        let mut mysql = mariadb;
        mysql[4] = "SET GLOBAL super_read_only = 1";
        for version in ["5.7.44-log", "8.0.21"] {
            assert_eq!(words(version), mysql, "{version}");
        }
        mysql[0] = "SHOW REPLICA STATUS";
        mysql[2] = "STOP REPLICA IO_THREAD";
        mysql[3] = "START REPLICA";
        assert_eq!(words("8.0.22"), mysql);
        mysql[5] = "SOURCE_POS_WAIT('bin.1', 4, 2)";
        assert_eq!(words("8.0.36"), mysql);
        mysql[1] = "SHOW BINARY LOG STATUS";
        for version in ["8.4.5", "9.0.1", "9.7.4-2"] {
            assert_eq!(words(version), mysql, "{version}");
        }
    }

    #[test]
    fn super_read_only_is_asked_for_only_where_it_exists() {
        let read_only =
            |flavour, minor, patch| Dialect::new(flavour, Version { major: 5, minor, patch }).read_only();
        assert_eq!(read_only(Flavour::MySql, 6, 51), "SELECT @@global.read_only");
        assert!(read_only(Flavour::MySql, 7, 44).contains("super_read_only"));
        assert_eq!(MARIADB.read_only(), "SELECT @@global.read_only");
    }
}
