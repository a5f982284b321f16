//! The connections of clients, told apart from the threads that the server itself needs.
//!
//! Whoever may end connections may end replication threads too; so what is not a client's never leaves this module.

use crate::record::Record;

/// One connection of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientThread {
    pub id: u64,
    pub user: String,
    pub host: String,
    pub command: String,
    pub time_s: u64,
    pub state: String,
    /// The beginning of the running statement.
    pub statement: Option<String>,
    /// An open `InnoDB` transaction belongs to it.
    pub in_transaction: bool,
}

impl ClientThread {
    pub(crate) fn from_record(record: &Record) -> Option<Self> {
        let text = |name| record.text(&[name]).unwrap_or_default().to_owned();
        Some(Self {
            id: record.number(&["ID"])?,
            user: text("USER"),
            host: text("HOST"),
            command: text("COMMAND"),
            // Negative right after a change of the clock.
            time_s: record.number(&["TIME"]).unwrap_or(0),
            state: text("STATE"),
            statement: record.text(&["INFO"]).map(str::to_owned),
            in_transaction: record.text(&["TRX"]).is_some(),
        })
    }

    /// Whether it runs `SLEEP()`.
    pub fn sleeps(&self) -> bool {
        self.state == "User sleep"
    }

    /// Whether this is a client's connection and not one that keeps the server or its replicas going. Somebody who is
    /// still logging in is no client yet; the next look shows him under his name.
    pub(crate) fn is_client(&self) -> bool {
        let own_users = ["system user", "event_scheduler", "unauthenticated user"];
        let own_commands = ["Daemon", "Register Slave", "Register Replica"];
        let own_families = ["Binlog Dump", "Slave_", "Replica_"];
        !own_users.contains(&self.user.as_str())
            && !own_commands.contains(&self.command.as_str())
            && !own_families.iter().any(|family| self.command.starts_with(family))
    }
}

/// The clients among all threads, without our own connection and without the users in `spare`.
pub(crate) fn clients(records: &[Record], own_id: u64, spare: &[&str]) -> Vec<ClientThread> {
    let threads = records.iter().filter_map(ClientThread::from_record);
    threads.filter(|t| t.id != own_id && t.is_client() && !spare.contains(&t.user.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, user: &str, command: &str, trx: Option<&str>) -> Record {
        Record::of(&[
            ("ID", Some(id)),
            ("USER", Some(user)),
            ("COMMAND", Some(command)),
            ("TIME", Some("-1")),
            ("TRX", trx),
        ])
    }

    #[test]
    fn only_clients_are_listed() {
        let rows = [
            row("1", "system user", "Slave_IO", None),
            row("2", "system user", "Connect", None),
            row("3", "event_scheduler", "Daemon", None),
            row("4", "repl", "Binlog Dump", None),
            row("5", "repl", "Binlog Dump GTID", None),
            row("6", "unauthenticated user", "Connect", None),
            row("7", "mmm_agent", "Query", None),
            row("8", "mmm_monitor", "Sleep", None),
            row("9", "app", "Sleep", Some("421")),
            row("10", "repl", "Register Slave", None),
            row("11", "app", "Query", None),
        ];
        let found = clients(&rows, 7, &["mmm_monitor"]);
        let ids: Vec<_> = found.iter().map(|thread| (thread.id, thread.in_transaction)).collect();
        assert_eq!(ids, [(9, true), (11, false)]);
    }
}
