//! An agent is dead or hangs, both its processes. What it cannot do any more the kernel does: the addresses go when their lifetime
//! is over. Its server stays open meanwhile, out of every client's reach.

use std::thread;
use std::time::Duration;

use mmm_lab::{M1, M2, Moment, Program, WRITER};

use crate::cluster::{ID1, ID2, SOON};
use crate::sides::{Sides, sides};

fn expect_replaced(lab: &mut Sides, fault: Moment) {
    lab.wait_write_by(ID2, fault);
    assert!(!lab.has_address(M1, WRITER).unwrap(), "the address was off before the other one wrote");
    thread::sleep(Duration::from_secs(1));
    let overlap = lab.lap();
    eprintln!("first write on the other after {:?}", overlap.takeover(fault));
    overlap.expect_one_writer_but(Duration::MAX);
}

fn expect_closed_on_return(mut lab: Sides) {
    let back = Moment::now();
    lab.expect_gave_way(M1, M2);
    eprintln!("closed {:?} after the agent's return at most", Moment::now() - back);
    let overlap = lab.lap();
    overlap.expect_one_writer_but(Duration::MAX);
    assert_eq!((overlap.old, overlap.new), (Some(ID2), None), "{overlap}");
    lab.end_accounted();
}

#[test]
fn a_writer_whose_agent_is_dead_is_replaced_when_its_lease_is_over() {
    let mut lab = Sides::up(sides("agent_dead"));
    let killed = lab.kill(M1, Program::Agent).unwrap();
    expect_replaced(&mut lab, killed);
    lab.start(M1, Program::Agent).unwrap();
    expect_closed_on_return(lab);
}

#[test]
fn a_writer_whose_agent_and_server_are_dead_is_replaced_when_its_lease_is_over() {
    let mut lab = Sides::up(sides("both_dead"));
    let killed = lab.kill(M1, Program::Agent).unwrap();
    lab.kill(M1, Program::Server).unwrap();
    expect_replaced(&mut lab, killed);
    lab.start(M1, Program::Server).unwrap();
    lab.start(M1, Program::Agent).unwrap();
    expect_closed_on_return(lab);
}

#[test]
fn a_writer_whose_agent_hangs_as_a_whole_is_replaced_when_its_lease_is_over() {
    let mut lab = Sides::up(sides("agent_hangs"));
    eprintln!("{:?}", lab.address_details(M1).unwrap());
    let frozen = lab.freeze(M1, Program::Agent).unwrap();
    expect_replaced(&mut lab, frozen);
    lab.thaw(M1, Program::Agent).unwrap();
    expect_closed_on_return(lab);
}

#[test]
fn an_agent_that_dies_beside_the_writer_moves_nothing() {
    let mut lab = Sides::up(sides("other_dead"));
    lab.kill(M2, Program::Agent).unwrap();
    thread::sleep(Duration::from_secs(8));
    lab.start(M2, Program::Agent).unwrap();
    lab.expect_pair(M1);
    lab.lap().expect_undisturbed(ID1);
    lab.end_clean();
}

#[test]
fn nobody_is_promoted_whose_agent_hangs_and_show_says_why() {
    let mut lab = Sides::up(sides("none_left"));
    lab.freeze(M2, Program::Agent).unwrap();
    lab.wait_shown("# Warning: agent on host MySQL-M2 is not reachable", SOON);
    lab.lap().expect_undisturbed(ID1);
    let killed = lab.kill(M1, Program::Server).unwrap();
    thread::sleep(Duration::from_secs(8));
    let overlap = lab.lap();
    assert_eq!(overlap.new, None, "{overlap}");
    assert!(lab.is_read_only(M2).unwrap() && !lab.has_address(M2, WRITER).unwrap());
    let shown = lab.tell(&["show", "--long"]);
    eprintln!("{shown}");
    assert!(shown.contains("# Role writer: no host that could take it"), "{shown}");
    lab.thaw(M2, Program::Agent).unwrap();
    lab.wait_write_by(ID2, killed);
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}
