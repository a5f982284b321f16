//! What an agent answers.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::time::Duration;

use mmm_core::{HostName, HostState, Role};

use super::request::Asked;
use super::{FIELD, host, host_field, role_set, roles, state};
use crate::excerpt::excerpt;

const UPTIME: &str = "|UP:";
const ERROR: &str = "ERROR: ";
const PINGED: &str = "OK: Pinged!";
const APPLIED: &str = "OK: Status applied successfully!";
const RETURNING: &str = "OK: Returning status!";
const REMOVED: [&str; 2] = ["OK: Removed ", " roles"];

/// How long the agent's host is up, in hundredths of a second as /proc/uptime has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime {
    hundredths: u64,
}

/// What was last ordered, as the agent remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReport {
    /// `UNKNOWN` until the first order.
    pub state: HostState,
    pub roles: BTreeSet<Role>,
    /// A master leaves it empty.
    pub active_master: Option<HostName>,
}

/// What is really so on the agent's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemReport {
    pub writable: bool,
    /// In the order of the answer; it is not sorted.
    pub roles: Vec<Role>,
    /// As the server's replication status has it, which may be a name instead of an address.
    pub source: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Pinged,
    Applied,
    AgentStatus(AgentReport),
    SystemStatus(SystemReport),
    /// So many role addresses that did not belong here were taken off.
    Removed(u32),
    /// The text behind `ERROR: `.
    Error(String),
}

/// One line from an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub reply: Reply,
    pub uptime: Uptime,
}

/// A line that is not the answer to what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{line}' is not an answer to {asked}: {what}")]
pub struct NotAnAnswer {
    line: String,
    asked: &'static str,
    what: String,
}

impl Answer {
    /// Reads a line without its newline, as the answer to `asked`.
    pub fn parse(line: &str, asked: Asked) -> Result<Self, NotAnAnswer> {
        let wrong = |what: String| NotAnAnswer { line: excerpt(line), asked: asked.word(), what };
        let (text, uptime) = line
            .rsplit_once(UPTIME)
            .ok_or_else(|| wrong("it does not end in |UP: and the host's uptime".to_owned()))?;
        let uptime = Uptime::parse(uptime)
            .ok_or_else(|| wrong(format!("'{}' is not an uptime in seconds", excerpt(uptime))))?;
        Ok(Self { reply: Reply::parse(text, asked).map_err(wrong)?, uptime })
    }

    /// The line with its newline.
    pub fn line(&self) -> String {
        format!("{self}\n")
    }
}

impl Reply {
    fn parse(text: &str, asked: Asked) -> Result<Self, String> {
        if let Some(error) = text.strip_prefix(ERROR) {
            return Ok(Self::Error(error.to_owned()));
        }
        let told = |expected: &str, reply: Self| {
            if text == expected { Ok(reply) } else { Err(format!("expected '{expected}'")) }
        };
        match asked {
            Asked::Ping => told(PINGED, Self::Pinged),
            Asked::SetStatus => told(APPLIED, Self::Applied),
            Asked::AgentStatus => {
                let [state_field, roles, master] = status_fields(text)?;
                Ok(Self::AgentStatus(AgentReport {
                    state: state(state_field)?,
                    roles: role_set(roles)?,
                    active_master: host(master)?,
                }))
            }
            Asked::SystemStatus => {
                let [writable, role_field, source] = status_fields(text)?;
                let writable = match writable {
                    "1" => true,
                    "" => false,
                    other => return Err(format!("'{}' where 1 or nothing belongs", excerpt(other))),
                };
                let source = (!source.is_empty()).then(|| source.to_owned());
                Ok(Self::SystemStatus(SystemReport { writable, roles: roles(role_field)?, source }))
            }
            Asked::ClearBadRoles => {
                let number = text.strip_prefix(REMOVED[0]).and_then(|rest| rest.strip_suffix(REMOVED[1]));
                let number = number.and_then(|number| number.parse().ok());
                number.map(Self::Removed).ok_or_else(|| "expected 'OK: Removed N roles'".to_owned())
            }
        }
    }
}

fn status_fields(text: &str) -> Result<[&str; 3], String> {
    let fields: Vec<&str> = text.split(FIELD).collect();
    match fields[..] {
        [RETURNING, first, second, third] => Ok([first, second, third]),
        _ => Err(format!("expected '{RETURNING}' and three fields")),
    }
}

impl Uptime {
    /// Of this host; zero where the kernel does not tell.
    pub fn of_host() -> Self {
        let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
        text.split_whitespace().next().and_then(Self::parse).unwrap_or_default()
    }

    /// Two decimals are what Linux gives; an agent on another system may have fewer or more.
    fn parse(text: &str) -> Option<Self> {
        let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || decimals.contains('.') {
            return None;
        }
        let seconds: u64 = seconds.parse().ok()?;
        let hundredths = format!("{decimals:0<2.2}").parse().ok()?;
        Some(Self { hundredths: seconds.checked_mul(100)?.checked_add(hundredths)? })
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.hundredths / 100)
            .saturating_add(Duration::from_millis(self.hundredths % 100 * 10))
    }
}

impl From<Duration> for Uptime {
    fn from(uptime: Duration) -> Self {
        let hundredths = uptime.as_secs().saturating_mul(100);
        Self { hundredths: hundredths.saturating_add(u64::from(uptime.subsec_millis() / 10)) }
    }
}

impl fmt::Display for Uptime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.hundredths / 100, self.hundredths % 100)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reply {
            Reply::Pinged => formatter.write_str(PINGED)?,
            Reply::Applied => formatter.write_str(APPLIED)?,
            Reply::AgentStatus(AgentReport { state, roles, active_master }) => {
                let (roles, master) = (Role::join(roles, ","), host_field(active_master.as_ref()));
                write!(formatter, "{RETURNING}|{state}|{roles}|{master}")?;
            }
            Reply::SystemStatus(SystemReport { writable, roles, source }) => {
                let writable = if *writable { "1" } else { "" };
                let roles: Vec<String> = roles.iter().map(Role::to_string).collect();
                let source = source.as_deref().unwrap_or_default();
                write!(formatter, "{RETURNING}|{writable}|{}|{source}", roles.join(","))?;
            }
            Reply::Removed(number) => write!(formatter, "{}{number}{}", REMOVED[0], REMOVED[1])?,
            Reply::Error(text) => write!(formatter, "{ERROR}{text}")?,
        }
        write!(formatter, "{UPTIME}{}", self.uptime)
    }
}
