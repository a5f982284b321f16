//! What somebody changes behind the agents' backs is put right, and what was there before them is respected.

use std::time::Duration;

use mmm_lab::{M1, M2, MON, Moment, Program, READERS, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, SOON, quick, writers};

#[test]
fn flushed_addresses_are_back_within_a_second_and_stay_where_they_belong() {
    let lab = Cluster::quick("flush");
    let probe = lab.start_probe().unwrap();
    for _ in 0..3 {
        let before = lab.role_addresses(M1).unwrap();
        let flushed = lab.flush_addresses(M1).unwrap();
        wait_for("the addresses back", Duration::from_secs(1), || match lab.role_addresses(M1).unwrap() {
            now if now == before => Ok(()),
            now => Err(format!("{now:?}")),
        })
        .unwrap();
        eprintln!("addresses back {:?} after the flush", Moment::now() - flushed);
        probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    }
    // An address that belongs to the other host is taken off.
    let stray = lab.role_addresses(M1).unwrap().into_iter().find(|ip| ip != WRITER).unwrap();
    let other = READERS.into_iter().find(|ip| **ip != *stray).unwrap();
    let argv = ["ip", "addr", "add", &format!("{other}/32"), "dev", "eth0"];
    assert!(lab.exec(M1, &argv).unwrap().success());
    lab.expect_addresses(M1, 2, SOON);
    assert_eq!(lab.holders(other).unwrap(), [M2]);
    assert_eq!(writers(&lab.judge_clean(&probe)), [ID1]);
}

#[test]
fn a_server_that_comes_up_writable_beside_the_writer_is_closed_within_a_second() {
    let lab = Cluster::quick("writable");
    let probe = lab.start_probe().unwrap();
    lab.stop(M2, Program::Server).unwrap();
    lab.start(M2, Program::Server).unwrap();
    let up = Moment::now();
    lab.expect_read_only(M2, Duration::from_secs(1));
    eprintln!("read-only {:?} after the server answered", Moment::now() - up);
    // And when somebody opens it by hand.
    lab.sql(M2, "SET GLOBAL read_only = 0").unwrap();
    lab.expect_read_only(M2, Duration::from_secs(1));
    lab.expect_pair(M1);
    // The writer's is opened again when somebody closes it.
    lab.sql(M1, "SET GLOBAL read_only = 1").unwrap();
    let closed = Moment::now();
    probe.wait_write_by(ID1, closed, Duration::from_secs(3)).unwrap();
    assert_eq!(writers(&lab.judge_clean(&probe)), [ID1]);
}

#[test]
fn the_writer_of_a_running_2_2_1_cluster_is_kept() {
    // As 2.2.1 leaves a cluster when its programs are stopped: the second master writes, addresses without a mark.
    let lab = Cluster::make(quick("take_over").without_daemons());
    lab.sql(M1, "SET GLOBAL read_only = 1").unwrap();
    for (host, ip) in [(M2, WRITER), (M1, READERS[0]), (M2, READERS[1])] {
        let argv = ["ip", "addr", "add", &format!("{ip}/32"), "dev", "eth0"];
        assert!(lab.exec(host, &argv).unwrap().success());
    }
    let status =
        "MySQL-M1|ONLINE|reader(192.168.8.34)\nMySQL-M2|ONLINE|reader(192.168.8.35),writer(192.168.8.30)\n";
    assert!(
        lab.exec_with_input(MON, &["tee", "/var/lib/mysql-mmm/mmm_mond.status"], status).unwrap().success()
    );
    let probe = lab.start_probe().unwrap();
    probe.wait_write(Moment::now(), SOON).unwrap();
    // One agent, then the other, then the monitor, as an operator would.
    for host in [M1, M2] {
        lab.start(host, Program::Agent).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    }
    lab.start(MON, Program::Monitor).unwrap();
    lab.expect_show(
        "MySQL-M1(192.168.8.32) master/ONLINE. Roles: reader(192.168.8.34)\n\
         MySQL-M2(192.168.8.33) master/ONLINE. Roles: reader(192.168.8.35), writer(192.168.8.30)",
        SOON,
    )
    .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    lab.judge_undisturbed(&probe, crate::cluster::ID2);

    // From now on the addresses are ours.
    lab.tell(&["move_role", "writer", M1]);
    lab.expect_pair(M1);
}
