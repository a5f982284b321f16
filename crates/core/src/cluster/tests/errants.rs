//! Transactions that somebody wrote to the wrong server.

use super::fixture::{Fixture, four, pair};
use crate::gtid::{GtidView, Received};
use crate::message::{OrderId, ServerView};
use crate::names::RoleName;
use crate::settings::Settings;

fn view(server_id: u64, binlog_state: &str, slave_pos: &str) -> GtidView {
    GtidView { server_id, binlog_state: binlog_state.to_owned(), slave_pos: slave_pos.to_owned() }
}

/// db1 writes and answers when it is asked to look.
fn watched(settings: Settings) -> Fixture {
    let mut fixture = Fixture::running(settings);
    assert_eq!(fixture.writer(), "db1");
    fixture.report("db1", |status| {
        status.looked = Some(OrderId::default());
        status.gtid = Some(view(12, "0-12-60", ""));
    });
    fixture
}

/// Seconds go by, and the writer answers each question with what it has.
fn go_on(fixture: &mut Fixture, seconds: u64, writer_has: &GtidView) {
    for _ in 0..seconds {
        fixture.pass(1);
        let look = fixture.looks.last().map(|(_, id)| *id).unwrap_or_default();
        let has = writer_has.clone();
        fixture.report("db1", |status| {
            status.looked = Some(look);
            status.gtid = Some(has);
        });
    }
}

#[test]
fn what_was_written_to_a_replica_is_named_once_until_the_writer_has_it() {
    let mut fixture = watched(four());
    let writer = view(12, "0-12-60", "");
    fixture.report("db3", |status| status.gtid = Some(view(14, "0-12-60,0-14-61", "0-12-60")));
    fixture.report("db4", |status| status.gtid = Some(view(15, "0-12-60", "0-12-60")));
    go_on(&mut fixture, 30, &writer);
    let told: Vec<_> = fixture.log.iter().filter(|line| line.contains("never had")).collect();
    assert!(
        matches!(told[..], [line] if line.starts_with("WARN Host 'db3' has 61 transactions that the writer 'db1' never had (up to 0-14-61)")),
        "{told:?}"
    );
    let warning = "# Warning: host db3 has 61 transactions that the writer never had (up to 0-14-61)";
    assert!(fixture.command("show").contains(warning));
    assert!(!fixture.command("show").contains("db4 has"));
    assert!(fixture.command("diverged").contains("Host db3 has 61 transactions that the writer never had"));
    assert!(fixture.command("rejoin db3").contains("becomes the writer only when no other host can"));
    go_on(&mut fixture, 10, &view(12, "0-12-60,0-14-61", ""));
    assert!(fixture.logged("INFO Host 'db3' has nothing any more that 'db1' never had"));
    assert!(!fixture.command("show").contains("never had"));
}

#[test]
fn what_is_missing_on_the_writer_for_a_moment_only_raises_no_alarm() {
    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const C: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429564";
    let mut fixture = watched(four());
    for turn in 1..40 {
        // Each look at the writer comes too late by one transaction.
        let has = format!("{A}:1-99,{C}:1-{}", turn + 1);
        for (host, id) in [("db2", 13), ("db3", 14)] {
            fixture.report(host, |status| status.gtid = Some(view(id, &has, "")));
        }
        go_on(&mut fixture, 1, &view(12, &format!("{A}:1-99,{C}:1-{turn}"), ""));
    }
    assert!(!fixture.logged_part("never had"));
    go_on(&mut fixture, 20, &view(12, &format!("{A}:1-99,{C}:1-39"), ""));
    assert!(
        fixture.logged_part(&format!(
            "WARN Host 'db3' has 1 transaction that the writer 'db1' never had ({C}:40)"
        ))
    );
}

#[test]
fn what_the_passive_master_wrote_is_on_its_way_while_the_writer_replicates_from_it() {
    for (receives, told_by) in [(true, 130), (false, 15)] {
        let mut fixture = watched(pair());
        let ip = receives.then(|| "192.168.8.33".parse().unwrap());
        fixture.report("db1", |status| status.source_ip = ip);
        fixture.report("db2", |status| status.gtid = Some(view(13, "0-12-60,0-13-61", "0-12-60")));
        go_on(&mut fixture, told_by - 12, &view(12, "0-12-60", ""));
        assert!(!fixture.logged_part("never had"), "{receives}");
        go_on(&mut fixture, 12, &view(12, "0-12-60", ""));
        assert!(fixture.logged_part("WARN Host 'db2' has 61 transactions that the writer"), "{receives}");
    }
}

#[test]
fn a_host_with_transactions_of_its_own_is_promoted_last_and_not_silently() {
    let mut settings = four();
    settings.roles.get_mut(&RoleName::from("writer")).unwrap().hosts.push("db3".into());
    let mut fixture = watched(settings);
    fixture.report("db2", |status| {
        status.gtid = Some(view(13, "0-12-60,0-13-61", "0-12-60"));
        status.received = Some(Box::new(Received {
            server_id: 13,
            gtids: "0-12-60,0-13-61".to_owned(),
            ..Received::default()
        }));
    });
    fixture.report("db3", |status| {
        status.received =
            Some(Box::new(Received { server_id: 14, gtids: "0-12-60".to_owned(), ..Received::default() }));
    });
    go_on(&mut fixture, 15, &view(12, "0-12-60", ""));
    assert!(fixture.logged_part("WARN Host 'db2' has"));
    for (lost, next) in [("db1", "db3"), ("db3", "db2")] {
        assert_eq!(fixture.writer(), lost);
        fixture.report(lost, |status| {
            status.server = ServerView::Gone;
            status.held.clear();
        });
        fixture.settle();
        assert_eq!(fixture.writer(), next);
        let told = fixture
            .logged_part("FATAL Host 'db2' is promoted with 61 transactions nobody else has (up to 0-13-61)");
        assert_eq!(told, next == "db2");
    }
}
