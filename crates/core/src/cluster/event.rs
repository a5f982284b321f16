//! What the monitor's mind is told and what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::lease::Evidence;
use super::ledger::Record;
use super::protocol1::Protocol1Report;
use crate::check::{CheckKind, Verdict};
use crate::lease::{Epoch, GrantRecord, Renewal};
use crate::message::{AgentStatus, ToAgent};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::settings::Settings;
use crate::state::HostState;
use crate::survey::Survey;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time went on; nothing else.
    Tick,
    /// Whether any of `ping_ips` answered.
    NetworkChecked {
        reachable: bool,
    },
    Checked {
        host: HostName,
        kind: CheckKind,
        verdict: Verdict,
        /// When the probe began.
        started: Moment,
        /// The wall-clock time as `checks` shows it.
        stamp: String,
    },
    /// A session with an agent began.
    AgentConnected {
        host: HostName,
        status: Box<AgentStatus>,
    },
    AgentReported {
        host: HostName,
        status: Box<AgentStatus>,
    },
    /// An agent of 2.2.1 answered, which knows nothing of sessions.
    Protocol1Reported {
        host: HostName,
        report: Box<Protocol1Report>,
    },
    /// A session ended, or could not be had.
    AgentLost {
        host: HostName,
        reason: String,
    },
    /// An agent has a session with another monitor and will have none with this one.
    AgentRefused {
        host: HostName,
        reason: String,
    },
    /// The holder of the writer's lease, or a host that was promoted, asks for a grant.
    Renewed {
        host: HostName,
        renewal: Renewal,
    },
    /// An agent said what a planned move would meet on its server.
    Surveyed {
        host: HostName,
        survey: Box<Survey>,
    },
    /// The state with this number is on disk, or could not be written.
    StateSaved {
        number: u64,
        outcome: Result<(), String>,
    },
    HostKillEnded {
        host: HostName,
        /// The epoch that was granted when the program was started.
        epoch: Epoch,
        outcome: Result<(), String>,
    },
    /// A line came in on the control port.
    Commanded {
        client: u64,
        line: String,
    },
    /// The configuration was read again. To be asked about before: see [`Cluster::objections`](super::Cluster::objections).
    Reconfigured(Box<Settings>),
}

/// What a monitor has to know of leases after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MonitorState {
    /// Told apart from the state of any other monitor, and from one that was made anew, by this random number.
    pub lineage: u64,
    /// How often it has been written.
    pub generation: u64,
    /// The greatest epoch given out.
    pub issued: Epoch,
    /// The last lease that was granted.
    pub record: Option<GrantRecord>,
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// Up to which epoch the operator takes it that transactions are lost.
    #[serde(default)]
    pub loss_confirmed: Epoch,
    /// Writers that were lost and whose transactions have not been compared since.
    #[serde(default)]
    pub lost: Vec<HostName>,
}

/// What a starting monitor found of its own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    Good(MonitorState),
    /// Something, but not the newest; or nothing at all. With the reason, for people.
    Lost(Option<MonitorState>, String),
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Tell {
        host: HostName,
        message: ToAgent,
    },
    /// Run the operator's program that turns a host off.
    KillHost {
        host: HostName,
        ping: bool,
        epoch: Epoch,
    },
    /// Make this durable, and say so by [`Event::StateSaved`].
    SaveState {
        number: u64,
        state: MonitorState,
    },
    Answer {
        client: u64,
        text: String,
    },
    SaveStatus(String),
    /// A record of the ledger as it is now, in place of what was said of the one with this number before.
    Record(Box<Record>),
    /// A host that was taken out of the configuration has let go of everything: nothing is asked of it any more.
    Dismiss {
        host: HostName,
    },
    Log(LogLevel, String),
}

impl Action {
    pub(super) fn log(level: LogLevel, text: impl Into<String>) -> Self {
        Self::Log(level, text.into())
    }
}

/// The levels of 2.2.1's log. `Fatal` marks what an operator must see, every state change above all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl LogLevel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// The monitor's status file, read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub hosts: BTreeMap<HostName, (HostState, BTreeSet<Role>)>,
}

impl Restored {
    /// Reads `HOST|STATE|roles` lines. Lines that make no sense are returned for the log and otherwise ignored: half a
    /// file is worth more than none, and every claim in it is only one vote.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut restored = Self::default();
        let mut odd = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match Self::parse_line(line) {
                Some((host, state, roles)) => {
                    restored.hosts.insert(host, (state, roles));
                }
                None => odd.push(line.to_owned()),
            }
        }
        (restored, odd)
    }

    fn parse_line(line: &str) -> Option<(HostName, HostState, BTreeSet<Role>)> {
        let mut fields = line.split('|');
        let (host, state, roles) = (fields.next()?, fields.next()?, fields.next()?);
        let roles =
            roles.split(',').filter(|role| !role.is_empty()).map(|role| Role::parse(role).ok()).collect();
        Some((HostName::from(host), state.parse().ok()?, roles))
            .and_then(|(host, state, roles): (_, _, Option<_>)| Some((host, state, roles?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_of_2_2_1_is_read_and_odd_lines_are_reported() {
        let text = "db1|ONLINE|reader(192.168.8.34),writer(192.168.8.30)\ndb2|HARD_OFFLINE|\nrubbish\ndb3|NOWHERE|\n";
        let (restored, odd) = Restored::parse(text);
        assert_eq!(odd, ["rubbish", "db3|NOWHERE|"]);
        let (state, roles) = &restored.hosts[&HostName::from("db1")];
        assert_eq!(*state, HostState::Online);
        assert_eq!(Role::join(roles, ","), "reader(192.168.8.34),writer(192.168.8.30)");
        assert_eq!(restored.hosts[&HostName::from("db2")], (HostState::HardOffline, BTreeSet::new()));
    }
}
