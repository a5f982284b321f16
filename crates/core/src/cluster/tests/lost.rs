//! Writers that were lost, and that nobody has compared since: they wait for it whoever writes, and whichever monitor it is.

use super::fixture::{Fixture, WRITER, four, pair, role};
use crate::gtid::GtidView;
use crate::message::{AgentStatus, ServerView, Takeover};
use crate::names::{HostName, RoleName};
use crate::settings::Settings;
use crate::state::HostState;

fn three() -> Settings {
    let mut settings = four();
    settings.roles.get_mut(&RoleName::from("writer")).unwrap().hosts.push("db3".into());
    settings
}

fn gtid(server_id: u64, own: u64, applied: &str) -> GtidView {
    GtidView {
        server_id,
        binlog_state: format!("{server_id}-{server_id}-{own}"),
        slave_pos: applied.to_owned(),
    }
}

/// Its server is dead.
fn ends(fixture: &mut Fixture, host: &str) {
    fixture.report(host, |status| {
        status.server = ServerView::Gone;
        status.held.clear();
    });
    fixture.settle();
}

/// db1 is lost, and db2 follows.
fn lost() -> Fixture {
    let mut fixture = Fixture::running(three());
    ends(&mut fixture, "db1");
    assert_eq!(fixture.writer(), "db2");
    fixture.report("db2", |status| {
        status.holding = true;
        status.gtid = Some(gtid(13, 5, "12-12-40"));
    });
    fixture
}

/// The same, and the role has gone on to db3 in order.
fn moved_on() -> Fixture {
    let mut fixture = lost();
    fixture.command("move_role writer db3");
    fixture.approached(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writer(), "db3");
    fixture
}

fn holds(fixture: &Fixture, host: &str) -> bool {
    fixture.orders[host].writer.as_ref().unwrap().hold
}

#[test]
fn a_planned_move_between_others_does_not_end_the_hold_of_a_lost_writer() {
    let mut fixture = moved_on();
    assert!(holds(&fixture, "db3"));
    assert!(fixture.command("show").contains("replication from db1, which was lost as the writer, is held"));
    fixture.report("db3", |status| {
        status.holding = true;
        status.gtid = Some(gtid(14, 1, "12-12-40,13-13-5"));
    });
    fixture.report("db1", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = Some(gtid(12, 43, "13-13-5"));
    });
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail);
    assert!(fixture.logged_part("Host 'db1' has 3 transactions nobody else has (12-12-41..43)"));
    assert_eq!(fixture.orders["db1"].surplus.as_ref().unwrap().transactions.to_string(), "12-12-41..43");
}

#[test]
fn it_ends_once_the_present_writer_has_all() {
    let mut fixture = moved_on();
    fixture.report("db3", |status| {
        status.holding = true;
        status.gtid = Some(gtid(14, 1, "12-12-43,13-13-5"));
    });
    fixture.report("db1", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = Some(gtid(12, 43, "13-13-5"));
    });
    fixture.settle();
    assert!(!holds(&fixture, "db3"));
    assert!(!fixture.command("show").contains("lost as the writer"));
}

/// Another monitor goes by what the one before wrote down; the agent has forgotten that it holds.
fn next_monitor_holds(fixture: &mut Fixture) {
    fixture.report("db2", |status| status.holding = false);
    fixture.restart_with_state();
    fixture.start();
    fixture.settle();
    assert_eq!(fixture.writer(), "db2");
    assert!(holds(fixture, "db2"));
}

#[test]
fn the_next_monitor_knows_of_it_though_the_agent_has_forgotten_that_it_holds() {
    let mut fixture = lost();
    next_monitor_holds(&mut fixture);
}

#[test]
fn the_old_holder_hears_of_no_writer_before_it_is_pointed_at_that_one() {
    let mut fixture = lost();
    fixture.report("db2", |status| status.source_ip = Some("192.168.8.32".parse().unwrap()));
    fixture.command("move_role writer db3");
    fixture.approached(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writer(), "db3");
    let order = &fixture.orders["db2"];
    assert_eq!(order.active_master, None, "it would receive from the lost one again");
    assert_eq!(order.source.as_ref().map(|source| source.host.as_str()), Some("db3"));
    fixture.report("db2", |status| status.source_ip = Some("192.168.8.36".parse().unwrap()));
    fixture.settle();
    assert_eq!(fixture.orders["db2"].active_master, Some("db3".into()));
}

/// It was granted the lease, and nobody has heard whether it was opened.
#[test]
fn a_writer_that_was_never_seen_to_serve_is_compared_as_well() {
    let mut fixture = Fixture::running(three());
    fixture.report("db1", |status| {
        status.server = ServerView::Gone;
        status.held.clear();
    });
    fixture.agent_obeys("db1");
    fixture.report("db2", |status| status.server = ServerView::Silent { writable_before: false });
    fixture.agent_obeys("db2");
    fixture.renews("db2");
    fixture.lose("db2");
    fixture.pass(12);
    fixture.settle();
    assert_eq!(fixture.writer(), "db3");
    let shown = fixture.command("show");
    for host in ["db1", "db2"] {
        let warning = format!("replication from {host}, which was lost as the writer");
        assert_eq!(shown.matches(&warning).count(), 1, "{shown}");
    }
}

/// db1 is back with three that nobody else has, and db2 is to receive them by the operator's word.
fn to_be_merged() -> Fixture {
    let mut fixture = lost();
    fixture.report("db1", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = Some(gtid(12, 43, "13-13-5"));
    });
    fixture.settle();
    assert!(fixture.command("rejoin --merge db1").starts_with("OK: "));
    assert!(!holds(&fixture, "db2"));
    fixture
}

/// It does.
fn merging() -> Fixture {
    let mut fixture = to_be_merged();
    fixture.report("db2", |status| status.holding = false);
    fixture.settle();
    fixture
}

#[test]
fn an_error_from_before_a_merge_does_not_end_it() {
    let mut fixture = to_be_merged();
    fixture.report("db2", |status| status.applier_error = Some("Duplicate entry '7'".to_owned()));
    fixture.pass(30);
    assert!(!holds(&fixture, "db2"));
}

/// Its agent may still have the address: only by a word is it as good as gone.
#[test]
fn the_next_monitor_waits_for_a_host_that_is_not_configured_any_more_until_it_is_said_to_be_dead() {
    let mut fixture = lost();
    let gone = HostName::from("db1");
    fixture.settings.hosts.remove(&gone);
    fixture.settings.hosts.get_mut("db2").unwrap().peer = None;
    fixture.settings.roles.values_mut().for_each(|role| role.hosts.retain(|host| *host != gone));
    fixture.said.remove(&gone);
    next_monitor_holds(&mut fixture);
    fixture.command("confirm_dead --yes db1");
    fixture.pass(60);
    assert!(!holds(&fixture, "db2"));
}

#[test]
fn the_next_monitor_lets_a_merge_go_on() {
    let mut fixture = merging();
    fixture.restart_with_state();
    fixture.start();
    fixture.settle();
    assert_eq!(fixture.writer(), "db2");
    assert!(!holds(&fixture, "db2"));
    assert!(!fixture.command("show").contains("lost as the writer"));
}

#[test]
fn what_one_writer_was_to_receive_the_next_one_does_not_receive_without_a_word() {
    let mut fixture = merging();
    fixture.command("move_role writer db3");
    fixture.approached(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writer(), "db3");
    assert!(holds(&fixture, "db3"));
    assert!(fixture.command("show").contains("replication from db1, which was lost as the writer, is held"));
}

/// What was only received counts as applied on some servers.
#[test]
fn an_applier_that_has_stopped_ends_no_hold() {
    let mut fixture = lost();
    fixture.report("db2", |status| {
        status.gtid = Some(gtid(13, 5, "12-12-43"));
        status.applier_error = Some("Duplicate entry '7' for key 'PRIMARY' (1062)".to_owned());
    });
    fixture.report("db1", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = Some(gtid(12, 43, "13-13-5"));
    });
    fixture.settle();
    assert!(holds(&fixture, "db2"));
    fixture.report("db2", |status| status.applier_error = None);
    assert!(!holds(&fixture, "db2"));
}

/// Neither counts what a lost writer says of itself that may still be written to, nor what the next one says that may receive from it.
#[test]
fn nothing_is_compared_before_both_stand_still() {
    for (opened, address, holding) in [(true, false, true), (false, true, true), (false, false, false)] {
        let mut fixture = lost();
        fixture.report("db2", |status| {
            status.gtid = Some(gtid(13, 5, "12-12-43"));
            status.holding = holding;
        });
        fixture.report("db1", |status| {
            status.server = ServerView::Up { writable: opened };
            status.held.extend(address.then(|| role(WRITER)));
            status.gtid = Some(gtid(12, 43, "13-13-5"));
        });
        assert!(holds(&fixture, "db2"), "{opened} {address} {holding}");
    }
}

/// The next one has been told, and has not said yet that it takes the role.
#[test]
fn a_lost_writer_that_is_back_at_once_waits_until_the_next_one_has_been_compared() {
    let mut fixture = Fixture::running(three());
    ends_in_order(&mut fixture, "db1");
    fixture.tick();
    assert!(fixture.promotion("db2").is_some());
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    fixture.well("db1");
    fixture.pass(3);
    assert_eq!(fixture.writer(), "db2");
    assert_ne!(fixture.state("db1"), HostState::Online);
}

/// It may not follow: its server was started when the last writer was gone.
#[test]
fn a_lost_writer_goes_on_where_the_next_one_was_only_chosen() {
    let mut fixture = Fixture::running(pair());
    ends_in_order(&mut fixture, "db1");
    assert!(fixture.promotion("db2").is_some());
    fixture.lose("db2");
    fixture.report("db2", started_without_db1);
    fixture.connect("db2");
    fixture.pass(30);
    assert_eq!(fixture.promotion("db2"), None);
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    fixture.well("db1");
    fixture.settle();
    assert_eq!((fixture.writer().as_str(), fixture.state("db1")), ("db1", HostState::Online));
    assert_eq!(fixture.promotion("db1").map(|promotion| promotion.takeover), Some(Takeover::Keep));
}

#[test]
fn one_that_was_lost_before_the_last_writer_does_not_go_on() {
    let mut fixture = lost();
    fixture.report("db3", started_without_db1);
    ends(&mut fixture, "db2");
    assert_eq!(fixture.promotion("db3"), None);
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    fixture.well("db1");
    fixture.settle();
    assert_ne!(fixture.state("db1"), HostState::Online);
    assert_eq!(fixture.promotion("db1"), None);
}

fn started_without_db1(status: &mut AgentStatus) {
    status.server = ServerView::Up { writable: false };
    status.source_ip = Some("192.168.8.32".parse().unwrap());
    status.reached_source = Some(false);
}

/// Its server has ended, and its lease was given back.
fn ends_in_order(fixture: &mut Fixture, host: &str) {
    fixture.report(host, |status| {
        status.server = ServerView::Gone;
        status.held.clear();
        status.lease.released = status.lease.accepted;
        status.lease.held = None;
    });
}

/// Nobody knows of a lease: it may be a new cluster, or one that has lost all that it knew.
#[test]
fn a_first_writer_is_no_host_that_has_not_reached_its_source() {
    let mut fixture = Fixture::new(pair());
    fixture.report("db2", |status| {
        status.source_ip = Some("192.168.8.32".parse().unwrap());
        status.reached_source = Some(false);
    });
    fixture.report("db1", |status| status.server = ServerView::Gone);
    fixture.start();
    fixture.settle();
    fixture.pass(30);
    fixture.settle();
    assert_eq!(fixture.promotion("db2"), None);
    assert!(fixture.command("show --long").contains("has not reached 'db1' since it was started"));
    assert!(fixture.command("confirm_loss --yes db1").starts_with("OK: What only host 'db1'"));
    fixture.settle();
    assert_eq!(fixture.promotion("db2").map(|promotion| promotion.takeover), Some(Takeover::Fresh));
}

#[test]
fn where_only_the_status_file_knows_who_wrote_what_there_is_is_got_from_there() {
    let text = "db1|ADMIN_OFFLINE|writer(192.168.8.30)\ndb2|ONLINE|\n";
    let mut fixture = Fixture::restored(pair(), Some(text));
    for (host, source) in [("db1", "192.168.8.33"), ("db2", "192.168.8.32")] {
        fixture.report(host, |status| {
            status.source_ip = Some(source.parse().unwrap());
            status.reached_source = Some(true);
        });
    }
    fixture.start();
    fixture.settle();
    let promoted = fixture.promotion("db2").expect("db1 is out of service");
    assert_eq!(promoted.takeover, Takeover::AskSource);
    assert!(promoted.hold);
}

fn place(server_id: u64, binlog_state: &str, slave_pos: &str) -> GtidView {
    GtidView { server_id, binlog_state: binlog_state.to_owned(), slave_pos: slave_pos.to_owned() }
}

/// The logs of several servers have the same names: a place counts in the one that is received.
#[test]
fn a_merge_without_gtids_is_over_when_the_end_of_the_old_log_is_applied() {
    let mut fixture = lost();
    let (old, other) = ("192.168.8.32", "192.168.8.36");
    fixture.report("db2", |status| {
        status.source_ip = Some(old.parse().unwrap());
        status.gtid = Some(place(13, "log:", "log:bin.000002:700:more"));
    });
    fixture.report("db1", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = Some(place(12, "log:bin.000003:157", ""));
    });
    fixture.settle();
    assert!(fixture.command("rejoin --merge db1").starts_with("OK: "));
    for (source, place_there, over) in [
        (old, "", false),
        (old, "log:bin.000002:900", false),
        (old, "log:bin.000003:156", false),
        (other, "log:bin.000003:157", false),
        (old, "log:bin.000003:157", true),
    ] {
        fixture.report("db2", |status| {
            status.holding = false;
            status.source_ip = Some(source.parse().unwrap());
            status.gtid = Some(place(13, "log:", place_there));
        });
        fixture.pass(4);
        let told = "INFO The transactions of 'db1' that nobody else had are on 'db2' now";
        assert_eq!(fixture.logged(told), over, "{source} {place_there}");
    }
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::Online);
}

#[test]
fn a_next_monitor_lets_nobody_follow_who_has_not_reached_a_writer_that_was_lost_before() {
    // db2 was granted the role after db1, and ended: the record has only who was granted it last.
    let mut fixture = lost();
    fixture.report("db3", |status| {
        status.source_ip = Some("192.168.8.32".parse().unwrap());
        status.reached_source = Some(false);
    });
    ends(&mut fixture, "db2");
    assert_eq!(fixture.promotion("db3"), None);
    fixture.restart_with_state();
    fixture.start();
    fixture.settle();
    assert_eq!(fixture.promotion("db3"), None);
    assert!(fixture.command("show --long").contains("has not reached 'db1' since it was started"));
}
