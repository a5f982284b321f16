//! GTIDs as they stand in the files.

use std::fmt::{self, Write as _};

use super::BinlogEvent;
use super::kind;

/// The name of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogGtid {
    MariaDb {
        domain: u32,
        server_id: u32,
        sequence: u64,
    },
    /// The tag is empty where there is none.
    MySql {
        uuid: [u8; 16],
        tag: String,
        number: u64,
    },
}

impl fmt::Display for LogGtid {
    /// As the servers write them, so that each is a set of one as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MariaDb { domain, server_id, sequence } => write!(f, "{domain}-{server_id}-{sequence}"),
            Self::MySql { uuid, tag, number } => {
                f.write_str(&Self::written_uuid(uuid))?;
                if !tag.is_empty() {
                    write!(f, ":{tag}")?;
                }
                write!(f, ":{number}")
            }
        }
    }
}

impl LogGtid {
    /// As the servers write one.
    pub fn written_uuid(uuid: &[u8; 16]) -> String {
        let mut text = String::with_capacity(36);
        for (index, byte) in uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// What an event that begins a transaction says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) gtid: Option<LogGtid>,
    pub(super) form: Form,
}

/// How the rest of a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `MySQL`: a statement alone, or BEGIN and all up to its end.
    Told,
    /// `MariaDB`: one statement, with what belongs to it.
    Alone,
    /// `MariaDB`: all up to the end.
    Group,
}

const STANDALONE: u8 = 1;
const COMPLETED_XA: u8 = 128;

/// None where the event begins no transaction; an error where it can't be understood.
pub(super) fn beginning(event: &BinlogEvent) -> Result<Option<Beginning>, String> {
    let body = event.body();
    let unreadable = || format!("the GTID at {} can't be understood", event.from);
    let told = |gtid| Ok(Some(Beginning { gtid, form: Form::Told }));
    match event.kind {
        kind::ANONYMOUS_GTID => told(None),
        kind::GTID => {
            let uuid = array::<16>(body, 1).ok_or_else(unreadable)?;
            let number = array::<8>(body, 17).map(u64::from_le_bytes).ok_or_else(unreadable)?;
            told(Some(LogGtid::MySql { uuid, tag: String::new(), number }))
        }
        kind::GTID_TAGGED => told(Some(tagged(body).ok_or_else(unreadable)?)),
        kind::MARIADB_GTID => {
            let sequence = array::<8>(body, 0).map(u64::from_le_bytes).ok_or_else(unreadable)?;
            let domain = array::<4>(body, 8).map(u32::from_le_bytes).ok_or_else(unreadable)?;
            let flags = *body.get(12).ok_or_else(unreadable)?;
            let alone = flags & (STANDALONE | COMPLETED_XA) != 0;
            Ok(Some(Beginning {
                gtid: Some(LogGtid::MariaDb { domain, server_id: event.server_id, sequence }),
                form: if alone { Form::Alone } else { Form::Group },
            }))
        }
        _ => Ok(None),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Reads the numbers of varying length that `MySQL` writes since 8.3: as many ones as the first byte ends in, so many bytes
/// follow it.
struct Varied<'a>(&'a [u8]);

impl Varied<'_> {
    fn number(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let more = first.trailing_ones() as usize;
        let bytes = self.take(1 + more)?;
        let mut wide = [0; 16];
        wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        let value = u128::from_le_bytes(wide) >> (more + 1).min(8);
        u64::try_from(value).ok()
    }

    /// The lowest bit is the sign; nothing that is read here is below zero.
    fn signed(&mut self) -> Option<u64> {
        let value = self.number()?;
        (value & 1 == 0).then_some(value >> 1)
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let taken = self.0.get(..count)?.to_vec();
        self.0 = self.0.get(count..)?;
        Some(taken)
    }

    fn tag(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length <= 32)?;
        String::from_utf8(self.take(length)?).ok()
    }
}

/// Fields with their numbers: flags, server, number, tag, and more that is of no use here.
fn tagged(body: &[u8]) -> Option<LogGtid> {
    let mut varied = Varied(body);
    let _version = varied.number()?;
    let _size = varied.number()?;
    let _last_that_must_be_known = varied.number()?;
    let field = |expected: u64, varied: &mut Varied<'_>| (varied.number()? == expected).then_some(());
    field(0, &mut varied)?;
    let _flags = varied.number()?;
    field(1, &mut varied)?;
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = u8::try_from(varied.number()?).ok()?;
    }
    field(2, &mut varied)?;
    let number = varied.signed()?;
    field(3, &mut varied)?;
    let tag = varied.tag()?;
    Some(LogGtid::MySql { uuid, tag, number })
}

/// Entries of a set or list, of a file that is damaged in spite of its checksum.
const ENTRIES_MAX: u64 = 4_000_000;

/// The set of all GTIDs before a file of `MySQL`.
pub(super) fn previous_of_mysql(body: &[u8]) -> Option<String> {
    let head = array::<8>(body, 0)?;
    // Where there are tags, the first and the last byte say so, and the number of entries stands between.
    let with_tags = head[7] == 1;
    let entries =
        if with_tags { u64::from_le_bytes(head) >> 8 & 0xFFFF_FFFF_FFFF } else { u64::from_le_bytes(head) };
    let mut text = String::new();
    let mut rest = Varied(body.get(8..)?);
    let mut last_uuid = None;
    for _ in 0..(entries <= ENTRIES_MAX).then_some(entries)? {
        let uuid: [u8; 16] = rest.take(16)?.try_into().ok()?;
        let tag = if with_tags { rest.tag()? } else { String::new() };
        if last_uuid != Some(uuid) || tag.is_empty() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&LogGtid::written_uuid(&uuid));
        }
        last_uuid = Some(uuid);
        if !tag.is_empty() {
            let _ = write!(text, ":{tag}");
        }
        let intervals = array::<8>(rest.0, 0).map(u64::from_le_bytes)?;
        rest.take(8)?;
        for _ in 0..(intervals <= ENTRIES_MAX).then_some(intervals)? {
            let bounds = rest.take(16)?;
            let from = array::<8>(&bounds, 0).map(u64::from_le_bytes)?;
            let behind = array::<8>(&bounds, 8).map(u64::from_le_bytes).filter(|behind| *behind > from)?;
            let _ = if behind - from == 1 {
                write!(text, ":{from}")
            } else {
                write!(text, ":{from}-{}", behind - 1)
            };
        }
    }
    Some(text)
}

/// The last GTID of each domain and server before a file of `MariaDB`.
pub(super) fn list_of_mariadb(body: &[u8]) -> Option<String> {
    // The upper four bits are flags.
    let count = array::<4>(body, 0).map(u32::from_le_bytes)? & 0x0FFF_FFFF;
    let entries = (0..count as usize).map(|index| {
        let at = 4 + index * 16;
        let domain = array::<4>(body, at).map(u32::from_le_bytes)?;
        let server_id = array::<4>(body, at + 4).map(u32::from_le_bytes)?;
        let sequence = array::<8>(body, at + 8).map(u64::from_le_bytes)?;
        Some(LogGtid::MariaDb { domain, server_id, sequence }.to_string())
    });
    entries.collect::<Option<Vec<_>>>().map(|entries| entries.join(","))
}
