//! Hosts that can't be reached any more: they fence themselves at the end of their lease, or `kill_host` does.

use std::time::Duration;

use mmm_lab::{ConfigFile, M1, M2, MON, Moment, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

#[test]
fn an_unplugged_writer_fences_itself_and_is_replaced_when_its_lease_is_over() {
    let lab = Cluster::up(quick("unplugged").append(ConfigFile::Monitor, QUICK_CHECKS));
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    let unplugged = lab.unplug(M1).unwrap();
    let first = probe.wait_write_by(ID2, unplugged, SOON).unwrap();
    let took = first.end - unplugged;
    eprintln!("host unplugged: first write on the other after {took:?}");
    // The last renewal was a second before at most.
    assert!(took >= Duration::from_secs(4), "the lease of 5 s was not waited for: {took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    lab.expect_addresses(M1, 0, Duration::ZERO);
    lab.expect_read_only(M1, Duration::ZERO);
    lab.wait_log(M1, Program::Agent, "this host fences itself", SOON).unwrap();
    lab.wait_log(MON, Program::Monitor, "the lease of epoch 1 has run out", SOON).unwrap();
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    lab.expect_host(M2, "ONLINE", &["writer", "reader", "reader"], SOON).unwrap();
    lab.wait_shown("# Warning: agent on host MySQL-M1 is not reachable", SOON);

    let replugged = lab.replug(M1).unwrap();
    lab.expect_addresses(M1, 0, Duration::from_secs(10));
    lab.expect_read_only(M1, Duration::from_secs(2));
    assert_eq!(lab.holders(WRITER).unwrap(), [M2]);
    let settled = Moment::now();
    // The old holder's frames must not keep the client from the new one.
    probe.wait_write_by(ID2, settled, Duration::from_secs(3)).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    probe.wait_write_by(ID2, settled + Duration::from_secs(2), Duration::from_secs(3)).unwrap();
    let record = probe.stop().unwrap();
    let late: Vec<_> =
        record.acknowledged().filter(|a| a.server_id == Some(ID1) && a.start > settled).collect();
    assert!(late.is_empty(), "written to the old holder: {late:?}");
    let gap = record.gap_after(replugged).unwrap().length();
    eprintln!("host plugged in again: longest time without a write {gap:?}");
    assert!(gap < Duration::from_secs(5), "{gap:?}");
}

#[test]
fn a_lost_writer_is_replaced_before_its_lease_is_over_once_kill_host_has_ended_well() {
    let settings = format!("{QUICK_CHECKS}\n<monitor>\nkill_host_bin /etc/mysql-mmm/kill_host\n</monitor>");
    let builder = quick("kill_host").append(ConfigFile::Three, "writer_lease 30");
    // The monitor looks for the program when it starts, so the hosts get theirs first.
    let lab = Cluster::make(builder.without_daemons().append(ConfigFile::Monitor, &settings));
    let script = "#!/bin/sh\necho \"$@\" >>/etc/mysql-mmm/killed\nexit \"$(cat /etc/mysql-mmm/code)\"\n";
    let put = |file: &str, text: &str| {
        let argv = ["sh", "-c", &format!("cat >/etc/mysql-mmm/{file} && chmod 755 /etc/mysql-mmm/{file}")];
        assert!(lab.exec_with_input(MON, &argv, text).unwrap().success());
    };
    put("kill_host", script);
    put("code", "3");
    lab.start_daemons().unwrap();
    lab.expect_pair(M1);
    lab.expect_covered();
    let killed = || lab.exec(MON, &["cat", "/etc/mysql-mmm/killed"]).unwrap().stdout;

    let unplugged = lab.unplug(M1).unwrap();
    lab.wait_log(MON, Program::Monitor, "Couldn't kill host 'MySQL-M1'", SOON).unwrap();
    // The second word tells whether the ping check still was well; either check may have failed first.
    assert!(["MySQL-M1 0\n", "MySQL-M1 1\n"].contains(&killed().as_str()), "{}", killed());
    std::thread::sleep(Duration::from_secs(3));
    assert!(!lab.has_address(M2, WRITER).unwrap(), "nothing moves while the host may be alive");
    assert!(lab.is_read_only(M2).unwrap());

    put("code", "0");
    lab.wait_log(MON, Program::Monitor, "Host 'MySQL-M1' has been killed", SOON).unwrap();
    wait_for("the writer on the other master", SOON, || {
        if lab.role_addresses(M2).unwrap().len() == 3 && lab.is_read_only(M2).is_ok_and(|closed| !closed) {
            Ok(())
        } else {
            Err(format!("{:?}", lab.show()))
        }
    })
    .unwrap();
    let took = Moment::now() - unplugged;
    assert!(took < Duration::from_secs(25), "the end of the lease was waited for: {took:?}");
    let calls = killed();
    assert!(calls.lines().count() == 2 && calls.ends_with("MySQL-M1 0\n"), "{calls}");
}
