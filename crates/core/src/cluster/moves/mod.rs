//! Planned moves of the writer role. Both servers are looked at and the target is caught up before anything is stopped; a move
//! that does not get on after that is undone.

mod handing;
mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Action, Cluster, LogLevel};
use crate::message::{OrderId, ToAgent};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::survey::Survey;

/// A move that the target could not follow is not tried again by itself before this has passed.
const REST: Duration = Duration::from_mins(1);
/// One that had to be undone held up writes, and is not tried again by itself before this has passed.
const REST_AFTER_UNDO: Duration = Duration::from_mins(10);
/// For both agents to say what they see; their own deadlines end before.
const SURVEY_LIMIT: Duration = Duration::from_millis(2500);
/// Plans that operators may ask for at once.
const PLANS_MAX: usize = 4;

/// Why the role moves, and which client of the control port waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Preference,
    MoveRole(u64),
    /// The old holder is to be `ADMIN_OFFLINE` afterwards.
    SetOffline(u64),
    /// Nothing moves: the client is told what would happen.
    Plan {
        client: u64,
        json: bool,
    },
    /// A move that an earlier monitor had begun.
    Found,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Both agents say what the move would meet.
    Surveying { until: Moment },
    /// The target receives and applies what the holder had when the move began.
    Approaching { until: Moment },
    /// The holder lets go and the target takes over.
    Handing { since: Moment, granted: Option<Moment> },
    /// It did not get on, and the role goes back.
    Undoing { since: Moment, why: String },
    /// Given up: it stays for a while so that it isn't begun again at once.
    Resting { since: Moment, until: Moment },
}

#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) purpose: Purpose,
    pub(super) role: Role,
    pub(super) from: HostName,
    pub(super) to: HostName,
    pub(super) id: OrderId,
    pub(super) phase: Phase,
    pub(super) surveys: BTreeMap<HostName, Survey>,
}

impl Move {
    fn is_plan(&self) -> bool {
        matches!(self.purpose, Purpose::Plan { .. })
    }

    /// It has been asked for, and nothing has been stopped.
    pub(super) fn is_asked(&self) -> bool {
        let asked = matches!(self.phase, Phase::Surveying { .. } | Phase::Approaching { .. });
        asked && !self.is_plan()
    }

    pub(super) fn gave_up_at(&self) -> Option<Moment> {
        match self.phase {
            Phase::Resting { since, .. } => Some(since),
            _ => None,
        }
    }

    fn client(&self) -> Option<u64> {
        match self.purpose {
            Purpose::MoveRole(client) | Purpose::SetOffline(client) | Purpose::Plan { client, .. } => {
                Some(client)
            }
            Purpose::Preference | Purpose::Found => None,
        }
    }
}

impl Cluster {
    pub(super) fn is_moving(&self, role: &Role) -> bool {
        let rests = |planned: &Move| matches!(planned.phase, Phase::Resting { .. });
        self.moves.iter().any(|planned| planned.role == *role && !planned.is_plan() && !rests(planned))
    }

    pub(super) fn rests_after_a_failed_move(&self, now: Moment, role: &Role) -> bool {
        let rests = |planned: &Move| matches!(planned.phase, Phase::Resting { until, .. } if now < until);
        self.moves.iter().any(|planned| planned.role == *role && rests(planned))
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
        let mut planned = Move {
            purpose,
            role: role.clone(),
            from: from.clone(),
            to: to.clone(),
            id,
            phase: Phase::Surveying { until: now + SURVEY_LIMIT },
            surveys: BTreeMap::new(),
        };
        let source_alive =
            self.hosts.get(from).is_some_and(|host| host.agent.connected && host.server_is_up());
        // An agent of 2.2.1 catches up by itself when it is given the role, and can't be asked to before.
        if !self.settings.is_writer(role) || !source_alive || self.speaks_protocol1(to) {
            match purpose {
                Purpose::Plan { .. } => self.answer_plan(&planned, actions),
                _ => self.execute(now, planned, actions),
            }
            return;
        }
        if planned.is_plan() {
            if self.moves.iter().filter(|other| other.is_plan()).count() >= PLANS_MAX {
                let text =
                    "ERROR: Other plans are being made at the moment. Try again in some seconds.".to_owned();
                actions.extend(planned.client().map(|client| Action::Answer { client, text }));
                return;
            }
        } else {
            self.moves.retain(|other| other.role != *role || other.is_plan());
        }
        let asked = [from, to].into_iter().filter(|host| self.can_survey(host));
        actions
            .extend(asked.map(|host| Action::Tell { host: host.clone(), message: ToAgent::Survey { id } }));
        if !self.can_survey(from) && !self.can_survey(to) && !planned.is_plan() {
            self.approach(now, &mut planned, actions);
        }
        self.moves.push(planned);
    }

    fn can_survey(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|host| host.agent.connected && host.agent.status.surveys)
    }

    pub(super) fn take_in_survey(&mut self, host: &HostName, survey: Survey) {
        let concerns =
            |planned: &&mut Move| planned.id == survey.id && (planned.from == *host || planned.to == *host);
        if let Some(planned) = self.moves.iter_mut().find(concerns) {
            planned.surveys.insert(host.clone(), survey);
        }
    }

    /// The target is to have all that the holder had when it was looked at.
    fn approach(&self, now: Moment, planned: &mut Move, actions: &mut Vec<Action>) {
        let limit = self.settings.approach_limit;
        planned.phase = Phase::Approaching { until: now + limit + Duration::from_secs(2) };
        let reach = planned.surveys.get(&planned.from).and_then(|survey| survey.end.clone()).map(Box::new);
        let message = ToAgent::Approach { id: planned.id, limit, reach };
        actions.push(Action::Tell { host: planned.to.clone(), message });
    }

    pub(super) fn progress_moves(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.find_handing(now);
        for planned in std::mem::take(&mut self.moves) {
            self.progress_move(now, planned, actions);
        }
    }

    fn progress_move(&mut self, now: Moment, mut planned: Move, actions: &mut Vec<Action>) {
        match &planned.phase {
            Phase::Resting { until, .. } => {
                if now < *until {
                    self.moves.push(planned);
                }
            }
            Phase::Surveying { until } => {
                let waits = [&planned.from, &planned.to]
                    .into_iter()
                    .any(|host| self.can_survey(host) && !planned.surveys.contains_key(host));
                if waits && now < *until {
                    self.moves.push(planned);
                } else if planned.is_plan() {
                    self.answer_plan(&planned, actions);
                } else if let Err(why) = self.may_move(now, &planned) {
                    self.give_up(now, planned, &why, actions);
                } else {
                    self.approach(now, &mut planned, actions);
                    self.moves.push(planned);
                }
            }
            Phase::Approaching { until } => match self.verdict(now, &planned, *until) {
                None => self.moves.push(planned),
                Some(Ok(())) => self.execute(now, planned, actions),
                Some(Err(why)) => self.give_up(now, planned, &why, actions),
            },
            Phase::Handing { .. } | Phase::Undoing { .. } => self.progress_handing(now, planned, actions),
        }
    }

    /// Whether nothing that was seen before forbids the move.
    fn may_move(&self, now: Moment, planned: &Move) -> Result<(), String> {
        self.still_possible(now, planned)?;
        let from = &planned.from;
        if let Some(why) = self.hanging_commits(from) {
            return Err(why);
        }
        if !self.can_survey(from) {
            return Ok(());
        }
        let Some(survey) = planned.surveys.get(from) else {
            return Err(format!(
                "since the agent on '{from}' did not say within {} ms what goes on in its server",
                SURVEY_LIMIT.as_millis()
            ));
        };
        if let Some(why) = survey.forbids_leaving() {
            return Err(format!("since '{from}' can't let go of it: {why}"));
        }
        if survey.end.is_none() {
            return Err(format!(
                "since it is not known what '{from}' has written, which '{}' would have to receive first: {}",
                planned.to,
                survey.unseen.join("; ")
            ));
        }
        Ok(())
    }

    fn still_possible(&self, now: Moment, planned: &Move) -> Result<(), String> {
        let holder = self.slots.get(&planned.role).and_then(|slot| slot.holder.as_ref());
        if holder != Some(&planned.from) {
            return Err("since the role has left that host meanwhile".to_owned());
        }
        if !self.eligible(now, planned.role.name(), &planned.to) {
            return Err("since that host is not able to take it any more".to_owned());
        }
        Ok(())
    }

    /// Nothing was stopped: the role stays where it is.
    fn give_up(&mut self, now: Moment, mut planned: Move, why: &str, actions: &mut Vec<Action>) {
        let text = format!(
            "Role '{}' stays on '{}': it was not moved to '{}', {why}",
            planned.role, planned.from, planned.to
        );
        actions.push(Action::log(LogLevel::Error, text.clone()));
        if let Some(client) = planned.client() {
            actions.push(Action::Answer { client, text: format!("ERROR: {text}{}", planned.seen()) });
        }
        planned.phase = Phase::Resting { since: now, until: now + REST };
        self.moves.push(planned);
    }

    fn verdict(&self, now: Moment, planned: &Move, until: Moment) -> Option<Result<(), String>> {
        if let Err(why) = self.still_possible(now, planned) {
            return Some(Err(why));
        }
        if let Some(why) = self.hanging_commits(&planned.from) {
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
            None if now >= until => Some(Err("whose agent did not say in time that it caught up".to_owned())),
            None => None,
        }
    }

    fn execute(&mut self, now: Moment, mut planned: Move, actions: &mut Vec<Action>) {
        self.unassign(&planned.role);
        self.assign(&planned.role, &planned.to);
        let (name, from, to) = (planned.role.name(), &planned.from, &planned.to);
        match planned.purpose {
            Purpose::MoveRole(_) => {
                let text = format!("Admin moved role '{name}' from '{from}' to '{to}'");
                actions.push(Action::log(LogLevel::Fatal, text));
            }
            Purpose::SetOffline(_) => {
                let text = format!("Moving role '{name}' from host '{from}' to host '{to}'");
                actions.push(Action::log(LogLevel::Info, text));
            }
            Purpose::Preference | Purpose::Plan { .. } | Purpose::Found => {}
        }
        let alive = self.hosts.get(from).is_some_and(|host| host.agent.connected && host.server_is_up());
        // Nothing tells of an agent of 2.2.1 how far it is, and what is gone can get nothing back.
        let followed = self.settings.is_writer(&planned.role)
            && alive
            && !self.speaks_protocol1(from)
            && !self.speaks_protocol1(to);
        if followed {
            planned.phase = Phase::Handing { since: now, granted: None };
            self.moves.push(planned);
        } else {
            self.end_well(now, &planned, actions);
        }
    }

    fn end_well(&mut self, now: Moment, planned: &Move, actions: &mut Vec<Action>) {
        let (name, from, to) = (planned.role.name(), &planned.from, &planned.to);
        let (client, text) = match planned.purpose {
            Purpose::Preference | Purpose::Plan { .. } | Purpose::Found => return,
            Purpose::MoveRole(client) => {
                let text = format!(
                    "OK: Role '{name}' has been moved from '{from}' to '{to}'. Now you can wait some time and check new roles info!"
                );
                (client, text)
            }
            Purpose::SetOffline(client) => (client, self.take_offline(now, from, actions)),
        };
        actions.push(Action::Answer { client, text });
    }
}
