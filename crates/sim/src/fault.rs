//! What can go wrong, and the plan of one run.

use std::fmt;

use mmm_core::HostName;
use mmm_core::lease::LeaseRule;

use crate::happening::Node;
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
    /// The worker dies; its parent starts another one.
    KillWorker {
        host: HostName,
    },
    /// The worker hangs; its parent notices after 2 s.
    FreezeWorker {
        host: HostName,
        time: u64,
    },
    /// Worker and parent are gone.
    KillAgent {
        host: HostName,
        down: u64,
    },
    /// Worker and parent hang.
    FreezeAgent {
        host: HostName,
        time: u64,
    },
    /// The state file of this boot is gone when the agent starts again.
    LoseMemory {
        host: HostName,
    },
    PowerOff {
        host: HostName,
        down: u64,
    },
    /// The epoch file is gone when the host comes back.
    LoseDurable {
        host: HostName,
        down: u64,
    },
    /// The last write to the epoch file was torn by the power cut.
    TearDurable {
        host: HostName,
        down: u64,
    },
    FillDisk {
        host: HostName,
        time: u64,
    },
    FlushAddresses {
        host: HostName,
    },
    /// The wall clock is set.
    StepWallClock {
        host: HostName,
        by: i64,
    },
    KillMonitor {
        down: u64,
    },
    /// The monitor dies while it carries out the actions of its next step that has more than one.
    KillMonitorMidway {
        down: u64,
    },
    FreezeMonitor {
        time: u64,
    },
    /// The monitor's epoch file is gone, or its newest slot torn, when it starts again.
    LoseState {
        down: u64,
        torn: bool,
    },
    /// The monitor starts with a copy of its epoch file that is some seconds old.
    RestoreState {
        down: u64,
    },
    FillMonitorDisk {
        time: u64,
    },
    SecondMonitor,
    ChangeLease {
        seconds: u64,
        down: u64,
    },
    /// Packets from one to the other are lost.
    Cut {
        from: Node,
        to: Node,
        time: u64,
    },
    /// A host is cut from everybody.
    Isolate {
        node: Node,
        time: u64,
    },
    /// Packets take so much longer.
    Slow {
        from: Node,
        to: Node,
        extra: u64,
        time: u64,
    },
    /// The connection between monitor and agent is reset; what was sent over it may arrive late.
    BreakSession {
        host: HostName,
    },
    /// Files in the run directory take seconds to be written.
    SlowRunDirectory {
        host: HostName,
        time: u64,
    },
    /// The writer's clock is as slow, and all others as fast, as allowed; kernels are late.
    WorstClocks,
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
            Self::KillWorker { host } => write!(f, "the worker of {host}'s agent is killed"),
            Self::FreezeWorker { host, time } => {
                write!(f, "the worker of {host}'s agent hangs for {time} ms")
            }
            Self::KillAgent { host, down } => write!(f, "agent of {host} is killed for {down} ms"),
            Self::FreezeAgent { host, time } => write!(f, "agent of {host} hangs for {time} ms"),
            Self::LoseMemory { host } => write!(f, "agent of {host} is killed and its run directory emptied"),
            Self::PowerOff { host, down } => write!(f, "{host} loses power for {down} ms"),
            Self::LoseDurable { host, down } => {
                write!(f, "{host} loses power for {down} ms, and its epoch file")
            }
            Self::TearDurable { host, down } => {
                write!(f, "{host} loses power for {down} ms while it writes its epoch file")
            }
            Self::FillDisk { host, time } => write!(f, "the disk of {host} refuses writes for {time} ms"),
            Self::FlushAddresses { host } => write!(f, "somebody flushes the interface of {host}"),
            Self::StepWallClock { host, by } => write!(f, "the wall clock of {host} is set by {by} ms"),
            Self::KillMonitor { down } => write!(f, "monitor is killed for {down} ms"),
            Self::KillMonitorMidway { down } => {
                write!(f, "monitor is to die in the middle of its next actions, for {down} ms")
            }
            Self::FreezeMonitor { time } => write!(f, "monitor hangs for {time} ms"),
            Self::LoseState { down, torn } => {
                write!(f, "monitor is killed for {down} ms and its epoch file is lost (torn: {torn})")
            }
            Self::RestoreState { down } => {
                write!(f, "monitor is killed for {down} ms and starts with an old epoch file")
            }
            Self::FillMonitorDisk { time } => {
                write!(f, "the disk of the monitor refuses writes for {time} ms")
            }
            Self::SecondMonitor => write!(f, "a second monitor is started by mistake"),
            Self::ChangeLease { seconds, down } => {
                write!(f, "monitor is restarted after {down} ms with writer_lease {seconds}")
            }
            Self::Cut { from, to, time } => {
                write!(f, "packets from {from:?} to {to:?} are lost for {time} ms")
            }
            Self::Isolate { node, time } => write!(f, "{node:?} is cut off for {time} ms"),
            Self::Slow { from, to, extra, time } => {
                write!(f, "packets from {from:?} to {to:?} take {extra} ms longer for {time} ms")
            }
            Self::BreakSession { host } => write!(f, "the session with {host} is reset"),
            Self::SlowRunDirectory { host, time } => {
                write!(f, "the run directory of {host} is slow for {time} ms")
            }
            Self::WorstClocks => write!(f, "the writer's clock is slow, all others are fast"),
            Self::Command { line } => write!(f, "mmm_control {line}"),
        }
    }
}

/// What a run is about: some faults find little among many others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Everything,
    /// Networks that part, and nothing else: messages late, promises, lists.
    Network,
    /// Programs and hosts that die and come back.
    Crashes,
    /// Only the monitor is cut off, killed or hangs: the writer must not notice.
    MonitorOnly,
    /// Everything is off for a while, and what boots first does so by chance.
    Outage,
    /// The course of events for which one rule is there.
    Aimed(LeaseRule),
}

/// The faults of one run with their times, from `begin` to `end`.
pub(crate) fn plan(
    random: &mut Random,
    theme: Theme,
    hosts: &[HostName],
    begin: u64,
    end: u64,
) -> Vec<(u64, Fault)> {
    let count = if theme == Theme::MonitorOnly { random.between(1, 3) } else { random.between(1, 14) };
    (0..count)
        .map(|_| {
            // Bunched faults find more than evenly spread ones.
            let at = random.between(begin, end);
            let at = if random.one_in(3) { at - at % 2_000 + random.between(0, 400) } else { at };
            let fault = match theme {
                Theme::Everything => {
                    if random.one_in(2) {
                        network(random, hosts)
                    } else {
                        crash(random, hosts)
                    }
                }
                Theme::Network => {
                    if random.one_in(5) {
                        crash(random, hosts)
                    } else {
                        network(random, hosts)
                    }
                }
                Theme::Crashes => crash(random, hosts),
                Theme::MonitorOnly => monitor_only(random),
                Theme::Aimed(_) | Theme::Outage => network(random, hosts),
            };
            (at, fault)
        })
        .collect()
}

/// All hosts lose their power, or all servers are killed, within a second or so of each other, once or twice; sometimes the monitor
/// goes with them.
pub(crate) fn outages(random: &mut Random, hosts: &[HostName], begin: u64, end: u64) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    let mut at = random.between(begin, begin + 4_000);
    while at < end {
        let powered = random.one_in(2);
        for host in hosts.iter().cloned() {
            // Sometimes the last to go comes back long after the others.
            let down =
                if random.one_in(2) { random.between(1_000, 5_000) } else { random.between(4_000, 16_000) };
            let at = at + random.between(0, 1_500);
            faults.push((
                at,
                if powered { Fault::PowerOff { host, down } } else { Fault::KillServer { host, down } },
            ));
        }
        match random.between(0, 3) {
            0 => {
                faults.push((
                    at + random.between(0, 1_500),
                    Fault::KillMonitor { down: random.between(5, 6_000) },
                ));
            }
            1 => {
                let down = random.between(5, 6_000);
                faults.push((at, Fault::LoseState { down, torn: random.one_in(2) }));
            }
            _ => {}
        }
        if random.one_in(3) {
            faults.push((at + random.between(0, 6_000), crash(random, hosts)));
        }
        at += random.between(7_000, 20_000);
    }
    faults
}

fn pick(random: &mut Random, hosts: &[HostName]) -> HostName {
    // The first two are the masters, and more often in trouble.
    let index =
        if random.one_in(4) { random.between(0, hosts.len() as u64 - 1) } else { random.between(0, 1) };
    hosts[usize::try_from(index).unwrap_or_default()].clone()
}

fn node(random: &mut Random, hosts: &[HostName]) -> Node {
    if random.one_in(3) { Node::Monitor(0) } else { Node::Host(pick(random, hosts)) }
}

fn network(random: &mut Random, hosts: &[HostName]) -> Fault {
    let time = if random.one_in(2) { random.between(100, 4_000) } else { random.between(2_000, 14_000) };
    match random.between(0, 9) {
        0..=4 => Fault::Cut { from: node(random, hosts), to: node(random, hosts), time },
        5 => Fault::Slow {
            from: node(random, hosts),
            to: node(random, hosts),
            extra: random.between(100, 3_000),
            time,
        },
        6 => Fault::BreakSession { host: pick(random, hosts) },
        _ => Fault::Isolate { node: node(random, hosts), time },
    }
}

fn monitor_only(random: &mut Random) -> Fault {
    let time = random.between(500, 12_000);
    match random.between(0, 3) {
        0 => Fault::KillMonitor { down: time },
        1 => Fault::FreezeMonitor { time },
        2 => Fault::LoseState { down: time, torn: random.one_in(2) },
        _ => Fault::Isolate { node: Node::Monitor(0), time },
    }
}

fn crash(random: &mut Random, hosts: &[HostName]) -> Fault {
    let host = pick(random, hosts);
    match random.between(0, 39) {
        0..=5 => Fault::KillServer { host, down: random.between(20, 9_000) },
        6 => Fault::StopServer { host, down: random.between(300, 9_000) },
        7..=8 => Fault::FreezeServer { host, time: random.between(50, 9_000) },
        9 => Fault::HoldLock { host, time: random.between(50, 6_000) },
        10..=11 => Fault::KillWorker { host },
        12..=13 => Fault::FreezeWorker { host, time: random.between(100, 9_000) },
        14..=15 => Fault::KillAgent { host, down: random.between(5, 9_000) },
        16 => Fault::FreezeAgent { host, time: random.between(100, 9_000) },
        17 => Fault::LoseMemory { host },
        18..=19 => Fault::PowerOff { host, down: random.between(1_000, 8_000) },
        20 => Fault::LoseDurable { host, down: random.between(1_000, 8_000) },
        21 => Fault::TearDurable { host, down: random.between(1_000, 8_000) },
        22 if random.one_in(2) => Fault::SlowRunDirectory { host, time: random.between(500, 6_000) },
        22 => Fault::FillDisk { host, time: random.between(100, 6_000) },
        23 => Fault::FlushAddresses { host },
        24 => Fault::StepWallClock { host, by: if random.one_in(2) { 3_600_000 } else { -3_600_000 } },
        25..=26 => Fault::KillMonitor { down: random.between(5, 6_000) },
        27 => Fault::KillMonitorMidway { down: random.between(5, 3_000) },
        28 => Fault::FreezeMonitor { time: random.between(100, 9_000) },
        29 => Fault::LoseState { down: random.between(5, 3_000), torn: random.one_in(2) },
        30 => Fault::RestoreState { down: random.between(5, 3_000) },
        31 => Fault::FillMonitorDisk { time: random.between(100, 6_000) },
        32 => Fault::SecondMonitor,
        33 => Fault::ChangeLease { seconds: random.between(3, 7), down: random.between(5, 1_000) },
        34..=36 => Fault::Command { line: format!("move_role writer {host}") },
        37 => Fault::Command { line: format!("set_offline {host}") },
        38 => Fault::Command { line: format!("set_online {host}") },
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
