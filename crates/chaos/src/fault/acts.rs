//! How a fault is made, and how it is mended. Both are asked of a cluster in which anything may have happened before, so a program that is
//! not there to be killed is no failure of the run.

use anyhow::Result;
use mmm_lab::{CLIENT, Lab, LabError, Life, M1, M2, MON, Manner, Program, WRITER};
use rustix::process::Signal;

use super::{Fault, PROGRAMS};

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
