//! Clients that read-only does not hold back, since their account may write all the same: on MariaDB they write on until their connections
//! are ended, on MySQL `super_read_only` stops them too. Whatever they were told is saved, is where everybody looks for it, or is named.

use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use mmm_lab::{
    Builder, CLIENT, CLIENT2, Flavour, GATEWAY, Load, M1, M2, MON, Moment, Program, Tolerance, WRITER,
    wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};
use crate::sides::{Sides, quick_sides};

/// So many that ending them takes a while, in which the others go on.
const CROWD: u32 = 40;

fn privileges(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql97 => "SUPER, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN",
        _ => "SUPER, READ_ONLY ADMIN",
    }
}

/// The clients of the lab get rights that they should not have.
fn privilege(lab: &Cluster, flavour: Flavour) {
    let grant = format!("GRANT {} ON *.* TO probe@'192.168.8.%'", privileges(flavour));
    lab.sql(M1, &grant).unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
}

fn description(name: &str, flavour: Flavour) -> Builder {
    // By rows, a change that overtakes another one is not merely late but wrong.
    quick(name).server(flavour).gtid().server_line("binlog_format = ROW\nmax_connections = 1000")
}

/// The role moves again and again while they write through its address.
fn moves(name: &str, flavour: Flavour) {
    let lab = Cluster::up(description(name, flavour));
    privilege(&lab, flavour);
    let load = Load { clients: CROWD, every: Duration::from_millis(50), ..Load::default() };
    let clients = lab.start_clients(&load).unwrap();
    for (to, id) in [(M2, ID2), (M1, ID1)].into_iter().cycle().take(8) {
        lab.wait_covered(SOON).unwrap();
        let began = Moment::now();
        lab.tell(&["move_role", "writer", to]);
        clients.wait_by(id, began, SOON).unwrap();
        lab.expect_pair(to);
    }
    clients.stop().unwrap();
    for host in [M1, M2] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    eprint!("{judgement}");
    assert!(judgement.is_clean() && judgement.acknowledged > 500, "{judgement}");
}

#[test]
fn whoever_writes_past_read_only_loses_nothing_in_moves() {
    moves("priv_moves", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_whoever_writes_past_read_only_loses_nothing_in_moves() {
    moves("priv_my_moves", Flavour::MySql97);
}

/// The writer is cut off with one of its clients: without its lease it serves nobody, whatever their accounts may do.
fn cut_off(name: &str, flavour: Flavour) {
    let cluster = Cluster::up(quick_sides(name).server(flavour).gtid());
    privilege(&cluster, flavour);
    let mut lab = Sides::watch(cluster);
    lab.wait_covered(SOON).unwrap();
    lab.lap();
    lab.wait_write_by(ID1, Moment::now());
    let cut = lab.partition(&[&[M1, CLIENT2], &[MON, M2, CLIENT, GATEWAY]]).unwrap();
    lab.wait_write_by(ID2, cut);
    thread::sleep((cut + Duration::from_secs(12)) - Moment::now());
    let overlap = lab.lap();
    overlap.expect_one_writer();
    assert!(!lab.has_address(M1, WRITER).unwrap() && lab.is_read_only(M1).unwrap());
    lab.heal_all().unwrap();
    // What it took while it was alone is listed and saved, not thrown away.
    lab.wait_show("the old writer apart", SOON, |show| show.state(M1) == "REPLICATION_FAIL").unwrap();
    lab.wait_shown("transactions nobody else has", SOON);
    lab.end_accounted();
}

#[test]
fn whoever_writes_past_read_only_finds_no_second_writer() {
    cut_off("priv_cut", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_whoever_writes_past_read_only_finds_no_second_writer() {
    cut_off("priv_my_cut", Flavour::MySql97);
}

/// Numbered rows through a host's own address, a connection each; what was acknowledged is in the file.
struct Stray {
    process: Child,
    file: String,
}

impl Stray {
    fn start(lab: &Cluster, host: &str) -> Self {
        let ip = lab.host(host).unwrap().ip.clone();
        let file = lab.dir().join("stray").to_string_lossy().into_owned();
        let script = "i=0; while :; do i=$((i+1)); mariadb --no-defaults -h \"$0\" -uprobe -pprobe \
            -e \"INSERT INTO lab.stray VALUES ($i)\" 2>/dev/null && echo $i >> \"$1\"; done";
        let mut command = lab.command(CLIENT, &["sh", "-c", script, &ip, &file]).unwrap();
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let stray = Self { process, file };
        wait_for("rows of the stray client", SOON, || match stray.acknowledged().len() {
            0..10 => Err("not enough".to_owned()),
            _ => Ok(()),
        })
        .unwrap();
        stray
    }

    fn acknowledged(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn end(mut self) -> Vec<u64> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        thread::sleep(Duration::from_millis(300));
        self.acknowledged()
    }
}

/// Somebody writes to the old writer by its own name before, during and after a move: nobody can forbid that on MariaDB, and what is taken
/// reaches the new writer. On MySQL nothing is taken any more.
fn by_its_own_name(name: &str, flavour: Flavour) {
    let lab = Cluster::up(description(name, flavour));
    privilege(&lab, flavour);
    lab.sql(M1, "CREATE TABLE lab.stray (id INT PRIMARY KEY)").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.wait_covered(SOON).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    let stray = Stray::start(&lab, M1);
    let began = Moment::now();
    lab.tell(&["move_role", "writer", M2]);
    clients.wait_by(ID2, began, SOON).unwrap();
    let at_move = stray.acknowledged().len();
    thread::sleep(Duration::from_secs(3));
    let acknowledged = stray.end();
    eprintln!("{at_move} rows acknowledged by the end of the move, {} in all", acknowledged.len());
    assert_eq!(acknowledged.len() > at_move + 3, flavour != Flavour::MySql97);
    lab.expect_pair(M2);
    clients.stop().unwrap();
    for host in [M1, M2] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    assert!(judgement.is_clean(), "{judgement}");
    for host in [M1, M2] {
        wait_for(&format!("all rows on {host}"), SOON, || {
            let table = lab.sql(host, "SELECT id FROM lab.stray").map_err(|error| error.to_string())?;
            let there: Vec<u64> =
                table.rows.iter().filter_map(|row| row[0].as_deref()?.parse().ok()).collect();
            let missing: Vec<_> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
        })
        .unwrap();
    }
    let told = lab.log(M1, Program::Agent).unwrap();
    eprintln!("{told}");
}

#[test]
fn what_is_written_past_read_only_by_the_servers_own_name_reaches_the_new_writer() {
    by_its_own_name("priv_name", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_takes_nothing_past_read_only_by_the_servers_own_name() {
    by_its_own_name("priv_my_name", Flavour::MySql97);
}
