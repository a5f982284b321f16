//! What must hold between sections: references that lead somewhere, masters in pairs, addresses used once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use crate::nearest::nearest;
use crate::problem::Problem;
use crate::program::Program;
use crate::report::Report;
use crate::resolved::{Cell, Resolved, ResolvedSection};
use crate::section::SectionKind;
use crate::source::Span;
use crate::value::Value;

/// Reports every rule that is broken and concerns the program.
pub(crate) fn check(resolved: &Resolved, report: &mut Report) {
    let mut rules = Rules { resolved, report };
    match resolved.program {
        Program::Agent => {
            rules.this();
            rules.hosts();
            rules.roles();
        }
        Program::Monitor => {
            rules.hosts();
            rules.roles();
        }
        Program::Tools => {
            rules.this();
            rules.hosts();
            rules.copy_method();
        }
        Program::Control => {}
    }
}

struct Rules<'a> {
    resolved: &'a Resolved,
    report: &'a mut Report,
}

impl Rules<'_> {
    fn this(&mut self) {
        if let Some(cell) = self.resolved.global("this") {
            self.host_reference(cell, &cell.text, 0..cell.text.len());
        }
    }

    fn copy_method(&mut self) {
        let Some((cell, at)) = self.resolved.global("default_copy_method").and_then(placed) else { return };
        if cell.value.is_some() && self.resolved.named(SectionKind::CopyMethod, &cell.text).is_none() {
            let known = self.names(SectionKind::CopyMethod);
            let problem = Problem::UnknownCopyMethod { name: cell.text.clone() };
            let (expected, hint) = one_of_sections(SectionKind::CopyMethod, &cell.text, &known);
            self.report.error(problem, at, &expected, hint);
        }
    }

    fn hosts(&mut self) {
        for (name, host) in self.resolved.of_kind(SectionKind::Host) {
            if let Some(Value::Ip(ip)) = host.value("ip") {
                self.usable(*ip, host.cells.get("ip").and_then(Cell::span));
            }
            if host.text("mode") == Some("master") {
                self.peer(name, host);
            }
        }
    }

    fn peer(&mut self, name: &str, host: &ResolvedSection) {
        let Some((cell, at)) = host.cells.get("peer").and_then(placed) else { return };
        let peer_name = cell.text.as_str();
        if !self.host_reference(cell, peer_name, 0..peer_name.len()) {
            return;
        }
        if peer_name == name {
            let problem = Problem::PeerIsItself { host: name.to_owned() };
            self.report.error(problem, at, "expected the other master", None);
            return;
        }
        let Some(peer) = self.resolved.named(SectionKind::Host, peer_name) else { return };
        if let Some(mode) =
            peer.cells.get("mode").filter(|mode| mode.text != "master" && mode.value.is_some())
        {
            let problem = Problem::PeerNotMaster { host: name.to_owned(), peer: peer_name.to_owned() };
            let related = mode.span().map(|span| (span, "its mode"));
            self.report.error_with(problem, (at, "expected a host with mode master"), related, None);
            return;
        }
        let Some(back) = peer.cells.get("peer").filter(|back| back.value.is_some() && back.text != name)
        else {
            return;
        };
        // A peer that is no host at all is reported where it is named.
        if self.resolved.named(SectionKind::Host, &back.text).is_none() {
            return;
        }
        let problem = Problem::PeerNotMutual {
            host: name.to_owned(),
            peer: peer_name.to_owned(),
            other: back.text.clone(),
        };
        let related = back.span().map(|span| (span, "the peer of that host"));
        let hint = format!(
            "two masters that are each other's peer make a pair: `peer {name}` in <host {peer_name}>"
        );
        self.report.error_with(
            problem,
            (at, "expected a master whose peer is this host"),
            related,
            Some(hint),
        );
    }

    fn roles(&mut self) {
        let mut addresses: BTreeMap<IpAddr, Option<Span>> = BTreeMap::new();
        for (_, host) in self.resolved.of_kind(SectionKind::Host) {
            if let Some(Value::Ip(ip)) = host.value("ip") {
                addresses.entry(*ip).or_insert(host.cells.get("ip").and_then(Cell::span));
            }
        }
        for (name, role) in self.resolved.of_kind(SectionKind::Role) {
            self.role_hosts(role);
            self.role_ips(name, role, &mut addresses);
            self.prefer(name, role);
        }
        self.active_master_role();
    }

    fn role_hosts(&mut self, role: &ResolvedSection) {
        let Some(cell) = role.cells.get("hosts") else { return };
        let Some(Value::Names(hosts)) = &cell.value else { return };
        for (index, (host, range)) in hosts.iter().enumerate() {
            self.host_reference(cell, host, range.clone());
            if hosts[..index].iter().any(|(earlier, _)| earlier == host)
                && let Some(at) = cell.part(range)
            {
                let problem = Problem::DuplicateHost { host: host.clone() };
                self.report.error(problem, at, "expected each host once", None);
            }
        }
    }

    fn role_ips(
        &mut self,
        name: &str,
        role: &ResolvedSection,
        addresses: &mut BTreeMap<IpAddr, Option<Span>>,
    ) {
        let Some(cell) = role.cells.get("ips") else { return };
        let Some(Value::Ips(ips)) = &cell.value else { return };
        if role.text("mode") == Some("exclusive")
            && ips.len() != 1
            && let Some(at) = cell.span()
        {
            let problem = Problem::ExclusiveIps { role: name.to_owned(), count: ips.len() };
            let hint = "an exclusive role has one address; several belong to a balanced one".to_owned();
            self.report.error(problem, at, "expected exactly one address", Some(hint));
        }
        for (ip, range) in ips {
            let Some(at) = cell.part(range) else { continue };
            self.usable(*ip, Some(at));
            if let Some(earlier) = addresses.insert(*ip, Some(at)) {
                let problem = Problem::DuplicateIp { ip: ip.to_string() };
                let related = earlier.map(|span| (span, "it is used here, too"));
                let expected = "expected an address that no host and no other role has";
                self.report.error_with(problem, (at, expected), related, None);
            }
        }
    }

    fn prefer(&mut self, name: &str, role: &ResolvedSection) {
        let Some((cell, at)) = role.cells.get("prefer").and_then(placed) else { return };
        if role.text("mode") == Some("balanced") {
            let problem = Problem::PreferOfBalanced { role: name.to_owned() };
            self.report.error(problem, at, "only an exclusive role can prefer a host", None);
        }
        if !self.host_reference(cell, &cell.text, 0..cell.text.len()) {
            return;
        }
        let Some(Value::Names(hosts)) = role.value("hosts") else { return };
        if !hosts.iter().any(|(host, _)| *host == cell.text) {
            let problem = Problem::PreferNotInHosts { role: name.to_owned(), host: cell.text.clone() };
            let list: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
            let related =
                role.cells.get("hosts").and_then(Cell::span).map(|span| (span, "hosts of the role"));
            let expected = format!("expected one of {}", list.join(", "));
            self.report.error_with(problem, (at, &expected), related, None);
        }
    }

    fn active_master_role(&mut self) {
        let Some((cell, at)) = self.resolved.global("active_master_role").and_then(placed) else { return };
        if cell.value.is_none() {
            return;
        }
        let Some(role) = self.resolved.named(SectionKind::Role, &cell.text) else {
            let known = self.names(SectionKind::Role);
            let (expected, hint) = one_of_sections(SectionKind::Role, &cell.text, &known);
            self.report.error(Problem::UnknownRole { name: cell.text.clone() }, at, &expected, hint);
            return;
        };
        if role.text("mode") == Some("balanced") {
            let problem = Problem::ActiveMasterRoleBalanced { role: cell.text.clone() };
            let related = role.cells.get("mode").and_then(Cell::span).map(|span| (span, "its mode"));
            let expected = "expected a role with mode exclusive: there is one writer at most";
            self.report.error_with(problem, (at, expected), related, None);
        }
    }

    /// Whether there is such a host; reports it otherwise.
    fn host_reference(&mut self, cell: &Cell, name: &str, range: Range<usize>) -> bool {
        if cell.value.is_none() || self.resolved.named(SectionKind::Host, name).is_some() {
            return cell.value.is_some();
        }
        if let Some(at) = cell.part(&range).filter(|_| !self.report.is_full()) {
            let known = self.names(SectionKind::Host);
            let (expected, mut hint) = one_of_sections(SectionKind::Host, name, &known);
            if name.split_whitespace().count() > 1 {
                hint = Some("separate the names with commas".to_owned());
            }
            self.report.error(Problem::UnknownHost { name: name.to_owned() }, at, &expected, hint);
        }
        false
    }

    fn usable(&mut self, ip: IpAddr, at: Option<Span>) {
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if let Some(at) = at.filter(|_| ip.is_unspecified() || ip.is_multicast() || broadcast) {
            let problem = Problem::UnusableIp { ip: ip.to_string() };
            self.report.error(problem, at, "expected the address of one host", None);
        }
    }

    fn names(&self, kind: SectionKind) -> Vec<String> {
        self.resolved.of_kind(kind).map(|(name, _)| name.to_owned()).collect()
    }
}

/// More names than this help nobody.
const MOST_LISTED: usize = 12;

fn one_of_sections(kind: SectionKind, name: &str, known: &[String]) -> (String, Option<String>) {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let expected = match known.len() {
        0 => format!("expected the name of a <{}>, and there is none", kind.tag()),
        1..=MOST_LISTED => format!("expected one of {}", known.join(", ")),
        _ => format!("expected the name of one of the <{}> sections", kind.tag()),
    };
    (expected, nearest(name, known).map(|name| format!("did you mean `{name}`?")))
}

fn placed(cell: &Cell) -> Option<(&Cell, Span)> {
    cell.span().map(|span| (cell, span))
}
