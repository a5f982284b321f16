//! The history file beside the status file: a line of JSON for each state of a record, the newest of a number counts.
//!
//! Lines are only added, and synced. What a crash left of the last one is passed over. A disk that takes no more is told
//! of and stops nothing: what could not be written is tried again, as long as it is kept at hand.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mmm_core::ledger::Record;
use tokio::time::timeout;

use super::Unwritten;

/// A file of this size makes room for a new one; the one before it is kept.
const ROTATE_BYTES: u64 = 4 * 1024 * 1024;
/// Of a file that anybody may have made.
const READ_BYTES_MAX: u64 = 4 * ROTATE_BYTES;
/// A failed write is tried again after this long.
const AGAIN: Duration = Duration::from_secs(5);

/// `mmm_mond.status` → `mmm_mond.history`, in the same folder.
pub(crate) fn path_beside(status_path: &Path) -> PathBuf {
    let path = status_path.with_extension("history");
    if path != status_path {
        return path;
    }
    let mut name = status_path.as_os_str().to_owned();
    name.push(".history");
    PathBuf::from(name)
}

fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// All records of the file and the one before it, each as it was written last.
pub(super) fn load(path: &Path) -> Vec<Record> {
    let mut records = BTreeMap::new();
    for path in [before(path), path.to_path_buf()] {
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                tracing::error!("The history {} can't be read: {error}", path.display());
                continue;
            }
        };
        let mut odd = 0;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => {
                    records.insert(record.number, record);
                }
                Err(_) => odd += 1,
            }
        }
        if odd > 0 {
            tracing::warn!(
                "The history {} has {odd} lines that make no sense (one is left when a write is cut short): passed over",
                path.display()
            );
        }
    }
    records.into_values().collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes each record that has changed; ends, with the last ones written, when nobody is left to hand in more.
pub(crate) async fn write_changes(path: PathBuf, unwritten: Unwritten) {
    write_patiently(path, unwritten, AGAIN).await;
}

async fn write_patiently(path: PathBuf, unwritten: Unwritten, again: Duration) {
    let Unwritten { mut written, mut records } = unwritten;
    let mut is_failing = false;
    while records.changed().await.is_ok() {
        loop {
            let wanted = records.borrow_and_update().clone();
            let news: Vec<Arc<Record>> = wanted
                .iter()
                .filter(|(number, record)| {
                    written.get(number).is_none_or(|known| !Arc::ptr_eq(known, record))
                })
                .map(|(_, record)| Arc::clone(record))
                .collect();
            let file = path.clone();
            let outcome = tokio::task::spawn_blocking(move || append(&file, &news, ROTATE_BYTES)).await;
            let problem = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let Some(problem) = problem else {
                written = wanted;
                if std::mem::take(&mut is_failing) {
                    tracing::info!("The history {} can be written again", path.display());
                }
                break;
            };
            if !std::mem::replace(&mut is_failing, true) {
                mmm_daemon::fatal!(
                    "Can't write the history {}: {problem}. Failovers and moves go on, and 'mmm_control history' tells of them for as long as this monitor runs; make room there, it is tried again every {} s",
                    path.display(),
                    again.as_secs()
                );
            }
            // News are worth an attempt at once, and so is the end of the program.
            if let Ok(Err(_)) = timeout(again, records.changed()).await {
                return;
            }
        }
    }
}

fn append(path: &Path, records: &[Arc<Record>], rotate_bytes: u64) -> io::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = open(path)?;
    if file.metadata()?.len() >= rotate_bytes {
        fs::rename(path, before(path))?;
        file = open(path)?;
    }
    let end = file.seek(SeekFrom::End(0))?;
    let mut bytes = Vec::new();
    if end > 0 && !ends_with_line(&mut file)? {
        // A write was cut short here: what is left of it must not take the next line with it.
        bytes.push(b'\n');
    }
    for record in records {
        serde_json::to_writer(&mut bytes, &**record)?;
        bytes.push(b'\n');
    }
    let outcome = file.write_all(&bytes).and_then(|()| file.sync_data());
    if outcome.is_err() {
        // Half a line helps nobody; if it can't be taken back it is passed over when it is read.
        let _ = file.set_len(end);
    }
    outcome
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).open(path)
}

fn ends_with_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::history::Records;

    fn record(number: u64, from: &str) -> Arc<Record> {
        let line = format!(
            r#"{{"number":{number},"kind":"failover","role":"writer(192.168.8.30)","from":"{from}"}}"#
        );
        Arc::new(serde_json::from_str(&line).unwrap())
    }

    fn loaded(path: &Path) -> Vec<(u64, String)> {
        load(path).into_iter().map(|record| (record.number, record.from.unwrap().to_string())).collect()
    }

    fn known(number: u64, from: &str) -> (u64, String) {
        (number, from.to_owned())
    }

    #[test]
    fn the_file_has_the_name_of_the_status_file_and_is_never_the_same() {
        let beside = |path: &str| path_beside(Path::new(path)).display().to_string();
        assert_eq!(beside("/var/lib/mysql-mmm/mmm_mond.status"), "/var/lib/mysql-mmm/mmm_mond.history");
        assert_eq!(beside("/a/b.history"), "/a/b.history.history");
    }

    #[test]
    fn the_last_line_of_a_number_counts_and_a_torn_one_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/mmm_mond.history");
        append(&path, &[record(1, "db1"), record(2, "db1")], 1 << 20).unwrap();
        append(&path, &[record(2, "db2")], 1 << 20).unwrap();
        let mut file = open(&path).unwrap();
        file.write_all(br#"{"number":3,"kind":"fail"#).unwrap();
        assert_eq!(loaded(&path), [known(1, "db1"), known(2, "db2")]);
        append(&path, &[record(4, "db3")], 1 << 20).unwrap();
        assert_eq!(loaded(&path), [known(1, "db1"), known(2, "db2"), known(4, "db3")]);
    }

    #[test]
    fn a_file_that_is_long_enough_makes_room_and_nothing_older_than_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mmm_mond.history");
        let line = serde_json::to_string(&*record(1, "db1")).unwrap().len() as u64;
        for number in 1..=12 {
            append(&path, &[record(number, "db1")], 3 * line).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= 4 * line);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let numbers: Vec<u64> = load(&path).iter().map(|record| record.number).collect();
        assert!(numbers.ends_with(&[10, 11, 12]) && numbers.len() < 8, "{numbers:?}");
    }

    #[test]
    fn a_history_that_makes_no_sense_or_is_no_file_keeps_nobody_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(&folder.path().join("none")).is_empty());
        assert!(load(folder.path()).is_empty());
        let path = folder.path().join("x.history");
        fs::write(&path, b"\x00\xff\n{}\n[1]\n").unwrap();
        assert!(load(&path).is_empty());
        append(&path, &[record(1, "db1")], 1 << 20).unwrap();
        assert_eq!(loaded(&path), [known(1, "db1")]);
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_later_and_all_of_it_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        // Something is where the folder should be.
        fs::write(&place, "").unwrap();
        let path = place.join("mmm_mond.history");
        let (sender, receiver) = watch::channel(Records::new());
        let unwritten = Unwritten { written: Records::new(), records: receiver };
        let writer = tokio::spawn(write_patiently(path.clone(), unwritten, Duration::from_millis(20)));
        sender.send_modify(|records| drop(records.insert(1, record(1, "db1"))));
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(load(&path).is_empty());
        fs::remove_file(&place).unwrap();
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if !load(&path).is_empty() {
                break;
            }
        }
        assert_eq!(loaded(&path), [known(1, "db1")]);
        sender.send_modify(|records| drop(records.insert(2, record(2, "db2"))));
        drop(sender);
        writer.await.unwrap();
        assert_eq!(loaded(&path), [known(1, "db1"), known(2, "db2")]);
    }
}
