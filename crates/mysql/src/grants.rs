//! The least privileges that each account needs, as statements to show or to run.

use crate::dialect::Flavour;

/// The three accounts of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountKind {
    Monitor,
    Agent,
    Replication,
}

/// The statements that create the account and give it what it needs, without semicolons. `account` is written as the
/// server wants it, such as `'mmm_agent'@'192.168.8.%'`; `password` is quoted here.
pub fn grants(kind: AccountKind, flavour: Flavour, account: &str, password: &str) -> Vec<String> {
    let quoted = password.replace('\\', "\\\\").replace('\'', "''");
    vec![
        format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{quoted}'"),
        format!("GRANT {} ON *.* TO {account}", privileges(kind, flavour)),
    ]
}

pub(crate) fn privileges(kind: AccountKind, flavour: Flavour) -> &'static str {
    match (kind, flavour) {
        (AccountKind::Replication, _) => "REPLICATION SLAVE",
        (AccountKind::Monitor, Flavour::MariaDb) => "BINLOG MONITOR, REPLICA MONITOR, PROCESS",
        (AccountKind::Monitor, Flavour::MySql) => "REPLICATION CLIENT, PROCESS",
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
        let statements = grants(AccountKind::Replication, Flavour::MariaDb, "'repl'@'%'", "it's");
        assert_eq!(statements[0], "CREATE USER IF NOT EXISTS 'repl'@'%' IDENTIFIED BY 'it''s'");
        assert_eq!(statements[1], "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'");
    }
}
