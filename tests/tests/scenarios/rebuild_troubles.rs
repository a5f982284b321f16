//! What goes wrong while a host gets all its data anew: each ends with the host in service, or with the one command that is due.

use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, Judge, Life, M1, M2, MON, Program, wait_for};

use crate::cluster::{Cluster, SOON};
use crate::rebuild::{
    LONG, diverged, expect_rebuilt, grant, mariadb, mysql, mysql_by_place, only_on_the_old, rows_of,
    start_when_asked,
};
use crate::replicas::R1;

const JOURNAL: &str = "/var/lib/mysql-mmm/MySQL-M1.rebuild";
const START: &str = "/etc/mysql-mmm/start-server";

/// So that there is time for a fault: some 20 s.
const SLOW_KILOBITS: u32 = 40_000;

/// A rebuild by a word, in the middle of its copy.
fn copying(builder: Builder, flavour: Flavour) -> (Cluster, Vec<u64>) {
    let (lab, record) = diverged(builder, flavour);
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    let only = only_on_the_old(&Judge::new(&lab, record));
    lab.slow_link(M2, M1, SLOW_KILOBITS).unwrap();
    lab.tell(&["rejoin", "--clone", M1]);
    lab.wait_show("bytes that are copied", LONG, |show| {
        show.text.contains("MB of ") || show.text.contains(" MB copied")
    })
    .unwrap();
    (lab, only)
}

/// As soon as both agents, just started, have told what their servers have.
fn begin_rebuild(lab: &Cluster) {
    wait_for("a rebuild that may begin", SOON, || match lab.control(&["rejoin", "--clone", M1]).unwrap() {
        output if output.success() => Ok(()),
        output => Err(output.to_string()),
    })
    .unwrap();
}

/// The program by which an operator has the server started.
fn started_by_command(builder: Builder, flavour: Flavour) {
    let builder = builder.append(ConfigFile::Three, &format!("server_start_command /bin/sh {START}"));
    let (lab, record) = diverged(builder, flavour);
    let pid = lab.process(M1, Program::Server).unwrap().unwrap().pid;
    let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let server = words.split('\0').next().unwrap();
    let script = format!("setsid {server} --defaults-file=/etc/mysql/my.cnf >/dev/null 2>&1 </dev/null &\n");
    lab.write_file(M1, START, script.as_bytes()).unwrap();
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    let only = only_on_the_old(&Judge::new(&lab, record));
    lab.tell(&["rejoin", "--clone", M1]);
    expect_rebuilt(&lab, &only);
    let log = lab.log(M1, Program::Agent).unwrap();
    assert!(log.contains("Starting the server: /bin/sh"), "{log}");
    assert!(!log.contains("was not started again: start it"), "{log}");
}

#[test]
fn the_configured_command_starts_the_server_of_a_rebuilt_host() {
    started_by_command(mariadb("rt_command"), Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_the_configured_command_starts_the_server_of_a_rebuilt_host() {
    started_by_command(mysql("rt_my_command"), Flavour::MySql97);
}

/// The monitor that goes on knows of it what the agent says.
fn monitor_killed(builder: Builder, flavour: Flavour) {
    let (lab, only) = copying(builder, flavour);
    lab.kill(MON, Program::Monitor).unwrap();
    thread::sleep(Duration::from_secs(2));
    lab.start(MON, Program::Monitor).unwrap();
    lab.wait_log(MON, Program::Monitor, "is being rebuilt from 'MySQL-M2', as its agent says", SOON).unwrap();
    start_when_asked(&lab);
    expect_rebuilt(&lab, &only);
}

#[test]
fn a_rebuild_goes_on_when_the_monitor_is_killed() {
    monitor_killed(mariadb("rt_monitor"), Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_rebuild_goes_on_when_the_monitor_is_killed() {
    monitor_killed(mysql("rt_my_monitor"), Flavour::MySql97);
}

/// A backup ends with the agent that hands it out, and nothing was changed by then.
#[test]
fn a_rebuild_whose_writer_s_agent_is_killed_is_given_up_with_the_command_that_begins_it_again() {
    let (lab, only) = copying(mariadb("rt_agent"), Flavour::MariaDb1011);
    lab.kill(M2, Program::Agent).unwrap();
    lab.start(M2, Program::Agent).unwrap();
    let line = lab.wait_log(MON, Program::Monitor, "'MySQL-M1' is not rebuilt", LONG).unwrap();
    assert!(line.contains("its data are as they were"), "{line}");
    assert!(line.contains("rejoin --clone MySQL-M1"), "{line}");
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    lab.full_speed(M2).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    begin_rebuild(&lab);
    start_when_asked(&lab);
    expect_rebuilt(&lab, &only);
}

#[test]
fn mysql_9_7_a_rebuild_goes_on_when_the_writer_s_agent_is_killed() {
    let (lab, only) = copying(mysql("rt_my_agent"), Flavour::MySql97);
    lab.kill(M2, Program::Agent).unwrap();
    lab.start(M2, Program::Agent).unwrap();
    start_when_asked(&lab);
    expect_rebuilt(&lab, &only);
}

/// The server's own data are gone by then: it waits for a writer, and begins anew.
#[test]
fn mysql_9_7_a_rebuild_whose_writer_dies_goes_on_when_that_is_back() {
    let (lab, only) = copying(mysql("rt_my_writer"), Flavour::MySql97);
    lab.kill(M2, Program::Server).unwrap();
    lab.expect_host(M2, "HARD_OFFLINE", &[], SOON).unwrap();
    thread::sleep(Duration::from_secs(3));
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    lab.full_speed(M2).unwrap();
    lab.start(M2, Program::Server).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    start_when_asked(&lab);
    expect_rebuilt(&lab, &only);
}

/// Nothing was changed by then, so that it can be the writer if need be, and says what it has alone.
#[test]
fn a_rebuild_whose_writer_dies_leaves_the_data_as_they_were() {
    let (lab, only) = copying(mariadb("rt_writer"), Flavour::MariaDb1011);
    lab.kill(M2, Program::Server).unwrap();
    let line = lab.wait_log(MON, Program::Monitor, "'MySQL-M1' is not rebuilt", LONG).unwrap();
    assert!(line.contains("its data are as they were"), "{line}");
    let line = lab.wait_log(MON, Program::Monitor, "is promoted with", LONG).unwrap();
    assert!(line.contains(" FATAL Host 'MySQL-M1' is promoted with "), "{line}");
    lab.expect_writer(M1, &["writer", "reader", "reader"]);
    assert_eq!(rows_of(&lab, M1, &only), only, "its own data are not whole");
}

/// Nobody knows how far it was: the host stays out, says why, and is rebuilt by a word.
fn unreadable(builder: Builder, flavour: Flavour) {
    let (lab, record) = diverged(builder, flavour);
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    let only = only_on_the_old(&Judge::new(&lab, record));
    lab.kill(M1, Program::Agent).unwrap();
    lab.write_file(M1, JOURNAL, b"{\"id\":").unwrap();
    lab.start(M1, Program::Agent).unwrap();
    lab.wait_shown("host MySQL-M1 is not used: it can't be told how far a rebuild of this host is", SOON);
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    assert!(lab.tell(&["show"]).contains(JOURNAL));
    assert!(lab.refusal(&["set_online", M1]).contains("is being rebuilt"));
    lab.expect_read_only(M1, SOON);
    // Another agent reads the same.
    lab.kill(M1, Program::Agent).unwrap();
    lab.start(M1, Program::Agent).unwrap();
    lab.wait_log(M1, Program::Agent, "it can't be told how far a rebuild of this host is", SOON).unwrap();
    begin_rebuild(&lab);
    start_when_asked(&lab);
    expect_rebuilt(&lab, &only);
}

#[test]
fn a_host_whose_rebuild_can_not_be_read_stays_out_until_it_is_rebuilt_by_a_word() {
    unreadable(mariadb("rt_unread"), Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_a_host_whose_rebuild_can_not_be_read_stays_out_until_it_is_rebuilt_by_a_word() {
    unreadable(mysql("rt_my_unread"), Flavour::MySql97);
}

/// A replica takes the place of the writer that was copied.
fn another_writer(builder: Builder, flavour: Flavour, first: impl FnOnce(&Cluster)) -> (Cluster, Vec<u64>) {
    let candidate = format!("<host {R1}>\n    candidate yes\n</host>\n");
    let builder = builder.replicas(1).append(ConfigFile::Three, &candidate);
    let (lab, only) = copying(builder, flavour);
    lab.wait_follows(R1, M2, SOON);
    first(&lab);
    lab.kill(M2, Program::Server).unwrap();
    lab.expect_host(M2, "HARD_OFFLINE", &[], SOON).unwrap();
    (lab, only)
}

/// Somebody starts the server as often as that is asked for, until its host is rebuilt from the replica.
fn wait_rebuilt_from_the_replica(lab: &Cluster) {
    wait_for("the rebuild's end", LONG * 2, || {
        let log = lab.log(MON, Program::Monitor).unwrap();
        if log.contains("'MySQL-M1' was rebuilt from 'MySQL-R1'") {
            return Ok(());
        }
        let shown = lab.tell(&["show"]);
        let is_asked = shown.contains("was not started again: start it");
        if is_asked && lab.life(M1, Program::Server).unwrap() == Life::Ended {
            lab.start(M1, Program::Server).unwrap();
        }
        Err(shown)
    })
    .unwrap();
}

fn expect_rebuilt_from_the_replica(lab: &Cluster, only: &[u64]) {
    wait_rebuilt_from_the_replica(lab);
    lab.expect_host(M1, "ONLINE", &["reader"], LONG).unwrap();
    lab.wait_follows(M1, R1, SOON);
    assert_eq!(rows_of(lab, M1, only), Vec::<u64>::new());
}

#[test]
fn mysql_9_7_a_rebuild_whose_writer_dies_goes_on_from_the_next_one() {
    let (lab, only) = another_writer(mysql("rt_my_next"), Flavour::MySql97, |_| ());
    lab.expect_host(R1, "ONLINE", &["writer", "reader", "reader"], LONG).unwrap();
    lab.wait_log(M1, Program::Agent, "'MySQL-M2' is not the writer any more", SOON).unwrap();
    expect_rebuilt_from_the_replica(&lab, &only);
}

/// As a server does whose copy is broken off at the wrong moment: it lets nobody in any more, and never ends.
#[test]
fn mysql_9_7_a_server_that_hangs_over_its_broken_off_copy_is_killed_and_copied_anew() {
    let hang = |lab: &Cluster| {
        lab.freeze(M1, Program::Server).unwrap();
    };
    let (lab, only) = another_writer(mysql("rt_my_hang"), Flavour::MySql97, hang);
    lab.expect_host(R1, "ONLINE", &["writer", "reader", "reader"], LONG).unwrap();
    lab.wait_log(M1, Program::Agent, ": killing it", LONG).unwrap();
    lab.wait_shown("its copy was broken off, and its server has ended and was not started", SOON);
    expect_rebuilt_from_the_replica(&lab, &only);
}

/// The copy is whole and nobody has started its server yet when the one that was copied dies: its place is one in the log of that.
#[test]
fn mysql_9_7_without_gtids_the_copy_of_a_writer_that_died_is_made_anew_from_the_next_one() {
    let candidate = format!("<host {R1}>\n    candidate yes\n</host>\n");
    let builder = mysql_by_place("rt_my_places").replicas(1).append(ConfigFile::Three, &candidate);
    let builder = builder.server_line("gtid_mode = OFF").server_line("enforce_gtid_consistency = OFF");
    let lab = Cluster::make(builder);
    lab.wait_show("all ONLINE", SOON, |show| show.hosts.values().all(|host| host.state == "ONLINE")).unwrap();
    grant(&lab, Flavour::MySql97);
    lab.expect_covered();
    lab.tell(&["move_role", "writer", M2]);
    lab.wait_follows(R1, M2, SOON);
    lab.tell(&["set_offline", M1]);
    begin_rebuild(&lab);
    lab.wait_shown("was not started again: start it", LONG);
    lab.kill(M2, Program::Server).unwrap();
    lab.expect_host(R1, "ONLINE", &["writer", "reader", "reader"], LONG).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.wait_log(M1, Program::Agent, "ends is known in its log only", LONG).unwrap();
    wait_rebuilt_from_the_replica(&lab);
    wait_for("checks that let it in", SOON, || match lab.control(&["set_online", M1]).unwrap() {
        output if output.success() => Ok(()),
        output => Err(output.to_string()),
    })
    .unwrap();
    lab.wait_follows(M1, R1, SOON);
    lab.wait_replicated(R1, M1, SOON).unwrap();
    lab.expect_identical(R1, &[M1]);
}
