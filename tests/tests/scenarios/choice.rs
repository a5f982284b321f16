//! Who takes the writer's place where several can: the one that has received most, a replica too where it may.

use std::time::Duration;

use mmm_lab::{
    Builder, Clients, ConfigFile, Flavour, Judge, Load, M1, M2, MON, Manner, Moment, Program, Tolerance,
    wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};
use crate::replicas::{R1, R2, REPLICAS};

/// A pair and a replica that may become the writer.
fn with_candidate(builder: Builder) -> Builder {
    builder
        .replicas(1)
        .append(ConfigFile::Monitor, QUICK_CHECKS)
        .append(ConfigFile::Three, &format!("<host {R1}>\n    candidate yes\n</host>\n"))
}

impl Cluster {
    fn up_with_candidate(builder: Builder) -> Self {
        let lab = Self::make(with_candidate(builder));
        lab.expect_writer(M1, &["writer"]);
        lab.wait_show("all three ONLINE", SOON, |show| {
            show.hosts.values().all(|host| host.state == "ONLINE")
        })
        .unwrap();
        lab.expect_covered();
        lab
    }

    fn id_of(&self, host: &str) -> u32 {
        self.host(host).unwrap().server_id.unwrap()
    }
}

/// The link between the masters is cut for less than either of them notices; the replica goes on receiving, and has more than the
/// other master when the writer's server dies.
fn the_replica_has_more(builder: Builder) {
    let lab = Cluster::up_with_candidate(builder);
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    lab.cut(M1, M2, Manner::Drop).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = clients.wait_by(lab.id_of(R1), killed, SOON).unwrap();
    eprintln!("first write on the replica {} us after the kill", first.end.micros() - killed.micros());
    let log = lab.log(MON, Program::Monitor).unwrap();
    assert!(log.contains(&format!("goes to '{R1}' rather than to '{M2}': '{R1}' has received")), "{log}");
    lab.heal_all().unwrap();
    lab.start(M1, Program::Server).unwrap();
    for master in [M1, M2] {
        lab.wait_follows(master, R1, Duration::from_secs(30));
    }
    clients.stop().unwrap();
    let unsent =
        Tolerance::UnsentTail { server_id: ID1, since: Moment::from_micros(killed.micros() - 300_000) };
    let judgement = lab.judge_clients(&[M2, R1], unsent, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

#[test]
fn a_replica_that_has_received_more_than_the_other_master_becomes_the_writer() {
    the_replica_has_more(quick("pick_db").gtid());
}

#[test]
fn without_gtids_as_well() {
    the_replica_has_more(quick("pick_pos"));
}

#[test]
fn mysql_9_7_a_replica_that_has_received_more_than_the_other_master_becomes_the_writer() {
    the_replica_has_more(quick("pick_my").gtid().server(Flavour::MySql97));
}

/// Both masters die one after the other; they follow the replica when they are back, and one of them gets the role again.
fn both_masters_gone(builder: Builder) {
    let lab = Cluster::up_with_candidate(builder);
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    lab.kill(M2, Program::Server).unwrap();
    clients.stop().unwrap();
    lab.wait_replicated(M1, R1, SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(lab.id_of(R1), killed, SOON).unwrap();
    for master in [M1, M2] {
        lab.start(master, Program::Server).unwrap();
    }
    for master in [M1, M2] {
        lab.wait_follows(master, R1, Duration::from_secs(30));
    }
    lab.wait_show("all three ONLINE", Duration::from_secs(30), |show| {
        show.hosts.values().all(|host| host.state == "ONLINE")
    })
    .unwrap();
    wait_for("a move back", SOON, || {
        let answer = lab.tell(&["move_role", "writer", M1]);
        if answer.starts_with("OK") { Ok(()) } else { Err(answer) }
    })
    .unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    lab.wait_follows(M2, M1, Duration::from_secs(30));
    lab.wait_follows(R1, M1, Duration::from_secs(30));
    clients.stop().unwrap();
    let judgement = lab.judge_clients(&[M1, M2, R1], Tolerance::NothingLost, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

#[test]
fn both_masters_follow_a_replica_that_took_the_role_and_get_it_back() {
    both_masters_gone(quick("both_db").gtid());
}

#[test]
fn mysql_9_7_both_masters_follow_a_replica_that_took_the_role_and_get_it_back() {
    both_masters_gone(quick("both_my").gtid().server(Flavour::MySql97));
}

/// The writer vanishes with writes that nobody received; before it is back the role goes on to the replica, in order.
fn lost_before_the_role_went_on(builder: Builder) {
    let lab = Cluster::up_with_candidate(builder);
    let probe = lab.start_probe().unwrap();
    probe.wait_write(Moment::now(), SOON).unwrap();
    lab.cut(M1, R1, Manner::Drop).unwrap();
    let cut = lab.cut(M1, M2, Manner::Drop).unwrap();
    probe.wait_write_by(ID1, cut + Duration::from_millis(300), SOON).unwrap();
    let lost = lab.power_off(M1).unwrap();
    probe.wait_write_by(ID2, lost, SOON).unwrap();
    wait_for("a move to the replica", SOON, || {
        let answer = lab.tell(&["move_role", "writer", R1]);
        if answer.starts_with("OK") { Ok(()) } else { Err(answer) }
    })
    .unwrap();
    probe.wait_write_by(lab.id_of(R1), Moment::now(), SOON).unwrap();
    let judge = Judge::new(&lab, probe.stop().unwrap());
    lab.wait_shown(&format!("replication from {M1}, which was lost as the writer, is held"), SOON);
    lab.wait_follows(M2, R1, Duration::from_secs(30));
    lab.heal_all().unwrap();
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    let rows = |host: &str| judge.rows(host).unwrap();
    let only = |host: &str| {
        let there = rows(host);
        rows(M1).into_iter().filter(|(number, server)| *server == ID1 && !there.contains_key(number)).count()
    };
    let lacking = only(R1);
    assert!(lacking > 5, "{lacking}");
    lab.wait_shown(&format!("it has {lacking} transactions nobody else has"), SOON);
    let told = lab.tell(&["history"]);
    assert!(told.contains(&format!("({lacking} diverged)")), "{told}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((only(R1), only(M2)), (lacking, lacking), "nothing of it came to the others by itself");
}

#[test]
fn a_lost_writer_is_compared_with_whoever_writes_when_it_is_back() {
    lost_before_the_role_went_on(quick("lost_on").gtid());
}

#[test]
fn mysql_9_7_a_lost_writer_is_compared_with_whoever_writes_when_it_is_back() {
    lost_before_the_role_went_on(quick("lost_on_my").gtid().server(Flavour::MySql97));
}

/// Everything loses its power at the same moment, and the master that comes up first lacks what the writer wrote last.
fn outage_of_everything(builder: Builder) -> (Cluster, Clients) {
    let lab = Cluster::up(builder.append(ConfigFile::Monitor, QUICK_CHECKS));
    lab.wait_covered(SOON).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    lab.cut(M1, M2, Manner::Drop).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    for host in [M1, M2, MON] {
        lab.power_off(host).unwrap();
    }
    clients.stop().unwrap();
    lab.heal_all().unwrap();
    for host in [M1, M2, MON] {
        lab.reboot(host).unwrap();
    }
    for host in [M2, MON] {
        lab.start_enabled(host).unwrap();
    }
    (lab, clients)
}

fn waits_for_the_last_writer(lab: &Cluster) {
    let why = format!("has not reached '{M1}' since it was started");
    wait_for("why nobody writes", Duration::from_secs(60), || {
        let shown = lab.control(&["show", "--long"]).unwrap().stdout;
        if shown.contains(&why) { Ok(()) } else { Err(shown) }
    })
    .unwrap();
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(200));
        assert!(lab.is_read_only(M2).unwrap(), "nobody may write before the last writer was heard");
    }
}

fn the_last_writer_is_waited_for(builder: Builder) {
    let (lab, _) = outage_of_everything(builder);
    waits_for_the_last_writer(&lab);
    lab.start_enabled(M1).unwrap();
    // Whoever of them it is has everything then.
    lab.wait_show("a writer, and both ONLINE", Duration::from_secs(30), |show| {
        let writes = show.hosts.values().any(|host| host.roles.iter().any(|role| role.starts_with("writer")));
        writes && show.hosts.values().all(|host| host.state == "ONLINE")
    })
    .unwrap();
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

#[test]
fn after_an_outage_of_everything_the_last_writer_is_waited_for_and_nothing_is_lost() {
    the_last_writer_is_waited_for(quick("dark_db").gtid());
}

#[test]
fn mysql_9_7_after_an_outage_of_everything_the_last_writer_is_waited_for_and_nothing_is_lost() {
    the_last_writer_is_waited_for(quick("dark_my").gtid().server(Flavour::MySql97));
}

#[test]
fn after_an_outage_of_everything_the_operator_may_go_on_without_the_last_writer() {
    let (lab, _) = outage_of_everything(quick("dark_word").gtid());
    waits_for_the_last_writer(&lab);
    let answer = lab.tell(&["confirm_loss", "--yes", M1]);
    assert!(answer.starts_with("OK"), "{answer}");
    lab.wait_show("the other one writes", Duration::from_secs(40), |show| {
        show.hosts[M2].roles.iter().any(|role| role.starts_with("writer"))
    })
    .unwrap();
}

/// A replica that could take the role has lost its power when the writer's host does: whoever is left takes it, one after the other, and the
/// record says who was missing.
fn with_whoever_is_left(builder: Builder) {
    let candidates = REPLICAS.map(|host| format!("<host {host}>\n    candidate yes\n</host>\n")).concat();
    let lab = Cluster::with_replicas(
        builder.replicas(2).append(ConfigFile::Monitor, QUICK_CHECKS).append(ConfigFile::Three, &candidates),
    );
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    lab.power_off(R1).unwrap();
    lab.wait_show("one replica lost", SOON, |show| show.state(R1) == "HARD_OFFLINE").unwrap();
    lab.expect_covered();
    let lost = lab.power_off(M1).unwrap();
    let first = clients.wait_by(lab.id_of(M2), lost, SOON).unwrap();
    eprintln!("first write on the other master {:?} after the loss", first.end - lost);
    lab.wait_follows(R2, M2, SOON);
    let told = lab.tell(&["history", "last"]);
    eprintln!("{told}");
    assert!(told.lines().any(|line| line.contains(R1) && line.contains("HARD_OFFLINE")), "{told}");
    lab.expect_covered();
    clients.wait_by(lab.id_of(M2), Moment::now(), SOON).unwrap();
    clients.stop().unwrap();
    lab.wait_replicated(M2, R2, SOON).unwrap();
    let killed = lab.kill(M2, Program::Server).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    let first = clients.wait_by(lab.id_of(R2), killed, SOON).unwrap();
    eprintln!("first write on the replica that is left {:?} after the kill", first.end - killed);
    lab.start(M2, Program::Server).unwrap();
    lab.wait_follows(M2, R2, Duration::from_secs(30));
    lab.reboot(R1).unwrap();
    lab.start_enabled(R1).unwrap();
    lab.wait_follows(R1, R2, Duration::from_secs(30));
    clients.stop().unwrap();
    let since = Moment::from_micros(lost.micros() - 1_000_000);
    let unsent = Tolerance::UnsentTail { server_id: ID1, since };
    let judgement = lab.judge_clients(&[M2, R2], unsent, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 100, "{judgement}");
}

#[test]
fn a_dead_candidate_keeps_nobody_else_from_the_role() {
    with_whoever_is_left(quick("pick_left").gtid());
}

#[test]
fn mysql_9_7_a_dead_candidate_keeps_nobody_else_from_the_role() {
    with_whoever_is_left(quick("pick_my_left").gtid().server(Flavour::MySql97));
}
