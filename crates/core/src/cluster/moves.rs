//! Planned moves of the writer role: the target is caught up before anything is stopped.

use super::{Action, Cluster, LogLevel};
use crate::message::{OrderId, ToAgent};
use crate::moment::Moment;
use crate::names::{HostName, Role};

use std::time::Duration;

/// A move that the target could not follow is not tried again by itself before this has passed.
const REST: Duration = Duration::from_mins(1);

/// Why the role moves, and which client of the control port waits for the answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Preference,
    MoveRole(u64),
    /// The old holder is to be `ADMIN_OFFLINE` afterwards.
    SetOffline(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) purpose: Purpose,
    pub(super) role: Role,
    pub(super) from: HostName,
    pub(super) to: HostName,
    pub(super) id: OrderId,
    pub(super) until: Moment,
    /// Set when the move was given up: it stays for a while so that it isn't begun again at once.
    pub(super) given_up: Option<Moment>,
}

impl Cluster {
    pub(super) fn is_moving(&self, role: &Role) -> bool {
        self.moves.iter().any(|planned| planned.role == *role && planned.given_up.is_none())
    }

    pub(super) fn rests_after_a_failed_move(&self, now: Moment, role: &Role) -> bool {
        self.moves
            .iter()
            .any(|planned| planned.role == *role && planned.given_up.is_some_and(|at| now.since(at) < REST))
    }

    /// Begins a move of an exclusive role. Where there is nothing to catch up with, it is done at once.
    pub(super) fn begin_move(
        &mut self,
        now: Moment,
        purpose: Purpose,
        role: &Role,
        from: &HostName,
        to: &HostName,
        actions: &mut Vec<Action>,
    ) {
        let id = OrderId { instance: self.settings.instance, number: self.next_number };
        self.next_number += 1;
        let until = now + self.settings.approach_limit + Duration::from_secs(2);
        let planned = Move {
            purpose,
            role: role.clone(),
            from: from.clone(),
            to: to.clone(),
            id,
            until,
            given_up: None,
        };
        let source_alive =
            self.hosts.get(from).is_some_and(|host| host.agent.connected && host.server_is_up());
        // An agent of 2.2.1 catches up by itself when it is given the role, and can't be asked to before.
        if !self.settings.is_writer(role) || !source_alive || self.speaks_protocol1(to) {
            self.execute(now, &planned, actions);
            return;
        }
        self.moves.retain(|other| other.role != *role);
        self.moves.push(planned);
        let limit = self.settings.approach_limit;
        actions.push(Action::Tell { host: to.clone(), message: ToAgent::Approach { id, limit } });
    }

    pub(super) fn progress_moves(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let moves = std::mem::take(&mut self.moves);
        for mut planned in moves {
            if let Some(at) = planned.given_up {
                if now.since(at) < REST {
                    self.moves.push(planned);
                }
                continue;
            }
            match self.verdict(now, &planned) {
                None => self.moves.push(planned),
                Some(Ok(())) => self.execute(now, &planned, actions),
                Some(Err(why)) => {
                    let text = format!(
                        "Role '{}' stays on '{}': it was not moved to '{}', {why}",
                        planned.role, planned.from, planned.to
                    );
                    actions.push(Action::log(LogLevel::Error, text.clone()));
                    if let Purpose::MoveRole(client) | Purpose::SetOffline(client) = planned.purpose {
                        actions.push(Action::Answer { client, text: format!("ERROR: {text}") });
                    }
                    planned.given_up = Some(now);
                    self.moves.push(planned);
                }
            }
        }
    }

    fn verdict(&self, now: Moment, planned: &Move) -> Option<Result<(), String>> {
        let holder = self.slots.get(&planned.role).and_then(|slot| slot.holder.as_ref());
        if holder != Some(&planned.from) {
            return Some(Err("since the role has left that host meanwhile".to_owned()));
        }
        if !self.eligible(now, planned.role.name(), &planned.to) {
            return Some(Err("since that host is not able to take it any more".to_owned()));
        }
        if self.settings.is_writer(&planned.role)
            && let Some(why) = self.hanging_commits(&planned.from)
        {
            return Some(Err(why));
        }
        let approached = self
            .hosts
            .get(&planned.to)
            .and_then(|host| host.agent.status.approached.as_ref())
            .filter(|approached| approached.id == planned.id);
        match approached {
            Some(approached) => {
                Some(approached.outcome.clone().map_err(|why| format!("which did not catch up: {why}")))
            }
            None if now >= planned.until => {
                Some(Err("whose agent did not say in time that it caught up".to_owned()))
            }
            None => None,
        }
    }

    fn execute(&mut self, now: Moment, planned: &Move, actions: &mut Vec<Action>) {
        self.unassign(&planned.role);
        self.assign(&planned.role, &planned.to);
        let (name, from, to) = (planned.role.name(), &planned.from, &planned.to);
        let (client, text) = match planned.purpose {
            Purpose::Preference => return,
            Purpose::MoveRole(client) => {
                let text = format!("Admin moved role '{name}' from '{from}' to '{to}'");
                actions.push(Action::log(LogLevel::Fatal, text));
                let text = format!(
                    "OK: Role '{name}' has been moved from '{from}' to '{to}'. Now you can wait some time and check new roles info!"
                );
                (client, text)
            }
            Purpose::SetOffline(client) => {
                let text = format!("Moving role '{name}' from host '{from}' to host '{to}'");
                actions.push(Action::log(LogLevel::Info, text));
                (client, self.take_offline(now, from, actions))
            }
        };
        actions.push(Action::Answer { client, text });
    }
}
