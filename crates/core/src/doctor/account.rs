//! The accounts: whether they are let in, and which privilege is missing.

use super::facts::{AccountFacts, Login, Whose};
use super::finding::{Finding, Place};

/// One finding for each privilege that is missing, with the statement that gives it.
pub fn judge_account(facts: &AccountFacts) -> Vec<Finding> {
    let host = &facts.server;
    let AccountFacts { whose, user, from, needed, login, .. } = facts;
    let named = match whose {
        Whose::Monitor => "monitor",
        Whose::Agent => "agent",
        Whose::Replication => "replication",
    };
    match login {
        Login::In { account, missing } => missing
            .iter()
            .map(|privilege| {
                let check = format!("grants of {named} ({})", privilege.to_ascii_lowercase());
                Finding::error(host, check, format!("{account} lacks {privilege}"), needs(*whose, privilege))
                    .fix(Place::Sql, format!("GRANT {privilege} ON *.* TO {account}"))
            })
            .collect(),
        Login::Denied(said) => {
            let user = quoted(user);
            let from = from.map_or_else(|| "'HOST'".to_owned(), |ip| quoted(&ip.to_string()));
            let password = format!("{named}_password");
            vec![
                Finding::error(
                    host,
                    format!("login of {named}"),
                    format!("the account is not let in: {said}"),
                    needs(*whose, ""),
                )
                .fix(
                    Place::Sql,
                    format!("CREATE USER IF NOT EXISTS {user}@{from} IDENTIFIED BY '{password}'"),
                )
                .fix(Place::Sql, format!("ALTER USER {user}@{from} IDENTIFIED BY '{password}'"))
                .fix(Place::Sql, format!("GRANT {needed} ON *.* TO {user}@{from}")),
            ]
        }
        Login::Failed(why) => vec![
            Finding::error(
                host,
                format!("login of {named}"),
                format!("the server can't be asked: {why}"),
                "a server that does not answer can't take a role over, and nothing else about it is known",
            )
            .fix(Place::Shell, "systemctl status mariadb mysql"),
        ],
    }
}

fn needs(whose: Whose, privilege: &str) -> &'static str {
    match (whose, privilege) {
        (Whose::Replication, _) => "after a failover replication from this server would not come up",
        (Whose::Monitor, "REPLICA MONITOR") => "without it rep_threads and rep_backlog stay UNKNOWN",
        (Whose::Monitor, _) => "the monitor's checks stay UNKNOWN without it, and see no failure",
        (Whose::Agent, "READ ONLY ADMIN" | "SYSTEM_VARIABLES_ADMIN") => {
            "without it the agent can neither close nor open the server for writes: no role moves"
        }
        (Whose::Agent, "REPLICATION SLAVE ADMIN" | "REPLICATION_SLAVE_ADMIN") => {
            "without it the agent can neither stop nor start replication, and a takeover gets stuck there"
        }
        (Whose::Agent, "CONNECTION ADMIN" | "CONNECTION_ADMIN") => {
            "without it clients of the old writer are not ended, and the agent stays out when max_connections is reached"
        }
        (Whose::Agent, "REPLICA MONITOR" | "BINLOG MONITOR" | "REPLICATION CLIENT") => {
            "without it the agent can't see how far replication has come, and a takeover gets stuck there"
        }
        (Whose::Agent, _) => "the agent needs it to close and to open the server for writes",
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
