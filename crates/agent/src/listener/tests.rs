use mmm_core::lease::LeaseLength;
use mmm_wire::RefusalCode;
use tokio::sync::mpsc;

use super::*;
use crate::peer_port::Askers;
use crate::rebuild::BackupDesk;
use crate::salvage::TailDesk;

fn caller(purpose: Purpose) -> PeerInfo {
    PeerInfo {
        name: "somebody at 10.0.0.9:4711".into(),
        program: "3.0.0".to_owned(),
        purpose,
        instance: 7,
        cluster: None,
        protocol: 2,
        features: Features::default(),
        authenticated: true,
    }
}

fn agent_of(host: &str) -> PeerInfo {
    caller(Purpose::Peer { host: host.to_owned() })
}

fn peers() -> PeerPort {
    let (events, _inbox) = mpsc::channel(1);
    let known = [HostName::from("db2"), HostName::from("db3")];
    PeerPort::new(
        &known,
        Arc::new(Askers::default()),
        TailDesk::of_nothing(),
        BackupDesk::of_nothing(),
        events,
    )
}

#[test]
fn a_monitor_gets_a_session_and_the_agent_of_another_host_may_ask() {
    let (holder, peers) = (Holder::new(LeaseLength::DEFAULT), peers());
    assert!(matches!(judge(&caller(Purpose::Monitor), &holder, &peers), Ok(Admitted::Monitor)));
    match judge(&agent_of("db2"), &holder, &peers) {
        Ok(Admitted::Peer(host, _place)) => assert_eq!(host, "db2".into()),
        Ok(Admitted::Monitor) => panic!("an agent may give no orders"),
        Err(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn the_agent_of_a_host_that_is_not_configured_is_refused_and_told_which_are() {
    let (holder, peers) = (Holder::new(LeaseLength::DEFAULT), peers());
    for host in ["db1", "db9"] {
        let Err(refusal) = judge(&agent_of(host), &holder, &peers) else { panic!("{host} was let in") };
        assert_eq!(refusal.code, RefusalCode::UnknownPeer);
        assert!(refusal.reason.contains("'db2', 'db3'"), "{}", refusal.reason);
    }
}

#[test]
fn one_host_can_not_take_all_connections() {
    let (holder, peers) = (Holder::new(LeaseLength::DEFAULT), peers());
    let mut places = Vec::new();
    for _ in 0..16 {
        places.push(judge(&agent_of("db2"), &holder, &peers).ok().unwrap());
    }
    assert!(judge(&agent_of("db2"), &holder, &peers).is_err());
    assert!(judge(&agent_of("db3"), &holder, &peers).is_ok());
    places.pop();
    assert!(judge(&agent_of("db2"), &holder, &peers).is_ok());
}
