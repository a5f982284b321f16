//! A replica that can't become the writer has received more of a lost writer than the host that does: the new writer gets it from
//! there before it is opened.

use std::time::Duration;

use mmm_lab::{
    Builder, Clients, ConfigFile, Flavour, Load, M1, M2, MON, Manner, Moment, Program, Tolerance, wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};
use crate::replicas::R1;

fn builder(name: &str, flavour: Flavour) -> Builder {
    quick(name)
        .server(flavour)
        .gtid()
        .replicas(1)
        .server_line("slave_net_timeout = 4")
        .append(ConfigFile::Monitor, QUICK_CHECKS)
}

/// A pair and a replica under load; between the masters the line has been cut for less than either of them notices.
fn the_replica_has_more(builder: Builder, delay_s: u32) -> (Cluster, Clients) {
    let lab = Cluster::make(builder);
    lab.expect_writer(M1, &["writer"]);
    lab.wait_show("all three ONLINE", SOON, |show| show.hosts.values().all(|host| host.state == "ONLINE"))
        .unwrap();
    lab.expect_covered();
    if delay_s > 0 {
        let is_mysql = lab.sql(R1, "SELECT @@server_uuid").is_ok();
        let sql = if is_mysql {
            format!(
                "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {delay_s}; START REPLICA SQL_THREAD"
            )
        } else {
            format!("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = {delay_s}; START SLAVE")
        };
        lab.sql(R1, &sql).unwrap();
    }
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    lab.cut(M1, M2, Manner::Drop).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    (lab, clients)
}

/// The new writer has all that anybody was told is saved, and the replica follows it as before; the old one has nothing alone.
fn expect_nothing_lost(lab: &Cluster, clients: &Clients, unsent: Tolerance) {
    let line = lab.wait_log(MON, Program::Monitor, "salvaged ", SOON).unwrap();
    eprintln!("{line}");
    assert!(line.contains(&format!("from the log of '{R1}'")), "{line}");
    wait_for("the salvage in the record", SOON, || {
        let told = lab.tell(&["history", "last"]);
        if told.contains("salvaged") && told.contains(R1) { Ok(()) } else { Err(told) }
    })
    .unwrap();
    lab.wait_follows(R1, M2, SOON);
    assert!(!lab.tell(&["show"]).contains("nobody else has"), "{}", lab.tell(&["show"]));
    clients.stop().unwrap();
    let judgement = lab.judge_clients(&[M2, R1], unsent, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

/// Its server is killed; its agent lives, and the new writer can't reach it.
fn the_log_is_out_of_reach(builder: Builder, delay_s: u32) {
    let (lab, clients) = the_replica_has_more(builder, delay_s);
    let killed = lab.kill(M1, Program::Server).unwrap();
    if delay_s > 0 {
        lab.wait_shown("has applied what it is to hand over", SOON);
    }
    let first = clients.wait_by(ID2, killed, SOON).unwrap();
    eprintln!("first write on the new writer {} us after the kill", first.end.micros() - killed.micros());
    let log = lab.log(M2, Program::Agent).unwrap();
    assert!(log.contains(&format!("Before that, '{R1}' is asked for what it has received")), "{log}");
    let unsent =
        Tolerance::UnsentTail { server_id: ID1, since: Moment::from_micros(killed.micros() - 300_000) };
    expect_nothing_lost(&lab, &clients, unsent);
}

#[test]
fn what_only_a_replica_has_received_is_on_the_next_writer() {
    the_log_is_out_of_reach(builder("lend", Flavour::MariaDb1011), 0);
}

#[test]
fn mysql_9_7_what_only_a_replica_has_received_is_on_the_next_writer() {
    the_log_is_out_of_reach(builder("lend_my", Flavour::MySql97), 0);
}

#[test]
fn a_replica_that_has_not_applied_it_yet_is_waited_for() {
    the_log_is_out_of_reach(builder("lend_late", Flavour::MariaDb1011), 4);
}

#[test]
fn mysql_9_7_a_replica_that_has_not_applied_it_yet_is_waited_for() {
    the_log_is_out_of_reach(builder("lend_late_my", Flavour::MySql97), 4);
}

/// The whole host is gone, and nobody has its log.
fn the_host_vanishes(builder: Builder) {
    let (lab, clients) = the_replica_has_more(builder, 0);
    let gone = lab.unplug(M1).unwrap();
    let first = clients.wait_by(ID2, gone, Duration::from_secs(40)).unwrap();
    eprintln!("first write on the new writer {} us after the loss", first.end.micros() - gone.micros());
    let unsent =
        Tolerance::UnsentTail { server_id: ID1, since: Moment::from_micros(gone.micros() - 300_000) };
    expect_nothing_lost(&lab, &clients, unsent);
}

#[test]
fn what_only_a_replica_has_received_of_a_host_that_vanished_is_on_the_next_writer() {
    the_host_vanishes(builder("lend_gone", Flavour::MariaDb1011));
}

#[test]
fn mysql_9_7_what_only_a_replica_has_received_of_a_host_that_vanished_is_on_the_next_writer() {
    the_host_vanishes(builder("lend_gone_my", Flavour::MySql97));
}

/// A replica that does not log what it replicates has nothing to hand over, and says so at once.
#[test]
fn a_replica_whose_log_does_not_have_it_is_told_of_and_nobody_waits_for_it() {
    let (lab, clients) = the_replica_has_more(
        builder("lend_unlogged", Flavour::MySql97).server_line("log_replica_updates = OFF"),
        0,
    );
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = clients.wait_by(ID2, killed, SOON).unwrap();
    assert!(first.end.micros() - killed.micros() < 4_000_000);
    let line = lab.wait_log(MON, Program::Monitor, "may be lost here: ", SOON).unwrap();
    assert!(line.contains(" FATAL ") && line.contains("does not hold what it replicates"), "{line}");
    clients.stop().unwrap();
}
