//! The shell around the monitor's mind: probes, sessions, the status file and the epoch file, all modelled.

use std::collections::VecDeque;
use std::time::Duration;

use mmm_core::lease::{Epoch, Proof};
use mmm_core::{
    Action, AgentStatus, CheckKind, Cluster, Event, FoundState, HostName, Moment, MonitorState, Restored,
    Takeover, ToAgent, Verdict,
};

use crate::happening::{Happening, Node, ToMonitor};
use crate::invariants;
use crate::monitor::Ending;
use crate::run::Sabotage;
use crate::settings::{CHECK_PERIOD, cluster_settings};
use crate::world::World;

const TICK: u64 = 250;
/// Before a session is tried again.
const RECONNECT: u64 = 250;
const PROBE_TIMEOUT: u64 = 700;
const BEAT: u64 = 500;
/// A session that has been silent for so long is none any more.
pub(crate) const DEAD_AFTER: u64 = 2_500;

impl World {
    pub(crate) fn start_monitor(&mut self, index: usize) {
        let now = self.now;
        let instance = self.random.next() >> 1;
        let settings = cluster_settings(instance, self.shape);
        let (rules, sessions) = (self.rules, self.sessions);
        let left_out = self.options.left_out.filter(|_| !self.options.keep_all);
        self.disturb(&Node::Monitor(0), 0);
        let Some(monitor) = self.monitors.get_mut(index).filter(|monitor| monitor.cluster.is_none()) else {
            return;
        };
        monitor.life += 1;
        monitor.started = now;
        monitor.instance = instance;
        // Nothing that was sent to an earlier process reaches this one.
        monitor.first_session = sessions + 1;
        let life = monitor.life;
        let restored = monitor.status.as_deref().map(|text| Restored::parse(text).0);
        let newest = monitor.states.last().map(|(_, state)| state.clone());
        let found = match newest {
            Some(state) if !monitor.state_is_lost => FoundState::Good(state),
            newest => FoundState::Lost(newest, "the file is not there".to_owned()),
        };
        monitor.state_is_lost = false;
        let text = format!("monitor {index} starts (life {life}) with {found:?}");
        let moment = monitor.moment(now);
        let mut cluster = Cluster::with_rules(settings, restored, found, moment, rules);
        if let Some(rule) = left_out {
            cluster = cluster.without_data_rule(rule);
        }
        let records = monitor.history.values();
        let ago = |began: u64| Duration::from_millis(now.saturating_sub(began));
        cluster.recall(moment, records.map(|(began, record)| (record.clone(), ago(*began))).collect());
        monitor.cluster = Some(cluster);
        self.tell(|| text);
        let after = self.random.between(1, 100);
        self.put_in(after, Happening::NetworkChecked { monitor: index, life });
        self.put_in(TICK, Happening::MonitorTick { monitor: index, life });
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for host in names {
            let after = self.random.between(1, 100);
            self.put_in(after, Happening::Connect { monitor: index, life, host: host.clone() });
            for kind in CheckKind::ALL {
                let after = self.random.between(100, 300);
                self.put_in(after, Happening::ProbeBegins { monitor: index, life, host: host.clone(), kind });
            }
        }
    }

    pub(crate) fn kill_monitor(&mut self, index: usize, down: u64) {
        let Some(monitor) = self.monitors.get_mut(index) else { return };
        if monitor.cluster.take().is_none() {
            return;
        }
        monitor.dies_midway = None;
        monitor.frozen_until = 0;
        let sessions = std::mem::take(&mut monitor.sessions);
        self.tell(|| format!("monitor {index} is dead"));
        // What it sent before is on its way all the same; its end of the connection closes.
        for (host, ending) in sessions {
            let delay = self.delay();
            self.put_in(delay, Happening::SessionGone { session: ending.number, host });
        }
        if index == 0 {
            self.put_in(down, Happening::MonitorStarts { monitor: 0 });
        }
    }

    /// True when the monitor stands still; then the happening comes again when it goes on.
    fn postponed(&mut self, index: usize, again: &Happening) -> bool {
        let until = self.monitors.get(index).map_or(0, |monitor| monitor.frozen_until);
        if until > self.now {
            self.queue.put(until, again.clone());
        }
        until > self.now
    }

    pub(crate) fn tell_monitor(&mut self, index: usize, event: Event) {
        let now = self.now;
        let Some(monitor) = self.monitors.get_mut(index) else { return };
        let moment = monitor.moment(now);
        let Some(cluster) = &mut monitor.cluster else { return };
        let actions = cluster.step(moment, event);
        let life = monitor.life;
        let dies_midway = monitor.dies_midway.filter(|_| actions.len() > 1);
        let dies_after = match dies_midway {
            Some(down) if !self.healed => Some((self.random.between(0, actions.len() as u64 - 1), down)),
            Some(_) | None => None,
        };
        for (place, action) in actions.into_iter().enumerate() {
            if let Some((_, down)) = dies_after.filter(|(last, _)| *last == place as u64) {
                self.kill_monitor(index, down);
                return;
            }
            if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life)) {
                return;
            }
            self.carry_out(index, action);
        }
    }

    fn carry_out(&mut self, index: usize, action: Action) {
        match action {
            Action::Tell { host, message } => {
                if let ToAgent::Order(order) = &message {
                    invariants::ledger::promotion_is_told_of(self, index, order);
                    if let Some(promotion) = &order.writer {
                        let as_first =
                            promotion.proof == Proof::Nobody && promotion.takeover == Takeover::Fresh;
                        let first = &mut self.data.as_first;
                        let _ = if as_first { first.insert(host.clone()) } else { first.remove(&host) };
                    }
                    let writer =
                        order.writer.as_ref().map(|p| (p.epoch.number, p.proof, p.takeover.clone(), p.hold));
                    let (number, state, release) = (order.id.number, order.state, order.release);
                    let roles = mmm_core::Role::join(&order.roles, ",");
                    self.tell(|| {
                        format!("monitor {index} -> {host}: order {number} {state} [{roles}] {writer:?} release {release:?}")
                    });
                }
                let is_order = matches!(message, ToAgent::Order(_));
                self.send_to_agent(index, &host, message);
                if is_order {
                    self.count_step();
                }
            }
            Action::KillHost { host, epoch, .. } => {
                let works = !self.random.one_in(4);
                let life = self.monitors.get(index).map_or(0, |monitor| monitor.life);
                let outcome = if works {
                    self.power_off(&host, 5_000);
                    Ok(())
                } else {
                    Err("exit status 1".to_owned())
                };
                let after = self.random.between(50, 500);
                self.put_in(after, Happening::KillEnded { monitor: index, life, host, epoch, outcome });
            }
            Action::SaveState { number, state } => {
                let life = self.monitors.get(index).map_or(0, |monitor| monitor.life);
                let slow = if self.random.one_in(20) { self.random.between(100, 1_500) } else { 0 };
                let after = slow + self.random.between(0, 20);
                self.put_in(after, Happening::StateWritten { monitor: index, life, number, state });
            }
            Action::Answer { text, .. } => {
                self.tell(|| format!("answer: {}", text.trim_end()));
                self.note_answer(&text);
            }
            Action::SaveStatus(text) => {
                if let Some(monitor) = self.monitors.get_mut(index) {
                    monitor.status = Some(text);
                }
            }
            Action::Record(record) => {
                invariants::ledger::record_makes_sense(self, &record);
                invariants::named::record_is_true(self, &record);
                let now = self.now;
                if let Some(monitor) = self.monitors.get_mut(index) {
                    let began = monitor.history.get(&record.number).map_or(now, |(began, _)| *began);
                    monitor.history.insert(record.number, (began, *record));
                }
            }
            // Nothing is configured anew here.
            Action::Dismiss { .. } => {}
            Action::Log(level, text) => {
                self.tell(|| format!("monitor {index}: {} {}", level.as_str(), text.trim_end()));
            }
        }
    }

    pub(crate) fn end_state(&mut self, index: usize, life: u64, number: u64, state: MonitorState) {
        let now = self.now;
        let Some(monitor) = self.monitors.get_mut(index) else { return };
        if !monitor.lives(life) {
            return;
        }
        let outcome = if monitor.disk_full {
            Err("no space left on device".to_owned())
        } else {
            monitor.states.push((now, state));
            Ok(())
        };
        self.tell_monitor(index, Event::StateSaved { number, outcome });
    }

    pub(crate) fn tick_monitor(&mut self, index: usize, life: u64) {
        let again = Happening::MonitorTick { monitor: index, life };
        if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life))
            || self.postponed(index, &again)
        {
            return;
        }
        self.put_in(TICK, again);
        let now = self.now;
        let silent: Vec<HostName> = self
            .monitors
            .get(index)
            .into_iter()
            .flat_map(|monitor| &monitor.sessions)
            .filter(|(_, ending)| now - ending.heard > DEAD_AFTER)
            .map(|(name, _)| name.clone())
            .collect();
        for name in silent {
            self.close_at_monitor(index, &name, "it said nothing");
        }
        self.tell_monitor(index, Event::Tick);
    }

    /// The monitor's end of a session is closed; the agent hears of it when the network lets it.
    pub(crate) fn close_at_monitor(&mut self, index: usize, name: &HostName, why: &str) {
        let Some(monitor) = self.monitors.get_mut(index) else { return };
        let Some(ending) = monitor.sessions.remove(name) else { return };
        let life = monitor.life;
        let delay = self.delay();
        self.put_in(delay, Happening::SessionGone { session: ending.number, host: name.clone() });
        self.put_in(RECONNECT, Happening::Connect { monitor: index, life, host: name.clone() });
        self.tell_monitor(index, Event::AgentLost { host: name.clone(), reason: why.to_owned() });
    }

    /// `ping_ips` are the hosts and a gateway that is cut off only with the monitor itself.
    pub(crate) fn check_network(&mut self, index: usize, life: u64) {
        let again = Happening::NetworkChecked { monitor: index, life };
        if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life))
            || self.postponed(index, &again)
        {
            return;
        }
        self.put_in(1_000, again);
        let here = Node::Monitor(index);
        let someone = self.hosts.keys().any(|name| self.reaches(&here, &Node::Host(name.clone())));
        let gateway =
            !self.hosts.keys().all(|name| self.cuts.contains_key(&(here.clone(), Node::Host(name.clone()))));
        self.tell_monitor(index, Event::NetworkChecked { reachable: someone || gateway });
    }

    pub(crate) fn end_kill(
        &mut self,
        index: usize,
        life: u64,
        host: HostName,
        epoch: Epoch,
        outcome: Result<(), String>,
    ) {
        if self.monitors.get(index).is_some_and(|monitor| monitor.lives(life)) {
            self.tell_monitor(index, Event::HostKillEnded { host, epoch, outcome });
        }
    }

    pub(crate) fn connect(&mut self, index: usize, life: u64, name: &HostName) {
        let again = Happening::Connect { monitor: index, life, host: name.clone() };
        if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life))
            || self.postponed(index, &again)
        {
            return;
        }
        let delay = self.random.between(1, 60);
        let now = self.now;
        let there = Node::Host(name.clone());
        let reached = self.reaches(&Node::Monitor(index), &there);
        let instance = self.monitors.get(index).map_or(0, |monitor| monitor.instance);
        let failed = |refused| Happening::ConnectFailed { monitor: index, life, host: name.clone(), refused };
        let wait = crate::settings::lease_length(self.shape);
        let wait = u64::try_from(mmm_core::lease::wait_for(wait).as_millis()).unwrap_or(u64::MAX);
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !reached || host.agent.is_none() || host.frozen_until > now {
            let after = if reached { delay } else { 2_000 };
            self.put_in(after, failed(false));
            return;
        }
        if host.session.is_some_and(|session| session.instance != instance && now - session.heard < wait) {
            self.put_in(delay, failed(true));
            return;
        }
        self.sessions += 1;
        let session = self.sessions;
        host.session = Some(crate::host::Session { number: session, monitor: index, instance, heard: now });
        let agent_life = host.agent_life;
        if let Some(monitor) = self.monitors.get_mut(index) {
            monitor.sessions.insert(name.clone(), Ending { number: session, heard: now, reading: None });
        }
        let cluster = self.monitors.get(index).and_then(|monitor| monitor.cluster.as_ref());
        let lineage = cluster.map_or(0, mmm_core::Cluster::lineage);
        self.tell_agent(name, mmm_core::AgentEvent::SessionBegan { session, lineage });
        let Some(status) = self.status_of(name) else { return };
        self.send_to_monitor(name, ToMonitor::Connected(Box::new(status)));
        self.put_in(BEAT, Happening::AgentBeat { life: agent_life, host: name.clone(), session });
        self.put_in(BEAT, Happening::MonitorBeat { monitor: index, life, host: name.clone(), session });
    }

    pub(crate) fn fail_to_connect(&mut self, index: usize, life: u64, name: &HostName, refused: bool) {
        let again = Happening::ConnectFailed { monitor: index, life, host: name.clone(), refused };
        if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life))
            || self.postponed(index, &again)
        {
            return;
        }
        self.put_in(RECONNECT, Happening::Connect { monitor: index, life, host: name.clone() });
        let event = if refused {
            Event::AgentRefused { host: name.clone(), reason: "it has another monitor".into() }
        } else {
            Event::AgentLost { host: name.clone(), reason: "connection refused".into() }
        };
        self.tell_monitor(index, event);
    }

    pub(crate) fn beat_monitor(&mut self, index: usize, life: u64, name: &HostName, session: u64) {
        let again = Happening::MonitorBeat { monitor: index, life, host: name.clone(), session };
        if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life))
            || self.postponed(index, &again)
        {
            return;
        }
        let ending = self.monitors.get(index).and_then(|monitor| monitor.sessions.get(name)).copied();
        let Some(ending) = ending.filter(|ending| ending.number == session) else { return };
        self.put_in(BEAT, again);
        self.send_to_agent(index, name, ToAgent::Heartbeat { echo: ending.reading });
    }

    pub(crate) fn send_to_monitor(&mut self, name: &HostName, message: ToMonitor) {
        let Some(session) = self.hosts.get(name).and_then(|host| host.session) else { return };
        let (monitor, session) = (session.monitor, session.number);
        let delay = self.delay_between(&Node::Host(name.clone()), &Node::Monitor(monitor));
        self.to_monitor.entry(session).or_default().push_back(message);
        self.put_in(delay, Happening::ToMonitor { monitor, session, host: name.clone() });
    }

    fn send_to_agent(&mut self, index: usize, name: &HostName, message: ToAgent) {
        let delay = self.delay_between(&Node::Monitor(index), &Node::Host(name.clone()));
        let session = self.monitors.get(index).and_then(|monitor| monitor.sessions.get(name));
        let Some(session) = session.map(|ending| ending.number) else { return };
        self.to_agent.entry(session).or_default().push_back(message);
        self.put_in(delay, Happening::ToAgent { session, host: name.clone() });
    }

    pub(crate) fn deliver_to_monitor(&mut self, index: usize, session: u64, name: &HostName) {
        let again = Happening::ToMonitor { monitor: index, session, host: name.clone() };
        let now = self.now;
        let Some(monitor) = self.monitors.get(index) else { return };
        let current = monitor.sessions.get(name).is_some_and(|ending| ending.number == session);
        if monitor.cluster.is_none() || !current {
            self.deliver_stale_renewal(index, session, name);
            return;
        }
        if !self.passes(&Node::Host(name.clone()), &Node::Monitor(index)) {
            // The network sends it again until it gets through or somebody gives up.
            self.put_in(300, again);
            return;
        }
        if self.postponed(index, &again) {
            return;
        }
        let Some(message) = self.to_monitor.get_mut(&session).and_then(VecDeque::pop_front) else { return };
        if let Some(ending) = self.monitors.get_mut(index).and_then(|monitor| monitor.sessions.get_mut(name))
        {
            ending.heard = now;
        }
        let host = name.clone();
        match message {
            ToMonitor::Connected(status) => {
                let status = self.forge(index, &host, status);
                self.tell_monitor(index, Event::AgentConnected { host, status });
            }
            ToMonitor::Message(message) => match *message {
                mmm_core::ToMonitor::Status(status) => {
                    let status = self.forge(index, &host, status);
                    self.tell_monitor(index, Event::AgentReported { host, status });
                }
                mmm_core::ToMonitor::Renew(renewal) => {
                    self.tell_monitor(index, Event::Renewed { host, renewal });
                }
                mmm_core::ToMonitor::Surveyed(survey) => {
                    self.tell_monitor(index, Event::Surveyed { host, survey });
                }
                mmm_core::ToMonitor::Heartbeat { reading } => self.note_reading(index, name, reading),
                // No modelled monitor asks for it.
                mmm_core::ToMonitor::Examined(_) => {}
            },
            ToMonitor::Lost => self.close_at_monitor(index, name, "connection closed"),
        }
    }

    /// What came over an earlier connection of the same monitor's life may be taken in after what came over a newer one.
    fn deliver_stale_renewal(&mut self, index: usize, session: u64, name: &HostName) {
        let reached = self.passes(&Node::Host(name.clone()), &Node::Monitor(index));
        let life = self.monitors.get(index).map_or(0, |monitor| monitor.first_session);
        let message = self.to_monitor.get_mut(&session).and_then(VecDeque::pop_front);
        if let Some(ToMonitor::Message(message)) = message.filter(|_| reached && session >= life)
            && let mmm_core::ToMonitor::Renew(renewal) = *message
        {
            self.tell(|| format!("a late renewal of {name}: {renewal:?}"));
            self.tell_monitor(index, Event::Renewed { host: name.clone(), renewal });
        }
    }

    fn note_reading(&mut self, index: usize, name: &HostName, reading: Moment) {
        if let Some(ending) = self.monitors.get_mut(index).and_then(|monitor| monitor.sessions.get_mut(name))
        {
            ending.reading = Some(reading);
        }
    }

    fn forge(&self, index: usize, name: &HostName, mut status: Box<AgentStatus>) -> Box<AgentStatus> {
        let cluster = self.monitors.get(index).and_then(|monitor| monitor.cluster.as_ref());
        let told = cluster.is_some_and(|cluster| cluster.active_master() != Some(name));
        if self.options.sabotage == Sabotage::ForgedRelease && told {
            status.held.clear();
            status.lease.released = status.lease.accepted;
            status.lease.held = None;
            if let Some(id) = &mut status.taken_in {
                id.number = u64::MAX;
            }
        }
        status
    }

    pub(crate) fn begin_probe(&mut self, index: usize, life: u64, host: HostName, kind: CheckKind) {
        let again = Happening::ProbeBegins { monitor: index, life, host: host.clone(), kind };
        if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life))
            || self.postponed(index, &again)
        {
            return;
        }
        let reached = self.reaches(&Node::Monitor(index), &Node::Host(host.clone()));
        let hangs = self.hosts.get(&host).is_some_and(|host| {
            !reached || (kind != CheckKind::Ping && host.server.running && host.server.frozen)
        });
        let after = if hangs { PROBE_TIMEOUT } else { self.random.between(1, 60) };
        let started = self.now;
        self.put_in(after, Happening::ProbeEnds { monitor: index, life, host, kind, started, hung: hangs });
    }

    pub(crate) fn end_probe(
        &mut self,
        index: usize,
        life: u64,
        name: HostName,
        kind: CheckKind,
        started: u64,
        hung: bool,
    ) {
        let again = Happening::ProbeEnds { monitor: index, life, host: name.clone(), kind, started, hung };
        if !self.monitors.get(index).is_some_and(|monitor| monitor.lives(life))
            || self.postponed(index, &again)
        {
            return;
        }
        let next = (started + CHECK_PERIOD).saturating_sub(self.now).max(10);
        self.put_in(next, Happening::ProbeBegins { monitor: index, life, host: name.clone(), kind });
        let Some(host) = self.hosts.get(&name) else { return };
        let server = &host.server;
        let holding = host.memory.as_ref().is_some_and(|memory| memory.holding);
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
        let Some(started) = self.monitors.get(index).map(|monitor| monitor.moment(started)) else { return };
        let stamp = String::from("2026/11/22 11:17:23");
        self.tell_monitor(index, Event::Checked { host: name, kind, verdict, started, stamp });
    }
}
