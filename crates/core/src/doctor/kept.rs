//! Settings that were made while the server ran, and that its next start would take back.
//!
//! That one was set by hand says nothing about the option files, which may say the same; so only what is known of both counts.
//! Nothing is said of `read_only`, which MMM sets all the time.

use std::collections::BTreeMap;

use super::facts::ServerFacts;
use super::finding::{Finding, Place};
use crate::names::HostName;

/// What a variable that was set while the server ran falls back to, where no option speaks of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetByHand {
    /// Absent where the server does not tell.
    pub default: Option<String>,
    /// What the server itself has written down for its next start; it counts more than any option.
    pub persisted: Option<String>,
}

/// Which of two values is the one to keep.
#[derive(Clone, Copy)]
enum Keep {
    On,
    Word(&'static str),
    One,
    Larger,
    Smaller,
    /// Each host has its own, so that another one in the option files may be meant.
    Whatever,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Everywhere,
    Masters,
    /// Unless MMM switches them.
    Switches,
    /// Once commits wait for others.
    Waiting,
}

/// `MySQL` numbers transactions by itself since one of its ninth versions, and not before.
const GTID_MODE: &str = "gtid_mode";
const NUMBERS_MAYBE_SINCE: u32 = 9;

/// The names of one variable, where it counts, and the default of `MySQL`, which does not tell it.
const WATCHED: [(&[&str], Where, Keep, &str); 15] = [
    (&["server_id"], Where::Everywhere, Keep::Whatever, "1"),
    (&["replica_net_timeout", "slave_net_timeout"], Where::Everywhere, Keep::Smaller, "60"),
    (&[GTID_MODE], Where::Everywhere, Keep::Word("ON"), "OFF"),
    (&["sync_binlog"], Where::Masters, Keep::One, "1"),
    (&["innodb_flush_log_at_trx_commit"], Where::Masters, Keep::One, "1"),
    (&["auto_increment_increment"], Where::Masters, Keep::Whatever, "1"),
    (&["auto_increment_offset"], Where::Masters, Keep::Whatever, "1"),
    (&["rpl_semi_sync_source_enabled"], Where::Switches, Keep::On, "OFF"),
    (&["rpl_semi_sync_replica_enabled"], Where::Switches, Keep::On, "OFF"),
    (&["rpl_semi_sync_master_enabled"], Where::Switches, Keep::On, "OFF"),
    (&["rpl_semi_sync_slave_enabled"], Where::Switches, Keep::On, "OFF"),
    (
        &["rpl_semi_sync_source_wait_point", "rpl_semi_sync_master_wait_point"],
        Where::Waiting,
        Keep::Word("AFTER_SYNC"),
        "AFTER_SYNC",
    ),
    (
        &["rpl_semi_sync_source_timeout", "rpl_semi_sync_master_timeout"],
        Where::Waiting,
        Keep::Larger,
        "10000",
    ),
    (
        &["rpl_semi_sync_source_wait_for_replica_count", "rpl_semi_sync_master_wait_for_slave_count"],
        Where::Waiting,
        Keep::Larger,
        "1",
    ),
    (
        &["rpl_semi_sync_source_wait_no_replica", "rpl_semi_sync_master_wait_no_slave"],
        Where::Waiting,
        Keep::On,
        "ON",
    ),
];

/// The variables of which it has to be known whether they were set by hand.
pub fn watched() -> impl Iterator<Item = &'static str> {
    WATCHED.iter().flat_map(|(names, ..)| names.iter().copied())
}

/// `options`: those the server would start with, the last one of a name counting. `managed`: MMM switches semi-synchronous
/// replication.
pub fn judge_kept(
    host: &HostName,
    facts: &ServerFacts,
    by_hand: &BTreeMap<String, SetByHand>,
    options: &[String],
    is_master: bool,
    managed: bool,
) -> Vec<Finding> {
    // Statements in that file may well set the very thing at each start.
    if given(options, &["init_file"]).is_some() {
        return Vec::new();
    }
    let waits = ["rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"];
    let counts = |place: Where| match place {
        Where::Everywhere => true,
        Where::Masters => is_master,
        Where::Switches => !managed,
        Where::Waiting => managed || waits.iter().any(|name| facts.is_on(&[name]) == Some(true)),
    };
    let mut findings = Vec::new();
    for (names, place, keep, default) in WATCHED {
        let Some(name) = names.iter().find(|name| by_hand.contains_key(**name)) else { continue };
        let (Some(set), Some(now)) = (by_hand.get(*name), facts.text(&[name])) else { continue };
        let default = match facts.is_mariadb() {
            true => set.default.as_deref(),
            false if *name == GTID_MODE && !numbers_nothing_by_itself(facts) => None,
            false => Some(default),
        };
        let said = set.persisted.clone().or_else(|| given(options, names));
        let Some(next) = said.as_deref().or(default) else { continue };
        if counts(place) && is_lost(keep, now, next, said.is_some()) {
            findings.push(finding(host, name, now, next, set.persisted.is_some()));
        }
    }
    findings
}

fn numbers_nothing_by_itself(facts: &ServerFacts) -> bool {
    facts.major().is_some_and(|major| major < NUMBERS_MAYBE_SINCE)
}

fn finding(host: &HostName, name: &str, now: &str, next: &str, is_persisted: bool) -> Finding {
    let finding = Finding::warn(
        host,
        check(name),
        format!("{name} is {now} only until the server stops: its next start makes it {next}"),
        "a server that comes back after a crash would not have it any more, and nobody would be there to set it",
    );
    if is_persisted {
        return finding.fix(Place::Sql, format!("SET PERSIST {name} = {now}"));
    }
    // A server does not start with the one and without the other.
    let finding = match name {
        GTID_MODE => finding.fix(Place::MyCnf, "enforce_gtid_consistency = ON"),
        _ => finding,
    };
    finding.fix(Place::MyCnf, format!("{name} = {now}"))
}

/// Whether it wants in the option files what is the monitor's to switch.
pub(super) fn is_about_a_switch(finding: &Finding) -> bool {
    let switches = WATCHED.iter().filter(|(_, place, ..)| *place == Where::Switches);
    switches.flat_map(|(names, ..)| names.iter()).any(|name| finding.check == check(name))
}

fn check(name: &str) -> String {
    format!("my.cnf ({name})")
}

/// Whether `next` is known to be worse than what is set now. What can't be compared is not.
fn is_lost(keep: Keep, now: &str, next: &str, is_said: bool) -> bool {
    let numbers = || Some((now.parse::<u64>().ok()?, next.parse::<u64>().ok()?));
    match keep {
        Keep::On => switch(now) == Some(true) && switch(next) == Some(false),
        // Options may name a word by its number.
        Keep::Word(word) => {
            now.eq_ignore_ascii_case(word) && !next.eq_ignore_ascii_case(word) && next.parse::<u64>().is_err()
        }
        Keep::One => numbers().is_some_and(|(now, next)| now == 1 && next != 1),
        Keep::Larger => numbers().is_some_and(|(now, next)| now > next),
        Keep::Smaller => numbers().is_some_and(|(now, next)| now < next),
        Keep::Whatever => !is_said && numbers().is_some_and(|(now, next)| now != next),
    }
}

fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "on" | "true" | "yes" => Some(true),
        "0" | "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// What the options say of a variable. `-` and `_` are the same in their names.
fn given(options: &[String], names: &[&str]) -> Option<String> {
    options.iter().rev().find_map(|word| {
        let option = word.strip_prefix("--")?;
        let (name, value) = option.split_once('=').unwrap_or((option, "ON"));
        let name = name.replace('-', "_");
        let name = name.strip_prefix("loose_").unwrap_or(&name);
        if names.contains(&name) {
            return Some(value.to_owned());
        }
        let off = ["skip_", "disable_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        let on = name.strip_prefix("enable_");
        let of_it = |name: Option<&str>| name.is_some_and(|name| names.contains(&name));
        if of_it(off) { Some("OFF".to_owned()) } else { of_it(on).then(|| "ON".to_owned()) }
    })
}
