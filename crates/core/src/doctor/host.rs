//! One host: its interface, its addresses, and the way to its peers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::facts::{InterfaceFacts, LocalFacts, PeerFacts};
use super::finding::{Finding, Place};

/// Findings about what an agent sees around itself.
pub fn judge_host(facts: &LocalFacts) -> Vec<Finding> {
    let mut findings = match &facts.interfaces {
        Ok(interfaces) => judge_interface(facts, interfaces),
        Err(why) => vec![
            Finding::warn(
                &facts.host,
                "interface",
                format!("the interfaces of this host cannot be seen: {why}"),
                "role addresses are put on one of them",
            )
            .fix(Place::Shell, "ip address"),
        ],
    };
    findings.extend(judge_duplicates(facts));
    findings.extend(facts.peers.iter().filter_map(|peer| judge_peer(facts, peer)));
    findings
}

fn judge_interface(facts: &LocalFacts, interfaces: &BTreeMap<String, InterfaceFacts>) -> Vec<Finding> {
    let LocalFacts { host, ip, cluster_interface: name, .. } = facts;
    let with_ip = interfaces.iter().find(|(_, found)| found.networks.iter().any(|(held, _)| held == ip));
    let Some(interface) = interfaces.get(name) else {
        let right = with_ip.map_or("eth0", |(name, _)| name.as_str());
        let existing: Vec<&str> = interfaces.keys().map(String::as_str).collect();
        return vec![
            Finding::error(
                host,
                "interface",
                format!("there is no interface {name}; there are: {}", existing.join(", ")),
                "this host could not take any role",
            )
            .fix(Place::MmmConf, format!("cluster_interface {right}")),
        ];
    };
    let mut findings = Vec::new();
    if !interface.is_up {
        findings.push(
            Finding::error(
                host,
                "interface",
                format!("the interface {name} is down"),
                "nobody would reach a role on it",
            )
            .fix(Place::Shell, format!("ip link set {name} up")),
        );
    } else if !interface.has_carrier {
        findings.push(
            Finding::error(
                host,
                "interface",
                format!("the interface {name} has no carrier"),
                "nobody would reach a role on it",
            )
            .fix(Place::Shell, format!("ethtool {name}")),
        );
    }
    if with_ip.is_none() {
        findings.push(
            Finding::error(
                host,
                "ip",
                format!("{ip}, the `ip` of this host, is not on any of its interfaces"),
                "the agent can't listen there, and the monitor can't reach it",
            )
            .fix(Place::Shell, format!("ip address add {ip}/24 dev {name}")),
        );
    }
    for role in &facts.roles {
        if !interface.networks.iter().any(|(net, length)| is_within(role.ip(), *net, *length)) {
            let networks: Vec<String> =
                interface.networks.iter().map(|(net, length)| format!("{net}/{length}")).collect();
            let networks = if networks.is_empty() { "none".to_owned() } else { networks.join(", ") };
            findings.push(
                Finding::warn(
                    host,
                    format!("address {}", role.ip()),
                    format!("{role} is in no network of {name}, which has: {networks}"),
                    "neighbours do not look for the address on this link: without a route of its own nobody reaches it",
                )
                .fix(Place::MmmConf, format!("ips ADDRESS-IN-A-NETWORK-OF-{name} # in <role {}>", role.name())),
            );
        }
    }
    findings
}

/// Two hosts that answer for one address, or anybody who answers for an address that is here.
fn judge_duplicates(facts: &LocalFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (ip, others) in &facts.answers {
        let is_here = facts.held.contains(ip) || *ip == facts.ip;
        if others.is_empty() || (!is_here && others.len() < 2) {
            continue;
        }
        let who: Vec<&str> = others.iter().map(String::as_str).collect();
        let what = if is_here {
            format!("{ip} is on this host, and {} answers for it too", who.join(", "))
        } else {
            format!("more than one host answers for {ip}: {}", who.join(", "))
        };
        let name = &facts.cluster_interface;
        findings.push(
            Finding::error(
                &facts.host,
                format!("duplicate {ip}"),
                what,
                "clients reach now the one and now the other",
            )
            .fix(
                Place::Shell,
                format!("arping -D -I {name} -c 3 {ip} # then take it off the host it is not meant for"),
            ),
        );
    }
    findings
}

fn judge_peer(facts: &LocalFacts, peer: &PeerFacts) -> Option<Finding> {
    let PeerFacts { host, ip, agent_port, agent } = peer;
    let why_not = agent.as_ref().err()?;
    Some(
        Finding::error(
            &facts.host,
            format!("agent of {host}"),
            format!("the agent of {host} can't be reached at {ip}:{agent_port} from here: {why_not}"),
            "a writer that loses the monitor asks it for a promise, and has to stop writing without one",
        )
        .fix_on(host, Place::Shell, "mmm_agentd --daemon")
        .fix_on(
            host,
            Place::Shell,
            format!("iptables -I INPUT -p tcp -s {} --dport {agent_port} -j ACCEPT", facts.ip),
        ),
    )
}

pub(super) fn is_within(ip: IpAddr, net: IpAddr, length: u8) -> bool {
    let (ip, net, bits) = match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => (u128::from(u32::from(ip)), u128::from(u32::from(net)), 32),
        (IpAddr::V6(ip), IpAddr::V6(net)) => (u128::from(ip), u128::from(net), 128),
        _ => return false,
    };
    let host_bits = bits - u32::from(length).min(bits);
    ip.checked_shr(host_bits).unwrap_or(0) == net.checked_shr(host_bits).unwrap_or(0)
}
