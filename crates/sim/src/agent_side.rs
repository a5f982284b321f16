//! The shell around an agent's mind: its looks at the server and the kernel, its files, its sessions and its peers.

use mmm_core::following::{Running, ServerAddress};
use mmm_core::lease::Durable;
use mmm_core::survey::{Reach, Survey};
use mmm_core::{
    AgentAction, AgentEvent, AgentMemory, AgentMind, AgentSettings, AgentStatus, HeldAddress, HostName,
    LogPosition, PeerAnswer, PeerRequest, ReplicaView, RoleName, ServerView, Takeover, ToAgent,
};

use crate::happening::{Happening, LookCause, Node, Sample, ToMonitor};
use crate::host::Agent;
use crate::monitor_side::DEAD_AFTER;
use crate::settings::{self, WRITER};
use crate::world::World;

const TICK: u64 = 100;
const LOOK_PERIOD: u64 = 500;
/// A server that did not answer for so long is called silent.
const LOOK_TIMEOUT: u64 = 500;
const BEAT: u64 = 500;
/// A request to another agent is given up after this long.
const PEER_LIMIT: u64 = 1_000;

impl World {
    pub(crate) fn start_agent(&mut self, name: &HostName, boot: u64) {
        let (now, rules) = (self.now, self.rules);
        let role_hosts = settings::role_hosts(self.shape);
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.powered || host.boot != boot || host.agent.is_some() {
            return;
        }
        host.parent = true;
        host.agent_life += 1;
        host.frozen_until = 0;
        let life = host.agent_life;
        let settings = AgentSettings {
            host: name.clone(),
            active_master_role: RoleName::from(WRITER),
            max_kill_retries: 3,
            role_hosts,
            rules,
        };
        let moment = host.clock.read(now);
        let mut mind = AgentMind::new(settings, host.memory.clone(), host.durable.clone(), moment);
        if host.memory.is_none() && host.durable.is_some() && host.durable_boot != host.boot {
            mind.note_boot();
        }
        host.agent = Some(Agent { mind, under_way: std::collections::BTreeMap::new() });
        self.tell(|| format!("agent of {name} starts (life {life})"));
        self.disturb(&Node::Host(name.clone()), 0);
        let (listed, seen) = (self.random.between(1, 60), self.random.between(1, 60));
        self.put_in(listed, Happening::AddressesListed { life, host: name.clone() });
        self.put_in(seen, Happening::Look { life, host: name.clone(), cause: LookCause::Turn });
        self.put_in(TICK, Happening::AgentTick { life, host: name.clone() });
    }

    /// The worker is gone; what it had sent is on its way all the same.
    pub(crate) fn kill_agent(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.agent.take().is_none() {
            return;
        }
        host.frozen_until = 0;
        self.tell(|| format!("agent of {name} is dead"));
        self.disturb(&Node::Host(name.clone()), 0);
        self.send_to_monitor(name, ToMonitor::Lost);
        if let Some(host) = self.hosts.get_mut(name) {
            host.session = None;
        }
    }

    pub(crate) fn agent_lives(&self, life: u64, name: &HostName) -> bool {
        self.hosts.get(name).is_some_and(|host| host.agent.is_some() && host.agent_life == life)
    }

    /// True when the worker stands still; then the happening comes again when it goes on.
    fn stands_still(&mut self, name: &HostName, again: &Happening) -> bool {
        let until = self.hosts.get(name).map_or(0, |host| host.frozen_until);
        if until > self.now {
            self.queue.put(until, again.clone());
        }
        until > self.now
    }

    pub(crate) fn status_of(&self, name: &HostName) -> Option<AgentStatus> {
        let host = self.hosts.get(name)?;
        let agent = host.agent.as_ref()?;
        let uptime = host.clock.read(self.now).since_zero();
        Some(AgentStatus { boot_id: host.boot.to_string(), uptime, ..agent.mind.status() })
    }

    pub(crate) fn tell_agent(&mut self, name: &HostName, event: AgentEvent) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let moment = host.clock.read(now);
        let Some(agent) = &mut host.agent else { return };
        let life = host.agent_life;
        let actions = agent.mind.step(moment, event);
        for action in actions {
            if !self.agent_lives(life, name) {
                return;
            }
            self.carry_out_for(name, life, action);
        }
    }

    fn carry_out_for(&mut self, name: &HostName, life: u64, action: AgentAction) {
        match action {
            AgentAction::Do(step) => self.begin_step(name, step),
            AgentAction::Look { id } => {
                let cause = LookCause::Ordered(id);
                self.put_in(0, Happening::Look { life, host: name.clone(), cause });
            }
            AgentAction::Announce(role) => self.tell(|| format!("{name} announces {role}")),
            AgentAction::Report(status) => {
                self.tell(|| {
                    let held = mmm_core::Role::join(&status.held, ",");
                    let lease = &status.lease;
                    let epochs = (lease.accepted.number, lease.released.number);
                    format!(
                        "{name} reports: holds [{held}], server {:?}, accepted/released {epochs:?}, {:?}",
                        status.server, lease.held
                    )
                });
                if let Some(status) = self.status_of(name) {
                    let message = mmm_core::ToMonitor::Status(Box::new(status));
                    self.send_to_monitor(name, ToMonitor::Message(Box::new(message)));
                }
                self.count_step();
            }
            AgentAction::Save { number, memory } => self.save_memory(name, life, number, memory),
            AgentAction::SaveDurable { number, durable } => {
                let busy = self.theme != crate::fault::Theme::MonitorOnly;
                let slow = if busy && self.random.one_in(20) { self.random.between(100, 1_500) } else { 0 };
                let after = slow + self.random.between(0, 20);
                let host = name.clone();
                self.put_in(after, Happening::DurableWritten { life, host, number, durable });
            }
            AgentAction::Renew { session, renewal } => {
                let current = self.hosts.get(name).and_then(|host| host.session);
                if current.is_some_and(|current| current.number == session) {
                    self.tell(|| format!("{name} asks for a grant: {renewal:?}"));
                    let message = mmm_core::ToMonitor::Renew(renewal);
                    self.send_to_monitor(name, ToMonitor::Message(Box::new(message)));
                }
            }
            AgentAction::AskPeer { host, request } => {
                let delay = self.delay_between(&Node::Host(name.clone()), &Node::Host(host.clone()));
                let happening =
                    Happening::PeerRequest { from: name.clone(), from_life: life, to: host, request };
                self.put_in(delay, happening);
            }
            AgentAction::AnswerPeer { asker, answer } => self.answer_peer(name, asker, answer),
            // No monitor of 2.2.1 takes part, and no operator asks for a rebuild.
            AgentAction::AnswerLine { .. } | AgentAction::Rebuild(_) => {}
            AgentAction::Log(level, text) => self.tell(|| format!("agent {name}: {} {text}", level.as_str())),
        }
    }

    /// A file in memory is mostly there at once; now and then the worker dies in between.
    fn save_memory(&mut self, name: &HostName, life: u64, number: u64, memory: Box<AgentMemory>) {
        let busy = self.theme != crate::fault::Theme::MonitorOnly;
        let slow_until = self.hosts.get(name).map_or(0, |host| host.slow_until);
        let slow = if self.now < slow_until {
            self.random.between(1_000, 3_000)
        } else if busy && self.random.one_in(10) {
            self.random.between(1, 300)
        } else {
            0
        };
        let host = name.clone();
        if slow == 0 {
            if let Some(host) = self.hosts.get_mut(name) {
                host.memory = Some(*memory);
            }
            self.put_in(0, Happening::MemoryWritten { life, host, number, memory: None });
        } else {
            self.put_in(slow, Happening::MemoryWritten { life, host, number, memory: Some(memory) });
        }
    }

    pub(crate) fn end_memory(
        &mut self,
        life: u64,
        name: &HostName,
        number: u64,
        memory: Option<Box<AgentMemory>>,
    ) {
        if !self.agent_lives(life, name) {
            return;
        }
        if let (Some(memory), Some(host)) = (memory, self.hosts.get_mut(name)) {
            // Files are written one after the other: an older one never takes the place of a newer one.
            if host.memory.as_ref().is_none_or(|kept| kept.last_reading <= memory.last_reading) {
                host.memory = Some(*memory);
            }
        }
        self.tell_agent(name, AgentEvent::MemorySaved { number, outcome: Ok(()) });
    }

    pub(crate) fn end_durable(&mut self, life: u64, name: &HostName, number: u64, durable: Durable) {
        let lives = self.agent_lives(life, name);
        // A write that was under way when its worker died may reach the disk or not.
        let reaches = lives || self.random.one_in(2);
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.powered || !reaches || (!lives && host.agent.is_some()) {
            return;
        }
        let outcome = if host.disk_full {
            Err("no space left on device".to_owned())
        } else {
            host.durable_before = host.durable.replace(durable);
            host.durable_boot = host.boot;
            Ok(())
        };
        if lives {
            self.tell_agent(name, AgentEvent::DurableSaved { number, outcome });
        }
    }

    /// Requests and their answers carry the number of the asker's worker in place of a connection.
    pub(crate) fn deliver_request(
        &mut self,
        from: &HostName,
        from_life: u64,
        to: &HostName,
        request: PeerRequest,
    ) {
        let there = Node::Host(to.clone());
        if !self.reaches(&Node::Host(from.clone()), &there) {
            return;
        }
        let again = Happening::PeerRequest {
            from: from.clone(),
            from_life,
            to: to.clone(),
            request: request.clone(),
        };
        let alive = self.hosts.get(to).is_some_and(|host| host.agent.is_some());
        if !alive || self.stands_still(to, &again) {
            return;
        }
        let index = self.hosts.keys().position(|name| name == from).unwrap_or_default() as u64;
        let asker = index * 1_000_000 + from_life;
        let event = AgentEvent::PeerAsked { asker, from: from.clone(), request };
        self.tell_agent(to, event);
    }

    fn answer_peer(&mut self, name: &HostName, asker: u64, answer: PeerAnswer) {
        let (index, to_life) = (asker / 1_000_000, asker % 1_000_000);
        let to = usize::try_from(index).ok().and_then(|index| self.hosts.keys().nth(index).cloned());
        let Some(to) = to else { return };
        let delay = self.delay();
        self.put_in(delay, Happening::PeerAnswer { from: name.clone(), to, to_life, answer });
    }

    pub(crate) fn deliver_answer(
        &mut self,
        from: &HostName,
        to: &HostName,
        to_life: u64,
        answer: PeerAnswer,
    ) {
        let again =
            Happening::PeerAnswer { from: from.clone(), to: to.clone(), to_life, answer: answer.clone() };
        let arrives = self.passes(&Node::Host(from.clone()), &Node::Host(to.clone()));
        if !arrives || !self.agent_lives(to_life, to) || self.stands_still(to, &again) {
            return;
        }
        let (PeerAnswer::Promised { asked }
        | PeerAnswer::Refused { asked, .. }
        | PeerAnswer::Contact { asked, .. }) = &answer;
        let asked_at = self.hosts.get(to).map_or(0, |host| host.clock.time_of(*asked));
        if self.now.saturating_sub(asked_at) > PEER_LIMIT {
            return;
        }
        self.tell_agent(to, AgentEvent::PeerAnswered { host: from.clone(), answer });
    }

    pub(crate) fn deliver_to_agent(&mut self, session: u64, name: &HostName) {
        let again = Happening::ToAgent { session, host: name.clone() };
        let last_opened = self.last_opened.clone();
        let now = self.now;
        let Some(current) = self.hosts.get(name).and_then(|host| host.session) else { return };
        if current.number != session {
            self.deliver_stale_grant(session, name);
            return;
        }
        if !self.passes(&Node::Monitor(current.monitor), &Node::Host(name.clone())) {
            self.put_in(300, again);
            return;
        }
        if self.stands_still(name, &again) {
            return;
        }
        let sent = self.to_agent.get_mut(&session).and_then(std::collections::VecDeque::pop_front);
        let Some(message) = sent else { return };
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.agent.is_none() {
            return;
        }
        if let Some(session) = &mut host.session {
            session.heard = now;
        }
        let event = match message {
            ToAgent::Order(order) => {
                if let Some(promotion) = &order.writer
                    && host.chosen.as_ref().is_none_or(|(epoch, _)| *epoch != promotion.epoch)
                {
                    // Who was the last to write has nothing to catch up with.
                    let kept = promotion.takeover == Takeover::Keep && last_opened.as_ref() == Some(name);
                    let received =
                        if kept { std::collections::BTreeMap::new() } else { host.server.received() };
                    let sighted = host.server.reached;
                    host.chosen = Some((promotion.epoch, received));
                    *self.data.chosen.entry(name.clone()).or_default() |= sighted;
                }
                AgentEvent::Ordered(order)
            }
            ToAgent::Approach { id, limit, reach } => AgentEvent::ApproachOrdered { id, limit, reach },
            ToAgent::Announce(role) => AgentEvent::AnnouncementOrdered(role),
            ToAgent::Look { id } => AgentEvent::LookOrdered { id },
            ToAgent::Grant(grant) => AgentEvent::Granted(grant),
            ToAgent::Heartbeat { echo: Some(echo) } => AgentEvent::Heard { echo },
            ToAgent::Survey { id } => {
                let position = LogPosition { file: name.to_string(), position: host.server.own };
                let seen = host.server.running && !host.server.frozen;
                let end = seen.then_some(Reach { position: Some(position), ..Reach::default() });
                let survey = Survey { id, end, ..Survey::default() };
                // Whoever looks may be late, or not be there at all.
                if !self.random.one_in(10) {
                    let message = mmm_core::ToMonitor::Surveyed(Box::new(survey));
                    self.send_to_monitor(name, ToMonitor::Message(Box::new(message)));
                }
                return;
            }
            ToAgent::Heartbeat { echo: None } | ToAgent::Begin { .. } | ToAgent::Examine { .. } => return,
        };
        self.tell_agent(name, event);
    }

    /// What came over an earlier connection may be taken in after what came over a newer one.
    fn deliver_stale_grant(&mut self, session: u64, name: &HostName) {
        let message = self.to_agent.get_mut(&session).and_then(std::collections::VecDeque::pop_front);
        let alive =
            self.hosts.get(name).is_some_and(|host| host.agent.is_some() && host.frozen_until <= self.now);
        if let Some(ToAgent::Grant(grant)) = message.filter(|_| alive) {
            self.tell(|| format!("a late grant for {name}: {grant:?}"));
            self.tell_agent(name, AgentEvent::Granted(grant));
        }
    }

    pub(crate) fn beat_agent(&mut self, life: u64, name: &HostName, session: u64) {
        let again = Happening::AgentBeat { life, host: name.clone(), session };
        if !self.agent_lives(life, name) || self.stands_still(name, &again) {
            return;
        }
        let Some(host) = self.hosts.get(name) else { return };
        if host.session.is_none_or(|current| current.number != session) {
            return;
        }
        let reading = host.clock.read(self.now);
        self.put_in(BEAT, again);
        let message = mmm_core::ToMonitor::Heartbeat { reading };
        self.send_to_monitor(name, ToMonitor::Message(Box::new(message)));
    }

    /// The other end of the session is closed.
    pub(crate) fn lose_session(&mut self, session: u64, name: &HostName) {
        let Some(current) = self.hosts.get(name).and_then(|host| host.session) else { return };
        if current.number != session {
            return;
        }
        let again = Happening::SessionGone { session, host: name.clone() };
        if !self.passes(&Node::Monitor(current.monitor), &Node::Host(name.clone())) {
            self.put_in(300, again);
            return;
        }
        if self.stands_still(name, &again) {
            return;
        }
        self.end_session(name);
    }

    fn end_session(&mut self, name: &HostName) {
        let ended = self.hosts.get_mut(name).and_then(|host| host.session.take());
        if let Some(session) = ended {
            self.tell_agent(name, AgentEvent::SessionEnded { session: session.number });
        }
    }

    pub(crate) fn tick_agent(&mut self, life: u64, name: &HostName) {
        let again = Happening::AgentTick { life, host: name.clone() };
        if !self.agent_lives(life, name) || self.stands_still(name, &again) {
            return;
        }
        self.put_in(TICK, again);
        let now = self.now;
        let silent = self
            .hosts
            .get(name)
            .and_then(|host| host.session)
            .filter(|session| now - session.heard > DEAD_AFTER);
        if silent.is_some() {
            self.send_to_monitor(name, ToMonitor::Lost);
            self.end_session(name);
        }
        self.tell_agent(name, AgentEvent::Tick);
    }

    pub(crate) fn list_addresses(&mut self, life: u64, name: &HostName) {
        let again = Happening::AddressesListed { life, host: name.clone() };
        if !self.agent_lives(life, name) || self.stands_still(name, &again) {
            return;
        }
        let Some(host) = self.hosts.get(name) else { return };
        let addresses = host
            .addresses
            .iter()
            .map(|(role, due)| HeldAddress { role: role.clone(), ours: true, permanent: due.is_none() })
            .collect();
        self.tell_agent(name, AgentEvent::AddressesSeen(addresses));
    }

    /// The kernel tells of every change of its addresses.
    pub(crate) fn notice_addresses(&mut self, name: &HostName) {
        let Some(life) = self.hosts.get(name).map(|host| host.agent_life) else { return };
        let after = self.random.between(0, 5);
        self.put_in(after, Happening::AddressesListed { life, host: name.clone() });
    }

    /// The process handle tells of a server's end, and the standing connection of its start.
    pub(crate) fn notice_server(&mut self, name: &HostName) {
        let Some(life) = self.hosts.get(name).map(|host| host.agent_life) else { return };
        let after = self.random.between(0, 10);
        self.put_in(after, Happening::Look { life, host: name.clone(), cause: LookCause::News });
    }

    pub(crate) fn look(&mut self, life: u64, name: &HostName, cause: LookCause) {
        let later = Happening::Look { life, host: name.clone(), cause };
        if !self.agent_lives(life, name) || self.stands_still(name, &later) {
            return;
        }
        if cause == LookCause::Turn {
            self.put_in(LOOK_PERIOD, later);
        }
        let ids = self.server_ids();
        let slow = self.random.between(1, 15);
        let asked = self.now;
        let Some(host) = self.hosts.get(name) else { return };
        let server = &host.server;
        let up = server.answers();
        let sample = Sample {
            view: match server.view() {
                ServerView::Up { .. } if server.seems_closed_until > asked => {
                    ServerView::Up { writable: false }
                }
                view => view,
            },
            gtid: up.then(|| server.gtid(&ids)),
            receiving: up.then_some(server.receiving),
            received: up.then(|| server.all_received(&ids)),
            semi_sync: up.then(|| self.semi_sync_reading(name)).flatten(),
            look: match cause {
                LookCause::Ordered(id) => up.then_some(id),
                LookCause::Turn | LookCause::News => None,
            },
        };
        let after = if server.frozen { LOOK_TIMEOUT } else { slow };
        self.put_in(after, Happening::LookAnswered { life, host: name.clone(), asked, sample });
    }

    /// Hosts that are no masters replicate from one server, at first from the first master.
    fn show_replica(&mut self, name: &HostName, asked: u64) {
        let index = settings::NAMES.iter().position(|host| *host == name.as_str()).unwrap_or_default();
        let told = self.shape.replication.is_told();
        let shows = |host: &&crate::host::Host| (told || index > 1) && host.server.answers();
        let Some(host) = self.hosts.get(name).filter(shows) else { return };
        let source = self.source_of(name);
        let reached = !told || {
            let answers = self.hosts.get(&source).is_some_and(|source| source.server.answers());
            answers && self.reaches(&Node::Host(source.clone()), &Node::Host(name.clone()))
        };
        let view = ReplicaView {
            source: ServerAddress { host: settings::ip_of(&source).to_string(), port: 3306 },
            source_id: 0,
            by_gtid: true,
            without_gtid: false,
            connected: host.server.receiving && reached,
            running: Running { receives: host.server.receiving, applies: host.server.applying },
            slave_pos: String::new(),
            unreached: None,
            applier_error: None,
            tear: None,
        };
        let asked = host.clock.read(asked);
        if view.connected
            && let Some(host) = self.hosts.get_mut(name)
        {
            host.server.reached = true;
        }
        self.tell_agent(name, AgentEvent::ReplicaSeen(Some(view), asked));
    }

    pub(crate) fn answer_look(&mut self, life: u64, name: &HostName, asked: u64, mut sample: Sample) {
        let again = Happening::LookAnswered { life, host: name.clone(), asked, sample: sample.clone() };
        if !self.agent_lives(life, name) || self.stands_still(name, &again) {
            return;
        }
        self.show_replica(name, asked);
        let Some(host) = self.hosts.get(name) else { return };
        if matches!(sample.view, ServerView::Silent { .. }) {
            if !host.server.frozen {
                // It went on in time: the answer is there after all.
                sample.view = host.server.view();
            }
            sample.gtid = None;
            (sample.receiving, sample.received, sample.semi_sync) = (None, None, None);
        }
        let told = self.shape.replication.is_told() && sample.gtid.is_some();
        let source = told.then(|| settings::ip_of(&self.source_of(name)));
        let asked = host.clock.read(asked);
        let event = AgentEvent::ServerSeen {
            view: sample.view,
            asked,
            source_ip: source,
            gtid: sample.gtid,
            receiving: sample.receiving,
        };
        self.tell_agent(name, event);
        if let Some(reading) = sample.semi_sync {
            self.tell_agent(name, AgentEvent::SemiSyncSeen(reading, asked));
        }
        if let Some(received) = sample.received {
            self.tell_agent(name, AgentEvent::ReceivedSeen(Box::new(received)));
        }
        if let Some(id) = sample.look {
            self.tell_agent(name, AgentEvent::Looked { id });
        }
    }
}
