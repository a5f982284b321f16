//! Transactions that one host has and nobody else: what the monitor says of them, and what the agent of that host makes of it.

use serde::{Deserialize, Serialize};

/// What the monitor found when it compared two hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Surplus {
    /// As the servers name them: a set of GTIDs, or a part of the host's own log.
    pub transactions: Named,
    /// How many there are, as far as that can be told from outside. Positions of `MariaDB` number the transactions of a whole
    /// domain, so of a host that wrote now and then there are fewer; of a part of a log it is not known.
    pub at_most: Option<u64>,
}

/// How transactions are named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Named {
    Gtids(String),
    /// Both in the log of the host that has them; the second is where it ended when the host was closed.
    Between((String, u64), (String, u64)),
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gtids(set) => f.write_str(set),
            Self::Between(from, to) => {
                write!(f, "{}:{} to {}:{} of its log", from.0, from.1, to.0, to.1)
            }
        }
    }
}

impl Surplus {
    /// The count in words.
    pub fn counted(&self) -> String {
        match self.at_most {
            Some(1) => "1 transaction".to_owned(),
            Some(count) => format!("{count} transactions"),
            None => "transactions".to_owned(),
        }
    }
}

/// How many transactions are listed one by one.
pub const LISTED_MAX: usize = 100;

/// What the agent of a host has saved of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Saved {
    /// What it was asked for, so that the answer to an older question is known as such.
    pub of: String,
    /// Counted one by one in the log.
    pub count: u64,
    /// The first of them.
    pub listed: Vec<Transaction>,
    pub files: Vec<String>,
    /// All of them are in the files.
    #[serde(default)]
    pub whole: bool,
    /// Why something of it could not be had, for people.
    pub problem: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// Its GTID, or where it begins in the log.
    pub name: String,
    /// What it did, as far as the log says it at a glance: kinds of statements and tables.
    pub what: String,
    pub bytes: u64,
}
