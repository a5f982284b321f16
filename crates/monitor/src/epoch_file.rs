//! The monitor's epoch file: what it must know of leases after a restart, beside the status file.
//!
//! It is written by a task of its own, one state after the other: a disk that hangs holds up no decision but those that
//! must not leave before they are written down.

use std::path::{Path, PathBuf};

use mmm_core::{Event, FoundState, MonitorState};
use mmm_daemon::{Found, SlotFile, SlotWriter};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// The mind writes one state at a time.
pub(crate) const STATES_MAX: usize = 2;

/// `mmm_mond.status` → `mmm_mond.epoch`: the status file's name with another ending, in the same folder.
pub(crate) fn path_beside(status_path: &Path) -> PathBuf {
    let path = status_path.with_extension("epoch");
    if path != status_path {
        return path;
    }
    let mut name = status_path.as_os_str().to_owned();
    name.push(".epoch");
    PathBuf::from(name)
}

/// What the file holds. One that is missing or broken is no reason not to start: the agents know most of it.
pub(crate) fn load(path: &Path, owner: &str) -> FoundState {
    let (known, why) = match SlotFile::read::<MonitorState>(path, owner) {
        Ok(Found::Good(state)) => return FoundState::Good(state),
        Ok(Found::Missing) => {
            tracing::info!("There is no epoch file {} yet", path.display());
            return FoundState::Lost(None, "it has no epoch file yet".to_owned());
        }
        Ok(Found::Old(state)) => (
            Some(state),
            "the newest state in its epoch file is torn, only the one before it is left".to_owned(),
        ),
        Ok(Found::Lost { reason }) => (None, format!("its epoch file can't be used: {reason}")),
        Err(error) => (None, format!("its epoch file can't be read: {error}")),
    };
    mmm_daemon::fatal!(
        "The monitor does not know for certain who was the writer last: {why} ({}). Nobody is promoted before every host that could be the writer has reported",
        path.display()
    );
    FoundState::Lost(known, why)
}

/// Writes what is handed in, and ends when all of it is written and nobody is left to hand in more.
pub(crate) async fn write_states(
    mut writer: SlotWriter,
    mut states: mpsc::Receiver<(u64, MonitorState)>,
    events: mpsc::Sender<Event>,
) {
    let prepared = spawn_blocking(move || {
        writer.prepare();
        writer
    });
    let Ok(mut writer) = prepared.await else { return };
    while let Some((number, state)) = states.recv().await {
        let work = spawn_blocking(move || {
            let outcome = writer.write(&state);
            (writer, outcome)
        });
        let Ok((again, outcome)) = work.await else { return };
        writer = again;
        // Nobody listens when the monitor is ending; what it handed in before is written all the same.
        let _ = events.send(Event::StateSaved { number, outcome }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mmm-monitor-epoch-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn state(generation: u64) -> MonitorState {
        MonitorState { lineage: 7, generation, ..MonitorState::default() }
    }

    #[test]
    fn the_file_has_the_name_of_the_status_file_and_is_never_the_same() {
        let beside = |path: &str| path_beside(Path::new(path)).display().to_string();
        assert_eq!(beside("/var/lib/mysql-mmm/mmm_mond.status"), "/var/lib/mysql-mmm/mmm_mond.epoch");
        assert_eq!(beside("/var/lib/mysql-mmm/status"), "/var/lib/mysql-mmm/status.epoch");
        assert_eq!(beside("/a/b.epoch"), "/a/b.epoch.epoch");
    }

    #[tokio::test]
    async fn all_states_that_were_handed_in_are_written_also_when_the_monitor_is_ending() {
        let folder = folder("written");
        let path = folder.join("mmm_mond.epoch");
        let (states, inbox) = mpsc::channel(STATES_MAX);
        let (events, mut told) = mpsc::channel(8);
        let writer = SlotWriter::new(path.clone(), "monitor".to_owned());
        let writing = tokio::spawn(write_states(writer, inbox, events));
        states.send((1, state(1))).await.unwrap();
        assert_eq!(told.recv().await, Some(Event::StateSaved { number: 1, outcome: Ok(()) }));
        assert_eq!(load(&path, "monitor"), FoundState::Good(state(1)));
        drop(told);
        for number in 2..5 {
            states.send((number, state(number))).await.unwrap();
        }
        drop(states);
        writing.await.unwrap();
        assert_eq!(load(&path, "monitor"), FoundState::Good(state(4)));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_is_missing_broken_or_of_another_monitor_says_nothing_for_certain() {
        let folder = folder("lost");
        let path = folder.join("mmm_mond.epoch");
        let lost = |owner| match load(&path, owner) {
            FoundState::Lost(None, why) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(lost("monitor"), "it has no epoch file yet");
        SlotFile::open_or_create(&path, "monitor").unwrap().write(&state(1)).unwrap();
        assert!(lost("monitor C1").contains("belongs to"), "{}", lost("monitor C1"));
        fs::write(&path, "rubbish").unwrap();
        assert!(lost("monitor").contains("can't be used"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
