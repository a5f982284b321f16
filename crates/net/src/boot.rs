//! Which boot of this host this is, and how long it has lasted.
#![expect(unsafe_code, reason = "sysconf and clock_gettime")]

use std::fs;
use std::io;
use std::time::Duration;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A name that no other boot of this or any other host has.
pub fn boot_id() -> io::Result<String> {
    let explain =
        |error: io::Error| io::Error::new(error.kind(), format!("reading {BOOT_ID} failed: {error}"));
    let id = fs::read_to_string(BOOT_ID).map_err(explain)?.trim().to_owned();
    if id.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{BOOT_ID} is empty: expected a boot id"),
        ));
    }
    Ok(id)
}

/// The time since boot, suspension included. No clock setting moves it.
pub fn uptime() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` that lives through the call, which is all that is written to.
    if unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let nanoseconds = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, nanoseconds))
}

/// The unit of the times in `/proc/PID/stat`.
pub(crate) fn clock_ticks_per_second() -> u64 {
    // SAFETY: `sysconf` takes a number and returns one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}
