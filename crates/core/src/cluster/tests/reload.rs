//! New settings while the monitor runs.

use std::net::IpAddr;
use std::time::Duration;

use super::fixture::{Disk, Fixture, WRITER, four, pair, role};
use super::host::sound;
use crate::check::CheckKind;
use crate::cluster::Event;
use crate::lease::{LeaseLength, Proof, wait_for};
use crate::names::HostName;
use crate::settings::{HostMode, HostSettings, RoleMode, RoleSettings, Settings};
use crate::state::HostState;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 168, 8, last])
}

fn change(fixture: &mut Fixture, change: impl FnOnce(&mut Settings)) {
    change(&mut fixture.settings);
    let settings = Box::new(fixture.settings.clone());
    fixture.step(Event::Reconfigured(settings));
}

fn objections(fixture: &Fixture, change: impl FnOnce(&mut Settings)) -> String {
    let mut settings = fixture.settings.clone();
    change(&mut settings);
    fixture.cluster.objections(&settings).join("; ")
}

fn slave(last: u8) -> HostSettings {
    HostSettings { ip: ip(last), port: 3306, mode: HostMode::Slave, peer: None }
}

fn add(settings: &mut Settings, name: &str, last: u8) {
    settings.hosts.insert(name.into(), slave(last));
    settings.roles.get_mut("reader").unwrap().hosts.push(name.into());
}

fn remove(settings: &mut Settings, name: &str) {
    settings.hosts.remove(name);
    for role in settings.roles.values_mut() {
        role.hosts.retain(|host| host.as_str() != name);
    }
}

fn length(seconds: u64) -> LeaseLength {
    LeaseLength::new(Duration::from_secs(seconds)).unwrap()
}

#[test]
fn the_same_settings_again_change_nothing() {
    let mut fixture = Fixture::running(four());
    let (orders, stored) = (fixture.orders.clone(), fixture.stored.clone());
    change(&mut fixture, |_| {});
    assert_eq!((fixture.orders.clone(), fixture.stored.clone()), (orders, stored));
    assert!(fixture.log.is_empty(), "{:?}", fixture.log);
}

#[test]
fn a_new_host_is_watched_comes_online_and_gets_its_share_of_the_readers() {
    let mut fixture = Fixture::running(pair());
    let writer = fixture.writer();
    fixture.said.insert("db3".into(), sound());
    change(&mut fixture, |settings| {
        add(settings, "db3", 36);
        settings.roles.get_mut("reader").unwrap().ips.insert(ip(36));
    });
    assert_eq!(fixture.state("db3"), HostState::AwaitingRecovery);
    fixture.pass(12);
    assert_eq!(fixture.state("db3"), HostState::AwaitingRecovery, "nothing is known of it yet");
    fixture.connect("db3");
    fixture.well("db3");
    fixture.pass(1);
    fixture.settle();
    assert_eq!(fixture.state("db3"), HostState::Online);
    assert_eq!(fixture.roles("db3").matches("reader").count(), 1, "{:?}", fixture.log);
    assert_eq!(fixture.writer(), writer);
    assert!(fixture.stored.as_ref().unwrap().contains("db3|ONLINE|reader("));
}

#[test]
fn a_removed_host_is_told_to_let_go_and_dismissed_when_it_has() {
    let mut fixture = Fixture::running(four());
    let readers = fixture.roles("db3");
    assert!(readers.contains("reader"));
    change(&mut fixture, |settings| remove(settings, "db3"));
    assert_eq!(fixture.ordered("db3"), "");
    assert!(fixture.dismissed.is_empty(), "its agent has not answered yet");
    let label = role(&readers);
    assert!(fixture.orders.values().all(|order| !order.roles.contains(&label)), "nobody has it before");
    assert!(!fixture.command("show").contains("db3("));
    assert!(fixture.command("set_online db3").contains("Unknown host"));
    fixture.settle();
    assert_eq!(fixture.dismissed, ["db3".into()]);
    assert_eq!(fixture.cluster.state_of("db3"), None);
    assert!(
        fixture.orders.iter().any(|(host, order)| host.as_str() != "db3" && order.roles.contains(&label))
    );
    assert!(!fixture.stored.as_ref().unwrap().contains("db3"));
    // Late news of it are nobody's concern.
    fixture.bad("db3", CheckKind::Ping);
    fixture.lose("db3");
}

#[test]
fn a_removed_host_that_had_nothing_is_asked_all_the_same_and_dismissed() {
    let mut settings = four();
    settings.roles.get_mut("reader").unwrap().hosts.retain(|host| host.as_str() != "db4");
    let mut fixture = Fixture::running(settings);
    fixture.command("set_offline db4");
    fixture.settle();
    let before = fixture.orders["db4"].id;
    change(&mut fixture, |settings| remove(settings, "db4"));
    assert_ne!(fixture.orders["db4"].id, before);
    assert_eq!(fixture.orders["db4"].state, HostState::AdminOffline, "what was stopped stays stopped");
    fixture.settle();
    assert_eq!(fixture.dismissed, ["db4".into()]);
}

#[test]
fn the_readers_of_a_removed_host_that_is_out_of_reach_wait_until_the_kernel_has_taken_them_off() {
    let mut fixture = Fixture::running(four());
    let label = role(&fixture.roles("db3"));
    fixture.lose("db3");
    change(&mut fixture, |settings| remove(settings, "db3"));
    fixture.settle();
    assert!(fixture.dismissed.is_empty());
    assert!(
        fixture.orders.iter().all(|(host, order)| host.as_str() == "db3" || !order.roles.contains(&label))
    );
    fixture.pass(wait_for(LeaseLength::DEFAULT).as_secs() + 1);
    fixture.settle();
    assert_eq!(fixture.dismissed, ["db3".into()]);
    assert!(
        fixture.orders.iter().any(|(host, order)| host.as_str() != "db3" && order.roles.contains(&label))
    );
}

#[test]
fn a_host_that_comes_back_before_it_has_let_go_is_a_new_host() {
    let mut fixture = Fixture::running(four());
    let before = fixture.settings.clone();
    change(&mut fixture, |settings| remove(settings, "db3"));
    change(&mut fixture, |settings| *settings = before);
    fixture.settle();
    assert!(fixture.dismissed.is_empty());
    assert_eq!(fixture.state("db3"), HostState::AwaitingRecovery);
    fixture.pass(11);
    assert_eq!(fixture.state("db3"), HostState::Online);
}

#[test]
fn the_host_with_the_lease_is_not_removed_before_the_role_has_moved() {
    let mut fixture = Fixture::running(four());
    let holder = fixture.writer();
    let other = if holder == "db1" { "db2" } else { "db1" };
    for take in [
        |settings: &mut Settings, name: &str| remove(settings, name),
        |settings: &mut Settings, name: &str| {
            settings.roles.get_mut("writer").unwrap().hosts.retain(|host| host.as_str() != name);
        },
    ] {
        let why = objections(&fixture, |settings| take(settings, &holder));
        assert!(why.contains("move the role first") && why.contains(&holder), "{why}");
        assert_eq!(objections(&fixture, |settings| take(settings, other)), "");
    }
    let before = fixture.settings.clone();
    change(&mut fixture, |settings| remove(settings, &holder));
    fixture.settle();
    assert!(fixture.logged_part("is not taken in"), "{:?}", fixture.log);
    assert_eq!(fixture.writer(), holder);
    fixture.settings = before;
    fixture.command(&format!("move_role writer {other}"));
    fixture.approached(Ok(()));
    fixture.settle();
    assert_eq!(fixture.writer(), other);
    change(&mut fixture, |settings| remove(settings, &holder));
    fixture.settle();
    assert_eq!(fixture.dismissed, [holder.as_str().into()]);
    assert_eq!(fixture.writing(), [other]);
}

#[test]
fn a_holder_that_vanished_is_not_removed_before_it_counts_as_dead() {
    let mut fixture = Fixture::running(pair());
    let holder = fixture.writer();
    // Nobody can take over, so the lease does not run out.
    let other = if holder == "db1" { "db2" } else { "db1" };
    fixture.command(&format!("set_offline {other}"));
    fixture.settle();
    fixture.lose(&holder);
    fixture.pass_without_renewals(20_000);
    let why = objections(&fixture, |settings| remove(settings, &holder));
    assert!(why.contains("confirm_dead"), "{why}");
    fixture.command(&format!("confirm_dead --yes {holder}"));
    assert_eq!(objections(&fixture, |settings| remove(settings, &holder)), "");
}

#[test]
fn no_candidate_is_removed_while_it_is_not_known_who_holds_the_lease() {
    let mut fixture = Fixture::new(pair());
    fixture.network(true);
    let why = objections(&fixture, |settings| remove(settings, "db2"));
    assert!(why.contains("finding out"), "{why}");
    fixture.connect("db1");
    fixture.well("db1");
    fixture.pass(20);
    let why = objections(&fixture, |settings| remove(settings, "db2"));
    assert!(why.contains("not known who has it"), "{why}");
    fixture.step(Event::AgentLost { host: "db2".into(), reason: "can't connect".into() });
    fixture.command("confirm_dead --yes db2");
    assert_eq!(objections(&fixture, |settings| remove(settings, "db2")), "");
}

#[test]
fn a_new_candidate_joins_the_list_by_a_renewal_and_a_removed_one_leaves_it_so() {
    let mut settings = pair();
    add(&mut settings, "db3", 36);
    let mut fixture = Fixture::running(settings);
    assert_eq!(fixture.writer(), "db1");
    fixture.pass_ms(1000);
    assert_eq!(fixture.list_of("db1").unwrap(), ["db2"]);
    change(&mut fixture, |settings| settings.roles.get_mut("writer").unwrap().hosts.push("db3".into()));
    assert_eq!(fixture.list_of("db1").unwrap(), ["db2"], "the list changes with a renewal only");
    fixture.pass_ms(1000);
    assert_eq!(fixture.list_of("db1").unwrap(), ["db2", "db3"]);
    fixture.pass_ms(1000);
    fixture.lose("db1");
    change(&mut fixture, |settings| {
        settings.roles.get_mut("writer").unwrap().hosts.retain(|host| host.as_str() != "db2");
    });
    fixture.pass_without_renewals(4_000);
    assert_eq!(fixture.list_of("db1").unwrap(), ["db2", "db3"], "the holder still counts on both");
    fixture.pass_without_renewals(4_000);
    fixture.settle();
    assert_eq!(fixture.writer(), "db3");
    assert!(matches!(fixture.promotion("db3").unwrap().proof, Proof::RanOut(_)));
}

#[test]
fn a_longer_lease_is_on_disk_before_it_is_granted() {
    let mut fixture = Fixture::running(pair());
    fixture.disk = Disk::Slow;
    fixture.granted.clear();
    change(&mut fixture, |settings| settings.terms.length = length(20));
    fixture.renews("db1");
    assert!(fixture.granted.is_empty(), "{:?}", fixture.granted);
    fixture.write_state();
    assert_eq!(fixture.kept.as_ref().unwrap().record.as_ref().unwrap().longest, length(20));
    assert_eq!(fixture.granted.last().unwrap().1.length, length(20));
    assert!(fixture.orders.values().all(|order| order.terms.length == length(20)));
    fixture.disk = Disk::Quick;
    change(&mut fixture, |settings| settings.terms.length = length(3));
    fixture.pass_ms(500);
    fixture.renews("db1");
    assert_eq!(fixture.granted.last().unwrap().1.length, length(3));
}

#[test]
fn a_shorter_lease_does_not_count_for_a_host_that_has_not_heard_of_it() {
    let mut settings = four();
    settings.terms.length = length(20);
    let mut fixture = Fixture::running(settings);
    let label = role(&fixture.roles("db3"));
    let elsewhere = |fixture: &Fixture| {
        fixture.orders.iter().any(|(host, order)| host.as_str() != "db3" && order.roles.contains(&label))
    };
    fixture.lose("db3");
    change(&mut fixture, |settings| settings.terms.length = length(3));
    fixture.fail("db3", CheckKind::Ping);
    fixture.settle();
    assert_eq!(fixture.state("db3"), HostState::HardOffline);
    assert!(!elsewhere(&fixture), "it may keep its address for 20 s");
    fixture.pass(12);
    fixture.settle();
    assert!(elsewhere(&fixture));
}

#[test]
fn new_addresses_are_given_out_and_removed_ones_go() {
    let mut fixture = Fixture::running(pair());
    change(&mut fixture, |settings| {
        let reader = settings.roles.get_mut("reader").unwrap();
        reader.ips.insert(ip(50));
        reader.ips.remove(&ip(34));
    });
    fixture.settle();
    let ordered = format!("{} {}", fixture.ordered("db1"), fixture.ordered("db2"));
    assert!(ordered.contains("reader(192.168.8.50)") && !ordered.contains("192.168.8.34"), "{ordered}");
    change(&mut fixture, |settings| {
        settings.roles.remove("reader");
    });
    fixture.settle();
    assert_eq!((fixture.ordered("db1"), fixture.ordered("db2")), (WRITER.to_owned(), String::new()));
}

#[test]
fn an_address_that_changes_its_role_is_off_its_old_host_first() {
    let mut fixture = Fixture::running(pair());
    let address = role("reader(192.168.8.35)");
    let holder = ["db1", "db2"].into_iter().find(|host| fixture.roles(host).contains("8.35")).unwrap();
    fixture.lose(holder);
    let logs = RoleSettings {
        mode: RoleMode::Exclusive,
        hosts: vec!["db1".into(), "db2".into()],
        ips: [ip(35)].into(),
        prefer: None,
    };
    change(&mut fixture, |settings| {
        settings.roles.get_mut("reader").unwrap().ips.remove(&ip(35));
        settings.roles.insert("logs".into(), logs);
    });
    fixture.settle();
    let label = role("logs(192.168.8.35)");
    assert!(fixture.said[holder].held.contains(&address));
    assert!(fixture.orders.values().all(|order| !order.roles.contains(&label)));
    fixture.pass_without_renewals(6_500);
    fixture.settle();
    assert!(fixture.orders.values().any(|order| order.roles.contains(&label)));
}

#[test]
fn the_writer_keeps_its_lease_when_the_role_gets_another_address() {
    let mut fixture = Fixture::running(pair());
    let (holder, epoch) = (fixture.writer(), fixture.promotion("db1").unwrap().epoch);
    change(&mut fixture, |settings| settings.roles.get_mut("writer").unwrap().ips = [ip(31)].into());
    fixture.settle();
    assert_eq!(fixture.promotion(&holder).unwrap().epoch, epoch);
    assert!(fixture.ordered(&holder).contains("writer(192.168.8.31)"));
    assert!(!fixture.ordered(&holder).contains("192.168.8.30"));
    assert_eq!(fixture.writing(), [holder.as_str()]);
}

#[test]
fn a_role_leaves_a_host_that_may_not_have_it_any_more_and_prefers_whom_it_is_told_to() {
    let mut fixture = Fixture::running(four());
    change(&mut fixture, |settings| {
        settings.roles.get_mut("reader").unwrap().hosts.retain(|host| host.as_str() != "db4");
        settings.roles.get_mut("writer").unwrap().prefer = Some("db2".into());
    });
    fixture.settle();
    assert_eq!(fixture.roles("db4"), "");
    assert_eq!(fixture.approaches.last().unwrap().0, "db2".into());
}

#[test]
fn new_periods_and_limits_count_from_now_on_and_the_mode_stays() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_manual");
    change(&mut fixture, |settings| {
        settings.trap.insert(CheckKind::Ping, Duration::from_secs(1));
        settings.mode = crate::state::Mode::Wait;
        settings.instance = 999;
    });
    assert_eq!(fixture.cluster.mode(), crate::state::Mode::Manual);
    fixture.bad("db2", CheckKind::Ping);
    fixture.pass(2);
    fixture.bad("db2", CheckKind::Ping);
    assert_eq!(fixture.state("db2"), HostState::HardOffline);
    assert_eq!(fixture.orders["db2"].id.instance, 7);
}

#[test]
fn another_role_for_the_writes_needs_a_restart() {
    let fixture = Fixture::running(pair());
    let why = objections(&fixture, |settings| settings.active_master_role = "reader".into());
    assert!(why.contains("restart"), "{why}");
}

#[test]
fn a_dead_host_leaves_although_the_monitor_has_been_started_since() {
    let mut fixture = Fixture::running(four());
    fixture.lose("db4");
    fixture.restart_with_state();
    fixture.network(true);
    for host in ["db1", "db2", "db3"] {
        fixture.connect(host);
        fixture.well(host);
    }
    fixture.bad("db4", CheckKind::Ping);
    fixture.lose("db4");
    fixture.pass(20);
    fixture.settle();
    change(&mut fixture, |settings| remove(settings, "db4"));
    fixture.pass(20);
    assert_eq!(fixture.dismissed, [HostName::from("db4")]);
}
