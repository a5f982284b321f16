//! Whose lease is renewed with what, who may take the role when, and what counts as the end of a lease.

use super::fixture::{Fixture, WRITER, pair, set};
use super::host::{fence, obey};
use super::moving::lost_with_an_empty_list;
use crate::check::CheckKind;
use crate::lease::{Duty, Ended, Epoch, Proof};
use crate::message::{LeaseHeld, ServerView, Takeover};
use crate::state::HostState;

const UP: ServerView = ServerView::Up { writable: false };

fn proof(fixture: &Fixture, host: &str) -> Proof {
    fixture.promotion(host).expect("it is promoted").proof
}

fn epoch_of(fixture: &Fixture, host: &str) -> Epoch {
    fixture.promotion(host).expect("it is promoted").epoch
}

#[test]
fn each_grant_names_who_could_take_over_and_names_it_again_when_that_changes() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    fixture.command("set_offline db2");
    assert_eq!(fixture.renewed("db1"), Some(vec![]));
    fixture.command("set_online db2");
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    fixture.report("db2", |status| status.server = ServerView::Gone);
    assert_eq!(fixture.renewed("db1"), Some(vec![]));
    assert_eq!(fixture.renewed("db2"), None, "it has none");
}

#[test]
fn where_nothing_would_be_moved_nobody_is_named() {
    let mut fixture = Fixture::running(pair());
    for mode in ["set_manual", "set_passive"] {
        fixture.command(mode);
        assert_eq!(fixture.renewed("db1"), Some(vec![]), "{mode}");
        fixture.command("set_active");
        assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    }
    let mut settings = pair();
    settings.leases_run_out = false;
    let mut fixture = Fixture::running(settings);
    assert_eq!(fixture.renewed("db1"), Some(vec![]));
    fixture.lose("db1");
    fixture.fail("db1", CheckKind::Ping);
    fixture.pass(600);
    assert!(!fixture.ordered("db2").contains("writer"));
}

#[test]
fn a_writer_that_was_set_passive_goes_on_without_the_monitor_for_ever() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_passive");
    fixture.pass(2);
    fixture.lose("db1");
    fixture.pass(600);
    fixture.command("set_active");
    fixture.pass(600);
    assert_eq!(fixture.writing(), ["db1"]);
    assert!(!fixture.ordered("db2").contains("writer"));
}

#[test]
fn a_renewal_that_is_older_than_the_last_is_not_answered() {
    let mut fixture = Fixture::running(pair());
    let epoch = epoch_of(&fixture, "db1");
    let reading = fixture.now;
    fixture.pass(2);
    fixture.granted.clear();
    let renewal = crate::lease::Renewal { epoch, reading, taken: None };
    fixture.step(crate::cluster::Event::Renewed { host: "db1".into(), renewal });
    assert!(fixture.granted.is_empty());
}

#[test]
fn without_a_network_of_its_own_the_monitor_renews_what_is_recorded() {
    let mut fixture = Fixture::running(pair());
    fixture.network(false);
    fixture.lose("db2");
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    fixture.network(true);
    assert_eq!(fixture.renewed("db1"), Some(vec![]));
}

#[test]
fn a_monitor_that_an_agent_refused_renews_what_is_recorded_and_promotes_nobody() {
    let mut fixture = Fixture::running(pair());
    fixture.refuse("db2");
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    fixture.report("db1", fence);
    fixture.pass(2);
    assert_eq!(fixture.promotion("db2"), None);
    let mut fixture = Fixture::running(pair());
    fixture.refuse("db2");
    fixture.pass(7);
    assert_eq!(fixture.renewed("db1"), Some(vec![]), "the other monitor is gone, and db2 not heard of");
}

#[test]
fn a_writer_that_fenced_itself_and_says_so_is_replaced_at_once() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db1", |status| {
        fence(status);
        status.server = ServerView::Gone;
    });
    fixture.tick();
    assert_eq!(proof(&fixture, "db2"), Proof::Ended(Epoch { number: 1, origin: 7 }, Ended::Released));
    assert_eq!(fixture.promotion("db2").unwrap().takeover, Takeover::Lost);
}

#[test]
fn a_writer_that_fenced_itself_and_is_well_gets_the_role_back_with_a_greater_epoch() {
    let mut fixture = Fixture::running(pair());
    let before = epoch_of(&fixture, "db1");
    fixture.report("db1", fence);
    fixture.settle();
    assert_eq!(fixture.writing(), ["db1"]);
    assert!(epoch_of(&fixture, "db1") > before);
}

#[test]
fn a_writer_whose_server_returns_before_it_gave_anything_back_is_the_writer_at_once() {
    let mut fixture = Fixture::running(pair());
    let before = epoch_of(&fixture, "db1");
    fixture.report("db1", |status| status.server = ServerView::Gone);
    assert_eq!((fixture.state("db1"), fixture.writer().as_str()), (HostState::HardOffline, "db2"));
    fixture.report("db1", |status| status.server = UP);
    assert_eq!((fixture.state("db1"), fixture.writer().as_str()), (HostState::Online, "db1"));
    assert!(fixture.logged(
        "FATAL State of host 'db1' changed from HARD_OFFLINE to ONLINE because it still has the lease of the writer"
    ));
    fixture.settle();
    assert_eq!((fixture.writing(), proof(&fixture, "db1")), (vec!["db1"], Proof::Own));
    assert!(epoch_of(&fixture, "db1") > before, "it may have been told to give the old one back");
    assert_eq!(fixture.promotion("db2"), None);
}

#[test]
fn a_writer_that_returns_with_a_lease_that_does_not_run_out_goes_on() {
    let mut fixture = lost_with_an_empty_list(Err(String::new()));
    assert_eq!(fixture.state("db1"), HostState::HardOffline);
    fixture.connect("db1");
    fixture.tick();
    assert_eq!((fixture.state("db1"), fixture.writer().as_str()), (HostState::Online, "db1"));
    fixture.good("db1", CheckKind::Ping);
    fixture.settle();
    assert_eq!((fixture.writing(), fixture.promotion("db2")), (vec!["db1"], None));
}

#[test]
fn a_host_that_was_chosen_only_after_the_writer_vanished_does_not_get_the_role_by_time() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.pass(2);
    fixture.command("set_online db2");
    fixture.renews("db1");
    fixture.lose("db1");
    fixture.fail("db1", CheckKind::Ping);
    fixture.pass(600);
    assert_eq!(fixture.promotion("db2"), None, "db1 never said that it knows of db2");
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.pass(2);
    fixture.command("set_online db2");
    fixture.renews("db1");
    fixture.renews("db1");
    fixture.lose("db1");
    fixture.pass(6);
    assert!(matches!(proof(&fixture, "db2"), Proof::RanOut(_)));
}

#[test]
fn nobody_can_take_over_who_went_after_the_last_renewal() {
    let mut fixture = Fixture::running(pair());
    fixture.lose("db1");
    fixture.report("db2", |status| status.server = ServerView::Gone);
    fixture.pass(30);
    assert_eq!(fixture.promotion("db2"), None);
    assert_eq!(fixture.writer(), "db1", "it may come back, and nobody else can have it");
    fixture.report("db2", |status| status.server = UP);
    fixture.pass(2);
    assert!(matches!(proof(&fixture, "db2"), Proof::RanOut(_)));
}

#[test]
fn while_somebody_vouches_for_the_writer_nothing_is_moved_and_nobody_is_killed() {
    let mut settings = pair();
    settings.kill_host = Ok(());
    let mut fixture = Fixture::running(settings);
    fixture.lose("db1");
    for _ in 0..60 {
        fixture.promises("db2", "db1");
        fixture.bad("db1", CheckKind::Ping);
        fixture.pass(1);
    }
    assert_eq!((fixture.state("db1"), fixture.writing()), (HostState::Online, vec!["db1"]));
    assert!(fixture.kills.is_empty() && fixture.promotion("db2").is_none());
    assert!(fixture.logged(
        "WARN Host 'db2' has promised 'db1' not to take the writer role (epoch 1): it lives, nothing is moved"
    ));
    assert_eq!(
        fixture.command("confirm_dead --yes db1"),
        "ERROR: Host 'db1' lives: db2 promised it not to take its role. Cut its power or end its server first."
    );
    fixture.pass(4);
    assert_eq!(fixture.promotion("db2"), None);
    fixture.pass(2);
    assert!(matches!(proof(&fixture, "db2"), Proof::RanOut(_)), "the promise is over");
}

#[test]
fn an_operator_is_asked_before_his_word_counts_and_it_counts_for_one_epoch() {
    let mut fixture = lost_with_an_empty_list(Err(String::new()));
    let asked = fixture.command("confirm_dead db1");
    assert!(asked.ends_with("To confirm: confirm_dead --yes db1"), "{asked}");
    fixture.pass(60);
    assert_eq!(fixture.promotion("db2"), None, "asking is no word");
    let answer = fixture.command("confirm_dead --yes db1");
    assert_eq!(answer, "OK: Host 'db1' counts as dead until its agent is heard of again.");
    assert!(fixture.logged("FATAL Admin confirmed that host 'db1' is dead (epoch 1)"));
    fixture.tick();
    assert_eq!(proof(&fixture, "db2"), Proof::Ended(Epoch { number: 1, origin: 7 }, Ended::Dead));
    fixture.connect("db1");
    assert_eq!(fixture.renewed("db1"), None, "what was ended is never renewed");
    assert!(fixture.orders["db1"].release >= Some(Epoch { number: 1, origin: 7 }));
}

#[test]
fn a_word_that_changes_nothing_says_why() {
    let mut fixture = Fixture::running(pair());
    for (line, part) in [
        ("confirm_dead db9", "ERROR: Unknown host name 'db9'!"),
        ("confirm_dead --yes db1", "ERROR: The agent on host 'db1' answers"),
    ] {
        let answer = fixture.command(line);
        assert!(answer.starts_with(part), "{answer}");
    }
    fixture.lose("db2");
    let answer = fixture.command("confirm_dead --yes db2");
    assert!(answer.starts_with("OK: Nobody waits for host 'db2'"), "{answer}");
}

#[test]
fn a_host_that_is_being_killed_is_told_nothing_about_its_lease() {
    let mut fixture = lost_with_an_empty_list(Ok(()));
    assert_eq!(fixture.kills, [("db1".into(), Epoch { number: 1, origin: 7 })]);
    fixture.connect("db1");
    assert_eq!(fixture.renewed("db1"), None);
    fixture.kill_ends(Err("exit status 1".to_owned()));
    assert!(fixture.renewed("db1").is_some());
}

#[test]
fn a_holder_that_says_it_holds_and_does_not_renew_is_replaced_and_not_called_on_and_off() {
    let mut fixture = Fixture::running(pair());
    fixture.pass_without_renewals(8000);
    let changes = fixture.log.iter().filter(|line| line.contains("State of host 'db1' changed")).count();
    assert!(changes <= 3, "{:?}", fixture.log);
    assert!(matches!(proof(&fixture, "db2"), Proof::RanOut(_)));
}

#[test]
fn a_refusal_is_no_release_of_anybody() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.agent_obeys("db1");
    let epoch = epoch_of(&fixture, "db2");
    fixture.report("db2", |status| {
        let refusal = crate::lease::Refusal::JustBooted { rest: std::time::Duration::from_secs(3) };
        status.lease.refusal = Some((epoch, refusal));
    });
    fixture.settle();
    assert!(
        fixture.logged_part("WARN Host 'db2' refuses the writer role with epoch 2: this host was restarted")
    );
}

/// db1 writes as it did under 2.2.1, and its first agent of 3.x has just been started.
fn taken_over_from_2_2_1() -> Fixture {
    let mut fixture = Fixture::restored(pair(), Some("db1|ONLINE|writer(192.168.8.30)\ndb2|ONLINE|\n"));
    let status = fixture.said.get_mut("db1").unwrap();
    (status.held, status.server) = (set(&[WRITER]), ServerView::Up { writable: true });
    let list = std::collections::BTreeSet::new();
    status.lease.held = Some(LeaseHeld { epoch: Epoch::NONE, list, duty: Duty::Write, by_promise: false });
    fixture.start();
    fixture
}

#[test]
fn a_writer_of_2_2_1_is_promoted_where_it_is() {
    let mut fixture = taken_over_from_2_2_1();
    let promotion = fixture.promotion("db1").unwrap();
    assert_eq!((promotion.proof, promotion.takeover), (Proof::Own, Takeover::Keep));
    assert_eq!(fixture.writing(), ["db1"]);
    fixture.settle();
    assert_eq!((fixture.writing(), fixture.promotion("db2")), (vec!["db1"], None));
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
}

#[test]
fn a_writer_of_2_2_1_that_accepted_its_first_epoch_has_given_nothing_back() {
    let mut fixture = taken_over_from_2_2_1();
    let order = fixture.orders["db1"].clone();
    // It goes on writing by what it had, and its first renewal is on its way.
    fixture.report("db1", |status| obey(status, &order));
    assert_eq!(fixture.writing(), ["db1"]);
    fixture.command("set_offline --force db1");
    assert_eq!(fixture.writer(), "db2");
    fixture.pass_without_renewals(1000);
    assert_eq!(fixture.promotion("db2"), None, "db1 has not given the role back");
}
