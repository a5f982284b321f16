//! One seed from a fresh cluster to the verdict.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mmm_lab::{
    Attempt, Clients, ConfigFile, Judgement, Lab, Load, M1, M2, Moment, Program, Show, Tolerance, WRITER,
    wait_for,
};

use crate::fault::{self, Fault, MASTERS, PROGRAMS};
use crate::plan::Plan;

/// The lab's name. One run at a time: two would share two cores.
pub(crate) const LAB: &str = "chaos";
const START: Duration = Duration::from_secs(60);
/// Until the cluster is whole again once nothing is broken any more.
const RECOVERY: Duration = Duration::from_secs(90);
/// For so long it must look whole.
const STEADY: Duration = Duration::from_secs(3);
/// Writers' acknowledgements that lie this close and alternate come from two writers at once.
const TURN: Duration = Duration::from_millis(1000);

const MONITOR: &str = "\
<check ping>\ncheck_period 0.5\ntrap_period 2\ntimeout 1\n</check>\n\
<check mysql>\ncheck_period 0.5\ntrap_period 2\ntimeout 1\n</check>\n\
<monitor>\nflap_count 10000\nauto_set_online 1\n</monitor>";

/// How a seed is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Nothing acknowledged may be lost at all, on whatever server.
    pub(crate) strict: bool,
    /// Where logs and records of a failed run are kept.
    pub(crate) evidence: &'a Path,
}

/// Runs a seed; what was wrong, if anything was.
pub(crate) fn run(seed: u64, rules: Rules<'_>) -> Result<Vec<String>> {
    let plan = Plan::of(seed);
    println!("seed {seed}: {plan}");
    let lab = make(&plan)?;
    let wrong = match play(&lab, &plan, rules) {
        Ok(wrong) => wrong,
        Err(error) => vec![format!("{error:#}")],
    };
    if !wrong.is_empty() {
        keep_evidence(&lab, &rules.evidence.join(seed.to_string()));
    }
    lab.down()?;
    Ok(wrong)
}

fn make(plan: &Plan) -> Result<Lab> {
    let mut builder = Lab::builder(LAB).movable_clocks().append(ConfigFile::Monitor, MONITOR);
    if let Some(flavour) = plan.server {
        builder = builder.server(flavour).server_line("replica_net_timeout = 4");
    } else {
        builder = builder.server_line("slave_net_timeout = 4");
    }
    if plan.gtid {
        builder = builder.gtid();
    }
    let lab = builder.up()?;
    lab.expect_host(M1, "ONLINE", &["writer", "reader"], START)?;
    lab.expect_host(M2, "ONLINE", &["reader"], START)?;
    lab.wait_covered(START)?;
    Ok(lab)
}

fn play(lab: &Lab, plan: &Plan, rules: Rules<'_>) -> Result<Vec<String>> {
    let clients = lab.start_clients(&Load::default()).context("start the clients")?;
    let began = Moment::now();
    let mut made = Vec::new();
    for (wait, fault) in [plan.first, plan.second] {
        thread::sleep(wait);
        make_fault(lab, began, fault)?;
        made.push(fault);
    }
    let (wait, is_first) = plan.mend;
    thread::sleep(wait);
    let mended = made.remove(usize::from(!is_first));
    println!("  {:>7.3} s mended: {mended}", seconds_since(began));
    mended.mend(lab).with_context(|| format!("mend `{mended}`"))?;
    thread::sleep(plan.rest);
    println!("  {:>7.3} s all mended", seconds_since(began));
    // The one that was mended may have been made worse by the other.
    fault::heal(lab, &made)?;
    let mut wrong = Vec::new();
    if let Err(error) = whole(lab, &clients) {
        wrong.push(format!("not whole again: {error:#}"));
    }
    println!("  {:>7.3} s settled", seconds_since(began));
    clients.stop()?;
    let judgement = judge(lab, rules)?;
    for line in judgement.to_string().lines() {
        println!("  {line}");
    }
    wrong.extend(faults_of(lab, &judgement, rules)?);
    wrong.extend(two_writers(&clients.record()?.attempts));
    wrong.extend(panics(lab)?);
    Ok(wrong)
}

fn make_fault(lab: &Lab, began: Moment, fault: Fault) -> Result<()> {
    println!("  {:>7.3} s {fault}", seconds_since(began));
    fault.make(lab).with_context(|| format!("make `{fault}`"))
}

fn seconds_since(began: Moment) -> f64 {
    (Moment::now() - began).as_secs_f64()
}

/// Waits until the cluster is in service: a writer that clients reach, and both masters ONLINE or, with the reason told, kept out. What
/// waits for an operator is set online as one would do it.
fn whole(lab: &Lab, clients: &Clients) -> Result<()> {
    let mut since = (Moment::now(), None);
    let show = wait_for("both masters in service again", RECOVERY, || {
        fault::keep_running(lab).map_err(|error| error.to_string())?;
        let show = lab.show().map_err(|error| error.to_string())?;
        for host in MASTERS {
            if ["AWAITING_RECOVERY", "ADMIN_OFFLINE"].contains(&show.state(host)) {
                // Refused as long as its checks are not good.
                let _ = lab.control(&["set_online", host]);
            }
        }
        let in_service = |host: &str| show.state(host) == "ONLINE" || is_kept_out(&show, host);
        let writer = show.holder(WRITER).filter(|host| show.state(host) == "ONLINE").map(str::to_owned);
        let is_whole = writer.is_some() && MASTERS.into_iter().all(in_service);
        if !is_whole || writer != since.1 {
            since = (Moment::now(), writer.filter(|_| is_whole));
        }
        // A monitor that has just been started shows what it remembers.
        if is_whole && Moment::now() - since.0 > STEADY { Ok(show) } else { Err(format!("\n{}", show.text)) }
    })?;
    let began = Moment::now();
    let Some(writer) = show.holder(WRITER) else { bail!("no writer") };
    let id = lab.host(writer)?.server_id.unwrap_or_default();
    clients.wait_by(id, began, Duration::from_secs(20))?;
    Ok(())
}

/// The host has what nobody else has, and `show` says so.
fn is_kept_out(show: &Show, host: &str) -> bool {
    show.state(host) == "REPLICATION_FAIL" || is_told(show, host)
}

fn is_told(show: &Show, host: &str) -> bool {
    show.text.lines().any(|line| {
        line.contains(host)
            && ["is held", "diverged", "never received"].iter().any(|word| line.contains(word))
    })
}

fn judge(lab: &Lab, rules: Rules<'_>) -> Result<Judgement> {
    let tolerance = if rules.strict { Tolerance::NothingLost } else { Tolerance::Elsewhere };
    lab.judge_clients(&MASTERS, tolerance, Duration::from_secs(20)).context("judge the data")
}

/// What the judge finds, and whether a loss was told.
fn faults_of(lab: &Lab, judgement: &Judgement, rules: Rules<'_>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    if !judgement.is_clean() {
        wrong.push(format!("the judge: {}", judgement.to_string().replace('\n', "; ")));
    }
    if !rules.strict && !judgement.differences.is_empty() {
        let show = lab.show()?;
        if !MASTERS.into_iter().any(|host| is_kept_out(&show, host)) {
            wrong.push(format!(
                "the masters differ and `show` says nothing of it: {}",
                judgement.differences.join("; ")
            ));
        }
    }
    Ok(wrong)
}

/// Acknowledgements of one server between two of another, so close together that no role can have moved there and back.
fn two_writers(attempts: &[Attempt]) -> Option<String> {
    let acknowledged: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.is_acknowledged()).collect();
    for (index, first) in acknowledged.iter().enumerate() {
        let soon = acknowledged[index + 1..].iter().take_while(|later| later.end - first.end < TURN);
        let mut between: Option<&&Attempt> = None;
        for later in soon {
            let is_same = later.server_id == first.server_id;
            match between {
                None if !is_same && later.start > first.end => between = Some(later),
                Some(other) if is_same && later.start > other.end => {
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
fn panics(lab: &Lab) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (host, program) in PROGRAMS.into_iter().filter(|(_, program)| *program != Program::Server) {
        for text in [lab.log(host, program)?, lab.printed(host, program)?] {
            let lines = text.lines().filter(|line| line.contains("panicked at"));
            found.extend(lines.map(|line| format!("{program} on {host}: {line}")));
        }
    }
    Ok(found)
}

/// Everything that a person needs who looks into a failure. What can't be kept is no second failure.
fn keep_evidence(lab: &Lab, dir: &Path) {
    let began = Instant::now();
    let _ = fs::create_dir_all(dir);
    for (host, program) in PROGRAMS {
        let name = format!("{host}-{program}.log");
        let _ = fs::write(dir.join(name), lab.log(host, program).unwrap_or_default());
    }
    let shown =
        lab.control(&["show", "--long"]).map_or_else(|error| error.to_string(), |shown| shown.to_string());
    let _ = fs::write(dir.join("show"), shown);
    for record in lab.client_records().unwrap_or_default() {
        let name =
            record.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy().into_owned());
        let name = name.collect::<Vec<_>>().join("-");
        let _ = fs::copy(&record, dir.join(name));
    }
    println!("  evidence in {} ({:?})", dir.display(), began.elapsed());
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

    #[test]
    fn writers_that_take_turns_are_not_two_at_once() {
        assert_eq!(two_writers(&[by(12, 0), by(12, 10), by(13, 400), by(13, 410)]), None);
        assert_eq!(two_writers(&[by(12, 0), by(13, 600), by(12, 1500)]), None, "moved there and back");
        let told = two_writers(&[by(12, 0), by(13, 100), by(12, 200)]);
        assert!(told.is_some_and(|told| told.starts_with("two writers")));
    }
}
