use std::time::Duration;

use super::fixture::{Fixture, WRITER, pair, role};
use crate::cluster::ledger::{Outcome, StepKind};
use crate::message::{AgentStatus, ServerView};
use crate::moment::Moment;
use crate::semi_sync::{Hanging, SemiSync, SemiSyncSource};

/// A writer whose commits wait for the other master.
pub(super) fn source() -> SemiSyncSource {
    SemiSyncSource {
        fallen_back: None,
        clients: 1,
        timeout_ms: 10_000,
        after_sync: true,
        wanted: 1,
        waits_for_absent: true,
        hanging: None,
    }
}

pub(super) fn waits(change: impl Fn(&mut SemiSyncSource)) -> impl FnOnce(&mut AgentStatus) {
    let mut source = source();
    change(&mut source);
    move |status| status.semi_sync = Some(SemiSync { source: Some(source), ..SemiSync::default() })
}

pub(super) fn acknowledges(source: &str) -> impl FnOnce(&mut AgentStatus) {
    let ip = source.parse().unwrap();
    move |status| {
        status.source_ip = Some(ip);
        status.semi_sync = Some(SemiSync { replica: true, acknowledges: true, ..SemiSync::default() });
    }
}

fn running() -> Fixture {
    let mut fixture = Fixture::running(pair());
    fixture.report("db2", acknowledges("192.168.8.32"));
    fixture.report("db1", waits(|_| ()));
    fixture
}

#[test]
fn a_fall_back_of_the_writer_and_its_return_are_told_once_each() {
    let mut fixture = running();
    assert!(fixture.logged_part("INFO Commits on 'db1' wait for an acknowledgement"));
    let shown = fixture.command("show --long");
    assert!(shown.contains("commits wait for 1 acknowledgement(s); acknowledging: db2;"), "{shown}");
    for _ in 0..2 {
        fixture.report("db1", waits(|source| source.fallen_back = Some(Moment::from_secs(1))));
    }
    let told = |fixture: &Fixture, part: &str| fixture.log.iter().filter(|line| line.contains(part)).count();
    assert_eq!(told(&fixture, "FATAL Semi-synchronous replication on 'db1' has fallen back"), 1);
    assert!(fixture.command("show").contains("# Warning: host db1: semi-synchronous replication has fallen"));
    fixture.report("db1", waits(|_| ()));
    assert_eq!(told(&fixture, "WARN Semi-synchronous replication on 'db1' is back"), 1);
    assert!(!fixture.command("show").contains("semi-synchronous"));
}

/// The age that is shown goes on between two reports of an agent, whose clock began elsewhere.
#[test]
fn since_when_is_shown_by_the_clock_of_the_agent_that_saw_it() {
    let mut fixture = running();
    let at = fixture.now + Duration::from_secs(2);
    fixture.pass(5);
    fixture.report("db1", waits(|source| source.fallen_back = Some(at)));
    fixture.pass(4);
    let shown = fixture.command("show --long");
    assert!(shown.contains("fallen back to asynchronous 7 s ago"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&fixture.command("--json show")).unwrap();
    assert_eq!(json["semi_sync"]["waits"], false);
    assert_eq!(json["semi_sync"]["acknowledging"][0], "db2");
}

#[test]
fn nothing_is_moved_while_commits_hang_and_nobody_is_taken_for_dead() {
    let mut fixture = running();
    let hanging = Hanging { commits: 3, since: fixture.now };
    fixture.report("db1", waits(|source| source.hanging = Some(hanging)));
    assert!(fixture.logged_part("FATAL Commits on 'db1' hang: 3 wait"));
    assert!(fixture.command("show").contains("# Warning: host db1 is blocked: 3 commits wait"));
    for line in ["move_role writer db2", "set_offline db1"] {
        let answer = fixture.command(line);
        assert!(answer.starts_with("ERROR: Role 'writer(192.168.8.30)' stays on 'db1'"), "{answer}");
        assert!(answer.contains("since 3 commits on 'db1' hang"), "{answer}");
    }
    fixture.pass(30);
    assert_eq!(fixture.writer(), "db1");
    fixture.report("db1", waits(|_| ()));
    assert!(fixture.logged_part("WARN Commits on 'db1' go on"));
    assert_eq!(fixture.command("move_role writer db2"), "", "it waits for its target");
}

/// Both wait for each other, and the first one's server dies.
fn taken_over() -> Fixture {
    let mut fixture = running();
    fixture.report("db2", waits(|source| source.clients = 1));
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.held.remove(&role(WRITER));
    });
    fixture.pass_ms(20);
    fixture.agents_obey();
    fixture.settle();
    fixture
}

#[test]
fn the_time_without_a_writer_lasts_until_a_commit_comes_back() {
    let mut fixture = taken_over();
    let record = fixture.cluster.open_record().expect("nobody is there to acknowledge").clone();
    assert!(record.has(StepKind::Address) && record.gap.until_ms.is_none(), "{record:?}");
    assert!(record.steps.iter().any(|step| step.note.starts_with("its first commits wait")), "{record:?}");
    fixture.pass(4);
    let hanging = Hanging { commits: 2, since: fixture.now };
    fixture.report("db2", waits(|source| source.hanging = Some(hanging)));
    fixture.pass(8);
    assert!(fixture.cluster.open_record().is_some(), "they hang still");
    fixture.report("db2", waits(|source| source.fallen_back = Some(hanging.since)));
    assert!(fixture.cluster.open_record().is_none());
    let record = fixture.records.values().last().unwrap();
    assert_eq!(record.outcome, Some(Outcome::Done));
    assert!(
        record.gap.length_ms().is_some_and(|ms| ms >= 12_000) && record.gap.until_at_latest,
        "{record:?}"
    );
}

#[test]
fn no_commit_waits_longer_than_its_server_does() {
    let mut fixture = taken_over();
    fixture.pass(9);
    fixture.report("db2", waits(|_| ()));
    assert!(fixture.cluster.open_record().is_some());
    fixture.pass(2);
    fixture.report("db2", waits(|_| ()));
    assert!(fixture.cluster.open_record().is_none());
}

#[test]
fn a_writer_whose_commits_are_acknowledged_is_not_waited_for() {
    let mut fixture = running();
    fixture.report("db2", waits(|_| ()));
    fixture.report("db1", acknowledges("192.168.8.33"));
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    fixture.pass(8);
    fixture.agents_obey();
    fixture.settle();
    assert!(fixture.cluster.open_record().is_none());
}

#[test]
fn a_writer_that_is_lost_before_a_commit_came_back_is_followed_by_a_record_of_its_own() {
    let mut fixture = taken_over();
    fixture.well("db1");
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    fixture.pass(3);
    fixture.report("db2", |status| {
        status.server = ServerView::Gone;
        status.held.remove(&role(WRITER));
    });
    fixture.pass(3);
    fixture.agents_obey();
    fixture.settle();
    let ended =
        fixture.records.values().find(|record| record.to.as_ref().is_some_and(|to| to == &"db2".into()));
    let ended = ended.unwrap();
    assert_eq!(ended.outcome, Some(Outcome::Superseded), "{ended:?}");
    assert!(ended.outcome_why.contains("before one of its commits came back"), "{ended:?}");
}

#[test]
fn a_writer_whose_commits_hung_counts_as_gone_since_then() {
    let mut fixture = running();
    let since = fixture.now + Duration::from_secs(1);
    fixture.pass(6);
    fixture.report("db1", waits(|source| source.hanging = Some(Hanging { commits: 3, since })));
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.held.remove(&role(WRITER));
    });
    let record = fixture.records.values().last().unwrap();
    assert_eq!(record.gap.from_ms, Some(-5000), "{:?}", record.gap);
    assert!(record.gap.from_by.contains("no commit on it came back"), "{:?}", record.gap);
}
