//! The monitor is started with a configuration that is not there, or that lacks the host which has the writer role.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{ConfigFile, M1, M2, MON, Program, READERS, WRITER};
use rustix::process::Signal;

use crate::cluster::{Cluster, ID1, ID2, SOON};
use crate::sides::{Sides, sides};

const STATES: [&str; 2] = ["/var/lib/mysql-mmm/mmm_mond.status", "/var/lib/mysql-mmm/mmm_mond.epoch"];

fn states(lab: &Cluster) -> [Vec<u8>; 2] {
    STATES.map(|path| lab.read_file(MON, path).unwrap())
}

#[test]
fn a_monitor_without_its_configuration_does_not_start_and_costs_nothing() {
    let lab = Cluster::quick("conf_gone");
    let probe = lab.start_probe().unwrap();
    let before = lab.show().unwrap().text;
    lab.stop(MON, Program::Monitor).unwrap();
    let text = lab.read_config(MON, ConfigFile::Common).unwrap();
    let written = states(&lab);
    assert!(lab.remove_file(MON, "/etc/mysql-mmm/mmm_common.conf").unwrap());
    let program = lab.program("mmm_mond").unwrap();
    let output = lab.exec_within(MON, &[program], Duration::from_secs(5)).unwrap();
    assert_eq!(output.code, 1, "{output}");
    assert!(output.text().contains("mmm_common.conf"), "the file is named: {output}");
    assert!(states(&lab) == written, "what the monitor knows was written to");

    lab.write_config(MON, ConfigFile::Common, &text).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();
    lab.judge_undisturbed(&probe, ID1);
}

/// Another host, which nobody has set up yet, stands where the first master was.
fn without_first(text: &str) -> String {
    text.replace(M1, "MySQL-M3").replace("192.168.8.32", "192.168.8.99")
}

/// For a while nobody takes over what the host that nobody configured still has.
fn expect_nothing_twice(lab: &Cluster, writer: &str, length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        assert_eq!(lab.holders(WRITER).unwrap(), [writer]);
        for reader in READERS {
            let holders = lab.holders(reader).unwrap();
            assert!(holders.len() <= 1, "{reader} is on {holders:?}");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_monitor_whose_configuration_lacks_the_writer_says_so_and_gives_nothing_of_it_to_anybody() {
    let mut lab = Sides::up(sides("conf_lacks"));
    let whole = lab.read_config(MON, ConfigFile::Common).unwrap();
    lab.stop(MON, Program::Monitor).unwrap();
    lab.write_config(MON, ConfigFile::Common, &without_first(&whole)).unwrap();
    let length = lab.log_length();
    lab.start(MON, Program::Monitor).unwrap();
    let line = lab.wait_log_since(length, "is not configured", SOON);
    assert!(line.contains(" WARN ") && line.contains("'MySQL-M1'") && line.contains("SIGHUP"), "{line}");
    lab.wait_log_since(length, "Monitor started in active mode", SOON);
    // Longer than a lease and the wait after it, and than addresses without a lease may stay.
    expect_nothing_twice(&lab, M1, Duration::from_secs(12));
    let shown = lab.tell(&["show", "--long"]);
    eprintln!("{shown}");
    for words in [
        "for the lease of MySQL-M1",
        "MySQL-M2 vouches for the writer by a promise",
        "MySQL-M1 is not reachable",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    lab.lap().expect_undisturbed(ID1);

    lab.write_config(MON, ConfigFile::Common, &whole).unwrap();
    lab.process(MON, Program::Monitor).unwrap().unwrap().signal(Signal::HUP);
    lab.expect_pair(M1);
    expect_nothing_twice(&lab, M1, Duration::from_secs(2));
    lab.lap().expect_undisturbed(ID1);
    lab.end_clean();
}

#[test]
fn a_writer_that_nobody_configured_and_that_vanished_is_replaced_when_its_lease_is_over() {
    let mut lab = Sides::up(sides("conf_lost"));
    let whole = lab.read_config(MON, ConfigFile::Common).unwrap();
    lab.stop(MON, Program::Monitor).unwrap();
    let off = lab.power_off(M1).unwrap();
    lab.write_config(MON, ConfigFile::Common, &without_first(&whole)).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    let first = lab.wait_write_by(ID2, off);
    eprintln!("first write on the other {:?} after the power went", first - off);
    assert!(first - off >= Duration::from_secs(4), "the lease of 5 s was not waited for: {:?}", first - off);
    lab.wait_log(MON, Program::Monitor, "Host 'MySQL-M1' has let go of its roles", SOON).unwrap();
    lab.expect_host(M2, "ONLINE", &["writer", "reader", "reader"], SOON).unwrap();
    lab.lap().expect_one_writer();
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.expect_read_only(M1, SOON);
    lab.expect_addresses(M1, 0, SOON);
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}
