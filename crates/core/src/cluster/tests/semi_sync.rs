use std::time::Duration;

use super::fixture::{Fixture, pair};
use crate::message::AgentStatus;
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
