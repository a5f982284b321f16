//! Servers that answer and take no writes: what is told of them, and what moves. Blocked is not dead.

use std::time::Duration;

use mmm_lab::{
    Builder, CLIENT, Clients, ConfigFile, Flavour, Life, Load, M1, M2, MON, Program, WRITER, wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

const TABLE: &str = "CREATE DATABASE mmm; \
    CREATE TABLE mmm.mmm_heartbeat (server_id INT UNSIGNED NOT NULL PRIMARY KEY, written_us BIGINT NOT NULL) ENGINE=InnoDB; \
    GRANT SELECT, INSERT, UPDATE ON mmm.mmm_heartbeat TO mmm_agent@'192.168.8.%'";

fn mariadb(name: &str) -> Builder {
    quick(name).gtid().append(ConfigFile::Monitor, QUICK_CHECKS)
}

fn mysql(name: &str) -> Builder {
    mariadb(name).server(Flavour::MySql97)
}

/// A cluster whose agents write into their table; the first master's data lies on a disk of its own.
fn cluster(builder: Builder, policy: &str) -> Cluster {
    let more = format!("heartbeat_schema mmm\non_stalled_writes {policy}");
    let lab = Cluster::make(builder.append(ConfigFile::Three, &more).without_daemons());
    lab.sql(M1, TABLE).unwrap();
    lab.own_disk(M1).unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.start_daemons().unwrap();
    let show = lab.wait_show("a writer", SOON, |show| show.holder(WRITER).is_some()).unwrap();
    if show.holder(WRITER) != Some(M1) {
        // Its server has only just been started on the new disk, and may be too slow yet for the monitor's first look.
        lab.wait_covered(SOON).unwrap();
        lab.tell(&["move_role", "writer", M1]);
    }
    lab.expect_pair(M1);
    lab.wait_covered(SOON).unwrap();
    lab
}

fn at_work(lab: &Cluster) -> Clients {
    let clients = lab.start_clients(&Load::default()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    clients
}

/// The agent's own row is renewed on the writer and reaches the other master.
fn expect_heartbeat(lab: &Cluster, host: &str, id: u32) {
    let read = || {
        let statement = format!("SELECT written_us FROM mmm.mmm_heartbeat WHERE server_id = {id}");
        lab.sql(host, &statement).unwrap().value().map(str::to_owned)
    };
    let first = read();
    wait_for("another heartbeat", SOON, || match read() {
        now if now.is_some() && now != first => Ok(()),
        now => Err(format!("{now:?}")),
    })
    .unwrap();
}

fn expect_quiet(lab: &Cluster) {
    wait_for("no warning", SOON, || match lab.show().unwrap().text {
        text if text.contains("# Warning") => Err(text),
        _ => Ok(()),
    })
    .unwrap();
}

fn expect_stays(lab: &Cluster, time: Duration) {
    let until = std::time::Instant::now() + time;
    while std::time::Instant::now() < until {
        assert_eq!(lab.show().unwrap().holder(WRITER), Some(M1), "{}", lab.tell(&["show", "--long"]));
        assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Running);
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Something for the writer's own replication, which can't be written down there and keeps its state locked.
fn send_back(lab: &Cluster, number: u32) {
    let open = if lab.sql(M2, "SELECT @@super_read_only").is_ok() {
        "SET GLOBAL super_read_only = OFF; "
    } else {
        ""
    };
    let statement = format!("{open}INSERT INTO lab.sent_back VALUES ({number})");
    wait_for(&statement, SOON, || {
        // Its agent closes it again at once.
        lab.sql(M2, &statement).map(|_| ()).map_err(|error| error.to_string())
    })
    .unwrap();
}

/// Shown, and nothing else: longer than the trap period, also where the server answers nothing about its replication.
fn stalled_and_shown(builder: Builder) {
    let lab = cluster(builder, "show");
    expect_heartbeat(&lab, M2, ID1);
    lab.sql(M1, "CREATE TABLE lab.sent_back (id INT PRIMARY KEY)").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let clients = at_work(&lab);
    send_back(&lab, 1);
    lab.stall_storage(M1).unwrap();
    // Where the receiver is when it can't go on decides what it keeps locked.
    for number in 2..10 {
        send_back(&lab, number);
    }
    let words = "host MySQL-M1: no write gets through: the storage of its server does not answer";
    lab.wait_shown(words, SOON);
    assert!(lab.tell(&["checks"]).contains("MySQL-M1  write_path  ERROR: no write gets through"));
    expect_stays(&lab, Duration::from_secs(6));
    let long = lab.tell(&["show", "--long"]);
    assert!(long.contains("on_stalled_writes show: the role stays"), "{long}");
    let resumed = lab.resume_storage(M1).unwrap();
    clients.wait_by(ID1, resumed, SOON).unwrap();
    lab.wait_log(MON, Program::Monitor, "Host 'MySQL-M1': writes get through again", SOON).unwrap();
    expect_quiet(&lab);
    clients.stop().unwrap();
    let judgement = lab.judge_clients(&[M1, M2], mmm_lab::Tolerance::NothingLost, SOON).unwrap();
    assert!(judgement.is_clean(), "{judgement}");
}

/// The role goes to the other master once the trap period is over; what stood still harms nobody when it goes on.
fn stalled_and_moved(builder: Builder) {
    let lab = cluster(builder, "move");
    let clients = at_work(&lab);
    let stalled = lab.stall_storage(M1).unwrap();
    let first = clients.wait_by(ID2, stalled, SOON).unwrap();
    eprintln!("first write on the other after {:?}", first.end - stalled);
    assert!(first.end - stalled > Duration::from_secs(2), "not before the trap period");
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    let log = lab.log(MON, Program::Monitor).unwrap();
    assert!(log.contains("its roles go to another host (on_stalled_writes move)"), "{log}");
    lab.resume_storage(M1).unwrap();
    // It was killed, as far as that goes while its storage stands still, and comes back closed.
    wait_for("the old server's end", SOON, || match lab.life(M1, Program::Server).unwrap() {
        Life::Ended => Ok(()),
        life => Err(format!("{life:?}")),
    })
    .unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, SOON);
    expect_heartbeat(&lab, M2, ID2);
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    clients.stop().unwrap();
}

/// A large row each time, so that the log needs new room.
fn write_until_full(lab: &Cluster) -> std::process::Child {
    let argv = [
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do (while :; do \"$0\" --no-defaults -h 192.168.8.30 -uprobe -pprobe -e \"REPLACE INTO lab.big VALUES ($i, REPEAT('x', 3000))\" 2>/dev/null || sleep 0.2; done) & done; wait",
        client(lab),
    ];
    let mut command = lab.command(CLIENT, &argv).unwrap();
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.spawn().unwrap()
}

fn client(lab: &Cluster) -> &'static str {
    let is_mysql = !lab.sql(M1, "SELECT VERSION()").unwrap().value().unwrap().contains("MariaDB");
    if is_mysql { "mysql" } else { "mariadb" }
}

fn full(builder: Builder) {
    let lab = cluster(builder, "move");
    lab.sql(M1, "CREATE TABLE lab.big (id INT PRIMARY KEY, b TEXT) ENGINE=InnoDB").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let clients = at_work(&lab);
    let full = lab.fill_data_disk(M1).unwrap();
    let mut writers = write_until_full(&lab);
    let words = "Host 'MySQL-M1': no write gets through: the disk is full (/var/lib/mysql";
    lab.wait_log(MON, Program::Monitor, words, SOON).unwrap();
    let first = clients.wait_by(ID2, full, SOON).unwrap();
    eprintln!("first write on the other after {:?}", first.end - full);
    let log = lab.log(MON, Program::Monitor).unwrap();
    assert!(log.contains("its roles go to another host (on_stalled_writes move)"), "{log}");
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    writers.kill().unwrap();
    writers.wait().unwrap();
    clients.stop().unwrap();
    lab.empty_data_disk(M1).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, SOON);
    expect_heartbeat(&lab, M2, ID2);
}

/// Blocked by somebody who holds a lock on everything: told so, and no reason to move.
fn blocked(builder: Builder) {
    let lab = cluster(builder, "move");
    let argv = [
        client(&lab),
        "--no-defaults",
        "-S",
        "/run/mysqld/mysqld.sock",
        "-ulab",
        "-plab",
        "-e",
        "FLUSH TABLES WITH READ LOCK; SELECT SLEEP(12)",
    ];
    let mut holder = lab.command(M1, &argv).unwrap().stdout(std::process::Stdio::null()).spawn().unwrap();
    lab.wait_shown("host MySQL-M1: writes are blocked, and its server lives", SOON);
    expect_stays(&lab, Duration::from_secs(6));
    holder.wait().unwrap();
    expect_quiet(&lab);
    expect_heartbeat(&lab, M2, ID1);
}

/// All connections used up by clients: the agent's are there already, and nothing moves.
fn used_up(builder: Builder) {
    let lab = cluster(builder.server_line("max_connections = 30"), "move");
    let script = "for i in $(seq 40); do \"$0\" --no-defaults -h 192.168.8.30 -uprobe -pprobe -e 'SELECT SLEEP(16)' >/dev/null 2>&1 & done; wait";
    let mut clients = lab.command(CLIENT, &["sh", "-c", script, client(&lab)]).unwrap().spawn().unwrap();
    lab.wait_shown("host MySQL-M1: all 30 connections of its server are used up", SOON);
    expect_stays(&lab, Duration::from_secs(5));
    clients.wait().unwrap();
    expect_quiet(&lab);
    expect_heartbeat(&lab, M2, ID1);
}

/// What `show --long` says of the second master, in milliseconds, and whether the clocks were compared.
fn delay(lab: &Cluster) -> Option<(u64, bool)> {
    let long = lab.tell(&["show", "--long"]);
    let line = long.lines().find_map(|line| line.strip_prefix("# MySQL-M2 is "))?;
    Some((line.split(' ').next()?.parse().ok()?, !line.contains("could not be compared")))
}

fn expect_delay(lab: &Cluster, what: &str, accept: impl Fn(u64) -> bool) {
    wait_for(what, SOON, || match delay(lab) {
        Some((ms, true)) if accept(ms) => {
            eprintln!("{what}: {ms} ms");
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .unwrap();
}

/// Milliseconds, whatever the clocks say.
fn delayed(builder: Builder) {
    let lab = cluster(builder.movable_server_clocks(), "show");
    expect_delay(&lab, "a delay of nearly nothing", |ms| ms < 500);
    lab.set_clock(M2, 40).unwrap();
    // The server sees it within a second, and an agent compares the clocks at its start.
    std::thread::sleep(Duration::from_secs(2));
    lab.kill(M2, Program::Agent).unwrap();
    lab.start(M2, Program::Agent).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    expect_delay(&lab, "the same with a clock that is ahead", |ms| ms < 500);
    let words = ["STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD"];
    lab.sql(M2, words[0]).unwrap();
    expect_delay(&lab, "more than two seconds", |ms| ms > 2000);
    lab.sql(M2, words[1]).unwrap();
    expect_delay(&lab, "nearly nothing again", |ms| ms < 500);
}

#[test]
fn the_delay_of_replication_is_told_in_milliseconds_whatever_the_clocks_say() {
    delayed(mariadb("delay"));
}

#[test]
fn mysql_9_7_the_delay_of_replication_is_told_in_milliseconds_whatever_the_clocks_say() {
    delayed(mysql("my_delay"));
}

#[test]
fn stalled_storage_is_shown_and_moves_nothing() {
    stalled_and_shown(mariadb("stalled_shown"));
}

#[test]
fn stalled_storage_moves_the_role_where_that_is_wanted() {
    stalled_and_moved(mariadb("stalled_moved"));
}

#[test]
fn a_full_disk_is_told_and_moves_the_role_where_that_is_wanted() {
    full(mariadb("data_full"));
}

#[test]
fn writes_behind_a_lock_on_everything_are_blocked_and_move_nothing() {
    blocked(mariadb("blocked"));
}

#[test]
fn connections_that_are_used_up_are_shown_and_move_nothing() {
    used_up(mariadb("used_up"));
}

#[test]
fn mysql_9_7_stalled_storage_is_shown_and_moves_nothing() {
    stalled_and_shown(mysql("my_stalled_shown"));
}

#[test]
fn mysql_9_7_stalled_storage_moves_the_role_where_that_is_wanted() {
    stalled_and_moved(mysql("my_stalled_moved"));
}

#[test]
fn mysql_9_7_a_full_disk_is_told_and_moves_the_role_where_that_is_wanted() {
    full(mysql("my_data_full"));
}

#[test]
fn mysql_9_7_writes_behind_a_lock_on_everything_are_blocked_and_move_nothing() {
    blocked(mysql("my_blocked"));
}

#[test]
fn mysql_9_7_connections_that_are_used_up_are_shown_and_move_nothing() {
    used_up(mysql("my_used_up"));
}
