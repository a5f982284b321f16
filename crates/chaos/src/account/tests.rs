//! One run that is told as it was, and what becomes of the verdict when one word of it is wrong.

use mmm_lab::{MON, Outcome, Program};

use super::*;
use crate::ledger::{Gap, Step, Trigger};

fn by(server: u32, at_ms: u64) -> Attempt {
    let start = Moment::from_micros(at_ms * 1000);
    Attempt {
        number: at_ms,
        start,
        end: start + Duration::from_millis(2),
        outcome: Outcome::Acknowledged,
        server_id: Some(server),
        error: String::new(),
    }
}

fn record(number: u64, kind: &str, hosts: (Option<&str>, &str), times: (i64, i64)) -> Record {
    let (from, until) = times;
    Record {
        number,
        kind: kind.to_owned(),
        began_unix_ms: Some(from),
        trigger: Trigger {
            what: format!("agent on {M1}: its server has ended"),
            by: "the monitor".to_owned(),
        },
        from: hosts.0.map(str::to_owned),
        to: Some(hosts.1.to_owned()),
        steps: vec![Step { step: "address".to_owned(), at_ms: until - from }],
        gap: Gap { from_ms: Some(0), possible_until_ms: Some(0), until_ms: Some(until - from) },
        outcome: Some("done".to_owned()),
        ended_ms: Some(until - from),
        ..Record::default()
    }
}

/// The first master starts, is killed at 5.0 s, and the other one serves from 5.2 s on.
fn run() -> (Vec<Record>, Known) {
    let records =
        vec![record(1, "start", (None, M1), (0, 10)), record(2, "failover", (Some(M1), M2), (5000, 5200))];
    let attempts =
        (0..500).map(|tick| by(12, tick * 10)).chain((0..500).map(|tick| by(13, 5200 + tick * 10)));
    let known = Known {
        ids: vec![(M1, 12), (M2, 13)],
        faults: vec![Fault::Kill(M1, Program::Server), Fault::StopApplying(M1)],
        attempts: attempts.collect(),
        until: Some(Moment::from_micros(10_200_000)),
        ..Known::default()
    };
    (records, known)
}

fn told(records: Vec<Record>, known: &Known) -> String {
    wrong_words(&Ledger::of(records), known).join("\n")
}

#[test]
fn what_was_so_is_not_held_against_anybody() {
    let (records, known) = run();
    assert_eq!(told(records, &known), "");
}

#[test]
fn a_change_that_clients_saw_and_nobody_recorded_is_found() {
    let (mut records, known) = run();
    records.truncate(1);
    assert!(told(records, &known).contains("the history does not"));
    let (mut records, known) = run();
    // Recorded, but not when it was.
    records[1] = record(2, "failover", (Some(M1), M2), (7000, 7200));
    assert!(told(records, &known).contains("no record is of that time"));
}

#[test]
fn a_record_of_a_change_that_did_not_happen_is_found() {
    let (mut records, known) = run();
    records.push(record(3, "failover", (Some(M2), M1), (6000, 6100)));
    assert!(told(records, &known).contains("no client saw that"));
}

#[test]
fn a_gap_that_is_told_too_short_or_ends_too_early_for_the_old_writer_is_found() {
    let (records, mut known) = run();
    known
        .attempts
        .retain(|attempt| attempt.start < Moment::from_micros(3_900_000) || attempt.server_id == Some(13));
    assert!(told(records, &known).contains("200ms without a writer, 1.31s by the clients"));
    let (mut records, known) = run();
    records[1].gap = Gap { from_ms: Some(-700), possible_until_ms: Some(-600), until_ms: Some(200) };
    assert!(
        told(records, &known).contains("could take writes until 4.400000, and acknowledged one at 4.992000")
    );
}

#[test]
fn a_failover_without_a_cause_is_found() {
    let (records, mut known) = run();
    known.faults = vec![Fault::KillWorker(M1), Fault::Kill(M2, Program::Server)];
    assert!(told(records.clone(), &known).contains("nothing was done that costs it the role"));
    known.faults = vec![Fault::Kill(MON, Program::Monitor), Fault::StopApplying(M1)];
    assert!(told(records.clone(), &known).contains("nothing was done"));
    known.faults = vec![Fault::Kill(MON, Program::Monitor), Fault::Cut(M1, M2)];
    assert_eq!(told(records, &known), "", "nobody vouches for it");
}

#[test]
fn a_reason_that_is_none_is_found() {
    for what in [format!("check ping of {M2}: ERROR"), format!("check ping of {M1}: OK")] {
        let (mut records, known) = run();
        records[1].trigger.what = what;
        assert!(told(records, &known).contains("that is no reason"));
    }
}

#[test]
fn a_move_needs_somebody_who_asked_for_it_and_leaves_a_record() {
    let (mut records, mut known) = run();
    let line = format!("move_role writer {M2}");
    records[1].kind = "move".to_owned();
    records[1].trigger = Trigger { what: line.clone(), by: "an operator, by mmm_control".to_owned() };
    assert!(told(records.clone(), &known).contains("no operator said so"));
    known.asked = vec![(line.clone(), true)];
    assert_eq!(told(records, &known), "");
    let (records, mut known) = run();
    known.asked = vec![(line, true)];
    assert!(told(records, &known).contains("was taken and is not in the history"));
}

#[test]
fn records_go_on_from_each_other_and_end() {
    let (mut records, known) = run();
    records[0].to = Some(M2.to_owned());
    assert!(told(records, &known).contains("does not go on from"));
    let (mut records, known) = run();
    records[1].outcome = None;
    assert!(told(records, &known).contains("has not ended"));
}

#[test]
fn a_role_that_was_moved_to_and_fro_at_once_is_told_by_two_records() {
    let (_, known) = run();
    let there = |from, until| record(1, "move", (Some(M1), M2), (from, until));
    let back = |from, until| record(2, "move", (Some(M2), M1), (from, until));
    let attempts = [by(12, 1000), by(13, 1300), by(12, 1500)];
    let [first, other, later] = [&attempts[0], &attempts[1], &attempts[2]];
    let holds = |records| known.is_to_and_fro(&Ledger::of(records), [first, other, later]);
    assert!(holds(vec![there(1100, 1250), back(1350, 1400)]));
    assert!(!holds(vec![there(1100, 1250)]), "it never came back");
    assert!(!holds(vec![there(1100, 1250), back(1800, 1900)]), "it came back later");
    assert!(!holds(vec![back(100, 200), there(1100, 1250)]));
}
