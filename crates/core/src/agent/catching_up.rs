//! How long a new writer applies what it received before it is opened.

use std::time::Duration;

use super::event::AgentAction;
use super::mind::AgentMind;
use crate::cluster::LogLevel;
use crate::lease::Epoch;
use crate::message::{Order, Takeover};
use crate::moment::Moment;

impl AgentMind {
    /// Another monitor that finds this host with a lease takes it for a writer that serves, and has nothing for it to catch up with. What
    /// the first order with this epoch asked for has to be done all the same.
    pub(super) fn with_first_takeover(&self, mut order: Order) -> Order {
        let first = self.memory.order.as_ref().and_then(|before| before.writer.as_ref());
        if let (Some(first), Some(now)) = (first, &mut order.writer)
            && first.epoch == now.epoch
            && now.takeover == Takeover::Keep
            && self.memory.caught_up_for != Some(now.epoch)
        {
            now.takeover.clone_from(&first.takeover);
            now.hold |= first.hold;
        }
        order
    }

    pub(super) fn begin_catch_up(&mut self, now: Moment, takeover: &Takeover) {
        self.catching_up_for = self.leased_promotion().map(|promotion| promotion.epoch);
        self.memory.holding |= *takeover == Takeover::Lost;
        if self.catch_up_began.map(|(epoch, _)| epoch) != self.catching_up_for {
            self.catch_up_began = self.catching_up_for.map(|epoch| (epoch, now));
        }
    }

    /// The limit, when the time for applying is over that began with the catching up of this choice.
    pub(super) fn apply_limit_over(&self, now: Moment, epoch: Epoch) -> Option<Duration> {
        let limit = self.terms().apply_limit?;
        let (of, began) = self.catch_up_began?;
        (of == epoch && now.since(began) >= limit).then_some(limit)
    }

    /// Whether the server is opened although there is more to apply. Its replication goes on applying then; what clients write
    /// meanwhile may collide with that. A planned move has limits of its own.
    pub(super) fn ends_catch_up(
        &mut self,
        now: Moment,
        takeover: &Takeover,
        progress: &str,
        actions: &mut Vec<AgentAction>,
    ) -> bool {
        let over = self.catching_up_for.and_then(|epoch| self.apply_limit_over(now, epoch));
        let Some(limit) = over.filter(|_| !matches!(takeover, Takeover::After(_))) else { return false };
        self.memory.caught_up_for = self.catching_up_for.take();
        let text = format!(
            "Opening the server for writes although it has not applied all that it received ({progress}): promote_apply_timeout is {} s. It goes on applying; look for replication errors and compare what was written meanwhile",
            limit.as_secs_f64()
        );
        actions.push(AgentAction::Log(LogLevel::Fatal, text));
        true
    }
}
