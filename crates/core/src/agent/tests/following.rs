//! A replica that is told whom to follow.

use super::fixture::{Fixture, UP, WRITABLE, epoch, position, writer};
use crate::agent::*;
use crate::following::{How, Junction, Running, ServerAddress, ServerIdentity, Source};
use crate::message::{LogPosition, Order, Takeover};
use crate::moment::Moment;
use crate::state::HostState;

const OLD: &str = "192.168.8.32";
const NEW: &str = "192.168.8.33";

fn source(last: &str) -> Source {
    Source { host: "db2".into(), ip: last.parse().unwrap(), port: 3306, epoch: epoch(2), junction: None }
}

fn view(host: &str) -> ReplicaView {
    ReplicaView {
        source: ServerAddress { host: host.to_owned(), port: 3306 },
        source_id: 12,
        by_gtid: false,
        without_gtid: false,
        connected: true,
        running: Running::BOTH,
        slave_pos: "0-12-40".to_owned(),
        unreached: None,
        applier_error: None,
        tear: None,
    }
}

fn by_gtid(slave_pos: &str) -> ReplicaView {
    ReplicaView { by_gtid: true, slave_pos: slave_pos.to_owned(), ..view(NEW) }
}

fn follow(start: Running) -> Step {
    Step::Follow { source: Box::new(source(NEW)), start }
}

fn followed(how: How) -> StepOutcome {
    StepOutcome::Followed { how, slave_pos: "0-12-40".to_owned() }
}

fn here() -> How {
    How::At(LogPosition { file: "bin.000007".to_owned(), position: 900 })
}

impl Fixture {
    fn replicates(&mut self, view: ReplicaView) {
        self.step(AgentEvent::ReplicaSeen(Some(view), self.now));
    }

    /// The order that the monitor repeats, with a source.
    fn told(&mut self, state: HostState, source: Option<Source>) {
        let last = |fixture: &Self| fixture.saved.as_ref().and_then(|memory| memory.order.clone());
        if last(self).is_none() {
            self.order(state, &[], None);
        }
        let order = last(self).expect("an order was saved");
        self.step(AgentEvent::Ordered(Order { state, source: source.map(Box::new), ..order }));
    }

    fn logged_times(&self, part: &str) -> usize {
        self.log.iter().filter(|line| line.contains(part)).count()
    }
}

/// A replica of the old writer, which knows of no new one.
fn replica() -> Fixture {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.told(HostState::Online, None);
    fixture.replicates(view(OLD));
    assert_eq!(fixture.run(), []);
    fixture
}

#[test]
fn a_replica_follows_when_the_new_writer_is_named_and_not_before() {
    let mut fixture = replica();
    assert_eq!(fixture.status().astray, None);
    fixture.told(HostState::Online, Some(source(NEW)));
    assert_eq!(fixture.steps, [follow(Running::BOTH)]);
    assert!(fixture.status().astray.unwrap().text.contains("replicates from 192.168.8.32:3306"));
    fixture.end(&follow(Running::BOTH), followed(here()));
    assert_eq!((fixture.steps.len(), fixture.status().astray), (0, None));
    assert!(fixture.logged("INFO Replicating from the active master 'db2' (192.168.8.33:3306) now"));
    fixture.replicates(view(NEW));
    assert_eq!(fixture.steps, []);
}

#[test]
fn a_replica_that_somebody_points_elsewhere_is_pointed_back() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(OLD)));
    assert_eq!(fixture.steps, []);
    fixture.replicates(view("192.168.8.99"));
    assert!(matches!(&fixture.steps[..], [Step::Follow { .. }]));
}

#[test]
fn what_was_seen_before_the_repointing_is_not_believed_after_it() {
    let mut fixture = replica();
    let before = fixture.now;
    fixture.told(HostState::Online, Some(source(NEW)));
    fixture.pass(200);
    fixture.end(&follow(Running::BOTH), followed(here()));
    fixture.step(AgentEvent::ReplicaSeen(Some(view(OLD)), before));
    assert_eq!(fixture.steps, []);
}

#[test]
fn threads_that_somebody_stopped_stay_stopped() {
    let mut fixture = replica();
    let receives_only = Running { receives: true, applies: false };
    fixture.replicates(ReplicaView { running: receives_only, ..view(OLD) });
    fixture.told(HostState::Online, Some(source(NEW)));
    assert_eq!(fixture.steps, [follow(receives_only)]);
}

#[test]
fn a_replica_that_somebody_stopped_altogether_follows_when_it_is_started() {
    let mut fixture = replica();
    fixture.replicates(ReplicaView { running: Running::NEITHER, ..view(OLD) });
    fixture.told(HostState::Online, Some(source(NEW)));
    assert_eq!(fixture.steps, []);
    assert!(fixture.status().astray.unwrap().text.contains("(stopped) from 192.168.8.32:3306"));
    fixture.replicates(view(OLD));
    assert_eq!(fixture.steps, [follow(Running::BOTH)]);
}

#[test]
fn threads_that_a_broken_attempt_stopped_are_started_by_the_next_even_of_another_worker() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(NEW)));
    fixture.end(&follow(Running::BOTH), StepOutcome::Failed("no answer".to_owned()));
    assert!(fixture.status().astray.is_some_and(|astray| !astray.refused));
    let stopped = Running { receives: false, applies: false };
    let mut again = fixture.restarted(500);
    again.found();
    again.addresses(&[], true);
    again.sees(UP);
    // It had come as far as the change.
    again.replicates(ReplicaView { running: stopped, ..view(NEW) });
    assert_eq!(again.steps, [follow(Running::BOTH)]);
    again.end(&follow(Running::BOTH), StepOutcome::Done);
    again.pass(5_000);
    assert_eq!(again.steps, []);
}

/// Otherwise it would wait for ever for what nobody applies, and there would be no writer.
#[test]
fn a_new_writer_gets_back_what_a_broken_attempt_stopped_before_it_catches_up() {
    let after = Takeover::After(position());
    let only_applies = Running { receives: false, applies: true };
    for (takeover, threads) in [(after, Running::BOTH), (Takeover::Lost, only_applies)] {
        let mut fixture = replica();
        fixture.told(HostState::Online, Some(source(NEW)));
        fixture.end(&follow(Running::BOTH), StepOutcome::Failed("no answer".to_owned()));
        fixture.order(HostState::Online, &[writer()], Some((1, takeover.clone(), false)));
        assert_eq!(fixture.run()[..2], [Step::StartThreads(threads), Step::CatchUp(takeover)]);
    }
}

#[test]
fn an_active_master_that_can_not_be_had_is_told_as_long_as_that_lasts() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(OLD)));
    for (refused, words) in
        [(false, "can't be reached from here: no route"), (true, "does not let it in: no route")]
    {
        let unreached = Some(Unreached { text: "no route".to_owned(), refused });
        fixture.replicates(ReplicaView { unreached, ..view(OLD) });
        let astray = fixture.status().astray.unwrap();
        assert!(astray.text.ends_with(words) && astray.refused == refused, "{astray:?}");
        assert_eq!(fixture.steps, []);
    }
    fixture.replicates(view(OLD));
    assert_eq!(fixture.status().astray, None);
}

/// A writer without GTIDs that is told to give the role up, and how it replicates.
fn giving_up(without_gtid: bool) -> Fixture {
    let mut fixture = Fixture::writing();
    fixture.replicates(ReplicaView { without_gtid, ..view(NEW) });
    fixture.told_to_stand_still(true);
    fixture
}

impl Fixture {
    fn told_to_stand_still(&mut self, stand_still: bool) {
        let order = self.saved.as_ref().and_then(|memory| memory.order.clone()).expect("an order was saved");
        let roles = std::collections::BTreeSet::new();
        self.step(AgentEvent::Ordered(Order { writer: None, roles, stand_still, ..order }));
    }
}

const APPLY: Step = Step::StartThreads(Running { receives: false, applies: true });

#[test]
fn a_writer_without_gtids_ends_its_log_where_it_says_until_the_replicas_have_gone_on() {
    for (without_gtid, wanted) in [(true, true), (false, false)] {
        let mut fixture = giving_up(without_gtid);
        let steps = fixture.run();
        let stopped = steps.iter().position(|step| *step == Step::StopApplying);
        let read = steps.iter().position(|step| *step == Step::ReadPosition).expect("its end was read");
        assert_eq!(stopped.is_some(), wanted, "{steps:?}");
        assert!(stopped.is_none_or(|stopped| stopped < read) && !steps.contains(&APPLY), "{steps:?}");
        fixture.told_to_stand_still(false);
        assert_eq!(fixture.run().contains(&APPLY), wanted);
    }
}

#[test]
fn nothing_stands_still_for_long_whatever_became_of_the_replicas() {
    let mut fixture = giving_up(true);
    fixture.run();
    assert!(!fixture.live(9_000).contains(&APPLY));
    assert!(fixture.live(2_000).contains(&APPLY));
    // Another worker does not know since when.
    let mut fixture = giving_up(true);
    fixture.run();
    let mut again = fixture.restarted(500);
    again.found();
    again.addresses(&[], true);
    again.sees(UP);
    assert!(again.run().contains(&APPLY));
}

#[test]
fn an_offline_host_that_stood_still_has_nothing_started_and_everything_when_it_is_back() {
    let mut fixture = giving_up(true);
    fixture.told(HostState::AdminOffline, None);
    assert!(fixture.run().contains(&Step::StopReplication));
    assert!(!fixture.live(11_000).contains(&APPLY));
    fixture.told(HostState::Online, None);
    let steps = fixture.run();
    assert!(steps.contains(&Step::StartReplication) && !steps.contains(&APPLY), "{steps:?}");
}

#[test]
fn a_move_does_not_wait_for_an_applier_that_can_not_be_stopped_and_back_again_it_is_started() {
    let mut fixture = giving_up(true);
    while fixture.steps.first() != Some(&Step::StopApplying) {
        let step = fixture.steps.first().expect("there is something to do").clone();
        fixture.end(&step, StepOutcome::Done);
    }
    fixture.end(&Step::StopApplying, StepOutcome::Failed("no answer".to_owned()));
    assert!(fixture.logged("WARN The replicas may not find their place in the next writer's log: no answer"));
    assert!(fixture.run().contains(&Step::ReadPosition));
    let after = Takeover::After(position());
    fixture.order(HostState::Online, &[writer()], Some((3, after.clone(), false)));
    assert_eq!(fixture.run()[..2], [APPLY, Step::CatchUp(after)]);
}

#[test]
fn a_failure_is_tried_again_and_told_once() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(NEW)));
    for _ in 0..3 {
        fixture.end(&follow(Running::BOTH), StepOutcome::Failed("no answer".to_owned()));
        assert_eq!(fixture.steps, []);
        fixture.pass(1_100);
    }
    assert_eq!(fixture.steps, [follow(Running::BOTH)]);
    assert_eq!(fixture.logged_times("could not be pointed at"), 1);
}

#[test]
fn a_refusal_is_reported_as_one_and_looked_at_again() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(NEW)));
    fixture.end(&follow(Running::BOTH), StepOutcome::Refused("its place is not known".to_owned()));
    let astray = fixture.status().astray.unwrap();
    assert!(astray.refused && astray.text.contains("its place is not known"), "{astray:?}");
    assert!(fixture.logged("ERROR This replica: it can't follow the active master 'db2'"));
    fixture.pass(2_900);
    assert_eq!(fixture.steps, []);
    fixture.pass(200);
    assert_eq!(fixture.steps, [follow(Running::BOTH)]);
    // Mended by hand.
    fixture.end(&follow(Running::BOTH), StepOutcome::Done);
    assert_eq!(fixture.status().astray, None);
}

#[test]
fn a_new_writer_is_followed_at_once_whatever_became_of_the_last_one() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(NEW)));
    fixture.end(&follow(Running::BOTH), StepOutcome::Refused("its place is not known".to_owned()));
    assert_eq!(fixture.steps, []);
    fixture.told(HostState::Online, Some(Source { epoch: epoch(3), ..source(NEW) }));
    assert_eq!(fixture.steps.len(), 1);
}

#[test]
fn a_channel_put_on_gtid_for_a_while_goes_back_when_something_came_by_it() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(NEW)));
    fixture.end(&follow(Running::BOTH), followed(How::ThroughGtid));
    fixture.pass(100);
    fixture.replicates(by_gtid("0-12-40"));
    assert_eq!(fixture.steps, [], "nothing was applied from there yet");
    fixture.replicates(by_gtid("0-13-41"));
    let leave = Step::LeaveGtid { since: "0-12-40".to_owned(), start: Running::BOTH };
    assert_eq!(fixture.steps, std::slice::from_ref(&leave));
    fixture.end(&leave, StepOutcome::Done);
    fixture.pass(100);
    fixture.replicates(view(NEW));
    fixture.pass(5_000);
    assert_eq!(fixture.steps, []);
}

#[test]
fn a_channel_that_always_goes_by_gtid_stays_so() {
    let mut fixture = replica();
    fixture.told(HostState::Online, Some(source(NEW)));
    fixture.end(&follow(Running::BOTH), followed(How::ByGtid));
    fixture.pass(100);
    fixture.replicates(by_gtid("0-13-41"));
    assert_eq!(fixture.steps, []);
}

#[test]
fn an_offline_replica_is_left_alone_and_comes_back_behind_the_new_writer() {
    let mut fixture = replica();
    fixture.told(HostState::AdminOffline, None);
    assert_eq!(fixture.run(), [Step::StopReplication]);
    fixture.told(HostState::AdminOffline, Some(source(NEW)));
    let stopped = Running { receives: false, applies: false };
    fixture.replicates(ReplicaView { running: stopped, ..view(OLD) });
    assert_eq!(fixture.run(), []);
    fixture.told(HostState::Online, Some(source(NEW)));
    assert_eq!(fixture.steps, [follow(Running::BOTH)], "not started towards the old writer first");
    fixture.end(&follow(Running::BOTH), followed(here()));
    assert_eq!(fixture.run(), [], "everything runs already");
}

#[test]
fn an_offline_replica_that_can_not_follow_is_started_where_it_is() {
    let mut fixture = replica();
    fixture.told(HostState::AdminOffline, None);
    fixture.run();
    fixture.told(HostState::Online, Some(source(NEW)));
    fixture.end(&follow(Running::BOTH), StepOutcome::Refused("its place is not known".to_owned()));
    assert_eq!(fixture.run(), [Step::StartReplication]);
}

#[test]
fn neither_the_writer_nor_a_server_that_takes_writes_follows_anybody() {
    let mut fixture = Fixture::writing();
    fixture.replicates(view(OLD));
    let order = fixture.saved.as_ref().and_then(|memory| memory.order.clone()).unwrap();
    fixture.step(AgentEvent::Ordered(Order { source: Some(Box::new(source(NEW))), ..order }));
    assert_eq!(fixture.run(), []);
    let mut fixture = replica();
    fixture.sees(WRITABLE);
    fixture.told(HostState::Online, Some(source(NEW)));
    assert_eq!(fixture.steps, [Step::CloseWrites]);
}

#[test]
fn the_end_of_the_log_is_reported_by_the_choice_it_belongs_to_and_outlives_the_worker() {
    let junction = Junction {
        writer: ServerIdentity { server_id: 12, uuid: None },
        own: position(),
        applied: None,
        gtid: "0-13-40".to_owned(),
    };
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Fresh, false)));
    let noted = StepOutcome::CaughtUp(Box::new(junction.clone()));
    fixture.end(&Step::CatchUp(Takeover::Fresh), noted);
    assert_eq!(fixture.status().junction, Some((epoch(1), junction.clone())));
    fixture.run();
    assert_eq!(fixture.status().server, WRITABLE);
    assert_eq!(fixture.restarted(100).status().junction, Some((epoch(1), junction)));
    // Another catching up of which nothing could be noted.
    fixture.release();
    fixture.run();
    fixture.order(HostState::Online, &[writer()], Some((3, Takeover::Fresh, false)));
    fixture.run();
    assert_eq!(fixture.status().junction, None);
    assert!(fixture.now > Moment::ZERO);
}

#[test]
fn an_order_without_a_source_is_read_as_before() {
    let fixture = replica();
    let order = fixture.saved.and_then(|memory| memory.order).unwrap();
    let mut value = serde_json::to_value(&order).unwrap();
    assert!(value.as_object_mut().unwrap().remove("source").is_some());
    assert_eq!(serde_json::from_value::<Order>(value).unwrap(), order);
}

#[test]
fn whether_the_server_has_reached_its_source_is_told_anew_after_each_start() {
    let mut fixture = Fixture::new(AgentMemory::default());
    fixture.sees(UP);
    assert_eq!(fixture.status().reached_source, None, "replication was not looked at yet");
    fixture.replicates(ReplicaView { connected: false, ..view(OLD) });
    assert_eq!(fixture.status().reached_source, Some(false));
    fixture.replicates(view(OLD));
    fixture.replicates(ReplicaView { connected: false, ..view(OLD) });
    assert_eq!(fixture.status().reached_source, Some(true), "it was in touch once");
    fixture.sees(crate::message::ServerView::Gone);
    fixture.sees(UP);
    fixture.replicates(ReplicaView { connected: false, ..view(OLD) });
    assert_eq!(fixture.status().reached_source, Some(false));
}
