//! The least privileges that each account needs, as statements to show or to run.

use crate::dialect::{Flavour, Version};

/// The three accounts of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountKind {
    Monitor,
    Agent,
    Replication,
}

/// The statements that create the account and give it what it needs, without semicolons. `account` is written as the
/// server wants it, such as `'mmm_agent'@'192.168.8.%'`; `password` is quoted here.
pub fn grants(
    kind: AccountKind,
    flavour: Flavour,
    version: Version,
    account: &str,
    password: &str,
) -> Vec<String> {
    let quoted = password.replace('\\', "\\\\").replace('\'', "''");
    vec![
        format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{quoted}'"),
        format!("GRANT {} ON *.* TO {account}", printed(kind, flavour, version)),
    ]
}

/// All that an account is to be given, with what it can do without in most nights.
pub(crate) fn printed(kind: AccountKind, flavour: Flavour, version: Version) -> String {
    let needed = privileges(kind, flavour, version);
    match for_half_received(flavour, version) {
        Some(more) if kind == AccountKind::Agent => format!("{needed}, {more}"),
        _ => needed.to_owned(),
    }
}

/// For ending an applier that waits for the rest of a transaction, as for every thread of replication there.
pub(crate) fn for_half_received(flavour: Flavour, version: Version) -> Option<&'static str> {
    let since = Version { major: 8, minor: 0, patch: 16 };
    (flavour == Flavour::MySql && version >= since).then_some("SYSTEM_USER")
}

/// What the agents' account needs for getting a host all its data anew, beside the usual: everywhere, and on one schema.
pub(crate) fn for_rebuilding(flavour: Flavour) -> (&'static [&'static str], Option<&'static str>) {
    match flavour {
        Flavour::MariaDb => (&["RELOAD", "LOCK TABLES", "REPLICATION MASTER ADMIN"], None),
        Flavour::MySql => (&["CLONE_ADMIN", "BACKUP_ADMIN"], Some("performance_schema")),
    }
}

/// As GRANT wants them. Before 10.5.9 and 8.0 there was SUPER for all that is more than looking.
pub(crate) fn privileges(kind: AccountKind, flavour: Flavour, version: Version) -> &'static str {
    let since = match flavour {
        Flavour::MariaDb => Version { major: 10, minor: 5, patch: 9 },
        Flavour::MySql => Version { major: 8, minor: 0, patch: 0 },
    };
    match (kind, flavour) {
        (AccountKind::Replication, _) => "REPLICATION SLAVE",
        (AccountKind::Agent, _) if version < since => "REPLICATION CLIENT, PROCESS, SUPER",
        (AccountKind::Monitor, Flavour::MariaDb) if version >= since => {
            "BINLOG MONITOR, REPLICA MONITOR, PROCESS"
        }
        (AccountKind::Monitor, _) => "REPLICATION CLIENT, PROCESS",
        (AccountKind::Agent, Flavour::MariaDb) => {
            "BINLOG MONITOR, REPLICA MONITOR, PROCESS, REPLICATION SLAVE ADMIN, READ ONLY ADMIN, CONNECTION ADMIN"
        }
        (AccountKind::Agent, Flavour::MySql) => {
            "REPLICATION CLIENT, PROCESS, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_password_does_not_end_it() {
        let version = Version { major: 10, minor: 11, patch: 0 };
        let statements = grants(AccountKind::Replication, Flavour::MariaDb, version, "'repl'@'%'", "it's");
        assert_eq!(statements[0], "CREATE USER IF NOT EXISTS 'repl'@'%' IDENTIFIED BY 'it''s'");
        assert_eq!(statements[1], "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'");
    }

    #[test]
    fn what_is_printed_for_an_agent_has_what_ends_a_half_received_transaction() {
        let last = |kind, flavour, (major, minor, patch)| {
            grants(kind, flavour, Version { major, minor, patch }, "a", "b").pop().unwrap()
        };
        assert!(last(AccountKind::Agent, Flavour::MySql, (9, 7, 0)).contains(", SYSTEM_USER ON *.* TO a"));
        assert!(!last(AccountKind::Agent, Flavour::MySql, (8, 0, 15)).contains("SYSTEM_USER"));
        assert!(!last(AccountKind::Monitor, Flavour::MySql, (9, 7, 0)).contains("SYSTEM_USER"));
        assert!(!last(AccountKind::Agent, Flavour::MariaDb, (11, 8, 0)).contains("SYSTEM_USER"));
    }

    #[test]
    fn old_servers_know_one_privilege_for_everything_that_changes_them() {
        let needs = |flavour, (major, minor, patch)| {
            privileges(AccountKind::Agent, flavour, Version { major, minor, patch })
        };
        for (flavour, version) in [(Flavour::MySql, (5, 7, 44)), (Flavour::MariaDb, (10, 4, 34))] {
            assert_eq!(needs(flavour, version), "REPLICATION CLIENT, PROCESS, SUPER");
        }
        for (flavour, version) in [(Flavour::MySql, (8, 0, 11)), (Flavour::MariaDb, (10, 5, 23))] {
            assert!(!needs(flavour, version).contains("SUPER"));
        }
    }
}
