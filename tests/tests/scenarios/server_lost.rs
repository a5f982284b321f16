//! Servers that end.

use std::time::Duration;

use mmm_lab::{Judge, M1, M2, Moment, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, writers};

#[test]
fn a_killed_server_is_replaced_at_once_and_what_was_lost_is_told() {
    let lab = Cluster::quick("killed");
    let probe = lab.start_probe().unwrap();
    let began = probe.wait_write_by(ID1, mmm_lab::Moment::now() + Duration::from_millis(500), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    let took = first.end - killed;
    eprintln!("server killed: first write on the other after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(first.number > began.number);
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    lab.expect_addresses(M1, 0, SOON);

    let length = lab.log_length();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, Duration::from_secs(2));
    let judge = Judge::new(&lab, probe.stop().unwrap());
    assert_eq!(writers(judge.record()), [ID1, ID2]);
    assert!(judge.duplicates(M2).unwrap().is_empty());
    assert!(judge.lost(M1).unwrap().iter().all(|number| *number >= first.number), "its own log has the rest");
    let lost = judge.lost(M2).unwrap();
    eprintln!("{} acknowledged writes are not on the new writer", lost.len());
    if lost.is_empty() {
        // What it has not acknowledged any more may still be in its log, which counts as well.
        let ended = wait_for("the comparison", SOON, || {
            let log = lab.log_since(length);
            let words = ["replicates from it again", "never received"];
            words.into_iter().find(|words| log.contains(words)).ok_or(log)
        })
        .unwrap();
        if ended == "replicates from it again" {
            lab.wait_replicating(M2, SOON).unwrap();
            lab.expect_pair(M2);
        }
    } else {
        lab.wait_log_since(length, "never received", SOON);
    }
}

#[test]
fn after_both_servers_died_one_writer_comes_back_by_itself() {
    let lab = Cluster::quick("both");
    // Nobody writes while they die: replication is asynchronous, and a transaction that only the killed one has would
    // rightly keep replication from it held.
    let before = lab.start_probe().unwrap();
    before.wait_write(Moment::now(), SOON).unwrap();
    before.stop().unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    lab.kill(M2, Program::Server).unwrap();
    for host in [M1, M2] {
        lab.expect_host(host, "HARD_OFFLINE", &[], SOON).unwrap();
    }
    lab.expect_addresses(M1, 0, SOON);
    lab.expect_addresses(M2, 0, SOON);
    lab.start(M2, Program::Server).unwrap();
    lab.start(M1, Program::Server).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write(killed, SOON).unwrap();
    let show = lab
        .wait_show("both ONLINE, one the writer", SOON, |show| {
            [M1, M2].iter().all(|host| show.state(host) == "ONLINE") && show.holder(WRITER).is_some()
        })
        .unwrap();
    let writer = show.holder(WRITER).unwrap().to_owned();
    lab.expect_pair(&writer);
    let record = lab.judge_clean(&probe);
    assert!(writers(&record).len() <= 2, "{:?}", writers(&record));
}
