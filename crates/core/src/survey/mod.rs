//! What a planned move would meet on a server: gathered by its agent before anything is stopped, judged here.

mod holdup;
mod reach;
mod statement;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::message::{LogPosition, OrderId};

pub use holdup::{Connection, Holdup, Lock, LockKind, holdup_of};
pub use statement::shown;

/// Connections that an answer lists; of more only the number is told.
pub const LISTED_MAX: usize = 20;
/// Characters of a name or statement.
const TEXT_CHARS_MAX: usize = 120;

/// A server as its agent saw it just now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Survey {
    pub id: OrderId,
    /// Connections that a move has to wait for or ends in the middle of something, those that hold up most first.
    pub busy: Vec<Busy>,
    /// How many more there are.
    pub more: usize,
    /// Where the log of this server ends.
    pub end: Option<Reach>,
    pub replica: Option<Lag>,
    #[serde(default)]
    pub prepared: Prepared,
    /// What could not be looked at, for people.
    pub unseen: Vec<String>,
}

/// A place in the history of one server, by all the names that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reach {
    pub server_id: u64,
    /// Where its log ended.
    pub position: Option<LogPosition>,
    /// What it had, by GTID (`@@gtid_binlog_state`, `@@gtid_executed`); empty where there are none.
    pub gtid: String,
}

/// How a replica follows its source, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lag {
    pub delay_s: Option<u64>,
    pub receives: bool,
    pub applies: bool,
}

/// Prepared branches of distributed transactions: nobody's connection holds them, and they outlive whatever is ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prepared {
    pub count: usize,
    /// As `XA COMMIT` takes them, the first of them; empty where the account may not see them.
    pub names: Vec<String>,
    pub oldest_s: Option<u64>,
}

impl Prepared {
    /// Of more names than are shown only the number is kept.
    pub fn of(mut names: Vec<String>, without_connection: usize, oldest_s: Option<u64>) -> Self {
        let count = names.len().max(without_connection);
        names.truncate(LISTED_MAX);
        for name in &mut names {
            *name = name.chars().take(TEXT_CHARS_MAX).collect();
        }
        Self { count, names, oldest_s }
    }

    /// `None` when there are none.
    pub fn describe(&self) -> Option<String> {
        let what = match self.count {
            0 => return None,
            1 => "1 prepared branch of a distributed transaction (XA)".to_owned(),
            count => format!("{count} prepared branches of distributed transactions (XA)"),
        };
        let age = self.oldest_s.map_or(String::new(), |age| format!(", the oldest for {age} s"));
        let names =
            if self.names.is_empty() { String::new() } else { format!(": {}", self.names.join("; ")) };
        Some(format!("{what}{age}{names}"))
    }
}

/// A connection that matters for a move.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Busy {
    pub connection: u64,
    pub user: String,
    pub client: String,
    /// For how long it has been doing that.
    pub age_s: u64,
    /// Shortened and without any value in it; `None` while it is idle.
    pub statement: Option<String>,
    pub holdup: Holdup,
}

impl Busy {
    pub fn describe(&self) -> String {
        let statement =
            self.statement.as_ref().map_or("idle".to_owned(), |statement| format!("`{statement}`"));
        format!(
            "connection {} of '{}' from {}, for {} s, {}: {statement}",
            self.connection,
            self.user,
            self.client,
            self.age_s,
            self.holdup.describe()
        )
    }
}

impl Survey {
    /// From all connections of clients; `seen_locks` tells whether held locks could be looked at.
    pub fn of(id: OrderId, connections: &[Connection]) -> Self {
        let mut busy: Vec<Busy> = connections.iter().filter_map(Connection::busy).collect();
        busy.sort_by(|a, b| {
            (a.holdup.rank(), b.age_s, a.connection).cmp(&(b.holdup.rank(), a.age_s, b.connection))
        });
        let more = busy.len().saturating_sub(LISTED_MAX);
        busy.truncate(LISTED_MAX);
        Self { id, busy, more, ..Self::default() }
    }

    /// What forbids a move away from this server.
    pub fn forbids_leaving(&self) -> Option<String> {
        let hung: Vec<&Busy> = self.busy.iter().filter(|busy| busy.holdup == Holdup::HungCommit).collect();
        let first = hung.first()?;
        Some(format!(
            "{} of its commits do not end, and it can't be made read-only before they do ({})",
            hung.len(),
            first.describe()
        ))
    }
}
