//! Planned moves among clients that hold locks, over links that are cut, and beside programs that die: they come to their end, or are
//! undone without anything being lost.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, MON, Manner, Moment, Probe, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick, writers};

fn description(name: &str, flavour: Flavour) -> Builder {
    let builder = quick(name)
        .server(flavour)
        .gtid()
        .append(ConfigFile::Common, "max_kill_retries 2")
        .append(ConfigFile::Monitor, QUICK_CHECKS);
    match flavour {
        // By which locks are seen there.
        Flavour::MySql97 => builder.server_line("performance_schema = ON"),
        _ => builder,
    }
}

/// A cluster in which clients write, with tables for others to lock, whose agents may look at locks.
fn cluster(name: &str, flavour: Flavour) -> (Cluster, Probe) {
    let lab = Cluster::up(description(name, flavour));
    for table in ["locked", "long", "open"] {
        let sql = format!(
            "CREATE TABLE lab.{table} (id INT PRIMARY KEY) ENGINE = InnoDB; INSERT INTO lab.{table} VALUES (1), (2)"
        );
        lab.sql(M1, &sql).unwrap();
    }
    match flavour {
        Flavour::MySql97 => {
            let grant = "GRANT SELECT ON performance_schema.* TO mmm_agent@'192.168.8.%'";
            lab.sql(M1, grant).unwrap();
        }
        _ => {
            for host in [M1, M2] {
                lab.sql(host, "INSTALL SONAME 'metadata_lock_info'").unwrap();
            }
        }
    }
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    (lab, probe)
}

/// Waits until a client's statement runs, or its session waits with what it has taken.
fn wait_statement(lab: &Cluster, host: &str, words: &str) {
    let query = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{words}%'");
    wait_for(&format!("`{words}` in the process list"), SOON, || {
        let count = lab.sql(host, &query).unwrap().value().unwrap_or_default().to_owned();
        if count == "0" { Err(count) } else { Ok(()) }
    })
    .unwrap();
}

/// Statements of a client that sits on what it has until it is ended, or for this long.
struct Client<'lab> {
    thread: thread::ScopedJoinHandle<'lab, ()>,
}

fn client<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    lab: &'scope Cluster,
    statements: &str,
    seconds: u32,
) -> Client<'scope> {
    // Each sleeps for a time of its own, by which it is told from the others.
    let sleeping = format!("SELECT SLEEP({seconds})");
    let all = format!("{statements}; {sleeping}");
    let thread = scope.spawn(move || {
        // That it was ended is what most of these are for.
        let _ = lab.sql_within(M1, &all, Duration::from_secs(u64::from(seconds) + 5));
    });
    wait_statement(lab, M1, &sleeping);
    Client { thread }
}

impl Client<'_> {
    fn end(self, lab: &Cluster, seconds: u32) {
        let query =
            format!("SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP({seconds})'");
        if let Some(id) = lab.sql(M1, &query).unwrap().value() {
            // It may have ended by itself meanwhile.
            let _ = lab.sql(M1, &format!("KILL {id}"));
        }
        self.thread.join().unwrap();
    }
}

fn moves_past_open_transactions_and_reads(name: &str, flavour: Flavour) {
    let (lab, probe) = cluster(name, flavour);
    thread::scope(|scope| {
        client(scope, &lab, "START TRANSACTION; INSERT INTO lab.open VALUES (10)", 31);
        client(scope, &lab, "SELECT COUNT(*) FROM lab.open", 30);
        let at = Moment::now();
        let answer = lab.tell(&["move_role", "writer", M2]);
        assert!(answer.starts_with("OK: Role 'writer' has been moved"), "{answer}");
        probe.wait_write_by(ID2, at, SOON).unwrap();
        lab.expect_pair(M2);
        let record = lab.judge_clean(&probe);
        let gap = record.gap_after(at).unwrap().length();
        eprintln!("{name}: write gap {gap:?}");
        assert!(gap < Duration::from_secs(1), "{gap:?}");
        assert_eq!(writers(&record), [ID1, ID2]);
        for seconds in [30, 31] {
            let left = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(";
            if flavour != Flavour::MySql97 {
                let left = lab.sql(M1, &format!("{left}{seconds})'")).unwrap();
                assert_eq!(left.value(), Some("0"), "a client of the old writer is left");
            }
            let killer = format!(
                "SELECT GROUP_CONCAT(id) FROM information_schema.processlist WHERE info = 'SELECT SLEEP({seconds})'"
            );
            if let Some(id) = lab.sql(M1, &killer).unwrap().value().filter(|id| *id != "NULL") {
                let _ = lab.sql(M1, &format!("KILL {id}"));
            }
        }
        let rows = lab.sql(M2, "SELECT COUNT(*) FROM lab.open").unwrap();
        assert_eq!(rows.value(), Some("2"), "the transaction that was ended was rolled back");
    });
}

#[test]
fn a_planned_move_past_an_open_transaction_and_a_long_read() {
    moves_past_open_transactions_and_reads("planned_past", Flavour::MariaDb1011);
}

/// On `MariaDB` they share a mutex, and ending one while another wakes up takes 2 s.
#[test]
fn a_planned_move_past_many_that_sleep() {
    let (lab, probe) = cluster("planned_sleep", Flavour::MariaDb1011);
    thread::scope(|scope| {
        for seconds in 30..54 {
            client(scope, &lab, "SELECT 1", seconds);
        }
        let at = Moment::now();
        lab.tell(&["move_role", "writer", M2]);
        probe.wait_write_by(ID2, at, SOON).unwrap();
        let gap = lab.judge_clean(&probe).gap_after(at).unwrap().length();
        eprintln!("planned_sleep: write gap {gap:?}");
        assert!(gap < Duration::from_secs(1), "{gap:?}");
    });
}

#[test]
fn mysql_9_7_moves_past_an_open_transaction_and_a_long_read() {
    moves_past_open_transactions_and_reads("planned_past97", Flavour::MySql97);
}

/// Every kind of connection that a move would meet is in the plan, by user, age and statement; and nothing happens.
fn plan_lists_what_is_in_the_way(name: &str, flavour: Flavour) {
    let (lab, probe) = cluster(name, flavour);
    let plan = || lab.tell(&["plan", "move_role", "writer", M2]);
    thread::scope(|scope| {
        let lock = client(scope, &lab, "LOCK TABLES lab.locked WRITE", 41);
        let open = client(scope, &lab, "START TRANSACTION; INSERT INTO lab.open VALUES (10)", 42);
        let read = client(scope, &lab, "SELECT 'secret'", 43);
        let long = scope.spawn(|| {
            let _ = lab.sql_within(M1, "UPDATE lab.long SET id = id + SLEEP(44) WHERE id = 1", SOON * 3);
        });
        wait_statement(&lab, M1, "UPDATE lab.long");
        thread::sleep(Duration::from_millis(2500));
        let text = plan();
        eprintln!("{text}");
        for part in [
            "Nothing has been done.",
            "holds a lock on lab.locked",
            "a statement that writes: `UPDATE lab.long SET id = id + SLEEP(?) WHERE id = ?`",
            "an open transaction",
            "a statement that reads: `SELECT SLEEP(?)`",
            "of 'lab' from localhost, for ",
            "Nothing that was seen forbids this move.",
        ] {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&lab.tell(&["--json", "plan", "move_role", "writer", M2])).unwrap();
        assert_eq!(json["possible"], true, "{json:#}");
        for (held, seconds) in [(lock, 41), (open, 42), (read, 43)] {
            held.end(&lab, seconds);
        }
        let query = "SELECT id FROM information_schema.processlist WHERE info LIKE 'UPDATE lab.long%'";
        let id = lab.sql(M1, query).unwrap().value().unwrap().to_owned();
        lab.sql(M1, &format!("KILL {id}")).unwrap();
        long.join().unwrap();
    });
    lab.judge_undisturbed(&probe, ID1);
    thread::scope(|scope| {
        let lock = client(scope, &lab, "FLUSH TABLES WITH READ LOCK", 45);
        let text = plan();
        assert!(text.contains("holds the global read lock"), "{text}");
        lock.end(&lab, 45);
    });
    assert_eq!(lab.holders(WRITER).unwrap(), [M1]);
}

#[test]
fn a_plan_lists_locks_transactions_and_statements() {
    plan_lists_what_is_in_the_way("plan", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_plan_lists_locks_transactions_and_statements() {
    plan_lists_what_is_in_the_way("plan97", Flavour::MySql97);
}

/// The threads of the replication still say that they run: the writer stays, and nobody notices anything.
fn link_cut_before(name: &str, flavour: Flavour) {
    let (lab, probe) = cluster(name, flavour);
    lab.cut(M1, M2, Manner::Drop).unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let began = Instant::now();
    let answer = lab.refusal(&["move_role", "writer", M2]);
    eprintln!("{name}: after {:?}: {answer}", began.elapsed());
    assert!(
        answer.contains("stays on") && answer.contains("has not received what the writer had"),
        "{answer}"
    );
    lab.heal_all().unwrap();
    lab.judge_undisturbed(&probe, ID1);
    lab.expect_pair(M1);
}

#[test]
fn a_move_over_a_link_that_was_cut_just_before_stops_nothing() {
    link_cut_before("cut_before", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_moves_over_no_link_that_was_cut_just_before() {
    link_cut_before("cut_before97", Flavour::MySql97);
}

/// What happens while the old writer still waits for a lock, and the target had caught up before.
fn during_closing(lab: &Cluster, act: impl FnOnce()) -> String {
    let length = lab.log_length();
    thread::scope(|scope| {
        // Ended by the agent after some attempts.
        client(scope, lab, "LOCK TABLES lab.locked WRITE", 25);
        let moved = scope.spawn(|| lab.control(&["move_role", "writer", M2]).unwrap());
        lab.wait_log_since(length, "Admin moved role 'writer'", SOON);
        act();
        let answer = moved.join().unwrap();
        eprintln!("{answer}");
        answer.stdout
    })
}

/// The target can't get the last part of the log: the role goes back to where that is.
fn link_cut_between(name: &str, flavour: Flavour) {
    let (lab, probe) = cluster(name, flavour);
    let at = Moment::now();
    let answer = during_closing(&lab, || {
        lab.cut(M1, M2, Manner::Drop).unwrap();
    });
    assert!(answer.starts_with("ERROR: Role 'writer(192.168.8.30)' was not moved"), "{answer}");
    assert!(answer.contains("This was undone: 'MySQL-M1' takes writes again"), "{answer}");
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.heal_all().unwrap();
    lab.expect_pair(M1);
    let record = lab.judge_clean(&probe);
    let gap = record.gap_after(at).unwrap().length();
    eprintln!("{name}: write gap {gap:?}");
    assert_eq!(writers(&record), [ID1]);
    assert!(gap < Duration::from_secs(12), "{gap:?}");
}

#[test]
fn a_move_whose_target_can_not_get_the_rest_of_the_log_is_undone() {
    link_cut_between("cut_between", Flavour::MariaDb1011);
}

/// Without its right to end clients the agent can't get past a lock.
fn closing_in_vain(name: &str, flavour: Flavour) {
    let (lab, probe) = cluster(name, flavour);
    // On MySQL nobody without it ends connections of administrators.
    let right = if flavour == Flavour::MySql97 { "SYSTEM_USER" } else { "CONNECTION ADMIN" };
    lab.sql(M1, &format!("REVOKE {right} ON *.* FROM mmm_agent@'192.168.8.%'")).unwrap();
    // What an account may do is looked up when it logs in.
    let own = "SELECT id FROM information_schema.processlist WHERE user = 'mmm_agent'";
    for id in lab.sql(M1, own).unwrap().rows.iter().filter_map(|row| row[0].clone()) {
        // One that has ended meanwhile is fine.
        let _ = lab.sql(M1, &format!("KILL {id}"));
    }
    lab.expect_pair(M1);
    let answer = thread::scope(|scope| {
        let lock = client(scope, &lab, "LOCK TABLES lab.locked WRITE", 50);
        let answer = lab.refusal(&["move_role", "writer", M2]);
        lock.end(&lab, 50);
        answer
    });
    eprintln!("{answer}");
    assert!(answer.contains("'MySQL-M1' did not let go of it within 10 s"), "{answer}");
    assert!(answer.contains("This was undone: 'MySQL-M1' takes writes again"), "{answer}");
    assert!(answer.contains("holds a lock on lab.locked"), "{answer}");
    lab.expect_pair(M1);
    let record = lab.judge_clean(&probe);
    assert_eq!(writers(&record), [ID1]);
    let longest = record.gaps().iter().map(mmm_lab::Gap::length).max().unwrap();
    assert!(longest < Duration::from_secs(5), "writes flow between the attempts: {longest:?}");
}

#[test]
fn a_move_past_a_lock_that_can_not_be_ended_is_undone() {
    closing_in_vain("vain", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_undoes_a_move_past_a_lock_that_can_not_be_ended() {
    closing_in_vain("vain97", Flavour::MySql97);
}

/// Programs that may die in a move, each of which somebody starts again.
#[derive(Clone, Copy, Debug)]
enum Dies {
    Monitor,
    OldWriter,
    NewWriter,
}

impl Dies {
    const ALL: [Self; 3] = [Self::Monitor, Self::OldWriter, Self::NewWriter];

    fn now(self, lab: &Cluster) {
        match self {
            Self::Monitor => {
                lab.kill(MON, Program::Monitor).unwrap();
                lab.start(MON, Program::Monitor).unwrap();
            }
            // Its parent starts it again.
            Self::OldWriter => drop(lab.kill_agent_worker(M1).unwrap()),
            Self::NewWriter => drop(lab.kill_agent_worker(M2).unwrap()),
        }
    }
}

/// Who serves as the writer in the end, whichever it is.
fn wait_writer(lab: &Cluster) -> &'static str {
    let mut found = M1;
    wait_for("a writer in service", SOON * 2, || {
        let holders = lab.holders(WRITER).unwrap();
        // Who asks may be among the clients that an agent ends.
        let closed: Result<Vec<bool>, _> = [M1, M2].iter().map(|host| lab.is_read_only(host)).collect();
        let closed = closed.map_err(|error| error.to_string())?;
        match (holders.as_slice(), closed.as_slice()) {
            ([holder], [false, true]) if *holder == M1 => found = M1,
            ([holder], [true, false]) if *holder == M2 => found = M2,
            seen => return Err(format!("{seen:?}")),
        }
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn whoever_dies_while_the_old_writer_closes_the_move_comes_to_an_end() {
    let (lab, probe) = cluster("dies_closing", Flavour::MariaDb1011);
    for dies in Dies::ALL {
        during_closing(&lab, || dies.now(&lab));
        let writer = wait_writer(&lab);
        eprintln!("{dies:?}: the writer is {writer}");
        lab.expect_pair(writer);
        probe.wait_write(Moment::now(), SOON).unwrap();
        if writer == M2 {
            lab.wait_replicated(M2, M1, SOON).unwrap();
            lab.tell(&["move_role", "writer", M1]);
            lab.expect_pair(M1);
        }
    }
    lab.judge_clean(&probe);
}

/// Nothing more is written at this point, and only the old writer has everything.
#[test]
fn whoever_dies_while_the_new_writer_waits_for_the_rest_the_old_one_goes_on() {
    let (lab, probe) = cluster("dies_waiting", Flavour::MariaDb1011);
    for dies in Dies::ALL {
        let length = lab.log_length();
        during_closing(&lab, || {
            lab.cut(M1, M2, Manner::Drop).unwrap();
            lab.wait_log_since(length, "Granting role 'writer(192.168.8.30)' to 'MySQL-M2'", SOON);
            thread::sleep(Duration::from_millis(500));
            dies.now(&lab);
        });
        let writer = wait_writer(&lab);
        eprintln!("{dies:?}: the writer is {writer}");
        assert_eq!(writer, M1, "{dies:?}");
        lab.heal_all().unwrap();
        lab.expect_pair(M1);
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    }
    let record = lab.judge_clean(&probe);
    assert_eq!(writers(&record), [ID1]);
}
