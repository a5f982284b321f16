//! The old writer's server comes back open for writes: restarted at once by a supervisor, with its host, or out of a freeze. It has
//! to be closed before anybody can use it.

use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, M1, M2, Program};

use crate::cluster::{ID1, ID2};
use crate::sides::{Sides, quick_sides, sides};

/// How long a server that comes back may be open, out of every client's reach.
const OPEN: Duration = Duration::from_secs(1);

/// What a my.cnf without `read_only = 1` amounts to.
fn open_servers(builder: Builder) -> Builder {
    builder.server_line("read_only = 0")
}

#[test]
fn a_killed_server_that_is_restarted_at_once_is_closed() {
    for delay in [0, 100, 500].map(Duration::from_millis) {
        let mut lab = Sides::up(open_servers(sides("restarted")));
        let killed = lab.kill(M1, Program::Server).unwrap();
        thread::sleep(delay);
        lab.start(M1, Program::Server).unwrap();
        lab.expect_read_only(M1, OPEN);
        lab.wait_write_by(ID2, killed);
        lab.expect_gave_way(M1, M2);
        thread::sleep(Duration::from_secs(1));
        let overlap = lab.lap();
        eprintln!("restarted after {delay:?}: first write on the other after {:?}", overlap.takeover(killed));
        overlap.expect_one_writer_but(OPEN);
        assert_eq!((overlap.old, overlap.new), (Some(ID1), Some(ID2)), "{overlap}");
        lab.end_accounted();
    }
}

#[test]
fn a_host_that_boots_with_an_open_server_is_closed() {
    let mut lab = Sides::up(open_servers(sides("rebooted")));
    let rebooted = lab.reboot(M1).unwrap();
    lab.wait_write_by(ID2, rebooted);
    let overlap = lab.lap();
    eprintln!("rebooted: first write on the other after {:?}", overlap.takeover(rebooted));
    overlap.expect_one_writer();
    lab.start_enabled(M1).unwrap();
    lab.expect_read_only(M1, OPEN);
    lab.expect_gave_way(M1, M2);
    let overlap = lab.lap();
    overlap.expect_one_writer_but(OPEN);
    assert_eq!((overlap.old, overlap.new), (Some(ID2), None), "{overlap}");
    lab.end_accounted();
}

#[test]
fn a_server_that_hung_is_closed_when_it_goes_on() {
    let mut lab = Sides::up(quick_sides("hung"));
    let frozen = lab.freeze(M1, Program::Server).unwrap();
    lab.wait_write_by(ID2, frozen);
    let overlap = lab.lap();
    eprintln!("server frozen: first write on the other after {:?}", overlap.takeover(frozen));
    overlap.expect_one_writer();
    // It may have been killed meanwhile, as it could not be closed.
    if lab.life(M1, Program::Server).unwrap() == mmm_lab::Life::Stopped {
        lab.thaw(M1, Program::Server).unwrap();
    } else {
        lab.start(M1, Program::Server).unwrap();
    }
    lab.expect_gave_way(M1, M2);
    let overlap = lab.lap();
    overlap.expect_one_writer_but(OPEN);
    assert_eq!((overlap.old, overlap.new), (Some(ID2), None), "{overlap}");
    lab.end_accounted();
}
