//! Compares two states of the mind: what begins, how far it has come, and how it ends.

use std::time::Duration;

use super::{Before, Cause, Kind, Outcome, Record, Said, StepKind};
use crate::agent::describe_proof;
use crate::cluster::moves::{Move, Purpose};
use crate::cluster::{Action, Cluster, LogLevel, Waiting};
use crate::lease::{Epoch, Obstacle, Proof};
use crate::message::{Promotion, Takeover};
use crate::moment::Moment;
use crate::names::{HostName, Role};

/// The writer role now.
struct Now {
    role: Role,
    holder: Option<HostName>,
    chosen: Option<Epoch>,
    grant: Option<Promotion>,
}

impl Cluster {
    pub(super) fn watch_writer(&mut self, now: Moment, before: &Before, actions: &[Action]) {
        let Some((role, slot)) = self.writer_role().and_then(|role| self.slots.get_key_value(role)) else {
            return;
        };
        let after = Now {
            role: role.clone(),
            holder: slot.holder.clone(),
            chosen: slot.chosen,
            grant: slot.grant.clone(),
        };
        let open_before = self.ledger.open.as_ref().map(|page| page.record.number);
        self.go_on(now, before, &after, actions);
        // What was overtaken by something else is followed by the record of that.
        if self.ledger.open.is_none()
            && let Some((kind, from, to)) = self.what_begins(before, &after)
        {
            self.begin_record(now, before, &after.role, kind, from.as_ref(), to.as_ref());
            self.go_on(now, before, &after, actions);
        }
        self.note_applied(now, &after);
        self.note_words(now, open_before, &after.role, actions);
    }

    /// What has begun in this step, from whom and to whom.
    fn what_begins(
        &self,
        before: &Before,
        after: &Now,
    ) -> Option<(Kind, Option<HostName>, Option<HostName>)> {
        if before.holder != after.holder && before.holder.is_some() {
            let commanded = match &before.cause {
                Cause::Commanded(line) => {
                    ["move_role ", "set_ip ", "set_offline "].iter().any(|word| line.starts_with(word))
                }
                _ => false,
            };
            let kind = if commanded { Kind::Move } else { Kind::Failover };
            return Some((kind, before.holder.clone(), after.holder.clone()));
        }
        let holder = after.holder.as_ref()?;
        let running = self.running_record().map(|record| (&record.host, record.epoch));
        let adopted = |epoch| running == Some((holder, epoch));
        if after.chosen.is_some_and(|epoch| before.chosen != after.chosen && !adopted(epoch)) {
            let last = self.record().map(|record| record.host.clone());
            return Some(match &last {
                _ if self.ledger.sign.is_none() => (Kind::Start, last, Some(holder.clone())),
                Some(last) if last != holder => (Kind::Failover, Some(last.clone()), Some(holder.clone())),
                _ => (Kind::Again, Some(holder.clone()), Some(holder.clone())),
            });
        }
        // Before the holder is promoted there is nothing to move.
        let planned = self.moves.iter().find(|planned| planned.role == after.role && planned.is_asked());
        if let Some(planned) = planned.filter(|_| after.grant.is_some()) {
            return Some((Kind::Move, Some(planned.from.clone()), Some(planned.to.clone())));
        }
        // The holder is in trouble, and the role does not leave it.
        let gone = self.hosts.get(holder).is_some_and(|host| {
            host.agent.connected && host.agent.gone_since.is_some() && after.grant.is_some()
        });
        gone.then(|| (Kind::Failover, Some(holder.clone()), Some(holder.clone())))
    }

    fn begin_record(
        &mut self,
        now: Moment,
        before: &Before,
        role: &Role,
        kind: Kind,
        from: Option<&HostName>,
        to: Option<&HostName>,
    ) {
        let mut record = Record::new(self.ledger.last_number.saturating_add(1), kind, role.clone());
        let left = from.filter(|from| kind == Kind::Failover && before.holder.as_ref() == Some(*from));
        record.trigger = self.trigger(&before.cause, from, left);
        if kind == Kind::Start {
            "the monitor has started, and nobody serves as the writer".clone_into(&mut record.trigger.what);
        }
        record.evidence = from.map(|from| self.evidence(now, from)).unwrap_or_default();
        record.from = from.cloned();
        record.to = to.cloned();
        let views = self.candidate_views(now, &record);
        record.set_candidates(views);
        record.decision = self.decision(&record);
        // A move may be waiting while the role has left already, as by another command in passive mode.
        let asked = self.live_move(role).filter(|_| self.active_master() == from);
        let what = record.trigger.what.clone();
        let held = self.slots.get(role).and_then(|slot| slot.grant.as_ref()).map(|grant| grant.epoch);
        let page = self.ledger.begin(now, record);
        page.kept = held.filter(|_| from == to);
        page.step(now, StepKind::Seen, from, what);
        if let (Some(_), Some(to)) = (asked, to) {
            page.step(now, StepKind::Asked, Some(to), "to catch up before anything is stopped");
        } else if kind != Kind::Move && to.is_some() && to != from {
            page.step(now, StepKind::Chosen, to, "");
        }
        self.begin_gap(now);
    }

    fn live_move(&self, role: &Role) -> Option<(HostName, Purpose)> {
        let planned = self.moves.iter().find(|planned| planned.role == *role && planned.is_asked())?;
        Some((planned.to.clone(), planned.purpose))
    }

    fn decision(&self, record: &Record) -> String {
        match (&record.from, &record.to) {
            (Some(from), Some(to)) if from == to && matches!(record.kind, Kind::Again | Kind::Start) => {
                format!("{to}, which had the role last, is promoted anew")
            }
            (Some(from), Some(to)) if from == to && record.has(StepKind::Taken) => {
                format!("{to} gets the role back")
            }
            (Some(from), Some(to)) if from == to => format!("the role stays on {to}: {}", self.why_kept()),
            (_, Some(to)) => format!("{to} takes the role"),
            (_, None) => "nobody can take the role now".to_owned(),
        }
    }

    fn go_on(&mut self, now: Moment, before: &Before, after: &Now, actions: &[Action]) {
        let Some(page) = &self.ledger.open else { return };
        if page.record.role != after.role {
            self.ledger.end(now, Outcome::Superseded, "the configuration has another address for the role");
            return;
        }
        if page.record.is_only_asked() && !self.move_is_under_way(now, before, after, actions) {
            return;
        }
        self.follow_holder(now, before, after);
        self.follow_old(now, before, after);
        self.follow_new(now, after);
    }

    /// Whether the target of a move has got the role; until then nothing but asking was done.
    fn move_is_under_way(&mut self, now: Moment, before: &Before, after: &Now, actions: &[Action]) -> bool {
        let live = self.live_move(&after.role).map(|(to, _)| to);
        let Some(page) = &mut self.ledger.open else { return false };
        // Nobody was asked where the role only leaves, as with `set_offline --force`.
        let Some(to) = page.record.to.clone() else { return true };
        let given_up = |planned: &Move| planned.to == to && planned.gave_up_at() == Some(now);
        let refused = self.moves.iter().any(given_up).then(|| {
            let words = actions.iter().rev().find_map(|action| match action {
                Action::Log(LogLevel::Error, text) if text.contains(&format!("'{to}'")) => Some(text.clone()),
                _ => None,
            });
            words.unwrap_or_else(|| format!("the move to {to} was given up"))
        });
        let approached = self.hosts.get(&to).and_then(|host| host.agent.status.approached.as_ref());
        let ready = approached.is_some_and(|approached| approached.outcome.is_ok());
        if after.holder.as_ref() == Some(&to) && refused.is_none() {
            if ready && page.record.has(StepKind::Asked) {
                page.step_once(now, StepKind::Approached, Some(&to), "it has caught up");
            }
            page.step(now, StepKind::Taken, page.record.from.clone().as_ref(), "");
            page.step(now, StepKind::Chosen, Some(&to), "");
            let number = page.record.number;
            self.ledger.changed.insert(number);
            return true;
        }
        if live.as_ref() == Some(&to) && after.holder == page.record.from {
            if after.chosen.is_some() && before.chosen != after.chosen {
                self.ledger.end(now, Outcome::Superseded, "its holder has to be promoted anew first");
            }
            return false;
        }
        let recalled = page.record.has(StepKind::NextMonitor);
        match refused {
            Some(why) => self.ledger.end(now, Outcome::Refused, why),
            None if recalled => {
                self.ledger.end(now, Outcome::Undone, "the monitor ended before anything was stopped");
            }
            None => self.ledger.end(now, Outcome::Refused, "something else came first"),
        }
        false
    }

    /// The role leaves a host, another one is chosen, or the choice changes.
    fn follow_holder(&mut self, now: Moment, before: &Before, after: &Now) {
        let Some(page) = &mut self.ledger.open else { return };
        let (from, to) = (page.record.from.clone(), page.record.to.clone());
        if from != after.holder && !page.record.has(StepKind::Taken) && from.is_some() {
            page.step(now, StepKind::Taken, from.as_ref(), "");
            self.ledger.change();
        }
        if to == after.holder {
            return;
        }
        let Some(page) = &mut self.ledger.open else { return };
        let told = page.record.steps.iter().rev().find(|step| step.step == StepKind::Promoted);
        let promoted = to.is_some() && told.is_some_and(|step| step.host == to);
        let opened = page.record.has(StepKind::Open);
        if promoted && (after.holder != from || opened) {
            let gap = page.record.gap.clone();
            let offset = page.at(now);
            let number = page.record.number;
            let why = match &to {
                Some(to) if opened => format!("{to} lost the role before one of its commits came back"),
                Some(to) => format!("{to} lost the role before it served"),
                None => "nobody had it".to_owned(),
            };
            self.ledger.end(now, Outcome::Superseded, why);
            self.begin_record(now, before, &after.role, Kind::Failover, to.as_ref(), after.holder.as_ref());
            if let Some(page) = &mut self.ledger.open {
                let shifted = |ms: Option<i64>| ms.map(|ms| ms.saturating_sub(offset));
                page.record.gap = super::Gap {
                    from_ms: shifted(gap.from_ms),
                    from_by: format!("{}, see record {number}", gap.from_by),
                    possible_until_ms: shifted(gap.possible_until_ms),
                    ..super::Gap::default()
                };
            }
            return;
        }
        page.record.to.clone_from(&after.holder);
        page.waits = None;
        match &after.holder {
            Some(holder) if Some(holder) == from.as_ref() => {
                page.step(now, StepKind::Chosen, Some(holder), "the role stays where it was");
            }
            Some(holder) => page.step(now, StepKind::Chosen, Some(holder), ""),
            None => {
                let note = to.map_or_else(String::new, |to| format!("{to} can't take it any more"));
                page.step(now, StepKind::Chosen, None, format!("nobody. {note}"));
            }
        }
        self.describe_choice(now);
    }

    /// Everybody who could have been chosen, as of now.
    fn describe_choice(&mut self, now: Moment) {
        let Some(page) = &self.ledger.open else { return };
        let views = self.candidate_views(now, &page.record);
        let decision = self.decision(&page.record);
        if let Some(page) = &mut self.ledger.open {
            page.record.set_candidates(views);
            page.record.decision = decision;
        }
        self.ledger.change();
    }

    /// How the old writer lets go.
    fn follow_old(&mut self, now: Moment, before: &Before, after: &Now) {
        let Some(page) = &self.ledger.open else { return };
        let Some(from) = page.record.from.clone().filter(|_| !page.record.has(StepKind::Open)) else {
            return;
        };
        let Some(host) = self.hosts.get(&from) else { return };
        let status = &host.agent.status;
        let said = host.agent.connected && self.ledger.heard.contains_key(&from);
        let is_new = page.record.to.as_ref() == Some(&from) && page.record.has(StepKind::Promoted);
        let count = page.record.steps.len();
        let closed = said && !is_new && !status.server.is_writable() && !page.record.has(StepKind::Closed);
        let closed_at = host.agent.gone_since.unwrap_or(now);
        let words = super::evidence::server_words(status.server);
        let off = said && !is_new && !status.held.contains(&after.role);
        if closed {
            self.close_gap_start(closed_at, &from);
        }
        let ended = self.record().filter(|record| record.host == from).and_then(|record| record.ended);
        let was = before.record.as_ref().filter(|(host, ..)| *host == from).and_then(|(.., ended)| *ended);
        let Some(page) = &mut self.ledger.open else { return };
        if closed {
            page.step(closed_at, StepKind::Closed, Some(&from), words);
        }
        if off {
            page.step_once(now, StepKind::AddressOff, Some(&from), "");
        }
        if let Some(ended) = ended.filter(|_| was.is_none()) {
            page.step_once(now, StepKind::Released, Some(&from), ended.as_str());
        }
        if page.record.steps.len() != count {
            self.ledger.change();
        }
    }

    /// How the new writer takes over.
    fn follow_new(&mut self, now: Moment, after: &Now) {
        self.note_waits(now, after);
        let Some(page) = &self.ledger.open else { return };
        let (Some(to), Some(grant)) = (page.record.to.clone(), &after.grant) else { return };
        if after.holder.as_ref() != Some(&to) {
            return;
        }
        let count = page.record.steps.len();
        let told = page.record.steps.iter().rev().find(|step| step.step == StepKind::Promoted);
        let is_news =
            page.record.epoch != Some(grant.epoch) || told.is_none_or(|step| step.host != Some(to.clone()));
        let kept = page.kept == Some(grant.epoch);
        if is_news && !kept {
            self.note_promotion(now, &to, grant);
        }
        let serves = self.is_serving(&to);
        let Some(host) = self.hosts.get(&to) else { return };
        let status = &host.agent.status;
        let leased =
            self.running_record().is_some_and(|record| record.host == to && record.epoch == grant.epoch);
        let caught_up = status.junction.as_ref().is_some_and(|(epoch, _)| *epoch == grant.epoch);
        let open = leased && host.agent.connected && status.server.is_writable();
        let (addressed, accepted) = (status.held.contains(&after.role), status.lease.accepted >= grant.epoch);
        let plain = host.agent.protocol1.is_some();
        let open = open && (accepted || plain);
        let Some(page) = &mut self.ledger.open else { return };
        if !kept {
            if leased {
                page.step_once(now, StepKind::Leased, Some(&to), "");
            }
            if caught_up || open {
                page.step_once(now, StepKind::CaughtUp, Some(&to), "");
            }
            if open {
                page.step_once(now, StepKind::Open, Some(&to), "it takes writes");
            }
            if open && addressed {
                page.step_once(now, StepKind::Address, Some(&to), "");
            }
        }
        if page.record.steps.len() != count {
            self.ledger.change();
        }
        if serves && open {
            self.serves(now, &to);
        }
    }

    /// It takes writes at its address; whether clients hear of one is another matter where commits wait for an acknowledgement.
    fn serves(&mut self, now: Moment, to: &HostName) {
        let Some(page) = &self.ledger.open else { return };
        let opened = page.record.steps.iter().rev().find(|step| step.step == StepKind::Open);
        let waited = opened.map_or(0, |step| page.at(now).saturating_sub(step.at_ms));
        let waited = Duration::from_millis(u64::try_from(waited).unwrap_or_default());
        if self.commits_return(to, waited) {
            self.end_served(now, to);
        } else if let Some(page) = self.ledger.open.as_mut().filter(|page| !page.hangs) {
            page.hangs = true;
            let note = "its first commits wait for the acknowledgement of another host (semi-synchronous replication)";
            page.step(now, StepKind::Waits, Some(to), note);
            self.ledger.change();
        }
    }

    fn note_promotion(&mut self, now: Moment, to: &HostName, grant: &Promotion) {
        let how = match &grant.takeover {
            Takeover::Keep => "it goes on with what it has".to_owned(),
            Takeover::Fresh => "it applies what it received".to_owned(),
            Takeover::AskSource => "it applies the log of the server it replicates from".to_owned(),
            Takeover::After(place) => {
                format!("it applies the old log up to {} {}", place.file, place.position)
            }
            Takeover::Lost => "it applies what it received from the lost writer".to_owned(),
        };
        let proof = describe_proof(grant.proof);
        if let Some(page) = &mut self.ledger.open {
            page.record.epoch = Some(grant.epoch);
            page.record.proof.clone_from(&proof);
            if matches!(grant.proof, Proof::RanOut(_)) {
                page.step_once(
                    now,
                    StepKind::Released,
                    page.record.from.clone().as_ref(),
                    "the lease has run out",
                );
            }
            page.step(now, StepKind::Promoted, Some(to), format!("epoch {}, {how} ({proof})", grant.epoch));
        }
        self.bound_gap_start(now, grant.proof);
        self.describe_choice(now);
    }

    fn end_served(&mut self, now: Moment, to: &HostName) {
        let Some(page) = &mut self.ledger.open else { return };
        page.record.gap.until_ms = Some(page.at(now));
        // Whether commits come back is looked at now and then.
        page.record.gap.until_at_latest = page.hangs
            || page.record.steps.iter().rev().take_while(|step| step.step != StepKind::NextMonitor).count()
                < 4
                && page.record.has(StepKind::NextMonitor);
        let stayed =
            page.record.from.as_ref() == Some(to) && !matches!(page.record.kind, Kind::Again | Kind::Start);
        if stayed {
            self.ledger.end(now, Outcome::Undone, format!("{to} goes on with the role"));
        } else {
            self.ledger.end(now, Outcome::Done, format!("{to} takes writes at the address"));
        }
    }

    /// What the chosen host waits for, each thing once.
    fn note_waits(&mut self, now: Moment, after: &Now) {
        let Some(page) = &self.ledger.open else { return };
        if after.grant.is_some() || page.record.to != after.holder {
            return;
        }
        // Nobody is chosen while the old lease runs, though somebody may be there who can be.
        let next = match &after.holder {
            None if !self.promise_runs(now) => self.first_able(now),
            holder => holder.clone(),
        };
        let (key, note) = match &next {
            _ if after.holder.is_none() && self.choosing.is_some() => {
                ("choice".to_owned(), "for what each candidate has received".to_owned())
            }
            None => ("nobody".to_owned(), self.why_nobody(now)),
            Some(to) => match self.writer_proof(now, to) {
                Ok(_) => return,
                Err(Waiting::Lease(Obstacle::StillRuns { holder, rest })) => {
                    let note = format!("for the lease of {holder}, {:.1} s at most", rest.as_secs_f32());
                    (format!("lease of {holder}"), note)
                }
                Err(_) => (self.why(now), self.why(now)),
            },
        };
        if page.waits.as_ref() == Some(&key) {
            return;
        }
        if let Some(page) = &mut self.ledger.open {
            page.waits = Some(key);
            page.step(now, StepKind::Waits, after.holder.as_ref(), note);
        }
        self.ledger.change();
    }

    /// The order of a writer that serves already is carried out in full.
    fn note_applied(&mut self, now: Moment, after: &Now) {
        let Some(page) = self.ledger.ended.back().filter(|_| self.ledger.open.is_none()) else { return };
        let done = page.record.outcome == Some(Outcome::Done) && !page.record.has(StepKind::Applied);
        let Some(to) = page.record.to.clone().filter(|to| done && after.holder.as_ref() == Some(to)) else {
            return;
        };
        let Some(host) = self.hosts.get(&to) else { return };
        let sent =
            host.agent.sent.as_ref().filter(|(order, _)| order.writer.is_some()).map(|(order, _)| order.id);
        if sent.is_some()
            && host.agent.connected
            && host.agent.status.applied == sent
            && let Some(page) = self.ledger.ended.back_mut()
        {
            page.step(now, StepKind::Applied, Some(&to), "");
            self.ledger.changed.insert(page.record.number);
        }
    }

    /// What the monitor logged in a step that belongs to a record.
    fn note_words(&mut self, now: Moment, open_before: Option<u64>, role: &Role, actions: &[Action]) {
        let ended =
            self.ledger.ended.back_mut().filter(|page| self.ledger.changed.contains(&page.record.number));
        let Some(page) = self.ledger.open.as_mut().or(ended) else { return };
        if open_before.is_none() && !self.ledger.changed.contains(&page.record.number) {
            return;
        }
        let at_ms = page.at(now);
        let hosts = [page.record.from.clone(), page.record.to.clone()];
        let words = actions.iter().filter_map(|action| match action {
            // What has several lines is a table.
            Action::Log(level, text) if *level > LogLevel::Debug && !text.contains('\n') => {
                Some((level, text.trim()))
            }
            _ => None,
        });
        let of_it: Vec<Said> = words
            .filter(|(_, text)| {
                text.contains(&role.to_string())
                    || text.contains(&format!("'{}'", role.name()))
                    || hosts.iter().flatten().any(|host| text.contains(&format!("'{host}'")))
            })
            .map(|(level, text)| Said { at_ms, level: level.as_str().to_owned(), text: text.to_owned() })
            .collect();
        if of_it.is_empty() {
            return;
        }
        for said in of_it {
            page.record.push_said(said);
        }
        let number = page.record.number;
        self.ledger.changed.insert(number);
    }
}
