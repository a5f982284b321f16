//! The monitor ends, is started again, hangs, or is there twice.

use std::time::{Duration, Instant};

use mmm_lab::{ConfigFile, Lab, Life, M1, M2, MON, Moment, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

/// The whole of `show`, once the monitor has begun to decide.
fn show_after_start(lab: &Cluster, length: usize) -> String {
    lab.wait_log_since(length, "Monitor started in active mode", SOON);
    lab.show().unwrap().text
}

#[test]
fn roles_stay_put_and_writes_go_on_while_the_monitor_is_killed_and_restarted() {
    let lab = Cluster::quick("mon_kill");
    let probe = lab.start_probe().unwrap();
    let before = lab.show().unwrap().text;

    lab.kill(MON, Program::Monitor).unwrap();
    let length = lab.log_length();
    lab.start(MON, Program::Monitor).unwrap();
    assert_eq!(show_after_start(&lab, length), before);
    assert!(lab.log_since(length).contains("found stale pid file"));

    // Clean, quick, and the same roles again.
    let began = Instant::now();
    lab.stop(MON, Program::Monitor).unwrap();
    let took = began.elapsed();
    eprintln!("monitor stopped after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!lab.control(&["show"]).unwrap().success());
    let length = lab.log_length();
    lab.start(MON, Program::Monitor).unwrap();
    assert_eq!(show_after_start(&lab, length), before);
    let log = lab.log_since(length);
    assert!(!log.contains("found stale pid file") && !log.contains("Orphaned role"), "{log}");

    // Without its file it asks those who know.
    lab.kill(MON, Program::Monitor).unwrap();
    lab.exec(MON, &["rm", "/var/lib/mysql-mmm/mmm_mond.status"]).unwrap();
    let length = lab.log_length();
    lab.start(MON, Program::Monitor).unwrap();
    assert_eq!(show_after_start(&lab, length), before);
    lab.judge_undisturbed(&probe, ID1);
}

#[test]
fn a_monitor_that_starts_after_the_writers_server_died_moves_the_role() {
    let lab = Cluster::quick("mon_late");
    let probe = lab.start_probe().unwrap();
    lab.kill(MON, Program::Monitor).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_attempt("a refused write", SOON, |a| a.start > killed && !a.is_acknowledged()).unwrap();
    // The agent takes the address of a dead server off without being told.
    wait_for("the address off", SOON, || match lab.holders(WRITER).unwrap() {
        holders if holders.is_empty() => Ok(()),
        holders => Err(format!("{holders:?}")),
    })
    .unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_host(M1, "ONLINE", &["reader"], SOON).unwrap();
    lab.expect_read_only(M1, Duration::from_secs(2));
}

#[test]
fn a_monitor_that_starts_while_the_writers_agent_is_away_moves_nothing() {
    let lab = Cluster::quick("mon_agent");
    let probe = lab.start_probe().unwrap();
    let before = lab.show().unwrap().text;
    lab.stop(MON, Program::Monitor).unwrap();
    lab.kill(M1, Program::Agent).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    lab.start(M1, Program::Agent).unwrap();
    lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();
    lab.judge_undisturbed(&probe, ID1);
}

#[test]
fn a_second_monitor_and_a_second_agent_are_refused_and_move_nothing() {
    let lab = Cluster::quick("twice");
    let probe = lab.start_probe().unwrap();
    for (host, name) in [(MON, "mmm_mond"), (M1, "mmm_agentd")] {
        let program = lab.program(name).unwrap().to_string_lossy().into_owned();
        let output = lab.exec_within(host, &[program], Duration::from_secs(5)).unwrap();
        assert_eq!(output.code, 1, "{output}");
        assert!(output.text().contains(".pid"), "the pid file is named: {output}");
    }

    // On another host, with files of its own, it is stopped by the agents.
    let text = lab.read_config(MON, ConfigFile::Monitor).unwrap();
    lab.write_config(M2, ConfigFile::Monitor, &text).unwrap();
    let program = lab.program("mmm_mond").unwrap();
    let mut second = lab.command(M2, &[program]).unwrap().spawn().unwrap();
    let seen = wait_for("the refusal", SOON, || {
        let log = lab.exec(M2, &["cat", "/var/log/mysql-mmm/mmm_mond.log"]).unwrap().stdout;
        let line = log.lines().find(|line| line.contains("another monitor")).map(str::to_owned);
        line.ok_or(log)
    });
    let log = seen.unwrap();
    assert!(log.contains("so this one decides nothing"), "{log}");
    // As long as it would wait for agents at a start, and more.
    std::thread::sleep(Duration::from_secs(17));
    let log = lab.exec(M2, &["cat", "/var/log/mysql-mmm/mmm_mond.log"]).unwrap().stdout;
    assert!(!log.contains("reachable again") && !log.contains("Monitor started in"), "{log}");
    second.kill().unwrap();
    second.wait().unwrap();
    lab.expect_pair(M1);
    lab.judge_undisturbed(&probe, ID1);
}

#[test]
fn a_full_disk_is_told_loudly_and_keeps_no_role_from_moving() {
    let lab = Cluster::quick("full");
    let probe = lab.start_probe().unwrap();
    lab.fill_disk(MON).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    let line = lab.wait_log(MON, Program::Monitor, "Can't write the status file", SOON).unwrap();
    assert!(line.contains("FATAL") && line.contains("/var/lib/mysql-mmm/mmm_mond.status"), "{line}");
    lab.free_disk(MON).unwrap();
    lab.wait_log(MON, Program::Monitor, "can be written again", SOON).unwrap();
    let status = lab.exec(MON, &["cat", "/var/lib/mysql-mmm/mmm_mond.status"]).unwrap().stdout;
    assert!(status.contains("MySQL-M1|HARD_OFFLINE|\n"), "{status}");
    assert!(
        status.contains("MySQL-M2|ONLINE|reader(192.168.8.34),reader(192.168.8.35),writer(192.168.8.30)\n"),
        "{status}"
    );
}

#[test]
fn a_frozen_monitor_disturbs_nobody_and_goes_on_when_it_thaws() {
    let lab = Cluster::up(quick("mon_frozen").append(ConfigFile::Monitor, QUICK_CHECKS));
    let probe = lab.start_probe().unwrap();
    let before = lab.show().unwrap().text;
    lab.freeze(MON, Program::Monitor).unwrap();
    // Longer than sessions and trap periods last.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(lab.life(MON, Program::Monitor).unwrap(), Life::Stopped);
    lab.thaw(MON, Program::Monitor).unwrap();
    lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(lab.show().unwrap().text, before);
    lab.judge_undisturbed(&probe, ID1);
    assert_works(&lab);
}

/// A failover, to see that the monitor still can.
fn assert_works(lab: &Lab) {
    let probe = lab.start_probe().unwrap();
    let at = Moment::now();
    lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, at, SOON).unwrap();
    probe.stop().unwrap();
}
