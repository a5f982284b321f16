//! Taking the role, renewing its lease, and what of both outlives the program.

use std::time::Duration;

use super::fixture::*;
use crate::agent::*;
use crate::lease::{Duty, Ended, Epoch, Grant, Proof};
use crate::message::Takeover;
use crate::moment::Moment;
use crate::state::HostState;

fn promote(fixture: &mut Fixture, number: u64, proof: Proof, takeover: Takeover) {
    fixture.proof = proof;
    fixture.order(HostState::Online, &[writer()], Some((number, takeover, false)));
}

/// Readings of the renewals, and what each said was taken in last.
fn readings(fixture: &Fixture) -> Vec<(Moment, Option<Moment>)> {
    fixture.renewals.iter().map(|renewal| (renewal.reading, renewal.taken)).collect()
}

#[test]
fn a_lease_that_was_given_back_since_its_file_was_written_is_held_no_more() {
    let fixture = Fixture::writing();
    let (memory, mut durable) = (fixture.saved.clone().unwrap(), fixture.durable.clone().unwrap());
    durable.released = durable.accepted;
    let fixture = Fixture::unfound(Some(memory), Some(durable), fixture.now);
    assert_eq!(fixture.status().lease.held, None);
}

#[test]
fn nothing_of_a_promotion_is_acted_on_before_its_epoch_is_on_disk() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.epoch_file = Disk::Slow;
    promote(&mut fixture, 1, Proof::Nobody, Takeover::Fresh);
    fixture.pass(3000);
    assert!(fixture.steps.is_empty() && fixture.renewals.is_empty());
    assert_eq!((fixture.status().lease.accepted, fixture.status().lease.held), (Epoch::NONE, None));
    fixture.write_epoch_file();
    assert_eq!(fixture.status().lease.accepted, epoch(1));
    assert_eq!((fixture.renewals.len(), &fixture.steps[..]), (1, &[Step::CatchUp(Takeover::Fresh)][..]));
}

#[test]
fn a_full_disk_takes_no_role_says_so_once_and_is_tried_again() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.epoch_file = Disk::Full;
    promote(&mut fixture, 1, Proof::Nobody, Takeover::Fresh);
    fixture.pass(5000);
    assert!(fixture.steps.is_empty() && fixture.renewals.is_empty());
    assert!(fixture.status().problem.unwrap().contains("Can't write the epoch file: no space left"));
    assert_eq!(fixture.log.iter().filter(|line| line.contains("Can't write the epoch file")).count(), 1);
    fixture.epoch_file = Disk::Quick;
    fixture.pass(1000);
    assert_eq!((fixture.renewals.len(), fixture.status().problem), (1, None));
}

#[test]
fn a_promoted_host_opens_nothing_before_the_first_grant() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.monitor = false;
    promote(&mut fixture, 1, Proof::Nobody, Takeover::Keep);
    assert!(fixture.live(20_000).is_empty());
    assert_eq!(fixture.status().lease.held.unwrap().duty, Duty::Wait);
    assert_eq!(fixture.status().applied, None);
    fixture.monitor = true;
    let done = fixture.live(1000);
    assert_eq!(done, [Step::OpenWrites, Step::AddAddress(writer(), Lifetime::Forever)]);
}

#[test]
fn a_lease_is_renewed_each_fifth_of_its_length_with_readings_that_go_forward() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.live(10_000);
    let readings = readings(&fixture);
    assert_eq!(readings.len(), 11, "{readings:?}");
    let named = readings[1].0.since(readings[0].0);
    assert!(
        named < Duration::from_millis(500),
        "the monitor hears at once that a list is known: {readings:?}"
    );
    assert!(
        readings[1..].windows(2).all(|pair| pair[1].0 == pair[0].0 + Duration::from_secs(1)),
        "{readings:?}"
    );
    assert!(
        readings.windows(2).all(|pair| pair[1].1 == Some(pair[0].0)),
        "each names the last: {readings:?}"
    );
}

#[test]
fn a_grant_that_comes_late_changes_nothing() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    let early = fixture.renewals.last().unwrap().reading;
    fixture.live(3000);
    let late = Grant { list: std::collections::BTreeSet::new(), ..fixture.grant(epoch(1), early) };
    fixture.step(AgentEvent::Granted(late));
    assert!(fixture.status().lease.held.unwrap().list.contains("db2"));
    fixture.lose_monitor();
    fixture.live(5000);
    assert_eq!(fixture.released(), epoch(1), "it runs out all the same");
}

#[test]
fn a_grant_is_named_only_when_the_lease_is_in_the_state_file() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.live(1000);
    let kept = fixture.renewals.last().unwrap().reading;
    fixture.state_file = Disk::Slow;
    fixture.live(3000);
    assert_eq!(fixture.renewals.last().unwrap().taken, Some(kept));
    fixture.write_state_file();
    let newest = fixture.renewals.last().unwrap().reading;
    fixture.live(1000);
    assert_eq!(fixture.renewals.last().unwrap().taken, Some(newest));
}

#[test]
fn a_full_run_directory_names_no_grant_and_is_tried_again() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    let kept = fixture.renewals.last().unwrap().reading;
    fixture.state_file = Disk::Full;
    fixture.live(3000);
    assert_eq!(fixture.renewals.last().unwrap().taken, Some(kept));
    fixture.state_file = Disk::Quick;
    fixture.live(3000);
    assert!(fixture.renewals.last().unwrap().taken > Some(kept));
}

#[test]
fn a_list_is_named_only_when_the_address_has_got_a_lifetime() {
    let mut fixture = Fixture::writing();
    let start = fixture.now;
    fixture.list = ["db2".into()].into();
    fixture.pass(1000);
    let lifetimes = [(writer(), Lifetime::Until(fixture.now + Duration::from_secs(5)))];
    let keep = Step::KeepAddresses(lifetimes.into());
    assert_eq!(fixture.steps, std::slice::from_ref(&keep), "it stood there for ever until now");
    fixture.pass(1000);
    assert_eq!(fixture.renewals.last().unwrap().taken, Some(start), "the step is still under way");
    fixture.end(&keep, StepOutcome::Failed("no".into()));
    fixture.pass(1000);
    assert_eq!(fixture.renewals.last().unwrap().taken, Some(start), "it failed");
    fixture.run();
    fixture.pass(1000);
    assert_eq!(fixture.renewals.last().unwrap().taken, Some(start + Duration::from_secs(3)));
}

#[test]
fn a_holder_that_is_promoted_anew_goes_on_writing_while_the_new_epoch_is_being_written() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.epoch_file = Disk::Slow;
    promote(&mut fixture, 2, Proof::Own, Takeover::Keep);
    assert!(fixture.live(500).is_empty());
    assert_eq!((fixture.status().lease.held.unwrap().epoch, fixture.status().server), (epoch(1), WRITABLE));
    fixture.write_epoch_file();
    assert_eq!(fixture.renewals.last().unwrap().epoch, epoch(2));
    let keep = |step: &Step| matches!(step, Step::KeepAddresses(_));
    assert!(fixture.live(10_000).iter().all(keep));
    assert_eq!((fixture.status().lease.held.unwrap().epoch, fixture.status().server), (epoch(2), WRITABLE));
}

#[test]
fn a_program_that_is_started_again_in_time_goes_on() {
    let mut before = Fixture::writing_with(&["db2"]);
    before.live(3000);
    let mut fixture = before.restarted(500);
    fixture.addresses(&[writer()], true);
    fixture.sees(WRITABLE);
    fixture.found();
    let keep = |step: &Step| matches!(step, Step::KeepAddresses(_));
    assert!(fixture.live(10_000).iter().all(keep), "nothing is taken off or closed");
    assert_eq!((fixture.status().lease.held.unwrap().epoch, fixture.released()), (epoch(1), Epoch::NONE));
    assert!(fixture.renewals[0].reading > before.renewals.last().unwrap().reading);
    assert_eq!(fixture.renewals[0].taken, Some(before.renewals.last().unwrap().reading), "it was kept");
}

#[test]
fn a_program_that_is_started_again_after_the_end_fences_before_it_hears_of_anybody() {
    let mut fixture = Fixture::writing_with(&["db2"]).restarted(6000);
    fixture.addresses(&[writer()], true);
    assert_eq!(fixture.steps, [Step::DropAddress(writer())]);
    fixture.sees(WRITABLE);
    fixture.run();
    assert_eq!((fixture.released(), fixture.status().server), (epoch(1), UP));
}

#[test]
fn a_host_that_lost_its_lease_by_a_reboot_gives_back_by_itself_and_never_writes_by_that_epoch_again() {
    let before = Fixture::writing_with(&["db2"]);
    let mut fixture = Fixture::unfound(None, before.durable.clone(), Moment::from_secs(20));
    fixture.sees(WRITABLE);
    fixture.addresses(&[writer()], true);
    assert_eq!(fixture.released(), Epoch::NONE, "it is still there");
    assert_eq!(fixture.run(), [Step::CloseWrites, Step::DropAddress(writer())]);
    assert_eq!(fixture.released(), epoch(1));
    fixture.found();
    promote(&mut fixture, 1, Proof::Nobody, Takeover::Keep);
    assert!(fixture.live(70_000).is_empty() && fixture.renewals.is_empty());
    promote(&mut fixture, 2, Proof::Ended(epoch(1), Ended::Released), Takeover::Keep);
    fixture.run();
    assert_eq!(fixture.status().server, WRITABLE);
}

#[test]
fn an_epoch_is_given_back_only_when_nothing_of_it_is_left_and_that_is_on_disk() {
    let mut fixture = Fixture::writing_with(&["db2"]);
    fixture.release();
    fixture.end(&Step::CloseWrites, StepOutcome::Done);
    fixture.end(&Step::EndClients, StepOutcome::Done);
    fixture.end(&Step::DropAddress(writer()), StepOutcome::Done);
    assert_eq!(fixture.released(), Epoch::NONE);
    fixture.epoch_file = Disk::Slow;
    fixture.end(&Step::ReadPosition, StepOutcome::Position(position()));
    assert_eq!(fixture.released(), Epoch::NONE);
    fixture.write_epoch_file();
    assert_eq!((fixture.released(), fixture.status().lease.held), (epoch(1), None));
}

#[test]
fn a_release_also_covers_a_promotion_on_its_way() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.epoch_file = Disk::Slow;
    promote(&mut fixture, 1, Proof::Nobody, Takeover::Fresh);
    fixture.release();
    fixture.run();
    fixture.epoch_file = Disk::Quick;
    fixture.write_epoch_file();
    assert_eq!(fixture.released(), epoch(1));
    promote(&mut fixture, 1, Proof::Nobody, Takeover::Fresh);
    assert!(fixture.live(5000).is_empty() && fixture.renewals.is_empty());
}

#[test]
fn a_writer_of_2_2_1_goes_on_with_epoch_0_for_ever_and_gives_back_in_order() {
    let mut fixture = Fixture::new(AgentMemory::default());
    fixture.addresses(&[writer()], false);
    fixture.sees(WRITABLE);
    assert!(fixture.live(60_000).is_empty());
    assert_eq!(fixture.status().lease.held.unwrap().epoch, Epoch::NONE);
    fixture.release();
    let done = fixture.run();
    assert_eq!(done, [Step::CloseWrites, Step::EndClients, Step::DropAddress(writer()), Step::ReadPosition]);
    assert_eq!(fixture.status().released_at, Some((Epoch::NONE, position())));
    assert_eq!(fixture.status().lease.held, None);
}

#[test]
fn where_an_epoch_file_was_ever_written_an_unmarked_writer_is_no_writer_of_2_2_1() {
    let before = Fixture::writing_with(&["db2"]);
    let mut fixture = Fixture::unfound(None, before.durable.clone(), Moment::from_secs(20));
    fixture.addresses(&[writer()], false);
    fixture.sees(WRITABLE);
    assert_eq!(fixture.status().lease.held, None);
    assert_eq!(fixture.steps, [Step::CloseWrites]);
}
