//! What the kernel is told of the role addresses: whose they are, and how long it keeps them when nobody renews them.

use std::collections::BTreeMap;
use std::time::Duration;

use mmm_lab::{M1, M2, WRITER, wait_for};

use crate::cluster::{Cluster, SOON};

/// The lease.
const LONGEST: Duration = Duration::from_secs(5);

/// The role addresses of a host and their lifetimes; each bears the mark, and the host's own address neither.
fn lifetimes(lab: &Cluster, host: &str) -> BTreeMap<String, Option<Duration>> {
    let own = &lab.host(host).unwrap().ip;
    let details = lab.address_details(host).unwrap();
    for address in &details {
        let is_own = address.ip.to_string() == *own;
        assert_eq!(address.is_marked, !is_own, "{address:?} on {host}");
        assert!(!is_own || address.valid_for.is_none(), "{address:?} on {host}");
    }
    let role = details.into_iter().filter(|address| address.ip.to_string() != *own);
    role.map(|address| (address.ip.to_string(), address.valid_for)).collect()
}

fn expect_lifetimes(lab: &Cluster, host: &str, what: &str, accept: impl Fn(&str, Option<Duration>) -> bool) {
    wait_for(&format!("{what} on {host}"), SOON, || {
        let found = lifetimes(lab, host);
        if !found.is_empty() && found.iter().all(|(ip, valid)| accept(ip, *valid)) {
            eprintln!("{what} on {host}: {found:?}");
            return Ok(());
        }
        Err(format!("{found:?}"))
    })
    .unwrap();
}

#[test]
fn the_kernel_knows_our_addresses_and_keeps_them_for_a_lease_at_most() {
    let lab = Cluster::quick("lifetimes");
    lab.expect_covered();
    let is_short = |_: &str, valid: Option<Duration>| valid.is_some_and(|valid| valid <= LONGEST);
    for host in [M1, M2] {
        expect_lifetimes(&lab, host, "lifetimes that end with the lease", is_short);
    }
    // Renewed again and again: at no time does one come near its end.
    for _ in 0..40 {
        for host in [M1, M2] {
            let found = lifetimes(&lab, host);
            assert!(found.values().all(|valid| valid.is_some_and(|valid| valid <= LONGEST)), "{found:?}");
            assert!(!found.is_empty() && found.values().all(|valid| !valid.unwrap().is_zero()), "{found:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }

    // Alone, the writer must outlast the monitor: its address stays for ever.
    lab.power_off(M2).unwrap();
    let is_endless_for_writer = |ip: &str, valid: Option<Duration>| ip != WRITER || valid.is_none();
    expect_lifetimes(&lab, M1, "the writer's address for ever", is_endless_for_writer);
    lab.reboot(M2).unwrap();
    lab.start_enabled(M2).unwrap();
    lab.expect_pair(M1);
    expect_lifetimes(&lab, M1, "lifetimes that end with the lease again", is_short);
}
