use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mmm_config::{HostMode, Mode, Program, RoleMode, SocketSettings};
use secrecy::ExposeSecret;

use crate::support::{Folder, data};

#[test]
fn the_monitor_of_the_tutorial_loads() {
    let loaded = Folder::tutorial().loaded(Program::Monitor);
    let view = loaded.settings.monitor_view().unwrap();
    assert_eq!(view.monitor.ip.to_string(), "127.0.0.1");
    assert_eq!(view.monitor.port, 9988);
    let ping_ips: Vec<String> = view.monitor.ping_ips.iter().map(ToString::to_string).collect();
    assert_eq!(ping_ips, ["192.168.8.32", "192.168.8.33"]);
    assert_eq!(view.monitor.auto_set_online, Duration::from_secs(10));
    assert_eq!(view.monitor.status_path, Path::new("/var/lib/mysql-mmm/mmm_mond.status"));
    assert_eq!(view.monitor.pid_path, Path::new("/var/run/mysql-mmm/mmm_mond.pid"));
    assert_eq!(view.monitor.kill_host_bin, Path::new("/usr/libexec/mysql-mmm/monitor/kill_host"));
    assert_eq!(view.monitor.mode, Mode::Active);
    assert!(view.monitor.careful_startup);
    let names: Vec<&str> = view.hosts.iter().map(|watched| watched.host.name.as_str()).collect();
    assert_eq!(names, ["MySQL-M1", "MySQL-M2"]);
    for watched in &view.hosts {
        assert_eq!(watched.account.user, "mmm_monitor");
        assert_eq!(watched.account.password.expose_secret(), "mmm_monitor");
        assert_eq!(watched.host.mode, HostMode::Master);
        assert!(watched.host.agent_password.is_none(), "a monitor needs no password of an agent");
    }
    assert!(!loaded.settings.debug);
}

#[test]
fn the_roles_of_the_tutorial_are_as_written() {
    let settings = Folder::tutorial().loaded(Program::Monitor).settings;
    assert_eq!(settings.active_master_role, "writer");
    let writer = &settings.roles["writer"];
    assert_eq!((writer.mode, writer.ips.len()), (RoleMode::Exclusive, 1));
    assert_eq!(writer.hosts, ["MySQL-M1", "MySQL-M2"]);
    assert_eq!(writer.ips[0].to_string(), "192.168.8.30");
    let reader = &settings.roles["reader"];
    assert_eq!(reader.mode, RoleMode::Balanced);
    let ips: Vec<String> = reader.ips.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["192.168.8.34", "192.168.8.35"]);
    assert_eq!(settings.roles.len(), 2);
}

#[test]
fn both_agents_of_the_tutorial_load() {
    for (file, name, ip, peer) in [
        ("m1/mmm_agent.conf", "MySQL-M1", "192.168.8.32", "MySQL-M2"),
        ("m2/mmm_agent.conf", "MySQL-M2", "192.168.8.33", "MySQL-M1"),
    ] {
        let folder = Folder::tutorial();
        folder.write("mmm_agent.conf", &data(file));
        let settings = folder.loaded(Program::Agent).settings;
        let view = settings.agent_view().unwrap();
        assert_eq!(view.host.name, name);
        assert_eq!(view.host.agent_address(), format!("{ip}:9989").parse::<SocketAddr>().unwrap());
        assert_eq!(view.host.peer.as_deref(), Some(peer));
        assert_eq!(view.cluster_interface, "eth0");
        assert_eq!(view.pid_path, Path::new("/var/run/mysql-mmm/mmm_agentd.pid"));
        assert_eq!((view.agent.user, view.agent.password.expose_secret()), ("mmm_agent", "mmm_agent"));
        assert_eq!((view.replication.user, view.replication.password.expose_secret()), ("repl", "repl"));
        assert_eq!(settings.replication_account(peer).unwrap().user, "repl");
        assert_eq!(view.host.mysql_pidfile, Path::new("/var/run/mysqld/mysqld.pid"));
        assert_eq!(settings.socket, SocketSettings::Plain);
        assert_eq!(settings.max_kill_retries, 10);
    }
}

#[test]
fn control_reads_the_monitors_file_and_needs_its_address_only() {
    let folder = Folder::tutorial();
    let address: SocketAddr = "127.0.0.1:9988".parse().unwrap();
    let request =
        mmm_config::Request { config: Some(folder.path("mmm_mon.conf")), ..folder.request(Program::Control) };
    assert_eq!(mmm_config::load(&request).unwrap().settings.control_view().unwrap().address, address);
    folder.write("mmm_mon.conf", "<monitor>\nip ::1\nport 1234\n</monitor>\n");
    let settings = folder.loaded(Program::Control).settings;
    assert_eq!(settings.control_view().unwrap().address, "[::1]:1234".parse().unwrap());
}

#[test]
fn a_view_of_another_program_is_refused_not_unwrapped() {
    let settings = Folder::tutorial().loaded(Program::Monitor).settings;
    assert_eq!(
        settings.agent_view().unwrap_err().to_string(),
        "these settings were loaded for mmm_mond, not for mmm_agentd"
    );
}

#[test]
fn comments_behind_passwords_are_the_only_warnings() {
    let folder = Folder::tutorial();
    let warnings = folder.warnings(Program::Monitor);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    insta::assert_snapshot!(warnings[0]);
    assert!(warnings[1].contains("DIR/mmm_common.conf:7:"), "{}", warnings[1]);
    assert!(warnings[2].contains("DIR/mmm_common.conf:9:"), "{}", warnings[2]);
    assert_eq!(folder.warnings(Program::Agent).len(), 2);
}

#[test]
fn check_prints_each_value_with_its_origin() {
    insta::assert_snapshot!("describe_monitor", Folder::tutorial().described(Program::Monitor));
    insta::assert_snapshot!("describe_agent", Folder::tutorial().described(Program::Agent));
}

#[test]
fn no_secret_is_printed() {
    let folder = Folder::tutorial();
    for password in ["replication_password repl", "agent_password mmm_agent"] {
        let name = password.split(' ').next().unwrap();
        folder.edit("mmm_common.conf", password, &format!("{name} hunter2"));
    }
    folder.edit("mmm_mon.conf", "monitor_password mmm_monitor", "monitor_password \"hunter2\"");
    for program in [Program::Monitor, Program::Agent] {
        let loaded = folder.loaded(program);
        assert!(!format!("{loaded:?}").contains("hunter2"));
        assert!(!folder.described(program).contains("hunter2"));
        assert!(folder.described(program).contains("********"));
    }
    folder.edit("mmm_mon.conf", "monitor_password \"hunter2\"", "monitor_passwort \"hunter2\" hunter2");
    let failure = folder.load(Program::Monitor).unwrap_err();
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
    assert!(!format!("{failure:?}").contains("hunter2"));
}

#[test]
fn what_check_prints_is_a_configuration_with_the_same_values() {
    for program in [Program::Monitor, Program::Agent] {
        let folder = Folder::tutorial();
        let values = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split("  # ").next().unwrap().trim_end().to_owned()).collect()
        };
        let first = folder.described(program);
        folder.configure_as_described(program);
        assert_eq!(values(&folder.described(program)), values(&first));
    }
}
