//! A lost writer that comes back: with the same history it joins by itself, with more it waits for a word.

use std::time::{Duration, Instant};

use mmm_lab::{Builder, ConfigFile, Flavour, Judge, M1, M2, MON, Manner, Moment, Program, Record, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, other, quick};
use crate::locks::Session;

/// A cluster whose monitor sees a lost host after 2 s.
fn description(name: &str, flavour: Option<Flavour>) -> Builder {
    let builder = quick(name).append(ConfigFile::Monitor, QUICK_CHECKS);
    match flavour {
        Some(flavour) => builder.server(flavour).gtid(),
        None => builder,
    }
}

/// The first master vanishes, agent and all, with writes that the second never received, and comes back.
fn diverged(builder: Builder) -> (Cluster, Record) {
    let lab = Cluster::up(builder);
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write(Moment::now(), SOON).unwrap();
    let cut = lab.cut(M1, M2, Manner::Drop).unwrap();
    probe.wait_write_by(ID1, cut + Duration::from_millis(300), SOON).unwrap();
    let lost = lab.power_off(M1).unwrap();
    probe.wait_write_by(ID2, lost, SOON).unwrap();
    let record = probe.stop().unwrap();
    lab.heal_all().unwrap();
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    (lab, record)
}

/// Numbers that only the lost writer has.
fn only_on_the_old(judge: &Judge<'_>) -> Vec<u64> {
    let there = judge.rows(M2).unwrap();
    let own = judge.rows(M1).unwrap().into_iter().filter(|(_, server)| *server == ID1);
    own.map(|(number, _)| number).filter(|number| !there.contains_key(number)).collect()
}

fn saved_files(lab: &Cluster) -> Vec<String> {
    let told = wait_for("the saved files", SOON, || {
        let told = lab.tell(&["diverged", M1]);
        if told.contains(".sql") { Ok(told) } else { Err(told) }
    })
    .unwrap();
    eprintln!("{told}");
    let saved = format!("Saved on {M1}: ");
    told.lines().filter_map(|line| line.strip_prefix(&saved).map(str::to_owned)).collect()
}

fn is_listed_saved_and_merged(builder: Builder) {
    let (lab, record) = diverged(builder);
    let judge = Judge::new(&lab, record);
    let only = only_on_the_old(&judge);
    assert!(only.len() > 5, "{only:?}");
    let count = format!("it has {} transactions nobody else has", only.len());
    lab.wait_shown(&count, SOON);
    let files = saved_files(&lab);
    let told = lab.tell(&["diverged", M1]);
    assert!(told.contains(&format!("has {} transactions nobody else has", only.len())), "{told}");
    assert!(told.contains("lab.probe") || told.contains("INSERT INTO"), "{told}");
    for file in &files {
        let mode = lab.exec(M1, &["stat", "-c", "%a", file]).unwrap();
        assert_eq!(mode.stdout.trim(), "600", "{file}");
    }
    let sql: String = files
        .iter()
        .filter(|file| file.contains(".sql"))
        .map(|file| lab.exec(M1, &["cat", file]).unwrap().stdout)
        .collect();
    for number in &only {
        assert!(sql.contains(&number.to_string()), "row {number} is not in {files:?}");
    }

    assert!(lab.tell(&["rejoin", M1]).contains("rejoin --merge"));
    assert!(lab.refusal(&["set_online", M1]).contains("nobody else has"));
    lab.tell(&["rejoin", "--merge", M1]);
    is_merged(&lab, &judge);
}

fn is_merged(lab: &Cluster, judge: &Judge<'_>) {
    lab.wait_log(MON, Program::Monitor, "that nobody else had are on 'MySQL-M2' now", SOON).unwrap();
    lab.expect_pair(M2);
    assert_eq!(judge.lost(M2).unwrap(), Vec::<u64>::new());
    lab.wait_replicating(M2, SOON).unwrap();
    lab.wait_replicated(M2, M1, SOON).unwrap();
    lab.expect_identical(M2, &[M1]);
    assert!(lab.tell(&["diverged"]).starts_with("OK: No host"));
}

#[test]
fn what_only_a_lost_writer_has_is_listed_saved_and_merged_by_a_word() {
    is_listed_saved_and_merged(description("rj_merged", None));
}

#[test]
fn mysql_9_7_what_only_a_lost_writer_has_is_listed_saved_and_merged_by_a_word() {
    is_listed_saved_and_merged(description("rj_my_merged", Some(Flavour::MySql97)));
}

fn without_gtids(name: &str) -> Builder {
    let builder = quick(name).append(ConfigFile::Monitor, QUICK_CHECKS).server(Flavour::MySql97);
    builder.server_line("gtid_mode = OFF").server_line("enforce_gtid_consistency = OFF")
}

/// The new writer has a place in the lost one's log, and goes on to its end.
#[test]
fn mysql_9_7_without_gtids_it_is_listed_saved_and_merged_by_a_word() {
    let (lab, record) = diverged(without_gtids("rj_my_places"));
    let judge = Judge::new(&lab, record);
    let only = only_on_the_old(&judge);
    assert!(only.len() > 5, "{only:?}");
    let files = saved_files(&lab);
    let told = lab.tell(&["diverged", M1]);
    assert!(told.contains(&format!("has {} transactions nobody else has: mysql-bin.", only.len())), "{told}");
    let sql = files.iter().find(|file| file.contains(".sql")).expect("the SQL of it");
    let sql = lab.exec(M1, &["cat", sql]).unwrap().stdout;
    assert!(only.iter().all(|number| sql.contains(&number.to_string())), "{files:?}");
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();

    // All is received at once; it is there only when it is applied.
    let middle = only[only.len() / 2];
    let lock = format!("START TRANSACTION; INSERT INTO probe VALUES ({middle}, {ID2})");
    let lock = Session::begin(&lab, M2, &lock);
    lab.tell(&["rejoin", "--merge", M1]);
    wait_for("the first of them on the new writer", SOON, || match judge.rows(M2).unwrap() {
        rows if rows.contains_key(&only[0]) => Ok(()),
        rows => Err(format!("{} rows", rows.len())),
    })
    .unwrap();
    std::thread::sleep(Duration::from_secs(5));
    lab.wait_shown("that only MySQL-M1 has are being applied to MySQL-M2", SOON);
    lock.end();
    is_merged(&lab, &judge);
}

/// The new writer's own row stays, and what it lacks is told of again.
#[test]
fn mysql_9_7_without_gtids_a_conflict_stops_the_merge_and_is_told() {
    conflict(without_gtids("rj_places_conflict"));
}

#[test]
fn with_diverged_merge_it_is_merged_without_a_word() {
    let builder = description("rj_by_itself", None).append(ConfigFile::Three, "diverged merge");
    let lab = Cluster::up(builder);
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    let cut = lab.cut(M1, M2, Manner::Drop).unwrap();
    probe.wait_write_by(ID1, cut + Duration::from_millis(300), SOON).unwrap();
    let lost = lab.power_off(M1).unwrap();
    probe.wait_write_by(ID2, lost, SOON).unwrap();
    lab.heal_all().unwrap();
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.wait_log(MON, Program::Monitor, "that nobody else had are on 'MySQL-M2' now", SOON).unwrap();
    lab.expect_pair(M2);
    lab.judge_clean(&probe);
}

fn conflict(builder: Builder) {
    let (lab, record) = diverged(builder);
    let judge = Judge::new(&lab, record);
    let only = only_on_the_old(&judge);
    let number = only[only.len() / 2];
    lab.sql(M2, &format!("INSERT INTO lab.probe VALUES ({number}, {ID2})")).unwrap();
    let length = lab.log_length();
    lab.tell(&["rejoin", "--merge", M1]);
    let line = lab.wait_log_since(length, "can't apply what only 'MySQL-M1' has", SOON);
    // MySQL tells the transaction, and the row only in its own log.
    let which = line.contains("(1062)") || line.contains("failed executing transaction");
    assert!(line.contains(" FATAL ") && which, "{line}");
    lab.wait_shown("# Warning: replication from MySQL-M1, which was lost as the writer, is held", SOON);
    wait_for("replication held", SOON, || match lab.replication(M2).unwrap().unwrap() {
        status if status.io_running == "No" => Ok(()),
        status => Err(format!("{status:?}")),
    })
    .unwrap();
    assert_eq!(judge.rows(M2).unwrap()[&number], ID2, "what the new writer has stays");
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);

    // The operator decides for the old one's row.
    lab.sql(M2, &format!("DELETE FROM lab.probe WHERE id = {number}")).unwrap();
    lab.tell(&["rejoin", "--merge", M1]);
    lab.wait_log(MON, Program::Monitor, "that nobody else had are on 'MySQL-M2' now", SOON).unwrap();
    assert_eq!(judge.lost(M2).unwrap(), Vec::<u64>::new());
}

#[test]
fn a_conflict_stops_the_merge_and_is_told() {
    conflict(description("rj_conflict", None));
}

#[test]
fn mysql_9_7_a_conflict_stops_the_merge_and_is_told() {
    conflict(description("rj_my_conflict", Some(Flavour::MySql97)));
}

/// The monitor that goes on finds a merge under way: nothing of it is lost, and nothing is applied twice.
fn merged_under_a_restart(builder: Builder) {
    let (lab, record) = diverged(builder);
    let judge = Judge::new(&lab, record);
    let only = only_on_the_old(&judge);
    let (first, middle) = (only[0], only[only.len() / 2]);
    // The applier stands still in the middle.
    let lock = format!("START TRANSACTION; INSERT INTO probe VALUES ({middle}, {ID2})");
    let lock = Session::begin(&lab, M2, &lock);
    lab.tell(&["rejoin", "--merge", M1]);
    wait_for("the first of them on the new writer", SOON, || match judge.rows(M2).unwrap() {
        rows if rows.contains_key(&first) => Ok(()),
        rows => Err(format!("{} rows", rows.len())),
    })
    .unwrap();
    lab.kill(MON, Program::Monitor).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    lab.start(MON, Program::Monitor).unwrap();
    lab.wait_show("a monitor that has heard of all", SOON, |show| show.state(M2) == "ONLINE").unwrap();
    // All may have been received by now, so that they would be there in the end even if the rest was held again.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let shown = lab.tell(&["show"]);
        assert!(!shown.contains("lost as the writer, is held"), "{shown}");
        assert!(lab.replication(M2).unwrap().is_some_and(|status| status.is_running()));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!judge.rows(M2).unwrap().contains_key(&middle), "it was over before the monitor was back");
    lock.end();
    lab.expect_pair(M2);
    // The old writer may be ONLINE again while the last of them are being applied.
    for (here, there) in [(M2, M1), (M1, M2)] {
        lab.wait_replicating(there, SOON).unwrap();
        lab.wait_replicated(here, there, SOON).unwrap();
    }
    assert_eq!(judge.lost(M2).unwrap(), Vec::<u64>::new());
    lab.expect_identical(M2, &[M1]);
    assert!(lab.tell(&["diverged"]).starts_with("OK: No host"));
}

#[test]
fn a_merge_goes_on_when_the_monitor_is_started_anew() {
    merged_under_a_restart(description("rj_restart", None));
}

#[test]
fn mysql_9_7_a_merge_goes_on_when_the_monitor_is_started_anew() {
    merged_under_a_restart(description("rj_my_restart", Some(Flavour::MySql97)));
}

/// Both are ONLINE this soon after the server of the lost writer answers.
fn joins(lab: &Cluster, host: &str) -> Duration {
    lab.start(host, Program::Server).unwrap();
    wait_for("the server's answer", SOON, || lab.sql(host, "SELECT 1").map_err(|error| error.to_string()))
        .unwrap();
    let answers = Instant::now();
    lab.wait_show(&format!("{host} ONLINE"), SOON, |show| show.state(host) == "ONLINE").unwrap();
    answers.elapsed()
}

/// The writer's server is killed at rest and started again.
fn swap(lab: &Cluster, host: &str) -> Duration {
    lab.wait_replicated(host, other(host), SOON).unwrap();
    lab.kill(host, Program::Server).unwrap();
    lab.wait_show("the other one the writer", SOON, |show| show.holder(mmm_lab::WRITER) == Some(other(host)))
        .unwrap();
    let took = joins(lab, host);
    eprintln!("{host} ONLINE {took:?} after its server answered");
    assert!(took < Duration::from_secs(5), "{took:?}");
    lab.expect_pair(other(host));
    took
}

#[test]
fn a_lost_writer_with_the_same_history_is_online_within_5_s() {
    let lab = Cluster::quick("rj_same");
    swap(&lab, M1);
    swap(&lab, M2);
}

#[test]
fn mysql_9_7_a_lost_writer_with_the_same_history_is_online_within_5_s() {
    let lab = Cluster::up(quick("rj_my_same").server(Flavour::MySql97).gtid());
    swap(&lab, M1);
    swap(&lab, M2);
}

#[test]
fn writers_swap_thirty_times_without_an_operator() {
    let lab = Cluster::up(
        quick("rj_thirty").append(ConfigFile::Monitor, "<monitor>\nflap_count 10000\n</monitor>"),
    );
    let mut longest = Duration::ZERO;
    for turn in 0..30 {
        let host = if turn % 2 == 0 { M1 } else { M2 };
        // Replication is asynchronous: nobody writes while the server is killed.
        lab.sql(host, &format!("INSERT INTO lab.probe VALUES ({}, @@server_id)", 1000 + turn)).unwrap();
        longest = longest.max(swap(&lab, host));
    }
    eprintln!("30 swaps, the longest return took {longest:?}");
    lab.expect_identical(M1, &[M2]);
}

/// The writer's server dies while a commit waits for its acknowledgement, and commits it by itself when it is started again.
fn unacknowledged(builder: Builder) {
    // Longer than the failover takes. What a server replicates waits too, and what waits keeps it from being closed.
    let lab = Cluster::up(builder.semi_sync(8000));
    wait_for("somebody who acknowledges", SOON, || match lab.tell(&["show", "--long"]) {
        shown if shown.contains("acknowledging: MySQL-M2;") => Ok(()),
        shown => Err(shown),
    })
    .unwrap();
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let length = lab.log_length();
    lab.cut(M1, M2, Manner::Drop).unwrap();
    lab.wait_log_since(length, "Commits on 'MySQL-M1' hang", SOON);
    lab.kill(M1, Program::Server).unwrap();
    // Its own commits wait as well, for the one that is not there.
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    let record = probe.stop().unwrap();
    lab.heal_all().unwrap();
    lab.start(M1, Program::Server).unwrap();
    let line = lab.wait_log_since(length, "nobody else has", SOON);
    assert!(line.contains("waited for acknowledgements until it ended"), "{line}");
    assert!(
        lab.tell(&["diverged", M1]).contains("no client was told that they are saved"),
        "{}",
        lab.tell(&["diverged", M1])
    );
    let judge = Judge::new(&lab, record);
    assert_eq!(judge.lost(M2).unwrap(), Vec::<u64>::new(), "nothing that was acknowledged");
    assert!(!only_on_the_old(&judge).is_empty());
    lab.expect_host(M1, "REPLICATION_FAIL", &[], SOON).unwrap();
}

#[test]
fn what_a_restarted_semi_sync_master_commits_by_itself_is_told_as_unacknowledged() {
    unacknowledged(description("rj_semi", Some(Flavour::MariaDb1011)));
}

#[test]
fn mysql_9_7_what_a_restarted_semi_sync_master_commits_by_itself_is_told_as_unacknowledged() {
    unacknowledged(description("rj_my_semi", Some(Flavour::MySql97)));
}
