//! The files of the tutorial's cluster, as its readers type them in. Tests edit them; nothing here understands them.

use std::fmt::Write as _;

use crate::flavour::Software;
use crate::host::{Host, HostKind};

/// One of the files under /etc/mysql-mmm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    Common,
    Agent,
    Monitor,
    /// What only 3.x reads. The tutorial has none: it is written only when a test puts something in it.
    Three,
}

impl ConfigFile {
    pub const ALL: [Self; 4] = [Self::Common, Self::Agent, Self::Monitor, Self::Three];

    pub fn name(self) -> &'static str {
        match self {
            Self::Common => "mmm_common.conf",
            Self::Agent => "mmm_agent.conf",
            Self::Monitor => "mmm_mon.conf",
            Self::Three => "mmm3.conf",
        }
    }

    pub(crate) fn belongs_on(self, kind: HostKind) -> bool {
        match self {
            Self::Common | Self::Three => !matches!(kind, HostKind::Client | HostKind::Gateway),
            Self::Agent => matches!(kind, HostKind::Master | HostKind::Replica),
            Self::Monitor => kind == HostKind::Monitor,
        }
    }
}

const COMMON: &str = "\
active_master_role writer
<host default>
cluster_interface eth0
pid_path /var/run/mysql-mmm/mmm_agentd.pid
bin_path /usr/libexec/mysql-mmm/
replication_user repl # 前面创建的复制账号
replication_password repl # 前面创建的复制账号密码
agent_user mmm_agent # 前面创建的代理账号
agent_password mmm_agent # 前面创建的代理账号密码
</host>
<host MySQL-M1>
ip 192.168.8.32 #MySQL-M1 服务器 IP
mode master
peer MySQL-M2 #MySQL-M2 服务器主机名
</host>
<host MySQL-M2>
ip 192.168.8.33
mode master
peer MySQL-M1
</host>
<role writer>
hosts MySQL-M1, MySQL-M2 # 能够作为 Write 的服务器
ips 192.168.8.30 #Write 节点虚拟 IP ,应用的写请求将直接连接到这个 IP
mode exclusive # 排它模式
</role>
<role reader>
hosts MySQL-M1, MySQL-M2 # 作为 Reader 的服务器
ips 192.168.8.34, 192.168.8.35 #Reader 节点虚拟 IP ,应用的读请求将直接连接到这些 IP
mode balanced # 平衡模式
</role>
";

const MONITOR: &str = "\
include mmm_common.conf
<monitor>
ip 127.0.0.1
pid_path /var/run/mysql-mmm/mmm_mond.pid
bin_path /usr/libexec/mysql-mmm
status_path /var/lib/mysql-mmm/mmm_mond.status
ping_ips 192.168.8.32,192.168.8.33 # 可以 ping 的真实 agent 服务器的 IP
auto_set_online 10 # 发现节点丢失则过 10 秒进行切换
</monitor>
<host default>
monitor_user mmm_monitor # 前面创建的监控账号
monitor_password mmm_monitor # 前面创建的监控账号密码
</host>
debug 0
";

/// The text of one file on one host. Replicas are added behind the tutorial's own text.
pub(crate) fn tutorial(file: ConfigFile, host: &Host, all: &[Host]) -> String {
    match file {
        ConfigFile::Agent => format!("include mmm_common.conf\nthis {}\n", host.name),
        ConfigFile::Monitor => MONITOR.to_owned(),
        ConfigFile::Three => String::new(),
        ConfigFile::Common => {
            let mut text = COMMON.to_owned();
            let mut readers = "MySQL-M1, MySQL-M2".to_owned();
            let replicas: Vec<&Host> = all.iter().filter(|host| host.kind == HostKind::Replica).collect();
            for replica in &replicas {
                let _ = writeln!(text, "<host {}>\nip {}\nmode slave\n</host>", replica.name, replica.ip);
                let _ = write!(readers, ", {}", replica.name);
            }
            if !replicas.is_empty() {
                let _ = writeln!(text, "<role reader>\nhosts {readers}\n</role>");
            }
            text
        }
    }
}

/// The server's my.cnf, plain as the tutorial has it; `more` follows in the same section.
///
/// The folder for temporary tables is the host's own: a server that starts removes what others left there, and one of another
/// lab that still used it would crash.
pub(crate) fn my_cnf(host: &Host, software: &Software, more: &[String]) -> String {
    let offset = if host.name == crate::host::M2 { 2 } else { 1 };
    let mut text = format!(
        "[client]\nsocket = /run/mysqld/mysqld.sock\n\n[mysqld]\nuser = mysql\ndatadir = /var/lib/mysql\n\
         socket = /run/mysqld/mysqld.sock\npid-file = /run/mysqld/mysqld.pid\ntmpdir = /run/mysqld\nport = 3306\n\
         server-id = {}\nlog-bin = mysql-bin\nrelay-log = mysql-relay-bin\n\
         auto-increment-increment = 2\nauto-increment-offset = {offset}\n",
        host.server_id.unwrap_or_default(),
    );
    for (name, value) in software.options() {
        let _ = writeln!(text, "{name} = {value}");
    }
    for line in more {
        let _ = writeln!(text, "{line}");
    }
    text
}
