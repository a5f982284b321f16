//! The epoch file: what this host must know of leases over reboots.
//!
//! It is written by a task of its own, one state after the other: a disk that hangs must hold up neither the mind nor the
//! sign of life to the parent. Whoever waits for a state to be there is told by an event.

use std::path::{Path, PathBuf};

use mmm_core::AgentEvent;
use mmm_core::lease::Durable;
use mmm_daemon::{Found, SlotFile, SlotWriter};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// The mind writes one state at a time.
const STATES_MAX: usize = 2;

#[derive(Serialize)]
struct Kept<'a> {
    #[serde(flatten)]
    durable: &'a Durable,
    boot_id: &'a str,
}

/// As it was written last.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Stored {
    #[serde(flatten)]
    pub(crate) durable: Durable,
    /// In which boot, where that is certain.
    #[serde(default)]
    boot_id: Option<String>,
}

impl Stored {
    /// Whether nothing was accepted since this boot began: that would be in the file.
    pub(crate) fn is_of_an_earlier_boot(&self, boot_id: &str) -> bool {
        self.boot_id.as_ref().is_some_and(|written| written != boot_id)
    }
}

/// What the file holds; `None` when nothing was ever written.
pub(crate) fn load(path: &Path, owner: &str) -> Option<Stored> {
    let what_follows = "This host takes no writer role before the longest lease it may have promised is over, unless the monitor knows better. Nothing has to be done, but find out why (disk, copied files)";
    let (known, why) = match SlotFile::read::<Stored>(path, owner) {
        Ok(Found::Missing) => return None,
        Ok(Found::Good(stored)) => return Some(stored),
        Ok(Found::Old(stored)) => {
            (stored.durable, "its newest state is torn, and the one before it is used".to_owned())
        }
        Ok(Found::Lost { reason }) => (Durable::default(), reason),
        Err(error) => (Durable::default(), format!("it can't be read: {error}")),
    };
    tracing::error!("The epoch file {} has lost something: {why}. {what_follows}", path.display());
    Some(Stored { durable: Durable { lost: true, ..known }, boot_id: None })
}

/// Where states are handed in, to be written.
#[derive(Debug)]
pub(crate) struct EpochFile {
    states: mpsc::Sender<(u64, Durable)>,
    events: mpsc::Sender<AgentEvent>,
}

impl EpochFile {
    /// Must be called inside a tokio runtime. The file gets its room on the disk now, as far as that can be had.
    pub(crate) fn start(
        path: PathBuf,
        owner: String,
        boot_id: String,
        events: mpsc::Sender<AgentEvent>,
    ) -> Self {
        let (states, inbox) = mpsc::channel(STATES_MAX);
        let writer = SlotWriter::new(path, owner);
        tokio::spawn(write_all(writer, boot_id, inbox, events.clone()));
        Self { states, events }
    }

    pub(crate) fn write(&self, number: u64, durable: Durable) {
        if self.states.try_send((number, durable)).is_err() {
            // The mind waits for each state before it hands in the next, so this is a task that has died.
            let outcome = Err("this part of the agent does not answer".to_owned());
            let events = self.events.clone();
            tokio::spawn(async move { events.send(AgentEvent::DurableSaved { number, outcome }).await });
        }
    }
}

async fn write_all(
    mut writer: SlotWriter,
    boot_id: String,
    mut states: mpsc::Receiver<(u64, Durable)>,
    events: mpsc::Sender<AgentEvent>,
) {
    let prepared = spawn_blocking(move || {
        writer.prepare();
        writer
    });
    let Ok(mut writer) = prepared.await else { return };
    while let Some((number, durable)) = states.recv().await {
        let boot_id = boot_id.clone();
        let work = spawn_blocking(move || {
            let outcome = writer.write(&Kept { durable: &durable, boot_id: &boot_id });
            (writer, outcome)
        });
        let Ok((again, outcome)) = work.await else { return };
        writer = again;
        if events.send(AgentEvent::DurableSaved { number, outcome }).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mmm_core::lease::Epoch;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mmm-agent-epoch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn durable(number: u64) -> Durable {
        Durable { accepted: Epoch { number, origin: 1 }, ..Durable::default() }
    }

    async fn saved(inbox: &mut mpsc::Receiver<AgentEvent>) -> (u64, Result<(), String>) {
        match inbox.recv().await {
            Some(AgentEvent::DurableSaved { number, outcome }) => (number, outcome),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_state_is_told_to_be_saved_when_a_restarted_agent_would_find_it() {
        let folder = folder("saved");
        let path = folder.join("db1.epoch");
        let (events, mut inbox) = mpsc::channel(8);
        let file = EpochFile::start(path.clone(), "agent db1".to_owned(), "this boot".to_owned(), events);
        for number in 1..4 {
            file.write(number, durable(number));
            assert_eq!(saved(&mut inbox).await, (number, Ok(())));
            let stored = load(&path, "agent db1").unwrap();
            assert_eq!(stored.durable, durable(number));
            assert!(!stored.is_of_an_earlier_boot("this boot") && stored.is_of_an_earlier_boot("the next"));
        }
        assert!(load(&path, "agent db2").unwrap().durable.lost, "the file of another host");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_there_but_says_nothing_counts_as_lost_and_none_as_never_written() {
        let folder = folder("lost");
        let path = folder.join("db1.epoch");
        assert_eq!(load(&path, "agent db1"), None);
        let file = SlotFile::open_or_create(&path, "agent db1").unwrap();
        drop(file);
        assert_eq!(load(&path, "agent db1"), None, "made, and nothing written yet");
        fs::write(&path, "rubbish").unwrap();
        let lost = load(&path, "agent db1").unwrap();
        assert!(lost.durable == Durable { lost: true, ..Durable::default() });
        assert!(!lost.is_of_an_earlier_boot("this boot"), "nobody knows");
        SlotFile::open_or_create(&path, "agent db1").unwrap().write(&durable(4)).unwrap();
        let earlier = load(&path, "agent db1").unwrap();
        assert_eq!(earlier.durable, durable(4));
        assert!(!earlier.is_of_an_earlier_boot("this boot"), "an earlier version did not write it down");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn what_can_not_be_written_is_told_with_the_path_and_written_when_it_can() {
        let folder = folder("refused");
        fs::write(&folder, "a file where the folder should be").unwrap();
        let path = folder.join("db1.epoch");
        let (events, mut inbox) = mpsc::channel(8);
        let file = EpochFile::start(path.clone(), "agent db1".to_owned(), "this boot".to_owned(), events);
        file.write(1, durable(1));
        let (_, outcome) = saved(&mut inbox).await;
        assert!(outcome.unwrap_err().contains("db1.epoch"));
        fs::remove_file(&folder).unwrap();
        file.write(2, durable(2));
        assert_eq!(saved(&mut inbox).await, (2, Ok(())));
        assert_eq!(load(&path, "agent db1").unwrap().durable, durable(2));
        fs::remove_dir_all(&folder).unwrap();
    }
}
