//! Copies single transactions out of a server's binary log into files that are binary logs themselves.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mmm_core::diverged::{LISTED_MAX, Named, Saved, Transaction};
use mmm_core::{GtidSet, Origin};
use mmm_mysql::binlog::{LogTransaction, MAGIC, Tail, TailPiece, contents, find_tail, log_files};

/// Rows of customers are in them.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// What was copied, and the files that hold it.
pub(super) struct Copied {
    pub(super) saved: Saved,
    pub(super) logs: Vec<PathBuf>,
}

/// A transaction that is to be copied, and where it is.
struct Found {
    file: String,
    transaction: LogTransaction,
}

pub(super) fn copy(
    index: &Path,
    data: &Path,
    wanted: &Named,
    server_id: u64,
    target: (&Path, &str),
) -> Result<Copied> {
    let files = log_files(index, data).with_context(|| format!("read {}", index.display()))?;
    let mut found = Vec::new();
    let tail = find(&files, wanted, server_id, &mut found)?;
    if found.is_empty() {
        bail!("the binary log does not have them");
    }
    let logs = write_all(&tail, found.first().map_or(0, |found| found.transaction.timestamp), target)?;
    let listed = found.iter().take(LISTED_MAX).map(|found| describe(&files, found)).collect();
    let saved = Saved {
        of: String::new(),
        count: found.len() as u64,
        listed,
        files: logs.iter().map(|log| log.display().to_string()).collect(),
        whole: tail.damage.is_none() && is_complete(wanted, found.len()),
        problem: tail.damage.map(|damage| format!("What follows could not be read: {damage}")),
    };
    Ok(Copied { saved, logs })
}

/// Of `MySQL`'s GTIDs it is known how many there are.
fn is_complete(wanted: &Named, found: usize) -> bool {
    let Named::Gtids(text) = wanted else { return true };
    let Some(set) = GtidSet::parse_shown(text) else { return false };
    let by_uuid = set.ranges().all(|(origin, ..)| matches!(origin, Origin::Uuid { .. }));
    !by_uuid || set.count() == found as u64
}

fn find(files: &[PathBuf], wanted: &Named, server_id: u64, found: &mut Vec<Found>) -> Result<Tail> {
    let mut take = |file: &str, transaction: &LogTransaction| {
        found.push(Found { file: file.to_owned(), transaction: transaction.clone() });
        true
    };
    let tail = match wanted {
        Named::Gtids(text) => {
            let set = GtidSet::parse_shown(text).with_context(|| format!("understand '{text}'"))?;
            // Nothing of it may be in the files before.
            let has_none = |previous: &str| {
                GtidSet::parse(previous).is_some_and(|previous| set.intersection(&previous).is_empty())
            };
            find_tail(files, None, has_none, |file, transaction| {
                let gtid = transaction.gtid.as_ref().map(ToString::to_string);
                let gtid = gtid.and_then(|gtid| GtidSet::parse_shown(&gtid));
                gtid.is_some_and(|gtid| set.contains_all(&gtid)) && take(file, transaction)
            })
        }
        Named::Between((first, from), (last, to)) => {
            let number = |file: &str| file.rsplit_once('.').and_then(|(_, n)| n.parse::<u64>().ok());
            let end = (number(last), *to);
            find_tail(
                files,
                Some((first.as_str(), *from)),
                |_| false,
                |file, transaction| {
                    let before = (number(file), transaction.to) <= end;
                    before && u64::from(transaction.server_id) == server_id && take(file, transaction)
                },
            )
        }
    };
    tail.context("look for them in the binary log")
}

fn describe(files: &[PathBuf], found: &Found) -> Transaction {
    let Found { file, transaction: LogTransaction { gtid, from, to, .. } } = found;
    let path = files.iter().find(|path| path.file_name().is_some_and(|name| name == file.as_str()));
    Transaction {
        name: gtid.as_ref().map_or_else(|| format!("{file}:{from}"), ToString::to_string),
        // Only a help for people: without it the names are still there.
        what: path.and_then(|path| contents(path, *from, *to).ok()).unwrap_or_default(),
        bytes: to - from,
    }
}

/// A file for each file of the log that holds some of them.
fn write_all(tail: &Tail, begun: u32, (folder, name): (&Path, &str)) -> Result<Vec<PathBuf>> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .with_context(|| format!("make the folder {}", folder.display()))?;
    let mut logs: Vec<PathBuf> = Vec::new();
    let mut pieces = tail.pieces.as_slice();
    while let Some(first) = pieces.first() {
        let count = pieces.iter().take_while(|piece| piece.file == first.file).count();
        let (here, rest) = pieces.split_at(count);
        pieces = rest;
        let source = first.file.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{name}-{begun}-{source}"));
        logs.push(write(&path, here).with_context(|| format!("write {}", path.display()))?);
    }
    Ok(logs)
}

/// What is there already is never overwritten, unless it is the same.
fn write(path: &Path, pieces: &[TailPiece]) -> io::Result<PathBuf> {
    let beside = path.with_added_extension("tmp");
    let written = write_beside(&beside, pieces).and_then(|()| {
        for number in 1_u32..100 {
            let place =
                if number == 1 { path.to_owned() } else { path.with_added_extension(number.to_string()) };
            if !place.exists() {
                fs::rename(&beside, &place)?;
                return Ok(place);
            }
            if fs::read(&place)? == fs::read(&beside)? {
                fs::remove_file(&beside)?;
                return Ok(place);
            }
        }
        Err(io::Error::other("there are too many of this name"))
    });
    if written.is_err() {
        // A half-written file helps nobody, above all not on a full disk.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_beside(beside: &Path, pieces: &[TailPiece]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(beside)?;
    file.write_all(&MAGIC)?;
    if let Some(first) = pieces.first() {
        file.write_all(&first.opening)?;
    }
    for piece in pieces {
        let mut source = File::open(&piece.file)?;
        source.seek(SeekFrom::Start(piece.from))?;
        let length = piece.to - piece.from;
        if io::copy(&mut source.take(length), &mut file)? != length {
            return Err(io::Error::other("the log ended while it was copied"));
        }
    }
    file.sync_all()
}
