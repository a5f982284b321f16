//! What can go wrong while the next writer gets what only the dead one's log has: it never hangs, and what is not got is told.

use std::time::Duration;

use mmm_lab::{
    Builder, ConfigFile, Flavour, Judge, Life, M1, M2, MON, Manner, Moment, Probe, Program, Record, wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};

/// Long before the 10 s of `salvage_timeout`, also on a busy machine.
const EARLY: Duration = Duration::from_secs(8);

/// A server that stops in order waits for threads that have nobody to serve.
const STOPPED: Duration = Duration::from_secs(60);

fn maria(name: &str) -> Builder {
    quick(name).gtid()
}

fn mysql(name: &str) -> Builder {
    quick(name).server(Flavour::MySql97).gtid()
}

fn without_gtids(name: &str) -> Builder {
    let builder = quick(name).server(Flavour::MySql97);
    builder.server_line("gtid_mode = OFF").server_line("enforce_gtid_consistency = OFF")
}

fn is_mysql(lab: &Cluster) -> bool {
    lab.sql(M2, "SELECT VERSION()").unwrap().value().is_some_and(|version| !version.contains("MariaDB"))
}

fn stop_receiving(lab: &Cluster) {
    let word = if is_mysql(lab) { "STOP REPLICA IO_THREAD" } else { "STOP SLAVE IO_THREAD" };
    lab.sql(M2, word).unwrap();
}

/// A cluster that writes, and whose second master could take over.
fn writing(builder: Builder) -> (Cluster, Probe) {
    let lab = Cluster::up(builder);
    lab.wait_covered(SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    (lab, probe)
}

/// From now on only the writer's log has what is written; some of it has been.
fn leave_behind(lab: &Cluster, probe: &Probe) {
    stop_receiving(lab);
    probe.wait_write_by(ID1, Moment::now() + Duration::from_millis(300), SOON).unwrap();
}

/// A transaction of several megabytes in many events.
fn write_much(lab: &Cluster, rows: u32) {
    lab.sql(M1, "CREATE TABLE IF NOT EXISTS lab.much (n INT PRIMARY KEY AUTO_INCREMENT, t LONGTEXT)")
        .unwrap();
    let values = vec!["(REPEAT('x', 100000))"; rows as usize].join(", ");
    // Not as a short statement.
    let statement = format!("SET binlog_format = ROW; INSERT INTO lab.much (t) VALUES {values}");
    lab.sql_within(M1, &statement, SOON).unwrap();
}

fn lost(lab: &Cluster, record: Record) -> Vec<u64> {
    let judge = Judge::new(lab, record);
    assert_eq!(judge.duplicates(M2).unwrap(), Vec::<u64>::new());
    judge.lost(M2).unwrap()
}

/// The file that the first master writes its log to.
fn log_file(lab: &Cluster) -> String {
    let status = if is_mysql(lab) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    lab.sql(M1, status).unwrap().get("File").unwrap().to_owned()
}

/// The record of the failover holds these words.
fn expect_recorded(lab: &Cluster, words: &str) {
    wait_for(&format!("`{words}` in the record"), SOON, || {
        let told = lab.tell(&["history", "last"]);
        if told.contains(words) { Ok(()) } else { Err(told) }
    })
    .unwrap();
}

/// The other one comes back and both have the same.
fn expect_reunion(lab: &Cluster) {
    wait_for("the end of the old server", STOPPED, || match lab.life(M1, Program::Server).unwrap() {
        Life::Ended => Ok(()),
        life => Err(format!("{life:?}")),
    })
    .unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.wait_replicating(M2, SOON).unwrap();
    lab.expect_pair(M2);
    lab.expect_identical(M2, &[M1]);
}

/// The writer dies while the other one has received the half of a transaction.
fn half_a_transaction(builder: Builder) {
    let (lab, probe) = writing(builder);
    write_much(&lab, 1);
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.slow_link(M1, M2, 16_000).unwrap();
    let received = || {
        let [file, position] = lab.replication(M2).unwrap().unwrap().received;
        (file, position.parse::<u64>().unwrap())
    };
    let before = received();
    write_much(&lab, 60);
    wait_for("half of it received", SOON, || {
        let now = received();
        let done = now.1.saturating_sub(before.1);
        if now.0 == before.0 && done > 1_000_000 { Ok(()) } else { Err(format!("{before:?} {now:?}")) }
    })
    .unwrap();
    stop_receiving(&lab);
    lab.full_speed(M1).unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let rows = lab.sql(M2, "SELECT COUNT(*) FROM lab.much").unwrap();
    assert_eq!(rows.value(), Some("1"), "only the half is here");
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the other {:?} after the kill", first.end - killed);
    assert!(first.end - killed < EARLY);
    assert_eq!(lost(&lab, probe.stop().unwrap()), Vec::<u64>::new());
    assert_eq!(lab.sql(M2, "SELECT COUNT(*) FROM lab.much").unwrap().value(), Some("61"));
    lab.wait_log(MON, Program::Monitor, "salvaged ", SOON).unwrap();
    expect_reunion(&lab);
}

#[test]
fn mysql_9_7_the_rest_of_a_transaction_that_arrived_in_part_is_salvaged_without_gtids() {
    half_a_transaction(without_gtids("half_my_off"));
}

#[test]
fn mysql_9_7_a_transaction_that_arrived_in_part_is_salvaged_by_gtid() {
    half_a_transaction(mysql("half_my_gtid"));
}

#[test]
fn a_transaction_that_arrived_in_part_is_salvaged() {
    half_a_transaction(maria("half_gtid"));
}

/// Only the network between the two is cut: the new writer finds out at once that there is nothing to wait for.
fn link_cut(builder: Builder) {
    let (lab, probe) = writing(builder);
    lab.cut(M1, M2, Manner::Drop).unwrap();
    probe.wait_write_by(ID1, Moment::now() + Duration::from_millis(300), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the other {:?} after the kill", first.end - killed);
    assert!(first.end - killed < EARLY);
    let line =
        lab.wait_log(MON, Program::Monitor, "may be lost here: its agent was tried for", SOON).unwrap();
    let network =
        "The monitor reaches the agent of 'MySQL-M1': look at the network between 'MySQL-M2' and 'MySQL-M1'";
    assert!(line.contains(" FATAL ") && line.contains("no answer from ") && line.contains(network), "{line}");
    expect_recorded(&lab, "may be lost here: its agent was tried for");
    lab.wait_shown("may be lost here: its agent was tried for", SOON);
    probe.stop().unwrap();
}

#[test]
fn a_new_writer_that_cannot_reach_the_dead_ones_agent_goes_on_at_once_and_says_so() {
    link_cut(maria("salvage_cut"));
}

#[test]
fn mysql_9_7_a_new_writer_that_cannot_reach_the_dead_ones_agent_goes_on_at_once() {
    link_cut(mysql("salvage_cut97"));
}

/// The dead writer's agent has died since it told of the death.
#[test]
fn an_agent_that_has_died_as_well_is_not_waited_for() {
    let (lab, probe) = writing(maria("salvage_refused"));
    lab.tell(&["set_offline", M2]);
    lab.expect_host(M2, "ADMIN_OFFLINE", &[], SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    lab.kill(M1, Program::Agent).unwrap();
    lab.tell(&["set_online", M2]);
    let online = Moment::now();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the other {:?} after it may", first.end - online);
    let line =
        lab.wait_log(MON, Program::Monitor, "may be lost here: its agent was tried for", SOON).unwrap();
    let refused = line.contains("nobody listens at ") && line.contains("The monitor does not reach");
    assert!(line.contains(" FATAL ") && refused, "{line}");
    probe.stop().unwrap();
}

/// Somebody keeps the end of the log from being applied: the server is opened when `promote_apply_timeout` is over.
fn too_long(builder: Builder) {
    let (lab, probe) = writing(builder.append(ConfigFile::Three, "promote_apply_timeout 2"));
    lab.sql(M1, "CREATE TABLE lab.locked (n INT PRIMARY KEY)").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    leave_behind(&lab, &probe);
    lab.sql(M1, "INSERT INTO lab.locked VALUES (1)").unwrap();
    std::thread::scope(|scope| {
        // Longer than all waits here.
        let statements = "LOCK TABLES lab.locked READ; SELECT SLEEP(12)";
        let locker = scope.spawn(|| lab.sql_within(M2, statements, Duration::from_secs(60)));
        wait_for("the lock", SOON, || {
            let list = lab.sql(
                M2,
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%'",
            );
            if list.unwrap().value() == Some("1") { Ok(()) } else { Err("nobody sleeps".to_owned()) }
        })
        .unwrap();
        let killed = lab.kill(M1, Program::Server).unwrap();
        let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
        eprintln!("first write on the other {:?} after the kill", first.end - killed);
        assert!(first.end - killed > Duration::from_secs(2));
        let words = "they were not all applied when promote_apply_timeout (2 s) was over";
        let line = lab.wait_log(MON, Program::Monitor, words, SOON).unwrap();
        assert!(
            line.contains(" FATAL ") && line.contains("transactions of 'MySQL-M1' may be lost here"),
            "{line}"
        );
        expect_recorded(&lab, words);
        locker.join().unwrap().unwrap();
    });
    // Nothing hangs behind it, and replication points at the old one again.
    wait_for("replication that points at the old writer again", SOON, || {
        let host = lab.replication(M2).unwrap().unwrap().master;
        if host == lab.host(M1).unwrap().ip { Ok(()) } else { Err(host) }
    })
    .unwrap();
    probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    probe.stop().unwrap();
}

#[test]
fn a_tail_that_cannot_be_applied_in_time_does_not_keep_the_writer_closed() {
    too_long(maria("salvage_limit"));
}

#[test]
fn mysql_9_7_a_tail_that_cannot_be_applied_in_time_does_not_keep_the_writer_closed() {
    too_long(mysql("salvage_limit97"));
}

/// The files that hold what is lacking were purged.
fn purged(builder: Builder) {
    let (lab, probe) = writing(builder);
    leave_behind(&lab, &probe);
    lab.sql(M1, "FLUSH BINARY LOGS").unwrap();
    let files = || -> Vec<String> {
        let rows = lab.sql(M1, "SHOW BINARY LOGS").unwrap().rows;
        rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
    };
    let last = files().pop().unwrap();
    // A file that a replica is just reading, or that a crash would still need, stays without an error.
    wait_for("the files before the last one purged", SOON, || {
        lab.sql(M1, &format!("PURGE BINARY LOGS TO '{last}'")).unwrap();
        let files = files();
        if files.first() == Some(&last) { Ok(()) } else { Err(format!("{files:?}")) }
    })
    .unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the other {:?} after the kill", first.end - killed);
    assert!(first.end - killed < EARLY);
    let line = lab.wait_log(MON, Program::Monitor, "may be lost here: ", SOON).unwrap();
    assert!(
        line.contains(" FATAL ") && line.contains("the files of its log that hold them are gone"),
        "{line}"
    );
    expect_recorded(&lab, "the files of its log that hold them are gone");
    assert!(!lost(&lab, probe.stop().unwrap()).is_empty(), "they were only there");
}

#[test]
fn a_log_that_was_purged_is_told_of() {
    purged(maria("salvage_purged"));
}

#[test]
fn mysql_9_7_a_log_that_was_purged_is_told_of() {
    purged(mysql("salvage_purged97"));
}

/// The file is still in the list, and gone from the disk.
#[test]
fn a_log_file_that_somebody_deleted_is_told_of() {
    let (lab, probe) = writing(maria("salvage_deleted"));
    leave_behind(&lab, &probe);
    let file = log_file(&lab);
    lab.sql(M1, "FLUSH BINARY LOGS").unwrap();
    let gone = lab.exec(M1, &["rm", &format!("/var/lib/mysql/{file}")]).unwrap();
    assert!(gone.success(), "{gone}");
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    assert!(first.end - killed < EARLY);
    let line = lab.wait_log(MON, Program::Monitor, "may be lost here: ", SOON).unwrap();
    assert!(line.contains("its log can't be read") && line.contains(&file), "{line}");
    probe.stop().unwrap();
}

/// The last event of the log is cut off: what is whole before it is salvaged, and the rest is told of.
fn cut_off(builder: Builder) {
    let (lab, probe) = writing(builder);
    leave_behind(&lab, &probe);
    let file = log_file(&lab);
    // Nobody knows yet that it will die.
    lab.freeze(M1, Program::Server).unwrap();
    let cut = lab.exec(M1, &["truncate", "-s", "-5", &format!("/var/lib/mysql/{file}")]).unwrap();
    assert!(cut.success(), "{cut}");
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    assert!(first.end - killed < EARLY);
    let line = lab.wait_log(MON, Program::Monitor, "salvaged ", SOON).unwrap();
    assert!(line.contains(" WARN ") && line.contains("; what follows there can't be read: "), "{line}");
    assert!(line.contains(&file), "{line}");
    expect_recorded(&lab, "what follows there can't be read");
    let lost = lost(&lab, probe.stop().unwrap());
    eprintln!("{line}; lost {lost:?}");
    assert!(lost.len() <= 1, "only the last one was damaged: {lost:?}");
}

#[test]
fn a_last_event_that_is_cut_off_keeps_nothing_before_it_from_being_salvaged() {
    cut_off(maria("salvage_torn"));
}

#[test]
fn mysql_9_7_a_last_event_that_is_cut_off_keeps_nothing_before_it_from_being_salvaged() {
    cut_off(mysql("salvage_torn97"));
}

/// The agent of one host is killed and started again while a big tail is fetched over a narrow link.
fn agent_killed(builder: Builder, host: &str) {
    let (lab, probe) = writing(builder);
    leave_behind(&lab, &probe);
    write_much(&lab, 60);
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.slow_link(M1, M2, 16_000).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    lab.wait_shown("fetching the end of the log of 'MySQL-M1': ", SOON);
    lab.kill(host, Program::Agent).unwrap();
    lab.start(host, Program::Agent).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the other {:?} after the kill", first.end - killed);
    lab.full_speed(M1).unwrap();
    assert_eq!(lost(&lab, probe.stop().unwrap()), Vec::<u64>::new());
    assert_eq!(lab.sql(M2, "SELECT COUNT(*) FROM lab.much").unwrap().value(), Some("60"));
    lab.wait_log(MON, Program::Monitor, "salvaged ", SOON).unwrap();
    expect_reunion(&lab);
}

#[test]
fn the_agent_that_hands_out_a_log_is_killed_in_the_middle() {
    agent_killed(maria("salvage_giver"), M1);
}

#[test]
fn mysql_9_7_the_agent_that_hands_out_a_log_is_killed_in_the_middle() {
    agent_killed(mysql("salvage_giver97"), M1);
}

#[test]
fn the_agent_that_fetches_a_log_is_killed_in_the_middle() {
    agent_killed(maria("salvage_taker"), M2);
}

#[test]
fn mysql_9_7_the_agent_that_fetches_a_log_is_killed_in_the_middle() {
    agent_killed(mysql("salvage_taker97"), M2);
}

/// Somebody shuts the writer's server down under load.
fn shut_down(builder: Builder) {
    let (lab, probe) = writing(builder);
    let before = Moment::now();
    // It may end before it answers.
    drop(lab.sql(M1, "SHUTDOWN"));
    probe.wait_write_by(ID2, before, SOON).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    let record = probe.stop().unwrap();
    let gap = record.gap_after(before).unwrap().length();
    eprintln!("write gap {gap:?}");
    assert_eq!(lost(&lab, record), Vec::<u64>::new());
    let log = lab.log(MON, Program::Monitor).unwrap();
    assert!(!log.contains("may be lost here"), "its log was waited for in vain: {log}");
    expect_reunion(&lab);
}

#[test]
fn a_writer_that_is_shut_down_under_load_loses_nothing() {
    shut_down(maria("shutdown_load"));
}

#[test]
fn mysql_9_7_a_writer_that_is_shut_down_under_load_loses_nothing() {
    shut_down(mysql("shutdown_load97"));
}

/// What gives a server of MariaDB the key of its log.
const MARIA_KEY: &str = "\
set -e
echo '1;a7addd9adea9978fda19f21e6be987880e68ac92632ca052e5bb42b1a506939a' >/etc/mysql/keys
chmod 644 /etc/mysql/keys
cat >>/etc/mysql/my.cnf <<END

[mysqld]
plugin_load_add = file_key_management
file_key_management_filename = /etc/mysql/keys
encrypt_binlog = 1
END
";

/// The same of one of MySQL, whose files are below the folder that is handed in. What keeps its keys is loaded only by a file beside
/// the program, and set up only by one beside the plugins. Other labs run from the same folder, so those two are laid over it, on
/// this host alone.
const MYSQL_KEY: &str = r#"
set -e
over=/etc/mysql/over keys=/var/lib/mysql-keyring
mkdir -p $over/sbin $over/lib/mysql/plugin
# Made before, for the server makes it while it is root still, and writes to it when it is not any more.
install -d -o mysql -g mysql -m 750 $keys
install -o mysql -g mysql -m 640 /dev/null $keys/keys
echo '{"components": "file://component_keyring_file"}' >$over/sbin/mysqld.my
echo "{\"path\": \"$keys/keys\", \"read_only\": false}" >$over/lib/mysql/plugin/component_keyring_file.cnf
mount -t overlay -o "lowerdir=$over:$1" overlay "$1"
cat >>/etc/mysql/my.cnf <<END

[mysqld]
binlog_encryption = ON
END
"#;

/// A log that only its server can read.
fn encrypted(builder: Builder) {
    let lab = Cluster::make(builder.without_daemons());
    let key = if is_mysql(&lab) { MYSQL_KEY } else { MARIA_KEY };
    let base = lab.sql(M1, "SELECT @@basedir").unwrap();
    for host in [M1, M2] {
        lab.stop(host, Program::Server).unwrap();
        let done = lab.exec(host, &["sh", "-c", key, "sh", base.value().unwrap()]).unwrap();
        assert!(done.success(), "{done}");
        lab.start(host, Program::Server).unwrap();
        lab.start(host, Program::Agent).unwrap();
    }
    lab.start(MON, Program::Monitor).unwrap();
    lab.expect_pair(M1);
    lab.wait_covered(SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    leave_behind(&lab, &probe);
    expect_encrypted(&lab);
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the other {:?} after the kill", first.end - killed);
    assert!(first.end - killed < EARLY);
    let line = lab.wait_log(MON, Program::Monitor, "may be lost here: ", SOON).unwrap();
    assert!(line.contains("its log is encrypted, and only its server can read it"), "{line}");
    expect_recorded(&lab, "its log is encrypted");
    probe.stop().unwrap();
}

/// The log that the writer writes to does not tell what is in it.
fn expect_encrypted(lab: &Cluster) {
    let log = lab.read_file(M1, &format!("/var/lib/mysql/{}", log_file(lab))).unwrap();
    // The table of the probe is named in every one of its transactions.
    assert!(!log.windows(5).any(|word| word == b"probe"), "what was written can be read");
    // MariaDB encrypts what follows the opening of a log only.
    let opening = if is_mysql(lab) { b"\xfdbin" } else { b"\xfebin" };
    assert!(log.starts_with(opening), "{:x?}", log.get(..4));
}

#[test]
fn an_encrypted_log_is_told_of_and_nobody_waits_for_it() {
    encrypted(maria("salvage_secret"));
}

#[test]
fn mysql_9_7_an_encrypted_log_is_told_of_and_nobody_waits_for_it() {
    encrypted(mysql("salvage_secret97"));
}
