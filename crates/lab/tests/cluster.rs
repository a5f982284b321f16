//! The lab itself on this machine: hosts, servers, probe and judge, faults. Needs root.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, in functions too")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mmm_lab::{
    CLIENT, ConfigFile, Judge, Lab, LabError, Life, M1, M2, MON, Manner, Moment, Outcome, Program, wait_for,
};

const SOON: Duration = Duration::from_secs(10);

fn servers(name: &str) -> Lab {
    Lab::for_test(name).without_daemons().up().unwrap()
}

/// Runs the command-line client on a host as one of the cluster's accounts and gives what it prints.
fn client(lab: &Lab, on: &str, to: &str, account: &str, statement: &str) -> String {
    let user = format!("-u{account}");
    let password = format!("-p{account}");
    let argv = ["mariadb", "-h", to, &user, &password, "-BNe", statement];
    lab.exec(on, &argv).unwrap().text().trim().to_owned()
}

/// Echo requests that have reached a host.
fn echoes(lab: &Lab, host: &str) -> u64 {
    let text = lab.exec(host, &["cat", "/proc/net/snmp"]).unwrap().stdout;
    let mut lines = text.lines().filter(|line| line.starts_with("Icmp:"));
    let names = lines.next().unwrap().split_whitespace();
    let values: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let index = names.into_iter().position(|name| name == "InEchos").unwrap();
    values[index].parse().unwrap()
}

fn pings(lab: &Lab, from: &str, to: &str) -> bool {
    lab.exec(from, &["ping", "-c1", "-W1", to]).unwrap().success()
}

#[test]
fn the_tutorials_hosts_come_up_with_servers_that_replicate_from_each_other() {
    let began = Instant::now();
    let lab = servers("cluster");
    eprintln!("up after {:?}", began.elapsed());
    for (here, there, row) in [(M1, M2, 1), (M2, M1, 2)] {
        lab.sql(here, &format!("INSERT INTO lab.probe VALUES ({row}, @@server_id)")).unwrap();
        lab.wait_replicated(here, there, SOON).unwrap();
        let id = lab.sql(here, "SELECT @@server_id").unwrap();
        let copied = lab.sql(there, &format!("SELECT server_id FROM lab.probe WHERE id = {row}")).unwrap();
        assert_eq!(copied.value(), id.value(), "the row carries the server that wrote it");
    }
    let get =
        |host, what: &str| lab.sql(host, &format!("SELECT {what}")).unwrap().value().unwrap().to_owned();
    assert_eq!((get(M1, "@@server_id"), get(M2, "@@server_id")), ("12".into(), "13".into()));
    let steps = "CONCAT_WS(' ', @@auto_increment_increment, @@auto_increment_offset, @@log_bin, @@relay_log)";
    assert_eq!(
        (get(M1, steps), get(M2, steps)),
        ("2 1 ON mysql-relay-bin".into(), "2 2 ON mysql-relay-bin".into())
    );
    assert!(get(M1, "@@version").contains("MariaDB"));
    lab.down().unwrap();
}

#[test]
fn the_accounts_have_the_rights_they_need_and_no_more() {
    let lab = servers("accounts");
    let agent = |sql| client(&lab, M1, "192.168.8.32", "mmm_agent", sql);
    assert_eq!(agent("SET GLOBAL read_only = 1; SELECT @@read_only"), "1");
    assert!(lab.is_read_only(M1).unwrap() && !lab.is_read_only(M2).unwrap());
    assert_eq!(agent("SET GLOBAL read_only = 0; STOP SLAVE; START SLAVE; SELECT @@read_only"), "0");
    assert!(agent("SELECT COUNT(*) FROM lab.probe").contains("denied"));
    let monitor = |sql| client(&lab, MON, "192.168.8.33", "mmm_monitor", sql);
    assert!(monitor("SHOW SLAVE STATUS").contains("192.168.8.32"));
    assert!(monitor("SET GLOBAL read_only = 1").contains("denied"));
    assert_eq!(client(&lab, CLIENT, "192.168.8.32", "probe", "SELECT COUNT(*) FROM lab.probe"), "0");
    lab.down().unwrap();
}

#[test]
fn a_host_has_files_name_and_boot_id_of_its_own_and_no_way_out() {
    let lab = Lab::for_test("hosts").without_servers().up().unwrap();
    let run = |host, script: &str| lab.exec(host, &["sh", "-c", script]).unwrap();
    for place in ["/run", "/etc", "/var/log/mysql-mmm", "/var/lib/mysql-mmm", "/etc/mysql-mmm", "/var/lib"] {
        let file = format!("{place}/mmm_lab_test_file");
        assert!(run(M1, &format!("echo x >{file}")).success(), "{file}");
        assert!(!run(M2, &format!("test -e {file}")).success(), "{file} is seen on another host");
        assert!(!Path::new(&file).exists(), "{file} is seen on the machine");
    }
    assert_eq!(run(M1, "hostname").stdout.trim(), M1);
    assert_eq!(run(M1, "getent hosts MySQL-M2").stdout.split_whitespace().next(), Some("192.168.8.33"));
    assert_ne!(lab.boot_id(M1).unwrap(), lab.boot_id(M2).unwrap());
    assert_eq!(lab.addresses(MON).unwrap(), ["192.168.8.31"]);
    let routes = run(M1, "ip route; ip -6 route show default").stdout;
    assert_eq!(routes.trim(), "192.168.8.0/24 dev eth0 proto kernel scope link src 192.168.8.32");
    lab.down().unwrap();
}

#[test]
fn the_tutorials_configuration_lies_on_every_host_and_can_be_edited() {
    let lab = Lab::for_test("config")
        .without_servers()
        .auto_set_online(1)
        .edit(|host, file, text| match file {
            ConfigFile::Agent if host.name == M2 => text + "debug 1\n",
            _ => text,
        })
        .up()
        .unwrap();
    assert_eq!(lab.read_config(M1, ConfigFile::Agent).unwrap(), "include mmm_common.conf\nthis MySQL-M1\n");
    assert_eq!(
        lab.read_config(M2, ConfigFile::Agent).unwrap(),
        "include mmm_common.conf\nthis MySQL-M2\ndebug 1\n"
    );
    assert!(lab.read_config(MON, ConfigFile::Monitor).unwrap().ends_with("auto_set_online 1\n</monitor>\n"));
    assert!(lab.read_config(CLIENT, ConfigFile::Common).is_err());
    let path = lab.host(M1).unwrap().dir.join("etc-mysql-mmm/mmm_common.conf");
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640);
    let seen = lab.exec(M1, &["cat", "/etc/mysql-mmm/mmm_common.conf"]).unwrap().stdout;
    assert!(seen.contains("replication_user repl # 前面创建的复制账号\n"), "{seen}");
    lab.down().unwrap();
}

#[test]
fn the_probe_and_the_judge_tell_what_a_killed_server_cost() {
    let lab = servers("probe");
    let probe = lab.start_probe_to("192.168.8.32").unwrap();
    let second = Moment::now() + Duration::from_secs(1);
    probe.wait_write(second, SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let dead = Moment::now();
    // Long enough after it that no write that was slow before it took as long.
    let refused_since = dead + Duration::from_millis(500);
    probe
        .wait_attempt("a refused attempt", SOON, |a| a.outcome == Outcome::Failed && a.start > refused_since)
        .unwrap();
    let judge = Judge::new(&lab, probe.stop().unwrap());
    assert!(!probe.is_running());
    assert!(judge.count(Outcome::Acknowledged) > 50, "one attempt every 5 ms for a second");
    assert!(
        judge.acknowledged().all(|attempt| attempt.server_id == Some(12) && attempt.end >= attempt.start)
    );
    let gap = judge.gap_after(killed).unwrap();
    assert!(gap.is_open() && gap.failures > 0, "{gap:?}");
    assert!(judge.acknowledged().all(|attempt| attempt.start < dead), "a dead server acknowledges nothing");
    assert_eq!(judge.overlap(12, 13), (0, Duration::ZERO));

    // Started again, the server has all it acknowledged, and the other one gets it too.
    lab.start(M1, Program::Server).unwrap();
    assert!(judge.lost(M1).unwrap().is_empty());
    lab.wait_replicating(M2, SOON).unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let verdict = judge.verdict(&[M1, M2]).unwrap();
    assert!(verdict.is_clean(), "{verdict}");
    assert!(judge.failed_but_there(M1).unwrap().is_empty());

    // The judge has to notice a row that goes missing and one that somebody else has written.
    let number = judge.acknowledged().next().unwrap().number;
    let next = number + 1;
    lab.sql(
        M2,
        &format!(
            "SET sql_log_bin = 0; DELETE FROM lab.probe WHERE id = {number}; \
             UPDATE lab.probe SET server_id = 13 WHERE id = {next}"
        ),
    )
    .unwrap();
    assert_eq!(judge.lost(M2).unwrap(), [number]);
    assert_eq!(judge.duplicates(M2).unwrap(), [next]);
    assert!(judge.verdict(&[M1]).unwrap().is_clean());
    let error = lab.sql(M2, "SELECT 1; SELECT nothing").unwrap_err().to_string();
    assert!(error.contains("nothing"), "an error in any statement is seen: {error}");
    lab.down().unwrap();
}

#[test]
fn the_probe_follows_the_writers_address_to_another_server() {
    let lab = servers("takeover");
    let address =
        |host, what: &str| lab.exec(host, &["ip", "addr", what, "192.168.8.30/32", "dev", "eth0"]).unwrap();
    assert!(address(M1, "add").success());
    let probe = lab.start_probe().unwrap();
    let first = probe.wait_write_by(12, Moment::from_micros(0), SOON).unwrap();
    let moved = Moment::now();
    assert!(address(M1, "del").success() && address(M2, "add").success());
    assert_eq!(lab.holders("192.168.8.30").unwrap(), [M2]);
    // Nobody announces the address here, so the client has to forget where it was.
    lab.exec(CLIENT, &["ip", "neigh", "flush", "dev", "eth0"]).unwrap();
    let second = probe.wait_write_by(13, moved, SOON).unwrap();
    let judge = Judge::new(&lab, probe.stop().unwrap());
    assert!(second.number > first.number);
    assert_eq!(judge.takeover(moved, 13), Some(second.end - moved));
    let gap = judge.gap_after(moved).unwrap();
    assert!(!gap.is_open());
    assert_eq!((gap.before.unwrap().server_id, gap.after.unwrap().server_id), (Some(12), Some(13)));
    assert_eq!(judge.overlap(12, 13), (0, Duration::ZERO));
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.wait_replicated(M2, M1, SOON).unwrap();
    let verdict = judge.verdict(&[M1, M2]).unwrap();
    assert!(verdict.is_clean() && verdict.acknowledged > 1, "{verdict}");
    lab.down().unwrap();
}

#[test]
fn a_frozen_server_keeps_its_connections_and_answers_nobody() {
    let lab = servers("freeze");
    let probe = lab.start_probe_to("192.168.8.32").unwrap();
    let frozen = lab.freeze(M1, Program::Server).unwrap();
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Stopped);
    let stuck = probe
        .wait_attempt("an attempt without an answer", SOON, |a| {
            a.outcome == Outcome::Unknown && a.end > frozen
        })
        .unwrap();
    assert!(stuck.end - stuck.start >= Duration::from_millis(299), "{stuck:?}");
    probe
        .wait_attempt("a connection that hangs", SOON, |a| a.error.starts_with("connect: no answer"))
        .unwrap();
    let thawed = lab.thaw(M1, Program::Server).unwrap();
    probe.wait_write(thawed, SOON).unwrap();
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Running);
    let judge = Judge::new(&lab, probe.stop().unwrap());
    assert!(judge.gap_after(frozen).unwrap().length() > Duration::from_millis(600));
    assert!(judge.lost(M1).unwrap().is_empty());
    let stopped = lab.stop(M1, Program::Server).unwrap();
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Ended);
    assert!(stopped > thawed);
    assert!(matches!(lab.kill(M1, Program::Server), Err(LabError::NotRunning { .. })));
    lab.down().unwrap();
}

#[test]
fn a_cut_stops_one_way_or_both_and_heals() {
    let lab = servers("cut");
    assert!(pings(&lab, M1, "192.168.8.33") && pings(&lab, M2, "192.168.8.32"));
    lab.cut_one_way(M1, M2, Manner::Drop).unwrap();
    let before = (echoes(&lab, M1), echoes(&lab, M2));
    assert!(!pings(&lab, M2, "192.168.8.32"), "the request arrives, the answer does not");
    assert!(!pings(&lab, M1, "192.168.8.33"));
    assert_eq!((echoes(&lab, M1) - before.0, echoes(&lab, M2) - before.1), (1, 0));
    assert!(pings(&lab, MON, "192.168.8.32") && pings(&lab, MON, "192.168.8.33"), "others are not concerned");
    lab.heal(M2, M1).unwrap();
    wait_for("the pair healed", SOON, || {
        if pings(&lab, M1, "192.168.8.33") { Ok(()) } else { Err("silent".into()) }
    })
    .unwrap();

    lab.cut(M1, MON, Manner::Drop).unwrap();
    assert!(!pings(&lab, MON, "192.168.8.32") && !pings(&lab, M1, "192.168.8.31"));
    assert_eq!(lab.cuts().unwrap().len(), 2);
    lab.heal_all().unwrap();
    assert!(lab.cuts().unwrap().is_empty());

    lab.cut(CLIENT, M1, Manner::Reset).unwrap();
    let began = Instant::now();
    let refused = client(&lab, CLIENT, "192.168.8.32", "probe", "SELECT 1");
    assert!(refused.contains("Can't connect"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(2), "refused at once, not after a silence");
    assert_eq!(client(&lab, CLIENT, "192.168.8.33", "probe", "SELECT 1"), "1");
    lab.heal_all().unwrap();
    assert_eq!(client(&lab, CLIENT, "192.168.8.32", "probe", "SELECT 1"), "1");
    lab.down().unwrap();
}

#[test]
fn an_unplugged_host_loses_the_carrier_until_it_is_replugged() {
    let lab = Lab::for_test("unplug").without_servers().up().unwrap();
    let carrier = || lab.exec(M1, &["cat", "/sys/class/net/eth0/carrier"]).unwrap().stdout.trim().to_owned();
    assert_eq!(carrier(), "1");
    assert!(pings(&lab, MON, "192.168.8.32"));
    lab.unplug(M1).unwrap();
    assert!(!lab.is_plugged(M1).unwrap());
    assert_eq!(carrier(), "0");
    assert!(!pings(&lab, MON, "192.168.8.32"));
    assert!(pings(&lab, MON, "192.168.8.33"));
    lab.replug(M1).unwrap();
    assert!(lab.is_plugged(M1).unwrap());
    wait_for(
        "an answer",
        SOON,
        || if pings(&lab, MON, "192.168.8.32") { Ok(()) } else { Err("silent".into()) },
    )
    .unwrap();
    lab.down().unwrap();
}

#[test]
fn a_reboot_ends_everything_and_changes_the_boot_id() {
    let lab = servers("reboot");
    let add = |ip: &str| lab.exec(M1, &["ip", "addr", "add", ip, "dev", "eth0"]).unwrap();
    assert!(add("192.168.8.30/32").success());
    assert_eq!(lab.role_addresses(M1).unwrap().into_iter().collect::<Vec<_>>(), ["192.168.8.30"]);
    lab.exec(M1, &["touch", "/run/left", "/var/lib/mysql-mmm/kept"]).unwrap();
    let before = lab.boot_id(M1).unwrap();
    let server = lab.process(M1, Program::Server).unwrap().unwrap();

    lab.reboot(M1).unwrap();
    assert!(!server.is_alive());
    assert_ne!(lab.boot_id(M1).unwrap(), before);
    assert_eq!(lab.boot_id(M1).unwrap(), lab.boot_id(M1).unwrap());
    assert_eq!(lab.addresses(M1).unwrap(), ["192.168.8.32"]);
    assert!(!lab.exec(M1, &["test", "-e", "/run/left"]).unwrap().success());
    assert!(lab.exec(M1, &["test", "-e", "/var/lib/mysql-mmm/kept"]).unwrap().success());
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Ended);

    lab.start_enabled(M1).unwrap();
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Running);
    // A receiver whose attempt met a host that was just going waits for that attempt to end.
    for host in [M1, M2] {
        lab.wait_replicating(host, Duration::from_secs(30)).unwrap();
    }
    lab.down().unwrap();
}

#[test]
fn a_host_without_power_is_silent_and_a_reboot_brings_it_back() {
    let lab = servers("power");
    assert!(pings(&lab, MON, "192.168.8.32"));
    assert!(lab.has_address(M1, "192.168.8.32").unwrap());
    lab.power_off(M1).unwrap();
    assert!(!lab.has_address(M1, "192.168.8.32").unwrap());
    assert!(!pings(&lab, MON, "192.168.8.32"));
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Stopped);
    lab.heal_all().unwrap();
    assert!(!pings(&lab, MON, "192.168.8.32"), "healing cuts does not bring the power back");
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    assert!(pings(&lab, MON, "192.168.8.32"));
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Running);
    lab.down().unwrap();
}

#[test]
fn a_full_disk_takes_no_more_until_it_is_freed() {
    let lab = Lab::for_test("full").without_servers().up().unwrap();
    let write = || lab.exec(MON, &["sh", "-c", "echo x >/var/lib/mysql-mmm/file"]).unwrap();
    assert!(write().success());
    lab.fill_disk(MON).unwrap();
    assert!(!write().success(), "there is no space left");
    lab.free_disk(MON).unwrap();
    assert!(write().success());
    lab.down().unwrap();
}

#[test]
fn flushed_addresses_leave_only_the_hosts_own() {
    let lab = Lab::for_test("flush").without_servers().up().unwrap();
    lab.exec(M2, &["ip", "addr", "add", "192.168.8.34/32", "dev", "eth0"]).unwrap();
    assert_eq!(lab.addresses(M2).unwrap(), ["192.168.8.33", "192.168.8.34"]);
    assert_eq!(lab.holders("192.168.8.34").unwrap(), [M2]);
    lab.flush_addresses(M2).unwrap();
    assert_eq!(lab.addresses(M2).unwrap(), ["192.168.8.33"]);
    assert!(pings(&lab, MON, "192.168.8.33"));
    lab.down().unwrap();
}

#[test]
fn replicas_follow_the_first_master_and_get_what_the_second_wrote() {
    let lab = Lab::for_test("replicas").without_daemons().replicas(1).gtid().up().unwrap();
    let status = lab.replication("MySQL-R1").unwrap().unwrap();
    assert!(status.is_running() && status.master == "192.168.8.32", "{status:?}");
    lab.sql(M2, "INSERT INTO lab.probe VALUES (7, @@server_id)").unwrap();
    wait_for("the row on the replica", SOON, || {
        let table = lab.sql("MySQL-R1", "SELECT server_id FROM lab.probe WHERE id = 7").unwrap();
        if table.value() == Some("13") { Ok(()) } else { Err(format!("{table:?}")) }
    })
    .unwrap();
    let common = lab.read_config(M1, ConfigFile::Common).unwrap();
    assert!(common.contains("<host MySQL-R1>\nip 192.168.8.36\nmode slave\n"), "{common}");
    lab.down().unwrap();
}

#[test]
fn two_labs_with_the_same_addresses_do_not_meet() {
    let one = Lab::for_test("side_one").without_servers().up().unwrap();
    let two = Lab::for_test("side_two").without_servers().up().unwrap();
    one.unplug(M1).unwrap();
    assert!(!pings(&one, MON, "192.168.8.32"));
    assert!(pings(&two, MON, "192.168.8.32"));
    one.down().unwrap();
    assert!(pings(&two, MON, "192.168.8.32"), "the other lab's end is not noticed");
    two.down().unwrap();
}

#[test]
fn mistakes_are_answered_with_what_is_known() {
    let lab = Lab::for_test("mistakes").without_servers().up().unwrap();
    let error = lab.unplug("MySQL-M3").unwrap_err().to_string();
    assert!(error.contains("it has MySQL-MON, MySQL-M1, MySQL-M2, client"), "{error}");
    let error = lab.start(MON, Program::Server).unwrap_err().to_string();
    assert_eq!(error, "MySQL-MON has no server: it is a monitor");
    assert!(matches!(lab.kill(M1, Program::Agent), Err(LabError::NotRunning { .. })));
    assert!(matches!(Lab::builder("a-b").up(), Err(LabError::BadName { .. })));
    lab.down().unwrap();
}
