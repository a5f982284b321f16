use super::fixture::{ip, local, only, told};
use crate::doctor::host::is_within;
use crate::doctor::{InterfaceFacts, LocalFacts, Severity, judge_host};

fn interface(facts: &mut LocalFacts) -> &mut InterfaceFacts {
    facts.interfaces.as_mut().unwrap().get_mut("eth0").unwrap()
}

fn check(change: impl FnOnce(&mut LocalFacts), severity: Severity, check: &str, fix: &str) -> String {
    let mut facts = local();
    change(&mut facts);
    let finding = only(judge_host(&facts));
    let (found, host, what, fixes) = told(&finding);
    assert_eq!((found, host, what), (severity, "db1", check));
    assert_eq!(fixes[0], fix);
    finding.what
}

#[test]
fn a_host_that_is_set_up_well_is_no_finding() {
    assert_eq!(judge_host(&local()), []);
}

#[test]
fn an_interface_that_does_not_exist_is_answered_with_the_one_that_has_the_hosts_address() {
    let change = |facts: &mut LocalFacts| facts.cluster_interface = "bond0".to_owned();
    let what = check(change, Severity::Error, "interface", "db1 mmm: cluster_interface eth0");
    assert!(what.ends_with("there are: eth0, lo"));
}

#[test]
fn an_interface_that_is_down_or_unplugged() {
    let down = |facts: &mut LocalFacts| interface(facts).is_up = false;
    check(down, Severity::Error, "interface", "db1 sh: ip link set eth0 up");
    let unplugged = |facts: &mut LocalFacts| interface(facts).has_carrier = false;
    check(unplugged, Severity::Error, "interface", "db1 sh: ethtool eth0");
}

#[test]
fn a_host_without_its_own_address() {
    let change = |facts: &mut LocalFacts| {
        interface(facts).networks = [(ip("192.168.8.99"), 24)].into();
    };
    check(change, Severity::Error, "ip", "db1 sh: ip address add 192.168.8.32/24 dev eth0");
}

#[test]
fn a_role_address_outside_of_the_interfaces_networks() {
    let change = |facts: &mut LocalFacts| {
        facts.roles = [crate::Role::new("writer", ip("192.168.9.30"))].into();
    };
    let what = check(
        change,
        Severity::Warn,
        "address 192.168.9.30",
        "db1 mmm: ips ADDRESS-IN-A-NETWORK-OF-eth0 # in <role writer>",
    );
    assert!(what.contains("192.168.8.32/24"));
}

#[test]
fn interfaces_that_cannot_be_seen_are_said_to_be_unknown() {
    let change = |facts: &mut LocalFacts| facts.interfaces = Err("not permitted".to_owned());
    check(change, Severity::Warn, "interface", "db1 sh: ip address");
}

#[test]
fn somebody_else_answers_for_an_address_that_is_here() {
    for address in ["192.168.8.30", "192.168.8.32"] {
        let change = |facts: &mut LocalFacts| {
            facts.answers.insert(ip(address), ["02:00:00:00:00:99".to_owned()].into());
        };
        let fix = format!(
            "db1 sh: arping -D -I eth0 -c 3 {address} # then take it off the host it is not meant for"
        );
        check(change, Severity::Error, &format!("duplicate {address}"), &fix);
    }
}

#[test]
fn one_answer_for_an_address_that_is_elsewhere_is_right_and_two_are_not() {
    let elsewhere = |others: &[&str]| {
        let mut facts = local();
        facts.held.clear();
        let others = others.iter().map(|other| (*other).to_owned()).collect();
        facts.answers.insert(ip("192.168.8.30"), others);
        judge_host(&facts)
    };
    assert_eq!(elsewhere(&["02:00:00:00:00:33"]), []);
    assert_eq!(only(elsewhere(&["02:00:00:00:00:33", "02:00:00:00:00:99"])).severity, Severity::Error);
}

#[test]
fn an_agent_that_cannot_be_reached() {
    let change = |facts: &mut LocalFacts| facts.peers[0].agent = Err("Connection refused".to_owned());
    let what = check(change, Severity::Error, "agent of db2", "db2 sh: mmm_agentd --daemon");
    assert!(what.contains("192.168.8.33:9989 from here: Connection refused"));
}

#[test]
fn networks_of_both_families() {
    for (address, net, length, expected) in [
        ("192.168.8.30", "192.168.8.32", 24, true),
        ("192.168.9.30", "192.168.8.32", 24, false),
        ("192.168.9.30", "192.168.8.32", 0, true),
        ("192.168.8.32", "192.168.8.32", 32, true),
        ("fd00::1:5", "fd00::9", 64, true),
        ("fd01::5", "fd00::9", 64, false),
        ("fd01::5", "fd00::9", 0, true),
        ("fd00::5", "192.168.8.32", 24, false),
        ("192.168.8.30", "192.168.8.32", 255, false),
    ] {
        assert_eq!(is_within(ip(address), ip(net), length), expected, "{address} in {net}/{length}");
    }
}
