//! Taking labs down: whole ones, half-built ones, abandoned ones. Nothing may be left. Needs root.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, in functions too")]

mod left;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use mmm_lab::{Lab, LabError, M1, Program, base_dir, wait_for};

fn mmm_lab(lab: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mmm_lab"));
    command.args(["--lab", lab]).args(words).stdin(Stdio::null());
    command
}

fn text(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn dir(name: &str) -> PathBuf {
    base_dir().join(name)
}

fn unique(name: &str) -> String {
    format!("{name}_{}", std::process::id())
}

#[test]
fn down_leaves_nothing_of_a_lab_in_use() {
    let lab = Lab::for_test("down").without_daemons().up().unwrap();
    let (name, dir) = (lab.name().to_owned(), lab.dir().to_owned());
    lab.start_probe_to("192.168.8.32").unwrap();
    lab.freeze(M1, Program::Server).unwrap();
    let mut shell = lab.command(M1, &["sleep", "1000"]).unwrap().spawn().unwrap();
    assert!(!left::of_lab(&name, &dir).is_empty(), "the search itself works");
    lab.down().unwrap();
    assert_eq!(left::of_lab(&name, &dir), Vec::<String>::new());
    assert!(!shell.wait().unwrap().success());
}

#[test]
fn a_lab_that_is_dropped_goes_down() {
    let lab = Lab::for_test("drop").without_servers().up().unwrap();
    let (name, dir) = (lab.name().to_owned(), lab.dir().to_owned());
    drop(lab);
    assert_eq!(left::of_lab(&name, &dir), Vec::<String>::new());
}

#[test]
fn down_cleans_after_a_builder_that_was_killed_at_any_time() {
    let name = unique("killed");
    // From before the first namespace to the running cluster.
    for wait_ms in [5, 20, 60, 120, 200, 300, 500, 900, 1500] {
        let mut builder = mmm_lab(&name, &["up", "--no-daemons"]);
        let mut builder = builder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(wait_ms));
        builder.kill().unwrap();
        builder.wait().unwrap();
        let (done, words) = text(&mut mmm_lab(&name, &["down"]));
        assert!(done, "{words}");
        assert_eq!(left::of_lab(&name, &dir(&name)), Vec::<String>::new(), "killed after {wait_ms} ms");
    }
}

#[test]
fn a_lab_whose_test_was_killed_is_taken_down_by_the_next_one() {
    const CHILD: &str = "MMM_LAB_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let lab = Lab::for_test("orphan").without_servers().up().unwrap();
        lab.exec("client", &["true"]).unwrap();
        thread::sleep(Duration::from_mins(2));
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_lab_whose_test_was_killed_is_taken_down_by_the_next_one"]).env(CHILD, "1");
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let name = format!("orphan_{}", child.id());
    wait_for("the child's lab", Duration::from_secs(20), || {
        let lab = Lab::open(&base_dir(), &name).map_err(|error| error.to_string())?;
        lab.exec("client", &["true"]).map(drop).map_err(|error| error.to_string())
    })
    .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let next = Lab::for_test("next").without_servers().up().unwrap();
    assert_eq!(left::of_lab(&name, &dir(&name)), Vec::<String>::new());
    next.down().unwrap();
}

#[test]
fn down_works_without_a_readable_state_file() {
    let lab = Lab::for_test("stateless").without_servers().up().unwrap();
    let (name, dir) = (lab.name().to_owned(), lab.dir().to_owned());
    std::fs::write(dir.join("state.json"), "{ half").unwrap();
    assert!(matches!(lab.exec(M1, &["true"]), Err(LabError::BadState { .. })));
    Lab::down_by_name(&base_dir(), &name).unwrap();
    assert_eq!(left::of_lab(&name, &dir), Vec::<String>::new());
}

#[test]
fn the_command_line_does_what_the_library_does() {
    let name = unique("cli");
    let (done, words) = text(&mut mmm_lab(&name, &["status"]));
    assert!(!done && words.contains(&format!("there is no lab `{name}`")), "{words}");
    let (done, words) = text(&mut mmm_lab(&name, &["up", "--no-daemons", "--server-line", "read_only=1"]));
    assert!(done && words.contains("is up after"), "{words}");
    let (done, words) = text(&mut mmm_lab(&name, &["up", "--no-daemons"]));
    assert!(!done && words.contains("already up"), "a lab in use is not replaced: {words}");
    let (done, words) =
        text(&mut mmm_lab(&name, &["exec", "MySQL-M1", "--", "mariadb", "-e", "SELECT @@read_only"]));
    assert!(done && words.contains('1'), "{words}");
    assert!(text(&mut mmm_lab(&name, &["exec", "MySQL-M1", "mariadb", "-e", "SET GLOBAL read_only=0"])).0);
    assert!(text(&mut mmm_lab(&name, &["probe", "start", "--target", "192.168.8.32"])).0);
    assert!(text(&mut mmm_lab(&name, &["fault", "cut", "client", "MySQL-M1"])).0);
    let (done, words) = text(&mut mmm_lab(&name, &["status"]));
    assert!(
        done && words.contains("cut: client -> MySQL-M1 (Drop)") && words.contains("probe: running"),
        "{words}"
    );
    assert!(text(&mut mmm_lab(&name, &["fault", "heal"])).0);
    let (done, words) = text(&mut mmm_lab(&name, &["probe", "stop", "MySQL-M1"]));
    assert!(done && words.contains("0 lost, 0 duplicates"), "{words}");
    let (done, words) = text(&mut mmm_lab(&name, &["fault", "kill", "MySQL-M1", "serve"]));
    assert!(!done && words.contains("expected server, agent or monitor"), "{words}");
    let (done, words) = text(&mut mmm_lab(&name, &["down"]));
    assert!(done, "{words}");
    assert_eq!(left::of_lab(&name, &dir(&name)), Vec::<String>::new());
}
