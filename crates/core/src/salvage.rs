//! Handing over what only a dead server's log has: what the next writer lacks of it, what the two agents say to each other, and
//! what is told of it.
//!
//! The asking side says what it has; the side of the dead server finds what is lacking, fixes it once as ranges of its files,
//! and hands these out in parts. Only whole transactions travel.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gtid::{GtidSet, Origin};
use crate::message::LogPosition;
use crate::names::HostName;

/// Bytes of a log that travel in one answer.
pub const PART_MAX: u64 = 128 * 1024;

/// With the promotion of a host after a server that died where its agent lives: to get its last transactions from there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SalvageOrder {
    pub from: HostName,
    /// Go on without them when nothing has come for so long.
    pub patience: Duration,
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
}

fn number_of(file: &str) -> Option<u64> {
    file.rsplit_once('.')?.1.parse().ok()
}

impl Lack {
    pub fn new(lacking: &Lacking) -> Self {
        let set = (!lacking.gtids.is_empty()).then(|| GtidSet::parse(&lacking.gtids)).flatten();
        Self { set, server_id: lacking.server_id, received: lacking.received.clone() }
    }

    /// Whether it is the GTIDs that tell.
    pub fn goes_by_gtid(&self) -> bool {
        self.set.is_some()
    }

    /// Whether nothing is lacking of the files before one that begins with these.
    pub fn has_all(&self, previous: &str) -> bool {
        let (Some(set), Some(previous)) = (&self.set, GtidSet::parse(previous)) else { return false };
        let lacking = previous.minus(set);
        lacking.ranges().all(|(origin, _, last)| self.has_passed(origin, last))
    }

    pub fn lacks(&self, one: &Candidate<'_>) -> bool {
        match (&self.set, &one.gtid) {
            (Some(set), Some((origin, number))) => {
                !set.contains(origin, *number) && !self.has_passed(origin, *number)
            }
            _ => self.is_behind(one),
        }
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
        }
    }
}

/// How a salvage ended or how far it is, as its agent tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SalvageState {
    Finding,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, position: u64) -> LogPosition {
        LogPosition { file: file.to_owned(), position }
    }

    fn of(file: &str, to: u64, gtid: Option<(u64, u64, u64)>) -> Candidate<'_> {
        let gtid = gtid.map(|(domain, server, number)| (Origin::Server { domain, server }, number));
        Candidate { file, to, gtid }
    }

    #[test]
    fn without_gtids_what_ends_behind_the_place_that_was_received_is_lacking() {
        let lack = Lack::new(&Lacking { received: Some(place("bin.000009", 900)), ..Lacking::default() });
        assert!(!lack.goes_by_gtid());
        for (file, to, lacking) in [
            ("bin.000009", 900, false),
            ("bin.000009", 901, true),
            ("bin.000010", 300, true),
            ("bin.000008", 5000, false),
            ("bin.x", 5000, false),
        ] {
            assert_eq!(lack.lacks(&of(file, to, None)), lacking, "{file} {to}");
        }
        assert!(
            !Lack::new(&Lacking::default()).lacks(&of("bin.000009", 1, None)),
            "who knows nothing gets nothing twice"
        );
    }

    #[test]
    fn mariadb_lacks_what_no_number_of_its_domain_has_passed() {
        let lacking = Lacking { server_id: 13, gtids: "0-13-50,0-12-40".into(), ..Lacking::default() };
        let lack = Lack::new(&lacking);
        assert!(!lack.lacks(&of("bin.000001", 1, Some((0, 12, 40)))));
        assert!(lack.lacks(&of("bin.000001", 1, Some((0, 12, 41)))), "its own writes are no proof");
        assert!(!lack.lacks(&of("bin.000001", 1, Some((0, 14, 39)))), "passed by 0-12-40");
        assert!(!lack.lacks(&of("bin.000001", 1, Some((0, 13, 50)))));
        assert!(lack.lacks(&of("bin.000001", 1, Some((1, 12, 1)))));
        assert!(lack.has_all("0-12-40,0-13-50") && lack.has_all("") && !lack.has_all("0-12-41"));
        assert!(!lack.has_all("nonsense"));
    }

    #[test]
    fn mysql_lacks_what_is_in_no_interval() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let lack = Lack::new(&Lacking { gtids: format!("{uuid}:1-5:7"), ..Lacking::default() });
        let gtid = |number| Candidate {
            file: "bin.000001",
            to: 1,
            gtid: Some((Origin::Uuid { uuid: uuid.to_owned(), tag: String::new() }, number)),
        };
        assert!(lack.lacks(&gtid(6)) && lack.lacks(&gtid(8)) && !lack.lacks(&gtid(7)));
        assert!(lack.has_all(&format!("{uuid}:1-5")) && !lack.has_all(&format!("{uuid}:1-6")));
    }

    #[test]
    fn what_kept_it_from_being_fetched_or_applied_is_told_with_the_limit() {
        let from = HostName::from("db1");
        let why = Vain::Unreachable { tried: Duration::from_millis(1250), last: "no answer".into() };
        assert_eq!(
            SalvageState::InVain { why, lacking: None }.describe(&from),
            "The last transactions of 'db1' may be lost here: its agent was tried for 1.2 s in vain: no answer. They are still in its log; going on with what was received"
        );
        let why = Vain::TookTooLong { limit: Duration::from_secs(5) };
        assert_eq!(
            SalvageState::InVain { why, lacking: Some(7) }.describe(&from),
            "7 transactions of 'db1' may be lost here: they were not all applied when promote_apply_timeout (5 s) was over. They are still in its log; going on with what was received"
        );
    }

    #[test]
    fn an_end_is_told_in_words_that_say_what_is_lost() {
        let from = HostName::from("db1");
        let vain = SalvageState::InVain { why: Vain::Encrypted, lacking: None };
        assert_eq!(
            vain.describe(&from),
            "The last transactions of 'db1' may be lost here: its log is encrypted, and only its server can read it. They are still in its log; going on with what was received"
        );
        let done = SalvageState::Done {
            transactions: 2,
            first: Some("0-12-4".into()),
            last: Some("0-12-5".into()),
            damage: None,
        };
        assert_eq!(done.describe(&from), "salvaged 2 transactions (0-12-4 to 0-12-5) from the log of 'db1'");
    }
}
