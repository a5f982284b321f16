//! Hosts whose agent speaks protocol 1, as agents of 2.2.1 do.
//!
//! Such an agent keeps no lease, remembers no epoch and says nothing by itself. What it answers is made into the same
//! status that other agents send, so that every rule applies to it; what it can't know the book knows for it. It is
//! given the role only when that is on disk, as a lease that does not run out, and has given it back only when it was
//! told so and its host shows neither address nor writes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::host::Kill;
use super::keeper::Trust;
use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::gtid::GtidView;
use crate::lease::{Duty, Epoch};
use crate::message::{AgentStatus, LeaseHeld, LeaseStatus, LogPosition, OrderId, ServerView, Takeover};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::state::HostState;

/// A host whose uptime is so much less than it should be has been restarted.
const UPTIME_SLACK: Duration = Duration::from_secs(5);

/// What an agent of 2.2.1 answered in one round of questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protocol1Report {
    /// The order that it said it had applied before it was asked the rest.
    pub applied: Option<OrderId>,
    /// State and roles by its own word, where it was asked for them.
    pub said: Option<(Option<HostState>, BTreeSet<Role>)>,
    pub writable: bool,
    /// Roles whose address is really on the interface.
    pub held: BTreeSet<Role>,
    pub source_ip: Option<IpAddr>,
    pub uptime: Duration,
    /// The end of its server's log, read by the monitor after the server was seen to take no writes.
    pub position: Option<LogPosition>,
    pub gtid: Option<GtidView>,
}

/// What is kept of a host that speaks protocol 1 from one report to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Protocol1 {
    /// How often the host has been seen to be restarted.
    restarts: u32,
    /// Uptime and time of the last report.
    last: Option<(Duration, Moment)>,
}

impl Protocol1 {
    /// Tells one boot of the host from the next.
    pub(super) fn boot_id(&mut self, now: Moment, uptime: Duration) -> String {
        if let Some((before, at)) = self.last.replace((uptime, now))
            && uptime + UPTIME_SLACK < before + now.since(at)
        {
            self.restarts += 1;
        }
        format!("boot {} seen by protocol 1", self.restarts)
    }
}

impl Cluster {
    pub(super) fn speaks_protocol1(&self, name: &HostName) -> bool {
        self.hosts.get(name).is_some_and(|host| host.agent.protocol1.is_some())
    }

    /// Whether a host that could be the writer speaks protocol 1: it could promise nothing, so nobody's lease runs out.
    pub(super) fn has_protocol1_candidate(&self) -> bool {
        self.settings.candidates().iter().any(|name| self.speaks_protocol1(name))
    }

    pub(super) fn take_in_protocol1(
        &mut self,
        now: Moment,
        name: &HostName,
        report: Protocol1Report,
        actions: &mut Vec<Action>,
    ) {
        let Some(host) = self.hosts.get(name) else { return };
        let (known, connected) = (host.agent.protocol1.is_some(), host.agent.connected);
        if !known {
            let text = format!(
                "The agent on host '{name}' speaks protocol 1, as those of 2.2.1 do: the host is not fenced when it is cut off, and until its agent is replaced the writer's lease does not run out"
            );
            actions.push(Action::log(LogLevel::Warn, text));
        }
        if !known || !connected {
            self.take_in_agent(now, name, actions);
        }
        let Some(host) = self.hosts.get_mut(name) else { return };
        let boot_id = host.agent.protocol1.get_or_insert_default().boot_id(now, report.uptime);
        let status = self.made_up_status(name, report, boot_id);
        self.take_in_status(now, name, status, actions);
    }

    /// The status that an agent of this version would have sent.
    fn made_up_status(&self, name: &HostName, report: Protocol1Report, boot_id: String) -> AgentStatus {
        let mut status = AgentStatus {
            server: ServerView::Up { writable: report.writable },
            source_ip: report.source_ip,
            gtid: report.gtid,
            uptime: report.uptime,
            boot_id,
            ..AgentStatus::default()
        };
        let Some(host) = self.hosts.get(name) else { return status };
        let before = &host.agent.status;
        let sent = host.agent.sent.as_ref().map(|(order, _)| order);
        let applied = sent.filter(|order| report.applied == Some(order.id));
        status.taken_in = report.applied.or(before.taken_in);
        status.applied = status.taken_in;
        (status.state, status.roles) = match (report.said, applied) {
            (Some(said), _) => said,
            (None, Some(order)) => (Some(order.state), order.roles.clone()),
            (None, None) => (before.state, before.roles.clone()),
        };
        let is_writer = |role: &Role| self.settings.is_writer(role);
        let addressed = report.held.iter().any(is_writer);
        status.held = report.held;
        // It was told to let go, said that it did, and its host shows it: nothing less counts.
        let let_go = applied
            .filter(|order| !order.roles.iter().any(is_writer) && !addressed && !report.writable)
            .map(|order| order.release.unwrap_or_default());
        let record = self.running_record();
        let recorded = record.filter(|record| record.host == *name).map(|record| record.epoch);
        let held = match (recorded, record) {
            (Some(epoch), _) => Some(epoch).filter(|_| let_go.is_none()),
            // A writer of 2.2.1 that is taken over as it is.
            (None, None) if self.keeper.trust != Trust::Known && addressed && report.writable => {
                Some(Epoch::NONE)
            }
            (None, _) => None,
        };
        status.lease = LeaseStatus {
            accepted: before.lease.accepted.max(recorded.unwrap_or_default()),
            released: before.lease.released.max(let_go.unwrap_or_default()),
            lineage: self.keeper.lineage(),
            held: held.map(|epoch| LeaseHeld {
                epoch,
                list: BTreeSet::new(),
                duty: Duty::Write,
                by_promise: false,
            }),
            ..LeaseStatus::default()
        };
        status.released_at = match (let_go, &before.released_at, report.position) {
            (Some(epoch), Some((known, position)), _) if *known == epoch => Some((epoch, position.clone())),
            (Some(epoch), _, Some(position)) => Some((epoch, position)),
            _ => before.released_at.clone(),
        };
        status
    }

    /// An agent of this version has taken the place of one that spoke protocol 1.
    pub(super) fn leave_protocol1(&mut self, name: &HostName, actions: &mut Vec<Action>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.agent.protocol1.take().is_none() {
            return;
        }
        actions.push(Action::log(
            LogLevel::Info,
            format!("The agent on host '{name}' speaks protocol 2 now: the host can be fenced"),
        ));
        let granted = self.keeper.book.record().filter(|record| record.host == *name).map(|r| r.epoch);
        // The writer goes on where it is: it has caught up long ago.
        for slot in self.slots.values_mut().filter(|slot| slot.holder.as_ref() == Some(name)) {
            let hold = slot.is_to_hold();
            if let Some(promotion) = slot.grant.as_mut().filter(|grant| Some(grant.epoch) == granted) {
                (promotion.takeover, promotion.hold) = (Takeover::Keep, hold);
                slot.owed.remove(name);
            }
        }
    }

    /// Writes down that a host which speaks protocol 1 has the role, before it is told so.
    pub(super) fn record_protocol1_writer(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(slot) = self.writer_role().and_then(|role| self.slots.get(role)) else { return };
        let (Some(holder), Some(epoch)) = (&slot.holder, slot.grant.as_ref().map(|grant| grant.epoch)) else {
            return;
        };
        let Some(host) = self.hosts.get(holder) else { return };
        let is_ready = host.agent.protocol1.is_some() && host.agent.connected && host.kill != Kill::Running;
        if !is_ready || self.keeper.trouble.is_some() || self.keeper.is_durably_unfenced(holder, epoch) {
            return;
        }
        let holder = holder.clone();
        match self.record() {
            Some(record) if record.epoch == epoch && record.unfenced => {}
            Some(record) if record.epoch >= epoch => {
                // It was granted to the agent before, which kept a lease: it is chosen anew.
                let role = self.writer_role().cloned();
                if let Some(slot) = role.and_then(|role| self.slots.get_mut(&role)) {
                    slot.grant = None;
                    slot.chosen = None;
                }
            }
            Some(_) | None => self.keeper.begin_unfenced(now, &holder, epoch, actions),
        }
    }

    /// Whether a host that speaks protocol 1 must be told nothing yet; `None` for any other host.
    pub(super) fn protocol1_waits(&self, name: &HostName) -> Option<bool> {
        let host = self.hosts.get(name).filter(|host| host.agent.protocol1.is_some())?;
        let held = host.agent.status.lease.held.is_some();
        let slot = self.writer_role().and_then(|role| self.slots.get(role))?;
        let is_holder = slot.holder.as_ref() == Some(name);
        if self.keeper.trust != Trust::Known {
            // Of several that have the address the one that was chosen keeps it; a lease is better than no lease.
            let leased = self.hosts.values().any(|other| {
                let lease = &other.agent.status.lease;
                let holds = lease.held.is_some() || lease.accepted > lease.released;
                other.agent.connected && other.agent.protocol1.is_none() && holds
            });
            return Some(held && !leased && (is_holder || slot.holder.is_none()));
        }
        Some(match &slot.grant {
            Some(grant) => is_holder && !self.keeper.is_durably_unfenced(name, grant.epoch),
            None => is_holder && held,
        })
    }

    /// Whom a host is told to replicate from. An agent of 2.2.1 points its server at the new writer at once, at a
    /// position that it reads there: it hears of it when that one has caught up.
    pub(super) fn told_active_master(
        &self,
        name: &HostName,
        granted_to: Option<HostName>,
    ) -> Option<HostName> {
        let host = self.hosts.get(name)?;
        if self.would_receive_from_lost(name, granted_to.as_ref()) {
            return None;
        }
        let (Some(writer), Some((sent, _)), true) =
            (&granted_to, &host.agent.sent, host.agent.protocol1.is_some())
        else {
            return granted_to;
        };
        let serves = self.hosts.get(writer).is_some_and(|host| {
            let status = &host.agent.status;
            status.server.is_writable() && status.held.iter().any(|role| self.settings.is_writer(role))
        });
        if serves || writer == name { granted_to } else { sent.active_master.clone() }
    }

    /// Whether the server of a host that speaks protocol 1 takes writes after its agent was told to close it: an agent
    /// of 2.2.1 tries once.
    pub(super) fn is_open_without_role(&self, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name) else { return false };
        let Some((sent, _)) = &host.agent.sent else { return false };
        let told = host.agent.status.taken_in == Some(sent.id)
            && !sent.roles.iter().any(|role| self.settings.is_writer(role));
        host.agent.protocol1.is_some()
            && host.agent.connected
            && told
            && self.settings.may_be_active_master(name)
            && host.agent.status.server.is_writable()
    }

    /// The one exception to "never two writers", as in 2.2.1: a holder that speaks protocol 1, has vanished, and can't
    /// be killed because no program for it is configured, counts as dead once its checks have failed for long enough.
    /// Where there is such a program, only its success counts.
    pub(super) fn give_up_unfenced(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(record) = self.running_record().filter(|record| record.unfenced) else { return };
        let (name, epoch) = (record.host.clone(), record.epoch);
        let Some(host) = self.hosts.get(&name) else { return };
        let trap = self.settings.trap_of(CheckKind::Mysql);
        let dead = !host.good(CheckKind::Ping) || !host.server_well(trap, now);
        let offline = matches!(host.state, HostState::HardOffline | HostState::AdminOffline);
        let has_left = self.active_master() != Some(&name);
        if self.settings.kill_host.is_ok() || host.agent.connected || !dead || !offline || !has_left {
            return;
        }
        let text = format!(
            "Could not kill host '{name}' - there may be some duplicate ips now! (There's no binary configured for killing hosts.)"
        );
        actions.push(Action::log(LogLevel::Fatal, text));
        self.keeper.take_in_death(&name, epoch);
        self.unfenced_losses.insert(name);
    }
}
