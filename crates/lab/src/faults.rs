//! What can go wrong on purpose: programs killed, stopped, frozen; cables pulled; addresses flushed; power and reboots.
//! Each returns the moment just before it took effect, so that the judge can measure from there.

use std::time::Duration;

use rustix::process::Signal;

use crate::cleanup::processes_in;
use crate::error::{LabError, Result};
use crate::holder;
use crate::host::{Host, Program};
use crate::lab::Lab;
use crate::moment::Moment;
use crate::network::{self, Cut, Manner};
use crate::process::{Life, ProcessId};
use crate::wait::wait_for;

const END_LIMIT: Duration = Duration::from_secs(10);
/// A clean stop of a server may have to wait for its threads.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// The kernel stops and continues a process some time after the signal was sent; a fault has been made only then.
fn wait_stopped(host: &str, processes: &[ProcessId], stopped: bool) -> Result<()> {
    let what = format!("everything on {host} {}", if stopped { "standing still" } else { "running on" });
    wait_for(&what, END_LIMIT, || {
        let wrong = if stopped { Life::Running } else { Life::Stopped };
        match processes.iter().find(|process| process.life() == wrong) {
            None => Ok(()),
            Some(process) => Err(format!("process {} is {wrong:?}", process.pid)),
        }
    })
}

impl Lab {
    /// The program's process and all its children.
    pub(crate) fn family(&self, host: &str, program: Program) -> Result<Vec<ProcessId>> {
        let process = self.running(host, program)?;
        let mut family = vec![process];
        family.extend(process.descendants());
        Ok(family)
    }

    fn signal_all(processes: &[ProcessId], signal: Signal) -> Moment {
        let at = Moment::now();
        for process in processes {
            process.signal(signal);
        }
        at
    }

    fn wait_ended(&self, host: &str, what: &str, processes: &[ProcessId], limit: Duration) -> Result<()> {
        match processes.iter().find(|process| !process.wait_end(limit)) {
            None => Ok(()),
            Some(process) => Err(LabError::Timeout {
                what: format!("the end of {what} on {host} in lab `{}`", self.name),
                limit,
                last: format!("process {} is still there", process.pid),
            }),
        }
    }

    /// SIGKILL; for an agent its parent and worker together.
    pub fn kill(&self, host: &str, program: Program) -> Result<Moment> {
        let family = self.family(host, program)?;
        let at = Self::signal_all(&family, Signal::KILL);
        self.wait_ended(host, &program.to_string(), &family, END_LIMIT)?;
        Ok(at)
    }

    /// SIGKILL of the agent's worker only; its parent lives.
    pub fn kill_agent_worker(&self, host: &str) -> Result<Moment> {
        let workers = self.agent_workers(host)?;
        let at = Self::signal_all(&workers, Signal::KILL);
        self.wait_ended(host, "the agent's worker", &workers, END_LIMIT)?;
        Ok(at)
    }

    /// SIGSTOP of the agent's worker only; its parent runs on.
    pub fn freeze_agent_worker(&self, host: &str) -> Result<Moment> {
        let workers = self.agent_workers(host)?;
        let at = Self::signal_all(&workers, Signal::STOP);
        wait_stopped(host, &workers, true)?;
        Ok(at)
    }

    fn agent_workers(&self, host: &str) -> Result<Vec<ProcessId>> {
        let workers = self.running(host, Program::Agent)?.descendants();
        if workers.is_empty() {
            return Err(LabError::NotRunning { host: host.to_owned(), program: "agent's worker".to_owned() });
        }
        Ok(workers)
    }

    /// SIGKILL of the agent's parent only; its worker ends with it.
    pub fn kill_agent_parent(&self, host: &str) -> Result<Moment> {
        let parent = [self.running(host, Program::Agent)?];
        let at = Self::signal_all(&parent, Signal::KILL);
        self.wait_ended(host, "the agent's parent", &parent, END_LIMIT)?;
        Ok(at)
    }

    /// SIGTERM, and waits for the end. Returns when the signal was sent.
    pub fn stop(&self, host: &str, program: Program) -> Result<Moment> {
        let process = self.running(host, program)?;
        let family = self.family(host, program)?;
        let at = Self::signal_all(&[process], Signal::TERM);
        self.wait_ended(host, &program.to_string(), &family, STOP_LIMIT)?;
        Ok(at)
    }

    /// SIGSTOP of the program and its children: alive, silent.
    pub fn freeze(&self, host: &str, program: Program) -> Result<Moment> {
        let family = self.family(host, program)?;
        let at = Self::signal_all(&family, Signal::STOP);
        wait_stopped(host, &family, true)?;
        Ok(at)
    }

    /// SIGSTOP of the agent's parent only; its worker runs on. [`Lab::thaw`] continues it.
    pub fn freeze_agent_parent(&self, host: &str) -> Result<Moment> {
        let parent = [self.running(host, Program::Agent)?];
        let at = Self::signal_all(&parent, Signal::STOP);
        wait_stopped(host, &parent, true)?;
        Ok(at)
    }

    /// SIGCONT after [`Lab::freeze`].
    pub fn thaw(&self, host: &str, program: Program) -> Result<Moment> {
        let family = self.family(host, program)?;
        let at = Self::signal_all(&family, Signal::CONT);
        wait_stopped(host, &family, false)?;
        Ok(at)
    }

    /// Pulls the host's cable out of the switch: it loses the carrier.
    pub fn unplug(&self, host: &str) -> Result<Moment> {
        self.set_plugged(host, false)
    }

    /// Puts the cable back.
    pub fn replug(&self, host: &str) -> Result<Moment> {
        self.set_plugged(host, true)
    }

    fn set_plugged(&self, host: &str, plugged: bool) -> Result<Moment> {
        let at = Moment::now();
        network::set_plugged(&self.name, self.host(host)?, plugged)?;
        Ok(at)
    }

    pub fn is_plugged(&self, host: &str) -> Result<bool> {
        network::is_plugged(&self.name, self.host(host)?)
    }

    /// Takes every address off the host's eth0 and puts its own back, as a network restart does.
    pub fn flush_addresses(&self, host: &str) -> Result<Moment> {
        let at = Moment::now();
        network::flush(self.host(host)?)?;
        Ok(at)
    }

    /// Puts a full disk under /var/lib/mysql-mmm, where state and status files lie; what is there already is covered.
    pub fn fill_disk(&self, host: &str) -> Result<Moment> {
        let at = Moment::now();
        let script = "mount -t tmpfs -o size=64k,mode=0755 full /var/lib/mysql-mmm && \
                      { cat /dev/zero >/var/lib/mysql-mmm/filler 2>/dev/null || true; }";
        self.must_exec(host, script)?;
        Ok(at)
    }

    /// Takes the full disk away again, with everything that was written to it.
    pub fn free_disk(&self, host: &str) -> Result<Moment> {
        let at = Moment::now();
        self.must_exec(host, "umount -l /var/lib/mysql-mmm")?;
        Ok(at)
    }

    fn must_exec(&self, host: &str, script: &str) -> Result<()> {
        let output = self.exec(host, &["sh", "-c", script])?;
        if output.success() {
            return Ok(());
        }
        Err(LabError::Command {
            command: format!("{script} (on {host})"),
            code: output.code.to_string(),
            output: output.text().trim().to_owned(),
        })
    }

    /// Processes of the host, without the one that only keeps its namespaces.
    fn inhabitants(&self, host: &Host) -> Result<Vec<ProcessId>> {
        let holder = self.holder(host)?;
        let mut all = processes_in(std::slice::from_ref(&host.namespace));
        all.retain(|process| *process != holder);
        Ok(all)
    }

    fn remember_enabled(&self, host: &Host) -> Result<()> {
        self.store.update(|state| {
            let running = state.running.entry(host.name.clone()).or_default();
            let alive = running.programs.iter().filter(|(_, process)| process.is_alive());
            running.enabled = alive.map(|(program, _)| *program).collect();
            Ok(())
        })
    }

    /// The power goes: everything on the host stands still and the network gets neither an end nor a reset. Comes back by
    /// [`Lab::reboot`].
    pub fn power_off(&self, host: &str) -> Result<Moment> {
        let host = self.host(host)?;
        self.remember_enabled(host)?;
        let at = self.change_cuts(|cuts| {
            cuts.push(Cut { from: host.name.clone(), to: host.name.clone(), manner: Manner::Power });
        })?;
        let inhabitants = self.inhabitants(host)?;
        Self::signal_all(&inhabitants, Signal::STOP);
        wait_stopped(&host.name, &inhabitants, true)?;
        Ok(at)
    }

    /// Whether [`Lab::power_off`] was not its last word on the host.
    pub(crate) fn has_power(&self, host: &str) -> Result<bool> {
        let without = |cut: &Cut| cut.from == host && cut.manner == Manner::Power;
        Ok(!self.store.read()?.cuts.iter().any(without))
    }

    /// Kills everything on the host, takes away the addresses that are not its own, empties /run and gives it a new boot id.
    /// Nothing is started again; [`Lab::start_enabled`] does that.
    pub fn reboot(&self, host: &str) -> Result<Moment> {
        let host = self.host(host)?;
        let without_power = |cut: &Cut| cut.from == host.name && cut.manner == Manner::Power;
        if self.has_power(&host.name)? {
            self.remember_enabled(host)?;
        }
        let inhabitants = self.inhabitants(host)?;
        let at = Self::signal_all(&inhabitants, Signal::KILL);
        self.wait_ended(&host.name, "everything", &inhabitants, END_LIMIT)?;
        // What was being started while the others were killed.
        let late = self.inhabitants(host)?;
        Self::signal_all(&late, Signal::KILL);
        self.wait_ended(&host.name, "everything", &late, END_LIMIT)?;
        network::flush(host)?;
        holder::boot(host)?;
        self.change_cuts(|cuts| cuts.retain(|cut| !without_power(cut)))?;
        Ok(at)
    }

    /// Starts what was running before the last power cut or reboot of the host.
    pub fn start_enabled(&self, host: &str) -> Result<()> {
        let enabled =
            self.store.read()?.running.get(host).map(|running| running.enabled.clone()).unwrap_or_default();
        for program in enabled {
            self.start(host, program)?;
        }
        Ok(())
    }

    /// The host's boot id, as programs on it see it.
    pub fn boot_id(&self, host: &str) -> Result<String> {
        Ok(self.exec(host, &["cat", "/proc/sys/kernel/random/boot_id"])?.stdout.trim().to_owned())
    }
}
