//! How the lab starts, finds, hurts and asks the product's programs, shown with stand-ins: shell scripts of the same names. Needs root.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, in functions too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mmm_lab::{ConfigFile, Lab, LabError, Life, M1, M2, MON, Program, wait_for};

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

    // One half of the agent, then the other, then both.
    let halves = || {
        let parent = lab.process(M1, Program::Agent).unwrap().unwrap();
        (parent.life(), parent.descendants()[0].life())
    };
    lab.freeze_agent_worker(M1).unwrap();
    assert_eq!(halves(), (Life::Running, Life::Stopped));
    lab.freeze_agent_parent(M1).unwrap();
    assert_eq!(halves(), (Life::Stopped, Life::Stopped));
    lab.thaw(M1, Program::Agent).unwrap();
    assert_eq!(halves(), (Life::Running, Life::Running));
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

#[test]
fn a_second_monitor_runs_elsewhere_with_the_first_ones_configuration_and_files_of_its_own() {
    let programs = StandIns::new("second");
    let lab = Lab::for_test("second")
        .without_servers()
        .append(ConfigFile::Three, "writer_lease 3")
        .bin_dir(programs.path())
        .up()
        .unwrap();
    assert!(lab.start_second_monitor(MON).is_err(), "there the first one runs");
    let second = lab.start_second_monitor(M2).unwrap();
    assert_eq!(second.wait_log("to the log", SOON).unwrap(), "to the log");
    for file in ConfigFile::ALL.into_iter().filter(|file| *file != ConfigFile::Agent) {
        assert_eq!(lab.read_config(M2, file).unwrap(), lab.read_config(MON, file).unwrap());
    }
    assert_eq!(lab.read_config(M1, ConfigFile::Three).unwrap(), "writer_lease 3\n");
    lab.write_file(M2, "/var/lib/mysql-mmm/show", b"mine\n").unwrap();
    assert_eq!(second.control(&["show"]).unwrap().stdout, "mine\n");
    assert!(second.is_running());
    second.end().unwrap();
    lab.down().unwrap();
}

#[test]
fn the_daemons_clock_is_moved_while_they_run_and_nobody_elses() {
    let programs = StandIns::new("clock");
    let agent = programs.path().join("mmm_agentd");
    let clock =
        "#!/bin/sh\nwhile :; do date +%s >/run/seen.new; mv /run/seen.new /run/seen; sleep 0.05; done\n";
    fs::write(agent, clock).unwrap();
    let lab =
        Lab::for_test("clock").without_servers().movable_clocks().bin_dir(programs.path()).up().unwrap();
    lab.start(M1, Program::Agent).unwrap();
    let wait_offset = |host: &str, wanted: i64| {
        wait_for(&format!("an offset of {wanted} s"), SOON, || {
            let seen = lab.exec(host, &["sh", "-c", "echo $(cat /run/seen) $(date +%s)"]).unwrap().stdout;
            let times: Vec<i64> = seen.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let offset = times.first().zip(times.get(1)).map(|(seen, now)| seen - now);
            if offset.is_some_and(|offset| (offset - wanted).abs() <= 2) { Ok(()) } else { Err(seen) }
        })
        .unwrap();
    };
    wait_offset(M1, 0);
    lab.set_clock(M1, 3600).unwrap();
    wait_offset(M1, 3600);
    lab.set_clock(M1, -7).unwrap();
    wait_offset(M1, -7);
    lab.start(M2, Program::Agent).unwrap();
    wait_offset(M2, 0);
    lab.down().unwrap();

    let lab = Lab::for_test("clock_fixed").without_servers().bin_dir(programs.path()).up().unwrap();
    let error = lab.set_clock(M1, 1).unwrap_err().to_string();
    assert!(error.contains("made with movable_clocks()"), "{error}");
    lab.down().unwrap();
}
