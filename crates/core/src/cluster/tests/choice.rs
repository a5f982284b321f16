//! Who becomes the writer of several that can.

use std::collections::BTreeSet;

use super::fixture::{Fixture, four};
use crate::gtid::{Place, Received};
use crate::lease::{Duty, Epoch};
use crate::message::{AgentStatus, LeaseHeld, OrderId, ServerView};
use crate::names::RoleName;
use crate::settings::Settings;
use crate::state::HostState;

/// Two masters, and two replicas that may take the role as well.
fn candidates() -> Settings {
    let mut settings = four();
    let writer = settings.roles.get_mut(&RoleName::from("writer")).unwrap();
    writer.hosts.extend(["db3".into(), "db4".into()]);
    settings
}

fn gtids(server_id: u64, text: &str) -> Received {
    Received { server_id, gtids: text.to_owned(), ..Received::default() }
}

fn looked(fixture: &Fixture) -> Option<OrderId> {
    fixture.looks.last().map(|(_, id)| *id)
}

/// A cluster whose agents can look, and whose writer's server has ended just now.
fn lost_writer(received: [(&str, Received); 3]) -> Fixture {
    let mut fixture = Fixture::running(candidates());
    assert_eq!(fixture.writer(), "db1");
    for (host, received) in received {
        fixture.report(host, |status| {
            status.received = Some(Box::new(received));
            status.looked = Some(OrderId::default());
        });
    }
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.held.clear();
    });
    fixture
}

fn looks(fixture: &mut Fixture, host: &str, change: impl FnOnce(&mut AgentStatus)) {
    let look = looked(fixture);
    fixture.report(host, |status| {
        status.looked = look;
        change(status);
    });
}

#[test]
fn the_host_that_has_received_most_becomes_the_writer_whatever_it_is() {
    let mut fixture =
        lost_writer([("db2", gtids(2, "0-1-40")), ("db3", gtids(3, "0-1-40")), ("db4", gtids(4, "0-1-40"))]);
    assert_eq!(fixture.writer(), "", "what they said before the loss is no evidence");
    looks(&mut fixture, "db2", |status| status.received = Some(Box::new(gtids(2, "0-1-41"))));
    looks(&mut fixture, "db3", |status| status.received = Some(Box::new(gtids(3, "0-1-45"))));
    assert_eq!(fixture.writer(), "");
    looks(&mut fixture, "db4", |status| status.received = Some(Box::new(gtids(4, "0-1-44,0-4-900"))));
    assert_eq!(fixture.writer(), "db3");
    assert!(fixture.logged_part(
        "goes to 'db3' rather than to 'db2': 'db3' has received 4 transactions more (0-1-42..45)"
    ));
    assert!(fixture.logged_part("rather than to 'db4': 'db3' has received 1 transactions more (0-1-45)"));
}

#[test]
fn of_those_with_the_same_a_master_comes_first() {
    let same = |id| gtids(id, "0-1-40");
    let mut fixture = lost_writer([("db2", same(2)), ("db3", same(3)), ("db4", same(4))]);
    for host in ["db4", "db3", "db2"] {
        looks(&mut fixture, host, |_| {});
    }
    assert_eq!(fixture.writer(), "db2");
}

#[test]
fn a_host_that_does_not_answer_is_waited_for_half_a_second_and_judged_by_what_it_said() {
    let mut fixture =
        lost_writer([("db2", gtids(2, "0-1-40")), ("db3", gtids(3, "0-1-40")), ("db4", gtids(4, "0-1-50"))]);
    looks(&mut fixture, "db2", |status| status.received = Some(Box::new(gtids(2, "0-1-41"))));
    looks(&mut fixture, "db3", |_| {});
    fixture.pass_ms(400);
    assert_eq!(fixture.writer(), "");
    fixture.pass_ms(200);
    assert_eq!(fixture.writer(), "db4");
}

#[test]
fn without_gtids_the_place_in_the_lost_writers_log_decides() {
    let place = |position| {
        let place =
            Place { source: "192.168.8.32".parse().unwrap(), file: "bin.000003".to_owned(), position };
        Received { place: Some(place), ..Received::default() }
    };
    let mut fixture = lost_writer([("db2", place(700)), ("db3", place(900)), ("db4", Received::default())]);
    for host in ["db2", "db3", "db4"] {
        looks(&mut fixture, host, |_| {});
    }
    assert_eq!(fixture.writer(), "db3");
    assert!(fixture.logged_part("200 bytes more of the log of 192.168.8.32"));
}

#[test]
fn one_candidate_alone_is_not_asked() {
    let mut fixture = Fixture::running(four());
    fixture.report("db2", |status| status.looked = Some(OrderId::default()));
    fixture.report("db1", |status| status.server = ServerView::Gone);
    assert_eq!((fixture.writer().as_str(), looked(&fixture)), ("db2", None));
}

#[test]
fn agents_that_know_of_no_looks_are_not_waited_for() {
    let mut fixture = Fixture::running(candidates());
    fixture.report("db3", |status| status.received = Some(Box::new(gtids(3, "0-1-41"))));
    fixture.report("db2", |status| status.received = Some(Box::new(gtids(2, "0-1-40"))));
    fixture.report("db1", |status| status.server = ServerView::Gone);
    fixture.tick();
    assert_eq!((fixture.writer().as_str(), looked(&fixture)), ("db3", None));
}

#[test]
fn a_candidate_that_has_more_and_can_not_be_chosen_is_named() {
    let mut fixture =
        lost_writer([("db2", gtids(2, "0-1-40")), ("db3", gtids(3, "0-1-40")), ("db4", gtids(4, "0-1-50"))]);
    fixture.command("set_offline db4");
    assert_eq!(fixture.state("db4"), HostState::AdminOffline);
    for host in ["db2", "db3"] {
        looks(&mut fixture, host, |_| {});
    }
    fixture.pass(1);
    assert_eq!(fixture.writer(), "db2");
    assert!(fixture.logged_part("WARN Host 'db4' has received 10 transactions more (0-1-41..50) than 'db2'"));
}

fn ends(fixture: &mut Fixture, host: &str) {
    fixture.report(host, |status| {
        status.server = ServerView::Gone;
        status.held.clear();
        status.lease.released = status.lease.accepted;
        status.lease.held = None;
    });
}

/// db1 was lost, and db2 was chosen in its place and lost before it was opened.
#[test]
fn a_host_that_was_chosen_and_never_served_does_not_make_the_lost_writer_forgotten() {
    let mut fixture = Fixture::running(candidates());
    for host in ["db1", "db2", "db3", "db4"] {
        fixture.report(host, |status| status.salvages = true);
    }
    ends(&mut fixture, "db1");
    fixture.tick();
    let next = fixture.writer();
    let chosen = fixture.promotion(&next).expect("somebody follows");
    assert_eq!(chosen.salvage.expect("its agent is there").from, "db1".into());
    ends_unopened(&mut fixture, &next, chosen.epoch);
    let third = fixture.writer();
    assert_ne!(third, next);
    let promotion = fixture.promotion(&third).expect("the role goes on");
    assert!(promotion.epoch > chosen.epoch && promotion.hold);
    assert_eq!(promotion.salvage.expect("its agent is still there").from, "db1".into());
    // The same befalls that one too.
    ends_unopened(&mut fixture, &third, promotion.epoch);
    let fourth = fixture.writer();
    assert!(fourth != next && fourth != third);
    let promotion = fixture.promotion(&fourth).expect("the role goes on");
    assert_eq!(promotion.salvage.expect("its agent is still there").from, "db1".into());
}

/// It takes the role, and its server ends before it is opened.
fn ends_unopened(fixture: &mut Fixture, host: &str, epoch: Epoch) {
    fixture.report(host, |status| {
        status.server = ServerView::Silent { writable_before: false };
        status.lease.accepted = epoch;
        status.lease.held =
            Some(LeaseHeld { epoch, list: BTreeSet::new(), duty: Duty::Wait, by_promise: false });
    });
    fixture.renews(host);
    fixture.report(host, |status| {
        status.server = ServerView::Gone;
        status.lease.released = epoch;
        status.lease.held = None;
    });
    fixture.tick();
}

/// A replica took the role from a lost writer; a monitor that is started then knows from its server whose log is held.
#[test]
fn a_monitor_that_finds_a_replica_as_the_writer_goes_on_holding_what_that_replicates() {
    let mut fixture =
        lost_writer([("db2", gtids(2, "0-1-40")), ("db3", gtids(3, "0-1-45")), ("db4", gtids(4, "0-1-40"))]);
    for host in ["db2", "db3", "db4"] {
        looks(&mut fixture, host, |_| {});
    }
    fixture.settle();
    assert_eq!(fixture.writer(), "db3");
    fixture.report("db3", |status| {
        status.holding = true;
        status.source_ip = Some("192.168.8.32".parse().unwrap());
    });
    fixture.restart_with_state();
    fixture.start();
    fixture.settle();
    let promotion = fixture.promotion("db3").expect("it goes on");
    assert!(promotion.hold);
    assert!(fixture.command("show").contains("replication from db1, which was lost as the writer, is held"));
}
