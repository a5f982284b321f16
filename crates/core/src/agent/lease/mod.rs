//! The agent's side of the writer's lease: taking the role, renewing, asking for promises, fencing, giving back.

mod contact;
mod fencing;
mod keeping;
mod promises;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::AgentAction;
use super::mind::AgentMind;
use super::step::Lifetime;
use crate::cluster::LogLevel;
use crate::lease::{Durable, Duty, Epoch, HolderLease, Promiser, Refusal};
use crate::message::{Isolated, LeaseTerms, Promotion, ServerView};
use crate::moment::Moment;
use crate::names::HostName;

/// A promise that could not be written down in this time is not given: who asked counts from its own reading.
const PROMISE_LIMIT: Duration = Duration::from_secs(2);
/// A server that can't be closed has this long after the end of the lease before it is killed.
const KILL_AFTER: Duration = Duration::from_secs(2);

/// Why this host gives up the writer role although no order said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fencing {
    /// The lease ran out at this moment.
    LeaseOver(Moment),
    /// The host's clocks stood still for an unknown time.
    ClockJumped(Moment),
}

impl Fencing {
    fn since(self) -> Moment {
        match self {
            Self::LeaseOver(at) | Self::ClockJumped(at) => at,
        }
    }
}

/// What is on its way to the disk.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Saving {
    number: u64,
    durable: Durable,
}

/// Somebody waits for a promise that has to be on disk first.
#[derive(Clone, Debug)]
struct Asked {
    asker: u64,
    /// The asker's own reading, which the answer echoes.
    reading: Moment,
    epoch: Epoch,
    since: Moment,
    /// The file in the run directory that has to be there as well.
    memory: u64,
}

/// A grant that was let in and is not kept yet: the memory file with this number has to be written.
#[derive(Clone, Copy, Debug)]
struct Unkept {
    /// It names other hosts than the one before: the monitor waits to hear that they are known.
    news: bool,
    reading: Moment,
    memory: u64,
}

/// A round of asking the other hosts whether the monitor, or they themselves, are still there.
#[derive(Clone, Debug)]
struct ContactRound {
    asked: Moment,
    answered: BTreeSet<HostName>,
}

/// What the mind keeps of leases besides its memory.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is or is not known")]
pub(in crate::agent) struct LeaseDesk {
    pub(in crate::agent) promiser: Promiser,
    /// What is surely on disk.
    pub(in crate::agent) durable: Durable,
    /// No epoch file has ever been written on this host.
    pub(in crate::agent) never_written: bool,
    /// This program is the first of 3.x on this host.
    first_contact: bool,
    saving: Option<Saving>,
    save_again_at: Option<Moment>,
    next_number: u64,
    asked: Vec<Asked>,
    pub(in crate::agent) session: Option<u64>,
    renewed: Option<Moment>,
    round: Option<Moment>,
    unkept: Option<Unkept>,
    /// When the monitor, or who stands in for it, surely heard from this host last; unknown in a fresh program.
    pub(in crate::agent) contact: Option<Moment>,
    /// The monitor has ordered what this host carries, and contact has not been lost since: nobody else carries it.
    pub(in crate::agent) confirmed: bool,
    contact_round: Option<ContactRound>,
    /// Hosts that asked here, and when.
    pub(in crate::agent) contacts: BTreeMap<HostName, Moment>,
    pub(in crate::agent) refusal: Option<(Epoch, Refusal)>,
    kept_until: BTreeMap<crate::names::Role, Lifetime>,
    told: Option<(Epoch, Duty)>,
    pub(in crate::agent) killed: bool,
}

impl LeaseDesk {
    pub(in crate::agent) fn new(
        promiser: Promiser,
        durable: Durable,
        never_written: bool,
        first_contact: bool,
    ) -> Self {
        Self {
            promiser,
            durable,
            never_written,
            first_contact,
            saving: None,
            save_again_at: None,
            next_number: 0,
            asked: Vec::new(),
            session: None,
            renewed: None,
            round: None,
            unkept: None,
            contact: None,
            confirmed: false,
            contact_round: None,
            contacts: BTreeMap::new(),
            refusal: None,
            kept_until: BTreeMap::new(),
            told: None,
            killed: false,
        }
    }
}

impl LeaseDesk {
    /// How far the lease has run down, as it was last noticed.
    pub(in crate::agent) fn told_duty(&self) -> Option<Duty> {
        self.told.map(|(_, duty)| duty)
    }

    pub(in crate::agent) fn begin_session(&mut self, session: u64) {
        self.session = Some(session);
        self.renewed = None;
    }
}

fn log(level: LogLevel, text: String) -> AgentAction {
    AgentAction::Log(level, text)
}

impl AgentMind {
    pub(in crate::agent) fn terms(&self) -> LeaseTerms {
        self.memory.order.as_ref().map(|order| order.terms).unwrap_or_default()
    }

    /// What the lease obliges to now. Who accepts two writers never gets beyond asking.
    pub(in crate::agent) fn duty(&self, now: Moment) -> Option<Duty> {
        let duty = self.memory.lease.as_ref()?.duty(now);
        let keeps = self.terms().isolated == Isolated::Keep;
        Some(if keeps { duty.min(Duty::AskPromises) } else { duty })
    }

    pub(in crate::agent) fn promotion(&self) -> Option<&Promotion> {
        self.memory.order.as_ref()?.writer.as_ref()
    }

    /// The promotion whose lease this host has.
    pub(in crate::agent) fn leased_promotion(&self) -> Option<&Promotion> {
        let lease = self.memory.lease.as_ref()?;
        self.promotion().filter(|promotion| promotion.epoch == lease.epoch())
    }

    /// Whether a server that takes writes may go on doing so.
    pub(in crate::agent) fn may_write(&self, now: Moment) -> bool {
        let wanted = self.promotion().is_some() || self.memory.order.is_none();
        let leased = matches!(self.duty(now), Some(Duty::Write | Duty::AskPromises));
        wanted && leased && self.memory.fencing.is_none()
    }

    /// Whether a server that is closed may be opened.
    pub(in crate::agent) fn may_open(&self, now: Moment) -> bool {
        self.leased_promotion().is_some() && self.may_write(now)
    }

    /// Until when the kernel may keep the writer's address.
    pub(in crate::agent) fn writer_lifetime(&self) -> Option<Lifetime> {
        let lease = self.memory.lease.as_ref()?;
        if lease.is_endless() || self.terms().isolated == Isolated::Keep {
            return Some(Lifetime::Forever);
        }
        lease.ends().map(Lifetime::Until)
    }

    pub(in crate::agent) fn lifetime_of(&self, role: &crate::names::Role) -> Option<Lifetime> {
        if *role.name() == self.settings.active_master_role {
            self.writer_lifetime()
        } else {
            self.reader_lifetime()
        }
    }

    /// Goes through everything that time and events have made due.
    pub(in crate::agent) fn tend_lease(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        self.lease.promiser.settle(now);
        if self.has_lost_contact(now) {
            self.lease.confirmed = false;
        }
        self.adopt_running_writer(now, actions);
        self.tend_lines(now, actions);
        self.consider_promotion(now, actions);
        self.watch_duty(now, actions);
        self.give_back(now, actions);
        self.confirm_kept();
        self.renew(now, actions);
        self.ask_promises(now, actions);
        self.ask_contact(now, actions);
        let length = self.terms().length.duration();
        self.lease.contacts.retain(|_, at| now.since(*at) < length);
        self.save_durable(now, actions);
        // From here on clients of the writer may be waiting for what this server commits.
        self.memory.semi_sync.came_back &= self.memory.lease.is_none() || self.server == ServerView::Gone;
        self.memory.waits = self.lease.promiser.waits();
        self.memory.durable.clone_from(&self.lease.durable);
        self.answer_promises(now, actions);
    }

    /// A running 2.2.1 writer that this agent was started into goes on: it holds epoch 0, and nobody could take over.
    pub(in crate::agent) fn adopt_running_writer(&mut self, _now: Moment, actions: &mut Vec<AgentAction>) {
        if self.memory.lease.is_some() || !self.lease.first_contact || !self.adopts_running_writer() {
            return;
        }
        let rules = self.settings.rules;
        let known = Durable { lost: false, ..self.lease.promiser.durable().clone() };
        self.lease.promiser = Promiser::after_restart(known, crate::lease::Waits::default(), rules);
        self.memory.lease = Some(HolderLease::adopted(rules));
        let text = "This server takes writes and has the writer address of an earlier version: both stay until the monitor has spoken";
        actions.push(log(LogLevel::Warn, text.to_owned()));
    }

    pub(in crate::agent) fn consider_promotion(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        let Some(promotion) = self.promotion().cloned() else {
            self.lease.refusal = None;
            return;
        };
        let epoch = promotion.epoch;
        if self.memory.lease.as_ref().is_some_and(|lease| lease.epoch() == epoch) {
            return;
        }
        let released = self.lease.promiser.durable().released;
        if self.memory.fencing.is_some() {
            return;
        }
        if epoch <= released && self.settings.rules.release_covers_promotions_on_their_way {
            // The monitor hears of what was given back and makes a new choice.
            self.lease.refusal = None;
            return;
        }
        match self.lease.promiser.accept(now, epoch, promotion.proof, self.terms().length) {
            Ok(()) => self.lease.refusal = None,
            Err(refusal) => {
                let known = self.lease.refusal.as_ref().is_some_and(|(refused, why)| {
                    *refused == epoch && std::mem::discriminant(why) == std::mem::discriminant(&refusal)
                });
                if !known {
                    let text = format!("Refused the writer role with epoch {epoch}: {refusal}");
                    actions.push(log(LogLevel::Fatal, text));
                    self.lease.refusal = Some((epoch, refusal));
                }
                return;
            }
        }
        let durable = &self.lease.durable;
        let covered = self.settings.rules.release_covers_promotions_on_their_way && durable.released >= epoch;
        if durable.accepted == epoch && !covered {
            let rules = self.settings.rules;
            self.memory.lease = Some(match &self.memory.lease {
                Some(before) => HolderLease::following(before, epoch),
                None => HolderLease::new(epoch, rules),
            });
            self.lease.renewed = None;
            self.lease.unkept = None;
            let text = format!("Accepted the writer role with epoch {epoch} ({})", describe(promotion.proof));
            actions.push(log(LogLevel::Info, text));
        }
    }

    pub(in crate::agent) fn renew(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        let every = self.terms().length.renew_every();
        let (Some(session), Some(lease)) = (self.lease.session, &self.memory.lease) else { return };
        // Nobody has granted epoch 0 to a host that has the role by lines.
        let granted = self.leased_promotion().is_some_and(|promotion| promotion.epoch > Epoch::NONE);
        if self.memory.fencing.is_some() || !granted {
            return;
        }
        // Readings only go forward, also over a restart of this program, since the clock does.
        if self.lease.renewed.is_none_or(|at| now.since(at) >= every) && self.memory.last_reading < Some(now)
        {
            self.lease.renewed = Some(now);
            self.memory.last_reading = Some(now);
            actions.push(AgentAction::Renew { session, renewal: lease.renewal(now) });
        }
    }
}

fn names(hosts: &BTreeSet<HostName>) -> String {
    if hosts.is_empty() {
        return "nobody".to_owned();
    }
    hosts.iter().map(|host| format!("'{host}'")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn describe(proof: crate::lease::Proof) -> String {
    use crate::lease::{Ended, Proof};
    match proof {
        Proof::Nobody => "nobody has ever had a lease".to_owned(),
        Proof::Own => "the last lease was its own".to_owned(),
        Proof::Ended(epoch, Ended::Released) => format!("epoch {epoch} was given back"),
        Proof::Ended(epoch, Ended::Dead) => format!("the holder of epoch {epoch} is dead"),
        Proof::RanOut(epoch) => format!("the lease of epoch {epoch} has run out"),
    }
}
