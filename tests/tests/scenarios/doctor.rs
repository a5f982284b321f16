//! The doctor: each thing that can be wrong is made wrong on a whole cluster, found, mended by the very lines that the doctor
//! prints, and found no more.

use std::time::{Duration, Instant};

use mmm_lab::{ConfigFile, Flavour, Lab, M1, M2, MON, Output, Program, WRITER, wait_for};

use crate::cluster::{Cluster, SOON, quick};
use crate::replicas::REPLICAS;

/// What a host that is set up well has beyond the tutorial, so that one change makes one finding.
const WELL: [&str; 6] = [
    "read_only = 1",
    "log_slave_updates = 1",
    "sync_binlog = 1",
    "innodb_flush_log_at_trx_commit = 1",
    "slave_net_timeout = 10",
    "skip_name_resolve = 1",
];

fn well(name: &str) -> Cluster {
    Cluster::up(WELL.into_iter().fold(quick(name).gtid(), mmm_lab::Builder::server_line))
}

/// What `mmm_control doctor` prints, whatever its verdict.
fn examine(lab: &Lab) -> Output {
    lab.control(&["doctor"]).unwrap()
}

/// What `mmm_agentd --doctor` prints.
fn examine_locally(lab: &Lab, host: &str) -> Output {
    let program = lab.program("mmm_agentd").unwrap().to_string_lossy().into_owned();
    lab.exec(host, &[program, "--doctor".to_owned()]).unwrap()
}

/// The lines that mend what begins with these words: host, place, line.
fn fixes(text: &str, start: &str) -> Vec<(String, String, String)> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(start)).skip(1);
    let mut found = Vec::new();
    while let Some(line) = lines.next().filter(|line| line.starts_with(' ')) {
        let Some(rest) = line.trim_start().strip_prefix("fix on ") else { continue };
        let (host, rest) = rest.split_once(", ").unwrap();
        let (place, line) = rest.split_once(": ").unwrap();
        found.push((host.to_owned(), place.to_owned(), line.to_owned()));
    }
    found
}

/// Waits until the doctor finds it, and gives what he printed.
fn expect(lab: &Lab, start: &str) -> Output {
    wait_for(&format!("the finding `{start}`"), SOON, || {
        let output = examine(lab);
        if output.stdout.lines().any(|line| line.starts_with(start)) {
            return Ok(output);
        }
        Err(output.to_string())
    })
    .unwrap()
}

fn expect_no(lab: &Lab, start: &str) {
    wait_for(&format!("no finding `{start}`"), SOON, || {
        let output = examine(lab);
        if output.stdout.contains("# ") && !output.stdout.contains(start) {
            return Ok(());
        }
        Err(output.to_string())
    })
    .unwrap();
}

/// Types in every line that the doctor printed for a finding, as it stands. Lines of my.cnf count from the next start, which
/// `restart` makes.
fn mend(lab: &Lab, text: &str, start: &str, restart: bool) {
    let fixes = fixes(text, start);
    assert!(!fixes.is_empty(), "no fix for `{start}` in {text}");
    for (host, place, line) in &fixes {
        match place.as_str() {
            // A server that was started anew may take the writer's role just then, whose agent ends the clients it finds.
            "SQL" => drop(wait_for(line, SOON, || lab.sql(host, line).map_err(|e| e.to_string())).unwrap()),
            "shell" => {
                let output = lab.exec(host, &["sh", "-c", line]).unwrap();
                assert!(output.success(), "{line}: {output}");
            }
            "my.cnf [mysqld]" => {
                let mut text = lab.read_file(host, "/etc/mysql/my.cnf").unwrap();
                text.extend(format!("{line}\n").bytes());
                lab.write_file(host, "/etc/mysql/my.cnf", &text).unwrap();
                if restart {
                    lab.stop(host, Program::Server).unwrap();
                    lab.start(host, Program::Server).unwrap();
                }
            }
            other => panic!("{other}: {line}"),
        }
    }
}

/// Breaks one thing, sees it found, mends it and sees it gone.
fn check(lab: &Lab, statements: &[(&str, &str)], start: &str) {
    for (host, statement) in statements {
        lab.sql(host, statement).unwrap();
    }
    let output = expect(lab, start);
    let is_error = start.starts_with("ERROR");
    assert_eq!(output.stdout.starts_with("ERROR"), is_error, "{output}");
    assert_eq!(output.code, i32::from(is_error), "{output}");
    mend(lab, &output.stdout, start, false);
    expect_no(lab, start);
}

#[test]
fn the_tutorials_cluster_has_no_error_and_a_well_kept_one_no_finding() {
    let lab = Cluster::quick("doctor_tutorial");
    let began = Instant::now();
    let output = examine(&lab);
    eprintln!("examined within {:?}:\n{}", began.elapsed(), output.stdout);
    assert_eq!(output.code, 0, "{output}");
    assert!(!output.stdout.contains("ERROR"), "{output}");
    // What the tutorial's my.cnf leaves as it comes.
    for words in ["read_only", "sync_binlog", "log_slave_updates", "slave_net_timeout", "skip_name_resolve"] {
        for host in [M1, M2] {
            assert!(output.stdout.contains(&format!("WARN  {host} {words}: ")), "{words}: {output}");
        }
    }
    let local = examine_locally(&lab, M2);
    assert_eq!(local.code, 0, "{local}");
    assert!(local.stdout.contains(&format!("WARN  {M2} sync_binlog: ")), "{local}");
    // By itself, some time after the start, as warnings: the agent of its host, the monitor of the cluster.
    lab.wait_log(M1, Program::Agent, &format!("Doctor: WARN {M1} sync_binlog: "), SOON).unwrap();
    let late = Duration::from_secs(40);
    let words = format!("Doctor: WARN {M2} slave_net_timeout: ");
    lab.wait_log(MON, Program::Monitor, &words, late).unwrap();

    assert_eq!(lab.refusal(&["doctor", "db9"]), "ERROR: Unknown host name 'db9'");
    let one = lab.tell(&["doctor", M2]);
    assert!(one.contains(&format!("WARN  {M2} ")) && !one.contains(&format!("WARN  {M1} ")), "{one}");
    assert!(lab.tell(&["help"]).contains("    doctor [<host>|all]"));

    // What the doctor printed is typed into my.cnf and by hand, and there is nothing left to find.
    for host in [M2, M1] {
        let output = examine(&lab);
        for check in ["read_only", "log_slave_updates", "sync_binlog", "skip_name_resolve"] {
            mend(&lab, &output.stdout, &format!("WARN  {host} {check}: "), false);
        }
        lab.stop(host, Program::Server).unwrap();
        lab.start(host, Program::Server).unwrap();
        lab.wait_replicating(host, SOON).unwrap();
        mend(&lab, &output.stdout, &format!("WARN  {host} slave_net_timeout: "), false);
        lab.wait_replicating(host, SOON).unwrap();
    }
    let text = wait_for("a cluster without a finding", SOON, || {
        let output = examine(&lab);
        if output.stdout.contains("# 0 errors, 0 warnings") { Ok(output) } else { Err(output.to_string()) }
    });
    assert_eq!(text.unwrap().code, 0);
    for host in [M1, M2] {
        let local = examine_locally(&lab, host);
        assert!(local.stdout.starts_with(&format!("OK    {host}: nothing found\n")), "{local}");
    }
}

#[test]
fn settings_and_grants_of_a_server_are_mended_by_the_printed_statements() {
    let lab = well("doctor_server");
    let output = examine(&lab);
    assert!(output.stdout.contains("# 0 errors, 0 warnings"), "{output}");

    let here = |severity: &str, check: &str| format!("{severity:<5} {M2} {check}: ");
    for (statement, severity, name) in [
        ("SET GLOBAL sync_binlog = 0", "WARN", "sync_binlog"),
        ("SET GLOBAL innodb_flush_log_at_trx_commit = 2", "WARN", "innodb_flush_log_at_trx_commit"),
        ("SET GLOBAL slave_net_timeout = 60", "WARN", "slave_net_timeout"),
        ("STOP SLAVE SQL_THREAD", "ERROR", "replication"),
        ("STOP SLAVE", "ERROR", "replication"),
        ("STOP SLAVE; CHANGE MASTER TO MASTER_HOST = '192.168.8.30'; START SLAVE", "ERROR", "replication"),
        ("SET GLOBAL server_id = 12; STOP SLAVE; START SLAVE", "ERROR", "server_id"),
    ] {
        check(&lab, &[(M2, statement)], &here(severity, name));
        lab.wait_replicating(M2, SOON).unwrap();
    }
    check(
        &lab,
        &[(M2, "STOP SLAVE; CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 60; START SLAVE")],
        &here("WARN", "slave_net_timeout"),
    );
    check(&lab, &[(M2, "SET GLOBAL auto_increment_offset = 1")], &format!("WARN  {M1} auto_increment: "));
    check(
        &lab,
        &[
            (M1, "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'"),
            (M1, "SET GLOBAL rpl_semi_sync_master_enabled = 1"),
        ],
        &here("WARN", "semi_sync of the pair"),
    );
    // Both would be gone with the next start.
    for setting in ["enabled", "wait_point"] {
        check(&lab, &[], &format!("WARN  {M1} my.cnf (rpl_semi_sync_master_{setting}): "));
    }
    check(
        &lab,
        &[(M1, "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_COMMIT'")],
        &format!("WARN  {M1} semi_sync_wait_point: "),
    );

    // Each account loses each of its privileges once. What the agent lacks its own agent tells, what replication lacks the agent
    // that needs it.
    for (account, named, privileges) in [
        ("mmm_monitor", "monitor", &["BINLOG MONITOR", "REPLICA MONITOR", "PROCESS"][..]),
        (
            "mmm_agent",
            "agent",
            &[
                "BINLOG MONITOR",
                "REPLICA MONITOR",
                "PROCESS",
                "REPLICATION SLAVE ADMIN",
                "READ ONLY ADMIN",
                "CONNECTION ADMIN",
            ],
        ),
        ("repl", "replication", &["REPLICATION SLAVE"]),
    ] {
        for privilege in privileges {
            let statement =
                format!("SET sql_log_bin = 0; REVOKE {privilege} ON *.* FROM {account}@'192.168.8.%'");
            let start = format!("ERROR {M2} grants of {named} ({}): ", privilege.to_lowercase());
            check(&lab, &[(M2, &statement)], &start);
        }
    }
    let output = examine(&lab);
    assert!(output.stdout.contains("# 0 errors, 0 warnings"), "{output}");
}

#[test]
fn a_server_without_a_log_is_mended_by_its_my_cnf_and_a_restart() {
    let lab = well("doctor_log");
    let text = String::from_utf8(lab.read_file(M2, "/etc/mysql/my.cnf").unwrap()).unwrap();
    lab.write_file(M2, "/etc/mysql/my.cnf", text.replace("log-bin = mysql-bin\n", "").as_bytes()).unwrap();
    lab.stop(M2, Program::Server).unwrap();
    lab.start(M2, Program::Server).unwrap();
    let start = format!("ERROR {M2} log_bin: ");
    let output = expect(&lab, &start);
    mend(&lab, &output.stdout, &start, true);
    expect_no(&lab, &start);
    // The other master had nothing to read meanwhile, and gave up.
    let replication = format!("ERROR {M1} replication: ");
    let output = examine(&lab);
    if output.stdout.contains(&replication) {
        mend(&lab, &output.stdout, &replication, false);
        expect_no(&lab, &replication);
    }
    lab.wait_replicating(M1, SOON).unwrap();
}

#[test]
fn an_account_that_is_not_let_in_is_made_by_the_printed_statements() {
    let lab = well("doctor_login");
    lab.sql(M2, "SET sql_log_bin = 0; DROP USER repl@'192.168.8.%'").unwrap();
    let start = format!("ERROR {M2} login of replication: ");
    let output = expect(&lab, &start);
    // The placeholder stands for what is in the configuration, which is shown to nobody.
    mend(&lab, &output.stdout.replace("'replication_password'", "'repl'"), &start, false);
    expect_no(&lab, &start);
    lab.wait_replicating(M1, SOON).unwrap();
}

#[test]
fn hosts_networks_and_files_that_are_wrong_are_found_and_mended() {
    let lab = well("doctor_hosts");
    let shell = |host: &str, line: &str| {
        let output = lab.exec(host, &["sh", "-c", line]).unwrap();
        assert!(output.success(), "{line}: {output}");
    };

    // Somebody outside of the cluster has the writer's address.
    shell("client", &format!("ip address add {WRITER}/32 dev eth0"));
    let start = format!("ERROR {M1} duplicate {WRITER}: ");
    expect(&lab, &start);
    let local = examine_locally(&lab, M1);
    assert_eq!(local.code, 1, "{local}");
    assert!(local.stdout.starts_with(&start), "{local}");
    // The host that has only heard of it tells the monitor enough.
    expect(&lab, &format!("ERROR {M2} duplicate {WRITER}: "));
    shell("client", &format!("ip address del {WRITER}/32 dev eth0"));
    expect_no(&lab, "duplicate");

    // An agent that does not run: found by the monitor, and by the other agent.
    lab.stop(M2, Program::Agent).unwrap();
    let start = format!("ERROR {M2} agent: ");
    let output = expect(&lab, &start);
    let peer = format!("ERROR {M1} agent of {M2}: ");
    assert!(output.stdout.contains(&peer), "{output}");
    assert!(fixes(&output.stdout, &start)[0].2.starts_with("mmm_agentd"), "{output}");
    lab.start(M2, Program::Agent).unwrap();
    expect_no(&lab, &start);
    expect_no(&lab, &peer);

    // Files that differ: the line that is printed is that of the monitor.
    lab.stop(M2, Program::Agent).unwrap();
    let good = lab.read_config(M2, ConfigFile::Common).unwrap();
    let bad = good.replace("ips 192.168.8.34, 192.168.8.35", "ips 192.168.8.34, 192.168.8.36");
    assert_ne!(bad, good);
    lab.write_config(M2, ConfigFile::Common, &bad).unwrap();
    lab.start(M2, Program::Agent).unwrap();
    let start = format!("ERROR {M2} configuration (<role reader> ips): ");
    let output = expect(&lab, &start);
    let (host, place, line) = fixes(&output.stdout, &start).remove(0);
    assert_eq!((host.as_str(), place.as_str()), (M2, "mmm_common.conf"));
    lab.stop(M2, Program::Agent).unwrap();
    let line = line.split(" # ").next().unwrap().to_owned();
    let mended: String = bad
        .lines()
        .map(|old| if old.contains("192.168.8.36") { format!("{line}\n") } else { format!("{old}\n") })
        .collect();
    lab.write_config(M2, ConfigFile::Common, &mended).unwrap();
    lab.start(M2, Program::Agent).unwrap();
    expect_no(&lab, &start);

    // Seen by the host itself, without a monitor and without an agent.
    lab.stop(MON, Program::Monitor).unwrap();
    lab.stop(M2, Program::Agent).unwrap();
    let edit = |from: &str, to: &str| {
        let text = good.replace(from, to);
        assert_ne!(text, good);
        lab.write_config(M2, ConfigFile::Common, &text).unwrap();
        let local = examine_locally(&lab, M2);
        lab.write_config(M2, ConfigFile::Common, &good).unwrap();
        local
    };
    let local = edit("cluster_interface eth0", "cluster_interface eth7");
    let start = format!("ERROR {M2} interface: ");
    assert!(local.code == 1 && local.stdout.contains(&start), "{local}");
    assert_eq!(fixes(&local.stdout, &start)[0].2, "cluster_interface eth0");
    let local = edit("ips 192.168.8.30", "ips 192.168.9.30");
    assert!(local.stdout.contains(&format!("WARN  {M2} address 192.168.9.30: ")), "{local}");
    let local = edit("ip 192.168.8.33", "ip 192.168.8.39");
    assert!(local.stdout.contains(&format!("ERROR {M2} ip: ")), "{local}");
    shell(M2, "ip link set eth0 down");
    let local = examine_locally(&lab, M2);
    let start = format!("ERROR {M2} interface: the interface eth0 is down");
    assert!(local.code == 1 && local.stdout.contains(&start), "{local}");
    mend(&lab, &local.stdout, &start, false);
    assert!(!examine_locally(&lab, M2).stdout.contains(&format!("{M2} interface: ")));
}

#[test]
fn a_hung_host_is_told_of_within_the_limit_and_hides_nothing_of_the_others() {
    let lab = well("doctor_hung");
    lab.sql(M1, "SET GLOBAL sync_binlog = 0").unwrap();
    lab.freeze(M2, Program::Server).unwrap();
    let began = Instant::now();
    let output = examine(&lab);
    let took = began.elapsed();
    eprintln!("a hung server: {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert!(output.stdout.contains(&format!("ERROR {M2} login of monitor: ")), "{output}");
    assert!(output.stdout.contains(&format!("WARN  {M1} sync_binlog: ")), "{output}");
    lab.thaw(M2, Program::Server).unwrap();

    lab.unplug(M2).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    let output = examine(&lab);
    let took = began.elapsed();
    eprintln!("an unplugged host: {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert!(output.stdout.contains(&format!("ERROR {M2} agent: no session with its agent")), "{output}");
    assert!(output.stdout.contains(&format!("WARN  {M1} sync_binlog: ")), "{output}");
}

#[test]
fn a_clock_that_is_off_is_told() {
    let lab = Cluster::up(quick("doctor_clock").movable_clocks());
    let start = format!("WARN  {M2} clock: ");
    expect_no(&lab, &start);
    lab.set_clock(M2, 90).unwrap();
    let output = expect(&lab, &start);
    assert!(output.stdout.contains(" ms ahead of the monitor's"), "{output}");
    assert_eq!(fixes(&output.stdout, &start)[0].2, "timedatectl set-ntp true");
    // What a time service would do.
    lab.set_clock(M2, 0).unwrap();
    expect_no(&lab, &start);
}

#[test]
fn privileges_that_are_missing_at_the_start_are_logged_with_their_cure_and_hold_up_no_role() {
    let replica = REPLICAS[0];
    let lab = Cluster::make(quick("doctor_start").replicas(1).without_daemons());
    let lacking = [
        (M1, "mmm_agent", "agent", "PROCESS"),
        (M2, "mmm_monitor", "monitor", "REPLICA MONITOR"),
        (replica, "mmm_monitor", "monitor", "REPLICA MONITOR"),
    ];
    for (host, account, _, privilege) in lacking {
        let revoke = format!("SET sql_log_bin = 0; REVOKE {privilege} ON *.* FROM {account}@'192.168.8.%'");
        lab.sql(host, &revoke).unwrap();
    }
    for host in lab.servers() {
        lab.start(host, Program::Agent).unwrap();
    }
    lab.start(MON, Program::Monitor).unwrap();
    lab.expect_writer(M1, &["writer"]);
    lab.wait_show("a reader on each of the others", SOON, |show| {
        [M2, replica].iter().all(|host| show.hosts[*host].has_exactly(&["reader"]))
    })
    .unwrap();
    let log_of = |named| if named == "agent" { (M1, Program::Agent) } else { (MON, Program::Monitor) };
    let began = Instant::now();
    let cures = lacking.map(|(host, _, named, privilege)| {
        let words = format!("Doctor: ERROR {host} grants of {named} ({}): ", privilege.to_lowercase());
        let (place, program) = log_of(named);
        let line = lab.wait_log(place, program, &words, Duration::from_secs(30)).unwrap();
        let (_, cure) =
            line.split_once(&format!(" Fix on {host}, SQL: GRANT {privilege} ON *.* TO ")).unwrap();
        (host, format!("GRANT {privilege} ON *.* TO {cure}"))
    });
    eprintln!("all of it logged within {:?} of the roles", began.elapsed());
    let output = examine(&lab);
    assert_eq!(output.code, 1, "{output}");
    for (host, cure) in cures {
        assert!(output.stdout.contains(&cure), "{cure}: {output}");
        lab.sql(host, &cure).unwrap();
    }
    expect_no(&lab, "grants of ");
    assert!(!examine(&lab).stdout.contains("ERROR"));
}

/// As [`WELL`] in the words of `MySQL`, which has the rest of it by itself.
const WELL_MYSQL: [&str; 3] = ["read_only = 1", "replica_net_timeout = 10", "skip_name_resolve = 1"];

#[test]
fn settings_of_mysql_9_7_are_found_and_mended_by_the_printed_statements() {
    let replica = REPLICAS[0];
    let description = quick("doctor_mysql").server(Flavour::MySql97).gtid().replicas(1);
    let lab = Cluster::with_replicas(WELL_MYSQL.into_iter().fold(description, mmm_lab::Builder::server_line));
    let output = examine(&lab);
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stdout.contains("# 0 errors, 0 warnings"), "{output}");

    for (host, statement, severity, name) in [
        (M2, "SET GLOBAL sync_binlog = 0", "WARN", "sync_binlog"),
        (M2, "SET GLOBAL innodb_flush_log_at_trx_commit = 2", "WARN", "innodb_flush_log_at_trx_commit"),
        (M2, "SET GLOBAL replica_net_timeout = 60", "WARN", "slave_net_timeout"),
        (M2, "STOP REPLICA SQL_THREAD", "ERROR", "replication"),
        (replica, "STOP REPLICA", "ERROR", "replication"),
    ] {
        check(&lab, &[(host, statement)], &format!("{severity:<5} {host} {name}: "));
        lab.wait_replicating(host, SOON).unwrap();
    }
    let revoke = "SET sql_log_bin = 0; REVOKE SYSTEM_VARIABLES_ADMIN ON *.* FROM mmm_agent@'192.168.8.%'";
    check(&lab, &[(M2, revoke)], &format!("ERROR {M2} grants of agent (system_variables_admin): "));
    check_semi_sync(&lab);
    check_modes(&lab);
    check_kept_by_the_server(&lab);
    let output = examine(&lab);
    assert!(output.stdout.contains("# 0 errors, 0 warnings"), "{output}");
}

fn check_semi_sync(lab: &Lab) {
    for host in [M1, M2] {
        for end in ["source", "replica"] {
            let library =
                format!("SET sql_log_bin = 0; INSTALL PLUGIN rpl_semi_sync_{end} SONAME 'semisync_{end}.so'");
            lab.sql(host, &library).unwrap();
        }
    }
    let enable = (M1, "SET GLOBAL rpl_semi_sync_source_enabled = 1");
    check(lab, &[enable], &format!("WARN  {M2} semi_sync of the pair: "));
    check(lab, &[], &format!("WARN  {M1} my.cnf (rpl_semi_sync_source_enabled): "));
    expect_no(lab, "semi_sync");
    check(
        lab,
        &[(M1, "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_COMMIT'")],
        &format!("WARN  {M1} semi_sync_wait_point: "),
    );
}

/// What the server has written down itself comes before its option files, so that only the server can mend it.
fn check_kept_by_the_server(lab: &Lab) {
    let statements =
        [(M2, "SET PERSIST replica_net_timeout = 60"), (M2, "SET GLOBAL replica_net_timeout = 10")];
    let start = format!("WARN  {M2} my.cnf (replica_net_timeout): ");
    check(lab, &statements, &start);
    lab.stop(M2, Program::Server).unwrap();
    lab.start(M2, Program::Server).unwrap();
    for host in [M1, M2, REPLICAS[0]] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    expect_no(lab, "replica_net_timeout");
}

/// The way to other modes leads through a file and a restart, or step by step through all of them; so does the way back.
fn check_modes(lab: &Lab) {
    lab.sql(M2, "SET GLOBAL gtid_mode = ON_PERMISSIVE").unwrap();
    let start = format!("ERROR {M1} gtid_mode of the pair: ");
    let output = expect(lab, &start);
    let own = format!("WARN  {M2} gtid_mode: ");
    for (start, host) in [(&start, M1), (&start, M2), (&own, M2)] {
        let fix = (host.to_owned(), "my.cnf [mysqld]".to_owned(), "gtid_mode = ON".to_owned());
        assert!(fixes(&output.stdout, start).contains(&fix), "{output}");
    }
    lab.sql(M2, "SET GLOBAL gtid_mode = ON").unwrap();
    expect_no(lab, "gtid_mode");
}

/// Where hosts are to be rebuilt without a word, what that takes is missed before the bad night.
fn misses_what_a_rebuild_takes(builder: mmm_lab::Builder, lacking: &[&str]) {
    let lab = Cluster::up(builder.append(ConfigFile::Three, "diverged clone"));
    for what in lacking {
        let start = format!("WARN  {M1} {what}: ");
        let output = expect(&lab, &start);
        mend(&lab, &output.stdout, &start, false);
        expect_no(&lab, &start);
    }
}

#[test]
fn what_a_rebuild_takes_is_missed_where_it_is_configured() {
    let lacking = [
        "grants of agent for a rebuild (reload on *.*)",
        "grants of agent for a rebuild (lock tables on *.*)",
        "grants of agent for a rebuild (replication master admin on *.*)",
    ];
    misses_what_a_rebuild_takes(quick("doctor_rebuild").gtid(), &lacking);
}

#[test]
fn mysql_9_7_what_a_rebuild_takes_is_missed_where_it_is_configured() {
    let lacking = [
        "grants of agent for a rebuild (clone_admin on *.*)",
        "grants of agent for a rebuild (backup_admin on *.*)",
        "grants of agent for a rebuild (select on performance_schema.*)",
        "clone plugin",
    ];
    misses_what_a_rebuild_takes(quick("doctor_my_rebuild").server(Flavour::MySql97).gtid(), &lacking);
}
