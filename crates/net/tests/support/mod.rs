//! Hosts for these tests: network namespaces that belong to a thread each and vanish with it.
#![expect(unsafe_code, reason = "unshare")]

use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

/// Moves the calling thread into a network namespace of its own, in which nothing is up but the loopback.
pub(crate) fn enter_own_namespace() {
    // SAFETY: the network namespace of one thread is exchanged; no descriptor or memory changes hands.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .expect("these tests need root, to make network namespaces");
    ip("link set lo up");
}

/// Runs `ip` with these words in the namespace of the calling thread and returns what it printed.
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("iproute2 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sets a kernel parameter of the calling thread's namespace.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{path}"), value).expect("kernel parameters can be set");
}

/// Runs a test's future on this thread, so in this thread's namespace.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), future).await.expect("the test ends within 30 s")
    })
}

/// Asks until the answer is yes; fails the test when that takes too long.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !happened() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The kernel learns of a carrier a while after the cable is in, and until then drops what is sent without a word.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn wait_for_link(interface: &str) {
    wait_until("the link is up", || {
        ip(&format!("-brief link show dev {interface}")).split_whitespace().nth(1) == Some("UP")
    });
}

/// Gives up a capability in this thread and those it starts.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn drop_capability(capability: rustix::thread::CapabilitySet) {
    let mut sets = rustix::thread::capabilities(None).expect("capabilities can be read");
    sets.effective.remove(capability);
    sets.permitted.remove(capability);
    rustix::thread::set_capabilities(None, sets).expect("capabilities can be given up");
}

type Job = Box<dyn FnOnce() + Send>;

/// Another host: a thread in a namespace of its own, that does what it is told.
pub(crate) struct Peer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[allow(dead_code, reason = "not every test file needs it")]
impl Peer {
    /// Puts the calling thread into a namespace of its own and joins it to a peer by a cable: `left` here with
    /// 10.99.0.1 and `fd99::1`, `right` there with 10.99.0.2 and `fd99::2`.
    pub(crate) fn connected() -> Self {
        enter_own_namespace();
        let (jobs, to_do) = channel::<Job>();
        let (tell_id, id) = channel();
        let thread = std::thread::spawn(move || {
            enter_own_namespace();
            tell_id.send(gettid().as_raw_nonzero()).expect("the test waits for this");
            for job in to_do {
                job();
            }
        });
        let peer = Self { jobs: Some(jobs), thread: Some(thread) };
        let thread_id = id.recv().expect("the peer has started");
        ip("link add left type veth peer name right");
        ip(&format!("link set right netns {thread_id}"));
        for (interface, host) in [("left", 1), ("right", 2)] {
            let set_up = move || {
                ip(&format!("link set {interface} up"));
                ip(&format!("addr add 10.99.0.{host}/24 dev {interface}"));
                ip(&format!("addr add fd99::{host}/64 dev {interface} nodad"));
            };
            if host == 1 { set_up() } else { peer.run(set_up) }
        }
        wait_for_link("left");
        peer.run(|| wait_for_link("right"));
        peer
    }

    /// Has something done on the peer, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, done) = channel();
        let job: Job = Box::new(move || drop(tell.send(job())));
        self.jobs.as_ref().expect("the peer runs until it is dropped").send(job).expect("the peer runs");
        done.recv().expect("what the peer was told to do succeeded")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A job that failed has already failed the test.
            let _ = thread.join();
        }
    }
}
