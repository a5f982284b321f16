//! What a server and its accounts say about themselves, for the doctor: gathered here, judged elsewhere.

mod by_hand;
mod extras;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mmm_core::HostName;
use mmm_core::doctor::{AccountFacts, Login, ReplicationFacts, ServerFacts, Whose};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::by_hand::set_by_hand;
pub use self::extras::extras;
use crate::address::{Account, Endpoint};
use crate::dialect::{Dialect, Flavour, Version};
use crate::error::ServerError;
use crate::grants::{AccountKind, printed, privileges};
use crate::record::Record;
use crate::replica::{ReplicaStatus, ThreadState};
use crate::session::Session;

/// Variables that a server does not know are simply missing from the answer.
pub(crate) const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'server_id', 'log_bin', \
     'log_slave_updates', 'log_replica_updates', 'gtid_mode', 'read_only', 'sync_binlog', \
     'innodb_flush_log_at_trx_commit', 'slave_net_timeout', 'replica_net_timeout', 'auto_increment_increment', \
     'auto_increment_offset', 'skip_name_resolve', 'rpl_semi_sync_master_enabled', 'rpl_semi_sync_slave_enabled', \
     'rpl_semi_sync_master_wait_point', 'rpl_semi_sync_source_enabled', 'rpl_semi_sync_replica_enabled', \
     'rpl_semi_sync_source_wait_point', 'rpl_semi_sync_master_timeout', 'rpl_semi_sync_source_timeout', \
     'rpl_semi_sync_source_wait_for_replica_count', 'rpl_semi_sync_master_wait_for_slave_count', \
     'rpl_semi_sync_source_wait_no_replica', 'rpl_semi_sync_master_wait_no_slave')";
/// Status values whose variable does not exist.
pub(crate) const STATES: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_heartbeat_period', \
     'Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status')";
pub(crate) const OWN_GRANTS: &str = "SHOW GRANTS";
/// Enough for the version in it.
const GREETING_BYTES: usize = 128;
pub(crate) const OWN_NAME: &str = "SELECT CURRENT_USER()";

/// Taken for what a server is that does not even say that.
const USUAL: (Flavour, Version) = (Flavour::MariaDb, Version { major: 10, minor: 11, patch: 0 });

/// What the login of an account came to, with the session where it was let in.
pub async fn log_in(
    whose: Whose,
    server: &HostName,
    endpoint: &Endpoint,
    account: &Account,
    from: Option<IpAddr>,
    limit: Duration,
) -> (AccountFacts, Option<Session>) {
    let until = Instant::now() + limit;
    let facts = |login, needed: &str| AccountFacts {
        whose,
        user: account.user.clone(),
        server: server.clone(),
        from,
        needed: needed.to_owned(),
        login,
    };
    let kind = match whose {
        Whose::Monitor => AccountKind::Monitor,
        Whose::Agent => AccountKind::Agent,
        Whose::Replication => AccountKind::Replication,
    };
    let refused = |error: &ServerError| match error.code() {
        // Access denied, with and without a database, and a host that is not allowed.
        Some(1044 | 1045 | 1130 | 1698) => Login::Denied(error.to_string()),
        _ => Login::Failed(error.to_string()),
    };
    let mut session = match Session::connect(endpoint, account, limit).await {
        Ok(session) => session,
        Err(error) => {
            // Also a server that lets nobody in says what it is.
            let left = until.saturating_duration_since(Instant::now());
            let (flavour, version) = greeted_by(endpoint, left).await.unwrap_or(USUAL);
            return (facts(refused(&error), &printed(kind, flavour, version)), None);
        }
    };
    let (flavour, version) = (session.identity().flavour, session.identity().version);
    let needed = privileges(kind, flavour, version);
    match session.own_grants(until.saturating_duration_since(Instant::now())).await {
        Ok((name, grants)) => {
            let missing = missing(needed, &grants, flavour, version);
            (facts(Login::In { account: quote_account(&name), missing }, needed), Some(session))
        }
        Err(error) => (facts(refused(&error), needed), Some(session)),
    }
}

/// What a server is, by the greeting that it sends before anybody has said who he is.
async fn greeted_by(endpoint: &Endpoint, limit: Duration) -> Option<(Flavour, Version)> {
    let greeting = async {
        let mut stream = TcpStream::connect((endpoint.ip, endpoint.port)).await.ok()?;
        let mut bytes = [0; GREETING_BYTES];
        let mut length = 0;
        while length < bytes.len() {
            match stream.read(bytes.get_mut(length..)?).await.ok()? {
                0 => break,
                more => length += more,
            }
            if let Some(version) = version_in_greeting(bytes.get(..length)?) {
                return Some(Dialect::detect(&version, ""));
            }
        }
        None
    };
    timeout(limit, greeting).await.ok().flatten()
}

/// The version stands behind the length, the number and the protocol, and ends with a zero.
fn version_in_greeting(bytes: &[u8]) -> Option<String> {
    let (_, text) = bytes.split_at_checked(4)?;
    let (10, text) = text.split_first().map(|(protocol, text)| (*protocol, text))? else { return None };
    let end = text.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(text.get(..end)?).into_owned())
}

impl Session {
    /// The account as which this session was let in, and the lines of its grants.
    async fn own_grants(&mut self, limit: Duration) -> Result<(String, Vec<String>), ServerError> {
        let first = |rows: Vec<Record>| -> Vec<String> {
            rows.iter().filter_map(|row| row.first().map(str::to_owned)).collect()
        };
        let until = Instant::now() + limit;
        let name = first(self.rows("asking for the own account", OWN_NAME, limit).await?);
        let left = until.saturating_duration_since(Instant::now());
        let grants = first(self.rows("asking for the own grants", OWN_GRANTS, left).await?);
        Ok((name.into_iter().next().unwrap_or_default(), grants))
    }

    /// Settings and replication of the server.
    pub async fn examine(&mut self, limit: Duration) -> Result<ServerFacts, ServerError> {
        let until = Instant::now() + limit;
        let left = || until.saturating_duration_since(Instant::now());
        let mut rows = self.rows("asking for the settings", SETTINGS, limit).await?;
        rows.extend(self.rows("asking for the status", STATES, left()).await?);
        let pair = |row: &Record| {
            Some((row.text(&["Variable_name"])?.to_ascii_lowercase(), row.text(&["Value"])?.to_owned()))
        };
        let settings = rows.iter().filter_map(pair).collect();
        let replication = match self.replica_status(left()).await {
            Ok(status) => Some(status.map(|status| replication(&status))),
            // The account lacks the privilege: that is a finding of its own, and the settings count all the same.
            Err(error) if error.code().is_some() => None,
            Err(error) => return Err(error),
        };
        Ok(ServerFacts { settings, replication })
    }
}

fn replication(status: &ReplicaStatus) -> ReplicationFacts {
    let errors = [&status.io_error, &status.sql_error];
    ReplicationFacts {
        source_host: status.source_host.clone(),
        source_port: status.source_port,
        receives: status.io != ThreadState::No,
        applies: status.sql != ThreadState::No,
        uses_gtid: status.uses_gtid,
        errors: errors.into_iter().flatten().map(|(code, text)| format!("{text} (error {code})")).collect(),
    }
}

/// What of `needed` these grants do not give.
fn missing(needed: &str, grants: &[String], flavour: Flavour, version: Version) -> Vec<String> {
    let held: Vec<String> = grants.iter().filter_map(|line| global_privileges(line)).flatten().collect();
    let has = |name: &str| held.iter().any(|privilege| privilege == name);
    if has("ALL PRIVILEGES") || has("ALL") {
        return Vec::new();
    }
    let is_missing = |name: &&str| {
        let plain = plain_name(name);
        !(has(&plain) || (has("SUPER") && super_suffices(&plain, flavour, version)))
    };
    needed.split(", ").filter(is_missing).map(str::to_owned).collect()
}

/// The privileges of one line of `SHOW GRANTS` that hold everywhere, by plain names.
fn global_privileges(line: &str) -> Option<Vec<String>> {
    let (privileges, _) = line.strip_prefix("GRANT ")?.split_once(" ON *.* TO ")?;
    Some(privileges.split(',').map(|name| plain_name(name.trim())).collect())
}

/// One name for what servers write in several ways.
fn plain_name(name: &str) -> String {
    let name = name.to_ascii_uppercase().replace('_', " ");
    match name.as_str() {
        "BINLOG MONITOR" => "REPLICATION CLIENT".to_owned(),
        "SLAVE MONITOR" => "REPLICA MONITOR".to_owned(),
        "REPLICATION REPLICA" => "REPLICATION SLAVE".to_owned(),
        "REPLICATION REPLICA ADMIN" => "REPLICATION SLAVE ADMIN".to_owned(),
        _ => name,
    }
}

/// Whether SUPER stands for a privilege; newer versions took that away bit by bit.
fn super_suffices(plain: &str, flavour: Flavour, version: Version) -> bool {
    let since = |major, minor| version >= Version { major, minor, patch: 0 };
    match (flavour, plain) {
        (_, "PROCESS" | "REPLICATION SLAVE") => false,
        (Flavour::MySql, _) => true,
        (Flavour::MariaDb, "READ ONLY ADMIN") => !since(10, 11),
        (Flavour::MariaDb, _) => !since(11, 0),
    }
}

/// `mmm_agent@192.168.8.%` as a statement has it.
fn quote_account(name: &str) -> String {
    let (user, host) = name.rsplit_once('@').unwrap_or((name, "%"));
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    format!("{}@{}", quoted(user), quoted(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    const M1011: Version = Version { major: 10, minor: 11, patch: 19 };
    const AGENT: &str = "BINLOG MONITOR, REPLICA MONITOR, PROCESS, REPLICATION SLAVE ADMIN, READ ONLY ADMIN, CONNECTION ADMIN";

    fn lacks(grants: &[&str]) -> Vec<String> {
        let grants: Vec<String> = grants.iter().map(|line| (*line).to_owned()).collect();
        missing(AGENT, &grants, Flavour::MariaDb, M1011)
    }

    #[test]
    fn grants_as_servers_write_them_leave_nothing_missing() {
        let line = "GRANT PROCESS, BINLOG MONITOR, CONNECTION ADMIN, READ_ONLY ADMIN, REPLICATION SLAVE ADMIN, \
                    SLAVE MONITOR ON *.* TO `mmm_agent`@`192.168.8.%` IDENTIFIED BY PASSWORD '*123'";
        assert_eq!(lacks(&[line]), Vec::<String>::new());
        assert_eq!(lacks(&["GRANT ALL PRIVILEGES ON *.* TO `a`@`%`"]), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_named_as_grant_wants_it_and_grants_on_one_database_do_not_count() {
        let lines = [
            "GRANT PROCESS, BINLOG MONITOR, CONNECTION ADMIN, REPLICATION SLAVE ADMIN ON *.* TO `a`@`%`",
            "GRANT ALL PRIVILEGES ON `lab`.* TO `a`@`%`",
        ];
        assert_eq!(lacks(&lines), ["REPLICA MONITOR", "READ ONLY ADMIN"]);
    }

    #[test]
    fn super_stands_for_less_in_newer_versions() {
        let lines = ["GRANT SUPER, PROCESS ON *.* TO `a`@`%`".to_owned()];
        assert_eq!(missing(AGENT, &lines, Flavour::MariaDb, M1011), ["READ ONLY ADMIN"]);
        let old = Version { major: 10, minor: 5, patch: 23 };
        assert_eq!(missing(AGENT, &lines, Flavour::MariaDb, old), Vec::<String>::new());
        let new = Version { major: 11, minor: 8, patch: 6 };
        assert_eq!(missing(AGENT, &lines, Flavour::MariaDb, new).len(), 5);
    }

    #[test]
    fn mysql_writes_several_lines_with_underscores() {
        let lines = [
            "GRANT PROCESS, REPLICATION CLIENT ON *.* TO `a`@`%`".to_owned(),
            "GRANT CONNECTION_ADMIN,REPLICATION_SLAVE_ADMIN ON *.* TO `a`@`%`".to_owned(),
        ];
        let version = Version { major: 9, minor: 7, patch: 4 };
        let needed = privileges(AccountKind::Agent, Flavour::MySql, version);
        assert_eq!(missing(needed, &lines, Flavour::MySql, version), ["SYSTEM_VARIABLES_ADMIN"]);
    }

    #[test]
    fn a_greeting_tells_the_version_even_where_it_arrives_in_pieces() {
        let greeting = b"\x4a\0\0\0\x0a9.7.1\0\x08\0\0\0salt";
        assert_eq!(version_in_greeting(greeting).as_deref(), Some("9.7.1"));
        for length in 0..10 {
            assert_eq!(version_in_greeting(&greeting[..length]), None, "{length}");
        }
        // An error in its place: too many connections, or a host that is not allowed.
        assert_eq!(version_in_greeting(b"\x10\0\0\0\xff\x10\x04Too many\0"), None);
    }

    #[test]
    fn an_account_is_quoted_and_cannot_end_its_quotes() {
        assert_eq!(quote_account("mmm_agent@192.168.8.%"), "'mmm_agent'@'192.168.8.%'");
        assert_eq!(quote_account("o'x@%"), "'o''x'@'%'");
    }
}
