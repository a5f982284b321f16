//! The text lines of protocol 1, as programs of 2.2.1 speak them: a request `COMMAND|1|HOST|…`, an answer that ends in
//! `|UP:SECONDS`. Both directions of both, byte for byte, and lines off any stream.
//!
//! It knows what a line says and not what is done about it; deadlines belong to whoever reads and writes.

mod answer;
mod connection;
mod lines;
mod request;

use std::collections::BTreeSet;

use mmm_core::{HostName, HostState, Role};

pub use answer::{AgentReport, Answer, NotAnAnswer, Reply, SystemReport, Uptime};
pub use connection::LineConnection;
pub use lines::{Line, LineError, LineReader};
pub use request::{Asked, Command, Request, RequestFault, SetStatus};

use crate::excerpt::excerpt;
use crate::greeting::is_host_name;

/// Greatest length of a line, newline included: room for hundreds of role addresses.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// The version that stands in our own lines.
pub const VERSION: u32 = 1;

const FIELD: char = '|';
const ROLE: char = ',';

/// Each function says what is wrong with a field, for people.
fn state(field: &str) -> Result<HostState, String> {
    field.parse().map_err(|_| format!("'{}' is not a host state", excerpt(field)))
}

fn role(text: &str) -> Result<Role, String> {
    let wrong = || format!("'{}' is not a role with its address, as in writer(192.168.8.30)", excerpt(text));
    Role::parse(text).ok().filter(|role| is_host_name(role.name().as_str())).ok_or_else(wrong)
}

/// Roles in the order in which they stand.
fn roles(field: &str) -> Result<Vec<Role>, String> {
    if field.is_empty() {
        return Ok(Vec::new());
    }
    field.split(ROLE).map(role).collect()
}

fn role_set(field: &str) -> Result<BTreeSet<Role>, String> {
    Ok(roles(field)?.into_iter().collect())
}

fn host(field: &str) -> Result<Option<HostName>, String> {
    match field {
        "" => Ok(None),
        name if is_host_name(name) => Ok(Some(HostName::from(name))),
        other => Err(format!("'{}' is not the name of a host", excerpt(other))),
    }
}

fn host_field(host: Option<&HostName>) -> &str {
    host.map_or("", HostName::as_str)
}
