//! State that must survive a crash in the middle of a write, and must find its room on a full disk: a small file of
//! two slots that are written in turn, in place, each write synced before it returns.
//!
//! The file has its full size from its first day on, so that later writes need no space (on a file system that
//! overwrites in place; one that copies on write may still refuse). A write never touches the newest whole slot: torn
//! by a crash, it leaves the state before it, and whoever reads that is told that it may be old.
//!
//! Every call blocks on the disk. Nothing here keeps two programs from writing to one file; the pid file does.

mod slot;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use self::slot::{SLOT_BYTES, Slot};

const FILE_BYTES: usize = 2 * SLOT_BYTES;

/// What a slot file was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// There is no file, or one in which nothing was ever written.
    Missing,
    Good(T),
    /// The newest slot is torn: this is the state before it.
    Old(T),
    /// There is a file, but nothing in it that could be used.
    Lost {
        reason: String,
    },
}

/// A slot file that is open for writing.
#[derive(Debug)]
pub struct SlotFile {
    path: PathBuf,
    owner: String,
    file: File,
    /// Of the newest whole slot; 0 when there is none.
    sequence: u64,
    /// To be made anew by the next write, and not before: what is mended without new state would pass for good.
    broken: bool,
}

/// What is in a payload. The owner keeps a file that was copied from another host or cluster from being believed.
#[derive(Serialize, Deserialize)]
struct Owned<O, T> {
    owner: O,
    value: T,
}

/// What the bytes of a file come to.
enum Standing {
    Blank,
    Newest { sequence: u64, payload: Vec<u8>, other_is_torn: bool },
    Broken { reason: String, sequence: u64 },
}

impl SlotFile {
    /// What the file holds for this owner. Changes nothing.
    pub fn read<T: DeserializeOwned>(path: &Path, owner: &str) -> io::Result<Found<T>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            other => other?,
        };
        Ok(match examine(&load(&file)?) {
            Standing::Blank => Found::Missing,
            Standing::Broken { reason, .. } => Found::Lost { reason },
            Standing::Newest { payload, other_is_torn, .. } => match unwrap(&payload, owner) {
                Err(reason) => Found::Lost { reason },
                Ok(value) if other_is_torn => Found::Old(value),
                Ok(value) => Found::Good(value),
            },
        })
    }

    /// Opens the file for writing; one that is not there is made, with its folder and at its full size, and holds
    /// nothing yet. Whatever [`read`](Self::read) says of the file stays true until the first write.
    pub fn open_or_create(path: &Path, owner: &str) -> io::Result<Self> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(folder_of(path))?;
                replace(path, &[0; FILE_BYTES])?
            }
            other => other?,
        };
        // An earlier run may have ended between making the file and this.
        File::open(folder_of(path))?.sync_all()?;
        let (sequence, broken) = match examine(&load(&file)?) {
            Standing::Blank => (0, false),
            Standing::Newest { sequence, .. } => (sequence, false),
            Standing::Broken { sequence, .. } => (sequence, true),
        };
        Ok(Self { path: path.to_owned(), owner: owner.to_owned(), file, sequence, broken })
    }

    /// Writes `value` as the newest state; it is on the disk when this returns. After an error either this or the
    /// state before it will be found, and writing can be tried again.
    pub fn write<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let payload = serde_json::to_vec(&Owned { owner: &self.owner, value })?;
        // What is written to a deleted file is gone with the program.
        if self.broken || self.file.metadata()?.nlink() == 0 {
            return self.write_anew(&payload);
        }
        let sequence = self.sequence + 1;
        self.file.write_all_at(&slot::encode(sequence, &payload)?, slot::offset(sequence))?;
        self.file.sync_data()?;
        self.sequence = sequence;
        Ok(())
    }

    /// Makes the file anew with the state in both slots, as one slot beside an unreadable one would pass for old.
    fn write_anew(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(FILE_BYTES);
        let newest = self.sequence + 2;
        let mut slots = [newest - 1, newest];
        slots.sort_by_key(|sequence| slot::offset(*sequence));
        for sequence in slots {
            bytes.extend_from_slice(&slot::encode(sequence, payload)?);
        }
        self.file = replace(&self.path, &bytes)?;
        File::open(folder_of(&self.path))?.sync_all()?;
        self.sequence = newest;
        self.broken = false;
        Ok(())
    }
}

/// The whole file, and no more than one byte of what does not belong to it.
fn load(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
    file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn examine(bytes: &[u8]) -> Standing {
    let slots =
        bytes.chunks_exact(SLOT_BYTES).take(2).enumerate().map(|(place, bytes)| slot::decode(place, bytes));
    let slots: Vec<Slot> = slots.collect();
    let newest = slots.iter().enumerate().filter_map(|(place, slot)| match slot {
        Slot::Whole { sequence, payload } => Some((*sequence, place, payload)),
        Slot::Blank | Slot::Torn { .. } => None,
    });
    let newest = newest.max_by_key(|(sequence, ..)| *sequence);
    let sequence = newest.map_or(0, |(sequence, ..)| sequence);
    if bytes.len() != FILE_BYTES {
        let length = if bytes.len() < FILE_BYTES { bytes.len().to_string() } else { "more".to_owned() };
        let reason = format!("the file has {length} bytes where {FILE_BYTES} are expected");
        return Standing::Broken { reason, sequence };
    }
    match newest {
        Some((sequence, place, payload)) => {
            let other_is_torn = match slots[1 - place] {
                Slot::Whole { .. } => false,
                // From the second write on both slots are in use.
                Slot::Blank => sequence > 1,
                Slot::Torn { .. } => true,
            };
            Standing::Newest { sequence, payload: payload.clone(), other_is_torn }
        }
        None if slots.iter().all(|slot| *slot == Slot::Blank) => Standing::Blank,
        None => {
            let why: Vec<String> = slots.iter().map(ToString::to_string).collect();
            Standing::Broken { reason: format!("neither slot can be read ({})", why.join("; ")), sequence }
        }
    }
}

fn unwrap<T: DeserializeOwned>(payload: &[u8], owner: &str) -> Result<T, String> {
    let not_understood = |error: serde_json::Error| {
        format!("what it holds is not understood ({error}); another version wrote it")
    };
    // The owner first: what somebody else has in his state need not make sense here.
    let seen: Owned<String, IgnoredAny> = serde_json::from_slice(payload).map_err(not_understood)?;
    if seen.owner != owner {
        return Err(format!("the file belongs to {:?}, and {owner:?} is expected", seen.owner));
    }
    let held: Owned<IgnoredAny, T> = serde_json::from_slice(payload).map_err(not_understood)?;
    Ok(held.value)
}

/// Puts a file of these bytes in the place of whatever is there, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    // Left behind by a run that ended in the middle of this.
    let _ = fs::remove_file(&beside);
    let result = write_beside(&beside, bytes).and_then(|file| fs::rename(&beside, path).map(|()| file));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

fn write_beside(beside: &Path, bytes: &[u8]) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(beside)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes.len() as u64) {
        // The bytes that follow take the same space.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Makes a folder and those above it, each of them on the disk when this returns.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    File::open(above)?.sync_all()
}

#[cfg(test)]
mod tests;
