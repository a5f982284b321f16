//! What the doctor needs of the configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mmm_config::{HostMode, HostSettings, SemiSync, Settings};
use mmm_core::HostName;
use mmm_mysql::{Account, Endpoint};

/// A server that this host may have to replicate from, and the account for that.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) host: HostName,
    pub(crate) server: Endpoint,
    pub(crate) account: Account,
}

#[derive(Clone, Debug)]
pub(crate) struct DoctorSetup {
    pub(crate) is_master: bool,
    pub(crate) has_replicas: bool,
    /// Then the monitor switches it, and the option files leave it off.
    pub(crate) manages_semi_sync: bool,
    pub(crate) sources: Vec<Source>,
    /// The agents that this one would ask for a promise.
    pub(crate) peers: BTreeMap<HostName, SocketAddr>,
    pub(crate) shared: BTreeMap<String, String>,
}

impl DoctorSetup {
    pub(crate) fn new(settings: &Settings, own: &HostSettings) -> Self {
        let is_master = own.mode == HostMode::Master;
        let others = || settings.hosts.values().filter(|host| host.name != own.name);
        let masters = || others().filter(|host| host.mode == HostMode::Master);
        let is_source = |host: &&HostSettings| !is_master || own.peer.as_ref() == Some(&host.name);
        let source = |host: &HostSettings| {
            let account = settings.replication_account(&host.name)?;
            Some(Source {
                host: HostName::from(host.name.as_str()),
                server: Endpoint::new(host.ip, host.mysql_port),
                account: Account::new(account.user, account.password.clone()),
            })
        };
        let asked = |host: &HostSettings| (HostName::from(host.name.as_str()), host.agent_address());
        Self {
            is_master,
            has_replicas: settings.hosts.values().any(|host| host.mode == HostMode::Slave),
            manages_semi_sync: settings.lease.semi_sync == SemiSync::Manage,
            sources: masters().filter(is_source).filter_map(source).collect(),
            peers: if is_master { masters().map(asked).collect() } else { BTreeMap::new() },
            shared: mmm_config::shared(settings),
        }
    }
}
