//! Asking hosts what their servers have as of now: what an agent said before an event is no evidence of what was there at the event.

use super::{Action, Cluster};
use crate::message::{OrderId, ToAgent};
use crate::names::HostName;

impl Cluster {
    /// Asks the agents of these hosts to look at their servers; [`Cluster::has_looked`] tells when one has.
    pub(super) fn ask_for_a_look(&mut self, hosts: &[HostName], actions: &mut Vec<Action>) -> OrderId {
        self.last_look += 1;
        let id = OrderId { instance: self.settings.instance, number: self.last_look };
        for host in hosts.iter().filter(|host| self.can_look(host)) {
            actions.push(Action::Tell { host: host.clone(), message: ToAgent::Look { id } });
        }
        id
    }

    /// Whether what a host's agent says of its server was asked after this look was ordered.
    pub(super) fn has_looked(&self, host: &HostName, look: OrderId) -> bool {
        let said = self.hosts.get(host).and_then(|host| host.agent.status.looked);
        said.is_some_and(|said| said.instance == look.instance && said.number >= look.number)
    }

    /// Whether there is an answer to wait for: an agent of another version or of 2.2.1 gives none.
    pub(super) fn can_look(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|host| host.agent.connected && host.agent.status.looked.is_some())
    }
}
