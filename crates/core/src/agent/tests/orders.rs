//! What an order makes an agent do, step by step. The lease is given as soon as it is asked for, and does not run out.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fixture::*;
use crate::agent::*;
use crate::gtid::GtidView;
use crate::lease::{Epoch, Proof};
use crate::message::{LeaseTerms, Order, OrderId, ServerView, Takeover};
use crate::state::HostState;

const FIVE_SECONDS: Duration = Duration::from_secs(5);

#[test]
fn a_planned_release_closes_ends_clients_drops_the_address_and_only_then_reads_the_position() {
    let mut fixture = Fixture::writing();
    fixture.release();
    assert!(fixture.status().held.contains(&writer()) && fixture.status().server == WRITABLE);
    let done = fixture.run();
    assert_eq!(done, [Step::CloseWrites, Step::EndClients, Step::DropAddress(writer()), Step::ReadPosition]);
    let status = fixture.status();
    assert_eq!((status.held.len(), status.server), (0, UP));
    assert_eq!(status.released_at, Some((epoch(1), position())));
    assert_eq!(status.applied, Some(OrderId { instance: 1, number: 2 }));
    assert_eq!(fixture.saved.unwrap().order.unwrap().id.number, 2);
}

#[test]
fn nothing_is_called_gone_while_a_step_for_it_is_under_way() {
    let mut fixture = Fixture::writing();
    fixture.release();
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    fixture.end(&Step::EndClients, StepOutcome::Done);
    assert_eq!(fixture.steps, [Step::DropAddress(writer())]);
    assert!(fixture.status().held.contains(&writer()));
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    assert_eq!(fixture.steps, [Step::ReadPosition]);
    assert_eq!(fixture.status().applied, Some(OrderId { instance: 1, number: 1 }));
}

#[test]
fn a_server_that_is_gone_or_silent_loses_the_address_first() {
    for view in [ServerView::Gone, SILENT] {
        let mut fixture = Fixture::writing();
        fixture.sees(view);
        fixture.release();
        assert_eq!(fixture.steps, [Step::DropAddress(writer())], "{view:?}");
        fixture.run();
        assert!(fixture.status().held.is_empty());
        fixture.sees(WRITABLE);
        assert_eq!(fixture.steps[0], Step::CloseWrites, "and is closed when it is back");
    }
}

#[test]
fn a_dead_server_loses_its_writer_address_without_an_order_and_gets_it_back() {
    let mut fixture = Fixture::writing();
    fixture.sees(ServerView::Gone);
    assert_eq!(fixture.run(), [Step::DropAddress(writer())]);
    fixture.sees(UP);
    assert_eq!(fixture.run(), [Step::OpenWrites, Step::AddAddress(writer(), Lifetime::Forever)]);
}

#[test]
fn a_new_writer_catches_up_opens_takes_the_address_and_announces_it() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    let after = Takeover::After(position());
    fixture.order(HostState::Online, &[writer()], Some((1, after.clone(), false)));
    assert_eq!(fixture.steps, [Step::CatchUp(after.clone())]);
    let done = fixture.run();
    assert_eq!(done, [Step::CatchUp(after), Step::OpenWrites, Step::AddAddress(writer(), Lifetime::Forever)]);
    assert_eq!(fixture.announced, [writer()]);
}

#[test]
fn nothing_is_opened_before_catching_up_has_succeeded_and_failures_are_tried_again_and_reported() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, true)));
    let catch_up = Step::CatchUp(Takeover::Lost);
    for _ in 0..3 {
        fixture.end(&catch_up, StepOutcome::Failed("the SQL thread has stopped".into()));
        assert!(fixture.status().problem.unwrap().contains("the SQL thread has stopped"));
        assert_eq!(fixture.status().applied, None);
        fixture.pass(999);
        assert!(fixture.steps.is_empty());
        fixture.pass(1);
        assert_eq!(fixture.steps.len(), 1);
    }
    fixture.run();
    assert_eq!((fixture.status().problem, fixture.status().server), (None, WRITABLE));
}

#[test]
fn catching_up_for_an_earlier_choice_does_not_count_for_a_later_one() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Fresh, false)));
    fixture.order(HostState::Online, &[writer()], Some((2, Takeover::Fresh, false)));
    let catch_up = Step::CatchUp(Takeover::Fresh);
    assert_eq!(fixture.run()[..3], [catch_up.clone(), catch_up, Step::OpenWrites]);
}

#[test]
fn a_chosen_server_that_is_writable_already_is_closed_until_it_has_caught_up() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[], None);
    fixture.sees(WRITABLE);
    fixture.steps.clear();
    let mut fixture = Fixture::on(&[], WRITABLE, AgentMemory::default());
    fixture.end(&Step::CloseWrites, StepOutcome::Failed("no".into()));
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Fresh, false)));
    let done: Vec<Step> = fixture.run();
    let catch_up = done.iter().position(|step| *step == Step::CatchUp(Takeover::Fresh)).unwrap();
    assert_eq!(done[0], Step::CloseWrites);
    assert!(done[..catch_up].iter().all(|step| *step != Step::AddAddress(writer(), Lifetime::Forever)));
}

#[test]
fn locks_get_their_rounds_of_patience_and_then_their_holders_are_ended() {
    let mut fixture = Fixture::writing();
    fixture.release();
    for _ in 0..2 {
        fixture.end(&Step::CloseWrites, StepOutcome::LockHeld);
        assert!(fixture.steps.is_empty(), "writes flow meanwhile");
        fixture.pass(200);
    }
    assert_eq!(fixture.run()[..2], [Step::EndWriters, Step::CloseWrites]);
}

#[test]
fn an_address_that_waits_for_a_lock_before_it_leaves_lasts_as_long_as_the_lease() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.release();
    fixture.end(&Step::CloseWrites, StepOutcome::LockHeld);
    fixture.lose_monitor();
    fixture.pass(2500);
    fixture.promise_by(&["db2"]);
    let kept = |step: &Step| matches!(step, Step::KeepAddresses(kept) if kept.contains_key(&writer()));
    assert!(fixture.steps.iter().any(kept), "{:?}", fixture.steps);
}

#[test]
fn a_position_that_cannot_be_read_or_clients_that_do_not_end_keep_no_address() {
    let mut fixture = Fixture::writing();
    fixture.release();
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    fixture.end(&Step::EndClients, StepOutcome::Failed("no".into()));
    assert_eq!(fixture.steps, [Step::DropAddress(writer())]);
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    fixture.pass(1000);
    fixture.end(&Step::ReadPosition, StepOutcome::Failed("no".into()));
    assert!(fixture.run().is_empty());
    assert_eq!(fixture.status().released_at, None);
}

#[test]
fn a_restart_with_its_memory_keeps_roles_addresses_and_server_as_they_are() {
    let memory = Fixture::writing().saved.unwrap();
    let mut fixture = Fixture::on(&[writer()], WRITABLE, memory);
    fixture.pass(1000);
    assert!(fixture.steps.is_empty());
    assert_eq!(fixture.status().applied, Some(OrderId { instance: 1, number: 1 }));
}

#[test]
fn an_order_counts_as_taken_in_only_once_addresses_and_server_have_been_looked_at() {
    let memory = Fixture::writing().saved.unwrap();
    let mut fixture = Fixture::new(memory);
    assert_eq!(fixture.status().taken_in, None);
    fixture.addresses(&[writer()], true);
    assert_eq!(fixture.status().taken_in, None);
    fixture.sees(WRITABLE);
    assert_eq!(fixture.status().taken_in, Some(OrderId { instance: 1, number: 1 }));
}

#[test]
fn at_first_contact_marked_addresses_come_down_and_the_server_is_closed() {
    let mut fixture = Fixture::on(&[writer(), reader()], WRITABLE, AgentMemory::default());
    let done = fixture.run();
    assert!(done.contains(&Step::CloseWrites) && done.contains(&Step::DropAddress(reader())));
    assert!(fixture.status().held.is_empty());
}

#[test]
fn at_first_contact_a_running_writer_of_2_2_1_is_left_alone() {
    let mut fixture = Fixture::new(AgentMemory::default());
    fixture.addresses(&[writer(), reader()], false);
    fixture.sees(WRITABLE);
    assert!(fixture.steps.is_empty());
    assert!(fixture.status().held.contains(&writer()));
    fixture.proof = Proof::Own;
    fixture.order(HostState::Online, &[writer(), reader()], Some((1, Takeover::Keep, false)));
    let lifetimes = [(writer(), Lifetime::Forever), (reader(), Lifetime::Until(fixture.now + FIVE_SECONDS))];
    assert_eq!(fixture.run(), [Step::KeepAddresses(lifetimes.into())], "they get our mark and nothing else");
    assert_eq!((fixture.status().lease.accepted, fixture.released()), (epoch(1), Epoch::NONE));
}

#[test]
fn a_server_that_comes_up_writable_where_the_role_is_not_is_closed_at_once() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[reader()], None);
    fixture.run();
    fixture.sees(WRITABLE);
    assert_eq!(fixture.steps, [Step::CloseWrites]);
}

#[test]
fn a_flushed_address_is_put_back() {
    let mut fixture = Fixture::writing();
    fixture.addresses(&[], true);
    assert_eq!(fixture.steps, [Step::AddAddress(writer(), Lifetime::Forever)]);
}

#[test]
fn a_hold_is_kept_until_the_monitor_lifts_it_or_another_writes() {
    let lost = || Some((1, Takeover::Lost, true));
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[writer()], lost());
    assert!(fixture.saved.as_ref().unwrap().holding, "remembered before it is done");
    fixture.run();
    assert!(fixture.status().holding);
    let (now, view) = (fixture.now, WRITABLE);
    fixture.step(AgentEvent::ServerSeen {
        view,
        asked: now,
        source_ip: None,
        gtid: None,
        receiving: Some(true),
    });
    assert_eq!(fixture.run(), [Step::StopReceiving], "a restarted server receives by itself");
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, false)));
    assert_eq!(fixture.run(), [Step::ResumeReceiving]);
    assert!(!fixture.status().holding);
}

#[test]
fn a_hold_outlives_a_time_without_any_writer() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, true)));
    fixture.run();
    let id = OrderId { instance: 1, number: 9 };
    let nobody = Order {
        source: None,
        id,
        state: HostState::HardOffline,
        roles: BTreeSet::new(),
        active_master: None,
        writer: None,
        release: Some(epoch(1)),
        terms: LeaseTerms::default(),
        absolved: false,
        stand_still: false,
        surplus: None,
        semi_sync: None,
        rebuild: None,
        generation: 1,
    };
    fixture.step(AgentEvent::Ordered(nobody.clone()));
    assert!(!fixture.run().contains(&Step::ResumeReceiving));
    fixture.step(AgentEvent::Ordered(Order { active_master: Some("db2".into()), ..nobody }));
    assert_eq!(fixture.run(), [Step::ResumeReceiving]);
}

#[test]
fn admin_offline_stops_replication_and_leaving_it_starts_it() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::AdminOffline, &[], None);
    assert!(fixture.saved.as_ref().unwrap().stopped_for_offline, "remembered before it is done");
    assert_eq!(fixture.run(), [Step::StopReplication]);
    fixture.sees(ServerView::Gone);
    fixture.sees(UP);
    assert_eq!(fixture.run(), [Step::StopReplication], "a restarted server replicates by itself");
    fixture.order(HostState::Online, &[], None);
    assert_eq!(fixture.run(), [Step::StartReplication]);
}

#[test]
fn a_host_chosen_right_after_admin_offline_replicates_before_it_catches_up() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::AdminOffline, &[], None);
    fixture.run();
    let after = Takeover::After(position());
    fixture.order(HostState::Online, &[writer()], Some((1, after.clone(), false)));
    assert_eq!(fixture.run()[..2], [Step::StartReplication, Step::CatchUp(after)]);
}

#[test]
fn a_held_replication_goes_on_before_a_position_of_the_old_writer_is_waited_for() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory { holding: true, ..AgentMemory::default() });
    let after = Takeover::After(position());
    fixture.order(HostState::Online, &[writer()], Some((1, after.clone(), false)));
    assert_eq!(fixture.run()[..2], [Step::ResumeReceiving, Step::CatchUp(after)]);
}

#[test]
fn an_approach_takes_turns_until_its_limit() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    let id = OrderId { instance: 1, number: 99 };
    fixture.step(AgentEvent::ApproachOrdered { id, limit: Duration::from_secs(2), reach: None });
    fixture.end(&Step::Approach(id, None), StepOutcome::NotYet("behind".into()));
    assert_eq!(fixture.status().approached, None, "it goes on");
    fixture.pass(2000);
    fixture.end(&Step::Approach(id, None), StepOutcome::NotYet("behind".into()));
    assert_eq!(fixture.status().approached.unwrap().outcome, Err("behind".to_owned()));
}

#[test]
fn a_promotion_comes_before_the_next_turn_of_an_approach() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    let id = OrderId { instance: 1, number: 99 };
    fixture.step(AgentEvent::ApproachOrdered { id, limit: Duration::from_secs(9), reach: None });
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, true)));
    fixture.end(&Step::Approach(id, None), StepOutcome::NotYet("behind".into()));
    assert_eq!(fixture.steps, [Step::CatchUp(Takeover::Lost)]);
}

#[test]
fn an_approach_is_answered_with_its_number_whatever_comes_of_it() {
    let (id, limit) = (OrderId { instance: 1, number: 5 }, Duration::from_secs(3));
    for outcome in [StepOutcome::Done, StepOutcome::Failed("behind".into())] {
        let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
        fixture.step(AgentEvent::ApproachOrdered { id, limit, reach: None });
        fixture.end(&Step::Approach(id, None), outcome.clone());
        let approached = fixture.status().approached.unwrap();
        assert_eq!((approached.id, approached.outcome.is_ok()), (id, outcome == StepOutcome::Done));
        assert_eq!(fixture.status().problem, None);
    }
}

#[test]
fn an_answer_older_than_our_own_last_change_is_not_believed_in_any_part() {
    let mut fixture = Fixture::writing();
    let before = fixture.now;
    fixture.pass(50);
    fixture.release();
    fixture.run();
    let gtid = GtidView { server_id: 12, binlog_state: "0-12-9".into(), slave_pos: String::new() };
    fixture.sees_asked(WRITABLE, before, Some(gtid.clone()));
    assert_eq!((fixture.status().server, fixture.status().gtid), (UP, None));
    assert!(fixture.steps.is_empty());
    fixture.sees_asked(UP, fixture.now, Some(gtid.clone()));
    assert_eq!(fixture.status().gtid, Some(gtid));
}

#[test]
fn a_status_is_reported_only_when_it_differs() {
    let mut fixture = Fixture::writing();
    fixture.reports.clear();
    fixture.pass(100);
    fixture.sees(WRITABLE);
    assert!(fixture.reports.is_empty());
    fixture.sees(ServerView::Refusing);
    assert_eq!(fixture.reports.len(), 1);
}

#[test]
fn a_new_writer_that_applies_for_longer_than_allowed_is_opened_and_says_so() {
    let mut fixture = Fixture::new(AgentMemory::default());
    fixture.terms = LeaseTerms { apply_limit: Some(FIVE_SECONDS), ..LeaseTerms::default() };
    fixture.sees(UP);
    fixture.addresses(&[], true);
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, true)));
    let catch_up = Step::CatchUp(Takeover::Lost);
    let behind = || StepOutcome::NotYet("bin.000002:100 of bin.000002:900 received".to_owned());
    for _ in 0..9 {
        fixture.end(&catch_up, behind());
        fixture.pass(500);
    }
    assert!(!fixture.steps.contains(&Step::OpenWrites), "{:?}", fixture.steps);
    fixture.pass(1_000);
    fixture.end(&catch_up, behind());
    assert_eq!(fixture.steps, [Step::OpenWrites]);
    assert!(fixture.logged("FATAL Opening the server for writes although it has not applied all that it received (bin.000002:100 of bin.000002:900 received): promote_apply_timeout is 5 s"));
}

#[test]
fn a_new_writer_applies_for_as_long_as_it_takes_where_no_limit_is_set_and_in_a_planned_move() {
    for (limit, takeover) in [(None, Takeover::Lost), (Some(FIVE_SECONDS), Takeover::After(position()))] {
        let mut fixture = Fixture::new(AgentMemory::default());
        fixture.terms = LeaseTerms { apply_limit: limit, ..LeaseTerms::default() };
        fixture.sees(UP);
        fixture.addresses(&[], true);
        fixture.order(HostState::Online, &[writer()], Some((1, takeover.clone(), true)));
        for _ in 0..20 {
            fixture.end(&Step::CatchUp(takeover.clone()), StepOutcome::NotYet("behind".to_owned()));
            fixture.pass(1_000);
        }
        assert!(!fixture.steps.contains(&Step::OpenWrites), "{takeover:?}");
    }
}

#[test]
fn what_the_server_has_received_is_told_with_the_look_that_asked_for_it() {
    let mut fixture = Fixture::new(AgentMemory::default());
    fixture.sees(UP);
    assert_eq!((fixture.status().received, fixture.status().looked), (None, Some(OrderId::default())));
    let id = OrderId { instance: 1, number: 4 };
    fixture.step(AgentEvent::LookOrdered { id });
    assert_eq!(fixture.looks, [id]);
    let received = crate::gtid::Received { gtids: "0-1-40".to_owned(), ..Default::default() };
    fixture.step(AgentEvent::ReceivedSeen(Box::new(received.clone())));
    fixture.step(AgentEvent::Looked { id });
    assert_eq!((fixture.status().received, fixture.status().looked), (Some(Box::new(received)), Some(id)));
    fixture.sees(ServerView::Gone);
    assert_eq!(fixture.status().received, None, "a server that is started again is asked anew");
}

#[test]
fn a_server_that_calls_itself_closed_while_a_lock_is_waited_for_is_not_believed() {
    let mut fixture = Fixture::writing();
    fixture.release();
    assert_eq!(fixture.steps, [Step::CloseWrites]);
    let closed = ServerView::Up { writable: false };
    fixture.pass(100);
    fixture.sees(closed);
    assert!(fixture.status().server.is_writable());
    let asked = fixture.now;
    fixture.pass(100);
    fixture.end(&Step::CloseWrites, StepOutcome::LockHeld);
    // It was asked for while the attempt was under way.
    fixture.sees_asked(closed, asked, None);
    fixture.pass(500);
    assert_eq!(fixture.steps, [Step::CloseWrites], "tried again, and nothing read or given back before");
    fixture.end(&Step::CloseWrites, StepOutcome::Failed("no answer".into()));
    fixture.sees(closed);
    fixture.pass(2000);
    assert_eq!(fixture.steps, [Step::CloseWrites]);
    assert!(fixture.status().held.contains(&writer()) && fixture.released() == Epoch::NONE);
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    fixture.run();
    assert_eq!(fixture.released(), epoch(1));
}

#[test]
fn a_worker_that_is_started_again_closes_for_itself_what_it_is_to_give_back() {
    let mut fixture = Fixture::writing().restarted(10);
    fixture.addresses(&[writer()], true);
    fixture.release();
    fixture.sees(ServerView::Up { writable: false });
    assert!(fixture.steps.contains(&Step::CloseWrites), "{:?}", fixture.steps);
    assert_eq!(fixture.released(), Epoch::NONE);
}

#[test]
fn a_new_writer_that_has_not_caught_up_does_so_for_another_monitor_too() {
    for restarted in [false, true] {
        for takeover in [Takeover::After(position()), Takeover::Lost] {
            let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
            let hold = takeover == Takeover::Lost;
            fixture.order(HostState::Online, &[writer()], Some((1, takeover.clone(), hold)));
            let catch_up = Step::CatchUp(takeover);
            fixture.end(&catch_up, StepOutcome::NotYet("behind".to_owned()));
            if restarted {
                fixture = fixture.restarted(100);
                fixture.addresses(&[], true);
                fixture.sees(UP);
            }
            // It finds the lease held, and says that the role stays where it is.
            fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Keep, hold)));
            assert_eq!(fixture.steps, std::slice::from_ref(&catch_up), "restarted: {restarted}");
            fixture.end(&catch_up, StepOutcome::NotYet("behind".to_owned()));
            assert_eq!(fixture.steps, std::slice::from_ref(&catch_up), "restarted: {restarted}");
            fixture.end(&catch_up, StepOutcome::Done);
            assert_eq!(fixture.steps, [Step::OpenWrites]);
        }
    }
}

/// Told together with a server that is open, they would make a loss of what is here by then.
#[test]
fn positions_that_were_read_while_there_was_more_to_apply_are_not_told_once_it_has_caught_up() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    let applied = |number: u64| GtidView {
        server_id: 2,
        binlog_state: String::new(),
        slave_pos: format!("0-1-{number}"),
    };
    fixture.order(HostState::Online, &[writer()], Some((1, Takeover::Lost, true)));
    let before = fixture.now;
    fixture.sees_asked(UP, before, Some(applied(40)));
    assert_eq!(fixture.status().gtid, Some(applied(40)));
    fixture.pass(50);
    fixture.end(&Step::CatchUp(Takeover::Lost), StepOutcome::Done);
    assert_eq!((fixture.status().server, fixture.status().gtid), (WRITABLE, None));
    fixture.sees_asked(UP, before, Some(applied(41)));
    assert_eq!(fixture.status().gtid, None, "it was asked before");
    fixture.sees_asked(UP, fixture.now, Some(applied(41)));
    assert_eq!(fixture.status().gtid, None, "it was asked at the same moment");
    fixture.run();
    fixture.sees_asked(WRITABLE, fixture.now, Some(applied(43)));
    assert_eq!(fixture.status().gtid, Some(applied(43)));
}
