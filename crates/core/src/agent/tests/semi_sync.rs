use super::fixture::*;
use crate::agent::*;
use crate::message::ServerView;
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
