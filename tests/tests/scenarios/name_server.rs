//! A name server that hangs: servers that look up who logs in let nobody new in meanwhile, and are not dead for that.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{Builder, CLIENT, ConfigFile, M1, M2, MON, Moment, Probe, Program, wait_for};

use crate::cluster::{Cluster, ID1, QUICK_CHECKS, SOON, quick};
use crate::watchers::{ControlWatch, on_host};

/// As long as a resolver waits that has a second name server to ask.
const LOOKUP: Duration = Duration::from_secs(8);
/// Several times the trap period, and longer than a lease.
const A_WHILE: Duration = Duration::from_secs(12);

fn builder(name: &str) -> Builder {
    // What a server knows of its usual clients would hide the name server for a while; not from those that it does not know yet.
    // Connections that are used seldom don't outlast the beginning.
    quick(name)
        .append(ConfigFile::Monitor, QUICK_CHECKS)
        .server_line("host_cache_size = 0")
        .server_line("wait_timeout = 20")
}

/// Holds the name server's port and answers nothing.
struct NameServer(UdpSocket);

impl NameServer {
    /// From now on each host asks it about every address.
    fn hangs(lab: &Cluster) -> Self {
        let socket = on_host(lab, CLIENT, || UdpSocket::bind("0.0.0.0:53").unwrap()).join().unwrap();
        socket.set_nonblocking(true).unwrap();
        let resolver = format!(
            "nameserver {}\noptions timeout:{} attempts:1\n",
            lab.host(CLIENT).unwrap().ip,
            LOOKUP.as_secs()
        );
        for host in [MON, M1, M2] {
            lab.write_file(host, "/etc/hosts", b"127.0.0.1 localhost\n").unwrap();
            lab.write_file(host, "/etc/resolv.conf", resolver.as_bytes()).unwrap();
            lab.write_file(host, "/etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
                .unwrap();
        }
        Self(socket)
    }

    fn was_asked(&self) -> bool {
        self.0.recv(&mut [0; 512]).is_ok()
    }
}

/// How long somebody new waits for a server to let him in.
fn login(lab: &Cluster, host: &str) -> Duration {
    let began = Instant::now();
    let ip = lab.host(host).unwrap().ip.clone();
    let argv = ["mariadb", "-h", &ip, "-uprobe", "-pprobe", "-BN", "-e", "SELECT 1", "lab"];
    let output = lab.exec(CLIENT, &argv).unwrap();
    assert!(output.success(), "{output}");
    began.elapsed()
}

/// Nothing changes for a while, with the monitor that is there and with one that is new.
fn expect_calm(lab: &Cluster, probe: &Probe) {
    let from = lab.log_length();
    let control = ControlWatch::start(lab);
    thread::sleep(A_WHILE);
    control.end(Duration::from_secs(1));
    lab.expect_pair(M1);
    lab.stop(MON, Program::Monitor).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    lab.wait_log_since(from, "Monitor started in active mode.", SOON);
    let control = ControlWatch::start(lab);
    thread::sleep(A_WHILE);
    control.end(Duration::from_secs(1));
    lab.expect_pair(M1);
    let log = lab.log_since(from);
    assert!(!log.contains("HARD_OFFLINE"), "{log}");
    lab.judge_undisturbed(probe, ID1);
}

/// The writer's server is killed; how long it takes until the other one takes writes at the writer's address.
fn replace_the_writer(lab: &Cluster) -> Duration {
    lab.expect_covered();
    let killed = lab.kill(M1, Program::Server).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    Moment::now() - killed
}

fn comes_back(lab: &Cluster) {
    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);
}

#[test]
fn a_name_server_that_hangs_moves_nothing_and_holds_up_no_failover() {
    let lab = Cluster::up(builder("names"));
    let probe = lab.start_probe().unwrap();
    let names = NameServer::hangs(&lab);
    let waited = login(&lab, M2);
    assert!(waited >= LOOKUP && names.was_asked(), "somebody new was let in after {waited:?}");
    expect_calm(&lab, &probe);
    let took = replace_the_writer(&lab);
    eprintln!("with a name server that hangs, the other takes over after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Nobody has the port any more, and each lookup fails at once.
    drop(names);
    comes_back(&lab);
}

#[test]
fn agents_that_are_started_while_the_name_server_hangs_move_nothing() {
    // What hangs for longer than the trap period is dead to an agent that has never been answered.
    let patient = "<check mysql>\ntrap_period 10\n</check>";
    let lab = Cluster::up(builder("names_agents").append(ConfigFile::Monitor, patient));
    let probe = lab.start_probe().unwrap();
    let names = NameServer::hangs(&lab);
    let from = lab.log_length();
    for host in [M1, M2] {
        lab.wait_log_since(from, &format!("Check 'mysql' on '{host}' has failed"), SOON);
    }
    for host in [M2, M1] {
        let said = lab.log(host, Program::Agent).unwrap().matches("The server answers").count();
        lab.stop(host, Program::Agent).unwrap();
        let started = lab.start(host, Program::Agent).unwrap();
        wait_for(&format!("the server on {host} answering its agent"), SOON, || {
            let log = lab.log(host, Program::Agent).unwrap();
            if log.matches("The server answers").count() > said { Ok(()) } else { Err(log) }
        })
        .unwrap();
        eprintln!("the agent on {host} was let in after {:?}", Moment::now() - started);
        lab.expect_pair(M1);
    }
    let log = lab.log_since(from);
    assert!(!log.contains("HARD_OFFLINE"), "{log}");
    lab.judge_undisturbed(&probe, ID1);
    let took = replace_the_writer(&lab);
    eprintln!("with agents that were started meanwhile, the other takes over after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(names);
    comes_back(&lab);
}

#[test]
fn servers_that_look_up_no_names_do_not_notice_that_the_name_server_hangs() {
    let lab = Cluster::up(builder("no_names").server_line("skip_name_resolve = 1"));
    let probe = lab.start_probe().unwrap();
    let names = NameServer::hangs(&lab);
    let waited = login(&lab, M2);
    assert!(waited < Duration::from_secs(1) && !names.was_asked(), "{waited:?}");
    expect_calm(&lab, &probe);
    let took = replace_the_writer(&lab);
    assert!(took < Duration::from_secs(2), "{took:?}");
    comes_back(&lab);
}
