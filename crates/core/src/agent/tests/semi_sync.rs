use super::fixture::*;
use crate::agent::*;
use crate::lease::{Ended, Proof};
use crate::message::{ServerView, Takeover};
use crate::moment::Moment;
use crate::semi_sync::{SemiSyncOrder, SemiSyncReading, SemiSyncSide, SourceReading};
use crate::state::HostState;

fn wish(fixture: &mut Fixture, wanted: SemiSyncOrder) {
    let mut order = fixture.saved.as_ref().unwrap().order.clone().unwrap();
    order.id.number += 1;
    order.semi_sync = Some(wanted);
    fixture.step(AgentEvent::Ordered(order));
}

fn source(waiting: u64) -> SemiSyncReading {
    let source = SourceReading { waits: true, waiting, ..SourceReading::default() };
    SemiSyncReading { source: Some(source), ..SemiSyncReading::default() }
}

fn seen(fixture: &mut Fixture, reading: &SemiSyncReading) {
    let now = fixture.now;
    fixture.step(AgentEvent::SemiSyncSeen(reading.clone(), now));
}

const OFF: Step = Step::SetSemiSync { side: SemiSyncSide::Source, on: false };

/// The order is not believed alone: a monitor may be wrong about who is demoted.
#[test]
fn a_host_that_may_write_or_whose_commits_wait_goes_on_waiting_whatever_is_ordered() {
    let wanted = SemiSyncOrder { source: Some(false), ..SemiSyncOrder::default() };
    let mut fixture = Fixture::writing();
    wish(&mut fixture, wanted);
    seen(&mut fixture, &source(0));
    assert!(!fixture.steps.contains(&OFF), "it writes");

    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[], None);
    fixture.run();
    wish(&mut fixture, wanted);
    seen(&mut fixture, &source(2));
    assert!(!fixture.steps.contains(&OFF), "two commits wait");
    seen(&mut fixture, &source(0));
    assert_eq!(fixture.steps, [OFF]);
}

#[test]
fn a_replica_is_switched_on_and_then_connects_anew() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[], None);
    fixture.run();
    wish(&mut fixture, SemiSyncOrder { replica: Some(true), ..SemiSyncOrder::default() });
    let view = ServerView::Up { writable: false };
    let now = fixture.now;
    let receives =
        AgentEvent::ServerSeen { view, asked: now, source_ip: None, gtid: None, receiving: Some(true) };
    fixture.step(receives);
    seen(&mut fixture, &SemiSyncReading::default());
    let on = Step::SetSemiSync { side: SemiSyncSide::Replica, on: true };
    assert_eq!(fixture.steps, std::slice::from_ref(&on));
    fixture.end(&on, StepOutcome::Done);
    assert!(fixture.steps.is_empty(), "what was seen before is not true any more");
    fixture.pass(1000);
    let set = SemiSyncReading { replica: true, ..SemiSyncReading::default() };
    seen(&mut fixture, &set);
    assert_eq!(fixture.steps, [Step::ReceiveAnew]);
    fixture.end(&Step::ReceiveAnew, StepOutcome::Done);
    fixture.pass(6000);
    seen(&mut fixture, &SemiSyncReading { acknowledges: true, ..set });
    assert!(fixture.steps.is_empty(), "{:?}", fixture.steps);
}

/// What the watch tells of a server that it reaches: this first, then that it is there.
fn comes_up(fixture: &mut Fixture, reading: &SemiSyncReading) {
    seen(fixture, reading);
    fixture.sees(WRITABLE);
}

/// The writer's server has ended and the role was given away.
fn lost() -> Fixture {
    let mut fixture = Fixture::writing();
    seen(&mut fixture, &source(0));
    fixture.sees(ServerView::Gone);
    fixture.release();
    fixture.run();
    fixture
}

#[test]
fn a_server_that_comes_back_open_is_closed_past_what_waits_for_an_acknowledgement() {
    let mut fixture = lost();
    comes_up(&mut fixture, &source(1));
    assert_eq!(fixture.steps, [Step::CloseReturned]);
    // Its end is proven, as that of any closing.
    fixture.sees(UP);
    assert_eq!(fixture.status().server, WRITABLE);
    fixture.end(&Step::CloseReturned, StepOutcome::Done);
    assert_eq!(fixture.status().server, UP);

    let mut fixture = lost();
    comes_up(&mut fixture, &SemiSyncReading::default());
    assert_eq!(fixture.steps, [Step::CloseWrites], "nothing waits there");
}

/// Locks are waited for as ever.
#[test]
fn a_server_that_comes_back_and_is_locked_is_closed_by_ending_who_holds_the_locks() {
    let mut fixture = lost();
    comes_up(&mut fixture, &source(1));
    for _ in 0..2 {
        fixture.end(&Step::CloseReturned, StepOutcome::LockHeld);
        assert_eq!(fixture.status().server, WRITABLE);
        fixture.pass(200);
    }
    assert_eq!(fixture.steps, [Step::EndWriters]);
}

#[test]
fn nothing_is_let_go_on_a_host_that_gives_its_role_away() {
    let mut fixture = Fixture::writing();
    seen(&mut fixture, &source(3));
    fixture.release();
    assert_eq!(fixture.steps, [Step::CloseWrites], "it is demoted");

    let mut fixture = Fixture::writing_with(&["db2"]);
    seen(&mut fixture, &source(3));
    fixture.lose_monitor();
    fixture.pass(4000);
    assert_eq!(fixture.steps, [Step::CloseWrites], "its lease runs out");

    // Storage that stood still, and the role was given away meanwhile: those who waited still do.
    let mut fixture = Fixture::writing();
    seen(&mut fixture, &source(3));
    fixture.sees(SILENT);
    fixture.release();
    fixture.run();
    assert_eq!(fixture.status().lease.held, None);
    comes_up(&mut fixture, &source(3));
    assert_eq!(fixture.steps, [Step::CloseWrites], "it goes on");

    // Started again before the role was given away: clients came back with it.
    let mut fixture = Fixture::writing();
    fixture.sees(ServerView::Gone);
    comes_up(&mut fixture, &source(0));
    fixture.run();
    fixture.release();
    assert_eq!(fixture.steps, [Step::CloseWrites], "it was the writer again");
}

#[test]
fn a_restarted_agent_knows_whether_clients_of_the_writer_may_wait() {
    let mut fixture = lost().restarted(50);
    fixture.found();
    fixture.addresses(&[], true);
    comes_up(&mut fixture, &source(1));
    assert_eq!(fixture.steps, [Step::CloseReturned]);

    let mut before = lost();
    let old = before.saved.clone();
    before.sees(UP);
    before.proof = Proof::Ended(epoch(1), Ended::Released);
    before.order(HostState::Online, &[writer()], Some((2, Takeover::Fresh, false)));
    before.live(1000);
    assert_eq!(before.status().server, WRITABLE);
    // Its state file could not be written since, its epoch file could.
    before.saved = old;
    let mut fixture = before.restarted(50);
    fixture.found();
    fixture.addresses(&[], true);
    comes_up(&mut fixture, &source(1));
    assert_eq!(fixture.steps, [Step::CloseWrites]);
}

#[test]
fn after_a_boot_no_client_of_the_writer_is_left() {
    let boots = |noted: bool| {
        let durable = lost().durable;
        let mut fixture = Fixture::unfound(None, durable, Moment::from_secs(5));
        if noted {
            fixture.mind.note_boot();
        }
        fixture.found();
        fixture.addresses(&[], true);
        comes_up(&mut fixture, &source(1));
        fixture.steps
    };
    assert_eq!(boots(true), [Step::CloseReturned]);
    assert_eq!(boots(false), [Step::CloseWrites], "its run directory may have been emptied");
    let mut writing = Fixture::writing();
    writing.mind.note_boot();
    seen(&mut writing, &source(1));
    writing.release();
    assert_eq!(writing.steps, [Step::CloseWrites]);
}

const ON: Step = Step::SetSemiSync { side: SemiSyncSide::Source, on: true };

/// The worker died while it was closing the server.
fn interrupted() -> Fixture {
    let mut fixture = lost();
    comes_up(&mut fixture, &source(1));
    assert_eq!(fixture.steps, [Step::CloseReturned]);
    let mut after = fixture.restarted(50);
    after.saved = fixture.saved;
    after.found();
    after.addresses(&[], true);
    after
}

#[test]
fn waiting_that_was_left_off_is_switched_on_again_before_anything_else() {
    let mut fixture = interrupted();
    comes_up(&mut fixture, &SemiSyncReading::default());
    assert_eq!(fixture.steps, [ON]);
    fixture.end(&ON, StepOutcome::Failed("no privilege".into()));
    assert_eq!(fixture.run(), [Step::CloseWrites, Step::EndClients], "what fails holds nothing up");
    fixture.pass(5000);
    seen(&mut fixture, &SemiSyncReading::default());
    assert_eq!(fixture.steps, [ON]);
    fixture.end(&ON, StepOutcome::Done);
    fixture.pass(100);
    seen(&mut fixture, &source(0));
    fixture.pass(6000);
    seen(&mut fixture, &SemiSyncReading::default());
    assert!(fixture.steps.is_empty(), "what somebody switches off later stays off: {:?}", fixture.steps);
}

#[test]
fn waiting_that_is_on_or_not_wanted_or_was_configured_anew_is_left_alone() {
    let mut fixture = interrupted();
    comes_up(&mut fixture, &source(0));
    assert_eq!(fixture.run(), [Step::CloseReturned, Step::EndClients]);
    let now = fixture.now;
    fixture.step(AgentEvent::SemiSyncSeen(SemiSyncReading::default(), now));
    assert!(fixture.steps.is_empty(), "of a moment in which it was being closed");

    let mut fixture = interrupted();
    wish(&mut fixture, SemiSyncOrder { source: Some(false), ..SemiSyncOrder::default() });
    comes_up(&mut fixture, &SemiSyncReading::default());
    assert_eq!(fixture.steps, [Step::CloseWrites], "the monitor wants it off");

    let mut fixture = interrupted();
    fixture.sees(ServerView::Gone);
    comes_up(&mut fixture, &SemiSyncReading::default());
    assert_eq!(fixture.steps, [Step::CloseWrites], "that is how it was started");
}

#[test]
fn what_was_seen_of_a_server_that_ended_outlasts_the_first_look_at_the_next() {
    let mut fixture = Fixture::writing();
    for _ in 0..3 {
        seen(&mut fixture, &source(2));
        fixture.pass(1000);
    }
    fixture.sees(ServerView::Gone);
    let end = fixture.status().semi_sync_end;
    assert!(end.is_some_and(|end| end.hanging > 0), "{end:?}");
    fixture.release();
    fixture.run();
    comes_up(&mut fixture, &source(0));
    assert_eq!(fixture.status().semi_sync_end, end);
    assert!(fixture.status().semi_sync.is_some());
}

/// It is seen at two looks, a second apart.
#[test]
fn what_a_closed_server_that_came_back_applied_is_let_go_when_it_waits_for_long() {
    let mut fixture = lost();
    comes_up(&mut fixture, &source(1));
    fixture.run();
    fixture.sees(UP);
    fixture.pass(1000);
    seen(&mut fixture, &source(1));
    fixture.pass(1000);
    seen(&mut fixture, &source(1));
    assert_eq!(fixture.steps, [Step::LetGo]);
    fixture.end(&Step::LetGo, StepOutcome::Done);
    assert!(fixture.steps.is_empty());
    fixture.pass(1000);
    seen(&mut fixture, &source(0));
    fixture.pass(1000);
    seen(&mut fixture, &source(0));
    assert!(fixture.steps.is_empty(), "{:?}", fixture.steps);

    // One that was demoted in order, and whatever else has not come back, is left alone.
    let mut fixture = Fixture::writing();
    fixture.release();
    fixture.run();
    assert_eq!(fixture.status().server, UP);
    for _ in 0..3 {
        fixture.pass(1000);
        seen(&mut fixture, &source(1));
    }
    assert!(fixture.steps.is_empty(), "{:?}", fixture.steps);
}

#[test]
fn what_is_switched_off_for_catching_up_is_not_taken_for_what_is_configured() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    seen(&mut fixture, &source(0));
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, false)));
    let catch_up = Step::CatchUp(Takeover::Lost);
    while !fixture.steps.contains(&catch_up) {
        fixture.pass(100);
    }
    seen(&mut fixture, &SemiSyncReading::default());
    assert!(fixture.status().semi_sync.is_some_and(|known| known.source.is_some()));
    let mut after = fixture.restarted(50);
    after.found();
    after.addresses(&[], true);
    seen(&mut after, &SemiSyncReading::default());
    after.sees(UP);
    assert_eq!(after.steps, [ON], "its worker died in the middle");
}
