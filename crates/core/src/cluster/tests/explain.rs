//! What is foreseen comes true when it is then done, and looking ahead changes nothing.

use std::time::Duration;

use serde_json::Value;

use super::fixture::{Fixture, WRITER, four, pair, role};
use crate::message::ServerView;

fn foreseen(fixture: &mut Fixture) -> Value {
    serde_json::from_str(&fixture.command("--json explain")).unwrap()
}

fn if_lost(explained: &Value, way: &str) -> Value {
    let ways = explained["if_lost"].as_array().unwrap();
    ways.iter().find(|foreseen| foreseen["way"] == way).unwrap().clone()
}

/// Does to the writer what was foreseen, and returns who serves then and after how long.
fn lose(fixture: &mut Fixture, way: &str) -> (String, Duration) {
    let began = fixture.now;
    match way {
        "server_dies" => fixture.report("db1", |status| {
            status.server = ServerView::Gone;
            status.held.remove(&role(WRITER));
        }),
        _ => fixture.lose("db1"),
    }
    for _ in 0..200 {
        fixture.agents_obey();
        fixture.agents_renew();
        if fixture.writer() != "db1" && fixture.cluster.is_serving(&fixture.writer().into()) {
            break;
        }
        fixture.pass_ms(200);
    }
    (fixture.writer(), fixture.now.since(began))
}

#[test]
fn whoever_is_foreseen_takes_over_and_when_it_was_foreseen() {
    for settings in [pair(), four()] {
        for way in ["server_dies", "host_vanishes", "agent_lost"] {
            let mut fixture = Fixture::running(settings.clone());
            eprintln!("{}", fixture.command("explain"));
            let foreseen = if_lost(&foreseen(&mut fixture), way);
            let (to, after) = lose(&mut fixture, way);
            assert_eq!(foreseen["to"], to, "{way}: {foreseen}");
            let told = Duration::from_millis(foreseen["after_ms"].as_u64().unwrap());
            let between = told.abs_diff(after);
            assert!(between <= Duration::from_millis(400), "{way}: foreseen {told:?}, in truth {after:?}");
        }
    }
}

#[test]
fn nobody_is_foreseen_where_nobody_takes_over_and_the_reason_and_the_remedy_are_told() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.settle();
    fixture.pass(10);
    let explained = foreseen(&mut fixture);
    let text = fixture.command("explain");
    assert_eq!(if_lost(&explained, "host_vanishes")["to"], Value::Null, "{text}");
    assert!(text.contains("its host vanishes  nobody takes over: db1 vanished"), "{text}");
    let why = if_lost(&explained, "agent_lost")["why"].clone();
    assert_eq!(why, "the lease of db1 does not run out, as it knows of nobody who could take over", "{text}");
    assert!(text.contains("no: it is ADMIN_OFFLINE"), "{text}");
    assert!(text.contains("-> mmm_control set_online db2"), "{text}");
    fixture.lose("db1");
    fixture.pass(60);
    assert_eq!(fixture.writer(), "db1");
    fixture.connect("db1");
    // And the remedy is one.
    fixture.command("set_online db2");
    fixture.settle();
    fixture.pass(10);
    assert_eq!(
        if_lost(&foreseen(&mut fixture), "host_vanishes")["to"],
        "db2",
        "{}",
        fixture.command("explain")
    );
}

#[test]
fn modes_that_keep_roles_are_told_with_the_command_that_ends_them() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_manual");
    fixture.settle();
    let text = fixture.command("explain writer");
    assert!(text.contains("its server dies    nobody takes over"), "{text}");
    assert!(
        text.contains("manual mode: no role leaves a failed host by itself\n    -> mmm_control set_active"),
        "{text}"
    );
    fixture.command("set_active");
    fixture.settle();
    let text = fixture.command("explain");
    assert!(
        text.contains("its server dies    db2 takes over") && text.contains("Nothing forbids a change."),
        "{text}"
    );
}

#[test]
fn looking_ahead_changes_nothing() {
    let mut fixture = Fixture::running(four());
    fixture.tick();
    let before = format!("{:?}", fixture.cluster);
    let (text, json) =
        (fixture.cluster.explain(fixture.now, None), fixture.cluster.explain_json(fixture.now, None));
    assert!(text.contains("takes over") && json.contains("if_lost"));
    assert_eq!(format!("{:?}", fixture.cluster), before);
    assert!(fixture.records.is_empty());
}

#[test]
fn other_roles_are_explained_and_unknown_ones_refused() {
    let mut fixture = Fixture::running(four());
    let text = fixture.command("explain reader");
    assert!(text.contains("If one of the 4 hosts that can have it failed"), "{text}");
    assert_eq!(text.matches("has it.").count(), 4, "{text}");
    assert_eq!(fixture.command("explain nothing"), "ERROR: Unknown role name 'nothing'!");
    assert_eq!(fixture.command("--json explain nothing"), "ERROR: Unknown role name 'nothing'!");
}

#[test]
fn what_the_successor_lacks_is_told_as_far_as_it_is_known() {
    let mut fixture = Fixture::running(pair());
    let gtid = |id, binlog: &str| crate::gtid::GtidView {
        server_id: id,
        binlog_state: binlog.into(),
        slave_pos: String::new(),
    };
    fixture.report("db1", |status| status.gtid = Some(gtid(12, "0-12-140")));
    fixture.report("db2", |status| {
        status.gtid = Some(gtid(13, "0-12-90"));
        let received = crate::gtid::Received { gtids: "0-12-100".to_owned(), ..Default::default() };
        status.received = Some(Box::new(received));
    });
    let text = fixture.command("explain");
    assert!(text.contains("by what was told last db2 lacked 40 transactions"), "{text}");
}

/// The monitor was away for longer than a lease, and the holder went on by the promise of the other one, which runs for a while yet.
#[test]
fn a_promise_that_will_have_ended_keeps_nobody_from_being_foreseen() {
    for way in ["server_dies", "host_vanishes", "agent_lost"] {
        let mut fixture = Fixture::running(pair());
        fixture.lose("db1");
        fixture.lose("db2");
        fixture.promises("db2", "db1");
        fixture.pass(3);
        fixture.connect("db1");
        fixture.connect("db2");
        fixture.settle();
        assert!(fixture.logged_part("Host 'db2' has promised 'db1' not to take the writer role"));
        let foreseen = if_lost(&foreseen(&mut fixture), way);
        let (to, after) = lose(&mut fixture, way);
        assert_eq!((to.as_str(), &foreseen["to"]), ("db2", &Value::from("db2")), "{way}: {foreseen}");
        let told = Duration::from_millis(foreseen["after_ms"].as_u64().unwrap());
        let between = told.abs_diff(after);
        assert!(between <= Duration::from_millis(400), "{way}: foreseen {told:?}, in truth {after:?}");
    }
}
