//! What a monitor asks of an agent.

use std::collections::BTreeSet;
use std::fmt;

use mmm_core::{HostName, HostState, Role};

use super::{FIELD, VERSION, host, host_field, role_set, state};
use crate::excerpt::excerpt;

/// The kinds of request; an answer cannot be understood without knowing which one it is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Ping,
    SetStatus,
    AgentStatus,
    SystemStatus,
    ClearBadRoles,
}

impl Asked {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::SetStatus => "SET_STATUS",
            Self::AgentStatus => "GET_AGENT_STATUS",
            Self::SystemStatus => "GET_SYSTEM_STATUS",
            Self::ClearBadRoles => "CLEAR_BAD_ROLES",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Ping, Self::SetStatus, Self::AgentStatus, Self::SystemStatus, Self::ClearBadRoles];
        all.into_iter().find(|asked| asked.word() == word)
    }
}

/// The whole truth for one host: what it has no role of, it is to have let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStatus {
    pub state: HostState,
    pub roles: BTreeSet<Role>,
    pub active_master: Option<HostName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Ping,
    SetStatus(SetStatus),
    AgentStatus,
    SystemStatus,
    ClearBadRoles,
}

impl Command {
    pub const fn asked(&self) -> Asked {
        match self {
            Self::Ping => Asked::Ping,
            Self::SetStatus(_) => Asked::SetStatus,
            Self::AgentStatus => Asked::AgentStatus,
            Self::SystemStatus => Asked::SystemStatus,
            Self::ClearBadRoles => Asked::ClearBadRoles,
        }
    }
}

/// One line from a monitor to the agent of `host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// A line of any version is answered; what is no number counts as 0.
    pub version: u32,
    pub host: HostName,
    pub command: Command,
}

/// Why a line is not carried out; the text is the answer's, behind `ERROR: `. The first two are 2.2.1's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// No such command, or fewer than three fields; then it is the whole line.
    #[error("Invalid command '{0}'!")]
    Invalid(String),
    #[error("Invalid hostname in command ({named})! My name is '{mine}'")]
    WrongHost { named: String, mine: String },
    /// An agent of 2.2.1 carries out what it can make of such a line. A status is the whole truth, so a damaged one
    /// would take roles off.
    #[error("Invalid parameters of command 'SET_STATUS': {0}! Nothing was changed")]
    Status(String),
}

impl Request {
    pub fn new(host: HostName, command: Command) -> Self {
        Self { version: VERSION, host, command }
    }

    /// Reads a line without its newline, as the agent of `mine`. What stands behind the last known field is ignored;
    /// a carriage return belongs to its field.
    pub fn parse(line: &str, mine: &HostName) -> Result<Self, RequestFault> {
        let fields: Vec<&str> = line.split(FIELD).collect();
        let [word, version, host, params @ ..] = fields.as_slice() else {
            return Err(RequestFault::Invalid(line.to_owned()));
        };
        if *host != mine.as_str() {
            return Err(RequestFault::WrongHost {
                named: (*host).to_owned(),
                mine: mine.as_str().to_owned(),
            });
        }
        let command = match Asked::of_word(word) {
            Some(Asked::Ping) => Command::Ping,
            Some(Asked::SetStatus) => {
                Command::SetStatus(SetStatus::parse(params).map_err(RequestFault::Status)?)
            }
            Some(Asked::AgentStatus) => Command::AgentStatus,
            Some(Asked::SystemStatus) => Command::SystemStatus,
            Some(Asked::ClearBadRoles) => Command::ClearBadRoles,
            None => return Err(RequestFault::Invalid((*word).to_owned())),
        };
        Ok(Self { version: version.parse().unwrap_or(0), host: mine.clone(), command })
    }

    /// Whether the caller speaks a newer version than this program; it is answered all the same.
    pub const fn is_newer(&self) -> bool {
        self.version > VERSION
    }

    /// The line with its newline.
    pub fn line(&self) -> String {
        format!("{self}\n")
    }
}

impl SetStatus {
    fn parse(params: &[&str]) -> Result<Self, String> {
        let [state_field, roles, master, ..] = params else {
            return Err(format!(
                "{} of the three fields STATE|ROLES|ACTIVE_MASTER are there ('{}')",
                params.len(),
                excerpt(&params.join("|"))
            ));
        };
        Ok(Self { state: state(state_field)?, roles: role_set(roles)?, active_master: host(master)? })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}|{}|{}", self.command.asked().word(), self.version, self.host)?;
        match &self.command {
            Command::SetStatus(SetStatus { state, roles, active_master }) => {
                let roles = Role::join(roles, ",");
                write!(formatter, "|{state}|{roles}|{}", host_field(active_master.as_ref()))
            }
            Command::Ping | Command::AgentStatus | Command::SystemStatus | Command::ClearBadRoles => Ok(()),
        }
    }
}
