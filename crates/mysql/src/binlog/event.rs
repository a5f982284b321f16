//! The events of a file one after the other: heads, checksums, and as much of each body as somebody here looks at.

use std::io::{BufReader, ErrorKind, Read};

use super::{LogError, MAGIC, MAGIC_ENCRYPTED, kind};

/// What stands before the body of each event.
pub(crate) const HEADER_LENGTH: usize = 19;
const CHECKSUM_LENGTH: usize = 4;
/// Version, name of the server, time, length of the heads; then a byte for each kind of event.
const FORMAT_FIXED: usize = 2 + 50 + 4 + 1;
/// A server's word for "one checksum of 32 bits behind each event".
const CRC32: u8 = 1;
/// The server sets it as long as it writes the file, without changing the checksum of the event that carries it.
const IN_USE: u8 = 0x1;
/// A statement is preceded by at most 64 KiB of circumstances; of the statement itself the first word is enough.
const QUERY_KEPT: usize = 80 * 1024;
/// Sets of GTIDs have been seen to grow to some MiB.
const SET_KEPT: usize = 32 * 1024 * 1024;
const OTHERS_KEPT: usize = 4 * 1024;
const BUFFER: usize = 128 * 1024;

/// What the first event of a file says of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat {
    pub server_version: String,
    pub server_id: u32,
    /// Each event ends in a checksum.
    pub checksums: bool,
}

impl LogFormat {
    pub fn is_mariadb(&self) -> bool {
        self.server_version.contains("MariaDB")
    }
}

/// One event, with the beginning of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinlogEvent {
    pub kind: u8,
    pub server_id: u32,
    pub timestamp: u32,
    pub flags: u16,
    pub from: u64,
    pub to: u64,
    /// Without checksum; where the event is larger than anybody needs, its first part.
    kept: Vec<u8>,
}

impl BinlogEvent {
    pub(crate) fn body(&self) -> &[u8] {
        &self.kept
    }
}

/// The text of damage, for people.
type Damage = String;

/// Reads events. Nothing is believed of a file that its own checksums contradict.
#[derive(Debug)]
pub struct BinlogReader<R> {
    reader: BufReader<R>,
    position: u64,
    format: LogFormat,
    was_cut: bool,
}

impl<R: Read> BinlogReader<R> {
    /// Takes in the magic and the first event.
    pub fn open(reader: R) -> Result<Self, LogError> {
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let mut magic = [0; MAGIC.len()];
        let got = read_up_to(&mut reader, &mut magic)?;
        if magic == MAGIC_ENCRYPTED {
            return Err(LogError::Encrypted);
        }
        if magic != MAGIC {
            return Err(LogError::NotALog { found: magic.get(..got).unwrap_or_default().to_vec() });
        }
        let format = LogFormat { server_version: String::new(), server_id: 0, checksums: false };
        let mut this = Self { reader, position: MAGIC.len() as u64, format, was_cut: false };
        let first = match this.read_event()? {
            Ok(Some(event)) if event.kind == kind::FORMAT_DESCRIPTION => event,
            Ok(Some(event)) => {
                return Err(LogError::UnknownForm(format!("its first event is of kind {}", event.kind)));
            }
            Ok(None) => return Err(LogError::UnknownForm("it has no events".to_owned())),
            Err(damage) => return Err(LogError::UnknownForm(damage)),
        };
        this.format = parse_format(&first)?;
        Ok(this)
    }

    /// Goes on in the middle of a file of this form, whose next bytes are an event that begins at `position`.
    pub fn resume(reader: R, format: LogFormat, position: u64) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, reader), position, format, was_cut: false }
    }

    pub fn format(&self) -> &LogFormat {
        &self.format
    }

    /// Behind the last event that was read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the file ended in the middle of an event.
    pub fn was_cut(&self) -> bool {
        self.was_cut
    }

    /// The next one; none where the file ends, be it in the middle of an event. The inner error says what is wrong with the
    /// file from here on.
    pub fn next_event(&mut self) -> Result<Result<Option<BinlogEvent>, Damage>, LogError> {
        let event = self.read_event()?;
        if let Ok(Some(event)) = &event {
            if event.kind == kind::MARIADB_START_ENCRYPTION {
                return Err(LogError::Encrypted);
            }
            if event.kind == kind::FORMAT_DESCRIPTION {
                self.format = parse_format(event)?;
            }
        }
        Ok(event)
    }

    fn read_event(&mut self) -> Result<Result<Option<BinlogEvent>, Damage>, LogError> {
        let mut header = [0; HEADER_LENGTH];
        let got = read_up_to(&mut self.reader, &mut header)?;
        if got < HEADER_LENGTH {
            self.was_cut = got > 0;
            return Ok(Ok(None));
        }
        let kind = header[4];
        let size = le_u32(&header, 9);
        // The first event has a checksum wherever servers know of them, whether they use them for the others or not.
        let tail =
            if kind == kind::FORMAT_DESCRIPTION || self.format.checksums { CHECKSUM_LENGTH } else { 0 };
        let Some(body) = (size as usize).checked_sub(HEADER_LENGTH + tail) else {
            return Ok(Err(format!("an event of {size} bytes at {}", self.position)));
        };
        let keep = match kind {
            kind::QUERY | kind::MARIADB_QUERY_COMPRESSED => QUERY_KEPT,
            kind::PREVIOUS_GTIDS | kind::MARIADB_GTID_LIST => SET_KEPT,
            _ => OTHERS_KEPT,
        };
        let mut sum = crc32fast::Hasher::new();
        let mut summed = header;
        if kind == kind::FORMAT_DESCRIPTION {
            summed[17] &= !IN_USE;
        }
        sum.update(&summed);
        let Some(kept) = self.read_body(body, keep, &mut sum)? else {
            self.was_cut = true;
            return Ok(Ok(None));
        };
        let mut told = [0; CHECKSUM_LENGTH];
        if tail > 0 {
            if read_up_to(&mut self.reader, &mut told)? < CHECKSUM_LENGTH {
                self.was_cut = true;
                return Ok(Ok(None));
            }
            let uses_them = kind != kind::FORMAT_DESCRIPTION || says_crc32(&kept);
            if uses_them && le_u32(&told, 0) != sum.finalize() {
                return Ok(Err(format!("the checksum of the event at {} is wrong", self.position)));
            }
        }
        let from = self.position;
        self.position += u64::from(size);
        Ok(Ok(Some(BinlogEvent {
            kind,
            server_id: le_u32(&header, 5),
            timestamp: le_u32(&header, 0),
            flags: u16::from_le_bytes([header[17], header[18]]),
            from,
            to: self.position,
            kept,
        })))
    }

    /// Reads a body and keeps the first part of it; none where the file ends before.
    fn read_body(
        &mut self,
        length: usize,
        keep: usize,
        sum: &mut crc32fast::Hasher,
    ) -> Result<Option<Vec<u8>>, LogError> {
        let mut kept = Vec::new();
        let mut left = length;
        let mut chunk = [0; 16 * 1024];
        while left > 0 {
            let part = &mut chunk[..left.min(16 * 1024)];
            let wanted = part.len();
            if read_up_to(&mut self.reader, part)? < wanted {
                return Ok(None);
            }
            sum.update(part);
            let room = keep.saturating_sub(kept.len()).min(wanted);
            kept.extend_from_slice(&part[..room]);
            left -= wanted;
        }
        Ok(Some(kept))
    }
}

/// Fills as much as there is.
fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, LogError> {
    let mut got = 0;
    while let Some(room) = buffer.get_mut(got..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(got)
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}

/// The last byte of the body tells which checksums follow.
fn says_crc32(body: &[u8]) -> bool {
    body.len() > FORMAT_FIXED && body.last() == Some(&CRC32)
}

fn parse_format(event: &BinlogEvent) -> Result<LogFormat, LogError> {
    let body = event.body();
    if body.len() <= FORMAT_FIXED {
        return Err(LogError::UnknownForm("its first event is too short".to_owned()));
    }
    let version = u16::from_le_bytes([body[0], body[1]]);
    let header = body[FORMAT_FIXED - 1];
    if version != 4 || usize::from(header) != HEADER_LENGTH {
        return Err(LogError::UnknownForm(format!("version {version} with heads of {header} bytes")));
    }
    let name = &body[2..52];
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let server_version = String::from_utf8_lossy(&name[..end]).into_owned();
    let checksums = match body.last() {
        Some(0) => false,
        Some(&CRC32) => true,
        other => return Err(LogError::UnknownForm(format!("checksums of kind {other:?}"))),
    };
    Ok(LogFormat { server_version, server_id: event.server_id, checksums })
}
