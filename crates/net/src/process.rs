//! Processes of this host, held by a descriptor that can never come to mean another process.
//!
//! It starts nothing and, short of [`ProcessHandle::terminate`] and [`ProcessHandle::kill`], ends nothing.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::boot::clock_ticks_per_second;
use crate::ready_fd::ReadyFd;

/// A process that was there when the handle was opened. It need not be a child of ours.
#[derive(Debug)]
pub struct ProcessHandle {
    pid: u32,
    start_time: Duration,
    descriptor: ReadyFd<OwnedFd>,
}

impl ProcessHandle {
    /// Fails with `ESRCH` when there is no such process, or no longer. Must be called inside a tokio runtime.
    pub fn open(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let descriptor = pidfd_open(raw, PidfdFlags::empty())?;
        let start_time = start_time(pid);
        // The number may have gone to another process before its times were read. If the process held by the
        // descriptor is still there now, they were its own.
        if has_exited(&descriptor)? {
            return Err(gone());
        }
        Ok(Self { pid, start_time: start_time?, descriptor: ReadyFd::new(descriptor)? })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When the process started, counted from the boot of this host; with the pid it names a process for good.
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// Returns when the process has ended, also if nobody has waited for it yet.
    pub async fn exited(&self) {
        loop {
            let Ok(mut ready) = self.descriptor.readable().await else {
                // Only the end of the runtime does this. It must not be taken for the end of the process.
                return std::future::pending().await;
            };
            match has_exited(self.descriptor.get()) {
                Ok(true) => return,
                _ => ready.clear_ready(),
            }
        }
    }

    /// Sends SIGTERM, upon which a server ends in order. It is no error when the process has already ended.
    pub fn terminate(&self) -> io::Result<()> {
        match pidfd_send_signal(self.descriptor.get(), Signal::TERM) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Sends SIGKILL. It is no error when the process has already ended.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(self.descriptor.get(), Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// The short name of a process (15 bytes at most), as in `mariadbd`; `None` when there is no such process.
pub fn process_name(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}

fn has_exited(descriptor: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
    loop {
        match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

fn start_time(pid: u32) -> io::Result<Duration> {
    let stat = match fs::read(format!("/proc/{pid}/stat")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone()),
        other => other?,
    };
    let ticks = start_ticks(&stat).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat holds no start time"))
    })?;
    Ok(Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second()))
}

/// Field 22. The name in field 2 may hold blanks and brackets, so counting starts after its last bracket.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let after_name = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = b"42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0";
        assert_eq!(start_ticks(stat), Some(987_654));
    }

    #[test]
    fn a_cut_stat_line_has_no_start_time() {
        assert_eq!(start_ticks(b"42 (mariadbd) S 1 42"), None);
        assert_eq!(start_ticks(b""), None);
    }
}
