//! What a new writer is to get from a dead one's log, and what is told of it.

use std::time::Duration;

use super::fixture::{Fixture, pair};
use crate::message::ServerView;
use crate::names::HostName;
use crate::salvage::{SalvageOrder, SalvageState, Vain};

/// Agents that can hand over a log.
fn running() -> Fixture {
    let mut fixture = Fixture::running(pair());
    for host in ["db1", "db2"] {
        fixture.report(host, |status| status.salvages = true);
    }
    fixture
}

fn die(fixture: &mut Fixture) {
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.held.clear();
    });
    fixture.agents_obey();
}

fn ordered(fixture: &Fixture) -> Option<SalvageOrder> {
    fixture.promotion("db2").expect("it was promoted").salvage.map(|order| *order)
}

fn from_db1() -> SalvageOrder {
    SalvageOrder::new(HostName::from("db1"), Duration::from_secs(10))
}

/// The new writer says that it never got to the other agent.
fn tell_unreached(fixture: &mut Fixture) {
    let epoch = fixture.promotion("db2").expect("it was promoted").epoch;
    let why = Vain::Unreachable { tried: Duration::from_secs(1), last: "no answer".to_owned() };
    let state = SalvageState::InVain { why, lacking: None };
    fixture.report("db2", |status| status.salvage = Some((epoch, HostName::from("db1"), state)));
}

#[test]
fn an_unreached_agent_that_the_monitor_reaches_points_at_the_network_between() {
    let mut fixture = running();
    die(&mut fixture);
    assert_eq!(ordered(&fixture), Some(from_db1()));
    tell_unreached(&mut fixture);
    let words = "FATAL Host 'db2': The last transactions of 'db1' may be lost here: its agent was tried for 1.0 s in vain: no answer";
    let link = "The monitor reaches the agent of 'db1': look at the network between 'db2' and 'db1'";
    assert!(fixture.logged_part(words) && fixture.logged_part(link), "{:?}", fixture.log);
}

#[test]
fn an_agent_that_was_lost_after_it_told_of_the_death_is_asked_all_the_same() {
    let mut fixture = running();
    assert!(fixture.command("set_offline db2").starts_with("OK"));
    fixture.agents_obey();
    die(&mut fixture);
    fixture.lose("db1");
    fixture.pass(1);
    assert!(fixture.command("set_online db2").starts_with("OK"));
    fixture.agents_obey();
    fixture.pass(1);
    assert_eq!(ordered(&fixture), Some(from_db1()));
    tell_unreached(&mut fixture);
    assert!(fixture.logged_part("The monitor does not reach the agent of 'db1' either"), "{:?}", fixture.log);
}

#[test]
fn a_writer_that_vanished_before_its_servers_end_was_told_is_not_asked() {
    let mut fixture = running();
    fixture.lose("db1");
    fixture.pass(20);
    assert_eq!(ordered(&fixture), None);
}
