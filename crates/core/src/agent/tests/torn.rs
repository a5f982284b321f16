//! Replication whose source says that its log can't be read on.

use super::fixture::{Fixture, UP};
use crate::agent::*;
use crate::following::{Running, ServerAddress};
use crate::message::LogPosition;
use crate::state::HostState;

const STUCK: Running = Running::BOTH;

fn view(stopped_at: Option<u64>) -> ReplicaView {
    ReplicaView {
        source: ServerAddress { host: "192.168.8.33".to_owned(), port: 3306 },
        source_id: 13,
        by_gtid: false,
        without_gtid: false,
        connected: stopped_at.is_none(),
        running: STUCK,
        slave_pos: "0-13-40".to_owned(),
        unreached: None,
        applier_error: None,
        tear: stopped_at
            .map(|position| AtTear::Stopped(LogPosition { file: "bin.000002".to_owned(), position })),
    }
}

fn sees(fixture: &mut Fixture, view: ReplicaView) {
    fixture.step(AgentEvent::ReplicaSeen(Some(view), fixture.now));
}

fn master() -> Fixture {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[], None);
    sees(&mut fixture, view(None));
    assert_eq!(fixture.run(), []);
    fixture
}

#[test]
fn a_receiver_that_can_get_nothing_more_is_taken_past_it_once() {
    let mut fixture = master();
    sees(&mut fixture, view(Some(900)));
    let step = Step::GoPastTear { start: STUCK };
    assert_eq!(fixture.steps, std::slice::from_ref(&step));
    fixture.end(&step, StepOutcome::Done);
    // What was seen before the step ended says nothing.
    assert_eq!(fixture.steps, []);
    fixture.pass(1_000);
    sees(&mut fixture, view(Some(900)));
    assert_eq!(fixture.steps, [], "not again at once");
    fixture.pass(10_000);
    sees(&mut fixture, view(Some(900)));
    assert_eq!(fixture.steps, [step]);
}

#[test]
fn a_server_that_names_an_earlier_file_is_told_where_it_is() {
    let mut fixture = master();
    let misnamed = |running| ReplicaView { tear: Some(AtTear::Misnamed), running, ..view(None) };
    sees(&mut fixture, misnamed(Running { receives: true, applies: false }));
    assert_eq!(fixture.steps, [], "what it has received is not applied");
    sees(&mut fixture, misnamed(STUCK));
    let step = Step::GoPastTear { start: STUCK };
    assert_eq!(fixture.steps, std::slice::from_ref(&step));
    fixture.end(&step, StepOutcome::NotYet("not applied".to_owned()));
    fixture.pass(1_000);
    sees(&mut fixture, misnamed(STUCK));
    assert_eq!(fixture.steps, std::slice::from_ref(&step), "soon again");
    fixture.end(&step, StepOutcome::Done);
    fixture.pass(1_000);
    sees(&mut fixture, view(None));
    assert_eq!(fixture.steps, []);
}

#[test]
fn what_can_not_be_gone_past_is_told_until_it_receives_again() {
    let mut fixture = master();
    sees(&mut fixture, view(Some(900)));
    fixture.end(&Step::GoPastTear { start: STUCK }, StepOutcome::Refused("it is unsure".to_owned()));
    let astray = fixture.status().astray.unwrap();
    assert!(astray.refused && astray.text.contains("it is unsure. Compare the data"), "{}", astray.text);
    fixture.pass(1_000);
    sees(&mut fixture, view(None));
    assert_eq!(fixture.status().astray, None);
}

#[test]
fn replication_that_is_held_or_out_of_service_is_left_alone() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory { holding: true, ..AgentMemory::default() });
    fixture.order(HostState::Online, &[], None);
    sees(&mut fixture, view(Some(900)));
    assert!(!fixture.steps.iter().any(|step| matches!(step, Step::GoPastTear { .. })));
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::AdminOffline, &[], None);
    sees(&mut fixture, view(Some(900)));
    assert!(!fixture.steps.iter().any(|step| matches!(step, Step::GoPastTear { .. })));
    let mut fixture = master();
    sees(&mut fixture, ReplicaView { running: Running::NEITHER, ..view(Some(900)) });
    assert_eq!(fixture.steps, [], "somebody has stopped it");
}
