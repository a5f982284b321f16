//! Wall clocks that jump: leases are counted by clocks that don't.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mmm_lab::{CLIENT, ConfigFile, Flavour, Lab, M1, M2, MON, Moment, Program, WRITER, base_dir};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};
use crate::replicas::REPLICAS;
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

/// Statements one after the other of which each takes its time on every server, so that a replica always has one to apply.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn start(lab: &Lab) -> Self {
        lab.sql(M1, "CREATE TABLE lab.slow (n INT)").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let lab = Lab::open(lab.dir().parent().unwrap_or(&base_dir()), lab.name()).unwrap();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let insert = "SET binlog_format = 'STATEMENT'; INSERT INTO lab.slow SELECT SLEEP(0.25)";
                lab.sql(M1, insert).unwrap();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Without its statements no replica looks late, and the scenario says so.
            let _ = thread.join();
        }
    }
}

/// How far the replica says that it is behind, at most, during a while of looking.
fn furthest_behind(lab: &Cluster, host: &str) -> u64 {
    let began = Moment::now();
    let mut furthest = 0;
    while Moment::now() - began < A_WHILE {
        let status = lab.replication(host).unwrap().unwrap();
        furthest = furthest.max(status.behind.unwrap_or_default());
        thread::sleep(Duration::from_millis(10));
    }
    furthest
}

#[test]
fn a_replica_whose_clock_jumps_is_not_late() {
    let [off, _] = REPLICAS;
    let often = format!(
        "{QUICK_CHECKS}\n<check rep_backlog>\ncheck_period 0.2\ntrap_period 1\nmax_backlog 60\n</check>"
    );
    let lab = Cluster::with_replicas(
        quick("clock_replica")
            .replicas(2)
            .movable_server_clocks()
            .append(ConfigFile::Common, "<role reader>\nhosts MySQL-R1, MySQL-R2\n</role>")
            .append(ConfigFile::Monitor, &often),
    );
    let server = lab.process(off, Program::Server).unwrap().unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid)).unwrap();
    assert!(maps.contains("libfaketime"), "the server on {off} sees the machine's clock");
    lab.expect_host(off, "ONLINE", &["reader"], SOON).unwrap();
    // Sparse enough for a replica that applies one statement after the other.
    let probe = lab.start_probe_every(CLIENT, WRITER, Duration::from_millis(50)).unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let busy = Busy::start(&lab);
    for offset in [-744, 744] {
        let from = lab.log_length();
        lab.set_clock(off, offset).unwrap();
        let behind = furthest_behind(&lab, off);
        eprintln!("{offset:+} s: the server says up to {behind} s");
        // The server reckons with the clock as it was when it began to receive.
        assert_eq!(behind > 60, offset > 0, "{behind}");
        let log = lab.log_since(from);
        assert!(!log.contains("rep_backlog"), "{log}");
        lab.expect_host(off, "ONLINE", &["reader"], SOON).unwrap();
    }
    drop(busy);
    lab.tell(&["move_role", "writer", M2]);
    for replica in REPLICAS {
        lab.wait_follows(replica, M2, SOON);
    }
    probe.stop().unwrap();
    lab.expect_identical(M2, &REPLICAS);
    lab.expect_host(off, "ONLINE", &["reader"], SOON).unwrap();
}

/// The server reckons its delay with the clock as it was when it began to receive, in whole seconds: after a step it is late for ever, and
/// by a second where both clocks were read around a full one. `MySQL` applies by several threads and tells its place now and then only, so
/// that under writes it is never seen at the end.
#[test]
fn mysql_9_7_a_replica_whose_clock_was_set_forward_is_moved_to_under_writes() {
    let lab = Cluster::up(quick("clock_target").server(Flavour::MySql97).movable_server_clocks());
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    lab.set_clock(M2, 30).unwrap();
    let behind = furthest_behind(&lab, M2);
    assert!(behind >= 29, "the server says up to {behind} s");
    lab.tell(&["move_role", "writer", M2]);
    probe.wait_write_by(ID2, Moment::now(), SOON).unwrap();
    probe.stop().unwrap();
    lab.expect_identical(M2, &[M1]);
}
