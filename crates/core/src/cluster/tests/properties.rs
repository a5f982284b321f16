//! Random events against the monitor's mind: it never panics, and never grants what somebody else may have.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::fixture::{Fixture, four, obey, pair, sound};
use crate::check::{CheckKind, Verdict};
use crate::cluster::Event;
use crate::message::{Approached, ServerView};
use crate::names::{HostName, Role};
use crate::state::HostState;

#[derive(Clone, Debug)]
enum Move {
    Pass(u64),
    Check(usize, usize, u8),
    Obey(usize),
    ServerGone(usize),
    ServerBack(usize, bool),
    AgentAway(usize),
    AgentBack(usize),
    Command(usize, usize),
    Approached(bool),
    Network(bool),
    KillEnded(usize, bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (0_u64..30).prop_map(Move::Pass),
        (0_usize..4, 0_usize..4, 0_u8..3).prop_map(|(host, kind, what)| Move::Check(host, kind, what)),
        (0_usize..4).prop_map(Move::Obey),
        (0_usize..4).prop_map(Move::Obey),
        (0_usize..4).prop_map(Move::Obey),
        (0_usize..4).prop_map(Move::ServerGone),
        (0_usize..4, any::<bool>()).prop_map(|(host, writable)| Move::ServerBack(host, writable)),
        (0_usize..4).prop_map(Move::AgentAway),
        (0_usize..4).prop_map(Move::AgentBack),
        (0_usize..12, 0_usize..4).prop_map(|(line, host)| Move::Command(line, host)),
        any::<bool>().prop_map(Move::Approached),
        any::<bool>().prop_map(Move::Network),
        (0_usize..4, any::<bool>()).prop_map(|(host, done)| Move::KillEnded(host, done)),
    ];
    proptest::collection::vec(one, 1..80)
}

const LINES: [&str; 12] = [
    "set_online HOST",
    "set_offline HOST",
    "set_offline --force HOST",
    "move_role writer HOST",
    "move_role reader HOST",
    "move_role --force writer HOST",
    "set_active",
    "set_manual",
    "set_passive",
    "set_ip 192.168.8.30 HOST",
    "show",
    "checks HOST",
];

fn apply(fixture: &mut Fixture, names: &[HostName], step: &Move) {
    let name = |index: usize| names[index % names.len()].as_str();
    match *step {
        Move::Pass(seconds) => fixture.pass(seconds),
        Move::Check(host, kind, what) => {
            let verdict = match what {
                0 => Verdict::Good("OK".into()),
                1 => Verdict::Bad("ERROR: no".into()),
                _ => Verdict::Unknown("UNKNOWN: ?".into()),
            };
            fixture.check(name(host), CheckKind::ALL[kind], verdict);
        }
        Move::Obey(host) => fixture.agent_obeys(name(host)),
        Move::ServerGone(host) => fixture.report(name(host), |status| status.server = ServerView::Gone),
        Move::ServerBack(host, writable) => {
            fixture.report(name(host), |status| status.server = ServerView::Up { writable });
        }
        Move::AgentAway(host) => fixture.lose(name(host)),
        Move::AgentBack(host) => fixture.connect(name(host)),
        Move::Command(line, host) => {
            let _ = fixture.command(&LINES[line].replace("HOST", name(host)));
        }
        Move::Approached(well) => {
            if let Some((host, id)) = fixture.approaches.pop() {
                let outcome = if well { Ok(()) } else { Err("behind".to_owned()) };
                fixture.report(host.as_str(), |status| status.approached = Some(Approached { id, outcome }));
            }
        }
        Move::Network(reachable) => fixture.network(reachable),
        Move::KillEnded(host, done) => {
            let outcome = if done { Ok(()) } else { Err("no".to_owned()) };
            fixture.step(Event::HostKillEnded { host: name(host).into(), outcome });
        }
    }
}

/// Roles that each host may have on its interface: what it said last, or what it was ordered since.
fn may_have(fixture: &Fixture) -> BTreeMap<Role, Vec<HostName>> {
    let mut owners: BTreeMap<Role, Vec<HostName>> = BTreeMap::new();
    for (name, status) in &fixture.said {
        let ordered = fixture.orders.get(name).map(|order| order.roles.clone()).unwrap_or_default();
        for role in status.held.union(&ordered) {
            owners.entry(role.clone()).or_default().push(name.clone());
        }
    }
    owners
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_role_is_ordered_for_a_host_while_another_may_have_it(big in any::<bool>(), moves in moves()) {
        let mut fixture = Fixture::running(if big { four() } else { pair() });
        let names: Vec<HostName> = fixture.said.keys().cloned().collect();
        for step in moves {
            // A host that is dead and cannot be asked is passed over, as in 2.2.1: that is not what is tested here.
            if matches!(step, Move::AgentAway(_) | Move::KillEnded(..)) {
                continue;
            }
            apply(&mut fixture, &names, &step);
            for (role, hosts) in may_have(&fixture) {
                prop_assert!(hosts.len() < 2, "{role} may be on {hosts:?}");
            }
        }
    }

    #[test]
    fn roles_are_only_on_eligible_hosts_evenly_and_stay_there(big in any::<bool>(), moves in moves()) {
        let mut fixture = Fixture::running(if big { four() } else { pair() });
        let names: Vec<HostName> = fixture.said.keys().cloned().collect();
        for step in moves {
            apply(&mut fixture, &names, &step);
        }
        // Calm: every agent is there and does what it is told.
        fixture.network(true);
        let _ = fixture.command("set_active");
        for name in &names {
            *fixture.said.get_mut(name).unwrap() = sound();
            fixture.connect(name.as_str());
            for kind in CheckKind::ALL {
 fixture.good(name.as_str(), kind);
}
            if let Some(order) = fixture.orders.get(name).cloned() {
                fixture.report(name.as_str(), |status| obey(status, &order));
            }
        }
        fixture.settle();
        fixture.pass(70);
        fixture.settle();
        if let Some((_, id)) = fixture.approaches.pop() {
            let outcome = Err("behind".to_owned());
            fixture.report("db1", |status| status.approached = Some(Approached { id, outcome }));
            fixture.settle();
        }
        let online: Vec<&HostName> =
            names.iter().filter(|name| fixture.state(name.as_str()) == HostState::Online).collect();
        let counts: Vec<usize> =
            online.iter().map(|name| fixture.roles(name.as_str()).matches("reader").count()).collect();
        if let (Some(most), Some(least)) = (counts.iter().max(), counts.iter().min()) {
            prop_assert!(most - least <= 1, "{counts:?}");
        }
        for name in names.iter().filter(|name| !online.contains(name)) {
            prop_assert_eq!(fixture.roles(name.as_str()), "");
        }
        let writers = names.iter().filter(|name| fixture.roles(name.as_str()).contains("writer")).count();
        prop_assert!(writers <= 1);
        let before: Vec<String> = names.iter().map(|name| fixture.roles(name.as_str())).collect();
        for _ in 0..20 {
            fixture.now = fixture.now + Duration::from_secs(1);
            fixture.tick();
        }
        let after: Vec<String> = names.iter().map(|name| fixture.roles(name.as_str())).collect();
        prop_assert_eq!(before, after);
    }
}
