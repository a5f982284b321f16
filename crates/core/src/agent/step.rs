//! The single things an agent can do to its host, each with a bounded time given by the shell.

use std::collections::BTreeMap;

use crate::following::{How, Junction, Running, Source};
use crate::message::{LogPosition, OrderId, Takeover};
use crate::moment::Moment;
use crate::names::Role;
use crate::salvage::{SalvageOrder, SalvageState};
use crate::semi_sync::SemiSyncSide;
use crate::survey::Reach;

/// Steps of one lane are carried out one after the other, lanes side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Address,
    Server,
    /// The server's process, for when the server itself does not answer any more.
    Process,
}

impl Lane {
    pub const ALL: [Lane; 3] = [Self::Address, Self::Server, Self::Process];
}

/// Until when the kernel may keep an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifetime {
    /// On the boot clock. The shell hands the kernel whole seconds, by [`crate::lease::kernel_lifetime`].
    Until(Moment),
    Forever,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    AddAddress(Role, Lifetime),
    DropAddress(Role),
    /// Renew lifetimes, all in one go. What is left of one is too short for a whole second: a finite lifetime stays as
    /// it is, a permanent address is taken off.
    KeepAddresses(BTreeMap<Role, Lifetime>),
    /// Read-only, with a short wait for locks.
    CloseWrites,
    /// The same on a server that came back and is nobody's writer: what its replication commits is let go if it waits for an
    /// acknowledgement and keeps the server open by that.
    CloseReturned,
    OpenWrites,
    /// Where this server's log ends.
    ReadPosition,
    /// End every client thread but those of the replication, the monitor and the agent.
    EndClients,
    /// End the threads that keep the server from becoming read-only.
    EndWriters,
    CatchUp(Takeover),
    /// Get from the agent of a dead server what its log has more than was received here, and keep it beside.
    FetchTail(SalvageOrder),
    /// Apply that, by the server's own replication, which afterwards points where it pointed before.
    ApplyTail(SalvageOrder),
    StopReplication,
    StartReplication,
    StopReceiving,
    ResumeReceiving,
    /// The applying thread of the replication, so that nothing is added to this server's log.
    StopApplying,
    /// These threads of the replication, which a broken-off repointing left stopped.
    StartThreads(Running),
    /// With what has to have been received for it.
    Approach(OrderId, Option<Box<Reach>>),
    /// Replicate from the active master, with these threads running afterwards.
    Follow {
        source: Box<Source>,
        start: Running,
    },
    /// Go by file and position again, from where something was applied after this.
    LeaveGtid {
        since: String,
        start: Running,
    },
    /// Go on behind an end of the source's log that was torn when its server died, with these threads running afterwards, if
    /// nothing is left out by that.
    GoPastTear {
        start: Running,
    },
    /// Switch one side of semi-synchronous replication.
    SetSemiSync {
        side: SemiSyncSide,
        on: bool,
    },
    /// Commits of replication that wait for an acknowledgement which does not come.
    LetGo,
    /// End the connection to the source and make another one.
    ReceiveAnew,
    /// SIGKILL to the server.
    KillServer,
}

impl Step {
    pub const fn lane(&self) -> Lane {
        match self {
            Self::AddAddress(..) | Self::DropAddress(_) | Self::KeepAddresses(_) => Lane::Address,
            Self::KillServer => Lane::Process,
            Self::CloseWrites
            | Self::CloseReturned
            | Self::OpenWrites
            | Self::ReadPosition
            | Self::EndClients
            | Self::EndWriters
            | Self::CatchUp(_)
            | Self::FetchTail(_)
            | Self::ApplyTail(_)
            | Self::StopReplication
            | Self::StartReplication
            | Self::StopReceiving
            | Self::ResumeReceiving
            | Self::StopApplying
            | Self::StartThreads(_)
            | Self::Approach(..)
            | Self::Follow { .. }
            | Self::LeaveGtid { .. }
            | Self::GoPastTear { .. }
            | Self::SetSemiSync { .. }
            | Self::LetGo
            | Self::ReceiveAnew => Lane::Server,
        }
    }

    /// Whether waiting for acknowledgements may be switched off for as long as it lasts.
    pub(super) const fn may_stop_waiting(&self) -> bool {
        matches!(self, Self::CloseReturned | Self::LetGo | Self::CatchUp(_) | Self::ApplyTail(_))
    }

    /// The step in words, for the log.
    pub fn describe(&self) -> String {
        match self {
            Self::KeepAddresses(_) => "renew the lifetimes of the addresses".to_owned(),
            Self::KillServer => "kill the server, which may still take writes".to_owned(),
            Self::AddAddress(role, _) => format!("add the address of {role}"),
            Self::DropAddress(role) => format!("take off the address of {role}"),
            Self::CloseWrites => "make the server read-only".to_owned(),
            Self::CloseReturned => "make the server read-only that came back".to_owned(),
            Self::OpenWrites => "make the server writable".to_owned(),
            Self::ReadPosition => "read the final position of the binary log".to_owned(),
            Self::EndClients => "end the client threads".to_owned(),
            Self::EndWriters => "end the threads that hold locks".to_owned(),
            Self::CatchUp(_) => "apply what was received from the old writer".to_owned(),
            Self::FetchTail(order) => format!("fetch the end of the log of '{}'", order.from),
            Self::ApplyTail(order) => format!("apply the end of the log of '{}'", order.from),
            Self::StopReplication => "stop replication".to_owned(),
            Self::StartReplication => "start replication".to_owned(),
            Self::StopReceiving => "stop receiving from the old writer".to_owned(),
            Self::ResumeReceiving => "receive from the old writer again".to_owned(),
            Self::StopApplying => "stop applying, so that the log ends here for the replicas".to_owned(),
            Self::StartThreads(_) => {
                "start the threads of the replication that were stopped for a change".to_owned()
            }
            Self::Approach(..) => "catch up before a planned move".to_owned(),
            Self::Follow { source, .. } => format!("replicate from the active master '{}'", source.host),
            Self::SetSemiSync { side, on } => {
                let side = match side {
                    SemiSyncSide::Source => "waiting for acknowledgements",
                    SemiSyncSide::Replica => "acknowledging",
                };
                format!("switch {side} {} (semi-synchronous replication)", if *on { "on" } else { "off" })
            }
            Self::LetGo => {
                "let commits of replication go that wait for an acknowledgement in vain".to_owned()
            }
            Self::ReceiveAnew => "connect to the source anew".to_owned(),
            Self::GoPastTear { .. } => "go on behind a torn end of the source's log".to_owned(),
            Self::LeaveGtid { .. } => "replicate by file and position again".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StepOutcome {
    Done,
    Position(LogPosition),
    /// Everything that could be had is applied, and the server's own log ends here.
    CaughtUp(Box<Junction>),
    /// The replica was pointed elsewhere, having applied this before.
    Followed {
        how: How,
        slave_pos: String,
    },
    /// How far the fetching or applying of a dead server's log is; with what its own log holds when it is applied.
    Salvage(SalvageState, Option<String>),
    /// It can't be done as things are, and nothing was changed; why, for people.
    Refused(String),
    /// Somebody holds a lock that the step would have to wait for; nothing was left behind.
    LockHeld,
    /// It goes on, but a short turn is over, so that a more urgent step need not wait; how far it is, for people.
    NotYet(String),
    /// What went wrong, for people.
    Failed(String),
}
