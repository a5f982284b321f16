//! A host whose server was started anew under the load of its readers: with `reader_return_after` they come back when it has been well for a
//! while, and meanwhile the other host serves them.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mmm_lab::{Builder, CLIENT, ConfigFile, Flavour, M1, M2, Moment, Program, READERS};

use crate::cluster::{Cluster, ID1, QUICK_CHECKS, SOON, quick};

const PATIENCE: Duration = Duration::from_secs(8);

fn description(name: &str, flavour: Flavour) -> Builder {
    let three = format!("reader_return_after {}", PATIENCE.as_secs());
    quick(name)
        .server(flavour)
        .gtid()
        .append(ConfigFile::Monitor, QUICK_CHECKS)
        .append(ConfigFile::Three, &three)
}

fn readers(lab: &Cluster) -> Vec<Child> {
    let script = "while :; do mariadb --no-defaults -h \"$0\" -uprobe -pprobe --connect-timeout=1 \
        -e 'SELECT COUNT(*) FROM lab.probe' || sleep 0.1; done";
    let start = |ip: &&str| {
        let mut command = lab.command(CLIENT, &["sh", "-c", script, ip]).unwrap();
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    READERS.iter().chain(&READERS).map(start).collect()
}

fn comes_back(name: &str, flavour: Flavour) {
    let lab = Cluster::up(description(name, flavour));
    let probe = lab.start_probe().unwrap();
    let clients = readers(&lab);
    // Both have been there for long enough.
    std::thread::sleep(PATIENCE);
    lab.kill(M2, Program::Server).unwrap();
    // With the writer's address.
    lab.expect_addresses(M1, 3, SOON);
    lab.start(M2, Program::Server).unwrap();
    lab.wait_show("the host back", SOON, |show| show.state(M2) == "ONLINE").unwrap();
    let back = Instant::now();
    lab.expect_addresses(M2, 1, PATIENCE + SOON);
    let waited = back.elapsed();
    eprintln!("readers came back {waited:?} after the host was ONLINE");
    assert!(waited + Duration::from_secs(2) > PATIENCE, "{waited:?}");
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    for mut client in clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    lab.expect_pair(M1);
    lab.judge_clean(&probe);
}

#[test]
fn readers_return_to_a_host_when_it_has_been_well_for_a_while() {
    comes_back("reader_back", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_readers_return_to_a_host_when_it_has_been_well_for_a_while() {
    comes_back("reader_my_back", Flavour::MySql97);
}
