//! The part of a planned move in which nobody writes: the old writer lets go, the new one takes over. Each step has a limit, and
//! behind it the role goes back to the old writer, by the same way as any other choice: release, epoch, proof.
//!
//! Whether a move may be undone is told by what both agents say, never by what this monitor remembers: another one may have begun it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Move, Phase, Purpose, REST, REST_AFTER_UNDO, SURVEY_LIMIT};
use crate::cluster::{Action, Cluster, LogLevel};
use crate::lease::{Duty, Ended, Epoch};
use crate::message::{AgentStatus, LogPosition, OrderId, ToAgent};
use crate::moment::Moment;
use crate::names::{HostName, Role};

/// An operator is told how it is after this, whatever comes of it.
const ANSWER_AFTER: Duration = Duration::from_secs(15);

impl Cluster {
    pub(super) fn progress_handing(&mut self, now: Moment, mut planned: Move, actions: &mut Vec<Action>) {
        let holder = self.slots.get(&planned.role).and_then(|slot| slot.holder.clone());
        match &planned.phase {
            Phase::Handing { since, granted } => {
                if holder.as_ref() != Some(&planned.to) {
                    let whom = holder.map_or("nobody".to_owned(), |host| format!("'{host}'"));
                    let why = format!("the role was given to {whom} meanwhile");
                    return self.end_badly(now, planned, REST, &why, actions);
                }
                if self.serves_by_grant(&planned.role, &planned.to) {
                    return self.end_well(now, &planned, actions);
                }
                let (since, has_grant) = (*since, self.has_grant(&planned.role));
                let granted = if has_grant { Some(granted.unwrap_or(now)) } else { None };
                planned.phase = Phase::Handing { since, granted };
                if let Some(why) = self.is_stuck(now, &planned, since, granted) {
                    return self.undo(now, planned, why, actions);
                }
                if now.since(since) >= self.settings.close_limit + self.settings.handover_limit + ANSWER_AFTER
                {
                    let why = "it is still under way and can't be undone; see 'mmm_control show'";
                    return self.end_badly(now, planned, REST, why, actions);
                }
                self.moves.push(planned);
            }
            Phase::Undoing { since, why } => {
                let back = holder.as_ref() == Some(&planned.from)
                    && self.serves_by_grant(&planned.role, &planned.from);
                // What is in the way now may not have been there before: the operator is told that too.
                let waits = self.can_survey(&planned.from) && !planned.surveys.contains_key(&planned.from);
                if back && waits && now.since(*since) < SURVEY_LIMIT {
                    return self.moves.push(planned);
                }
                let why = if back {
                    format!("{why}. This was undone: '{}' takes writes again", planned.from)
                } else if holder.as_ref() != Some(&planned.from) {
                    let whom = holder.map_or("nobody".to_owned(), |host| format!("'{host}'"));
                    format!("{why}. While this was being undone the role was given to {whom}")
                } else if now.since(*since) >= ANSWER_AFTER {
                    format!(
                        "{why}. It goes back to '{}', which does not take writes yet; see 'mmm_control show --long'",
                        planned.from
                    )
                } else {
                    return self.moves.push(planned);
                };
                self.end_badly(now, planned, REST_AFTER_UNDO, &why, actions);
            }
            Phase::Surveying { .. } | Phase::Approaching { .. } | Phase::Resting { .. } => {}
        }
    }

    fn has_grant(&self, role: &Role) -> bool {
        self.slots.get(role).is_some_and(|slot| slot.grant.is_some())
    }

    /// Whether this host takes writes by the choice that is in force.
    fn serves_by_grant(&self, role: &Role, name: &HostName) -> bool {
        let Some(grant) = self.slots.get(role).and_then(|slot| slot.grant.as_ref()) else { return false };
        let Some(host) = self.hosts.get(name) else { return false };
        let status = &host.agent.status;
        host.agent.connected
            && status.held.contains(role)
            && status.server.is_writable()
            && status.lease.held.as_ref().is_some_and(|held| held.epoch == grant.epoch)
    }

    /// Why the role has to go back to where it came from; never while that could not take it, or might lack something.
    fn is_stuck(
        &self,
        now: Moment,
        planned: &Move,
        since: Moment,
        granted: Option<Moment>,
    ) -> Option<String> {
        let (from, to) = (&planned.from, &planned.to);
        let able = self.eligible(now, planned.role.name(), from);
        if !able || self.stuck_holder(now).as_ref() == Some(from) {
            return None;
        }
        let problem = |host: &HostName| {
            let said = self.hosts.get(host).and_then(|host| host.agent.status.problem.clone());
            said.map_or(String::new(), |said| format!(" ({said})"))
        };
        match granted {
            None => {
                let limit = self.settings.close_limit;
                let still = self.running_record().is_some_and(|record| record.host == *from);
                if still && self.lease_is_nearly_over(from) {
                    return Some(format!(
                        "'{from}' did not let go of it before its lease was nearly over, and nobody promised to let that last on{}",
                        problem(from)
                    ));
                }
                (still && now.since(since) >= limit).then(|| {
                    format!("'{from}' did not let go of it within {} s{}", limit.as_secs(), problem(from))
                })
            }
            Some(at) => {
                let limit = self.settings.handover_limit;
                // Nobody was granted a lease since, or whoever was has never been opened.
                let untouched = self.record().is_some_and(|record| record.host == *from)
                    || self.last_before(to).is_some_and(|(host, _)| host == from);
                (untouched && now.since(at) >= limit).then(|| {
                    format!(
                        "'{to}' did not get all of the log of '{from}' within {} s, and was not opened{}",
                        limit.as_secs(),
                        problem(to)
                    )
                })
            }
        }
    }

    /// A host that is to give a lease back does not renew it. At its end it would fence itself, and nobody would know where its log
    /// ended.
    fn lease_is_nearly_over(&self, name: &HostName) -> bool {
        let held = self.lease_status(name).and_then(|lease| lease.held.as_ref());
        held.is_some_and(|held| matches!(held.duty, Duty::Close | Duty::Over))
    }

    /// Who wrote before this host was chosen, where that has let go in order, and nothing was written since: the chosen one says
    /// that it still waits for the very place at which the other stopped, and was never opened.
    pub(in crate::cluster) fn last_before(&self, chosen: &HostName) -> Option<(&HostName, Epoch)> {
        let status = &self.hosts.get(chosen)?.agent.status;
        let (epoch, waits_for) = status.unopened.as_ref()?;
        let newest = status.lease.accepted.max(self.promoted.get(chosen).copied().unwrap_or_default());
        if *epoch != newest || status.server.is_writable() {
            return None;
        }
        self.hosts.iter().filter(|(name, _)| *name != chosen).find_map(|(name, host)| {
            let stopped = stopped_at(&host.agent.status, *epoch)?;
            (host.agent.connected && stopped.1 == *waits_for).then_some((name, stopped.0))
        })
    }

    /// Whether this host may go on where it had stopped: whoever was chosen after it has given that back, and was never opened.
    pub(in crate::cluster) fn goes_on_untouched(&self, holder: &HostName) -> bool {
        // Its release came with the word that it was not opened, and after a release nobody opens.
        let released = self.record().filter(|record| record.ended == Some(Ended::Released));
        released.and_then(|record| self.last_before(&record.host)).is_some_and(|(last, _)| last == holder)
    }

    fn undo(&mut self, now: Moment, mut planned: Move, why: String, actions: &mut Vec<Action>) {
        let text = format!("Role '{}' goes back to '{}', since {why}", planned.role, planned.from);
        actions.push(Action::log(LogLevel::Fatal, text));
        self.unassign(&planned.role);
        self.assign(&planned.role, &planned.from);
        planned.surveys.remove(&planned.from);
        if self.can_survey(&planned.from) {
            let message = ToAgent::Survey { id: planned.id };
            actions.push(Action::Tell { host: planned.from.clone(), message });
        }
        planned.phase = Phase::Undoing { since: now, why };
        self.moves.push(planned);
    }

    fn end_badly(
        &mut self,
        now: Moment,
        mut planned: Move,
        rest: Duration,
        why: &str,
        actions: &mut Vec<Action>,
    ) {
        let text = format!(
            "Role '{}' was not moved from '{}' to '{}': {why}",
            planned.role, planned.from, planned.to
        );
        actions.push(Action::log(LogLevel::Error, text.clone()));
        if let Some(client) = planned.client() {
            actions.push(Action::Answer { client, text: format!("ERROR: {text}{}", planned.seen()) });
        }
        planned.phase = Phase::Resting { since: now, until: now + rest };
        self.moves.push(planned);
    }

    /// A move that was begun before this monitor: it is followed like one of its own, from now on.
    pub(super) fn find_handing(&mut self, now: Moment) {
        let Some(role) = self.writer_role().cloned() else { return };
        let Some(slot) = self.slots.get(&role).filter(|slot| !slot.forced) else { return };
        let busy = self.is_moving(&role) || self.rests_after_a_failed_move(now, &role);
        let Some(to) = slot.holder.clone().filter(|_| !busy) else { return };
        let from = if slot.grant.is_some() {
            self.last_before(&to).map(|(host, _)| host.clone())
        } else {
            self.running_record().map(|record| record.host.clone()).filter(|host| *host != to)
        };
        let Some(from) = from.filter(|from| self.eligible(now, role.name(), from)) else { return };
        if self.stuck_holder(now).as_ref() == Some(&from)
            || self.speaks_protocol1(&from)
            || self.speaks_protocol1(&to)
        {
            return;
        }
        self.moves.retain(|other| other.role != role || other.is_plan());
        let id = OrderId { instance: self.settings.instance, number: self.next_number };
        self.next_number += 1;
        let phase = Phase::Handing { since: now, granted: None };
        self.moves.push(Move {
            purpose: Purpose::Found,
            role,
            from,
            to,
            id,
            phase,
            surveys: BTreeMap::new(),
        });
    }
}

/// With which epoch, and where, this host stopped writing before `epoch` was chosen.
fn stopped_at(status: &AgentStatus, epoch: Epoch) -> Option<(Epoch, LogPosition)> {
    let (own, position) = status.released_at.clone()?;
    (own < epoch && status.server.is_up()).then_some((own, position))
}
