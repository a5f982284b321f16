//! What a program of the lab costs: memory and processor time, with its children.

use std::fs;
use std::time::Duration;

use crate::error::Result;
use crate::host::Program;
use crate::lab::Lab;
use crate::process::ProcessId;

/// Cost of a program and its children up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, in kB; pages shared between parent and children count for each.
    pub resident_kb: u64,
    /// Processor time, in user and kernel mode, since the processes began.
    pub cpu: Duration,
    pub processes: usize,
}

fn resident_kb(process: ProcessId) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn cpu(process: ProcessId) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    // Fields 14 and 15 of the file; the state behind the name is the third.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_micros(ticks.saturating_mul(1_000_000) / per_second)
}

impl Lab {
    /// Memory and processor time of a program that runs.
    pub fn usage(&self, host: &str, program: Program) -> Result<Usage> {
        let mut usage = Usage::default();
        for process in self.family(host, program)? {
            usage.resident_kb += resident_kb(process);
            usage.cpu += cpu(process);
            usage.processes += 1;
        }
        Ok(usage)
    }
}
