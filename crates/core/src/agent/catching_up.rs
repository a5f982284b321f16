//! How long a new writer applies what it received before it is opened.

use super::event::AgentAction;
use super::mind::AgentMind;
use crate::cluster::LogLevel;
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

    /// Whether the server is opened although there is more to apply. Its replication goes on applying then; what clients write
    /// meanwhile may collide with that. A planned move has limits of its own.
    pub(super) fn ends_catch_up(
        &mut self,
        now: Moment,
        takeover: &Takeover,
        progress: &str,
        actions: &mut Vec<AgentAction>,
    ) -> bool {
        let Some(limit) = self.terms().apply_limit else { return false };
        let Some((epoch, began)) = self.catch_up_began else { return false };
        let planned = matches!(takeover, Takeover::After(_));
        if planned || self.catching_up_for != Some(epoch) || now.since(began) < limit {
            return false;
        }
        self.memory.caught_up_for = self.catching_up_for.take();
        let text = format!(
            "Opening the server for writes although it has not applied all that it received ({progress}): promote_apply_timeout is {} s. It goes on applying; look for replication errors and compare what was written meanwhile",
            limit.as_secs_f64()
        );
        actions.push(AgentAction::Log(LogLevel::Fatal, text));
        true
    }
}
