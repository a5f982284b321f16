use super::fixture::{Fixture, four};
use super::semi_sync::{acknowledges, waits};
use crate::message::{AgentStatus, ServerView};
use crate::semi_sync::{Hanging, SemiSync, SemiSyncOrder};
use crate::settings::SemiSyncMode;

const ON: Option<bool> = Some(true);
const OFF: Option<bool> = Some(false);

/// Follows db1 and acknowledges nothing.
fn follows(status: &mut AgentStatus) {
    status.source_ip = Some("192.168.8.32".parse().unwrap());
    status.semi_sync = Some(SemiSync { wanted: 1, ..SemiSync::default() });
}

fn running() -> Fixture {
    let mut settings = four();
    settings.semi_sync = SemiSyncMode::Manage;
    let mut fixture = Fixture::running(settings);
    for host in ["db2", "db3", "db4"] {
        fixture.report(host, follows);
    }
    fixture.report("db1", |status| status.semi_sync = Some(SemiSync { wanted: 1, ..SemiSync::default() }));
    fixture.tick();
    fixture
}

fn wanted(fixture: &Fixture, host: &str) -> SemiSyncOrder {
    fixture.orders[host].semi_sync.unwrap_or_default()
}

fn replicas(fixture: &Fixture) -> [Option<bool>; 3] {
    ["db2", "db3", "db4"].map(|host| wanted(fixture, host).replica)
}

#[test]
fn who_could_take_over_acknowledges_first_and_then_the_writer_waits() {
    let mut fixture = running();
    assert_eq!(replicas(&fixture), [ON, OFF, OFF]);
    assert_eq!(wanted(&fixture, "db1").source, None, "nobody acknowledges yet");
    fixture.report("db2", acknowledges("192.168.8.32"));
    assert_eq!(wanted(&fixture, "db1"), SemiSyncOrder { source: ON, ..SemiSyncOrder::default() });
    assert_eq!(wanted(&fixture, "db2").source, OFF, "it waits for nobody");
}

#[test]
fn a_dead_host_is_replaced_and_gets_its_place_back_once_it_acknowledges() {
    let mut fixture = running();
    fixture.report("db2", acknowledges("192.168.8.32"));
    fixture.report("db1", waits(|_| ()));
    fixture.report("db2", |status| status.server = ServerView::Gone);
    assert_eq!(replicas(&fixture)[1..], [ON, OFF]);
    fixture.report("db3", acknowledges("192.168.8.32"));
    fixture.report("db2", |status| {
        follows(status);
        status.server = ServerView::Up { writable: false };
    });
    fixture.well("db2");
    fixture.pass(15);
    assert_eq!(replicas(&fixture), [ON, ON, OFF], "the one goes on until the other acknowledges");
    fixture.report("db2", acknowledges("192.168.8.32"));
    assert_eq!(replicas(&fixture), [ON, OFF, OFF]);
}

#[test]
fn too_few_hosts_raise_an_alarm() {
    let mut fixture = running();
    fixture.report("db1", waits(|source| source.wanted = 4));
    fixture.report("db1", |status| status.semi_sync.as_mut().unwrap().wanted = 4);
    assert!(
        fixture.logged_part("FATAL Semi-sync: 'db1' is to have 4 hosts that acknowledge, and only 3 could")
    );
    assert_eq!(replicas(&fixture), [ON, ON, ON]);
}

/// What hangs on a writer that is being demoted would be committed, and answered, by switching it off there.
#[test]
fn nothing_is_switched_off_on_a_writer_before_it_has_given_the_role_back() {
    let mut fixture = running();
    fixture.report("db2", acknowledges("192.168.8.32"));
    fixture.report("db1", waits(|_| ()));
    fixture.command("move_role writer db2");
    fixture.approached(Ok(()));
    assert_eq!(wanted(&fixture, "db1").source, None);
    fixture.pass(3);
    assert_eq!(wanted(&fixture, "db1").source, None);
    fixture.agents_obey();
    fixture.agents_obey();
    assert_eq!(fixture.writing(), ["db2"]);
    fixture.report("db1", |status| status.source_ip = Some("192.168.8.33".parse().unwrap()));
    assert_eq!(wanted(&fixture, "db1").source, OFF);
}

#[test]
fn an_acknowledgement_that_got_lost_is_asked_for_again() {
    let mut fixture = running();
    fixture.report("db2", acknowledges("192.168.8.32"));
    let since = fixture.now;
    fixture.report("db1", waits(|source| source.hanging = Some(Hanging { commits: 1, since })));
    assert_eq!(wanted(&fixture, "db2").nudge, 0);
    fixture.pass(6);
    assert_eq!((wanted(&fixture, "db2").nudge, wanted(&fixture, "db3").nudge), (1, 0));
    fixture.report("db1", waits(|_| ()));
    fixture.pass(20);
    assert_eq!(wanted(&fixture, "db2").nudge, 1);
}

#[test]
fn who_only_watches_switches_nothing() {
    let mut fixture = Fixture::running(four());
    fixture.report("db2", acknowledges("192.168.8.32"));
    fixture.report("db1", waits(|_| ()));
    fixture.pass(3);
    assert!(fixture.orders.values().all(|order| order.semi_sync.is_none()));
}
