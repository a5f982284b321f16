//! What monitor and agent say to each other in protocol 2. Framing, greeting and authentication belong to `mmm-wire`.
//!
//! Both directions carry whole states, never differences: a message that was lost with its connection is made good by
//! the next one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gtid::GtidView;
use crate::names::{HostName, Role};
use crate::state::HostState;

/// Names one order of one run of a monitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderId {
    pub instance: u64,
    pub number: u64,
}

/// A place in the binary log of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    pub file: String,
    pub position: u64,
}

/// How a host that gets the writer role makes sure that it has the data, before it opens for writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Takeover {
    /// It had the role already: nothing to catch up with.
    Keep,
    /// Nobody is known to have had the role: apply what was received.
    Fresh,
    /// The old writer stopped at this position of its log: apply up to there.
    After(LogPosition),
    /// The old writer is gone: stop receiving from it, apply what was received, and hold replication from it.
    Lost,
}

/// The writer role as granted to one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriterGrant {
    /// Number of this choice of a writer; the same as long as the role stays where it is.
    pub choice: u64,
    pub takeover: Takeover,
    /// Keep replication from the old writer stopped until its transactions have been compared.
    pub hold: bool,
}

/// The whole truth for one host. Applying it twice does nothing the second time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    pub id: OrderId,
    pub state: HostState,
    pub roles: BTreeSet<Role>,
    pub active_master: Option<HostName>,
    pub writer: Option<WriterGrant>,
}

impl Order {
    /// Whether both ask for the same, whatever their numbers.
    pub fn asks_the_same(&self, other: &Order) -> bool {
        (&self.state, &self.roles, &self.active_master, &self.writer)
            == (&other.state, &other.roles, &other.active_master, &other.writer)
    }
}

/// Monitor to agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToAgent {
    Order(Order),
    /// Say when everything received is applied, without changing anything: the start of a planned move.
    Approach {
        id: OrderId,
        limit: Duration,
    },
    /// Tell the neighbours again where the address is: somebody else had it until now.
    Announce(Role),
    Heartbeat,
}

/// Agent to monitor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToMonitor {
    Status(Box<AgentStatus>),
    Heartbeat,
}

/// The server on an agent's host as the agent sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServerView {
    /// Not seen yet.
    #[default]
    Unknown,
    Up {
        writable: bool,
    },
    /// Its process is there, but the standing connection gets no answer.
    Silent {
        writable_before: bool,
    },
    /// It answers with an error that keeps the agent out, so it lives.
    Refusing,
    /// Its process has ended, or it is stopping: the connection closed and a new one is refused.
    Gone,
}

impl ServerView {
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up { .. })
    }

    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Up { writable: true })
    }
}

/// How the approach of a planned move ended on its target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Approached {
    pub id: OrderId,
    pub outcome: Result<(), String>,
}

/// Everything an agent has to say, sent whenever a part of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The last order that the agent works by; what it asks may still be under way.
    pub taken_in: Option<OrderId>,
    /// The last order that is fully carried out.
    pub applied: Option<OrderId>,
    /// The step that failed last and is being tried again, for people.
    pub problem: Option<String>,
    /// State and roles of the last order taken in; `None` in a fresh agent.
    pub state: Option<HostState>,
    pub roles: BTreeSet<Role>,
    /// Roles whose address is really on the interface, or on its way there.
    pub held: BTreeSet<Role>,
    pub server: ServerView,
    /// Where this server's log ended when it gave the writer role back, and which order took the role.
    pub released_at: Option<(OrderId, LogPosition)>,
    pub approached: Option<Approached>,
    /// Replication from the old writer is stopped by the agent.
    pub holding: bool,
    /// The server that this one replicates from.
    pub source_ip: Option<IpAddr>,
    pub gtid: Option<GtidView>,
    pub uptime: Duration,
    pub boot_id: String,
}
