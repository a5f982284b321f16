//! One procedure in a cluster that is well, and one program that dies at a certain step of it and is started again with its files.
//!
//! What is counted are the orders of the monitor, the reports of the agents, and each beginning and end of an agent's step.

use mmm_core::{Event, HostName};

use crate::happening::Happening;
use crate::settings::{NAMES, Replication, Shape};
use crate::world::World;

/// The cluster is in service by then.
const BEGINS: u64 = 9_000;
/// How long the old writer's server is away.
const SERVER_AWAY: u64 = 4_000;
/// How long whoever dies is away.
const AWAY: u64 = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Procedure {
    /// The writer's server dies, and comes back later.
    Failover,
    Move,
    /// The same as a failover, counted from the return of the server.
    Rejoin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Monitor,
    /// The agent of the host that is the writer at first.
    OldWriter,
    NewWriter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drill {
    pub procedure: Procedure,
    pub victim: Victim,
    /// After so many steps.
    pub at: u64,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) counts: bool,
    pub(crate) steps: u64,
    old: Option<HostName>,
    new: Option<HostName>,
}

pub(crate) const SHAPE: Shape =
    Shape { candidates: 2, hosts: 2, kills: false, prefer: false, lease: 3, replication: Replication::Told };

impl World {
    pub(crate) fn plan_drill(&mut self) {
        self.queue.put(BEGINS, Happening::DrillBegins);
    }

    pub(crate) fn begin_drill(&mut self) {
        let Some(drill) = self.options.drill else { return };
        let writing = self.writers().into_iter().next();
        let Some(old) = writing else {
            self.break_promise("drill", "nobody writes when it begins".to_owned());
            return;
        };
        let new = HostName::from(if old.as_str() == NAMES[0] { NAMES[1] } else { NAMES[0] });
        self.tell(|| format!("DRILL {drill:?}, {old} writes"));
        self.drill = Progress { old: Some(old.clone()), new: Some(new.clone()), ..Progress::default() };
        self.healed = true;
        self.drill.counts = drill.procedure != Procedure::Rejoin;
        match drill.procedure {
            Procedure::Failover | Procedure::Rejoin => self.end_server(&old, SERVER_AWAY),
            Procedure::Move => {
                let line = format!("move_role writer {new}");
                self.tell_monitor(0, Event::Commanded { client: 1, line });
            }
        }
    }

    /// The old writer's server is there again.
    pub(crate) fn go_on_with_drill(&mut self, started: &HostName) {
        self.drill.counts |= self.drill.old.as_ref() == Some(started);
    }

    /// One more step; whoever is to die at it does.
    pub(crate) fn count_step(&mut self) {
        let Some(drill) = self.options.drill.filter(|_| self.drill.counts) else { return };
        self.drill.steps += 1;
        if self.drill.steps != drill.at {
            return;
        }
        self.tell(|| format!("DRILL step {}: {:?} dies", drill.at, drill.victim));
        let host = match drill.victim {
            Victim::Monitor => {
                self.kill_monitor(0, AWAY);
                return;
            }
            Victim::OldWriter => self.drill.old.clone(),
            Victim::NewWriter => self.drill.new.clone(),
        };
        let Some(host) = host else { return };
        let Some(boot) = self.hosts.get(&host).map(|known| known.boot) else { return };
        self.kill_agent(&host);
        self.put_in(AWAY, Happening::AgentStarts { host, boot });
    }
}
