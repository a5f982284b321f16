use proptest::prelude::*;

use super::*;

/// One event as a server writes it.
pub(super) fn event(kind: u8, flags: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(19 + body.len() + 4).unwrap();
    let mut bytes = vec![0; 4];
    bytes.push(kind);
    bytes.extend(12_u32.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(body);
    let mut summed = bytes.clone();
    if kind == kind::FORMAT_DESCRIPTION {
        summed[17] &= !1;
    }
    bytes.extend(crc32fast::hash(&summed).to_le_bytes());
    bytes
}

fn opening(version: &str, flags: u16) -> Vec<u8> {
    let mut body = 4_u16.to_le_bytes().to_vec();
    let mut name = version.as_bytes().to_vec();
    name.resize(50, 0);
    body.extend(name);
    body.extend([0, 0, 0, 0, 19]);
    body.extend([0; 40]);
    body.push(1);
    [MAGIC.to_vec(), event(kind::FORMAT_DESCRIPTION, flags, &body)].concat()
}

pub(super) fn query(text: &str) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.push(3);
    body.extend([0, 0, 2, 0, 9, 9]);
    body.extend(b"app\0");
    body.extend(text.as_bytes());
    event(kind::QUERY, 0, &body)
}

pub(super) fn mariadb(sequence: u64, flags: u8) -> Vec<u8> {
    let body = [&sequence.to_le_bytes()[..], &0_u32.to_le_bytes(), &[flags, 0, 0, 0, 0, 0, 0]].concat();
    event(kind::MARIADB_GTID, 0, &body)
}

fn read(bytes: &[u8]) -> (Vec<String>, EndOfLog) {
    let mut found = Vec::new();
    let summary = each_transaction(bytes, |one| {
        found.push(one.gtid.map_or_else(|| "-".to_owned(), |gtid| gtid.to_string()));
        ControlFlow::Continue(())
    });
    (found, summary.unwrap().end)
}

#[test]
fn a_file_of_mariadb_is_divided_into_its_transactions() {
    let file = [
        opening("10.11.14-MariaDB-log", 1),
        mariadb(1, 1),
        event(5, 0, &[0; 9]),
        query("INSERT INTO m VALUES (1)"),
        mariadb(2, 0),
        query("INSERT INTO m VALUES (2)"),
        query("COMMIT"),
        event(kind::MARIADB_CHECKPOINT, 0, &[0; 9]),
        mariadb(3, 4),
        event(23, 0, &vec![7; 300_000]),
        event(kind::XID, 0, &[0; 8]),
        mariadb(4, 64),
        event(23, 0, &[7; 30]),
        event(kind::XA_PREPARE, 0, &[0; 8]),
        mariadb(5, 128),
        query("XA COMMIT 'x'"),
        event(kind::ROTATE, 0, b"\x04\0\0\0\0\0\0\0bin.000002"),
    ]
    .concat();
    let all = ["0-12-1", "0-12-2", "0-12-3", "0-12-4", "0-12-5"].map(str::to_owned).to_vec();
    assert_eq!(read(&file), (all, EndOfLog::Rotated("bin.000002".to_owned())));
}

#[test]
fn a_transaction_without_its_end_does_not_count() {
    let whole = [opening("10.11.14-MariaDB-log", 1), mariadb(1, 0), query("x"), event(kind::XID, 0, &[0; 8])];
    let whole = whole.concat();
    let more = [whole.clone(), mariadb(2, 0), query("x")].concat();
    assert_eq!(read(&more), (vec!["0-12-1".to_owned()], EndOfLog::Cut));
    let stopped = [more, event(kind::STOP, 0, &[])].concat();
    assert_eq!(read(&stopped), (vec!["0-12-1".to_owned()], EndOfLog::Stopped));
    assert_eq!(read(&whole).1, EndOfLog::Open);
    assert_eq!(read(&whole[..whole.len() - 1]), (Vec::new(), EndOfLog::Cut));
}

#[test]
fn a_wrong_checksum_ends_what_is_believed() {
    let first = [mariadb(1, 0), event(kind::XID, 0, &[0; 8])].concat();
    let head = opening("10.11.14-MariaDB-log", 1);
    let mut file = [head.clone(), first.clone(), mariadb(2, 0), event(kind::XID, 0, &[0; 8])].concat();
    let at = head.len() + first.len() + 25;
    file[at] ^= 1;
    let (found, end) = read(&file);
    assert_eq!(found, ["0-12-1"]);
    assert!(matches!(end, EndOfLog::Damaged(why) if why.contains("checksum")));
}

#[test]
fn what_is_no_log_is_told_from_one_that_is_encrypted() {
    assert!(matches!(read_opening(&b"\xfdbin..."[..]), Err(LogError::Encrypted)));
    assert!(matches!(read_opening(&b"#!/b"[..]), Err(LogError::NotALog { .. })));
    assert!(matches!(read_opening(&b""[..]), Err(LogError::NotALog { .. })));
    assert!(matches!(read_opening(&MAGIC[..]), Err(LogError::UnknownForm(_))));
    let encrypted = [opening("10.11.14-MariaDB-log", 1), event(kind::MARIADB_START_ENCRYPTION, 0, &[0; 17])];
    assert!(matches!(read_opening(&encrypted.concat()[..]), Err(LogError::Encrypted)));
}

#[test]
fn sets_are_written_as_the_servers_write_them() {
    let uuid = [0x3e_u8; 16];
    let name = "3e3e3e3e-3e3e-3e3e-3e3e-3e3e3e3e3e3e";
    let words = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let plain = [words(&[1]), uuid.to_vec(), words(&[2, 1, 6, 9, 10])].concat();
    assert_eq!(gtid::previous_of_mysql(&plain).unwrap(), format!("{name}:1-5:9"));
    assert_eq!(gtid::previous_of_mysql(&words(&[0])).unwrap(), "");
    assert_eq!(gtid::previous_of_mysql(&plain[..40]), None);
    assert_eq!(gtid::previous_of_mysql(&words(&[u64::MAX >> 8])), None);
    let list = [2_u32, 0, 12, 7, 0, 1, 13, 8, 0].map(u32::to_le_bytes).concat();
    assert_eq!(gtid::list_of_mariadb(&list).unwrap(), "0-12-7,1-13-8");
    assert_eq!(gtid::list_of_mariadb(&list[..20]), None);
}

proptest! {
    #[test]
    fn nothing_that_a_file_may_hold_makes_the_reader_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        with_opening in any::<bool>(),
    ) {
        let file = if with_opening { [opening("9.7.0", 1), bytes].concat() } else { bytes };
        let _ = each_transaction(&file[..], |_| ControlFlow::Continue(()));
        let _ = read_opening(&file[..]);
    }

    #[test]
    fn any_body_behind_a_right_checksum_is_survived(
        events in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..12),
    ) {
        let mut file = opening("9.7.0", 0);
        for (kind, body) in &events {
            file.extend(event(*kind, 0, body));
        }
        let mut last = 0;
        let _ = each_transaction(&file[..], |one| {
            assert!(one.from >= last && one.to > one.from);
            last = one.to;
            ControlFlow::Continue(())
        });
        let _ = read_opening(&file[..]);
    }

    #[test]
    fn a_longer_file_never_takes_back_a_transaction(cut in 0_usize..2000) {
        let mut file = opening("10.11.14-MariaDB-log", 1);
        for sequence in 1..12 {
            file.extend([mariadb(sequence, 0), query("x"), event(kind::XID, 0, &[0; 8])].concat());
        }
        let all = read(&file).0;
        prop_assert_eq!(all.len(), 11);
        let part = &file[..cut.min(file.len())];
        if let Ok(summary) = each_transaction(part, |_| ControlFlow::Continue(())) {
            prop_assert!(summary.whole <= part.len() as u64);
            let found = read(part).0;
            prop_assert_eq!(&found[..], &all[..found.len()]);
        }
    }
}
