//! What a caller wants of an agent: to give orders, or to ask for a promise.
//!
//! Whether the caller may have it is for the handshake (is it who it says it is) and for whoever judges the caller.

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;
use crate::greeting::is_host_name;

/// Greatest length of the host name a peer may claim; the kernel's own limit for host names.
pub const PEER_HOST_BYTES_MAX: usize = 64;

/// Who calls an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A monitor, which gives orders. Callers that do not say what they are were always monitors.
    #[default]
    Monitor,
    /// The agent of another host, which asks for promises.
    Peer { host: String },
}

impl Purpose {
    /// How messages call a caller at `address`. A name that no host can have is left out of it.
    pub(crate) fn caller_at(&self, address: &str) -> String {
        match self {
            Self::Monitor => format!("monitor at {address}"),
            Self::Peer { host } if is_peer_host(host) => format!("agent of {host} at {address}"),
            Self::Peer { .. } => format!("agent at {address}"),
        }
    }

    /// Why the claimed host can be none, for the refusal.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::Peer { host } if !is_peer_host(host) => Some(format!(
                "a calling agent names its host in 1 to {PEER_HOST_BYTES_MAX} letters, digits, '_', '-' or '.' (check its 'this'), not as '{}'",
                excerpt(host)
            )),
            Self::Peer { .. } | Self::Monitor => None,
        }
    }
}

fn is_peer_host(host: &str) -> bool {
    host.len() <= PEER_HOST_BYTES_MAX && is_host_name(host)
}
