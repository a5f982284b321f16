//! The lease protocol explored completely: within bounds, every order in which two candidates, a monitor, their clocks
//! and their messages can go on. No order may lead to two writers; and with any one rule left out some order does.
//!
//! Run with `--no-capture` to see how many states each exploration has.

mod lease_model;

use std::time::{Duration, Instant};

use lease_model::{Action, Bounds, Check, LeaseModel};
use mmm_core::lease::{Epoch, LeaseLength, LeaseRule, LeaseRules};
use stateright::{Checker, Model};

/// A lease of three seconds is two ticks for the fast clocks and runs into the third for the slow one; the wait for it
/// ends with the third. Messages may be a whole lease late, promotions as late as they like.
fn bounds() -> Bounds {
    Bounds {
        tick_ms: 1500,
        choices: 2,
        lengths: vec![LeaseLength::LEAST],
        on_their_way: 1,
        oldest: Duration::from_millis(3000),
        frozen: false,
        promises: false,
        vouching: false,
        releases: false,
        reboots: 0,
        agent_restarts: 0,
        monitor_restarts: 0,
        kills: 0,
    }
}

fn model(scene: Vec<Action>, bounds: Bounds) -> LeaseModel {
    LeaseModel { scene, rules: LeaseRules::ALL, bounds, check: Check::Everything }
}

/// A renewal of the first host that is answered at once, naming the other one.
fn renewed() -> [Action; 3] {
    let answer = Action::Answer { host: 0, place: 0, other_is_promotable: true, length: 0 };
    [Action::SendRenewal(0), answer, Action::TakeGrant(0, 0)]
}

/// The first host writes with epoch 1, and the other one has joined its list.
fn one_holds() -> Vec<Action> {
    let promoted = [Action::Choose(0), Action::Promote, Action::Accept(0, 0)];
    [&promoted[..], &renewed()[..], &[Action::Tick], &renewed()[..]].concat()
}

/// The first host gave epoch 1 back and writes with epoch 2; a promotion of the other one, resting on that release, is
/// still on its way with epoch 3.
fn a_promotion_is_late() -> Vec<Action> {
    let promoted = [Action::Choose(0), Action::Promote, Action::Accept(0, 0)];
    let released = [Action::Release(0, Epoch { number: 1, origin: 1 }), Action::HearRelease(0)];
    let again =
        [Action::Choose(0), Action::Promote, Action::Choose(1), Action::Promote, Action::Accept(0, 0)];
    [&promoted[..], &renewed()[..], &released[..], &again[..], &[Action::Tick], &renewed()[..]].concat()
}

/// Renewals and grants overtake each other; the other host leaves the list and comes back.
fn lists() -> LeaseModel {
    model(Vec::new(), Bounds { on_their_way: 2, ..bounds() })
}

fn finer_ticks() -> LeaseModel {
    model(one_holds(), Bounds { tick_ms: 1000, on_their_way: 2, ..bounds() })
}

fn lengths() -> LeaseModel {
    let longer = LeaseLength::new(Duration::from_millis(4500)).expect("a length that is allowed");
    model(one_holds(), Bounds { lengths: vec![LeaseLength::LEAST, longer], ..bounds() })
}

fn releases() -> LeaseModel {
    model(one_holds(), Bounds { choices: 3, releases: true, oldest: SHORT, ..bounds() })
}

fn promises() -> LeaseModel {
    model(one_holds(), Bounds { promises: true, vouching: true, ..bounds() })
}

fn frozen_agents() -> LeaseModel {
    model(one_holds(), Bounds { frozen: true, promises: true, oldest: SHORT, ..bounds() })
}

fn late_promotion_and_monitor_restart() -> LeaseModel {
    let bounds = Bounds { choices: 3, promises: true, monitor_restarts: 1, oldest: SHORT, ..bounds() };
    model(a_promotion_is_late(), bounds)
}

fn late_promotion_and_reboot() -> LeaseModel {
    let bounds = Bounds { choices: 3, promises: true, reboots: 1, oldest: SHORT, ..bounds() };
    model(a_promotion_is_late(), bounds)
}

/// Late messages are left to the exploration before this one.
fn reboot_and_agent_restart() -> LeaseModel {
    let bounds = Bounds { promises: true, reboots: 1, agent_restarts: 1, oldest: Duration::ZERO, ..bounds() };
    model(one_holds(), bounds)
}

fn kills_and_restarts() -> LeaseModel {
    let bounds =
        Bounds { releases: true, kills: 1, reboots: 1, monitor_restarts: 1, oldest: SHORT, ..bounds() };
    model(one_holds(), bounds)
}

/// Half a lease: enough for a message to be late, and far fewer states.
const SHORT: Duration = Duration::from_millis(1520);

fn explore(name: &str, model: LeaseModel) -> impl Checker<LeaseModel> {
    let start = start_of_exploration();
    let checker = model.checker().spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, at most {} deep, in {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f32()
    );
    checker
}

#[expect(clippy::disallowed_methods, reason = "the time is only printed")]
fn start_of_exploration() -> Instant {
    Instant::now()
}

fn holds(name: &str, model: LeaseModel) {
    let checker = explore(name, model);
    assert!(checker.is_done(), "{name}: not explored to the end");
    checker.assert_properties();
}

/// The same exploration with a rule less ends in what that rule is there to prevent.
fn fails(name: &str, model: LeaseModel, check: Check, rule: LeaseRule) {
    let checker = explore(name, LeaseModel { rules: LeaseRules::without(rule), check, ..model });
    let discoveries = checker.discoveries();
    let (found, path) = discoveries.iter().next().unwrap_or_else(|| panic!("{name}: nothing was found"));
    println!("  against '{found}': {:?}", path.clone().into_actions());
}

#[test]
fn one_writer_whatever_overtakes_what_and_whoever_leaves_the_list() {
    holds("lists", lists());
}

#[test]
fn one_writer_with_finer_ticks() {
    holds("finer ticks", finer_ticks());
}

#[test]
fn one_writer_while_the_length_of_the_lease_changes() {
    holds("lengths", lengths());
}

#[test]
fn one_writer_whatever_is_given_back_and_when() {
    holds("releases", releases());
}

#[test]
fn one_writer_while_promises_keep_the_lease() {
    holds("promises", promises());
}

#[test]
fn one_writer_when_an_agent_finds_its_lease_over_much_later() {
    holds("frozen agents", frozen_agents());
}

#[test]
fn one_writer_when_the_monitor_restarts_while_a_promotion_is_late() {
    holds("late promotion, monitor restart", late_promotion_and_monitor_restart());
}

#[test]
fn one_writer_when_a_host_reboots_while_a_promotion_is_late() {
    holds("late promotion, reboot", late_promotion_and_reboot());
}

#[test]
fn one_writer_when_an_agent_is_started_again_after_a_reboot() {
    holds("reboot, agent restart", reboot_and_agent_restart());
}

#[test]
fn one_writer_whoever_is_killed_or_restarted() {
    holds("kills and restarts", kills_and_restarts());
}

#[test]
fn two_writers_unless_waiters_count_longer() {
    fails("no longer wait", finer_ticks(), Check::TwoWriters, LeaseRule::WaitersCountLonger);
}

#[test]
fn two_writers_unless_readings_go_forward_at_the_monitor() {
    fails("old renewals answered", lists(), Check::TwoWriters, LeaseRule::ReadingsGoForwardAtMonitor);
}

#[test]
fn two_writers_unless_readings_go_forward_at_the_agent() {
    fails("old grants taken in", lists(), Check::TwoWriters, LeaseRule::ReadingsGoForwardAtAgent);
}

#[test]
fn two_writers_unless_grants_count_and_plans_do_not() {
    fails("plans count", releases(), Check::TwoWriters, LeaseRule::GrantsCountAndPlansDoNot);
}

#[test]
fn two_writers_unless_only_listed_hosts_follow() {
    fails("unlisted hosts follow", lists(), Check::TwoWriters, LeaseRule::OnlyListedHosts);
}

#[test]
fn two_writers_unless_joining_is_confirmed() {
    fails("joining unconfirmed", lists(), Check::TwoWriters, LeaseRule::JoiningIsConfirmed);
}

#[test]
fn two_writers_and_a_released_one_unless_a_release_covers_promotions_on_their_way() {
    for check in [Check::TwoWriters, Check::ReleasedEpochWrites] {
        fails(
            "late promotion after release",
            releases(),
            check,
            LeaseRule::ReleaseCoversPromotionsOnTheirWay,
        );
    }
}

#[test]
fn two_writers_unless_promises_hold_against_time() {
    fails("promises end early", promises(), Check::TwoWriters, LeaseRule::PromisesHoldAgainstTime);
}
