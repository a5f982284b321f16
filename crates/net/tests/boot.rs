//! The identity of this boot.

use std::time::{Duration, SystemTime};

use mmm_net::{boot_id, uptime, wall_minus_boot};

#[test]
fn the_boot_id_is_the_kernels() {
    let id = boot_id().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(boot_id().unwrap(), id);
}

#[test]
fn the_uptime_is_the_kernels() {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let shown = Duration::from_secs_f64(text.split_whitespace().next().unwrap().parse().unwrap());
    let measured = uptime().unwrap();
    assert!(measured + Duration::from_millis(10) >= shown, "{measured:?} {shown:?}");
    assert!(measured < shown + Duration::from_secs(5), "{measured:?} {shown:?}");
}

#[test]
fn the_wall_clock_is_ahead_of_the_boot_clock_by_the_moment_of_the_boot() {
    let since_1970 = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let boot_at = since_1970() - uptime().unwrap().as_millis();
    let first = wall_minus_boot().unwrap();
    let off = first - i64::try_from(boot_at).unwrap();
    assert!(off.abs() < 500, "off by {off} ms");
    std::thread::sleep(Duration::from_millis(300));
    let moved = wall_minus_boot().unwrap() - first;
    assert!(moved.abs() < 50, "it moved by {moved} ms while nobody set a clock");
}
