//! One seed from a fresh cluster to the verdict.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_lab::{ConfigFile, Lab, Load, M1, M2, Moment};

use crate::account::Known;
use crate::evidence::keep_evidence;
use crate::fault::{self, Fault, MASTERS};
use crate::foresight;
use crate::plan::Plan;
use crate::verdict::{in_the_end, panics};

/// The lab's name. One run at a time: two would share two cores.
pub(crate) const LAB: &str = "chaos";
const START: Duration = Duration::from_secs(60);

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

fn make_fault(lab: &Lab, began: Moment, fault: Fault) -> Result<Option<(String, bool)>> {
    println!("  {:>7.3} s {fault}", seconds_since(began));
    fault.make(lab).with_context(|| format!("make `{fault}`"))
}

pub(crate) fn seconds_since(began: Moment) -> f64 {
    (Moment::now() - began).as_secs_f64()
}
