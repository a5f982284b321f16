//! The verdict on a cluster that should be well again: its clients' rows, who acknowledged them, what was told.

use std::time::Duration;

use anyhow::Result;
use mmm_lab::{Attempt, Clients, Judgement, Lab, Moment, Program, Show, Tolerance, WRITER};

use crate::account::{self, Known};
use crate::fault::{MASTERS, PROGRAMS};
use crate::foresight::Death;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::run::seconds_since;
use crate::surplus;
use crate::whole::{is_kept_out, is_told, whole};

/// Until a master that was away has applied what it missed.
const CATCHING_UP: Duration = Duration::from_secs(90);
/// What is on its way to a host that is kept out, from the other one.
const KEPT_OUT: Duration = Duration::from_secs(10);
/// Writers' acknowledgements that lie this close and alternate come from two writers at once.
const TURN: Duration = Duration::from_millis(1000);

/// Waits until all is well, and says what is not.
pub(crate) fn in_the_end(
    lab: &Lab,
    plan: &Plan,
    clients: &Clients,
    known: &mut Known,
) -> Result<Vec<String>> {
    let began = Moment::now();
    let mut wrong = Vec::new();
    if let Err(error) = whole(lab, clients) {
        wrong.push(format!("not whole again: {error:#}"));
    }
    println!("  settled in {:.3} s", seconds_since(began));
    clients.stop()?;
    known.until = Some(Moment::now());
    let mut attempts = clients.record()?.attempts;
    let ledger = Ledger::read(lab)?;
    wrong.extend(two_writers(&attempts, |between| known.is_to_and_fro(&ledger, between)));
    known.attempts.append(&mut attempts);
    let judgement = judge_both(lab)?;
    for line in judgement.to_string().lines() {
        println!("  {line}");
    }
    let show = lab.show()?;
    wrong.extend(faults_of(&judgement, &show));
    if let Some(writer) = show.holder(WRITER) {
        // A host that is gone takes along what it had not sent, except where commits wait for the other master.
        if plan.semi_sync || plan.loses_nothing() && known.death.is_none_or(Death::loses_nothing) {
            let judgement = lab.judge_clients(&[writer], Tolerance::NothingLost, Duration::from_secs(1))?;
            if !judgement.is_clean() {
                let told = judgement.to_string().replace('\n', "; ");
                wrong.push(format!("{writer} lacks what nothing that was done may cost: {told}"));
            }
        }
        // What has been compared since is in it.
        let ledger = Ledger::read(lab)?;
        wrong.extend(account::wrong_words(&ledger, known));
        wrong.extend(surplus::wrong_words(lab, &ledger, &judgement, writer)?);
    }
    Ok(wrong)
}

/// Whoever is kept out gets no more; else it is a matter of time until both have the same, and also where a host was let in meanwhile.
fn judge_both(lab: &Lab) -> Result<Judgement> {
    let is_apart = || {
        let show = lab.show()?;
        Ok::<_, anyhow::Error>(MASTERS.into_iter().any(|host| is_kept_out(&show, host)))
    };
    if is_apart()? {
        let judgement = lab.judge_clients(&MASTERS, Tolerance::Elsewhere, KEPT_OUT)?;
        if judgement.differences.is_empty() || is_apart()? {
            return Ok(judgement);
        }
    }
    Ok(lab.judge_clients(&MASTERS, Tolerance::Elsewhere, CATCHING_UP)?)
}

/// What the judge finds, and whether a loss was told.
fn faults_of(judgement: &Judgement, show: &Show) -> Vec<String> {
    let mut wrong = Vec::new();
    // Whoever has something alone goes on applying rows as the writer has them, so that its sums agree with neither.
    let is_expected = |fault: &String| {
        let apart =
            MASTERS.into_iter().filter(|host| show.holder(WRITER) != Some(*host) && is_told(show, host));
        !judgement.differences.is_empty()
            && apart.into_iter().any(|host| fault.starts_with(&format!("{host}: ")))
    };
    let mut judged = judgement.clone();
    judged.faults.retain(|fault| !is_expected(fault));
    if !judged.is_clean() {
        wrong.push(format!("the judge: {}", judged.to_string().replace('\n', "; ")));
    }
    if !judgement.differences.is_empty() && !MASTERS.into_iter().any(|host| is_kept_out(show, host)) {
        wrong.push(format!(
            "the masters differ and `show` says nothing of it: {}",
            judgement.differences.join("; ")
        ));
    }
    wrong
}

/// Acknowledgements of one server between two of another, so close together that a role can have moved there and back only where it is
/// recorded to have done that.
fn two_writers(attempts: &[Attempt], is_to_and_fro: impl Fn([&Attempt; 3]) -> bool) -> Option<String> {
    let acknowledged: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.is_acknowledged()).collect();
    for (index, first) in acknowledged.iter().enumerate() {
        let soon = acknowledged[index + 1..].iter().take_while(|later| later.end - first.end < TURN);
        let mut between: Option<&&Attempt> = None;
        for later in soon {
            let is_same = later.server_id == first.server_id;
            match between {
                None if !is_same && later.start > first.end => between = Some(later),
                Some(other) if is_same && later.start > other.end => {
                    if is_to_and_fro([first, other, later]) {
                        break;
                    }
                    return Some(format!(
                        "two writers: {:?} acknowledged {} at {}, {:?} {} at {}, the first {} at {} again",
                        first.server_id,
                        first.number,
                        first.end,
                        other.server_id,
                        other.number,
                        other.end,
                        later.number,
                        later.end
                    ));
                }
                _ => {}
            }
        }
    }
    None
}

/// Daemons that panicked.
pub(crate) fn panics(lab: &Lab) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (host, program) in PROGRAMS.into_iter().filter(|(_, program)| *program != Program::Server) {
        for text in [lab.log(host, program)?, lab.printed(host, program)?] {
            let lines = text.lines().filter(|line| line.contains("panicked at"));
            found.extend(lines.map(|line| format!("{program} on {host}: {line}")));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmm_lab::Outcome;

    fn by(server: u32, at_ms: u64) -> Attempt {
        let start = Moment::from_micros(at_ms * 1000);
        Attempt {
            number: at_ms,
            start,
            end: start + Duration::from_millis(2),
            outcome: Outcome::Acknowledged,
            server_id: Some(server),
            error: String::new(),
        }
    }

    fn never(_: [&Attempt; 3]) -> bool {
        false
    }

    #[test]
    fn writers_that_take_turns_are_not_two_at_once() {
        assert_eq!(two_writers(&[by(12, 0), by(12, 10), by(13, 400), by(13, 410)], never), None);
        assert_eq!(two_writers(&[by(12, 0), by(13, 600), by(12, 1500)], never), None, "moved there and back");
        let told = two_writers(&[by(12, 0), by(13, 100), by(12, 200)], never);
        assert!(told.is_some_and(|told| told.starts_with("two writers")));
        assert_eq!(two_writers(&[by(12, 0), by(13, 100), by(12, 200)], |_| true), None, "as it is recorded");
    }
}
