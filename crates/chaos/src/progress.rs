//! Which seeds have been run, and how they ended: a file with a line each, so that a run that was broken off goes on where it was.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[derive(Debug)]
pub(crate) struct Progress {
    path: PathBuf,
    /// `ok`, or what was wrong.
    pub(crate) ended: BTreeMap<u64, String>,
}

impl Progress {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            result => result.with_context(|| format!("read {}", path.display()))?,
        };
        // A line that was being written when the run was broken off is a seed that is run again.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let ended = whole
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(seed, word)| Some((seed.parse().ok()?, word.to_owned())))
            .collect();
        Ok(Self { path: path.to_owned(), ended })
    }

    pub(crate) fn note(&mut self, seed: u64, word: &str) -> Result<()> {
        let word: String = word.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
        let write = || {
            if let Some(dir) = self.path.parent() {
                fs::create_dir_all(dir)?;
            }
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.write_all(format!("{seed} {word}\n").as_bytes())
        };
        write().with_context(|| format!("write {}", self.path.display()))?;
        self.ended.insert(seed, word);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_broken_off_knows_which_seeds_have_ended() {
        let path = std::env::temp_dir().join(format!("mmm-chaos-progress-{}", std::process::id()));
        let mut progress = Progress::open(&path).unwrap();
        progress.note(1, "ok").unwrap();
        progress.note(2, "two\nlines").unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"3 o").unwrap();
        let progress = Progress::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let ended: Vec<(u64, &str)> =
            progress.ended.iter().map(|(seed, word)| (*seed, word.as_str())).collect();
        assert_eq!(ended, [(1, "ok"), (2, "two lines")]);
    }
}
