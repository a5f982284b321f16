//! How long writes stop when the writer can't be asked to give the role back: its host is unplugged, or its agent hangs and then
//! its server dies. Another master may write only when the lease is over, so these take seconds, not milliseconds.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_lab::{Judge, Lab, Life, Moment, Program};

use crate::cluster::Cluster;
use crate::figure::{Figure, Judged};
use crate::options::{Kind, Options};
use crate::takeover::{BEFORE, LIMIT, PHASE, millis};

/// From the first write on the other master to the moment at which the fault ends.
const FAULTY: Duration = Duration::from_secs(3);
/// How long the probe goes on after that.
const AFTERWARDS: Duration = Duration::from_secs(8);
/// The server dies so long after the agent's worker has stopped: less than its parent needs to notice.
const HANGS_FOR: Duration = Duration::from_millis(100);

/// What one run gave.
struct Run {
    takeover_ms: f64,
    /// The longest time without a write after the fault has ended.
    return_ms: f64,
    /// Writes that the old writer acknowledged after the first of the new one.
    late: usize,
    lost: usize,
    /// The old writer has rows that the new one has not, be they acknowledged or not.
    has_diverged: bool,
}

pub(crate) fn measure(kind: Kind, options: &Options) -> Result<Vec<Figure>> {
    let name = if kind == Kind::Unplug { "unplug" } else { "hang" };
    let mut cluster = Cluster::fresh(&options.make())?;
    let mut runs: Vec<Run> = Vec::new();
    for number in 1..=options.runs {
        let run = one(kind, number, &format!("{name}-{number:02}"), &cluster)?;
        println!(
            "{name} {number:>2}: {:.1} ms to the first write on the other master, {:.1} ms longest gap after the fault's end, \
             {} late writes, lost {}",
            run.takeover_ms, run.return_ms, run.late, run.lost
        );
        let has_diverged = run.has_diverged;
        runs.push(run);
        if number < options.runs {
            cluster = cluster.again(has_diverged, &format!("{name} {number:>2}"))?;
        }
    }
    Ok(figures(kind, options, &runs))
}

fn figures(kind: Kind, options: &Options, runs: &[Run]) -> Vec<Figure> {
    let lease = options.lease.map_or(String::new(), |seconds| format!(" (lease {seconds} s)"));
    let what = match kind {
        Kind::Unplug => format!("writer's host unplugged{lease}"),
        _ => format!("worker hangs, then mysqld killed{lease}"),
    };
    let all = |value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
    let count = |value: fn(&Run) -> usize| runs.iter().map(|run| value(run) as f64).collect::<Vec<f64>>();
    vec![
        Figure::new(format!("{what}: first write on the other"), "ms", all(|run| run.takeover_ms))
            .at_most(Judged::Maximum, millis(options.lease_limit())),
        Figure::new(format!("{what}: longest gap once it is back"), "ms", all(|run| run.return_ms)),
        Figure::new(format!("{what}: late writes of the old one"), "writes", count(|run| run.late))
            .at_most(Judged::Sum, 0.0),
        Figure::new(format!("{what}: lost"), "rows", count(|run| run.lost)),
    ]
}

fn one(kind: Kind, number: u32, run: &str, cluster: &Cluster) -> Result<Run> {
    let lab = &cluster.lab;
    let (old, new) = cluster.writer_and_other()?;
    let (old_id, new_id) = (cluster.server_id(old)?, cluster.server_id(new)?);
    let probe = lab.start_probe()?;
    probe.wait_write_by(old_id, Moment::from_micros(0), LIMIT)?;
    thread::sleep(BEFORE + PHASE * (number % 8));
    let event = break_it(kind, lab, old)?;
    let first = probe.wait_write_by(new_id, event, LIMIT);
    thread::sleep(FAULTY);
    let mended = mend(kind, lab, old)?;
    thread::sleep(AFTERWARDS);
    let record = probe.stop()?;
    cluster.keep_evidence(run, &record)?;
    first.with_context(|| format!("run {run}"))?;
    let takeover =
        record.takeover(event, new_id).context("the other master acknowledged no write after the fault")?;
    let back = record.gap_after(mended).context("the probe made no attempt after the fault's end")?;
    let (late, _) = record.overlap(old_id, new_id);
    let judge = Judge::new(lab, record);
    let there = judge.rows(new)?;
    Ok(Run {
        takeover_ms: millis(takeover),
        return_ms: millis(back.length()),
        late,
        lost: judge.lost(new)?.len(),
        has_diverged: judge.rows(old)?.keys().any(|number| !there.contains_key(number)),
    })
}

fn break_it(kind: Kind, lab: &Lab, host: &str) -> Result<Moment> {
    if kind == Kind::Unplug {
        return Ok(lab.unplug(host)?);
    }
    lab.freeze_agent_worker(host)?;
    thread::sleep(HANGS_FOR);
    Ok(lab.kill(host, Program::Server)?)
}

fn mend(kind: Kind, lab: &Lab, host: &str) -> Result<Moment> {
    if kind == Kind::Unplug {
        return Ok(lab.replug(host)?);
    }
    // A worker whose parent did not replace it goes on; another one does not notice.
    if lab.life(host, Program::Agent)? != Life::Ended {
        lab.thaw(host, Program::Agent)?;
    }
    Ok(lab.start(host, Program::Server)?)
}
