//! The shell around the monitor's mind: probes, sessions and the status file, all modelled.

use mmm_core::{Action, AgentStatus, CheckKind, Cluster, Event, HostName, Moment, Restored, Verdict};

use crate::happening::{Happening, ToAgent, ToMonitor};
use crate::run::Sabotage;
use crate::settings::{CHECK_PERIOD, cluster_settings};
use crate::world::World;

const TICK: u64 = 500;
/// Before a session is tried again.
const RECONNECT: u64 = 200;
const PROBE_TIMEOUT: u64 = 700;

impl World {
    pub(crate) fn start_monitor(&mut self) {
        if self.monitor.cluster.is_some() {
            return;
        }
        self.monitor.life += 1;
        self.monitor.started = self.now;
        let life = self.monitor.life;
        self.tell(|| format!("monitor starts (life {life})"));
        let instance = self.random.next() >> 1;
        let restored = self.monitor.status.as_deref().map(|text| Restored::parse(text).0);
        self.monitor.cluster =
            Some(Cluster::new(cluster_settings(instance, self.kills, self.prefer), restored));
        let after = self.random.between(1, 100);
        self.put_in(after, Happening::NetworkChecked { life });
        self.put_in(TICK, Happening::MonitorTick { life });
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for host in names {
            let after = self.random.between(1, 100);
            self.put_in(after, Happening::Connect { life, host: host.clone() });
            for kind in CheckKind::ALL {
                let after = self.random.between(100, 300);
                self.put_in(after, Happening::ProbeBegins { life, host: host.clone(), kind });
            }
        }
    }

    pub(crate) fn kill_monitor(&mut self, down: u64) {
        if self.monitor.cluster.take().is_none() {
            return;
        }
        self.monitor.dies_midway = None;
        self.tell(|| "monitor is dead".to_owned());
        for host in self.hosts.values_mut() {
            // What it sent before is on its way all the same.
            host.session.at_monitor = None;
        }
        self.put_in(down, Happening::MonitorStarts);
    }

    fn monitor_lives(&self, life: u64) -> bool {
        self.monitor.cluster.is_some() && self.monitor.life == life
    }

    fn monitor_moment(&self, at: u64) -> Moment {
        Moment::from_millis(at.saturating_sub(self.monitor.started) + 1_000)
    }

    pub(crate) fn tell_monitor(&mut self, event: Event) {
        let now = self.moment_since(self.monitor.started);
        let Some(cluster) = &mut self.monitor.cluster else { return };
        let actions = cluster.step(now, event);
        let dies_after = match self.monitor.dies_midway {
            Some(down) if actions.len() > 1 && !self.healed => {
                Some((self.random.between(0, actions.len() as u64 - 1), down))
            }
            Some(_) | None => None,
        };
        for (index, action) in actions.into_iter().enumerate() {
            if let Some((_, down)) = dies_after.filter(|(last, _)| *last == index as u64) {
                self.kill_monitor(down);
                return;
            }
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tell { host, message } => {
                let message = match message {
                    mmm_core::ToAgent::Order(order) => {
                        self.tell(|| {
                            let roles = mmm_core::Role::join(&order.roles, ",");
                            let writer = order.writer.as_ref();
                            let take = writer.map(|grant| (grant.choice % 1000, &grant.takeover, grant.hold));
                            format!(
                                "monitor -> {host}: order {} {} [{roles}] {take:?}",
                                order.id.number, order.state
                            )
                        });
                        ToAgent::Order(order)
                    }
                    mmm_core::ToAgent::Approach { id, limit } => ToAgent::Approach { id, limit },
                    // Nobody in here has neighbour entries.
                    mmm_core::ToAgent::Announce(_) | mmm_core::ToAgent::Heartbeat => return,
                };
                self.send_to_agent(&host, message);
            }
            Action::KillHost { host, .. } => {
                let works = !self.random.one_in(4);
                let life = self.monitor.life;
                let outcome = if works {
                    self.power_off(&host, 5_000);
                    Ok(())
                } else {
                    Err("exit status 1".to_owned())
                };
                let after = self.random.between(50, 500);
                self.put_in(after, Happening::KillEnded { life, host, outcome });
            }
            Action::Answer { text, .. } => self.tell(|| format!("answer: {}", text.trim_end())),
            Action::SaveStatus(text) => self.monitor.status = Some(text),
            Action::Log(level, text) => {
                self.tell(|| format!("monitor: {} {}", level.as_str(), text.trim_end()));
            }
        }
    }

    pub(crate) fn tick_monitor(&mut self, life: u64) {
        if self.monitor_lives(life) {
            self.put_in(TICK, Happening::MonitorTick { life });
            self.tell_monitor(Event::Tick);
        }
    }

    pub(crate) fn check_network(&mut self, life: u64) {
        if self.monitor_lives(life) {
            self.put_in(1_000, Happening::NetworkChecked { life });
            self.tell_monitor(Event::NetworkChecked { reachable: true });
        }
    }

    pub(crate) fn end_kill(&mut self, life: u64, host: HostName, outcome: Result<(), String>) {
        if self.monitor_lives(life) {
            self.tell_monitor(Event::HostKillEnded { host, outcome });
        }
    }

    pub(crate) fn connect(&mut self, life: u64, name: &HostName) {
        if !self.monitor_lives(life) {
            return;
        }
        let delay = self.random.between(1, 60);
        self.sessions += 1;
        let session = self.sessions;
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let boot = host.boot.to_string();
        let Some(agent) = &host.agent else {
            self.put_in(delay, Happening::ConnectFailed { life, host: name.clone() });
            return;
        };
        let status = AgentStatus { boot_id: boot, ..agent.mind.status() };
        host.session.at_agent = Some(session);
        host.session.at_monitor = Some(session);
        host.session.to_monitor_not_before = now;
        host.session.to_agent_not_before = now + delay;
        self.send_to_monitor(name, ToMonitor::Connected(Box::new(status)));
    }

    pub(crate) fn fail_to_connect(&mut self, life: u64, name: &HostName) {
        if !self.monitor_lives(life) {
            return;
        }
        self.put_in(RECONNECT, Happening::Connect { life, host: name.clone() });
        self.tell_monitor(Event::AgentLost { host: name.clone(), reason: "connection refused".into() });
    }

    pub(crate) fn send_to_monitor(&mut self, name: &HostName, message: ToMonitor) {
        let delay = self.delay();
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let Some(session) = host.session.at_agent else { return };
        let at = (now + delay).max(host.session.to_monitor_not_before);
        host.session.to_monitor_not_before = at;
        self.queue.put(at, Happening::ToMonitor { session, host: name.clone(), message });
    }

    fn send_to_agent(&mut self, name: &HostName, message: ToAgent) {
        let delay = self.delay();
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let Some(session) = host.session.at_monitor else { return };
        let at = (now + delay).max(host.session.to_agent_not_before);
        host.session.to_agent_not_before = at;
        self.queue.put(at, Happening::ToAgent { session, host: name.clone(), message });
    }

    /// Mostly quick, now and then slow.
    fn delay(&mut self) -> u64 {
        if self.random.one_in(5) { self.random.between(1, 200) } else { self.random.between(1, 10) }
    }

    pub(crate) fn deliver_to_monitor(&mut self, session: u64, name: &HostName, message: ToMonitor) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if self.monitor.cluster.is_none() || host.session.at_monitor != Some(session) {
            return;
        }
        let name = name.clone();
        match message {
            ToMonitor::Connected(status) => {
                let status = self.forge(status);
                self.tell_monitor(Event::AgentConnected { host: name, status });
            }
            ToMonitor::Reported(status) => {
                let status = self.forge(status);
                self.tell_monitor(Event::AgentReported { host: name, status });
            }
            ToMonitor::Lost => {
                host.session.at_monitor = None;
                let life = self.monitor.life;
                self.put_in(RECONNECT, Happening::Connect { life, host: name.clone() });
                self.tell_monitor(Event::AgentLost { host: name, reason: "connection closed".into() });
            }
        }
    }

    fn forge(&self, mut status: Box<AgentStatus>) -> Box<AgentStatus> {
        if self.options.sabotage == Sabotage::ForgedRelease {
            status.held.clear();
            if let Some(id) = &mut status.taken_in {
                id.number = u64::MAX;
            }
            if status.server.is_up() {
                status.server = mmm_core::ServerView::Up { writable: false };
            }
        }
        status
    }

    pub(crate) fn begin_probe(&mut self, life: u64, host: HostName, kind: CheckKind) {
        if !self.monitor_lives(life) {
            return;
        }
        let hangs = self.hosts.get(&host).is_some_and(|host| {
            !host.powered || (kind != CheckKind::Ping && host.server.running && host.server.frozen)
        });
        let after = if hangs { PROBE_TIMEOUT } else { self.random.between(1, 60) };
        let started = self.now;
        self.put_in(after, Happening::ProbeEnds { life, host, kind, started, hung: hangs });
    }

    pub(crate) fn end_probe(&mut self, life: u64, name: HostName, kind: CheckKind, started: u64, hung: bool) {
        if !self.monitor_lives(life) {
            return;
        }
        let next = (started + CHECK_PERIOD).saturating_sub(self.now);
        self.put_in(next, Happening::ProbeBegins { life, host: name.clone(), kind });
        let Some(host) = self.hosts.get(&name) else { return };
        let server = &host.server;
        let holding = host.memory.holding;
        let verdict = match kind {
            CheckKind::Ping if hung || !host.powered => Verdict::Bad("ERROR: Could not ping".into()),
            CheckKind::Mysql if hung || !server.answers() => Verdict::Bad("ERROR: Connect error".into()),
            CheckKind::RepThreads | CheckKind::RepBacklog if hung || !server.answers() => {
                Verdict::Unknown("UNKNOWN: Connect error".into())
            }
            CheckKind::RepThreads if !(server.receiving && server.applying || holding) => {
                Verdict::Bad("ERROR: Replication is broken".into())
            }
            _ => Verdict::Good("OK".into()),
        };
        let started = self.monitor_moment(started);
        let stamp = String::from("2026/11/22 11:17:23");
        self.tell_monitor(Event::Checked { host: name, kind, verdict, started, stamp });
    }
}
