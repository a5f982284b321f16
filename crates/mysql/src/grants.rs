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
        format!("GRANT {} ON *.* TO {account}", privileges(kind, flavour, version)),
    ]
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
