//! What the agent takes from its configuration, in the form its parts need.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use mmm_config::{Diverged, Settings};
use mmm_core::lease::LeaseRules;
use mmm_core::{AgentSettings, HostName, Role, RoleName};
use mmm_daemon::LogSettings;
use mmm_mysql::{Account, Endpoint};
use mmm_wire::{Secret, Transport};
use secrecy::ExposeSecret;

use crate::doctor::DoctorSetup;
use crate::options::Options;

/// What must outlast a reboot is kept here.
const STATE_FOLDER: &str = "/var/lib/mysql-mmm";

/// A host whose data this one may get anew.
#[derive(Clone, Debug)]
pub(crate) struct Donor {
    pub(crate) server: Endpoint,
    /// That of its agent.
    pub(crate) account: Account,
    /// By which its replicas log in.
    pub(crate) replication: Account,
}

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) host: HostName,
    pub(crate) listen: SocketAddr,
    pub(crate) interface: String,
    pub(crate) pid_path: PathBuf,
    pub(crate) state_path: PathBuf,
    pub(crate) epoch_path: PathBuf,
    /// Whose epoch file it is; one that was copied from another host is not believed.
    pub(crate) epoch_owner: String,
    pub(crate) server: Endpoint,
    pub(crate) account: Account,
    /// As whom this host's server replicates.
    pub(crate) replication: Account,
    /// Where the server's pid stands when the server does not say it.
    pub(crate) server_pid_file: PathBuf,
    /// Accounts of MMM itself, whose connections are no clients.
    pub(crate) own_users: Vec<String>,
    /// By which a replica of each host logs in there.
    pub(crate) replication_at: BTreeMap<HostName, Account>,
    pub(crate) donors: BTreeMap<HostName, Donor>,
    /// Starts the server where nothing else does while this host is rebuilt.
    pub(crate) server_start_command: Option<String>,
    /// Hosts are to be rebuilt without a word, or are prepared for it.
    pub(crate) rebuilds: bool,
    /// Every address of every role.
    pub(crate) roles: BTreeMap<IpAddr, Role>,
    /// The agents of all other hosts.
    pub(crate) peers: BTreeMap<HostName, SocketAddr>,
    pub(crate) secret: Option<Secret>,
    pub(crate) transport: Transport,
    /// Whether a monitor of 2.2.1, which can't prove the secret, may give orders.
    pub(crate) allow_protocol1: bool,
    /// Schema of the table `mmm_heartbeat`.
    pub(crate) heartbeat_schema: Option<String>,
    pub(crate) cluster: Option<String>,
    /// Random number of this start, told to other agents.
    pub(crate) instance: u64,
    pub(crate) mind: AgentSettings,
    pub(crate) doctor: DoctorSetup,
    debug: bool,
    log_file: PathBuf,
}

impl Setup {
    pub(crate) fn new(settings: &Settings, options: &Options) -> Result<Self> {
        let view = settings.agent_view()?;
        let host = HostName::from(view.host.name.as_str());
        let suffix = options.daemon.suffix();
        let secret = match &settings.secret_file {
            Some(path) => Some(Secret::load(path).context("read secret_file of mmm3.conf")?),
            None => None,
        };
        let roles = settings
            .roles
            .values()
            .flat_map(|role| role.ips.iter().map(|ip| (*ip, Role::new(role.name.as_str(), *ip))))
            .collect();
        let peers = settings
            .hosts
            .iter()
            .map(|(name, other)| (HostName::from(name.as_str()), other.agent_address()))
            .filter(|(name, _)| *name != host)
            .collect();
        let replication_at = settings
            .hosts
            .iter()
            .filter_map(|(name, host)| {
                let (user, password) =
                    host.replication_user.as_ref().zip(host.replication_password.as_ref())?;
                Some((HostName::from(name.as_str()), Account::new(user, password.clone())))
            })
            .collect();
        let donors = settings
            .hosts
            .iter()
            .filter_map(|(name, host)| {
                let account = |user: &Option<String>, password: &Option<_>| {
                    let (user, password) = user.as_ref().zip(password.as_ref())?;
                    Some(Account::new(user, Clone::clone(password)))
                };
                let donor = Donor {
                    server: Endpoint::new(host.ip, host.mysql_port),
                    account: account(&host.agent_user, &host.agent_password)?,
                    replication: account(&host.replication_user, &host.replication_password)?,
                };
                Some((HostName::from(name.as_str()), donor))
            })
            .collect();
        let own = settings.hosts.values().flat_map(|host| {
            [&host.agent_user, &host.monitor_user, &host.replication_user].into_iter().flatten().cloned()
        });
        // 2.2.1's agents know no monitor account; by custom it bears this name.
        let mut own_users: Vec<String> = own.chain(["mmm_monitor".to_owned()]).collect();
        own_users.sort();
        own_users.dedup();
        Ok(Self {
            listen: view.host.agent_address(),
            interface: view.cluster_interface.to_owned(),
            pid_path: view.pid_path.to_owned(),
            state_path: view.pid_path.with_file_name(format!("{host}{suffix}.state")),
            epoch_path: PathBuf::from(format!("{STATE_FOLDER}/{host}{suffix}.epoch")),
            epoch_owner: format!("agent {host}{suffix}"),
            server: Endpoint::new(view.host.ip, view.host.mysql_port),
            account: Account::new(view.agent.user, view.agent.password.clone()),
            replication: Account::new(view.replication.user, view.replication.password.clone()),
            server_pid_file: view.host.mysql_pidfile.clone(),
            own_users,
            replication_at,
            donors,
            server_start_command: settings.server_start_command.clone(),
            rebuilds: settings.diverged == Diverged::Clone || settings.server_start_command.is_some(),
            roles,
            peers,
            secret,
            transport: mmm_daemon::transport(&settings.socket)?,
            allow_protocol1: settings.allow_protocol1,
            heartbeat_schema: settings.heartbeat_schema.clone(),
            cluster: options.daemon.cluster().map(str::to_owned),
            instance: mmm_wire::fresh_instance().context("choose the random number of this start")?,
            mind: AgentSettings {
                host: host.clone(),
                active_master_role: settings.active_master_role.as_str().into(),
                max_kill_retries: settings.max_kill_retries,
                role_hosts: role_hosts(settings),
                rules: LeaseRules::ALL,
            },
            doctor: DoctorSetup::new(settings, view.host),
            host,
            debug: settings.debug,
            log_file: PathBuf::from(format!("/var/log/mysql-mmm/mmm_agentd{suffix}.log")),
        })
    }

    /// The same as `self` in all that a running agent can't change.
    pub(crate) fn following(self, running: &Self) -> Self {
        Self {
            listen: running.listen,
            pid_path: running.pid_path.clone(),
            state_path: running.state_path.clone(),
            server: Endpoint::new(running.server.ip, self.server.port),
            instance: running.instance,
            debug: running.debug,
            ..self
        }
    }

    /// Whether the server is reached in this way.
    pub(crate) fn reaches_server_as(&self, server: &Endpoint, account: &Account) -> bool {
        self.server == *server
            && self.account.user == account.user
            && self.account.password.expose_secret() == account.password.expose_secret()
    }

    pub(crate) fn log_settings(&self, foreground: bool) -> LogSettings {
        LogSettings { file: self.log_file.clone(), foreground, debug: self.debug }
    }
}

fn role_hosts(settings: &Settings) -> BTreeMap<RoleName, BTreeSet<HostName>> {
    let hosts = |names: &[String]| names.iter().map(|name| HostName::from(name.as_str())).collect();
    settings.roles.iter().map(|(name, role)| (RoleName::from(name.as_str()), hosts(&role.hosts))).collect()
}
