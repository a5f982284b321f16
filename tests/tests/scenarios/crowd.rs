//! Moves away from a server with a crowd of clients that connect anew as soon as their connections are ended.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mmm_lab::{Builder, CLIENT, Clients, ConfigFile, Flavour, Load, M1, M2, Moment, Tolerance, wait_for};

use crate::cluster::{Cluster, ID2, SOON, quick};

/// Closing, taking over, and a word on how it went have limits, which together are less than this.
const BOUND: Duration = Duration::from_secs(45);

fn description(name: &str, flavour: Flavour) -> Builder {
    quick(name)
        .server(flavour)
        .gtid()
        .server_line("max_connections = 8000\nback_log = 4000\nmax_connect_errors = 1000000")
        .append(ConfigFile::Common, "max_kill_retries 2")
}

/// The role moves within its bound, and everything that was acknowledged is on both.
fn move_away(lab: &Cluster, clients: &Clients) {
    let (began, at) = (Instant::now(), Moment::now());
    let answer = lab.tell(&["move_role", "writer", M2]);
    let took = began.elapsed();
    assert!(answer.starts_with("OK") && took < BOUND, "after {took:?}: {answer}");
    clients.wait_by(ID2, at, SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    clients.stop().unwrap();
    let gap = clients.record().unwrap().gap_after(at).unwrap().length();
    eprintln!("moved after {took:?}, longest time without a write {gap:?}");
    lab.expect_pair(M2);
    for host in [M1, M2] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 300, "{judgement}");
}

const CROWD: u32 = 1000;

/// However many they are, they write 500 times a second together.
fn crowd(clients: u32) -> Load {
    Load { clients, every: Duration::from_millis(2) * clients, ..Load::default() }
}

fn sessions(name: &str, flavour: Flavour, count: u32) {
    let lab = Cluster::up(description(name, flavour));
    lab.wait_covered(SOON).unwrap();
    let clients = lab.start_clients(&crowd(count)).unwrap();
    let query = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'probe'";
    wait_for("all of them connected", SOON, || {
        match lab.sql(M1, query).unwrap().value().and_then(|text| text.parse::<u32>().ok()) {
            Some(connected) if connected >= count => Ok(()),
            connected => Err(format!("{connected:?}")),
        }
    })
    .unwrap();
    move_away(&lab, &clients);
}

#[test]
fn a_thousand_sessions_are_ended_and_come_back() {
    sessions("crowd", Flavour::MariaDb1011, CROWD);
}

#[test]
fn mysql_9_7_a_thousand_sessions_are_ended_and_come_back() {
    sessions("crowd_my", Flavour::MySql97, CROWD);
}

#[test]
fn five_thousand_sessions_are_ended_and_come_back() {
    sessions("crowd_5000", Flavour::MariaDb1011, 5 * CROWD);
}

#[test]
fn mysql_9_7_five_thousand_sessions_are_ended_and_come_back() {
    sessions("crowd_my_5000", Flavour::MySql97, 5 * CROWD);
}

/// Clients that begin again at once, each with one statement, as long as this lives.
struct Stubborn(Vec<Child>);

impl Stubborn {
    fn start(lab: &Cluster, count: usize, statements: &str) -> Self {
        let script = "while :; do mariadb --no-defaults -h 192.168.8.30 -uprobe -pprobe -e \"$0\"; done";
        let mut command = lab.command(CLIENT, &["sh", "-c", script, statements]).unwrap();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self((0..count).map(|_| command.spawn().unwrap()).collect())
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        for client in &mut self.0 {
            // What has ended by itself is fine as well.
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

/// One has a row and sits on it, others wait for it: these keep the server from becoming read-only, and whoever of them is ended is there
/// again before all others are.
fn same_row(name: &str, flavour: Flavour) {
    let lab = Cluster::up(description(name, flavour));
    lab.sql(M1, "CREATE TABLE lab.hot (id INT PRIMARY KEY, n INT); INSERT INTO lab.hot VALUES (1, 1)")
        .unwrap();
    lab.wait_covered(SOON).unwrap();
    let clients = lab.start_clients(&crowd(CROWD)).unwrap();
    let take = "UPDATE lab.hot SET n = n + 1";
    let holds = Stubborn::start(&lab, 2, &format!("BEGIN; {take}; SELECT SLEEP(50)"));
    let waits = Stubborn::start(&lab, 8, take);
    wait_for("clients that wait for the row", SOON, || {
        let query = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE info = '{take}'");
        match lab.sql(M1, &query).unwrap().value().and_then(|count| count.parse::<u32>().ok()) {
            Some(8..) => Ok(()),
            count => Err(format!("{count:?}")),
        }
    })
    .unwrap();
    move_away(&lab, &clients);
    drop((holds, waits));
}

#[test]
fn clients_that_wait_for_each_other_do_not_keep_the_role_from_moving() {
    same_row("same_row", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_clients_that_wait_for_each_other_do_not_keep_the_role_from_moving() {
    same_row("same_my_row", Flavour::MySql97);
}
