//! What can go wrong, and how often it is drawn: `acts` makes and mends it, `meaning` says what it may cost.

mod acts;
mod meaning;

use std::fmt;

use mmm_lab::{CLIENT, M1, M2, MON, Program};

use crate::random::Random;

pub(crate) use acts::{heal, keep_running};

/// Hosts that have a server and an agent.
pub(crate) const MASTERS: [&str; 2] = [M1, M2];

/// Everything that runs.
pub(crate) const PROGRAMS: [(&str, Program); 5] = [
    (M1, Program::Server),
    (M2, Program::Server),
    (M1, Program::Agent),
    (M2, Program::Agent),
    (MON, Program::Monitor),
];

/// One fault, on the hosts that the seed chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(&'static str, Program),
    Stop(&'static str, Program),
    Freeze(&'static str, Program),
    FreezeWorker(&'static str),
    KillWorker(&'static str),
    Cut(&'static str, &'static str),
    CutOneWay(&'static str, &'static str),
    Isolate(&'static str),
    Unplug(&'static str),
    PowerOff(&'static str),
    Reboot(&'static str),
    FullDisk(&'static str),
    FullData(&'static str),
    StallData(&'static str),
    ClockJump(&'static str, i64),
    StopApplying(&'static str),
    MoveWriter,
    SetOffline(&'static str),
}

/// A row of the table: how often it is drawn, and what it makes of a choice of hosts.
type Row = (usize, fn(&mut Random) -> Fault);

fn master(random: &mut Random) -> &'static str {
    random.one_of(&MASTERS)
}

fn pair(random: &mut Random) -> (&'static str, &'static str) {
    random.one_of(&[(M1, M2), (M1, MON), (M2, MON), (M1, CLIENT), (M2, CLIENT)])
}

const TABLE: &[Row] = &[
    (4, |random| Fault::Kill(master(random), Program::Server)),
    (2, |random| Fault::Stop(master(random), Program::Server)),
    (2, |random| Fault::Freeze(master(random), Program::Server)),
    (2, |random| Fault::Kill(master(random), Program::Agent)),
    (1, |random| Fault::Stop(master(random), Program::Agent)),
    (2, |random| Fault::Freeze(master(random), Program::Agent)),
    (1, |random| Fault::FreezeWorker(master(random))),
    (1, |random| Fault::KillWorker(master(random))),
    (2, |_| Fault::Kill(MON, Program::Monitor)),
    (1, |_| Fault::Stop(MON, Program::Monitor)),
    (2, |_| Fault::Freeze(MON, Program::Monitor)),
    (3, |random| {
        let (one, other) = pair(random);
        Fault::Cut(one, other)
    }),
    (2, |random| {
        let (one, other) = pair(random);
        if random.below(2) == 0 { Fault::CutOneWay(one, other) } else { Fault::CutOneWay(other, one) }
    }),
    (2, |random| Fault::Isolate(random.one_of(&[M1, M2, MON]))),
    (2, |random| Fault::Unplug(random.one_of(&[M1, M2, MON]))),
    (2, |random| Fault::PowerOff(random.one_of(&[M1, M2, MON]))),
    (2, |random| Fault::Reboot(random.one_of(&[M1, M2, MON]))),
    (1, |random| Fault::FullDisk(random.one_of(&[M1, M2, MON]))),
    (1, |random| Fault::FullData(master(random))),
    (2, |random| Fault::StallData(master(random))),
    (1, |random| Fault::ClockJump(random.one_of(&[M1, M2, MON]), random.one_of(&[-3600, -30, 30, 3600]))),
    (2, |random| Fault::StopApplying(master(random))),
    (4, |_| Fault::MoveWriter),
    (2, |random| Fault::SetOffline(master(random))),
];

impl Fault {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let all: usize = TABLE.iter().map(|(weight, _)| weight).sum();
        let mut left = random.below(all);
        for (weight, make) in TABLE {
            if left < *weight {
                return make(random);
            }
            left -= weight;
        }
        Self::MoveWriter
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(host, program) => write!(f, "kill {program} on {host}"),
            Self::Stop(host, program) => write!(f, "stop {program} on {host}"),
            Self::Freeze(host, program) => write!(f, "freeze {program} on {host}"),
            Self::FreezeWorker(host) => write!(f, "freeze the agent's worker on {host}"),
            Self::KillWorker(host) => write!(f, "kill the agent's worker on {host}"),
            Self::Cut(one, other) => write!(f, "cut {one} and {other} off from each other"),
            Self::CutOneWay(from, to) => write!(f, "lose what {from} sends to {to}"),
            Self::Isolate(host) => write!(f, "cut {host} off from all"),
            Self::Unplug(host) => write!(f, "unplug {host}"),
            Self::PowerOff(host) => write!(f, "power off {host}"),
            Self::Reboot(host) => write!(f, "reboot {host}"),
            Self::FullDisk(host) => write!(f, "fill the state disk of {host}"),
            Self::FullData(host) => write!(f, "fill the data disk of {host}"),
            Self::StallData(host) => write!(f, "stall the data disk of {host}"),
            Self::ClockJump(host, offset) => write!(f, "set the clock of {host} {offset:+} s"),
            Self::StopApplying(host) => write!(f, "stop the applier on {host}"),
            Self::MoveWriter => f.write_str("move the writer role"),
            Self::SetOffline(host) => write!(f, "set {host} offline"),
        }
    }
}
