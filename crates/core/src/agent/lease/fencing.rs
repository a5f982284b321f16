//! The end of a lease: noticing it, fencing, and giving back what was held.

use std::time::Duration;

use super::{Fencing, KILL_AFTER, log, names};
use crate::agent::event::AgentAction;
use crate::agent::mind::AgentMind;
use crate::agent::step::{Lane, Step};
use crate::cluster::LogLevel;
use crate::lease::{Durable, Duty, HolderLease};
use crate::message::{Isolated, ServerView};
use crate::moment::Moment;

impl AgentMind {
    /// Notices how far the lease has run down, says so once, and begins to fence at its end.
    pub(in crate::agent) fn watch_duty(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        let (Some(duty), Some(lease)) = (self.duty(now), &self.memory.lease) else {
            self.lease.told = None;
            return;
        };
        let epoch = lease.epoch();
        if self.memory.fencing.is_none() && duty == Duty::Over {
            let text = format!(
                "The lease of epoch {epoch} is over and nobody renewed it: this host fences itself (address off first, then read-only)"
            );
            actions.push(log(LogLevel::Fatal, text));
            self.memory.fencing = Some(Fencing::LeaseOver(now));
            self.retry_at.clear();
        }
        let before = self.lease.told.replace((epoch, duty)).filter(|(told, _)| *told == epoch);
        let before = before.map_or(Duty::Write, |(_, duty)| duty);
        let text = match (before, duty) {
            (Duty::Wait | Duty::Write, Duty::AskPromises) => format!(
                "Nobody renews the lease of epoch {epoch}: asking {} for promises",
                names(lease.list())
            ),
            (Duty::Wait | Duty::Write | Duty::AskPromises, Duty::Close) => {
                self.retry_at.clear();
                format!(
                    "The lease of epoch {epoch} is nearly over: closing the server and ending its clients"
                )
            }
            (Duty::AskPromises | Duty::Close, Duty::Write) if lease.is_kept_by_promises() => {
                format!("The lease of epoch {epoch} lasts on by the promises of {}", names(lease.list()))
            }
            (Duty::AskPromises | Duty::Close, Duty::Write) => {
                format!("The lease of epoch {epoch} is renewed again")
            }
            _ => return,
        };
        actions.push(log(if duty == Duty::Write { LogLevel::Info } else { LogLevel::Warn }, text));
    }

    /// Frozen clocks may have hidden the end of the lease: fences first and asks after.
    pub(in crate::agent) fn take_in_clock_jump(
        &mut self,
        now: Moment,
        by: Duration,
        actions: &mut Vec<AgentAction>,
    ) {
        let runs_out = self.memory.lease.as_ref().is_some_and(|lease| !lease.is_endless());
        let text = format!(
            "The wall clock is {} ms further on than the time since boot tells: this host may have stood still",
            by.as_millis()
        );
        if !runs_out || self.terms().isolated == Isolated::Keep {
            actions.push(log(LogLevel::Info, text));
            return;
        }
        if self.memory.fencing.is_none() {
            actions.push(log(
                LogLevel::Fatal,
                format!("{text}. Its lease may be over, so it fences itself first"),
            ));
            self.memory.fencing = Some(Fencing::ClockJumped(now));
            self.retry_at.clear();
        }
    }

    /// A server that falls silent soon after it was opened or closed was not asked in between: then what this host did counts, not
    /// what the server answered last.
    pub(in crate::agent) fn with_own_changes(&self, view: ServerView) -> ServerView {
        match (view, self.server) {
            (
                ServerView::Silent { .. },
                ServerView::Up { writable } | ServerView::Silent { writable_before: writable },
            ) => {
                let opening = matches!(self.busy.get(&Lane::Server), Some(Step::OpenWrites));
                ServerView::Silent { writable_before: writable || opening }
            }
            _ => view,
        }
    }

    /// Whether nothing of the writer role is left on this host.
    pub(in crate::agent) fn has_let_go(&self) -> bool {
        let adding = matches!(self.busy.get(&Lane::Address),
            Some(Step::AddAddress(role, _)) if *role.name() == self.settings.active_master_role);
        if self.addresses.is_none() || self.holds_writer_address() || adding {
            return false;
        }
        match self.server {
            ServerView::Up { writable } => {
                let opening = matches!(self.busy.get(&Lane::Server), Some(Step::OpenWrites));
                let pending = self.memory.fencing.is_none() && (self.position_due || self.clients_due);
                !writable && !opening && !pending
            }
            // Killed first, where that is wanted: it could carry out what it was told before.
            ServerView::Silent { writable_before: true } if self.terms().fence_hung_server => {
                self.lease.killed
            }
            // Without the address and with the connections through it ended, nobody reaches it as the writer.
            ServerView::Silent { .. } | ServerView::Refusing | ServerView::Gone => true,
            ServerView::Unknown => self.memory.lease.is_none(),
        }
    }

    /// Gives back what this host holds and is not to hold any more, once nothing of it is left.
    pub(in crate::agent) fn give_back(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        let held = self.memory.lease.as_ref().map(HolderLease::epoch);
        let Durable { accepted, released, .. } = *self.lease.promiser.durable();
        let ordered =
            self.memory.order.as_ref().and_then(|order| order.release).filter(|epoch| *epoch > released);
        if let Some(ordered) = ordered.filter(|ordered| held.is_some_and(|held| held > *ordered)) {
            // It asks for an older one, of which nothing is left since the newer one was accepted.
            self.lease.promiser.release(ordered);
            return;
        }
        let unwanted = held.filter(|_| {
            self.memory.fencing.is_some() || (self.memory.order.is_some() && self.promotion().is_none())
        });
        let on_its_way = self.promotion().is_some_and(|promotion| promotion.epoch == accepted);
        let forgotten = Some(accepted).filter(|_| held.is_none() && accepted > released && !on_its_way);
        let Some(epoch) = unwanted.max(ordered).max(forgotten) else {
            if held.is_none() {
                self.memory.fencing = None;
            }
            return;
        };
        if !self.has_let_go() {
            return;
        }
        self.lease.promiser.release(epoch);
        self.memory.lease = None;
        self.lease.refusal = None;
        let how = match self.memory.fencing.take() {
            Some(fencing) => format!("fenced itself within {} ms", now.since(fencing.since()).as_millis()),
            None => "nothing of it is left here".to_owned(),
        };
        actions.push(log(LogLevel::Info, format!("Giving back epoch {epoch}: {how}")));
    }

    /// Whether a server that may still take writes has to be killed.
    pub(in crate::agent) fn must_kill_server(&self, now: Moment) -> bool {
        if !self.terms().fence_hung_server || self.lease.killed || self.holds_writer_address() {
            return false;
        }
        let unwanted = self.memory.order.is_some() && self.promotion().is_none();
        match (self.server, self.memory.fencing) {
            (ServerView::Silent { writable_before: true }, fencing) => fencing.is_some() || unwanted,
            (ServerView::Up { writable: true } | ServerView::Refusing, Some(fencing)) => {
                let since =
                    self.said_closed_since().map_or(fencing.since(), |said| said.max(fencing.since()));
                now.since(since) >= KILL_AFTER
            }
            _ => false,
        }
    }
}
