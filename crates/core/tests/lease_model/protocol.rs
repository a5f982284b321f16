//! The steps of the model and the bounds that keep it finite.

use std::collections::BTreeSet;
use std::time::Duration;

use mmm_core::lease::{
    Duty, Ended, Epoch, Grant, GrantBook, HolderLease, LeaseLength, LeaseRules, Promise, Promiser, Proof,
    Renewal,
};
use mmm_core::{HostName, Moment};
use stateright::{Model, Property};

use super::action::Action;
use super::state::{MONITOR, NAMES, State};

/// By how many percent a clock goes wrong: the first host's is slow, the others are fast.
const PERCENT: [u64; 3] = [99, 101, 101];

/// How much may happen in one exploration.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each switches one kind of behaviour on")]
pub(crate) struct Bounds {
    pub(crate) tick_ms: u64,
    /// How often the monitor chooses.
    pub(crate) choices: u64,
    pub(crate) lengths: Vec<LeaseLength>,
    /// How many renewals, and how many grants, of one host may be on their way; a further one takes the oldest's place.
    pub(crate) on_their_way: usize,
    /// What names a reading is lost when it is older.
    pub(crate) oldest: Duration,
    /// An agent may be frozen when its lease ends, and find so at any later time.
    pub(crate) frozen: bool,
    pub(crate) promises: bool,
    pub(crate) vouching: bool,
    pub(crate) releases: bool,
    pub(crate) reboots: u8,
    pub(crate) agent_restarts: u8,
    pub(crate) monitor_restarts: u8,
    pub(crate) kills: u8,
}

/// What an exploration looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Everything,
    /// Ends as soon as there are two writers.
    TwoWriters,
    ReleasedEpochWrites,
}

#[derive(Clone, Debug)]
pub(crate) struct LeaseModel {
    /// What has happened before the exploration begins.
    pub(crate) scene: Vec<Action>,
    pub(crate) rules: LeaseRules,
    pub(crate) bounds: Bounds,
    pub(crate) check: Check,
}

impl LeaseModel {
    fn name(host: usize) -> HostName {
        NAMES[host].into()
    }

    fn length(&self) -> LeaseLength {
        self.bounds.lengths[0]
    }

    fn actions_of_host(&self, state: &State, host: usize, actions: &mut Vec<Action>) {
        let Bounds { choices, promises, .. } = self.bounds;
        let candidate = &state.hosts[host];
        if state.monitor.issued.number < choices {
            actions.push(Action::Choose(host));
        }
        actions.extend((0..candidate.promotions.len()).map(|place| Action::Accept(host, place)));
        for place in 0..candidate.renewals.len() {
            for other_is_promotable in [true, false] {
                actions.extend((0..self.bounds.lengths.len()).map(|length| Action::Answer {
                    host,
                    place,
                    other_is_promotable,
                    length,
                }));
            }
        }
        actions.extend((0..candidate.grants.len()).map(|place| Action::TakeGrant(host, place)));
        match state.duty(host) {
            Some(Duty::Over) if self.bounds.frozen => actions.push(Action::Fence(host)),
            Some(duty) => {
                actions.push(Action::SendRenewal(host));
                if promises && duty >= Duty::AskPromises {
                    actions.push(Action::AskPromise(host));
                }
            }
            None => {}
        }
        if promises {
            actions.extend([Action::GivePromise(host), Action::TakePromise(host)]);
        }
        if self.bounds.vouching {
            actions.push(Action::Vouch(host));
        }
    }

    fn faults_of_host(&self, state: &State, host: usize, actions: &mut Vec<Action>) {
        if self.bounds.releases {
            let planned = state.monitor.plan.filter(|(planned, _)| *planned == host).map(|(_, epoch)| epoch);
            let accepted = state.hosts[host].promiser.durable().accepted;
            let epochs = BTreeSet::from([accepted, planned.unwrap_or(accepted)]);
            actions.extend(epochs.into_iter().map(|epoch| Action::Release(host, epoch)));
        }
        actions.push(Action::HearRelease(host));
        if state.faults.reboots < self.bounds.reboots {
            actions.push(Action::Reboot(host));
        }
        // Where nothing is waited for since a reboot, it is no more than a release.
        let waits = state.hosts[host].promiser.waits().booted_until;
        if waits.is_some_and(|until| state.clocks[host] < until)
            && state.faults.agent_restarts < self.bounds.agent_restarts
        {
            actions.push(Action::RestartAgent(host));
        }
        if state.faults.kills < self.bounds.kills {
            actions.push(Action::Kill(host));
        }
        actions.push(Action::HearDeath(host));
    }

    /// The step; `None` where nothing would change.
    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Tick => self.tick(state),
            Action::Choose(host) => Self::choose(state, host),
            Action::Promote => Self::promote(state)?,
            Action::Accept(host, place) => self.accept(state, host, place)?,
            Action::SendRenewal(host) => self.send_renewal(state, host)?,
            Action::Answer { host, place, other_is_promotable, length } => {
                let renewal = state.hosts[host].renewals.remove(place);
                let length = self.bounds.lengths[length];
                self.answer(state, host, &renewal, other_is_promotable, length);
            }
            Action::TakeGrant(host, place) => {
                let grant = state.hosts[host].grants.remove(place);
                if let Some(lease) = &mut state.hosts[host].lease
                    && lease.take_in(&grant)
                {
                    // Keeping it is one step with taking it in; the simulator takes them apart.
                    lease.note_kept(grant.reading);
                }
            }
            Action::AskPromise(host) => Self::ask_promise(state, host)?,
            Action::GivePromise(host) => {
                let (promise, asked) = state.hosts[host].request.take()?;
                let other = 1 - host;
                let now = state.clocks[other];
                if state.hosts[other].promiser.promise(now, promise).is_ok() {
                    state.hosts[host].answer = Some(asked);
                }
            }
            Action::TakePromise(host) => {
                let asked = state.hosts[host].answer.take()?;
                if let Some(lease) = &mut state.hosts[host].lease {
                    lease.take_in_promise(&Self::name(1 - host), asked);
                }
            }
            Action::Vouch(host) => {
                let (promise, rest) = state.hosts[host].promiser.running_promise(state.clocks[host])?;
                let epoch = promise.epoch;
                let now = state.clocks[MONITOR];
                state.monitor.book.take_in_promise(now, epoch, rest);
            }
            Action::Release(host, epoch) => {
                let released = state.hosts[host].promiser.durable().released;
                if epoch <= released {
                    return None;
                }
                Self::release(state, host, epoch);
            }
            Action::Fence(host) => Self::fence(state, host),
            Action::HearRelease(host) => {
                let released = state.hosts[host].promiser.durable().released;
                if !state.monitor.book.take_in_release(&Self::name(host), released) {
                    return None;
                }
            }
            Action::Reboot(host) => {
                state.faults.reboots += 1;
                self.reboot(state, host);
            }
            Action::RestartAgent(host) => {
                state.faults.agent_restarts += 1;
                let before = &state.hosts[host].promiser;
                let again = Promiser::after_restart(before.durable().clone(), before.waits(), self.rules);
                state.hosts[host].promiser = again;
                Self::begin_without_lease(state, host);
            }
            Action::RestartMonitor => self.restart_monitor(state),
            Action::Kill(host) => {
                let record = state.monitor.book.record()?;
                if record.host != Self::name(host) || record.ended.is_some() {
                    return None;
                }
                state.hosts[host].dying = Some(record.epoch);
                state.faults.kills += 1;
                self.reboot(state, host);
            }
            Action::HearDeath(host) => {
                let epoch = state.hosts[host].dying.take()?;
                state.monitor.book.take_in_death(&Self::name(host), epoch);
            }
        }
        Some(())
    }

    fn tick(&self, state: &mut State) {
        for (clock, percent) in state.clocks.iter_mut().zip(PERCENT) {
            *clock = *clock + Duration::from_millis(self.bounds.tick_ms * percent / 100);
        }
        for (host, now) in state.hosts.iter_mut().zip(state.clocks) {
            host.asked_now = false;
            let fresh = |reading: Moment| now.since(reading) <= self.bounds.oldest;
            host.renewals.retain(|renewal| fresh(renewal.reading));
            host.grants.retain(|grant| fresh(grant.reading));
            host.request.take_if(|(_, asked)| !fresh(*asked));
            host.answer.take_if(|asked| !fresh(*asked));
        }
        for host in 0..2 {
            if !self.bounds.frozen && state.duty(host) == Some(Duty::Over) {
                Self::fence(state, host);
            }
        }
    }

    fn fence(state: &mut State, host: usize) {
        if let Some(lease) = &state.hosts[host].lease {
            let epoch = lease.epoch();
            Self::release(state, host, epoch);
        }
    }

    fn choose(state: &mut State, host: usize) {
        let monitor = &mut state.monitor;
        monitor.issued = monitor.issued.next(1);
        monitor.plan = Some((host, monitor.issued));
        monitor.book.note_plan(&Self::name(host), monitor.issued);
    }

    fn promote(state: &mut State) -> Option<()> {
        let (host, epoch) = state.monitor.plan?;
        let proof = state.monitor.book.proof_for(state.clocks[MONITOR], &Self::name(host)).ok()?;
        let promotions = &mut state.hosts[host].promotions;
        if promotions.contains(&(epoch, proof)) {
            return None;
        }
        promotions.push((epoch, proof));
        promotions.sort_by_key(|(epoch, proof)| (*epoch, proof_order(*proof)));
        Some(())
    }

    fn accept(&self, state: &mut State, host: usize, place: usize) -> Option<()> {
        let now = state.clocks[host];
        let candidate = &mut state.hosts[host];
        let (epoch, proof) = candidate.promotions[place];
        if candidate.lease.as_ref().is_some_and(|lease| lease.epoch() == epoch) {
            return None;
        }
        candidate.promiser.accept(now, epoch, proof, self.length()).ok()?;
        candidate.lease = Some(HolderLease::new(epoch, self.rules));
        // How this one came about is kept; earlier ones and its repetitions say nothing new.
        candidate.promotions.retain(|kept| kept.0 > epoch || *kept == (epoch, proof));
        Some(())
    }

    fn send_renewal(&self, state: &mut State, host: usize) -> Option<()> {
        let now = state.clocks[host];
        let candidate = &mut state.hosts[host];
        // No two renewals carry the same reading: the clock that is read moves on between them.
        if std::mem::replace(&mut candidate.asked_now, true) {
            return None;
        }
        let renewal = candidate.lease.as_ref()?.renewal(now);
        push_bounded(&mut candidate.renewals, renewal, self.bounds.on_their_way, |renewal: &Renewal| {
            renewal.reading
        })
    }

    fn answer(
        &self,
        state: &mut State,
        host: usize,
        renewal: &Renewal,
        other_is_promotable: bool,
        length: LeaseLength,
    ) {
        if state.hosts[host].dying.is_some() {
            return;
        }
        let mut promotable = BTreeSet::from([Self::name(host)]);
        if other_is_promotable {
            promotable.insert(Self::name(1 - host));
        }
        let now = state.clocks[MONITOR];
        let grant = state.monitor.book.renew(now, &Self::name(host), renewal, &promotable, length);
        if let Some(grant) = grant {
            let grants = &mut state.hosts[host].grants;
            push_bounded(grants, grant, self.bounds.on_their_way, |grant: &Grant| grant.reading);
        }
    }

    fn ask_promise(state: &mut State, host: usize) -> Option<()> {
        let now = state.clocks[host];
        let candidate = &mut state.hosts[host];
        let lease = candidate.lease.as_mut().filter(|lease| !lease.list().is_empty())?;
        let promise = Promise { holder: Self::name(host), epoch: lease.epoch(), length: lease.length() };
        let request = Some((promise, now));
        if candidate.request == request {
            return None;
        }
        lease.begin_round(now);
        candidate.request = request;
        candidate.answer = None;
        Some(())
    }

    /// The agent closes and writes down that it gave back the epoch; who holds a smaller or equal one holds nothing.
    fn release(state: &mut State, host: usize, epoch: Epoch) {
        let candidate = &mut state.hosts[host];
        candidate.promiser.release(epoch);
        candidate.lease.take_if(|lease| lease.epoch() <= epoch);
    }

    fn reboot(&self, state: &mut State, host: usize) {
        let durable = state.hosts[host].promiser.durable().clone();
        state.hosts[host].promiser = Promiser::after_boot(state.clocks[host], Some(durable), self.rules);
        Self::begin_without_lease(state, host);
    }

    fn begin_without_lease(state: &mut State, host: usize) {
        let candidate = &mut state.hosts[host];
        candidate.lease = None;
        candidate.promiser.release(candidate.promiser.durable().accepted);
    }

    /// Loses the messages that can have no effect any more, since numbers and readings only go forward, and a monitor
    /// that forgot the last reading gets none of the renewals of before. Any message may be lost at any time, so this
    /// adds no behaviour and leaves out none.
    fn lose_what_is_void(&self, state: &mut State) {
        let State { clocks, hosts, monitor, .. } = state;
        for (index, host) in hosts.iter_mut().enumerate() {
            let lease = host.lease.as_ref();
            host.grants.retain(|grant| lease.is_some_and(|lease| lease.clone().take_in(grant)));
            let record = monitor.book.record();
            host.renewals.retain(|renewal| {
                let unknown = record.is_none_or(|record| record.epoch < renewal.epoch);
                let answered = |mut book: GrantBook| {
                    let nobody = BTreeSet::new();
                    book.renew(clocks[MONITOR], &Self::name(index), renewal, &nobody, self.length())
                };
                unknown || answered(monitor.book.clone()).is_some()
            });
            let other = Self::name(1 - index);
            let counts =
                |asked: Moment| lease.is_some_and(|lease| lease.clone().take_in_promise(&other, asked));
            host.request.take_if(|(_, asked)| !counts(*asked));
            host.answer.take_if(|asked| !counts(*asked));
            if self.rules.release_covers_promotions_on_their_way {
                let durable = host.promiser.durable();
                let held = lease.map(HolderLease::epoch);
                host.promotions.retain(|(epoch, _)| {
                    held == Some(*epoch) || (*epoch > durable.released && *epoch > durable.accepted)
                });
            }
        }
    }

    /// The sessions end with the monitor: what was on its way from it may arrive, what was on its way to it is gone. It
    /// has to be: a renewal of before, answered by the one that starts now, joins a host the holder never heard of.
    fn restart_monitor(&self, state: &mut State) {
        state.faults.monitor_restarts += 1;
        let record = state.monitor.book.record().cloned();
        state.monitor.book = GrantBook::restart(record, state.clocks[MONITOR], self.rules);
        state.monitor.plan = None;
        for host in &mut state.hosts {
            host.renewals.clear();
            host.dying = None;
        }
    }
}

fn proof_order(proof: Proof) -> (u8, Epoch, u8) {
    match proof {
        Proof::Nobody | Proof::Own => (0, Epoch::NONE, 0),
        Proof::Ended(epoch, how) => (1, epoch, how as u8),
        Proof::RanOut(epoch) => (2, epoch, 0),
    }
}

/// Puts a message on its way; where too many are, the oldest is lost. `None` when the same one is already there.
fn push_bounded<T: PartialEq>(
    messages: &mut Vec<T>,
    message: T,
    most: usize,
    reading: impl Fn(&T) -> Moment,
) -> Option<()> {
    if messages.contains(&message) {
        return None;
    }
    messages.push(message);
    messages.sort_by_key(reading);
    if messages.len() > most {
        messages.remove(0);
    }
    Some(())
}

impl Model for LeaseModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let longest = self.bounds.lengths.iter().max().expect("there is a length");
        let window_ms = u64::try_from(longest.duration().as_millis()).expect("a lease is at most a minute");
        let mut state = State::fresh(self.rules, window_ms);
        for action in &self.scene {
            state = self.next_state(&state, *action).expect("each step of a scene changes something");
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        if state.monitor.plan.is_some() {
            actions.push(Action::Promote);
        }
        for host in 0..2 {
            self.actions_of_host(state, host, actions);
            self.faults_of_host(state, host, actions);
        }
        if state.faults.monitor_restarts < self.bounds.monitor_restarts {
            actions.push(Action::RestartMonitor);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        self.step(&mut state, action)?;
        self.lose_what_is_void(&mut state);
        for (host, earlier) in state.hosts.iter().zip(&before.hosts) {
            if host.promiser.durable().accepted < earlier.promiser.durable().accepted {
                state.epoch_went_back = true;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let one_writer = Property::always("at most one writer", |_, state: &State| state.writers() <= 1);
        let no_return = Property::always("a released epoch never writes again", |_, state: &State| {
            !state.a_released_epoch_writes()
        });
        match self.check {
            Check::TwoWriters => vec![one_writer],
            Check::ReleasedEpochWrites => vec![no_return],
            Check::Everything => self.everything(one_writer, no_return),
        }
    }
}

impl LeaseModel {
    /// The invariants, and what has to be reachable lest they hold because nothing happens.
    fn everything(&self, one_writer: Property<Self>, no_return: Property<Self>) -> Vec<Property<Self>> {
        let mut properties = vec![
            one_writer,
            no_return,
            Property::always("accepted epochs never go back", |_, state: &State| !state.epoch_went_back()),
            Property::sometimes("a failover by time", |_, state: &State| {
                state.writes_with(|proof| matches!(proof, Proof::RanOut(_)))
            }),
            Property::sometimes("a failover by release", |_, state: &State| {
                state.writes_with(|proof| matches!(proof, Proof::Ended(_, Ended::Released)))
            }),
        ];
        if self.bounds.promises {
            properties.push(Property::sometimes("a lease kept by a promise", |_, state: &State| {
                state.writes_by_promise()
            }));
        }
        if self.bounds.kills > 0 {
            properties.push(Property::sometimes("a failover by death", |_, state: &State| {
                state.writes_with(|proof| matches!(proof, Proof::Ended(_, Ended::Dead)))
            }));
        }
        properties
    }
}
