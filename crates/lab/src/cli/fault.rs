//! `mmm_lab fault`: one subcommand for each thing that can fail.

use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Subcommand;
use mmm_lab::{Lab, Manner, Moment, Program};

/// A program, or one half of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Program(Program),
    AgentWorker,
    AgentParent,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "agent-worker" => Ok(Self::AgentWorker),
            "agent-parent" => Ok(Self::AgentParent),
            _ => word.parse().map(Self::Program),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fault {
    /// SIGKILL; programs: server, agent, monitor, agent-worker, agent-parent
    Kill { host: String, program: Target },
    /// SIGTERM, and wait for the end
    Stop { host: String, program: Program },
    /// Start a program again
    Start { host: String, program: Program },
    /// SIGSTOP: alive but silent; programs as for kill
    Freeze { host: String, program: Target },
    /// SIGCONT after freeze
    Thaw { host: String, program: Program },
    /// Pull the host's cable out of the switch
    Unplug { host: String },
    /// Put the cable back
    Replug { host: String },
    /// Packets between two hosts no longer arrive
    Cut {
        from: String,
        to: String,
        /// Only those from the first to the second
        #[arg(long)]
        one_way: bool,
        /// Answer TCP with a reset in place of silence
        #[arg(long)]
        reset: bool,
    },
    /// Hosts of different groups no longer hear each other: `partition MySQL-M1,client2 MySQL-MON,MySQL-M2,client`
    Partition {
        #[arg(required = true, num_args = 2..)]
        groups: Vec<String>,
    },
    /// End the cuts between two hosts, or all when none is named
    Heal { hosts: Vec<String> },
    /// Take all addresses off eth0 and put the host's own back (a network restart)
    Flush { host: String },
    /// Put a full disk under /var/lib/mysql-mmm
    Fill { host: String },
    /// Take the full disk away again
    Free { host: String },
    /// The power goes: everything stands still, no packet in or out; `reboot` brings it back
    Power { host: String },
    /// Kill everything, empty /run, drop the cluster's addresses, new boot id
    Reboot {
        host: String,
        /// Then start what was running before
        #[arg(long)]
        start: bool,
    },
}

impl Fault {
    pub(crate) fn run(self, lab: &Lab) -> Result<()> {
        let (at, what) = self.make(lab)?;
        println!("{at} {what}");
        Ok(())
    }

    fn make(self, lab: &Lab) -> Result<(Moment, String)> {
        Ok(match self {
            Self::Kill { host, program } => {
                let at = match program {
                    Target::Program(program) => lab.kill(&host, program)?,
                    Target::AgentWorker => lab.kill_agent_worker(&host)?,
                    Target::AgentParent => lab.kill_agent_parent(&host)?,
                };
                (at, format!("{program:?} on {host} killed"))
            }
            Self::Stop { host, program } => {
                (lab.stop(&host, program)?, format!("{program} on {host} stopped"))
            }
            Self::Start { host, program } => {
                (lab.start(&host, program)?, format!("{program} on {host} started"))
            }
            Self::Freeze { host, program } => {
                let at = match program {
                    Target::Program(program) => lab.freeze(&host, program)?,
                    Target::AgentWorker => lab.freeze_agent_worker(&host)?,
                    Target::AgentParent => lab.freeze_agent_parent(&host)?,
                };
                (at, format!("{program:?} on {host} frozen"))
            }
            Self::Thaw { host, program } => {
                (lab.thaw(&host, program)?, format!("{program} on {host} thawed"))
            }
            Self::Unplug { host } => (lab.unplug(&host)?, format!("{host} unplugged")),
            Self::Replug { host } => (lab.replug(&host)?, format!("{host} plugged in")),
            Self::Cut { from, to, one_way, reset } => {
                let manner = if reset { Manner::Reset } else { Manner::Drop };
                let at =
                    if one_way { lab.cut_one_way(&from, &to, manner)? } else { lab.cut(&from, &to, manner)? };
                (at, format!("{from} {} {to} cut", if one_way { "->" } else { "<->" }))
            }
            Self::Partition { groups } => {
                let groups: Vec<Vec<&str>> = groups.iter().map(|group| group.split(',').collect()).collect();
                let groups: Vec<&[&str]> = groups.iter().map(Vec::as_slice).collect();
                (lab.partition(&groups)?, format!("{} groups no longer hear each other", groups.len()))
            }
            Self::Heal { hosts } => match &hosts[..] {
                [] => (lab.heal_all()?, "all cuts ended".to_owned()),
                [one, other] => (lab.heal(one, other)?, format!("{one} <-> {other} healed")),
                _ => bail!("heal takes two hosts, or none for all cuts; {} were given", hosts.len()),
            },
            Self::Flush { host } => (lab.flush_addresses(&host)?, format!("addresses of {host} flushed")),
            Self::Fill { host } => (lab.fill_disk(&host)?, format!("disk of {host} full")),
            Self::Free { host } => (lab.free_disk(&host)?, format!("disk of {host} free")),
            Self::Power { host } => (lab.power_off(&host)?, format!("{host} has no power")),
            Self::Reboot { host, start } => {
                let at = lab.reboot(&host)?;
                if start {
                    lab.start_enabled(&host)?;
                }
                (at, format!("{host} rebooted"))
            }
        })
    }
}
