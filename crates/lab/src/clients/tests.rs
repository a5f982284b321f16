use std::collections::BTreeMap;
use std::time::Duration;

use super::books::Moved;
use super::*;

fn done(number: u64, at_ms: u64, deed: Deed, outcome: Outcome, server: u32) -> Done {
    let start = Moment::from_micros(at_ms * 1000);
    let attempt = Attempt {
        number,
        start,
        end: start + Duration::from_millis(1),
        outcome,
        server_id: (outcome == Outcome::Acknowledged).then_some(server),
        error: String::new(),
    };
    Done { deed, attempt }
}

const TRANSFER: Deed = Deed::Transfer { source: 1, target: 2, amount: 30 };

/// Acknowledged by server 12: a row, one on counter 0, a transfer, another row; then one by server 13.
fn told() -> Vec<Done> {
    let yes = Outcome::Acknowledged;
    vec![
        done(1, 10, Deed::Insert, yes, 12),
        done(2, 20, Deed::Count { counter: 0 }, yes, 12),
        done(3, 30, TRANSFER, yes, 12),
        done(4, 40, Deed::Insert, yes, 12),
        done(5, 50, Deed::Insert, Outcome::Unknown, 0),
        done(6, 60, Deed::Insert, Outcome::Failed, 0),
        done(7, 70, Deed::Insert, yes, 13),
    ]
}

/// All of it, on a server.
fn whole() -> Books {
    let mut books = Books {
        entries: BTreeMap::from([(1, 12), (4, 12), (7, 13)]),
        transfers: BTreeMap::from([(3, Moved { server_id: 12, source: 1, target: 2, amount: 30 })]),
        counters: (0..COUNTERS).map(|id| (id, 0)).collect(),
        accounts: (0..ACCOUNTS).map(|id| (id, BALANCE)).collect(),
    };
    books.counters.insert(0, 1);
    books.accounts.insert(1, BALANCE - 30);
    books.accounts.insert(2, BALANCE + 30);
    books
}

fn judge(books: &Books, tolerance: Tolerance) -> Judgement {
    Judgement::of(&told(), &[("here".to_owned(), books.clone())], tolerance)
}

fn tail_since(ms: u64) -> Tolerance {
    Tolerance::UnsentTail { server_id: 12, since: Moment::from_micros(ms * 1000) }
}

#[test]
fn a_server_that_has_what_was_acknowledged_is_clean_with_or_without_what_got_no_answer() {
    let mut books = whole();
    assert!(judge(&books, Tolerance::NothingLost).is_clean());
    books.entries.insert(5, 12);
    let judgement = judge(&books, Tolerance::NothingLost);
    assert!(judgement.is_clean(), "{judgement}");
    assert_eq!((judgement.acknowledged, judgement.failed, judgement.unknown_there), (5, 1, 1));
}

#[test]
fn missing_and_surplus_rows_are_named() {
    let mut books = whole();
    books.entries.remove(&4);
    books.entries.insert(6, 12);
    books.entries.insert(99, 12);
    books.entries.insert(7, 12);
    let judgement = judge(&books, Tolerance::NothingLost);
    assert_eq!(judgement.missing["here"], [4]);
    assert_eq!(judgement.surplus["here"], [6, 7, 99], "failed, written twice, never made");
    let text = judgement.to_string();
    assert!(text.contains("here: 1 MISSING: 4") && text.contains("here: 3 SURPLUS: 6 7 99"), "{text}");
}

#[test]
fn an_unsent_tail_may_be_missing_and_nothing_before_it() {
    let mut books = whole();
    books.entries.remove(&4);
    let judgement = judge(&books, tail_since(35));
    assert!(judgement.is_clean(), "{judgement}");
    assert_eq!((&judgement.allowed["here"], judgement.lost("here")), (&vec![4], 1));
    assert_eq!(judge(&books, tail_since(45)).missing["here"], [4], "acknowledged before the link was cut");

    let mut hole = whole();
    hole.entries.remove(&1);
    assert_eq!(judge(&hole, tail_since(0)).missing["here"], [1], "what came after it is there");
    let mut others = whole();
    others.entries.remove(&7);
    assert_eq!(judge(&others, tail_since(0)).missing["here"], [7], "another server's");
}

#[test]
fn counters_and_accounts_are_held_against_what_was_told() {
    let mut books = whole();
    books.counters.insert(0, 0);
    assert!(judge(&books, tail_since(0)).is_clean(), "a lost count is part of the tail");
    assert!(judge(&books, Tolerance::NothingLost).faults[0].contains("counter 0 is 0, between 1 and 1"));
    books.counters.insert(0, 2);
    assert!(judge(&books, tail_since(0)).faults[0].contains("counter 0 is 2, between 0 and 1"));

    let mut books = whole();
    books.accounts.insert(2, BALANCE);
    let faults = judge(&books, Tolerance::NothingLost).faults;
    assert!(faults[0].contains("have 11970, not 12000") && faults[1].contains("account 2"), "{faults:?}");
    let mut half = whole();
    half.transfers.clear();
    let judgement = judge(&half, Tolerance::NothingLost);
    assert_eq!(judgement.missing["here"], [3]);
    assert!(judgement.faults[0].contains("account 1"), "the money moved though its row did not: {judgement}");
}

#[test]
fn servers_that_differ_are_told_apart_by_row() {
    let (one, mut other) = (whole(), whole());
    other.entries.insert(5, 12);
    other.accounts.insert(3, 5);
    let both = [("one".to_owned(), one), ("other".to_owned(), other)];
    let faults = Judgement::of(&told(), &both, Tolerance::NothingLost).faults;
    assert!(faults.iter().any(|fault| fault == "one and other: rows differ: 5"), "{faults:?}");
    assert!(faults.iter().any(|fault| fault == "one and other: accounts differ: 3"), "{faults:?}");
}

#[test]
fn a_deed_reads_back_as_it_was_written_and_every_kind_is_done() {
    let all: Vec<Deed> = (1..200).map(Deed::of).collect();
    for (number, deed) in (1..).zip(&all) {
        let line = done(number, number, *deed, Outcome::Acknowledged, 12);
        assert_eq!(line.to_string().parse(), Ok(line));
    }
    let share = |wanted: fn(&Deed) -> bool| all.iter().filter(|deed| wanted(deed)).count();
    assert!((80..120).contains(&share(|deed| *deed == Deed::Insert)));
    assert!(share(|deed| matches!(deed, Deed::Count { .. })) > 30);
    assert!(
        all.iter().all(|deed| !matches!(deed, Deed::Transfer { source, target, .. } if source == target))
    );
}

#[test]
fn what_one_server_lacks_may_be_on_another_but_not_on_none() {
    let (mut one, mut other) = (whole(), whole());
    one.entries.remove(&4);
    one.counters.insert(0, 0);
    other.entries.remove(&7);
    let both = [("one".to_owned(), one.clone()), ("other".to_owned(), other.clone())];
    let judgement = Judgement::of(&told(), &both, Tolerance::Elsewhere);
    assert!(judgement.is_clean() && judgement.lost("one") == 1, "{judgement}");
    assert_eq!(
        judgement.differences,
        ["one and other: rows differ: 4 7", "one and other: counters differ: 0"]
    );
    other.entries.remove(&4);
    let both = [("one".to_owned(), one), ("other".to_owned(), other)];
    let judgement = Judgement::of(&told(), &both, Tolerance::Elsewhere);
    assert_eq!((&judgement.missing["one"], &judgement.missing["other"]), (&vec![4], &vec![4]));
}
