//! A host that gets all its data anew from the writer: saved before, never ONLINE before it is done, whoever is started anew.

use std::time::Duration;

use super::fixture::*;
use super::moving::{after_a_loss, after_a_loss_of, gtid};
use crate::cluster::ledger::{Kind, Outcome, Record, StepKind, table, tale};
use crate::diverged::Saved;
use crate::message::{OrderId, ServerView};
use crate::rebuild::{RebuildOrder, RebuildStage, RebuildStatus};
use crate::settings::{Diverged, Settings};
use crate::state::HostState;

const READ_ONLY: ServerView = ServerView::Up { writable: false };

impl Fixture {
    fn rebuild_ordered(&self) -> Option<RebuildOrder> {
        self.orders["db1"].rebuild.as_deref().cloned()
    }

    fn saves(&mut self, whole: bool, problem: Option<&str>) {
        let of = self.orders["db1"].surplus.as_ref().unwrap().transactions.to_string();
        let files = if whole { vec!["/var/lib/mysql-mmm/diverged/x".to_owned()] } else { Vec::new() };
        let problem = problem.map(str::to_owned);
        let saved = Saved { of, count: 3, files, whole, problem, ..Saved::default() };
        self.report("db1", |status| status.saved = Some(Box::new(saved)));
    }

    fn stage(&mut self, order: &RebuildOrder, stage: RebuildStage) {
        let status = RebuildStatus { id: order.id, from: order.from.clone(), stage };
        self.report("db1", |status_| status_.rebuild = Some(Box::new(status)));
    }
}

/// The lost writer is back with 3 transactions that nobody else has.
fn diverged() -> Fixture {
    let mut fixture = after_a_loss(43, 40);
    fixture.report("db1", |status| status.rebuilds = true);
    fixture.settle();
    fixture
}

/// Its rebuild is under way.
fn rebuilding() -> (Fixture, RebuildOrder) {
    let mut fixture = diverged();
    assert!(fixture.command("rejoin --clone db1").starts_with("OK: 'db1' gets all its data anew from 'db2'"));
    fixture.saves(true, None);
    let order = fixture.rebuild_ordered().unwrap();
    fixture.stage(&order, RebuildStage::Copying { done: 30_000_000, of: Some(60_000_000) });
    (fixture, order)
}

#[test]
fn a_host_is_rebuilt_only_after_what_only_it_has_is_saved() {
    let mut fixture = diverged();
    assert!(fixture.command("rejoin db1").contains("mmm_control rejoin --clone db1"));
    let answer = fixture.command("rejoin --clone db1");
    assert!(answer.contains("The 3 transactions that nobody else has are saved there before"), "{answer}");
    fixture.settle();
    assert_eq!(fixture.rebuild_ordered(), None);
    assert!(fixture.command("show").contains("db1 is rebuilt from db2: what only it has is saved before"));
    fixture.saves(true, None);
    let order = fixture.rebuild_ordered().unwrap();
    assert_eq!(order.from.as_str(), "db2");
    assert!(fixture.command("rejoin --clone db1").contains("being rebuilt already"));

    fixture.stage(&order, RebuildStage::Copying { done: 30_000_000, of: Some(60_000_000) });
    let shown = fixture.command("show");
    assert!(shown.contains("db1 is rebuilt from db2: 30.0 MB of 60.0 MB copied (50 %)"), "{shown}");
    fixture.report("db1", |status| (status.gtid, status.server) = (Some(gtid(12, 5, 40)), READ_ONLY));
    fixture.pass(120);
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail, "though nothing is missing on db2 any more");
    assert!(fixture.orders["db2"].writer.as_ref().unwrap().hold, "its data are no answer yet");
    assert!(fixture.command("set_online db1").contains("being rebuilt"));

    fixture.stage(&order, RebuildStage::Done { bytes: 60_000_000 });
    fixture.settle();
    assert!(fixture.logged_part("WARN Host 'db1' was rebuilt from 'db2': 60.0 MB copied. The 3 transactions that nobody else has are on 'db1' in /var/lib"));
    assert_eq!(fixture.rebuild_ordered(), None);
    assert!(!fixture.orders["db2"].writer.as_ref().unwrap().hold);
    fixture.pass(120);
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::Online);
}

#[test]
fn nothing_is_thrown_away_that_could_not_be_saved() {
    let mut fixture = diverged();
    fixture.command("rejoin --clone db1");
    fixture.saves(false, Some("They could not be saved: no space left"));
    assert_eq!(fixture.rebuild_ordered(), None);
    assert!(fixture.logged_part("FATAL Host 'db1' is not rebuilt, and its data are as they were: what only it has could not be saved. They could not be saved: no space left"));
    assert!(fixture.command("show").contains("# Warning: replication from db1"), "it is held as before");
    fixture.report("db1", |status| status.saved = None);
    fixture.command("rejoin --clone db1");
    fixture.pass(61);
    assert!(fixture.logged_part("was not saved within a minute"));
    assert_eq!((fixture.rebuild_ordered(), fixture.state("db1")), (None, HostState::ReplicationFail));
}

#[test]
fn with_diverged_clone_nobody_has_to_say_so() {
    let settings = Settings { diverged: Diverged::Clone, ..pair() };
    let mut fixture = after_a_loss_of(settings, 43, 40);
    assert!(fixture.logged_part("Host 'db1' is not rebuilt: The agent on 'db1' is of a version"));
    let settings = Settings { diverged: Diverged::Clone, ..pair() };
    fixture = Fixture::running(settings);
    fixture.report("db1", |status| status.rebuilds = true);
    fixture.lose_with_transactions(43, 40);
    fixture.saves(true, None);
    assert!(fixture.rebuild_ordered().is_some());
}

#[test]
fn a_rebuild_that_was_given_up_leaves_the_host_as_it_was() {
    let (mut fixture, order) = rebuilding();
    fixture.stage(&order, RebuildStage::Failed("the clone plugin is not there".into()));
    fixture.settle();
    assert_eq!((fixture.rebuild_ordered(), fixture.state("db1")), (None, HostState::ReplicationFail));
    assert!(
        fixture
            .logged_part("FATAL Host 'db1' is not rebuilt, and its data are as they were: the clone plugin")
    );
    assert!(fixture.command("rejoin --clone db1").starts_with("OK: "), "and it may be tried again");
}

#[test]
fn a_monitor_that_is_started_anew_hears_of_it_from_the_agent() {
    let (mut fixture, order) = rebuilding();
    fixture.restart_with_state();
    fixture.start();
    fixture.settle();
    assert!(fixture.logged_part("INFO Host 'db1' is being rebuilt from 'db2', as its agent says"));
    fixture.pass(120);
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail);
    assert!(fixture.command("show").contains("db1 is rebuilt from db2: 30.0 MB of 60.0 MB"));
    assert_eq!(fixture.rebuild_ordered().unwrap().id, order.id);
    fixture.report("db1", |status| status.gtid = Some(gtid(12, 5, 40)));
    fixture.stage(&order, RebuildStage::Done { bytes: 1 });
    fixture.pass(120);
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::Online);
}

#[test]
fn only_a_host_out_of_service_may_be_rebuilt_and_only_from_a_writer_that_serves() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db2", |status| (status.rebuilds, status.gtid) = (true, Some(gtid(13, 5, 40))));
    fixture.report("db1", |status| status.gtid = Some(gtid(12, 40, 5)));
    let refusal = fixture.command("rejoin --clone db2");
    assert!(refusal.contains("'db2' is ONLINE, and a rebuild throws all its data away"), "{refusal}");
    assert!(fixture.command("rejoin --clone db1").contains("There is no other host that is the writer"));
    assert!(fixture.command("rejoin --clone db9").contains("db9"));
    fixture.command("set_offline db2");
    fixture.settle();
    fixture.report("db1", |status| status.server = READ_ONLY);
    assert!(fixture.command("rejoin --clone db2").contains("does not take writes at the moment"));
    fixture.report("db1", |status| status.server = ServerView::Up { writable: true });
    fixture.report("db2", |status| status.gtid.as_mut().unwrap().slave_pos = String::new());
    fixture.report("db2", |status| status.gtid.as_mut().unwrap().binlog_state = "bin.000001:4".into());
    assert!(fixture.command("rejoin --clone db2").contains("only one has GTIDs"));
    fixture.report("db1", |status| status.gtid.as_mut().unwrap().slave_pos = "bin.000002:7".into());
    fixture.report("db1", |status| status.gtid.as_mut().unwrap().binlog_state = "bin.000009:4".into());
    assert!(fixture.command("rejoin --clone db2").starts_with("OK: "));
    assert!(fixture.orders["db2"].rebuild.is_some(), "there is nothing to save");
    assert!(fixture.command("set_online db2").contains("being rebuilt"));
    fixture.pass(61);
    assert!(fixture.logged_part("its agent did not begin within a minute"));
    assert!(fixture.orders["db2"].rebuild.is_none());
}

#[test]
fn a_host_whose_rebuild_is_not_known_stays_out_until_it_is_rebuilt_by_a_word() {
    let unreadable = |id| RebuildStatus {
        id,
        from: "db1".into(),
        stage: RebuildStage::Unreadable("the file /x makes no sense".into()),
    };
    let mut fixture = diverged();
    fixture.report("db1", |status| status.rebuild = Some(Box::new(unreadable(OrderId::default()))));
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail);
    let shown = fixture.command("show");
    assert!(shown.contains("host db1 is not used") && shown.contains("/x makes no sense"), "{shown}");
    assert!(fixture.command("rejoin --merge db1").starts_with("ERROR"), "of data that may not be whole");
    assert!(fixture.command("set_online db1").starts_with("ERROR"));
    assert!(fixture.command("rejoin db1").contains("rejoin --clone db1"));

    assert!(fixture.command("rejoin --clone db1").starts_with("OK: 'db1' gets all its data anew"));
    fixture.saves(true, None);
    let order = fixture.rebuild_ordered().unwrap();
    fixture.report("db1", |status| status.rebuild = Some(Box::new(unreadable(order.id))));
    assert!(fixture.rebuild_ordered().is_none(), "its agent gave it up");
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail);
    assert!(fixture.command("rejoin --clone db1").starts_with("OK: 'db1' gets all its data anew"));
}

#[test]
fn replication_from_a_host_whose_rebuild_is_not_known_stays_held() {
    let mut fixture = with_doubtful_data(pair(), 40);
    assert!(fixture.orders["db2"].writer.as_ref().unwrap().hold, "they may not be whole");
    let answer = fixture.command("rejoin --clone db1");
    assert!(answer.starts_with("OK: 'db1' gets all its data anew"), "{answer}");
}

#[test]
fn what_only_such_a_host_has_is_not_merged_by_itself() {
    let mut fixture = with_doubtful_data(Settings { diverged: Diverged::Merge, ..pair() }, 43);
    assert!(fixture.logged_part("Host 'db1' has 3 transactions nobody else has"));
    assert!(fixture.orders["db2"].writer.as_ref().unwrap().hold, "they may not be whole");
    assert!(fixture.command("show").contains("replication from db1, which was lost as the writer, is held"));
}

/// db1 was lost as the writer with so many transactions, of which db2 has 40, and was being rebuilt in a way that nobody knows.
fn with_doubtful_data(settings: Settings, own: u64) -> Fixture {
    let mut fixture = Fixture::running(settings);
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.held.clear();
    });
    fixture.settle();
    fixture.report("db2", |status| (status.holding, status.gtid) = (true, Some(gtid(13, 5, 40))));
    let stage = RebuildStage::Unreadable("the file /x makes no sense".into());
    let status = RebuildStatus { id: OrderId::default(), from: "db1".into(), stage };
    fixture.report("db1", |of| {
        (of.rebuilds, of.rebuild) = (true, Some(Box::new(status)));
        (of.server, of.gtid) = (READ_ONLY, Some(gtid(12, own, 5)));
    });
    fixture.settle();
    fixture
}

#[test]
fn of_a_rebuilt_host_nothing_is_said_that_was_true_of_the_data_before() {
    let (mut fixture, order) = rebuilding();
    let stage = RebuildStage::Done { bytes: 60_000_000 };
    let status = RebuildStatus { id: order.id, from: order.from, stage };
    // Its agent was started anew, and has not read yet what the server has.
    fixture.report("db1", |of| (of.rebuild, of.gtid, of.server) = (Some(Box::new(status)), None, READ_ONLY));
    fixture.settle();
    assert!(fixture.logged_part("WARN Host 'db1' was rebuilt from 'db2'"));
    assert_eq!(fixture.orders["db1"].surplus, None, "there is nothing to be saved");
    let shown = fixture.command("show");
    assert!(shown.contains("until its transactions have been compared"), "{shown}");
    fixture.report("db1", |of| of.gtid = Some(gtid(12, 37, 5)));
    fixture.settle();
    assert!(!fixture.orders["db2"].writer.as_ref().unwrap().hold);
}

fn records(fixture: &Fixture) -> Vec<Record> {
    fixture.records.values().filter(|record| record.kind == Kind::Rebuild).cloned().collect()
}

#[test]
fn a_rebuild_is_recorded_with_who_wanted_it_its_steps_and_what_was_saved() {
    let (mut fixture, order) = rebuilding();
    fixture.pass(1500);
    fixture.stage(&order, RebuildStage::Copying { done: 50_000_000, of: Some(60_000_000) });
    fixture.stage(&order, RebuildStage::Working("its server has been ending for 5 s".into()));
    fixture.stage(&order, RebuildStage::Working("its server has been ending for 10 s".into()));
    fixture.stage(&order, RebuildStage::AwaitsServer);
    fixture.stage(&order, RebuildStage::Attaching);
    fixture.stage(&order, RebuildStage::Done { bytes: 60_000_000 });
    let record = records(&fixture).pop().unwrap();
    let steps: Vec<&str> = record.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["seen", "saved", "copying", "working", "waits", "attaching"]);
    assert_eq!((record.from.clone(), record.to.clone()), (Some("db2".into()), Some("db1".into())));
    assert_eq!(record.outcome, Some(Outcome::Done));
    assert_eq!(record.trigger.what, "rejoin --clone db1");
    assert!(!record.evidence.is_empty());
    let told = tale(&record, &|ms| ms.to_string());
    let saved = "Saved:    /var/lib/mysql-mmm/diverged/x";
    for words in ["of host db1 from db2", "Copied:   60.0 MB", saved, "Only on db1: 3"] {
        assert!(told.contains(words), "{words} is not in {told}");
    }
    let text = table([&record], &|ms| ms.to_string());
    assert!(text.contains("rebuild") && text.contains("done (3 diverged)"), "{text}");
}

#[test]
fn the_next_monitor_goes_on_with_the_record_of_a_rebuild() {
    let (mut fixture, order) = rebuilding();
    let begun = records(&fixture).pop().unwrap();
    fixture.restart_with_state();
    fixture.records.clear();
    fixture.cluster.recall(fixture.now, vec![(begun.clone(), Duration::from_secs(3))]);
    fixture.start();
    fixture.settle();
    fixture.stage(&order, RebuildStage::Done { bytes: 60_000_000 });
    let record = records(&fixture).pop().unwrap();
    assert_eq!((record.number, record.outcome), (begun.number, Some(Outcome::Done)));
    assert!(record.has(StepKind::NextMonitor));
    assert!(fixture.logged_part("that nobody else has are on 'db1' in /var/lib"), "as its agent still says");

    // Nobody was there when it ended.
    fixture.restart_with_state();
    fixture.records.clear();
    fixture.cluster.recall(fixture.now, vec![(begun.clone(), Duration::from_secs(3))]);
    fixture.start();
    fixture.settle();
    let record = records(&fixture).pop().unwrap();
    assert_eq!((record.number, record.outcome), (begun.number, Some(Outcome::Done)));

    // It was never begun.
    fixture.restart_with_state();
    fixture.report("db1", |status| status.rebuild = None);
    fixture.records.clear();
    fixture.cluster.recall(fixture.now, vec![(begun, Duration::from_secs(3))]);
    fixture.start();
    fixture.settle();
    assert_eq!(records(&fixture).pop().unwrap().outcome, Some(Outcome::Undone));
}
