//! A server applies what another one had in its log when it was killed, handed to it by its own replication.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use mmm_core::is_gtid_subset;
use mmm_mysql::binlog::{Tail, find_tail, log_files};
use mmm_mysql::log_source::{LogPiece, LogSource, SourceLog};
use mmm_mysql::{Coordinates, Flavour, GtidUse, Session, StartAt, ThreadState, WaitOutcome};
use mysql_async::prelude::Queryable;

use crate::rig::{LIMIT, Server, agent, eventually, flavour, in_own_network};

fn spool(tail: &Tail, to: &Path) -> Vec<LogPiece> {
    let mut spool = File::create(to).unwrap();
    let mut at = 0;
    let mut pieces = Vec::new();
    for piece in &tail.pieces {
        let mut bytes = vec![0; usize::try_from(piece.to - piece.from).unwrap()];
        let mut file = File::open(&piece.file).unwrap();
        file.seek(SeekFrom::Start(piece.from)).unwrap();
        file.read_exact(&mut bytes).unwrap();
        spool.write_all(&bytes).unwrap();
        pieces.push(LogPiece {
            name: piece.file.file_name().unwrap().to_string_lossy().into_owned(),
            opening: piece.opening.clone(),
            from: piece.from,
            to: piece.to,
            at,
        });
        at += bytes.len() as u64;
    }
    pieces
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Gtid,
    Place,
    /// And the server has none.
    PlaceOnly,
}

#[expect(clippy::too_many_lines, reason = "one story, told from its beginning to its end")]
async fn salvage(by: By) {
    let maria = flavour() == Flavour::MariaDb;
    let mut options = vec!["--log-slave-updates"];
    if by == By::PlaceOnly {
        options.extend(["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]);
    }
    if !maria {
        options[0] = "--log-replica-updates";
    }
    options.push("--max-allowed-packet=64M");
    let mut old = Server::start_with(12, &options).await;
    let new = Server::start_with(13, &options).await;
    new.replicate_from(&old).await;
    let mut boss = new.client("boss").await;
    if by == By::Gtid {
        let gtid = if maria {
            "CHANGE MASTER TO MASTER_USE_GTID=slave_pos"
        } else {
            "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1"
        };
        boss.query_drop(gtid).await.unwrap();
    }
    let mut session = new.session(&agent()).await;
    session.start_replication(LIMIT).await.unwrap();
    let mut client = old.client("boss").await;
    client.query_drop("INSERT INTO app.a VALUES (1)").await.unwrap();
    let end = old.session(&agent()).await.log_position(LIMIT).await.unwrap().unwrap();
    assert_eq!(session.wait_for_position(&end, LIMIT).await.unwrap(), WaitOutcome::Reached);

    session.stop_receiving(LIMIT).await.unwrap();
    for statement in [
        "INSERT INTO app.a VALUES (2)",
        "CREATE TABLE app.c (n INT PRIMARY KEY, t LONGTEXT)",
        "FLUSH BINARY LOGS",
        // One event that is longer than a packet can be, and many behind each other.
        "INSERT INTO app.c VALUES (1, REPEAT('x', 20000000))",
        "BEGIN",
        "INSERT INTO app.c VALUES (2, REPEAT('y', 5000000))",
        "INSERT INTO app.c VALUES (3, REPEAT('z', 5000000))",
        "COMMIT",
        "FLUSH BINARY LOGS",
        "FLUSH BINARY LOGS",
        "INSERT INTO app.a VALUES (3)",
        "INSERT INTO app.a VALUES (4)",
    ] {
        client.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    old.crash();

    // A transaction that was cut off in the middle of being written.
    let files = log_files(&old.data().join("bin.index"), &old.data()).unwrap();
    let last = fs::read(files.last().unwrap()).unwrap();
    fs::write(files.last().unwrap(), &last[..last.len() - 5]).unwrap();

    let before = session.channel(LIMIT).await.unwrap().unwrap();
    let applied = before.status.applied.clone().unwrap();
    let state = session.gtid_state(LIMIT).await.unwrap();
    let by_gtid = find_tail(
        &files,
        None,
        |previous| {
            if maria { previous.is_empty() } else { is_gtid_subset(previous, &state.binlog_state).unwrap() }
        },
        |_, one| {
            let Some(gtid) = one.gtid.as_ref().map(ToString::to_string) else { return true };
            if maria {
                let number = |text: &str| text.rsplit('-').next().unwrap().parse::<u64>().unwrap();
                number(&gtid) > number(&state.slave_pos)
            } else {
                !is_gtid_subset(&gtid, &state.binlog_state).unwrap()
            }
        },
    );
    let tail = find_tail(&files, Some((&applied.file, applied.pos)), |_| false, |_, _| true).unwrap();
    if by != By::PlaceOnly {
        assert_eq!(by_gtid.unwrap(), tail, "{}", state.binlog_state);
    }
    assert_eq!((tail.transactions, tail.pieces.len()), (5, 3), "{tail:?}");

    session.stop_replication(LIMIT).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let log = SourceLog {
        flavour: flavour(),
        server_version: tail.format.server_version.clone(),
        server_id: tail.format.server_id,
        server_uuid: (!maria).then(|| "3e11fa47-71ca-11e1-9e33-c80aa9429562".to_owned()),
        gtid_mode: by != By::PlaceOnly,
        checksums: tail.format.checksums,
        user: before.status.source_user.clone(),
        pieces: spool(&tail, &path),
        spool: path,
    };
    let source = LogSource::start(log, |_, _| true).await.unwrap();
    let at = |place: &Coordinates| {
        if by == By::Gtid { StartAt::Gtid(before.gtid) } else { StartAt::Log(place.clone()) }
    };
    assert_eq!(before.gtid != GtidUse::No, by == By::Gtid);
    session.redirect("127.0.0.1", source.address.port(), false, &at(&applied), LIMIT).await.unwrap();
    session.start_replication(LIMIT).await.unwrap();
    let piece = tail.pieces.last().unwrap();
    let file = piece.file.file_name().unwrap().to_string_lossy().into_owned();
    let end = Coordinates { file, pos: piece.to };
    let began = std::time::Instant::now();
    eventually(
        async || session.channel(LIMIT).await.unwrap().unwrap().status,
        |status| {
            status.applied.as_ref() == Some(&end)
                || status.io == ThreadState::No
                || status.sql == ThreadState::No
        },
    )
    .await;
    let status = session.channel(LIMIT).await.unwrap().unwrap().status;
    assert_eq!((status.applied.as_ref(), status.io), (Some(&end), ThreadState::Yes), "{status:?}");
    eprintln!("applied in {:?}", began.elapsed());

    // A receiver that connects once more has all of it, and gets nothing twice.
    session.stop_receiving(LIMIT).await.unwrap();
    session.start_replication(LIMIT).await.unwrap();
    eventually(async || channel(&mut session).await, |status| status.io == ThreadState::Yes).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let status = channel(&mut session).await;
    assert_eq!((status.sql, status.io), (ThreadState::Yes, ThreadState::Yes), "{status:?}");

    session.stop_replication(LIMIT).await.unwrap();
    session
        .redirect(&before.status.source_host, before.status.source_port, before.tls, &at(&end), LIMIT)
        .await
        .unwrap();
    let after = session.channel(LIMIT).await.unwrap().unwrap();
    assert_eq!(after.changed_option(&before), None);
    assert_eq!(after.status.source_host, before.status.source_host);
    assert_eq!(after.status.source_port, before.status.source_port);
    assert_eq!((after.gtid, after.tls), (before.gtid, before.tls));
    if by != By::Gtid {
        assert_eq!(after.status.applied, Some(end));
    }
    let rows: Vec<u32> = boss.query("SELECT n FROM app.a ORDER BY n").await.unwrap();
    assert_eq!(rows, [1, 2, 3]);
    let lengths: Vec<(u32, u32)> = boss.query("SELECT n, LENGTH(t) FROM app.c ORDER BY n").await.unwrap();
    assert_eq!(lengths, [(1, 20_000_000), (2, 5_000_000), (3, 5_000_000)]);
    check_gtids(&mut session, by).await;
}

async fn channel(session: &mut Session) -> mmm_mysql::ReplicaStatus {
    session.channel(LIMIT).await.unwrap().unwrap().status
}

/// Under the names that they had.
async fn check_gtids(session: &mut Session, by: By) {
    if by == By::PlaceOnly {
        return;
    }
    let state = session.gtid_state(LIMIT).await.unwrap();
    match flavour() {
        Flavour::MariaDb => assert!(state.binlog_state.ends_with("0-12-6"), "{}", state.binlog_state),
        Flavour::MySql => assert!(state.binlog_state.ends_with(":1-6"), "{}", state.binlog_state),
    }
}

#[test]
fn a_tail_is_applied_by_gtid() {
    in_own_network(salvage(By::Gtid));
}

#[test]
fn a_tail_is_applied_by_place() {
    in_own_network(salvage(By::Place));
}

#[test]
fn a_tail_without_gtids_is_applied_by_place() {
    if flavour() == Flavour::MySql {
        in_own_network(salvage(By::PlaceOnly));
    }
}

/// What a transaction ends with: a header, its number, a checksum. `MariaDB` writes no checksum unless it is told to.
const LAST_EVENT: u64 = 19 + 8 + 4;

/// The writer died, or the connection to it was cut, in the middle of a transaction.
async fn half_received(by: By) {
    let maria = flavour() == Flavour::MariaDb;
    let mut options = vec![if maria { "--log-slave-updates" } else { "--log-replica-updates" }];
    options.push("--binlog-checksum=CRC32");
    if by == By::PlaceOnly {
        options.extend(["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]);
    }
    let mut old = Server::start_with(12, &options).await;
    let new = Server::start_with(13, &options).await;
    let mut client = old.client("boss").await;
    for statement in [
        "INSERT INTO app.a VALUES (1)",
        "BEGIN",
        "INSERT INTO app.a VALUES (2)",
        "INSERT INTO app.a VALUES (3)",
        "COMMIT",
    ] {
        client.query_drop(statement).await.unwrap();
    }
    old.crash();
    let files = log_files(&old.data().join("bin.index"), &old.data()).unwrap();
    let tail = find_tail(&files, Some(("bin.000001", 4)), |_| false, |_, _| true).unwrap();
    assert_eq!(tail.transactions, 2, "{tail:?}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let mut log = SourceLog {
        flavour: flavour(),
        server_version: tail.format.server_version.clone(),
        server_id: tail.format.server_id,
        server_uuid: (!maria).then(|| "3e11fa47-71ca-11e1-9e33-c80aa9429562".to_owned()),
        gtid_mode: by != By::PlaceOnly,
        checksums: tail.format.checksums,
        user: "repl".to_owned(),
        pieces: spool(&tail, &path),
        spool: path,
    };
    // Without the event that ends the last transaction.
    log.pieces.last_mut().unwrap().to -= LAST_EVENT;
    new.replicate_from(&old).await;
    let source = LogSource::start(log.clone(), |_, _| true).await.unwrap();
    let begin = Coordinates { file: "bin.000001".to_owned(), pos: 4 };
    let mut session = new.session(&agent()).await;
    let port = source.address.port();
    session.redirect("127.0.0.1", port, false, &start(by, &begin), LIMIT).await.unwrap();
    session.start_replication(LIMIT).await.unwrap();
    let cut = log.pieces.last().unwrap().to;
    eventually(
        async || channel(&mut session).await,
        |status| {
            status.received.as_ref().is_some_and(|received| received.pos == cut) && status.applier_is_idle()
        },
    )
    .await;
    session.stop_receiving(LIMIT).await.unwrap();
    let mut boss = new.client("boss").await;
    let rows: Vec<u32> = boss.query("SELECT n FROM app.a ORDER BY n").await.unwrap();
    assert_eq!(rows, [1]);

    log.pieces.last_mut().unwrap().to += LAST_EVENT;
    let end = Coordinates { pos: cut + LAST_EVENT, ..begin.clone() };
    let source = LogSource::start(log, |_, _| true).await.unwrap();
    let port = source.address.port();
    let before = channel(&mut session).await;
    if session.turns_while_applying() {
        let received = before.received.unwrap();
        session.turn_receiver("127.0.0.1", port, false, &start(by, &received), LIMIT).await.unwrap();
        session.start_receiving(LIMIT).await.unwrap();
    } else {
        session.stop_replication(LIMIT).await.unwrap();
        let applied = channel(&mut session).await.applied.unwrap();
        session.redirect("127.0.0.1", port, false, &start(by, &applied), LIMIT).await.unwrap();
        session.start_replication(LIMIT).await.unwrap();
    }
    let rows = async || boss.query::<u32, _>("SELECT n FROM app.a ORDER BY n").await.unwrap();
    eventually(rows, |rows| rows == &[1, 2, 3]).await;
    session.stop_replication(LIMIT).await.unwrap();
    let after = channel(&mut session).await;
    assert_eq!((after.applied, after.received), (Some(end.clone()), Some(end)));
}

fn start(by: By, place: &Coordinates) -> StartAt {
    if by == By::Gtid { StartAt::Gtid(GtidUse::SlavePos) } else { StartAt::Log(place.clone()) }
}

#[test]
fn the_rest_of_a_half_received_transaction_comes_by_gtid() {
    in_own_network(half_received(By::Gtid));
}

#[test]
fn the_rest_of_a_half_received_transaction_comes_by_place() {
    in_own_network(half_received(By::Place));
}

#[test]
fn the_rest_of_a_half_received_transaction_comes_without_gtids() {
    if flavour() == Flavour::MySql {
        in_own_network(half_received(By::PlaceOnly));
    }
}
