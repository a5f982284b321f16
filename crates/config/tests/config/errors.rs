use mmm_config::{Problem, Program, Severity};

use crate::support::Folder;

/// Edits one of the tutorial's files and returns what the monitor prints.
fn broken(file: &str, from: &str, to: &str) -> String {
    let folder = Folder::tutorial();
    folder.edit(file, from, to);
    folder.failure(Program::Monitor)
}

fn common(from: &str, to: &str) -> String {
    broken("mmm_common.conf", from, to)
}

/// All pieces stand in the text, and it is the only error.
fn only(failure: &str, pieces: &[&str]) {
    has(failure, pieces);
    assert!(failure.ends_with("does not start: 1 error in its configuration"), "{failure}");
}

fn has(failure: &str, pieces: &[&str]) {
    for piece in pieces {
        assert!(failure.contains(piece), "no `{piece}` in:\n{failure}");
    }
}

#[test]
fn errors_are_rendered_with_line_place_expectation_and_hint() {
    let folder = Folder::tutorial();
    folder.edit("mmm_common.conf", " # 前面创建的复制账号密码", "");
    folder.edit("mmm_common.conf", " # 前面创建的代理账号密码", "");
    folder.edit("mmm_mon.conf", " # 前面创建的监控账号密码", "");
    folder.edit("mmm_common.conf", "cluster_interface eth0", "cluster_interfac eth0 # 网卡");
    folder.edit("mmm_common.conf", "192.168.8.34, 192.168.8.35", "192.168.8.34, 192.168.8.300");
    folder.edit("mmm_common.conf", "peer MySQL-M1", "peer MySQL-M3");
    folder.edit("mmm_mon.conf", "debug 0", "debug maybe\nmode active");
    folder.edit("mmm_mon.conf", "</monitor>", "");
    insta::assert_snapshot!(folder.failure(Program::Monitor));
}

#[test]
fn errors_come_in_the_order_of_the_files_as_values_too() {
    let folder = Folder::tutorial();
    folder.edit("mmm_mon.conf", "debug 0", "debug maybe");
    folder.edit("mmm_common.conf", "mode exclusive", "mode exlusive");
    let failure = folder.load(Program::Monitor).unwrap_err();
    let found: Vec<_> = failure
        .diagnostics()
        .iter()
        .filter(|diagnostic| diagnostic.severity() == Severity::Error)
        .map(|diagnostic| {
            let place = diagnostic.place().unwrap();
            (place.path().to_owned(), place.line(), diagnostic.problem().clone())
        })
        .collect();
    let bad = |name, value: &str| Problem::BadValue { name, value: value.to_owned() };
    assert_eq!(
        found,
        [
            (folder.path("mmm_mon.conf"), 14, bad("debug", "maybe")),
            (folder.path("mmm_common.conf"), 24, bad("mode", "exlusive")),
        ]
    );
}

#[test]
fn an_unknown_variable_names_the_nearest_or_its_section() {
    only(
        &common("bin_path /usr", "bin_pth /usr\nbin_path /usr"),
        &[
            "unknown variable `bin_pth` in section <host default>",
            "mmm_common.conf:5:1",
            "did you mean `bin_path`?",
        ],
    );
    only(
        &broken("mmm_mon.conf", "debug 0", "ping_interval 2"),
        &["unknown variable `ping_interval` in the global section", "`ping_interval` belongs into <monitor>"],
    );
    only(
        &broken("mmm_mon.conf", "ip 127.0.0.1", "ip 127.0.0.1\nactive_master_role writer"),
        &["unknown variable `active_master_role` in section <monitor>", "belongs outside of sections"],
    );
    let failure = broken("mmm_mon.conf", "debug 0", "wsrep_provider x");
    only(&failure, &["unknown variable `wsrep_provider`", "mmm_mon.conf:14:1"]);
    assert!(!failure.contains("did you mean"), "{failure}");
}

#[test]
fn an_unknown_section_names_the_nearest_and_its_content_is_not_blamed() {
    only(
        &broken("mmm_mon.conf", "debug 0", "<hots a>\nip x\nfoo bar\n</hots>"),
        &["unknown section <hots>", "mmm_mon.conf:14:2", "did you mean `host`?"],
    );
    only(
        &broken("mmm_mon.conf", "debug 0", "<check mysqld>\ncheck_period 1\n</check>"),
        &[
            "unknown check `mysqld`",
            "expected one of ping, mysql, rep_backlog, rep_threads",
            "did you mean `mysql`?",
        ],
    );
    only(&broken("mmm_mon.conf", "debug 0", "<debug>\n</debug>"), &["`debug` is a variable, not a section"]);
    only(&broken("mmm_mon.conf", "debug 0", "<host>\n</host>"), &["section <host> needs a name"]);
    only(&broken("mmm_mon.conf", "debug 0", "<monitor x>\n</monitor>"), &["section <monitor> has no name"]);
}

#[test]
fn a_variable_where_a_section_belongs_shows_the_tag() {
    only(
        &broken("mmm_mon.conf", "debug 0", "host db1"),
        &["variable `host` where a section belongs", "mmm_mon.conf:14:1", "write `<host db1>`"],
    );
    only(&broken("mmm_mon.conf", "debug 0", "monitor 1"), &["write `<monitor>`"]);
}

#[test]
fn a_half_written_file_is_told_by_its_missing_end_tag() {
    let folder = Folder::tutorial();
    folder.edit("mmm_mon.conf", "</host>\ndebug 0\n", "");
    only(
        &folder.failure(Program::Monitor),
        &[
            "section <host default> has no end tag",
            "mmm_mon.conf:10:1",
            "expected </host>",
            "the file may be only half written",
        ],
    );
    only(
        &common("</host>\n<host MySQL-M2>", "<host MySQL-M2>"),
        &["<host MySQL-M1> has no end tag", ":11:1"],
    );
}

#[test]
fn end_tags_fit_their_sections() {
    only(&broken("mmm_mon.conf", "debug 0", "</role>"), &["end tag </role> without a section", ":14:1"]);
    only(
        &broken("mmm_mon.conf", "</monitor>", "</mon>"),
        &["end tag </mon> inside of section <monitor>", "expected </monitor>", "the section begins here"],
    );
}

#[test]
fn broken_lines_are_told_apart() {
    let line = |text: &str| broken("mmm_mon.conf", "debug 0", text);
    only(&line("debug"), &["variable `debug` has no value", "mmm_mon.conf:14:1"]);
    only(&line("debug # 1"), &["variable `debug` has no value", "stands in double quotes"]);
    only(&line("debug=1"), &["`debug` is not a name", "write VARIABLE VALUE, without `=`"]);
    only(&line("// note"), &["`//` is not a name", "a comment begins with `#`"]);
    only(&line("debug \"1"), &["the quoted value does not end", "mmm_mon.conf:14:7"]);
    only(&line("debug \"1\" 2"), &["text behind the quoted value", "mmm_mon.conf:14:11"]);
    has(&line("<host x"), &["the tag does not end", "expected `>`", "section <host> has no end tag"]);
    only(&line("<host x> y\n</host>"), &["text behind the tag"]);
    only(&line("<host x y/>"), &["malformed tag", "expected <TYPE>, <TYPE NAME>"]);
    only(&line("debug \u{1}"), &["a control character in the line"]);
}

#[test]
fn an_include_inside_of_a_section_is_refused() {
    only(
        &broken("mmm_mon.conf", "ip 127.0.0.1", "ip 127.0.0.1\ninclude x.conf"),
        &["`include` inside of section <monitor>", "mmm_mon.conf:4:9"],
    );
}

#[test]
fn what_is_missing_is_named_with_its_meaning() {
    only(
        &common("ip 192.168.8.33\n", ""),
        &[
            "variable `ip` is missing in section <host MySQL-M2>",
            "mmm_common.conf:16:1",
            "address of the host",
        ],
    );
    only(&common("peer MySQL-M1\n", ""), &["variable `peer` is missing in section <host MySQL-M2>"]);
    only(
        &common("active_master_role writer", ""),
        &["`active_master_role` is missing in the global section", "DIR/mmm_mon.conf"],
    );
    let folder = Folder::tutorial();
    folder.write("mmm_agent.conf", "include mmm_common.conf\n");
    only(&folder.failure(Program::Agent), &["variable `this` is missing", "name of this host"]);
    folder.write(
        "mmm_mon.conf",
        "include mmm_common.conf\n<host default>\nmonitor_user a\nmonitor_password b\n</host>\n",
    );
    only(&folder.failure(Program::Monitor), &["section <monitor> is missing", "mmm_mond needs <monitor>"]);
    only(&folder.failure(Program::Control), &["section <monitor> is missing", "mmm_control needs <monitor>"]);
}

#[test]
fn a_master_needs_a_peer_and_a_slave_does_not() {
    let folder = Folder::tutorial();
    let slave = "<host db3>\nip 192.168.8.36\nmode slave\n</host>\n<role writer>";
    folder.edit("mmm_common.conf", "<role writer>", slave);
    assert_eq!(folder.loaded(Program::Monitor).settings.hosts["db3"].peer, None);
    folder.edit("mmm_common.conf", "mode slave", "mode master");
    only(&folder.failure(Program::Monitor), &["variable `peer` is missing in section <host db3>"]);
}

#[test]
fn values_outside_the_allowed_ones_say_what_is_allowed() {
    let monitor = |text: &str| broken("mmm_mon.conf", "ip 127.0.0.1", &format!("ip 127.0.0.1\n{text}"));
    only(
        &monitor("port 70000"),
        &["bad value `70000` of variable `port`", "mmm_mon.conf:4:6", "from 1 to 65535"],
    );
    only(
        &monitor("mode activ"),
        &["expected one of active, manual, wait, passive", "did you mean `active`?"],
    );
    only(&monitor("careful_startup perhaps"), &["expected one of 1, yes, true, on"]);
    only(&monitor("ping_interval 1s"), &["expected seconds, from 0.05 to 86400", "without a unit"]);
    only(&monitor("flap_count -1"), &["bad value `-1`"]);
    only(&broken("mmm_mon.conf", "status_path /", "status_path "), &["expected an absolute path", ":6:13"]);
    only(&common("192.168.8.33", "192.168.8.33/24"), &["`192.168.8.33`, without a prefix length", ":17:4"]);
    only(&common("cluster_interface eth0", "cluster_interface eth0 eth1"), &["network interface", ":3:19"]);
    only(&common("MySQL-M1, MySQL-M2 # 能", "MySQL-M1,,MySQL-M2 # 能"), &["between two commas", ":22:16"]);
    only(&common("mode master", "mode leader"), &["expected one of master, slave", ":13:6"]);
}

#[test]
fn a_wrong_value_in_a_template_is_told_once() {
    only(&common("cluster_interface eth0", "agent_port x"), &["bad value `x`", "mmm_common.conf:3:12"]);
}

#[test]
fn references_lead_to_hosts_and_roles() {
    only(
        &common("MySQL-M1, MySQL-M2 # 能", "MySQL-M1, MySQL-N2 # 能"),
        &[
            "unknown host `MySQL-N2`",
            ":22:17",
            "expected one of MySQL-M1, MySQL-M2",
            "did you mean `MySQL-M2`?",
        ],
    );
    only(&common("MySQL-M1, MySQL-M2 # 能", "MySQL-M1 MySQL-M2 # 能"), &["separate the names with commas"]);
    only(&common("MySQL-M1, MySQL-M2 # 能", "MySQL-M1, MySQL-M1 # 能"), &["host `MySQL-M1` stands twice"]);
    only(
        &common("active_master_role writer", "active_master_role write"),
        &["unknown role `write`", ":1:20", "did you mean `writer`?"],
    );
    has(&common("peer MySQL-M1", "peer default"), &["unknown host `default`"]);
    let folder = Folder::tutorial();
    folder.edit("mmm_agent.conf", "this MySQL-M1", "this MySQL-M3");
    only(&folder.failure(Program::Agent), &["unknown host `MySQL-M3`", "mmm_agent.conf:2:6"]);
}

#[test]
fn masters_stand_in_pairs() {
    has(&common("peer MySQL-M1", "peer MySQL-M2"), &["host `MySQL-M2` is its own peer", ":19:6"]);
    let slave = |text: &str| {
        let folder = Folder::tutorial();
        folder.edit(
            "mmm_common.conf",
            "<role writer>",
            "<host db3>\nip 10.0.0.3\nmode slave\n</host>\n<role writer>",
        );
        folder.edit("mmm_common.conf", "peer MySQL-M1", text);
        folder.failure(Program::Monitor)
    };
    has(
        &slave("peer db3"),
        &[
            "peer `db3` of host `MySQL-M2` is not a master",
            ":19:6",
            "its mode",
            "host `MySQL-M1` has peer `MySQL-M2`, but `MySQL-M2` has peer `db3`",
            "`peer MySQL-M1` in <host MySQL-M2>",
        ],
    );
}

#[test]
fn an_exclusive_role_has_one_address() {
    only(
        &common("ips 192.168.8.30 #", "ips 192.168.8.30, 192.168.8.31 #"),
        &["exclusive role `writer` has 2 addresses", ":23:5", "expected exactly one address"],
    );
}

#[test]
fn the_active_master_role_is_exclusive() {
    only(
        &common("active_master_role writer", "active_master_role reader"),
        &["active_master_role `reader` is not exclusive", ":1:20", "its mode", ":29:6"],
    );
}

#[test]
fn only_an_exclusive_role_prefers_one_of_its_hosts() {
    let prefer =
        |role: &str, host: &str| common(&format!("mode {role}"), &format!("prefer {host}\nmode {role}"));
    only(&prefer("balanced", "MySQL-M1"), &["balanced role `reader` prefers a host", ":29:8"]);
    only(&prefer("exclusive", "MySQL-M9"), &["unknown host `MySQL-M9`", ":24:8"]);
    let folder = Folder::tutorial();
    folder.edit("mmm_common.conf", "hosts MySQL-M1, MySQL-M2", "prefer MySQL-M2\nhosts MySQL-M1");
    only(
        &folder.failure(Program::Monitor),
        &["role `writer` prefers host `MySQL-M2`, which cannot have it", ":22:8", "expected one of MySQL-M1"],
    );
    folder.edit("mmm_common.conf", "prefer MySQL-M2", "prefer MySQL-M1");
    let settings = folder.loaded(Program::Monitor).settings;
    assert_eq!(settings.roles["writer"].prefer.as_deref(), Some("MySQL-M1"));
}

#[test]
fn an_address_is_used_once() {
    only(
        &common("192.168.8.34, 192.168.8.35", "192.168.8.34, ::ffff:192.168.8.30"),
        &["address 192.168.8.30 is used twice", "it is used here, too", "mmm_common.conf"],
    );
    only(
        &common("192.168.8.34, 192.168.8.35", "192.168.8.34, 192.168.8.34"),
        &["192.168.8.34 is used twice", ":28:19"],
    );
    only(
        &common("ips 192.168.8.30", "ips 192.168.8.33"),
        &["address 192.168.8.33 is used twice", ":23:5", ":17:4"],
    );
    only(
        &common("ips 192.168.8.30", "ips 224.0.0.1"),
        &["address 224.0.0.1 cannot belong to a host or role"],
    );
    only(&common("ip 192.168.8.33", "ip 0.0.0.0"), &["address 0.0.0.0 cannot belong", ":17:4"]);
}

#[test]
fn control_is_not_stopped_by_what_it_does_not_use() {
    let folder = Folder::tutorial();
    folder.edit("mmm_common.conf", "peer MySQL-M1", "peer MySQL-M9");
    folder.edit("mmm_mon.conf", "status_path /var/lib/mysql-mmm/mmm_mond.status\n", "");
    folder.load(Program::Control).unwrap();
    has(&folder.failure(Program::Monitor), &["`status_path` is missing", "unknown host `MySQL-M9`"]);
}

#[test]
fn a_password_is_not_shown_by_the_error_next_to_it() {
    for line in [
        "monitor_pasword hunter2",
        "monitor_password=hunter2",
        "monitor_password:hunter2",
        "monitor_password \"hunter2",
        "monitor_password \"hunter2\" hunter2",
        "monitor_passwd hunter2",
    ] {
        let failure = broken("mmm_mon.conf", "monitor_user", &format!("{line}\nmonitor_user"));
        assert!(!failure.contains("hunter2"), "{failure}");
        has(&failure, &["mmm_mon.conf:11:", "********"]);
    }
}
