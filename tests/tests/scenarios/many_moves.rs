//! The writer moves again and again under load, and the replicas behind the pair go with it each time.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{CLIENT, Judge, M1, M2, MON, Moment, Probe, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, other};
use crate::replicas::{R1, R2, REPLICAS, builder};

/// Two at this pace write as often as one at the usual one.
const WRITE_EVERY: Duration = Duration::from_millis(10);
const MOVES: usize = 10;

/// What a daemon says when it does not know where a replica stands, or knows that it can't go on.
const COMPLAINTS: [&str; 3] = ["never received", "can't follow", "can't be compared"];

fn expect_no_complaint(lab: &Cluster) {
    let agents = lab.servers().into_iter().map(|host| (host, Program::Agent));
    for (host, program) in [(MON, Program::Monitor)].into_iter().chain(agents) {
        let log = lab.log(host, program).unwrap();
        let complaint = log.lines().find(|line| COMPLAINTS.iter().any(|words| line.contains(words)));
        assert_eq!(complaint, None, "the {program} on {host}");
    }
}

/// Each acknowledged write is once on every server.
fn judge_everywhere(lab: &Cluster, probes: &[Probe], writer: &str) {
    let records: Vec<_> = probes.iter().map(|probe| probe.stop().unwrap()).collect();
    let hosts = [M1, M2, R1, R2];
    let others: Vec<&str> = hosts.into_iter().filter(|host| *host != writer).collect();
    lab.expect_identical(writer, &others);
    for record in records {
        let verdict = Judge::new(lab, record).verdict(&hosts).unwrap();
        eprint!("{verdict}");
        assert!(verdict.acknowledged > 0 && verdict.is_clean(), "{verdict}");
    }
}

fn there_and_back(name: &str, gtid: bool) {
    let lab = Cluster::with_replicas(builder(name, gtid));
    let probes = [(); 2].map(|()| lab.start_probe_every(CLIENT, WRITER, WRITE_EVERY).unwrap());
    let before = REPLICAS.map(|replica| lab.using_gtid(replica));
    let began = Instant::now();
    let mut writer = M1;
    for turn in 0..MOVES {
        writer = other(writer);
        let moved = Moment::now();
        lab.tell(&["move_role", "writer", writer]);
        for probe in &probes {
            probe.wait_write_by(if writer == M1 { ID1 } else { ID2 }, moved, SOON).unwrap();
        }
        for replica in REPLICAS {
            lab.wait_follows(replica, writer, SOON);
        }
        eprintln!("{name}: both replicas follow {writer} {:?} after the command", Moment::now() - moved);
        // Some moves come while a replica by file still goes by GTID for a moment, others long after it.
        thread::sleep(if turn % 3 == 2 { Duration::from_secs(5) } else { Duration::ZERO });
    }
    eprintln!("{name}: {MOVES} moves in {:?}", began.elapsed());
    for (replica, before) in REPLICAS.iter().zip(before) {
        wait_for(&format!("the channel of {replica} as it was"), SOON, || match lab.using_gtid(replica) {
            now if now == before => Ok(()),
            now => Err(format!("Using_Gtid: {now}")),
        })
        .unwrap();
    }
    judge_everywhere(&lab, &probes, writer);
    expect_no_complaint(&lab);
}

#[test]
fn replicas_by_gtid_follow_ten_moves_under_load() {
    there_and_back("rep_ten_gtid", true);
}

#[test]
fn replicas_by_file_follow_ten_moves_under_load() {
    there_and_back("rep_ten_file", false);
}
