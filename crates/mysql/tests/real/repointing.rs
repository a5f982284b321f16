//! A replica of one server becomes the replica of another, which replicated from the first as well.

use std::time::Duration;

use crate::rig::{LIMIT, Server, agent, eventually, flavour, in_own_network};
use mmm_mysql::{
    Account, Channel, Coordinates, Flavour, GtidUse, Repoint, Session, StartAt, ThreadState, WaitOutcome,
};
use mysql_async::prelude::Queryable;

async fn channel(session: &mut Session) -> Channel {
    session.channel(LIMIT).await.unwrap().expect("replication is set up")
}

fn to(server: &Server, at: StartAt) -> Repoint {
    Repoint {
        host: "127.0.0.1".into(),
        port: server.endpoint.port,
        account: Account::new("repl", "repl"),
        at,
    }
}

/// What an operator says to change options of a channel.
fn change(options: &[&str]) -> String {
    let (verb, prefix) = match flavour() {
        Flavour::MariaDb => ("CHANGE MASTER TO", "MASTER"),
        Flavour::MySql => ("CHANGE REPLICATION SOURCE TO", "SOURCE"),
    };
    let options: Vec<String> = options.iter().map(|option| format!("{prefix}_{option}")).collect();
    format!("{verb} {}", options.join(", "))
}

async fn runs(session: &mut Session) {
    eventually(
        async || channel(session).await.status,
        |status| status.io == ThreadState::Yes && status.sql == ThreadState::Yes,
    )
    .await;
}

async fn reach(from: &Server, session: &mut Session) {
    let end = from.session(&agent()).await.log_position(LIMIT).await.unwrap().unwrap();
    assert_eq!(session.wait_for_position(&end, LIMIT).await.unwrap(), WaitOutcome::Reached);
}

async fn rows(server: &Server) -> Vec<u32> {
    server.client("boss").await.query("SELECT n FROM app.a ORDER BY n").await.unwrap()
}

/// An old writer, the new one behind it, and a replica of the old one with options of its own.
async fn three() -> (Server, Server, Server) {
    let old = Server::start_with(12, &[]).await;
    let new = Server::start_with(13, &["--log-slave-updates"]).await;
    let replica = Server::start_with(14, &["--log-slave-updates"]).await;
    for server in [&new, &replica] {
        server.replicate_from(&old).await;
        let mut session = server.session(&agent()).await;
        session.start_replication(LIMIT).await.unwrap();
        runs(&mut session).await;
    }
    old.client("app").await.query_drop("INSERT INTO app.a VALUES (1), (2)").await.unwrap();
    for server in [&new, &replica] {
        reach(&old, &mut server.session(&agent()).await).await;
    }
    (old, new, replica)
}

#[test]
fn a_replica_goes_on_at_the_same_point_of_another_log_with_all_its_options() {
    in_own_network(async {
        let (_old, new, replica) = three().await;
        let mut session = replica.session(&agent()).await;
        session.stop_replication(LIMIT).await.unwrap();
        let mut boss = replica.client("boss").await;
        boss.query_drop(change(&["DELAY = 1", "CONNECT_RETRY = 7"])).await.unwrap();
        let before = channel(&mut session).await;
        assert_eq!(before.gtid, GtidUse::No);
        let mut on_new = new.session(&agent()).await;
        let end: Coordinates = on_new.log_position(LIMIT).await.unwrap().unwrap();

        session.repoint(&to(&new, StartAt::Log(end)), LIMIT).await.unwrap();
        let after = channel(&mut session).await;
        assert_eq!((after.status.source_port, after.gtid), (new.endpoint.port, GtidUse::No));
        assert_eq!(after.changed_option(&before), None);
        session.start_threads(true, true, LIMIT).await.unwrap();
        runs(&mut session).await;
        new.client("app").await.query_drop("INSERT INTO app.a VALUES (3)").await.unwrap();
        reach(&new, &mut session).await;
        assert_eq!(rows(&replica).await, [1, 2, 3]);

        // An option that got lost is noticed.
        session.stop_replication(LIMIT).await.unwrap();
        boss.query_drop(change(&["DELAY = 0"])).await.unwrap();
        let lost = channel(&mut session).await;
        assert_eq!(lost.changed_option(&before).unwrap(), "SQL_Delay is '0' and was '1'");
    });
}

#[test]
fn a_channel_by_gtid_stays_one_and_only_the_threads_asked_for_are_started() {
    in_own_network(async {
        let (_old, new, replica) = three().await;
        let mut session = replica.session(&agent()).await;
        session.stop_replication(LIMIT).await.unwrap();
        let mut boss = replica.client("boss").await;
        let (by_gtid, kind) = match flavour() {
            Flavour::MariaDb => ("USE_GTID = current_pos", GtidUse::CurrentPos),
            Flavour::MySql => ("AUTO_POSITION = 1", GtidUse::SlavePos),
        };
        boss.query_drop(change(&[by_gtid])).await.unwrap();
        let before = channel(&mut session).await;
        assert_eq!(before.gtid, kind);
        session.repoint(&to(&new, StartAt::Gtid(before.gtid)), LIMIT).await.unwrap();
        assert_eq!(channel(&mut session).await.gtid, kind);
        session.start_threads(true, false, LIMIT).await.unwrap();
        eventually(async || channel(&mut session).await.status.io, |io| *io == ThreadState::Yes).await;
        assert_eq!(channel(&mut session).await.status.sql, ThreadState::No);
        session.start_threads(true, true, LIMIT).await.unwrap();
        runs(&mut session).await;
        new.client("app").await.query_drop("INSERT INTO app.a VALUES (3)").await.unwrap();
        eventually(async || rows(&replica).await, |rows| *rows == [1, 2, 3]).await;
    });
}

/// Only `MariaDB` finds a place by GTID for a channel that goes by file.
#[test]
fn a_place_found_by_gtid_is_the_same_place_by_file_once_something_was_applied() {
    if flavour() == Flavour::MySql {
        eprintln!("SKIPPED: MySQL has no such place");
        return;
    }
    in_own_network(async {
        let (_old, new, replica) = three().await;
        let mut session = replica.session(&agent()).await;
        let old_place = {
            session.stop_replication(LIMIT).await.unwrap();
            channel(&mut session).await
        };
        let since = session.gtid_state(LIMIT).await.unwrap().slave_pos;
        assert!(since.starts_with("0-12-"), "kept without GTID in use: {since}");
        // The new one has gone on meanwhile.
        let mut app = new.client("app").await;
        app.query_drop("INSERT INTO app.a VALUES (3)").await.unwrap();
        session.repoint(&to(&new, StartAt::Gtid(GtidUse::SlavePos)), LIMIT).await.unwrap();
        session.start_threads(true, true, LIMIT).await.unwrap();
        eventually(async || rows(&replica).await, |rows| *rows == [1, 2, 3]).await;
        session.stop_replication(LIMIT).await.unwrap();
        assert_ne!(session.gtid_state(LIMIT).await.unwrap().slave_pos, since);
        let place = channel(&mut session).await.status.applied.unwrap();
        let end = new.session(&agent()).await.log_position(LIMIT).await.unwrap().unwrap();
        assert_eq!(place, end, "the end of what was applied, in the new log");
        session.replicate_at(&StartAt::Log(place), LIMIT).await.unwrap();
        session.start_threads(true, true, LIMIT).await.unwrap();
        runs(&mut session).await;
        assert_eq!(channel(&mut session).await.gtid, GtidUse::No);
        app.query_drop("INSERT INTO app.a VALUES (4)").await.unwrap();
        reach(&new, &mut session).await;
        assert_eq!(rows(&replica).await, [1, 2, 3, 4]);

        // And back where it came from, as if nothing had been.
        session.stop_replication(LIMIT).await.unwrap();
        let applied = old_place.status.applied.clone().unwrap();
        session.repoint_back(&old_place, &applied, LIMIT).await.unwrap();
        let back = channel(&mut session).await;
        assert_eq!((&back.status.applied, back.gtid), (&old_place.status.applied, GtidUse::No));
        assert_eq!(back.status.source_port, old_place.status.source_port);
        assert_eq!(back.changed_option(&old_place), None);
    });
}

#[test]
fn an_applier_that_is_told_to_wait_does_not_hold_the_change_up() {
    in_own_network(async {
        let (old, new, replica) = three().await;
        let mut session = replica.session(&agent()).await;
        session.stop_replication(LIMIT).await.unwrap();
        replica.client("boss").await.query_drop(change(&["DELAY = 3600"])).await.unwrap();
        session.start_replication(LIMIT).await.unwrap();
        runs(&mut session).await;
        old.client("app").await.query_drop("INSERT INTO app.a VALUES (3)").await.unwrap();
        eventually(async || channel(&mut session).await.status, |status| status.received != status.applied)
            .await;
        let began = std::time::Instant::now();
        session.stop_replication(LIMIT).await.unwrap();
        session.repoint(&to(&new, StartAt::Gtid(GtidUse::SlavePos)), LIMIT).await.unwrap();
        session.start_threads(true, true, LIMIT).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        runs(&mut session).await;
    });
}
