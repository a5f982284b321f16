//! `show --long` tells in one sentence where the writer role is, or what it waits for.

use super::fixture::{Fixture, pair};
use super::moving::lost_with_an_empty_list;
use crate::check::CheckKind;
use crate::lease::Refusal;
use crate::message::ServerView;

fn why(fixture: &mut Fixture) -> String {
    let json: serde_json::Value = serde_json::from_str(&fixture.command("--json show")).unwrap();
    let why = json["writer"]["why"].as_str().unwrap().to_owned();
    let show = fixture.command("show --long");
    assert!(show.contains(&format!("# Role writer: {why}.\n")), "{show}");
    why
}

#[test]
fn a_running_writer_is_told_with_its_epoch_and_who_could_take_over() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(why(&mut fixture), "db1 holds it with epoch 1");
    let show = fixture.command("show --long");
    let short = fixture.command("show");
    assert_eq!(
        show.strip_prefix(&short).unwrap(),
        "\
# Role writer: db1 holds it with epoch 1.
# Lease: epoch 1 of db1, runs for 5.4 s.
# Could take over: db2. Without the monitor the writer depends on the promise of each.
# db1: holds epoch 1; accepted 1, gave back 0.
# db2: holds nothing; accepted 0, gave back 0.
"
    );
    fixture.command("set_manual");
    fixture.renews("db1");
    assert!(fixture.command("show --long").contains("does not run out: nobody could take over"));
}

#[test]
fn who_is_named_and_has_not_been_confirmed_is_marked() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.pass(1);
    fixture.command("set_online db2");
    fixture.renews("db1");
    assert!(fixture.command("show --long").contains("# Could take over: db2 (not confirmed yet)."));
}

#[test]
fn a_promotion_on_its_way_and_one_that_is_refused() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.agent_obeys("db1");
    assert_eq!(why(&mut fixture), "db2 was promoted with epoch 2 and is taking it");
    let epoch = fixture.promotion("db2").unwrap().epoch;
    fixture.report("db2", |status| {
        let rest = std::time::Duration::from_millis(2500);
        status.lease.refusal = Some((epoch, Refusal::Promised { holder: "db1".into(), rest }));
    });
    assert_eq!(
        why(&mut fixture),
        "db2 was chosen and refuses: this host has promised db1 not to take the role for another 2500 ms"
    );
}

#[test]
fn the_lease_of_one_that_vanished_is_waited_for() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.renews("db1");
    fixture.lose("db1");
    fixture.pass(2);
    assert_eq!(why(&mut fixture), "waiting 3.4 s for the lease of db1");
}

#[test]
fn a_writer_that_vanished_and_can_only_be_confirmed_dead() {
    let mut fixture = lost_with_an_empty_list(Err(String::new()));
    assert_eq!(
        why(&mut fixture),
        "db1 vanished while nobody could replace it: needs its return, kill_host, or confirm_dead"
    );
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.pass(1);
    fixture.command("set_online db2");
    fixture.renews("db1");
    fixture.lose("db1");
    fixture.fail("db1", CheckKind::Ping);
    assert_eq!(
        why(&mut fixture),
        "db1 vanished before it knew that db2 could replace it: needs its return, kill_host, or confirm_dead"
    );
}

#[test]
fn a_writer_that_is_there_is_waited_for_to_give_it_back() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.pass(1);
    fixture.command("set_online db2");
    fixture.command("set_offline --force db1");
    assert_eq!(why(&mut fixture), "waiting for db1 to give it back");
}

#[test]
fn one_that_somebody_vouches_for_is_told_so() {
    let mut fixture = Fixture::running(pair());
    fixture.lose("db1");
    fixture.promises("db2", "db1");
    assert!(fixture.command("show --long").contains("# db2 vouches for the writer by a promise.\n"));
    let json: serde_json::Value = serde_json::from_str(&fixture.command("--json show")).unwrap();
    assert_eq!(json["writer"]["lease"]["vouched_by"][0], "db2");
    assert_eq!(json["writer"]["hosts"]["db1"]["holds"], 1);
}

#[test]
fn nobody_able_is_told_as_well() {
    let mut fixture = Fixture::running(pair());
    for host in ["db2", "db1"] {
        fixture.report(host, |status| status.server = ServerView::Gone);
        fixture.settle();
    }
    assert_eq!(why(&mut fixture), "no host that could take it is ONLINE with a running agent and server");
    assert!(fixture.command("show --long").contains("# Lease: epoch 1 of db1, ended (given back).\n"));
}
