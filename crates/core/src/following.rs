//! Replicas behind the masters: where a replica has to replicate from, and whether it can be shown that it goes on at
//! the very point where it stopped.
//!
//! Nothing is guessed: a replica whose place in the new writer's log is not known for certain stays where it is, and
//! the reason is told.

mod torn;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::lease::Epoch;
use crate::message::LogPosition;
use crate::names::HostName;

pub use torn::{Passing, TearAnswer, TearRequest, TornEnd, TornPlace, judge_torn};

/// A server as another one's replication names it. The host is what was configured: mostly an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerAddress {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => std::net::SocketAddr::new(ip, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Who a server is in the transactions that it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerIdentity {
    pub server_id: u64,
    /// `MySQL` puts it in front of its transactions' numbers.
    pub uuid: Option<String>,
}

/// Where the log of a new writer begins that is its own: noted when it had caught up and before it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Junction {
    pub writer: ServerIdentity,
    /// The end of its own log.
    pub own: LogPosition,
    /// What it had applied until then, and from whom. `None` where it replicated from nobody.
    pub applied: Option<Applied>,
    /// Every transaction in its log until then.
    pub gtid: String,
}

/// A place in the log of the server that is replicated from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Applied {
    pub source: ServerAddress,
    pub server_id: u64,
    pub position: LogPosition,
}

/// The active master as its replicas need to know it, once it takes writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    pub host: HostName,
    pub ip: IpAddr,
    pub port: u16,
    pub epoch: Epoch,
    pub junction: Option<Junction>,
}

impl Source {
    pub fn address(&self) -> ServerAddress {
        ServerAddress { host: self.ip.to_string(), port: self.port }
    }

    /// Whether replication that was set up with this address comes from here. Names that are no addresses are told by
    /// what answered there.
    pub fn is_at(&self, address: &ServerAddress, server_id: u64) -> bool {
        if let Ok(ip) = address.host.parse::<IpAddr>() {
            return (ip, address.port) == (self.ip, self.port);
        }
        let same_server = |junction: &Junction| server_id != 0 && junction.writer.server_id == server_id;
        address.host == self.host.as_str() || self.junction.as_ref().is_some_and(same_server)
    }
}

/// Which threads of a replication run, or are wanted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Running {
    pub receives: bool,
    pub applies: bool,
}

impl Running {
    pub const BOTH: Self = Self { receives: true, applies: true };
    pub const NEITHER: Self = Self { receives: false, applies: false };

    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { receives: self.receives || other.receives, applies: self.applies || other.applies }
    }
}

/// A replica's own account of its replication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stand {
    pub own: ServerIdentity,
    pub source: ServerAddress,
    /// 0 until the source was reached once.
    pub source_id: u64,
    pub by_gtid: bool,
    pub running: Running,
    /// The source is connected to and sends.
    pub connected: bool,
    pub received: Option<LogPosition>,
    pub applied: Option<LogPosition>,
    /// Every transaction in its log, and what it applied last, by GTID.
    pub binlog_state: String,
    pub slave_pos: String,
}

/// How a replica finds its place in the new writer's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// The channel goes by GTID and goes on so.
    ByGtid,
    /// It stands where the writer stood when this was the end of the writer's log.
    At(LogPosition),
    /// It goes by file and position, but its transactions carry GTIDs: these find the place, and the channel goes back
    /// to file and position when it has applied something from there.
    ThroughGtid,
}

impl How {
    pub fn describe(&self) -> String {
        match self {
            Self::ByGtid => "by GTID".to_owned(),
            Self::At(position) => format!("from the same point, {} of its log", written(position)),
            Self::ThroughGtid => "by GTID until its place is known as file and position".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It replicates from where it should.
    There,
    Repoint(How),
    /// It becomes able to by what it is doing now; what is missing, for people.
    Wait(String),
    /// It can't be shown where it stands; why, for people.
    Refuse(String),
}

/// Whether and how a replica is to be pointed at `source`.
pub fn judge(source: &Source, stand: &Stand) -> Verdict {
    if source.is_at(&stand.source, stand.source_id) {
        return Verdict::There;
    }
    let Some(junction) = &source.junction else {
        // A MariaDB master looks itself for the place that it is asked for by GTID; a MySQL one does not.
        return if stand.by_gtid && counts_as_mariadb_does(stand) {
            Verdict::Repoint(How::ByGtid)
        } else {
            Verdict::Refuse(format!(
                "it is not known where the log of '{}' stood when it became the writer: point the replica by hand, or rebuild it",
                source.host
            ))
        };
    };
    let histories = compare(stand, junction);
    if stand.by_gtid {
        return match histories {
            History::Contained { .. } => Verdict::Repoint(How::ByGtid),
            History::Ahead(what) => Verdict::Refuse(ahead(source, &what)),
            History::Unreadable => Verdict::Refuse(unreadable(source, stand, junction)),
        };
    }
    let place = at_same_point(stand, junction);
    if place == Place::Same {
        return Verdict::Repoint(How::At(junction.own.clone()));
    }
    match histories {
        // MySQL sends whatever is missing, of each server.
        History::Contained { every_domain: true, .. } | History::Contained { mariadb: false, .. } => {
            Verdict::Repoint(How::ThroughGtid)
        }
        History::Ahead(what) => Verdict::Refuse(ahead(source, &what)),
        History::Contained { .. } | History::Unreadable => without_gtid(source, stand, place),
    }
}

/// `MariaDB`'s positions never hold a colon, `MySQL`'s sets always do.
fn counts_as_mariadb_does(stand: &Stand) -> bool {
    !stand.binlog_state.contains(':') && !stand.slave_pos.is_empty()
}

fn without_gtid(source: &Source, stand: &Stand, place: Place) -> Verdict {
    match place {
        Place::Behind(goal) => {
            let has_received =
                stand.received.as_ref().and_then(|received| compare_positions(received, &goal));
            let gets_there = has_received.is_some_and(std::cmp::Ordering::is_ge) || stand.connected;
            let applied = stand.applied.as_ref().map_or("nothing".to_owned(), written);
            if gets_there {
                Verdict::Wait(format!(
                    "it has applied {applied} of {}, '{}' began at {}",
                    stand.source,
                    source.host,
                    written(&goal)
                ))
            } else {
                Verdict::Refuse(format!(
                    "it has applied {applied} of {}, which can't be reached, while '{}' had applied {} before it became the writer: what is between is on other hosts only; rebuild the replica",
                    stand.source,
                    source.host,
                    written(&goal)
                ))
            }
        }
        Place::Ahead(goal) => Verdict::Refuse(format!(
            "it has applied {} of {}, which is beyond {}, where '{}' became the writer: its place in the new log can't be shown; rebuild the replica",
            stand.applied.as_ref().map_or("nothing".to_owned(), written),
            stand.source,
            written(&goal),
            source.host
        )),
        Place::Same | Place::Unknown => Verdict::Refuse(format!(
            "it replicates from {}, '{}' replicated from another server when it became the writer: its place in the new log can't be shown; point it by hand, or rebuild it",
            stand.source, source.host
        )),
    }
}

fn written(position: &LogPosition) -> String {
    format!("{} {}", position.file, position.position)
}

fn ahead(source: &Source, what: &str) -> String {
    format!(
        "it has transactions that '{}' never received ({what}): compare the data, carry over by hand what is needed, and rebuild the replica",
        source.host
    )
}

fn unreadable(source: &Source, stand: &Stand, junction: &Junction) -> String {
    format!(
        "its GTID position ('{}' '{}') can't be compared with that of '{}' ('{}')",
        stand.binlog_state, stand.slave_pos, source.host, junction.gtid
    )
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Same,
    Behind(LogPosition),
    Ahead(LogPosition),
    Unknown,
}

/// Where the replica stands against the writer, both counted in the log of the server that both replicated from.
fn at_same_point(stand: &Stand, junction: &Junction) -> Place {
    let (Some(there), Some(here)) = (&junction.applied, &stand.applied) else { return Place::Unknown };
    if there.server_id != stand.source_id || there.server_id == 0 || are_apart(&there.source, &stand.source) {
        return Place::Unknown;
    }
    match compare_positions(here, &there.position) {
        Some(std::cmp::Ordering::Equal) => Place::Same,
        Some(std::cmp::Ordering::Less) => Place::Behind(there.position.clone()),
        Some(std::cmp::Ordering::Greater) => Place::Ahead(there.position.clone()),
        None => Place::Unknown,
    }
}

/// Whether two addresses surely lead to two servers. A name may lead anywhere, so that what answered there decides.
fn are_apart(left: &ServerAddress, right: &ServerAddress) -> bool {
    let are_addresses = [left, right].iter().all(|address| address.host.parse::<IpAddr>().is_ok());
    are_addresses && left != right
}

/// Files of one log are numbered; those of two logs can't be compared.
fn compare_positions(left: &LogPosition, right: &LogPosition) -> Option<std::cmp::Ordering> {
    let split = |position: &LogPosition| {
        let (base, number) = position.file.rsplit_once('.')?;
        Some((base.to_owned(), number.parse::<u64>().ok()?))
    };
    let ((left_base, left_number), (right_base, right_number)) = (split(left)?, split(right)?);
    (left_base == right_base).then(|| (left_number, left.position).cmp(&(right_number, right.position)))
}

impl ServerIdentity {
    fn wrote(&self, origin: &str) -> bool {
        self.server_id.to_string() == origin
            || self.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(origin))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum History {
    /// All that the replica applied, but for what the writer itself wrote, was on the writer when it was opened.
    Contained {
        /// Whatever the writer's log holds streams of, the replica has a place in each.
        every_domain: bool,
        mariadb: bool,
    },
    Ahead(String),
    Unreadable,
}

/// Transactions by stream and by the server that wrote them, each as closed intervals.
type Transactions = BTreeMap<(String, String), Vec<(u64, u64)>>;

fn compare(stand: &Stand, junction: &Junction) -> History {
    let mariadb = !stand.binlog_state.contains(':') && !junction.gtid.contains(':');
    let (Some(log), Some(last), Some(there)) =
        (parse(&stand.binlog_state), parse(&stand.slave_pos), parse(&junction.gtid))
    else {
        return History::Unreadable;
    };
    for ((stream, origin), intervals) in log.iter().chain(&last) {
        // What the writer wrote since it knows best itself; what was written on the replica stays there.
        if junction.writer.wrote(origin) || stand.own.wrote(origin) {
            continue;
        }
        let known = there.get(&(stream.clone(), origin.clone())).map_or(&[][..], Vec::as_slice);
        let beyond = intervals.iter().find(|(from, to)| {
            !known.iter().any(|(known_from, known_to)| known_from <= from && to <= known_to)
        });
        if let Some((_, to)) = beyond {
            let name = if mariadb { format!("{stream}-{origin}-{to}") } else { format!("{origin}:{to}") };
            return History::Ahead(name);
        }
    }
    let streams = |transactions: &Transactions| {
        transactions.keys().map(|(stream, _)| stream.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let every_domain = !last.is_empty() && streams(&there).is_subset(&streams(&last));
    History::Contained { every_domain, mariadb }
}

/// `0-12-40,0-13-44` of `MariaDB`, where a number stands for all up to it, or `uuid:1-5:7,uuid:tag:1-2` of `MySQL`.
fn parse(text: &str) -> Option<Transactions> {
    let mut transactions = Transactions::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if let Some((origin, rest)) = item.split_once(':') {
            let mut stream = String::new();
            for part in rest.split(':') {
                let (from, to) = part.split_once('-').unwrap_or((part, part));
                if let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) {
                    transactions.entry((stream.clone(), origin.to_owned())).or_default().push((from, to));
                } else if part.starts_with(|first: char| first.is_ascii_lowercase() || first == '_') {
                    // A tag: the intervals behind it are a stream of their own.
                    part.clone_into(&mut stream);
                } else {
                    return None;
                }
            }
        } else {
            let mut parts = item.split('-').map(|part| part.parse::<u64>().ok());
            let (domain, server, sequence) = (parts.next()??, parts.next()??, parts.next()??);
            if parts.next().is_some() {
                return None;
            }
            transactions.entry((domain.to_string(), server.to_string())).or_default().push((0, sequence));
        }
    }
    Some(transactions)
}

#[cfg(test)]
mod tests;
