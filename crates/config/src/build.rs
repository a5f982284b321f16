//! Settings made from a resolved configuration.
//!
//! Runs only when nothing was wrong, so whatever a program requires is there; the few values that stand in for something
//! absent are those of programs that do not use it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::effective;
use crate::program::Program;
use crate::registry;
use crate::report::Report;
use crate::resolved::{Resolved, ResolvedSection};
use crate::section::{SectionId, SectionKind};
use crate::settings::{
    CheckSettings, Checks, CopyMethod, Diverged, FailoverPolicy, HostMode, HostSettings, LeaseSettings,
    LvmSettings, Mode, MonitorSettings, RoleMode, RoleSettings, SemiSync, Settings, SocketSettings,
    SshSettings, WriterIsolated,
};
use crate::value::Value;

pub(crate) fn settings(resolved: &Resolved, report: &Report) -> Settings {
    let program = resolved.program;
    let global = Values::of(resolved, SectionKind::Global, None);
    let monitor = Values::of(resolved, SectionKind::Monitor, None);
    let active_master_role = global.text("active_master_role").unwrap_or_default();
    let monitor_settings = (program == Program::Monitor).then(|| monitor_settings(&monitor));
    let kill_host_bin = monitor_settings.as_ref().and_then(|settings| settings.kill_host_bin.to_str());
    let effective = effective::list(resolved, report, kill_host_bin);
    let hosts =
        if program == Program::Control { BTreeMap::new() } else { all(resolved, SectionKind::Host, host) };
    let mut roles = match program {
        Program::Agent | Program::Monitor => {
            all(resolved, SectionKind::Role, |name, values| role(name, values, &active_master_role))
        }
        Program::Control | Program::Tools => BTreeMap::new(),
    };
    if let Some(role) = roles.get_mut(&active_master_role) {
        let more = hosts.values().filter(|host| host.candidate && !role.hosts.contains(&host.name));
        let more: Vec<String> = more.map(|host| host.name.clone()).collect();
        role.hosts.extend(more);
    }
    let copy_methods = match program {
        Program::Tools => all(resolved, SectionKind::CopyMethod, copy_method),
        _ => BTreeMap::new(),
    };
    Settings {
        program,
        this: global.text("this"),
        debug: global.flag("debug"),
        max_kill_retries: global.small("max_kill_retries"),
        secret_file: global.path("secret_file"),
        allow_protocol1: global.flag("allow_protocol1"),
        heartbeat_schema: global.text("heartbeat_schema"),
        server_start_command: global.text("server_start_command"),
        move_on_stalled_writes: global.word("on_stalled_writes") == "move",
        lease: lease(&global),
        reader_return_after: global.time("reader_return_after"),
        diverged: match global.word("diverged").as_str() {
            "merge" => Diverged::Merge,
            "clone" => Diverged::Clone,
            _ => Diverged::Hold,
        },
        control_address: monitor.ip("ip").map(|ip| SocketAddr::new(ip, monitor.port("port"))),
        monitor: monitor_settings,
        hosts,
        roles,
        checks: checks(resolved),
        socket: socket(&Values::of(resolved, SectionKind::Socket, None)),
        copy_methods,
        default_copy_method: global.text("default_copy_method"),
        clone_dirs: global.names("clone_dirs"),
        active_master_role,
        effective,
    }
}

/// The values of one section that the program uses.
struct Values<'a> {
    program: Program,
    kind: SectionKind,
    section: Option<&'a ResolvedSection>,
}

impl<'a> Values<'a> {
    fn of(resolved: &'a Resolved, kind: SectionKind, name: Option<&str>) -> Self {
        let id = SectionId { kind, name: name.map(str::to_owned) };
        Self { program: resolved.program, kind, section: resolved.sections.get(&id) }
    }

    /// A default counts even where the program does not use the variable; it is the value the rest of the world assumes.
    fn value(&self, name: &str) -> Option<Value> {
        let variable = registry::find(self.kind, name)?;
        if variable.used_by.contains(self.program) {
            return self.section?.value(name).cloned();
        }
        crate::value::read(variable.kind, variable.default?).ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Flag(true)))
    }

    fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Number(number)) => number,
            _ => 0,
        }
    }

    fn small(&self, name: &str) -> u32 {
        u32::try_from(self.number(name)).unwrap_or(u32::MAX)
    }

    fn port(&self, name: &str) -> u16 {
        u16::try_from(self.number(name)).unwrap_or_default()
    }

    fn time(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Time(time)) => time,
            _ => Duration::ZERO,
        }
    }

    fn ip(&self, name: &str) -> Option<IpAddr> {
        match self.value(name)? {
            Value::Ip(ip) => Some(ip),
            _ => None,
        }
    }

    fn ips(&self, name: &str) -> Vec<IpAddr> {
        match self.value(name) {
            Some(Value::Ips(ips)) => ips.into_iter().map(|(ip, _)| ip).collect(),
            _ => Vec::new(),
        }
    }

    fn names(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::Names(names)) => names.into_iter().map(|(name, _)| name).collect(),
            _ => Vec::new(),
        }
    }
}

fn all<T>(resolved: &Resolved, kind: SectionKind, make: impl Fn(&str, &Values) -> T) -> BTreeMap<String, T> {
    resolved
        .of_kind(kind)
        .map(|(name, _)| (name.to_owned(), make(name, &Values::of(resolved, kind, Some(name)))))
        .collect()
}

fn lease(global: &Values) -> LeaseSettings {
    LeaseSettings {
        writer_lease: global.time("writer_lease"),
        isolated: match global.word("writer_isolated").as_str() {
            "keep" => WriterIsolated::Keep,
            _ => WriterIsolated::Fence,
        },
        fence_hung_server: global.flag("fence_hung_server"),
        failover_grace: global.time("failover_grace"),
        promote_apply_timeout: global.time("promote_apply_timeout"),
        semi_sync: match global.word("semi_sync").as_str() {
            "off" => SemiSync::Off,
            "manage" => SemiSync::Manage,
            _ => SemiSync::Watch,
        },
        failover_policy: match global.word("failover_policy").as_str() {
            "consistency" => FailoverPolicy::Consistency,
            _ => FailoverPolicy::Availability,
        },
        salvage_timeout: global.time("salvage_timeout"),
    }
}

fn monitor_settings(values: &Values) -> MonitorSettings {
    let bin_path = values.path("bin_path").unwrap_or_default();
    MonitorSettings {
        ip: values.ip("ip").unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: values.port("port"),
        ping_ips: values.ips("ping_ips"),
        status_path: values.path("status_path").unwrap_or_default(),
        pid_path: values.path("pid_path").unwrap_or_default(),
        ping_interval: values.time("ping_interval"),
        flap_duration: values.time("flap_duration"),
        flap_count: values.small("flap_count"),
        auto_set_online: values.time("auto_set_online"),
        kill_host_bin: bin_path.join("monitor").join(values.word("kill_host_bin")),
        careful_startup: values.flag("careful_startup"),
        mode: match values.word("mode").as_str() {
            "manual" => Mode::Manual,
            "wait" => Mode::Wait,
            "passive" => Mode::Passive,
            _ => Mode::Active,
        },
        wait_for_other_master: values.time("wait_for_other_master"),
        bin_path,
    }
}

fn host(name: &str, values: &Values) -> HostSettings {
    HostSettings {
        name: name.to_owned(),
        ip: values.ip("ip").unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        mode: if values.word("mode") == "master" { HostMode::Master } else { HostMode::Slave },
        peer: values.text("peer"),
        candidate: values.flag("candidate"),
        cluster_interface: values.text("cluster_interface"),
        pid_path: values.path("pid_path"),
        bin_path: values.path("bin_path"),
        agent_port: values.port("agent_port"),
        mysql_port: values.port("mysql_port"),
        mysql_pidfile: values.path("mysql_pidfile").unwrap_or_default(),
        mysql_rcscript: values.word("mysql_rcscript"),
        mysql_cnf: values.path("mysql_cnf").unwrap_or_default(),
        agent_user: values.text("agent_user"),
        agent_password: values.secret("agent_password"),
        monitor_user: values.text("monitor_user"),
        monitor_password: values.secret("monitor_password"),
        replication_user: values.text("replication_user"),
        replication_password: values.secret("replication_password"),
        tools_user: values.text("tools_user"),
        tools_password: values.secret("tools_password"),
        ssh: SshSettings {
            user: values.text("ssh_user"),
            port: values.port("ssh_port"),
            parameters: values.word("ssh_parameters"),
        },
        lvm: LvmSettings {
            bin_lvcreate: values.word("lvm_bin_lvcreate"),
            bin_lvremove: values.word("lvm_bin_lvremove"),
            snapshot_size: values.text("lvm_snapshot_size"),
            logical_volume: values.text("lvm_logical_volume"),
            volume_group: values.text("lvm_volume_group"),
            mount_dir: values.path("lvm_mount_dir"),
            mount_opts: values.text("lvm_mount_opts"),
        },
        backup_dir: values.path("backup_dir"),
        restore_dir: values.path("restore_dir"),
    }
}

fn role(name: &str, values: &Values, active_master_role: &str) -> RoleSettings {
    let mode = match values.text("mode").as_deref() {
        Some("exclusive") => RoleMode::Exclusive,
        None if name == active_master_role => RoleMode::Exclusive,
        _ => RoleMode::Balanced,
    };
    RoleSettings {
        name: name.to_owned(),
        mode,
        hosts: values.names("hosts"),
        ips: values.ips("ips"),
        prefer: values.text("prefer"),
    }
}

fn checks(resolved: &Resolved) -> Checks {
    let check = |name: &str| {
        let values = Values::of(resolved, SectionKind::Check, Some(name));
        CheckSettings {
            period: values.time("check_period"),
            trap: values.time("trap_period"),
            timeout: values.time("timeout"),
            max_backlog: values.number("max_backlog"),
        }
    };
    Checks {
        ping: check("ping"),
        mysql: check("mysql"),
        rep_backlog: check("rep_backlog"),
        rep_threads: check("rep_threads"),
    }
}

fn socket(values: &Values) -> SocketSettings {
    if values.word("type") != "ssl" {
        return SocketSettings::Plain;
    }
    SocketSettings::Tls {
        cert_file: values.path("cert_file").unwrap_or_default(),
        key_file: values.path("key_file").unwrap_or_default(),
        ca_file: values.path("ca_file").unwrap_or_default(),
    }
}

fn copy_method(name: &str, values: &Values) -> CopyMethod {
    CopyMethod {
        name: name.to_owned(),
        backup_command: values.word("backup_command"),
        restore_command: values.word("restore_command"),
        incremental_command: values.text("incremental_command"),
        incremental: values.flag("incremental"),
        single_run: values.flag("single_run"),
        true_copy: values.flag("true_copy"),
    }
}
