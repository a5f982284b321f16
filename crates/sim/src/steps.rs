//! How the steps of an agent take effect on its host: each takes time, some wait, some fail.

use mmm_core::{AgentEvent, HostName, LogPosition, Step, StepOutcome, Takeover};

use crate::happening::Happening;
use crate::invariants;
use crate::run::Sabotage;
use crate::server::Pending;
use crate::settings::WRITER;
use crate::world::World;

/// Between two looks at how far the applying thread has come.
const POLL: u64 = 20;
/// A step that waits for the server gives up after so many looks.
const PATIENCE: u64 = 100;
const LOCK_WAIT: u64 = 400;

/// What became of one try.
enum Attempt {
    Ended(StepOutcome),
    Later,
}

impl World {
    pub(crate) fn begin_step(&mut self, name: &HostName, step: Step) {
        let after = self.random.between(1, 25);
        let Some(host) = self.hosts.get_mut(name) else { return };
        let life = host.agent_life;
        let Some(agent) = &mut host.agent else { return };
        let before = agent.under_way.insert(step.lane(), step.clone());
        self.tell(|| format!("{name} begins: {}", step.describe()));
        if let Some(before) = before {
            invariants::lanes::broken(self, name, &before, &step);
        }
        self.put_in(after, Happening::StepActs { life, host: name.clone(), step, tries: 0 });
    }

    pub(crate) fn act(&mut self, life: u64, name: &HostName, step: Step, tries: u64) {
        let Some(host) = self.hosts.get(name) else { return };
        let orphaned = host.agent.is_none() || host.agent_life != life;
        // A statement that was sent may take effect although its worker has died.
        let sent = matches!(step, Step::OpenWrites | Step::CloseWrites);
        if !host.powered || (orphaned && !(sent && self.random.one_in(2))) {
            return;
        }
        let attempt = match &step {
            Step::AddAddress(role) => {
                let role = role.clone();
                self.change_addresses(name, |addresses| {
                    addresses.insert(role);
                });
                Attempt::Ended(StepOutcome::Done)
            }
            Step::DropAddress(role) => {
                self.change_addresses(name, |addresses| {
                    addresses.remove(role);
                });
                Attempt::Ended(StepOutcome::Done)
            }
            _ => self.act_on_server(name, &step, tries),
        };
        match attempt {
            Attempt::Ended(outcome) => {
                let late = matches!(outcome, StepOutcome::LockHeld).then_some(LOCK_WAIT).unwrap_or_default();
                let after = late + self.random.between(0, 15);
                self.put_in(after, Happening::StepEnds { life, host: name.clone(), step, outcome });
            }
            Attempt::Later => {
                self.put_in(POLL, Happening::StepActs { life, host: name.clone(), step, tries: tries + 1 });
            }
        }
    }

    fn change_addresses(
        &mut self,
        name: &HostName,
        change: impl FnOnce(&mut std::collections::BTreeSet<mmm_core::Role>),
    ) {
        if let Some(host) = self.hosts.get_mut(name) {
            change(&mut host.addresses);
        }
        self.notice_addresses(name);
    }

    fn act_on_server(&mut self, name: &HostName, step: &Step, tries: u64) -> Attempt {
        let failed = |why: &str| Attempt::Ended(StepOutcome::Failed(why.to_owned()));
        let late = self.random.one_in(2);
        let source =
            self.hosts.get(name).and_then(|host| self.hosts.get(&host.peer)).map(|peer| peer.server.own);
        let forged = self.options.sabotage == Sabotage::ForgedCatchUp;
        let Some(host) = self.hosts.get_mut(name) else { return failed("no such host") };
        let server = &mut host.server;
        if !server.running {
            return failed("connection refused");
        }
        if server.frozen {
            if tries == 0 && late {
                match step {
                    Step::OpenWrites => server.pending.push(Pending::Open),
                    Step::CloseWrites => server.pending.push(Pending::Close),
                    _ => {}
                }
            }
            return if tries < PATIENCE { Attempt::Later } else { failed("no answer") };
        }
        let done = Attempt::Ended(StepOutcome::Done);
        match step {
            Step::CloseWrites if server.lock_held => return Attempt::Ended(StepOutcome::LockHeld),
            Step::CloseWrites => server.writable = false,
            Step::OpenWrites => {
                server.writable = true;
                let holds = host.addresses.iter().any(|role| role.name().as_str() == WRITER);
                self.openings += 1;
                self.last_opened = Some(name.clone());
                self.tell(|| format!("{name} IS WRITABLE (address there: {holds})"));
                invariants::caught_up::check(self, name);
            }
            Step::ReadPosition => {
                let position = LogPosition { file: "bin.000001".into(), position: server.own };
                return Attempt::Ended(StepOutcome::Position(position));
            }
            Step::EndWriters => server.lock_held = false,
            Step::CatchUp(takeover) => {
                if *takeover == Takeover::Lost {
                    server.receiving = false;
                }
                let goal = match takeover {
                    Takeover::After(position) => position.position,
                    Takeover::Keep | Takeover::Fresh | Takeover::Lost => server.received,
                };
                if server.applied < goal && !forged {
                    return if tries < PATIENCE { Attempt::Later } else { failed("it is still behind") };
                }
            }
            Step::StopReplication => (server.receiving, server.applying) = (false, false),
            Step::StartReplication => (server.receiving, server.applying) = (true, true),
            Step::StopReceiving => server.receiving = false,
            Step::ResumeReceiving => server.receiving = true,
            Step::Approach(_) => {
                if server.applied + 50 < source.unwrap_or_default() {
                    return if tries < PATIENCE { Attempt::Later } else { failed("it is too far behind") };
                }
            }
            Step::EndClients | Step::AddAddress(_) | Step::DropAddress(_) => {}
        }
        done
    }

    pub(crate) fn end_step(&mut self, life: u64, name: &HostName, step: Step, outcome: StepOutcome) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.agent_life != life {
            return;
        }
        let Some(agent) = &mut host.agent else { return };
        agent.under_way.remove(&step.lane());
        self.tell(|| format!("{name} ended: {}: {outcome:?}", step.describe()));
        self.tell_agent(name, AgentEvent::StepEnded { step, outcome });
    }
}
