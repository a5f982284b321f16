//! The end of a log that somebody lacks: found in the files of a server that does not run any more.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{
    BinlogReader, EndOfLog, LogError, LogFormat, LogGtid, LogTransaction, each_transaction_of, read_opening,
};

/// The first event of a file is some hundred bytes long.
const OPENING_MAX: u32 = 64 * 1024;

/// Nobody can tell a transaction that was never written whole from one that was cut off later.
const CUT: &str = "its last transaction has no end, as when the server dies while it writes it";

/// Magic and the head of the first event.
const SHORTEST: u64 = 4 + 19;

/// Whole transactions that stand one behind the other in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailPiece {
    pub file: PathBuf,
    /// The event that the file begins with.
    pub opening: Vec<u8>,
    pub from: u64,
    pub to: u64,
}

/// What somebody lacks of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Of the last file.
    pub format: LogFormat,
    /// In their order; none where nothing is lacking.
    pub pieces: Vec<TailPiece>,
    pub transactions: u64,
    pub first: Option<LogGtid>,
    pub last: Option<LogGtid>,
    /// What follows can't be read: what is wrong with it, for people.
    pub damage: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("the file {}: {error}", file.display())]
    File { file: PathBuf, error: LogError },
    #[error("its oldest file begins behind what is lacking: the files before it are gone")]
    Purged,
    #[error("it has no files")]
    Empty,
    #[error("there is no such place in it as {file} {position}")]
    NoSuchPlace { file: String, position: u64 },
}

/// Looks for the transactions that `lacks` says are lacking.
///
/// `place` is between two transactions of this log, nothing before which is lacking. Without one, `has_all` judges the GTIDs
/// of all files before a file.
pub fn find_tail(
    files: &[PathBuf],
    place: Option<(&str, u64)>,
    mut has_all: impl FnMut(&str) -> bool,
    mut lacks: impl FnMut(&str, &LogTransaction) -> bool,
) -> Result<Tail, TailError> {
    let (first, position) = match place {
        Some((name, position)) => (place_in(files, name, position)?, Some(position)),
        None => (file_before_all(files, &mut has_all)?, None),
    };
    let mut tail: Option<Tail> = None;
    for (index, file) in files.iter().enumerate().skip(first) {
        let at = |error| TailError::File { file: file.clone(), error };
        let mut opened = File::open(file).map_err(|error| at(error.into()))?;
        let length = opened.metadata().map_err(|error| at(error.into()))?.len();
        if tail.is_some() && index + 1 == files.len() && length < SHORTEST {
            // The server died when it had just begun it.
            break;
        }
        let opening = opening_of(&mut opened).map_err(at)?;
        let mut reader =
            BinlogReader::open(rewound(&opened).map_err(|error| at(error.into()))?).map_err(at)?;
        let begins = reader.position();
        if let Some(position) = position.filter(|position| index == first && *position > begins) {
            let format = reader.format().clone();
            let mut handle = rewound(&opened).map_err(|error| at(error.into()))?;
            handle.seek(SeekFrom::Start(position)).map_err(|error| at(error.into()))?;
            reader = BinlogReader::resume(handle, format, position);
        }
        let tail = tail.get_or_insert_with(|| Tail {
            format: reader.format().clone(),
            pieces: Vec::new(),
            transactions: 0,
            first: None,
            last: None,
            damage: None,
        });
        tail.format = reader.format().clone();
        let name = name_of(file);
        let mut goes_on = false;
        let summary = each_transaction_of(reader, |transaction| {
            goes_on = take_in(tail, file, &opening, &transaction, goes_on, lacks(&name, &transaction));
            ControlFlow::Continue(())
        });
        match summary.map_err(at)?.end {
            EndOfLog::Damaged(what) => {
                tail.damage = Some(format!("{}: {what}", file.display()));
                break;
            }
            EndOfLog::Cut if index + 1 == files.len() => {
                tail.damage = Some(format!("{}: {CUT}", file.display()));
            }
            _ => {}
        }
    }
    tail.ok_or(TailError::Empty)
}

/// Adds a transaction that is lacking; whether the next one may be put to the same piece.
fn take_in(
    tail: &mut Tail,
    file: &Path,
    opening: &[u8],
    transaction: &LogTransaction,
    goes_on: bool,
    is_lacking: bool,
) -> bool {
    if !is_lacking {
        return false;
    }
    tail.transactions += 1;
    if tail.first.is_none() {
        tail.first.clone_from(&transaction.gtid);
    }
    tail.last.clone_from(&transaction.gtid);
    match tail.pieces.last_mut().filter(|_| goes_on) {
        Some(piece) => piece.to = transaction.to,
        None => tail.pieces.push(TailPiece {
            file: file.to_owned(),
            opening: opening.to_vec(),
            from: transaction.from,
            to: transaction.to,
        }),
    }
    true
}

pub(super) fn name_of(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn rewound(file: &File) -> io::Result<File> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

pub(super) fn place_in(files: &[PathBuf], name: &str, position: u64) -> Result<usize, TailError> {
    let nowhere = || TailError::NoSuchPlace { file: name.to_owned(), position };
    let index = files.iter().position(|file| name_of(file) == name);
    let index = match index {
        Some(index) => index,
        None if files.is_empty() => return Err(TailError::Empty),
        // Files are taken away from the front.
        None if files.first().is_some_and(|first| number_of(&name_of(first)) > number_of(name)) => {
            return Err(TailError::Purged);
        }
        None => return Err(nowhere()),
    };
    let length = files.get(index).and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
    if position > length { Err(nowhere()) } else { Ok(index) }
}

fn number_of(name: &str) -> Option<u64> {
    name.rsplit_once('.')?.1.parse().ok()
}

/// The last file before which nothing is lacking.
fn file_before_all(files: &[PathBuf], has_all: &mut impl FnMut(&str) -> bool) -> Result<usize, TailError> {
    for (index, file) in files.iter().enumerate().rev() {
        let at = |error| TailError::File { file: file.clone(), error };
        let opening = read_opening(File::open(file).map_err(|error| at(error.into()))?).map_err(at)?;
        if opening.previous.as_deref().is_some_and(&mut *has_all) {
            return Ok(index);
        }
    }
    Err(if files.is_empty() { TailError::Empty } else { TailError::Purged })
}

/// The whole first event as it stands there, and the file behind it.
pub(super) fn opening_of(file: &mut File) -> Result<Vec<u8>, LogError> {
    let mut head = [0; 4 + 19];
    file.read_exact(&mut head)?;
    let size = u32::from_le_bytes([head[13], head[14], head[15], head[16]]);
    if !(19..=OPENING_MAX).contains(&size) {
        // What else is wrong with it is told by who reads it as a log.
        return Ok(Vec::new());
    }
    let mut event = head[4..].to_vec();
    event.resize(size as usize, 0);
    file.read_exact(&mut event[19..])?;
    Ok(event)
}
