//! The data of a server and the copy that takes their place, entry by entry: the folder itself may be a file system of its own.

use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

/// All on the file system of the data, so that nothing is copied twice.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    pub(super) data: PathBuf,
    /// Where the copy is made.
    pub(super) new: PathBuf,
    /// The same, once the old data are out of the way.
    entering: PathBuf,
    pub(super) old: PathBuf,
}

impl Folders {
    pub(super) fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            new: data.join(".mmm-new"),
            entering: data.join(".mmm-entering"),
            old: data.join(".mmm-old"),
        }
    }

    /// An empty place for the copy.
    pub(super) async fn begin(&self) -> Result<(), String> {
        let new = self.new.clone();
        let made = spawn_blocking(move || {
            remove(&new)?;
            std::fs::create_dir(&new)
        });
        let made = made.await.map_err(|error| error.to_string())?;
        made.map_err(|error| format!("{} can't be made: {error}", self.new.display()))
    }

    pub(super) async fn forget_new(&self) {
        let new = self.new.clone();
        if let Ok(Err(error)) = spawn_blocking(move || remove(&new)).await {
            tracing::error!("{} can't be removed: {error}", self.new.display());
        }
    }

    pub(super) async fn forget_old(&self) -> io::Result<()> {
        let old = self.old.clone();
        spawn_blocking(move || remove(&old)).await.map_err(io::Error::other)?
    }

    /// Nothing of a copy is waiting any more.
    pub(super) fn is_exchanged(&self) -> bool {
        let there = |path: &Path| path.symlink_metadata().is_ok();
        !there(&self.new) && !there(&self.entering)
    }

    pub(super) async fn exchange(&self) -> io::Result<()> {
        let folders = self.clone();
        spawn_blocking(move || folders.exchange_now()).await.map_err(io::Error::other)?
    }

    /// Broken off anywhere and begun again it comes to the same end: the name of the copy says which half is done.
    fn exchange_now(&self) -> io::Result<()> {
        if !self.entering.exists() {
            if !self.old.exists() {
                std::fs::create_dir(&self.old)?;
            }
            for entry in std::fs::read_dir(&self.data)? {
                let path = entry?.path();
                if path != self.new && path != self.old {
                    std::fs::rename(&path, self.old.join(path.file_name().unwrap_or_default()))?;
                }
            }
            std::fs::rename(&self.new, &self.entering)?;
        }
        for entry in std::fs::read_dir(&self.entering)? {
            let path = entry?.path();
            std::fs::rename(&path, self.data.join(path.file_name().unwrap_or_default()))?;
        }
        std::fs::remove_dir(&self.entering)?;
        std::fs::File::open(&self.data)?.sync_all()
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// All that is in a folder, and the folder itself, belongs to whom the data belong to.
pub(super) fn give_to_owner_of(data: &Path, folder: &Path) -> io::Result<()> {
    let owner = std::fs::metadata(data)?;
    let give = |path: &Path| lchown(path, Some(owner.uid()), Some(owner.gid()));
    give(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_to_owner_of(data, &entry.path())?;
        } else {
            give(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    /// Data with a copy beside them.
    fn folders() -> (tempfile::TempDir, Folders) {
        let place = tempfile::tempdir().unwrap();
        let folders = Folders::new(place.path());
        write(&folders.data.join("ibdata1"), "old");
        write(&folders.data.join("lab/t.ibd"), "old");
        write(&folders.data.join("only_here/t.ibd"), "old");
        write(&folders.new.join("ibdata1"), "new");
        write(&folders.new.join("lab/t.ibd"), "new");
        (place, folders)
    }

    fn expect_exchanged(folders: &Folders) {
        assert_eq!(read(&folders.data.join("ibdata1")), "new");
        assert_eq!(read(&folders.data.join("lab/t.ibd")), "new");
        assert!(!folders.data.join("only_here").exists());
        assert_eq!(read(&folders.old.join("only_here/t.ibd")), "old");
        assert_eq!(read(&folders.old.join("ibdata1")), "old");
        assert!(!folders.new.exists() && !folders.entering.exists());
    }

    #[tokio::test]
    async fn a_copy_takes_the_place_of_the_data_which_are_kept_beside_it() {
        let (_place, folders) = folders();
        assert!(!folders.is_exchanged());
        folders.exchange().await.unwrap();
        expect_exchanged(&folders);
        assert!(folders.is_exchanged());
        folders.forget_old().await.unwrap();
        assert!(!folders.old.exists());
    }

    #[tokio::test]
    async fn an_exchange_that_was_broken_off_anywhere_comes_to_the_same_end() {
        // Half of the old data are out of the way.
        let (_place, folders_) = folders();
        write(&folders_.old.join("ibdata1"), "old");
        std::fs::remove_file(folders_.data.join("ibdata1")).unwrap();
        folders_.exchange().await.unwrap();
        expect_exchanged(&folders_);

        // All of them are, and half of the copy is in place.
        let (_place, folders) = folders();
        for name in ["ibdata1", "lab", "only_here"] {
            std::fs::create_dir_all(&folders.old).unwrap();
            std::fs::rename(folders.data.join(name), folders.old.join(name)).unwrap();
        }
        std::fs::rename(&folders.new, &folders.entering).unwrap();
        std::fs::rename(folders.entering.join("ibdata1"), folders.data.join("ibdata1")).unwrap();
        assert!(!folders.is_exchanged());
        folders.exchange().await.unwrap();
        expect_exchanged(&folders);
    }
}
