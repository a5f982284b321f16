//! Moves and fencing while clients do what keeps servers from becoming read-only.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{CLIENT, ConfigFile, M1, M2, Moment, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, other, quick, writers};
use crate::replicas::{self, REPLICAS};
use crate::sides::{Sides, sides};
use crate::watchers::WriterWatch;

/// A client that has run some statements and sits there with its session.
pub(crate) struct Session {
    client: Child,
    input: ChildStdin,
}

impl Session {
    pub(crate) fn begin(lab: &Cluster, host: &str, statements: &str) -> Self {
        let ip = lab.host(host).unwrap().ip.clone();
        let argv = ["mariadb", "-h", &ip, "-uprobe", "-pprobe", "-BN", "--unbuffered", "lab"];
        let mut command = lab.command(CLIENT, &argv).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = command.spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        let mut output = BufReader::new(client.stdout.take().unwrap());
        writeln!(input, "{statements};\nSELECT 'ready';").unwrap();
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the client ended");
        }
        Self { client, input }
    }

    pub(crate) fn end(mut self) {
        self.client.kill().unwrap();
        self.client.wait().unwrap();
    }
}

fn wait_statement(lab: &Cluster, host: &str, words: &str) {
    let query = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{words}%'");
    wait_for(&format!("`{words}` in the process list"), SOON, || {
        let count = lab.sql(host, &query).unwrap().value().unwrap_or_default().to_owned();
        if count == "0" { Err(count) } else { Ok(()) }
    })
    .unwrap();
}

/// Moves the writer away from a host where a client is busy, and looks at what is left.
fn move_past(lab: &Cluster, from: &str, statements: &str, running: Option<&str>) {
    let probe = lab.start_probe().unwrap();
    let watch = WriterWatch::start(lab);
    let mut session = Session::begin(lab, from, statements);
    if let Some(statement) = running {
        writeln!(session.input, "{statement};").unwrap();
        wait_statement(lab, from, statement);
    }
    let (began, at) = (Instant::now(), Moment::now());
    lab.tell(&["move_role", "writer", other(from)]);
    let id = if other(from) == M1 { ID1 } else { ID2 };
    probe.wait_write_by(id, at, SOON).unwrap();
    let took = began.elapsed();
    lab.expect_pair(other(from));
    watch.end();
    let record = lab.judge_clean(&probe);
    let gap = record.gap_after(at).unwrap().length();
    eprintln!("{statements:?}: moved after {took:?}, write gap {gap:?}");
    assert_eq!(writers(&record).len(), 2, "{:?}", writers(&record));
    expect_none_left(lab, from);
    session.end();
}

/// Neither a client's statement nor the agent's waits for anything.
fn expect_none_left(lab: &Cluster, host: &str) {
    let left = lab
        .sql(host, "SELECT GROUP_CONCAT(user, ': ', info) FROM information_schema.processlist WHERE user IN ('probe', 'mmm_agent') AND info IS NOT NULL")
        .unwrap();
    assert_eq!(left.value().filter(|text| *text != "NULL"), None, "statements left behind");
}

#[test]
fn the_writer_moves_past_locks_open_transactions_and_long_selects() {
    let lab = Cluster::up(quick("locks").append(ConfigFile::Common, "max_kill_retries 3"));
    lab.sql(
        M1,
        "CREATE TABLE lab.other (id INT PRIMARY KEY) ENGINE = InnoDB; INSERT INTO lab.other VALUES (1), (2)",
    )
    .unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    move_past(&lab, M1, "START TRANSACTION; INSERT INTO other VALUES (10)", None);
    move_past(&lab, M2, "SELECT COUNT(*) FROM other", Some("SELECT SLEEP(60)"));
    move_past(&lab, M1, "LOCK TABLES other WRITE", None);
    move_past(&lab, M2, "START TRANSACTION; SELECT * FROM other FOR UPDATE", Some("SELECT SLEEP(60)"));
    let rows = lab.sql(M1, "SELECT COUNT(*) FROM lab.other").unwrap();
    assert_eq!(rows.value(), Some("2"), "the transaction that was ended was rolled back");
}

/// Through the host's own address, so that the session does not end with the writer's address.
fn lock(lab: &Cluster) -> Session {
    let session = Session::begin(lab, M1, "LOCK TABLES other WRITE");
    let count = lab
        .sql(M1, "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'probe' AND db = 'lab'")
        .unwrap();
    assert_ne!(count.value(), Some("0"), "nobody holds the lock");
    session
}

#[test]
fn a_planned_move_past_a_lock_held_for_a_minute_leaves_no_statement_behind() {
    let lab = Cluster::quick("locked_move");
    lab.sql(M1, "CREATE TABLE lab.other (id INT PRIMARY KEY) ENGINE = InnoDB").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let session = lock(&lab);
    thread::sleep(Duration::from_mins(1));
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let at = Moment::now();
    lab.tell(&["move_role", "writer", M2]);
    let first = probe.wait_write_by(ID2, at, SOON).unwrap();
    let gap = probe.record().unwrap().gap_after(at).unwrap().length();
    eprintln!(
        "first write on the other {:?} after the word, longest time without one {gap:?}",
        first.end - at
    );
    // Writes go on between the attempts, also those that come after the lease of the beginning.
    assert!(gap < Duration::from_millis(2500), "{gap:?}");
    lab.expect_pair(M2);
    thread::sleep(Duration::from_secs(2));
    expect_none_left(&lab, M1);
    session.end();
    thread::sleep(Duration::from_secs(1));
    lab.expect_pair(M2);
    lab.judge_clean(&probe);
}

#[test]
fn a_lock_held_for_a_minute_leaves_no_statement_behind() {
    let mut lab = Sides::up(sides("locked"));
    lab.sql(M1, "CREATE TABLE lab.other (id INT PRIMARY KEY) ENGINE = InnoDB").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let session = lock(&lab);
    thread::sleep(Duration::from_mins(1));
    lab.lap().expect_undisturbed(ID1);
    let unplugged = lab.unplug(M1).unwrap();
    lab.expect_read_only(M1, SOON);
    let closed = Moment::now() - unplugged;
    let first = lab.wait_write_by(ID2, unplugged) - unplugged;
    eprintln!("closed {closed:?} after the cable was out, first write on the other after {first:?}");
    assert!(closed < first && closed < Duration::from_secs(6), "{closed:?}, {first:?}");
    // What would be left for later: a statement that closes or opens the server once the lock is gone.
    thread::sleep(Duration::from_secs(2));
    expect_none_left(&lab, M1);
    lab.lap().expect_one_writer();
    session.end();
    lab.replug(M1).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer();
    lab.end_accounted();
}

/// A replica whose applier waits for a client's lock when the writer's server is killed: it holds nobody up, and follows later.
fn a_replica_locked_by_a_client(name: &str, gtid: bool) {
    let lab = Cluster::with_replicas(replicas::builder(name, gtid));
    let [locked, free] = REPLICAS;
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.wait_replicated(M1, locked, SOON).unwrap();
    let session = Session::begin(&lab, locked, "LOCK TABLES probe READ");
    wait_for("the applier behind the lock", SOON, || {
        let query = "SELECT COUNT(*) FROM information_schema.processlist \
                     WHERE user = 'system user' AND state LIKE '%metadata lock%'";
        let count = lab.sql(locked, query).unwrap().value().unwrap_or_default().to_owned();
        if count == "0" { Err(count) } else { Ok(()) }
    })
    .unwrap();
    let (probe, killed) = lab.kill_writer_at_rest(&probe);
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    lab.wait_follows(free, M2, SOON);
    let (writer, follower) = (first.end - killed, Moment::now() - first.end);
    eprintln!("{name}: writer after {writer:?}, the other replica after {follower:?}");
    assert!(writer < Duration::from_secs(2) && follower < Duration::from_secs(3), "{writer:?}, {follower:?}");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    session.end();
    let unlocked = Instant::now();
    lab.wait_follows(locked, M2, SOON);
    eprintln!("{name}: the locked one follows {:?} after the end of the lock", unlocked.elapsed());
    probe.stop().unwrap();
    lab.expect_identical(M2, &REPLICAS);
    lab.wait_show("both replicas ONLINE", SOON, |show| {
        REPLICAS.iter().all(|host| show.state(host) == "ONLINE")
    })
    .unwrap();
}

#[test]
fn a_replica_by_gtid_that_a_lock_holds_up_delays_nobody_and_follows_after_it() {
    a_replica_locked_by_a_client("locked_gtid", true);
}

#[test]
fn a_replica_by_file_that_a_lock_holds_up_delays_nobody_and_follows_after_it() {
    a_replica_locked_by_a_client("locked_file", false);
}
