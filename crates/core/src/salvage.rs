//! Handing over what only a dead server's log has: what the next writer lacks of it, what the two agents say to each other, and
//! what is told of it.
//!
//! The asking side says what it has; the side of the dead server finds what is lacking, fixes it once as ranges of its files,
//! and hands these out in parts. Only whole transactions travel. A replica that has received more than the next writer hands that
//! over out of its own log in the same way, see [`Wanted`].

mod lent;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gtid::{GtidSet, Origin};
use crate::message::LogPosition;
use crate::names::HostName;

pub use lent::{Gathered, Wanted};

/// Bytes of a log that travel in one answer.
pub const PART_MAX: u64 = 128 * 1024;

/// With the promotion of a host after a server that died where its agent lives: to get its last transactions from there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SalvageOrder {
    pub from: HostName,
    /// Go on without them when nothing has come for so long.
    pub patience: Duration,
    /// It is a replica whose server lives: these are to come from there.
    #[serde(default)]
    pub lent: Option<Wanted>,
    /// What to do where this one has been in vain.
    #[serde(default)]
    pub otherwise: Option<Box<SalvageOrder>>,
}

impl SalvageOrder {
    pub fn new(from: HostName, patience: Duration) -> Self {
        Self { from, patience, lent: None, otherwise: None }
    }
}

/// What a server has of another one's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lacking {
    /// The server that asks.
    pub server_id: u64,
    /// The server whose log it received; 0 where that is not known.
    pub source_id: u64,
    /// All GTIDs that it has, applied or not; empty where it has none.
    pub gtids: String,
    /// Between two transactions, all before which it has applied.
    pub applied: Option<LogPosition>,
    /// Up to here it has received the log, perhaps to the middle of a transaction.
    pub received: Option<LogPosition>,
    /// It asks a replica, and for these only.
    #[serde(default)]
    pub lent: Option<Wanted>,
}

/// A transaction of a log, as far as it matters who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub file: &'a str,
    /// Behind its last byte.
    pub to: u64,
    pub gtid: Option<(Origin, u64)>,
}

/// Judges the transactions of a log by what somebody has of it.
#[derive(Clone, Debug)]
pub struct Lack {
    set: Option<GtidSet>,
    server_id: u64,
    received: Option<LogPosition>,
    /// Nothing else counts as lacking.
    only: Option<Wanted>,
}

fn number_of(file: &str) -> Option<u64> {
    file.rsplit_once('.')?.1.parse().ok()
}

impl Lack {
    pub fn new(lacking: &Lacking) -> Self {
        let set = (!lacking.gtids.is_empty()).then(|| GtidSet::parse(&lacking.gtids)).flatten();
        let (received, only) = (lacking.received.clone(), lacking.lent.clone());
        Self { set, server_id: lacking.server_id, received, only }
    }

    fn is_wanted(&self, origin: &Origin) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_by_the_writer(origin))
    }

    /// Whether it is the GTIDs that tell.
    pub fn goes_by_gtid(&self) -> bool {
        self.set.is_some()
    }

    /// Whether nothing is lacking of the files before one that begins with these.
    pub fn has_all(&self, previous: &str) -> bool {
        let (Some(set), Some(previous)) = (&self.set, GtidSet::parse(previous)) else { return false };
        let lacking = previous.minus(set);
        lacking.ranges().all(|(origin, _, last)| !self.is_wanted(origin) || self.has_passed(origin, last))
    }

    pub fn lacks(&self, one: &Candidate<'_>) -> bool {
        match (&self.set, &one.gtid) {
            (Some(set), Some((origin, number))) => self.is_wanted(origin) && !self.has(set, origin, *number),
            _ if self.only.is_some() => false,
            _ => self.is_behind(one),
        }
    }

    fn has(&self, set: &GtidSet, origin: &Origin, number: u64) -> bool {
        set.contains(origin, number) || self.has_passed(origin, number)
    }

    /// `MariaDB` may tell of a domain only the last transaction that came: what came before it has come too. What the asking server
    /// wrote itself says nothing about what it has of others.
    fn has_passed(&self, origin: &Origin, number: u64) -> bool {
        let Origin::Server { domain, .. } = origin else { return false };
        self.set.iter().flat_map(GtidSet::ranges).any(|(known, _, last)| {
            matches!(known, Origin::Server { domain: there, server } if there == domain && *server != self.server_id)
                && last >= number
        })
    }

    /// A transaction that was received in part is lacking as a whole.
    fn is_behind(&self, one: &Candidate<'_>) -> bool {
        let Some(received) = &self.received else { return false };
        match (number_of(one.file), number_of(&received.file)) {
            (Some(file), Some(reached)) => (file, one.to) > (reached, received.position),
            _ => false,
        }
    }
}

/// A range of one file of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TailRange {
    pub file: String,
    /// The event that the file begins with, in base64.
    pub opening: String,
    pub from: u64,
    pub to: u64,
}

/// What was found to be lacking, fixed for as long as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TailFound {
    /// Names it in what is asked next.
    pub number: u64,
    pub server_version: String,
    pub server_id: u32,
    pub server_uuid: Option<String>,
    pub checksums: bool,
    pub ranges: Vec<TailRange>,
    pub transactions: u64,
    pub first: Option<String>,
    pub last: Option<String>,
    /// What follows can't be read, for people.
    pub damage: Option<String>,
}

impl TailFound {
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.to.saturating_sub(range.from)).fold(0, u64::saturating_add)
    }
}

/// Agent to the agent of a dead server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TailRequest {
    Find(Box<Lacking>),
    /// At most [`PART_MAX`] bytes of one range, from this place of the file.
    Part {
        number: u64,
        range: usize,
        at: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TailAnswer {
    Found(Box<TailFound>),
    Part {
        at: u64,
        /// In base64.
        bytes: String,
        /// CRC-32 of the bytes.
        sum: u32,
    },
    Vain(Vain),
    /// Ask again: it is being found out whether the server runs.
    NotYet,
    /// Ask again: so many of what was asked for are in its log by now.
    Applying {
        have: u64,
        of: u64,
    },
    /// Nothing is known of this number any more: ask anew what is lacking.
    Forgotten,
}

/// Why nothing can be handed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Vain {
    /// The server runs: its log may change, and replication can have it from there.
    ServerLives,
    /// It kept none, or was never seen by this agent.
    NoLog,
    OtherServer {
        expected: u64,
        found: u64,
    },
    Encrypted,
    Purged,
    Unreadable(String),
    /// Nothing came for so long.
    NoAnswer {
        patience: Duration,
        last: String,
    },
    /// Its agent has not answered at all.
    Unreachable {
        tried: Duration,
        last: String,
    },
    /// The server was to be opened by then.
    TookTooLong {
        limit: Duration,
    },
    /// It was fetched but could not be kept or applied here.
    NotApplied(String),
    /// Nothing that was received tells where it lacks anything.
    NoPlace,
    /// A replica whose log has only what was written there.
    LogsOnlyItsOwn,
    /// Replication here goes by file and position, of which those of another server's log are no use.
    NotByGtid,
}

impl fmt::Display for Vain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerLives => {
                f.write_str("its server runs again, so that its log is not read from the disk")
            }
            Self::NoLog => f.write_str("its server's binary log is not known there"),
            Self::OtherServer { expected, found } => write!(
                f,
                "its log is that of the server with server_id {found}, this one received that of server_id {expected}"
            ),
            Self::Encrypted => f.write_str("its log is encrypted, and only its server can read it"),
            Self::Purged => f.write_str("the files of its log that hold them are gone"),
            Self::Unreadable(why) => write!(f, "its log can't be read: {why}"),
            Self::NoAnswer { patience, last } => {
                write!(
                    f,
                    "nothing came from its agent for {} s (salvage_timeout): {last}",
                    patience.as_secs()
                )
            }
            Self::Unreachable { tried, last } => {
                write!(f, "its agent was tried for {:.1} s in vain: {last}", tried.as_secs_f64())
            }
            Self::TookTooLong { limit } => write!(
                f,
                "they were not all applied when promote_apply_timeout ({} s) was over",
                limit.as_secs_f64()
            ),
            Self::NotApplied(why) => write!(f, "they could not be applied: {why}"),
            Self::NoPlace => f.write_str("it is not known how far its log was received here"),
            Self::LogsOnlyItsOwn => f.write_str(
                "its log does not hold what it replicates (log_slave_updates on MariaDB, log_replica_updates on MySQL)",
            ),
            Self::NotByGtid => f.write_str("replication here does not go by GTID"),
        }
    }
}

/// How a salvage ended or how far it is, as its agent tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SalvageState {
    Finding,
    /// A replica has to apply what it is to hand over.
    Waiting {
        have: u64,
        of: u64,
    },
    Fetching {
        done: u64,
        bytes: u64,
    },
    Applying {
        transactions: u64,
    },
    /// 0 where nothing was lacking.
    Done {
        transactions: u64,
        first: Option<String>,
        last: Option<String>,
        damage: Option<String>,
    },
    /// The number of those that are known to be lacking.
    InVain {
        why: Vain,
        lacking: Option<u64>,
    },
}

impl SalvageState {
    pub fn describe(&self, from: &HostName) -> String {
        let named = |first: &Option<String>, last: &Option<String>| match (first, last) {
            (Some(first), Some(last)) if first != last => format!(" ({first} to {last})"),
            (Some(one), _) => format!(" ({one})"),
            _ => String::new(),
        };
        match self {
            Self::Finding => format!("asking the agent of '{from}' what its log has more"),
            Self::Waiting { have, of } => {
                format!(
                    "waiting until '{from}' has applied what it is to hand over: {have} of {of} transactions"
                )
            }
            Self::Fetching { done, bytes } => {
                format!("fetching the end of the log of '{from}': {done} of {bytes} bytes")
            }
            Self::Applying { transactions } => {
                format!("applying {transactions} transactions that only the log of '{from}' had")
            }
            Self::Done { transactions: 0, damage, .. } => {
                format!("the log of '{from}' has nothing that is not here{}", damaged(damage.as_ref()))
            }
            Self::Done { transactions, first, last, damage } => format!(
                "salvaged {transactions} transactions{} from the log of '{from}'{}",
                named(first, last),
                damaged(damage.as_ref())
            ),
            Self::InVain { why, lacking } => {
                let many =
                    lacking.map_or("The last transactions".to_owned(), |many| format!("{many} transactions"));
                format!(
                    "{many} of '{from}' may be lost here: {why}. They are still in its log; going on with what was received"
                )
            }
        }
    }
}

fn damaged(damage: Option<&String>) -> String {
    damage.map_or(String::new(), |what| format!("; what follows there can't be read: {what}"))
}
