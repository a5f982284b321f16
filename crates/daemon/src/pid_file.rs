//! The pid file, which is also the lock that keeps a second instance from starting.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Held while the program runs. The kernel frees the lock with the process, so a crash leaves nothing to mend.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    locked: File,
    /// An earlier run ended without removing its file.
    pub was_stale: bool,
}

impl PidFile {
    /// Takes the lock, or says who has it.
    pub fn acquire(path: &Path, program: &str) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("create the folder {} for the pid file", folder.display()))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("open the pid file {}", path.display()))?;
        let mut before = String::new();
        // Whatever stands there is only for the message.
        let _ = file.read_to_string(&mut before);
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "{program} is already running with pid {} (it holds the pid file {}): end that one first, or start this one for another cluster with @CLUSTER",
                before.trim(),
                path.display()
            );
        }
        Ok(Self { path: path.to_owned(), locked: file, was_stale: !before.trim().is_empty() })
    }

    /// Writes our pid, which tells whoever waits that the program has started.
    pub fn publish(&mut self) -> Result<()> {
        self.locked.set_len(0).and_then(|()| self.locked.rewind()).context("empty the pid file")?;
        writeln!(self.locked, "{}", std::process::id()).context("write the pid file")
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Left behind, the file would only cause a warning at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_refused_and_told_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/mmm_mond.pid");
        let mut first = PidFile::acquire(&path, "mmm_mond").unwrap();
        assert!(!first.was_stale);
        first.publish().unwrap();
        let text = PidFile::acquire(&path, "mmm_mond").unwrap_err().to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_a_crash_left_behind_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mmm_mond.pid");
        fs::write(&path, "99999\n").unwrap();
        let mut taken = PidFile::acquire(&path, "mmm_mond").unwrap();
        taken.publish().unwrap();
        assert!(taken.was_stale);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }
}
