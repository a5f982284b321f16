//! What can go wrong: how it is made, and how it is mended. Both are asked of a cluster in which anything may have happened before, so a
//! program that is not there to be killed is no failure of the run.

use std::fmt;

use anyhow::Result;
use mmm_lab::{CLIENT, Lab, LabError, Life, M1, M2, MON, Manner, Program, WRITER};
use rustix::process::Signal;

use crate::random::Random;

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

/// What was to be killed may have ended by itself, or have been ended by what guards it.
fn unless_gone<T>(result: mmm_lab::Result<T>) -> Result<()> {
    match result {
        Ok(_) | Err(LabError::NotRunning { .. } | LabError::AlreadyRunning { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn other(host: &str) -> &'static str {
    if host == M1 { M2 } else { M1 }
}

/// Statements about the applier, in the words of whatever server is there.
fn applier(lab: &Lab, host: &str, verb: &str) {
    // A server that does not answer has no applier to stop.
    let both = ["REPLICA SQL_THREAD", "SLAVE SQL_THREAD"];
    let _ = both.iter().any(|what| lab.sql(host, &format!("{verb} {what}")).is_ok());
}

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

    /// The command that was given to the monitor, and whether it took it, where that was the fault.
    pub(crate) fn make(self, lab: &Lab) -> Result<Option<(String, bool)>> {
        let line = match self {
            // Without a monitor, or a target that is well, it is refused: as it would be to an operator.
            Self::MoveWriter => lab
                .show()
                .ok()
                .and_then(|show| Some(format!("move_role writer {}", other(show.holder(WRITER)?)))),
            Self::SetOffline(host) => Some(format!("set_offline {host}")),
            _ => {
                self.break_something(lab)?;
                None
            }
        };
        Ok(line.map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let taken = lab.control(&words).is_ok_and(|answer| answer.success());
            (line, taken)
        }))
    }

    fn break_something(self, lab: &Lab) -> Result<()> {
        match self {
            Self::Kill(host, Program::Server) | Self::Reboot(host) if is_stalled(lab, host) => {
                // Whatever waits for storage can't be killed.
                lab.resume_storage(host)?;
                self.break_something(lab)
            }
            Self::Kill(host, program) => unless_gone(lab.kill(host, program)),
            Self::Stop(host, program) => unless_gone(stop(lab, host, program)),
            Self::Freeze(host, program) => unless_gone(lab.freeze(host, program)),
            Self::FreezeWorker(host) => unless_gone(lab.freeze_agent_worker(host)),
            Self::KillWorker(host) => unless_gone(lab.kill_agent_worker(host)),
            Self::Cut(one, other) => unless_gone(lab.cut(one, other, Manner::Drop)),
            Self::CutOneWay(from, to) => unless_gone(lab.cut_one_way(from, to, Manner::Drop)),
            Self::Isolate(host) => {
                let rest: Vec<&str> =
                    [MON, M1, M2, CLIENT].into_iter().filter(|other| *other != host).collect();
                unless_gone(lab.partition(&[&[host], &rest]))
            }
            Self::Unplug(host) => unless_gone(lab.unplug(host)),
            Self::PowerOff(host) => unless_gone(lab.power_off(host)),
            Self::Reboot(host) => {
                lab.reboot(host)?;
                unless_gone(lab.start_enabled(host))
            }
            Self::FullDisk(host) => unless_gone(lab.fill_disk(host)),
            Self::FullData(host) => unless_gone(lab.fill_data_disk(host)),
            Self::StallData(host) => {
                if !is_stalled(lab, host) {
                    lab.stall_storage(host)?;
                }
                Ok(())
            }
            Self::ClockJump(host, offset) => unless_gone(lab.set_clock(host, offset)),
            Self::StopApplying(host) => {
                applier(lab, host, "STOP");
                Ok(())
            }
            Self::MoveWriter | Self::SetOffline(_) => Ok(()),
        }
    }

    pub(crate) fn mend(self, lab: &Lab) -> Result<()> {
        match self {
            Self::Kill(host, program) | Self::Stop(host, program) => start(lab, host, program),
            Self::Freeze(host, program) => thaw(lab, host, program),
            Self::FreezeWorker(host) => thaw(lab, host, Program::Agent),
            Self::KillWorker(_) | Self::Reboot(_) | Self::MoveWriter => Ok(()),
            Self::Cut(one, other) | Self::CutOneWay(one, other) => unless_gone(lab.heal(one, other)),
            Self::Isolate(host) => {
                for other in [MON, M1, M2, CLIENT].into_iter().filter(|other| *other != host) {
                    lab.heal(host, other)?;
                }
                Ok(())
            }
            Self::Unplug(host) => unless_gone(lab.replug(host)),
            Self::PowerOff(host) => {
                if is_stalled(lab, host) {
                    lab.resume_storage(host)?;
                }
                lab.reboot(host)?;
                unless_gone(lab.start_enabled(host))
            }
            Self::FullData(host) => {
                if is_stalled(lab, host) {
                    lab.resume_storage(host)?;
                }
                unless_gone(lab.empty_data_disk(host))
            }
            Self::StallData(host) => {
                // A kill or a reboot may have set it going.
                if is_stalled(lab, host) {
                    lab.resume_storage(host)?;
                }
                Ok(())
            }
            Self::FullDisk(host) => {
                // A reboot leaves mounts as they are, so the disk is there still.
                lab.free_disk(host)?;
                Ok(())
            }
            Self::ClockJump(host, _) => unless_gone(lab.set_clock(host, 0)),
            Self::StopApplying(host) => {
                applier(lab, host, "START");
                Ok(())
            }
            Self::SetOffline(host) => {
                let _ = lab.control(&["set_online", host]);
                Ok(())
            }
        }
    }
}

/// What it means to those who look on.
impl Fault {
    /// Clients may be unable to reach a writer that is well, or be stuck on the way to one that is lost.
    pub(crate) fn blinds_clients(self) -> bool {
        match self {
            Self::Isolate(host) | Self::Unplug(host) => host != MON,
            Self::Cut(_, CLIENT)
            | Self::CutOneWay(_, CLIENT)
            | Self::CutOneWay(CLIENT, _)
            // The server waits, and so do clients, long before anybody can know.
            | Self::Freeze(_, Program::Server)
            | Self::FullData(_)
            | Self::StallData(_)
            | Self::PowerOff(_) => true,
            _ => false,
        }
    }

    pub(crate) fn moves_the_monitors_clock(self) -> bool {
        matches!(self, Self::ClockJump(MON, _))
    }

    pub(crate) fn fills_the_monitors_disk(self) -> bool {
        self == Self::FullDisk(MON)
    }

    pub(crate) fn ends_the_monitor(self) -> bool {
        match self {
            Self::Kill(MON, _) | Self::Stop(MON, _) => true,
            Self::PowerOff(host) | Self::Reboot(host) => host == MON,
            _ => false,
        }
    }

    /// Makes whoever has the role depend on the other master's promise, or takes that away; by itself it costs nobody anything.
    pub(crate) fn isolates(self) -> bool {
        match self {
            Self::Cut(_, other) => other != CLIENT,
            Self::CutOneWay(from, to) => from != CLIENT && to != CLIENT,
            Self::Kill(MON, _) | Self::Stop(MON, _) | Self::Freeze(MON, _) => true,
            Self::Isolate(host) | Self::Unplug(host) | Self::PowerOff(host) | Self::Reboot(host) => {
                host == MON
            }
            _ => false,
        }
    }

    /// By itself it may cost this host the role.
    pub(crate) fn may_cost_the_role(self, host: &str) -> bool {
        match self {
            Self::Kill(at, _)
            | Self::Stop(at, _)
            | Self::Freeze(at, _)
            | Self::Isolate(at)
            | Self::Unplug(at)
            | Self::PowerOff(at)
            | Self::Reboot(at)
            | Self::FullData(at)
            | Self::StallData(at) => at == host,
            _ => false,
        }
    }

    /// What a writer acknowledged may stay where nobody can get at it: on a host that is out of reach, or without its agent.
    pub(crate) fn may_lose(self) -> bool {
        match self {
            Self::Kill(_, Program::Agent)
            | Self::Stop(_, Program::Agent)
            | Self::Freeze(_, Program::Agent)
            | Self::FreezeWorker(_)
            | Self::KillWorker(_)
            | Self::FullData(_)
            | Self::StallData(_) => true,
            Self::Cut(_, other) => other != CLIENT,
            Self::CutOneWay(from, to) => from != CLIENT && to != CLIENT,
            Self::Isolate(host) | Self::Unplug(host) | Self::PowerOff(host) | Self::Reboot(host) => {
                host != MON
            }
            _ => false,
        }
    }

    /// The host whose data must lie on a disk of its own for it.
    pub(crate) fn own_disk(self) -> Option<&'static str> {
        match self {
            Self::FullData(host) | Self::StallData(host) => Some(host),
            _ => None,
        }
    }
}

fn is_stalled(lab: &Lab, host: &str) -> bool {
    lab.has_stalled_storage(host).unwrap_or_default()
}

/// SIGTERM, without waiting: what comes next is to meet a program that is about to end.
fn stop(lab: &Lab, host: &str, program: Program) -> mmm_lab::Result<()> {
    if let Some(process) = lab.process(host, program)? {
        process.signal(Signal::TERM);
    }
    Ok(())
}

fn start(lab: &Lab, host: &str, program: Program) -> Result<()> {
    if program == Program::Server && is_stalled(lab, host) {
        // It would hang; what sets the storage going starts it too.
        return Ok(());
    }
    match lab.life(host, program)? {
        Life::Ended => unless_gone(lab.start(host, program)),
        Life::Running | Life::Stopped => Ok(()),
    }
}

fn thaw(lab: &Lab, host: &str, program: Program) -> Result<()> {
    // What guards a frozen program may have ended it; then it is started as a service manager would.
    match lab.thaw(host, program) {
        Err(LabError::NotRunning { .. }) => start(lab, host, program),
        result => unless_gone(result),
    }
}

/// Everything runs on every host again, whatever was done to it.
pub(crate) fn heal(lab: &Lab, made: &[Fault]) -> Result<()> {
    for fault in made {
        fault.mend(lab)?;
    }
    lab.heal_all()?;
    for (host, program) in PROGRAMS {
        if lab.life(host, program)? == Life::Stopped {
            thaw(lab, host, program)?;
        }
    }
    keep_running(lab)
}

/// Starts what has ended, as a service manager does.
pub(crate) fn keep_running(lab: &Lab) -> Result<()> {
    PROGRAMS.into_iter().try_for_each(|(host, program)| start(lab, host, program))
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
