//! Agents that end, hang or are started again.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use mmm_lab::{ConfigFile, M1, M2, Moment, ProcessId, Program, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};

/// What an agent's end must leave as it was.
fn assert_intact(lab: &Cluster) {
    assert_eq!(lab.holders(WRITER).unwrap(), [M1]);
    assert_eq!(lab.role_addresses(M1).unwrap().len(), 2);
    assert!(!lab.is_read_only(M1).unwrap());
    assert!(lab.is_read_only(M2).unwrap());
}

#[test]
fn an_agent_that_dies_or_is_stopped_changes_nothing_for_the_writers_clients() {
    let lab = Cluster::quick("agent");
    let probe = lab.start_probe().unwrap();
    let before = lab.show().unwrap().text;
    let sees_it_again = || lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();

    // The worker: its parent starts another one at once.
    lab.kill_agent_worker(M1).unwrap();
    assert_intact(&lab);
    lab.wait_log(M1, Program::Agent, "The worker has ended", SOON).unwrap();
    lab.wait_log(mmm_lab::MON, Program::Monitor, "Can't reach agent on host 'MySQL-M1'", SOON).unwrap();
    lab.wait_log(mmm_lab::MON, Program::Monitor, "Agent on host 'MySQL-M1' is reachable again", SOON)
        .unwrap();
    sees_it_again();
    assert_intact(&lab);

    // Parent and worker.
    lab.kill(M1, Program::Agent).unwrap();
    lab.wait_shown("# Warning: agent on host MySQL-M1 is not reachable", SOON);
    assert_intact(&lab);
    lab.start(M1, Program::Agent).unwrap();
    sees_it_again();
    assert_intact(&lab);

    // The parent alone: no worker may be left without one.
    lab.kill_agent_parent(M1).unwrap();
    lab.wait_shown("# Warning: agent on host MySQL-M1 is not reachable", SOON);
    lab.start(M1, Program::Agent).unwrap();
    sees_it_again();

    // Both agents cleanly, as for an upgrade.
    for host in [M1, M2] {
        lab.stop(host, Program::Agent).unwrap();
    }
    assert_intact(&lab);
    assert_eq!(lab.role_addresses(M2).unwrap().len(), 1);
    for host in [M1, M2] {
        lab.start(host, Program::Agent).unwrap();
    }
    sees_it_again();
    assert_intact(&lab);
    lab.judge_undisturbed(&probe, ID1);
}

/// Its parent was killed right after it had started it. Beside the worker of the next parent it would be a second mind, which closes
/// the server of a host that has the role.
#[test]
fn a_worker_whose_parent_ended_before_it_looked_ends_as_well() {
    let lab = Cluster::quick("agent_orphan");
    let (parent, of_worker) = UnixStream::pair().unwrap();
    let argv = [lab.program("mmm_agentd").unwrap().to_string_lossy().into_owned(), "--worker".to_owned()];
    let mut command = lab.command(M1, &argv).unwrap();
    command.stdin(Stdio::from(OwnedFd::from(of_worker))).stdout(Stdio::null()).stderr(Stdio::piped());
    drop(parent);
    let mut worker = command.spawn().unwrap();
    let ended = wait_for("the end of the worker", SOON, || match worker.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err("it goes on".to_owned()),
    });
    let _ = worker.kill();
    let told = String::from_utf8(worker.wait_with_output().unwrap().stderr).unwrap();
    assert!(!ended.unwrap().success());
    assert!(told.contains("the parent of this worker ended while it started"), "{told}");
    assert_intact(&lab);
}

#[test]
fn a_worker_that_hangs_is_restarted_within_seconds() {
    let lab = Cluster::quick("agent_hangs");
    let probe = lab.start_probe().unwrap();
    let before = lab.show().unwrap().text;
    let workers = || lab.process(M1, Program::Agent).unwrap().unwrap().descendants();
    let wait_for_another = |than: &[ProcessId]| {
        wait_for("another worker", SOON, || match workers() {
            now if !now.is_empty() && now != than => Ok(now),
            now => Err(format!("{now:?}")),
        })
        .unwrap()
    };
    let first = workers();
    // A worker that is well is let alone.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(workers(), first);

    let frozen = lab.freeze_agent_worker(M1).unwrap();
    let second = wait_for_another(&first);
    let took = Moment::now() - frozen;
    eprintln!("worker frozen: another one after {took:?}");
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(4), "{took:?}");
    let line = lab.wait_log(M1, Program::Agent, "has given no sign of life for", SOON).unwrap();
    assert!(line.contains("FATAL") && line.contains(&format!("pid {}", first[0].pid)), "{line}");
    lab.wait_log(M1, Program::Agent, "The worker has ended (signal: 9 (SIGKILL))", SOON).unwrap();
    lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();
    assert_intact(&lab);

    // The new one is looked after as well.
    lab.freeze_agent_worker(M1).unwrap();
    wait_for_another(&second);
    lab.wait_show("what was shown before", SOON, |show| show.text == before).unwrap();
    assert_intact(&lab);
    assert!(!lab.log(M1, Program::Agent).unwrap().contains("The parent fences"));
    lab.judge_undisturbed(&probe, ID1);
}

#[test]
fn a_server_that_dies_while_its_agent_is_away_is_replaced_by_what_the_checks_say() {
    let lab = Cluster::up(quick("agent_and_server").append(ConfigFile::Monitor, QUICK_CHECKS));
    lab.expect_covered();
    let probe = lab.start_probe().unwrap();
    lab.stop(M1, Program::Agent).unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    eprintln!("server killed without an agent: first write on the other after {:?}", first.end - killed);
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    // The agent comes back and finds that the address belongs to somebody else.
    lab.start(M1, Program::Agent).unwrap();
    lab.expect_addresses(M1, 0, SOON);
    lab.start(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, Duration::from_secs(2));
    wait_for("only one holder", SOON, || match lab.holders(WRITER).unwrap() {
        holders if holders == [M2] => Ok(()),
        holders => Err(format!("{holders:?}")),
    })
    .unwrap();
    lab.expect_pair(M2);
    probe.stop().unwrap();
}
