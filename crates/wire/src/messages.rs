//! The frames of the handshake, in the order in which they travel, and what a refusal says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;
use crate::{Features, Nonce, Proof, Purpose};

/// First frame, from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentOpening {
    Hello(Hello),
    Refused(Refusal),
}

/// The agent introduces itself; the proof is there when it has a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) host: String,
    /// The protocol version of this session: the greatest that both sides speak.
    pub(crate) version: u32,
    pub(crate) features: Features,
    pub(crate) program: String,
    pub(crate) nonce: Nonce,
    pub(crate) proof: Option<Proof>,
}

/// Second frame, from the caller: the monitor, or another agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MonitorOpening {
    Auth(Auth),
    Refused(Refusal),
}

/// The caller introduces itself; the proof is there when it has a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Auth {
    pub(crate) instance: u64,
    pub(crate) cluster: Option<String>,
    pub(crate) program: String,
    pub(crate) proof: Option<Proof>,
    /// A frame without it is a monitor's.
    #[serde(default)]
    pub(crate) purpose: Purpose,
}

/// Third frame, from the agent; the session's own messages follow a welcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentVerdict {
    Welcome {},
    Refused(Refusal),
}

/// One side does not want the session: the kind for programs, the reason for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: RefusalCode,
    pub reason: String,
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The agent is that of another host.
    WrongHost,
    /// No protocol version is spoken by both.
    Protocol,
    /// A secret is set on one side, or two different ones.
    Unauthenticated,
    /// The agent keeps a session with another monitor.
    OtherMonitor,
    /// The monitor's cluster is not the agent's.
    OtherCluster,
    /// The caller is the agent of a host that this agent does not take calls from, or of none.
    UnknownPeer,
    /// A kind that only a later version knows.
    #[serde(other)]
    Unknown,
}

impl Refusal {
    pub fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&excerpt(&self.reason))
    }
}
