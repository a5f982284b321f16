//! What the daemons cost while nothing happens: resident memory and processor time.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mmm_lab::{M1, M2, MON, Moment, Program};

use crate::cluster::{Cluster, Make};
use crate::figure::{Figure, Judged};
use crate::options::Options;

/// Before counting, so that nothing of the start is counted.
const CALM: Duration = Duration::from_secs(5);
const MEMORY_MB: f64 = 15.0;
const CPU_PERCENT: f64 = 0.3;

/// Memory of a program with its children at one moment, in MB of 1024 * 1024 bytes.
struct Memory {
    /// Sum of `VmRSS`: pages that parent and child share count twice.
    resident: f64,
    /// Sum of `Pss`: shared pages are divided among those who share them, also with the other daemons of this machine.
    proportional: f64,
}

#[expect(clippy::cast_precision_loss, reason = "kilobytes and microseconds of a small program")]
fn memory(cluster: &Cluster, host: &str, program: Program) -> Result<Memory> {
    let lab = &cluster.lab;
    let process =
        lab.process(host, program)?.with_context(|| format!("the {program} on {host} has ended"))?;
    let mut proportional = 0;
    for process in std::iter::once(process).chain(process.descendants()) {
        let path = format!("/proc/{}/smaps_rollup", process.pid);
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        proportional += line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    let resident = lab.usage(host, program)?.resident_kb;
    Ok(Memory { resident: resident as f64 / 1024.0, proportional: proportional as f64 / 1024.0 })
}

/// Figures of each daemon: resident, proportional, processor time.
const EACH: usize = 3;
const DAEMONS: [(&str, Program); 3] = [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)];

pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    let cluster = Cluster::fresh(&Make { evidence: None, ..options.make() })?;
    thread::sleep(CALM);
    let length = Duration::from_secs(options.idle_seconds);
    let began = Instant::now();
    let from = Moment::now();
    let before = DAEMONS.map(|(host, program)| cluster.lab.usage(host, program));
    let mut figures: Vec<Figure> = Vec::new();
    // Each host by itself: one agent above the target must not hide behind another below it.
    for (host, program) in DAEMONS {
        let whole = if program == Program::Agent { " with its parent" } else { "" };
        let what = format!("{}{whole} on {host}", program.executable());
        figures.push(
            Figure::new(format!("{what}, idle: VmRSS"), "MB", Vec::new()).at_most(Judged::Median, MEMORY_MB),
        );
        figures.push(Figure::new(format!("{what}, idle: Pss"), "MB", Vec::new()));
        let name = format!("{what}, idle: CPU of a core over {} s", options.idle_seconds);
        figures.push(Figure::new(name, "%", Vec::new()).at_most(Judged::Median, CPU_PERCENT));
    }
    for sample in 1..=options.runs {
        thread::sleep((length * sample / options.runs).saturating_sub(began.elapsed()));
        for (daemon, (host, program)) in DAEMONS.into_iter().enumerate() {
            let memory = memory(&cluster, host, program)?;
            figures[daemon * EACH].values.push(memory.resident);
            figures[daemon * EACH + 1].values.push(memory.proportional);
        }
    }
    let gone = (Moment::now() - from).as_secs_f64();
    for (daemon, ((host, program), before)) in DAEMONS.into_iter().zip(before).enumerate() {
        let used = cluster.lab.usage(host, program)?.cpu.saturating_sub(before?.cpu);
        figures[daemon * EACH + 2].values.push(used.as_secs_f64() / gone * 100.0);
    }
    Ok(figures)
}
