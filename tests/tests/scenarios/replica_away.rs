//! The monitor can't reach a replica while the writer changes.

use std::thread;
use std::time::Duration;

use mmm_lab::{M1, M2, MON, Manner, Moment};

use crate::cluster::{Cluster, ID1, ID2, SOON};
use crate::replicas::{R1, R2, REPLICAS, builder};

fn out_of_reach(name: &str, gtid: bool) {
    let lab = Cluster::with_replicas(builder(name, gtid));
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.cut(MON, R1, Manner::Drop).unwrap();
    let (probe, killed) = lab.kill_writer_at_rest(&probe);
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("{name}: first write on the other after {:?}", first.end - killed);
    lab.wait_follows(R2, M2, SOON);
    lab.wait_shown("# Warning: agent on host MySQL-R1 is not reachable", SOON);
    // Longer than anything is waited for.
    thread::sleep(Duration::from_secs(5));
    let status = lab.replication(R1).unwrap().unwrap();
    assert_eq!(status.master, lab.host(M1).unwrap().ip, "nobody could tell it of another writer");

    let healed = lab.heal(MON, R1).unwrap();
    lab.wait_follows(R1, M2, SOON);
    eprintln!("{name}: it follows {:?} after the monitor reaches it again", Moment::now() - healed);
    lab.wait_show("both replicas ONLINE", SOON, |show| {
        REPLICAS.iter().all(|replica| show.state(replica) == "ONLINE")
    })
    .unwrap();
    probe.stop().unwrap();
    lab.expect_identical(M2, &REPLICAS);
}

#[test]
fn a_replica_by_gtid_that_only_the_monitor_can_not_reach_follows_afterwards() {
    out_of_reach("rep_cut_gtid", true);
}

#[test]
fn a_replica_by_file_that_only_the_monitor_can_not_reach_follows_afterwards() {
    out_of_reach("rep_cut_file", false);
}
