//! The next step of each lane, chosen by comparing what is ordered with what is seen.

use std::collections::BTreeSet;

use super::event::AgentAction;
use super::mind::AgentMind;
use super::step::{Lane, Lifetime, Step};
use crate::lease::kernel_lifetime;
use crate::message::{Approached, OrderId, ServerView, Takeover};
use crate::moment::Moment;
use crate::names::Role;
use crate::state::HostState;

impl AgentMind {
    /// Starts the next step of every lane that is free.
    pub(super) fn plan(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        if let Some(promotion) = self.leased_promotion()
            && promotion.takeover == Takeover::Keep
        {
            self.memory.caught_up_for = Some(promotion.epoch);
        }
        self.note_unopened();
        self.tend_following();
        for lane in Lane::ALL {
            let waiting = self.retry_at.get(&lane).is_some_and(|at| now < *at);
            if self.busy.contains_key(&lane) || waiting {
                continue;
            }
            let next = match lane {
                Lane::Address => self.next_address_step(now),
                Lane::Server => self.next_server_step(now).or_else(|| {
                    let step = self.next_letting_go(now).or_else(|| self.next_semi_sync_step(now));
                    step.filter(|_| !self.is_rebuilding())
                }),
                Lane::Process => self.must_kill_server(now).then_some(Step::KillServer),
            };
            if let Some(step) = next {
                self.note_begin(now, &step);
                self.busy.insert(lane, step.clone());
                actions.push(AgentAction::Do(step));
            }
        }
    }

    /// Before a server is opened for a choice of it as the writer it has caught up for that: until then nothing was written here.
    fn note_unopened(&mut self) {
        let Some(promotion) = self.promotion() else { return };
        self.memory.unopened = match &promotion.takeover {
            Takeover::After(position) if self.memory.caught_up_for != Some(promotion.epoch) => {
                Some((promotion.epoch, position.clone()))
            }
            _ => None,
        };
    }

    /// What may have taken effect although nobody hears of its end is remembered before it begins.
    fn note_begin(&mut self, now: Moment, step: &Step) {
        self.note_closing(step, false);
        self.memory.semi_sync.unwaiting |= step.may_stop_waiting() && self.semi_sync.waits();
        match step {
            Step::CatchUp(takeover) => self.begin_catch_up(now, takeover),
            Step::StopReceiving => self.memory.holding = true,
            Step::ReceiveAnew => self.semi_sync.stopped = true,
            Step::StopReplication => self.memory.stopped_for_offline = true,
            _ => self.note_following(step),
        }
    }

    /// Whether nothing is left to do for the order.
    pub(super) fn settle(&mut self, now: Moment) {
        let Some(order) = &self.memory.order else { return };
        let id = order.id;
        let server_settled = match self.server {
            ServerView::Up { writable } => {
                writable == order.writer.is_some() && self.next_server_step(now).is_none()
            }
            ServerView::Unknown | ServerView::Silent { .. } | ServerView::Refusing | ServerView::Gone => {
                order.writer.is_none()
            }
        };
        let busy = self.busy.keys().next().is_some();
        let leased = order.writer.is_none() || self.leased_promotion().is_some();
        if !busy && leased && server_settled && self.next_address_step(now).is_none() {
            self.applied = Some(id);
        }
    }

    /// Whether this server has all the data that the writer it was chosen to be needs.
    pub(super) fn has_caught_up(&self) -> bool {
        self.leased_promotion().is_some_and(|promotion| self.memory.caught_up_for == Some(promotion.epoch))
    }

    pub(super) fn holds_writer_address(&self) -> bool {
        self.addresses.iter().flatten().any(|held| *held.role.name() == self.settings.active_master_role)
    }

    pub(super) fn ordered_state(&self) -> Option<HostState> {
        self.memory.order.as_ref().map(|order| order.state)
    }

    pub(super) fn is_writer_role(&self, role: &Role) -> bool {
        *role.name() == self.settings.active_master_role
    }

    /// A running 2.2.1 cluster that this agent was started into: its writer is left alone until a monitor speaks.
    pub(super) fn adopts_running_writer(&self) -> bool {
        self.memory.order.is_none()
            && self.server.is_writable()
            && self.addresses.iter().flatten().any(|held| !held.ours && self.is_writer_role(&held.role))
    }

    /// Roles whose address should be on the interface now; `None` while nothing is known of the interface.
    fn wanted_addresses(&self, now: Moment) -> Option<BTreeSet<Role>> {
        let held = self.addresses.as_ref()?;
        let Some(order) = &self.memory.order else {
            // First contact of this boot: what we put there in an earlier life is taken down, what somebody else
            // put there stays until a monitor has spoken.
            return Some(held.iter().filter(|held| !held.ours).map(|held| held.role.clone()).collect());
        };
        let serves = self.server != ServerView::Gone
            && self.memory.fencing.is_none()
            && !self.is_rebuilding()
            && self.promotion().is_some()
            && self.memory.lease.is_some();
        let is_held = |role: &Role| held.iter().any(|held| held.role == *role);
        let wanted = order.roles.iter().filter(|role| {
            if self.is_writer_role(role) {
                return serves;
            }
            // A program that was started again leaves to the kernel what it does not know enough of.
            !self.has_lost_contact(now) && (self.lease.confirmed || is_held(role))
        });
        Some(wanted.cloned().collect())
    }

    fn next_address_step(&self, now: Moment) -> Option<Step> {
        let wanted = self.wanted_addresses(now)?;
        let held = self.addresses.as_ref()?;
        // The role got another address, which is here already: the old one leaves while the writer goes on.
        let has_moved =
            held.iter().any(|held| self.is_writer_role(&held.role) && wanted.contains(&held.role));
        let surplus = held.iter().find(|held| {
            let may_drop = !self.is_writer_role(&held.role) || has_moved || self.may_drop_writer();
            !wanted.contains(&held.role) && may_drop
        });
        if let Some(surplus) = surplus {
            return Some(Step::DropAddress(surplus.role.clone()));
        }
        self.memory.order.as_ref()?;
        // The writer's address that waits for its server to be closed serves on meanwhile, as long as the lease lasts.
        let leaving =
            held.iter().filter(|held| held.ours && !held.permanent && self.is_writer_role(&held.role));
        let kept = wanted.iter().chain(leaving.map(|held| &held.role)).cloned().collect();
        if let Some(step) = self.addresses_to_keep(&kept) {
            return Some(step);
        }
        let is_held = |role: &Role| held.iter().any(|held| held.role == *role);
        let serves_writes = self.server.is_writable() && self.has_all_data() && self.may_open(now);
        wanted.iter().filter(|role| !is_held(role) && (!self.is_writer_role(role) || serves_writes)).find_map(
            |role| {
                let lifetime = self.lifetime_of(role)?;
                // What is too short for the kernel's whole seconds is not worth an address.
                let lasts = match lifetime {
                    Lifetime::Forever => true,
                    Lifetime::Until(until) => !kernel_lifetime(until.since(now)).is_zero(),
                };
                lasts.then(|| Step::AddAddress(role.clone(), lifetime))
            },
        )
    }

    /// A server that cannot be spoken to loses its address first; one that can is closed and emptied before.
    fn may_drop_writer(&self) -> bool {
        if self.memory.fencing.is_some() {
            return true;
        }
        match self.server {
            ServerView::Up { writable } => {
                let still_opening = matches!(self.busy.get(&Lane::Server), Some(Step::OpenWrites));
                !writable && !still_opening && !self.clients_due
            }
            ServerView::Unknown | ServerView::Silent { .. } | ServerView::Refusing | ServerView::Gone => true,
        }
    }

    fn next_server_step(&self, now: Moment) -> Option<Step> {
        let ServerView::Up { writable } = self.server else { return None };
        if self.is_rebuilding() {
            // A server that is started again may open itself.
            return (writable && self.addresses.is_some()).then_some(Step::CloseWrites);
        }
        if let Some(step) = self.next_waiting_step(now) {
            return Some(step);
        }
        let step = self.next_write_step(now, writable);
        if !writable && self.position_due && self.memory.fencing.is_none() {
            // Nothing comes before the place at which this writer stopped, and that is known when its address is off.
            return step;
        }
        step.or_else(|| self.next_step_after_standing_still(now))
            .or_else(|| self.next_following_step(now))
            .or_else(|| self.next_torn_step(now))
            .or_else(|| self.next_replication_step())
            .or_else(|| self.approach.clone().map(|(id, _, reach)| Step::Approach(id, reach)))
    }

    fn next_write_step(&self, now: Moment, writable: bool) -> Option<Step> {
        if let Some(promotion) = self.leased_promotion().filter(|_| self.memory.fencing.is_none()) {
            if self.has_all_data() && self.may_open(now) {
                return (!writable).then_some(Step::OpenWrites);
            }
            // A server that came up writable by itself lacks data all the same.
            if !writable && self.has_caught_up() {
                if let Some(step) = self.next_salvage_step(promotion) {
                    return Some(step);
                }
            } else if !writable {
                return Some(if self.memory.stopped_for_offline {
                    Step::StartReplication
                } else if self.memory.holding && !promotion.hold {
                    Step::ResumeReceiving
                } else if let Some(threads) = self.threads_left_stopped(&promotion.takeover) {
                    Step::StartThreads(threads)
                } else {
                    let catch_up = || Step::CatchUp(promotion.takeover.clone());
                    self.next_salvage_step(promotion).unwrap_or_else(catch_up)
                });
            }
        }
        if writable {
            // A newer promotion of a writer is on its way to the disk: it goes on by the lease it has.
            let goes_on = self.may_write(now) && self.leased_promotion().is_none();
            if goes_on || self.addresses.is_none() {
                return None;
            }
            return Some(self.closing_step());
        }
        if self.clients_due {
            return Some(Step::EndClients);
        }
        // Read-only does not hold everybody back: on MariaDB privileged accounts write on until they are ended and can't come back.
        (self.position_due && self.memory.fencing.is_none() && !self.holds_writer_address())
            .then(|| if self.must_stand_still() { Step::StopApplying } else { Step::ReadPosition })
    }

    /// Rounds of patience with those who hold locks: none when the lease runs out.
    pub(super) fn patience(&self) -> u32 {
        let wanted = self.memory.fencing.is_some() || self.promotion().is_some();
        if wanted && self.memory.lease.is_some() { 1 } else { self.settings.max_kill_retries }
    }

    fn next_replication_step(&self) -> Option<Step> {
        let offline = self.ordered_state() == Some(HostState::AdminOffline);
        if offline && !self.stop_confirmed {
            return Some(Step::StopReplication);
        }
        if !offline && self.memory.stopped_for_offline {
            return Some(Step::StartReplication);
        }
        if offline {
            return None;
        }
        if !self.memory.holding {
            // The monitor wants it held after all: what was to be received is in conflict with what is here.
            let hold =
                self.leased_promotion().is_some_and(|promotion| promotion.hold) && self.has_caught_up();
            return (hold && self.receiving.is_some()).then_some(Step::StopReceiving);
        }
        let order = self.memory.order.as_ref();
        // While there is no writer at all nothing has been compared yet: only another writer, or the monitor's word,
        // ends a hold.
        let hold_on = self
            .promotion()
            .map_or(order.is_none_or(|order| order.active_master.is_none()), |promotion| promotion.hold);
        if !hold_on {
            return Some(Step::ResumeReceiving);
        }
        // A restarted server starts its replication by itself.
        (self.receiving == Some(true)).then_some(Step::StopReceiving)
    }

    pub(super) fn end_approach(&mut self, id: OrderId, outcome: Result<(), String>) {
        self.approach.take_if(|(wanted, ..)| *wanted == id);
        self.approached = Some(Approached { id, outcome });
    }
}
