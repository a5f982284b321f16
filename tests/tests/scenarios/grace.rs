//! `failover_grace`: a server that crashes may come back before its role moves.

use std::thread;
use std::time::Duration;

use mmm_lab::{ConfigFile, M1, M2, Moment, Program};

use crate::cluster::{ID1, ID2, SOON};
use crate::sides::{Sides, sides};

const GRACE: Duration = Duration::from_secs(3);

fn graceful(name: &str) -> Sides {
    Sides::up(sides(name).append(ConfigFile::Three, &format!("failover_grace {}", GRACE.as_secs())))
}

#[test]
fn a_server_that_is_back_within_failover_grace_stays_the_writer() {
    let mut lab = graceful("grace_back");
    let killed = lab.kill(M1, Program::Server).unwrap();
    thread::sleep(Duration::from_millis(500));
    let started = lab.start(M1, Program::Server).unwrap();
    assert!(started - killed < Duration::from_secs(1));
    let first = lab.wait_write_by(ID1, started);
    eprintln!("written to again {:?} after it was killed", first - killed);
    thread::sleep(GRACE + Duration::from_secs(2));
    lab.expect_pair(M1);
    let overlap = lab.lap();
    overlap.expect_one_writer();
    assert_eq!((overlap.old, overlap.new), (Some(ID1), None), "{overlap}");
    lab.end_clean();
}

#[test]
fn a_server_that_stays_away_is_replaced_when_failover_grace_is_over() {
    let mut lab = graceful("grace_over");
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = lab.wait_write_by(ID2, killed) - killed;
    eprintln!("first write on the other after {first:?}");
    assert!(first >= GRACE && first < GRACE + Duration::from_secs(2), "{first:?}");
    lab.lap().expect_one_writer();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}

#[test]
fn a_server_that_is_back_just_as_failover_grace_ends_never_makes_two_writers() {
    let mut lab = graceful("grace_late");
    let killed = lab.kill(M1, Program::Server).unwrap();
    // Whether the other one is promoted by now is a matter of milliseconds.
    thread::sleep((killed + GRACE) - Moment::now());
    lab.start(M1, Program::Server).unwrap();
    for probe in &lab.probes {
        probe.wait_write(killed + GRACE, SOON).unwrap();
    }
    thread::sleep(Duration::from_secs(3));
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}
