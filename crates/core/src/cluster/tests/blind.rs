//! Hosts whose server was started when the last writer was gone already.

use super::fixture::{Fixture, pair};
use crate::message::{ServerView, Takeover};

/// Both servers died, and only the one that did not write is back, in touch with nobody.
fn only_the_other_one_is_back() -> Fixture {
    let mut fixture = Fixture::running(pair());
    assert_eq!(fixture.writer(), "db1");
    for host in ["db2", "db1"] {
        fixture.report(host, |status| {
            status.server = ServerView::Gone;
            status.held.clear();
        });
    }
    fixture.settle();
    fixture.report("db2", |status| {
        status.server = ServerView::Up { writable: false };
        status.source_ip = Some("192.168.8.32".parse().unwrap());
        status.reached_source = Some(false);
    });
    fixture.pass(30);
    fixture.settle();
    fixture
}

#[test]
fn a_server_that_was_started_without_the_last_writer_does_not_follow_it() {
    let mut fixture = only_the_other_one_is_back();
    assert_eq!(fixture.promotion("db2"), None);
    let shown = fixture.command("show --long");
    assert!(shown.contains("has not reached 'db1' since it was started"), "{shown}");
    assert!(shown.contains("confirm_loss db1"), "{shown}");
    assert!(fixture.logged_part("FATAL nobody follows db1: db2 is not proven to have every transaction"));
}

#[test]
fn it_does_by_the_operators_word() {
    let mut fixture = only_the_other_one_is_back();
    fixture.command("confirm_loss --yes db1");
    fixture.settle();
    assert_eq!(fixture.promotion("db2").map(|promotion| promotion.takeover), Some(Takeover::Lost));
}

#[test]
fn once_the_last_writer_is_back_its_log_is_read_to_the_end() {
    let mut fixture = only_the_other_one_is_back();
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    assert_eq!(fixture.promotion("db2"), None);
    fixture.report("db2", |status| status.reached_source = Some(true));
    fixture.settle();
    let promoted = fixture.promotion("db2").or_else(|| fixture.promotion("db1"));
    assert!(
        promoted.is_some_and(|promotion| match promotion.takeover {
            // It may be gone again before it has answered.
            Takeover::AskSource => promotion.hold,
            Takeover::Keep => true,
            _ => false,
        }),
        "{:?}",
        fixture.promotion("db2")
    );
}

#[test]
fn a_server_that_replicates_from_somebody_else_or_does_not_say_is_not_held_back() {
    for (source, reached) in [("192.168.8.99", Some(false)), ("192.168.8.32", None)] {
        let mut fixture = Fixture::running(pair());
        fixture.report("db2", |status| {
            status.source_ip = Some(source.parse().unwrap());
            status.reached_source = reached;
        });
        fixture.report("db1", |status| status.server = ServerView::Gone);
        fixture.settle();
        assert!(fixture.promotion("db2").is_some(), "{source} {reached:?}");
    }
}

/// The host that was chosen lost its power before it took the role, and boots without the last writer.
#[test]
fn a_chosen_host_that_is_restarted_before_it_takes_the_role_follows_no_more() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.held.clear();
        status.lease.released = status.lease.accepted;
        status.lease.held = None;
    });
    assert!(fixture.promotion("db2").is_some());
    fixture.lose("db1");
    fixture.lose("db2");
    fixture.report("db2", |status| {
        status.server = ServerView::Up { writable: false };
        status.source_ip = Some("192.168.8.32".parse().unwrap());
        status.reached_source = Some(false);
    });
    fixture.connect("db2");
    assert_eq!(fixture.promotion("db2"), None);
    assert!(fixture.logged_part("is withdrawn from 'db2', which has not taken it yet"));
    fixture.pass(30);
    assert_eq!(fixture.promotion("db2"), None);
    fixture.command("confirm_loss --yes db1");
    fixture.settle();
    assert_eq!(fixture.promotion("db2").map(|promotion| promotion.takeover), Some(Takeover::Lost));
}
