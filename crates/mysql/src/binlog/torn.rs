//! A file that ends inside an event, though the server went on in another one: a server that died while it wrote, mostly on a full
//! disk, leaves such an end behind where it does not cut its log back when it is started. Whoever reads the file from the server gets
//! an error there for ever.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::boundary::Boundary;
use super::event::HEADER_LENGTH;
use super::tail::{name_of, opening_of, place_in};
use super::{BinlogEvent, BinlogReader, LogError, TailError, kind};

/// In the body of the event that begins a transaction of `MariaDB`, behind number and domain.
const FLAGS_AT: usize = 12;
const TRANSACTIONAL: u8 = 4;
/// Of these a part stays whatever becomes of the rest: definitions, and both halves of a distributed transaction.
const LASTING: u8 = 32 | 64 | 128;
/// When the server was started, in the first event of a file behind its version and name; 0 where it only went on to another file.
const STARTED_AT: usize = HEADER_LENGTH + 2 + 50;

/// How such a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Behind the last whole transaction.
    pub whole: u64,
    /// Where the event begins that has no end.
    pub torn: u64,
    /// The name of the next file.
    pub next: String,
    /// The next file begins with a start of the server.
    pub after_start: bool,
    /// The transaction that has no end may have left something behind that the server did not take back.
    pub lasting: bool,
    /// When the file was written last.
    pub written: SystemTime,
}

#[derive(Debug, thiserror::Error)]
pub enum TornError {
    #[error(transparent)]
    Place(#[from] TailError),
    #[error("the file {file} does not end inside an event")]
    Whole { file: String },
    #[error("the file {file} is the one that the server writes to")]
    Last { file: String },
    #[error("the file {file} is damaged: {what}")]
    Damaged { file: String, what: String },
}

/// Reads the end of the file of this name from `from` on, which must be between two transactions.
pub fn torn_end(files: &[PathBuf], name: &str, from: u64) -> Result<Torn, TornError> {
    let index = place_in(files, name, from)?;
    let (Some(file), Some(next)) = (files.get(index), files.get(index + 1)) else {
        return Err(TornError::Last { file: name.to_owned() });
    };
    let at = |error| TailError::File { file: file.clone(), error };
    let mut opened = File::open(file).map_err(|error| at(error.into()))?;
    let written = opened.metadata().and_then(|data| data.modified()).map_err(|error| at(error.into()))?;
    let end = read_end(&mut opened, from).map_err(at)?;
    let end = end.map_err(|what| TornError::Damaged { file: name.to_owned(), what })?;
    let Some((whole, torn, flags)) = end else {
        return Err(TornError::Whole { file: name.to_owned() });
    };
    let after_start =
        begins_with_a_start(next).map_err(|error| TailError::File { file: next.clone(), error })?;
    let lasting = flags.is_some_and(|flags| flags & TRANSACTIONAL == 0 || flags & LASTING != 0);
    Ok(Torn { whole, torn, next: name_of(next), after_start, lasting, written })
}

/// The ends of the last whole transaction and of the last whole event, and the flags of a transaction that began between them; none
/// where the last event is whole. The inner error says what is wrong with the file.
type End = Result<Option<(u64, u64, Option<u8>)>, String>;

fn read_end(file: &mut File, from: u64) -> Result<End, LogError> {
    let mut reader = BinlogReader::open(file.try_clone()?)?;
    if from > reader.position() {
        let format = reader.format().clone();
        file.seek(SeekFrom::Start(from))?;
        reader = BinlogReader::resume(file.try_clone()?, format, from);
    }
    let mut whole = reader.position();
    let mut boundary = Boundary::default();
    let mut flags = None;
    loop {
        let event = match reader.next_event()? {
            Ok(Some(event)) => event,
            Ok(None) if reader.was_cut() => break,
            Ok(None) => return Ok(Ok(None)),
            Err(damage) => return Ok(Err(damage)),
        };
        match boundary.take_in(&event) {
            Err(damage) => return Ok(Err(damage)),
            Ok(Some(_)) => (whole, flags) = (event.to, None),
            Ok(None) => flags = flags_of(&event).or(flags),
        }
    }
    let torn = reader.position();
    if flags.is_none() {
        // One that is torn in its very first event has these near its beginning.
        flags = flags_at(file, torn)?;
    }
    Ok(Ok(Some((whole, torn, flags))))
}

/// Other servers than `MariaDB` do not say what it would take to be sure.
fn flags_of(event: &BinlogEvent) -> Option<u8> {
    match event.kind {
        kind::MARIADB_GTID => event.body().get(FLAGS_AT).copied(),
        kind::GTID | kind::GTID_TAGGED | kind::ANONYMOUS_GTID => Some(0),
        _ => None,
    }
}

fn flags_at(file: &mut File, position: u64) -> Result<Option<u8>, LogError> {
    file.seek(SeekFrom::Start(position))?;
    let mut begun = Vec::new();
    file.take((HEADER_LENGTH + FLAGS_AT + 1) as u64).read_to_end(&mut begun)?;
    let kind = begun.get(4).copied();
    let flags = begun.get(HEADER_LENGTH + FLAGS_AT).copied();
    Ok(flags.filter(|_| kind == Some(kind::MARIADB_GTID)))
}

fn begins_with_a_start(file: &Path) -> Result<bool, LogError> {
    let mut opened = File::open(file)?;
    let opening = opening_of(&mut opened)?;
    let started = opening.get(STARTED_AT..STARTED_AT + 4).unwrap_or_default();
    Ok(started.iter().any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{event, mariadb, query};
    use super::*;
    use crate::binlog::MAGIC;

    fn opening(started: u32) -> Vec<u8> {
        let mut body = 4_u16.to_le_bytes().to_vec();
        let mut name = b"10.11.14-MariaDB-log".to_vec();
        name.resize(50, 0);
        body.extend(name);
        body.extend(started.to_le_bytes());
        body.push(19);
        body.extend([0; 40]);
        body.push(1);
        [MAGIC.to_vec(), event(kind::FORMAT_DESCRIPTION, 0, &body)].concat()
    }

    fn transaction(sequence: u64, flags: u8) -> Vec<u8> {
        [mariadb(sequence, flags), query("x"), event(kind::XID, 0, &[0; 8])].concat()
    }

    /// What is found behind the opening of a first file that ends so, where the next one begins so.
    fn found(end: &[u8], started: u32, from: u64) -> Result<Torn, String> {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["bin.000001", "bin.000002"].map(|name| dir.path().join(name)).to_vec();
        std::fs::write(&files[0], [opening(7), end.to_vec()].concat()).unwrap();
        std::fs::write(&files[1], opening(started)).unwrap();
        torn_end(&files, "bin.000001", from).map_err(|error| error.to_string())
    }

    #[test]
    fn a_torn_end_is_told_with_what_is_whole_before_it() {
        let head = opening(7).len() as u64;
        let first = transaction(1, TRANSACTIONAL);
        let second = transaction(2, TRANSACTIONAL);
        let cut = [first.clone(), second[..second.len() - 20].to_vec()].concat();
        let torn = found(&cut, 9, 4).unwrap();
        let whole = head + first.len() as u64;
        assert_eq!(torn.whole, whole);
        assert_eq!(torn.torn, whole + (second.len() - event(kind::XID, 0, &[0; 8]).len()) as u64);
        assert_eq!((torn.next.as_str(), torn.after_start, torn.lasting), ("bin.000002", true, false));
        // The same from where one has applied it to.
        assert_eq!(found(&cut, 9, whole).unwrap().whole, whole);
        assert!(!found(&cut, 0, whole).unwrap().after_start, "the server only went on to another file");
    }

    #[test]
    fn what_may_have_stayed_of_the_torn_transaction_is_told() {
        for flags in [0, TRANSACTIONAL | 32, TRANSACTIONAL | 64] {
            let torn = transaction(2, flags);
            assert!(found(&torn[..torn.len() - 20], 9, 4).unwrap().lasting, "{flags}");
            // Torn in its first event, behind its flags.
            assert!(found(&torn[..HEADER_LENGTH + FLAGS_AT + 2], 9, 4).unwrap().lasting, "{flags}");
            // And before these, where it is as if the server had died just before.
            assert!(!found(&torn[..HEADER_LENGTH + FLAGS_AT], 9, 4).unwrap().lasting, "{flags}");
        }
        // One that ended before it is no question any more.
        let torn = [transaction(1, 0), transaction(2, TRANSACTIONAL)[..30].to_vec()].concat();
        assert!(!found(&torn, 9, 4).unwrap().lasting);
    }

    #[test]
    fn a_file_that_is_whole_or_damaged_or_still_written_is_none() {
        let whole = transaction(1, TRANSACTIONAL);
        assert!(found(&whole, 9, 4).unwrap_err().contains("does not end inside an event"));
        let mut damaged = [whole.clone(), transaction(2, TRANSACTIONAL)[..50].to_vec()].concat();
        damaged[30] ^= 1;
        assert!(found(&damaged, 9, 4).unwrap_err().contains("checksum"));
        assert!(found(&whole, 9, 1_000_000).unwrap_err().contains("no such place"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bin.000001");
        std::fs::write(&file, [opening(7), whole[..50].to_vec()].concat()).unwrap();
        let last = torn_end(&[file], "bin.000001", 4).unwrap_err().to_string();
        assert!(last.contains("the one that the server writes to"), "{last}");
    }
}
