//! Files that are state: written beside, synced, renamed, so that a reader sees the old one or the new one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;

/// No state file that is written whole comes near it.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Replaces the file with `text`. On an error the old file is untouched.
pub fn write_state(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text, true)
}

/// The same for a file in a run directory, which means nothing after the next boot: nothing waits for a disk. Other
/// programs read what was written at once, and a program that is killed leaves the old file or the new one; only a
/// crash of the whole host may lose both.
pub fn write_run_state(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text, false)
}

/// What a state file says; nothing where there is none. An error names the file, and is for people.
pub fn read_state<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("the file {} can't be read: {error}", path.display())),
        Ok(_) => {}
    }
    let read = serde_json::from_str(&text);
    read.map(Some).map_err(|error| format!("the file {} makes no sense: {error}", path.display()))
}

fn replace(path: &Path, text: &str, must_sync: bool) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = path.with_file_name(name);
    let result = write_beside(&beside, text, must_sync).and_then(|()| fs::rename(&beside, path));
    if result.is_err() {
        // A half-written file helps nobody, above all not on a full disk.
        let _ = fs::remove_file(&beside);
    }
    result
}

fn write_beside(beside: &Path, text: &str, must_sync: bool) -> io::Result<()> {
    let mut file = File::create(beside)?;
    file.write_all(text.as_bytes())?;
    if must_sync { file.sync_data() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_is_replaced_as_a_whole_and_a_failure_leaves_nothing_behind() {
        for write in [write_state, write_run_state] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.status");
            write(&path, "one").unwrap();
            write(&path, "two").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "two");
            assert!(write(&folder.path().join("no/x"), "three").is_err());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_state_file_that_is_not_there_is_told_from_one_that_makes_no_sense() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert_eq!(read_state::<Vec<u8>>(&path), Ok(None));
        write_state(&path, "[1,2]").unwrap();
        assert_eq!(read_state(&path), Ok(Some(vec![1u8, 2])));
        for broken in [&b"[1,"[..], b"", b"{}", b"\xff"] {
            fs::write(&path, broken).unwrap();
            let why = read_state::<Vec<u8>>(&path).unwrap_err();
            assert!(why.contains(&path.display().to_string()), "{why}");
        }
    }
}
