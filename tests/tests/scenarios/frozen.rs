//! What hangs: servers, agents, whole hosts. Nobody else may have to wait for them.

use std::time::Duration;

use mmm_lab::{ConfigFile, M1, M2, MON, Moment, Program, WRITER};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};
use crate::watchers::ControlWatch;

/// The monitor's host asks from nearby; what takes this long has waited for somebody.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn a_frozen_server_loses_its_address_and_is_closed_when_it_thaws() {
    // Else it is killed when its time is over, and does not thaw.
    let builder = quick("frozen").append(ConfigFile::Three, "fence_hung_server no");
    let lab = Cluster::up(builder.append(ConfigFile::Monitor, QUICK_CHECKS));
    let watch = ControlWatch::start(&lab);
    // At rest, so that the old writer has nothing that the other one lacks.
    lab.wait_replicated(M1, M2, SOON).unwrap();
    let frozen = lab.freeze(M1, Program::Server).unwrap();
    let probe = lab.start_probe().unwrap();
    let first = probe.wait_write_by(ID2, frozen, SOON).unwrap();
    eprintln!("server frozen: first write on the other after {:?}", first.end - frozen);
    assert_eq!(lab.holders(WRITER).unwrap(), [M2], "the address was off before the other one wrote");
    lab.expect_host(M1, "HARD_OFFLINE", &[], SOON).unwrap();
    lab.expect_addresses(M1, 0, SOON);

    // What the probe sent last may still be carried out; nothing that begins after the thaw.
    let thawed = lab.thaw(M1, Program::Server).unwrap();
    lab.expect_read_only(M1, Duration::from_secs(2));
    eprintln!("read-only {:?} after the thaw", Moment::now() - thawed);
    watch.end(AT_ONCE);
    lab.expect_host(M1, "ONLINE", &["reader"], SOON).unwrap();
    let record = probe.stop().unwrap();
    let late: Vec<_> =
        record.acknowledged().filter(|a| a.server_id == Some(ID1) && a.end > first.end).collect();
    assert!(late.is_empty(), "acknowledged by the old one: {late:?}");
}

#[test]
fn hanging_agents_and_hosts_delay_neither_commands_nor_a_failover() {
    let lab = Cluster::make(quick("hanging").replicas(2).append(ConfigFile::Monitor, QUICK_CHECKS));
    // Readers go where there is room: the two replicas.
    lab.expect_writer(M1, &["writer"]);
    lab.wait_show("all four ONLINE", SOON, |show| show.hosts.values().all(|host| host.state == "ONLINE"))
        .unwrap();
    let probe = lab.start_probe().unwrap();
    let watch = ControlWatch::start(&lab);
    lab.freeze("MySQL-R1", Program::Agent).unwrap();
    lab.power_off("MySQL-R2").unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    let first = probe.wait_write_by(ID2, killed, SOON).unwrap();
    let took = first.end - killed;
    eprintln!("server killed beside a frozen agent and a dead host: first write after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    lab.expect_host("MySQL-R2", "HARD_OFFLINE", &[], SOON).unwrap();
    lab.wait_shown("# Warning: agent on host MySQL-R1 is not reachable", SOON);

    // A planned move goes through as well.
    lab.start(M1, Program::Server).unwrap();
    lab.wait_show("the first master back", SOON, |show| show.state(M1) == "ONLINE").unwrap();
    lab.wait_replicating(M1, SOON).unwrap();
    let began = Moment::now();
    lab.tell(&["move_role", "writer", M1]);
    probe.wait_write_by(ID1, began, SOON).unwrap();
    assert!(Moment::now() - began < Duration::from_secs(5));

    lab.thaw("MySQL-R1", Program::Agent).unwrap();
    lab.wait_show("the agent reachable again", SOON, |show| !show.text.contains("agent on host MySQL-R1"))
        .unwrap();
    lab.wait_follows("MySQL-R1", M1, SOON);
    watch.end(AT_ONCE);
    probe.stop().unwrap();
    assert!(!lab.log(MON, Program::Monitor).unwrap().contains("panicked"));
}

#[test]
fn the_writers_frozen_agent_changes_nothing_while_its_server_is_well() {
    let builder = quick("agent_frozen").append(ConfigFile::Monitor, QUICK_CHECKS).without_daemons();
    let lab = Cluster::make(builder);
    // Longer than it is frozen: at the end of a lease the kernel takes the address down, and another host gets the role.
    let argv = ["sh", "-c", "umask 077; cat >/etc/mysql-mmm/mmm3.conf"];
    assert!(lab.exec_with_input(MON, &argv, "writer_lease 20\n").unwrap().success());
    lab.start_daemons().unwrap();
    lab.expect_pair(M1);
    let probe = lab.start_probe().unwrap();
    let watch = ControlWatch::start(&lab);
    lab.freeze(M1, Program::Agent).unwrap();
    lab.wait_shown("# Warning: agent on host MySQL-M1 is not reachable", SOON);
    // The trap period and more.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        lab.refusal(&["set_offline", M1]),
        "ERROR: Can't reach agent daemon on 'MySQL-M1'! Can't switch its state!"
    );
    lab.thaw(M1, Program::Agent).unwrap();
    lab.expect_pair(M1);
    watch.end(AT_ONCE);
    lab.judge_undisturbed(&probe, ID1);
}
