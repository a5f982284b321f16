//! A host that a monitor of 2.2.1 gives its status, and one that has a monitor of ours.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fixture::*;
use crate::agent::*;
use crate::lease::{Durable, Epoch};
use crate::message::{ServerView, Takeover};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::state::HostState;

/// A host without an epoch file waits so long for what it may have promised before it was booted.
const BOOT_WAIT: u64 = 62_000;
const CATCH_UP: Step = Step::CatchUp(Takeover::AskSource);

/// An agent that no monitor of ours has ever found, on a host with these addresses of 2.2.1.
fn found_by_lines(held: &[Role], view: ServerView) -> Fixture {
    let mut fixture = Fixture::unfound(None, None, Moment::from_secs(100));
    fixture.addresses(held, false);
    fixture.sees(view);
    fixture
}

fn status(state: HostState, roles: &[Role]) -> LineRequest {
    let master = if roles.contains(&writer()) { "db1" } else { "db2" };
    LineRequest::SetStatus {
        state,
        roles: roles.iter().cloned().collect(),
        active_master: Some(HostName::from(master)),
    }
}

impl Fixture {
    /// The number by which the answer is known.
    fn line(&mut self, request: LineRequest) -> u64 {
        let asker = 1 + self.line_count;
        self.line_count = asker;
        self.step(AgentEvent::LineAsked { asker, request });
        asker
    }

    fn status_line(&mut self, roles: &[Role]) -> u64 {
        self.line(status(HostState::Online, roles))
    }

    fn answer_to(&self, asker: u64) -> Option<&LineAnswer> {
        let mut answers = self.line_answers.iter().filter(|(answered, _)| *answered == asker);
        let answer = answers.next();
        assert!(answers.next().is_none(), "answered twice");
        answer.map(|(_, answer)| answer)
    }

    fn refusal_of(&mut self, roles: &[Role]) -> Option<String> {
        match self.status_line(roles) {
            asker if self.answer_to(asker) == Some(&LineAnswer::Applied) => None,
            asker => match self.answer_to(asker) {
                Some(LineAnswer::Refused(why)) => Some(why.clone()),
                other => panic!("{other:?}"),
            },
        }
    }

    fn writer_by_lines() -> Fixture {
        let mut fixture = found_by_lines(&[], UP);
        fixture.status_line(&[writer(), reader()]);
        fixture.run();
        assert_eq!(fixture.status().held, BTreeSet::from([writer(), reader()]));
        fixture
    }
}

#[test]
fn a_running_writer_that_is_given_its_own_status_goes_on_with_its_addresses_marked_as_ours() {
    let mut fixture = found_by_lines(&[writer(), reader()], WRITABLE);
    assert!(fixture.steps.is_empty(), "left alone until somebody speaks: {:?}", fixture.steps);
    let asker = fixture.status_line(&[writer(), reader()]);
    let forever = [writer(), reader()].into_iter().map(|role| (role, Lifetime::Forever)).collect();
    assert_eq!(fixture.run(), [Step::KeepAddresses(forever)]);
    assert_eq!(fixture.answer_to(asker), Some(&LineAnswer::Applied));
    assert!(fixture.logged("follows a monitor of 2.2.1"));
    assert!(fixture.live(100_000).is_empty(), "there is no lease that could run out");
    assert_eq!(fixture.durable, None, "nothing of an epoch is known here");
}

#[test]
fn a_host_that_gets_the_writer_role_asks_its_source_opens_and_then_answers() {
    let mut fixture = found_by_lines(&[], UP);
    let asker = fixture.status_line(&[writer(), reader()]);
    let add = |role: Role| Step::AddAddress(role, Lifetime::Forever);
    assert_eq!(fixture.steps, [add(reader()), CATCH_UP]);
    fixture.end(&add(reader()), StepOutcome::Done);
    fixture.end(&CATCH_UP, StepOutcome::Done);
    fixture.end(&Step::OpenWrites, StepOutcome::Done);
    assert_eq!((fixture.steps.as_slice(), fixture.answer_to(asker)), (&[add(writer())][..], None));
    fixture.end(&add(writer()), StepOutcome::Done);
    assert_eq!(fixture.answer_to(asker), Some(&LineAnswer::Applied));
    assert_eq!(fixture.announced, [reader(), writer()]);
    assert!(fixture.logged("Added:   reader(192.168.8.34), writer(192.168.8.30)"));
}

#[test]
fn a_status_that_is_repeated_changes_nothing_and_is_answered_at_once() {
    let mut fixture = Fixture::writer_by_lines();
    let lines = fixture.log.len();
    for _ in 0..3 {
        fixture.live(3000);
        let asker = fixture.status_line(&[writer(), reader()]);
        assert_eq!(fixture.answer_to(asker), Some(&LineAnswer::Applied));
    }
    assert!(fixture.steps.is_empty());
    assert_eq!(fixture.log.len(), lines, "{:?}", &fixture.log[lines..]);
}

#[test]
fn the_answer_to_a_status_without_the_writer_role_comes_when_nothing_of_it_is_left() {
    let mut fixture = Fixture::writer_by_lines();
    let asker = fixture.status_line(&[reader()]);
    for step in [Step::CloseWrites, Step::EndClients, Step::DropAddress(writer()), Step::ReadPosition] {
        assert_eq!((fixture.steps.as_slice(), fixture.answer_to(asker)), (&[step.clone()][..], None));
        let outcome =
            if step == Step::ReadPosition { StepOutcome::Position(position()) } else { StepOutcome::Done };
        fixture.end(&step, outcome);
    }
    assert_eq!(fixture.answer_to(asker), Some(&LineAnswer::Applied));
    assert_eq!(fixture.status().lease.held, None);
    assert!(fixture.logged("Deleted: writer(192.168.8.30)"));
}

#[test]
fn clients_that_hold_locks_have_patience_and_then_the_answer_is_an_error_until_it_is_done() {
    let mut fixture = Fixture::writer_by_lines();
    let asker = fixture.status_line(&[reader()]);
    for _ in 0..2 {
        fixture.end(&Step::CloseWrites, StepOutcome::LockHeld);
        fixture.pass(200);
    }
    fixture.end(&Step::EndWriters, StepOutcome::Failed("no privilege".to_owned()));
    fixture.pass(11_000);
    assert_eq!(fixture.answer_to(asker), None);
    fixture.pass(1000);
    let Some(LineAnswer::Refused(why)) = fixture.answer_to(asker) else { panic!("no refusal") };
    assert!(why.contains("still has roles") && why.contains("no privilege"), "{why}");
    let again = fixture.status_line(&[reader()]);
    assert_eq!(fixture.answer_to(again), None, "it is still being tried");
    fixture.run();
    assert_eq!(fixture.answer_to(again), Some(&LineAnswer::Applied));
}

#[test]
fn a_role_that_comes_back_is_caught_up_for_anew() {
    let mut fixture = Fixture::writer_by_lines();
    fixture.status_line(&[]);
    fixture.run();
    fixture.status_line(&[writer()]);
    assert_eq!(fixture.run(), [CATCH_UP, Step::OpenWrites, Step::AddAddress(writer(), Lifetime::Forever)]);
}

#[test]
fn a_status_that_needs_a_dead_server_holds_the_monitor_up_no_longer_than_it_must() {
    let mut fixture = found_by_lines(&[], ServerView::Gone);
    let asker = fixture.status_line(&[writer()]);
    assert_eq!(
        fixture.answer_to(asker),
        Some(&LineAnswer::Applied),
        "the address is not up, as can be asked"
    );
    let mut fixture = Fixture::writer_by_lines();
    fixture.sees(ServerView::Gone);
    let asker = fixture.status_line(&[]);
    assert_eq!(fixture.answer_to(asker), None, "but what is there has to go");
    fixture.run();
    assert_eq!(fixture.answer_to(asker), Some(&LineAnswer::Applied));
}

#[test]
fn a_newer_status_takes_the_place_of_one_that_is_under_way() {
    let mut fixture = found_by_lines(&[], UP);
    let first = fixture.status_line(&[writer()]);
    let second = fixture.status_line(&[]);
    assert!(matches!(fixture.answer_to(first), Some(LineAnswer::Refused(_))));
    fixture.run();
    assert_eq!(fixture.answer_to(second), Some(&LineAnswer::Applied));
    assert_eq!((fixture.status().server, fixture.status().held.len()), (UP, 0));
}

#[test]
fn entering_admin_offline_stops_replication_and_leaving_it_starts_it() {
    let mut fixture = found_by_lines(&[], UP);
    let asker = fixture.line(status(HostState::AdminOffline, &[]));
    assert_eq!(
        (fixture.run(), fixture.answer_to(asker)),
        (vec![Step::StopReplication], Some(&LineAnswer::Applied))
    );
    let asker = fixture.line(status(HostState::AwaitingRecovery, &[]));
    assert_eq!(
        (fixture.run(), fixture.answer_to(asker)),
        (vec![Step::StartReplication], Some(&LineAnswer::Applied))
    );
}

#[test]
fn what_is_asked_before_the_first_look_waits_for_it() {
    let mut fixture = Fixture::unfound(None, None, Moment::from_secs(100));
    let system = fixture.line(LineRequest::SystemStatus);
    let set = fixture.status_line(&[writer()]);
    let agent = fixture.line(LineRequest::AgentStatus);
    assert_eq!((fixture.answer_to(system), fixture.answer_to(set)), (None, None));
    let unknown =
        LineAnswer::AgentStatus { state: HostState::Unknown, roles: BTreeSet::new(), active_master: None };
    assert_eq!(fixture.answer_to(agent), Some(&unknown));
    fixture.addresses(&[writer()], false);
    fixture.sees(WRITABLE);
    let seen =
        LineAnswer::SystemStatus { writable: true, roles: BTreeSet::from([writer()]), source_ip: None };
    assert_eq!(fixture.answer_to(system), Some(&seen));
    assert!(!fixture.run().contains(&Step::CloseWrites), "a writer that was found running is not closed");
    assert_eq!(fixture.answer_to(set), Some(&LineAnswer::Applied));
    let mut blind = Fixture::unfound(None, None, Moment::from_secs(100));
    let set = blind.status_line(&[writer()]);
    blind.pass(3000);
    assert!(matches!(blind.answer_to(set), Some(LineAnswer::Refused(_))), "{:?}", blind.answer_to(set));
}

#[test]
fn the_status_lines_tell_what_was_ordered_and_what_is() {
    let mut fixture = Fixture::writer_by_lines();
    let agent = fixture.line(LineRequest::AgentStatus);
    let roles = BTreeSet::from([writer(), reader()]);
    let ordered =
        LineAnswer::AgentStatus { state: HostState::Online, roles: roles.clone(), active_master: None };
    assert_eq!(fixture.answer_to(agent), Some(&ordered), "a master names no active master");
    fixture.sees(SILENT);
    let system = fixture.line(LineRequest::SystemStatus);
    let seen = LineAnswer::SystemStatus { writable: true, roles, source_ip: None };
    assert_eq!(fixture.answer_to(system), Some(&seen), "a server that hangs may still take writes");
}

#[test]
fn addresses_that_are_not_assigned_are_counted_and_gone_when_the_answer_comes() {
    let mut fixture = found_by_lines(&[], UP);
    fixture.status_line(&[reader()]);
    fixture.run();
    let none = fixture.line(LineRequest::ClearBadRoles);
    assert_eq!(fixture.answer_to(none), Some(&LineAnswer::Removed(0)));
    fixture.addresses(&[reader(), writer()], false);
    let asker = fixture.line(LineRequest::ClearBadRoles);
    assert_eq!(fixture.answer_to(asker), None);
    fixture.run();
    assert_eq!(fixture.answer_to(asker), Some(&LineAnswer::Removed(1)));
    let mut unfound = found_by_lines(&[writer()], WRITABLE);
    let asker = unfound.line(LineRequest::ClearBadRoles);
    assert_eq!(unfound.answer_to(asker), Some(&LineAnswer::Removed(0)), "it may be that of a running writer");
    assert!(unfound.run().is_empty());
}

#[test]
fn while_a_monitor_of_ours_has_a_session_and_for_one_wait_after_lines_change_nothing() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[reader()], None);
    fixture.live(BOOT_WAIT);
    let why = fixture.refusal_of(&[writer()]).unwrap();
    assert!(
        why.starts_with("Nothing was changed: ") && why.contains("Stop one of the two monitors"),
        "{why}"
    );
    assert!(
        matches!(fixture.line(LineRequest::ClearBadRoles), asker if matches!(fixture.answer_to(asker), Some(LineAnswer::Refused(_))))
    );
    let reads = fixture.line(LineRequest::SystemStatus);
    assert!(matches!(fixture.answer_to(reads), Some(LineAnswer::SystemStatus { .. })));
    fixture.lose_monitor();
    fixture.live(5200);
    let why = fixture.refusal_of(&[]).unwrap();
    assert!(why.contains("was here until lately"), "{why}");
    assert_eq!(fixture.log.iter().filter(|line| line.contains("is not followed")).count(), 1, "said once");
    fixture.live(300);
    assert_eq!(fixture.refusal_of(&[]), None);
    assert!(fixture.steps.is_empty() && fixture.status().server == UP);
}

#[test]
fn a_host_that_holds_or_has_promised_follows_no_lines_however_long_its_monitor_is_away() {
    let mut fixture = Fixture::writing();
    fixture.lose_monitor();
    fixture.live(100_000);
    let why = fixture.refusal_of(&[]).unwrap();
    assert!(why.contains("with epoch 1") && why.contains("set_offline --force db1"), "{why}");
    assert_eq!((fixture.status().server, fixture.status().held.len()), (WRITABLE, 1));

    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.live(BOOT_WAIT);
    fixture.lose_monitor();
    fixture.live(5300);
    fixture.asks(1, "db2", promise_to("db2", 4));
    fixture.live(5000);
    let why = fixture.refusal_of(&[writer()]).unwrap();
    assert!(why.contains("has promised 'db2'"), "{why}");
    fixture.live(500);
    fixture.status_line(&[writer()]);
    assert!(fixture.steps.contains(&CATCH_UP));
}

#[test]
fn a_host_that_was_booted_after_it_had_known_an_epoch_waits_as_long_as_for_a_promise() {
    let known = Durable { accepted: epoch(3), released: epoch(3), ..Durable::default() };
    let known = Durable { longest: Some(crate::lease::LeaseLength::DEFAULT), ..known };
    let mut fixture = Fixture::unfound(None, Some(known), Moment::from_secs(10));
    fixture.addresses(&[], true);
    fixture.sees(UP);
    assert!(fixture.refusal_of(&[writer()]).is_some());
    fixture.live(5400);
    assert_eq!(fixture.refusal_of(&[]), None);
    assert_eq!(
        fixture.durable.unwrap().lineage,
        u64::MAX,
        "the monitor that comes back has missed something"
    );
}

#[test]
fn a_monitor_of_ours_finds_epoch_0_held_with_an_empty_list_and_nothing_stands_still_when_it_takes_over() {
    let mut fixture = Fixture::writer_by_lines();
    fixture.live(BOOT_WAIT);
    let held = fixture.status().lease.held.unwrap();
    assert_eq!((held.epoch, held.list.len()), (Epoch::NONE, 0));
    fixture.found();
    fixture.live(3000);
    assert!(fixture.renewals.is_empty(), "nobody has granted epoch 0");
    assert!(fixture.refusal_of(&[]).is_some());
    fixture.list = BTreeSet::from([HostName::from("db2")]);
    fixture.proof = crate::lease::Proof::Own;
    fixture.order(HostState::Online, &[writer(), reader()], Some((1, Takeover::Keep, false)));
    let done = fixture.live(1000);
    assert!(done.iter().all(|step| matches!(step, Step::KeepAddresses(_))), "{done:?}");
    let status = fixture.status();
    assert_eq!((status.lease.held.unwrap().epoch, status.server, status.held.len()), (epoch(1), WRITABLE, 2));
    fixture.lose_monitor();
    fixture.live(6000);
    assert_eq!(fixture.released(), epoch(1), "from then on it has a lease that runs out");
}

#[test]
fn a_program_that_is_started_again_goes_on_by_its_last_status() {
    let fixture = Fixture::writer_by_lines();
    let mut again = fixture.restarted(500);
    again.addresses(&[writer()], true);
    again.sees(WRITABLE);
    assert!(again.run().iter().all(|step| matches!(step, Step::KeepAddresses(_))));
    let asker = again.status_line(&[writer(), reader()]);
    assert_eq!(again.run(), [Step::AddAddress(reader(), Lifetime::Forever)]);
    assert_eq!(again.answer_to(asker), Some(&LineAnswer::Applied));
    let held = again.status().lease.held.unwrap();
    assert_eq!((held.epoch, again.status().server), (Epoch::NONE, WRITABLE));
    again.now = again.now + Duration::from_secs(1);
    let asker = again.status_line(&[]);
    again.run();
    assert_eq!(again.answer_to(asker), Some(&LineAnswer::Applied));
    assert_eq!(again.status().server, UP);
}
