//! A fixed range of seeds holds every promise, and a broken simulation is noticed.

use mmm_sim::{Options, Sabotage, Violation, run};

fn first_violation(seeds: std::ops::Range<u64>, sabotage: Sabotage) -> Option<(u64, Violation)> {
    seeds.into_iter().find_map(|seed| {
        run(Options { seed, sabotage, trace: false }).violation.map(|violation| (seed, violation))
    })
}

#[test]
fn every_promise_holds_in_the_first_thousand_seeds() {
    assert_eq!(first_violation(0..1_000, Sabotage::None), None);
}

#[test]
fn every_promise_holds_in_the_second_thousand_seeds() {
    assert_eq!(first_violation(1_000..2_000, Sabotage::None), None);
}

#[test]
fn a_role_that_is_handed_on_before_the_old_holder_let_go_is_noticed() {
    let (_, violation) = first_violation(0..200, Sabotage::ForgedRelease).expect("a violation");
    assert!(["one writer", "one address"].contains(&violation.invariant), "{violation}");
    let found = (0..200).any(|seed| {
        run(Options { seed, sabotage: Sabotage::ForgedRelease, trace: false })
            .violation
            .is_some_and(|violation| violation.invariant == "one writer")
    });
    assert!(found, "two writers at once are among what is noticed");
}

#[test]
fn a_writer_opened_without_its_data_is_noticed() {
    let (_, violation) = first_violation(0..200, Sabotage::ForgedCatchUp).expect("a violation");
    assert_eq!(violation.invariant, "caught up");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = || run(Options { seed: 42, sabotage: Sabotage::None, trace: true }).trace;
    assert_eq!(story(), story());
}
