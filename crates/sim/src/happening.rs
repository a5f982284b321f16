//! Everything that can be due at some time. The numbers called `life` make what outlived its process void.

use mmm_core::{AgentStatus, CheckKind, HostName, Order, OrderId, Step, StepOutcome};
use std::time::Duration;

use crate::fault::Fault;

/// One message on a session.
#[derive(Clone, Debug)]
pub(crate) enum ToMonitor {
    Connected(Box<AgentStatus>),
    Reported(Box<AgentStatus>),
    Lost,
}

#[derive(Clone, Debug)]
pub(crate) enum ToAgent {
    Order(Order),
    Approach { id: OrderId, limit: Duration },
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    MonitorStarts,
    MonitorTick { life: u64 },
    NetworkChecked { life: u64 },
    Connect { life: u64, host: HostName },
    ConnectFailed { life: u64, host: HostName },
    ProbeBegins { life: u64, host: HostName, kind: CheckKind },
    ProbeEnds { life: u64, host: HostName, kind: CheckKind, started: u64, hung: bool },
    KillEnded { life: u64, host: HostName, outcome: Result<(), String> },
    ToMonitor { session: u64, host: HostName, message: ToMonitor },
    ToAgent { session: u64, host: HostName, message: ToAgent },
    AgentStarts { host: HostName, boot: u64 },
    AgentTick { life: u64, host: HostName },
    AddressesListed { life: u64, host: HostName },
    Look { life: u64, host: HostName, again: bool },
    LookAnswered { life: u64, host: HostName, asked: u64, sample: Sample },
    StepActs { life: u64, host: HostName, step: Step, tries: u64 },
    StepEnds { life: u64, host: HostName, step: Step, outcome: StepOutcome },
    ServerStarts { host: HostName, boot: u64 },
    Thaws { host: HostName, server_life: u64 },
    LockReleased { host: HostName, server_life: u64 },
    Boots { host: HostName, boot: u64 },
    Replicates { host: HostName },
    ClientWrites,
    Fault(Fault),
    Heal,
    Settle,
}

/// What a look at the server saw at the moment when the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) view: mmm_core::ServerView,
    pub(crate) gtid: Option<mmm_core::GtidView>,
    pub(crate) receiving: Option<bool>,
}
