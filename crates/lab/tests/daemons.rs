//! How the lab starts, finds, hurts and asks the product's programs, shown with stand-ins: shell scripts of the same names. Needs root.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, in functions too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mmm_lab::{Lab, LabError, Life, M1, M2, MON, Program, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// Stand-ins in a directory that goes away with the value.
struct StandIns(PathBuf);

impl StandIns {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("mmm_stand_ins_{name}_{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let script = |program: &str, text: &str| {
            let path = dir.join(program);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        // A parent that starts its worker again whenever that ends, and takes it along when it is told to stop.
        let agent = "trap 'kill $worker; exit 0' TERM; echo agent of $(hostname); \
                     while :; do sleep 1000 & worker=$!; wait $worker; done";
        script("mmm_agentd", agent);
        script(
            "mmm_mond",
            "echo to the log >>/var/log/mysql-mmm/mmm_mond.log; echo printed; exec sleep 1000",
        );
        script("mmm_control", "cat /var/lib/mysql-mmm/$1 || exit 7");
        Self(dir)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn workers(lab: &Lab, host: &str) -> Vec<i32> {
    let agent = lab.process(host, Program::Agent).unwrap();
    agent.map(|agent| agent.descendants().iter().map(|worker| worker.pid).collect()).unwrap_or_default()
}

fn wait_worker(lab: &Lab, not: &[i32]) -> Vec<i32> {
    wait_for("another worker", SOON, || {
        let now = workers(lab, M1);
        if now.len() == 1 && now != not { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .unwrap()
}

#[test]
fn agents_and_monitor_run_on_their_hosts_and_are_hurt_as_asked() {
    let programs = StandIns::new("hurt");
    let lab = Lab::for_test("daemons").without_servers().bin_dir(programs.path()).up().unwrap();
    lab.start_daemons().unwrap();
    assert_eq!(lab.life(MON, Program::Monitor).unwrap(), Life::Running);
    lab.wait_log(M2, Program::Agent, "agent of MySQL-M2", SOON).unwrap();
    assert!(matches!(lab.start(M1, Program::Agent), Err(LabError::AlreadyRunning { .. })));
    assert!(matches!(lab.start(MON, Program::Agent), Err(LabError::NotThere { .. })));

    let first = wait_worker(&lab, &[]);
    lab.kill_agent_worker(M1).unwrap();
    let second = wait_worker(&lab, &first);
    let usage = lab.usage(M1, Program::Agent).unwrap();
    assert!(usage.processes == 2 && usage.resident_kb > 100, "{usage:?}");

    lab.freeze(M1, Program::Agent).unwrap();
    assert_eq!(lab.life(M1, Program::Agent).unwrap(), Life::Stopped);
    lab.thaw(M1, Program::Agent).unwrap();
    assert_eq!(lab.life(M1, Program::Agent).unwrap(), Life::Running);

    lab.kill(M1, Program::Agent).unwrap();
    assert_eq!(lab.life(M1, Program::Agent).unwrap(), Life::Ended);
    assert!(
        !Path::new(&format!("/proc/{}", second[0])).join("exe").exists(),
        "the worker went with its parent"
    );
    lab.start(M1, Program::Agent).unwrap();
    wait_worker(&lab, &second);
    lab.stop(M1, Program::Agent).unwrap();
    lab.stop(MON, Program::Monitor).unwrap();
    assert_eq!(lab.life(MON, Program::Monitor).unwrap(), Life::Ended);
    lab.down().unwrap();
}

#[test]
fn a_log_file_goes_before_what_was_printed() {
    let programs = StandIns::new("log");
    let lab = Lab::for_test("log").without_servers().bin_dir(programs.path()).up().unwrap();
    lab.start_daemons().unwrap();
    assert_eq!(lab.wait_log(MON, Program::Monitor, "to the log", SOON).unwrap(), "to the log");
    wait_for("the printed line", SOON, || match lab.printed(MON, Program::Monitor) {
        Ok(text) if text == "printed\n" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    lab.down().unwrap();
}

#[test]
fn show_is_waited_for_until_it_reads_as_expected() {
    let programs = StandIns::new("show");
    let lab = Lab::for_test("show").without_servers().bin_dir(programs.path()).up().unwrap();
    let output = lab.control(&["nothing"]).unwrap();
    assert_eq!(output.code, 7);
    assert!(output.stderr.contains("/var/lib/mysql-mmm/nothing"), "it ran on the monitor's host: {output}");
    let text = "  MySQL-M1(192.168.8.32) master/ONLINE. Roles: reader(192.168.8.35), writer(192.168.8.30)\n";
    lab.exec_with_input(MON, &["tee", "/var/lib/mysql-mmm/show"], text).unwrap();
    lab.expect_host(M1, "ONLINE", &["writer(192.168.8.30)", "reader"], SOON).unwrap();
    lab.expect_show("MySQL-M1(192.168.8.32) master/ONLINE. Roles: reader(*), writer(192.168.8.30)", SOON)
        .unwrap();
    let late = lab.expect_host(M1, "HARD_OFFLINE", &[], Duration::from_millis(50)).unwrap_err().to_string();
    assert!(late.contains("MySQL-M1 HARD_OFFLINE") && late.contains("master/ONLINE"), "{late}");
    lab.down().unwrap();
}

#[test]
fn a_program_that_is_not_built_is_named() {
    let lab = Lab::for_test("unbuilt").without_servers().bin_dir(Path::new("/nonexistent")).up().unwrap();
    let error = lab.start(M1, Program::Agent).unwrap_err().to_string();
    assert!(error.contains("`mmm_agentd` was not found in /nonexistent"), "{error}");
    lab.down().unwrap();
}
