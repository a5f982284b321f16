use std::collections::BTreeSet;

use super::fixture::{Fixture, four, pair};
use super::semi_sync::{acknowledges, waits};
use crate::check::CheckKind;
use crate::cluster::Doubt;
use crate::gtid::Received;
use crate::message::ServerView;
use crate::moment::Moment;
use crate::semi_sync::SemiSyncSource;
use crate::settings::{FailoverPolicy, Settings};

fn consistent(mut settings: Settings) -> Settings {
    settings.failover_policy = FailoverPolicy::Consistency;
    settings
}

type Change = fn(&mut SemiSyncSource);

/// db1 writes and waits for db2.
fn running(change: impl Fn(&mut SemiSyncSource)) -> Fixture {
    let mut fixture = Fixture::running(consistent(pair()));
    fixture.report("db2", acknowledges("192.168.8.32"));
    fixture.report("db1", waits(change));
    fixture.pass(3);
    fixture
}

/// The writer's host vanishes.
fn vanish(fixture: &mut Fixture) {
    fixture.lose("db1");
    for kind in [CheckKind::Ping, CheckKind::Mysql] {
        fixture.fail("db1", kind);
    }
    fixture.pass(8);
}

/// The monitor is started again, and finds the other master only.
fn restart_without_db1(fixture: &mut Fixture) {
    fixture.restart_with_state();
    fixture.network(true);
    for host in ["db1", "db2"] {
        fixture.well(host);
    }
    fixture.lose("db1");
    fixture.connect("db2");
    for _ in 0..30 {
        for kind in [CheckKind::Ping, CheckKind::Mysql] {
            fixture.bad("db1", kind);
        }
        fixture.pass(1);
    }
}

fn refused(fixture: &mut Fixture, why: &str) {
    assert_eq!(fixture.promotion("db2"), None);
    assert!(
        fixture.logged_part("FATAL nobody follows db1: db2 is not proven to have every transaction that was acknowledged: failover_policy is consistency"),
        "{:?}",
        fixture.log
    );
    let shown = fixture.command("show --long");
    assert!(shown.contains(why) && shown.contains("mmm_control confirm_loss db1"), "{shown}");
}

#[test]
fn whoever_acknowledged_everything_follows_a_writer_that_vanished() {
    let mut fixture = running(|_| ());
    vanish(&mut fixture);
    assert!(fixture.promotion("db2").is_some(), "{:?}", fixture.log);
}

#[test]
fn whoever_acknowledged_everything_follows_a_writer_whose_server_ended_at_once() {
    let mut fixture = running(|_| ());
    fixture.report("db1", |status| status.server = ServerView::Gone);
    fixture.agents_obey();
    assert!(fixture.promotion("db2").is_some(), "{:?}", fixture.log);
}

#[test]
fn nobody_follows_a_writer_that_had_fallen_back_before_the_operator_says_so() {
    let mut fixture = running(|source| source.fallen_back = Some(Moment::from_secs(1)));
    vanish(&mut fixture);
    refused(&mut fixture, "it had fallen back to asynchronous replication");
    // A monitor that is started anew goes by what it wrote down.
    restart_without_db1(&mut fixture);
    refused(&mut fixture, "it had fallen back to asynchronous replication");
    assert!(fixture.command("confirm_loss db2").starts_with("ERROR: It is not 'db2'"));
    assert!(fixture.command("confirm_loss db1").contains("To confirm: confirm_loss --yes db1"));
    fixture.pass(1);
    assert_eq!(fixture.promotion("db2"), None, "it only explains");
    assert!(
        fixture.command("confirm_loss --yes db1").starts_with("OK: What only host 'db1' has may be lost")
    );
    fixture.pass(1);
    assert!(fixture.promotion("db2").is_some(), "{:?}", fixture.log);
    assert!(fixture.command("confirm_loss db1").starts_with("OK: Nobody waits"));
}

#[test]
fn what_proves_nothing_is_said() {
    let short = Doubt::ShortTimeout { timeout_ms: 8000, wanted_ms: 8400 }.to_string();
    let cases: [(&str, Change); 3] = [
        (&short, |source| source.timeout_ms = 8000),
        ("it does not wait where nobody is connected", |source| source.waits_for_absent = false),
        ("1 of 2 acknowledged each transaction (db2)", |source| source.clients = 2),
    ];
    for (why, change) in cases {
        let mut fixture = running(change);
        vanish(&mut fixture);
        refused(&mut fixture, why);
    }
    let mut fixture = Fixture::running(consistent(pair()));
    vanish(&mut fixture);
    refused(&mut fixture, "'db1' did not wait for acknowledgements");
}

#[test]
fn a_writer_that_went_on_by_promises_unheard_proves_nothing() {
    let mut fixture = running(|_| ());
    fixture.lose("db1");
    for kind in [CheckKind::Ping, CheckKind::Mysql] {
        fixture.fail("db1", kind);
    }
    fixture.promises("db2", "db1");
    fixture.pass(30);
    refused(&mut fixture, "it went on by promises, unheard by the monitor");
}

#[test]
fn a_promise_that_ran_out_while_the_monitor_was_away_is_seen_by_the_next_one() {
    let mut fixture = running(|_| ());
    fixture.lose("db1");
    fixture.lose("db2");
    let epoch = fixture.kept.as_ref().unwrap().record.as_ref().unwrap().epoch;
    fixture.report("db2", |status| status.lease.promised = epoch);
    restart_without_db1(&mut fixture);
    refused(&mut fixture, "it went on by promises, unheard by the monitor");
}

#[test]
fn a_planned_move_and_the_return_of_the_writer_need_no_proof() {
    let mut fixture = running(|source| source.fallen_back = Some(Moment::from_secs(1)));
    fixture.command("move_role writer db2");
    fixture.approached(Ok(()));
    fixture.agents_obey();
    fixture.agents_obey();
    assert!(fixture.promotion("db2").is_some(), "{:?}", fixture.log);

    let mut fixture = running(|source| source.fallen_back = Some(Moment::from_secs(1)));
    fixture.report("db1", |status| status.server = ServerView::Gone);
    fixture.agents_obey();
    fixture.pass(8);
    refused(&mut fixture, "fallen back");
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    fixture.well("db1");
    fixture.pass(15);
    fixture.agents_obey();
    fixture.pass(2);
    assert!(fixture.promotion("db1").is_some(), "{:?}", fixture.log);
}

/// One of two acknowledges each transaction: who has all that both have has everything.
#[test]
fn what_two_that_acknowledge_have_is_compared() {
    let received = |gtids: &str| {
        Some(Box::new(Received { server_id: 9, gtids: gtids.to_owned(), ..Received::default() }))
    };
    let lost = |other: &str| {
        let mut fixture = Fixture::running(consistent(four()));
        fixture.report("db2", acknowledges("192.168.8.32"));
        fixture.report("db3", acknowledges("192.168.8.32"));
        fixture.report("db2", |status| status.received = received("0-1-40"));
        fixture.report("db3", |status| status.received = received(other));
        fixture.report("db1", waits(|source| source.clients = 2));
        fixture.pass(3);
        vanish(&mut fixture);
        fixture
    };
    assert!(lost("0-1-40").promotion("db2").is_some());
    refused(&mut lost("0-1-41"), "1 of 2 acknowledged each transaction (db2, db3)");
}

/// After a restart of the writer both connect anew, and neither has told yet which of them did: the writer counts one.
#[test]
fn who_may_have_been_the_one_that_acknowledged_is_compared_as_well() {
    let received = |gtids: &str| {
        Some(Box::new(Received { server_id: 9, gtids: gtids.to_owned(), ..Received::default() }))
    };
    let lost = |other: &str, heard: bool| {
        let mut fixture = Fixture::running(consistent(four()));
        fixture.report("db2", acknowledges("192.168.8.32"));
        fixture.report("db3", acknowledges("192.168.8.32"));
        fixture.report("db3", |status| status.semi_sync.as_mut().unwrap().acknowledges = false);
        fixture.report("db2", |status| status.received = received("0-1-40"));
        fixture.report("db3", |status| status.received = received(other));
        if !heard {
            fixture.lose("db3");
        }
        fixture.report("db1", waits(|_| ()));
        fixture.pass(3);
        vanish(&mut fixture);
        fixture
    };
    assert!(lost("0-1-39", true).promotion("db2").is_some());
    refused(&mut lost("0-1-41", true), "1 of 2 acknowledged each transaction (db2, db3)");
    // Whoever the writer counted, it was not shown to be this one.
    let mut fixture = running(|_| ());
    fixture.report("db2", |status| status.semi_sync.as_mut().unwrap().acknowledges = false);
    fixture.report("db1", waits(|_| ()));
    vanish(&mut fixture);
    refused(
        &mut fixture,
        "1 of 2 acknowledged each transaction (db2), and 1 of these may have what it has not",
    );
    // One that nobody has heard of since before does not keep the next writer waiting for ever.
    assert!(lost("0-1-39", false).promotion("db2").is_some());
}

/// The answer to a renewal must not make a lease last on a proof that is not true any more, should the monitor end now.
#[test]
fn a_fall_back_is_on_disk_before_the_lease_lasts_on() {
    let mut fixture = running(|_| ());
    let is_sound = |fixture: &Fixture| {
        fixture.kept.as_ref().unwrap().evidence.as_ref().is_some_and(|known| known.doubt.is_none())
    };
    assert!(is_sound(&fixture));
    let acknowledging = fixture.kept.as_ref().unwrap().evidence.as_ref().unwrap().acknowledging.clone();
    assert_eq!(acknowledging, BTreeSet::from(["db2".into()]));
    fixture.disk = super::fixture::Disk::Slow;
    fixture.report("db1", waits(|source| source.fallen_back = Some(Moment::from_secs(1))));
    assert!(is_sound(&fixture));
    assert_eq!(fixture.renewed("db1"), None, "it waits for the disk");
    fixture.write_state();
    assert!(!is_sound(&fixture));
    assert!(fixture.list_of("db1").is_some());
}
