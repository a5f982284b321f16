//! One host: its kernel's addresses, its server and its agent, with what survives a restart of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mmm_core::{AgentMemory, AgentMind, HostName, Lane, Role, Step};

use crate::server::Server;

/// The worker of `mmm_agentd`.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) mind: AgentMind,
    /// When this worker was started: the zero point of its clock.
    pub(crate) started: u64,
    /// Steps that the mind asked for and whose end it has not heard of.
    pub(crate) under_way: BTreeMap<Lane, Step>,
}

/// The connection between the monitor and one agent. Both ends know the number of the session that they believe in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) at_monitor: Option<u64>,
    pub(crate) at_agent: Option<u64>,
    /// Nothing overtakes what was sent before it.
    pub(crate) to_monitor_not_before: u64,
    pub(crate) to_agent_not_before: u64,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: HostName,
    pub(crate) peer: HostName,
    pub(crate) peer_ip: IpAddr,
    pub(crate) powered: bool,
    pub(crate) boot: u64,
    pub(crate) addresses: BTreeSet<Role>,
    pub(crate) server: Server,
    pub(crate) agent: Option<Agent>,
    /// Counts the workers, so that what belongs to an earlier one is told apart.
    pub(crate) agent_life: u64,
    /// The state file under the run directory: lost with a boot.
    pub(crate) memory: AgentMemory,
    pub(crate) session: Session,
    /// What the server had received when its agent was told of the present choice of a writer.
    pub(crate) chosen: Option<(u64, u64)>,
}
