//! Handles on processes, our children and others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mmm_net::{ProcessHandle, process_name, uptime};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

fn sleeper() -> Child {
    Command::new("sleep").arg("60").spawn().unwrap()
}

#[tokio::test]
async fn the_end_of_a_child_is_noticed_before_anybody_has_waited_for_it() {
    let mut child = sleeper();
    let handle = ProcessHandle::open(child.id()).unwrap();
    assert!(timeout(SECOND / 5, handle.exited()).await.is_err(), "it still runs");
    child.kill().unwrap();
    timeout(SECOND, handle.exited()).await.expect("its end is noticed");
    timeout(SECOND, handle.exited()).await.expect("and stays noticed");
    let refused = ProcessHandle::open(child.id()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ESRCH), "it is dead, though nobody has waited for it");
    child.wait().unwrap();
    handle.kill().expect("killing the dead is fine");
}

#[tokio::test]
async fn a_process_that_is_not_our_child_is_watched_and_killed_as_well() {
    let mut shell = Command::new("sh")
        .args(["-c", "sleep 60 >/dev/null & echo $!"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    shell.wait().unwrap();
    let pid = line.trim().parse().unwrap();
    let handle = ProcessHandle::open(pid).unwrap();
    assert_eq!(handle.pid(), pid);
    handle.kill().unwrap();
    timeout(SECOND, handle.exited()).await.expect("its end is noticed");
}

#[tokio::test]
async fn a_process_that_is_gone_or_cannot_be_is_not_found() {
    let mut child = sleeper();
    let pid = child.id();
    child.kill().unwrap();
    child.wait().unwrap();
    for pid in [pid, 0, u32::MAX] {
        let error = ProcessHandle::open(pid).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH), "{pid}");
        assert_eq!(process_name(pid), None, "{pid}");
    }
}

#[tokio::test]
async fn the_start_time_is_that_of_the_process_and_the_name_too() {
    let before = uptime().unwrap();
    let mut child = sleeper();
    let handle = ProcessHandle::open(child.id()).unwrap();
    let after = uptime().unwrap();
    // The kernel cuts the time to hundredths of a second.
    let tick = Duration::from_millis(10);
    assert!(handle.start_time() + tick >= before && handle.start_time() <= after, "{handle:?} {before:?}");
    assert_eq!(ProcessHandle::open(child.id()).unwrap().start_time(), handle.start_time());
    assert_eq!(process_name(child.id()).as_deref(), Some("sleep"));
    child.kill().unwrap();
    child.wait().unwrap();
}
