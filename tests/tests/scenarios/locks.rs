//! Planned moves while clients do what keeps servers from becoming read-only.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Instant;

use mmm_lab::{CLIENT, ConfigFile, M1, M2, Moment, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, other, quick, writers};
use crate::watchers::WriterWatch;

/// A client that has run some statements and sits there with its session.
struct Session {
    client: Child,
    input: ChildStdin,
}

impl Session {
    fn begin(lab: &Cluster, host: &str, statements: &str) -> Self {
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

    fn end(mut self) {
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
    let left = lab
        .sql(from, "SELECT GROUP_CONCAT(user, ': ', info) FROM information_schema.processlist WHERE user IN ('probe', 'mmm_agent') AND info IS NOT NULL")
        .unwrap();
    assert_eq!(left.value(), None, "statements left behind");
    session.end();
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
