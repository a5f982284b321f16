//! Accounts that stop working: an error from the server proves that it lives.

use std::time::Duration;

use mmm_lab::{ConfigFile, M1, MON, Program, wait_for};

use crate::cluster::{Cluster, ID1, QUICK_CHECKS, SOON, quick};

/// Gives an account of the first master another password and ends its sessions.
fn spoil(lab: &Cluster, account: &str, password: &str) {
    lab.sql(
        M1,
        &format!("SET sql_log_bin = 0; SET PASSWORD FOR {account}@'192.168.8.%' = PASSWORD('{password}')"),
    )
    .unwrap();
    lab.sql(M1, &format!("KILL USER {account}")).unwrap();
}

#[test]
fn wrong_passwords_are_shown_and_move_nothing() {
    let lab = Cluster::up(quick("passwords").append(ConfigFile::Monitor, QUICK_CHECKS));
    let probe = lab.start_probe().unwrap();
    let roles = |show: &mmm_lab::Show| show.hosts.clone();
    let before = roles(&lab.show().unwrap());

    spoil(&lab, "mmm_monitor", "changed");
    wait_for("the check unclear", SOON, || {
        let answer = lab.tell(&["checks", M1, "mysql"]);
        if answer.contains("]  UNKNOWN: ") && answer.contains("Access denied") { Ok(()) } else { Err(answer) }
    })
    .unwrap();
    // The trap period and more.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(roles(&lab.show().unwrap()), before);
    assert!(!lab.log(MON, Program::Monitor).unwrap().contains("'changed'"));
    spoil(&lab, "mmm_monitor", "mmm_monitor");
    wait_for("the check well", SOON, || {
        let answer = lab.tell(&["checks", M1, "mysql"]);
        if answer.ends_with("]  OK") { Ok(()) } else { Err(answer) }
    })
    .unwrap();

    spoil(&lab, "mmm_agent", "changed");
    lab.wait_log(M1, Program::Agent, "lets the agent's account 'mmm_agent' not in", SOON).unwrap();
    lab.wait_shown("# Warning: host MySQL-M1: ", SOON);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(roles(&lab.show().unwrap()), before);
    spoil(&lab, "mmm_agent", "mmm_agent");
    lab.wait_show("no warning", SOON, |show| !show.text.contains("# Warning")).unwrap();
    lab.judge_undisturbed(&probe, ID1);
    lab.expect_pair(M1);
}
