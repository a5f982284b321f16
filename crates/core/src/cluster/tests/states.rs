use std::time::Duration;

use super::fixture::{Fixture, four, pair};
use crate::check::{CheckKind, Verdict};
use crate::message::ServerView;
use crate::state::{HostState, Mode};

const GONE: ServerView = ServerView::Gone;
const UP: ServerView = ServerView::Up { writable: false };

#[test]
fn the_end_of_the_writers_server_moves_the_role_without_waiting_for_a_check() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db1", |status| {
        status.server = GONE;
        status.held.clear();
    });
    assert_eq!(fixture.state("db1"), HostState::HardOffline);
    assert!(
        fixture.logged(
            "FATAL State of host 'db1' changed from ONLINE to HARD_OFFLINE (ping: OK, mysql: not OK)"
        )
    );
    assert!(fixture.logged("INFO Orphaned role 'writer(192.168.8.30)' has been assigned to 'db2'"));
    fixture.agent_obeys("db1");
    assert!(fixture.ordered("db2").contains("writer"));
}

#[test]
fn a_failed_check_counts_after_its_trap_period_and_both_turns_are_logged() {
    let mut fixture = Fixture::running(pair());
    fixture.bad("db2", CheckKind::Mysql);
    fixture.pass(9);
    fixture.bad("db2", CheckKind::Mysql);
    assert_eq!(fixture.state("db2"), HostState::Online);
    fixture.pass(1);
    fixture.bad("db2", CheckKind::Mysql);
    assert_eq!(fixture.state("db2"), HostState::HardOffline);
    assert!(fixture.logged("ERROR Check 'mysql' on 'db2' has failed for 10 seconds! Message: ERROR: no"));
    fixture.good("db2", CheckKind::Mysql);
    assert!(fixture.logged("INFO Check 'mysql' on 'db2' is ok!"));
}

#[test]
fn a_writer_that_its_agent_vouches_for_stays_and_its_readers_leave() {
    let mut fixture = Fixture::running(pair());
    fixture.fail("db1", CheckKind::Mysql);
    fixture.settle();
    assert_eq!((fixture.state("db1"), fixture.writer().as_str()), (HostState::Online, "db1"));
    assert_eq!(fixture.roles("db1"), "writer(192.168.8.30)");
    assert!(fixture.command("show").starts_with("# Warning: the checks of host db1 fail"));
    fixture.lose("db1");
    assert_eq!(fixture.state("db1"), HostState::HardOffline);
}

/// Both servers let nobody new in for longer than the trap period.
fn logins_wait() -> Fixture {
    let mut fixture = Fixture::running(pair());
    for _ in 0..2 {
        for host in ["db1", "db2"] {
            fixture.check(host, CheckKind::Mysql, Verdict::Stalled("ERROR: waits".into()));
        }
        fixture.pass(10);
    }
    fixture.settle();
    fixture
}

#[test]
fn servers_that_let_nobody_new_in_are_well_as_long_as_they_answer_their_agents() {
    let mut fixture = logins_wait();
    assert!(fixture.logged("ERROR Check 'mysql' on 'db2' has failed for 10 seconds! Message: ERROR: waits"));
    assert_eq!((fixture.state("db1"), fixture.state("db2")), (HostState::Online, HostState::Online));
    assert!(fixture.roles("db1").contains("reader") && fixture.roles("db2").contains("reader"));
    assert!(fixture.command("show").contains("# Warning: the server of host db2 lets nobody new in"));
    fixture.report("db2", |status| status.server = ServerView::Silent { writable_before: false });
    assert_eq!(fixture.state("db2"), HostState::HardOffline);
}

#[test]
fn an_agent_that_is_started_while_logins_wait_may_wait_for_the_trap_period() {
    for host in ["db1", "db2"] {
        let mut fixture = logins_wait();
        fixture.lose(host);
        fixture.tick();
        assert_eq!(fixture.state(host), HostState::Online, "while it is not there");
        fixture.said.get_mut(host).unwrap().server = ServerView::Silent { writable_before: false };
        fixture.connect(host);
        fixture.pass(9);
        assert_eq!((fixture.state(host), fixture.writer().as_str()), (HostState::Online, "db1"));
        fixture.pass(1);
        assert_eq!(fixture.state(host), HostState::HardOffline);
    }
}

#[test]
fn one_whose_agent_stays_away_while_logins_wait_is_lost_after_the_trap_period() {
    let mut fixture = logins_wait();
    fixture.lose("db2");
    fixture.pass(9);
    assert_eq!(fixture.state("db2"), HostState::Online);
    fixture.pass(1);
    assert_eq!(fixture.state("db2"), HostState::HardOffline);
}

#[test]
fn a_server_that_does_not_answer_its_agent_is_dead_after_the_trap_period() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db1", |status| status.server = ServerView::Silent { writable_before: true });
    fixture.fail("db1", CheckKind::Mysql);
    assert_eq!(fixture.state("db1"), HostState::HardOffline);
}

#[test]
fn a_host_that_is_back_within_a_minute_and_the_same_boot_needs_nobody() {
    let mut fixture = Fixture::running(pair());
    fixture.report("db2", |status| status.server = GONE);
    fixture.pass(14);
    fixture.report("db2", |status| status.server = UP);
    assert_eq!(fixture.state("db2"), HostState::AwaitingRecovery);
    fixture.tick();
    assert!(fixture.logged(
        "FATAL State of host 'db2' changed from AWAITING_RECOVERY to ONLINE because it was down for only 14 seconds"
    ));
}

/// Its server and its ping are well before its agent is there to tell that the host was started anew.
#[test]
fn a_host_that_is_back_before_its_agent_is_not_taken_for_one_that_was_not_rebooted() {
    for (boot, after) in [("another", HostState::AwaitingRecovery), ("boot", HostState::Online)] {
        let mut fixture = Fixture::running(pair());
        fixture.lose("db2");
        fixture.fail("db2", CheckKind::Ping);
        fixture.pass(2);
        assert_eq!(fixture.state("db2"), HostState::HardOffline);
        fixture.good("db2", CheckKind::Ping);
        fixture.pass(2);
        assert_eq!(fixture.state("db2"), HostState::AwaitingRecovery, "{boot}: nobody knows of a reboot");
        fixture.report("db2", |status| status.boot_id = boot.to_owned());
        fixture.connect("db2");
        fixture.tick();
        assert_eq!(fixture.state("db2"), after, "{boot}");
    }
}

#[test]
fn after_a_reboot_or_a_longer_time_auto_set_online_counts() {
    for (seconds, boot) in [(14, "another"), (61, "boot")] {
        let mut fixture = Fixture::running(pair());
        fixture.report("db2", |status| status.server = GONE);
        fixture.pass(seconds);
        fixture.report("db2", |status| {
            status.boot_id = boot.to_owned();
            status.server = UP;
        });
        fixture.pass(9);
        assert_eq!(fixture.state("db2"), HostState::AwaitingRecovery);
        fixture.pass(1);
        assert!(fixture.logged(
            "FATAL State of host 'db2' changed from AWAITING_RECOVERY to ONLINE because of auto_set_online(10 seconds). It was in state AWAITING_RECOVERY for 10 seconds"
        ));
    }
}

#[test]
fn a_flapping_host_stays_out_until_its_checks_were_calm_or_an_operator_says_so() {
    let mut fixture = Fixture::running(pair());
    for _ in 0..4 {
        fixture.report("db2", |status| status.server = GONE);
        fixture.report("db2", |status| status.server = UP);
        fixture.tick();
    }
    assert!(fixture.logged("FATAL Host db2 is flapping!"));
    assert_eq!(fixture.state("db2"), HostState::AwaitingRecovery);
    assert!(fixture.command("show").contains("# Warning: host db2 is flapping: "));
    assert!(fixture.command("show").contains("comes back by 'set_online db2'\n"));
    fixture.pass(60);
    assert_eq!(fixture.state("db2"), HostState::AwaitingRecovery);
    let mut calm = fixture.cluster.clone();
    let _ = calm.step(fixture.now + Duration::from_secs(3600), crate::cluster::Event::Tick);
    assert_eq!(calm.state_of("db2"), Some(HostState::Online));
    assert!(fixture.command("set_online db2").starts_with("OK:"));
    assert!(!fixture.command("show").contains("flapping"));
}

#[test]
fn without_a_network_nothing_changes_and_nobody_is_told_anything() {
    let mut fixture = Fixture::running(pair());
    fixture.bad("db1", CheckKind::Mysql);
    fixture.network(false);
    assert!(fixture.logged("FATAL Network is unreachable"));
    fixture.orders.clear();
    fixture.fail("db1", CheckKind::Mysql);
    fixture.report("db1", |status| status.server = GONE);
    fixture.pass(60);
    assert_eq!((fixture.state("db1"), fixture.orders.len()), (HostState::Online, 0));
    fixture.report("db1", |status| status.server = ServerView::Up { writable: true });
    fixture.network(true);
    assert!(fixture.logged("FATAL Network is reachable"));
    fixture.bad("db1", CheckKind::Mysql);
    fixture.lose("db1");
    assert_eq!(fixture.state("db1"), HostState::Online, "failures from before the outage do not count");
}

#[test]
fn a_probe_that_began_without_a_network_proves_nothing_after_it() {
    let mut fixture = Fixture::running(pair());
    fixture.network(false);
    let started = fixture.now;
    fixture.pass(60);
    fixture.network(true);
    for _ in 0..2 {
        let (kind, verdict, stamp) = (CheckKind::Ping, Verdict::Bad("ERROR: no".into()), String::new());
        fixture.step(crate::cluster::Event::Checked { host: "db2".into(), kind, verdict, started, stamp });
        fixture.pass(30);
    }
    assert_eq!(fixture.state("db2"), HostState::Online);
}

#[test]
fn manual_mode_keeps_the_roles_of_a_failed_host_until_it_is_left() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_manual");
    fixture.report("db1", |status| {
        status.server = GONE;
        status.held.clear();
    });
    fixture.settle();
    assert_eq!((fixture.state("db1"), fixture.writer().as_str()), (HostState::HardOffline, "db1"));
    fixture.command("set_active");
    assert!(fixture.logged("INFO     Removed role 'writer(192.168.8.30)' from host 'db1'"));
    fixture.settle();
    assert!(fixture.ordered("db2").contains("writer"));
}

#[test]
fn wait_mode_becomes_active_with_both_masters_or_after_the_wait_for_the_other() {
    let mut settings = pair();
    settings.mode = Mode::Wait;
    settings.auto_set_online = Duration::ZERO;
    let mut fixture = Fixture::new(settings.clone());
    fixture.start();
    fixture.command("set_online db1");
    fixture.pass(119);
    assert_eq!(fixture.command("mode"), "WAIT");
    fixture.pass(1);
    assert_eq!(fixture.command("mode"), "ACTIVE");
    let mut fixture = Fixture::new(settings);
    fixture.start();
    fixture.command("set_online db1");
    fixture.command("set_online db2");
    fixture.tick();
    assert_eq!(fixture.command("mode"), "ACTIVE");
}

#[test]
fn passive_mode_changes_no_state_sends_nothing_and_writes_no_status() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_passive");
    (fixture.stored, fixture.orders) = (None, std::collections::BTreeMap::new());
    fixture.report("db1", |status| status.server = GONE);
    fixture.pass(60);
    assert_eq!(fixture.state("db1"), HostState::Online);
    assert!(fixture.stored.is_none() && fixture.orders.is_empty());
}

#[test]
fn the_status_file_has_a_line_a_host_and_is_written_only_when_it_changes() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(
        fixture.stored.take().unwrap(),
        "db1|ONLINE|reader(192.168.8.35),writer(192.168.8.30)\ndb2|ONLINE|reader(192.168.8.34)\n"
    );
    fixture.pass(60);
    assert_eq!(fixture.stored, None);
    fixture.command("set_offline db2");
    assert!(fixture.stored.unwrap().contains("db2|ADMIN_OFFLINE|\n"));
}

#[test]
fn a_lost_agent_and_its_return_are_logged_once() {
    let mut fixture = Fixture::running(pair());
    fixture.lose("db2");
    fixture.lose("db2");
    fixture.connect("db2");
    assert_eq!(
        fixture.log,
        [
            "ERROR Can't reach agent on host 'db2': connection closed",
            "INFO Agent on host 'db2' is reachable again"
        ]
    );
}

#[test]
fn an_order_is_repeated_every_three_seconds_with_its_number() {
    let mut fixture = Fixture::running(pair());
    let order = fixture.orders["db1"].clone();
    fixture.orders.clear();
    fixture.pass(2);
    fixture.pass(2);
    assert_eq!(fixture.orders.get("db1"), Some(&order));
}

#[test]
fn a_host_that_came_back_gets_readers_when_it_has_been_well_for_a_while() {
    let patience = Duration::from_secs(30);
    let mut settings = four();
    settings.reader_return_after = patience;
    let mut fixture = Fixture::running(settings);
    let readers = |fixture: &Fixture| fixture.roles("db4").matches("reader").count();
    assert_eq!(readers(&fixture), 1, "when nobody has been there for long, nobody waits");
    fixture.pass(60);
    fixture.report("db4", |status| {
        status.server = GONE;
        status.held.clear();
    });
    fixture.settle();
    fixture.report("db4", |status| status.server = UP);
    fixture.settle();
    assert_eq!(fixture.state("db4"), HostState::Online);
    fixture.pass(10);
    assert_eq!(readers(&fixture), 0, "not yet");
    fixture.bad("db4", CheckKind::RepBacklog);
    fixture.good("db4", CheckKind::RepBacklog);
    fixture.pass(24);
    assert_eq!(readers(&fixture), 0, "it was behind meanwhile");
    fixture.pass(12);
    assert_eq!(readers(&fixture), 1);
}

#[test]
fn readers_spread_evenly_and_the_writer_counts_as_half_a_role() {
    let mut fixture = Fixture::running(four());
    for host in ["db1", "db2", "db3", "db4"] {
        assert_eq!(fixture.roles(host).matches("reader").count(), 1, "{host}");
    }
    fixture.report("db4", |status| {
        status.server = GONE;
        status.held.clear();
    });
    fixture.settle();
    assert_eq!(fixture.roles("db1").matches("reader").count(), 1, "the writer's host is filled last");
    fixture.report("db4", |status| status.server = UP);
    fixture.settle();
    assert_eq!(fixture.roles("db4").matches("reader").count(), 1);
    assert!(
        fixture
            .log
            .iter()
            .any(|line| line.starts_with("INFO Moving role 'reader(") && line.ends_with("to host 'db4'"))
    );
}
