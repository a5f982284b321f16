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

/// Who waits for an acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unacknowledged {
    /// What makes it read-only waits for statements or commits to end; whoever wants to begin one waits behind it.
    pub closer_waits: bool,
    /// Threads that wait, of clients and of the replication.
    pub waiting: usize,
    /// Those whose clients could still be told that a commit is done.
    pub clients: usize,
    /// Connections that may begin one all the same, or are busy with something else although they were ended.
    pub others: usize,
}

/// `SET read_only` waits so, and behind it whoever wants to write: on `MySQL` first for statements and then for commits.
const BEHIND_A_LOCK: [&str; 3] =
    ["Waiting for global read lock", "Waiting for commit lock", "Waiting for backup lock"];
/// Behind the commit of somebody else that waits for an acknowledgement.
const IN_COMMIT: &str = "waiting for handler commit";

/// From the same rows; `closer` is the connection that makes the server read-only.
pub(crate) fn unacknowledged(
    records: &[Record],
    own_id: u64,
    closer: Option<u64>,
    spare: &[&str],
) -> Unacknowledged {
    let mut seen = Unacknowledged::default();
    for thread in records.iter().filter_map(ClientThread::from_record) {
        let is_behind = BEHIND_A_LOCK.contains(&thread.state.as_str());
        if Some(thread.id) == closer {
            seen.closer_waits = is_behind;
            continue;
        }
        let waits = thread.state.starts_with("Waiting for semi-sync ACK");
        seen.waiting += usize::from(waits);
        if !thread.is_client() || thread.id == own_id {
            continue;
        }
        // Nobody is at the other end of one that was ended.
        let (ended, in_commit) = (thread.command == "Killed", waits || thread.state == IN_COMMIT);
        let is_idle = is_behind || (thread.command == "Sleep" && !thread.in_transaction);
        if in_commit {
            seen.clients += usize::from(!ended);
        } else if ended || !(is_idle || spare.contains(&thread.user.as_str())) {
            seen.others += 1;
        }
    }
    seen
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
    fn whoever_can_still_be_told_counts_apart_from_who_waits() {
        let busy = |id: &str, user: &str, command: &str, state: &str| {
            let texts = [("ID", id), ("USER", user), ("COMMAND", command), ("STATE", state)];
            Record::of(&texts.map(|(name, text)| (name, Some(text))))
        };
        let waits = "Waiting for semi-sync ACK from replica";
        let quiet = vec![
            busy("1", "system user", "Query", waits),
            busy("2", "system user", "Query", "Waiting for dependent transaction to commit"),
            busy("3", "mmm_agent", "Query", "Waiting for commit lock"),
            busy("4", "mmm_agent", "Query", "executing"),
            busy("5", "mmm_monitor", "Query", "starting"),
            busy("6", "app", "Sleep", ""),
            busy("7", "app", "Killed", waits),
            busy("8", "app", "Killed", "waiting for handler commit"),
            busy("9", "app", "Query", "Waiting for global read lock"),
            busy("10", "repl", "Binlog Dump GTID", "Source has sent all binlog to replica"),
            busy("11", "event_scheduler", "Daemon", "Waiting on empty queue"),
        ];
        let look = |rows: &[Record]| unacknowledged(rows, 4, Some(3), &["mmm_agent", "mmm_monitor"]);
        assert_eq!(look(&quiet), Unacknowledged { closer_waits: true, waiting: 2, clients: 0, others: 0 });
        let told = [
            (busy("12", "root", "Query", "waiting for handler commit"), (1, 0)),
            (busy("12", "root", "Execute", ""), (0, 1)),
            (busy("12", "app", "Query", waits), (1, 0)),
            (busy("12", "app", "Killed", "updating"), (0, 1)),
            (busy("12", "mmm_monitor", "Query", "Waiting for semi-sync ACK from slave"), (1, 0)),
            (row("12", "root", "Sleep", Some("421")), (0, 1)),
        ];
        for (one, counted) in told {
            let rows: Vec<Record> = quiet.iter().cloned().chain([one]).collect();
            let seen = look(&rows);
            assert_eq!((seen.clients, seen.others), counted, "{rows:?}");
        }
        for (state, closer_waits) in
            [("Waiting for backup lock", true), ("Waiting for global read lock", true), ("starting", false)]
        {
            let rows = [busy("3", "mmm_agent", "Query", state)];
            assert_eq!(look(&rows), Unacknowledged { closer_waits, ..Unacknowledged::default() });
        }
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
