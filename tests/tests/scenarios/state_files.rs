//! What monitor and agents know of leases lies in files. One that is lost, torn or old costs no write, and is told.

use std::thread;
use std::time::Duration;

use mmm_lab::{M1, M2, MON, Moment, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON};
use crate::sides::{Sides, sides};

const OF_MONITOR: &str = "/var/lib/mysql-mmm/mmm_mond.epoch";
const OF_AGENT: &str = "/var/lib/mysql-mmm/MySQL-M1.epoch";
/// What an agent knows of this boot.
const RUN_STATE: &str = "/run/mysql-mmm/MySQL-M1.state";

/// What a program has logged since its log had this length.
fn wait_since(lab: &Cluster, host: &str, program: Program, length: usize, words: &str) {
    let line = wait_for(&format!("`{words}` in the log of the {program} on {host}"), SOON, || {
        let log = lab.log(host, program).unwrap();
        let log = log.get(length..).unwrap_or_default();
        log.lines().find(|line| line.contains(words)).map(str::to_owned).ok_or_else(|| log.to_owned())
    })
    .unwrap();
    eprintln!("{line}");
}

/// Ends the monitor, does something to its file, and starts it again: it says what is wrong, asks, and nothing moves.
fn expect_asked(lab: &mut Sides, said: &str, damage: impl Fn(&Cluster)) {
    lab.lap();
    lab.stop(MON, Program::Monitor).unwrap();
    damage(lab);
    let length = lab.log_length();
    lab.start(MON, Program::Monitor).unwrap();
    wait_since(lab, MON, Program::Monitor, length, said);
    wait_since(lab, MON, Program::Monitor, length, "has reported: 'MySQL-M1' holds the writer role");
    lab.expect_pair(M1);
    lab.wait_covered(SOON).unwrap();
    // Longer than a lease.
    thread::sleep(Duration::from_secs(6));
    lab.lap().expect_undisturbed(ID1);
}

#[test]
fn a_monitor_whose_epoch_file_is_lost_torn_or_old_asks_the_agents_and_costs_no_write() {
    let mut lab = Sides::up(sides("mon_files"));
    let early = lab.read_file(MON, OF_MONITOR).unwrap();
    for to in [M2, M1] {
        lab.tell(&["move_role", "writer", to]);
        lab.expect_pair(to);
    }
    lab.wait_covered(SOON).unwrap();
    let size = u64::try_from(early.len()).unwrap();
    let lost = "The monitor does not know for certain who was the writer last";
    for length in [0, 100, size / 2, size - 1] {
        expect_asked(&mut lab, lost, |lab| lab.truncate_file(MON, OF_MONITOR, length).unwrap());
    }
    // A write that a crash has torn, in either half.
    for at in [100, early.len() / 2 + 100] {
        expect_asked(&mut lab, "the newest state in its epoch file is torn", |lab| {
            let mut bytes = lab.read_file(MON, OF_MONITOR).unwrap();
            bytes[at] ^= 1;
            lab.write_file(MON, OF_MONITOR, &bytes).unwrap();
        });
    }
    expect_asked(&mut lab, "There is no epoch file", |lab| {
        assert!(lab.remove_file(MON, OF_MONITOR).unwrap());
    });
    expect_asked(&mut lab, lost, |lab| lab.write_file(MON, OF_MONITOR, b"rubbish").unwrap());
    // One that was copied back: everything about it is right but its age.
    expect_asked(&mut lab, "The monitor's state", |lab| lab.write_file(MON, OF_MONITOR, &early).unwrap());

    // After all that it can do its work.
    let killed = lab.kill(M1, Program::Server).unwrap();
    lab.wait_write_by(ID2, killed);
    lab.lap().expect_one_writer();
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.end_accounted();
}

/// Ends the writer's agent for less than a lease and does something to its files meanwhile.
fn restart_agent(lab: &mut Sides, damage: impl Fn(&Cluster)) -> usize {
    lab.lap();
    lab.stop(M1, Program::Agent).unwrap();
    damage(lab);
    let length = lab.log(M1, Program::Agent).unwrap().len();
    lab.start(M1, Program::Agent).unwrap();
    length
}

#[test]
fn an_agent_whose_epoch_file_is_lost_or_torn_keeps_the_role_it_has() {
    let mut lab = Sides::up(sides("agent_files"));
    let size = u64::try_from(lab.read_file(M1, OF_AGENT).unwrap().len()).unwrap();
    for length in [Some(0), Some(100), Some(size / 2), None] {
        let log = restart_agent(&mut lab, |lab| match length {
            Some(length) => lab.truncate_file(M1, OF_AGENT, length).unwrap(),
            None => assert!(lab.remove_file(M1, OF_AGENT).unwrap()),
        });
        if length.is_some() {
            wait_since(&lab, M1, Program::Agent, log, "has lost something");
        }
        thread::sleep(Duration::from_secs(7));
        lab.expect_pair(M1);
        lab.wait_covered(SOON).unwrap();
        eprintln!("cut off behind {length:?}");
        lab.lap().expect_undisturbed(ID1);
    }
    lab.end_clean();
}

#[test]
fn an_agent_does_not_believe_a_state_file_that_is_rubbish_or_of_another_boot() {
    let mut lab = Sides::up(sides("run_state"));
    let boot_id = lab.boot_id(M1).unwrap();
    for (said, is_rubbish) in
        [("Starting without the state file", true), ("is of an earlier boot: starting without it", false)]
    {
        let log = restart_agent(&mut lab, |lab| {
            let text = String::from_utf8(lab.read_file(M1, RUN_STATE).unwrap()).unwrap();
            assert!(text.contains(&boot_id), "{text}");
            let other = text.replace(&boot_id, "00000000-1111-2222-3333-444444444444");
            let text = if is_rubbish { "\u{0}rubbish{" } else { &other };
            lab.write_file(M1, RUN_STATE, text.as_bytes()).unwrap();
        });
        let started = Moment::now();
        wait_since(&lab, M1, Program::Agent, log, said);
        // It takes its own addresses down and closes, as after a boot; then the role is anybody's, but only once.
        let ends = lab.probes.each_ref().map(|probe| probe.wait_write(started, SOON).unwrap().end);
        eprintln!("written to again {:?} after the agent's start", *ends.iter().max().unwrap() - started);
        let holder = lab
            .wait_show("a writer and no lost host", SOON, |show| {
                show.holder(WRITER).is_some() && [M1, M2].iter().all(|host| show.state(host) == "ONLINE")
            })
            .unwrap();
        let holder = holder.holder(WRITER).unwrap().to_owned();
        lab.expect_pair(&holder);
        lab.lap().expect_one_writer();
        if holder == M2 {
            lab.tell(&["move_role", "writer", M1]);
            lab.expect_pair(M1);
        }
        lab.wait_covered(SOON).unwrap();
    }
    lab.end_accounted();
}
