//! What agents and monitor have seen. Whatever they could not see is absent, with the reason where there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::names::{HostName, Role};

/// A server as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Global variables, and the status values that have no variable, by their names in lower case.
    pub settings: BTreeMap<String, String>,
    /// What it replicates: unknown, nothing, or this.
    pub replication: Option<Option<ReplicationFacts>>,
}

impl ServerFacts {
    pub(super) fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.settings.get(*name)).map(String::as_str)
    }

    pub(super) fn number(&self, names: &[&str]) -> Option<u64> {
        self.text(names)?.parse().ok()
    }

    /// A number with a fraction, in seconds.
    pub(super) fn seconds(&self, names: &[&str]) -> Option<Duration> {
        Duration::try_from_secs_f64(self.text(names)?.parse().ok()?).ok()
    }

    /// `None` for a variable that this server does not have.
    pub(super) fn is_on(&self, names: &[&str]) -> Option<bool> {
        self.text(names).map(|value| value == "1" || value.eq_ignore_ascii_case("ON"))
    }

    pub(super) fn is_mariadb(&self) -> bool {
        self.text(&["version"]).is_some_and(|version| version.to_ascii_lowercase().contains("mariadb"))
    }

    /// The first number of its version.
    pub(super) fn major(&self) -> Option<u32> {
        self.text(&["version"])?.split('.').next()?.parse().ok()
    }

    /// Whether it knows the words SOURCE and REPLICA, as `MySQL` does since 8.0.22 and only since 8.4 does not know the old
    /// ones.
    pub(super) fn has_new_words(&self) -> bool {
        let version = self.text(&["version"]).unwrap_or_default();
        let mut parts =
            version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        !self.is_mariadb() && (next(), next(), next()) >= (8, 0, 22)
    }
}

/// Replication as seen by the receiving server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationFacts {
    pub source_host: String,
    pub source_port: u16,
    /// Also while it is still connecting.
    pub receives: bool,
    pub applies: bool,
    pub uses_gtid: bool,
    pub errors: Vec<String>,
}

/// Whether the option files make the server read-only when it starts. The running server can't tell: MMM sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtBoot {
    ReadOnly,
    Writable,
    Unknown(String),
}

/// The three accounts of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    Monitor,
    Agent,
    Replication,
}

/// What came of logging in with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFacts {
    pub whose: Whose,
    pub user: String,
    /// The host whose server was asked.
    pub server: HostName,
    /// The address that the server sees the account come from.
    pub from: Option<IpAddr>,
    /// Everything the account needs, as GRANT wants it.
    pub needed: String,
    pub login: Login,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Let in as this account (quoted), which lacks these privileges.
    In { account: String, missing: Vec<String> },
    /// The server's own words.
    Denied(String),
    /// No answer of the server about the account.
    Failed(String),
}

/// An interface of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceFacts {
    pub is_up: bool,
    /// Whether a cable is plugged in, so to speak.
    pub has_carrier: bool,
    /// Addresses with the length of their networks, ours excepted.
    pub networks: BTreeSet<(IpAddr, u8)>,
}

/// Another host as an agent reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    pub host: HostName,
    pub ip: IpAddr,
    pub agent_port: u16,
    /// Whether a connection to its agent can be made; else why not.
    pub agent: Result<(), String>,
}

/// What an agent sees around itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFacts {
    pub host: HostName,
    pub ip: IpAddr,
    pub cluster_interface: String,
    /// All interfaces by name; or why they can't be seen.
    pub interfaces: Result<BTreeMap<String, InterfaceFacts>, String>,
    pub roles: BTreeSet<Role>,
    /// Hardware addresses, other than the interface's own, that answered for an address.
    pub answers: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Role addresses that are on this host.
    pub held: BTreeSet<IpAddr>,
    pub peers: Vec<PeerFacts>,
}

/// How often the monitor looks, and how long it lets a failure pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Of the checks of replication.
    pub trap: Duration,
    /// Where only a host that is proven to have everything may follow a lost writer: the shortest timeout of semi-synchronous
    /// replication that proves anything.
    pub proof_ms: Option<u64>,
}

/// An agent's answer to the monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checkup {
    /// Names the question.
    pub number: u64,
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Since 1970, when the answer went out.
    #[serde(default)]
    pub wall_clock: Duration,
    /// What its configuration says that all must agree on, without secrets.
    #[serde(default)]
    pub shared: BTreeMap<String, String>,
    /// Hardware address of its cluster interface.
    #[serde(default)]
    pub hardware: Option<String>,
    /// Who answers for which role address.
    #[serde(default)]
    pub answers: BTreeMap<IpAddr, BTreeSet<String>>,
}
