//! How long the addresses of roles without a lease may stay: as long as somebody who could place them anew is heard.

use std::collections::BTreeSet;

use super::ContactRound;
use crate::agent::event::AgentAction;
use crate::agent::mind::AgentMind;
use crate::agent::step::Lifetime;
use crate::message::PeerRequest;
use crate::moment::Moment;
use crate::names::HostName;

impl AgentMind {
    /// Until when the kernel may keep the addresses of other roles.
    pub(in crate::agent) fn reader_lifetime(&self) -> Option<Lifetime> {
        if self.follows_lines() {
            return Some(Lifetime::Forever);
        }
        self.lease
            .contact
            .filter(|_| self.lease.confirmed)
            .map(|contact| Lifetime::Until(contact + self.terms().length.duration()))
    }

    /// Whether others may have been given what this host carried.
    pub(in crate::agent) fn has_lost_contact(&self, now: Moment) -> bool {
        let contact = self.lease.contact.filter(|_| !self.follows_lines());
        contact.is_some_and(|contact| now.since(contact) >= self.terms().length.duration())
    }

    pub(in crate::agent) fn take_in_contact(&mut self, host: &HostName, asked: Moment, sees_monitor: bool) {
        let others = self.other_role_hosts();
        let Some(round) = self.lease.contact_round.as_mut().filter(|round| round.asked == asked) else {
            return;
        };
        round.answered.insert(host.clone());
        if sees_monitor || others.is_subset(&round.answered) {
            self.lease.contact = self.lease.contact.max(Some(asked));
        }
    }

    /// The other hosts of the roles that this one carries, but for the writer's.
    pub(in crate::agent) fn other_role_hosts(&self) -> BTreeSet<HostName> {
        let roles = self.memory.order.iter().flat_map(|order| &order.roles);
        roles
            .filter(|role| !self.is_writer_role(role))
            .filter_map(|role| self.settings.role_hosts.get(role.name()))
            .flatten()
            .filter(|host| **host != self.settings.host)
            .cloned()
            .collect()
    }

    pub(in crate::agent) fn ask_contact(&mut self, now: Moment, actions: &mut Vec<AgentAction>) {
        let length = self.terms().length;
        let Some(contact) = self.lease.contact else { return };
        let asked_lately = self
            .lease
            .contact_round
            .as_ref()
            .is_some_and(|round| now.since(round.asked) < length.renew_every());
        if now.since(contact) < length.ask_promises_after() || asked_lately {
            return;
        }
        let others = self.other_role_hosts();
        if others.is_empty() {
            return;
        }
        self.lease.contact_round = Some(ContactRound { asked: now, answered: BTreeSet::new() });
        for host in others {
            actions.push(AgentAction::AskPeer { host, request: PeerRequest::Contact { asked: now } });
        }
    }
}
