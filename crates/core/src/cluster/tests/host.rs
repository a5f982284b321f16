//! What a host does about its orders and grants, at once and without fail.

use super::fixture::{WRITER, role};
use crate::lease::{Duty, Epoch, Grant};
use crate::message::{AgentStatus, LeaseHeld, LogPosition, Order, ServerView};

pub(super) fn sound() -> AgentStatus {
    AgentStatus {
        server: ServerView::Up { writable: false },
        boot_id: "boot".to_owned(),
        ..AgentStatus::default()
    }
}

/// What an agent says once it has carried out an order.
pub(super) fn obey(status: &mut AgentStatus, order: &Order) {
    status.taken_in = Some(order.id);
    status.applied = Some(order.id);
    status.state = Some(order.state);
    status.roles.clone_from(&order.roles);
    let generation = &mut status.lease.generation;
    *generation = order.generation.max(*generation);
    let promoted = order.writer.as_ref().map(|promotion| promotion.epoch);
    match promoted.filter(|epoch| *epoch > status.lease.released) {
        Some(epoch) => accept(status, epoch, order),
        None => give_back(status, order.release),
    }
    let leased = status.lease.held.as_ref().is_some_and(|held| held.duty != Duty::Wait);
    let behind = status.unopened.as_ref().is_some_and(|(epoch, _)| Some(*epoch) == promoted);
    let serves = leased && promoted.is_some() && status.server.is_up() && !behind;
    if status.server.is_up() {
        status.server = ServerView::Up { writable: serves };
    }
    status.held = order.roles.iter().filter(|ordered| **ordered != role(WRITER) || serves).cloned().collect();
}

fn accept(status: &mut AgentStatus, epoch: Epoch, order: &Order) {
    let lease = &mut status.lease;
    if epoch < lease.accepted || lease.held.as_ref().is_some_and(|held| held.epoch == epoch) {
        return;
    }
    lease.accepted = epoch;
    lease.longest = lease.longest.max(Some(order.terms.length));
    // A holder that is promoted anew goes on by the lease it has.
    let new =
        LeaseHeld { epoch, list: std::collections::BTreeSet::new(), duty: Duty::Wait, by_promise: false };
    lease.held = Some(lease.held.take().map_or(new, |held| LeaseHeld { epoch, ..held }));
    status.released_at = None;
}

fn give_back(status: &mut AgentStatus, release: Option<Epoch>) {
    let held = status.lease.held.take().map(|held| held.epoch);
    if status.server.is_writable()
        && let Some(epoch) = held
    {
        let position = LogPosition { file: "bin.000007".to_owned(), position: 4711 };
        status.released_at = Some((epoch, position));
    }
    let given_back = held.max(release).unwrap_or_default();
    status.lease.released = status.lease.released.max(given_back);
}

/// A grant is taken in; whether that changes what there is to say. `None` for one that it does not wait for.
pub(super) fn take_in_grant(status: &mut AgentStatus, grant: &Grant) -> Option<bool> {
    let held = status.lease.held.as_mut().filter(|held| held.epoch == grant.epoch)?;
    let news = held.list != grant.list || held.duty != Duty::Write;
    held.list.clone_from(&grant.list);
    held.duty = Duty::Write;
    held.by_promise = false;
    Some(news)
}

/// The lease is over: nothing of the role is left, and the agent says so when it can.
pub(super) fn fence(status: &mut AgentStatus) {
    let epoch = status.lease.held.take().map(|held| held.epoch).unwrap_or_default();
    status.lease.released = status.lease.released.max(epoch);
    status.held.remove(&role(WRITER));
    if status.server.is_up() {
        status.server = ServerView::Up { writable: false };
    }
}
