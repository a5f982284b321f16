//! The states a host can be in and the modes of the monitor, in 2.2.1's words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// State of one host as the monitor decided it. Only `Online` hosts carry roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostState {
    Unknown,
    Online,
    AdminOffline,
    HardOffline,
    AwaitingRecovery,
    ReplicationDelay,
    ReplicationFail,
}

impl HostState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Online => "ONLINE",
            Self::AdminOffline => "ADMIN_OFFLINE",
            Self::HardOffline => "HARD_OFFLINE",
            Self::AwaitingRecovery => "AWAITING_RECOVERY",
            Self::ReplicationDelay => "REPLICATION_DELAY",
            Self::ReplicationFail => "REPLICATION_FAIL",
        }
    }
}

/// A word that names no state or mode.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a known state or mode")]
pub struct UnknownWord(pub String);

impl FromStr for HostState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [
            Self::Unknown,
            Self::Online,
            Self::AdminOffline,
            Self::HardOffline,
            Self::AwaitingRecovery,
            Self::ReplicationDelay,
            Self::ReplicationFail,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
        .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much the monitor does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Roles leave failed hosts.
    Active,
    /// Balanced roles are distributed, no role leaves a failed host by itself.
    Manual,
    /// Manual until both masters are there, or one of them long enough; then active.
    Wait,
    /// Nothing changes and no role change is sent.
    Passive,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Manual => "MANUAL",
            Self::Wait => "WAIT",
            Self::Passive => "PASSIVE",
        }
    }

    /// Whether roles stay with a host that failed.
    pub const fn keeps_roles_of_failed_hosts(self) -> bool {
        match self {
            Self::Active => false,
            Self::Manual | Self::Wait | Self::Passive => true,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
