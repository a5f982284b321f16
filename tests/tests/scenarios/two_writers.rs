//! The watcher of two writers itself: it notices them where they are put on purpose, and sees none in a planned move.

use std::thread;
use std::time::Duration;

use mmm_lab::{CLIENT, CLIENT2, M1, M2, Moment, WRITER};

use crate::cluster::{Cluster, ID1, ID2};
use crate::sides::{Sides, sides};

fn ip_addr(lab: &Cluster, verb: &str, host: &str) {
    let argv = ["ip", "addr", verb, &format!("{WRITER}/32"), "dev", "eth0"];
    assert!(lab.exec(host, &argv).unwrap().success());
}

#[test]
fn the_watcher_notices_two_writers() {
    let lab = Cluster::make(sides("two_writers").without_daemons());
    // As after the worst of failovers: each side has a client, a server that takes writes, and the address.
    lab.partition(&[&[M1, CLIENT], &[M2, CLIENT2]]).unwrap();
    ip_addr(&lab, "add", M1);
    let mut lab = Sides::watch(lab);
    let before = Moment::now();
    lab.wait_write_by(ID1, before);
    ip_addr(&lab, "add", M2);
    lab.wait_write_by(ID2, before);
    thread::sleep(Duration::from_secs(1));
    let overlap = lab.lap();
    assert_eq!((overlap.old, overlap.new), (Some(ID1), Some(ID2)));
    assert!(overlap.late > 20 && overlap.length > Duration::from_millis(800), "{overlap}");
    let words = overlap.problems(Duration::ZERO).join("; ");
    for problem in [
        "two writers for",
        "the writer's address was on both hosts in",
        "both took writes at the writer's address in",
        "both servers took writes for",
    ] {
        assert!(words.contains(problem), "`{problem}` is missing in: {words}");
    }

    // With one of them gone there is nothing to notice any more.
    ip_addr(&lab, "del", M1);
    lab.sql(M1, "SET GLOBAL read_only = 1").unwrap();
    thread::sleep(Duration::from_millis(200));
    lab.lap();
    thread::sleep(Duration::from_millis(500));
    let overlap = lab.lap();
    overlap.expect_one_writer();
    assert_eq!((overlap.old, overlap.new), (Some(ID2), None));
}

#[test]
fn a_planned_move_has_one_writer_at_every_moment() {
    let mut lab = Sides::up(sides("moved"));
    for (target, old, new) in [(M2, ID1, ID2), (M1, ID2, ID1)] {
        lab.wait_write_by(old, Moment::now());
        let told = Moment::now();
        lab.tell(&["move_role", "writer", target]);
        lab.wait_write_by(new, told);
        lab.expect_pair(target);
        let overlap = lab.lap();
        overlap.expect_one_writer();
        assert_eq!((overlap.old, overlap.new), (Some(old), Some(new)), "{overlap}");
    }
    let marked = lab.address_details(M1).unwrap();
    let (ours, own): (Vec<_>, Vec<_>) = marked.iter().copied().partition(|address| address.is_marked);
    assert_eq!(
        (ours.len(), own.len()),
        (2, 1),
        "the daemons mark what is theirs, and nothing else: {marked:?}"
    );
    lab.end_clean();
}
