//! A monitor or an agent dies after each step of a failover, of a planned move and of the return of an old writer, and is started
//! again. Nobody helps: there is one writer and every host is ONLINE again, or out of service with what only it has named.

use std::sync::atomic::{AtomicU64, Ordering};

use mmm_core::DataRule;
use mmm_core::lease::LeaseRules;
use mmm_sim::{Drill, Options, Procedure, Report, Sabotage, Victim, run};

/// More steps than any of it takes.
const STEPS_MAX: u64 = 2_000;
const VICTIMS: [Victim; 3] = [Victim::Monitor, Victim::OldWriter, Victim::NewWriter];

fn options(seed: u64, drill: Drill) -> Options {
    Options {
        seed,
        sabotage: Sabotage::None,
        rules: LeaseRules::ALL,
        aim: None,
        left_out: None,
        keep_all: false,
        untold: false,
        drill: Some(drill),
        trace: false,
    }
}

/// How many steps there were at which somebody died, in all runs.
fn at_every_step(
    procedure: Procedure,
    victim: Victim,
    seed: u64,
    judge: impl Fn(&Drill, &Report) + Sync,
) -> u64 {
    let (next, tried) = (AtomicU64::new(1), AtomicU64::new(0));
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        assert!(at < STEPS_MAX, "{procedure:?} never ends");
        let one = Drill { procedure, victim, at };
        let report = run(options(seed, one));
        assert_eq!(report.violation, None, "seed {seed}: {one:?}");
        if report.steps < at {
            return;
        }
        judge(&one, &report);
        tried.fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    tried.into_inner()
}

fn every_victim(procedure: Procedure, least: u64, judge: impl Fn(&Drill, &Report) + Sync) {
    for victim in VICTIMS {
        let tried = at_every_step(procedure, victim, 1, &judge);
        println!("{procedure:?}, {victim:?} dies: {tried} steps");
        assert!(tried >= least, "{procedure:?}: only {tried} steps were there to die at");
    }
}

#[test]
fn a_failover_ends_well_whoever_dies_at_whichever_step() {
    every_victim(Procedure::Failover, 40, |drill, report| {
        assert_eq!(report.lacked, 0, "{drill:?}: the old writer's agent is there again in time");
    });
}

#[test]
fn a_move_ends_well_and_loses_nothing_whoever_dies_at_whichever_step() {
    every_victim(Procedure::Move, 30, |drill, report| {
        assert_eq!(report.lacked, 0, "{drill:?}: acknowledged rows were lost");
    });
}

#[test]
fn an_old_writer_comes_back_well_whoever_dies_at_whichever_step() {
    every_victim(Procedure::Rejoin, 20, |_, _| ());
}

#[test]
fn a_failover_that_loses_something_is_noticed() {
    let one = Drill { procedure: Procedure::Failover, victim: Victim::Monitor, at: STEPS_MAX };
    let lossy = Options { left_out: Some(DataRule::TailsAreSalvaged), ..options(1, one) };
    let report = run(lossy);
    assert!(report.violation.is_some_and(|violation| violation.invariant == "reachable is kept"));
}
