//! Disks that take nothing more, under what monitor and agents have to remember of leases.

use std::thread;
use std::time::Duration;

use mmm_lab::{M1, M2, MON, Program, WRITER};

use crate::cluster::{Cluster, ID1, ID2, SOON};
use crate::sides::{Sides, sides};

/// Longer than a lease and the wait after it.
const A_WHILE: Duration = Duration::from_secs(8);

/// A full disk with the files on it that were there before. What writes them must not be running.
fn fill_beside_files(lab: &Cluster, host: &str) {
    let script = "cp -a /var/lib/mysql-mmm /run/kept && mount -t tmpfs -o size=1m,mode=0755 full /var/lib/mysql-mmm && \
                  cp -a /run/kept/. /var/lib/mysql-mmm/ && { cat /dev/zero >/var/lib/mysql-mmm/filler || true; } && \
                  ! dd if=/dev/zero of=/var/lib/mysql-mmm/more bs=4096 count=1";
    let output = lab.exec(host, &["sh", "-c", script]).unwrap();
    assert!(output.success(), "{output}");
}

fn expect_failover(mut lab: Sides) {
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = lab.wait_write_by(ID2, killed);
    eprintln!("first write on the other after {:?}", first - killed);
    lab.lap().expect_one_writer();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}

#[test]
fn full_disks_keep_nobody_from_writing_what_has_its_room_already() {
    let mut lab = Sides::up(sides("full"));
    for (host, program) in [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)] {
        lab.stop(host, program).unwrap();
        fill_beside_files(&lab, host);
        lab.start(host, program).unwrap();
        thread::sleep(Duration::from_secs(1));
    }
    lab.expect_pair(M1);
    lab.wait_covered(SOON).unwrap();
    thread::sleep(A_WHILE);
    lab.lap().expect_undisturbed(ID1);
    expect_failover(lab);
}

#[test]
fn disks_that_fill_up_under_running_daemons_change_nothing() {
    let mut lab = Sides::up(sides("filled"));
    for host in [MON, M1, M2] {
        lab.fill_disk(host).unwrap();
    }
    thread::sleep(A_WHILE);
    lab.lap().expect_undisturbed(ID1);
    expect_failover(lab);
}

#[test]
fn a_monitor_that_can_write_nothing_down_renews_promotes_nobody_and_says_why() {
    let mut lab = Sides::up(sides("full_monitor"));
    lab.stop(MON, Program::Monitor).unwrap();
    lab.fill_disk(MON).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    lab.expect_pair(M1);
    thread::sleep(A_WHILE);
    lab.lap().expect_undisturbed(ID1);
    // Told before it matters.
    lab.wait_shown(
        "# Warning: the monitor's epoch file can't be written (/var/lib/mysql-mmm/mmm_mond.epoch",
        SOON,
    );

    let killed = lab.kill(M1, Program::Server).unwrap();
    thread::sleep(A_WHILE);
    assert!(lab.is_read_only(M2).unwrap() && !lab.has_address(M2, WRITER).unwrap());
    let shown = lab.tell(&["show", "--long"]);
    eprintln!("{shown}");
    let why = "nobody can be promoted: the monitor's epoch file can't be written";
    assert!(shown.contains(why) && shown.contains("mmm_mond.epoch"), "{shown}");
    lab.wait_log(MON, Program::Monitor, "mmm_mond.epoch", SOON).unwrap();

    lab.free_disk(MON).unwrap();
    lab.wait_write_by(ID2, killed);
    assert!(!lab.tell(&["show"]).contains("epoch file"));
    lab.lap().expect_one_writer();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.end_accounted();
}

#[test]
fn an_agent_that_can_write_nothing_down_keeps_its_role_and_takes_no_new_one() {
    let mut lab = Sides::up(sides("full_agents"));
    for host in [M1, M2] {
        lab.stop(host, Program::Agent).unwrap();
        lab.fill_disk(host).unwrap();
        lab.start(host, Program::Agent).unwrap();
        thread::sleep(A_WHILE);
        eprintln!("{}", lab.tell(&["show", "--long"]));
        lab.lap().expect_undisturbed(ID1);
    }
    lab.expect_pair(M1);

    let killed = lab.kill(M1, Program::Server).unwrap();
    thread::sleep(A_WHILE);
    assert!(lab.is_read_only(M2).unwrap() && !lab.has_address(M2, WRITER).unwrap());
    let shown = lab.tell(&["show", "--long"]);
    eprintln!("{shown}");
    assert!(shown.contains("MySQL-M2.epoch"), "{shown}");
    lab.free_disk(M1).unwrap();
    lab.free_disk(M2).unwrap();
    lab.wait_write_by(ID2, killed);
    lab.lap().expect_one_writer();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.end_accounted();
}
