//! A host, two disks and a monitor that answer at once, unless a test says otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::agent::*;
use crate::gtid::GtidView;
use crate::lease::{Durable, Epoch, Grant, LeaseLength, LeaseRules, Promise, Proof, Renewal};
use crate::message::{
    AgentStatus, LeaseTerms, LogPosition, Order, OrderId, PeerAnswer, PeerRequest, Promotion, ServerView,
    Takeover,
};
use crate::moment::Moment;
use crate::names::{HostName, Role, RoleName};
use crate::rebuild::RebuildOrder;
use crate::salvage::SalvageOrder;
use crate::state::HostState;

pub(super) const UP: ServerView = ServerView::Up { writable: false };
pub(super) const WRITABLE: ServerView = ServerView::Up { writable: true };
pub(super) const SILENT: ServerView = ServerView::Silent { writable_before: true };

/// Time goes on in pieces no longer than this, as it does for a program that wakes up often.
const PIECE: u64 = 100;

pub(super) fn writer() -> Role {
    Role::parse("writer(192.168.8.30)").unwrap()
}

pub(super) fn reader() -> Role {
    Role::parse("reader(192.168.8.34)").unwrap()
}

pub(super) fn epoch(number: u64) -> Epoch {
    Epoch { number, origin: 1 }
}

pub(super) fn position() -> LogPosition {
    LogPosition { file: "bin.000003".into(), position: 99 }
}

pub(super) fn promise_to(holder: &str, number: u64) -> PeerRequest {
    let promise = Promise { holder: holder.into(), epoch: epoch(number), length: LeaseLength::DEFAULT };
    PeerRequest::Promise { promise, asked: Moment::from_secs(7) }
}

fn settings() -> AgentSettings {
    let hosts = |names: &[&str]| names.iter().map(|name| HostName::from(*name)).collect::<BTreeSet<_>>();
    AgentSettings {
        host: HostName::from("db1"),
        active_master_role: RoleName::from("writer"),
        max_kill_retries: 2,
        role_hosts: BTreeMap::from([
            (RoleName::from("writer"), hosts(&["db1", "db2"])),
            (RoleName::from("reader"), hosts(&["db1", "db2", "db3"])),
        ]),
        rules: LeaseRules::ALL,
    }
}

/// A place to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Quick,
    /// Writes end when the test says so.
    Slow,
    Full,
}

pub(super) struct Fixture {
    pub(super) mind: AgentMind,
    pub(super) now: Moment,
    /// Steps asked for and not ended yet.
    pub(super) steps: Vec<Step>,
    pub(super) reports: Vec<AgentStatus>,
    pub(super) saved: Option<AgentMemory>,
    pub(super) announced: Vec<Role>,
    pub(super) looks: Vec<OrderId>,
    /// What the epoch file holds.
    pub(super) durable: Option<Durable>,
    pub(super) epoch_file: Disk,
    pub(super) state_file: Disk,
    /// Writes under way on a slow disk.
    writing: Vec<(u64, Durable)>,
    memories: Vec<u64>,
    /// The monitor is there and answers.
    pub(super) monitor: bool,
    /// Whom its grants name.
    pub(super) list: BTreeSet<HostName>,
    pub(super) terms: LeaseTerms,
    pub(super) proof: Proof,
    /// What comes with its promotions.
    pub(super) salvage: Option<Box<SalvageOrder>>,
    pub(super) renewals: Vec<Renewal>,
    pub(super) asked: Vec<(HostName, PeerRequest)>,
    pub(super) answers: Vec<(u64, PeerAnswer)>,
    /// How many lines were asked, and what was answered to each.
    pub(super) line_count: u64,
    pub(super) line_answers: Vec<(u64, LineAnswer)>,
    pub(super) log: Vec<String>,
    /// What the next orders ask for.
    pub(super) rebuild: Option<Box<RebuildOrder>>,
    pub(super) rebuilds: Vec<RebuildOrder>,
    number: u64,
    greatest: Epoch,
}

impl Fixture {
    /// The first agent of a new cluster's host, which a monitor has found.
    pub(super) fn new(memory: AgentMemory) -> Self {
        let known = memory != AgentMemory::default();
        let mut fixture = Self::unfound(known.then_some(memory), None, Moment::from_secs(100));
        fixture.found();
        fixture
    }

    /// An agent that no monitor has found yet.
    pub(super) fn unfound(memory: Option<AgentMemory>, durable: Option<Durable>, now: Moment) -> Self {
        let greatest = durable.as_ref().map(|durable| durable.accepted).unwrap_or_default();
        Self {
            mind: AgentMind::new(settings(), memory, durable.clone(), now),
            now,
            steps: Vec::new(),
            reports: Vec::new(),
            saved: None,
            announced: Vec::new(),
            looks: Vec::new(),
            durable,
            epoch_file: Disk::Quick,
            state_file: Disk::Quick,
            writing: Vec::new(),
            memories: Vec::new(),
            monitor: false,
            list: BTreeSet::new(),
            terms: LeaseTerms::default(),
            proof: Proof::Nobody,
            salvage: None,
            renewals: Vec::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            line_count: 0,
            line_answers: Vec::new(),
            log: Vec::new(),
            rebuild: None,
            rebuilds: Vec::new(),
            number: 0,
            greatest,
        }
    }

    pub(super) fn found(&mut self) {
        self.monitor = true;
        self.step(AgentEvent::SessionBegan { session: 1, lineage: 7 });
        let echo = self.now;
        self.step(AgentEvent::Heard { echo });
    }

    /// The monitor is gone, and its session with it.
    pub(super) fn lose_monitor(&mut self) {
        self.monitor = false;
        self.step(AgentEvent::SessionEnded { session: 1 });
    }

    /// An agent that knows its host: these addresses with our mark, this server.
    pub(super) fn on(held: &[Role], view: ServerView, memory: AgentMemory) -> Self {
        let mut fixture = Self::new(memory);
        fixture.addresses(held, true);
        fixture.sees(view);
        fixture
    }

    /// The writer in its everyday life; nobody could take over.
    pub(super) fn writing() -> Self {
        Self::writing_with(&[])
    }

    /// The same, with these hosts that could take over.
    pub(super) fn writing_with(list: &[&str]) -> Self {
        let mut fixture = Self::on(&[], UP, AgentMemory::default());
        fixture.list = list.iter().map(|host| HostName::from(*host)).collect();
        fixture.take_role();
        fixture
    }

    pub(super) fn take_role(&mut self) {
        self.order(HostState::Online, &[writer()], Some((1, Takeover::Fresh, false)));
        self.run();
        assert_eq!(self.status().server, WRITABLE);
        assert!(self.status().held.contains(&writer()));
    }

    /// The same program started again, so much later, with what it left behind.
    pub(super) fn restarted(&self, ms: u64) -> Self {
        let now = self.now + Duration::from_millis(ms);
        let mut fixture = Self::unfound(self.saved.clone(), self.durable.clone(), now);
        (fixture.list, fixture.terms) = (self.list.clone(), self.terms);
        (fixture.number, fixture.greatest) = (self.number, self.greatest);
        fixture
    }

    pub(super) fn step(&mut self, event: AgentEvent) {
        let mut events = VecDeque::from([event]);
        let mut count = 0;
        while let Some(event) = events.pop_front() {
            count += 1;
            assert!(count < 100, "it goes on for ever: {event:?}");
            for action in self.mind.step(self.now, event) {
                self.carry_out(action, &mut events);
            }
        }
    }

    fn carry_out(&mut self, action: AgentAction, events: &mut VecDeque<AgentEvent>) {
        match action {
            AgentAction::Do(step) => self.steps.push(step),
            AgentAction::Announce(role) => self.announced.push(role),
            AgentAction::Look { id } => self.looks.push(id),
            AgentAction::Report(status) => self.reports.push(*status),
            AgentAction::Save { number, memory } => match self.state_file {
                Disk::Quick => {
                    self.saved = Some(*memory);
                    events.push_back(AgentEvent::MemorySaved { number, outcome: Ok(()) });
                }
                Disk::Slow => self.memories.push(number),
                Disk::Full => {
                    let outcome = Err("no space left".to_owned());
                    events.push_back(AgentEvent::MemorySaved { number, outcome });
                }
            },
            AgentAction::SaveDurable { number, durable } => match self.epoch_file {
                Disk::Quick => {
                    self.durable = Some(durable);
                    events.push_back(AgentEvent::DurableSaved { number, outcome: Ok(()) });
                }
                Disk::Slow => self.writing.push((number, durable)),
                Disk::Full => {
                    let outcome = Err("no space left".to_owned());
                    events.push_back(AgentEvent::DurableSaved { number, outcome });
                }
            },
            AgentAction::Renew { session, renewal } => {
                assert_eq!(session, 1);
                self.renewals.push(renewal);
                if self.monitor {
                    events.push_back(AgentEvent::Granted(self.grant(renewal.epoch, renewal.reading)));
                }
            }
            AgentAction::AskPeer { host, request } => self.asked.push((host, request)),
            AgentAction::AnswerPeer { asker, answer } => self.answers.push((asker, answer)),
            AgentAction::AnswerLine { asker, answer } => self.line_answers.push((asker, answer)),
            AgentAction::Rebuild(order) => self.rebuilds.push(order),
            AgentAction::Log(level, text) => self.log.push(format!("{} {text}", level.as_str())),
        }
    }

    pub(super) fn grant(&self, epoch: Epoch, reading: Moment) -> Grant {
        Grant { epoch, reading, length: self.terms.length, list: self.list.clone() }
    }

    /// What the epoch file is waited for is written now.
    pub(super) fn write_epoch_file(&mut self) {
        for (number, durable) in std::mem::take(&mut self.writing) {
            self.durable = Some(durable);
            self.step(AgentEvent::DurableSaved { number, outcome: Ok(()) });
        }
    }

    pub(super) fn write_state_file(&mut self) {
        for number in std::mem::take(&mut self.memories) {
            self.step(AgentEvent::MemorySaved { number, outcome: Ok(()) });
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let mut rest = ms;
        while rest > 0 {
            let piece = rest.min(PIECE);
            rest -= piece;
            self.now = self.now + Duration::from_millis(piece);
            if self.monitor {
                let echo = self.now;
                self.step(AgentEvent::Heard { echo });
            }
            self.step(AgentEvent::Tick);
        }
    }

    /// The same with every step ended well as soon as it is asked for.
    pub(super) fn live(&mut self, ms: u64) -> Vec<Step> {
        let mut done = self.run();
        let mut rest = ms;
        while rest > 0 {
            let piece = rest.min(PIECE);
            rest -= piece;
            self.pass(piece);
            done.extend(self.run());
        }
        done
    }

    pub(super) fn sees(&mut self, view: ServerView) {
        self.sees_asked(view, self.now, None);
    }

    pub(super) fn sees_asked(&mut self, view: ServerView, asked: Moment, gtid: Option<GtidView>) {
        self.step(AgentEvent::ServerSeen { view, asked, source_ip: None, gtid, receiving: None });
    }

    /// The interface has these addresses, each as it would be kept there.
    pub(super) fn addresses(&mut self, held: &[Role], ours: bool) {
        let endless = self.list.is_empty();
        let permanent = |role: &Role| !ours || (*role == writer() && endless);
        let held = held
            .iter()
            .map(|role| HeldAddress { role: role.clone(), ours, permanent: permanent(role) })
            .collect();
        self.step(AgentEvent::AddressesSeen(held));
    }

    pub(super) fn order(
        &mut self,
        state: HostState,
        roles: &[Role],
        promotion: Option<(u64, Takeover, bool)>,
    ) {
        self.number += 1;
        let master = if promotion.is_some() { "db1" } else { "db2" };
        let (proof, salvage, rebuild) = (self.proof, self.salvage.clone(), self.rebuild.clone());
        let writer = promotion.map(|(number, takeover, hold)| Promotion {
            salvage,
            epoch: epoch(number),
            proof,
            takeover,
            hold,
        });
        let greatest = self.greatest.max(writer.as_ref().map(|writer| writer.epoch).unwrap_or_default());
        self.greatest = greatest;
        self.step(AgentEvent::Ordered(Order {
            id: OrderId { instance: 1, number: self.number },
            state,
            roles: roles.iter().cloned().collect(),
            active_master: Some(HostName::from(master)),
            source: None,
            release: Some(greatest).filter(|greatest| writer.is_none() && *greatest > Epoch::NONE),
            writer,
            terms: self.terms,
            absolved: false,
            stand_still: false,
            surplus: None,
            semi_sync: None,
            rebuild,
            generation: 1,
        }));
    }

    pub(super) fn end(&mut self, step: &Step, outcome: StepOutcome) {
        let index = self.steps.iter().position(|asked| asked == step).expect("the step was asked for");
        let step = self.steps.remove(index);
        self.step(AgentEvent::StepEnded { step, outcome });
    }

    /// Ends steps well, oldest first, until nothing is asked for; the order in which they were asked for.
    pub(super) fn run(&mut self) -> Vec<Step> {
        let mut done = Vec::new();
        while let Some(step) = self.steps.first().cloned() {
            let outcome = match step {
                Step::ReadPosition => StepOutcome::Position(position()),
                _ => StepOutcome::Done,
            };
            self.end(&step, outcome);
            done.push(step);
            assert!(done.len() < 50, "{done:?}");
        }
        done
    }

    pub(super) fn asks(&mut self, asker: u64, from: &str, request: PeerRequest) {
        self.step(AgentEvent::PeerAsked { asker, from: from.into(), request });
    }

    /// These hosts promise what they were asked for last.
    pub(super) fn promise_by(&mut self, hosts: &[&str]) {
        let asked = self.last_asked();
        for host in hosts {
            let answer = PeerAnswer::Promised { asked };
            self.step(AgentEvent::PeerAnswered { host: (*host).into(), answer });
        }
    }

    /// When the last round of promises was asked for.
    pub(super) fn last_asked(&self) -> Moment {
        let rounds = self.asked.iter().filter_map(|(_, request)| match request {
            PeerRequest::Promise { asked, .. } => Some(*asked),
            PeerRequest::Contact { .. } => None,
        });
        rounds.max().expect("promises were asked for")
    }

    pub(super) fn logged(&self, part: &str) -> bool {
        self.log.iter().any(|line| line.contains(part))
    }

    pub(super) fn status(&self) -> AgentStatus {
        self.mind.status()
    }

    pub(super) fn released(&self) -> Epoch {
        self.status().lease.released
    }

    pub(super) fn release(&mut self) {
        self.order(HostState::Online, &[], None);
    }
}
