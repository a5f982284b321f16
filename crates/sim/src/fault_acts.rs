//! Faults taking effect, and what they broke coming back.

use mmm_core::{AgentMemory, Event, HostName, HostState, Restored};

use crate::fault::Fault;
use crate::happening::{Happening, ToMonitor};
use crate::world::World;

/// So long after a server has come back no check remembers that it was away.
const PROBE_MEMORY: u64 = 2_500;
/// A session whose host is gone without a word is given up after so long.
const SILENT_SESSION: u64 = 1_500;

impl World {
    pub(crate) fn strike(&mut self, fault: Fault) {
        if self.healed && !matches!(fault, Fault::Command { .. }) {
            return;
        }
        if !self.is_covered(&fault) {
            self.tell(|| format!("(left out: {fault})"));
            return;
        }
        self.tell(|| format!("FAULT {fault}"));
        match fault {
            Fault::KillServer { host, down } | Fault::StopServer { host, down } => {
                self.end_server(&host, down);
            }
            Fault::FreezeServer { host, time } => {
                let Some(known) = self.hosts.get_mut(&host) else { return };
                if known.server.answers() {
                    known.server.frozen = true;
                    let server_life = known.server.life;
                    self.put_in(time, Happening::Thaws { host, server_life });
                }
            }
            Fault::HoldLock { host, time } => {
                let Some(known) = self.hosts.get_mut(&host) else { return };
                if known.server.answers() {
                    known.server.lock_held = true;
                    let server_life = known.server.life;
                    self.put_in(time, Happening::LockReleased { host, server_life });
                }
            }
            Fault::KillAgent { host, down } => {
                let Some(boot) = self.hosts.get(&host).map(|host| host.boot) else { return };
                self.kill_agent(&host);
                self.put_in(down, Happening::AgentStarts { host, boot });
            }
            Fault::PowerOff { host, down } => self.power_off(&host, down),
            Fault::FlushAddresses { host } => {
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.addresses.clear();
                }
                self.notice_addresses(&host);
            }
            Fault::KillMonitor { down } => self.kill_monitor(down),
            Fault::KillMonitorMidway { down } => self.monitor.dies_midway = Some(down),
            Fault::Command { line } => self.tell_monitor(Event::Commanded { client: 1, line }),
        }
    }

    /// Whether the rules without leases promise anything for this fault here and now.
    fn is_covered(&self, fault: &Fault) -> bool {
        if self.kills {
            return true;
        }
        match fault {
            Fault::KillAgent { host, .. } => {
                let sound = self.hosts.get(host).is_some_and(|host| {
                    // A probe that began while the server was frozen may still be waiting.
                    host.server.answers() && self.now - host.server.sound_since > PROBE_MEMORY
                });
                let offline = match &self.monitor.cluster {
                    Some(cluster) => matches!(
                        cluster.state_of(host.as_str()),
                        Some(HostState::HardOffline | HostState::Unknown)
                    ),
                    None => true,
                };
                let stored = self.monitor.status.as_deref().map(|text| Restored::parse(text).0);
                let stored_offline = stored
                    .and_then(|stored| stored.hosts.get(host).map(|(state, _)| *state))
                    .is_none_or(|state| state == HostState::HardOffline);
                sound && !offline && !stored_offline
            }
            Fault::KillServer { host, .. }
            | Fault::StopServer { host, .. }
            | Fault::FreezeServer { host, .. } => {
                self.hosts.get(host).is_some_and(|host| host.agent.is_some())
            }
            _ => true,
        }
    }

    fn end_server(&mut self, name: &HostName, down: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.server.running {
            return;
        }
        host.server.stop();
        let boot = host.boot;
        self.notice_server(name);
        self.put_in(down, Happening::ServerStarts { host: name.clone(), boot });
    }

    pub(crate) fn start_server(&mut self, name: &HostName, boot: u64) {
        let (writable, now) = (self.random.one_in(2), self.now);
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.powered || host.boot != boot || host.server.running {
            return;
        }
        host.server.start(writable);
        host.server.sound_since = now;
        self.tell(|| format!("server of {name} starts, writable: {writable}"));
        self.notice_server(name);
    }

    pub(crate) fn thaw(&mut self, name: &HostName, server_life: u64) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.server.life == server_life && host.server.frozen {
            host.server.thaw();
            host.server.sound_since = now;
            self.tell(|| format!("server of {name} goes on"));
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
        host.memory = AgentMemory::default();
        host.chosen = None;
        let boot = host.boot;
        if let Some(session) = host.session.at_agent.take() {
            let at = at.max(host.session.to_monitor_not_before);
            self.queue
                .put(at, Happening::ToMonitor { session, host: name.clone(), message: ToMonitor::Lost });
        }
        self.tell(|| format!("{name} is off"));
        self.put_in(down, Happening::Boots { host: name.clone(), boot });
    }

    pub(crate) fn boot(&mut self, name: &HostName, boot: u64) {
        let (server, agent) = (self.random.between(200, 1_500), self.random.between(100, 1_000));
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.powered || host.boot != boot {
            return;
        }
        host.powered = true;
        host.boot += 1;
        let boot = host.boot;
        self.tell(|| format!("{name} boots"));
        self.put_in(server, Happening::ServerStarts { host: name.clone(), boot });
        self.put_in(agent, Happening::AgentStarts { host: name.clone(), boot });
    }
}
