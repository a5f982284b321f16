//! The history held against what clients saw and against what was done to the cluster. Where the two can't be compared (clients that
//! could reach nobody, a monitor whose clock was wrong) nothing is said; elsewhere a word that is wrong is a fault of the run.

use std::time::Duration;

use mmm_lab::{Attempt, M1, M2, Moment};

use crate::fault::Fault;
use crate::foresight::Death;
use crate::ledger::{Ledger, Record};

/// Between what the monitor heard and what clients saw, on a machine with other things to do.
const GENEROUS: Duration = Duration::from_millis(400);
/// What agents know of commits that wait for an acknowledgement is that old at most.
const LOOK: Duration = Duration::from_secs(1);
/// An attempt that was sent into nothing keeps its client for so long.
const CLIENT: Duration = Duration::from_millis(300);
/// Whoever is the writer for so long is seen by clients that see anybody.
const NOTICED: Duration = Duration::from_secs(3);

/// What chaos knows of a run.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Server ids of the masters.
    pub(crate) ids: Vec<(&'static str, u32)>,
    /// What was done to the cluster.
    pub(crate) faults: Vec<Fault>,
    /// Commands as the monitor got them, and whether it took them.
    pub(crate) asked: Vec<(String, bool)>,
    /// All attempts of clients that ran at once, by their ends.
    pub(crate) attempts: Vec<Attempt>,
    /// Commits wait for the other master, which may be the one that is lost.
    pub(crate) semi_sync: bool,
    /// The writer was lost once more, after all was well again.
    pub(crate) death: Option<Death>,
    /// When clients ended, which the history does not know.
    pub(crate) until: Option<Moment>,
}

/// One host acknowledged, and nobody else in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    host: &'static str,
    first: Moment,
    last: Moment,
}

impl Known {
    fn turns(&self) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.is_acknowledged()) {
            let by = self.ids.iter().find(|(_, id)| Some(*id) == attempt.server_id).map(|(host, _)| *host);
            let Some(host) = by else { continue };
            match turns.last_mut() {
                Some(turn) if turn.host == host => turn.last = attempt.end,
                _ => turns.push(Turn { host, first: attempt.end, last: attempt.end }),
            }
        }
        turns
    }

    /// Whether the history has the role go from the first of these to the second and back to the third in their time.
    pub(crate) fn is_to_and_fro(&self, ledger: &Ledger, between: [&Attempt; 3]) -> bool {
        let [first, other, later] = between;
        let host = |attempt: &Attempt| {
            self.ids.iter().find(|(_, id)| Some(*id) == attempt.server_id).map(|(host, _)| *host)
        };
        let changes = ledger.records.iter().filter(|record| record.is_change());
        let mut at_the_time = changes.filter(|record| {
            let overlaps = |(begins, ends)| begins < later.end && ends + GENEROUS > first.end;
            ledger.span(record).is_some_and(overlaps)
        });
        let mut goes = |to: Option<&str>| at_the_time.any(|record| record.to.as_deref() == to);
        self.has_good_clock() && goes(host(other)) && goes(host(later))
    }

    fn is_blind(&self) -> bool {
        self.faults.iter().any(|fault| fault.blinds_clients()) || self.death == Some(Death::Host)
    }

    fn has_good_clock(&self) -> bool {
        !self.faults.iter().any(|fault| fault.moves_the_monitors_clock())
    }

    /// The monitor can have lost what it had not written yet.
    fn may_have_forgotten(&self) -> bool {
        self.faults.iter().any(|fault| fault.fills_the_monitors_disk())
            && self.faults.iter().any(|fault| fault.ends_the_monitor())
    }
}

/// Everything in the history that can't be so, or is missing in it.
pub(crate) fn wrong_words(ledger: &Ledger, known: &Known) -> Vec<String> {
    if known.may_have_forgotten() {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    wrong.extend(unended(ledger));
    wrong.extend(broken_chain(ledger));
    wrong.extend(without_cause(ledger, known));
    wrong.extend(without_reason(ledger));
    wrong.extend(not_asked_for(ledger, known));
    wrong.extend(unrecorded(ledger, known));
    wrong.extend(unseen(ledger, known));
    wrong
}

fn unended(ledger: &Ledger) -> Option<String> {
    let open = ledger.records.iter().find(|record| record.outcome.is_none())?;
    Some(format!("{} has not ended though the cluster is in service", open.words()))
}

/// Each record goes on from where the last one left the role.
fn broken_chain(ledger: &Ledger) -> Vec<String> {
    let is_broken = |before: &Record, after: &Record| match before.outcome.as_deref() {
        Some("done") => after.from != before.to,
        Some("undone" | "refused") => after.from != before.from,
        Some("superseded") => after.from != before.from && after.from != before.to,
        _ => false,
    };
    let pairs = ledger.records.windows(2).filter_map(|pair| match pair {
        [before, after] if is_broken(before, after) => Some((before, after)),
        _ => None,
    });
    pairs.map(|(before, after)| format!("{} does not go on from {}", after.words(), before.words())).collect()
}

/// The role left a host to which nothing was done that costs it the role.
fn without_cause(ledger: &Ledger, known: &Known) -> Vec<String> {
    let isolating = known.faults.iter().filter(|fault| fault.isolates()).count();
    let is_without = |record: &&Record| {
        let Some(from) = record.from.as_deref().filter(|_| record.kind == "failover" && record.is_change())
        else {
            return false;
        };
        isolating < 2
            && known.death.is_none()
            && !known.faults.iter().any(|fault| fault.may_cost_the_role(from))
    };
    let all = ledger.records.iter().filter(is_without);
    all.map(|record| format!("{}: nothing was done that costs it the role", record.words())).collect()
}

/// Failovers for a reason that is none: a good check, or what was seen of the host that took over.
fn without_reason(ledger: &Ledger) -> Vec<String> {
    let is_none = |record: &&Record| {
        let names =
            |host: &Option<String>| host.as_deref().is_some_and(|host| record.trigger.what.contains(host));
        let beside = names(&record.to) && !names(&record.from);
        record.kind == "failover" && record.is_change() && (beside || record.trigger.what.ends_with(": OK"))
    };
    let all = ledger.records.iter().filter(is_none);
    all.map(|record| format!("{}: that is no reason", record.words())).collect()
}

/// Moves that nobody asked for, and what was asked for and is not recorded.
fn not_asked_for(ledger: &Ledger, known: &Known) -> Vec<String> {
    let mut wrong = Vec::new();
    for record in &ledger.records {
        let by_operator = record.trigger.by.starts_with("an operator");
        let what = &record.trigger.what;
        // A host that waits is set online where one would do that.
        let asked = what.starts_with("set_online ") || known.asked.iter().any(|(line, _)| line == what);
        if by_operator && !asked {
            wrong.push(format!("{}: no operator said so", record.words()));
        }
        if record.kind == "move" && !by_operator {
            wrong.push(format!(
                "{}: by {}, where nobody but an operator moves anything",
                record.words(),
                record.trigger.by
            ));
        }
    }
    // A monitor that is lost with a command that it took may have begun nothing yet.
    if known.faults.iter().any(|fault| fault.ends_the_monitor()) {
        return wrong;
    }
    for (line, _) in known.asked.iter().filter(|(line, taken)| *taken && line.starts_with("move_role ")) {
        if !ledger.records.iter().any(|record| record.trigger.what == *line) {
            wrong.push(format!("`{line}` was taken and is not in the history"));
        }
    }
    wrong
}

/// Changes of the writer that clients saw, each against the record of it.
fn unrecorded(ledger: &Ledger, known: &Known) -> Vec<String> {
    let turns = known.turns();
    let mut wrong = Vec::new();
    let mut served = ledger.records.iter().filter_map(|record| {
        let serves = record.outcome.is_some() && record.gap.until_ms.is_some();
        record.to.as_deref().filter(|_| serves || record.steps.iter().any(|step| step.step == "address"))
    });
    for turn in &turns {
        if !served.any(|host| host == turn.host) {
            let seen: Vec<&str> = turns.iter().map(|turn| turn.host).collect();
            wrong.push(format!("clients had these writers: {seen:?}; the history does not"));
            return wrong;
        }
    }
    if !known.has_good_clock() {
        return wrong;
    }
    for pair in turns.windows(2) {
        if let [before, after] = pair {
            wrong.extend(compare(ledger, known, *before, *after));
        }
    }
    wrong
}

fn compare(ledger: &Ledger, known: &Known, before: Turn, after: Turn) -> Vec<String> {
    let overlaps = |record: &&Record| {
        let span = ledger.span(record);
        let overlaps =
            span.is_some_and(|(first, last)| first < after.first + GENEROUS && last + GENEROUS > before.last);
        overlaps && record.outcome.as_deref() != Some("refused")
    };
    let records: Vec<&Record> = ledger.records.iter().filter(overlaps).collect();
    let seen = format!("clients went from {} to {}", before.host, after.host);
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return vec![format!("{seen} at {}, and no record is of that time", after.first)];
    };
    let is = |host: &Option<String>, wanted: &str| host.as_deref() == Some(wanted);
    if !records.iter().any(|record| is(&record.from, before.host))
        || !records.iter().any(|record| is(&record.to, after.host))
    {
        let told: Vec<String> = records.iter().map(|record| record.words()).collect();
        return vec![format!("{seen} at {}; by the history: {}", after.first, told.join(", "))];
    }
    if first.number != last.number || !first.is_change() {
        return Vec::new();
    }
    compare_gap(ledger, known, first, before, after)
}

fn compare_gap(ledger: &Ledger, known: &Known, record: &Record, before: Turn, after: Turn) -> Vec<String> {
    let at = |ms: Option<i64>| ms.and_then(|ms| ledger.moment(record, ms));
    let mut wrong = Vec::new();
    let seen = after.first - before.last;
    if let Some(possible) = at(record.gap.possible_until_ms)
        && before.last > possible + GENEROUS
    {
        wrong.push(format!(
            "{}: {} could take writes until {possible}, and acknowledged one at {}",
            record.words(),
            before.host,
            before.last
        ));
    }
    if let Some(told) = record.gap_length() {
        println!("  {}: {told:?} without a writer, {seen:?} by the clients", record.words());
        let unseen = if known.semi_sync { LOOK } else { Duration::ZERO };
        if !known.is_blind() && told + GENEROUS + CLIENT + unseen < seen {
            wrong.push(format!("{}: {told:?} without a writer, {seen:?} by the clients", record.words()));
        }
    }
    wrong
}

/// A writer that nobody saw.
fn unseen(ledger: &Ledger, known: &Known) -> Vec<String> {
    let Some(end) = known.until.filter(|_| !known.is_blind() && known.has_good_clock()) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for (index, record) in ledger.records.iter().enumerate().filter(|(_, record)| record.is_change()) {
        let Some(since) = record.gap.until_ms.and_then(|ms| ledger.moment(record, ms)) else { continue };
        let next = ledger.records.get(index + 1).and_then(|next| Some(ledger.span(next)?.0));
        let until = next.unwrap_or(end).min(end);
        let id = known.ids.iter().find(|(host, _)| record.to.as_deref() == Some(*host)).map(|(_, id)| *id);
        let is_by = |attempt: &&Attempt| {
            attempt.is_acknowledged()
                && attempt.server_id == id
                && attempt.end + GENEROUS > since
                && attempt.start < until
        };
        if until - since > NOTICED && !known.attempts.iter().any(|attempt| is_by(&attempt)) {
            wrong.push(format!("{}: no client saw that for {:?}", record.words(), until - since));
        }
    }
    wrong
}

/// The other master.
pub(crate) fn other(host: &str) -> &'static str {
    if host == M1 { M2 } else { M1 }
}

#[cfg(test)]
mod tests;
