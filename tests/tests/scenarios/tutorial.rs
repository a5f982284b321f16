//! The tutorial from beginning to end, as the demo plays it.

use std::time::Duration;

use mmm_lab::{M1, M2, MON, Moment, Program, READERS, WRITER};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick, writers};
use crate::watchers::WriterWatch;

fn set(ips: &[&str]) -> std::collections::BTreeSet<String> {
    ips.iter().map(|ip| (*ip).to_owned()).collect()
}

#[test]
fn the_tutorial_plays_as_its_readers_expect_while_writes_go_on() {
    let lab = Cluster::up(quick("tutorial"));
    let probe = lab.start_probe().unwrap();
    let watch = WriterWatch::start(&lab);
    starts_as_shown(&lab);

    let stopped = lab.stop(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, stopped, SOON).unwrap();
    eprintln!("server stopped: first write on the other after {:?}", first.end - stopped);
    lab.expect_show(
        "# Warning: replication from MySQL-M1, which was lost as the writer, is held until *\n\
         MySQL-M1(192.168.8.32) master/HARD_OFFLINE. Roles:\n\
         MySQL-M2(192.168.8.33) master/ONLINE. Roles: reader(192.168.8.34), reader(192.168.8.35), writer(192.168.8.30)",
        SOON,
    )
    .unwrap();
    lab.expect_addresses(M1, 0, SOON);
    lab.expect_addresses(M2, 3, SOON);
    lab.wait_log(MON, Program::Monitor, "State of host 'MySQL-M1' changed from ONLINE to HARD_OFFLINE", SOON)
        .unwrap();

    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);
    lab.expect_addresses(M1, 1, SOON);
    lab.wait_replicating(M1, SOON).unwrap();

    let answer = lab.tell(&["move_role", "writer", M1]);
    assert_eq!(
        answer,
        "OK: Role 'writer' has been moved from 'MySQL-M2' to 'MySQL-M1'. Now you can wait some time and check new roles info!"
    );
    lab.expect_pair(M1);
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();

    offline_and_online_again(&lab);
    let back = Moment::now();
    probe.wait_write_by(ID2, back, SOON).unwrap();
    // Nothing in the tutorial's my.cnf keeps a server that starts from taking writes.
    watch.end_with_restarts(Duration::from_secs(1));
    let record = lab.judge_clean(&probe);
    assert_eq!(writers(&record), [ID1, ID2, ID1, ID2], "each change of the writer once");
}

fn starts_as_shown(lab: &Cluster) {
    lab.expect_show(
        "MySQL-M1(192.168.8.32) master/ONLINE. Roles: reader(*), writer(192.168.8.30)\n\
         MySQL-M2(192.168.8.33) master/ONLINE. Roles: reader(*)",
        SOON,
    )
    .unwrap();
    let checks = lab.tell(&["checks", "all"]);
    let lines: Vec<&str> = checks.lines().collect();
    assert_eq!(lines.len(), 8, "{checks}");
    for (line, name) in lines.iter().zip(["ping", "mysql", "rep_threads", "rep_backlog"].iter().cycle()) {
        assert!(line.contains(&format!("  {name:<11}  [last change: ")) && line.contains("]  OK"), "{line}");
    }
    assert_eq!(lab.tell(&["mode"]), "ACTIVE");
    assert!(lab.tell(&["help"]).starts_with("Valid commands are:\n    help  "));
    let (first, second) = (lab.role_addresses(M1).unwrap(), lab.role_addresses(M2).unwrap());
    assert_eq!(&first | &second, set(&[WRITER, READERS[0], READERS[1]]));
    assert_eq!((first.len(), second.len()), (2, 1), "{first:?} {second:?}");
    assert!(first.contains(WRITER));
    lab.wait_log(M1, Program::Agent, "Added:   reader(192.168.8.3", SOON).unwrap();
}

/// Ends with the writer on the second master.
fn offline_and_online_again(lab: &Cluster) {
    assert_eq!(
        lab.tell(&["set_offline", M2]),
        "OK: State of 'MySQL-M2' changed to ADMIN_OFFLINE. Now you can wait some time and check all roles!"
    );
    lab.expect_host(M2, "ADMIN_OFFLINE", &[], SOON).unwrap();
    lab.expect_addresses(M2, 0, SOON);
    lab.expect_addresses(M1, 3, SOON);
    mmm_lab::wait_for("replication stopped", SOON, || {
        let status = lab.replication(M2).unwrap().unwrap();
        let stopped = (status.io_running.as_str(), status.sql_running.as_str()) == ("No", "No");
        if stopped { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .unwrap();
    assert_eq!(
        lab.tell(&["set_online", M2]),
        "OK: State of 'MySQL-M2' changed to ONLINE. Now you can wait some time and check its new roles!"
    );
    lab.wait_replicating(M2, SOON).unwrap();
    lab.expect_pair(M1);

    // The writer itself: a planned move first.
    lab.tell(&["set_offline", M1]);
    lab.expect_host(M1, "ADMIN_OFFLINE", &[], SOON).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    lab.expect_read_only(M1, Duration::from_secs(2));
    lab.tell(&["set_online", M1]);
    lab.expect_pair(M2);
}
