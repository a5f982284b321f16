//! The state file of this boot: what a restarted agent must know to go on where it was.

use std::fs;
use std::io;
use std::path::Path;

use mmm_core::AgentMemory;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Stored {
    boot_id: String,
    memory: AgentMemory,
}

/// What the file holds, if it was written in this boot. Anything else is no memory at all.
pub(crate) fn load(path: &Path, boot_id: &str) -> AgentMemory {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return AgentMemory::default(),
        Err(error) => {
            tracing::warn!("Can't read the state file {}: {error}. Starting without it", path.display());
            return AgentMemory::default();
        }
    };
    match serde_json::from_str::<Stored>(&text) {
        Ok(stored) if stored.boot_id == boot_id => {
            tracing::info!("Going on with the orders of before the restart ({})", path.display());
            stored.memory
        }
        Ok(_) => {
            tracing::info!("The state file {} is of an earlier boot: starting without it", path.display());
            AgentMemory::default()
        }
        Err(error) => {
            tracing::warn!("The state file {} makes no sense ({error}): starting without it", path.display());
            AgentMemory::default()
        }
    }
}

pub(crate) fn save(path: &Path, boot_id: &str, memory: &AgentMemory) {
    let stored = Stored { boot_id: boot_id.to_owned(), memory: memory.clone() };
    let result = serde_json::to_string(&stored)
        .map_err(io::Error::from)
        .and_then(|text| mmm_daemon::write_state(path, &text));
    if let Err(error) = result {
        tracing::error!(
            "Can't write the state file {}: {error}. A restarted agent would not know its roles until the monitor tells it",
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_this_boot_is_believed() {
        let folder = std::env::temp_dir().join(format!("mmm-agent-memory-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("db1.state");
        let memory = AgentMemory { caught_up_for: Some(7), ..AgentMemory::default() };
        save(&path, "boot-1", &memory);
        assert_eq!(load(&path, "boot-1"), memory);
        assert_eq!(load(&path, "boot-2"), AgentMemory::default());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(load(&path, "boot-1"), AgentMemory::default());
        fs::remove_dir_all(&folder).unwrap();
    }
}
