//! What the monitor keeps of the writer's lease: the book, the numbers it gives out, and what of both is on disk.
//!
//! Nothing leaves that rests on something which is not written down. While a change is being written, the renewal that
//! brought it about waits; a disk that refuses, or takes too long, has the change undone and the answer given as before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{FoundState, MonitorState};
use super::lease::Evidence;
use super::{Action, LogLevel};
use crate::lease::{Epoch, Grant, GrantBook, GrantRecord, LeaseLength, LeaseRules, Obstacle, Proof, Renewal};
use crate::message::ToAgent;
use crate::moment::Moment;
use crate::names::HostName;

/// A renewal waits so long for the disk before it is answered without the change.
const DISK_PATIENCE: Duration = Duration::from_millis(500);
/// Between two attempts at a disk that refused.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// Whether the state that was found can be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Known,
    /// Every candidate has to be heard first. With the reason, for people.
    Lost(String),
}

/// A renewal whose answer changes the record.
#[derive(Clone, Debug)]
struct Pending {
    host: HostName,
    /// None for a host that speaks protocol 1, which asks for nothing and is told by its next order.
    answer: Option<(Renewal, Grant)>,
    /// The book as it is when this does not become durable.
    before: GrantBook,
    since: Moment,
}

#[derive(Clone, Debug)]
struct Saving {
    number: u64,
    state: MonitorState,
}

#[derive(Clone, Debug)]
pub(super) struct Keeper {
    rules: LeaseRules,
    instance: u64,
    pub(super) book: GrantBook,
    pub(super) trust: Trust,
    issued: Epoch,
    lineage: u64,
    /// What is surely on disk.
    durable: MonitorState,
    saving: Option<Saving>,
    save_again_at: Option<Moment>,
    next_number: u64,
    pending: Option<Pending>,
    /// Why the disk takes nothing, while it does not.
    pub(super) trouble: Option<String>,
    /// What is known of the acknowledgements of the last lease's holder.
    pub(super) evidence: Option<Evidence>,
    /// Up to which epoch the operator takes it that transactions are lost.
    pub(super) loss_confirmed: Epoch,
    /// Writers that were lost and have not been compared since.
    pub(super) lost: Vec<HostName>,
    /// Boots of hosts which said, when nobody knew of any lease, that they don't either.
    pub(super) absolved: BTreeMap<HostName, String>,
}

impl Keeper {
    pub(super) fn new(found: FoundState, instance: u64, rules: LeaseRules, now: Moment) -> Self {
        let (state, trust) = match found {
            FoundState::Good(state) if state.record.is_some() => (state, Trust::Known),
            FoundState::Good(state) => (state, Trust::Lost("no lease has been granted yet".to_owned())),
            FoundState::Lost(state, why) => {
                // What is made anew must be told apart from what others may still have.
                (MonitorState { lineage: 0, ..state.unwrap_or_default() }, Trust::Lost(why))
            }
        };
        let lineage = if state.lineage == 0 { instance } else { state.lineage };
        let trust_known = trust == Trust::Known;
        let record = state.record.clone().filter(|_| trust_known);
        Self {
            rules,
            instance,
            book: GrantBook::restart(record, now, rules),
            trust,
            issued: state.issued,
            evidence: state.evidence.clone().filter(|_| trust_known),
            loss_confirmed: state.loss_confirmed,
            lost: state.lost.clone(),
            lineage,
            durable: state,
            saving: None,
            save_again_at: None,
            next_number: 0,
            pending: None,
            trouble: None,
            absolved: BTreeMap::new(),
        }
    }

    pub(super) fn rules(&self) -> LeaseRules {
        self.rules
    }

    /// How often the state on disk has been written.
    pub(super) fn generation(&self) -> u64 {
        self.durable.generation
    }

    pub(super) fn lineage(&self) -> u64 {
        self.lineage
    }

    /// The greatest epoch given out, be it on disk yet or not.
    pub(super) fn issued(&self) -> Epoch {
        self.issued
    }

    pub(super) fn is_durable(&self, epoch: Epoch) -> bool {
        self.durable.issued >= epoch
    }

    /// A new epoch, greater than any that was heard of. It may be told only once it is durable.
    pub(super) fn issue(&mut self) -> Epoch {
        self.issued = self.issued.next(self.instance);
        self.issued
    }

    /// Agents have shown that more was known once than is known now.
    pub(super) fn distrust(&mut self, now: Moment, why: String) {
        self.pending = None;
        self.trust = Trust::Lost(why);
        self.book.adopt(now, None);
        self.evidence = None;
    }

    /// Every candidate has been heard: this is what they know together.
    pub(super) fn restore(
        &mut self,
        now: Moment,
        record: Option<GrantRecord>,
        issued: Epoch,
        generation: u64,
    ) {
        self.issued = self.issued.max(issued);
        self.durable.generation = self.durable.generation.max(generation);
        self.book.adopt(now, record);
        self.trust = Trust::Known;
    }

    pub(super) fn proof_for(&self, now: Moment, host: &HostName) -> Result<Proof, Obstacle> {
        self.book.proof_for(now, host)
    }

    /// Takes in that a host gave back this epoch and every smaller one.
    pub(super) fn take_in_release(&mut self, host: &HostName, epoch: Epoch) -> bool {
        self.change(|book| book.take_in_release(host, epoch))
    }

    /// Takes in that the holder of this epoch is off.
    pub(super) fn take_in_death(&mut self, host: &HostName, epoch: Epoch) -> bool {
        self.change(|book| book.take_in_death(host, epoch))
    }

    pub(super) fn take_in_promise(&mut self, now: Moment, epoch: Epoch, rest: Duration) {
        self.change(|book| {
            book.take_in_promise(now, epoch, rest);
            false
        });
    }

    pub(super) fn wait_anew(&mut self, now: Moment) {
        self.change(|book| {
            book.wait_anew(now);
            false
        });
    }

    /// Changes the book in force and the one that an undone change would bring back. The end of a lease takes the
    /// answer that is on its way to the disk with it.
    fn change(&mut self, change: impl Fn(&mut GrantBook) -> bool) -> bool {
        let ended = change(&mut self.book);
        if let Some(pending) = &mut self.pending {
            let before = change(&mut pending.before);
            if ended || before {
                self.pending = None;
            }
        }
        ended
    }

    /// Answers a renewal, at once or when the change it brings about is on disk.
    pub(super) fn renew(
        &mut self,
        now: Moment,
        host: &HostName,
        renewal: &Renewal,
        promotable: Option<&std::collections::BTreeSet<HostName>>,
        length: LeaseLength,
        actions: &mut Vec<Action>,
    ) {
        if self.pending.is_some() {
            // It would be answered with a list that is about to change. The holder asks again soon.
            return;
        }
        let Some(promotable) = promotable else {
            let grant = self.book.renew_as_recorded(now, host, renewal, length);
            actions.extend(grant.map(|grant| tell(host, grant)));
            return;
        };
        let before = self.book.clone();
        let Some(grant) = self.book.renew(now, host, renewal, promotable, length) else { return };
        if self.book.record() == self.durable.record.as_ref() && self.evidence_is_safe() {
            actions.push(tell(host, grant));
            return;
        }
        let answer = Some((*renewal, grant));
        self.pending = Some(Pending { host: host.clone(), answer, before, since: now });
        self.save(now, actions);
    }

    /// Records that the role is about to be given to a host that speaks protocol 1.
    pub(super) fn begin_unfenced(
        &mut self,
        now: Moment,
        host: &HostName,
        epoch: Epoch,
        actions: &mut Vec<Action>,
    ) {
        if self.pending.is_some() {
            return;
        }
        let before = self.book.clone();
        if self.book.begin_unfenced(now, host, epoch) {
            self.pending = Some(Pending { host: host.clone(), answer: None, before, since: now });
            self.save(now, actions);
        }
    }

    /// Whether the disk has it that this host, which speaks protocol 1, was given the role with this epoch.
    pub(super) fn is_durably_unfenced(&self, host: &HostName, epoch: Epoch) -> bool {
        let fits = |record: &GrantRecord| {
            record.host == *host
                && record.epoch == epoch
                && record.unfenced
                && record.list.is_empty()
                && record.ended.is_none()
        };
        self.book.record().is_some_and(fits) && self.durable.record.as_ref().is_some_and(fits)
    }

    /// Writes down what has changed, one state at a time.
    pub(super) fn save(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if let Some(pending) = &self.pending
            && now.since(pending.since) >= DISK_PATIENCE
        {
            self.undo(now, actions);
        }
        if self.trust != Trust::Known
            || self.saving.is_some()
            || self.save_again_at.is_some_and(|at| now < at)
        {
            return;
        }
        let record = self.book.record().cloned();
        let same = record == self.durable.record
            && self.issued == self.durable.issued
            && self.evidence == self.durable.evidence
            && self.loss_confirmed == self.durable.loss_confirmed
            && self.lost == self.durable.lost;
        // A disk that has refused is tried again until it takes something: nobody is promoted before.
        if same && self.durable.generation > 0 && self.trouble.is_none() {
            return;
        }
        // What an agent said of it may be anything.
        let generation = self.durable.generation.saturating_add(1);
        let state = MonitorState {
            lineage: self.lineage,
            generation,
            issued: self.issued,
            record,
            evidence: self.evidence.clone(),
            loss_confirmed: self.loss_confirmed,
            lost: self.lost.clone(),
        };
        self.next_number += 1;
        let number = self.next_number;
        self.saving = Some(Saving { number, state: state.clone() });
        actions.push(Action::SaveState { number, state });
    }

    /// Whether what the disk says of acknowledgements promises no more than what is known: a lease does not go on by a promise that
    /// has become untrue.
    fn evidence_is_safe(&self) -> bool {
        let epoch = self.book.record().map(|record| record.epoch);
        self.evidence == self.durable.evidence
            || self
                .durable
                .evidence
                .as_ref()
                .is_none_or(|known| known.doubt.is_some() || Some(known.epoch) != epoch)
    }

    /// The change that a renewal brought about is not made after all; the renewal is answered as if there were none.
    fn undo(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(Pending { host, answer, before, .. }) = self.pending.take() else { return };
        self.book = before;
        let Some((renewal, grant)) = answer else { return };
        let grant = self.book.renew_as_recorded(now, &host, &renewal, grant.length);
        actions.extend(grant.map(|grant| tell(&host, grant)));
    }

    pub(super) fn take_in_saved(
        &mut self,
        now: Moment,
        number: u64,
        outcome: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        let Some(saving) = self.saving.take_if(|saving| saving.number == number) else { return };
        match outcome {
            Ok(()) => {
                self.durable = saving.state;
                self.save_again_at = None;
                if self.trouble.take().is_some() {
                    let text = "The monitor's epoch file can be written again";
                    actions.push(Action::log(LogLevel::Info, text));
                }
                // The grant leaves only when its own record is the one on disk.
                if self.book.record() == self.durable.record.as_ref()
                    && self.evidence_is_safe()
                    && let Some(Pending { host, answer: Some((_, grant)), .. }) = self.pending.take()
                {
                    actions.push(tell(&host, grant));
                }
            }
            Err(why) => {
                self.save_again_at = Some(now + SAVE_AGAIN);
                if self.trouble.replace(why.clone()).is_none() {
                    let text = format!(
                        "Can't write the monitor's epoch file: {why}. The present writer's lease goes on being renewed, but nobody is promoted until it can be written"
                    );
                    actions.push(Action::log(LogLevel::Fatal, text));
                }
                self.undo(now, actions);
            }
        }
        self.save(now, actions);
    }
}

fn tell(host: &HostName, grant: Grant) -> Action {
    Action::Tell { host: host.clone(), message: ToAgent::Grant(grant) }
}
