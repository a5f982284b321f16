//! Everything that can be due at some time. The numbers called `life` make what outlived its process void.

use mmm_core::lease::Durable;
use mmm_core::{
    AgentMemory, AgentStatus, CheckKind, HostName, MonitorState, PeerAnswer, PeerRequest, Role, Step,
    StepOutcome,
};

use crate::fault::Fault;

/// One message on a session, from the agent.
#[derive(Clone, Debug)]
pub(crate) enum ToMonitor {
    Connected(Box<AgentStatus>),
    Message(Box<mmm_core::ToMonitor>),
    Lost,
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    MonitorStarts {
        monitor: usize,
    },
    MonitorTick {
        monitor: usize,
        life: u64,
    },
    NetworkChecked {
        monitor: usize,
        life: u64,
    },
    Connect {
        monitor: usize,
        life: u64,
        host: HostName,
    },
    ConnectFailed {
        monitor: usize,
        life: u64,
        host: HostName,
        refused: bool,
    },
    ProbeBegins {
        monitor: usize,
        life: u64,
        host: HostName,
        kind: CheckKind,
    },
    ProbeEnds {
        monitor: usize,
        life: u64,
        host: HostName,
        kind: CheckKind,
        started: u64,
        hung: bool,
    },
    KillEnded {
        monitor: usize,
        life: u64,
        host: HostName,
        epoch: mmm_core::lease::Epoch,
        outcome: Result<(), String>,
    },
    StateWritten {
        monitor: usize,
        life: u64,
        number: u64,
        state: MonitorState,
    },
    MonitorBeat {
        monitor: usize,
        life: u64,
        host: HostName,
        session: u64,
    },
    ToMonitor {
        monitor: usize,
        session: u64,
        host: HostName,
    },
    ToAgent {
        session: u64,
        host: HostName,
    },
    AgentBeat {
        life: u64,
        host: HostName,
        session: u64,
    },
    SessionGone {
        session: u64,
        host: HostName,
    },
    AgentStarts {
        host: HostName,
        boot: u64,
    },
    AgentTick {
        life: u64,
        host: HostName,
    },
    ParentLooks {
        host: HostName,
        boot: u64,
    },
    ParentFences {
        host: HostName,
        boot: u64,
    },
    AddressesListed {
        life: u64,
        host: HostName,
    },
    KernelTimer {
        host: HostName,
        role: Role,
        due: u64,
    },
    Look {
        life: u64,
        host: HostName,
        cause: LookCause,
    },
    LookAnswered {
        life: u64,
        host: HostName,
        asked: u64,
        sample: Sample,
    },
    StepActs {
        life: u64,
        host: HostName,
        step: Step,
        tries: u64,
    },
    StepEnds {
        life: u64,
        host: HostName,
        step: Step,
        outcome: StepOutcome,
    },
    DurableWritten {
        life: u64,
        host: HostName,
        number: u64,
        durable: Durable,
    },
    MemoryWritten {
        life: u64,
        host: HostName,
        number: u64,
        memory: Option<Box<AgentMemory>>,
    },
    PeerRequest {
        from: HostName,
        from_life: u64,
        to: HostName,
        request: PeerRequest,
    },
    PeerAnswer {
        from: HostName,
        to: HostName,
        to_life: u64,
        answer: PeerAnswer,
    },
    ServerStarts {
        host: HostName,
        boot: u64,
    },
    Thaws {
        host: HostName,
        server_life: u64,
    },
    LockReleased {
        host: HostName,
        server_life: u64,
    },
    Boots {
        host: HostName,
        boot: u64,
    },
    Replicates {
        host: HostName,
    },
    ClientWrites,
    LinkHealed {
        from: Node,
        to: Node,
    },
    DiskFreed {
        host: Option<HostName>,
        monitor: usize,
    },
    Fault(Fault),
    Heal,
    Settle,
    DrillBegins,
}

/// An end of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Monitor(usize),
    Host(HostName),
}

/// Why an agent looks at its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookCause {
    /// It does so in turns.
    Turn,
    News,
    /// The monitor asked for it.
    Ordered(mmm_core::OrderId),
}

/// What a look at the server saw at the moment when the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) view: mmm_core::ServerView,
    pub(crate) gtid: Option<mmm_core::GtidView>,
    pub(crate) receiving: Option<bool>,
    pub(crate) received: Option<mmm_core::Received>,
    pub(crate) semi_sync: Option<mmm_core::SemiSyncReading>,
    /// The order that asked for it.
    pub(crate) look: Option<mmm_core::OrderId>,
}
