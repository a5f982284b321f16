//! Writes that stand still, and when the agent may make one itself.

use super::fixture::*;
use crate::agent::*;
use crate::message::{LeaseTerms, ServerView};
use crate::state::HostState;
use crate::write_path::{ProbeSight, WritePath, WriteSight};

fn stalled() -> AgentEvent {
    let probe = ProbeSight::Waiting(std::time::Duration::from_secs(5));
    AgentEvent::WritesSeen(Some(WriteSight { probe, ..WriteSight::default() }), crate::Moment::from_secs(9))
}

#[test]
fn only_the_holder_of_the_lease_writes_and_only_into_an_open_server() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    assert!(fixture.mind.may_probe_writes(fixture.now));
    fixture.lose_monitor();
    fixture.live(4100);
    assert!(!fixture.mind.may_probe_writes(fixture.now), "it is being closed");
    let standby = Fixture::on(&[], UP, AgentMemory::default());
    assert!(!standby.mind.may_probe_writes(standby.now));
    let stranger = Fixture::on(&[], WRITABLE, AgentMemory::default());
    assert!(!stranger.mind.may_probe_writes(stranger.now), "open, and nobody said that it may be");
}

#[test]
fn a_writer_whose_writes_stand_still_is_killed_once_its_role_is_wanted_elsewhere_and_not_before() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.terms = LeaseTerms { fence_hung_server: true, ..LeaseTerms::default() };
    fixture.list = ["db2".into()].into();
    fixture.take_role();
    fixture.step(stalled());
    assert!(fixture.live(1000).is_empty(), "that is for the monitor to decide");
    assert_eq!(fixture.status().writes.unwrap().path, WritePath::Stalled);
    assert_eq!(fixture.status().server, WRITABLE);
    fixture.order(HostState::HardOffline, &[], None);
    assert_eq!(fixture.status().server, ServerView::Silent { writable_before: true });
    fixture.sees(WRITABLE);
    assert_eq!(fixture.status().server, ServerView::Silent { writable_before: true }, "it answers, still");
    let steps = fixture.run();
    assert!(steps.contains(&Step::DropAddress(writer())), "{steps:?}");
    assert!(steps.contains(&Step::KillServer) && !steps.contains(&Step::CloseWrites), "{steps:?}");
}
