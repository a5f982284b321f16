//! The identity of this boot.

use std::time::Duration;

use mmm_net::{boot_id, uptime};

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
