//! Processes named by pid and start time, so that a pid that the kernel has given to somebody else is never signalled.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// One process of this machine since its last start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// Start time in clock ticks since boot, as `/proc/PID/stat` tells it.
    pub start: u64,
}

struct Stat {
    state: char,
    parent: i32,
    threads: u32,
    start: u64,
}

impl Stat {
    /// A zombie has ended: it holds no file, no socket and no memory, it only waits to be collected. Unless other threads of it are still
    /// on their way out: until the last of them has gone, all that it held is held.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in parentheses and may itself hold spaces and parentheses: only what follows the last one counts.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads = fields.nth(15)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, parent, threads, start })
}

/// How a recorded process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Running,
    Stopped,
    Ended,
}

impl ProcessId {
    /// The process that has this pid now, if it lives.
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).filter(|stat| !stat.has_ended()).map(|stat| Self { pid, start: stat.start })
    }

    pub fn current() -> Self {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::of(pid).expect("a running process finds itself in /proc")
    }

    pub fn life(self) -> Life {
        match stat(self.pid) {
            Some(stat) if stat.start != self.start => Life::Ended,
            None => Life::Ended,
            Some(stat) if stat.has_ended() => Life::Ended,
            Some(Stat { state: 'T' | 't', .. }) => Life::Stopped,
            Some(_) => Life::Running,
        }
    }

    pub fn is_alive(self) -> bool {
        self.life() != Life::Ended
    }

    /// Sends a signal; `false` when the process had ended before.
    pub fn signal(self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // Checked after the handle was opened: from here on the handle cannot come to mean another process.
        self.is_alive() && pidfd_send_signal(&handle, signal).is_ok()
    }

    /// Waits for the end; `false` when it is still there at the limit.
    pub fn wait_end(self, limit: Duration) -> bool {
        let began = Instant::now();
        while self.is_alive() {
            if began.elapsed() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Children, their children and so on, without the process itself.
    pub fn descendants(self) -> Vec<Self> {
        let all: Vec<(Self, i32)> = all_pids()
            .into_iter()
            .filter_map(|pid| {
                let stat = stat(pid)?;
                (!stat.has_ended()).then_some((Self { pid, start: stat.start }, stat.parent))
            })
            .collect();
        let mut found: Vec<Self> = Vec::new();
        let mut parents = vec![self.pid];
        while let Some(parent) = parents.pop() {
            for (process, its_parent) in &all {
                if *its_parent == parent && !found.contains(process) {
                    found.push(*process);
                    parents.push(process.pid);
                }
            }
        }
        found
    }

    /// The process itself and all that it descends from.
    pub(crate) fn with_ancestors(self) -> Vec<i32> {
        let mut line = vec![self.pid];
        let mut pid = self.pid;
        while let Some(stat) = stat(pid) {
            if stat.parent <= 1 || line.contains(&stat.parent) {
                break;
            }
            pid = stat.parent;
            line.push(pid);
        }
        line
    }
}

/// Every pid of the machine at this moment.
pub(crate) fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_known_by_its_start_time_too() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = ProcessId::of(pid).unwrap();
        let stranger = ProcessId { pid, start: process.start + 1 };
        assert!(process.is_alive());
        assert!(!stranger.is_alive());
        assert!(!stranger.signal(Signal::KILL), "another process with that pid is not signalled");
        assert!(process.is_alive());
        assert!(ProcessId::current().descendants().contains(&process));
        assert!(process.signal(Signal::STOP));
        let began = Instant::now();
        while process.life() != Life::Stopped {
            assert!(began.elapsed() < Duration::from_secs(5));
            thread::sleep(Duration::from_millis(1));
        }
        assert!(process.signal(Signal::KILL));
        assert!(process.wait_end(Duration::from_secs(5)), "a zombie counts as ended");
        child.wait().unwrap();
    }
}
