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

use crate::account::{self, Known};
use crate::fault::{self, Fault, MASTERS, PROGRAMS};
use crate::foresight::{self, Death};
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::surplus;

/// The lab's name. One run at a time: two would share two cores.
pub(crate) const LAB: &str = "chaos";
const START: Duration = Duration::from_secs(60);
/// Until the cluster is whole again once nothing is broken any more.
const RECOVERY: Duration = Duration::from_mins(2);
/// Until a master that was away has applied what it missed.
const CATCHING_UP: Duration = Duration::from_secs(90);
/// What is on its way to a host that is kept out, from the other one.
const KEPT_OUT: Duration = Duration::from_secs(10);
/// For so long it must look whole.
const STEADY: Duration = Duration::from_secs(3);
/// Writers' acknowledgements that lie this close and alternate come from two writers at once.
const TURN: Duration = Duration::from_millis(1000);

const MONITOR: &str = "\
<check ping>\ncheck_period 0.5\ntrap_period 2\ntimeout 1\n</check>\n\
<check mysql>\ncheck_period 0.5\ntrap_period 2\ntimeout 1\n</check>\n\
<monitor>\nflap_count 10000\nauto_set_online 1\n</monitor>";

/// Nobody acknowledges anything alone before his lease is over.
const PATIENCE_MS: u32 = 10_000;
/// What agents write into to see whether writes get through.
const TABLE: &str = "CREATE DATABASE mmm; \
    CREATE TABLE mmm.mmm_heartbeat (server_id INT UNSIGNED NOT NULL PRIMARY KEY, written_us BIGINT NOT NULL) ENGINE=InnoDB; \
    GRANT SELECT, INSERT, UPDATE ON mmm.mmm_heartbeat TO mmm_agent@'192.168.8.%'";

/// How a seed is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Only clusters in which nothing acknowledged can be lost.
    pub(crate) strict: bool,
    /// Where logs and records of a failed run are kept.
    pub(crate) evidence: &'a Path,
}

/// Runs a seed; what was wrong, if anything was.
pub(crate) fn run(seed: u64, rules: Rules<'_>) -> Result<Vec<String>> {
    let plan = Plan::of(seed, rules.strict);
    println!("seed {seed}: {plan}");
    let lab = make(&plan)?;
    let wrong = match play(&lab, &plan) {
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
    builder = match plan.server {
        Some(flavour) => builder.server(flavour).server_line("replica_net_timeout = 4"),
        None => builder.server_line("slave_net_timeout = 4"),
    };
    if plan.gtid {
        builder = builder.gtid();
    }
    if plan.semi_sync {
        builder = builder.semi_sync(PATIENCE_MS).append(ConfigFile::Three, "failover_policy consistency");
        // Each client that gives up leaves a commit that waits.
        builder = builder.server_line("max_connections = 500");
    }
    let own_disk = plan.faults().into_iter().find_map(Fault::own_disk);
    if own_disk.is_some() {
        let more = "heartbeat_schema mmm\non_stalled_writes move";
        builder = builder.append(ConfigFile::Three, more).without_daemons();
    }
    let lab = builder.up()?;
    if own_disk.is_some() {
        lab.sql(M1, TABLE).context("make the agents' table")?;
        lab.wait_replicated(M1, M2, START)?;
        for host in MASTERS {
            if plan.faults().into_iter().any(|fault| fault.own_disk() == Some(host)) {
                lab.own_disk(host).with_context(|| format!("give {host} a disk of its own"))?;
            }
        }
        lab.start_daemons()?;
    }
    lab.expect_host(M1, "ONLINE", &["writer", "reader"], START)?;
    lab.expect_host(M2, "ONLINE", &["reader"], START)?;
    lab.wait_covered(START)?;
    Ok(lab)
}

fn play(lab: &Lab, plan: &Plan) -> Result<Vec<String>> {
    let mut known = Known { faults: plan.faults().to_vec(), semi_sync: plan.semi_sync, ..Known::default() };
    for host in MASTERS {
        known.ids.push((host, lab.host(host)?.server_id.unwrap_or_default()));
    }
    let clients = lab.start_clients(&Load::default()).context("start the clients")?;
    two_faults(lab, plan, &mut known)?;
    let mut wrong = in_the_end(lab, plan, &clients, &mut known)?;
    if wrong.is_empty() {
        println!("  {}", plan.death);
        let clients = lab.start_clients(&Load::default()).context("start the clients again")?;
        wrong.extend(foresight::comes_true(lab, &clients, plan)?);
        known.death = Some(plan.death);
        wrong.extend(in_the_end(lab, plan, &clients, &mut known)?);
    }
    wrong.extend(panics(lab)?);
    Ok(wrong)
}

fn two_faults(lab: &Lab, plan: &Plan, known: &mut Known) -> Result<()> {
    let began = Moment::now();
    // A server whose disk does not answer can't be ended or started, and what is to be done to it then may fail.
    let is_loose = plan.faults().into_iter().any(|fault| fault.own_disk().is_some());
    let mut made = Vec::new();
    for (wait, fault) in [plan.first, plan.second] {
        thread::sleep(wait);
        match make_fault(lab, began, fault) {
            Ok(asked) => known.asked.extend(asked),
            Err(error) if is_loose => println!("  {error:#}"),
            Err(error) => return Err(error),
        }
        made.push(fault);
    }
    let (wait, is_first) = plan.mend;
    thread::sleep(wait);
    let mended = made.remove(usize::from(!is_first));
    println!("  {:>7.3} s mended: {mended}", seconds_since(began));
    match mended.mend(lab).with_context(|| format!("mend `{mended}`")) {
        Err(error) if is_loose => println!("  {error:#}"),
        result => result?,
    }
    thread::sleep(plan.rest);
    println!("  {:>7.3} s all mended", seconds_since(began));
    // The one that was mended may have been made worse by the other.
    made.insert(usize::from(is_first), mended);
    fault::heal(lab, &made)
}

/// Waits until all is well, and looks whether it is.
fn in_the_end(lab: &Lab, plan: &Plan, clients: &Clients, known: &mut Known) -> Result<Vec<String>> {
    let began = Moment::now();
    let mut wrong = Vec::new();
    if let Err(error) = whole(lab, clients) {
        wrong.push(format!("not whole again: {error:#}"));
    }
    println!("  settled in {:.3} s", seconds_since(began));
    clients.stop()?;
    known.until = Some(Moment::now());
    let mut attempts = clients.record()?.attempts;
    wrong.extend(two_writers(&attempts));
    known.attempts.append(&mut attempts);
    // Whoever is kept out gets no more; else it is a matter of time until both have the same.
    let show = lab.show()?;
    let is_apart = MASTERS.into_iter().any(|host| is_kept_out(&show, host));
    let patience = if is_apart { KEPT_OUT } else { CATCHING_UP };
    let judgement = lab.judge_clients(&MASTERS, Tolerance::Elsewhere, patience)?;
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
        let ledger = Ledger::read(lab)?;
        wrong.extend(account::wrong_words(&ledger, known));
        wrong.extend(surplus::wrong_words(lab, &ledger, &judgement, writer)?);
    }
    Ok(wrong)
}

fn make_fault(lab: &Lab, began: Moment, fault: Fault) -> Result<Option<(String, bool)>> {
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
        // A server whose disk was full looks for room once a minute.
        let is_stuck = show.text.contains("no write gets through");
        let is_whole = writer.is_some() && !is_stuck && MASTERS.into_iter().all(in_service);
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

/// What else is asked of a cluster in which something was wrong.
const EVIDENCE: [(&str, &[&str]); 4] = [
    ("history.json", &["--json", "history", "all"]),
    ("history", &["history", "all"]),
    ("explain", &["explain"]),
    ("diverged", &["diverged"]),
];

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
    for (name, words) in EVIDENCE {
        let told = lab.control(words).map_or_else(|error| error.to_string(), |told| told.to_string());
        let _ = fs::write(dir.join(name), told);
    }
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
