//! What a host of the lab is: its name, address and place in the cluster. Where it lives on this machine is in `state`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// Host name of the monitor.
pub const MON: &str = "MySQL-MON";
/// Host name of the first master.
pub const M1: &str = "MySQL-M1";
/// Host name of the second master.
pub const M2: &str = "MySQL-M2";
/// Host name of the client, where the write probe runs.
pub const CLIENT: &str = "client";
/// Host name of the second client, for the other side of a partition.
pub const CLIENT2: &str = "client2";
/// Host name of what stands for a gateway: it answers pings, and nothing else.
pub const GATEWAY: &str = "gw";
/// The gateway's address, for `ping_ips`.
pub const GATEWAY_IP: &str = "192.168.8.1";
/// The writer's address.
pub const WRITER: &str = "192.168.8.30";
/// The readers' addresses.
pub const READERS: [&str; 2] = ["192.168.8.34", "192.168.8.35"];

/// What a host is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostKind {
    Monitor,
    Master,
    Replica,
    Client,
    Gateway,
}

impl fmt::Display for HostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monitor => "monitor",
            Self::Master => "master",
            Self::Replica => "replica",
            Self::Client => "client",
            Self::Gateway => "gateway",
        })
    }
}

/// A program the lab starts on hosts and keeps track of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    Server,
    Agent,
    Monitor,
}

impl Program {
    pub const ALL: [Self; 3] = [Self::Server, Self::Agent, Self::Monitor];

    /// Name of the executable.
    pub fn executable(self) -> &'static str {
        match self {
            Self::Server => "mariadbd",
            Self::Agent => "mmm_agentd",
            Self::Monitor => "mmm_mond",
        }
    }

    pub(crate) fn belongs_on(self, kind: HostKind) -> bool {
        match self {
            Self::Server | Self::Agent => matches!(kind, HostKind::Master | HostKind::Replica),
            Self::Monitor => kind == HostKind::Monitor,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Monitor => "monitor",
        })
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|program| {
                let is_mysql = *program == Self::Server && word == "mysqld";
                program.to_string() == word || program.executable() == word || is_mysql
            })
            .ok_or_else(|| format!("`{word}` is no program of the lab; expected server, agent or monitor"))
    }
}

/// Hosts beside the tutorial's and the first client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Replicas behind the first master, 4 at most.
    pub(crate) replicas: u8,
    pub(crate) second_client: bool,
    pub(crate) gateway: bool,
}

/// The plan of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub kind: HostKind,
    pub ip: String,
    /// `server-id` of its server, where it has one.
    pub server_id: Option<u32>,
    /// Name of its network namespace.
    pub namespace: String,
    /// The lab's directory for it: what is under /run, /etc/mysql-mmm, /var/log/mysql-mmm, … on the host.
    pub dir: PathBuf,
}

impl Host {
    fn new(lab: &str, dir: &Path, name: &str, kind: HostKind, last: u8, server_id: Option<u32>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            ip: format!("192.168.8.{last}"),
            server_id,
            namespace: format!("{}{name}", namespace_prefix(lab)),
            dir: dir.join("hosts").join(name),
        }
    }

    /// The tutorial's hosts, a client and what was asked for besides.
    pub(crate) fn plan(lab: &str, dir: &Path, extras: Extras) -> Vec<Self> {
        let mut hosts = vec![
            Self::new(lab, dir, MON, HostKind::Monitor, 31, None),
            Self::new(lab, dir, M1, HostKind::Master, 32, Some(12)),
            Self::new(lab, dir, M2, HostKind::Master, 33, Some(13)),
        ];
        for number in 1..=extras.replicas.min(4) {
            let name = format!("MySQL-R{number}");
            hosts.push(Self::new(
                lab,
                dir,
                &name,
                HostKind::Replica,
                35 + number,
                Some(13 + u32::from(number)),
            ));
        }
        hosts.push(Self::new(lab, dir, CLIENT, HostKind::Client, 40, None));
        if extras.second_client {
            hosts.push(Self::new(lab, dir, CLIENT2, HostKind::Client, 41, None));
        }
        if extras.gateway {
            hosts.push(Self::new(lab, dir, GATEWAY, HostKind::Gateway, 1, None));
        }
        hosts
    }

    /// Last byte of the address, which also numbers the bridge port and the link-layer address.
    fn last(&self) -> &str {
        self.ip.rsplit('.').next().unwrap_or_default()
    }

    /// Name of the bridge port its cable is plugged into.
    pub(crate) fn port(&self) -> String {
        format!("port{}", self.last())
    }

    /// Link-layer address of its eth0; fixed, so that captures and rules can be read by eye.
    pub fn mac(&self) -> String {
        format!("02:00:c0:a8:08:{:02x}", self.last().parse::<u8>().unwrap_or_default())
    }

    /// Where what a program prints is kept.
    pub(crate) fn output_file(&self, program: Program) -> PathBuf {
        self.dir.join("output").join(format!("{program}.log"))
    }

    /// The answer to a request for a program that this kind of host does not run.
    pub(crate) fn lacks(&self, program: Program) -> LabError {
        LabError::NotThere {
            host: self.name.clone(),
            program: program.to_string(),
            kind: self.kind.to_string(),
        }
    }

    pub fn has_server(&self) -> bool {
        self.server_id.is_some()
    }
}

/// What the names of all network namespaces of a lab begin with.
pub(crate) fn namespace_prefix(lab: &str) -> String {
    format!("mmmlab-{lab}-")
}
