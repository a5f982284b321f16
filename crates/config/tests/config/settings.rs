use std::path::Path;
use std::time::Duration;

use mmm_config::{Program, RoleMode, SocketSettings};
use secrecy::ExposeSecret;

use crate::support::Folder;

#[test]
fn a_section_that_appears_again_adds_to_and_overrides_itself() {
    let folder = Folder::tutorial();
    folder.edit(
        "mmm_mon.conf",
        "debug 0",
        "debug 0\n<host MySQL-M1>\nagent_port 1\n</host>\n<monitor>\nport 2\nip ::1\n</monitor>\ndebug yes",
    );
    let settings = folder.loaded(Program::Monitor).settings;
    assert!(settings.debug);
    assert_eq!(settings.hosts["MySQL-M1"].agent_port, 1);
    assert_eq!(settings.hosts["MySQL-M1"].ip.to_string(), "192.168.8.32");
    assert_eq!(settings.hosts["MySQL-M2"].agent_port, 9989);
    let monitor = settings.monitor.unwrap();
    assert_eq!((monitor.ip.to_string().as_str(), monitor.port), ("::1", 2));
}

#[test]
fn a_template_fills_in_wherever_it_stands_and_is_no_host() {
    let folder = Folder::tutorial();
    folder.edit(
        "mmm_common.conf",
        "active_master_role",
        "<host MySQL-M1>\nmysql_port 1\n</host>\nactive_master_role",
    );
    folder.edit("mmm_mon.conf", "monitor_user", "mysql_port 2\nmonitor_user");
    let settings = folder.loaded(Program::Monitor).settings;
    assert_eq!(settings.hosts["MySQL-M1"].mysql_port, 1);
    assert_eq!(settings.hosts["MySQL-M2"].mysql_port, 2);
    assert!(!settings.hosts.contains_key("default"));
}

#[test]
fn checks_have_defaults_templates_and_fractions() {
    let folder = Folder::tutorial();
    let plain = folder.loaded(Program::Monitor).settings.checks;
    assert_eq!(plain.ping.period, Duration::from_secs(5));
    assert_eq!(plain.mysql.trap, Duration::from_secs(10));
    assert_eq!(plain.rep_threads.timeout, Duration::from_secs(2));
    assert_eq!(plain.rep_backlog.max_backlog, 60);
    folder.edit(
        "mmm_mon.conf",
        "debug 0",
        "<check default>\ncheck_period 0.5\nrestart_after 10000\n</check>\n<check mysql>\ntrap_period 1.25\n</check>\n<check ping/>",
    );
    let checks = folder.loaded(Program::Monitor).settings.checks;
    assert_eq!(checks.ping.period, Duration::from_millis(500));
    assert_eq!(checks.rep_threads.period, Duration::from_millis(500));
    assert_eq!(checks.mysql.trap, Duration::from_millis(1250));
    assert_eq!(checks.ping.trap, Duration::from_secs(10));
}

#[test]
fn a_quoted_value_is_kept_literally_with_a_warning() {
    let folder = Folder::tutorial();
    folder.edit(
        "mmm_mon.conf",
        "monitor_password mmm_monitor # 前面创建的监控账号密码",
        "monitor_password \"a #b\"",
    );
    let loaded = folder.loaded(Program::Monitor);
    let password = loaded.settings.hosts["MySQL-M1"].monitor_password.clone().unwrap();
    assert_eq!(password.expose_secret(), "a #b");
    let warnings = folder.warnings(Program::Monitor);
    let warning = warnings.iter().find(|warning| !warning.contains("`#`")).unwrap();
    assert!(warning.contains("the quotes are not taken as part of the value"), "{warning}");
    assert!(warning.contains("DIR/mmm_mon.conf:12:"), "{warning}");
}

#[test]
fn a_password_may_hold_hashes_and_quotes() {
    let folder = Folder::tutorial();
    folder.edit(
        "mmm_mon.conf",
        "monitor_password mmm_monitor # 前面创建的监控账号密码",
        "monitor_password a#\"b\"#",
    );
    let loaded = folder.loaded(Program::Monitor);
    let password = loaded.settings.hosts["MySQL-M1"].monitor_password.clone().unwrap();
    assert_eq!(password.expose_secret(), "a#\"b\"#");
}

#[test]
fn addresses_of_version_6_work_everywhere() {
    let folder = Folder::tutorial();
    for (from, to) in [
        ("192.168.8.32 #", "fd00::32 #"),
        ("192.168.8.33", "fd00::33"),
        ("192.168.8.30 #", "fd00::30 #"),
        ("192.168.8.34, 192.168.8.35", "fd00::34,fd00::35"),
    ] {
        folder.edit("mmm_common.conf", from, to);
    }
    folder.edit("mmm_mon.conf", "192.168.8.32,192.168.8.33", "fd00::32 ,fd00::33");
    folder.edit("mmm_mon.conf", "ip 127.0.0.1", "ip ::1");
    let settings = folder.loaded(Program::Monitor).settings;
    assert_eq!(settings.hosts["MySQL-M1"].agent_address().to_string(), "[fd00::32]:9989");
    assert_eq!(settings.hosts["MySQL-M1"].mysql_address().to_string(), "[fd00::32]:3306");
    assert!(settings.roles.values().all(|role| role.ips.iter().all(std::net::IpAddr::is_ipv6)));
    assert!(settings.monitor.unwrap().ping_ips.iter().all(std::net::IpAddr::is_ipv6));
}

#[test]
fn an_absolute_kill_host_stays_where_it_is() {
    let folder = Folder::tutorial();
    folder.edit("mmm_mon.conf", "auto_set_online", "kill_host_bin /opt/kill\nauto_set_online");
    let settings = folder.loaded(Program::Monitor).settings;
    assert_eq!(settings.monitor.unwrap().kill_host_bin, Path::new("/opt/kill"));
}

#[test]
fn tls_needs_its_three_files() {
    let folder = Folder::tutorial();
    folder.edit(
        "mmm_common.conf",
        "<host default>",
        "<socket>\ntype ssl\ncert_file /c\n</socket>\n<host default>",
    );
    assert!(folder.failure(Program::Control).contains("variable `key_file` is missing in section <socket>"));
    let failure = folder.failure(Program::Agent);
    assert!(failure.contains("variable `key_file` is missing in section <socket>"), "{failure}");
    assert!(failure.contains("variable `ca_file` is missing in section <socket>"), "{failure}");
    assert!(failure.contains("DIR/mmm_common.conf:2:"), "{failure}");
    folder.edit("mmm_common.conf", "cert_file /c", "cert_file /c\nkey_file /k\nca_file /a");
    let tls = SocketSettings::Tls { cert_file: "/c".into(), key_file: "/k".into(), ca_file: "/a".into() };
    for program in [Program::Agent, Program::Monitor, Program::Control] {
        assert_eq!(folder.loaded(program).settings.socket, tls);
    }
}

#[test]
fn an_agent_needs_no_more_of_a_role_than_its_addresses() {
    let folder = Folder::tutorial();
    folder.edit("mmm_common.conf", "mode exclusive # 排它模式", "");
    folder.edit("mmm_common.conf", "hosts MySQL-M1, MySQL-M2 # 作为 Reader 的服务器", "");
    folder.edit("mmm_common.conf", "mode balanced # 平衡模式", "");
    let roles = folder.loaded(Program::Agent).settings.roles;
    assert_eq!(roles["writer"].mode, RoleMode::Exclusive);
    assert_eq!((roles["reader"].mode, roles["reader"].ips.len()), (RoleMode::Balanced, 2));
    let failure = folder.failure(Program::Monitor);
    assert!(failure.contains("variable `mode` is missing in section <role writer>"), "{failure}");
    assert!(failure.contains("variable `hosts` is missing in section <role reader>"), "{failure}");
}

#[test]
fn an_agent_needs_no_account_of_another_host() {
    let folder = Folder::tutorial();
    folder.edit("mmm_common.conf", "agent_user mmm_agent # 前面创建的代理账号\n", "");
    folder.edit(
        "mmm_common.conf",
        "mode master\npeer MySQL-M2",
        "agent_user mine\nmode master\npeer MySQL-M2",
    );
    let settings = folder.loaded(Program::Agent).settings;
    assert_eq!(settings.agent_view().unwrap().agent.user, "mine");
}

pub(crate) const TOOLS: &str = "include mmm_common.conf
this MySQL-M1
default_copy_method scp
clone_dirs data, innodb
blocking_type iptables
<copy_method scp>
backup_command scp -r %SSH_USER%@%IP%:/%SNAPSHOT%/%CLONE_DIR% %DEST_DIR%/
restore_command cp -axv %BACKUP_DIR%/%CLONE_DIR% %DATA_DIR%/
true_copy 1
</copy_method>
<host default>
tools_user t
tools_password t
ssh_user root
backup_dir /b
restore_dir /r
lvm_snapshot_size 1G
lvm_logical_volume lv
lvm_volume_group vg
lvm_mount_dir /mnt
</host>
";

#[test]
fn tools_have_copy_methods() {
    let folder = Folder::tutorial();
    folder.write("mmm_tools.conf", TOOLS);
    let settings = folder.loaded(Program::Tools).settings;
    assert_eq!(settings.default_copy_method.as_deref(), Some("scp"));
    assert_eq!(settings.clone_dirs, ["data", "innodb"]);
    let scp = &settings.copy_methods["scp"];
    assert!(scp.true_copy && !scp.incremental);
    assert!(scp.backup_command.starts_with("scp -r %SSH_USER%"));
    let host = settings.own_host().unwrap();
    assert_eq!((host.ssh.port, host.lvm.bin_lvcreate.as_str()), (22, "lvcreate"));
}

#[test]
fn tools_need_lvm_only_for_snapshots_and_a_version_list_only_when_incremental() {
    let folder = Folder::tutorial();
    folder.write("mmm_tools.conf", &TOOLS.replace("lvm_volume_group vg\n", ""));
    let failure = folder.failure(Program::Tools);
    assert!(
        failure.contains("variable `lvm_volume_group` is missing in section <host MySQL-M1>"),
        "{failure}"
    );
    let without = TOOLS.replace("lvm_volume_group vg\n", "").replace("%SNAPSHOT%", "data");
    folder.write("mmm_tools.conf", &without);
    folder.loaded(Program::Tools);
    folder.write("mmm_tools.conf", &without.replace("true_copy 1", "incremental yes"));
    let failure = folder.failure(Program::Tools);
    assert!(failure.contains("variable `incremental_command` is missing"), "{failure}");
    folder.write("mmm_tools.conf", &TOOLS.replace("default_copy_method scp", "default_copy_method spc"));
    let failure = folder.failure(Program::Tools);
    assert!(failure.contains("unknown copy method `spc`"), "{failure}");
    assert!(failure.contains("did you mean `scp`?"), "{failure}");
}

#[test]
fn an_agent_knows_every_host_and_who_may_hold_each_role() {
    let folder = Folder::tutorial();
    folder.edit("mmm_common.conf", "ip 192.168.8.33", "ip 192.168.8.33\nagent_port 9000");
    folder.edit(
        "mmm_common.conf",
        "<role writer>",
        "<host db3>\nip 192.168.8.36\nmode slave\n</host>\n<role writer>",
    );
    folder.edit(
        "mmm_common.conf",
        "hosts MySQL-M1, MySQL-M2 # 作为 Reader",
        "hosts db3, MySQL-M2, MySQL-M1 # 作为 Reader",
    );
    let settings = folder.loaded(Program::Agent).settings;
    let agents: Vec<String> = settings.hosts.values().map(|host| host.agent_address().to_string()).collect();
    assert_eq!(agents, ["192.168.8.32:9989", "192.168.8.33:9000", "192.168.8.36:9989"]);
    assert_eq!(settings.roles["writer"].hosts, ["MySQL-M1", "MySQL-M2"]);
    assert_eq!(settings.roles["reader"].hosts, ["db3", "MySQL-M2", "MySQL-M1"]);
    assert!(folder.described(Program::Agent).contains("hosts db3, MySQL-M2, MySQL-M1"));
}

#[test]
fn a_candidate_is_among_the_hosts_of_the_active_master_role() {
    let folder = Folder::tutorial();
    folder.edit(
        "mmm_common.conf",
        "active_master_role",
        "<host db3>\nip 192.168.8.36\nmode slave\n</host>\nactive_master_role",
    );
    let writers = |folder: &Folder, program| folder.loaded(program).settings.roles["writer"].hosts.clone();
    assert_eq!(writers(&folder, Program::Monitor), ["MySQL-M1", "MySQL-M2"]);
    folder
        .write("mmm3.conf", "<host db3>\ncandidate yes\n</host>\n<host MySQL-M1>\ncandidate yes\n</host>\n");
    for program in [Program::Monitor, Program::Agent] {
        assert_eq!(writers(&folder, program), ["MySQL-M1", "MySQL-M2", "db3"], "{program}");
    }
}
