//! What clients were told, held against what every server has in the end: rows, counters and transfers between accounts, on the master that
//! comes back as on the one that took over.

use std::time::Duration;

use mmm_lab::{Builder, Clients, Flavour, Load, M1, M2, Moment, Program, Tolerance};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};

fn mariadb(name: &str) -> Builder {
    quick(name).gtid()
}

fn mysql(name: &str) -> Builder {
    quick(name).gtid().server(Flavour::MySql97)
}

/// A cluster whose clients are at work.
fn at_work(builder: Builder) -> (Cluster, Clients) {
    let lab = Cluster::up(builder);
    lab.wait_covered(SOON).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    (lab, clients)
}

/// Both masters have the same, and what was acknowledged is there but for what may be missing.
fn expect_whole(lab: &Cluster, clients: &Clients, tolerance: Tolerance) {
    clients.stop().unwrap();
    for host in [M1, M2] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    let judgement = lab.judge_clients(&[M1, M2], tolerance, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

fn killed(builder: Builder) {
    let (lab, clients) = at_work(builder);
    // At rest, so that nothing is unsent: what the crash leaves on one server alone is for other scenarios.
    clients.stop().unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID2, killed, SOON).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);
    expect_whole(&lab, &clients, Tolerance::NothingLost);
}

/// A writer lost under load: the new one may lack what was not sent any more, and nothing but that.
fn lost_at_work(builder: Builder, fault: impl FnOnce(&Cluster) -> Moment) {
    let (lab, clients) = at_work(builder);
    let lost = fault(&lab);
    clients.wait_by(ID2, lost, SOON).unwrap();
    clients.stop().unwrap();
    let since = Moment::from_micros(lost.micros() - 1_000_000);
    let judgement = lab.judge_clients(&[M2], Tolerance::UnsentTail { server_id: ID1, since }, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

fn kill(lab: &Cluster) -> Moment {
    lab.kill(M1, Program::Server).unwrap()
}

/// A clean stop does not wait for those that replicate either.
fn stop(lab: &Cluster) -> Moment {
    lab.stop(M1, Program::Server).unwrap()
}

fn moved(builder: Builder) {
    let (lab, clients) = at_work(builder);
    for (to, id) in [(M2, ID2), (M1, ID1)] {
        let began = Moment::now();
        lab.tell(&["move_role", "writer", to]);
        clients.wait_by(id, began, SOON).unwrap();
        lab.expect_pair(to);
    }
    expect_whole(&lab, &clients, Tolerance::NothingLost);
}

#[test]
fn a_writer_killed_at_rest_costs_nothing() {
    killed(mariadb("judged_killed"));
}

#[test]
fn a_writer_killed_at_work_costs_at_most_what_it_had_not_sent() {
    lost_at_work(mariadb("judged_at_work"), kill);
}

#[test]
fn moves_there_and_back_cost_nothing() {
    moved(mariadb("judged_moved"));
}

#[test]
fn a_writer_stopped_at_work_costs_at_most_what_it_had_not_sent() {
    lost_at_work(mariadb("judged_stopped"), stop);
}

#[test]
fn mysql_9_7_killed_at_rest_costs_nothing() {
    killed(mysql("judged_my_killed"));
}

#[test]
fn mysql_9_7_killed_at_work_costs_at_most_what_it_had_not_sent() {
    lost_at_work(mysql("judged_my_at_work"), kill);
}

#[test]
fn mysql_9_7_moved_there_and_back_costs_nothing() {
    moved(mysql("judged_my_moved"));
}

#[test]
fn mysql_9_7_stopped_at_work_costs_at_most_what_it_had_not_sent() {
    lost_at_work(mysql("judged_my_stopped"), stop);
}
