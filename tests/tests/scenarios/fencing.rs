//! Who stops a writer when its agent's worker can't: the parent, and what holds a lock or hangs does not keep it from that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mmm_lab::{ConfigFile, Life, M1, M2, MON, Manner, Moment, ProcessId, Program, WRITER, wait_for};
use rustix::process::Signal;

use crate::cluster::{ID2, SOON};
use crate::sides::{Sides, quick_sides, sides};

/// Freezes every worker of an agent as soon as there is one.
struct Freezer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Freezer {
    fn start(parent: ProcessId) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut frozen = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                for worker in parent.descendants() {
                    if !frozen.contains(&worker) && is_worker(worker) && worker.signal(Signal::STOP) {
                        frozen.push(worker);
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
            frozen.len()
        });
        Self { stop, thread: Some(thread) }
    }

    /// How many it has frozen.
    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// Its own program by now: one that is stopped before holds its parent up, who waits for that.
fn is_worker(process: ProcessId) -> bool {
    std::fs::read(format!("/proc/{}/cmdline", process.pid)).is_ok_and(|line| line.ends_with(b"--worker\0"))
}

#[test]
fn the_parent_fences_when_there_is_no_worker_at_the_end_of_the_lease() {
    let mut lab = Sides::up(sides("parent_fences"));
    let parent = lab.process(M1, Program::Agent).unwrap().unwrap();
    let cut = lab.cut(MON, M1, Manner::Drop).unwrap();
    lab.cut(M1, M2, Manner::Drop).unwrap();
    let freezer = Freezer::start(parent);
    lab.wait_log(M1, Program::Agent, "The parent fences: no word from the worker", SOON).unwrap();
    lab.wait_log(M1, Program::Agent, "The parent fences: the server is read-only", SOON).unwrap();
    let fenced = Moment::now();
    eprintln!("the parent fenced {:?} after the cut", fenced - cut);
    assert!(fenced - cut < Duration::from_millis(6500), "{:?}", fenced - cut);
    assert!(lab.role_addresses(M1).unwrap().is_empty() && lab.is_read_only(M1).unwrap());
    lab.wait_write_by(ID2, cut);
    thread::sleep(Duration::from_secs(3));
    let overlap = lab.lap();
    eprintln!(
        "last write by the old writer {:?} after the cut, first by the new one after {:?}",
        overlap.last_by_old.map(|last| last - cut),
        overlap.takeover(cut)
    );
    overlap.expect_one_writer();
    let frozen = freezer.end();
    eprintln!("{frozen} workers frozen");
    assert!(frozen > 2, "only {frozen} workers were frozen: none was started again");
    lab.heal_all().unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer();
    lab.end_accounted();
}

#[test]
fn a_hung_server_is_killed_when_its_address_is_off() {
    let mut lab = Sides::up(quick_sides("hung_killed"));
    let frozen = lab.freeze(M1, Program::Server).unwrap();
    let server = lab.process(M1, Program::Server).unwrap().unwrap();
    let killed = wait_for("the server's end", SOON, || {
        if server.is_alive() {
            return Err(format!("{WRITER} on {:?}", lab.holders(WRITER).unwrap()));
        }
        Ok(Moment::now())
    })
    .unwrap();
    assert!(!lab.has_address(M1, WRITER).unwrap(), "killed before its address was off");
    let first = lab.wait_write_by(ID2, frozen);
    eprintln!(
        "killed {:?} after it froze, first write on the other after {:?}",
        killed - frozen,
        first - frozen
    );
    lab.wait_log(M1, Program::Agent, "illed the server", SOON).unwrap();
    lab.lap().expect_one_writer();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}

#[test]
fn a_hung_server_that_is_not_to_be_killed_lives_and_is_closed_when_it_thaws() {
    let mut lab = Sides::up(quick_sides("hung_lives").append(ConfigFile::Three, "fence_hung_server no"));
    let frozen = lab.freeze(M1, Program::Server).unwrap();
    lab.wait_write_by(ID2, frozen);
    // Longer than the lease, and than anything that is tried at its end.
    thread::sleep(Duration::from_secs(10));
    assert_eq!(lab.life(M1, Program::Server).unwrap(), Life::Stopped);
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    lab.lap().expect_one_writer();
    let thawed = lab.thaw(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, Duration::from_secs(2));
    eprintln!("read-only {:?} after the thaw", Moment::now() - thawed);
    lab.expect_gave_way(M1, M2);
    let overlap = lab.lap();
    overlap.expect_one_writer_but(Duration::from_millis(1500));
    assert_eq!((overlap.old, overlap.new), (Some(ID2), None), "{overlap}");
    lab.end_accounted();
}
