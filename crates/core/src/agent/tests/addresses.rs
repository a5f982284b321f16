//! Addresses of readers last as long as somebody is heard of, and the kernel knows until when.

use std::time::Duration;

use super::fixture::*;
use crate::agent::*;
use crate::message::{PeerAnswer, PeerRequest, Takeover};
use crate::moment::Moment;
use crate::state::HostState;

fn reading() -> Fixture {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[reader()], None);
    let until = Lifetime::Until(fixture.now + Duration::from_secs(5));
    assert_eq!(fixture.run(), [Step::AddAddress(reader(), until)]);
    fixture
}

fn answer(fixture: &mut Fixture, asked: Moment, host: &str, sees_monitor: bool) {
    let answer = PeerAnswer::Contact { asked, sees_monitor };
    fixture.step(AgentEvent::PeerAnswered { host: host.into(), answer });
}

/// Hosts that were asked at this moment whether anybody is there.
fn asked_at(fixture: &Fixture, moment: Moment) -> Vec<&str> {
    let asked = PeerRequest::Contact { asked: moment };
    fixture.asked.iter().filter(|(_, request)| *request == asked).map(|(host, _)| host.as_str()).collect()
}

#[test]
fn a_reader_that_hears_of_nobody_lets_its_address_go_after_one_lease() {
    let mut fixture = reading();
    fixture.lose_monitor();
    assert!(fixture.live(4900).is_empty());
    assert_eq!(fixture.live(100), [Step::DropAddress(reader())]);
    fixture.found();
    fixture.run();
    assert!(!fixture.status().held.contains(&reader()), "somebody else may have it by now");
    fixture.order(HostState::Online, &[reader()], None);
    fixture.run();
    assert!(fixture.status().held.contains(&reader()), "and has it again by the monitor's word");
}

#[test]
fn without_the_monitor_the_other_hosts_of_the_role_are_asked_and_one_that_sees_it_is_enough() {
    let mut fixture = reading();
    fixture.lose_monitor();
    fixture.live(2000);
    assert_eq!(asked_at(&fixture, fixture.now), ["db2", "db3"]);
    let asked = fixture.now;
    answer(&mut fixture, asked, "db3", true);
    let done = fixture.live(4900);
    assert!(done.iter().all(|step| matches!(step, Step::KeepAddresses(_))), "{done:?}");
    assert_eq!(fixture.live(100), [Step::DropAddress(reader())], "one lease after the question");
}

#[test]
fn others_that_see_no_monitor_either_count_only_all_together_and_in_one_round() {
    for (hosts, keeps) in [(&["db2"][..], false), (&["db2", "db3"][..], true)] {
        let mut fixture = reading();
        fixture.lose_monitor();
        fixture.live(2000);
        let asked = fixture.now;
        for host in hosts {
            answer(&mut fixture, asked, host, false);
        }
        fixture.live(1000);
        let later = fixture.now;
        answer(&mut fixture, Moment::from_secs(1), "db3", false);
        assert!(later > asked);
        fixture.live(2000);
        assert_eq!(fixture.status().held.contains(&reader()), keeps, "{hosts:?}");
    }
}

#[test]
fn an_agent_tells_whether_it_sees_the_monitor_and_the_monitor_who_asked() {
    let mut fixture = reading();
    let asked = Moment::from_secs(3);
    fixture.asks(1, "db2", PeerRequest::Contact { asked });
    assert_eq!(fixture.answers, [(1, PeerAnswer::Contact { asked, sees_monitor: true })]);
    assert!(fixture.status().lease.contacts.contains("db2"));
    fixture.pass(5000);
    assert!(fixture.status().lease.contacts.is_empty(), "that was long ago");
    fixture.lose_monitor();
    fixture.asks(2, "db2", PeerRequest::Contact { asked });
    assert_eq!(fixture.answers[1], (2, PeerAnswer::Contact { asked, sees_monitor: false }));
}

#[test]
fn the_lifetimes_of_all_addresses_are_renewed_again_and_again() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.list = ["db2".into()].into();
    fixture.order(HostState::Online, &[writer(), reader()], Some((1, Takeover::Keep, false)));
    fixture.run();
    let done = fixture.live(5000);
    assert!(done.len() >= 5, "{done:?}");
    for role in [writer(), reader()] {
        let kept =
            |step: &&Step| matches!(step, Step::KeepAddresses(lifetimes) if lifetimes.contains_key(&role));
        assert!(done.iter().filter(kept).count() >= 4, "{role}: {done:?}");
    }
}

#[test]
fn an_address_for_less_than_a_whole_second_is_not_put_up() {
    let mut fixture = reading();
    fixture.lose_monitor();
    fixture.live(3500);
    fixture.addresses(&[], true);
    assert!(fixture.steps.is_empty());
}
