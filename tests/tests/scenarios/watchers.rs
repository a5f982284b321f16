//! Threads that look on while a scenario runs: how long the control port takes to answer, and whether there ever are
//! two writers.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mmm_lab::{Lab, M1, M2, MON, WRITER, base_dir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where the monitor listens for `mmm_control`.
pub(crate) const CONTROL: &str = "127.0.0.1:9988";
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a thread whose sockets live in a host's network.
pub(crate) fn on_host<T: Send + 'static>(
    lab: &Lab,
    host: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let path = Path::new("/run/netns").join(&lab.host(host).unwrap().namespace);
    thread::spawn(move || {
        let network = File::open(path).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        act()
    })
}

/// Something that is done again and again until it is told to stop.
struct Loop<T> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T> Loop<T> {
    fn end(self) -> T {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// Asks the monitor for `show` ten times a second, and times the answers.
pub(crate) struct ControlWatch(Loop<(usize, Duration)>);

/// Asks once and gives the answer.
pub(crate) fn ask(line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&CONTROL.parse().unwrap(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\nquit\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl ControlWatch {
    pub(crate) fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = on_host(lab, MON, move || {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while !stopped.load(Ordering::SeqCst) {
                let began = Instant::now();
                let answer = ask("show").unwrap();
                assert!(answer.contains("MySQL-M1(192.168.8.32) master/"), "no answer to `show`: {answer:?}");
                slowest = slowest.max(began.elapsed());
                count += 1;
                thread::sleep(Duration::from_millis(100));
            }
            (count, slowest)
        });
        Self(Loop { stop, thread })
    }

    /// Every question must have been answered within the limit. The slowest is printed.
    pub(crate) fn end(self, limit: Duration) {
        let (count, slowest) = self.0.end();
        eprintln!("show: {count} answers, the slowest after {slowest:?}");
        assert!(count > 0 && slowest < limit, "`show` took {slowest:?}");
    }
}

/// Looks all the time whether both servers take writes, or both hosts have the writer's address.
pub(crate) struct WriterWatch(Loop<Seen>);

#[derive(Default)]
struct Seen {
    looks: usize,
    /// The longest time for which both servers took writes.
    both_writable: Duration,
    both_addressed: usize,
}

fn is_writable(lab: &Lab, host: &str) -> bool {
    // A server that is down or hangs takes no writes from anybody else either.
    lab.sql_within(host, "SELECT @@read_only", Duration::from_secs(1))
        .is_ok_and(|table| table.value() == Some("0"))
}

impl WriterWatch {
    pub(crate) fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let lab = Lab::open(lab.dir().parent().unwrap_or(&base_dir()), lab.name()).unwrap();
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            let mut since = None;
            while !stopped.load(Ordering::SeqCst) {
                // The first is looked at again after the second: only if it was so before and after, both were at once.
                let began = Instant::now();
                if is_writable(&lab, M1) && is_writable(&lab, M2) && is_writable(&lab, M1) {
                    let since = *since.get_or_insert(began);
                    seen.both_writable = seen.both_writable.max(since.elapsed());
                } else {
                    since = None;
                }
                let has = |host: &str| lab.addresses(host).is_ok_and(|ips| ips.iter().any(|ip| ip == WRITER));
                seen.both_addressed += usize::from(has(M1) && has(M2) && has(M1));
                seen.looks += 1;
                thread::sleep(Duration::from_millis(30));
            }
            seen
        });
        Self(Loop { stop, thread })
    }

    /// There was one writer at most at every look.
    pub(crate) fn end(self) {
        self.end_with_restarts(Duration::ZERO);
    }

    /// As [`WriterWatch::end`], but a server that was started again may have been open for a moment.
    pub(crate) fn end_with_restarts(self, moment: Duration) {
        let seen = self.0.end();
        eprintln!("{} looks at both servers; both took writes for {:?}", seen.looks, seen.both_writable);
        assert!(seen.looks > 0);
        assert_eq!(seen.both_addressed, 0, "the writer's address was on both hosts, of {} looks", seen.looks);
        assert!(seen.both_writable <= moment, "both servers took writes for {:?}", seen.both_writable);
    }
}
