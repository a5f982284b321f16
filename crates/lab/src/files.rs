//! Files on hosts: configuration, and, seen through the hosts' own mounts, state files that a test reads, damages or takes away.

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use crate::error::{LabError, Result, at};
use crate::lab::Lab;
use crate::settings::ConfigFile;

impl Lab {
    /// The way to a host's file from here: through the root of the process that keeps its mounts.
    fn on_host(&self, host: &str, path: &str) -> Result<PathBuf> {
        let holder = self.holder(self.host(host)?)?;
        let path = Path::new(path);
        let is_plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
        if !is_plain {
            return Err(LabError::Other(format!(
                "`{}` names no file on {host}: it must begin with / and have no .. in it",
                path.display()
            )));
        }
        let below = path.strip_prefix("/").unwrap_or(path);
        Ok(Path::new("/proc").join(holder.pid.to_string()).join("root").join(below))
    }

    /// Content of a file on the host.
    pub fn read_file(&self, host: &str, path: &str) -> Result<Vec<u8>> {
        let file = self.on_host(host, path)?;
        at(fs::read(&file), "cannot read", &file)
    }

    /// Writes a file in place, made where there is none; what is in its place now is lost.
    pub fn write_file(&self, host: &str, path: &str, content: &[u8]) -> Result<()> {
        let file = self.on_host(host, path)?;
        at(fs::write(&file, content), "cannot write", &file)
    }

    /// Removes a file; whether there was one.
    pub fn remove_file(&self, host: &str, path: &str) -> Result<bool> {
        let file = self.on_host(host, path)?;
        match fs::remove_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => at(result, "cannot remove", &file).map(|()| true),
        }
    }

    /// Cuts a file off behind so many bytes, as a crash in the middle of a write does.
    pub fn truncate_file(&self, host: &str, path: &str, length: u64) -> Result<()> {
        let file = self.on_host(host, path)?;
        let open = at(OpenOptions::new().write(true).open(&file), "cannot open", &file)?;
        at(open.set_len(length), "cannot cut off", &file)
    }

    /// Full paths of the files in a directory on the host, sorted; none where there is no such directory.
    pub fn list_files(&self, host: &str, directory: &str) -> Result<Vec<String>> {
        let dir = self.on_host(host, directory)?;
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => at(result, "cannot list", &dir)?,
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().is_file())
            .map(|entry| format!("{}/{}", directory.trim_end_matches('/'), entry.file_name().display()))
            .collect();
        names.sort();
        Ok(names)
    }

    fn config_path(&self, host: &str, file: ConfigFile) -> Result<PathBuf> {
        let host = self.host(host)?;
        Ok(host.dir.join("etc-mysql-mmm").join(file.name()))
    }

    pub fn read_config(&self, host: &str, file: ConfigFile) -> Result<String> {
        let path = self.config_path(host, file)?;
        at(fs::read_to_string(&path), "cannot read", &path)
    }

    /// A configuration file that need not be there.
    pub(crate) fn find_config(&self, host: &str, file: ConfigFile) -> Result<Option<String>> {
        if self.config_path(host, file)?.is_file() {
            self.read_config(host, file).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Replaces a configuration file of a host, as a whole; programs that run do not notice.
    pub fn write_config(&self, host: &str, file: ConfigFile, text: &str) -> Result<()> {
        let path = self.config_path(host, file)?;
        let beside = path.with_extension("new");
        at(fs::write(&beside, text), "cannot write", &beside)?;
        at(fs::set_permissions(&beside, fs::Permissions::from_mode(0o640)), "cannot protect", &beside)?;
        at(fs::rename(&beside, &path), "cannot replace", &path)
    }
}
