//! New settings while the agent runs, and orders that follow the monitor's new ones.

use std::collections::BTreeSet;

use super::fixture::*;
use crate::agent::*;
use crate::message::PeerRequest;
use crate::names::{HostName, Role};
use crate::state::HostState;

#[test]
fn hosts_of_a_role_that_are_new_are_asked_and_who_this_host_is_stays() {
    let mut fixture = Fixture::on(&[], UP, AgentMemory::default());
    fixture.order(HostState::Online, &[reader()], None);
    fixture.run();
    let mut settings = fixture.mind.settings.clone();
    let hosts: BTreeSet<HostName> = ["db1", "db4"].into_iter().map(HostName::from).collect();
    settings.role_hosts.insert("reader".into(), hosts);
    settings.max_kill_retries = 9;
    settings.host = "db7".into();
    settings.active_master_role = "reader".into();
    fixture.step(AgentEvent::Reconfigured(settings));
    assert_eq!(fixture.mind.settings.host.as_str(), "db1");
    assert_eq!(fixture.mind.settings.active_master_role.as_str(), "writer");
    assert_eq!(fixture.mind.settings.max_kill_retries, 9);
    fixture.lose_monitor();
    fixture.live(2000);
    let asked: Vec<&str> = fixture
        .asked
        .iter()
        .filter(|(_, request)| matches!(request, PeerRequest::Contact { .. }))
        .map(|(host, _)| host.as_str())
        .collect();
    assert_eq!(asked, ["db4"]);
}

#[test]
fn new_settings_leave_the_lease_and_the_addresses_alone() {
    let mut fixture = Fixture::writing();
    let before = fixture.status();
    let settings = fixture.mind.settings.clone();
    fixture.step(AgentEvent::Reconfigured(settings));
    assert_eq!(fixture.run(), []);
    assert_eq!(fixture.status(), before);
}

#[test]
fn the_writer_goes_on_under_its_lease_when_the_role_gets_another_address() {
    let mut fixture = Fixture::writing();
    let mut order = fixture.mind.memory.order.clone().unwrap();
    let other = Role::parse("writer(192.168.8.31)").unwrap();
    order.roles = [other.clone()].into();
    order.id.number += 1;
    let held = fixture.status().lease.held;
    fixture.step(AgentEvent::Ordered(order));
    let steps = fixture.run();
    assert!(steps.contains(&Step::DropAddress(writer())), "{steps:?}");
    assert!(
        steps.iter().any(|step| matches!(step, Step::AddAddress(role, _) if *role == other)),
        "{steps:?}"
    );
    assert!(!steps.contains(&Step::CloseWrites), "{steps:?}");
    let status = fixture.status();
    assert_eq!((status.lease.held, status.held), (held, [other].into()));
    assert!(status.server.is_writable());
}
