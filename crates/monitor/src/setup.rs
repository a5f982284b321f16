//! What the monitor takes from its configuration, in the form its parts need.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_config::{
    Checks, Diverged, FailoverPolicy, HostMode, LeaseSettings, Mode, RoleMode, SemiSync, Settings as Config,
    WriterIsolated,
};
use mmm_core::lease::LeaseLength;
use mmm_core::{
    CheckKind, HostName, HostSettings, Isolated, LeaseTerms, OnStalledWrites, RoleName, RoleSettings,
    Settings,
};
use mmm_daemon::LogSettings;
use mmm_mysql::{Account, Endpoint};
use mmm_wire::{Secret, Transport};

use crate::epoch_file;
use crate::history;
use crate::options::Options;

/// How long a planned move waits for its target to catch up.
const APPROACH_LIMIT: Duration = Duration::from_secs(10);
/// An agent's attempt at making a server read-only and the pause behind it.
const CLOSE_ATTEMPT: Duration = Duration::from_millis(1200);
/// Attempts behind which the agent ends the clients that are in the way.
const CLOSE_ATTEMPTS_MAX: u32 = 50;
/// For that, and for what those clients had begun to be rolled back.
const CLOSE_MORE: Duration = Duration::from_secs(8);
/// How long nobody can write before a planned move goes back.
const HANDOVER_LIMIT: Duration = Duration::from_secs(5);

/// How to reach one host.
#[derive(Clone, Debug)]
pub(crate) struct HostSetup {
    pub(crate) name: HostName,
    pub(crate) ip: IpAddr,
    pub(crate) agent: SocketAddr,
    pub(crate) server: Endpoint,
    pub(crate) account: Account,
}

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) listen: SocketAddr,
    pub(crate) pid_path: PathBuf,
    pub(crate) status_path: PathBuf,
    pub(crate) epoch_path: PathBuf,
    pub(crate) history_path: PathBuf,
    /// Whose epoch file it is; that of another cluster is not believed.
    pub(crate) epoch_owner: String,
    pub(crate) kill_host_bin: PathBuf,
    pub(crate) ping_ips: Vec<IpAddr>,
    pub(crate) ping_interval: Duration,
    pub(crate) checks: Checks,
    pub(crate) hosts: Vec<HostSetup>,
    pub(crate) secret: Option<Secret>,
    pub(crate) transport: Transport,
    /// Whether an agent of 2.2.1, which can't prove the secret, is served although one is set.
    pub(crate) allow_protocol1: bool,
    pub(crate) cluster: Option<String>,
    pub(crate) max_kill_retries: u32,
    pub(crate) mind: Settings,
    /// What agents must agree with, for the doctor.
    pub(crate) shared: BTreeMap<String, String>,
    debug: bool,
    log_file: PathBuf,
}

impl Setup {
    /// The same as `self` in all that a running monitor can't change.
    pub(crate) fn following(self, running: &Self) -> Self {
        Self {
            listen: running.listen,
            pid_path: running.pid_path.clone(),
            status_path: running.status_path.clone(),
            epoch_path: running.epoch_path.clone(),
            history_path: running.history_path.clone(),
            mind: Settings { instance: running.mind.instance, ..self.mind },
            debug: running.debug,
            ..self
        }
    }

    pub(crate) fn host(&self, name: &HostName) -> Option<&HostSetup> {
        self.hosts.iter().find(|host| host.name == *name)
    }

    pub(crate) fn new(config: &Config, options: &Options) -> Result<Self> {
        let view = config.monitor_view()?;
        let monitor = view.monitor;
        let secret = match &config.secret_file {
            Some(path) => Some(Secret::load(path).context("read secret_file of mmm3.conf")?),
            None => None,
        };
        let hosts = view
            .hosts
            .iter()
            .map(|watched| HostSetup {
                name: HostName::from(watched.host.name.as_str()),
                ip: watched.host.ip,
                agent: watched.host.agent_address(),
                server: Endpoint::new(watched.host.ip, watched.host.mysql_port),
                account: Account::new(watched.account.user, watched.account.password.clone()),
            })
            .collect();
        Ok(Self {
            listen: SocketAddr::new(monitor.ip, monitor.port),
            pid_path: monitor.pid_path.clone(),
            status_path: monitor.status_path.clone(),
            epoch_path: epoch_file::path_beside(&monitor.status_path),
            history_path: history::path_beside(&monitor.status_path),
            epoch_owner: match options.daemon.cluster() {
                Some(cluster) => format!("monitor {cluster}"),
                None => "monitor".to_owned(),
            },
            kill_host_bin: monitor.kill_host_bin.clone(),
            ping_ips: monitor.ping_ips.clone(),
            ping_interval: monitor.ping_interval,
            checks: config.checks.clone(),
            hosts,
            secret,
            transport: mmm_daemon::transport(&config.socket)?,
            allow_protocol1: config.allow_protocol1,
            cluster: options.daemon.cluster().map(str::to_owned),
            max_kill_retries: config.max_kill_retries,
            mind: mind_settings(config, monitor)?,
            shared: mmm_config::shared(config),
            debug: config.debug,
            log_file: PathBuf::from(format!("/var/log/mysql-mmm/mmm_mond{}.log", options.daemon.suffix())),
        })
    }

    pub(crate) fn log_settings(&self, foreground: bool) -> LogSettings {
        LogSettings { file: self.log_file.clone(), foreground, debug: self.debug }
    }
}

fn mind_settings(config: &Config, monitor: &mmm_config::MonitorSettings) -> Result<Settings> {
    let traps = [
        (CheckKind::Ping, &config.checks.ping),
        (CheckKind::Mysql, &config.checks.mysql),
        (CheckKind::RepThreads, &config.checks.rep_threads),
        (CheckKind::RepBacklog, &config.checks.rep_backlog),
    ];
    Ok(Settings {
        instance: mmm_wire::fresh_instance().context("choose the random number of this start")?,
        hosts: config
            .hosts
            .iter()
            .map(|(name, host)| (HostName::from(name.as_str()), host_settings(host)))
            .collect(),
        roles: config
            .roles
            .iter()
            .map(|(name, role)| (RoleName::from(name.as_str()), role_settings(role)))
            .collect(),
        active_master_role: config.active_master_role.as_str().into(),
        mode: match monitor.mode {
            Mode::Active => mmm_core::Mode::Active,
            Mode::Manual => mmm_core::Mode::Manual,
            Mode::Wait => mmm_core::Mode::Wait,
            Mode::Passive => mmm_core::Mode::Passive,
        },
        trap: traps.into_iter().map(|(kind, check)| (kind, check.trap)).collect::<BTreeMap<_, _>>(),
        flap_duration: monitor.flap_duration,
        flap_count: monitor.flap_count,
        auto_set_online: monitor.auto_set_online,
        careful_startup: monitor.careful_startup,
        wait_for_other_master: monitor.wait_for_other_master,
        kill_host: if is_executable(&monitor.kill_host_bin) {
            Ok(())
        } else {
            Err(monitor.kill_host_bin.display().to_string())
        },
        terms: lease_terms(&config.lease)?,
        leases_run_out: !config.lease.writer_lease.is_zero(),
        failover_grace: config.lease.failover_grace,
        reader_return_after: config.reader_return_after,
        diverged: match config.diverged {
            Diverged::Hold => mmm_core::Diverged::Hold,
            Diverged::Merge => mmm_core::Diverged::Merge,
            Diverged::Clone => mmm_core::Diverged::Clone,
        },
        semi_sync: match config.lease.semi_sync {
            SemiSync::Off => mmm_core::SemiSyncMode::Off,
            SemiSync::Watch => mmm_core::SemiSyncMode::Watch,
            SemiSync::Manage => mmm_core::SemiSyncMode::Manage,
        },
        failover_policy: match config.lease.failover_policy {
            FailoverPolicy::Availability => mmm_core::FailoverPolicy::Availability,
            FailoverPolicy::Consistency => mmm_core::FailoverPolicy::Consistency,
        },
        on_stalled_writes: if config.move_on_stalled_writes {
            OnStalledWrites::Move
        } else {
            OnStalledWrites::Show
        },
        salvage_timeout: config.lease.salvage_timeout,
        approach_limit: APPROACH_LIMIT,
        close_limit: CLOSE_ATTEMPT * config.max_kill_retries.min(CLOSE_ATTEMPTS_MAX) + CLOSE_MORE,
        handover_limit: HANDOVER_LIMIT,
    })
}

fn lease_terms(lease: &LeaseSettings) -> Result<LeaseTerms> {
    let length = if lease.writer_lease.is_zero() {
        // Nobody's right to write runs out; the addresses of readers still do.
        LeaseLength::DEFAULT
    } else {
        LeaseLength::new(lease.writer_lease).with_context(|| {
            format!(
                "writer_lease is {} s: expected 0, or {} to {} s",
                lease.writer_lease.as_secs_f64(),
                LeaseLength::LEAST.duration().as_secs(),
                LeaseLength::GREATEST.duration().as_secs()
            )
        })?
    };
    let isolated = match lease.isolated {
        WriterIsolated::Fence => Isolated::Fence,
        WriterIsolated::Keep => Isolated::Keep,
    };
    let apply_limit = Some(lease.promote_apply_timeout).filter(|limit| !limit.is_zero());
    Ok(LeaseTerms { length, isolated, fence_hung_server: lease.fence_hung_server, apply_limit })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn host_settings(host: &mmm_config::HostSettings) -> HostSettings {
    HostSettings {
        ip: host.ip,
        port: host.mysql_port,
        mode: match host.mode {
            HostMode::Master => mmm_core::HostMode::Master,
            HostMode::Slave => mmm_core::HostMode::Slave,
        },
        peer: host.peer.as_deref().map(HostName::from),
    }
}

fn role_settings(role: &mmm_config::RoleSettings) -> RoleSettings {
    RoleSettings {
        mode: match role.mode {
            RoleMode::Balanced => mmm_core::RoleMode::Balanced,
            RoleMode::Exclusive => mmm_core::RoleMode::Exclusive,
        },
        hosts: role.hosts.iter().map(|host| HostName::from(host.as_str())).collect(),
        ips: role.ips.iter().copied().collect(),
        prefer: role.prefer.as_deref().map(HostName::from),
    }
}
