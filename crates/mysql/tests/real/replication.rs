//! Replication between two real servers, and ending clients without hurting it.

use std::time::{Duration, Instant};

use crate::rig::{LIMIT, Server, agent, eventually, flavour, in_own_network, monitor};
use mmm_mysql::{
    Account, CheckVerdict, Coordinates, Flavour, LogEvent, ReplicaStatus, Session, ThreadState, WaitOutcome,
    rep_backlog_check, rep_threads_check,
};
use mysql_async::prelude::Queryable;
use rustix::process::Signal;

const WAIT: Duration = Duration::from_millis(250);

async fn status(session: &mut Session) -> ReplicaStatus {
    session.replica_status(LIMIT).await.unwrap().expect("replication is set up")
}

async fn running_pair() -> (Server, Server) {
    let (source, replica) = (Server::start(12).await, Server::start(13).await);
    replica.replicate_from(&source).await;
    let mut session = replica.session(&agent()).await;
    session.start_replication(LIMIT).await.unwrap();
    eventually(
        async || status(&mut session).await,
        |s| s.io == ThreadState::Yes && s.sql == ThreadState::Yes,
    )
    .await;
    (source, replica)
}

#[test]
fn replication_is_read_waited_for_stopped_and_started() {
    in_own_network(async {
        let (source, replica) = running_pair().await;
        let mut on_source = source.session(&agent()).await;
        let mut session = replica.session(&agent()).await;
        let mut app = source.client("app").await;

        app.query_drop("INSERT INTO app.a VALUES (1)").await.unwrap();
        let written = on_source.log_position(LIMIT).await.unwrap().expect("the source has a log");
        assert_eq!(session.wait_for_position(&written, LIMIT).await.unwrap(), WaitOutcome::Reached);
        let now = status(&mut session).await;
        assert_eq!((now.source_host.as_str(), now.source_port), ("127.0.0.1", source.endpoint.port));
        assert_eq!((now.source_server_id, now.source_user.as_str()), (12, "repl"));
        assert_eq!((now.received.as_ref(), now.applied.as_ref()), (Some(&written), Some(&written)));
        let gtid = on_source.gtid_state(LIMIT).await.unwrap().binlog_state;
        match on_source.identity().flavour {
            Flavour::MariaDb => assert!(gtid.contains("0-12-"), "{gtid}"),
            Flavour::MySql => {
                let uuid = on_source.identity().uuid.clone().unwrap();
                assert_eq!(gtid, format!("{uuid}:1"));
                assert_eq!(now.gtid_sets, Some((gtid.clone(), gtid)));
            }
        }
        assert_eq!(session.busy_appliers(LIMIT).await.unwrap(), 0);

        // Fetching stops; what the source writes now does not arrive.
        session.stop_receiving(LIMIT).await.unwrap();
        let held = status(&mut session).await;
        assert_eq!((held.io, held.sql), (ThreadState::No, ThreadState::Yes));
        app.query_drop("INSERT INTO app.a VALUES (2)").await.unwrap();
        let later = on_source.log_position(LIMIT).await.unwrap().unwrap();
        let began = Instant::now();
        assert_eq!(session.wait_for_position(&later, WAIT).await.unwrap(), WaitOutcome::TimedOut);
        assert!((WAIT..WAIT * 8).contains(&began.elapsed()), "{:?}", began.elapsed());

        session.start_receiving(LIMIT).await.unwrap();
        assert_eq!(session.wait_for_position(&later, LIMIT).await.unwrap(), WaitOutcome::Reached);

        session.stop_replication(LIMIT).await.unwrap();
        let stopped = status(&mut session).await;
        assert_eq!((stopped.io, stopped.sql), (ThreadState::No, ThreadState::No));
        let beyond = Coordinates { pos: later.pos + 1000, ..later };
        assert_eq!(session.wait_for_position(&beyond, LIMIT).await.unwrap(), WaitOutcome::NotAReplica);
        assert_eq!(on_source.wait_for_position(&beyond, LIMIT).await.unwrap(), WaitOutcome::NotAReplica);
        assert_eq!(on_source.replica_status(LIMIT).await.unwrap(), None);
    });
}

#[test]
fn the_survivor_of_a_killed_source_has_no_replication_failure() {
    in_own_network(async {
        let (source, replica) = running_pair().await;
        let mut session = replica.session(&monitor()).await;
        let result = session.replica_status(LIMIT).await;
        assert_eq!(rep_threads_check(&result), CheckVerdict::Ok("OK".into()));
        assert_eq!(rep_backlog_check(&result, 60), CheckVerdict::Ok("OK: Backlog is null".into()));

        source.signal(Signal::KILL);
        let lost = eventually(async || status(&mut session).await, |s| s.io == ThreadState::Connecting).await;
        assert_eq!(rep_threads_check(&Ok(Some(lost.clone()))), CheckVerdict::Ok("OK".into()));
        assert_eq!(rep_backlog_check(&Ok(Some(lost)), 60), CheckVerdict::Ok("OK: Backlog is null".into()));
    });
}

#[test]
fn clients_are_ended_and_replication_is_not() {
    in_own_network(async {
        let (source, replica) = running_pair().await;
        let mut on_source = source.session(&agent()).await;
        let mut on_replica = replica.session(&agent()).await;
        let _spared = source.session(&monitor()).await;
        let mut app = source.client("app").await;
        app.query_drop("BEGIN").await.unwrap();
        app.query_drop("INSERT INTO app.a VALUES (7)").await.unwrap();

        // InnoDB renews its list of transactions ten times a second.
        let list = async || on_source.client_threads(&["mmm_monitor"], LIMIT).await.unwrap();
        let clients = eventually(list, |threads| threads.iter().any(|t| t.in_transaction)).await;
        let users: Vec<_> = clients.iter().map(|thread| thread.user.as_str()).collect();
        assert_eq!(users, ["app"], "{clients:?}");
        assert_eq!(clients[0].id, u64::from(app.id()));
        assert_eq!(on_replica.client_threads(&[], LIMIT).await.unwrap(), []);

        on_source.kill(clients[0].id, LIMIT).await.unwrap();
        app.query_drop("COMMIT").await.unwrap_err();
        let rows: Option<u32> = source.client("app").await.query_first("SELECT n FROM app.a").await.unwrap();
        assert_eq!(rows, None);
        // It has gone by itself meanwhile: that is what was wanted.
        on_source.kill(clients[0].id, LIMIT).await.unwrap();

        let now = status(&mut on_replica).await;
        assert_eq!((now.io, now.sql), (ThreadState::Yes, ThreadState::Yes));
    });
}

#[test]
fn a_replica_may_read_the_log_of_its_source() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut app = server.client("app").await;
        let mut session = server.session(&Account::new("repl", "repl")).await;
        let before = server.session(&agent()).await.log_position(LIMIT).await.unwrap().unwrap();
        app.query_drop("INSERT INTO app.a VALUES (1)").await.unwrap();
        let after = server.session(&agent()).await.log_position(LIMIT).await.unwrap().unwrap();
        let beginning = Coordinates { pos: 4, ..before.clone() };
        // MariaDB wants a privilege of its own for this; it is never needed there, since its transactions always have GTIDs.
        if flavour() == Flavour::MariaDb {
            return assert_eq!(
                session.log_events(&beginning, 500, LIMIT).await.unwrap_err().code(),
                Some(1227)
            );
        }
        let head = session.log_events(&beginning, 500, LIMIT).await.unwrap().unwrap();
        assert!(
            head.iter().take_while(|event| event.end <= before.pos).all(LogEvent::is_housekeeping),
            "{head:?}"
        );
        let written = session.log_events(&before, 500, LIMIT).await.unwrap().unwrap();
        assert!(written.iter().all(|event| event.server_id == 12 && !event.is_housekeeping()), "{written:?}");
        assert_eq!(written.last().map(|event| event.end), Some(after.pos));
        assert_eq!(session.log_events(&after, 500, LIMIT).await.unwrap(), Some(Vec::new()));
        let next = after.next_file().unwrap();
        assert_eq!(session.log_events(&next, 500, LIMIT).await.unwrap(), None, "{next}");
    });
}
