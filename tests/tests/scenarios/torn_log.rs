//! The server of a master dies while it writes its log on a full disk, so that a file of that ends inside an event: the other master
//! goes on behind that end where nothing is left out by it, and nowhere else.

use std::time::Duration;

use mmm_lab::{Builder, CLIENT, Flavour, M1, M2, Moment, Program, Tolerance, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};

const LOGS: &str = "/var/lib/mysql";
/// What an agent says of an end that was torn.
const TORN: &str = "in the middle of an event";

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

/// The server dies with a large transaction in its log for whose end there was no room. Another one comes through with what is left.
fn die_on_a_full_disk(lab: &Cluster) -> Moment {
    let client = if is_mysql(lab) { "mysql" } else { "mariadb" };
    lab.fill_data_disk(M1).unwrap();
    let script = "\"$0\" --no-defaults -h 192.168.8.30 -uprobe -pprobe -e \"REPLACE INTO lab.big VALUES (1, REPEAT('x', 900000))\"";
    let mut writer = lab.command(CLIENT, &["sh", "-c", script, client]).unwrap().spawn().unwrap();
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

/// The old writer comes back, both follow each other, and the role can go back and forth.
fn goes_on(builder: Builder, is_torn: bool) {
    let lab = cluster(builder);
    let clients = lab.start_clients(&mmm_lab::Load::default()).unwrap();
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    let killed = die_on_a_full_disk(&lab);
    clients.wait_by(ID2, killed, SOON).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);
    if is_torn {
        // It is let in again before the other one has come to the end of its log.
        lab.wait_log(M2, Program::Agent, TORN, SOON).unwrap();
    }
    lab.wait_replicating(M2, SOON).unwrap();
    eprintln!("{}", told(&lab, M2));
    assert_eq!(!told(&lab, M2).is_empty(), is_torn);
    let moved = Moment::now();
    lab.tell(&["move_role", "writer", M1]);
    clients.wait_by(ID1, moved, SOON).unwrap();
    lab.expect_pair(M1);
    clients.stop().unwrap();
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    assert!(judgement.is_clean() && judgement.differences.is_empty(), "{judgement}");
    lab.expect_identical(M1, &[M2]);
}

#[test]
fn replication_by_place_goes_on_behind_a_torn_end_with_everything() {
    goes_on(quick("torn_place"), true);
}

#[test]
fn replication_by_gtid_finds_its_way_past_a_torn_end_itself() {
    goes_on(quick("torn_gtid").gtid(), false);
}

#[test]
fn mysql_9_7_cuts_a_torn_end_off_itself() {
    let without = quick("torn_my").server(Flavour::MySql97).server_line("gtid_mode = OFF");
    goes_on(without.server_line("enforce_gtid_consistency = OFF"), false);
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
