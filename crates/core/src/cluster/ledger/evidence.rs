//! What was seen when a record began, from whom and how old it was, and what each candidate had.

use super::{Candidate, Cause, Evidence, Record, Trigger};
use crate::check::CheckKind;
use crate::cluster::moves::Purpose;
use crate::cluster::{Cluster, Waiting};
use crate::gtid::Compared;
use crate::lease::Obstacle;
use crate::message::{AgentStatus, ServerView};
use crate::moment::Moment;
use crate::names::HostName;
use crate::state::{HostState, Mode};

fn ms(now: Moment, then: Moment) -> Option<u64> {
    u64::try_from(now.since(then).as_millis()).ok()
}

pub(super) fn server_words(view: ServerView) -> &'static str {
    match view {
        ServerView::Unknown => "its server has not been seen yet",
        ServerView::Up { writable: true } => "its server is up and takes writes",
        ServerView::Up { writable: false } => "its server is up and read-only",
        ServerView::Silent { .. } => "its server's process is there and does not answer",
        ServerView::Refusing => "its server does not let the agent in",
        ServerView::Gone => "its server has ended",
    }
}

impl Cluster {
    /// `left`: the host that has just lost the role. What was heard of another one is not the reason for that, nor is a check that is
    /// good, nor that another one was let in: only the occasion.
    pub(super) fn trigger(&self, cause: &Cause, from: Option<&HostName>, left: Option<&HostName>) -> Trigger {
        let is_good = |host: &HostName| match cause {
            Cause::Checked(_, kind) => self.hosts.get(host).is_some_and(|host| host.good(*kind)),
            _ => false,
        };
        let lets_in = |left: &HostName| match cause {
            Cause::Commanded(line) => {
                line.strip_prefix("set_online ").is_some_and(|host| host.trim() != left.as_str())
            }
            _ => false,
        };
        let is_beside =
            |left: &HostName| cause.host().is_some_and(|host| host != left || is_good(host)) || lets_in(left);
        let cause = if left.is_some_and(is_beside) { &Cause::Time } else { cause };
        let rule = self
            .ledger
            .rule
            .as_ref()
            .filter(|(host, _)| from.is_none_or(|from| from == host))
            .map(|(_, rule)| format!("{rule:?}"));
        let by = match cause {
            Cause::Commanded(_) => "an operator, by mmm_control",
            Cause::Reconfigured => "an operator, by the configuration",
            _ => "the monitor",
        };
        let what = match cause {
            Cause::Time => self.in_the_course_of_time(from),
            Cause::Network(reachable) => {
                format!(
                    "the monitor's network became {}",
                    if *reachable { "reachable" } else { "unreachable" }
                )
            }
            Cause::Checked(host, kind) => {
                format!("check {kind} of {host}: {}", self.check_words(host, *kind))
            }
            Cause::Agent(host) => {
                let view = self.hosts.get(host).map_or(ServerView::Unknown, |host| host.agent.status.server);
                format!("agent on {host}: {}", server_words(view))
            }
            Cause::AgentLost(host, reason) => format!("agent on {host} was lost: {reason}"),
            Cause::Renewed(host) => format!("{host} asked for its lease"),
            Cause::Disk => "the monitor's state was written".to_owned(),
            Cause::Killed(host) => format!("kill_host ended for {host}"),
            Cause::Commanded(line) => line.clone(),
            Cause::Reconfigured => "the configuration was read again".to_owned(),
        };
        Trigger { what, by: by.to_owned(), rule }
    }

    fn in_the_course_of_time(&self, from: Option<&HostName>) -> String {
        let preferred = self.moves.iter().any(|planned| matches!(planned.purpose, Purpose::Preference));
        let gone = from.and_then(|from| self.hosts.get(from)).filter(|host| !host.agent.connected);
        match (from, gone) {
            (Some(from), Some(_)) => format!("agent on {from} has not been heard for too long"),
            _ if preferred => "the role has a preferred host, which can take it".to_owned(),
            (Some(from), None) if self.useless(from).is_some() => {
                let words = self.useless(from).map(|(_, words)| words).unwrap_or_default();
                format!("agent on {from}: {words}")
            }
            (Some(from), None) => match self.hosts.get(from).map(|host| host.agent.status.server) {
                Some(view) => format!("time went by; agent on {from}: {}", server_words(view)),
                None => "time went by".to_owned(),
            },
            (None, _) => "time went by".to_owned(),
        }
    }

    fn check_words(&self, host: &HostName, kind: CheckKind) -> String {
        self.hosts.get(host).map_or_else(String::new, |host| host.check(kind).message().to_owned())
    }

    /// What is known of the host that has or had the role.
    pub(in crate::cluster) fn evidence(&self, now: Moment, name: &HostName) -> Vec<Evidence> {
        let Some(host) = self.hosts.get(name) else { return Vec::new() };
        let agent = &host.agent;
        let heard = self.ledger.heard.get(name).and_then(|at| ms(now, *at));
        let evidence =
            |source: &str, what: String, age_ms| Evidence { source: source.to_owned(), what, age_ms };
        let mut all = Vec::new();
        if agent.connected {
            let age = agent.gone_since.or(agent.silent_since).and_then(|since| ms(now, since)).or(heard);
            all.push(evidence(
                &format!("agent on {name}"),
                server_words(agent.status.server).to_owned(),
                age,
            ));
            all.extend(
                agent
                    .status
                    .problem
                    .iter()
                    .map(|problem| evidence(&format!("agent on {name}"), problem.clone(), heard)),
            );
            all.extend(
                self.useless(name)
                    .map(|(since, words)| evidence(&format!("agent on {name}"), words, ms(now, since))),
            );
        } else {
            all.push(evidence(
                "session",
                format!("agent on {name} can't be reached"),
                ms(now, agent.lost_at),
            ));
            let said = format!("{}, as it said last", server_words(agent.status.server));
            all.push(evidence(&format!("agent on {name}"), said, heard));
        }
        for (kind, check) in host.checks.iter().filter(|(_, check)| check.has_run()) {
            let word = if check.good() { "good" } else { "bad" };
            let what = format!("{word}: {}", check.message());
            all.push(evidence(&format!("check {kind} of {name}"), what, ms(now, check.changed())));
        }
        let lease = match (self.record(), self.keeper.book.ends()) {
            (None, _) => "nobody was granted one".to_owned(),
            (Some(record), _) if record.ended.is_some() => {
                format!("epoch {} of {} was ended", record.epoch, record.host)
            }
            (Some(record), None) => {
                format!(
                    "epoch {} of {} does not run out: it knew of nobody to take over",
                    record.epoch, record.host
                )
            }
            (Some(record), Some(ends)) if ends > now => format!(
                "epoch {} of {} runs for {:.1} s at most",
                record.epoch,
                record.host,
                ends.since(now).as_secs_f32()
            ),
            (Some(record), Some(_)) => format!("epoch {} of {} has run out", record.epoch, record.host),
        };
        all.push(evidence("lease", lease, None));
        for promiser in self.promisers(now) {
            all.push(evidence(&format!("promise of {promiser}"), format!("{name} lives"), None));
        }
        all.push(evidence("network check", "reachable".to_owned(), ms(now, self.network_since)));
        all
    }

    /// Everybody who could be the writer, with what it has.
    pub(super) fn candidate_views(&self, now: Moment, record: &Record) -> Vec<Candidate> {
        let view = |name: &HostName| {
            let host = self.hosts.get(name)?;
            let chosen = record.to.as_ref() == Some(name);
            let status = &host.agent.status;
            Some(Candidate {
                host: name.clone(),
                state: host.state,
                chosen,
                why: self.why_chosen(now, record, name),
                received: received(status),
                applied: applied(status),
                age_ms: self.ledger.heard.get(name).and_then(|at| ms(now, *at)),
            })
        };
        self.settings.candidates().iter().filter_map(view).collect()
    }

    fn why_chosen(&self, now: Moment, record: &Record, name: &HostName) -> String {
        let chosen = record.to.as_ref() == Some(name);
        if let Some(why) = self.why_not_able(now, name).filter(|_| !chosen) {
            return why;
        }
        let prefers = self.settings.roles.get(&self.settings.active_master_role);
        let preferred = prefers.and_then(|role| role.prefer.as_ref()) == Some(name);
        match (chosen, record.kind) {
            (true, super::Kind::Move) if record.from == record.to => {
                "it had the role, and the target lost it".to_owned()
            }
            (true, super::Kind::Move) => "it was asked for".to_owned(),
            (true, _) if preferred => "it is the preferred host and can take the role".to_owned(),
            (true, _) => match self.others_able(now, name) {
                0 => "no other host can take the role".to_owned(),
                count => format!("one of {} that can take the role", count + 1),
            },
            (false, super::Kind::Move) => "not asked for".to_owned(),
            (false, _) => match &record.to {
                Some(to) => match self.compare_received(to, name) {
                    Compared::More(words) => format!("{to} has received {words}"),
                    Compared::Same => format!("it has received the same, and {to} comes first otherwise"),
                    Compared::Apart(..) => format!("it and {to} each have received what the other one lacks"),
                    Compared::Less(_) | Compared::Unknown => {
                        format!("it could take the role as well, {to} was chosen")
                    }
                },
                None => "nobody is chosen yet".to_owned(),
            },
        }
    }

    fn others_able(&self, now: Moment, name: &HostName) -> usize {
        let others = self.settings.candidates().iter().filter(|other| *other != name);
        others.filter(|other| self.why_not_able(now, other).is_none()).count()
    }

    /// What keeps a host from becoming the writer now; none: nothing.
    pub(in crate::cluster) fn why_not_able(&self, now: Moment, name: &HostName) -> Option<String> {
        let host = self.hosts.get(name)?;
        if host.state != HostState::Online {
            return Some(format!("it is {}", host.state));
        }
        if !host.agent.connected {
            return Some("its agent can't be reached".to_owned());
        }
        if !host.server_is_up() {
            return Some(server_words(host.agent.status.server).to_owned());
        }
        match self.writer_proof(now, name) {
            Err(Waiting::Lease(Obstacle::NotListed { holder })) => {
                let there = self.hosts.get(&holder).is_some_and(|holder| holder.agent.connected);
                (!there).then(|| format!("{holder} did not know that it could take over"))
            }
            _ => None,
        }
    }

    /// Why the role does not leave a holder that is in trouble.
    pub(super) fn why_kept(&self) -> String {
        match self.mode {
            Mode::Manual => "manual mode: no role leaves a failed host by itself".to_owned(),
            Mode::Wait => "wait mode: no role leaves a failed host before both masters are there".to_owned(),
            Mode::Passive => "passive mode: nothing is changed".to_owned(),
            Mode::Active => format!(
                "the server may be restarted in place (failover_grace {} s)",
                self.settings.failover_grace.as_secs_f32()
            ),
        }
    }
}

/// What a server has received, be it applied or not.
fn received(status: &AgentStatus) -> Option<String> {
    let received = status.received.as_ref()?;
    if !received.gtids.is_empty() {
        return Some(received.gtids.clone());
    }
    let place = received.place.as_ref()?;
    Some(format!("{} {} of {}", place.file, place.position, place.source))
}

/// What a server has applied, in its own words.
fn applied(status: &AgentStatus) -> Option<String> {
    let gtid = status.gtid.as_ref()?;
    let place = if gtid.slave_pos.is_empty() { &gtid.binlog_state } else { &gtid.slave_pos };
    (!place.is_empty()).then(|| place.clone())
}
