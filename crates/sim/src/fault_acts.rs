//! Faults taking effect, and what they broke coming back.

use std::time::Duration;

use mmm_core::lease::LeaseRules;
use mmm_core::{AgentEvent, Event, HostName};

use crate::aim;
use crate::fault::Fault;
use crate::happening::{Happening, Node, ToMonitor};
use crate::host::Clock;
use crate::invariants;
use crate::settings::WRITER;
use crate::world::World;

/// A session whose host is gone without a word is given up after so long.
const SILENT_SESSION: u64 = 2_500;
/// A worker that has been silent for so long is killed by its parent.
const HANG_LIMIT: u64 = 2_000;
const PARENT_LOOKS: u64 = 200;

impl World {
    pub(crate) fn strike(&mut self, fault: Fault) {
        if self.healed && !matches!(fault, Fault::Command { .. }) {
            return;
        }
        let fault = self.resolve(fault);
        self.tell(|| format!("FAULT {fault}"));
        self.note_disturbance(&fault);
        match fault {
            Fault::KillServer { host, down } | Fault::StopServer { host, down } => {
                self.end_server(&host, down);
            }
            Fault::FreezeServer { host, time } => self.freeze_server(&host, time),
            Fault::HoldLock { host, time } => self.hold_lock(&host, time),
            Fault::KillWorker { host } => self.restart_worker(&host),
            Fault::FreezeWorker { host, time } => self.freeze_worker(&host, time),
            Fault::KillAgent { host, down } => {
                let Some(known) = self.hosts.get_mut(&host) else { return };
                known.parent = false;
                let boot = known.boot;
                self.kill_agent(&host);
                self.put_in(down, Happening::AgentStarts { host, boot });
            }
            Fault::FreezeAgent { host, time } => {
                let until = self.now + time;
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.frozen_until = known.frozen_until.max(until);
                    known.parent = false;
                }
            }
            Fault::LoseMemory { host } => {
                self.restart_worker(&host);
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.memory = None;
                }
            }
            Fault::PowerOff { host, down } => self.power_off(&host, down),
            Fault::LoseDurable { host, down } => {
                self.power_off(&host, down);
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.durable = None;
                }
            }
            Fault::TearDurable { host, down } => {
                self.power_off(&host, down);
                if let Some(known) = self.hosts.get_mut(&host) {
                    // The older slot is read, and that it is the older one is known.
                    known.durable = known.durable_before.take().map(|mut durable| {
                        durable.lost = true;
                        durable
                    });
                }
            }
            Fault::FillDisk { host, time } => {
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.disk_full = true;
                }
                self.put_in(time, Happening::DiskFreed { host: Some(host), monitor: 0 });
            }
            Fault::FlushAddresses { host } => {
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.addresses.clear();
                }
                self.notice_addresses(&host);
            }
            Fault::StepWallClock { host, by } => {
                if let Ok(by) = u64::try_from(by) {
                    self.tell_agent(&host, AgentEvent::ClockJumped { by: Duration::from_millis(by) });
                }
            }
            Fault::Slow { from, to, extra, time } => {
                let until = self.now + time;
                self.slow.insert((from, to), (extra, until));
            }
            Fault::BreakSession { host } => {
                self.close_at_monitor(0, &host, "connection reset");
            }
            Fault::SlowRunDirectory { host, time } => {
                let until = self.now + time;
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.slow_until = until;
                }
            }
            Fault::WorstClocks => self.worst_clocks(),
            Fault::Cut { from, to, time } => self.cut(from, to, time),
            Fault::Isolate { node, time } => self.isolate(&node, time),
            Fault::Command { line } => self.tell_monitor(0, Event::Commanded { client: 1, line }),
            fault => self.strike_monitor(&fault),
        }
    }

    fn strike_monitor(&mut self, fault: &Fault) {
        match *fault {
            Fault::KillMonitor { down } => self.kill_monitor(0, down),
            Fault::KillMonitorMidway { down } => self.monitors[0].dies_midway = Some(down),
            Fault::FreezeMonitor { time } => {
                let until = self.now + time;
                self.monitors[0].frozen_until = until;
            }
            Fault::LoseState { down, torn } => {
                self.kill_monitor(0, down);
                let monitor = &mut self.monitors[0];
                if torn {
                    monitor.states.pop();
                } else {
                    monitor.states.clear();
                }
                monitor.state_is_lost = true;
            }
            Fault::RestoreState { down } => self.restore_state(down),
            Fault::FillMonitorDisk { time } => {
                self.monitors[0].disk_full = true;
                self.put_in(time, Happening::DiskFreed { host: None, monitor: 0 });
            }
            Fault::SecondMonitor => self.start_monitor(1),
            Fault::ChangeLease { seconds, down } => {
                self.shape.lease = seconds;
                self.kill_monitor(0, down);
            }
            _ => {}
        }
    }

    /// Who is meant by a fault that is aimed at the writer, or at another candidate.
    fn resolve(&self, fault: Fault) -> Fault {
        let writing = self.writers().into_iter().next();
        let writing = writing.unwrap_or_else(|| HostName::from(crate::settings::NAMES[0]));
        let other = crate::settings::names(2).into_iter().find(|name| *name != writing);
        let other = other.unwrap_or_else(|| writing.clone());
        let named = |host: HostName| match host.as_str() {
            aim::WRITING => writing.clone(),
            aim::OTHER => other.clone(),
            _ => host,
        };
        let node = |node: Node| match node {
            Node::Host(host) => Node::Host(named(host)),
            Node::Monitor(_) => node,
        };
        match fault {
            Fault::KillServer { host, down } => Fault::KillServer { host: named(host), down },
            Fault::PowerOff { host, down } => Fault::PowerOff { host: named(host), down },
            Fault::KillWorker { host } => Fault::KillWorker { host: named(host) },
            Fault::FreezeAgent { host, time } => Fault::FreezeAgent { host: named(host), time },
            Fault::SlowRunDirectory { host, time } => Fault::SlowRunDirectory { host: named(host), time },
            Fault::BreakSession { host } => Fault::BreakSession { host: named(host) },
            Fault::Cut { from, to, time } => Fault::Cut { from: node(from), to: node(to), time },
            Fault::Slow { from, to, extra, time } => {
                Fault::Slow { from: node(from), to: node(to), extra, time }
            }
            Fault::Isolate { node: whom, time } => Fault::Isolate { node: node(whom), time },
            Fault::Command { line } => Fault::Command {
                line: line.replace(aim::WRITING, writing.as_str()).replace(aim::OTHER, other.as_str()),
            },
            fault => fault,
        }
    }

    fn worst_clocks(&mut self) {
        self.late_kernels = true;
        let writers = self.writers();
        let now = self.now;
        for host in self.hosts.values_mut() {
            let rate = if writers.contains(&host.name) { 9_900 } else { 10_100 };
            host.clock = host.clock.going_on(now, rate);
        }
    }

    fn freeze_server(&mut self, host: &HostName, time: u64) {
        let Some(known) = self.hosts.get_mut(host) else { return };
        if known.server.answers() {
            known.server.frozen = true;
            let server_life = known.server.life;
            self.put_in(time, Happening::Thaws { host: host.clone(), server_life });
        }
    }

    fn hold_lock(&mut self, host: &HostName, time: u64) {
        let Some(known) = self.hosts.get_mut(host) else { return };
        if known.server.answers() {
            known.server.lock_held = true;
            let server_life = known.server.life;
            self.put_in(time, Happening::LockReleased { host: host.clone(), server_life });
        }
    }

    fn restart_worker(&mut self, host: &HostName) {
        let Some(boot) = self.hosts.get(host).map(|known| known.boot) else { return };
        self.kill_agent(host);
        let after = self.random.between(5, 150);
        self.put_in(after, Happening::AgentStarts { host: host.clone(), boot });
    }

    fn freeze_worker(&mut self, host: &HostName, time: u64) {
        let until = self.now + time;
        let Some(known) = self.hosts.get_mut(host) else { return };
        known.frozen_until = known.frozen_until.max(until);
    }

    /// The parent: restarts a worker that hangs, and fences where there is none at the end of the lease.
    pub(crate) fn parent_looks(&mut self, name: &HostName, boot: u64) {
        let now = self.now;
        let there = self.hosts.get(name).is_some_and(|host| host.powered && host.boot == boot);
        if !there {
            return;
        }
        self.put_in(PARENT_LOOKS, Happening::ParentLooks { host: name.clone(), boot });
        let Some(host) = self.hosts.get(name) else { return };
        if !host.parent {
            return;
        }
        let hangs = host.agent.is_some() && host.frozen_until > now;
        if hangs && self.seen.hangs_since.get(name).is_some_and(|since| now - since >= HANG_LIMIT) {
            self.seen.hangs_since.remove(name);
            self.tell(|| format!("parent of {name} restarts its worker"));
            self.restart_worker(name);
            return;
        }
        if hangs {
            self.seen.hangs_since.entry(name.clone()).or_insert(now);
        } else {
            self.seen.hangs_since.remove(name);
        }
        let Some(host) = self.hosts.get(name) else { return };
        let silent = host.agent.is_none() || hangs;
        let over = host
            .memory
            .as_ref()
            .and_then(|memory| memory.lease.as_ref())
            .and_then(mmm_core::lease::HolderLease::ends)
            .is_some_and(|ends| host.clock.read(now) >= ends);
        if silent && over {
            let after = self.random.between(5, 60);
            self.put_in(after, Happening::ParentFences { host: name.clone(), boot });
        }
    }

    pub(crate) fn parent_fences(&mut self, name: &HostName, boot: u64) {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.powered && host.boot == boot) else {
            return;
        };
        host.addresses.retain(|role, _| role.name().as_str() != WRITER);
        if host.server.answers() && !host.server.lock_held {
            host.server.writable = false;
        }
        self.notice_addresses(name);
    }

    /// A copy that is some seconds old, but not from before a list became empty: that nobody else could tell.
    fn restore_state(&mut self, down: u64) {
        let now = self.now;
        let monitor = &mut self.monitors[0];
        let old = monitor.states.iter().rposition(|(at, _)| now - *at > 4_000);
        let Some(old) = old else { return };
        let empties = monitor.states.iter().skip(old + 1).any(|(_, state)| {
            state.record.as_ref().is_some_and(|record| record.list.is_empty() && record.ended.is_none())
        });
        if empties || !self.cuts.is_empty() {
            return;
        }
        self.kill_monitor(0, down);
        self.monitors[0].states.truncate(old + 1);
    }

    fn cut(&mut self, from: Node, to: Node, time: u64) {
        if from == to {
            return;
        }
        *self.cuts.entry((from.clone(), to.clone())).or_default() += 1;
        self.put_in(time, Happening::LinkHealed { from, to });
    }

    fn isolate(&mut self, node: &Node, time: u64) {
        let others: Vec<Node> = std::iter::once(Node::Monitor(0))
            .chain(self.hosts.keys().cloned().map(Node::Host))
            .filter(|other| other != node)
            .collect();
        for other in others {
            self.cut(node.clone(), other.clone(), time);
            self.cut(other, node.clone(), time);
        }
    }

    pub(crate) fn heal_link(&mut self, from: Node, to: Node) {
        let key = (from, to);
        if let Some(count) = self.cuts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.cuts.remove(&key);
                self.tell(|| format!("packets from {:?} to {:?} pass again", key.0, key.1));
                self.disturb(&key.0, 0);
                self.disturb(&key.1, 0);
            }
        }
    }

    pub(crate) fn free_disk(&mut self, host: Option<&HostName>, monitor: usize) {
        match host.and_then(|host| self.hosts.get_mut(host)) {
            Some(host) => host.disk_full = false,
            None => self.monitors[monitor].disk_full = false,
        }
    }

    pub(crate) fn mend_monitor(&mut self) {
        let now = self.now;
        let monitor = &mut self.monitors[0];
        monitor.dies_midway = None;
        monitor.disk_full = false;
        monitor.frozen_until = monitor.frozen_until.min(now);
    }

    pub(crate) fn end_second_monitor(&mut self) {
        self.kill_monitor(1, 0);
    }

    pub(crate) fn end_server(&mut self, name: &HostName, down: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.server.running {
            return;
        }
        host.server.stop();
        let boot = host.boot;
        self.note_server_end(name);
        self.tell(|| format!("server of {name} has ended"));
        self.notice_server(name);
        self.put_in(down, Happening::ServerStarts { host: name.clone(), boot });
    }

    pub(crate) fn start_server(&mut self, name: &HostName, boot: u64) {
        let writable = self.random.one_in(2);
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.powered || host.boot != boot || host.server.running {
            return;
        }
        host.server.start(writable);
        self.note_server_start(name);
        self.go_on_with_drill(name);
        self.tell(|| format!("server of {name} starts, writable: {writable}"));
        self.notice_server(name);
    }

    pub(crate) fn thaw(&mut self, name: &HostName, server_life: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.server.life == server_life && host.server.frozen {
            let was_writable = host.server.writable;
            host.server.thaw();
            let opened = host.server.writable && !was_writable;
            self.tell(|| format!("server of {name} goes on"));
            if opened {
                invariants::kept::opened(self, name);
            }
        }
    }

    pub(crate) fn release_lock(&mut self, name: &HostName, server_life: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.server.life == server_life {
            host.server.lock_held = false;
        }
    }

    /// Server, agent and addresses are gone at once, and nobody says goodbye.
    pub(crate) fn power_off(&mut self, name: &HostName, down: u64) {
        let at = self.now + SILENT_SESSION;
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.powered {
            return;
        }
        host.powered = false;
        host.server.stop();
        host.addresses.clear();
        host.agent = None;
        host.memory = None;
        host.chosen = None;
        host.frozen_until = 0;
        let boot = host.boot;
        if let Some(session) = host.session.take() {
            let (monitor, session) = (session.monitor, session.number);
            self.to_monitor.entry(session).or_default().push_back(ToMonitor::Lost);
            self.queue.put(at, Happening::ToMonitor { monitor, session, host: name.clone() });
        }
        self.note_server_end(name);
        self.disturb(&Node::Host(name.clone()), 0);
        self.tell(|| format!("{name} is off"));
        self.put_in(down, Happening::Boots { host: name.clone(), boot });
    }

    pub(crate) fn boot(&mut self, name: &HostName, boot: u64) {
        let (server, agent) = (self.random.between(200, 1_500), self.random.between(100, 1_000));
        let rate = self.random.between(9_900, 10_100);
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.powered || host.boot != boot || host.away_for_good {
            return;
        }
        host.powered = true;
        host.boot += 1;
        host.clock = Clock { zero: now, rate };
        let boot = host.boot;
        self.tell(|| format!("{name} boots"));
        self.put_in(server, Happening::ServerStarts { host: name.clone(), boot });
        self.put_in(agent, Happening::AgentStarts { host: name.clone(), boot });
        self.put_in(agent, Happening::ParentLooks { host: name.clone(), boot });
    }

    pub(crate) fn all_rules(&self) -> bool {
        self.rules == LeaseRules::ALL
    }
}
