//! Becoming read-only on a real server, with and without somebody in the way.

use std::time::{Duration, Instant};

use crate::rig::{LIMIT, Server, agent, in_own_network};
use mmm_mysql::{ClientThread, ErrorKind, ReadOnlyOutcome, Session};
use mysql_async::prelude::Queryable;

const WAIT: Duration = Duration::from_millis(200);

/// What the agent's account has running in the server, apart from `session` itself.
/// What waits for a lock stays; a connection that was just closed is in the list for a moment longer.
async fn left_behind(session: &mut Session) -> Vec<ClientThread> {
    let until = Instant::now() + LIMIT;
    loop {
        let threads = session.client_threads(&["app"], LIMIT).await.unwrap();
        if threads.is_empty() || Instant::now() >= until {
            return threads;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn read_only_goes_on_and_off_and_holds_back_clients() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&agent()).await;
        let mut app = server.client("app").await;
        assert!(!session.read_only(LIMIT).await.unwrap());

        assert_eq!(session.set_read_only(true, WAIT, LIMIT).await.unwrap(), ReadOnlyOutcome::Done);
        assert!(session.read_only(LIMIT).await.unwrap());
        let refused = app.query_drop("INSERT INTO app.a VALUES (1)").await.unwrap_err();
        assert!(matches!(&refused, mysql_async::Error::Server(said) if said.code == 1290), "{refused}");

        assert_eq!(session.set_read_only(false, WAIT, LIMIT).await.unwrap(), ReadOnlyOutcome::Done);
        assert!(!session.read_only(LIMIT).await.unwrap());
        app.query_drop("INSERT INTO app.a VALUES (1)").await.unwrap();
    });
}

#[test]
fn a_held_lock_ends_the_attempt_and_leaves_nothing_behind() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&agent()).await;
        let mut holder = server.client("app").await;
        holder.query_drop("LOCK TABLES app.a WRITE").await.unwrap();

        let began = Instant::now();
        assert_eq!(session.set_read_only(true, WAIT, LIMIT).await.unwrap(), ReadOnlyOutcome::LockHeld);
        assert!((WAIT..WAIT * 10).contains(&began.elapsed()), "{:?}", began.elapsed());

        // The session is as good as before: nothing waits, others write.
        assert!(!session.read_only(LIMIT).await.unwrap());
        assert_eq!(left_behind(&mut session).await, []);
        server.client("app").await.query_drop("INSERT INTO app.b VALUES (1)").await.unwrap();
        holder.query_drop("UNLOCK TABLES").await.unwrap();
        assert_eq!(session.set_read_only(true, WAIT, LIMIT).await.unwrap(), ReadOnlyOutcome::Done);
    });
}

#[test]
fn a_missed_deadline_ends_the_statement_in_the_server() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&agent()).await;
        let mut holder = server.client("app").await;
        holder.query_drop("LOCK TABLES app.a WRITE").await.unwrap();

        let began = Instant::now();
        let outcome = session.set_read_only(true, Duration::from_mins(1), WAIT).await.unwrap();
        assert_eq!(outcome, ReadOnlyOutcome::LockHeld);
        assert!(began.elapsed() < WAIT + Duration::from_secs(2), "{:?}", began.elapsed());
        let closed = session.read_only(LIMIT).await.unwrap_err();
        assert!(matches!(closed.kind, ErrorKind::Closed { .. }), "{closed}");

        let mut second = server.session(&agent()).await;
        assert_eq!(left_behind(&mut second).await, []);
        let kills: Option<(String, u32)> =
            server.client("boss").await.query_first("SHOW GLOBAL STATUS LIKE 'Com_kill'").await.unwrap();
        assert_eq!(
            kills.map(|(_, count)| count),
            Some(1),
            "the server might have noticed the closed socket by itself"
        );
        server.client("app").await.query_drop("INSERT INTO app.b VALUES (1)").await.unwrap();
        holder.query_drop("UNLOCK TABLES").await.unwrap();
        // Nothing that was left waiting takes effect once the lock is gone.
        server.client("app").await.query_drop("INSERT INTO app.a VALUES (1)").await.unwrap();
        assert!(!second.read_only(LIMIT).await.unwrap());
    });
}

#[test]
fn a_cancelled_call_ends_the_session() {
    in_own_network(async {
        let server = Server::start(12).await;
        let mut session = server.session(&agent()).await;
        let mut holder = server.client("app").await;
        holder.query_drop("LOCK TABLES app.a WRITE").await.unwrap();
        let cancelled = tokio::time::timeout(WAIT, session.set_read_only(true, LIMIT, LIMIT)).await;
        assert!(cancelled.is_err());
        assert!(!session.is_usable());
    });
}
