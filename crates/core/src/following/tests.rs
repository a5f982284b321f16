use super::*;

const OLD: &str = "192.168.8.32";

fn place(file: u64, position: u64) -> LogPosition {
    LogPosition { file: format!("mysql-bin.{file:06}"), position }
}

fn at(host: &str) -> ServerAddress {
    ServerAddress { host: host.to_owned(), port: 3306 }
}

/// db2, which had applied db1's log up to 4000.
fn source() -> Source {
    Source {
        host: "db2".into(),
        ip: "192.168.8.33".parse().unwrap(),
        port: 3306,
        epoch: Epoch { number: 2, origin: 1 },
        junction: Some(Junction {
            writer: ServerIdentity { server_id: 13, uuid: None },
            own: place(7, 900),
            applied: Some(Applied { source: at(OLD), server_id: 12, position: place(3, 4000) }),
            gtid: "0-12-40,0-13-8".to_owned(),
        }),
    }
}

/// A MariaDB replica of db1 that stands exactly where db2 stood.
fn stand() -> Stand {
    Stand {
        own: ServerIdentity { server_id: 14, uuid: None },
        source: at(OLD),
        source_id: 12,
        by_gtid: false,
        running: Running::BOTH,
        connected: false,
        received: Some(place(3, 4000)),
        applied: Some(place(3, 4000)),
        binlog_state: "0-12-40,0-13-8".to_owned(),
        slave_pos: "0-12-40".to_owned(),
    }
}

fn gtid(binlog_state: &str, slave_pos: &str) -> Stand {
    Stand { by_gtid: true, binlog_state: binlog_state.into(), slave_pos: slave_pos.into(), ..stand() }
}

/// A server without GTIDs, which can be told by its place in the old log only.
fn plain(applied: LogPosition, received: LogPosition, connected: bool) -> Stand {
    let (applied, received) = (Some(applied), Some(received));
    Stand { applied, received, connected, binlog_state: String::new(), slave_pos: String::new(), ..stand() }
}

fn refusal(verdict: Verdict) -> String {
    let Verdict::Refuse(why) = verdict else { panic!("{verdict:?}") };
    why
}

#[test]
fn a_replica_of_the_active_master_is_left_alone() {
    let there = Stand { source: at("192.168.8.33"), source_id: 13, ..stand() };
    assert_eq!(judge(&source(), &there), Verdict::There);
    let other_port = ServerAddress { port: 3307, ..at("192.168.8.33") };
    assert_ne!(judge(&source(), &Stand { source: other_port, ..stand() }), Verdict::There);
}

#[test]
fn a_name_in_place_of_an_address_is_told_by_the_server_that_answered() {
    let named = Stand { source: at("db2.example.org"), source_id: 13, ..stand() };
    assert_eq!(judge(&source(), &named), Verdict::There);
    assert_eq!(judge(&source(), &Stand { source: at("db2"), source_id: 0, ..stand() }), Verdict::There);
}

#[test]
fn the_same_point_of_the_old_log_is_the_noted_point_of_the_new_one() {
    assert_eq!(judge(&source(), &stand()), Verdict::Repoint(How::At(place(7, 900))));
    let plain = plain(place(3, 4000), place(3, 4100), false);
    assert_eq!(judge(&source(), &plain), Verdict::Repoint(How::At(place(7, 900))));
}

#[test]
fn a_channel_by_gtid_stays_one_wherever_it_stands() {
    for (log, last) in
        [("0-12-40", "0-12-40"), ("0-12-7", "0-12-7"), ("0-12-40,0-13-55", "0-13-55"), ("", "")]
    {
        assert_eq!(judge(&source(), &gtid(log, last)), Verdict::Repoint(How::ByGtid), "{log} {last}");
    }
}

#[test]
fn what_the_new_writer_never_received_is_never_passed_over() {
    for stand in [
        gtid("0-12-41", "0-12-41"),
        // Hidden behind a later transaction of the writer in the last position, but not in the log.
        gtid("0-12-41,0-13-55", "0-13-55"),
        gtid("1-12-1", "1-12-1"),
        Stand { applied: Some(place(3, 4200)), ..Stand { by_gtid: false, ..gtid("0-12-41", "0-12-41") } },
    ] {
        let why = refusal(judge(&source(), &stand));
        assert!(why.contains("never received"), "{why}");
    }
}

#[test]
fn transactions_made_on_the_replica_itself_do_not_hold_it_up() {
    assert_eq!(judge(&source(), &gtid("0-12-40,0-14-99", "0-12-40")), Verdict::Repoint(How::ByGtid));
}

#[test]
fn a_mariadb_replica_by_file_that_is_at_another_point_finds_its_place_by_gtid() {
    let behind = Stand {
        applied: Some(place(3, 3000)),
        binlog_state: "0-12-30".into(),
        slave_pos: "0-12-30".into(),
        ..stand()
    };
    assert_eq!(judge(&source(), &behind), Verdict::Repoint(How::ThroughGtid));
    // The old writer passed on what the new one wrote already.
    let beyond = Stand {
        applied: Some(place(3, 4500)),
        binlog_state: "0-12-40,0-13-9".into(),
        slave_pos: "0-13-9".into(),
        ..stand()
    };
    assert_eq!(judge(&source(), &beyond), Verdict::Repoint(How::ThroughGtid));
}

#[test]
fn a_stream_without_a_place_on_the_replica_would_be_applied_from_its_beginning() {
    let mut source = source();
    source.junction.as_mut().unwrap().gtid = "0-12-40,0-13-8,5-12-3".to_owned();
    let behind = Stand { applied: Some(place(3, 3000)), connected: true, ..stand() };
    assert!(matches!(judge(&source, &behind), Verdict::Wait(_)));
}

#[test]
fn a_replica_that_is_behind_first_applies_what_it_has_or_can_still_get() {
    let received = plain(place(3, 3000), place(3, 4000), false);
    assert!(matches!(judge(&source(), &received), Verdict::Wait(_)));
    let reachable = plain(place(2, 9000), place(3, 100), true);
    assert!(matches!(judge(&source(), &reachable), Verdict::Wait(_)));
    let lost = plain(place(3, 3000), place(3, 3000), false);
    let why = refusal(judge(&source(), &lost));
    assert!(why.contains("mysql-bin.000003 3000") && why.contains("rebuild"), "{why}");
}

#[test]
fn a_replica_that_is_ahead_of_the_point_is_refused_with_both_places() {
    let why = refusal(judge(&source(), &plain(place(4, 100), place(4, 100), true)));
    assert!(why.contains("mysql-bin.000004 100") && why.contains("mysql-bin.000003 4000"), "{why}");
}

#[test]
fn a_source_that_one_of_both_knows_by_name_is_told_by_its_number() {
    let named = Stand { source: at("db1.example.org"), ..plain(place(3, 4000), place(3, 4000), true) };
    assert_eq!(judge(&source(), &named), Verdict::Repoint(How::At(place(7, 900))));
    for other in [Stand { source_id: 99, ..named.clone() }, Stand { source: at("192.168.8.99"), ..named }] {
        assert!(matches!(judge(&source(), &other), Verdict::Refuse(_)), "{other:?}");
    }
}

#[test]
fn places_in_the_logs_of_two_servers_are_never_compared() {
    let elsewhere = Stand { source_id: 99, ..plain(place(3, 4000), place(3, 4000), true) };
    assert!(matches!(judge(&source(), &elsewhere), Verdict::Refuse(_)));
    let renamed = LogPosition { file: "other-bin.000003".into(), position: 4000 };
    let stand = plain(renamed.clone(), renamed, true);
    assert!(matches!(judge(&source(), &stand), Verdict::Refuse(_)));
}

#[test]
fn without_a_note_only_a_mariadb_master_is_trusted_to_find_the_place() {
    let source = Source { junction: None, ..source() };
    assert_eq!(judge(&source, &gtid("0-12-40", "0-12-40")), Verdict::Repoint(How::ByGtid));
    assert!(matches!(judge(&source, &stand()), Verdict::Refuse(_)));
    let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
    assert!(matches!(judge(&source, &gtid(set, "")), Verdict::Refuse(_)));
}

#[test]
fn sets_of_mysql_are_compared_interval_by_interval() {
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let writer = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
    let mut source = source();
    let junction = source.junction.as_mut().unwrap();
    junction.gtid = format!("{uuid}:1-5:7-9,{uuid}:tag:1-2");
    junction.writer.uuid = Some(writer.to_owned());
    for (set, contained) in [
        (format!("{uuid}:1-5"), true),
        (format!("{uuid}:1-5:8"), true),
        (format!("{uuid}:1-6"), false),
        (format!("{uuid}:1-5,{writer}:1-100"), true),
        (format!("{uuid}:tag:2"), true),
        (format!("{uuid}:tag:3"), false),
        (format!("{uuid}:other:1"), false),
        (format!("{uuid}:1-x"), false),
    ] {
        let verdict = judge(&source, &gtid(&set, ""));
        assert_eq!(verdict == Verdict::Repoint(How::ByGtid), contained, "{set}: {verdict:?}");
    }
}
