//! What only a dead writer's log has, before this server is opened.

use std::time::Duration;

use super::fixture::{Fixture, writer};
use crate::agent::AgentMemory;
use crate::agent::step::{Step, StepOutcome};
use crate::message::{LeaseTerms, ServerView, Takeover};
use crate::names::HostName;
use crate::salvage::{SalvageOrder, SalvageState, Vain, Wanted};
use crate::state::HostState;

const LIMIT: Duration = Duration::from_secs(5);

fn order() -> SalvageOrder {
    SalvageOrder::new(HostName::from("db2"), Duration::from_secs(10))
}

fn applying() -> StepOutcome {
    StepOutcome::Salvage(SalvageState::Applying { transactions: 7 }, None)
}

/// A new writer that has fetched what it lacked and applied what it had received.
fn fetched(limit: Option<Duration>) -> Fixture {
    let mut fixture = Fixture::new(AgentMemory::default());
    fixture.terms = LeaseTerms { apply_limit: limit, ..LeaseTerms::default() };
    fixture.salvage = Some(Box::new(order()));
    fixture.sees(ServerView::Up { writable: false });
    fixture.addresses(&[], true);
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, true)));
    fixture.end(&Step::FetchTail(order()), applying());
    fixture.end(&Step::CatchUp(Takeover::Lost), StepOutcome::Done);
    fixture
}

fn told(fixture: &Fixture) -> SalvageState {
    fixture.status().salvage.expect("a salvage was ordered").2
}

#[test]
fn the_limit_of_applying_ends_a_tail_as_well() {
    let mut fixture = fetched(Some(LIMIT));
    let apply = Step::ApplyTail(order());
    for _ in 0..9 {
        fixture.end(&apply, applying());
        fixture.pass(500);
    }
    assert_eq!(
        (told(&fixture), &fixture.steps),
        (SalvageState::Applying { transactions: 7 }, &vec![apply.clone()])
    );
    fixture.pass(1_000);
    fixture.end(&apply, applying());
    let why = Vain::TookTooLong { limit: LIMIT };
    assert_eq!(told(&fixture), SalvageState::InVain { why, lacking: Some(7) });
    assert_eq!(fixture.steps, [Step::OpenWrites]);
    assert!(fixture.logged("FATAL Salvage: 7 transactions of 'db2' may be lost here: they were not all applied when promote_apply_timeout (5 s) was over"), "{:?}", fixture.log);
}

#[test]
fn a_tail_does_not_wait_for_what_was_not_applied_within_the_limit() {
    let mut fixture = fetched(Some(LIMIT));
    fixture.pass(6_000);
    fixture.end(&Step::ApplyTail(order()), StepOutcome::NotYet("bin.2:100 of bin.2:900".to_owned()));
    let why = Vain::TookTooLong { limit: LIMIT };
    assert_eq!(told(&fixture), SalvageState::InVain { why, lacking: None });
    assert!(
        fixture.logged("What was received is not applied yet (bin.2:100 of bin.2:900)"),
        "{:?}",
        fixture.log
    );
    assert_eq!(fixture.steps, [Step::OpenWrites]);
}

#[test]
fn a_tail_is_applied_for_as_long_as_it_takes_where_no_limit_is_set() {
    let mut fixture = fetched(None);
    for _ in 0..20 {
        fixture.end(&Step::ApplyTail(order()), applying());
        fixture.pass(10_000);
    }
    assert_eq!(fixture.steps, [Step::ApplyTail(order())]);
}

fn lent() -> SalvageOrder {
    let lent = Wanted { server_id: 1, server_uuid: None, at_least: "0-1-42..45".to_owned() };
    let order = SalvageOrder::new(HostName::from("db3"), Duration::from_secs(10));
    SalvageOrder { lent: Some(lent), ..order }
}

/// A new writer that is to get the end of a dead server's log, or else what a replica has received.
fn with_another_way(limit: Option<Duration>) -> (Fixture, Step) {
    let mut fixture = Fixture::new(AgentMemory::default());
    fixture.terms = LeaseTerms { apply_limit: limit, ..LeaseTerms::default() };
    let order = SalvageOrder { otherwise: Some(Box::new(lent())), ..order() };
    fixture.salvage = Some(Box::new(order.clone()));
    fixture.sees(ServerView::Up { writable: false });
    fixture.addresses(&[], true);
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, true)));
    (fixture, Step::FetchTail(order))
}

fn in_vain(why: Vain) -> StepOutcome {
    StepOutcome::Salvage(SalvageState::InVain { why, lacking: None }, None)
}

#[test]
fn where_the_log_is_in_vain_the_replica_is_asked_and_then_nobody() {
    let (mut fixture, fetch) = with_another_way(None);
    fixture.end(&fetch, in_vain(Vain::Encrypted));
    assert_eq!((told(&fixture), &fixture.steps), (SalvageState::Finding, &vec![Step::FetchTail(lent())]));
    assert!(fixture.logged("WARN Salvage: The last transactions of 'db2' may be lost here: its log is encrypted, and only its server can read it. They are still in its log; going on with what was received. Before that, 'db3' is asked for what it has received"), "{:?}", fixture.log);
    fixture.end(&Step::FetchTail(lent()), in_vain(Vain::LogsOnlyItsOwn));
    fixture.end(&Step::CatchUp(Takeover::Lost), StepOutcome::Done);
    assert_eq!(fixture.steps, [Step::OpenWrites]);
    assert!(fixture.status().salvage.is_some_and(|(_, from, _)| from == "db3".into()));
}

#[test]
fn what_a_tail_was_fetched_for_is_not_taken_for_the_replicas() {
    let (mut fixture, fetch) = with_another_way(None);
    fixture.end(&fetch, applying());
    fixture.end(&Step::CatchUp(Takeover::Lost), StepOutcome::Done);
    let Step::FetchTail(order) = fetch else { unreachable!("that is what it is") };
    fixture.end(&Step::ApplyTail(order), in_vain(Vain::NotApplied("no".to_owned())));
    assert_eq!(fixture.steps, [Step::FetchTail(lent())]);
    fixture.end(&Step::FetchTail(lent()), applying());
    assert_eq!(fixture.steps, [Step::ApplyTail(lent())]);
}

#[test]
fn a_replica_that_has_much_to_apply_is_waited_for_as_long_as_applying_may_take() {
    let (mut fixture, fetch) = with_another_way(Some(LIMIT));
    fixture.end(&fetch, in_vain(Vain::Encrypted));
    let wait = Step::FetchTail(lent());
    let waiting = || StepOutcome::Salvage(SalvageState::Waiting { have: 1, of: 4 }, None);
    for _ in 0..9 {
        fixture.end(&wait, waiting());
        fixture.pass(500);
    }
    assert_eq!(fixture.steps, std::slice::from_ref(&wait));
    fixture.pass(1_000);
    fixture.end(&wait, waiting());
    let why = Vain::TookTooLong { limit: LIMIT };
    assert_eq!(told(&fixture), SalvageState::InVain { why, lacking: Some(4) });
}
