//! The built `mmm_control` against a scripted monitor on an ephemeral port of the loopback.

// Helpers of a test may fail the test too; the lint knows only the test functions themselves.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A configuration folder that points at `port`.
fn config(port: u16, name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, format!("<monitor>\n    ip 127.0.0.1\n    port {port}\n</monitor>\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    dir
}

fn control(dir: &TempDir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mmm_control"));
    command.args(words).env("MMM_CONFIG_DIR", dir.path()).stdin(Stdio::null());
    command
}

/// All that the client sends until `quit`, which ends what it has to say.
fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"quit\n") && stream.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// A monitor that serves connections with `serve` and tells what it was asked.
fn scripted(mut serve: impl FnMut(TcpStream) + Send + 'static) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read_request(&mut stream);
            serve(stream);
            if asked.send(request).is_err() {
                return;
            }
        }
    });
    (port, requests)
}

/// Runs the command against a monitor that gives this answer; also what it was asked.
fn run(words: &[&str], answer: &'static [u8]) -> (Output, String) {
    let (port, requests) = scripted(move |mut stream| stream.write_all(answer).unwrap());
    let dir = config(port, "mmm_mon.conf");
    let output = control(&dir, words).output().unwrap();
    (output, requests.recv_timeout(Duration::from_secs(10)).unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn words_go_out_joined_by_blanks_and_the_answer_comes_back_with_a_newline() {
    let (output, asked) =
        run(&["move_role", "--force", "writer", "db2"], b"OK: Role 'writer' has been moved");
    assert_eq!(asked, "move_role --force writer db2\nquit\n");
    assert_eq!(text(&output.stdout), "OK: Role 'writer' has been moved\n");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn an_answer_of_several_lines_and_odd_bytes_passes_unchanged() {
    let (output, asked) = run(&["show", "extra"], b"Invalid command 'show extra'\n\n\xffValid\n");
    assert_eq!(asked, "show extra\nquit\n");
    assert_eq!(output.stdout, b"Invalid command 'show extra'\n\n\xffValid\n\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_answer_that_begins_with_error_exits_1() {
    let (output, _) = run(&["set_online", "db9"], b"ERROR: Unknown host name 'db9'!");
    assert_eq!(text(&output.stdout), "ERROR: Unknown host name 'db9'!\n");
    assert_eq!(output.status.code(), Some(1));
    let (output, _) = run(&["show"], b"  db1 ERROR is only a word here");
    assert_eq!(output.status.code(), Some(0));
}

/// A byte string as Python prints it.
fn bytes(literal: &str) -> Vec<u8> {
    let quote = &literal[1..2];
    let body = literal[2..].strip_suffix(quote).unwrap_or_else(|| panic!("an open quote: {literal}"));
    body.replace("\\n", "\n").into_bytes()
}

#[test]
fn what_a_monitor_of_2_2_1_answered_is_printed_as_its_own_client_printed_it() {
    let recorded: Vec<&str> = include_str!("recorded/answers.txt").lines().collect();
    let mut errors = 0;
    for pair in recorded.chunks(2) {
        let [command, printed] = pair else { panic!("a command without its answer: {pair:?}") };
        let (words, _) =
            command.strip_prefix("mmm_control ").and_then(|rest| rest.split_once(" -> exit 0")).unwrap();
        let printed = bytes(printed);
        // The client adds a newline to what it gets.
        let answer = printed.strip_suffix(b"\n").unwrap().to_vec().leak();
        let (output, asked) = run(&words.split(' ').collect::<Vec<_>>(), answer);
        assert_eq!(asked, format!("{words}\nquit\n"));
        assert_eq!(text(&output.stdout), text(&printed), "{command}");
        // 2.2.1's client exits with 0 whatever the answer is.
        let is_error = printed.starts_with(b"ERROR");
        assert_eq!(output.status.code(), Some(i32::from(is_error)), "{command}");
        errors += usize::from(is_error);
    }
    assert!(recorded.len() > 100 && errors > 20, "{} lines, {errors} errors", recorded.len());
}

#[test]
fn without_a_terminal_a_host_is_confirmed_dead_by_yes_only() {
    let (output, asked) =
        run(&["confirm_dead", "db1"], b"Host 'db1' can't be reached and may still be writing.");
    assert_eq!(asked, "confirm_dead db1\nquit\n");
    assert_eq!(text(&output.stdout), "Host 'db1' can't be reached and may still be writing.\n");
    assert!(text(&output.stderr).contains("mmm_control confirm_dead --yes db1"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    for words in [["confirm_dead", "db1", "--yes"], ["confirm_dead", "--yes", "db1"]] {
        let (output, asked) = run(&words, b"OK: Host 'db1' counts as dead");
        assert_eq!(asked, "confirm_dead --yes db1\nquit\n");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    }
    for (answer, code) in
        [(&b"OK: Nobody waits for host 'db1'"[..], 0), (b"ERROR: Unknown host name 'db1'!", 1)]
    {
        let (output, _) = run(&["confirm_dead", "db1"], answer);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(code), ""));
    }
}

#[test]
fn without_a_monitor_the_line_of_2_2_1_is_printed_and_the_reason_beside_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let output = control(&config(port, "mmm_mon.conf"), &["show"]).output().unwrap();
    assert_eq!(text(&output.stdout), "ERROR: Can't connect to monitor daemon!\n");
    assert!(text(&output.stderr).contains(&format!("127.0.0.1:{port}")), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn without_a_command_usage_goes_to_standard_error_with_exit_255() {
    let dir = tempfile::tempdir().unwrap();
    let output = control(&dir, &[]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), ""));
    assert!(text(&output.stderr).contains("See 'mmm_control help'"), "{}", text(&output.stderr));
}

#[test]
fn the_version_needs_neither_configuration_nor_monitor() {
    let dir = tempfile::tempdir().unwrap();
    let output = control(&dir, &["--version"]).output().unwrap();
    assert!(text(&output.stdout).starts_with("mmm_control 3."), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn json_is_sent_first_and_refused_where_it_means_nothing() {
    let (output, asked) = run(&["--json", "show"], b"{\"hosts\":[]}");
    assert_eq!(asked, "--json show\nquit\n");
    assert_eq!(text(&output.stdout), "{\"hosts\":[]}\n");
    let output = control(&config(1, "mmm_mon.conf"), &["--json", "set_online", "db1"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(
        text(&output.stderr).contains("show, checks, mode, history, explain and plan only"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_word_with_a_line_break_is_refused_before_anything_is_sent() {
    let output = control(&config(1, "mmm_mon.conf"), &["show\nset_offline db1"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("line break"), "{}", text(&output.stderr));
}

#[test]
fn a_cluster_has_its_own_configuration_file() {
    let (port, requests) = scripted(|mut stream| stream.write_all(b"ACTIVE").unwrap());
    let dir = config(port, "mmm_mon_blue.conf");
    let output = control(&dir, &["@blue", "mode"]).output().unwrap();
    assert_eq!(text(&output.stdout), "ACTIVE\n");
    assert_eq!(requests.recv().unwrap(), "mode\nquit\n");
    let output = control(&dir, &["mode"]).env("HOME", dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_configuration_that_is_named_is_read_and_a_missing_one_is_an_error_that_names_it() {
    let (port, _requests) = scripted(|mut stream| stream.write_all(b"ACTIVE").unwrap());
    let dir = config(port, "other.conf");
    let path = dir.path().join("other.conf");
    let output = control(&dir, &["--config", path.to_str().unwrap(), "mode"]).output().unwrap();
    assert_eq!(text(&output.stdout), "ACTIVE\n");
    let output = control(&dir, &["--config", "/nonexistent/mmm.conf", "mode"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("/nonexistent/mmm.conf"), "{}", text(&output.stderr));
}

#[test]
fn a_connection_cut_in_the_answer_is_said_and_what_came_is_shown() {
    let (port, _requests) = scripted(|mut stream| {
        stream.write_all(b"  db1(10.0.0.1) mas").unwrap();
        // Closing without lingering resets the connection; what had arrived stays readable before the error.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let output = control(&config(port, "mmm_mon.conf"), &["show"]).output().unwrap();
    assert_eq!(text(&output.stdout), "  db1(10.0.0.1) mas\n");
    assert!(
        text(&output.stderr).contains("was cut before its answer was complete"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_monitor_that_closes_without_an_answer_is_an_error_except_after_quit() {
    let (output, _) = run(&["show"], b"");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("without an answer"), "{}", text(&output.stderr));
    let (output, asked) = run(&["quit"], b"");
    assert_eq!((output.status.code(), text(&output.stdout), asked.as_str()), (Some(0), "\n", "quit\n"));
}

#[test]
fn a_monitor_that_hangs_is_left_after_the_limit() {
    let (port, _requests) = scripted(|stream| {
        thread::sleep(Duration::from_secs(30));
        drop(stream);
    });
    let start = Instant::now();
    let output = control(&config(port, "mmm_mon.conf"), &["--timeout", "1", "show"]).output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(text(&output.stderr).contains("did not answer in full within 1 s"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_answer_without_end_is_cut_off_at_its_limit() {
    let (port, _requests) = scripted(|mut stream| {
        let chunk = vec![b'x'; 1 << 20];
        while stream.write_all(&chunk).is_ok() {}
    });
    let output = control(&config(port, "mmm_mon.conf"), &["show"]).output().unwrap();
    assert_eq!(output.stdout.len(), 16 * 1024 * 1024 + 1);
    assert!(text(&output.stderr).contains("is longer than 16777216 bytes"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn watch_asks_again_each_second_and_bridges_a_monitor_that_is_away() {
    let mut round = 0;
    let (port, requests) = scripted(move |mut stream| {
        round += 1;
        if round != 2 {
            write!(stream, "  db1(10.0.0.1) master/ONLINE. round {round}").unwrap();
        }
    });
    let start = Instant::now();
    let output = control(&config(port, "mmm_mon.conf"), &["watch", "--count", "3"]).output().unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
    let shown = text(&output.stdout);
    let heads = shown.lines().filter(|line| line.starts_with("Monitor 127.0.0.1:")).count();
    assert_eq!(heads, 3, "{shown}");
    assert_eq!(
        shown.matches("round 1").count(),
        2,
        "the last answer stays while there is no new one: {shown}"
    );
    assert_eq!(shown.matches("# Warning: no answer now").count(), 1, "{shown}");
    assert_eq!(shown.matches("round 3").count(), 1, "{shown}");
    assert!(!shown.contains('\u{1b}'), "no terminal, no escape sequences");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(requests.iter().take(3).collect::<Vec<_>>(), vec!["show\nquit\n"; 3]);
}

#[test]
fn watch_with_a_count_exits_1_when_the_monitor_is_away_at_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let output = control(&config(port, "mmm_mon.conf"), &["watch", "--count", "1"]).output().unwrap();
    assert!(text(&output.stdout).contains("last answer: none yet"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn ctrl_c_ends_watch_with_0() {
    let (port, requests) = scripted(|mut stream| stream.write_all(b"all is well").unwrap());
    let dir = config(port, "mmm_mon.conf");
    let mut child = control(&dir, &["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    requests.recv_timeout(Duration::from_secs(20)).unwrap();
    // Bytes of the first picture: the signal is handled from before the first question on.
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_doctors_verdict_is_the_exit_code() {
    let (output, asked) = run(
        &["doctor", "db1"],
        b"ERROR db1 log_bin: there is no binary log\nWARN  db1 sync_binlog: sync_binlog is 0\n# 1 errors",
    );
    assert_eq!(asked, "doctor db1\nquit\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).ends_with("sync_binlog is 0\n# 1 errors\n"), "the whole report is printed");
    let (output, asked) =
        run(&["doctor"], b"WARN  db1 sync_binlog: sync_binlog is 0\nOK    db2: nothing found");
    assert_eq!(asked, "doctor\nquit\n");
    assert_eq!(output.status.code(), Some(0));
}
