//! What writes notice of daemons that are not there: the monitor for a minute, the writer's agent for as long as a restart takes.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use mmm_lab::{Lab, MON, Moment, Outcome, Program, Record};

use crate::cluster::Cluster;
use crate::figure::{Figure, Judged};
use crate::options::Options;
use crate::takeover::{BEFORE, LIMIT, millis};

const MONITOR_AWAY: Duration = Duration::from_mins(1);
/// A minute each: more of them tell nothing new.
const MONITOR_RUNS_MAX: u32 = 2;
/// How long the probe goes on after the daemon is there again.
const AFTER: Duration = Duration::from_secs(4);

/// What the probe noticed from a moment on.
struct Noticed {
    failed: usize,
    gap_ms: f64,
}

impl Noticed {
    fn of(record: &Record, from: Moment) -> Self {
        let since = record.attempts.iter().filter(|attempt| attempt.end > from);
        let failed = since.filter(|attempt| attempt.outcome != Outcome::Acknowledged).count();
        let gap_ms = record.gap_after(from).map_or(f64::NAN, |gap| millis(gap.length()));
        Self { failed, gap_ms }
    }
}

fn figures(what: &str, seen: &[Noticed]) -> Vec<Figure> {
    #[expect(clippy::cast_precision_loss, reason = "counts of writes are small")]
    let failed = seen.iter().map(|noticed| noticed.failed as f64).collect();
    let gaps = seen.iter().map(|noticed| noticed.gap_ms).collect();
    vec![
        Figure::new(format!("{what}: failed writes"), "writes", failed).at_most(Judged::Sum, 0.0),
        Figure::new(format!("{what}: longest time without a write"), "ms", gaps),
    ]
}

/// One run: the probe writes, something is done, and the same host is to be the writer after it.
fn one(cluster: &Cluster, run: &str, act: impl FnOnce(&Lab, &str) -> Result<Moment>) -> Result<Noticed> {
    let lab = &cluster.lab;
    let (writer, _) = cluster.writer_and_other()?;
    let probe = lab.start_probe()?;
    probe.wait_write_by(cluster.server_id(writer)?, Moment::from_micros(0), LIMIT)?;
    thread::sleep(BEFORE);
    let event = act(lab, writer)?;
    thread::sleep(AFTER);
    let record = probe.stop()?;
    cluster.keep_evidence(run, &record)?;
    cluster.settle()?;
    let (now, _) = cluster.writer_and_other()?;
    if now != writer {
        bail!("run {run}: the writer role has moved from {writer} to {now}, and nothing was to happen");
    }
    let noticed = Noticed::of(&record, event);
    println!(
        "{run}: {} failed writes, longest time without a write {:.1} ms",
        noticed.failed, noticed.gap_ms
    );
    Ok(noticed)
}

/// The monitor is killed and comes back after a minute.
pub(crate) fn monitor_away(options: &Options) -> Result<Vec<Figure>> {
    let cluster = Cluster::fresh(&options.make())?;
    let mut seen = Vec::new();
    for number in 1..=options.runs.min(MONITOR_RUNS_MAX) {
        seen.push(one(&cluster, &format!("monitor-away-{number:02}"), |lab, _| {
            let event = lab.kill(MON, Program::Monitor)?;
            thread::sleep(MONITOR_AWAY);
            lab.start(MON, Program::Monitor)?;
            Ok(event)
        })?);
    }
    Ok(figures("monitor killed for 60 s", &seen))
}

/// The writer's agent is stopped and started; then its parent and worker are killed together, and it is started.
pub(crate) fn agent_restart(options: &Options) -> Result<Vec<Figure>> {
    let cluster = Cluster::fresh(&options.make())?;
    let (mut stopped, mut killed) = (Vec::new(), Vec::new());
    for number in 1..=options.runs {
        stopped.push(one(&cluster, &format!("agent-stop-{number:02}"), |lab, writer| {
            let event = lab.stop(writer, Program::Agent)?;
            lab.start(writer, Program::Agent)?;
            Ok(event)
        })?);
        killed.push(one(&cluster, &format!("agent-kill-{number:02}"), |lab, writer| {
            let event = lab.kill(writer, Program::Agent)?;
            lab.start(writer, Program::Agent)?;
            Ok(event)
        })?);
    }
    let mut all = figures("writer's agent stopped and started", &stopped);
    all.extend(figures("writer's agent killed and started", &killed));
    Ok(all)
}
