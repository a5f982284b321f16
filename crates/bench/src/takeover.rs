//! How long writes stop: when the writer's server is killed, when it is stopped, when the role is moved as planned.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mmm_lab::{Judge, Lab, Moment, Program, Record};

use crate::cluster::Cluster;
use crate::figure::{Figure, Judged};
use crate::options::{Kind, Options};

/// How long the probe writes before an event; a part that differs from run to run keeps the events from falling on the same phase of
/// the checks each time.
pub(crate) const BEFORE: Duration = Duration::from_secs(1);
pub(crate) const PHASE: Duration = Duration::from_millis(137);
/// How long it writes after the first write on the other master.
const AFTER: Duration = Duration::from_millis(700);
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The targets of the issue, in ms.
const TAKEOVER_MS: f64 = 500.0;
pub(crate) const MOVE_MS: f64 = 100.0;

/// What one run gave.
struct Run {
    /// From the event to the first write that the other master acknowledged.
    takeover_ms: f64,
    gap_ms: f64,
    lost: usize,
    lost_though_received: usize,
    duplicates: usize,
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub(crate) fn measure(kind: Kind, options: &Options) -> Result<Vec<Figure>> {
    let name = match kind {
        Kind::Kill => "kill",
        Kind::Stop => "stop",
        _ => "move",
    };
    let mut cluster = Cluster::fresh(&options.make())?;
    let mut runs: Vec<Run> = Vec::new();
    for number in 1..=options.runs {
        let run = one(kind, number, &format!("{name}-{number:02}"), &cluster)?;
        println!(
            "{name} {number:>2}: {:.1} ms to the first write on the other master, gap {:.1} ms, lost {}, duplicates {}",
            run.takeover_ms, run.gap_ms, run.lost, run.duplicates
        );
        let has_diverged = kind != Kind::Move && run.lost > 0;
        runs.push(run);
        if number < options.runs {
            cluster = cluster.again(has_diverged, &format!("{name} {number:>2}"))?;
        }
    }
    Ok(figures(kind, &runs))
}

fn figures(kind: Kind, runs: &[Run]) -> Vec<Figure> {
    let all = |value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
    let count = |value: fn(&Run) -> usize| runs.iter().map(|run| value(run) as f64).collect::<Vec<f64>>();
    let lost = count(|run| run.lost);
    let duplicates = count(|run| run.duplicates);
    let what = match kind {
        Kind::Kill => "mysqld of the writer killed",
        Kind::Stop => "mysqld of the writer stopped cleanly",
        _ => "move_role writer under 200 inserts/s",
    };
    let mut figures = Vec::new();
    if kind == Kind::Move {
        figures.push(
            Figure::new(format!("{what}: write gap"), "ms", all(|run| run.gap_ms))
                .at_most(Judged::Median, MOVE_MS),
        );
        figures.push(Figure::new(format!("{what}: lost"), "rows", lost).at_most(Judged::Sum, 0.0));
        figures
            .push(Figure::new(format!("{what}: duplicates"), "rows", duplicates).at_most(Judged::Sum, 0.0));
    } else {
        let first =
            Figure::new(format!("{what}: first write on the other"), "ms", all(|run| run.takeover_ms));
        figures.push(first.at_most(Judged::Median, TAKEOVER_MS));
        figures.push(Figure::new(format!("{what}: lost"), "rows", lost));
        let received = count(|run| run.lost_though_received);
        figures.push(
            Figure::new(format!("{what}: lost though received"), "rows", received).at_most(Judged::Sum, 0.0),
        );
        figures
            .push(Figure::new(format!("{what}: duplicates"), "rows", duplicates).at_most(Judged::Sum, 0.0));
    }
    figures
}

fn one(kind: Kind, number: u32, run: &str, cluster: &Cluster) -> Result<Run> {
    let lab = &cluster.lab;
    let (old, new) = cluster.writer_and_other()?;
    let probe = lab.start_probe()?;
    let old_id = cluster.server_id(old)?;
    probe.wait_write_by(old_id, Moment::from_micros(0), LIMIT)?;
    thread::sleep(BEFORE + PHASE * (number % 8));
    let event = match kind {
        Kind::Kill => lab.kill(old, Program::Server)?,
        Kind::Stop => lab.stop(old, Program::Server)?,
        _ => move_role(lab, new)?,
    };
    let new_id = cluster.server_id(new)?;
    let first = probe.wait_write_by(new_id, event, LIMIT);
    thread::sleep(AFTER);
    let record = probe.stop()?;
    cluster.keep_evidence(run, &record)?;
    first.with_context(|| format!("run {run}"))?;
    judge(kind, cluster, (old, new), event, record)
}

/// Asks for the move; the moment is when the command is typed.
pub(crate) fn move_role(lab: &Lab, target: &str) -> Result<Moment> {
    let moment = Moment::now();
    let answer = lab.control(&["move_role", "writer", target])?;
    if !answer.stdout.starts_with("OK: ") {
        bail!("the monitor refused to move the writer role to {target}: {answer}");
    }
    Ok(moment)
}

fn judge(
    kind: Kind,
    cluster: &Cluster,
    (old, new): (&str, &str),
    event: Moment,
    record: Record,
) -> Result<Run> {
    let lab = &cluster.lab;
    let new_id = cluster.server_id(new)?;
    let judge = Judge::new(lab, record);
    let mut lost = judge.lost(new)?.len();
    // Everything that arrived is applied before the role is granted, so what is missing then has never arrived. Looked at, not
    // believed.
    let unapplied = kind != Kind::Move && !has_applied_all(lab, new)?;
    let lost_though_received = if unapplied { lost } else { 0 };
    let mut duplicates = judge.duplicates(new)?.len();
    if kind == Kind::Move {
        cluster.wait_equal()?;
        lost = lost.max(judge.lost(old)?.len()).max(judge.lost(new)?.len());
        duplicates = duplicates.max(judge.duplicates(old)?.len());
    } else {
        lab.start(old, Program::Server)?;
    }
    let takeover = judge.takeover(event, new_id).context("the other master acknowledged no write")?;
    let gap = judge.gap_after(event).context("the probe made no attempt after the event")?;
    Ok(Run {
        takeover_ms: millis(takeover),
        gap_ms: millis(gap.length()),
        lost,
        lost_though_received,
        duplicates,
    })
}

/// Whether the replica has applied everything that it has received.
pub(crate) fn has_applied_all(lab: &Lab, host: &str) -> Result<bool> {
    let replication = lab.replication(host)?.with_context(|| format!("{host} does not replicate"))?;
    Ok(replication.received == replication.applied)
}
