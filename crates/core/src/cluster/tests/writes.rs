use super::fixture::{Fixture, pair};
use crate::message::AgentStatus;
use crate::settings::{OnStalledWrites, Settings};
use crate::state::HostState;
use crate::write_path::{WritePath, WriteStatus};

fn moving() -> Settings {
    Settings { on_stalled_writes: OnStalledWrites::Move, ..pair() }
}

fn says(path: WritePath) -> impl FnOnce(&mut AgentStatus) {
    move |status| status.writes = Some(WriteStatus { path, ..WriteStatus::default() })
}

fn blocked() -> WritePath {
    WritePath::Blocked { by: "Waiting for backup lock".to_owned() }
}

#[test]
fn by_default_a_writer_that_takes_no_writes_is_told_of_and_stays() {
    let mut fixture = Fixture::running(pair());
    for _ in 0..2 {
        fixture.report("db1", says(WritePath::Stalled));
    }
    fixture.pass(60);
    assert_eq!((fixture.writer().as_str(), fixture.state("db1")), ("db1", HostState::Online));
    let told = "FATAL Host 'db1': no write gets through: the storage of its server does not answer";
    assert_eq!(fixture.log.iter().filter(|line| line.contains(told)).count(), 1, "told once");
    let shown = fixture.command("show --long");
    assert!(shown.contains("# Warning: host db1: no write gets through"), "{shown}");
    assert!(shown.contains("# db1 has taken no writes for 60 s; on_stalled_writes show"), "{shown}");
    assert!(fixture.command("checks").contains("db1  write_path  ERROR: no write gets through"));
    fixture.report("db1", says(WritePath::Well));
    assert!(fixture.logged("INFO Host 'db1': writes get through again"));
    assert!(!fixture.command("checks").contains("write_path"));
}

#[test]
fn where_that_is_wanted_its_role_moves_after_the_trap_period_and_not_back_while_it_gives_it_up() {
    for path in [WritePath::Stalled, WritePath::FullDisk { at: "/data".to_owned() }] {
        let mut fixture = Fixture::running(moving());
        fixture.report("db1", says(path));
        fixture.pass(9);
        assert_eq!(fixture.writer(), "db1");
        fixture.pass(1);
        assert_eq!((fixture.writer().as_str(), fixture.state("db1")), ("db2", HostState::HardOffline));
        assert!(
            fixture.logged_part("FATAL Host 'db1' has taken no writes for 10 s: its roles go to another")
        );
        assert!(fixture.promotion("db2").is_none(), "it still holds the lease");
        // It makes no write of its own any more, so it knows nothing of them.
        fixture.report("db1", says(WritePath::Well));
        fixture.tick();
        assert_eq!((fixture.writer().as_str(), fixture.state("db1")), ("db2", HostState::HardOffline));
        fixture.agent_obeys("db1");
        assert!(fixture.ordered("db2").contains("writer"));
    }
}

#[test]
fn a_writer_that_is_blocked_stays_however_long_it_takes() {
    let mut fixture = Fixture::running(moving());
    fixture.report("db1", says(blocked()));
    fixture.pass(3600);
    assert_eq!((fixture.writer().as_str(), fixture.state("db1")), ("db1", HostState::Online));
    let shown = fixture.command("show");
    assert!(shown.contains("writes are blocked, and its server lives, so the role stays there"), "{shown}");
}

#[test]
fn the_last_usable_writer_is_not_given_up() {
    let mut fixture = Fixture::running(moving());
    fixture.report("db2", says(WritePath::Stalled));
    fixture.report("db1", says(WritePath::Stalled));
    fixture.pass(60);
    assert_eq!(fixture.writer(), "db1", "the other one takes no writes either");
    fixture.report("db2", says(WritePath::Well));
    fixture.tick();
    assert_eq!(fixture.writer(), "db2");
}

/// For clients the time without a writer began when their writes stood still, not when the server was closed long after that.
#[test]
fn the_record_of_a_writer_that_takes_no_writes_says_so_and_counts_from_the_last_one() {
    let mut fixture = Fixture::running(moving());
    fixture.report("db1", says(WritePath::Stalled));
    fixture.pass(10);
    fixture.report("db1", says(WritePath::Well));
    for _ in 0..3 {
        fixture.agents_obey();
        fixture.agents_renew();
        fixture.pass_ms(50);
    }
    let record = fixture.records.values().last().expect("it is recorded");
    assert_eq!(record.to, Some("db2".into()));
    let words = "agent on db1: no write gets through: the storage of its server does not answer";
    assert!(record.trigger.what.starts_with(words), "{}", record.trigger.what);
    let is_told = |what: &str, age_ms| what.starts_with("no write gets through") && age_ms == Some(10_000);
    assert!(record.evidence.iter().any(|seen| is_told(&seen.what, seen.age_ms)), "{:?}", record.evidence);
    // Two seconds before it was noticed.
    assert_eq!(record.gap.from_ms, Some(-12_000), "{:?}", record.gap);
    assert!(record.gap.until_ms.is_some_and(|until| until >= 0), "{:?}", record.gap);
}

/// That somebody could take its place at last was the occasion, not the reason.
#[test]
fn the_record_tells_why_the_writer_was_given_up_also_when_another_host_was_let_in_for_that() {
    let mut fixture = Fixture::running(moving());
    fixture.command("set_offline db2");
    fixture.report("db1", says(WritePath::Stalled));
    fixture.pass(20);
    assert_eq!(fixture.writer(), "db1", "nobody else could take the role");
    fixture.command("set_online db2");
    assert_eq!(fixture.writer(), "db2");
    fixture.agents_obey();
    let record = fixture.records.values().last().expect("it is recorded");
    let words = "agent on db1: no write gets through: the storage of its server does not answer";
    assert!(record.trigger.what.starts_with(words), "{}", record.trigger.what);
    assert_eq!(record.trigger.by, "the monitor");
}
