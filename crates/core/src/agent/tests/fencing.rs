//! What a writer does that nobody answers any more.

use std::time::Duration;

use super::fixture::*;
use crate::agent::*;
use crate::lease::{Ended, Epoch, LeaseLength, Proof};
use crate::message::{Isolated, LeaseTerms, PeerRequest, ServerView, Takeover};
use crate::state::HostState;

fn with_terms(terms: LeaseTerms) -> Fixture {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.terms = terms;
    fixture.list = ["db2".into()].into();
    fixture.take_role();
    fixture
}

fn killing() -> Fixture {
    with_terms(LeaseTerms { fence_hung_server: true, ..LeaseTerms::default() })
}

#[test]
fn unanswered_renewals_lead_to_promises_to_closing_and_to_fencing_each_at_its_time() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.lose_monitor();
    assert!(fixture.live(1900).is_empty() && fixture.asked.is_empty());
    assert!(fixture.live(100).is_empty());
    let PeerRequest::Promise { promise, asked } = fixture.asked[0].1.clone() else { panic!("a promise") };
    assert_eq!((fixture.asked[0].0.as_str(), asked), ("db2", fixture.now));
    assert_eq!((promise.holder.as_str(), promise.epoch), ("db1", epoch(1)));
    assert_eq!(promise.length, LeaseLength::DEFAULT);
    assert!(fixture.live(1900).is_empty());
    assert_eq!(fixture.live(100), [Step::CloseWrites, Step::EndClients], "four fifths");
    assert!(fixture.live(900).is_empty());
    assert!(fixture.status().held.contains(&writer()) && fixture.released() == Epoch::NONE);
    assert_eq!(fixture.live(100), [Step::DropAddress(writer())], "the end");
    assert_eq!((fixture.released(), fixture.status().lease.held), (epoch(1), None));
    assert!(fixture.logged("FATAL The lease of epoch 1 is over"));
    assert!(fixture.status().released_at.is_none(), "nobody knows where its log ended");
}

#[test]
fn the_address_goes_first_then_the_server_is_closed_and_only_then_the_epoch_is_given_back() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.lose_monitor();
    fixture.pass(4000);
    fixture.end(&Step::CloseWrites, StepOutcome::Failed("it takes too long".into()));
    fixture.pass(999);
    assert!(fixture.steps.is_empty());
    fixture.pass(1);
    assert_eq!(fixture.steps, [Step::DropAddress(writer()), Step::CloseWrites]);
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    assert_eq!(fixture.released(), Epoch::NONE, "it may still be writable");
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    assert_eq!(fixture.released(), epoch(1));
}

#[test]
fn who_holds_locks_gets_one_round_of_patience_when_the_lease_runs_out() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.lose_monitor();
    fixture.pass(4000);
    fixture.end(&Step::CloseWrites, StepOutcome::LockHeld);
    fixture.pass(200);
    assert_eq!(fixture.steps, [Step::EndWriters]);
}

#[test]
fn a_lease_that_is_renewed_after_closing_opens_again() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.lose_monitor();
    fixture.live(4500);
    assert_eq!(fixture.status().server, UP);
    fixture.found();
    fixture.live(1000);
    assert_eq!((fixture.status().server, fixture.released()), (WRITABLE, Epoch::NONE));
}

#[test]
fn a_fenced_writer_comes_back_by_a_new_epoch_only() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.lose_monitor();
    fixture.live(5000);
    fixture.found();
    let grant = fixture.grant(epoch(1), fixture.now);
    fixture.step(AgentEvent::Granted(grant));
    assert!(fixture.live(10_000).is_empty());
    fixture.proof = Proof::Ended(epoch(1), Ended::Released);
    fixture.order(HostState::Online, &[writer()], Some((2, Takeover::Keep, false)));
    fixture.run();
    assert_eq!((fixture.status().server, fixture.status().lease.held.unwrap().epoch), (WRITABLE, epoch(2)));
}

#[test]
fn a_server_that_goes_while_its_lease_runs_out_is_not_opened_when_it_is_back() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.sees(ServerView::Gone);
    fixture.lose_monitor();
    assert_eq!(fixture.live(6000), [Step::DropAddress(writer())]);
    assert_eq!(fixture.released(), epoch(1));
    fixture.sees(UP);
    assert!(fixture.live(1000).is_empty());
}

#[test]
fn without_anybody_who_could_take_over_nothing_runs_out() {
    let mut fixture = Fixture::writing();
    fixture.lose_monitor();
    assert!(fixture.live(600_000).is_empty() && fixture.asked.is_empty());
    assert_eq!(fixture.status().server, WRITABLE);
}

#[test]
fn a_writer_that_is_told_to_keep_on_asks_and_never_closes() {
    let mut fixture = with_terms(LeaseTerms { isolated: Isolated::Keep, ..LeaseTerms::default() });
    fixture.lose_monitor();
    assert!(fixture.live(60_000).is_empty());
    assert!(!fixture.asked.is_empty() && fixture.status().server == WRITABLE);
    fixture.step(AgentEvent::ClockJumped { by: Duration::from_secs(9) });
    assert!(fixture.steps.is_empty());
}

#[test]
fn clocks_that_stood_still_make_a_writer_fence_before_it_asks() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.step(AgentEvent::ClockJumped { by: Duration::from_secs(3) });
    assert_eq!(fixture.steps, [Step::DropAddress(writer()), Step::CloseWrites]);
    fixture.run();
    assert_eq!(fixture.released(), epoch(1));
    assert!(fixture.logged("FATAL The wall clock is 3000 ms further on"));
    let mut endless = Fixture::writing();
    endless.step(AgentEvent::ClockJumped { by: Duration::from_secs(3) });
    assert!(endless.steps.is_empty(), "nobody can have taken its place");
}

#[test]
fn a_server_that_hangs_is_killed_when_its_address_is_off_and_not_before() {
    let mut fixture = killing();
    fixture.sees(SILENT);
    fixture.lose_monitor();
    fixture.pass(5000);
    assert_eq!(fixture.steps, [Step::DropAddress(writer())]);
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    assert_eq!(fixture.steps, [Step::KillServer]);
    fixture.end(&Step::KillServer, StepOutcome::Done);
    fixture.live(5000);
    assert_eq!((&fixture.steps[..], fixture.released()), (&[][..], epoch(1)));
}

#[test]
fn a_server_that_hangs_is_killed_when_the_monitor_takes_the_role_from_it() {
    let mut fixture = killing();
    fixture.sees(SILENT);
    fixture.live(1000);
    fixture.release();
    assert_eq!(fixture.steps, [Step::DropAddress(writer())]);
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    assert_eq!(fixture.steps, [Step::KillServer]);
}

#[test]
fn a_server_that_hangs_before_it_was_asked_anew_is_what_this_host_made_it() {
    let mut fixture = killing();
    fixture.sees(ServerView::Silent { writable_before: false });
    assert_eq!(fixture.status().server, SILENT, "it was opened after it had said that it is closed");
    let mut fixture = killing();
    fixture.release();
    fixture.run();
    fixture.sees(SILENT);
    assert_eq!(fixture.status().server, ServerView::Silent { writable_before: false });
    assert!(fixture.live(5000).is_empty(), "it was closed after it had said that it is open");
}

#[test]
fn a_server_that_cannot_be_closed_is_killed_two_seconds_after_the_end() {
    let mut fixture = killing();
    fixture.lose_monitor();
    fixture.pass(5000);
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    fixture.pass(1900);
    assert_eq!(fixture.steps, [Step::CloseWrites], "under way since four fifths of the lease");
    fixture.pass(100);
    assert_eq!(fixture.steps, [Step::CloseWrites, Step::KillServer]);
    assert_eq!(fixture.released(), Epoch::NONE);
}

#[test]
fn nothing_is_killed_where_that_is_not_wanted() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.sees(SILENT);
    fixture.lose_monitor();
    assert_eq!(fixture.live(20_000), [Step::DropAddress(writer())]);
}

/// `MySQL` says that it is read-only while the statement waits for a commit that nobody acknowledges.
#[test]
fn a_server_whose_closing_waits_for_a_commit_is_open_whatever_it_says_and_is_killed() {
    let mut fixture = killing();
    fixture.lose_monitor();
    fixture.pass(4500);
    assert_eq!(fixture.steps, [Step::CloseWrites]);
    fixture.sees(UP);
    assert!(fixture.status().server.is_writable());
    fixture.pass(600);
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    fixture.end(&Step::CloseWrites, StepOutcome::Failed("no answer".into()));
    fixture.sees(UP);
    assert_eq!(fixture.released(), Epoch::NONE, "it may be taken back any moment");
    fixture.pass(2500);
    assert!(fixture.steps.contains(&Step::KillServer), "{:?}", fixture.steps);
}

/// Another worker, long after the end of the lease: the server says that it is read-only.
fn started_anew_beside_a_closed_server() -> Fixture {
    let mut fixture = killing();
    fixture.lose_monitor();
    fixture.pass(5500);
    let mut fixture = fixture.restarted(4000);
    fixture.terms = LeaseTerms { fence_hung_server: true, ..LeaseTerms::default() };
    fixture.addresses(&[], true);
    fixture.sees(UP);
    assert_eq!(fixture.steps, [Step::CloseWrites]);
    fixture.pass(1500);
    assert!(!fixture.steps.contains(&Step::KillServer), "{:?}", fixture.steps);
    fixture
}

#[test]
fn a_worker_that_is_started_anew_beside_a_closed_server_finds_that_out_before_it_kills() {
    let mut fixture = started_anew_beside_a_closed_server();
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    fixture.live(3000);
    assert_eq!(fixture.released(), epoch(1));

    let mut hanging = started_anew_beside_a_closed_server();
    hanging.pass(1000);
    assert!(hanging.steps.contains(&Step::KillServer), "{:?}", hanging.steps);
}
