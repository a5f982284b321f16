//! Promises asked for and given.

use std::time::Duration;

use super::fixture::*;
use crate::agent::*;
use crate::lease::{Ended, Epoch, Proof, Refusal};
use crate::message::{PeerAnswer, Takeover};
use crate::moment::Moment;
use crate::state::HostState;

/// A candidate that has been there for long.
fn candidate() -> Fixture {
    Fixture::on(&[], UP, AgentMemory { generation: 1, ..AgentMemory::default() })
}

fn promised() -> (u64, PeerAnswer) {
    (9, PeerAnswer::Promised { asked: Moment::from_secs(7) })
}

fn refusal_of(fixture: &Fixture) -> String {
    match fixture.answers.last() {
        Some((_, PeerAnswer::Refused { reason, .. })) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

fn promote(fixture: &mut Fixture, number: u64, proof: Proof) {
    fixture.proof = proof;
    fixture.order(HostState::Online, &[writer()], Some((number, Takeover::Keep, false)));
}

#[test]
fn the_promises_of_all_carry_a_writer_on_without_its_monitor() {
    let mut fixture = Fixture::writing_with(&["db2", "db3"]);
    fixture.lose_monitor();
    let mut done = Vec::new();
    for _ in 0..60 {
        done.extend(fixture.live(1000));
        if !fixture.asked.is_empty() {
            fixture.promise_by(&["db2", "db3"]);
        }
    }
    assert!(done.iter().all(|step| matches!(step, Step::KeepAddresses(_))), "{done:?}");
    assert!(fixture.status().lease.held.unwrap().by_promise);
    assert!(fixture.logged("lasts on by the promises of 'db2', 'db3'"));
    fixture.found();
    fixture.live(1000);
    assert!(!fixture.status().lease.held.unwrap().by_promise);
}

#[test]
fn one_promise_too_few_is_none() {
    let mut fixture = Fixture::writing_with(&["db2", "db3"]);
    fixture.lose_monitor();
    for _ in 0..5 {
        fixture.live(1000);
        if !fixture.asked.is_empty() {
            fixture.promise_by(&["db2"]);
        }
    }
    assert_eq!(fixture.released(), epoch(1));
}

#[test]
fn a_promise_that_comes_after_the_end_revives_nothing() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.lose_monitor();
    fixture.pass(4900);
    fixture.now = fixture.now + Duration::from_millis(200);
    fixture.promise_by(&["db2"]);
    fixture.run();
    assert_eq!(fixture.released(), epoch(1));
}

#[test]
fn a_promise_is_answered_only_when_both_files_have_it() {
    let mut fixture = candidate();
    (fixture.epoch_file, fixture.state_file) = (Disk::Slow, Disk::Slow);
    fixture.asks(9, "db2", promise_to("db2", 3));
    fixture.pass(100);
    assert!(fixture.answers.is_empty());
    fixture.write_epoch_file();
    assert!(fixture.answers.is_empty(), "how long it runs is in the other one");
    fixture.write_state_file();
    assert_eq!(fixture.answers, [promised()]);
    let mut fixture = candidate();
    (fixture.epoch_file, fixture.state_file) = (Disk::Slow, Disk::Slow);
    fixture.asks(9, "db2", promise_to("db2", 3));
    fixture.write_state_file();
    assert!(fixture.answers.is_empty());
    fixture.write_epoch_file();
    fixture.write_state_file();
    assert_eq!(fixture.answers, [promised()]);
    assert_eq!(fixture.durable.unwrap().promise.unwrap().epoch, epoch(3));
}

#[test]
fn a_promise_that_could_not_be_written_in_time_is_not_given() {
    let mut fixture = candidate();
    fixture.epoch_file = Disk::Slow;
    fixture.asks(9, "db2", promise_to("db2", 3));
    fixture.pass(2000);
    fixture.write_epoch_file();
    fixture.pass(1000);
    assert!(fixture.answers.is_empty());
}

#[test]
fn who_holds_the_role_or_is_about_to_promises_nothing() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.asks(9, "db2", promise_to("db2", 2));
    assert!(refusal_of(&fixture).contains("holds epoch 1 itself"));
    let mut fixture = candidate();
    fixture.epoch_file = Disk::Slow;
    promote(&mut fixture, 1, Proof::Nobody);
    fixture.asks(9, "db2", promise_to("db2", 2));
    assert!(refusal_of(&fixture).contains("holds epoch 1 itself"), "it is on its way to the disk");
}

#[test]
fn a_promise_is_given_to_its_holder_only() {
    let mut fixture = candidate();
    fixture.asks(9, "db3", promise_to("db2", 2));
    assert_eq!(refusal_of(&fixture), "'db3' asks in the name of 'db2'");
    assert_eq!(fixture.status().lease.promise, None);
}

#[test]
fn a_host_that_promised_refuses_the_role_by_lapse_of_time_and_takes_it_by_a_proof() {
    let mut fixture = candidate();
    fixture.asks(9, "db2", promise_to("db2", 3));
    let given = fixture.status().lease.promise.unwrap();
    assert_eq!((given.promise.epoch, given.until), (epoch(3), fixture.now + Duration::from_millis(5400)));
    promote(&mut fixture, 4, Proof::RanOut(epoch(3)));
    let refused = |fixture: &Fixture| {
        let refusal = fixture.status().lease.refusal;
        matches!(refusal, Some((refused, Refusal::Promised { .. })) if refused == epoch(4))
    };
    assert!(refused(&fixture) && fixture.logged("FATAL Refused the writer role with epoch 4"));
    let mut proven = candidate();
    proven.asks(9, "db2", promise_to("db2", 3));
    promote(&mut proven, 4, Proof::Ended(epoch(3), Ended::Dead));
    assert_eq!((proven.status().lease.accepted, proven.status().lease.promise), (epoch(4), None));
    fixture.pass(5300);
    assert!(refused(&fixture) && fixture.status().lease.accepted == Epoch::NONE);
    fixture.pass(100);
    assert_eq!((fixture.status().lease.accepted, fixture.status().lease.refusal), (epoch(4), None));
}

#[test]
fn a_promise_outlives_a_program_that_is_started_again() {
    let mut before = candidate();
    before.asks(9, "db2", promise_to("db2", 3));
    assert_eq!(before.answers, [promised()]);
    let mut fixture = before.restarted(1000);
    fixture.addresses(&[], true);
    fixture.sees(UP);
    fixture.found();
    promote(&mut fixture, 4, Proof::RanOut(epoch(3)));
    assert!(matches!(fixture.status().lease.refusal, Some((_, Refusal::Promised { .. }))));
    fixture.pass(4400);
    assert_eq!(fixture.status().lease.accepted, epoch(4));
}

#[test]
fn a_rebooted_host_waits_before_it_takes_the_role_by_lapse_of_time() {
    let mut before = candidate();
    before.asks(9, "db2", promise_to("db2", 3));
    let mut fixture = Fixture::unfound(None, before.durable.clone(), Moment::from_secs(10));
    fixture.addresses(&[], true);
    fixture.sees(UP);
    fixture.found();
    promote(&mut fixture, 4, Proof::RanOut(epoch(3)));
    assert!(matches!(fixture.status().lease.refusal, Some((_, Refusal::JustBooted { .. }))));
    fixture.pass(5300);
    assert_eq!(fixture.status().lease.accepted, Epoch::NONE);
    fixture.pass(100);
    assert_eq!(fixture.status().lease.accepted, epoch(4));
}
