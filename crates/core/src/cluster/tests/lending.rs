//! What only a replica has received of a lost writer: the next writer gets it from there.

use std::time::Duration;

use super::fixture::{Fixture, four};
use crate::check::CheckKind;
use crate::gtid::Received;
use crate::message::{Astray, OrderId, ServerView};
use crate::names::{HostName, RoleName};
use crate::rebuild::{RebuildStage, RebuildStatus};
use crate::salvage::{SalvageOrder, SalvageState, Vain, Wanted};
use crate::settings::Settings;

fn gtids(server_id: u64, text: &str) -> Received {
    Received { server_id, gtids: text.to_owned(), ..Received::default() }
}

/// Two masters and two replicas that can't take the role; agents that can look, and hand over.
fn running() -> Fixture {
    running_with(four())
}

fn running_with(settings: Settings) -> Fixture {
    let mut fixture = Fixture::running(settings);
    for (number, host) in (1..).zip(["db1", "db2", "db3", "db4"]) {
        fixture.report(host, |status| {
            status.received = Some(Box::new(gtids(number, "0-1-40")));
            status.looked = Some(OrderId::default());
            (status.salvages, status.lends) = (true, true);
        });
    }
    fixture
}

fn dies(fixture: &mut Fixture) {
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.received = None;
        status.held.clear();
    });
}

fn looks(fixture: &mut Fixture, host: &str, number: u64, text: &str) {
    let look = fixture.looks.last().map(|(_, id)| *id);
    fixture.report(host, |status| {
        (status.looked, status.received) = (look, Some(Box::new(gtids(number, text))));
    });
}

fn ordered(fixture: &mut Fixture) -> Option<SalvageOrder> {
    fixture.agents_obey();
    fixture.pass(1);
    fixture.promotion("db2").expect("it was promoted").salvage.map(|order| *order)
}

fn from_db3(at_least: &str) -> SalvageOrder {
    let lent = Wanted { server_id: 1, server_uuid: None, at_least: at_least.to_owned() };
    let order = SalvageOrder::new(HostName::from("db3"), Duration::from_secs(10));
    SalvageOrder { lent: Some(lent), ..order }
}

#[test]
fn the_replica_that_has_received_most_hands_it_over() {
    let mut fixture = running();
    fixture.report("db1", |status| status.salvages = false);
    dies(&mut fixture);
    assert_eq!(fixture.writer(), "", "what a replica said before the loss is no evidence");
    looks(&mut fixture, "db2", 2, "0-1-41");
    looks(&mut fixture, "db3", 3, "0-1-45,0-3-900");
    assert_eq!(fixture.writer(), "");
    looks(&mut fixture, "db4", 4, "0-1-43");
    assert_eq!(fixture.writer(), "db2", "a replica that is no candidate never takes the role");
    assert_eq!(ordered(&mut fixture), Some(from_db3("0-1-42..45")));
    assert!(fixture.logged_part("Host 'db3' has received 4 transactions more (0-1-42..45) than 'db2'"));
    // The record of the loss has it.
    let epoch = fixture.promotion("db2").unwrap().epoch;
    let (first, last) = (Some("0-1-42".to_owned()), Some("0-1-45".to_owned()));
    let state = SalvageState::Done { transactions: 4, first, last, damage: None };
    fixture.report("db2", |status| status.salvage = Some((epoch, "db3".into(), state)));
    assert!(fixture.logged_part("salvaged 4 transactions (0-1-42 to 0-1-45) from the log of 'db3'"));
}

#[test]
fn a_dead_writers_log_comes_first_and_the_replica_where_that_is_in_vain() {
    let mut fixture = running();
    dies(&mut fixture);
    for (number, host, text) in [(2, "db2", "0-1-41"), (3, "db3", "0-1-45"), (4, "db4", "0-1-45")] {
        looks(&mut fixture, host, number, text);
    }
    let order = ordered(&mut fixture).expect("its agent is there");
    assert_eq!((order.from.as_str(), order.lent.is_some()), ("db1", false));
    assert!(order.otherwise.is_some_and(|next| next.lent == from_db3("0-1-42..45").lent));
}

#[test]
fn a_replica_that_does_not_answer_holds_nobody_up() {
    let mut fixture = running();
    dies(&mut fixture);
    looks(&mut fixture, "db2", 2, "0-1-41");
    looks(&mut fixture, "db3", 3, "0-1-41");
    fixture.pass_ms(100);
    assert_eq!(fixture.writer(), "");
    fixture.pass_ms(150);
    assert_eq!(fixture.writer(), "db2");
}

#[test]
fn what_the_lost_writer_did_not_write_is_carried_over_from_nowhere() {
    let mut fixture = running();
    dies(&mut fixture);
    looks(&mut fixture, "db2", 2, "0-1-41");
    // Written there with another server's number, and by a replica with an applier that has stopped.
    looks(&mut fixture, "db3", 3, "0-1-41,0-9-77");
    fixture.report("db4", |status| status.applier_error = Some("duplicate entry".to_owned()));
    looks(&mut fixture, "db4", 4, "0-1-45");
    assert_eq!(ordered(&mut fixture).and_then(|order| order.otherwise), None);
}

#[test]
fn agents_that_know_of_no_lending_are_not_asked() {
    let mut fixture = running();
    fixture.report("db3", |status| status.lends = false);
    dies(&mut fixture);
    looks(&mut fixture, "db2", 2, "0-1-41");
    looks(&mut fixture, "db4", 4, "0-1-41");
    fixture.report("db3", |status| status.received = Some(Box::new(gtids(3, "0-1-45"))));
    assert_eq!(ordered(&mut fixture).and_then(|order| order.otherwise), None);
}

#[test]
fn what_was_in_vain_is_told() {
    let mut fixture = running();
    fixture.report("db1", |status| status.salvages = false);
    dies(&mut fixture);
    for (number, host, text) in [(2, "db2", "0-1-41"), (3, "db3", "0-1-45"), (4, "db4", "0-1-41")] {
        looks(&mut fixture, host, number, text);
    }
    assert_eq!(ordered(&mut fixture), Some(from_db3("0-1-42..45")));
    let epoch = fixture.promotion("db2").unwrap().epoch;
    let state = SalvageState::Waiting { have: 1, of: 4 };
    fixture.report("db2", |status| status.salvage = Some((epoch, "db3".into(), state)));
    let words = "waiting until 'db3' has applied what it is to hand over: 1 of 4 transactions";
    assert!(fixture.command("show").contains(words));
    let state = SalvageState::InVain { why: Vain::LogsOnlyItsOwn, lacking: None };
    fixture.report("db2", |status| status.salvage = Some((epoch, "db3".into(), state)));
    assert!(fixture.logged_part("FATAL Host 'db2': The last transactions of 'db3' may be lost here: its log does not hold what it replicates"));
}

fn db3_has_most(fixture: &mut Fixture) {
    for (number, host, text) in [(2, "db2", "0-1-41"), (3, "db3", "0-1-45"), (4, "db4", "0-1-43")] {
        looks(fixture, host, number, text);
    }
}

/// Something keeps db3 from handing over what it has: db4 does.
fn passed_over(fixture: &mut Fixture, why: &str) {
    dies(fixture);
    db3_has_most(fixture);
    fixture.pass(1);
    let order = ordered(fixture).and_then(|order| order.otherwise).expect("db4 has more as well");
    assert_eq!(order.from.as_str(), "db4", "{why}");
}

#[test]
fn a_host_whose_data_may_not_be_whole_hands_nothing_over() {
    let mut fixture = running();
    let stage = RebuildStage::Unreadable("the file /x makes no sense".into());
    let status = RebuildStatus { id: OrderId::default(), from: "db3".into(), stage };
    fixture.report("db3", |of| of.rebuild = Some(Box::new(status)));
    passed_over(&mut fixture, "it was being rebuilt");
}

#[test]
fn a_host_that_can_not_be_asked_hands_nothing_over() {
    let mut fixture = running();
    fixture.report("db3", |status| status.server = ServerView::Gone);
    passed_over(&mut fixture, "its server has ended");

    let mut fixture = running();
    let text = "nobody knows where it would have to go on".to_owned();
    fixture.report("db3", |status| status.astray = Some(Astray { text, refused: true }));
    passed_over(&mut fixture, "it follows nobody");

    let mut fixture = running();
    fixture.report("db3", |status| status.received = Some(Box::new(gtids(3, "0-1-45"))));
    fixture.lose("db3");
    passed_over(&mut fixture, "its agent is away");
}

/// It is held itself until it has been compared: what it has may be what nobody is to get.
#[test]
fn a_writer_that_was_lost_before_hands_nothing_over() {
    let mut settings = four();
    settings.roles.get_mut(&RoleName::from("writer")).unwrap().hosts.push("db3".into());
    let mut fixture = running_with(settings);
    fixture.command("move_role writer db3");
    fixture.approached(Ok(()));
    fixture.settle();
    fixture.report("db3", |status| {
        status.server = ServerView::Gone;
        status.held.clear();
    });
    for _ in 0..3 {
        for (number, host, text) in [(1, "db1", "0-3-41"), (2, "db2", "0-3-40"), (4, "db4", "0-3-40")] {
            looks(&mut fixture, host, number, text);
        }
        fixture.pass(1);
    }
    fixture.settle();
    assert_eq!(fixture.writer(), "db1");
    // That it is back is known from its agent only, so that it is not chosen again.
    fixture.fail("db3", CheckKind::Ping);
    fixture.report("db3", |status| status.server = ServerView::Up { writable: false });
    fixture.settle();
    passed_over(&mut fixture, "it was lost as a writer");
}

#[test]
fn a_next_writer_that_can_not_ask_and_one_that_is_not_to_wait_get_nothing_from_there() {
    let mut fixture = running();
    fixture.report("db2", |status| status.lends = false);
    dies(&mut fixture);
    db3_has_most(&mut fixture);
    assert_eq!(ordered(&mut fixture).and_then(|order| order.otherwise), None);

    let mut fixture = running_with(Settings { salvage_timeout: Duration::ZERO, ..four() });
    dies(&mut fixture);
    db3_has_most(&mut fixture);
    assert_eq!(ordered(&mut fixture), None);
}
