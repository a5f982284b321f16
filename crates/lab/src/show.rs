//! The answer of `mmm_control show`, taken apart for tests. It keeps the text for messages.

use std::collections::{BTreeMap, BTreeSet};

/// One line of `show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownHost {
    pub ip: String,
    /// `master` or `slave`.
    pub mode: String,
    /// `ONLINE`, `HARD_OFFLINE`, …
    pub state: String,
    /// As written: `writer(192.168.8.30)`.
    pub roles: BTreeSet<String>,
}

impl ShownHost {
    /// Whether the roles are these and no others; a wanted role without `(` stands for one role of that name.
    pub fn has_exactly(&self, wanted: &[&str]) -> bool {
        let mut left = self.roles.clone();
        let (full, short): (Vec<&str>, Vec<&str>) = wanted.iter().partition(|role| role.contains('('));
        full.iter().all(|role| left.remove(*role))
            && short.iter().all(|name| {
                let found = left.iter().find(|role| role.split('(').next() == Some(name)).cloned();
                found.is_some_and(|role| left.remove(&role))
            })
            && left.is_empty()
    }
}

/// `show` as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Show {
    pub text: String,
    pub hosts: BTreeMap<String, ShownHost>,
}

impl Show {
    /// Takes the lines apart that describe hosts; others (warnings, mode) stay in the text only.
    pub fn parse(text: &str) -> Self {
        let hosts = text.lines().filter_map(Self::line).collect();
        Self { text: text.to_owned(), hosts }
    }

    fn line(line: &str) -> Option<(String, ShownHost)> {
        let (name, rest) = line.trim().split_once('(')?;
        let (ip, rest) = rest.split_once(") ")?;
        let (mode, rest) = rest.split_once('/')?;
        let (state, roles) = rest.split_once(". Roles:")?;
        let roles = roles.split(", ").map(|role| role.trim().to_owned()).filter(|role| !role.is_empty());
        let shown = ShownHost {
            ip: ip.to_owned(),
            mode: mode.to_owned(),
            state: state.to_owned(),
            roles: roles.collect(),
        };
        Some((name.to_owned(), shown))
    }

    pub fn host(&self, name: &str) -> Option<&ShownHost> {
        self.hosts.get(name)
    }

    /// State of a host; empty when `show` does not list it.
    pub fn state(&self, name: &str) -> &str {
        self.host(name).map_or("", |host| &host.state)
    }

    /// The host that holds an address, by `show`.
    pub fn holder(&self, ip: &str) -> Option<&str> {
        let end = format!("({ip})");
        self.hosts
            .iter()
            .find(|(_, host)| host.roles.iter().any(|role| role.ends_with(&end)))
            .map(|(name, _)| name.as_str())
    }

    /// Whether the text reads as the pattern, line by line, white space around lines and empty lines aside, `*` for any text.
    pub fn matches(&self, pattern: &str) -> bool {
        let lines = |text: &str| -> Vec<String> {
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        let (seen, wanted) = (lines(&self.text), lines(pattern));
        seen.len() == wanted.len() && seen.iter().zip(&wanted).all(|(line, pattern)| matches(pattern, line))
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "  MySQL-M1(192.168.8.32) master/ONLINE. Roles: reader(192.168.8.35), writer(192.168.8.30)\n  \
                        MySQL-M2(192.168.8.33) master/HARD_OFFLINE. Roles: \n";

    #[test]
    fn the_tutorials_answer_is_taken_apart() {
        let show = Show::parse(TEXT);
        let host = show.host("MySQL-M1").unwrap();
        assert_eq!(
            (host.ip.as_str(), host.mode.as_str(), host.state.as_str()),
            ("192.168.8.32", "master", "ONLINE")
        );
        assert!(host.has_exactly(&["writer(192.168.8.30)", "reader"]));
        assert!(!host.has_exactly(&["writer", "reader", "reader"]));
        assert!(!host.has_exactly(&["writer"]));
        assert!(show.host("MySQL-M2").unwrap().roles.is_empty());
        assert_eq!(show.state("MySQL-M2"), "HARD_OFFLINE");
        assert_eq!(show.holder("192.168.8.30"), Some("MySQL-M1"));
        assert_eq!(show.holder("192.168.8.34"), None);
    }

    #[test]
    fn a_pattern_matches_line_by_line() {
        let show = Show::parse(TEXT);
        let good = "MySQL-M1(192.168.8.32) master/ONLINE. Roles: reader(*), writer(192.168.8.30)\n\
                    MySQL-M2(192.168.8.33) master/HARD_OFFLINE. Roles:";
        assert!(show.matches(good));
        assert!(!show.matches(good.lines().next().unwrap()), "a line more than wanted is a difference");
        assert!(!show.matches(&good.replace("HARD", "ADMIN")));
        assert!(!matches("a*b", "a"));
        assert!(matches("a*b*c", "a-b-b-c"));
        assert!(!matches("ab", "abc"));
    }
}
