//! Planned moves that do not get on: what forbids them, what undoes them, and what an operator is told.

use super::fixture::{Fixture, pair};
use crate::cluster::ledger::{Kind, Outcome};
use crate::lease::{Duty, Ended, Epoch, Proof};
use crate::message::{LogPosition, ServerView, Takeover};
use crate::state::HostState;
use crate::survey::{Busy, Connection, Holdup, Reach, Survey};

fn position() -> LogPosition {
    LogPosition { file: "bin.000007".to_owned(), position: 4711 }
}

fn end() -> Reach {
    Reach { server_id: 12, position: Some(position()), gtid: String::new() }
}

fn quiet() -> Survey {
    Survey { end: Some(end()), ..Survey::default() }
}

fn busy(holdup: Holdup) -> Busy {
    let (user, client) = ("app".to_owned(), "10.0.0.9:4444".to_owned());
    Busy { connection: 41, user, client, age_s: 34, statement: None, holdup }
}

/// A cluster whose agents can look at their servers.
fn looking() -> Fixture {
    let mut fixture = Fixture::running(pair());
    for host in ["db1", "db2"] {
        fixture.report(host, |status| status.surveys = true);
    }
    fixture.forget();
    fixture
}

/// db2 was promoted and waits for the rest of the log of db1.
fn waits_for_the_rest(fixture: &mut Fixture) {
    fixture.agent_obeys("db1");
    let promotion = fixture.promotion("db2").unwrap();
    let Takeover::After(position) = promotion.takeover else { panic!("{promotion:?}") };
    fixture.report("db2", |status| status.unopened = Some((promotion.epoch, position)));
    fixture.agent_obeys("db2");
}

fn moving() -> Fixture {
    let mut fixture = Fixture::running(pair());
    fixture.command("move_role writer db2");
    fixture.approached(Ok(()));
    fixture
}

fn expect_back_on_db1(fixture: &mut Fixture, why: &str) {
    fixture.settle();
    let promotion = fixture.promotion("db1").unwrap();
    assert_eq!((promotion.takeover, promotion.hold), (Takeover::Keep, false));
    assert_eq!(fixture.writing(), ["db1"]);
    let answer = fixture.answers.last().expect("the operator is told");
    assert!(
        answer.starts_with("ERROR: Role 'writer(192.168.8.30)' was not moved from 'db1' to 'db2': "),
        "{answer}"
    );
    assert!(answer.contains(why) && answer.contains("This was undone: 'db1' takes writes again"), "{answer}");
    fixture.settle();
    assert_eq!(fixture.writer(), "db1");
    let record = fixture.records.values().last().expect("the move is recorded");
    assert_eq!((record.kind, record.outcome), (Kind::Move, Some(Outcome::Undone)), "{record:?}");
    assert!(record.said.iter().any(|said| said.text.contains("goes back to 'db1'")), "{record:?}");
}

#[test]
fn a_writer_that_does_not_let_go_in_time_keeps_the_role() {
    let mut fixture = moving();
    fixture.report("db1", |status| status.problem = Some("somebody holds a lock".to_owned()));
    fixture.pass(7);
    assert_eq!(fixture.writer(), "db2");
    fixture.pass(2);
    assert_eq!(fixture.writer(), "db1");
    expect_back_on_db1(&mut fixture, "'db1' did not let go of it within 8 s (somebody holds a lock)");
}

#[test]
fn a_writer_whose_lease_ends_before_it_lets_go_keeps_the_role() {
    let mut fixture = moving();
    fixture.pass(1);
    assert_eq!(fixture.writer(), "db2");
    fixture.report("db1", |status| status.lease.held.as_mut().unwrap().duty = Duty::Close);
    assert_eq!(fixture.writer(), "db1");
    expect_back_on_db1(&mut fixture, "'db1' did not let go of it before its lease was nearly over");
}

#[test]
fn a_writer_that_lets_go_just_when_the_move_is_undone_goes_on_with_what_it_had() {
    let mut fixture = moving();
    let order = fixture.orders["db1"].clone();
    fixture.pass(9);
    // It had begun to give back what it held before it heard that it keeps the role.
    fixture.report("db1", |status| super::host::obey(status, &order));
    expect_back_on_db1(&mut fixture, "did not let go");
}

#[test]
fn a_target_that_does_not_get_the_rest_in_time_gives_the_role_back() {
    let mut fixture = moving();
    waits_for_the_rest(&mut fixture);
    let epoch = fixture.promotion("db2").unwrap().epoch;
    assert_eq!(fixture.writing(), [""; 0]);
    fixture.pass(4);
    assert_eq!(fixture.writer(), "db2");
    fixture.pass(2);
    assert_eq!(fixture.writer(), "db1");
    assert_eq!(fixture.orders["db2"].release, Some(epoch), "the sure way: it is asked to give it back");
    assert!(fixture.promotion("db1").is_none(), "not before it has");
    fixture.pass(2);
    assert!(fixture.promotion("db1").is_none());
    expect_back_on_db1(&mut fixture, "'db2' did not get all of the log of 'db1' within 5 s");
    let promotion = fixture.promotion("db1").unwrap();
    assert_eq!(promotion.proof, Proof::Ended(epoch, Ended::Released));
}

/// The agent of a target says that it was never opened; without that word its server may hold what nobody else has.
#[test]
fn a_target_that_was_opened_after_all_is_caught_up_with() {
    let mut fixture = moving();
    waits_for_the_rest(&mut fixture);
    fixture.pass(6);
    assert_eq!(fixture.writer(), "db1");
    let order = fixture.orders["db2"].clone();
    let own = LogPosition { file: "bin.000002".to_owned(), position: 900 };
    let told = own.clone();
    fixture.report("db2", |status| {
        status.unopened = None;
        super::host::obey(status, &order);
        status.released_at = Some((status.lease.released, told));
    });
    assert_eq!(fixture.promotion("db1").unwrap().takeover, Takeover::After(own));
}

#[test]
fn a_target_of_which_nothing_is_known_is_waited_for() {
    let mut fixture = moving();
    waits_for_the_rest(&mut fixture);
    fixture.report("db2", |status| status.unopened = None);
    fixture.pass(20);
    assert_eq!(fixture.writer(), "db2", "it may have been opened");
}

#[test]
fn nothing_goes_back_to_a_writer_that_is_gone_or_stopped_elsewhere() {
    for stopped in [false, true] {
        let mut fixture = moving();
        waits_for_the_rest(&mut fixture);
        fixture.report("db1", |status| {
            if stopped {
                status.released_at = Some((Epoch::NONE, LogPosition { position: 1, ..position() }));
            } else {
                status.server = ServerView::Gone;
            }
        });
        fixture.pass(8);
        assert_eq!(fixture.writer(), "db2", "stopped elsewhere: {stopped}");
    }
}

#[test]
fn another_monitor_ends_what_an_earlier_one_had_begun() {
    for given_back in [false, true] {
        let mut fixture = moving();
        if given_back {
            waits_for_the_rest(&mut fixture);
        }
        fixture.restart_with_state();
        fixture.start();
        fixture.pass(20);
        assert_eq!(fixture.writer(), "db1", "given back: {given_back}");
        fixture.settle();
        assert_eq!(fixture.writing(), ["db1"]);
        assert_eq!(fixture.promotion("db1").unwrap().takeover, Takeover::Keep);
    }
}

#[test]
fn a_move_that_was_undone_is_not_tried_again_by_itself_at_once() {
    let mut fixture = Fixture::running(super::fixture::preferring("db2"));
    fixture.report("db2", |status| {
        status.server = ServerView::Gone;
        status.held.clear();
    });
    fixture.settle();
    fixture.report("db1", |status| {
        status.holding = true;
        status.gtid = Some(super::moving::gtid(12, 5, 5));
    });
    fixture.report("db2", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = Some(super::moving::gtid(13, 5, 5));
    });
    fixture.settle();
    fixture.approached(Ok(()));
    fixture.pass(9);
    fixture.settle();
    assert_eq!(fixture.writer(), "db1");
    fixture.pass(500);
    assert!(fixture.approaches.is_empty());
    fixture.pass(120);
    assert!(!fixture.approaches.is_empty());
}

#[test]
fn taking_the_writer_offline_comes_to_nothing_when_its_move_is_undone() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db1");
    fixture.approached(Ok(()));
    waits_for_the_rest(&mut fixture);
    fixture.pass(6);
    expect_back_on_db1(&mut fixture, "did not get all of the log");
    assert_eq!(fixture.state("db1"), HostState::Online);
}

#[test]
fn both_servers_are_looked_at_before_anything_and_the_target_has_to_reach_what_the_writer_had() {
    let mut fixture = looking();
    fixture.command("move_role writer db2");
    assert_eq!(fixture.surveys.len(), 2);
    fixture.surveyed("db2", Survey::default());
    assert!(fixture.approaches.is_empty());
    fixture.surveyed("db1", quiet());
    assert_eq!(fixture.reach.as_deref(), Some(&end()));
    fixture.approached(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn a_commit_that_hangs_a_silent_agent_and_an_unknown_end_of_the_log_forbid_a_move() {
    let hung = Survey { busy: vec![busy(Holdup::HungCommit)], ..quiet() };
    let unknown = Survey { unseen: vec!["no answer within 800 ms".to_owned()], ..Survey::default() };
    let cases = [
        (
            Some(hung),
            "can't be made read-only before they do (connection 41 of 'app' from 10.0.0.9:4444, for 34 s",
        ),
        (Some(unknown), "which 'db2' would have to receive first: no answer within 800 ms"),
        (None, "did not say within 2500 ms"),
    ];
    for (survey, why) in cases {
        let mut fixture = looking();
        fixture.command("move_role writer db2");
        fixture.surveyed("db2", Survey::default());
        match survey {
            Some(survey) => fixture.surveyed("db1", survey),
            None => fixture.pass(3),
        }
        let answer = fixture.answers.last().unwrap();
        assert!(
            answer.starts_with("ERROR: Role 'writer(192.168.8.30)' stays on 'db1'") && answer.contains(why),
            "{answer}"
        );
        assert!(fixture.approaches.is_empty());
        assert_eq!(fixture.writing(), ["db1"]);
    }
}

#[test]
fn a_target_that_says_nothing_of_its_server_is_asked_to_catch_up_all_the_same() {
    let mut fixture = looking();
    fixture.command("move_role writer db2");
    fixture.surveyed("db1", quiet());
    fixture.pass(3);
    assert_eq!(fixture.approaches.len(), 1);
}

#[test]
fn the_answer_about_an_undone_move_lists_what_is_in_the_way_now() {
    let mut fixture = looking();
    fixture.command("move_role writer db2");
    fixture.surveyed("db2", Survey::default());
    fixture.surveyed("db1", quiet());
    fixture.approached(Ok(()));
    fixture.pass(9);
    fixture.surveyed("db1", Survey { busy: vec![busy(Holdup::TableLock("shop.a".to_owned()))], ..quiet() });
    expect_back_on_db1(&mut fixture, "did not let go");
    let answer = fixture.answers.last().unwrap();
    assert!(
        answer.contains(
            "db1: connection 41 of 'app' from 10.0.0.9:4444, for 34 s, holds a lock on shop.a: idle"
        ),
        "{answer}"
    );
}

#[test]
fn a_plan_tells_every_step_and_what_it_would_wait_for_and_does_nothing() {
    for json in [false, true] {
        let mut fixture = looking();
        let command = "plan move_role writer db2";
        let command = if json { format!("--json {command}") } else { command.to_owned() };
        assert_eq!(fixture.command(&command), "");
        let read = Connection {
            command: "Query".to_owned(),
            time_s: 9,
            statement: Some("SELECT * FROM t WHERE name = 'joe'".to_owned()),
            ..Connection::default()
        };
        let mut old = Survey { end: Some(end()), ..Survey::of(crate::message::OrderId::default(), &[read]) };
        old.busy.push(busy(Holdup::TableLock("shop.a".to_owned())));
        fixture.surveyed("db1", old);
        fixture.surveyed("db2", Survey { busy: vec![busy(Holdup::GlobalReadLock)], ..Survey::default() });
        let answer = fixture.answers.last().unwrap().clone();
        assert!(!answer.contains("joe"), "{answer}");
        let parts =
            ["holds a lock on shop.a", "SELECT * FROM t WHERE name = ?", "holds the global read lock"];
        if json {
            let value: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(value["possible"], true);
            assert_eq!(value["steps"].as_array().unwrap().len(), 6);
            let waits = &value["steps"][2]["waits_for"][0]["connection"];
            assert_eq!((&waits["user"], &waits["age_s"]), (&"app".into(), &34.into()), "{value:#}");
        } else {
            assert!(answer.starts_with(
                "Plan: role 'writer(192.168.8.30)' from 'db1' to 'db2'. Nothing has been done."
            ));
            assert!(parts.iter().all(|part| answer.contains(part)), "{answer}");
        }
        fixture.settle();
        fixture.pass(5);
        assert!(fixture.approaches.is_empty());
        assert_eq!(fixture.writing(), ["db1"]);
        assert!(fixture.command("move_role writer db2").is_empty(), "a plan is no move");
    }
}

#[test]
fn a_plan_of_what_is_not_possible_says_why() {
    let mut fixture = looking();
    assert!(fixture.command("plan move_role writer db9").starts_with("ERROR: Unknown host name 'db9'"));
    fixture.command("set_offline db2");
    let answer = fixture.command("--json plan move_role writer db2");
    assert_eq!(
        answer,
        r#"{"possible":false,"refusal":"ERROR: Can't move role to host with state ADMIN_OFFLINE."}"#
    );
}

/// It may have got the rest and been opened since it was heard last.
#[test]
fn a_target_that_vanishes_while_it_waits_is_taken_for_one_that_wrote() {
    let mut fixture = moving();
    waits_for_the_rest(&mut fixture);
    fixture.pass(2);
    fixture.lose("db2");
    fixture.pass(20);
    let promotion = fixture.promotion("db1").unwrap();
    assert!(matches!(promotion.proof, Proof::RanOut(_)), "{promotion:?}");
    assert_eq!((promotion.takeover, promotion.hold), (Takeover::Lost, true));
}
