//! The decisions of MMM: the monitor's mind, the agent's mind and what they say to each other.
//!
//! Everything here is a value that takes the time and an event and returns actions. There is no I/O, no clock, no thread
//! and no randomness; `clippy.toml` beside this crate keeps it so.
#![forbid(unsafe_code)]

mod agent;
mod check;
mod cluster;
pub mod diverged;
pub mod doctor;
pub mod following;
mod gtid;
pub mod lease;
mod message;
mod moment;
mod names;
pub mod rebuild;
pub mod salvage;
mod semi_sync;
mod settings;
mod state;
pub mod survey;
mod write_path;

pub use agent::{
    AgentAction, AgentEvent, AgentMemory, AgentMind, AgentSettings, AtTear, Fencing, FollowingMemory,
    HeldAddress, Lane, Lifetime, LineAnswer, LineRequest, ReplicaView, Step, StepOutcome, Unreached,
};
pub use check::{Check, CheckKind, Turn, Verdict};
pub use cluster::{
    Action, Cluster, DataRule, Doubt, Event, Evidence, FoundState, LogLevel, MonitorState, Protocol1Report,
    Restored, Rule, ledger,
};
pub use gtid::{
    Ahead, Compared, Comparison, GtidSet, GtidView, LogEnd, LogSeen, Origin, Place, Received, compare_own,
    is_gtid_subset,
};
pub use message::{
    AgentStatus, Approached, Astray, DOCTOR, Isolated, LeaseHeld, LeaseStatus, LeaseTerms, LogPosition,
    Order, OrderId, PeerAnswer, PeerRequest, PromiseGiven, Promotion, ServerView, Takeover, ToAgent,
    ToMonitor,
};
pub use moment::Moment;
pub use names::{HostName, Role, RoleError, RoleName};
pub use semi_sync::{
    Hanging, SemiSync, SemiSyncEnd, SemiSyncOrder, SemiSyncReading, SemiSyncSide, SemiSyncSource,
    SourceReading,
};
pub use settings::{
    Diverged, FailoverPolicy, HostMode, HostSettings, OnStalledWrites, RoleMode, RoleSettings, SemiSyncMode,
    Settings,
};
pub use state::{HostState, Mode, UnknownWord};
pub use write_path::{Delay, ProbeSight, WritePath, WriteSight, WriteStatus};
