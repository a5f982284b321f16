//! Records for people: a table with the newest first, and one record as a tale.

use std::fmt::Write as _;

use super::{Candidate, Gap, Kind, Outcome, Record, StepKind, Transactions};
use crate::rebuild::in_megabytes;

/// How a moment is written: by milliseconds since 1970.
type Clock<'a> = &'a dyn Fn(i64) -> String;

/// The records as a table, in the order in which they are given.
pub fn table<'a>(records: impl IntoIterator<Item = &'a Record>, clock: Clock) -> String {
    let mut text = String::from(
        "Number  Began                    What      From        To          Epoch   No writer   Outcome\n",
    );
    let mut none = true;
    for record in records {
        none = false;
        let host =
            |host: &Option<crate::names::HostName>| host.as_ref().map_or("-".to_owned(), ToString::to_string);
        let epoch = record.epoch.map_or("-".to_owned(), |epoch| epoch.to_string());
        let outcome = match record.outcome {
            Some(outcome) => outcome.as_str(),
            None => "under way",
        };
        let _ = writeln!(
            text,
            "{:<7} {:<24} {:<9} {:<11} {:<11} {:<7} {:<11} {outcome}{}",
            record.number,
            began(record, clock),
            record.kind.as_str(),
            host(&record.from),
            host(&record.to),
            epoch,
            gap_words(record),
            marks(record),
        );
    }
    if none {
        return "Nothing has been recorded yet.\n".to_owned();
    }
    text
}

fn began(record: &Record, clock: Clock) -> String {
    record.began_unix_ms.map_or_else(|| "-".to_owned(), clock)
}

fn gap_words(record: &Record) -> String {
    if record.kind == Kind::Rebuild {
        return "-".to_owned();
    }
    match (record.gap.length_ms(), record.outcome) {
        (Some(ms), _) => seconds(i64::try_from(ms).unwrap_or(i64::MAX)),
        (None, Some(Outcome::Refused)) => "none".to_owned(),
        (None, None) => "still".to_owned(),
        (None, Some(_)) => "not known".to_owned(),
    }
}

/// What must catch the eye.
fn marks(record: &Record) -> String {
    let lists = [
        ("lost", &record.lost),
        ("gone", &record.gone),
        ("diverged", &record.diverged),
        ("errant", &record.errant),
        ("salvaged", &record.salvaged),
    ];
    let marks: Vec<String> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(word, list)| format!("{} {word}", count(list)))
        .collect();
    if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) }
}

fn count(list: &[Transactions]) -> String {
    let counted = list.iter().map(|of| of.count).try_fold(0u64, |sum, count| sum.checked_add(count?));
    counted.map_or("some".to_owned(), |count| count.to_string())
}

fn seconds(ms: i64) -> String {
    format!("{}{}.{:03} s", if ms < 0 { "-" } else { "" }, ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)
}

fn offset(ms: i64) -> String {
    format!(
        "{}{:>4}.{:03} s",
        if ms < 0 { "-" } else { "+" },
        ms.unsigned_abs() / 1000,
        ms.unsigned_abs() % 1000
    )
}

fn age(ms: Option<u64>) -> String {
    match ms {
        Some(ms) => format!("{}.{:01} s ago", ms / 1000, ms % 1000 / 100),
        None => "now".to_owned(),
    }
}

/// One record from its beginning to its end.
pub fn tale(record: &Record, clock: Clock) -> String {
    let mut text = String::new();
    let host = |host: &Option<crate::names::HostName>| {
        host.as_ref().map_or("nobody".to_owned(), ToString::to_string)
    };
    let (kind, number) = (record.kind.as_str(), record.number);
    let (from, to) = (host(&record.from), host(&record.to));
    let _ = match record.kind {
        Kind::Rebuild => writeln!(text, "{kind} {number} of host {to} from {from}"),
        _ => writeln!(text, "{kind} {number} of role {}: {from} -> {to}", record.role),
    };
    let _ = writeln!(text, "  Began:    {}", began(record, clock));
    let rule = record.trigger.rule.as_ref().map_or_else(String::new, |rule| format!(", rule {rule}"));
    let _ = writeln!(text, "  Trigger:  {} (by {}{rule})", record.trigger.what, record.trigger.by);
    let _ = writeln!(text, "  Decision: {}", record.decision);
    if let Some(epoch) = record.epoch {
        let _ = writeln!(text, "  Proof:    epoch {epoch}, {}", record.proof);
    }
    let _ = match record.outcome {
        Some(outcome) => writeln!(text, "  Outcome:  {}: {}", outcome.as_str(), record.outcome_why),
        None => writeln!(text, "  Outcome:  under way"),
    };
    match record.kind {
        Kind::Rebuild => tell_rebuild(&mut text, record),
        _ => tell_gap(&mut text, record),
    }
    tell_transactions(&mut text, record);
    if !record.evidence.is_empty() {
        text.push_str("\nWhat was known when it began:\n");
    }
    for evidence in &record.evidence {
        let _ = writeln!(text, "  {:<12} {}: {}", age(evidence.age_ms), evidence.source, evidence.what);
    }
    if !record.candidates.is_empty() {
        text.push_str("\nWho could have been chosen:\n");
    }
    for candidate in &record.candidates {
        tell_candidate(&mut text, candidate);
    }
    text.push_str("\nStep by step:\n");
    for step in &record.steps {
        let host = step.host.as_ref().map_or_else(String::new, ToString::to_string);
        let line = format!(
            "  {} {} {:<12} {host:<11} {}",
            wall(record, step.at_ms, clock),
            offset(step.at_ms),
            step.step.as_str(),
            step.note
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if !record.said.is_empty() {
        text.push_str("\nWhat the monitor logged meanwhile:\n");
    }
    for said in &record.said {
        let _ = writeln!(text, "  {} {:<5} {}", offset(said.at_ms), said.level, said.text);
    }
    text
}

fn wall(record: &Record, at_ms: i64, clock: Clock) -> String {
    record.began_unix_ms.map_or_else(String::new, |began| clock(began.saturating_add(at_ms)))
}

fn tell_candidate(text: &mut String, candidate: &Candidate) {
    let mark = if candidate.chosen { "*" } else { " " };
    let _ = writeln!(text, "{mark} {:<11} {:<17} {}", candidate.host, candidate.state, candidate.why);
    let said = age(candidate.age_ms);
    for (word, place) in [("received", &candidate.received), ("applied", &candidate.applied)] {
        if let Some(place) = place {
            let _ = writeln!(text, "              {word} {place} (said {said})");
        }
    }
}

fn tell_rebuild(text: &mut String, record: &Record) {
    let Some(account) = &record.rebuild else { return };
    if let Some(bytes) = account.bytes {
        let _ = writeln!(text, "  Copied:   {}", in_megabytes(bytes));
    }
    for file in &account.saved {
        let _ = writeln!(text, "  Saved:    {file}");
    }
}

fn tell_gap(text: &mut String, record: &Record) {
    let Gap { from_ms, from_by, possible_until_ms, until_ms, until_at_latest } = &record.gap;
    if record.outcome == Some(Outcome::Refused) {
        text.push_str("  No writer: none, nothing was stopped\n");
        return;
    }
    let latest = if *until_at_latest { "at most " } else { "" };
    let _ = match (record.gap.length_ms(), until_ms) {
        (Some(ms), _) => {
            writeln!(text, "  No writer: {latest}{}", seconds(i64::try_from(ms).unwrap_or(i64::MAX)))
        }
        (None, Some(_)) => writeln!(text, "  No writer: not known since when"),
        (None, None) => writeln!(text, "  No writer: still"),
    };
    if from_by.is_empty() {
        return;
    }
    let _ = match from_ms {
        Some(from) => writeln!(text, "    from {} ({from_by})", offset(*from)),
        None => writeln!(text, "    from a time that is not known ({from_by})"),
    };
    match (possible_until_ms, from_ms) {
        (Some(until), Some(from)) if until > from => {
            let _ = writeln!(text, "    the old writer could have taken writes until {}", offset(*until));
        }
        (Some(_), Some(_)) => {}
        _ if record.has(StepKind::Promoted) && record.from.is_some() => {
            text.push_str("    until when the old writer could have taken writes is not known\n");
        }
        _ => {}
    }
    if let Some(until) = until_ms {
        let _ =
            writeln!(text, "    until {} (the new writer takes writes and has the address)", offset(*until));
    }
}

fn tell_transactions(text: &mut String, record: &Record) {
    let lists = [
        ("Salvaged from", &record.salvaged),
        ("LOST from", &record.lost),
        ("GONE from", &record.gone),
        ("Only on", &record.diverged),
        ("Errant on", &record.errant),
    ];
    for (word, list) in lists {
        for of in list {
            let count = of.count.map_or("some".to_owned(), |count| count.to_string());
            let _ = writeln!(text, "  {word} {}: {count} transactions {}", of.host, of.names);
        }
    }
}
