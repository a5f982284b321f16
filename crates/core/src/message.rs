//! What monitor and agent say to each other in protocol 2. Framing, greeting and authentication belong to `mmm-wire`.
//!
//! Both directions carry whole states, never differences: a message that was lost with its connection is made good by
//! the next one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::diverged::{Saved, Surplus};
use crate::doctor::Checkup;
use crate::following::{Junction, Source};
use crate::gtid::{GtidView, Received};
use crate::lease::{Duty, Epoch, Grant, LeaseLength, Promise, Proof, Refusal, Renewal};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::rebuild::{RebuildOrder, RebuildStatus};
use crate::salvage::{SalvageOrder, SalvageState};
use crate::semi_sync::{SemiSync, SemiSyncEnd, SemiSyncOrder};
use crate::state::HostState;
use crate::survey::{Reach, Survey};
use crate::write_path::WriteStatus;

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
    /// Nobody tells where the old writer's log ended: ask the server that this one replicates from, and apply up to there;
    /// where it can't be asked, what was received.
    AskSource,
    /// The old writer stopped at this position of its log: apply up to there.
    After(LogPosition),
    /// The old writer is gone: stop receiving from it, apply what was received, and hold replication from it.
    Lost,
}

/// What a writer does that can't reach anybody who could renew its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Isolated {
    #[default]
    Fence,
    /// Goes on writing, at the price of two writers.
    Keep,
}

/// How leases are handled: the monitor's settings, which travel with its orders so that all hosts have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseTerms {
    pub length: LeaseLength,
    pub isolated: Isolated,
    /// Kill a server that may still be writable when its lease is over and can't be closed.
    pub fence_hung_server: bool,
    /// How long a new writer applies what it received before it is opened with the rest still to be applied; for ever without.
    #[serde(default)]
    pub apply_limit: Option<Duration>,
}

/// The choice of one host as the writer. It may not write before the first grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promotion {
    /// Number of this choice; the same as long as the role stays where it is.
    pub epoch: Epoch,
    /// Why nobody else can be writing.
    pub proof: Proof,
    pub takeover: Takeover,
    /// Keep replication from the old writer stopped until its transactions have been compared.
    pub hold: bool,
    /// The old writer's server is dead and its agent answers: get from there what only its log has.
    #[serde(default)]
    pub salvage: Option<Box<SalvageOrder>>,
}

/// The whole truth for one host. Applying it twice does nothing the second time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    pub id: OrderId,
    pub state: HostState,
    pub roles: BTreeSet<Role>,
    pub active_master: Option<HostName>,
    /// For a replica: the active master, as soon as it takes writes.
    #[serde(default)]
    pub source: Option<Box<Source>>,
    pub writer: Option<Promotion>,
    /// Give back this epoch and every smaller one.
    pub release: Option<Epoch>,
    pub terms: LeaseTerms,
    /// Every candidate, this one in this boot among them, has said that it knows of no lease.
    pub absolved: bool,
    /// A host that gives the role up in order and whose transactions have no GTIDs: not to log what the next writer writes,
    /// so that the replicas find their place at the end of this log.
    #[serde(default)]
    pub stand_still: bool,
    /// What this host has and nobody else: to be saved before its logs are purged.
    #[serde(default)]
    pub surplus: Option<Box<Surplus>>,
    /// What to switch of semi-synchronous replication, where the monitor manages it.
    #[serde(default)]
    pub semi_sync: Option<SemiSyncOrder>,
    /// To get all data anew from the writer. Only for agents that say that they can ([`AgentStatus::rebuilds`]).
    #[serde(default)]
    pub rebuild: Option<Box<RebuildOrder>>,
    /// How often the monitor's own state had been written: a monitor that shows less than before has lost something.
    pub generation: u64,
}

impl Order {
    /// Whether both ask for the same, whatever their numbers.
    pub fn asks_the_same(&self, other: &Order) -> bool {
        (
            &self.state,
            &self.roles,
            &self.active_master,
            &self.source,
            &self.writer,
            self.release,
            self.terms,
            self.absolved,
            self.stand_still,
            &self.semi_sync,
            &self.surplus,
            &self.rebuild,
        ) == (
            &other.state,
            &other.roles,
            &other.active_master,
            &other.source,
            &other.writer,
            other.release,
            other.terms,
            other.absolved,
            other.stand_still,
            &other.semi_sync,
            &other.surplus,
            &other.rebuild,
        )
    }
}

/// Monitor to agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToAgent {
    /// The first message of each session: the number of the monitor's state. The agent writes it down, so that any
    /// monitor that goes by another state learns that this one was in use.
    Begin {
        lineage: u64,
    },
    Order(Order),
    /// Say when everything received is applied, without changing anything: the start of a planned move.
    Approach {
        id: OrderId,
        limit: Duration,
        /// What it has to have received by then: all that the writer had when the move began.
        #[serde(default)]
        reach: Option<Box<Reach>>,
    },
    /// Look for what a planned move would meet on this server. Only for agents that say that they can
    /// ([`AgentStatus::surveys`]).
    Survey {
        id: OrderId,
    },
    /// Tell the neighbours again where the address is: somebody else had it until now.
    Announce(Role),
    /// Ask the server for all that it can tell, and say then that this look is done. Only for agents that tell of looks, see
    /// [`AgentStatus::looked`].
    Look {
        id: OrderId,
    },
    /// Answers a renewal.
    Grant(Grant),
    /// With the reading of the last heartbeat that came: the agent knows by it how long ago it was surely heard.
    Heartbeat {
        echo: Option<Moment>,
    },
    /// Look for what is wrong on this host. Only for agents that name [`DOCTOR`] among what they can do.
    Examine {
        number: u64,
    },
}

/// The feature of an agent that answers [`ToAgent::Examine`].
pub const DOCTOR: &str = "doctor";

/// Agent to monitor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToMonitor {
    Status(Box<AgentStatus>),
    Renew(Renewal),
    /// With the agent's boot clock.
    Heartbeat {
        reading: Moment,
    },
    Examined(Box<Checkup>),
    Surveyed(Box<Survey>),
}

/// Agent to agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerRequest {
    /// A writer that lost its monitor asks for a promise; `asked` is its own reading.
    Promise { promise: Promise, asked: Moment },
    /// Whether anybody is still there.
    Contact { asked: Moment },
}

/// The answer on the same connection. It echoes the reading of the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerAnswer {
    Promised {
        asked: Moment,
    },
    Refused {
        asked: Moment,
        reason: String,
    },
    Contact {
        asked: Moment,
        /// It has a session with the monitor.
        sees_monitor: bool,
    },
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

/// A lease as its holder says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseHeld {
    pub epoch: Epoch,
    /// Hosts it would ask for promises; empty: nobody else could take over.
    pub list: BTreeSet<HostName>,
    pub duty: Duty,
    pub by_promise: bool,
}

/// A promise that runs, on the clock of its giver (see [`AgentStatus::uptime`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PromiseGiven {
    pub promise: Promise,
    pub until: Moment,
}

/// What an agent has on disk and in hand about the writer's lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The greatest epoch accepted.
    pub accepted: Epoch,
    /// The greatest epoch given back; it never writes again, nor does any smaller one.
    pub released: Epoch,
    pub longest: Option<LeaseLength>,
    /// The number of the state by which the last monitor went that was heard here.
    pub lineage: u64,
    pub held: Option<LeaseHeld>,
    pub promise: Option<PromiseGiven>,
    /// The greatest epoch it was ever asked to protect.
    pub promised: Epoch,
    /// A promotion that it does not take, and why.
    pub refusal: Option<(Epoch, Refusal)>,
    /// The greatest generation of the monitor's state it was shown.
    pub generation: u64,
    /// Hosts that have lost the monitor and asked here lately whether it is still there.
    pub contacts: BTreeSet<HostName>,
}

impl LeaseStatus {
    /// The greatest epoch that this host has ever heard of.
    pub fn greatest(&self) -> Epoch {
        self.accepted.max(self.promised).max(self.released)
    }
}

/// A replica that does not replicate from the active master.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Astray {
    /// For people.
    pub text: String,
    /// It can't be shown where it would have to go on: nothing is tried before that changes.
    pub refused: bool,
}

/// Everything an agent has to say, sent whenever a part of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that an agent can do, or does")]
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
    pub lease: LeaseStatus,
    /// Where this server's log ended when it gave this epoch back in order.
    pub released_at: Option<(Epoch, LogPosition)>,
    pub approached: Option<Approached>,
    /// Replication from the old writer is stopped by the agent.
    pub holding: bool,
    /// The server that this one replicates from.
    pub source_ip: Option<IpAddr>,
    pub gtid: Option<GtidView>,
    #[serde(default)]
    pub received: Option<Box<Received>>,
    /// Whether its server has reached the one that it replicates from since it was started; `None` where that is not known, or
    /// where it replicates from nobody.
    #[serde(default)]
    pub reached_source: Option<bool>,
    /// The last [`ToAgent::Look`] that is done; `None` from an agent that knows of none.
    #[serde(default)]
    pub looked: Option<OrderId>,
    /// The end of this server's log when it had caught up for this choice of a writer.
    #[serde(default)]
    pub junction: Option<(Epoch, Junction)>,
    #[serde(default)]
    pub astray: Option<Astray>,
    /// Knows where its server's log is, and can fetch and hand over the end of one.
    #[serde(default)]
    pub salvages: bool,
    /// The same of a log whose server lives, as a replica's, see [`SalvageOrder::lent`].
    #[serde(default)]
    pub lends: bool,
    /// For which choice of a writer, from where, and how far it is.
    #[serde(default)]
    pub salvage: Option<(Epoch, HostName, SalvageState)>,
    /// What the server on this host tells of semi-synchronous replication; `None` before it was asked.
    #[serde(default)]
    pub semi_sync: Option<SemiSync>,
    /// How a server that ended waited for acknowledgements, until it opens as the writer again.
    #[serde(default)]
    pub semi_sync_end: Option<SemiSyncEnd>,
    /// Why its replication applies nothing, where that ended with an error.
    #[serde(default)]
    pub applier_error: Option<String>,
    /// What was saved of the transactions that nobody else has.
    #[serde(default)]
    pub saved: Option<Box<Saved>>,
    /// It carries out [`Order::rebuild`].
    #[serde(default)]
    pub rebuilds: bool,
    /// How the last rebuild stands.
    #[serde(default)]
    pub rebuild: Option<Box<RebuildStatus>>,
    /// It answers [`ToAgent::Survey`].
    #[serde(default)]
    pub surveys: bool,
    /// The last choice of this host as the writer, while its server has never been opened for it, and the end of the old writer's log
    /// that it has not applied yet.
    #[serde(default)]
    pub unopened: Option<(Epoch, LogPosition)>,
    /// What becomes of writes on this host; `None` where nobody has looked.
    #[serde(default)]
    pub writes: Option<WriteStatus>,
    pub uptime: Duration,
    pub boot_id: String,
}
