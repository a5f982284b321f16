//! The server of a master dies while it writes its log on a full disk, so that a file of that ends inside an event: the other master
//! goes on behind that end where nothing is left out by it, and nowhere else.

use std::time::Duration;

use mmm_lab::{Builder, CLIENT, Clients, Flavour, Load, M1, M2, Moment, Program, Tolerance, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};

const LOGS: &str = "/var/lib/mysql";
/// What each file begins with.
const MAGIC: usize = 4;
/// Of the file system that the log is on.
const BLOCK: u64 = 4096;
/// What an agent says of an end that was torn.
const TORN: &str = "in the middle of an event";

/// And of a file whose name is not noted.
const MISNAMED: &str = "went on giving the name of that file";

fn cluster(builder: Builder) -> Cluster {
    let lab = Cluster::make(builder.without_daemons());
    lab.own_disk(M1).unwrap();
    lab.sql(M1, "CREATE TABLE lab.big (id INT PRIMARY KEY, t LONGTEXT) ENGINE=InnoDB").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.start_daemons().unwrap();
    lab.expect_pair(M1);
    lab.wait_covered(SOON).unwrap();
    lab
}

fn is_mysql(lab: &Cluster) -> bool {
    lab.sql(M1, "SELECT VERSION()").unwrap().value().is_some_and(|version| !version.contains("MariaDB"))
}

/// Of a transaction with many events.
const ROWS: usize = 40;
/// A large transaction.
const LARGE: &str = "REPLACE INTO lab.big VALUES (1, REPEAT('x', 900000))";

/// The server dies with a transaction in its log for whose end there was no room. Another one comes through with what is left.
fn die_on_a_full_disk(lab: &Cluster, transaction: &str) -> Moment {
    let client = if is_mysql(lab) { "mysql" } else { "mariadb" };
    lab.fill_data_disk(M1).unwrap();
    let script = format!("\"$0\" --no-defaults -h 192.168.8.30 -uprobe -pprobe -e \"{transaction}\"");
    let mut writer = lab.command(CLIENT, &["sh", "-c", &script, client]).unwrap().spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let killed = lab.kill(M1, Program::Server).unwrap();
    writer.wait().unwrap();
    lab.empty_data_disk(M1).unwrap();
    killed
}

/// The agent's own words about it, if any.
fn told(lab: &Cluster, host: &str) -> String {
    let log = lab.log(host, Program::Agent).unwrap();
    log.lines().filter(|line| line.contains(TORN)).collect::<Vec<_>>().join("\n")
}

/// Whoever points it there by hand, or the server itself after a crash, goes by what it says.
fn expect_right_name(lab: &Cluster) {
    wait_for("the name of the file that is received for what is applied", SOON, || {
        let status =
            lab.sql(M2, if is_mysql(lab) { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" }).unwrap();
        let either = |names: [&str; 2]| names.iter().find_map(|name| status.get(name)).map(str::to_owned);
        let received = either(["Master_Log_File", "Source_Log_File"]);
        let applied = either(["Relay_Master_Log_File", "Relay_Source_Log_File"]);
        if received == applied { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .unwrap();
}

fn log_of(lab: &Cluster) -> (String, u64) {
    let status = lab.sql(M1, "SHOW MASTER STATUS").unwrap();
    let position = status.get("Position").unwrap().parse().unwrap();
    (format!("{LOGS}/{}", status.get("File").unwrap()), position)
}

/// Where the events of a log file end, and whether a part of one follows. How much room there was decides where a full disk tears a
/// log: seldom between two events.
fn events_of(lab: &Cluster, file: &str) -> (Vec<u64>, bool) {
    let bytes = lab.read_file(M1, file).unwrap();
    let mut ends = Vec::new();
    let mut begins = MAGIC;
    while let Some(size) = bytes.get(begins + 9..begins + 13) {
        begins += u32::from_le_bytes(size.try_into().unwrap()) as usize;
        if begins > bytes.len() {
            return (ends, true);
        }
        ends.push(begins as u64);
    }
    (ends, begins < bytes.len())
}

/// The old writer comes back, both follow each other, and the role can go back and forth.
fn comes_back(lab: &Cluster, clients: &Clients, killed: Moment, is_torn: bool) {
    clients.wait_by(ID2, killed, SOON).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);
    if is_torn {
        // It is let in again before the other one has come to the end of its log.
        lab.wait_log(M2, Program::Agent, TORN, SOON).unwrap();
    }
    lab.wait_replicating(M2, SOON).unwrap();
    eprintln!("{}", told(lab, M2));
    assert_eq!(!told(lab, M2).is_empty(), is_torn);
    for (host, id) in [(M1, ID1), (M2, ID2)] {
        let moved = Moment::now();
        lab.tell(&["move_role", "writer", host]);
        clients.wait_by(id, moved, SOON).unwrap();
        lab.expect_pair(host);
    }
    clients.stop().unwrap();
    expect_right_name(lab);
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    assert!(judgement.is_clean() && judgement.differences.is_empty(), "{judgement}");
    lab.expect_identical(M2, &[M1]);
}

fn goes_on(builder: Builder) {
    let lab = cluster(builder);
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    let killed = die_on_a_full_disk(&lab, LARGE);
    comes_back(&lab, &clients, killed, false);
}

#[test]
fn replication_by_place_goes_on_behind_a_torn_end_with_everything() {
    let lab = cluster(quick("torn_place"));
    let clients = lab.start_clients(&Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    let (file, _) = log_of(&lab);
    let killed = die_on_a_full_disk(&lab, LARGE);
    let (_, is_torn) = events_of(&lab, &file);
    comes_back(&lab, &clients, killed, is_torn);
}

/// So many events of a transaction are all there is of it: the server that receives them is told nothing of a tear. `MariaDB` then
/// may go on giving the name of the torn file for what it has applied of the next one.
fn goes_on_behind(builder: Builder, events: usize) -> Cluster {
    let lab = cluster(builder);
    lab.sql(M1, "CREATE TABLE lab.few (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB").unwrap();
    let (file, begins) = loop {
        let (file, position) = log_of(&lab);
        // The transaction begins in the block that the file has, and does not end there.
        if (BLOCK - 2_000..BLOCK - 500).contains(&(position % BLOCK)) {
            break (file, position);
        }
        lab.sql(M1, "INSERT INTO lab.few VALUES ()").unwrap();
    };
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let transaction = format!("BEGIN; {} COMMIT", "INSERT INTO lab.few VALUES (); ".repeat(ROWS));
    let killed = die_on_a_full_disk(&lab, &transaction);
    let ends: Vec<u64> = events_of(&lab, &file).0.into_iter().skip_while(|end| *end <= begins).collect();
    // Each row has two events at least, so that the transaction has begun and has no end.
    assert!((events + 1..2 * ROWS).contains(&ends.len()), "{begins}: {ends:?}");
    lab.truncate_file(M1, &file, ends[events - 1]).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    comes_back(&lab, &clients, killed, false);
    lab
}

#[test]
fn replication_by_place_goes_on_behind_the_first_event_of_a_transaction() {
    let lab = goes_on_behind(quick("torn_first"), 1);
    assert!(lab.log(M2, Program::Agent).unwrap().contains(MISNAMED));
}

#[test]
fn replication_by_place_goes_on_behind_half_a_transaction() {
    goes_on_behind(quick("torn_half"), 7);
}

#[test]
fn replication_by_gtid_goes_on_behind_the_first_event_of_a_transaction() {
    goes_on_behind(quick("torn_first_gtid").gtid(), 1);
}

#[test]
fn replication_by_gtid_finds_its_way_past_a_torn_end_itself() {
    goes_on(quick("torn_gtid").gtid());
}

#[test]
fn mysql_9_7_cuts_a_torn_end_off_itself() {
    let without = quick("torn_my").server(Flavour::MySql97).server_line("gtid_mode = OFF");
    goes_on(without.server_line("enforce_gtid_consistency = OFF"));
}

/// Whole transactions that were in the file, and that the other master has never received, are gone with its end.
#[test]
fn replication_does_not_go_on_where_something_would_be_left_out() {
    let lab = Cluster::up(quick("torn_missing"));
    lab.wait_covered(SOON).unwrap();
    lab.sql(M1, "CREATE TABLE lab.few (id INT PRIMARY KEY) ENGINE=InnoDB").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.sql(M2, "STOP SLAVE IO_THREAD").unwrap();
    lab.sql(M1, "INSERT INTO lab.few VALUES (1)").unwrap();
    lab.sql(M1, "INSERT INTO lab.few VALUES (2)").unwrap();
    let file = lab.sql(M1, "SHOW MASTER STATUS").unwrap().get("File").unwrap().to_owned();
    lab.sql(M1, "FLUSH BINARY LOGS").unwrap();
    let path = format!("{LOGS}/{file}");
    let length = lab.read_file(M1, &path).unwrap().len() as u64;
    lab.truncate_file(M1, &path, length - 200).unwrap();
    lab.sql(M2, "START SLAVE IO_THREAD").unwrap();
    lab.expect_host(M2, "REPLICATION_FAIL", &[], SOON).unwrap();
    lab.wait_shown("the log of its source has an end that was torn", SOON);
    lab.wait_shown(
        "rebuild this host, or point its replication at the beginning of the next file by hand",
        SOON,
    );
    let status = lab.sql(M2, "SHOW SLAVE STATUS").unwrap();
    assert_eq!(status.get("Master_Log_File"), Some(file.as_str()), "{status:?}");
    assert_eq!(lab.sql(M2, "SELECT COUNT(*) FROM lab.few WHERE id = 2").unwrap().value(), Some("0"));
    // By hand, as it says.
    let next = lab.sql(M1, "SHOW MASTER STATUS").unwrap().get("File").unwrap().to_owned();
    lab.sql(M2, "STOP SLAVE").unwrap();
    lab.sql(M2, "REPLACE INTO lab.few VALUES (1), (2)").unwrap();
    lab.sql(M2, &format!("CHANGE MASTER TO MASTER_LOG_FILE = '{next}', MASTER_LOG_POS = 4")).unwrap();
    lab.sql(M2, "START SLAVE").unwrap();
    lab.expect_host(M2, "ONLINE", &["reader"], SOON).unwrap();
    wait_for("no word of it any more", SOON, || match lab.show().unwrap().text {
        text if text.contains("was torn") => Err(text),
        _ => Ok(()),
    })
    .unwrap();
}
