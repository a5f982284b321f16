//! Which of several hosts becomes the writer: the one that has received most of what the last writer wrote, applied or not.
//!
//! What agents said last may be older than the loss, so they are asked again; one that does not answer is judged by what
//! it said before. Hosts that can't be chosen are asked as well: the next writer may get from them what it lacks.

use std::time::Duration;

use super::{Action, Cluster, DataRule, LogLevel};
use crate::gtid::Compared;
use crate::message::OrderId;
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::settings::HostMode;
use crate::state::HostState;

/// A server that answers does so in milliseconds; meanwhile nobody writes.
const PATIENCE: Duration = Duration::from_millis(500);

/// The same of a host that can't be chosen: it holds nobody up that others depend on.
const LENDERS_PATIENCE: Duration = Duration::from_millis(200);

/// A choice that waits for answers.
#[derive(Clone, Debug)]
pub(super) struct Choosing {
    look: OrderId,
    since: Moment,
    among: Vec<HostName>,
}

impl Cluster {
    /// The best of these hosts for the writer role, all of which may be chosen; `None` while an answer is waited for.
    pub(super) fn choose_writer(
        &mut self,
        now: Moment,
        role: &Role,
        hosts: &[HostName],
        actions: &mut Vec<Action>,
    ) -> Option<HostName> {
        let last =
            self.slots.get(role).and_then(|slot| self.last_writer(slot)).or(self.stored_writer()).cloned();
        let beside = self.beside(hosts, last.as_ref());
        let nothing_to_compare = hosts.is_empty() || (hosts.len() == 1 && beside.is_empty());
        if nothing_to_compare || last.as_ref().is_none_or(|last| hosts.contains(last)) {
            // Nobody has more than who wrote last; and where nobody ever did, there is nothing to compare.
            self.choosing = None;
            return last
                .filter(|last| hosts.contains(last))
                .or_else(|| self.by_rank(role, hosts).into_iter().next());
        }
        if !self.has_answers(now, hosts, &beside, actions) {
            return None;
        }
        self.choosing = None;
        let ranked = self.by_rank(role, hosts);
        let mut best = ranked.first()?.clone();
        for host in &ranked[1..] {
            if self.goes_by(DataRule::ReceivedDecides) && self.is_ahead(host, &best) {
                best = host.clone();
            }
        }
        self.explain_choice(role, &best, &ranked, actions);
        Some(best)
    }

    /// Hosts that can't be chosen and may have received more than those that can.
    fn beside(&self, hosts: &[HostName], last: Option<&HostName>) -> Vec<HostName> {
        let mut beside = self.lenders();
        beside.retain(|host| !hosts.contains(host) && Some(host) != last && self.can_look(host));
        beside
    }

    fn has_answers(
        &mut self,
        now: Moment,
        hosts: &[HostName],
        beside: &[HostName],
        actions: &mut Vec<Action>,
    ) -> bool {
        let mut all = hosts.iter().chain(beside);
        let known = self.choosing.as_ref().filter(|choosing| all.all(|host| choosing.among.contains(host)));
        let Some(choosing) = known else {
            let since = self.choosing.as_ref().map_or(now, |choosing| choosing.since);
            let among = [hosts, beside].concat();
            let look = self.ask_for_a_look(&among, actions);
            let waits = among.iter().any(|host| self.can_look(host));
            self.choosing = Some(Choosing { look, since, among });
            return !waits;
        };
        let waits = |host: &HostName| self.can_look(host) && !self.has_looked(host, choosing.look);
        let waited = now.since(choosing.since);
        (waited >= PATIENCE || !hosts.iter().any(waits))
            && (waited >= LENDERS_PATIENCE || !beside.iter().any(waits))
    }

    /// Who goes first among hosts with the same data: those without transactions of their own, the preferred one, masters, then
    /// whoever carries least.
    fn by_rank(&self, role: &Role, hosts: &[HostName]) -> Vec<HostName> {
        let prefer = self.settings.roles.get(role.name()).and_then(|role| role.prefer.clone());
        let mut ranked = hosts.to_vec();
        ranked.sort_by_key(|host| {
            let errant = self.errant_of(host).is_some();
            (errant, Some(host) != prefer.as_ref(), !self.is_master(host), self.load(host), host.clone())
        });
        ranked
    }

    pub(super) fn is_master(&self, host: &HostName) -> bool {
        self.settings.hosts.get(host).is_some_and(|host| host.mode == HostMode::Master)
    }

    pub(super) fn compare_received(&self, host: &HostName, other: &HostName) -> Compared {
        let received =
            |host: &HostName| self.hosts.get(host).and_then(|host| host.agent.status.received.as_deref());
        match (received(host), received(other)) {
            (Some(here), Some(there)) => here.compare(there),
            _ => Compared::Unknown,
        }
    }

    /// Whether a host has received more than another one. Where each has something alone, the greater part decides: what the other
    /// one has alone is compared again when all is over.
    fn is_ahead(&self, host: &HostName, other: &HostName) -> bool {
        match self.compare_received(host, other) {
            Compared::More(_) => true,
            Compared::Apart(here, there) => here.count() > there.count(),
            Compared::Same | Compared::Less(_) | Compared::Unknown => false,
        }
    }

    fn explain_choice(&self, role: &Role, best: &HostName, ranked: &[HostName], actions: &mut Vec<Action>) {
        for host in ranked.iter().filter(|host| *host != best) {
            let why = match self.compare_received(best, host) {
                Compared::More(words) => format!("'{best}' has received {words}"),
                Compared::Same => format!("both have received the same, and '{best}' comes first otherwise"),
                Compared::Apart(here, there) => {
                    format!(
                        "'{best}' has {} transactions that '{host}' lacks, and lacks {}: {there}",
                        here.count(),
                        there.count()
                    )
                }
                Compared::Less(_) | Compared::Unknown => {
                    "what they have received can't be compared".to_owned()
                }
            };
            let text = format!("Role '{role}' goes to '{best}' rather than to '{host}': {why}");
            actions.push(Action::log(LogLevel::Info, text));
        }
        let candidates = self.settings.candidates().iter().filter(|host| !ranked.contains(host));
        for host in candidates {
            let Some(state) = self.hosts.get(host).map(|host| host.state) else { continue };
            if let Compared::More(words) = self.compare_received(host, best)
                && !matches!(state, HostState::HardOffline | HostState::Online)
            {
                let text = format!(
                    "Host '{host}' has received {words} than '{best}', which becomes the writer: it is {state} and can't be chosen"
                );
                actions.push(Action::log(LogLevel::Warn, text));
            }
        }
    }
}
