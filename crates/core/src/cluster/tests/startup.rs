use super::fixture::{Fixture, WRITER, four, pair, preferring, set};
use crate::check::{CheckKind, Verdict};
use crate::cluster::Event;
use crate::lease::{LeaseLength, Promise, Proof, wait_for};
use crate::message::{PromiseGiven, ServerView, Takeover};
use crate::names::HostName;
use crate::state::{HostState, Mode};

const UP: ServerView = ServerView::Up { writable: false };
const WRITABLE: ServerView = ServerView::Up { writable: true };

#[test]
fn nothing_is_decided_before_the_network_every_check_and_every_agent_have_been_heard_of() {
    let mut fixture = Fixture::new(pair());
    fixture.pass(60);
    assert!(fixture.orders.is_empty(), "no network, no start");
    fixture.network(true);
    assert!(fixture.logged("INFO Network connection is available."));
    assert!(fixture.logged("INFO Performing initial checks..."));
    for host in ["db1", "db2"] {
        for kind in CheckKind::ALL {
            assert_eq!(fixture.state("db1"), HostState::Unknown);
            if (host, kind) == ("db2", CheckKind::Ping) {
                fixture.bad(host, kind);
            } else {
                fixture.good(host, kind);
            }
        }
    }
    fixture.connect("db1");
    assert_eq!(fixture.state("db1"), HostState::Unknown);
    fixture.lose("db2");
    assert_eq!(fixture.state("db1"), HostState::AwaitingRecovery, "no agent on a dead host is an answer too");
    assert!(fixture.logged("INFO Monitor started in active mode."));
    assert!(fixture.logged("WARN No binary found for killing hosts (/usr/lib/mysql-mmm/monitor/kill_host)."));
}

#[test]
fn an_agent_that_has_not_looked_at_its_server_yet_is_waited_for() {
    let mut fixture = Fixture::new(pair());
    fixture.said.get_mut("db2").unwrap().server = ServerView::Unknown;
    fixture.start();
    assert_eq!(fixture.state("db1"), HostState::Unknown);
    fixture.report("db2", |status| status.server = UP);
    assert_eq!(fixture.state("db1"), HostState::AwaitingRecovery);
}

#[test]
fn after_15_seconds_it_starts_with_what_it_has() {
    let mut fixture = Fixture::new(pair());
    fixture.network(true);
    fixture.pass(14);
    assert_eq!(fixture.state("db1"), HostState::Unknown);
    fixture.pass(1);
    assert_eq!(fixture.state("db1"), HostState::AwaitingRecovery);
}

#[test]
fn failed_checks_without_a_network_do_not_count_as_run() {
    let mut fixture = Fixture::new(pair());
    fixture.check("db1", CheckKind::Ping, Verdict::Bad("ERROR: no".into()));
    fixture.start();
    assert_eq!(fixture.state("db1"), HostState::AwaitingRecovery);
}

/// Who gets the writer role when the two hosts claim it in these ways: (stored, agent, address, writable) each.
fn vote(stored: &str, first: [bool; 3], second: [bool; 3]) -> String {
    let mut settings = pair();
    settings.careful_startup = false;
    let mut fixture = Fixture::restored(settings, Some(stored));
    for (host, [agent, system, writable]) in [("db1", first), ("db2", second)] {
        let status = fixture.said.get_mut(host).unwrap();
        status.roles = if agent { set(&[WRITER]) } else { set(&[]) };
        status.held = if system { set(&[WRITER]) } else { set(&[]) };
        status.server = if writable { WRITABLE } else { UP };
    }
    fixture.start();
    fixture.writer()
}

#[test]
fn each_source_of_the_vote_has_the_weight_of_2_2_1() {
    let none = "";
    let first = "db1|ONLINE|writer(192.168.8.30)\ndb2|ONLINE|\n";
    assert_eq!(vote(none, [false, false, false], [false, false, false]), "", "nobody names anybody");
    assert_eq!(vote(none, [true, false, false], [false, false, false]), "db1");
    assert_eq!(vote(first, [false, false, false], [false, false, false]), "db1");
    // address 2 against agent 1; address 2 against stored 1 is lost, against stored 1 and agent 1 it is even.
    assert_eq!(vote(none, [true, false, false], [false, true, false]), "db2");
    assert_eq!(vote(first, [false, false, false], [false, true, false]), "db2");
    assert_eq!(vote(first, [true, false, false], [false, true, false]), "db1", "even: the first by name");
    // writable 4 and agent 1 against stored 1, agent 1 and address 2.
    assert_eq!(vote(first, [true, true, false], [true, false, true]), "db2");
    // writable alone names nobody.
    assert_eq!(vote(none, [true, false, false], [false, false, true]), "db1");
}

#[test]
fn slaves_vote_for_the_master_that_they_replicate_from() {
    let mut settings = four();
    settings.careful_startup = false;
    let mut fixture = Fixture::restored(settings, Some("db1|ONLINE|writer(192.168.8.30)\n"));
    fixture.said.get_mut("db2").unwrap().roles = set(&[WRITER]);
    fixture.said.get_mut("db3").unwrap().source_ip = Some("192.168.8.33".parse().unwrap());
    fixture.start();
    assert_eq!(fixture.writer(), "db2", "agent 1 and one slave against stored 1");
}

#[test]
fn an_admin_offline_host_has_no_votes_and_a_hard_offline_one_only_in_manual_mode() {
    let claims = [true, true, true];
    assert_eq!(vote("db1|ADMIN_OFFLINE|\n", claims, [true, false, false]), "db2");
    assert_eq!(vote("db1|HARD_OFFLINE|\n", claims, [true, false, false]), "db2");
    let mut settings = pair();
    settings.mode = Mode::Manual;
    let mut fixture = Fixture::restored(settings, Some("db1|HARD_OFFLINE|writer(192.168.8.30)\n"));
    fixture.start();
    assert_eq!((fixture.writer().as_str(), fixture.state("db1")), ("db1", HostState::Online));
    assert!(fixture.logged(
        "FATAL State of host 'db1' changed from HARD_OFFLINE to ONLINE because it is the active master"
    ));
}

fn conflicting() -> Fixture {
    let stored = "db1|ONLINE|reader(192.168.8.34),writer(192.168.8.30)\ndb2|ONLINE|reader(192.168.8.35)\n";
    let mut fixture = Fixture::restored(pair(), Some(stored));
    let first = fixture.said.get_mut("db1").unwrap();
    first.state = Some(HostState::Online);
    first.roles = set(&["reader(192.168.8.34)", WRITER]);
    first.held.clone_from(&first.roles);
    first.server = WRITABLE;
    let second = fixture.said.get_mut("db2").unwrap();
    second.state = Some(HostState::Online);
    second.roles = set(&["reader(192.168.8.35)"]);
    second.held = set(&["reader(192.168.8.35)", WRITER]);
    fixture
}

#[test]
fn the_writer_address_on_both_masters_makes_the_monitor_passive_and_show_tells_why() {
    let mut fixture = conflicting();
    fixture.start();
    assert_eq!(fixture.command("mode"), "PASSIVE");
    let show = "\
# --- Monitor is in PASSIVE MODE ---
# Cause: Conflicting roles during startup:
#\u{20}
# Startup status:
#\u{20}
# Roles:
#     Role                     Host    Stored  System  Agent
#     reader(192.168.8.34)     db1     Yes     Yes     Yes\u{20}\u{20}
#     reader(192.168.8.35)     db2     Yes     Yes     Yes\u{20}\u{20}
#     writer(192.168.8.30)     db1     Yes     Yes     Yes\u{20}\u{20}
#     writer(192.168.8.30)     db2     -       Yes     -\u{20}\u{20}\u{20}\u{20}
#\u{20}
# Hosts:
#     Host    Master  Writable  Stored state      Agent state\u{20}\u{20}\u{20}\u{20}\u{20}
#     db1     -       Yes       ONLINE            ONLINE\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}
#     db2     -       No        ONLINE            ONLINE\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}\u{20}
#\u{20}
  db1(192.168.8.32) master/ONLINE. Roles: reader(192.168.8.34), writer(192.168.8.30)
  db2(192.168.8.33) master/ONLINE. Roles: reader(192.168.8.35)
";
    assert_eq!(fixture.command("show"), show);
    assert!(fixture.orders.is_empty(), "passive: nobody is told anything");
    assert!(
        fixture.logged("WARN Role 'writer(192.168.8.30)' was configured on 2 hosts during monitor startup.")
    );
    assert_eq!(fixture.command("set_active"), "OK: Switched into active mode.");
    assert_eq!(fixture.ordered("db2"), "reader(192.168.8.35)");
}

#[test]
fn without_careful_startup_the_host_with_most_votes_stays_the_writer() {
    let mut fixture = conflicting();
    let mut settings = pair();
    settings.careful_startup = false;
    let said = std::mem::take(&mut fixture.said);
    let mut fixture = Fixture::restored(settings, Some("db1|ONLINE|writer(192.168.8.30)\n"));
    fixture.said = said;
    fixture.start();
    assert_eq!(fixture.command("mode"), "ACTIVE");
    assert!(!fixture.ordered("db1").contains("writer"), "the other one has the address, too");
    fixture.settle();
    assert_eq!(fixture.ordered("db1"), "reader(192.168.8.34),writer(192.168.8.30)");
    assert_eq!(fixture.orders["db1"].writer.as_ref().unwrap().takeover, Takeover::Keep);
}

#[test]
fn an_elected_writer_without_the_address_catches_up() {
    let stored = "db1|ONLINE|\ndb2|ONLINE|writer(192.168.8.30)\n";
    let mut fixture = Fixture::restored(pair(), Some(stored));
    fixture.start();
    assert_eq!(fixture.writer(), "db2");
    let promotion = fixture.promotion("db2").unwrap();
    assert_eq!((promotion.takeover, promotion.proof), (Takeover::Fresh, Proof::Nobody));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn a_role_is_not_granted_while_a_host_that_was_online_cannot_be_asked() {
    let stored = "db1|ONLINE|\ndb2|ONLINE|writer(192.168.8.30)\n";
    let mut fixture = Fixture::restored(pair(), Some(stored));
    fixture.network(true);
    for host in ["db1", "db2"] {
        for kind in CheckKind::ALL {
            fixture.good(host, kind);
        }
    }
    fixture.connect("db2");
    fixture.lose("db1");
    fixture.tick();
    assert_eq!(fixture.state("db2"), HostState::Unknown, "its agent may be restarting");
    fixture.pass(15);
    fixture.settle();
    assert_eq!((fixture.writer().as_str(), fixture.ordered("db2").contains("writer")), ("db2", false));
    fixture.connect("db1");
    fixture.settle();
    assert!(fixture.ordered("db2").contains("writer"));
}

#[test]
fn an_elected_writer_that_was_never_promoted_has_nothing_to_let_go_of() {
    let stored = "db1|ONLINE|writer(192.168.8.30)\ndb2|ONLINE|\n";
    let mut fixture = Fixture::restored(pair(), Some(stored));
    fixture.said.get_mut("db1").unwrap().server = ServerView::Gone;
    fixture.start();
    assert_eq!((fixture.writer().as_str(), fixture.ordered("db1").as_str()), ("db2", ""));
    assert_eq!(fixture.promotion("db2").unwrap().proof, Proof::Nobody);
}

#[test]
fn an_address_on_a_host_without_votes_comes_off_before_another_gets_it() {
    let mut fixture = Fixture::restored(pair(), Some("db1|HARD_OFFLINE|\ndb2|ONLINE|\n"));
    let status = fixture.said.get_mut("db1").unwrap();
    (status.held, status.server) = (set(&[WRITER]), WRITABLE);
    fixture.start();
    fixture.agent_obeys("db2");
    assert_eq!((fixture.writer().as_str(), fixture.ordered("db2").contains("writer")), ("", false));
    fixture.agent_obeys("db1");
    fixture.tick();
    assert!(fixture.ordered("db2").contains("writer"));
}

#[test]
fn an_elected_writer_hands_the_role_to_the_preferred_host_in_order() {
    let stored = "db1|ONLINE|writer(192.168.8.30)\ndb2|ONLINE|\n";
    let mut fixture = Fixture::restored(preferring("db2"), Some(stored));
    fixture.start();
    fixture.agent_obeys("db1");
    assert_eq!(fixture.writing(), ["db1"]);
    fixture.approached(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn a_monitor_that_an_agent_refused_decides_nothing_and_kills_nobody() {
    let mut settings = pair();
    settings.kill_host = Ok(());
    let mut fixture = Fixture::running(settings);
    fixture.refuse("db1");
    assert!(
        fixture.logged(
            "FATAL The agent on host 'db1' has another monitor, so this one decides nothing: a reason"
        )
    );
    assert!(fixture.command("show").contains("# Warning: the agent on host db1 has another monitor"));
    for _ in 0..20 {
        fixture.bad("db1", CheckKind::Ping);
        fixture.refuse("db1");
        fixture.pass(1);
    }
    assert_eq!(fixture.state("db1"), HostState::Online);
    assert!(fixture.kills.is_empty());
    fixture.pass(6);
    fixture.bad("db1", CheckKind::Ping);
    assert_eq!(fixture.state("db1"), HostState::HardOffline, "the other monitor is gone");
}

/// The monitor is started with a configuration in which the writer's host has another name.
fn started_without_the_writer(fixture: &mut Fixture) {
    fixture.said.remove("db1");
    let mut settings = fixture.settings.clone();
    settings.hosts.remove("db1");
    for role in settings.roles.values_mut() {
        role.hosts.retain(|host| host.as_str() != "db1");
    }
    fixture.settings = settings;
    fixture.restart_with_state();
    fixture.network(true);
    fixture.well("db2");
    fixture.connect("db2");
}

const STRANGER: &str = "WARN Host 'db1' is not configured, but the monitor's files name it";

#[test]
fn what_a_host_has_that_is_not_configured_any_more_is_given_to_nobody_while_somebody_hears_it() {
    let mut fixture = Fixture::running(pair());
    let reader = fixture.roles("db1").split(',').find(|role| role.starts_with("reader")).unwrap().to_owned();
    let promise = Promise {
        holder: "db1".into(),
        epoch: fixture.said["db1"].lease.accepted,
        length: LeaseLength::DEFAULT,
    };
    started_without_the_writer(&mut fixture);
    assert!(fixture.logged_part(STRANGER));
    for _ in 0..60 {
        let until = fixture.now + wait_for(LeaseLength::DEFAULT);
        fixture.report("db2", |status| {
            status.lease.promise = Some(PromiseGiven { promise: promise.clone(), until });
            status.lease.contacts = [HostName::from("db1")].into();
        });
        fixture.pass(1);
        fixture.agents_obey();
    }
    assert!(!fixture.ordered("db2").contains(&reader), "{}", fixture.ordered("db2"));
    assert_eq!(fixture.promotion("db2"), None);
    let stored = fixture.stored.clone().unwrap();
    assert!(stored.contains("db1|"), "the next start must know of it: {stored}");

    // Nobody hears it any more.
    fixture.report("db2", |status| {
        status.lease.promise = None;
        status.lease.contacts.clear();
    });
    fixture.pass(20);
    fixture.settle();
    assert!(fixture.ordered("db2").contains(&reader), "{}", fixture.ordered("db2"));
    assert_eq!(fixture.writing(), ["db2"]);
    assert!(fixture.logged("INFO Host 'db1' has let go of its roles and is not watched any more"));
    let stored = fixture.stored.clone().unwrap();
    assert!(!stored.contains("db1|"), "{stored}");
}

#[test]
fn the_operator_may_say_that_a_host_is_dead_that_is_not_configured_any_more() {
    let mut settings = pair();
    settings.leases_run_out = false;
    let mut fixture = Fixture::running(settings);
    started_without_the_writer(&mut fixture);
    fixture.pass(60);
    fixture.settle();
    assert!(fixture.writing().is_empty());
    assert!(fixture.command("confirm_dead --yes db1").starts_with("OK: Host 'db1' counts as dead"));
    fixture.settle();
    assert_eq!(fixture.writing(), ["db2"]);
}

#[test]
fn a_host_that_is_configured_again_is_watched_and_goes_on_as_the_writer() {
    let mut fixture = Fixture::running(pair());
    let said = fixture.said["db1"].clone();
    started_without_the_writer(&mut fixture);
    fixture.settings = pair();
    fixture.said.insert("db1".into(), said);
    fixture.step(Event::Reconfigured(Box::new(pair())));
    fixture.connect("db1");
    fixture.well("db1");
    fixture.settle();
    assert_eq!((fixture.writing(), fixture.state("db1")), (vec!["db1"], HostState::Online));
    assert_eq!(fixture.promotion("db1").unwrap().epoch.number, 1);
}

#[test]
fn a_writer_that_is_configured_again_goes_on_though_its_checks_have_not_run_yet() {
    let mut fixture = Fixture::running(pair());
    let said = fixture.said["db1"].clone();
    started_without_the_writer(&mut fixture);
    fixture.settle();
    fixture.settings = pair();
    fixture.said.insert("db1".into(), said);
    fixture.step(Event::Reconfigured(Box::new(pair())));
    fixture.connect("db1");
    assert!(fixture.ordered("db1").contains(WRITER), "{}", fixture.ordered("db1"));
    fixture.settle();
    assert_eq!((fixture.writing(), fixture.state("db1")), (vec!["db1"], HostState::Online));
    assert_eq!(fixture.promotion("db1").unwrap().epoch.number, 1);
}
