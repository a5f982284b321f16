//! SIGHUP: another configuration for running daemons, under a client that writes all the time.

use mmm_lab::{ConfigFile, Lab, M1, M2, MON, Moment, Program, wait_for};

use crate::cluster::{Cluster, ID1, SOON, quick};

const REPLICA: &str = "MySQL-R1";
const MORE_READERS: &str = "192.168.8.34, 192.168.8.35, 192.168.8.60";

/// The cluster before the replica was known to it; on its own host it is.
fn without_replica(text: &str) -> String {
    text.split_once(&format!("<host {REPLICA}>")).map_or(text, |(before, _)| before).to_owned()
}

fn hang_up(lab: &Lab, host: &str, daemon: &str) {
    let command = format!("kill -HUP $(cat /var/run/mysql-mmm/{daemon}.pid)");
    assert!(lab.exec(host, &["sh", "-c", &command]).unwrap().success());
}

/// Gives hosts this configuration, agents before the monitor, and waits until each goes by it.
fn reload(lab: &Cluster, hosts: &[&str], common: &str) {
    for host in hosts {
        lab.write_config(host, ConfigFile::Common, common).unwrap();
        let (program, daemon) =
            if *host == MON { (Program::Monitor, "mmm_mond") } else { (Program::Agent, "mmm_agentd") };
        let in_force = |log: String| log.matches("The configuration is in force").count();
        let before = in_force(lab.log(host, program).unwrap());
        hang_up(lab, host, daemon);
        wait_for(&format!("{host} to go by the new configuration"), SOON, || {
            let log = lab.log(host, program).unwrap();
            if in_force(log.clone()) > before { Ok(()) } else { Err(log) }
        })
        .unwrap();
    }
}

fn sessions(lab: &Lab, host: &str) -> usize {
    lab.log(host, Program::Agent).unwrap().matches("Session with the monitor").count()
}

#[test]
fn hosts_and_addresses_come_and_go_while_the_writer_goes_on() {
    let builder = quick("reload").replicas(1);
    let lab = Cluster::up(builder.edit(|host, file, text| match file {
        ConfigFile::Common if host.name != REPLICA => without_replica(&text),
        _ => text,
    }));
    lab.expect_covered();
    let whole = lab.read_config(REPLICA, ConfigFile::Common).unwrap();
    let pair = without_replica(&whole);
    let probe = lab.start_probe().unwrap();
    probe.wait_write(Moment::now(), SOON).unwrap();

    // A file with an error changes nothing, and the log says where the error is.
    for (host, program, daemon) in [(M1, Program::Agent, "mmm_agentd"), (MON, Program::Monitor, "mmm_mond")] {
        let bad = whole.replace("mode exclusive", "mode exclusiv");
        lab.write_config(host, ConfigFile::Common, &bad).unwrap();
        hang_up(&lab, host, daemon);
        lab.wait_log(host, program, "nothing is changed", SOON).unwrap();
        lab.wait_log(host, program, "did you mean `exclusive`?", SOON).unwrap();
        // mmm_control reads the same file.
        lab.write_config(host, ConfigFile::Common, &pair).unwrap();
    }
    lab.expect_pair(M1);
    assert!(!lab.tell(&["show"]).contains(REPLICA));

    // The role can't leave the list of those who may have it together with its holder.
    let start = lab.log_length();
    lab.write_config(
        MON,
        ConfigFile::Common,
        &pair.replace("hosts MySQL-M1, MySQL-M2 # 能够", "hosts MySQL-M2 # 能够"),
    )
    .unwrap();
    hang_up(&lab, MON, "mmm_mond");
    lab.wait_log_since(start, "move the role first", SOON);
    assert!(!lab.log_since(start).contains("in force"));

    // A third host.
    let start = lab.log_length();
    reload(&lab, &[M1, M2, MON], &whole);
    lab.wait_log_since(start, "<host MySQL-R1> is new", SOON);
    lab.expect_host(REPLICA, "ONLINE", &[], SOON).unwrap();
    lab.expect_covered();

    // An address more: the new host has fewest.
    let more = whole.replace("192.168.8.34, 192.168.8.35", MORE_READERS);
    reload(&lab, &[M1, M2, REPLICA, MON], &more);
    lab.expect_host(REPLICA, "ONLINE", &["reader(192.168.8.60)"], SOON).unwrap();
    lab.expect_addresses(REPLICA, 1, SOON);

    // The third host leaves: its address goes to one of those that are left, and its agent is not called any more.
    let start = lab.log_length();
    reload(&lab, &[MON], &without_replica(&more));
    lab.wait_log_since(start, "Host 'MySQL-R1' has let go of its roles and is not watched any more", SOON);
    lab.expect_addresses(REPLICA, 0, SOON);
    lab.wait_log(REPLICA, Program::Agent, "ended: the monitor closed it", SOON).unwrap();
    lab.expect_host(M2, "ONLINE", &["reader", "reader"], SOON).unwrap();
    lab.expect_addresses(M2, 2, SOON);

    // A removed address goes as well.
    reload(&lab, &[MON, M1, M2], &pair);
    lab.expect_addresses(M2, 1, SOON);
    lab.expect_addresses(M1, 2, SOON);
    for host in [M1, M2] {
        assert_eq!(sessions(&lab, host), 1, "a session was dropped on {host}");
    }
    lab.judge_undisturbed(&probe, ID1);
}
