//! Findings as text, the most urgent first, so that the first word says whether anything must be done.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::finding::{Finding, Severity};
use crate::names::HostName;

/// The whole report about these hosts.
pub fn describe(findings: &[Finding], hosts: &BTreeSet<HostName>) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort();
    sorted.dedup();
    let mut text = String::new();
    for finding in sorted {
        let Finding { severity, host, check, what, why, fixes } = finding;
        let _ = writeln!(text, "{:<5} {host} {check}: {}", severity.as_str(), one_line(what));
        let _ = writeln!(text, "      why: {}", one_line(why));
        for fix in fixes {
            let _ =
                writeln!(text, "      fix on {}, {}: {}", fix.host, fix.place.as_str(), one_line(&fix.line));
        }
    }
    for host in hosts.iter().filter(|host| findings.iter().all(|finding| finding.host != **host)) {
        let _ = writeln!(text, "OK    {host}: nothing found");
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let named: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    text = plain(&text);
    let _ = write!(
        text,
        "# {} errors, {} warnings; looked at {}",
        count(Severity::Error),
        count(Severity::Warn),
        named.join(", ")
    );
    text
}

/// Only our own line breaks count: scripts read the first word of each line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// What servers and agents wrote cannot steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// Lines for the log about what was not found before, and about what is not found any more. What is the same as before is
/// not told each hour.
pub fn news(before: &[Finding], now: &[Finding]) -> (Vec<String>, Vec<String>) {
    let is_in = |finding: &Finding, list: &[Finding]| list.iter().any(|other| other.key() == finding.key());
    let new = now.iter().filter(|finding| !is_in(finding, before)).map(|finding| {
        let Finding { severity, host, check, what, why, fixes } = finding;
        let mut line = format!("Doctor: {} {host} {check}: {what}: {why}.", severity.as_str());
        for fix in fixes {
            let _ = write!(line, " Fix on {}, {}: {}", fix.host, fix.place.as_str(), fix.line);
        }
        one_line(&line)
    });
    let gone = before
        .iter()
        .filter(|finding| !is_in(finding, now))
        .map(|finding| format!("Doctor: no longer found on {}: {}", finding.host, finding.check));
    (new.collect(), gone.collect())
}
