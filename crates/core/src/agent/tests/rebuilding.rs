//! A host whose data are replaced: nothing else touches its server, and it serves nothing.

use super::fixture::*;
use crate::agent::*;
use crate::message::{OrderId, ServerView};
use crate::rebuild::{RebuildOrder, RebuildStage, RebuildStatus};
use crate::state::HostState;

fn id(number: u64) -> OrderId {
    OrderId { instance: 1, number }
}

impl Fixture {
    fn wants_rebuild(&mut self, number: u64) {
        self.rebuild = Some(Box::new(RebuildOrder { id: id(number), from: "db2".into() }));
        self.order(HostState::ReplicationFail, &[], None);
    }

    fn stage(&mut self, number: u64, stage: RebuildStage) {
        let status = RebuildStatus { id: id(number), from: "db2".into(), stage };
        self.step(AgentEvent::RebuildSeen(status));
    }
}

fn closed() -> Fixture {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::ReplicationFail, &[], None);
    fixture.run();
    fixture
}

#[test]
fn a_rebuild_begins_once_and_the_same_order_begins_no_other() {
    let mut fixture = closed();
    fixture.wants_rebuild(7);
    assert_eq!(fixture.rebuilds, [RebuildOrder { id: id(7), from: "db2".into() }]);
    assert!(fixture.status().rebuild.unwrap().is_running());
    fixture.stage(7, RebuildStage::Done { bytes: 5 });
    fixture.wants_rebuild(7);
    fixture.pass(5000);
    assert_eq!(fixture.rebuilds.len(), 1);
    fixture.wants_rebuild(8);
    assert_eq!(fixture.rebuilds.len(), 2);
}

#[test]
fn a_host_that_serves_anything_is_not_rebuilt_before_it_has_let_go() {
    let mut fixture = Fixture::writing();
    fixture.wants_rebuild(7);
    fixture.pass(3000);
    assert!(fixture.rebuilds.is_empty(), "its server takes writes");
    fixture.run();
    fixture.pass(1000);
    assert_eq!(fixture.rebuilds.len(), 1);

    let mut fixture = closed();
    fixture.sees(ServerView::Gone);
    fixture.wants_rebuild(7);
    assert!(fixture.rebuilds.is_empty(), "what only it has could not be told");
}

#[test]
fn no_other_step_touches_the_server_meanwhile_but_one_that_closes_it() {
    let mut fixture = closed();
    fixture.wants_rebuild(7);
    fixture.stage(7, RebuildStage::Copying { done: 1, of: None });
    for state in [HostState::AdminOffline, HostState::Online, HostState::ReplicationFail] {
        fixture.order(state, &[], None);
        fixture.pass(2000);
        assert_eq!(fixture.steps, [], "{state:?}");
    }
    fixture.sees(ServerView::Gone);
    fixture.sees(WRITABLE);
    assert_eq!(fixture.steps, [Step::CloseWrites], "it opened itself when it was started");
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    assert_eq!(fixture.steps, []);

    fixture.order(HostState::AdminOffline, &[], None);
    fixture.stage(7, RebuildStage::Done { bytes: 5 });
    assert!(fixture.live(1000).contains(&Step::StopReplication), "and is treated as any other from then on");
}

#[test]
fn a_choice_as_the_writer_does_not_open_data_that_are_not_whole() {
    use crate::message::Takeover;
    let mut fixture = closed();
    fixture.wants_rebuild(7);
    fixture.stage(7, RebuildStage::Again("the other server has ended".into()));
    fixture.rebuild = None;
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Fresh, false)));
    let done = fixture.live(5000);
    assert!(!done.iter().any(|step| matches!(step, Step::OpenWrites | Step::AddAddress(..))), "{done:?}");
    fixture.stage(7, RebuildStage::Done { bytes: 5 });
    assert!(fixture.live(5000).contains(&Step::OpenWrites));
}

#[test]
fn what_an_earlier_worker_began_holds_for_the_next_one() {
    let mut fixture = Fixture::unfound(None, None, crate::moment::Moment::from_secs(100));
    let stage = RebuildStage::Copying { done: 0, of: None };
    fixture.mind.resume_rebuild(RebuildStatus { id: id(7), from: "db2".into(), stage });
    fixture.found();
    fixture.addresses(&[], true);
    fixture.sees(UP);
    fixture.order(HostState::AdminOffline, &[], None);
    assert_eq!(fixture.steps, []);
    assert!(fixture.status().rebuild.unwrap().is_running());
    fixture.wants_rebuild(7);
    assert!(fixture.rebuilds.is_empty(), "it goes on by itself");
}

#[test]
fn a_rebuild_follows_the_writer_to_another_host() {
    let mut fixture = closed();
    fixture.wants_rebuild(7);
    let elsewhere = RebuildOrder { id: id(7), from: "db3".into() };
    fixture.rebuild = Some(Box::new(elsewhere.clone()));
    fixture.order(HostState::ReplicationFail, &[], None);
    assert_eq!(fixture.rebuilds.last(), Some(&elsewhere));
    assert_eq!(fixture.rebuilds.len(), 2);
}

#[test]
fn a_host_whose_rebuild_is_not_known_serves_nothing_until_another_one_is_done() {
    let mut fixture = Fixture::unfound(None, None, crate::moment::Moment::from_secs(100));
    let stage = RebuildStage::Unreadable("the file makes no sense".into());
    fixture.mind.resume_rebuild(RebuildStatus { id: OrderId::default(), from: "db1".into(), stage });
    fixture.found();
    fixture.addresses(&[], true);
    fixture.sees(WRITABLE);
    assert_eq!(fixture.steps, [Step::CloseWrites], "nobody may use it");
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    fixture.sees(UP);
    fixture.order(HostState::Online, &[], None);
    fixture.pass(2000);
    assert_eq!(fixture.steps, [], "nor is it pointed anywhere");

    fixture.wants_rebuild(7);
    assert_eq!(fixture.rebuilds.len(), 1);
    fixture.stage(7, RebuildStage::Failed("no room".into()));
    let status = fixture.status().rebuild.unwrap();
    assert!(status.is_unreadable() && status.id == id(7), "{status:?}");
    assert!(status.stage.to_string().contains("no room"), "{status:?}");
    fixture.pass(2000);
    assert_eq!(fixture.rebuilds.len(), 1, "not by itself");

    fixture.wants_rebuild(8);
    fixture.stage(8, RebuildStage::Done { bytes: 5 });
    assert!(!fixture.status().rebuild.unwrap().is_running());
}
