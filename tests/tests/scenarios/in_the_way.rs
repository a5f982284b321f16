//! What a planned move meets besides clients at work: backups, a lock on everything, prepared branches of distributed transactions, and commits
//! that begin to hang when the move has begun. Each is in the plan, and the move comes to its end or is undone.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{
    Builder, Clients, ConfigFile, Flavour, Gap, Life, Load, M1, M2, Manner, Moment, Output, Program,
    Tolerance, WRITER, wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

fn is_mysql(flavour: Flavour) -> bool {
    flavour == Flavour::MySql97
}

fn description(name: &str, flavour: Flavour) -> Builder {
    let builder = quick(name)
        .server(flavour)
        .gtid()
        .append(ConfigFile::Common, "max_kill_retries 2")
        .append(ConfigFile::Monitor, QUICK_CHECKS);
    // By which locks are seen there.
    if is_mysql(flavour) { builder.server_line("performance_schema = ON") } else { builder }
}

/// A cluster whose agents may look at locks, with clients at work.
fn at_work(name: &str, flavour: Flavour) -> (Cluster, Clients) {
    let lab = Cluster::up(description(name, flavour));
    lab.sql(M1, "CREATE TABLE lab.guest (id INT PRIMARY KEY) ENGINE = InnoDB").unwrap();
    if is_mysql(flavour) {
        let grant = "GRANT SELECT ON performance_schema.* TO mmm_agent@'192.168.8.%'; \
            GRANT XA_RECOVER_ADMIN ON *.* TO mmm_agent@'192.168.8.%'";
        lab.sql(M1, grant).unwrap();
    } else {
        for host in [M1, M2] {
            lab.sql(host, "INSTALL SONAME 'metadata_lock_info'").unwrap();
        }
    }
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.wait_covered(SOON).unwrap();
    let clients = begin_work(&lab);
    (lab, clients)
}

fn begin_work(lab: &Cluster) -> Clients {
    // Few writes: a replica on a busy machine that never gets to the end of the log has the move refused, rightly.
    let load = Load { every: Duration::from_millis(60), ..Load::default() };
    let clients = lab.start_clients(&load).unwrap();
    thread::sleep(Duration::from_secs(1));
    clients
}

/// Both masters have all that was acknowledged; the longest time without a write since then.
fn judge(lab: &Cluster, clients: &Clients, since: Moment) -> Duration {
    clients.stop().unwrap();
    for host in [M1, M2] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 30, "{judgement}");
    clients.record().unwrap().gap_after(since).as_ref().map(Gap::length).unwrap_or_default()
}

/// A session on the server's own host that sits on what it has taken for so many seconds, by which it is found.
fn guest<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    lab: &'scope Cluster,
    (host, statements, seconds): (&'scope str, &str, u32),
) -> thread::ScopedJoinHandle<'scope, bool> {
    let sleeping = format!("SELECT SLEEP({seconds})");
    let all = format!("{statements}; {sleeping}");
    let limit = Duration::from_secs(u64::from(seconds) + 5);
    let session = scope.spawn(move || lab.sql_within(host, &all, limit).is_ok());
    wait_for("the guest", SOON, || {
        let query = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE info = '{sleeping}'");
        match lab.sql(host, &query).unwrap().value() {
            Some("0") | None => Err(String::new()),
            Some(_) => Ok(()),
        }
    })
    .unwrap();
    thread::sleep(Duration::from_millis(1200));
    session
}

fn expect_plan(lab: &Cluster, parts: &[&str]) {
    let plan = lab.tell(&["plan", "move_role", "writer", M2]);
    eprintln!("{plan}");
    for part in parts.iter().chain(&["Nothing that was seen forbids this move."]) {
        assert!(plan.contains(part), "no `{part}` in {plan}");
    }
}

fn move_past(lab: &Cluster, clients: &Clients, limit: Duration) {
    let (began, at) = (Instant::now(), Moment::now());
    let answer = lab.tell(&["move_role", "writer", M2]);
    assert!(answer.starts_with("OK") && began.elapsed() < limit, "after {:?}: {answer}", began.elapsed());
    clients.wait_by(ID2, at, SOON).unwrap();
    lab.expect_pair(M2);
}

/// A backup does not keep the writer from moving, and is broken off by it: the plan says so.
fn backup(name: &str, flavour: Flavour) {
    let (lab, clients) = at_work(name, flavour);
    let begin = if is_mysql(flavour) {
        "LOCK INSTANCE FOR BACKUP"
    } else {
        "BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL"
    };
    let at = thread::scope(|scope| {
        let backup = guest(scope, &lab, (M1, begin, 31));
        expect_plan(&lab, &["holds a lock for a backup", "the backup is broken off"]);
        let at = Moment::now();
        move_past(&lab, &clients, SOON);
        assert!(!backup.join().unwrap(), "the backup went on");
        at
    });
    let gap = judge(&lab, &clients, at);
    assert!(gap < Duration::from_secs(2), "{gap:?}");
}

#[test]
fn a_backup_on_the_writer_is_told_and_broken_off_by_a_move() {
    backup("way_backup", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_backup_on_the_writer_is_told_and_broken_off_by_a_move() {
    backup("way_my_backup", Flavour::MySql97);
}

/// Nobody commits while somebody holds the global read lock; the move ends that.
fn locked_as_a_whole(name: &str, flavour: Flavour) {
    let (lab, clients) = at_work(name, flavour);
    thread::scope(|scope| {
        let lock = guest(scope, &lab, (M1, "FLUSH TABLES WITH READ LOCK", 32));
        expect_plan(&lab, &["holds the global read lock", "holds up every commit already"]);
        move_past(&lab, &clients, SOON);
        assert!(!lock.join().unwrap(), "the lock was kept");
    });
    judge(&lab, &clients, Moment::now());
}

#[test]
fn a_move_ends_a_global_read_lock_on_the_old_writer() {
    locked_as_a_whole("way_ftwrl", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_move_ends_a_global_read_lock_on_the_old_writer() {
    locked_as_a_whole("way_my_ftwrl", Flavour::MySql97);
}

/// On the target it keeps replication from applying: nothing is stopped for a move that could not be finished, and who is in the way is told.
fn target_locked(name: &str, flavour: Flavour) {
    let (lab, clients) = at_work(name, flavour);
    let at = Moment::now();
    thread::scope(|scope| {
        let lock = guest(scope, &lab, (M2, "FLUSH TABLES WITH READ LOCK", 33));
        let answer = lab.refusal(&["move_role", "writer", M2]);
        eprintln!("{answer}");
        assert!(answer.contains("stays on") && answer.contains("holds the global read lock"), "{answer}");
        assert_eq!(lab.holders(WRITER).unwrap(), [M1]);
        let query = "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(33)'";
        let id = lab.sql(M2, query).unwrap().value().unwrap().to_owned();
        lab.sql(M2, &format!("KILL {id}")).unwrap();
        lock.join().unwrap();
    });
    let gap = judge(&lab, &clients, at);
    assert!(gap < Duration::from_secs(1), "nothing was to be noticed: {gap:?}");
}

#[test]
fn a_global_read_lock_on_the_target_stops_nothing_on_the_writer() {
    target_locked("way_target", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_global_read_lock_on_the_target_stops_nothing_on_the_writer() {
    target_locked("way_my_target", Flavour::MySql97);
}

fn prepared_on(lab: &Cluster, host: &str) -> usize {
    lab.sql(host, "XA RECOVER").unwrap().rows.len()
}

/// A prepared branch outlives its client and the move: it waits on the new writer for the word that ends it.
fn prepared(name: &str, flavour: Flavour) {
    let (lab, clients) = at_work(name, flavour);
    let prepare = |id: u32| {
        let branch = format!("'way{id}','q',3");
        let statements = format!(
            "XA START {branch}; INSERT INTO lab.guest VALUES ({id}); XA END {branch}; XA PREPARE {branch}"
        );
        lab.sql(M1, &statements).unwrap();
        branch
    };
    let (commits, rolls_back) = (prepare(1), prepare(2));
    thread::sleep(Duration::from_millis(1500));
    expect_plan(&lab, &["2 prepared branches of distributed transactions (XA)", "XA COMMIT", "on both"]);
    // By names with which they can be ended.
    let names = if is_mysql(flavour) {
        ["0x77617931,0x71,3", "0x77617932,0x71,3"]
    } else {
        [&*commits, &*rolls_back]
    };
    expect_plan(&lab, &names);
    let at = Moment::now();
    move_past(&lab, &clients, SOON);
    for host in [M1, M2] {
        assert_eq!(prepared_on(&lab, host), 2, "{host}");
    }
    lab.sql(M2, &format!("XA COMMIT {commits}")).unwrap();
    lab.sql(M2, &format!("XA ROLLBACK {rolls_back}")).unwrap();
    let gap = judge(&lab, &clients, at);
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    for host in [M1, M2] {
        assert_eq!(prepared_on(&lab, host), 0, "{host}");
        let ids = lab.sql(host, "SELECT GROUP_CONCAT(id) FROM lab.guest").unwrap();
        assert_eq!(ids.value(), Some("1"), "{host}");
    }
}

#[test]
fn a_prepared_branch_goes_with_the_role_and_is_told() {
    prepared("way_xa", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_prepared_branch_goes_with_the_role_and_is_told() {
    prepared("way_my_xa", Flavour::MySql97);
}

/// A move whose old writer waits for a lock while something happens, and what came of it after which time.
fn during_closing(lab: &Cluster, act: impl FnOnce()) -> (Duration, Output) {
    let length = lab.log_length();
    thread::scope(|scope| {
        // Ended by the agent after some attempts.
        let lock = guest(scope, lab, (M1, "LOCK TABLES lab.guest WRITE", 25));
        let moving = scope.spawn(|| {
            let began = Instant::now();
            let answer = lab.control(&["move_role", "writer", M2]).unwrap();
            (began.elapsed(), answer)
        });
        lab.wait_log_since(length, "Admin moved role 'writer'", SOON);
        act();
        let (took, answer) = moving.join().unwrap();
        eprintln!("after {took:?}: {answer}");
        assert!(took < Duration::from_secs(40), "{took:?}");
        // Whether it was ended or has ended.
        let _ = lock.join().unwrap();
        (took, answer)
    })
}

/// Nobody acknowledges any more when the move has begun already: it is undone, and the commits that hung end when the link is mended.
fn acknowledgements_end(name: &str, flavour: Flavour) {
    let lab = Cluster::up(description(name, flavour).semi_sync(3_600_000));
    lab.sql(M1, "CREATE TABLE lab.guest (id INT PRIMARY KEY) ENGINE = InnoDB").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.wait_covered(SOON).unwrap();
    let clients = begin_work(&lab);
    let (_, answer) = during_closing(&lab, || {
        lab.cut(M1, M2, Manner::Drop).unwrap();
    });
    assert_eq!(answer.code, 1, "{answer}");
    assert!(answer.stdout.contains("This was undone: 'MySQL-M1' takes writes again"), "{answer}");
    assert_eq!(lab.holders(WRITER).unwrap(), [M1]);
    let healed = lab.heal_all().unwrap();
    clients.wait_by(ID1, healed, SOON).unwrap();
    lab.expect_pair(M1);
    judge(&lab, &clients, Moment::now());
}

#[test]
fn a_move_is_undone_when_acknowledgements_end_behind_it() {
    acknowledgements_end("way_ack", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_move_is_undone_when_acknowledgements_end_behind_it() {
    acknowledgements_end("way_my_ack", Flavour::MySql97);
}

/// The storage of the old writer stands still when the move has begun already. A server that can't be closed any more is killed, and the role
/// goes where it was to go.
fn storage_stalls(name: &str, flavour: Flavour) {
    let lab = Cluster::make(description(name, flavour).without_daemons());
    lab.own_disk(M1).unwrap();
    lab.sql(M1, "CREATE TABLE lab.guest (id INT PRIMARY KEY) ENGINE = InnoDB").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.start_daemons().unwrap();
    lab.expect_pair(M1);
    lab.wait_covered(SOON).unwrap();
    let clients = begin_work(&lab);
    let began = Moment::now();
    let (_, answer) = during_closing(&lab, || {
        lab.stall_storage(M1).unwrap();
    });
    assert!(answer.success(), "{answer}");
    clients.wait_by(ID2, began, SOON).unwrap();
    lab.resume_storage(M1).unwrap();
    wait_for("the old server's end", SOON, || match lab.life(M1, Program::Server).unwrap() {
        Life::Ended => Ok(()),
        life => Err(format!("{life:?}")),
    })
    .unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, SOON);
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    clients.stop().unwrap();
    // What hung was acknowledged to nobody; whether the old server has it in the end is its own affair.
    let judgement = lab.judge_clients(&[M2], Tolerance::NothingLost, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 30, "{judgement}");
}

#[test]
fn a_server_whose_storage_stalls_behind_a_move_is_left_behind() {
    storage_stalls("way_stall", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_server_whose_storage_stalls_behind_a_move_is_left_behind() {
    storage_stalls("way_my_stall", Flavour::MySql97);
}
