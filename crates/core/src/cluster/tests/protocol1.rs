//! Hosts whose agent speaks protocol 1: given the role only when that is on disk, free of it only when they show it, and
//! replaced as 2.2.1 replaced them when they vanish.

use std::time::Duration;

use super::fixture::{Disk, Fixture, WRITER, four, pair, role, set};
use crate::check::CheckKind;
use crate::cluster::{Event, FoundState, Protocol1Report};
use crate::lease::{Ended, Epoch, Proof};
use crate::message::{LogPosition, Takeover};
use crate::moment::Moment;
use crate::settings::Settings;
use crate::state::HostState;

const NOT_FENCED: &str = "# Warning: agent on host db2 speaks protocol 1: not fenced\n";

/// A host with an agent of 2.2.1, which does at once what it is told.
struct Old {
    name: &'static str,
    report: Protocol1Report,
    /// Whether its server can be closed and opened.
    obedient: bool,
}

impl Old {
    fn new(name: &'static str) -> Self {
        let report = Protocol1Report { uptime: Duration::from_secs(5000), ..Protocol1Report::default() };
        Self { name, report, obedient: true }
    }

    /// A host that a monitor of 2.2.1 made the writer.
    fn writer(name: &'static str) -> Self {
        let mut old = Self::new(name);
        old.report.said = Some((Some(HostState::Online), set(&[WRITER])));
        old.report.held = set(&[WRITER]);
        old.report.writable = true;
        old
    }

    fn says(&mut self, fixture: &mut Fixture) {
        self.report.uptime += Duration::from_secs(1);
        let report = Box::new(self.report.clone());
        self.report.said = None;
        fixture.step(Event::Protocol1Reported { host: self.name.into(), report });
    }

    fn obeys(&mut self, fixture: &mut Fixture) {
        let Some(order) = fixture.orders.get(self.name).cloned() else { return };
        self.report.applied = Some(order.id);
        self.report.held.clone_from(&order.roles);
        if self.obedient {
            self.report.writable = order.roles.contains(&role(WRITER));
            self.report.position =
                (!self.report.writable).then(|| LogPosition { file: "bin.000009".to_owned(), position: 815 });
        }
        self.says(fixture);
    }
}

fn settle(fixture: &mut Fixture, old: &mut Old) {
    for _ in 0..4 {
        fixture.settle();
        old.obeys(fixture);
    }
}

/// The tutorial's pair with the writer on db1, whose agent is ours, and an agent of 2.2.1 on db2.
fn mixed(settings: Settings) -> (Fixture, Old) {
    let mut fixture = Fixture::running(settings);
    let mut old = Old::new("db2");
    fixture.lose("db2");
    old.report.held = set(&["reader(192.168.8.34)"]);
    old.says(&mut fixture);
    settle(&mut fixture, &mut old);
    fixture.pass(5);
    fixture.forget();
    (fixture, old)
}

/// The same with the role on db2.
fn mixed_on_old(settings: Settings) -> (Fixture, Old) {
    let (mut fixture, mut old) = mixed(settings);
    fixture.command("move_role writer db2");
    settle(&mut fixture, &mut old);
    assert_eq!((fixture.writer().as_str(), old.report.writable), ("db2", true));
    fixture.pass(5);
    fixture.forget();
    (fixture, old)
}

fn vanishes(fixture: &mut Fixture, host: &str) {
    fixture.lose(host);
    fixture.fail(host, CheckKind::Ping);
    fixture.pass(30);
}

fn writes_by_order(fixture: &Fixture, host: &str) -> bool {
    fixture.ordered(host).contains("writer")
}

#[test]
fn while_a_candidate_speaks_protocol_1_no_lease_runs_out_and_show_says_so() {
    let (mut fixture, _old) = mixed(pair());
    assert_eq!(fixture.renewed("db1"), Some(vec![]));
    assert!(fixture.command("show").contains(NOT_FENCED));
    // Out of reach it is still the agent that it was.
    fixture.lose("db2");
    assert_eq!(fixture.renewed("db1"), Some(vec![]));
    assert!(fixture.command("show").contains(NOT_FENCED));
    // Only an agent that speaks protocol 2 is another one.
    fixture.connect("db2");
    assert!(!fixture.command("show").contains("protocol 1"));
    assert!(fixture.logged_part("The agent on host 'db2' speaks protocol 2 now"));
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
}

#[test]
fn a_replica_that_speaks_protocol_1_is_no_candidate_and_changes_nothing() {
    let mut fixture = Fixture::running(four());
    fixture.lose("db3");
    Old::new("db3").says(&mut fixture);
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    assert!(fixture.command("show").contains("agent on host db3 speaks protocol 1"));
}

#[test]
fn a_role_is_given_to_a_host_of_protocol_1_only_when_that_is_on_disk() {
    let (mut fixture, mut old) = mixed(pair());
    fixture.disk = Disk::Slow;
    fixture.command("move_role writer db2");
    for _ in 0..5 {
        fixture.settle();
        old.obeys(&mut fixture);
        assert!(!writes_by_order(&fixture, "db2"), "told before it was written down");
    }
    for _ in 0..5 {
        fixture.write_state();
        fixture.settle();
        if let Some(record) = fixture.kept.as_ref().and_then(|kept| kept.record.clone())
            && record.host == "db2".into()
        {
            assert!(record.unfenced && record.list.is_empty() && record.ended.is_none(), "{record:?}");
            assert!(writes_by_order(&fixture, "db2"));
            return;
        }
        old.obeys(&mut fixture);
        assert!(!writes_by_order(&fixture, "db2"));
    }
    panic!("it was never written down: {:?}", fixture.kept);
}

#[test]
fn a_disk_that_takes_nothing_leaves_a_host_of_protocol_1_without_the_role() {
    let (mut fixture, mut old) = mixed(pair());
    fixture.disk = Disk::Full;
    fixture.command("move_role writer db2");
    fixture.pass(5);
    settle(&mut fixture, &mut old);
    assert!(!writes_by_order(&fixture, "db2"));
    fixture.disk = Disk::Quick;
    fixture.pass(5);
    settle(&mut fixture, &mut old);
    assert!(writes_by_order(&fixture, "db2"));
}

#[test]
fn a_planned_move_to_protocol_1_waits_for_the_release_and_asks_nothing_of_the_target() {
    let (mut fixture, mut old) = mixed(pair());
    let answer = fixture.command("move_role writer db2");
    assert!(answer.starts_with("OK: Role 'writer' has been moved from 'db1' to 'db2'."), "{answer}");
    assert_eq!(fixture.approaches, [], "an agent of 2.2.1 has no word for it");
    old.obeys(&mut fixture);
    assert!(!writes_by_order(&fixture, "db2"), "the old writer has not given it back");
    settle(&mut fixture, &mut old);
    assert!(old.report.writable && !writes_by_order(&fixture, "db1"));
    assert_eq!(fixture.writing(), [""; 0]);
    assert_eq!(fixture.promotion("db2").map(|promotion| promotion.hold), Some(false));
}

#[test]
fn a_planned_move_from_protocol_1_waits_for_a_host_that_shows_neither_address_nor_writes() {
    let (mut fixture, mut old) = mixed_on_old(pair());
    fixture.command("move_role writer db1");
    fixture.approached(Ok(()));
    let order = fixture.orders["db2"].clone();
    assert!(!writes_by_order(&fixture, "db2"));
    // It says that it has done so, and its host shows otherwise.
    for (held, writable) in [(set(&[WRITER]), false), (set(&[]), true), (set(&[WRITER]), true)] {
        old.report.applied = Some(order.id);
        (old.report.held, old.report.writable) = (held, writable);
        old.says(&mut fixture);
        fixture.settle();
        assert!(!writes_by_order(&fixture, "db1"), "{:?}", old.report);
    }
    // What it shows before it was told counts for nothing.
    old.report.applied = None;
    (old.report.held, old.report.writable) = (set(&[]), false);
    old.says(&mut fixture);
    fixture.settle();
    assert!(!writes_by_order(&fixture, "db1"));
    let epoch = order.release.expect("it is asked to give the role back");
    settle(&mut fixture, &mut old);
    let promotion = fixture.promotion("db1").expect("it is promoted");
    assert_eq!(promotion.proof, Proof::Ended(epoch, Ended::Released));
    let end = LogPosition { file: "bin.000009".to_owned(), position: 815 };
    assert_eq!((promotion.takeover, promotion.hold), (Takeover::After(end), false));
    assert_eq!(fixture.writing(), ["db1"]);
}

#[test]
fn a_server_that_stays_open_without_the_role_is_shown() {
    let (mut fixture, mut old) = mixed_on_old(pair());
    old.obedient = false;
    fixture.command("move_role writer db1");
    fixture.approached(Ok(()));
    fixture.settle();
    old.obeys(&mut fixture);
    assert!(!writes_by_order(&fixture, "db1"));
    let shown = fixture.command("show");
    assert!(shown.contains("# Warning: host db2 takes writes though it is not the writer"), "{shown}");
}

#[test]
fn a_crashed_server_of_protocol_1_is_replaced_after_the_trap_period_once_its_agent_let_go() {
    let (mut fixture, mut old) = mixed_on_old(pair());
    old.report.writable = false;
    old.says(&mut fixture);
    fixture.bad("db2", CheckKind::Mysql);
    fixture.pass(9);
    assert_eq!(fixture.state("db2"), HostState::Online, "its agent's word is no evidence");
    fixture.pass(1);
    fixture.bad("db2", CheckKind::Mysql);
    assert_eq!(fixture.state("db2"), HostState::HardOffline);
    assert!(!writes_by_order(&fixture, "db1"), "it still has the address");
    old.report.position = None;
    old.report.applied = fixture.orders.get("db2").map(|order| order.id);
    old.report.held = set(&[]);
    old.says(&mut fixture);
    fixture.settle();
    let promotion = fixture.promotion("db1").expect("it is promoted");
    assert!(matches!(promotion.proof, Proof::Ended(_, Ended::Released)));
    assert_eq!((promotion.takeover, promotion.hold), (Takeover::Lost, true), "no position is known");
}

#[test]
fn a_vanished_host_of_protocol_1_is_replaced_as_2_2_1_did_where_no_program_can_kill_it() {
    let (mut fixture, _old) = mixed_on_old(pair());
    fixture.lose("db2");
    fixture.pass(60);
    assert!(!writes_by_order(&fixture, "db1"), "an agent alone is no host");
    fixture.bad("db2", CheckKind::Ping);
    fixture.pass(9);
    assert!(!writes_by_order(&fixture, "db1"), "not before the trap period");
    fixture.pass(1);
    fixture.bad("db2", CheckKind::Ping);
    fixture.settle();
    assert_eq!(fixture.writing(), ["db1"]);
    assert!(fixture.logged_part("Could not kill host 'db2' - there may be some duplicate ips now!"));
    let shown = fixture.command("show");
    assert!(shown.contains("# Warning: host db2 vanished as the writer"), "{shown}");
}

#[test]
fn a_vanished_host_of_protocol_1_is_never_replaced_on_silence_where_killing_it_failed() {
    let mut settings = pair();
    settings.kill_host = Ok(());
    let (mut fixture, _old) = mixed_on_old(settings);
    vanishes(&mut fixture, "db2");
    for _ in 0..3 {
        fixture.kill_ends(Err("no power switch".to_owned()));
        fixture.pass(60);
        assert!(!writes_by_order(&fixture, "db1"));
    }
    fixture.kill_ends(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db1"]);
    assert!(!fixture.command("show").contains("vanished as the writer"));
}

#[test]
fn a_vanished_host_of_protocol_1_keeps_the_role_in_manual_mode() {
    let (mut fixture, _old) = mixed_on_old(pair());
    fixture.command("set_manual");
    vanishes(&mut fixture, "db2");
    assert_eq!(fixture.writer(), "db2");
    assert!(!fixture.logged_part("Could not kill host"));
}

#[test]
fn a_vanished_writer_of_protocol_2_is_not_replaced_by_a_host_of_protocol_1_without_proof() {
    let (mut fixture, mut old) = mixed(pair());
    vanishes(&mut fixture, "db1");
    settle(&mut fixture, &mut old);
    fixture.pass(600);
    assert!(!writes_by_order(&fixture, "db2"));
    fixture.command("confirm_dead --yes db1");
    settle(&mut fixture, &mut old);
    assert!(writes_by_order(&fixture, "db2"));
    assert!(!fixture.command("show").contains("lost as the writer"), "an agent of 2.2.1 holds nothing");
}

/// Nobody can compare what it has.
#[test]
fn a_lost_writer_of_protocol_1_joins_as_it_always_did() {
    let (mut fixture, mut old) = mixed_on_old(pair());
    vanishes(&mut fixture, "db2");
    fixture.settle();
    assert_eq!(fixture.writing(), ["db1"]);
    (old.report.held, old.report.writable) = (set(&[]), false);
    old.says(&mut fixture);
    fixture.well("db2");
    settle(&mut fixture, &mut old);
    fixture.pass(15);
    assert_eq!(fixture.state("db2"), HostState::Online);
}

#[test]
fn a_host_that_was_listed_before_its_agent_was_replaced_is_not_promoted_by_time() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    fixture.lose("db1");
    fixture.lose("db2");
    let mut old = Old::new("db2");
    old.says(&mut fixture);
    vanishes(&mut fixture, "db1");
    settle(&mut fixture, &mut old);
    assert!(!writes_by_order(&fixture, "db2"), "it may have promised something");
}

#[test]
fn a_restarted_monitor_knows_that_the_writer_speaks_protocol_1_and_goes_on() {
    let (mut fixture, mut old) = mixed_on_old(pair());
    let epoch = fixture.promotion("db2").expect("it has the role").epoch;
    fixture.restart_with_state();
    fixture.network(true);
    fixture.connect("db1");
    fixture.well("db1");
    fixture.well("db2");
    old.report.applied = None;
    old.report.said = Some((Some(HostState::Online), set(&[WRITER])));
    old.says(&mut fixture);
    settle(&mut fixture, &mut old);
    assert_eq!(fixture.promotion("db2").map(|promotion| promotion.epoch), Some(epoch));
    // The book knows it also when the agent is not heard of any more.
    fixture.restart_with_state();
    fixture.network(true);
    fixture.connect("db1");
    fixture.well("db1");
    fixture.lose("db2");
    fixture.fail("db2", CheckKind::Ping);
    fixture.fail("db2", CheckKind::Mysql);
    fixture.pass(30);
    fixture.settle();
    assert_eq!(fixture.writing(), ["db1"]);
}

#[test]
fn a_cluster_of_2_2_1_is_taken_over_as_it_is() {
    let text = "db1|ONLINE|writer(192.168.8.30)\ndb2|ONLINE|\n";
    let mut fixture = Fixture::restored(pair(), Some(text));
    let (mut first, mut second) = (Old::writer("db1"), Old::new("db2"));
    second.report.said = Some((Some(HostState::Online), set(&[])));
    fixture.network(true);
    for old in [&mut first, &mut second] {
        fixture.well(old.name);
        old.says(&mut fixture);
        let told = fixture.orders.get("db1").is_none_or(|order| order.roles.contains(&role(WRITER)));
        assert!(told, "the role is taken from a running writer");
    }
    let record = fixture.kept.as_ref().and_then(|kept| kept.record.clone()).expect("it was recorded");
    assert_eq!(record.host, "db1".into());
    for _ in 0..4 {
        fixture.settle();
        first.obeys(&mut fixture);
        second.obeys(&mut fixture);
        assert!(first.report.writable && first.report.held.contains(&role(WRITER)), "it was disturbed");
        assert!(!second.report.writable);
    }
    assert!(fixture.orders["db1"].writer.as_ref().is_some_and(|grant| grant.epoch > Epoch::NONE));
    let record = fixture.kept.as_ref().and_then(|kept| kept.record.clone()).expect("it is recorded");
    assert!(record.unfenced && record.epoch > Epoch::NONE);
}

#[test]
fn of_two_writers_of_2_2_1_the_chosen_one_stays_and_the_other_is_told_first() {
    let mut settings = pair();
    settings.careful_startup = false;
    let mut fixture = Fixture::restored(settings, Some("db1|ONLINE|writer(192.168.8.30)\ndb2|ONLINE|\n"));
    let (mut first, mut second) = (Old::writer("db1"), Old::writer("db2"));
    second.report.said = Some((Some(HostState::Online), set(&[])));
    fixture.network(true);
    for old in [&mut first, &mut second] {
        fixture.well(old.name);
        old.says(&mut fixture);
    }
    fixture.settle();
    assert!(!fixture.orders.contains_key("db1"));
    assert!(!writes_by_order(&fixture, "db2"));
    second.obeys(&mut fixture);
    fixture.settle();
    first.obeys(&mut fixture);
    assert!(writes_by_order(&fixture, "db1") && first.report.writable && !second.report.writable);
}

#[test]
fn an_agent_of_this_version_in_place_of_one_of_2_2_1_goes_on_with_the_role() {
    let (mut fixture, _old) = mixed_on_old(pair());
    let before = fixture.promotion("db2").expect("it has the role");
    fixture.lose("db2");
    fixture.report("db2", |status| {
        status.server = crate::message::ServerView::Up { writable: true };
        status.held = set(&[WRITER]);
    });
    fixture.connect("db2");
    fixture.settle();
    let after = fixture.promotion("db2").expect("it keeps the role");
    assert_eq!((after.epoch, after.takeover), (before.epoch, Takeover::Keep));
    assert_eq!(fixture.writing(), ["db2"]);
    fixture.pass(5);
    assert_eq!(fixture.renewed("db2"), Some(vec!["db1"]), "its lease can run out from now on");
    let record = fixture.kept.as_ref().and_then(|kept| kept.record.clone()).expect("it is recorded");
    assert!(!record.unfenced);
}

#[test]
fn an_agent_of_2_2_1_in_place_of_one_that_kept_a_lease_is_recorded_anew() {
    let mut fixture = Fixture::running(pair());
    let before = fixture.promotion("db1").expect("it has the role").epoch;
    fixture.lose("db1");
    let mut old = Old::writer("db1");
    old.says(&mut fixture);
    assert!(!fixture.orders["db1"].roles.is_empty(), "it is told nothing that takes the role");
    settle(&mut fixture, &mut old);
    let after = fixture.promotion("db1").expect("it keeps the role").epoch;
    assert!(after > before, "{after} after {before}");
    let record = fixture.kept.as_ref().and_then(|kept| kept.record.clone()).expect("it is recorded");
    assert_eq!((record.epoch, record.unfenced, record.list.len()), (after, true, 0));
    assert!(old.report.writable);
}

#[test]
fn a_state_file_from_before_protocol_1_was_spoken_is_read() {
    let (fixture, _old) = mixed(pair());
    let state = fixture.kept.expect("a state was written");
    let mut text = serde_json::to_value(&state).unwrap();
    let removed = text["record"].as_object_mut().and_then(|record| record.remove("unfenced"));
    assert!(removed.is_some());
    let read: crate::cluster::MonitorState = serde_json::from_value(text).unwrap();
    assert_eq!(FoundState::Good(read), FoundState::Good(state));
}

#[test]
fn a_restart_of_a_host_is_told_by_its_uptime() {
    let mut kept = crate::cluster::protocol1::Protocol1::default();
    let mut boot = |now: u64, uptime: u64| kept.boot_id(Moment::from_secs(now), Duration::from_secs(uptime));
    let first = boot(100, 5000);
    assert_eq!(boot(103, 5003), first);
    assert_eq!(boot(200, 5099), first, "clocks may drift a little");
    let second = boot(300, 20);
    assert_ne!(second, first);
    assert_eq!(boot(303, 23), second);
    assert_ne!(boot(9000, 4000), second, "it was not looked at for long");
}
