use std::fs;
use std::os::unix::fs::symlink;

use mmm_config::{Program, Request, load};

use crate::support::Folder;

const CONTROL: &str = "<monitor>\nip 127.0.0.1\n</monitor>\n";

fn control(text: &str) -> Folder {
    let folder = Folder::new();
    folder.write("mmm_mon.conf", text);
    folder
}

fn port(folder: &Folder) -> u16 {
    folder.loaded(Program::Control).settings.control_view().unwrap().address.port()
}

#[test]
fn a_world_readable_file_is_refused_by_name() {
    let folder = Folder::tutorial();
    folder.set_mode("mmm_mon.conf", 0o644);
    let failure = folder.failure(Program::Monitor);
    assert!(
        failure.contains("error: configuration file DIR/mmm_mon.conf is world-readable (mode 0644)"),
        "{failure}"
    );
    assert!(failure.contains("hint: chmod 640 DIR/mmm_mon.conf"), "{failure}");
    assert!(failure.contains("1 error in its configuration"), "{failure}");
}

#[test]
fn a_world_writable_include_is_refused_by_name() {
    let folder = Folder::tutorial();
    folder.set_mode("mmm_common.conf", 0o642);
    let failure = folder.failure(Program::Monitor);
    assert!(failure.contains("DIR/mmm_common.conf is world-writable (mode 0642)"), "{failure}");
    assert!(failure.contains("1 error in its configuration"), "no error follows from it: {failure}");
}

#[test]
fn an_unreadable_file_says_why() {
    let folder = Folder::new();
    symlink("mmm_mon.conf", folder.path("mmm_mon.conf")).unwrap();
    let failure = folder.failure(Program::Monitor);
    assert!(failure.contains("cannot read configuration file DIR/mmm_mon.conf: "), "{failure}");
    let folder = Folder::new();
    let failure = folder.failure(Program::Monitor);
    assert!(failure.contains("DIR/mmm_mon.conf: No such file"), "{failure}");
    fs::create_dir(folder.path("mmm_mon.conf")).unwrap();
    let failure = folder.failure(Program::Monitor);
    assert!(failure.contains("DIR/mmm_mon.conf is not a regular file"), "{failure}");
}

#[test]
fn a_file_that_is_nowhere_names_the_places() {
    let folder = Folder::new();
    let request = Request {
        cluster: Some("no-such-cluster".to_owned()),
        config_dir: Some(folder.path("x")),
        ..Request::new(Program::Agent)
    };
    let failure = load(&request).unwrap_err().to_string();
    assert!(
        failure.contains("no configuration file `mmm_agent_no-such-cluster.conf` was found"),
        "{failure}"
    );
    assert!(failure.contains("/x, /etc, /etc/mmm, /etc/mysql-mmm"), "{failure}");
    assert!(failure.contains("--config FILE"), "{failure}");
}

#[test]
fn a_cluster_name_cannot_leave_the_folder() {
    let request = Request { cluster: Some("../x".to_owned()), ..Request::new(Program::Agent) };
    let failure = load(&request).unwrap_err().to_string();
    assert!(failure.contains("`../x` cannot be the name of a cluster"), "{failure}");
}

#[test]
fn the_configured_folder_comes_before_the_usual_ones_and_config_before_both() {
    let folder = control("<monitor>\nip 127.0.0.1\nport 1\n</monitor>\n");
    folder.write("mmm_mon_blue.conf", "<monitor>\nip 127.0.0.1\nport 2\n</monitor>\n");
    folder.write("other.conf", "<monitor>\nip 127.0.0.1\nport 3\n</monitor>\n");
    let mut request = Request { config_dir: Some(folder.path("")), ..Request::new(Program::Control) };
    let port = |request: &Request| load(request).unwrap().settings.control_address.unwrap().port();
    assert_eq!(port(&request), 1);
    request.cluster = Some("blue".to_owned());
    assert_eq!(port(&request), 2);
    request.config = Some(folder.path("other.conf"));
    assert_eq!(port(&request), 3);
}

#[test]
fn an_include_is_looked_for_beside_its_file_and_then_in_the_folders() {
    let folder = control("include sub/a.conf\n<monitor>\nip 127.0.0.1\n</monitor>\n");
    fs::create_dir(folder.path("sub")).unwrap();
    folder.write("sub/a.conf", "include b.conf # beside\ninclude c.conf\n");
    folder.write("sub/b.conf", "<monitor>\nport 1\n</monitor>\n");
    folder.write("b.conf", "<monitor>\nport 2\n</monitor>\n");
    folder.write("c.conf", "debug 1\n");
    let request = Request { config_dir: Some(folder.path("")), ..folder.request(Program::Control) };
    let loaded = load(&request).unwrap();
    assert_eq!(loaded.settings.control_address.unwrap().port(), 1);
    assert!(loaded.settings.debug);
    let files = ["mmm_mon.conf", "sub/a.conf", "sub/b.conf", "c.conf"].map(|name| folder.path(name));
    assert_eq!(loaded.files, files);
}

#[test]
fn an_include_that_is_nowhere_is_an_error_with_the_places() {
    let failure = control("include nowhere.conf\n").failure(Program::Control);
    assert!(failure.contains("included file `nowhere.conf` was not found"), "{failure}");
    assert!(failure.contains("DIR/mmm_mon.conf:1:9"), "{failure}");
    assert!(failure.contains("looked in DIR, /etc, /etc/mmm"), "{failure}");
    assert!(failure.contains("1 error in"), "{failure}");
}

#[test]
fn an_include_cycle_is_found() {
    let folder = control(&format!("include a.conf\n{CONTROL}"));
    folder.write("a.conf", "\ninclude ./mmm_mon.conf\n");
    let failure = folder.failure(Program::Control);
    assert!(failure.contains("file `./mmm_mon.conf` includes itself"), "{failure}");
    assert!(failure.contains("DIR/a.conf:2:9"), "{failure}");
}

#[test]
fn includes_have_a_depth_and_a_number() {
    let folder = control("include 0.conf\n");
    for level in 0..30 {
        folder.write(&format!("{level}.conf"), &format!("include {}.conf\n", level + 1));
    }
    assert!(folder.failure(Program::Control).contains("includes are nested too deeply"));
    let folder = control(&"include a.conf\n".repeat(100));
    folder.write("a.conf", "debug 1\n");
    assert!(folder.failure(Program::Control).contains("too many files are included"));
}

#[test]
fn a_file_may_be_included_twice() {
    let folder = control(&format!("include a.conf\ndebug 0\ninclude a.conf\n{CONTROL}"));
    folder.write("a.conf", "debug 1\n");
    assert!(folder.loaded(Program::Control).settings.debug);
}

#[test]
fn windows_line_ends_a_byte_order_mark_and_a_missing_last_newline_are_taken() {
    let folder = control("\u{feff}debug 1 # 注释\r\n<monitor>\r\nip 127.0.0.1\r\nport 7\r\n</monitor>");
    assert_eq!(port(&folder), 7);
}

#[test]
fn text_that_is_not_utf8_is_named_with_its_line() {
    let folder = Folder::new();
    folder.write_bytes(
        "mmm_mon.conf",
        b"debug 1\nmax_kill_retries 5 # \xb7\xfe\xce\xf1\n<monitor>\nip 127.0.0.1\n</monitor>\n",
    );
    let failure = folder.failure(Program::Control);
    assert!(failure.contains("the text is not UTF-8"), "{failure}");
    assert!(failure.contains("DIR/mmm_mon.conf:2:"), "{failure}");
    assert!(failure.contains("hint: convert it, for example: iconv"), "{failure}");
    assert!(failure.contains("1 error in"), "{failure}");
}

#[test]
fn files_and_lines_have_a_size() {
    let folder = control(&"#\n".repeat(600_000));
    assert!(folder.failure(Program::Control).contains("is too large"));
    let folder = control(&format!("{CONTROL}debug {}\n", "1".repeat(10_000)));
    let failure = folder.failure(Program::Control);
    assert!(failure.contains("the line is too long"), "{failure}");
    assert!(failure.contains("DIR/mmm_mon.conf:4:"), "{failure}");
    assert!(failure.len() < 5000);
}

#[test]
fn garbage_is_not_listed_without_end() {
    let failure = control(&"?\n".repeat(100_000)).failure(Program::Control);
    assert!(failure.contains("there are more problems than these"), "{}", failure.len());
    assert!(failure.len() < 100_000);
}

#[test]
fn our_own_variables_are_read_from_their_own_file() {
    let folder = Folder::tutorial();
    folder.write("mmm3.conf", "secret_file /etc/mysql-mmm/secret # 3.x\n");
    for program in [Program::Monitor, Program::Agent] {
        let loaded = folder.loaded(program);
        assert_eq!(loaded.settings.secret_file, Some("/etc/mysql-mmm/secret".into()));
        assert!(folder.described(program).contains("secret_file /etc/mysql-mmm/secret"));
        assert!(loaded.files.contains(&folder.path("mmm3.conf")));
    }
    folder.set_mode("mmm3.conf", 0o644);
    assert!(folder.failure(Program::Monitor).contains("DIR/mmm3.conf is world-readable"));
}

#[test]
fn our_own_file_knows_only_our_own_variables() {
    let folder = control(CONTROL);
    folder.write("mmm3.conf", "secret_fiel /x\ndebug 1\nsecret_file x\nwibble 1\n");
    let failure = folder.failure(Program::Control);
    assert!(failure.contains("DIR/mmm3.conf:1:1"), "{failure}");
    assert!(failure.contains("did you mean `secret_file`?"), "{failure}");
    assert!(failure.contains("variable `debug` does not belong into mmm3.conf"), "{failure}");
    assert!(failure.contains("expected an absolute path"), "{failure}");
    assert!(failure.contains("unknown variable `wibble`"), "{failure}");
    assert!(failure.contains("4 errors in"), "{failure}");
}

#[test]
fn our_own_variable_in_a_file_of_2x_is_sent_to_its_own() {
    let failure = control(&format!("secret_file /x\n{CONTROL}")).failure(Program::Control);
    assert!(failure.contains("variable `secret_file` belongs into mmm3.conf"), "{failure}");
    assert!(failure.contains("DIR/mmm_mon.conf:1:1"), "{failure}");
}

#[test]
fn many_warnings_do_not_stop_a_program() {
    let folder = control(&format!("{}{CONTROL}debug 1\n", "debug \"0\"\n".repeat(1000)));
    let loaded = folder.loaded(Program::Control);
    assert!(loaded.settings.debug);
    assert!(loaded.warnings.len() < 1000);
}

#[test]
fn protocol_1_beside_a_secret_is_allowed_in_mmm3_conf_to_monitor_and_agents() {
    for program in [Program::Monitor, Program::Agent] {
        let folder = Folder::tutorial();
        assert!(!folder.loaded(program).settings.allow_protocol1);
        folder.write("mmm3.conf", "secret_file /etc/mysql-mmm/secret\nallow_protocol1 yes\n");
        assert!(folder.loaded(program).settings.allow_protocol1);
        assert!(folder.described(program).contains("allow_protocol1 yes "));
    }
}
