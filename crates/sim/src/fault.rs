//! What can go wrong, and the plan of one run.
//!
//! Without a program for killing hosts, an agent never dies while its server is in trouble and no server gets into
//! trouble while its agent is away: a host that is alive and cannot be told anything is what leases are for.

use std::fmt;

use mmm_core::HostName;

use crate::random::Random;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillServer {
        host: HostName,
        down: u64,
    },
    StopServer {
        host: HostName,
        down: u64,
    },
    FreezeServer {
        host: HostName,
        time: u64,
    },
    HoldLock {
        host: HostName,
        time: u64,
    },
    KillAgent {
        host: HostName,
        down: u64,
    },
    PowerOff {
        host: HostName,
        down: u64,
    },
    FlushAddresses {
        host: HostName,
    },
    KillMonitor {
        down: u64,
    },
    /// The monitor dies while it carries out the actions of its next step that has more than one.
    KillMonitorMidway {
        down: u64,
    },
    Command {
        line: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillServer { host, down } => write!(f, "server of {host} is killed for {down} ms"),
            Self::StopServer { host, down } => write!(f, "server of {host} is stopped cleanly for {down} ms"),
            Self::FreezeServer { host, time } => write!(f, "server of {host} freezes for {time} ms"),
            Self::HoldLock { host, time } => write!(f, "somebody on {host} holds a lock for {time} ms"),
            Self::KillAgent { host, down } => write!(f, "agent of {host} is killed for {down} ms"),
            Self::PowerOff { host, down } => write!(f, "{host} loses power for {down} ms"),
            Self::FlushAddresses { host } => write!(f, "somebody flushes the interface of {host}"),
            Self::KillMonitor { down } => write!(f, "monitor is killed for {down} ms"),
            Self::KillMonitorMidway { down } => {
                write!(f, "monitor is to die in the middle of its next actions, for {down} ms")
            }
            Self::Command { line } => write!(f, "mmm_control {line}"),
        }
    }
}

/// The faults of one run with their times, from `begin` to `end`.
pub(crate) fn plan(random: &mut Random, hosts: &[HostName], begin: u64, end: u64) -> Vec<(u64, Fault)> {
    let count = random.between(1, 12);
    (0..count)
        .map(|_| {
            // Bunched faults find more than evenly spread ones.
            let at = random.between(begin, end);
            let at = if random.one_in(3) { at - at % 2_000 + random.between(0, 400) } else { at };
            (at, choose(random, hosts))
        })
        .collect()
}

fn choose(random: &mut Random, hosts: &[HostName]) -> Fault {
    let host = hosts[usize::from(random.one_in(2))].clone();
    match random.between(0, 19) {
        0..=2 => Fault::KillServer { host, down: random.between(20, 9_000) },
        3 => Fault::StopServer { host, down: random.between(300, 9_000) },
        4..=5 => Fault::FreezeServer { host, time: random.between(50, 9_000) },
        6 => Fault::HoldLock { host, time: random.between(50, 6_000) },
        7..=8 => Fault::KillAgent { host, down: random.between(5, 1_500) },
        9 => Fault::PowerOff { host, down: random.between(3_000, 8_000) },
        10 => Fault::FlushAddresses { host },
        11..=12 => Fault::KillMonitor { down: random.between(5, 3_000) },
        13 => Fault::KillMonitorMidway { down: random.between(5, 3_000) },
        14..=16 => Fault::Command { line: format!("move_role writer {host}") },
        17 => Fault::Command { line: format!("set_offline {host}") },
        18 => Fault::Command { line: format!("set_online {host}") },
        _ => {
            let mode = match random.between(0, 3) {
                0 => "set_manual",
                1 => "set_passive",
                _ => "set_active",
            };
            Fault::Command { line: mode.to_owned() }
        }
    }
}
