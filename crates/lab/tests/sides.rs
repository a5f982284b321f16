//! Both sides of a partition, and what can be seen and changed on a host beside its programs. Needs root.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, in functions too")]

use std::time::Duration;

use mmm_lab::{
    CLIENT, CLIENT2, GATEWAY, GATEWAY_IP, Judge, Lab, M1, M2, MON, Manner, Moment, WRITER, wait_for,
};

const SOON: Duration = Duration::from_secs(10);

fn pings(lab: &Lab, from: &str, to: &str) -> bool {
    lab.exec(from, &["ping", "-c1", "-W1", to]).unwrap().success()
}

#[test]
fn a_partition_separates_its_groups_and_leaves_each_of_them_whole() {
    let lab = Lab::for_test("partition").without_servers().second_client().gateway().up().unwrap();
    assert!(pings(&lab, M1, GATEWAY_IP) && pings(&lab, CLIENT2, GATEWAY_IP));
    lab.partition(&[&[M1, CLIENT2], &[MON, M2, CLIENT]]).unwrap();
    assert_eq!(lab.cuts().unwrap().len(), 12);
    assert!(pings(&lab, CLIENT2, "192.168.8.32"), "within the first group");
    assert!(pings(&lab, MON, "192.168.8.33") && pings(&lab, CLIENT, "192.168.8.33"), "within the second");
    assert!(!pings(&lab, MON, "192.168.8.32") && !pings(&lab, M1, "192.168.8.33"), "between them");
    assert!(!pings(&lab, CLIENT2, "192.168.8.33") && !pings(&lab, CLIENT, "192.168.8.32"));
    assert!(pings(&lab, M1, GATEWAY_IP) && pings(&lab, MON, GATEWAY_IP), "who is in no group hears all");
    lab.heal_all().unwrap();
    assert!(pings(&lab, M1, "192.168.8.33"));
    let error = lab.partition(&[&[M1], &["client3"]]).unwrap_err().to_string();
    assert!(error.contains("no host `client3`") && error.contains(GATEWAY), "{error}");
    lab.down().unwrap();
}

#[test]
fn a_lossy_connection_loses_some_packets_and_not_all() {
    let lab = Lab::for_test("lossy").without_servers().up().unwrap();
    // Addresses are resolved before: that a few lost packets in a row may hinder for a second.
    let first = lab.exec(MON, &["ping", "-c", "1", "-w", "3", "192.168.8.32"]).unwrap();
    assert!(first.success(), "{first}");
    lab.cut(MON, M1, Manner::Lossy(50)).unwrap();
    let output = lab.exec(MON, &["ping", "-i", "0.01", "-c", "200", "-w", "3", "192.168.8.32"]).unwrap();
    let received = output.stdout.split(" received").next().and_then(|text| text.rsplit(' ').next());
    let received: u32 = received.and_then(|word| word.parse().ok()).unwrap();
    // One in four comes through both ways; address resolution may cost a second of them.
    assert!((1..140).contains(&received), "{output}");
    lab.down().unwrap();
}

#[test]
fn probes_on_two_clients_write_at_once_and_are_judged_each_for_itself() {
    let lab = Lab::for_test("two_probes").without_daemons().second_client().up().unwrap();
    let probes = [CLIENT, CLIENT2].map(|host| lab.start_probe_on(host, "192.168.8.32").unwrap());
    let from = Moment::now();
    for probe in &probes {
        probe.wait_write_by(12, from, SOON).unwrap();
    }
    // One of them is cut off; the other does not notice.
    let cut = lab.partition(&[&[CLIENT2], &[M1]]).unwrap();
    probes[1].wait_attempt("a write that fails", SOON, |a| a.start > cut && !a.is_acknowledged()).unwrap();
    probes[0].wait_write(Moment::now(), SOON).unwrap();
    lab.heal_all().unwrap();
    let records = probes.map(|probe| probe.stop().unwrap());
    lab.wait_replicated(M1, M2, SOON).unwrap();
    for record in records {
        assert!(record.acknowledged().count() > 0);
        let verdict = Judge::new(&lab, record).verdict(&[M1, M2]).unwrap();
        assert!(verdict.is_clean(), "{verdict}");
    }
    lab.down().unwrap();
}

#[test]
fn an_address_is_shown_with_its_lifetime_and_whether_it_bears_the_mark() {
    let lab = Lab::for_test("details").without_servers().up().unwrap();
    let add = |words: &[&str]| {
        let argv = [&["ip", "addr", "add"], words, &["dev", "eth0"]].concat();
        assert!(lab.exec(M1, &argv).unwrap().success());
    };
    add(&["192.168.8.30/32", "valid_lft", "2", "preferred_lft", "2"]);
    add(&["fd00::30/128"]);
    let details = lab.address_details(M1).unwrap();
    let ips: Vec<String> = details.iter().map(|address| address.ip.to_string()).collect();
    assert_eq!(ips.len(), 3, "no link-local ones, none of lo: {ips:?}");
    let find = |ip: &str| details.iter().find(|address| address.ip.to_string() == ip).unwrap();
    assert!(find(WRITER).valid_for.is_some_and(|left| left <= Duration::from_secs(2)), "{details:?}");
    assert_eq!((find("192.168.8.32").valid_for, find("fd00::30").valid_for), (None, None));
    assert!(details.iter().all(|address| !address.is_marked), "none of them was put there by an agent");
    assert!(lab.has_address(M1, WRITER).unwrap() && !lab.has_address(M2, WRITER).unwrap());
    wait_for("the end of the lifetime", SOON, || match lab.has_address(M1, WRITER) {
        Ok(false) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    lab.down().unwrap();
}

#[test]
fn state_files_are_read_damaged_and_removed_as_the_host_sees_them() {
    let lab = Lab::for_test("files").without_servers().up().unwrap();
    let path = "/var/lib/mysql-mmm/M1.epoch";
    lab.write_file(M1, path, b"a number\n").unwrap();
    assert_eq!(lab.exec(M1, &["cat", path]).unwrap().stdout, "a number\n");
    assert!(lab.read_file(M2, path).is_err(), "each host has files of its own");
    assert_eq!(lab.list_files(M1, "/var/lib/mysql-mmm").unwrap(), [path]);
    lab.truncate_file(M1, path, 3).unwrap();
    assert_eq!(lab.read_file(M1, path).unwrap(), b"a n");
    assert!(lab.remove_file(M1, path).unwrap());
    assert!(!lab.remove_file(M1, path).unwrap());
    assert!(lab.list_files(M1, "/nowhere").unwrap().is_empty());
    let error = lab.read_file(M1, "/run/../etc/passwd").unwrap_err().to_string();
    assert!(error.contains("names no file on MySQL-M1"), "{error}");
    lab.down().unwrap();
}
