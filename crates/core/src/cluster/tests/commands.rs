use super::fixture::{Fixture, STAMP, four, pair, preferring};
use crate::check::CheckKind;
use crate::message::ServerView;
use crate::state::HostState;

const HELP: &str = "\
Valid commands are:
    help                              - show this message
    ping                              - ping monitor
    show                              - show status
    checks [<host>|all [<check>|all]] - show checks status
    set_online <host>                 - set host <host> online
    set_offline <host>                - set host <host> offline
    mode                              - print current mode.
    set_active                        - switch into active mode.
    set_manual                        - switch into manual mode.
    set_passive                       - switch into passive mode.
    move_role [--force] <role> <host> - move exclusive role <role> to host <host>
                                        (Only use --force if you know what you are doing!)
    set_ip <ip> <host>                - set role with ip <ip> to host <host>
";

#[test]
fn help_is_the_block_of_2_2_1_with_ours_after_it() {
    let mut fixture = Fixture::running(pair());
    assert!(fixture.command("help").starts_with(&format!("{HELP}\nNew in MMM 3:\n")));
}

#[test]
fn anything_unknown_is_an_invalid_command_with_the_line_as_it_came() {
    let mut fixture = Fixture::running(pair());
    for line in [
        "nonsense",
        "show extra",
        "checks db1 ping x",
        "set_online",
        "set_offline",
        "move_role",
        "move_role writer",
        "SHOW",
        "help x",
        "mode x",
        "  ping",
        "quit\r",
        "",
        "0",
    ] {
        assert_eq!(fixture.command(line), format!("Invalid command '{line}'\n\n{HELP}"));
    }
}

#[test]
fn trailing_blanks_and_carriage_returns_are_tolerated() {
    let mut fixture = Fixture::running(pair());
    for line in ["ping", "ping ", "ping\r"] {
        assert_eq!(fixture.command(line), "OK: Pinged successfully!");
    }
}

#[test]
fn show_lists_hosts_by_name_and_roles_by_text() {
    let mut fixture = Fixture::running(pair());
    let show = "  db1(192.168.8.32) master/ONLINE. Roles: reader(192.168.8.35), writer(192.168.8.30)\n  db2(192.168.8.33) master/ONLINE. Roles: reader(192.168.8.34)\n";
    assert_eq!(fixture.command("show"), show);
    fixture.lose("db2");
    assert_eq!(fixture.command("show"), format!("# Warning: agent on host db2 is not reachable\n{show}"));
    let mut fresh = Fixture::new(pair());
    fresh.start();
    assert_eq!(
        fresh.command("show"),
        "  db1(192.168.8.32) master/AWAITING_RECOVERY. Roles: \n  db2(192.168.8.33) master/AWAITING_RECOVERY. Roles: \n"
    );
}

#[test]
fn show_tells_of_preferred_hosts_in_the_words_of_2_2_1() {
    let mut fixture = Fixture::new(preferring("db2"));
    fixture.start();
    assert!(fixture.command("show").ends_with("# Role writer has db2 configured as it's preferred host.\n"));
    assert!(fixture.command("set_online db1").starts_with("OK:"));
    fixture.settle();
    assert!(fixture.command("show").ends_with(
        "# Role writer has db2 configured as it's preferred host but is assigned to db1 at the moment.\n"
    ));
    assert!(fixture.command("set_online db2").starts_with("OK:"));
    fixture.settle();
    fixture.approached(Ok(()));
    fixture.settle();
    assert!(fixture.command("show").ends_with("# Role writer is assigned to it's preferred host db2.\n"));
}

#[test]
fn checks_line_up_except_for_one_check_of_one_host() {
    let mut fixture = Fixture::running(pair());
    let row = |host: &str, kind: &str| format!("{host}  {kind}  [last change: {STAMP}]  OK\n");
    let kinds = ["ping       ", "mysql      ", "rep_threads", "rep_backlog"];
    let all: String =
        ["db1", "db2"].iter().flat_map(|host| kinds.iter().map(|kind| row(host, kind))).collect();
    for line in ["checks", "checks all", "checks all all"] {
        assert_eq!(fixture.command(line), all);
    }
    let first: String = kinds.iter().map(|kind| row("db1", kind)).collect();
    assert_eq!(fixture.command("checks db1"), first);
    assert_eq!(fixture.command("checks db1 mysql"), row("db1", "mysql"));
    assert_eq!(fixture.command("checks db9"), "ERROR: Unknown host name 'db9'!");
    assert_eq!(fixture.command("checks db1 nocheck"), "ERROR: Unknown check 'nocheck'!");
    assert_eq!(fixture.command("checks all nocheck"), "ERROR: Unknown check 'nocheck'!");
}

#[test]
fn mode_commands_answer_as_in_2_2_1_and_are_logged() {
    let mut fixture = Fixture::running(pair());
    for (command, word) in [("set_manual", "manual"), ("set_passive", "passive"), ("set_active", "active")] {
        assert_eq!(fixture.command(command), format!("OK: Switched into {word} mode."));
        assert_eq!(fixture.command(command), format!("OK: Already in {word} mode."));
        assert_eq!(fixture.command("mode"), word.to_ascii_uppercase());
    }
    assert!(fixture.logged("INFO Admin changed mode from 'ACTIVE' to 'MANUAL'"));
    fixture.command("set_passive");
    assert!(fixture.command("show").starts_with(
        "# --- Monitor is in PASSIVE MODE ---\n# Cause: Admin switched to passive mode.\n  db1("
    ));
}

#[test]
fn set_offline_and_set_online_answer_as_in_2_2_1() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(fixture.command("set_online db1"), "OK: This host is already ONLINE. Skipping command.");
    assert_eq!(fixture.command("set_online db9"), "ERROR: Unknown host name 'db9'!");
    assert_eq!(fixture.command("set_offline db9"), "ERROR: Unknown host name 'db9'!");
    assert_eq!(
        fixture.command("set_offline db2"),
        "OK: State of 'db2' changed to ADMIN_OFFLINE. Now you can wait some time and check all roles!"
    );
    assert!(fixture.logged("FATAL Admin changed state of 'db2' from ONLINE to ADMIN_OFFLINE"));
    assert!(fixture.logged("INFO Removing all roles from host 'db2':"));
    assert!(fixture.logged("INFO     Removed role 'reader(192.168.8.34)' from host 'db2'"));
    assert_eq!(
        fixture.command("set_offline db2"),
        "OK: This host is already ADMIN_OFFLINE. Skipping command."
    );
    assert_eq!(
        fixture.command("set_online db2"),
        "OK: State of 'db2' changed to ONLINE. Now you can wait some time and check its new roles!"
    );
    fixture.lose("db2");
    assert_eq!(
        fixture.command("set_offline db2"),
        "ERROR: Can't reach agent daemon on 'db2'! Can't switch its state!"
    );
}

#[test]
fn states_that_a_command_cannot_leave_are_named() {
    let mut fixture = Fixture::running(pair());
    fixture.fail("db2", CheckKind::Ping);
    assert_eq!(
        fixture.command("set_online db2"),
        "ERROR: Host 'db2' is 'HARD_OFFLINE' at the moment. It can't be switched to ONLINE."
    );
    assert_eq!(
        fixture.command("set_offline db2"),
        "ERROR: Host 'db2' is 'HARD_OFFLINE' at the moment. It can't be switched to ADMIN_OFFLINE."
    );
}

#[test]
fn set_online_needs_good_checks_a_replicating_peer_and_the_agent() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.fail("db2", CheckKind::Mysql);
    assert_eq!(
        fixture.command("set_online db2"),
        "ERROR: Checks ping and/or mysql are not ok for host 'db2'. It can't be switched to ONLINE."
    );
    fixture.good("db2", CheckKind::Mysql);
    fixture.fail("db1", CheckKind::RepThreads);
    let wait = "ERROR: Some replication checks failed on peer 'db1'. We can't set 'db2' online now. Please, wait some time.";
    assert_eq!(fixture.command("set_online db2"), wait);
    fixture.report("db1", |status| status.holding = true);
    fixture.lose("db2");
    assert_eq!(
        fixture.command("set_online db2"),
        "ERROR: Can't reach agent daemon on 'db2'! Can't switch its state!"
    );
    fixture.connect("db2");
    assert!(fixture.command("set_online db2").starts_with("OK:"), "what is held is no failure");
}

#[test]
fn set_offline_refuses_to_leave_nobody_to_write_unless_forced() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    assert!(fixture.command("set_offline db1").starts_with("ERROR: Host 'db1' has the role 'writer'"));
    assert!(fixture.command("set_offline --force db1").starts_with("OK: State of 'db1'"));
    assert_eq!(fixture.writer(), "");
}

#[test]
fn move_role_refuses_in_the_words_of_2_2_1() {
    let mut fixture = Fixture::running(four());
    for (line, answer) in [
        ("move_role nosuch db2", "ERROR: Unknown role name 'nosuch'!"),
        ("move_role writer db9", "ERROR: Unknown host name 'db9'!"),
        (
            "move_role writer db3",
            "ERROR: Host 'db3' can't handle role 'writer'. Only following hosts could: db1, db2",
        ),
        ("move_role writer db1", "OK: Role is on 'db1' already. Skipping command."),
        ("move_role --force writer db2", "ERROR: Can't force move of role to host with state ONLINE."),
        (
            "move_role --force reader db2",
            "ERROR: move_role --forced may be used for the active master role only!",
        ),
        ("move_role --force writer db9", "ERROR: Unknown host name 'db9'!"),
        ("move_role --force nosuch db1", "ERROR: Unknown role name 'nosuch'!"),
        ("set_ip 192.168.8.30 db2", "ERROR: This command is only allowed in passive mode"),
    ] {
        assert_eq!(fixture.command(line), answer, "{line}");
    }
    fixture.lose("db2");
    assert_eq!(
        fixture.command("move_role writer db2"),
        "ERROR: Can't reach agent daemon on 'db2'! Can't move roles there!"
    );
    fixture.connect("db2");
    fixture.command("set_offline db2");
    assert_eq!(
        fixture.command("move_role writer db2"),
        "ERROR: Can't move role to host with state ADMIN_OFFLINE."
    );
    fixture.command("set_passive");
    for line in ["move_role writer db2", "move_role --force writer db2"] {
        assert_eq!(fixture.command(line), "ERROR: This command is not allowed in passive mode");
    }
}

#[test]
fn a_role_on_its_preferred_host_is_moved_by_hand_in_manual_mode_only() {
    let mut fixture = Fixture::running(preferring("db1"));
    assert_eq!(
        fixture.command("move_role writer db2"),
        "ERROR: Role 'writer' is assigned to preferred host 'db1'. Can't move it!"
    );
    fixture.command("set_manual");
    assert_eq!(fixture.command("move_role writer db2"), "", "the answer comes with the move");
    fixture.approached(Ok(()));
    assert_eq!(fixture.writer(), "db2");
}

#[test]
fn a_forced_move_goes_to_a_host_whose_replication_is_broken_and_makes_it_online() {
    let mut fixture = Fixture::running(pair());
    fixture.fail("db2", CheckKind::RepThreads);
    assert_eq!(fixture.state("db2"), HostState::ReplicationFail);
    assert!(fixture.logged("FATAL State of host 'db2' changed from ONLINE to REPLICATION_FAIL"));
    assert_eq!(
        fixture.command("set_online db2"),
        "ERROR: Host 'db2' is 'REPLICATION_FAIL' at the moment. It can't be switched to ONLINE."
    );
    assert_eq!(
        fixture.command("move_role writer db2"),
        "ERROR: Can't move role to host with state REPLICATION_FAIL."
    );
    assert_eq!(
        fixture.command("move_role --force writer db2"),
        "OK: Role 'writer' has been moved from 'db1' to 'db2' enforcedly. Now you can wait some time and check new roles info!"
    );
    assert!(fixture.logged("FATAL Admin forced move of role 'writer' from 'db1' to 'db2'"));
    assert!(fixture.logged(
        "FATAL State of host 'db2' changed from REPLICATION_FAIL to ONLINE (because of move_role --force)"
    ));
    fixture.settle();
    assert_eq!(fixture.state("db2"), HostState::Online);
    assert!(fixture.ordered("db2").contains("writer"));
}

#[test]
fn moving_a_balanced_role_empties_the_host_and_spreads_it_anew() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(
        fixture.command("move_role reader db2"),
        "OK: Balanced role reader has been removed from host 'db2'. Now you can wait some time and check new roles info!"
    );
    assert!(fixture.logged("INFO Removing balanced role reader from host 'db2':"));
    assert!(fixture.logged("INFO     Removed role 'reader(192.168.8.34)' from host 'db2'"));
    assert!(fixture.logged("INFO Orphaned role 'reader(192.168.8.34)' has been assigned to 'db2'"));
    assert_eq!(fixture.roles("db2"), "reader(192.168.8.34)");
}

#[test]
fn set_ip_places_single_addresses_in_passive_mode() {
    let mut fixture = Fixture::running(four());
    fixture.command("set_passive");
    for (line, answer) in [
        ("set_ip 192.168.8.99 db1", "ERROR: Unknown ip '192.168.8.99'!"),
        ("set_ip 192.168.8.30 db9", "ERROR: Unknown host name 'db9'!"),
        (
            "set_ip 192.168.8.30 db3",
            "ERROR: Host 'db3' can't handle role 'writer'. Following hosts could: db1, db2",
        ),
        ("set_ip 192.168.8.30 db2", "OK: Set role 'writer(192.168.8.30)' to host 'db2'."),
    ] {
        assert_eq!(fixture.command(line), answer, "{line}");
    }
    assert!(fixture.logged("FATAL Admin set role 'writer(192.168.8.30)' to host 'db2'"));
    assert!(fixture.ordered("db1").contains("writer"), "passive: nothing is sent");
    fixture.command("set_offline db4");
    assert_eq!(
        fixture.command("set_ip 192.168.8.41 db4"),
        "ERROR: Host 'db4' is 'ADMIN_OFFLINE' at the moment. Can't move role with ip '192.168.8.41' there."
    );
    fixture.command("set_active");
    fixture.settle();
    assert!(fixture.ordered("db2").contains("writer"));
    assert!(!fixture.ordered("db1").contains("writer"));
}

#[test]
fn commands_that_change_hosts_wait_for_the_start() {
    let mut fixture = Fixture::new(pair());
    assert!(fixture.command("set_online db1").starts_with("ERROR: The monitor has not finished"));
    assert_eq!(fixture.command("mode"), "ACTIVE");
}

#[test]
fn the_json_forms_carry_the_same_facts() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db2", |status| status.server = ServerView::Refusing);
    let show: serde_json::Value = serde_json::from_str(&fixture.command("--json show")).unwrap();
    assert_eq!(show["hosts"][0]["name"], "db1");
    assert_eq!(show["hosts"][0]["roles"][1]["ip"], "192.168.8.30");
    assert_eq!(show["mode"], "ACTIVE");
    let checks: serde_json::Value =
        serde_json::from_str(&fixture.command("--json checks db1 mysql")).unwrap();
    assert_eq!((checks[0]["check"].as_str(), checks[0]["good"].as_bool()), (Some("mysql"), Some(true)));
    assert_eq!(fixture.command("--json mode"), "{\"mode\":\"ACTIVE\"}");
    assert_eq!(fixture.command("--json checks db9"), "ERROR: Unknown host name 'db9'!");
}

/// Its own commits, for one, may keep it from becoming read-only: readers are not to see what may have to be thrown away.
#[test]
fn an_old_writer_that_is_still_open_for_writes_is_not_set_online() {
    let mut fixture = Fixture::running(pair());
    fixture.lose("db1");
    fixture.pass(10);
    fixture.settle();
    assert_eq!(fixture.writer(), "db2");
    fixture.report("db1", |status| {
        super::host::fence(status);
        status.server = ServerView::Up { writable: true };
    });
    fixture.connect("db1");
    fixture.well("db1");
    assert_eq!(fixture.state("db1"), HostState::AwaitingRecovery);
    let answer = fixture.command("set_online db1");
    assert!(
        answer.starts_with("ERROR: Host 'db1' was lost as the writer and its server is not closed"),
        "{answer}"
    );
    assert_eq!(fixture.state("db1"), HostState::AwaitingRecovery);
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    let answer = fixture.command("set_online db1");
    assert!(answer.starts_with("OK: State of 'db1' changed to ONLINE."), "{answer}");
}
