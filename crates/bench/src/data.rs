//! What becomes of acknowledged writes when the other master is not up to date: it has received but not applied them, it has not even
//! received them, or it has received all since the writer waits for its acknowledgement.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_lab::{CLIENT, Flavour, Judge, Lab, Moment, Program, WRITER, wait_for};

use crate::cluster::{Cluster, Make};
use crate::figure::{Figure, Judged};
use crate::options::{Kind, Options};
use crate::takeover::{BEFORE, LIMIT, PHASE, has_applied_all, millis};

/// 500 writes a second.
const EVERY: Duration = Duration::from_millis(2);
/// How long the other master applies nothing.
const BEHIND: Duration = Duration::from_secs(5);
/// How long it receives nothing.
const UNSENT: Duration = Duration::from_secs(2);
/// A busy machine may need a multiple of the usual second to apply the rest.
const APPLY_LIMIT: Duration = Duration::from_secs(40);
/// The most that may be added to the time to apply the rest, in ms.
const BESIDE_APPLYING_MS: f64 = 500.0;

/// Longer than a lease: a writer that lost its replica stops, it does not go on without acknowledgements.
const SEMI_SYNC_MARIADB: [&str; 5] = [
    "rpl_semi_sync_master_enabled = 1",
    "rpl_semi_sync_slave_enabled = 1",
    "rpl_semi_sync_master_timeout = 30000",
    "rpl_semi_sync_master_wait_point = AFTER_SYNC",
    "rpl_semi_sync_master_wait_no_slave = 0",
];
const SEMI_SYNC_MYSQL: [&str; 5] = [
    "plugin-load-add = semisync_source.so;semisync_replica.so",
    "rpl_semi_sync_source_enabled = 1",
    "rpl_semi_sync_replica_enabled = 1",
    "rpl_semi_sync_source_timeout = 30000",
    "rpl_semi_sync_source_wait_no_replica = 0",
];

/// What one run gave.
struct Run {
    gap_ms: f64,
    /// From the fault until the other master had applied all that it had received.
    apply_ms: f64,
    lost: usize,
    acknowledged: usize,
    seconds: f64,
    has_diverged: bool,
}

fn make(kind: Kind, options: &Options) -> Make {
    let lines = match (kind, options.server) {
        (Kind::SemiSync, Some(Flavour::MySql97)) => SEMI_SYNC_MYSQL.to_vec(),
        (Kind::SemiSync, _) => SEMI_SYNC_MARIADB.to_vec(),
        _ => Vec::new(),
    };
    Make { gtid: true, server_lines: lines, ..options.make() }
}

pub(crate) fn measure(kind: Kind, options: &Options) -> Result<Vec<Figure>> {
    let name = match kind {
        Kind::Behind => "behind",
        Kind::Unsent => "unsent",
        _ => "semi-sync",
    };
    let mut cluster = Cluster::fresh(&make(kind, options))?;
    let mut runs = Vec::new();
    for number in 1..=options.runs {
        let run = one(kind, number, &format!("{name}-{number:02}"), &cluster)?;
        println!(
            "{name} {number:>2}: {} acknowledged ({:.0}/s before), lost {}, gap {:.1} ms, {:.1} ms until all was applied",
            run.acknowledged,
            rate(&run),
            run.lost,
            run.gap_ms,
            run.apply_ms
        );
        let has_diverged = run.has_diverged;
        runs.push(run);
        if number < options.runs {
            cluster = cluster.again(has_diverged, &format!("{name} {number:>2}"))?;
        }
    }
    Ok(figures(kind, &runs))
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
fn rate(run: &Run) -> f64 {
    run.acknowledged as f64 / run.seconds
}

fn figures(kind: Kind, runs: &[Run]) -> Vec<Figure> {
    let what = match kind {
        Kind::Behind => "mysqld killed, the other 5 s behind",
        Kind::Unsent => "mysqld killed, nothing sent for 2 s",
        _ => "semi-sync, writer's host unplugged",
    };
    let all = |value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
    let lost = runs.iter().map(|run| run.lost as f64).collect();
    let mut figures = vec![Figure::new(format!("{what}: lost"), "rows", lost).at_most(Judged::Sum, 0.0)];
    let gap = Figure::new(format!("{what}: write gap"), "ms", all(|run| run.gap_ms));
    figures.push(gap);
    if kind == Kind::Behind {
        figures.push(Figure::new(format!("{what}: time to apply the rest"), "ms", all(|run| run.apply_ms)));
        let beside = Figure::new(
            format!("{what}: gap beside applying"),
            "ms",
            all(|run| (run.gap_ms - run.apply_ms).max(0.0)),
        );
        figures.push(beside.at_most(Judged::Maximum, BESIDE_APPLYING_MS));
    }
    figures
}

fn replica(lab: &Lab, host: &str, verb: &str, thread: &str) -> Result<()> {
    let said = lab.sql(host, &format!("{verb} REPLICA {thread}"));
    said.map(drop).with_context(|| format!("{verb} {thread} on {host}"))
}

fn one(kind: Kind, number: u32, run: &str, cluster: &Cluster) -> Result<Run> {
    let lab = &cluster.lab;
    let (old, new) = cluster.writer_and_other()?;
    let (old_id, new_id) = (cluster.server_id(old)?, cluster.server_id(new)?);
    let probe = lab.start_probe_every(CLIENT, WRITER, EVERY)?;
    let began = probe.wait_write_by(old_id, Moment::from_micros(0), LIMIT)?.end;
    thread::sleep(BEFORE + PHASE * (number % 8));
    match kind {
        Kind::Behind => {
            replica(lab, new, "STOP", "SQL_THREAD")?;
            thread::sleep(BEHIND);
            replica(lab, new, "START", "SQL_THREAD")?;
        }
        Kind::Unsent => {
            replica(lab, new, "STOP", "IO_THREAD")?;
            thread::sleep(UNSENT);
        }
        _ => {}
    }
    let event = if kind == Kind::SemiSync { lab.unplug(old)? } else { lab.kill(old, Program::Server)? };
    let applied = wait_applied(lab, new)?;
    let first = probe.wait_write_by(new_id, event, APPLY_LIMIT);
    thread::sleep(Duration::from_millis(700));
    let record = probe.stop()?;
    cluster.keep_evidence(run, &record)?;
    first.with_context(|| format!("run {run}"))?;
    let gap = record.gap_after(event).context("the probe made no attempt after the event")?;
    let before = record.acknowledged().filter(|attempt| attempt.end <= event).count();
    let judge = Judge::new(lab, record);
    let lost = judge.lost(new)?.len();
    if kind == Kind::SemiSync {
        lab.replug(old)?;
    } else {
        lab.start(old, Program::Server)?;
    }
    let there = judge.rows(new)?;
    // Its agent ends all connections of a server that comes back, this one too if it is early.
    let own =
        wait_for("the old writer's rows", LIMIT, || judge.rows(old).map_err(|error| error.to_string()))?;
    Ok(Run {
        gap_ms: millis(gap.length()),
        apply_ms: millis(applied - event),
        lost,
        acknowledged: before,
        seconds: (event - began).as_secs_f64(),
        has_diverged: own.keys().any(|number| !there.contains_key(number)),
    })
}

/// When the replica had applied everything that it had received.
fn wait_applied(lab: &Lab, host: &str) -> Result<Moment> {
    let began = Moment::now();
    loop {
        if has_applied_all(lab, host)? || Moment::now() - began > APPLY_LIMIT {
            return Ok(Moment::now());
        }
        thread::sleep(Duration::from_millis(10));
    }
}
