//! Wall clocks that jump: leases are counted by clocks that don't.

use std::thread;
use std::time::Duration;

use mmm_lab::{M1, M2, MON, Moment, Program};

use crate::cluster::{ID1, SOON};
use crate::sides::{Sides, quick_sides};

const HOUR: i64 = 3600;
/// Longer than a lease.
const A_WHILE: Duration = Duration::from_secs(6);

#[test]
fn clocks_that_jump_beside_the_writer_or_back_on_it_cost_no_write() {
    let mut lab = Sides::up(quick_sides("clocks").movable_clocks());
    for (host, offset) in [(MON, HOUR), (MON, -HOUR), (M2, HOUR), (M2, -HOUR), (M1, -HOUR)] {
        eprintln!("{host} {offset:+} s");
        lab.set_clock(host, offset).unwrap();
        thread::sleep(A_WHILE);
        lab.expect_pair(M1);
        lab.lap().expect_undisturbed(ID1);
    }
    lab.end_clean();
}

#[test]
fn a_clock_that_jumps_ahead_on_the_writer_never_makes_a_second_one() {
    let mut lab = Sides::up(quick_sides("clock_ahead").movable_clocks());
    let agent = lab.process(M1, Program::Agent).unwrap().unwrap();
    for process in [agent].into_iter().chain(agent.descendants()) {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid)).unwrap();
        assert!(maps.contains("libfaketime"), "process {} sees the machine's clock", process.pid);
    }
    // To its agent this may look like a host that was frozen for an hour, so it may close and ask first.
    lab.set_clock(M1, HOUR).unwrap();
    thread::sleep(A_WHILE);
    let overlap = lab.lap();
    overlap.expect_one_writer();
    for probe in &lab.probes {
        probe.wait_write(Moment::now(), SOON).unwrap();
    }
    lab.end_accounted();
}
