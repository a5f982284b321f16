//! The state file of this boot: what a restarted agent must know to go on where it was, and the parent to fence.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mmm_core::AgentMemory;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Kept<'a> {
    boot_id: &'a str,
    memory: &'a AgentMemory,
}

#[derive(Deserialize)]
struct Stored {
    boot_id: String,
    memory: AgentMemory,
}

/// What the file was found to hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Missing,
    Of(Box<AgentMemory>),
    OtherBoot,
    /// With the reason.
    Unusable(String),
}

pub(crate) fn read(path: &Path, boot_id: &str) -> Found {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Missing,
        Err(error) => return Found::Unusable(format!("it can't be read: {error}")),
    };
    match serde_json::from_str::<Stored>(&text) {
        Ok(stored) if stored.boot_id == boot_id => Found::Of(Box::new(stored.memory)),
        Ok(_) => Found::OtherBoot,
        Err(error) => Found::Unusable(format!("it makes no sense: {error}")),
    }
}

/// What the file holds, if it was written in this boot. Anything else is no memory at all.
pub(crate) fn load(path: &Path, boot_id: &str) -> Option<AgentMemory> {
    match read(path, boot_id) {
        Found::Of(memory) => {
            tracing::info!("Going on with the orders of before the restart ({})", path.display());
            return Some(*memory);
        }
        Found::Missing => {}
        Found::OtherBoot => {
            tracing::info!("The state file {} is of an earlier boot: starting without it", path.display());
        }
        Found::Unusable(why) => {
            tracing::warn!("Starting without the state file {}: {why}", path.display());
        }
    }
    None
}

/// Writes the file.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    path: PathBuf,
    boot_id: String,
    is_failing: bool,
}

impl MemoryFile {
    pub(crate) fn new(path: PathBuf, boot_id: String) -> Self {
        Self { path, boot_id, is_failing: false }
    }

    /// The parent and a restarted worker read it from now on. It only has to outlast this boot, so nothing waits for a
    /// disk: a worker that did might be killed by its parent as one that hangs.
    pub(crate) fn save(&mut self, memory: &AgentMemory) -> Result<(), String> {
        let result = serde_json::to_string(&Kept { boot_id: &self.boot_id, memory })
            .map_err(io::Error::from)
            .and_then(|text| mmm_daemon::write_run_state(&self.path, &text));
        let was_failing = std::mem::replace(&mut self.is_failing, result.is_err());
        match &result {
            Ok(()) if was_failing => {
                tracing::info!("The state file {} can be written again", self.path.display());
            }
            Err(error) if !was_failing => tracing::error!(
                "Can't write the state file {}: {error}. A restarted agent would not know its roles until the monitor tells it, and no lease can be renewed: see that its folder is there and has room. Trying again each second",
                self.path.display()
            ),
            Ok(()) | Err(_) => {}
        }
        result.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use mmm_core::lease::Epoch;

    use super::*;

    #[test]
    fn only_a_file_of_this_boot_is_believed() {
        let folder = std::env::temp_dir().join(format!("mmm-agent-memory-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("db1.state");
        assert_eq!(load(&path, "boot-1"), None);
        let epoch = Epoch { number: 7, origin: 1 };
        let memory = AgentMemory { caught_up_for: Some(epoch), ..AgentMemory::default() };
        let mut file = MemoryFile::new(path.clone(), "boot-1".to_owned());
        assert_eq!(file.save(&memory), Ok(()));
        assert_eq!(load(&path, "boot-1"), Some(memory.clone()));
        assert_eq!(load(&path, "boot-2"), None);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(load(&path, "boot-1"), None);
        fs::remove_dir_all(&folder).unwrap();
        assert!(file.save(&memory).is_err());
    }
}
