//! The monitor, or an agent, dies at its first, its second, its n-th step of a failover, of a planned move or of the return of a lost
//! writer, for all n until what it was to do is done. Whoever died is started again; nobody else does anything.

use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{Builder, Call, ConfigFile, Doomed, Flavour, M1, M2, MON, Moment, Probe, Program, WRITER};

use crate::cluster::{Cluster, ID1, ID2, SOON, other, quick};

/// Each of so many first steps is tried, then more and more rarely.
const STRIDE: u32 = 4;

/// What is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Procedure {
    Failover,
    Move,
    Return,
}

/// Who dies: the roles are those before the procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Monitor,
    Writer,
    Other,
}

impl Victim {
    fn place(self, writer: &'static str) -> (&'static str, Program) {
        match self {
            Self::Monitor => (MON, Program::Monitor),
            Self::Writer => (writer, Program::Agent),
            Self::Other => (other(writer), Program::Agent),
        }
    }
}

fn id(host: &str) -> u32 {
    if host == M1 { ID1 } else { ID2 }
}

fn cluster(name: &str, flavour: Flavour) -> (Cluster, Probe) {
    // What only a lost writer has is put back: with an agent dead there may be something, and nobody is to be called.
    // One fault after the other on one cluster: the brake on flapping hosts would stop the test, not the fault.
    let builder: Builder = quick(name)
        .server(flavour)
        .gtid()
        .append(ConfigFile::Three, "diverged merge")
        .append(ConfigFile::Monitor, "<monitor>\nflap_count 10000\n</monitor>");
    let lab = Cluster::up(builder);
    lab.wait_covered(SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    (lab, probe)
}

fn wrote(probe: &Probe, host: &str, after: Moment) -> bool {
    let record = probe.record().unwrap();
    record.acknowledged().any(|attempt| attempt.end > after && attempt.server_id == Some(id(host)))
}

fn is_online(lab: &Cluster, host: &str) -> bool {
    lab.show().is_ok_and(|show| show.state(host) == "ONLINE")
}

/// A procedure that has come to its end leaves a step alone that would come later.
fn wait_struck(doomed: &Doomed, is_over: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    let mut over = None;
    while !doomed.is_dead() {
        if over.is_none() && is_over() {
            over = Some(Instant::now());
        }
        // A little longer: what is said and written down after the last visible change are steps as well.
        if over.is_some_and(|at| at.elapsed() > Duration::from_millis(300)) || began.elapsed() > SOON {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Whoever died entirely is started again, as systemd would; a worker is started by its parent.
fn revive(lab: &Cluster, host: &str, program: Program, whole: bool) {
    if program == Program::Agent && whole {
        lab.kill(host, program).unwrap();
    }
    if program == Program::Monitor || whole {
        lab.start(host, program).unwrap();
    }
}

/// Waits until both are at rest, whichever is the writer: a move that was broken off may go on.
fn wait_pair(lab: &Cluster) -> &'static str {
    let mut found = M1;
    let mut since: Option<Instant> = None;
    mmm_lab::wait_for("a pair at rest", SOON * 2, || {
        let show = lab.show().map_err(|error| error.to_string())?;
        let is_pair = |host: &&str| {
            show.holder(WRITER) == Some(host)
                && lab.holders(WRITER).is_ok_and(|holders| holders == [*host])
                && lab.is_read_only(host).is_ok_and(|closed| !closed)
                && lab.is_read_only(other(host)).is_ok_and(|closed| closed)
                && [M1, M2].iter().all(|host| show.state(host) == "ONLINE")
        };
        match [M1, M2].into_iter().find(is_pair) {
            Some(host) if host == found && since.is_some() => {}
            Some(host) => (found, since) = (host, Some(Instant::now())),
            None => since = None,
        }
        if since.is_some_and(|since| since.elapsed() > Duration::from_secs(1)) {
            Ok(())
        } else {
            Err(show.text)
        }
    })
    .unwrap();
    found
}

/// Goes through the procedure again and again, with a death at a later step each time, until the step comes after its end.
fn at_every_step(name: &str, flavour: Flavour, procedure: Procedure, victim: Victim, call: Call) {
    let (lab, probe) = cluster(name, flavour);
    let mut writer = M1;
    let mut tried = 0;
    let mut step = 1;
    loop {
        let next = other(writer);
        lab.wait_covered(SOON).unwrap();
        if procedure == Procedure::Return {
            let killed = lab.kill(writer, Program::Server).unwrap();
            probe.wait_write_by(id(next), killed, SOON).unwrap();
            lab.start(writer, Program::Server).unwrap();
        }
        let (host, program) = victim.place(writer);
        let doomed = lab.kill_at(host, program, call, step).unwrap();
        let began = Moment::now();
        let is_dead = match procedure {
            Procedure::Failover => {
                lab.kill(writer, Program::Server).unwrap();
                wait_struck(&doomed, || wrote(&probe, next, began))
            }
            Procedure::Move => thread::scope(|scope| {
                // The monitor may die before it answers.
                scope.spawn(|| drop(lab.control(&["move_role", "writer", next])));
                wait_struck(&doomed, || wrote(&probe, next, began))
            }),
            Procedure::Return => wait_struck(&doomed, || is_online(&lab, writer)),
        };
        drop(doomed);
        if is_dead {
            revive(&lab, host, program, step % 2 == 1);
            tried += 1;
        }
        let holder = match procedure {
            // A move may be given up, and the old writer goes on.
            Procedure::Move => wait_pair(&lab),
            _ => next,
        };
        probe.wait_write_by(id(holder), Moment::now(), SOON).unwrap();
        if procedure == Procedure::Failover {
            lab.start(writer, Program::Server).unwrap();
        }
        lab.expect_pair(holder);
        eprintln!("step {step}: {}, the writer is {holder}", if is_dead { "dead" } else { "over before" });
        writer = holder;
        if !is_dead {
            break;
        }
        // Beats and checks are among them: of the later ones some stand for all.
        step += 1 + step / STRIDE;
    }
    eprintln!("{procedure:?} without {victim:?} from {tried} steps on ({call:?})");
    lab.judge_clean(&probe);
    assert!(tried > 0);
}

macro_rules! at_every_step {
    ($($test:ident: $flavour:ident, $procedure:ident, $victim:ident, $call:ident;)*) => {
        $(
            #[test]
            fn $test() {
                at_every_step(stringify!($test), Flavour::$flavour, Procedure::$procedure, Victim::$victim, Call::$call);
            }
        )*
    };
}

at_every_step! {
    monitor_in_failover: MariaDb1011, Failover, Monitor, Say;
    monitor_in_failover_writing: MariaDb1011, Failover, Monitor, Sync;
    monitor_in_move: MariaDb1011, Move, Monitor, Say;
    monitor_in_move_writing: MariaDb1011, Move, Monitor, Sync;
    monitor_in_return: MariaDb1011, Return, Monitor, Say;
    monitor_in_return_writing: MariaDb1011, Return, Monitor, Sync;
    old_agent_in_failover: MariaDb1011, Failover, Writer, Say;
    old_agent_in_move: MariaDb1011, Move, Writer, Say;
    old_agent_in_move_writing: MariaDb1011, Move, Writer, Rename;
    old_agent_in_return: MariaDb1011, Return, Writer, Say;
    new_agent_in_failover: MariaDb1011, Failover, Other, Say;
    new_agent_in_failover_writing: MariaDb1011, Failover, Other, Rename;
    new_agent_in_move: MariaDb1011, Move, Other, Say;
    new_agent_in_move_writing: MariaDb1011, Move, Other, Rename;
    new_agent_in_return: MariaDb1011, Return, Other, Say;
}
