//! How the steps of an agent take effect on its host: each takes time, some wait, some fail.

use std::collections::BTreeMap;

use mmm_core::following::{How, Running};
use mmm_core::lease::kernel_lifetime;
use mmm_core::{AgentEvent, HostName, Lifetime, LogPosition, Role, Step, StepOutcome, Takeover};

use crate::happening::{Happening, Node};
use crate::invariants;
use crate::run::Sabotage;
use crate::salvage::apply_tail;
use crate::server::{Pending, Server};
use crate::settings::WRITER;
use crate::world::World;

/// Between two looks at how far the applying thread has come.
const POLL: u64 = 20;
/// A step that waits for the server gives up after so many looks.
pub(crate) const PATIENCE: u64 = 100;
const LOCK_WAIT: u64 = 400;

/// What became of one try.
pub(crate) enum Attempt {
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
        self.count_step();
    }

    pub(crate) fn act(&mut self, life: u64, name: &HostName, step: Step, tries: u64) {
        let Some(host) = self.hosts.get(name) else { return };
        let orphaned = host.agent.is_none() || host.agent_life != life;
        // A statement that was sent may take effect although its worker has died.
        let sent = matches!(step, Step::OpenWrites | Step::CloseWrites | Step::CloseReturned);
        if !host.powered || (orphaned && !(sent && self.random.one_in(2))) {
            return;
        }
        let standing = host.frozen_until > self.now;
        if standing && !sent {
            // The worker hangs in the middle.
            let until = host.frozen_until;
            self.queue.put(until, Happening::StepActs { life, host: name.clone(), step, tries });
            return;
        }
        let attempt = match &step {
            Step::AddAddress(role, lifetime) => {
                let outcome = if self.set_address(name, role, *lifetime, true) {
                    StepOutcome::Done
                } else {
                    StepOutcome::Failed("too little is left of its lifetime".to_owned())
                };
                Attempt::Ended(outcome)
            }
            Step::KeepAddresses(lifetimes) => {
                for (role, lifetime) in lifetimes {
                    self.set_address(name, role, *lifetime, false);
                }
                Attempt::Ended(StepOutcome::Done)
            }
            Step::DropAddress(role) => {
                if let Some(host) = self.hosts.get_mut(name) {
                    host.addresses.remove(role);
                }
                self.notice_addresses(name);
                Attempt::Ended(StepOutcome::Done)
            }
            Step::KillServer => {
                let down = self.random.between(200, 3_000);
                self.end_server(name, down);
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

    /// What the shell asks the kernel for, and what the kernel makes of it: whole seconds, and late or a little early.
    fn set_address(&mut self, name: &HostName, role: &Role, lifetime: Lifetime, add: bool) -> bool {
        let late = if self.late_kernels {
            self.random.between(900, 1_000)
        } else if self.random.one_in(10) {
            self.random.between(0, 1_000)
        } else {
            self.random.between(0, 320)
        };
        let (now, rules) = (self.now, self.rules);
        let Some(host) = self.hosts.get_mut(name) else { return false };
        let present = host.addresses.get(role).copied();
        let due = match lifetime {
            Lifetime::Forever => None,
            Lifetime::Until(until) => {
                let seconds = kernel_lifetime(until.since(host.clock.read(now))).as_secs();
                if seconds == 0 {
                    if present == Some(None) && rules.permanent_addresses_are_taken_off {
                        host.addresses.remove(role);
                        self.notice_addresses(name);
                    }
                    return false;
                }
                // A lifetime is never made shorter: what is left is counted in whole seconds, rounded up.
                let told = host.told.get(role).copied().filter(|_| matches!(present, Some(Some(_))));
                if told.is_some_and(|told| told.saturating_sub(now).div_ceil(1_000) > seconds) {
                    return true;
                }
                host.told.insert(role.clone(), now + seconds * 1_000);
                // The kernel counts by the host's clock as well.
                Some(now + seconds * 10_000_000 / host.clock.rate + late - 20)
            }
        };
        if !add && present.is_none() {
            return false;
        }
        host.addresses.insert(role.clone(), due);
        if let Some(due) = due {
            self.queue.put(due, Happening::KernelTimer { host: name.clone(), role: role.clone(), due });
        }
        self.notice_addresses(name);
        true
    }

    pub(crate) fn expire_address(&mut self, name: &HostName, role: &Role, due: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.addresses.get(role) == Some(&Some(due)) {
            host.addresses.remove(role);
            self.tell(|| format!("the kernel of {name} takes {role} off"));
            self.notice_addresses(name);
        }
    }

    fn act_on_server(&mut self, name: &HostName, step: &Step, tries: u64) -> Attempt {
        let failed = |why: &str| Attempt::Ended(StepOutcome::Failed(why.to_owned()));
        if let Step::Follow { source, start } = step {
            return self.act_on_replica(name, &source.host, *start, tries);
        }
        if let Step::FetchTail(order) = step {
            return match &order.lent {
                Some(lent) => self.fetch_lent(name, &order.from, lent, tries),
                None => self.fetch_tail(name, &order.from, tries),
            };
        }
        if tries == 0 && *step == Step::CatchUp(Takeover::AskSource) {
            self.ask_source(name);
        }
        let late = self.random.one_in(2);
        let behind = self.rows_behind(name);
        let forged = self.options.sabotage == Sabotage::ForgedCatchUp;
        let Some(host) = self.hosts.get_mut(name) else { return failed("no such host") };
        let chosen = host.chosen.as_ref().map(|(_, received)| received.clone()).unwrap_or_default();
        let now = self.now;
        let server = &mut host.server;
        if !server.running {
            return failed("connection refused");
        }
        if server.frozen {
            if tries == 0 && late {
                match step {
                    Step::OpenWrites => server.pending.push(Pending::Open),
                    Step::CloseWrites | Step::CloseReturned => server.pending.push(Pending::Close),
                    _ => {}
                }
            }
            return if tries < PATIENCE { Attempt::Later } else { failed("no answer") };
        }
        let done = Attempt::Ended(StepOutcome::Done);
        match step {
            Step::CloseWrites | Step::CloseReturned if server.keeps_open(step, now) => {
                server.seems_closed_until = self.now + LOCK_WAIT;
                return Attempt::Ended(StepOutcome::LockHeld);
            }
            Step::CloseWrites => server.writable = false,
            Step::CloseReturned | Step::LetGo => {
                invariants::let_go::happens(self, name, *step == Step::CloseReturned);
            }
            Step::OpenWrites => {
                server.open();
                let holds = host.addresses.keys().any(|role| role.name().as_str() == WRITER);
                self.openings += 1;
                self.last_opened = Some(name.clone());
                self.note_opened(name);
                self.tell(|| format!("{name} IS WRITABLE (address there: {holds})"));
                invariants::caught_up::check(self, name);
                invariants::kept::opened(self, name);
            }
            Step::ReadPosition => {
                let position = LogPosition { file: name.to_string(), position: server.own };
                return Attempt::Ended(StepOutcome::Position(position));
            }
            Step::EndWriters => server.lock_held = false,
            Step::CatchUp(takeover) => {
                if *takeover == Takeover::Lost {
                    server.receiving = false;
                }
                let reached = has_caught_up(server, takeover, &chosen);
                if !reached && !forged {
                    return if tries < PATIENCE { Attempt::Later } else { failed("it is still behind") };
                }
            }
            Step::ApplyTail(_) => return Attempt::Ended(apply_tail(server, name)),
            Step::StopReplication => (server.receiving, server.applying) = (false, false),
            Step::StartReplication => (server.receiving, server.applying) = (true, true),
            Step::StopReceiving => server.receiving = false,
            Step::ResumeReceiving => server.receiving = true,
            Step::StopApplying => server.applying = false,
            Step::StartThreads(threads) => {
                server.receiving |= threads.receives;
                server.applying |= threads.applies;
            }
            Step::Approach(_, reach) => {
                let wanted = reach.as_ref().and_then(|reach| reach.position.as_ref());
                let lacks = wanted.is_some_and(|end| {
                    let copied = server.copied.get(end.file.as_str());
                    copied.is_none_or(|copied| copied.received < end.position)
                });
                if behind > 50 || lacks {
                    return if tries < PATIENCE { Attempt::Later } else { failed("it is too far behind") };
                }
            }
            Step::EndClients
            | Step::Follow { .. }
            | Step::LeaveGtid { .. }
            | Step::GoPastTear { .. }
            | Step::SetSemiSync { .. }
            | Step::ReceiveAnew
            | Step::FetchTail(_)
            | Step::AddAddress(..)
            | Step::DropAddress(_)
            | Step::KeepAddresses(_)
            | Step::KillServer => {}
        }
        done
    }

    /// Where the log of the one it replicates from ends; a source that can't be asked is not waited for.
    fn ask_source(&mut self, name: &HostName) {
        let source = self.source_of(name);
        let reached = self.reaches(&Node::Host(name.clone()), &Node::Host(source.clone()));
        let end = self.hosts.get(&source).filter(|there| reached && there.server.answers());
        let end = end.map(|there| (source.clone(), there.server.own));
        if let Some(host) = self.hosts.get_mut(name) {
            host.server.asked = end;
        }
    }

    fn rows_behind(&self, name: &HostName) -> u64 {
        let copied = self.hosts.get(name).into_iter().flat_map(|host| &host.server.copied);
        let behind = copied.map(|(source, copied)| {
            let own = self.hosts.get(source).map_or(0, |source| source.server.own);
            own.saturating_sub(copied.applied)
        });
        behind.sum()
    }

    /// A replica is pointed elsewhere: at once, late, in vain, or half.
    fn act_on_replica(&mut self, name: &HostName, source: &HostName, start: Running, tries: u64) -> Attempt {
        let luck = self.random.between(0, 9);
        let Some(host) = self.hosts.get_mut(name) else {
            return Attempt::Ended(StepOutcome::Failed("no such host".to_owned()));
        };
        let server = &mut host.server;
        if server.writable && server.running {
            invariants::followers::broken(self, name, source);
            return Attempt::Ended(StepOutcome::Done);
        }
        if !server.running || (server.frozen && tries >= PATIENCE) {
            return Attempt::Ended(StepOutcome::Failed("no answer".to_owned()));
        }
        let hangs = server.frozen || (luck == 0 && tries < PATIENCE);
        if hangs {
            return Attempt::Later;
        }
        Attempt::Ended(match luck {
            1 => {
                (server.receiving, server.applying) = (false, false);
                StepOutcome::Failed("the connection was lost behind STOP SLAVE".to_owned())
            }
            luck => {
                (server.receiving, server.applying) = (start.receives, start.applies);
                match luck {
                    2 => StepOutcome::Refused("its place is not known".to_owned()),
                    3 => StepOutcome::NotYet("behind".to_owned()),
                    _ => {
                        server.follows = Some(source.clone());
                        StepOutcome::Followed { how: How::ByGtid, slave_pos: String::new() }
                    }
                }
            }
        })
    }

    pub(crate) fn end_step(&mut self, life: u64, name: &HostName, step: Step, outcome: StepOutcome) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.agent_life != life || host.agent.is_none() {
            return;
        }
        if host.frozen_until > now {
            let until = host.frozen_until;
            self.queue.put(until, Happening::StepEnds { life, host: name.clone(), step, outcome });
            return;
        }
        if let Some(agent) = &mut host.agent {
            agent.under_way.remove(&step.lane());
        }
        self.tell(|| format!("{name} ended: {}: {outcome:?}", step.describe()));
        self.count_step();
        if self.agent_lives(life, name) {
            self.tell_agent(name, AgentEvent::StepEnded { step, outcome });
        }
    }
}

fn has_caught_up(server: &Server, takeover: &Takeover, chosen: &BTreeMap<HostName, u64>) -> bool {
    match takeover {
        // A real server applies one log in its order: whatever came before the position is applied too.
        Takeover::After(position) => {
            let copied = server.copied.get(position.file.as_str());
            copied.is_some_and(|copied| copied.applied >= position.position) && server.has_applied(chosen)
        }
        Takeover::AskSource => {
            let asked = server.asked.iter().map(|(source, end)| (source.clone(), *end)).collect();
            server.has_applied(&server.received()) && server.has_applied(&asked)
        }
        Takeover::Keep | Takeover::Fresh | Takeover::Lost => server.has_applied(&server.received()),
    }
}
