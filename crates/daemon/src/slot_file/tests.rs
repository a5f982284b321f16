use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::write_state;

const OWNER: &str = "db1@C1";

fn new_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lib/db1.epoch");
    (folder, path)
}

fn written(values: impl IntoIterator<Item = u64>) -> (TempDir, PathBuf) {
    let (folder, path) = new_file();
    let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
    for value in values {
        file.write(&value).unwrap();
    }
    (folder, path)
}

fn found(path: &Path) -> Found<u64> {
    SlotFile::read(path, OWNER).unwrap()
}

/// The place of the newest slot in the file, after this many writes.
fn newest_slot(writes: u64) -> std::ops::Range<usize> {
    let start = usize::try_from(slot::offset(writes)).unwrap();
    start..start + SLOT_BYTES
}

fn lost_reason(found: Found<u64>) -> String {
    match found {
        Found::Lost { reason } => reason,
        other => panic!("expected a lost state, found {other:?}"),
    }
}

#[test]
fn what_was_written_last_is_found_and_the_slots_take_turns() {
    let (_folder, path) = new_file();
    assert_eq!(found(&path), Found::Missing);
    let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
    assert_eq!(found(&path), Found::Missing, "a file in which nothing was written is none");
    for writes in 1..=50 {
        let before = fs::read(&path).unwrap();
        // Whoever opens the file goes on where the one before ended.
        if writes % 7 == 0 {
            file = SlotFile::open_or_create(&path, OWNER).unwrap();
        }
        file.write(&writes).unwrap();
        assert_eq!(found(&path), Found::Good(writes));
        let after = fs::read(&path).unwrap();
        let kept = newest_slot(writes + 1);
        assert_eq!(before[kept.clone()], after[kept], "write {writes} touched the newest slot");
        assert_eq!(after.len(), FILE_BYTES);
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_newest_slot_with_any_byte_changed_leaves_the_state_before_it_and_says_so() {
    let (_folder, path) = written(1..=4);
    let whole = fs::read(&path).unwrap();
    let slot = newest_slot(4);
    // Every byte that means something, and many of the zeros behind it.
    let places =
        (slot.start..slot.start + 200).chain((slot.start + 200..slot.end).step_by(31)).chain([slot.end - 1]);
    for place in places {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        fs::write(&path, bytes).unwrap();
        assert_eq!(found(&path), Found::Old(3), "byte {place}");
    }
}

#[test]
fn a_newest_slot_of_which_only_a_part_was_written_is_not_believed() {
    let (_folder, path) = written(1..=5);
    let before = fs::read(&path).unwrap();
    SlotFile::open_or_create(&path, OWNER).unwrap().write(&6u64).unwrap();
    let after = fs::read(&path).unwrap();
    let slot = newest_slot(6);
    for cut in (slot.start..slot.end).step_by(32).skip(1) {
        let mut bytes = before.clone();
        bytes[slot.start..cut].copy_from_slice(&after[slot.start..cut]);
        let expected = match &bytes {
            // What was written until then is the same in both states.
            bytes if *bytes == before => Found::Good(5),
            bytes if *bytes == after => Found::Good(6),
            _ => Found::Old(5),
        };
        fs::write(&path, bytes).unwrap();
        assert_eq!(found(&path), expected, "cut at {cut}");
    }
    // Zeros in place of what was written, as some file systems leave them.
    let mut bytes = after.clone();
    bytes[slot].fill(0);
    fs::write(&path, bytes).unwrap();
    assert_eq!(found(&path), Found::Old(5));
}

#[test]
fn the_write_after_a_torn_one_takes_the_torn_slot_and_all_is_good_again() {
    let (_folder, path) = written(1..=4);
    let mut bytes = fs::read(&path).unwrap();
    bytes[newest_slot(4)][100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
    assert_eq!(found(&path), Found::Old(3), "opening mends nothing");
    file.write(&9u64).unwrap();
    assert_eq!(found(&path), Found::Good(9));
    assert_eq!(fs::read(&path).unwrap()[newest_slot(3)], bytes[newest_slot(3)]);
}

#[test]
fn a_file_of_any_other_length_is_lost_until_the_next_write() {
    let around = |middle: usize| middle.saturating_sub(2)..middle + 3;
    let lengths: Vec<usize> = [0, 56, SLOT_BYTES / 2, SLOT_BYTES, SLOT_BYTES + 56, FILE_BYTES]
        .into_iter()
        .flat_map(around)
        .collect();
    for writes in [1, 2, 3] {
        let (_folder, path) = written(1..=writes);
        let whole = fs::read(&path).unwrap();
        for length in lengths.iter().copied().filter(|length| *length != FILE_BYTES) {
            let mut bytes = whole.clone();
            bytes.resize(length, 7);
            fs::write(&path, bytes).unwrap();
            let reason = lost_reason(found(&path));
            let expected =
                if length < FILE_BYTES { format!("has {length} bytes") } else { "more".to_owned() };
            assert!(reason.contains(&expected), "{reason}");
            let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
            lost_reason(found(&path));
            file.write(&88u64).unwrap();
            assert_eq!(found(&path), Found::Good(88), "mended from {length} bytes");
            file.write(&89u64).unwrap();
            assert_eq!(found(&path), Found::Good(89));
        }
    }
}

#[test]
fn a_file_in_which_nothing_can_be_read_is_lost_until_the_next_write() {
    let (_folder, path) = written(1..=2);
    let foreign: Vec<u8> = b"[mysqld]\n".iter().copied().cycle().take(FILE_BYTES).collect();
    let mut both_torn = fs::read(&path).unwrap();
    both_torn[200] ^= 1;
    both_torn[SLOT_BYTES + 200] ^= 1;
    let mut newer = fs::read(&path).unwrap();
    newer[11] = 2;
    newer[SLOT_BYTES + 11] = 2;
    for (bytes, word) in [(foreign, "no slot of ours"), (both_torn, "torn"), (newer, "of format 2")] {
        fs::write(&path, bytes).unwrap();
        let reason = lost_reason(found(&path));
        assert!(reason.contains(word), "{reason}");
        let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
        lost_reason(found(&path));
        file.write(&5u64).unwrap();
        assert_eq!(found(&path), Found::Good(5));
    }
}

#[test]
fn the_first_write_torn_is_a_lost_state_and_no_missing_one() {
    let (_folder, path) = written([1]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[newest_slot(1)][SLOT_BYTES / 2..].fill(1);
    fs::write(&path, bytes).unwrap();
    lost_reason(found(&path));
}

#[test]
fn a_slot_in_the_place_of_the_other_or_with_an_impossible_number_is_not_believed() {
    let (_folder, path) = written(1..=4);
    let whole = fs::read(&path).unwrap();
    let payload = serde_json::to_vec(&Owned { owner: OWNER, value: 666u64 }).unwrap();
    for sequence in [0, 5, u64::MAX - 1] {
        let mut bytes = whole.clone();
        bytes[newest_slot(4)].copy_from_slice(&slot::encode(sequence, &payload).unwrap());
        fs::write(&path, bytes).unwrap();
        assert_eq!(found(&path), Found::Old(3), "number {sequence}");
    }
}

#[test]
fn the_state_of_somebody_else_or_of_another_version_is_not_believed() {
    let (_folder, path) = written(1..=3);
    let reason = lost_reason(SlotFile::read(&path, "db2@C1").unwrap());
    assert!(reason.contains("db1@C1") && reason.contains("db2@C1"), "{reason}");
    let other: Found<Vec<String>> = SlotFile::read(&path, OWNER).unwrap();
    assert!(matches!(&other, Found::Lost { reason } if reason.contains("not understood")), "{other:?}");
    // Once written, it is the new owner's.
    SlotFile::open_or_create(&path, "db2@C1").unwrap().write(&7u64).unwrap();
    assert_eq!(SlotFile::read::<u64>(&path, "db2@C1").unwrap(), Found::Good(7));
    lost_reason(found(&path));
}

#[test]
fn a_state_too_large_for_a_slot_is_refused_and_the_one_before_it_stays() {
    let (_folder, path) = written([1]);
    let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
    let error = file.write(&"x".repeat(SLOT_BYTES)).unwrap_err();
    assert!(error.to_string().contains("8136 at most"), "{error}");
    assert_eq!(found(&path), Found::Good(1));
    file.write(&2u64).unwrap();
    assert_eq!(found(&path), Found::Good(2));
}

#[test]
fn a_file_that_was_deleted_under_the_program_is_made_anew_by_the_next_write() {
    let (_folder, path) = written([1]);
    let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
    fs::remove_file(&path).unwrap();
    file.write(&2u64).unwrap();
    assert_eq!(found(&path), Found::Good(2));
}

const FULL_DISK: &str = "MMM_TEST_FULL_DISK";

/// Runs this very test once more with a small disk of its own, in a mount namespace that ends with it.
#[test]
fn a_full_disk_stops_no_write() {
    let Some(folder) = std::env::var_os(FULL_DISK) else {
        let folder = tempfile::tempdir().unwrap();
        let script = "mount -t tmpfs -o size=64k small \"$0\" && \
                      exec \"$1\" --exact slot_file::tests::a_full_disk_stops_no_write --nocapture";
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .env(FULL_DISK, folder.path())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "needs root: {text}");
        return;
    };
    let folder = PathBuf::from(folder);
    let path = folder.join("db1.epoch");
    let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
    let filler = fs::write(folder.join("filler"), vec![1; 65536]).unwrap_err();
    assert_eq!(filler.kind(), io::ErrorKind::StorageFull);
    let beside = write_state(&folder.join("db1.state"), &"x".repeat(4096)).unwrap_err();
    assert_eq!(beside.kind(), io::ErrorKind::StorageFull, "the disk is full for others");
    for value in 1..=10u64 {
        file.write(&value).unwrap();
        assert_eq!(found(&path), Found::Good(value));
    }
    // Only what must be made anew needs space, and says so.
    fs::write(&path, "cut short").unwrap();
    let mut file = SlotFile::open_or_create(&path, OWNER).unwrap();
    fs::write(folder.join("filler"), vec![1; 65536]).unwrap_err();
    assert_eq!(file.write(&11u64).unwrap_err().kind(), io::ErrorKind::StorageFull);
    lost_reason(found(&path));
    fs::remove_file(folder.join("filler")).unwrap();
    file.write(&12u64).unwrap();
    assert_eq!(found(&path), Found::Good(12));
}
