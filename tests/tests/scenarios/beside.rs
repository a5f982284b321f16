//! The writer is lost while something else is wrong already: the other master is late, stands still, was taken out or has not been let in.
//! Whatever it is, nothing that was acknowledged is lost, and where nobody may follow `show` says why and what helps.

use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, Moment, Probe, Program, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, other, quick};
use crate::locks::Session;

/// A cluster that calls a host late after a backlog of two seconds.
fn description(name: &str, flavour: Flavour) -> Builder {
    let replication = "<check rep_threads>\ncheck_period 0.5\ntrap_period 1\n</check>\n\
        <check rep_backlog>\ncheck_period 0.5\ntrap_period 1\nmax_backlog 2\n</check>\n";
    quick(name).server(flavour).gtid().append(ConfigFile::Monitor, &format!("{QUICK_CHECKS}\n{replication}"))
}

fn written(builder: Builder) -> (Cluster, Probe) {
    let lab = Cluster::up(builder);
    lab.wait_covered(SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    (lab, probe)
}

fn is_mysql(flavour: Flavour) -> bool {
    matches!(flavour, Flavour::MySql97)
}

fn applier(flavour: Flavour, word: &str) -> String {
    let kind = if is_mysql(flavour) { "REPLICA" } else { "SLAVE" };
    format!("{word} {kind} SQL_THREAD")
}

fn wait_state(lab: &Cluster, host: &str, state: &str) {
    // A host beside one that has just come ONLINE is not called late or broken for a minute.
    lab.wait_show(&format!("{host} {state}"), Duration::from_secs(90), |show| show.state(host) == state)
        .unwrap();
}

/// The old writer is started again, and both have everything.
fn expect_whole(lab: &Cluster, probe: &Probe) {
    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);
    lab.judge_clean(probe);
}

/// Sets a lost writer online. Until its agent has closed it, it has been compared and its peer replicates from it again, that is refused.
fn let_in(lab: &Cluster, host: &str) {
    lab.wait_show(&format!("{host} back"), SOON, |show| {
        show.state(host) == "AWAITING_RECOVERY" || show.state(host) == "ONLINE"
    })
    .unwrap();
    wait_for(&format!("the word that lets {host} in"), SOON, || {
        let answer = lab.control(&["set_online", host]).map_err(|error| error.to_string())?;
        if answer.success() { Ok(()) } else { Err(answer.to_string()) }
    })
    .unwrap();
}

/// Nobody writes, and the monitor says why with these words.
fn expect_nobody(lab: &Cluster, words: &[&str]) {
    thread::sleep(Duration::from_secs(4));
    let shown = format!("{}\n{}", lab.tell(&["show", "--long"]), lab.tell(&["explain", "writer"]));
    eprintln!("{shown}");
    assert!(lab.is_read_only(M2).unwrap(), "{shown}");
    for words in words {
        assert!(shown.contains(words), "`{words}` is missing: {shown}");
    }
}

/// Its applier waits behind a lock, as behind a backup, and what it has received but not applied is what clients were told is saved.
fn late(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    let lock = Session::begin(&lab, M2, "LOCK TABLES probe READ");
    wait_state(&lab, M2, "REPLICATION_DELAY");
    let killed = lab.kill(M1, Program::Server).unwrap();
    lab.wait_shown("Still to apply what was received", SOON);
    lock.end();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    expect_whole(&lab, &probe);
}

/// Somebody stopped its applier long ago and forgot it.
fn stopped(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    lab.sql(M2, &applier(flavour, "STOP")).unwrap();
    wait_state(&lab, M2, "REPLICATION_FAIL");
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    // Nobody knows what for: it may be to keep something from being applied.
    expect_nobody(&lab, &["somebody stopped the SQL thread", "start it"]);
    assert!(lab.tell(&["explain", "writer"]).contains("somebody stopped the SQL thread"));
    lab.sql(M2, &applier(flavour, "START")).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    expect_whole(&lab, &probe);
}

/// A change of the other master that is not in its log, so that it counts as nothing but a wrong row.
fn unlogged(lab: &Cluster, flavour: Flavour, statement: &str) {
    let open = if is_mysql(flavour) { "SET GLOBAL super_read_only = OFF; " } else { "" };
    wait_for(statement, SOON, || {
        // Its agent closes it again at once.
        lab.sql(M2, &format!("{open}SET SESSION sql_log_bin = 0; {statement}"))
            .map_err(|error| error.to_string())
    })
    .unwrap();
}

/// Its applier has met an error: what comes after it can't be applied, so it stays closed until somebody has mended that.
fn broken(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    lab.sql(M1, "CREATE TABLE lab.conflict (id INT PRIMARY KEY)").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    unlogged(&lab, flavour, "INSERT INTO lab.conflict VALUES (1)");
    lab.sql(M1, "INSERT INTO lab.conflict VALUES (1)").unwrap();
    wait_state(&lab, M2, "REPLICATION_FAIL");
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    expect_nobody(&lab, &["Couldn't apply what was received", "mend that and start it"]);
    unlogged(&lab, flavour, "DELETE FROM lab.conflict");
    lab.sql(M2, &applier(flavour, "START")).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    expect_whole(&lab, &probe);
}

fn taken_out(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    lab.tell(&["set_offline", M2]);
    wait_state(&lab, M2, "ADMIN_OFFLINE");
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    expect_nobody(&lab, &["MySQL-M2", "ADMIN_OFFLINE", "set_online"]);
    let answer = lab.tell(&["set_online", M2]);
    assert!(answer.starts_with("OK"), "{answer}");
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    expect_whole(&lab, &probe);
}

/// It has come back and waits for the operator's word, as without `auto_set_online`.
fn not_let_in(name: &str, flavour: Flavour) {
    let lab = Cluster::make(description(name, flavour).auto_set_online(0));
    for host in [M1, M2] {
        wait_state(&lab, host, "AWAITING_RECOVERY");
        lab.tell(&["set_online", host]);
    }
    lab.expect_pair(M1);
    lab.wait_covered(SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.power_off(M2).unwrap();
    wait_state(&lab, M2, "HARD_OFFLINE");
    lab.reboot(M2).unwrap();
    lab.start_enabled(M2).unwrap();
    wait_state(&lab, M2, "AWAITING_RECOVERY");
    lab.wait_replicating(M2, SOON).unwrap();
    // Its agent looks each second, and who has never been seen to reach the writer lacks nobody knows what.
    thread::sleep(Duration::from_secs(2));
    let killed = lab.kill(M1, Program::Server).unwrap();
    expect_nobody(&lab, &["MySQL-M2", "AWAITING_RECOVERY", "set_online"]);
    lab.tell(&["set_online", M2]);
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    lab.start(M1, Program::Server).unwrap();
    let_in(&lab, M1);
    lab.expect_pair(M2);
    lab.judge_clean(&probe);
}

/// 64,000 rows, so that a transaction that changes them all is sent and applied for a while.
fn big_table(lab: &Cluster) {
    lab.sql(M1, "CREATE TABLE lab.long (id INT PRIMARY KEY AUTO_INCREMENT, t VARCHAR(200), n INT)").unwrap();
    let rows =
        "INSERT INTO lab.long (t, n) SELECT REPEAT('x', 200), 0 FROM information_schema.columns LIMIT 1000";
    lab.sql(M1, rows).unwrap();
    for _ in 0..6 {
        lab.sql_within(M1, "INSERT INTO lab.long (t, n) SELECT t, n FROM lab.long", SOON).unwrap();
    }
    lab.wait_replicated(M1, M2, Duration::from_mins(1)).unwrap();
}

/// A transaction that takes seconds is in the other master's relay log when the writer dies: it is waited for.
fn long_transaction(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    big_table(&lab);
    lab.sql_within(M1, "UPDATE lab.long SET n = n + 1, t = REVERSE(t)", Duration::from_secs(60)).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, Duration::from_secs(60)).unwrap();
    eprintln!("first write on the other {:?} after the kill", first.end - killed);
    let missing = lab.sql(M2, "SELECT COUNT(*) FROM lab.long WHERE n <> 1").unwrap();
    assert_eq!(missing.value(), Some("0"));
    expect_whole(&lab, &probe);
}

/// The host vanishes in the middle of a transaction that the other master has received a part of: what was applied of it keeps nobody
/// from the rows.
fn half_received(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    big_table(&lab);
    lab.sql_within(M1, "UPDATE lab.long SET n = n + 1, t = REVERSE(t)", Duration::from_secs(60)).unwrap();
    let lost = lab.power_off(M1).unwrap();
    let first = probe.wait_write_by(ID2, lost, SOON).unwrap();
    eprintln!("first write on the other {:?} after the loss", first.end - lost);
    let began = std::time::Instant::now();
    lab.sql_within(M2, "UPDATE lab.long SET n = -1 WHERE id < 10", SOON).unwrap();
    eprintln!("rows of the half transaction written after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// A planned move is no failure of anybody: the host that gave the role away gets it back when the next one dies.
fn moved_before(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    for host in [M2, M1, M2, M1, M2] {
        lab.wait_covered(SOON).unwrap();
        lab.tell(&["move_role", "writer", host]);
        lab.expect_pair(host);
    }
    lab.wait_covered(SOON).unwrap();
    let killed = lab.kill(M2, Program::Server).unwrap();
    probe.wait_write_by(ID1, killed, SOON).unwrap();
    lab.start(M2, Program::Server).unwrap();
    lab.expect_pair(M1);
    lab.judge_clean(&probe);
}

/// Each writer is killed in turn. Who fails too often is not let in any more by itself; that is said with the command that ends it.
fn killed_in_turn(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    let mut writer = M1;
    for turn in 0.. {
        assert!(turn < 12, "nobody is ever called flapping");
        lab.wait_covered(SOON).unwrap();
        let killed = lab.kill(writer, Program::Server).unwrap();
        let next = other(writer);
        probe.wait_write_by(if next == M1 { ID1 } else { ID2 }, killed, SOON).unwrap();
        lab.start(writer, Program::Server).unwrap();
        let seen = lab
            .wait_show(&format!("{writer} back"), Duration::from_secs(30), |show| {
                show.state(writer) == "ONLINE" || show.text.contains("flapping")
            })
            .unwrap();
        if seen.text.contains("flapping") {
            break;
        }
        lab.expect_pair(next);
        writer = next;
    }
    wait_state(&lab, writer, "AWAITING_RECOVERY");
    let shown = lab.tell(&["show"]);
    eprintln!("{shown}");
    let flapping = shown.lines().find(|line| line.contains("flapping")).unwrap();
    assert!(flapping.contains(writer) && flapping.contains(&format!("set_online {writer}")), "{flapping}");
    // It is not let in by a second failure either: nobody follows, and that is said.
    let holder = other(writer);
    // A server that has not reached the writer since it was started would not be proven to have all, rightly.
    lab.wait_replicating(writer, SOON).unwrap();
    lab.wait_show("the hold ended", SOON, |show| !show.text.contains("is held until")).unwrap();
    thread::sleep(Duration::from_secs(1));
    let killed = lab.kill(holder, Program::Server).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert!(lab.is_read_only(writer).unwrap());
    let answer = lab.tell(&["set_online", writer]);
    assert!(answer.starts_with("OK"), "{answer}");
    probe.wait_write_by(if writer == M1 { ID1 } else { ID2 }, killed, SOON).unwrap();
    lab.start(holder, Program::Server).unwrap();
    let_in(&lab, holder);
    lab.expect_pair(writer);
    lab.judge_clean(&probe);
}

/// Both were taken out for some work and let in again; after that everything is as before it.
fn after_maintenance(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    lab.tell(&["set_offline", M2]);
    lab.tell(&["set_offline", "--force", M1]);
    for host in [M2, M1] {
        wait_state(&lab, host, "ADMIN_OFFLINE");
    }
    for host in [M2, M1] {
        lab.tell(&["set_online", host]);
    }
    let writer = wait_for("a writer", SOON, || {
        let show = lab.show().map_err(|error| error.to_string())?;
        [M1, M2].into_iter().find(|host| show.holder(mmm_lab::WRITER) == Some(host)).ok_or(show.text)
    })
    .unwrap();
    lab.expect_pair(writer);
    lab.wait_covered(SOON).unwrap();
    let killed = lab.kill(writer, Program::Server).unwrap();
    let next = other(writer);
    probe.wait_write_by(if next == M1 { ID1 } else { ID2 }, killed, SOON).unwrap();
    lab.start(writer, Program::Server).unwrap();
    lab.expect_pair(next);
    lab.judge_clean(&probe);
}

/// The next writer dies the moment the first one is back.
fn twice(name: &str, flavour: Flavour) {
    let (lab, probe) = written(description(name, flavour));
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.wait_show("the first one back", SOON, |show| show.state(M1) == "ONLINE").unwrap();
    let again = lab.kill(M2, Program::Server).unwrap();
    probe.wait_write_by(ID1, again, SOON).unwrap();
    lab.start(M2, Program::Server).unwrap();
    lab.expect_pair(M1);
    lab.judge_clean(&probe);
}

macro_rules! beside {
    ($($test:ident, $mysql:ident: $procedure:ident;)*) => {
        $(
            #[test]
            fn $test() {
                $procedure(concat!("bs_", stringify!($procedure)), Flavour::MariaDb1011);
            }

            #[test]
            fn $mysql() {
                $procedure(concat!("bs_my_", stringify!($procedure)), Flavour::MySql97);
            }
        )*
    };
}

beside! {
    the_other_master_is_late, mysql_9_7_the_other_master_is_late: late;
    the_other_masters_applier_was_stopped, mysql_9_7_the_other_masters_applier_was_stopped: stopped;
    the_other_masters_applier_met_an_error, mysql_9_7_the_other_masters_applier_met_an_error: broken;
    the_other_master_was_taken_out, mysql_9_7_the_other_master_was_taken_out: taken_out;
    the_other_master_was_not_let_in, mysql_9_7_the_other_master_was_not_let_in: not_let_in;
    a_long_transaction_is_being_applied, mysql_9_7_a_long_transaction_is_being_applied: long_transaction;
    a_transaction_is_half_received, mysql_9_7_a_transaction_is_half_received: half_received;
    the_role_was_moved_just_before, mysql_9_7_the_role_was_moved_just_before: moved_before;
    each_writer_in_turn, mysql_9_7_each_writer_in_turn: killed_in_turn;
    both_were_taken_out_for_some_time, mysql_9_7_both_were_taken_out_for_some_time: after_maintenance;
    the_next_one_dies_as_well, mysql_9_7_the_next_one_dies_as_well: twice;
}
