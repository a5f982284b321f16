//! Files that are state: written beside, synced, renamed, so that a reader sees the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

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
}
