//! A slot file for who writes it again and again: opened when that can be done, and anew after it failed.

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::SlotFile;

/// Every call blocks on the disk.
#[derive(Debug)]
pub struct SlotWriter {
    path: PathBuf,
    owner: String,
    file: Option<SlotFile>,
}

impl SlotWriter {
    pub fn new(path: PathBuf, owner: String) -> Self {
        Self { path, owner, file: None }
    }

    /// Gives the file its room on the disk, as far as that can be had now. What can't be done is tried again by the
    /// first write, which also says what is wrong.
    pub fn prepare(&mut self) {
        self.file = SlotFile::open_or_create(&self.path, &self.owner).ok();
    }

    /// Writes the newest state; it is on the disk when this returns. The error is for people.
    pub fn write<T: Serialize>(&mut self, value: &T) -> Result<(), String> {
        self.try_write(value).map_err(|error| {
            format!(
                "{}: {error}; see that its disk has room and that its folder can be written",
                self.path.display()
            )
        })
    }

    fn try_write<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => SlotFile::open_or_create(&self.path, &self.owner)?,
        };
        // One that failed is not kept.
        file.write(value)?;
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Found;

    #[test]
    fn what_could_not_be_written_is_told_with_its_path_and_written_when_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("lib");
        fs::write(&inner, "a file where the folder should be").unwrap();
        let path = inner.join("x.epoch");
        let mut writer = SlotWriter::new(path.clone(), "x".to_owned());
        writer.prepare();
        assert!(writer.write(&1).unwrap_err().contains("x.epoch"));
        fs::remove_file(&inner).unwrap();
        assert_eq!(writer.write(&2), Ok(()));
        assert_eq!(SlotFile::read(&path, "x").unwrap(), Found::Good(2));
        assert_eq!(writer.write(&3), Ok(()));
        assert_eq!(SlotFile::read(&path, "x").unwrap(), Found::Good(3));
    }
}
