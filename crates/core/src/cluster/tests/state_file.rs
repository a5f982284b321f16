//! The monitor's own state: written before anything rests on it, doubted when it is lost or older than what others know.

use super::fixture::{Disk, Fixture, pair};
use super::host::fence;
use crate::check::CheckKind;
use crate::cluster::{Event, FoundState};
use crate::lease::{Epoch, Listed, Proof};
use crate::message::{ServerView, Takeover};
use crate::state::HostState;

fn epoch(number: u64) -> Epoch {
    Epoch { number, origin: 7 }
}

fn lost() -> FoundState {
    FoundState::Lost(None, "the file is gone".to_owned())
}

#[test]
fn nobody_is_promoted_before_the_epoch_is_on_disk() {
    let mut fixture = Fixture::running(pair());
    fixture.disk = Disk::Slow;
    fixture.command("set_offline --force db1");
    fixture.agent_obeys("db1");
    fixture.tick();
    assert_eq!((fixture.writer().as_str(), fixture.promotion("db2")), ("db2", None));
    while fixture.promotion("db2").is_none() {
        let issued = fixture.kept.as_ref().unwrap().issued;
        assert_eq!(issued, epoch(1));
        fixture.write_state();
    }
    assert_eq!(fixture.kept.as_ref().unwrap().issued, epoch(2));
    assert_eq!(fixture.promotion("db2").unwrap().epoch, epoch(2));
}

#[test]
fn a_first_grant_leaves_when_its_record_is_on_disk() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.agent_obeys("db1");
    fixture.disk = Disk::Slow;
    fixture.granted.clear();
    fixture.agent_obeys("db2");
    assert_eq!((fixture.granted.len(), fixture.writing().len()), (0, 0));
    while fixture.granted.is_empty() {
        fixture.write_state();
    }
    let record = fixture.kept.as_ref().unwrap().record.clone().unwrap();
    assert_eq!((record.host.as_str(), record.epoch), ("db2", epoch(2)));
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn a_disk_that_refuses_promotes_nobody_and_renews_what_is_recorded() {
    let mut fixture = Fixture::running(pair());
    fixture.disk = Disk::Full;
    fixture.command("set_offline db2");
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]), "that it may not is not written down");
    assert!(fixture.logged_part("FATAL Can't write the monitor's epoch file: no space left"));
    fixture.pass(60);
    assert_eq!(fixture.writing(), ["db1"]);
    fixture.command("set_online db2");
    fixture.command("set_offline --force db1");
    fixture.agents_obey();
    fixture.pass(60);
    assert_eq!((fixture.promotion("db2"), fixture.writing().len()), (None, 0));
    let show = fixture.command("show --long");
    assert!(
        show.contains("nobody can be promoted: the monitor's epoch file can't be written (no space left)")
    );
    assert_eq!(fixture.log.iter().filter(|line| line.contains("Can't write")).count(), 1);
    fixture.disk = Disk::Quick;
    fixture.pass(2);
    assert!(fixture.logged("INFO The monitor's epoch file can be written again"));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn a_disk_that_works_again_is_noticed_although_what_it_refused_was_undone() {
    let mut fixture = Fixture::running(pair());
    fixture.disk = Disk::Full;
    fixture.command("set_offline db2");
    fixture.renews("db1");
    fixture.disk = Disk::Quick;
    fixture.pass(5);
    assert_eq!(fixture.renewed("db1"), Some(vec![]), "the list may change again");
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.agent_obeys("db1");
    fixture.disk = Disk::Full;
    fixture.agent_obeys("db2");
    assert!(fixture.writing().is_empty());
    fixture.disk = Disk::Quick;
    fixture.pass(5);
    assert_eq!(fixture.writing(), ["db2"], "a first grant may leave again");
}

#[test]
fn a_renewal_waits_half_a_second_for_the_disk_and_is_then_answered_as_recorded() {
    let mut fixture = Fixture::running(pair());
    fixture.disk = Disk::Slow;
    fixture.command("set_offline db2");
    assert_eq!(fixture.renewed("db1"), None);
    fixture.write_state();
    assert_eq!(fixture.list_of("db1"), Some(vec![]));
    fixture.command("set_online db2");
    assert_eq!(fixture.renewed("db1"), None);
    fixture.pass_without_renewals(500);
    assert_eq!(fixture.list_of("db1"), Some(vec![]), "as it is on disk");
    fixture.granted.clear();
    fixture.write_state();
    assert!(fixture.granted.is_empty(), "it was answered already");
}

#[test]
fn a_monitor_that_is_started_again_leaves_the_writer_as_it_is() {
    let mut fixture = Fixture::running(pair());
    fixture.restart_with_state();
    fixture.start();
    fixture.settle();
    assert_eq!(fixture.promotion("db1").unwrap().epoch, epoch(1));
    assert_eq!((fixture.writing(), fixture.orders["db1"].release), (vec!["db1"], None));
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
    let list = &fixture.kept.as_ref().unwrap().record.as_ref().unwrap().list;
    assert_eq!(list.get("db2"), Some(&Listed::Joined));
}

#[test]
fn after_a_restart_a_whole_wait_begins_anew() {
    let mut fixture = Fixture::running(pair());
    fixture.restart_with_state();
    fixture.network(true);
    for host in ["db1", "db2"] {
        fixture.well(host);
    }
    fixture.bad("db1", CheckKind::Ping);
    fixture.lose("db1");
    fixture.connect("db2");
    let start = fixture.now;
    while fixture.promotion("db2").is_none() {
        fixture.pass_ms(100);
        fixture.bad("db1", CheckKind::Ping);
        assert!(fixture.now.since(start).as_secs() < 30, "{:?}", fixture.log);
    }
    assert!(fixture.now.since(start).as_millis() >= 5400);
    assert_eq!(fixture.promotion("db2").unwrap().proof, Proof::RanOut(epoch(1)));
}

#[test]
fn a_monitor_that_stood_still_waits_anew() {
    let mut fixture = Fixture::running(pair());
    fixture.lose("db1");
    fixture.pass_ms(5000);
    fixture.pass_ms(1000);
    assert_eq!(fixture.promotion("db2"), None, "others may have spoken meanwhile");
    fixture.pass(5);
    assert!(fixture.promotion("db2").is_some());
}

#[test]
fn where_the_state_is_lost_every_candidate_is_heard_before_anybody_is_promoted() {
    let mut fixture = Fixture::running(pair());
    fixture.restart(lost());
    fixture.network(true);
    for host in ["db1", "db2"] {
        fixture.well(host);
    }
    fixture.connect("db2");
    fixture.lose("db1");
    fixture.pass(60);
    assert_eq!(fixture.promotion("db2"), None);
    let show = fixture.command("show --long");
    let why = "nobody can be promoted (the file is gone): waiting for the report of db1, or confirm_dead";
    assert!(show.contains(why), "{show}");
    fixture.connect("db1");
    fixture.settle();
    assert_eq!(fixture.writing().len(), 1);
    let written = fixture.kept.as_ref().unwrap().record.as_ref().unwrap().epoch;
    assert!(written > epoch(1), "{written:?}");
}

#[test]
fn a_holder_goes_on_where_the_monitor_lost_its_state() {
    let mut fixture = Fixture::running(pair());
    fixture.restart(lost());
    fixture.start();
    fixture.settle();
    assert!(fixture.logged("INFO Every candidate has reported: 'db1' holds the writer role with epoch 1"));
    assert_eq!((fixture.writing(), fixture.promotion("db1").unwrap().epoch), (vec!["db1"], epoch(1)));
    assert_eq!(fixture.renewed("db1"), Some(vec!["db2"]));
}

#[test]
fn an_operators_word_stands_in_for_the_report_of_a_host_that_is_gone() {
    let mut fixture = Fixture::running(pair());
    fixture.restart(lost());
    fixture.network(true);
    for host in ["db1", "db2"] {
        fixture.well(host);
    }
    fixture.bad("db1", CheckKind::Ping);
    fixture.lose("db1");
    fixture.connect("db2");
    fixture.pass(20);
    fixture.fail("db1", CheckKind::Ping);
    assert!(fixture.command("confirm_dead db1").contains("To confirm"));
    assert_eq!(fixture.promotion("db2"), None);
    assert!(fixture.command("confirm_dead --yes db1").starts_with("OK:"));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn a_greater_epoch_at_an_agent_is_heard_out_and_no_number_is_given_twice() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db2", |status| {
        status.lease.accepted = Epoch { number: 99, origin: 3 };
        status.lease.released = Epoch { number: 99, origin: 3 };
    });
    assert!(fixture.logged_part("FATAL The monitor's state is older than what the agents have seen"));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db1"]);
    fixture.command("move_role writer db2");
    fixture.approached(Ok(()));
    fixture.agent_obeys("db1");
    assert_eq!(fixture.promotion("db2").unwrap().epoch, epoch(100));
}

#[test]
fn a_state_that_is_older_than_what_an_agent_saw_is_not_relied_on() {
    let mut fixture = Fixture::running(pair());
    fixture.lose("db2");
    fixture.report("db1", |status| status.lease.generation = 999);
    assert!(fixture.logged_part("FATAL The monitor's state is older than what the agents have seen"));
    fixture.report("db1", fence);
    fixture.pass(30);
    assert!(fixture.promotion("db1").is_none_or(|promotion| promotion.epoch == epoch(1)));
    assert!(fixture.command("show --long").contains("waiting for the report of db2"));
    fixture.connect("db2");
    fixture.settle();
    assert_eq!(fixture.writing().len(), 1);
    assert!(fixture.kept.as_ref().unwrap().generation > 999);
}

#[test]
fn an_epoch_that_was_only_given_back_was_given_out_all_the_same() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.agent_obeys("db1");
    assert_eq!(fixture.promotion("db2").unwrap().epoch, epoch(2));
    // The order never arrives; the one that takes the role back does.
    fixture.report("db2", |status| status.server = ServerView::Gone);
    fixture.agent_obeys("db2");
    assert_eq!(fixture.said["db2"].lease.released, epoch(2));
    fixture.restart(lost());
    fixture.start();
    fixture.report("db2", |status| status.server = ServerView::Up { writable: false });
    fixture.tick();
    fixture.command("set_online db2");
    fixture.settle();
    assert!(fixture.promotion("db2").unwrap().epoch.number > 2);
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn of_several_that_hold_something_only_the_greatest_may_go_on() {
    let mut fixture = Fixture::running(pair());
    // Another monitor promoted db2 while this one was away.
    let status = fixture.said.get_mut("db2").unwrap();
    status.lease.accepted = Epoch { number: 5, origin: 3 };
    fixture.restart(lost());
    fixture.start();
    fixture.tick();
    assert_eq!(fixture.orders["db1"].release, Some(epoch(1)), "the smaller one is asked for first");
    assert!(fixture.orders.values().all(|order| order.writer.is_none()));
    fixture.settle();
    assert_eq!(fixture.writing().len(), 1);
}

#[test]
fn a_host_of_which_the_record_was_lost_may_have_written_last() {
    let mut fixture = Fixture::running(pair());
    let older = fixture.kept.clone().unwrap();
    // What db2 wrote after it is not in the record that is found again.
    for host in ["db1", "db2"] {
        fixture.report(host, fence);
    }
    fixture.said.get_mut("db2").unwrap().lease.accepted = Epoch { number: 2, origin: 7 };
    fixture.said.get_mut("db2").unwrap().lease.released = Epoch { number: 2, origin: 7 };
    fixture.restart(FoundState::Good(older));
    fixture.start();
    fixture.settle();
    let promotion = fixture.promotion("db1").expect("the recorded host gets the role back");
    assert_eq!((promotion.takeover, promotion.hold), (Takeover::Lost, true));
}

#[test]
fn an_answer_of_the_disk_to_an_earlier_question_counts_for_nothing() {
    let mut fixture = Fixture::running(pair());
    let kept = fixture.kept.clone();
    fixture.step(Event::StateSaved { number: 0, outcome: Ok(()) });
    fixture.step(Event::StateSaved { number: 9999, outcome: Err("no".to_owned()) });
    assert_eq!((fixture.kept.clone(), fixture.log.len()), (kept, 0));
    assert_eq!(fixture.state("db1"), HostState::Online);
}
