//! Old masters that have what the new one never received: nothing of it may get there by itself.

use std::time::Duration;

use mmm_lab::{ConfigFile, Judge, M1, M2, MON, Manner, Moment, Program, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};

/// For a while the second master receives nothing from the first.
fn assert_held(lab: &Cluster) {
    for _ in 0..30 {
        let status = lab.replication(M2).unwrap().unwrap();
        assert_eq!(status.io_running, "No", "{status:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_old_master_with_more_data_does_not_feed_the_new_one() {
    // The agents can't reach each other either, so that nothing can be salvaged.
    let lab = Cluster::up(quick("diverged").append(ConfigFile::Three, "salvage_timeout 1"));
    let probe = lab.start_probe().unwrap();
    probe.wait_write(Moment::now(), SOON).unwrap();
    let cut = lab.cut(M1, M2, Manner::Drop).unwrap();
    probe.wait_write_by(ID1, cut + Duration::from_millis(500), SOON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    let record = probe.stop().unwrap();
    let judge = Judge::new(&lab, record);
    let lost = judge.lost(M2).unwrap();
    eprintln!("{} acknowledged writes never reached the new writer", lost.len());
    assert!(lost.len() > 10, "the cut works: {lost:?}");

    lab.heal_all().unwrap();
    lab.start(M1, Program::Server).unwrap();
    let line = lab.wait_log(MON, Program::Monitor, "never received", SOON).unwrap();
    assert!(line.contains(" FATAL ") && line.contains("transactions nobody else has"), "{line}");
    let count: usize = line
        .split("Host 'MySQL-M1' has ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no count in {line}"));
    let own = judge.rows(M1).unwrap().into_iter().filter(|(_, server)| *server == ID1);
    let there = judge.rows(M2).unwrap();
    let missing = own.filter(|(number, _)| !there.contains_key(number)).count();
    assert_eq!(count, missing, "one transaction a row: {line}");
    assert!(missing >= lost.len());
    let warning = "# Warning: replication from MySQL-M1, which was lost as the writer, is held";
    lab.wait_shown(warning, SOON);
    assert_held(&lab);

    // Neither a new monitor nor a new agent forgets it.
    lab.kill(MON, Program::Monitor).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    lab.wait_shown(warning, SOON);
    lab.kill(M2, Program::Agent).unwrap();
    lab.start(M2, Program::Agent).unwrap();
    lab.wait_show("the agent back", SOON, |show| !show.text.contains("agent on host MySQL-M2")).unwrap();
    assert_held(&lab);
    assert_eq!(judge.lost(M2).unwrap(), lost);

    // The other direction works: the old master has what the new one writes.
    lab.sql(M2, "INSERT INTO lab.probe VALUES (999999999, 13)").unwrap();
    lab.wait_replicated(M2, M1, SOON).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
}

#[test]
fn an_old_master_without_more_data_feeds_the_new_one_again() {
    let lab = Cluster::quick("same");
    lab.sql(M1, "INSERT INTO lab.probe VALUES (1, 12)").unwrap();
    lab.wait_replicated(M1, M2, SOON).unwrap();
    lab.kill(M1, Program::Server).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    lab.wait_shown("which was lost as the writer, is held", SOON);
    assert_eq!(lab.replication(M2).unwrap().unwrap().io_running, "No");
    lab.start(M1, Program::Server).unwrap();
    lab.wait_replicating(M2, SOON).unwrap();
    lab.expect_pair(M2);
    let line = "All that 'MySQL-M1' wrote is on 'MySQL-M2': 'MySQL-M2' replicates from it again";
    lab.wait_log(MON, Program::Monitor, line, SOON).unwrap();
    wait_for("no warning", SOON, || match lab.show().unwrap().text {
        text if text.contains("# Warning") => Err(text),
        _ => Ok(()),
    })
    .unwrap();
}
