//! What each connection would mean for a planned move.

use serde::{Deserialize, Serialize};

use super::{Busy, TEXT_CHARS_MAX, shown};

/// A statement that takes less is over before a move begins.
const NOTABLE_S: u64 = 1;
/// A commit that takes longer hangs.
const COMMIT_S: u64 = 2;

/// Why a move has to wait for a connection, or what it breaks off there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holdup {
    /// A commit waits for its acknowledgement, or for the disk.
    HungCommit,
    /// LOCK TABLES: this one may write and nobody else may.
    TableLock(String),
    /// LOCK TABLES ... READ.
    TableReadLock(String),
    /// FLUSH TABLES WITH READ LOCK, or what backups take.
    GlobalReadLock,
    /// BACKUP STAGE, or LOCK INSTANCE FOR BACKUP.
    Backup,
    /// A statement that changes something.
    Write,
    /// A branch of a distributed or just an open transaction.
    OpenTransaction,
    Read,
    /// It waits for somebody else's lock.
    Waits,
}

impl Holdup {
    /// What holds up most comes first.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::HungCommit => 0,
            Self::TableLock(_) => 1,
            Self::GlobalReadLock => 2,
            Self::Write => 3,
            Self::Waits => 4,
            Self::Backup => 5,
            Self::TableReadLock(_) => 6,
            Self::OpenTransaction => 7,
            Self::Read => 8,
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Self::HungCommit => "a commit that does not end".to_owned(),
            Self::TableLock(table) => format!("holds a lock on {table}"),
            Self::TableReadLock(table) => format!("holds a read lock on {table}"),
            Self::GlobalReadLock => "holds the global read lock".to_owned(),
            Self::Backup => "holds a lock for a backup".to_owned(),
            Self::Write => "a statement that writes".to_owned(),
            Self::OpenTransaction => "an open transaction".to_owned(),
            Self::Read => "a statement that reads".to_owned(),
            Self::Waits => "waits for somebody's lock".to_owned(),
        }
    }

    /// Whether the server can't be made read-only while it goes on.
    pub const fn delays_closing(&self) -> bool {
        matches!(self, Self::HungCommit | Self::TableLock(_) | Self::Write)
    }

    /// What a move away from its server does about it.
    pub const fn on_old_writer(&self) -> &'static str {
        match self {
            Self::HungCommit => "no server becomes read-only while a commit hangs: the move is refused",
            Self::TableLock(_) | Self::Write => {
                "read-only waits for it in short attempts, with writes flowing in between; then it is ended, and what it has not committed is rolled back"
            }
            Self::GlobalReadLock => "holds up every commit already; ended once the server is read-only",
            Self::OpenTransaction => {
                "does not hold up the move; ended and rolled back once the server is read-only"
            }
            Self::TableReadLock(_) | Self::Read => {
                "does not hold up the move; ended once the server is read-only"
            }
            Self::Backup => {
                "does not hold up the move; the backup is broken off once the server is read-only"
            }
            Self::Waits => "ended once the server is read-only",
        }
    }

    /// What it means on the server that is to become the writer.
    pub const fn on_new_writer(&self) -> Option<&'static str> {
        match self {
            Self::HungCommit
            | Self::TableLock(_)
            | Self::TableReadLock(_)
            | Self::GlobalReadLock
            | Self::Backup
            | Self::Write
            | Self::Waits => Some("replication may wait for it: the target may not catch up in time"),
            Self::OpenTransaction | Self::Read => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// Keeps everybody else from writing to a table.
    Table,
    /// Lets everybody read a table and nobody write to it.
    TableRead,
    /// Keeps everybody from committing.
    Global,
    /// Keeps everybody from what a backup can't bear; in its last stage that is committing.
    Backup,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    pub kind: LockKind,
    /// `schema.table`, where it is about one.
    pub table: String,
}

/// A connection of a client as the server lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connection {
    pub id: u64,
    pub user: String,
    pub client: String,
    pub command: String,
    pub time_s: u64,
    pub state: String,
    pub statement: Option<String>,
    /// Since when it has had a transaction open, in seconds.
    pub transaction_s: Option<u64>,
    /// That has changed something already.
    pub has_changes: bool,
    pub locks: Vec<Lock>,
}

impl Connection {
    pub(super) fn busy(&self) -> Option<Busy> {
        let holdup = holdup_of(self)?;
        let cut = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
        let age_s = match holdup {
            Holdup::OpenTransaction => self.transaction_s.unwrap_or(self.time_s),
            _ => self.time_s,
        };
        Some(Busy {
            connection: self.id,
            user: cut(&self.user),
            client: cut(&self.client),
            age_s,
            statement: self.statement.as_deref().map(|text| cut(&shown(text))),
            holdup,
        })
    }
}

/// What a connection would mean for a move; `None` when nothing.
pub fn holdup_of(connection: &Connection) -> Option<Holdup> {
    let state = connection.state.to_ascii_lowercase();
    let running = connection.statement.is_some() && connection.command != "Sleep";
    let begins = connection.statement.as_deref().map(first_word).unwrap_or_default();
    let lock = |kind| connection.locks.iter().find(|lock| lock.kind == kind);
    if running && connection.time_s >= COMMIT_S && commits(&state, &begins) {
        return Some(Holdup::HungCommit);
    }
    if waits_for_lock(&state) {
        return Some(Holdup::Waits);
    }
    let table = |lock: &Lock| lock.table.chars().take(TEXT_CHARS_MAX).collect();
    if let Some(lock) = lock(LockKind::Table) {
        return Some(Holdup::TableLock(table(lock)));
    }
    if lock(LockKind::Global).is_some() {
        return Some(Holdup::GlobalReadLock);
    }
    if lock(LockKind::Backup).is_some() {
        return Some(Holdup::Backup);
    }
    if let Some(lock) = lock(LockKind::TableRead) {
        return Some(Holdup::TableReadLock(table(lock)));
    }
    if running && connection.time_s >= NOTABLE_S {
        let reads = matches!(
            begins.as_str(),
            "SELECT"
                | "SHOW"
                | "WITH"
                | "EXPLAIN"
                | "DESC"
                | "DESCRIBE"
                | "CHECK"
                | "USE"
                | "DO"
                | "SET"
                | "KILL"
        );
        return Some(match reads {
            true if connection.has_changes => Holdup::OpenTransaction,
            true => Holdup::Read,
            false => Holdup::Write,
        });
    }
    connection.transaction_s.filter(|age| *age >= NOTABLE_S).map(|_| Holdup::OpenTransaction)
}

/// States that servers show during a commit, with or without a wait for an acknowledgement.
fn commits(state: &str, begins: &str) -> bool {
    let committing = ["semi-sync", "semisync", "waiting for handler commit", "commit implicit"];
    let words = committing.iter().any(|part| state.contains(part)) || state == "commit";
    (words || begins == "COMMIT") && !waits_for_lock(state)
}

fn waits_for_lock(state: &str) -> bool {
    let locks =
        ["metadata lock", "read lock", "backup lock", "commit lock", "table level lock", "table flush"];
    state.starts_with("waiting") && locks.iter().any(|lock| state.contains(lock))
}

fn first_word(statement: &str) -> String {
    let plain = statement.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    plain.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_uppercase()
}
