//! A server so busy that it gets to answer for a moment in each second only: it is neither well nor lost, nothing flaps, and nothing moves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, ConfigFile, Flavour, Load, M1, M2, MON, Moment, Program, Tolerance, WRITER};

use crate::cluster::{Cluster, ID1, SOON, quick};

/// Probes that have no patience, so that most of them fail.
const IMPATIENT: &str = "<check ping>\ncheck_period 0.5\ntrap_period 4\n</check>\n\
    <check mysql>\ncheck_period 0.3\ntrap_period 4\ntimeout 0.2\n</check>";

fn description(name: &str, flavour: Flavour) -> Builder {
    quick(name).server(flavour).gtid().append(ConfigFile::Monitor, IMPATIENT)
}

/// Runs for a tenth of the time until it is told to stop.
fn starve(lab: &Cluster, host: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        lab.freeze(host, Program::Server).unwrap();
        thread::sleep(Duration::from_millis(900));
        lab.thaw(host, Program::Server).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
}

fn answers_now_and_then(name: &str, flavour: Flavour) {
    let lab = Cluster::up(description(name, flavour));
    lab.wait_covered(SOON).unwrap();
    let clients = lab.start_clients(&Load::default()).unwrap();
    let length = lab.log_length();
    let stop = AtomicBool::new(false);
    let began = Moment::now();
    thread::scope(|scope| {
        scope.spawn(|| starve(&lab, M1, &stop));
        let told = lab.wait_show("most probes failing", SOON, |show| {
            show.text.contains("of the last 10 runs of check 'mysql' failed")
        });
        // Longer than any patience of those who look.
        thread::sleep(Duration::from_secs(12));
        stop.store(true, Ordering::SeqCst);
        eprintln!("{}", told.unwrap().text);
    });
    let log = lab.log_since(length);
    eprintln!("{log}");
    assert!(!log.contains("State of host"), "{log}");
    assert_eq!(lab.holders(WRITER).unwrap(), [M1]);
    clients.wait_by(ID1, Moment::now(), SOON).unwrap();
    lab.wait_show("no more of it", SOON, |show| !show.text.contains("of the last 10 runs")).unwrap();
    clients.stop().unwrap();
    for host in [M1, M2] {
        lab.wait_replicating(host, SOON).unwrap();
    }
    let record = clients.record().unwrap();
    let written = record.acknowledged().filter(|attempt| attempt.end > began).count();
    let judgement = lab.judge_clients(&[M1, M2], Tolerance::NothingLost, SOON).unwrap();
    assert!(judgement.is_clean() && written > 50, "{written} written: {judgement}");
    assert!(!lab.log(MON, Program::Monitor).unwrap().contains("flapping"));
}

#[test]
fn a_writer_that_answers_now_and_then_is_told_and_neither_moves_nor_flaps() {
    answers_now_and_then("now_and_then", Flavour::MariaDb1011);
}

#[test]
fn mysql_9_7_writer_that_answers_now_and_then_is_told_and_neither_moves_nor_flaps() {
    answers_now_and_then("my_now_and_then", Flavour::MySql97);
}
