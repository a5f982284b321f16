//! Whom replicas are told to follow.

use super::fixture::{Fixture, four};
use crate::check::CheckKind;
use crate::following::{Junction, ServerIdentity};
use crate::gtid::GtidView;
use crate::lease::Epoch;
use crate::message::{Astray, LogPosition, ServerView};
use crate::state::HostState;

fn junction() -> Junction {
    Junction {
        writer: ServerIdentity { server_id: 13, uuid: None },
        own: LogPosition { file: "bin.000007".into(), position: 900 },
        applied: None,
        gtid: String::new(),
    }
}

fn source_of(fixture: &Fixture, host: &str) -> Option<String> {
    fixture.orders[host].source.as_ref().map(|source| source.host.to_string())
}

fn refused() -> Astray {
    Astray { text: "it can't follow the active master 'db1': it is ahead".to_owned(), refused: true }
}

#[test]
fn replicas_are_told_the_active_master_and_masters_are_not() {
    let fixture = Fixture::running(four());
    for host in ["db3", "db4"] {
        let source = fixture.orders[host].source.clone().unwrap();
        assert_eq!(source.host.as_str(), "db1");
        assert_eq!((source.ip.to_string(), source.port), ("192.168.8.32".to_owned(), 3306));
    }
    for host in ["db1", "db2"] {
        assert_eq!(source_of(&fixture, host), None);
    }
}

#[test]
fn replicas_hear_of_a_new_writer_when_it_serves_and_not_before() {
    let mut fixture = Fixture::running(four());
    fixture.report("db1", |status| status.server = ServerView::Gone);
    fixture.tick();
    for _ in 0..3 {
        fixture.tick();
        let serves = fixture.said["db2"].server.is_writable();
        assert!(!serves);
        assert_eq!(source_of(&fixture, "db3"), None, "the new writer is not up");
    }
    let epoch = fixture.said["db1"].lease.accepted;
    fixture.report("db2", |status| {
        status.junction = Some((Epoch { number: epoch.number + 9, ..epoch }, junction()));
    });
    fixture.settle();
    fixture.settle();
    assert_eq!(source_of(&fixture, "db3").as_deref(), Some("db2"));
    let noted = |fixture: &Fixture| fixture.orders["db3"].source.as_ref().unwrap().junction.clone();
    assert_eq!(noted(&fixture), None, "a note of a choice that is not this one");
    let epoch = fixture.orders["db2"].writer.as_ref().unwrap().epoch;
    fixture.report("db2", |status| status.junction = Some((epoch, junction())));
    fixture.tick();
    assert_eq!(noted(&fixture), Some(junction()));
}

#[test]
fn a_replica_that_can_not_follow_fails_with_its_reason() {
    let mut fixture = Fixture::running(four());
    fixture.report("db3", |status| status.astray = Some(refused()));
    fixture.tick();
    assert_eq!(fixture.cluster.state_of("db3"), Some(HostState::ReplicationFail));
    assert_eq!(fixture.cluster.state_of("db4"), Some(HostState::Online));
    let shown = fixture.command("show");
    assert!(
        shown.contains("# Warning: host db3: it can't follow the active master 'db1': it is ahead"),
        "{shown}"
    );
    fixture.report("db3", |status| status.astray = None);
    fixture.good("db3", CheckKind::RepThreads);
    fixture.tick();
    assert_eq!(fixture.cluster.state_of("db3"), Some(HostState::Online));
}

#[test]
fn a_replica_on_its_way_is_shown_and_keeps_its_state() {
    let mut fixture = Fixture::running(four());
    let text = "it replicates from 192.168.8.99:3306, not from the active master 'db1'".to_owned();
    fixture.report("db3", |status| status.astray = Some(Astray { text, refused: false }));
    fixture.tick();
    assert_eq!(fixture.cluster.state_of("db3"), Some(HostState::Online));
    assert!(fixture.command("show").contains("# Warning: host db3: it replicates from 192.168.8.99:3306"));
}

/// Without GTIDs they find their place at the end of its log, which must not grow before they have.
#[test]
fn a_host_that_gives_the_role_up_stands_still_until_every_replica_has_gone_on() {
    let mut fixture = Fixture::running(four());
    let at = |last: u8| Some(std::net::IpAddr::from([192, 168, 8, last]));
    for host in ["db3", "db4"] {
        fixture.report(host, |status| status.source_ip = at(32));
    }
    fixture.tick();
    assert!(fixture.orders.values().all(|order| !order.stand_still));
    fixture.command("move_role writer db2");
    fixture.approached(Ok(()));
    let told = &fixture.orders["db1"];
    assert!(told.writer.is_none() && told.stand_still, "{told:?}");
    fixture.agent_obeys("db1");
    fixture.tick();
    assert!(fixture.orders["db2"].writer.is_some() && !fixture.orders["db2"].stand_still);
    assert!(fixture.orders["db1"].stand_still);
    fixture.report("db3", |status| status.source_ip = at(33));
    fixture.tick();
    assert!(fixture.orders["db1"].stand_still, "the other one is not there yet");
    // Nobody waits for one that can't follow.
    fixture.report("db4", |status| status.astray = Some(refused()));
    fixture.tick();
    assert!(!fixture.orders["db1"].stand_still);
}

/// The replica db3 may take the role, and has it: both masters are gone.
fn led_by_a_replica() -> Fixture {
    let mut settings = four();
    settings.roles.get_mut(&crate::names::RoleName::from("writer")).unwrap().hosts.push("db3".into());
    let mut fixture = Fixture::running(settings);
    for host in ["db2", "db1"] {
        fixture.report(host, |status| {
            status.server = ServerView::Gone;
            status.held.clear();
        });
    }
    fixture.settle();
    assert_eq!(fixture.writer(), "db3");
    fixture
}

#[test]
fn masters_follow_a_replica_that_became_the_writer_and_leave_it_when_one_of_them_writes_again() {
    let mut fixture = led_by_a_replica();
    let has = |server_id| GtidView {
        server_id,
        binlog_state: "0-12-40".to_owned(),
        slave_pos: "0-12-40".to_owned(),
    };
    fixture.report("db3", |status| {
        status.holding = true;
        status.gtid = Some(has(14));
    });
    fixture.report("db1", |status| status.gtid = Some(has(12)));
    for (host, peer) in [("db1", "192.168.8.33"), ("db2", "192.168.8.32")] {
        fixture.report(host, |status| {
            status.server = ServerView::Up { writable: false };
            status.source_ip = Some(peer.parse().unwrap());
        });
    }
    fixture.settle();
    for host in ["db1", "db2", "db4"] {
        assert_eq!(source_of(&fixture, host).as_deref(), Some("db3"), "{host}");
        fixture.report(host, |status| status.source_ip = Some("192.168.8.36".parse().unwrap()));
    }
    fixture.pass(30);
    fixture.command("move_role writer db1");
    fixture.approached(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writer(), "db1");
    assert_eq!(source_of(&fixture, "db2").as_deref(), Some("db1"), "it goes back to its peer");
    fixture.report("db2", |status| status.source_ip = Some("192.168.8.32".parse().unwrap()));
    fixture.settle();
    assert_eq!(source_of(&fixture, "db2"), None, "a pair is left alone");
}
