//! What the agent's mind is told and what it asks for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::following::ReplicaView;
use super::mind::{AgentMemory, AgentSettings, HeldAddress};
use super::protocol1::{LineAnswer, LineRequest};
use super::step::{Step, StepOutcome};
use crate::cluster::LogLevel;
use crate::gtid::{GtidView, Received};
use crate::lease::{Durable, Grant, Renewal};
use crate::message::{AgentStatus, Order, OrderId, PeerAnswer, PeerRequest, ServerView};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::rebuild::{RebuildOrder, RebuildStatus};
use crate::semi_sync::SemiSyncReading;
use crate::survey::Reach;
use crate::write_path::WriteSight;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    Ordered(Order),
    ApproachOrdered {
        id: OrderId,
        limit: Duration,
        reach: Option<Box<Reach>>,
    },
    AnnouncementOrdered(Role),
    ServerSeen {
        view: ServerView,
        /// When the question was put; older answers than our own last change are not believed.
        asked: Moment,
        source_ip: Option<IpAddr>,
        gtid: Option<GtidView>,
        /// Whether the thread that receives from the source runs.
        receiving: Option<bool>,
    },
    /// How the server replicates, `None` where that is not set up, and when it was asked.
    ReplicaSeen(Option<ReplicaView>, Moment),
    /// What it tells of semi-synchronous replication, and when it was asked.
    SemiSyncSeen(SemiSyncReading, Moment),
    /// What becomes of writes, `None` where nothing could be seen, and when it was looked.
    WritesSeen(Option<WriteSight>, Moment),
    /// What the server has received, applied or not.
    ReceivedSeen(Box<Received>),
    /// The monitor wants to know what the server has as of now.
    LookOrdered {
        id: OrderId,
    },
    /// Everything that is asked of the server was asked after this was ordered, and its answers have been told.
    Looked {
        id: OrderId,
    },
    AddressesSeen(BTreeSet<HeldAddress>),
    /// A session with the monitor began; its renewals go over no other.
    SessionBegan {
        session: u64,
        lineage: u64,
    },
    SessionEnded {
        session: u64,
    },
    /// The monitor answered the heartbeat that was sent at this reading of the boot clock.
    Heard {
        echo: Moment,
    },
    Granted(Grant),
    /// Another agent asks something over its connection with this number.
    PeerAsked {
        asker: u64,
        from: HostName,
        request: PeerRequest,
    },
    PeerAnswered {
        host: HostName,
        answer: PeerAnswer,
    },
    /// A monitor of 2.2.1 asks something over its connection with this number.
    LineAsked {
        asker: u64,
        request: LineRequest,
    },
    /// The epoch file holds the state with this number, or could not be written.
    DurableSaved {
        number: u64,
        outcome: Result<(), String>,
    },
    /// The same of the state file of this boot.
    MemorySaved {
        number: u64,
        outcome: Result<(), String>,
    },
    /// The wall clock has gone on by so much more than the boot clock.
    ClockJumped {
        by: Duration,
    },
    StepEnded {
        step: Step,
        outcome: StepOutcome,
    },
    /// How the rebuild of this host stands.
    RebuildSeen(RebuildStatus),
    /// The configuration was read again.
    Reconfigured(AgentSettings),
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentAction {
    Do(Step),
    /// Tell the neighbours where the address is now, several times over the first seconds.
    Announce(Role),
    Report(Box<AgentStatus>),
    /// Ask the server for all that it can tell, now; the end is told by [`AgentEvent::Looked`].
    Look {
        id: OrderId,
    },
    /// Into the state file of this boot, before any action behind it; the end is told by [`AgentEvent::MemorySaved`].
    Save {
        number: u64,
        memory: Box<AgentMemory>,
    },
    /// Into the epoch file, synced; the end is told by [`AgentEvent::DurableSaved`].
    SaveDurable {
        number: u64,
        durable: Durable,
    },
    /// Over this session and no other.
    Renew {
        session: u64,
        renewal: Renewal,
    },
    AskPeer {
        host: HostName,
        request: PeerRequest,
    },
    AnswerPeer {
        asker: u64,
        answer: PeerAnswer,
    },
    AnswerLine {
        asker: u64,
        answer: LineAnswer,
    },
    /// Get all data anew from that host; the end is told by [`AgentEvent::RebuildSeen`].
    Rebuild(RebuildOrder),
    Log(LogLevel, String),
}
