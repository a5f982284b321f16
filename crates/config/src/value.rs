//! Values of the kinds that the registry names, read from text.
//!
//! References to hosts, roles and copy methods are only read here; whether they lead anywhere is for the rules.

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use crate::nearest::nearest;
use crate::registry::Kind;

/// A value that was read; ranges are bytes of its text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    Time(Duration),
    Ip(IpAddr),
    Ips(Vec<(IpAddr, Range<usize>)>),
    Names(Vec<(String, Range<usize>)>),
}

/// Why a text is no such value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) range: Range<usize>,
    pub(crate) expected: String,
    pub(crate) hint: Option<String>,
}

const YES: [&str; 4] = ["1", "yes", "true", "on"];
const NO: [&str; 4] = ["0", "no", "false", "off"];

/// The kernel's own limit, without the closing zero.
const LONGEST_INTERFACE: usize = 15;

pub(crate) fn read(kind: Kind, text: &str) -> Result<Value, Rejected> {
    let whole = 0..text.len();
    match kind {
        Kind::Text | Kind::Secret | Kind::Ignored => Ok(Value::Text(text.to_owned())),
        Kind::Flag => flag(text),
        Kind::Number { least, most } => number(text, least, most),
        Kind::Seconds { least_ms, most_ms } => seconds(text, least_ms, most_ms),
        Kind::SecondsOrOff { least_ms, most_ms, off, why } => {
            seconds_or_off(text, least_ms..=most_ms, off, why)
        }
        Kind::Ip => ip(text, whole).map(Value::Ip),
        Kind::Ips => list(text, "addresses, separated by commas")?
            .into_iter()
            .map(|range| Ok((ip(&text[range.clone()], range.clone())?, range)))
            .collect::<Result<_, _>>()
            .map(Value::Ips),
        Kind::Path => path(text),
        Kind::RelativePath => not_empty(text, "a path"),
        Kind::Interface => interface(text),
        Kind::Host => not_empty(text, "the name of a host"),
        Kind::Role => not_empty(text, "the name of a role"),
        Kind::CopyMethod => not_empty(text, "the name of a copy method"),
        Kind::Hosts => names(text, "names of hosts, separated by commas"),
        Kind::List => names(text, "a list, separated by commas"),
        Kind::OneOf(words) => one_of(text, words),
    }
}

fn rejected(text: &str, expected: impl Into<String>, hint: Option<String>) -> Rejected {
    Rejected { range: 0..text.len(), expected: expected.into(), hint }
}

fn flag(text: &str) -> Result<Value, Rejected> {
    let lower = text.to_lowercase();
    if YES.contains(&lower.as_str()) {
        Ok(Value::Flag(true))
    } else if NO.contains(&lower.as_str()) {
        Ok(Value::Flag(false))
    } else {
        Err(rejected(text, "expected one of 1, yes, true, on, or one of 0, no, false, off", None))
    }
}

fn number(text: &str, least: u64, most: u64) -> Result<Value, Rejected> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if digits && (least..=most).contains(&number) => Ok(Value::Number(number)),
        _ if most == u64::MAX => Err(rejected(text, "expected a whole number", None)),
        _ => Err(rejected(text, format!("expected a whole number from {least} to {most}"), None)),
    }
}

fn seconds(text: &str, least_ms: u64, most_ms: u64) -> Result<Value, Rejected> {
    let least = Duration::from_millis(least_ms);
    let most = Duration::from_millis(most_ms);
    match decimal_seconds(text) {
        Some(time) if time >= least && time <= most => Ok(Value::Time(time)),
        _ => {
            let unit = text.trim_end_matches(|c: char| c.is_alphabetic());
            let hint = (unit != text && decimal_seconds(unit.trim_end()).is_some())
                .then(|| "write the number without a unit; it is always seconds".to_owned());
            let expected =
                format!("expected seconds, from {} to {}", least.as_secs_f64(), most.as_secs_f64());
            Err(rejected(text, expected, hint))
        }
    }
}

fn seconds_or_off(
    text: &str,
    limits_ms: RangeInclusive<u64>,
    off: &str,
    why: &str,
) -> Result<Value, Rejected> {
    if decimal_seconds(text) == Some(Duration::ZERO) {
        return Ok(Value::Time(Duration::ZERO));
    }
    seconds(text, *limits_ms.start(), *limits_ms.end()).map_err(|rejected| Rejected {
        expected: format!("{}, or 0 for {off}", rejected.expected),
        hint: rejected.hint.or_else(|| Some(why.to_owned())),
        ..rejected
    })
}

/// `12` or `0.25`; nothing finer than a nanosecond.
fn decimal_seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

fn ip(text: &str, range: Range<usize>) -> Result<IpAddr, Rejected> {
    // An IPv4 address in IPv6 clothes is the same address; comparing them must see that.
    text.parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| Rejected {
        range,
        expected: "expected an IPv4 or IPv6 address".to_owned(),
        hint: ip_hint(text),
    })
}

fn ip_hint(text: &str) -> Option<String> {
    let parses = |part: &str| part.parse::<IpAddr>().is_ok();
    if let Some((address, _)) = text.split_once('/').filter(|(address, _)| parses(address)) {
        return Some(format!("write `{address}`, without a prefix length"));
    }
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(format!("write `{address}`, without brackets"));
    }
    if text.split_whitespace().count() > 1 && text.split_whitespace().all(parses) {
        return Some("separate the addresses with commas".to_owned());
    }
    None
}

fn path(text: &str) -> Result<Value, Rejected> {
    if text.starts_with('/') {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(rejected(text, "expected an absolute path", Some("a path begins with `/`".to_owned())))
}

fn not_empty(text: &str, what: &str) -> Result<Value, Rejected> {
    if text.is_empty() {
        return Err(rejected(text, format!("expected {what}"), None));
    }
    Ok(Value::Text(text.to_owned()))
}

fn interface(text: &str) -> Result<Value, Rejected> {
    let bad = |c: char| c.is_whitespace() || c == '/';
    if text.is_empty() || text.len() > LONGEST_INTERFACE || text.contains(bad) || text == "." || text == ".."
    {
        let expected = format!(
            "expected the name of a network interface, at most {LONGEST_INTERFACE} characters, no blanks"
        );
        return Err(rejected(text, expected, Some("`ip link` lists the interfaces".to_owned())));
    }
    Ok(Value::Text(text.to_owned()))
}

fn one_of(text: &str, words: &'static [&'static str]) -> Result<Value, Rejected> {
    if words.contains(&text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let hint = nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?"));
    Err(rejected(text, format!("expected one of {}", words.join(", ")), hint))
}

fn names(text: &str, what: &str) -> Result<Value, Rejected> {
    let ranges = list(text, what)?;
    Ok(Value::Names(ranges.into_iter().map(|range| (text[range.clone()].to_owned(), range)).collect()))
}

/// The ranges of the elements. Commas at the end are forgiven, as 2.x forgave them.
fn list(text: &str, what: &str) -> Result<Vec<Range<usize>>, Rejected> {
    let mut ranges = Vec::new();
    let mut at = 0;
    for part in text.split(',') {
        let start = at + (part.len() - part.trim_start().len());
        ranges.push(start..start + part.trim().len());
        at += part.len() + 1;
    }
    while ranges.last().is_some_and(Range::is_empty) {
        ranges.pop();
    }
    match ranges.iter().find(|range| range.is_empty()) {
        _ if ranges.is_empty() => Err(rejected(text, format!("expected {what}"), None)),
        Some(empty) => Err(Rejected {
            range: empty.start..empty.start,
            expected: format!("expected {what}, nothing stands between two commas here"),
            hint: None,
        }),
        None => Ok(ranges),
    }
}

#[cfg(test)]
mod tests;
