//! The shell around an agent's mind: its looks at the server and the kernel, and its reports.

use mmm_core::{
    AgentAction, AgentEvent, AgentMind, AgentSettings, AgentStatus, HeldAddress, HostName, Moment, RoleName,
    ServerView, Takeover,
};

use crate::happening::{Happening, Sample, ToAgent, ToMonitor};
use crate::host::Agent;
use crate::settings::WRITER;
use crate::world::World;

const TICK: u64 = 500;
const LOOK_PERIOD: u64 = 500;
/// A server that did not answer for so long is called silent.
const LOOK_TIMEOUT: u64 = 500;

impl World {
    pub(crate) fn start_agent(&mut self, name: &HostName, boot: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.powered || host.boot != boot || host.agent.is_some() {
            return;
        }
        host.agent_life += 1;
        let life = host.agent_life;
        let settings = AgentSettings {
            host: name.clone(),
            active_master_role: RoleName::from(WRITER),
            max_kill_retries: 3,
        };
        host.agent = Some(Agent {
            mind: AgentMind::new(settings, host.memory.clone()),
            started: self.now,
            under_way: std::collections::BTreeMap::new(),
        });
        self.tell(|| format!("agent of {name} starts (life {life})"));
        let (listed, seen) = (self.random.between(1, 60), self.random.between(1, 60));
        self.put_in(listed, Happening::AddressesListed { life, host: name.clone() });
        self.put_in(seen, Happening::Look { life, host: name.clone(), again: true });
        self.put_in(TICK, Happening::AgentTick { life, host: name.clone() });
    }

    pub(crate) fn kill_agent(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.agent.take().is_none() {
            return;
        }
        self.tell(|| format!("agent of {name} is dead"));
        self.send_to_monitor(name, ToMonitor::Lost);
        if let Some(host) = self.hosts.get_mut(name) {
            host.session.at_agent = None;
        }
    }

    fn agent_lives(&self, life: u64, name: &HostName) -> bool {
        self.hosts.get(name).is_some_and(|host| host.agent.is_some() && host.agent_life == life)
    }

    pub(crate) fn tell_agent(&mut self, name: &HostName, event: AgentEvent) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let Some(agent) = &mut host.agent else { return };
        let moment = Moment::from_millis(now - agent.started + 1_000);
        let actions = agent.mind.step(moment, event);
        for action in actions {
            self.carry_out_for(name, action);
        }
    }

    fn carry_out_for(&mut self, name: &HostName, action: AgentAction) {
        match action {
            AgentAction::Do(step) => self.begin_step(name, step),
            AgentAction::Announce(role) => self.tell(|| format!("{name} announces {role}")),
            AgentAction::Report(status) => {
                self.tell(|| {
                    let held = mmm_core::Role::join(&status.held, ",");
                    let number = status.taken_in.map(|id| id.number);
                    format!("{name} reports: taken in {number:?}, holds [{held}], server {:?}", status.server)
                });
                let boot = self.hosts.get(name).map_or(0, |host| host.boot);
                let status = AgentStatus { boot_id: boot.to_string(), ..*status };
                self.send_to_monitor(name, ToMonitor::Reported(Box::new(status)));
            }
            AgentAction::Save(memory) => {
                if let Some(host) = self.hosts.get_mut(name) {
                    host.memory = memory;
                }
            }
            AgentAction::Log(level, text) => self.tell(|| format!("agent {name}: {} {text}", level.as_str())),
        }
    }

    pub(crate) fn deliver_to_agent(&mut self, session: u64, name: &HostName, message: ToAgent) {
        let last_opened = self.last_opened.clone();
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.agent.is_none() || host.session.at_agent != Some(session) {
            return;
        }
        let event = match message {
            ToAgent::Order(order) => {
                if let Some(grant) = &order.writer
                    && host.chosen.is_none_or(|(choice, _)| choice != grant.choice)
                {
                    // Who was the last to write has nothing to catch up with.
                    let kept = grant.takeover == Takeover::Keep && last_opened.as_ref() == Some(name);
                    let received = if kept { 0 } else { host.server.received };
                    host.chosen = Some((grant.choice, received));
                }
                AgentEvent::Ordered(order)
            }
            ToAgent::Approach { id, limit } => AgentEvent::ApproachOrdered { id, limit },
        };
        self.tell_agent(name, event);
    }

    pub(crate) fn tick_agent(&mut self, life: u64, name: &HostName) {
        if self.agent_lives(life, name) {
            self.put_in(TICK, Happening::AgentTick { life, host: name.clone() });
            self.tell_agent(name, AgentEvent::Tick);
        }
    }

    pub(crate) fn list_addresses(&mut self, life: u64, name: &HostName) {
        if !self.agent_lives(life, name) {
            return;
        }
        let Some(host) = self.hosts.get(name) else { return };
        let addresses =
            host.addresses.iter().map(|role| HeldAddress { role: role.clone(), ours: true }).collect();
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
        self.put_in(after, Happening::Look { life, host: name.clone(), again: false });
    }

    pub(crate) fn look(&mut self, life: u64, name: &HostName, again: bool) {
        if !self.agent_lives(life, name) {
            return;
        }
        if again {
            self.put_in(LOOK_PERIOD, Happening::Look { life, host: name.clone(), again });
        }
        let peer_id = self.peer_server_id(name);
        let slow = self.random.between(1, 15);
        let asked = self.now;
        let Some(host) = self.hosts.get(name) else { return };
        let server = &host.server;
        let up = server.answers();
        let sample = Sample {
            view: server.view(),
            gtid: up.then(|| server.gtid(peer_id)),
            receiving: up.then_some(server.receiving),
        };
        let after = if server.frozen { LOOK_TIMEOUT } else { slow };
        self.put_in(after, Happening::LookAnswered { life, host: name.clone(), asked, sample });
    }

    pub(crate) fn answer_look(&mut self, life: u64, name: &HostName, asked: u64, mut sample: Sample) {
        if !self.agent_lives(life, name) {
            return;
        }
        let Some(host) = self.hosts.get(name) else { return };
        if matches!(sample.view, ServerView::Silent { .. }) {
            if !host.server.frozen {
                // It went on in time: the answer is there after all.
                sample.view = host.server.view();
            }
            sample.gtid = None;
            sample.receiving = None;
        }
        let started = host.agent.as_ref().map_or(0, |agent| agent.started);
        let source_ip = Some(host.peer_ip);
        self.tell_agent(
            name,
            AgentEvent::ServerSeen {
                view: sample.view,
                asked: Moment::from_millis(asked.saturating_sub(started) + 1_000),
                source_ip,
                gtid: sample.gtid,
                receiving: sample.receiving,
            },
        );
    }

    pub(crate) fn peer_server_id(&self, name: &HostName) -> u64 {
        self.hosts.get(name).and_then(|host| self.hosts.get(&host.peer)).map_or(0, |peer| peer.server.id)
    }
}
