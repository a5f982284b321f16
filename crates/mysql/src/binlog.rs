//! Binary log files as they lie on the disk, of both families: where each whole transaction begins and ends, and its GTID.
//!
//! A server that is dead can't be asked any more, and tools of its version may not be there; so the files are read as they are.
//! Nothing of a transaction is understood beyond its borders. A file may end anywhere, since its server may have died while it
//! wrote: what follows the last whole transaction is never handed out. Only one event's head is kept in memory at a time,
//! whatever a file says of its size.

mod boundary;
mod contents;
mod event;
mod gtid;
mod index;
mod tail;
mod torn;

use std::io::{self, Read};
use std::ops::ControlFlow;

pub use contents::contents;
pub use event::{BinlogEvent, BinlogReader, LogFormat};
pub use gtid::LogGtid;
pub use index::log_files;
pub use tail::{Tail, TailError, TailPiece, find_tail};
pub use torn::{Torn, TornError, torn_end};

use boundary::Boundary;

/// The first bytes of every file.
pub const MAGIC: [u8; 4] = [0xFE, b'b', b'i', b'n'];
/// The same of a file that `MySQL` encrypted.
const MAGIC_ENCRYPTED: [u8; 4] = [0xFD, b'b', b'i', b'n'];

/// Numbers of the events that this reader has to know, by their names in the servers.
pub(crate) mod kind {
    pub(crate) const QUERY: u8 = 2;
    pub(crate) const STOP: u8 = 3;
    pub(crate) const ROTATE: u8 = 4;
    pub(crate) const FORMAT_DESCRIPTION: u8 = 15;
    pub(crate) const XID: u8 = 16;
    pub(crate) const INCIDENT: u8 = 26;
    pub(crate) const HEARTBEAT: u8 = 27;
    pub(crate) const GTID: u8 = 33;
    pub(crate) const ANONYMOUS_GTID: u8 = 34;
    pub(crate) const PREVIOUS_GTIDS: u8 = 35;
    pub(crate) const XA_PREPARE: u8 = 38;
    pub(crate) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(crate) const HEARTBEAT_V2: u8 = 41;
    pub(crate) const GTID_TAGGED: u8 = 42;
    pub(crate) const MARIADB_CHECKPOINT: u8 = 161;
    pub(crate) const MARIADB_GTID: u8 = 162;
    pub(crate) const MARIADB_GTID_LIST: u8 = 163;
    pub(crate) const MARIADB_START_ENCRYPTION: u8 = 164;
    pub(crate) const MARIADB_QUERY_COMPRESSED: u8 = 165;
}

/// Why a file can't be read as a binary log at all.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("it is encrypted")]
    Encrypted,
    #[error("it is no binary log (it begins with {found:02x?})")]
    NotALog { found: Vec<u8> },
    #[error("it is of a form that is not known here: {0}")]
    UnknownForm(String),
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
}

/// One whole transaction: these bytes of the file and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTransaction {
    /// None where the server gives none.
    pub gtid: Option<LogGtid>,
    pub from: u64,
    pub to: u64,
    /// Of the server where it was written first.
    pub server_id: u32,
    /// When it was written there, in seconds since 1970.
    pub timestamp: u32,
}

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndOfLog {
    /// The server went on in another file of this name.
    Rotated(String),
    /// The server was stopped in order.
    Stopped,
    /// Behind a whole transaction, without a word: the server runs, or died between two.
    Open,
    /// In the middle of a transaction, which therefore does not count.
    Cut,
    /// What follows is not what a server writes.
    Damaged(String),
    /// Whoever was told of the transactions wanted to hear no more.
    Enough,
}

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSummary {
    pub opening: Opening,
    /// Up to here everything is whole.
    pub whole: u64,
    pub end: EndOfLog,
}

/// What a file begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub format: LogFormat,
    /// All GTIDs of the files before it, as the server writes them; none where it does not say.
    pub previous: Option<String>,
    /// Where the first event that is part of a transaction may stand.
    pub to: u64,
}

/// Reads what a file begins with, and nothing else.
pub fn read_opening(reader: impl Read) -> Result<Opening, LogError> {
    let mut reader = BinlogReader::open(reader)?;
    let mut previous = None;
    let mut to = reader.position();
    while let Ok(Some(event)) = reader.next_event()? {
        match event.kind {
            kind::PREVIOUS_GTIDS => previous = gtid::previous_of_mysql(event.body()),
            kind::MARIADB_GTID_LIST => previous = gtid::list_of_mariadb(event.body()),
            kind::MARIADB_CHECKPOINT => {}
            _ => break,
        }
        to = event.to;
    }
    Ok(Opening { format: reader.format().clone(), previous, to })
}

/// Tells `each` of the whole transactions of a file, in their order, until it has enough.
pub fn each_transaction(
    reader: impl Read,
    each: impl FnMut(LogTransaction) -> ControlFlow<()>,
) -> Result<LogSummary, LogError> {
    each_transaction_of(BinlogReader::open(reader)?, each)
}

/// The same from where a reader stands, which must be between two transactions.
pub fn each_transaction_of(
    mut reader: BinlogReader<impl Read>,
    mut each: impl FnMut(LogTransaction) -> ControlFlow<()>,
) -> Result<LogSummary, LogError> {
    let mut opening = Opening { format: reader.format().clone(), previous: None, to: reader.position() };
    let mut whole = reader.position();
    let mut boundary = Boundary::default();
    let end = loop {
        let event = match reader.next_event()? {
            Ok(Some(event)) => event,
            Ok(None) if boundary.is_open() || reader.was_cut() => break EndOfLog::Cut,
            Ok(None) => break EndOfLog::Open,
            Err(damage) => break EndOfLog::Damaged(damage),
        };
        match event.kind {
            kind::PREVIOUS_GTIDS => opening.previous = gtid::previous_of_mysql(event.body()),
            kind::MARIADB_GTID_LIST => opening.previous = gtid::list_of_mariadb(event.body()),
            kind::STOP => break EndOfLog::Stopped,
            kind::ROTATE => break EndOfLog::Rotated(rotated_to(event.body())),
            _ => {}
        }
        let to = event.to;
        match boundary.take_in(&event) {
            Err(damage) => break EndOfLog::Damaged(damage),
            Ok(Some(transaction)) => {
                whole = to;
                if each(transaction).is_break() {
                    break EndOfLog::Enough;
                }
            }
            Ok(None) if boundary.is_open() => {}
            Ok(None) => {
                whole = to;
                if boundary.is_untouched() {
                    opening.to = to;
                }
            }
        }
    };
    Ok(LogSummary { opening, whole, end })
}

/// The checksum that the servers use.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Behind eight bytes of position comes the name.
fn rotated_to(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(8..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
