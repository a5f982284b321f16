//! Getting what only a dead writer's log has, before this server is opened: fetched at once, while its host still answers,
//! applied when all that was received before is applied.

use serde::{Deserialize, Serialize};

use super::event::AgentAction;
use super::mind::AgentMind;
use super::step::{Lane, Step};
use crate::cluster::LogLevel;
use crate::gtid::GtidSet;
use crate::lease::Epoch;
use crate::message::Promotion;
use crate::moment::Moment;
use crate::names::HostName;
use crate::salvage::{SalvageOrder, SalvageState, Vain};

/// What an agent has to know of it after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SalvageMemory {
    /// For which choice of a writer, what was ordered, and how far it is.
    state: Option<(Epoch, SalvageOrder, SalvageState)>,
    /// It has ended, well or in vain.
    ended: bool,
}

impl SalvageMemory {
    /// A monitor that was restarted in the middle knows of no salvage; what was begun goes on.
    fn order<'a>(&'a self, promotion: &'a Promotion) -> Option<&'a SalvageOrder> {
        let begun = self.state.as_ref().filter(|(epoch, ..)| *epoch == promotion.epoch);
        begun.map(|(_, order, _)| order).or(promotion.salvage.as_deref())
    }

    fn has_ended(&self, epoch: Epoch) -> bool {
        self.ended && self.state.as_ref().is_some_and(|(of, ..)| *of == epoch)
    }

    pub(super) fn told(&self) -> Option<(Epoch, HostName, SalvageState)> {
        self.state.as_ref().map(|(epoch, order, state)| (*epoch, order.from.clone(), state.clone()))
    }
}

impl AgentMind {
    /// Nothing is left to be salvaged for this choice of a writer.
    pub(super) fn has_salvaged(&self, promotion: &Promotion) -> bool {
        let memory = &self.memory.salvage;
        memory.order(promotion).is_none() || memory.has_ended(promotion.epoch)
    }

    /// The same of the promotion that is in force.
    pub(super) fn has_all_data(&self) -> bool {
        self.has_caught_up() && self.leased_promotion().is_none_or(|promotion| self.has_salvaged(promotion))
    }

    /// What has to be done before this server's own catching up, and what after it.
    pub(super) fn next_salvage_step(&self, promotion: &Promotion) -> Option<Step> {
        let order = self.memory.salvage.order(promotion).filter(|_| !self.has_salvaged(promotion))?;
        if self.salvage_fetched_for != Some(promotion.epoch) {
            return Some(Step::FetchTail(order.clone()));
        }
        self.has_caught_up().then(|| Step::ApplyTail(order.clone()))
    }

    pub(super) fn take_in_salvage(
        &mut self,
        now: Moment,
        step: &Step,
        state: SalvageState,
        actions: &mut Vec<AgentAction>,
    ) {
        self.problem.remove(&Lane::Server);
        let (Step::FetchTail(order) | Step::ApplyTail(order)) = step else { return };
        // The order may be another one by now: what was done for an earlier choice is of use for none.
        let still_wanted = |promotion: &&Promotion| {
            self.memory.salvage.order(promotion).is_some_and(|wanted| wanted == order)
        };
        let Some(promotion) = self.leased_promotion().filter(still_wanted) else { return };
        let epoch = promotion.epoch;
        if matches!(state, SalvageState::Waiting { .. })
            && self.catch_up_began.is_none_or(|(of, _)| of != epoch)
        {
            self.catch_up_began = Some((epoch, now));
        }
        let state = self.within_limit(now, epoch, step, state);
        let is_fetched = matches!(step, Step::FetchTail(_)) && matches!(state, SalvageState::Applying { .. });
        if is_fetched {
            self.salvage_fetched_for = Some(epoch);
        } else if matches!((step, &state), (Step::ApplyTail(_), SalvageState::Finding)) {
            // What was fetched is not there any more.
            self.salvage_fetched_for = None;
            self.retry_at.insert(Lane::Server, now + super::mind::RETRY);
        }
        let next = order.otherwise.as_deref().filter(|_| matches!(state, SalvageState::InVain { .. }));
        let level = match &state {
            SalvageState::InVain { .. } if next.is_some() => LogLevel::Warn,
            SalvageState::InVain { .. } => LogLevel::Fatal,
            SalvageState::Done { transactions: 0, damage: None, .. } => LogLevel::Info,
            SalvageState::Done { .. } => LogLevel::Warn,
            _ => LogLevel::Info,
        };
        if matches!(step, Step::ApplyTail(_)) {
            self.forget_positions(now);
        }
        let ended = matches!(state, SalvageState::InVain { .. } | SalvageState::Done { .. });
        if ended || is_fetched {
            let instead = next.map_or(String::new(), |next| {
                format!(". Before that, '{}' is asked for what it has received", next.from)
            });
            let text = format!("Salvage: {}{instead}", state.describe(&order.from));
            actions.push(AgentAction::Log(level, text));
        }
        if let Some(next) = next {
            self.salvage_fetched_for = None;
            let state = Some((epoch, next.clone(), SalvageState::Finding));
            self.memory.salvage = SalvageMemory { state, ended: false };
            return;
        }
        self.memory.salvage = SalvageMemory { state: Some((epoch, order.clone(), state)), ended };
    }

    /// What was received before has to be applied first, and there is more of it.
    pub(super) fn tail_waits(
        &mut self,
        now: Moment,
        step: &Step,
        progress: &str,
        actions: &mut Vec<AgentAction>,
    ) -> bool {
        let Step::ApplyTail(_) = step else { return false };
        let epoch = self.leased_promotion().map_or(Epoch::NONE, |promotion| promotion.epoch);
        let Some(limit) = self.apply_limit_over(now, epoch) else { return false };
        let text = format!("What was received is not applied yet ({progress}), so the rest can't be");
        actions.push(AgentAction::Log(LogLevel::Warn, text));
        let state = SalvageState::InVain { why: Vain::TookTooLong { limit }, lacking: None };
        self.take_in_salvage(now, step, state, actions);
        true
    }

    /// The limit of applying is one for what was received, what is salvaged, and what a replica has to apply for that.
    fn within_limit(&self, now: Moment, epoch: Epoch, step: &Step, state: SalvageState) -> SalvageState {
        let lacking = match (step, &state) {
            (Step::ApplyTail(_), SalvageState::Applying { transactions }) => Some(*transactions),
            (_, SalvageState::Waiting { of, .. }) => Some(*of),
            _ => return state,
        };
        self.apply_limit_over(now, epoch)
            .map_or(state, |limit| SalvageState::InVain { why: Vain::TookTooLong { limit }, lacking })
    }

    /// Replicas by GTID may have more of the tail than this server had when it noted where its log stood; by place they stand
    /// where it stood then.
    pub(super) fn note_salvaged(&mut self, gtid: &str) {
        let Some((_, junction)) = &mut self.memory.following.junction else { return };
        if GtidSet::parse(gtid).is_some() {
            gtid.clone_into(&mut junction.gtid);
        }
    }
}
