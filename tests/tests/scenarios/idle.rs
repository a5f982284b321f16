//! Servers that close every connection on which nothing was said for two seconds, as some sites have them. Whatever is kept open
//! for the next question is closed between two of them, and that says nothing about the server.

use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, M1, M2, MON, Moment, Program};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};

/// Longer apart than the server keeps a silent connection.
const SELDOM: &str = "\
<check ping>\ncheck_period 5\n</check>\n\
<check mysql>\ncheck_period 5\n</check>\n\
<check rep_threads>\ncheck_period 5\n</check>\n\
<check rep_backlog>\ncheck_period 5\n</check>";

fn impatient(name: &str) -> Builder {
    quick(name).server_line("wait_timeout = 2").append(ConfigFile::Monitor, SELDOM)
}

/// How many connections the server has given up.
fn aborted(lab: &Cluster, host: &str) -> u64 {
    let status = lab.sql(host, "SHOW GLOBAL STATUS LIKE 'Aborted_clients'").unwrap();
    status.get("Value").unwrap().parse().unwrap()
}

/// Each daemon, and how long its log is.
fn logs(lab: &Cluster) -> Vec<(&'static str, Program, usize)> {
    let daemons = [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)];
    daemons.map(|(host, program)| (host, program, lab.log(host, program).unwrap().len())).to_vec()
}

/// What the doctor finds in the servers' settings is true, and a move that was asked for is told as loudly as any.
const FINE: [&str; 2] = ["Doctor: ", "FATAL Admin moved role"];
const COMPLAINTS: [&str; 4] = ["State of host", " WARN ", " ERROR ", " FATAL "];

/// No daemon has found anything to complain of since.
fn expect_no_complaint(lab: &Cluster, since: &[(&str, Program, usize)]) {
    for (host, program, length) in since {
        let log = lab.log(host, *program).unwrap();
        let mut news =
            log.get(*length..).unwrap().lines().filter(|line| !FINE.iter().any(|word| line.contains(word)));
        let complaint = news.find(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
        assert_eq!(complaint, None, "the {program} on {host}");
    }
}

fn kept_connections_are_closed(builder: Builder) {
    let lab = Cluster::up(builder);
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    let logs = logs(&lab);
    let before = [M1, M2].map(|host| aborted(&lab, host));
    thread::sleep(Duration::from_secs(20));
    for (host, before) in [M1, M2].into_iter().zip(before) {
        let closed = aborted(&lab, host) - before;
        eprintln!("{host} closed {closed} connections that were silent for 2 s");
        assert!(closed >= 6, "{host} closed {closed} connections: nothing was tried");
    }
    expect_no_complaint(&lab, &logs);

    // What the agents keep for their steps was closed as well.
    let moved = Moment::now();
    lab.tell(&["move_role", "writer", M2]);
    let first = probe.wait_write_by(ID2, moved, SOON).unwrap();
    eprintln!("moved: first write on the other after {:?}", first.end - moved);
    lab.expect_pair(M2);
    expect_no_complaint(&lab, &logs);
    lab.judge_clean(&probe);

    thread::sleep(Duration::from_secs(4));
    let killed = lab.kill(M2, Program::Server).unwrap();
    let probe = lab.start_probe().unwrap();
    let first = probe.wait_write_by(ID1, killed, SOON).unwrap();
    let took = first.end - killed;
    eprintln!("killed: first write on the other after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    lab.start(M2, Program::Server).unwrap();
    lab.expect_pair(M1);
    lab.judge_clean(&probe);
}

#[test]
fn connections_that_a_server_closes_while_nobody_uses_them_are_opened_again() {
    kept_connections_are_closed(impatient("idle"));
}

#[test]
fn connections_that_mysql_9_7_closes_while_nobody_uses_them_are_opened_again() {
    kept_connections_are_closed(impatient("idle_mysql").server(Flavour::MySql97));
}
