//! Which boot of this host this is, and how long it has lasted.
#![expect(unsafe_code, reason = "sysconf and clock_gettime")]

use std::fs;
use std::io;
use std::time::Duration;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const ATTEMPTS: u32 = 8;
/// Readings of two clocks that lie no further apart count as made at one moment.
const NARROW_MS: i64 = 2;

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
    let time = read_clock(libc::CLOCK_BOOTTIME)?;
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let nanoseconds = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, nanoseconds))
}

/// How many milliseconds the wall clock is ahead of the time since boot. It changes only when the wall clock is set
/// or slewed, or when the boot clock stood still with the whole machine; correct to some milliseconds.
pub fn wall_minus_boot() -> io::Result<i64> {
    let mut narrowest: Option<(i64, i64)> = None;
    // A pause of this program between the two readings would look like a jump of a clock.
    for _ in 0..ATTEMPTS {
        let before = milliseconds(read_clock(libc::CLOCK_BOOTTIME)?);
        let wall = milliseconds(read_clock(libc::CLOCK_REALTIME)?);
        let after = milliseconds(read_clock(libc::CLOCK_BOOTTIME)?);
        let (width, ahead) = (after - before, wall - after);
        if narrowest.is_none_or(|(least, _)| width < least) {
            narrowest = Some((width, ahead));
        }
        if width <= NARROW_MS {
            break;
        }
    }
    let (_, ahead) = narrowest.expect("the first attempt leaves a result");
    Ok(ahead)
}

fn read_clock(clock: libc::clockid_t) -> io::Result<libc::timespec> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` that lives through the call, which is all that is written to.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time)
}

fn milliseconds(time: libc::timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

/// The unit of the times in `/proc/PID/stat`.
pub(crate) fn clock_ticks_per_second() -> u64 {
    // SAFETY: `sysconf` takes a number and returns one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}
