//! A lost writer with transactions that nobody else has gets all its data anew from the new writer.

use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, Judge, M1, M2, MON, Manner, Moment, Program, Record, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

/// A copy of a server, its end and its start, beside other labs.
pub(crate) const LONG: Duration = Duration::from_secs(90);

pub(crate) fn mysql(name: &str) -> Builder {
    let builder = quick(name).append(ConfigFile::Monitor, QUICK_CHECKS).server(Flavour::MySql97).gtid();
    builder.server_line("performance-schema = ON").server_line("plugin-load-add = mysql_clone.so")
}

/// Both replicate by places in logs, whether their transactions have GTIDs or not.
pub(crate) fn mysql_by_place(name: &str) -> Builder {
    let builder = quick(name).append(ConfigFile::Monitor, QUICK_CHECKS).server(Flavour::MySql97);
    builder.server_line("performance-schema = ON").server_line("plugin-load-add = mysql_clone.so")
}

pub(crate) fn mariadb(name: &str) -> Builder {
    quick(name).append(ConfigFile::Monitor, QUICK_CHECKS).server(Flavour::MariaDb1011).gtid()
}

/// What an account needs for it beside the usual.
pub(crate) fn grant(lab: &Cluster, flavour: Flavour) {
    let account = "mmm_agent@'192.168.8.%'";
    let grants: &[&str] = match flavour {
        Flavour::MySql97 => &["CLONE_ADMIN, BACKUP_ADMIN ON *.*", "SELECT ON performance_schema.*"],
        _ => &["RELOAD, LOCK TABLES, REPLICATION MASTER ADMIN ON *.*"],
    };
    for privileges in grants {
        lab.sql(M1, &format!("GRANT {privileges} TO {account}")).unwrap();
    }
    lab.wait_replicated(M1, M2, SOON).unwrap();
}

/// The first master is lost with writes that the second never received, and comes back.
pub(crate) fn diverged(builder: Builder, flavour: Flavour) -> (Cluster, Record) {
    let lab = Cluster::make(builder);
    let (others, roles): (Vec<&str>, &[&str]) = match lab.servers() {
        servers if servers.len() > 2 => (servers[1..].to_vec(), &["writer"]),
        servers => (servers[1..].to_vec(), &["writer", "reader"]),
    };
    lab.expect_writer(M1, roles);
    lab.wait_show("all ONLINE", SOON, |show| show.hosts.values().all(|host| host.state == "ONLINE")).unwrap();
    grant(&lab, flavour);
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write(Moment::now(), SOON).unwrap();
    // The other master receives most.
    for other in others.iter().rev() {
        lab.cut(M1, other, Manner::Drop).unwrap();
    }
    let cut = Moment::now();
    probe.wait_write_by(ID1, cut + Duration::from_millis(300), SOON).unwrap();
    let lost = lab.power_off(M1).unwrap();
    probe.wait_write_by(ID2, lost, SOON).unwrap();
    let record = probe.stop().unwrap();
    drop(others);
    lab.heal_all().unwrap();
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    (lab, record)
}

pub(crate) fn only_on_the_old(judge: &Judge<'_>) -> Vec<u64> {
    let there = judge.rows(M2).unwrap();
    let own = judge.rows(M1).unwrap().into_iter().filter(|(_, server)| *server == ID1);
    own.map(|(number, _)| number).filter(|number| !there.contains_key(number)).collect()
}

/// Which of these rows a server has.
pub(crate) fn rows_of(lab: &Cluster, host: &str, numbers: &[u64]) -> Vec<u64> {
    let has = |number: &&u64| {
        let sql = format!("SELECT COUNT(*) FROM lab.probe WHERE id = {number}");
        lab.sql(host, &sql).unwrap().value() == Some("1")
    };
    numbers.iter().filter(has).copied().collect()
}

/// Nobody starts its server for a lab: that is the operator's part.
pub(crate) fn start_when_asked(lab: &Cluster) {
    lab.wait_shown("was not started again: start it", LONG);
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    lab.start(M1, Program::Server).unwrap();
}

/// The writer may have been lost meanwhile, which is a record of its own.
fn record_of_the_rebuild(lab: &Cluster) -> String {
    let table = lab.tell(&["history", "all"]);
    let line = table.lines().find(|line| line.contains("rebuild")).expect(&table);
    let number = line.split_whitespace().next().expect(line);
    lab.tell(&["history", number])
}

/// It joins by the usual rules, without what only it had.
pub(crate) fn expect_rebuilt(lab: &Cluster, only: &[u64]) {
    let line = lab.wait_log(MON, Program::Monitor, "'MySQL-M1' was rebuilt from 'MySQL-M2'", LONG).unwrap();
    eprintln!("{line}");
    let files = line.split_once("on 'MySQL-M1' in ").expect("the saved files are named").1;
    let mut sql = String::new();
    for file in files.split(", ").filter(|file| file.contains(".sql")) {
        sql += &lab.exec(M1, &["cat", file.trim()]).unwrap().stdout;
    }
    for number in only {
        assert!(sql.contains(&number.to_string()), "row {number} is not in {files}");
    }
    let told = record_of_the_rebuild(lab);
    for words in ["of host MySQL-M1 from MySQL-M2", "Outcome:  done", "Copied:   ", "Saved:    /var/"] {
        assert!(told.contains(words), "`{words}` is not in {told}");
    }
    lab.expect_pair(M2);
    lab.sql(M2, &format!("INSERT INTO lab.probe VALUES (9000000, {ID2})")).unwrap();
    for (here, there) in [(M2, M1), (M1, M2)] {
        lab.wait_replicating(there, SOON).unwrap();
        lab.wait_replicated(here, there, SOON).unwrap();
    }
    lab.expect_identical(M2, &[M1]);
    assert_eq!(rows_of(lab, M1, only), Vec::<u64>::new(), "what only the old writer had is still there");
    wait_for("nothing more told of it", SOON, || match lab.tell(&["show"]) {
        shown if shown.contains("Warning") => Err(shown),
        _ => Ok(()),
    })
    .unwrap();
}

fn by_a_word(builder: Builder, flavour: Flavour) {
    let (lab, record) = diverged(builder, flavour);
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    let only = only_on_the_old(&Judge::new(&lab, record));
    assert!(only.len() > 5, "{only:?}");
    assert!(lab.tell(&["rejoin", M1]).contains("rejoin --clone"));
    assert!(lab.refusal(&["rejoin", "--clone", M2]).contains("There is no other host that is the writer"));
    let answer = lab.tell(&["rejoin", "--clone", M1]);
    assert!(answer.contains("gets all its data anew from 'MySQL-M2'"), "{answer}");
    assert!(answer.contains("are saved there before"), "{answer}");
    let has_gtids = |lab: &Cluster| lab.sql(M1, "SELECT @@global.gtid_mode").unwrap().value() == Some("ON");
    let lost = (flavour == Flavour::MySql97 && has_gtids(&lab)).then(|| lost_gtids(&lab));
    start_when_asked(&lab);
    expect_rebuilt(&lab, &only);
    // It is as good as any other.
    lab.tell(&["move_role", "writer", M1]);
    lab.expect_pair(M1);
    if let Some((uuid, lost)) = lost {
        expect_no_gtid_anew(&lab, &uuid, &lost);
    }
}

/// Who the old writer is in its transactions, and those that nobody else has.
fn lost_gtids(lab: &Cluster) -> (String, String) {
    let value = |host: &str, what: &str| lab.sql(host, what).unwrap().value().unwrap().replace('\n', "");
    let new = value(M2, "SELECT @@global.gtid_executed");
    let lost = value(M1, &format!("SELECT GTID_SUBTRACT(@@global.gtid_executed, '{new}')"));
    assert!(!lost.is_empty());
    (value(M1, "SELECT @@server_uuid"), lost)
}

/// As many as were lost and more are written by it now.
fn expect_no_gtid_anew(lab: &Cluster, uuid: &str, lost: &str) {
    for number in 0..300 {
        lab.sql(M1, &format!("INSERT INTO lab.probe VALUES ({}, {ID1})", 9_000_001 + number)).unwrap();
    }
    let value = |what: &str| lab.sql(M1, what).unwrap().value().unwrap().replace('\n', "");
    assert_ne!(value("SELECT @@server_uuid"), uuid);
    let executed = value("SELECT @@global.gtid_executed");
    assert_eq!(
        value(&format!("SELECT GTID_SUBTRACT('{lost}', '{executed}')")),
        lost,
        "used anew: {executed}"
    );
    let left = lab.exec(M1, &["find", "/var/lib/mysql", "-name", "*.mmm-*"]).unwrap();
    assert_eq!(left.stdout, "", "something is left behind");
    lab.wait_replicated(M1, M2, SOON).unwrap();
}

/// The writer's replication from it goes on where the log of its new data begins.
#[test]
fn mysql_9_7_without_gtids_a_diverged_host_is_rebuilt_by_a_word_and_serves_again() {
    let builder = mysql_by_place("rb_my_places").server_line("gtid_mode = OFF");
    by_a_word(builder.server_line("enforce_gtid_consistency = OFF"), Flavour::MySql97);
}

#[test]
fn mysql_9_7_by_place_a_diverged_host_is_rebuilt_by_a_word_and_serves_again() {
    by_a_word(mysql_by_place("rb_my_place"), Flavour::MySql97);
}

#[test]
fn mysql_9_7_a_diverged_host_is_rebuilt_by_a_word_and_serves_again() {
    by_a_word(mysql("rb_my_word"), Flavour::MySql97);
}

#[test]
fn a_diverged_host_is_rebuilt_by_a_word_and_serves_again() {
    by_a_word(mariadb("rb_word"), Flavour::MariaDb1011);
}

/// The channels of both masters go by file and position, which mean nothing in the log of a server that was rebuilt.
#[test]
fn with_channels_by_position_a_diverged_host_is_rebuilt_by_a_word_and_serves_again() {
    let builder = quick("rb_places").append(ConfigFile::Monitor, QUICK_CHECKS);
    by_a_word(builder.server(Flavour::MariaDb1011), Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_with_diverged_clone_a_host_is_rebuilt_though_its_agent_is_killed_twice() {
    let (lab, _) =
        diverged(mysql("rb_my_killed").append(ConfigFile::Three, "diverged clone"), Flavour::MySql97);
    // Wherever it is by then: the copy goes on in the server, is begun anew, or is whole.
    lab.wait_log(M1, Program::Agent, "Throwing the data of this host's server away", LONG).unwrap();
    lab.kill_agent_worker(M1).unwrap();
    lab.wait_shown("was not started again: start it", LONG);
    lab.kill(M1, Program::Agent).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.start(M1, Program::Agent).unwrap();
    lab.wait_log(M1, Program::Agent, "Going on with the rebuild of this host", SOON).unwrap();
    expect_rebuilt(&lab, &[]);
}

#[test]
fn with_diverged_clone_a_host_is_rebuilt_though_its_agent_is_killed() {
    let builder = mariadb("rb_killed").append(ConfigFile::Three, "diverged clone");
    let (lab, _) = diverged(builder, Flavour::MariaDb1011);
    // Before the exchange, in the middle of it, or behind it.
    lab.wait_log(M1, Program::Agent, "Stopping the server", LONG).unwrap();
    lab.kill_agent_worker(M1).unwrap();
    start_when_asked(&lab);
    expect_rebuilt(&lab, &[]);
    let left = lab.exec(M1, &["find", "/var/lib/mysql", "-name", ".mmm-*"]).unwrap();
    assert_eq!(left.stdout, "", "something is left behind");
}
