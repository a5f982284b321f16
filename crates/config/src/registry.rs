//! Every variable there is, as one table.
//!
//! The table drives validation, suggestions for misspelt names and what `--check` prints. A variable that is not here does
//! not exist.

use crate::nearest::nearest;
use crate::program::Program::{Agent, Control, Monitor, Tools};
use crate::program::Programs;
use crate::section::SectionKind;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Any text, shown to nobody.
    Secret,
    /// Any text; accepted because 2.x knew the variable, without effect.
    Ignored,
    /// Yes or no.
    Flag,
    /// A whole number.
    Number { least: u64, most: u64 },
    /// Seconds, also fractions of one; limits in milliseconds.
    Seconds { least_ms: u64, most_ms: u64 },
    /// Seconds as above, or 0, which turns off what they are for; `why` says where the limits come from.
    SecondsOrOff { least_ms: u64, most_ms: u64, off: &'static str, why: &'static str },
    /// An address.
    Ip,
    /// Addresses, separated by commas.
    Ips,
    /// An absolute path.
    Path,
    /// A path that is absolute or relative to a folder the meaning names.
    RelativePath,
    /// The name of a network interface.
    Interface,
    /// The name of a host.
    Host,
    /// Names of hosts, separated by commas.
    Hosts,
    /// The name of a role.
    Role,
    /// The name of a copy method.
    CopyMethod,
    /// Texts, separated by commas.
    List,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// When a required variable is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In each such section.
    Always,
    /// In the section of the program's own host.
    OwnHost,
    /// In a host whose `mode` is `master`.
    Master,
    /// Where `type` is `ssl`.
    Ssl,
    /// Where a copy method's command works on a snapshot.
    Lvm,
    /// Where `incremental` is yes.
    Incremental,
}

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub section: SectionKind,
    pub name: &'static str,
    pub kind: Kind,
    pub default: Option<&'static str>,
    /// Who uses it; for the others it may stand there without being looked up.
    pub used_by: Programs,
    /// Who does not start without it.
    pub required_by: Programs,
    pub when: When,
    /// Whether it belongs into `mmm3.conf`, because 2.x would stop at it.
    pub mmm3_only: bool,
    /// Meaning and unit.
    pub meaning: &'static str,
}

const NONE: Programs = Programs::NONE;
const A: Programs = Programs::of(&[Agent]);
const M: Programs = Programs::of(&[Monitor]);
const T: Programs = Programs::of(&[Tools]);
const AM: Programs = Programs::of(&[Agent, Monitor]);
const AT: Programs = Programs::of(&[Agent, Tools]);
const MC: Programs = Programs::of(&[Monitor, Control]);
const AMC: Programs = Programs::of(&[Agent, Monitor, Control]);
const AMT: Programs = Programs::of(&[Agent, Monitor, Tools]);
const AMCT: Programs = Programs::of(&[Agent, Monitor, Control, Tools]);

impl Variable {
    const fn new(section: SectionKind, name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self {
            section,
            name,
            kind,
            default: None,
            used_by: NONE,
            required_by: NONE,
            when: When::Always,
            mmm3_only: false,
            meaning,
        }
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn used(mut self, programs: Programs) -> Self {
        self.used_by = programs;
        self
    }

    const fn required(mut self, programs: Programs) -> Self {
        self.required_by = programs;
        self.used_by = programs;
        self
    }

    const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    const fn mmm3(mut self) -> Self {
        self.mmm3_only = true;
        self
    }
}

const fn global(name: &'static str, kind: Kind, meaning: &'static str) -> Variable {
    Variable::new(SectionKind::Global, name, kind, meaning)
}

const fn monitor(name: &'static str, kind: Kind, meaning: &'static str) -> Variable {
    Variable::new(SectionKind::Monitor, name, kind, meaning)
}

const fn host(name: &'static str, kind: Kind, meaning: &'static str) -> Variable {
    Variable::new(SectionKind::Host, name, kind, meaning)
}

const fn role(name: &'static str, kind: Kind, meaning: &'static str) -> Variable {
    Variable::new(SectionKind::Role, name, kind, meaning)
}

const fn check(name: &'static str, kind: Kind, meaning: &'static str) -> Variable {
    Variable::new(SectionKind::Check, name, kind, meaning)
}

const fn socket(name: &'static str, kind: Kind, meaning: &'static str) -> Variable {
    Variable::new(SectionKind::Socket, name, kind, meaning)
}

const fn copy_method(name: &'static str, kind: Kind, meaning: &'static str) -> Variable {
    Variable::new(SectionKind::CopyMethod, name, kind, meaning)
}

const PORT: Kind = Kind::Number { least: 1, most: 65_535 };
const DAY_MS: u64 = 86_400_000;
const YEARS_MS: u64 = 10 * 365 * DAY_MS;
/// A period: never so short that a loop would spin.
const PERIOD: Kind = Kind::Seconds { least_ms: 50, most_ms: DAY_MS };
const PATIENCE: Kind = Kind::Seconds { least_ms: 0, most_ms: DAY_MS };
/// Also the limits that the lease itself has; an epoch file that is lost makes an agent wait by the greatest.
const WRITER_LEASE: Kind = Kind::SecondsOrOff {
    least_ms: 3_000,
    most_ms: 60_000,
    off: "no leases",
    why: "3 s at least, because the kernel counts whole seconds; 60 s at most, because an agent that lost its epoch file waits as long",
};
const GRACE: Kind = Kind::Seconds { least_ms: 0, most_ms: 3_600_000 };
const LONG: Kind = Kind::Seconds { least_ms: 0, most_ms: YEARS_MS };
pub(crate) const SEMI_SYNC: &[&str] = &["watch", "manage", "off"];
pub(crate) const FAILOVER_POLICY: &[&str] = &["availability", "consistency"];
pub(crate) const ON_STALLED_WRITES: &[&str] = &["show", "move"];
pub(crate) const WRITER_ISOLATED: &[&str] = &["fence", "keep"];
pub(crate) const DIVERGED: &[&str] = &["hold", "merge", "clone"];
pub(crate) const MONITOR_MODES: &[&str] = &["active", "manual", "wait", "passive"];
pub(crate) const HOST_MODES: &[&str] = &["master", "slave"];
pub(crate) const ROLE_MODES: &[&str] = &["balanced", "exclusive"];
pub(crate) const SOCKET_TYPES: &[&str] = &["plain", "ssl"];

/// Every variable, in the order in which values are listed.
pub const VARIABLES: &[Variable] = &[
    global("this", Kind::Host, "name of this host").required(AT),
    global("debug", Kind::Flag, "log at level DEBUG, to stdout too").default("0").used(AMCT),
    global("active_master_role", Kind::Role, "the role that carries the writes").required(AM),
    global(
        "max_kill_retries",
        Kind::Number { least: 0, most: 3600 },
        "rounds, 1 s each, of patience with writing threads when the writer role leaves a host",
    )
    .default("10")
    .used(AM),
    global("default_copy_method", Kind::CopyMethod, "copy method where none is named").required(T),
    global("clone_dirs", Kind::List, "folders that are copied, below the snapshot").required(T),
    global("blocking_type", Kind::Ignored, "accepted, without effect"),
    global("iptables_block_cmd", Kind::Ignored, "accepted, without effect"),
    global("iptables_unblock_cmd", Kind::Ignored, "accepted, without effect"),
    global("secret_file", Kind::Path, "file with the secret that monitor, agents and control share")
        .used(AMC)
        .mmm3(),
    global(
        "allow_protocol1",
        Kind::Flag,
        "whether monitors and agents of 2.2.1, which can't prove a secret, are served where one is set",
    )
    .default("no")
    .used(AM)
    .mmm3(),
    global(
        "writer_lease",
        WRITER_LEASE,
        "seconds the writer may write on without a renewal, the monitor's for all; 0: no leases",
    )
    .default("5")
    .used(AM)
    .mmm3(),
    global(
        "writer_isolated",
        Kind::OneOf(WRITER_ISOLATED),
        "whether a writer that reaches nobody is fenced at the end of its lease, or keeps writing",
    )
    .default("fence")
    .used(M)
    .mmm3(),
    global(
        "fence_hung_server",
        Kind::Flag,
        "kill a hung server that may still be writable at the end of a lease",
    )
    .default("yes")
    .used(M)
    .mmm3(),
    global("failover_grace", GRACE, "seconds that a crashed server has to come back before its role moves")
        .default("0")
        .used(M)
        .mmm3(),
    global(
        "reader_return_after",
        GRACE,
        "seconds that a host which came back has to be well before it gets addresses of readers again",
    )
    .default("0")
    .used(M)
    .mmm3(),
    global(
        "promote_apply_timeout",
        GRACE,
        "seconds a new writer applies what it received before it opens with the rest still to come; 0: as long as it takes",
    )
    .default("0")
    .used(M)
    .mmm3(),
    global(
        "diverged",
        Kind::OneOf(DIVERGED),
        "what becomes of a lost writer that returns with transactions nobody else has",
    )
    .default("hold")
    .used(AM)
    .mmm3(),
    global(
        "server_start_command",
        Kind::Text,
        "shell command that starts the server when it does not come back by itself while a host is rebuilt; none: the operator is asked",
    )
    .used(A)
    .mmm3(),
    global(
        "failover_policy",
        Kind::OneOf(FAILOVER_POLICY),
        "whether the best host follows a lost writer, or only one that is proven to have every acknowledged transaction",
    )
    .default("availability")
    .used(M)
    .mmm3(),
    global(
        "on_stalled_writes",
        Kind::OneOf(ON_STALLED_WRITES),
        "what becomes of a writer whose disk is full or whose storage stands still: told, or its role moves",
    )
    .default("show")
    .used(M)
    .mmm3(),
    global(
        "heartbeat_schema",
        Kind::Text,
        "schema with the table mmm_heartbeat, into which the writer's agent writes each second; none: it does not",
    )
    .used(A)
    .mmm3(),
    global(
        "semi_sync",
        Kind::OneOf(SEMI_SYNC),
        "whether semi-synchronous replication is watched, or also kept going: as many hosts acknowledge as have to",
    )
    .default("watch")
    .used(AM)
    .mmm3(),
    global(
        "salvage_timeout",
        GRACE,
        "seconds without progress after which a new writer goes on without the end of a dead server's log; 0: it is never asked for",
    )
    .default("10")
    .used(M)
    .mmm3(),
    monitor("ip", Kind::Ip, "address the monitor listens on for mmm_control").required(MC),
    monitor("port", PORT, "port the monitor listens on for mmm_control").default("9988").used(MC),
    monitor("ping_ips", Kind::Ips, "addresses that tell whether the monitor's own network works").required(M),
    monitor("status_path", Kind::Path, "file that keeps states and roles").required(M),
    monitor("pid_path", Kind::Path, "pid file of the monitor").required(M),
    monitor("bin_path", Kind::Path, "folder of helper programs").required(M),
    monitor("ping_interval", PERIOD, "seconds between two network checks").default("1").used(M),
    monitor("flap_duration", LONG, "seconds in which failures of a host are counted").default("3600").used(M),
    monitor(
        "flap_count",
        Kind::Number { least: 0, most: 10_000 },
        "failures in that time that make a host flapping",
    )
    .default("3")
    .used(M),
    monitor(
        "auto_set_online",
        LONG,
        "seconds after which a recovered host becomes ONLINE by itself; 0: never",
    )
    .default("0")
    .used(M),
    monitor(
        "kill_host_bin",
        Kind::RelativePath,
        "program that ends a host that cannot be reached; relative: below bin_path/monitor/",
    )
    .default("kill_host")
    .used(M),
    monitor("careful_startup", Kind::Flag, "become passive when the start shows a conflict")
        .default("1")
        .used(M),
    monitor("mode", Kind::OneOf(MONITOR_MODES), "mode the monitor starts in").default("active").used(M),
    monitor("wait_for_other_master", LONG, "seconds that mode wait waits for the second master; 0: for ever")
        .default("120")
        .used(M),
    host("ip", Kind::Ip, "address of the host").required(AMT),
    host("mode", Kind::OneOf(HOST_MODES), "what the host is").required(AMT),
    host("peer", Kind::Host, "the other master of the pair").required(AMT).when(When::Master),
    host("candidate", Kind::Flag, "whether a slave may become the writer when no master can")
        .default("no")
        .used(AM)
        .mmm3(),
    host("cluster_interface", Kind::Interface, "interface that carries the role addresses")
        .required(A)
        .when(When::OwnHost),
    host("pid_path", Kind::Path, "pid file of the agent").required(A).when(When::OwnHost),
    host("bin_path", Kind::Path, "folder of helper programs").required(A).when(When::OwnHost),
    host("agent_port", PORT, "port the agent listens on").default("9989").used(AM),
    host("mysql_port", PORT, "port of the server").default("3306").used(AMT),
    host("mysql_pidfile", Kind::Path, "pid file of the server")
        .default("/var/run/mysqld/mysqld.pid")
        .used(AT),
    host("mysql_rcscript", Kind::Text, "script that starts and stops the server")
        .default("/etc/init.d/mysql")
        .used(T),
    host("mysql_cnf", Kind::Path, "configuration file of the server").default("/etc/my.cnf").used(T),
    host("agent_user", Kind::Text, "account of the agent").required(A).when(When::OwnHost),
    host("agent_password", Kind::Secret, "its password").required(A).when(When::OwnHost),
    host("monitor_user", Kind::Text, "account of the monitor's checks").required(M),
    host("monitor_password", Kind::Secret, "its password").required(M),
    host("replication_user", Kind::Text, "account that replicates from this host").required(AT),
    host("replication_password", Kind::Secret, "its password").required(AT),
    host("tools_user", Kind::Text, "account of the tools").required(T),
    host("tools_password", Kind::Secret, "its password").required(T),
    host("ssh_user", Kind::Text, "user for ssh").required(T),
    host("ssh_port", PORT, "port for ssh").default("22").used(T),
    host("ssh_parameters", Kind::Text, "more arguments for ssh").default("").used(T),
    host("backup_dir", Kind::Path, "where backups go").required(T),
    host("restore_dir", Kind::Path, "where a restore goes").required(T),
    host("lvm_bin_lvcreate", Kind::Text, "the lvcreate program").default("lvcreate").used(T),
    host("lvm_bin_lvremove", Kind::Text, "the lvremove program").default("lvremove").used(T),
    host("lvm_snapshot_size", Kind::Text, "size of the snapshot").required(T).when(When::Lvm),
    host("lvm_logical_volume", Kind::Text, "logical volume of the data").required(T).when(When::Lvm),
    host("lvm_volume_group", Kind::Text, "volume group of the data").required(T).when(When::Lvm),
    host("lvm_mount_dir", Kind::Path, "where the snapshot is mounted").required(T).when(When::Lvm),
    host("lvm_mount_opts", Kind::Text, "mount options for the snapshot").used(T),
    role("mode", Kind::OneOf(ROLE_MODES), "one holder, or addresses spread over hosts").required(M),
    role("hosts", Kind::Hosts, "hosts that may hold it").required(M).used(AM),
    role("ips", Kind::Ips, "its addresses; one when exclusive").required(AM),
    role("prefer", Kind::Host, "the host that gets it back").used(M),
    check("check_period", PERIOD, "seconds between two checks").default("5").used(M),
    check("trap_period", PATIENCE, "seconds a check must fail before it counts").default("10").used(M),
    check("timeout", PERIOD, "seconds after which a check without an answer has failed").default("2").used(M),
    check("restart_after", Kind::Number { least: 0, most: u64::MAX }, "accepted, without effect"),
    check("max_backlog", Kind::Number { least: 0, most: 1_000_000_000 }, "seconds a replica may be behind")
        .default("60")
        .used(M),
    socket("type", Kind::OneOf(SOCKET_TYPES), "plain text or TLS between monitor, agents and mmm_control")
        .default("plain")
        .used(AMC),
    socket("cert_file", Kind::Path, "certificate").required(AMC).when(When::Ssl),
    socket("key_file", Kind::Path, "its key").required(AMC).when(When::Ssl),
    socket("ca_file", Kind::Path, "authority that signed the certificates of the others")
        .required(AMC)
        .when(When::Ssl),
    copy_method("backup_command", Kind::Text, "command that copies from a host").required(T),
    copy_method("restore_command", Kind::Text, "command that copies back").required(T),
    copy_method("incremental_command", Kind::Text, "command that lists versions")
        .required(T)
        .when(When::Incremental),
    copy_method("incremental", Kind::Flag, "whether it keeps versions").default("0").used(T),
    copy_method("single_run", Kind::Flag, "whether one run copies all folders").default("0").used(T),
    copy_method("true_copy", Kind::Flag, "whether the result is the data itself").default("0").used(T),
];

/// The variable of that name in that kind of section.
pub(crate) fn find(section: SectionKind, name: &str) -> Option<&'static Variable> {
    in_section(section).find(|variable| variable.name == name)
}

/// The variables of a kind of section.
pub(crate) fn in_section(section: SectionKind) -> impl Iterator<Item = &'static Variable> {
    VARIABLES.iter().filter(move |variable| variable.section == section)
}

/// The kinds of sections that have a variable of that name.
pub(crate) fn homes(name: &str) -> Vec<SectionKind> {
    VARIABLES.iter().filter(|variable| variable.name == name).map(|variable| variable.section).collect()
}

/// Whether a word is a secret variable's name, perhaps misspelt.
pub(crate) fn nearest_is_secret(word: &str) -> bool {
    nearest(word, VARIABLES.iter().map(|variable| variable.name))
        .is_some_and(|name| VARIABLES.iter().any(|v| v.name == name && v.kind == Kind::Secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    #[test]
    fn no_variable_is_listed_twice() {
        for variable in VARIABLES {
            let same = VARIABLES
                .iter()
                .filter(|other| other.section == variable.section && other.name == variable.name)
                .count();
            assert_eq!(same, 1, "{} {}", variable.section.tag(), variable.name);
        }
    }

    #[test]
    fn each_default_is_an_allowed_value() {
        for variable in VARIABLES {
            if let Some(default) = variable.default {
                assert!(read(variable.kind, default).is_ok(), "{}", variable.name);
            }
        }
    }

    #[test]
    fn what_is_required_has_no_default() {
        for variable in VARIABLES {
            assert!(
                variable.required_by == NONE || variable.default.is_none(),
                "{} is required and has a default",
                variable.name
            );
        }
    }
}
