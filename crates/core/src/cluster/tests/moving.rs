use super::fixture::{Fixture, WRITER, pair, preferring, role};
use crate::check::CheckKind;
use crate::gtid::GtidView;
use crate::lease::{Ended, Proof};
use crate::message::{ServerView, Takeover};
use crate::settings::{Diverged, Settings};
use crate::state::HostState;

const GONE: ServerView = ServerView::Gone;

fn takeover(fixture: &Fixture, host: &str) -> Takeover {
    fixture.orders[host].writer.as_ref().expect("the writer role is granted").takeover.clone()
}

#[test]
fn a_planned_move_waits_for_its_target_then_for_the_old_writer_and_then_answers() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(fixture.command("move_role writer db2"), "");
    assert_eq!(fixture.writer(), "db1", "nothing is stopped while the target catches up");
    assert!(
        fixture.command("move_role writer db2").starts_with("ERROR: Role 'writer' is being moved already")
    );
    fixture.approached(Ok(()));
    assert!(fixture.logged("FATAL Admin moved role 'writer' from 'db1' to 'db2'"));
    assert!(!fixture.ordered("db1").contains("writer"));
    assert!(!fixture.ordered("db2").contains("writer"), "db1 has not let go yet");
    fixture.agent_obeys("db1");
    assert!(matches!(takeover(&fixture, "db2"), Takeover::After(position) if position.position == 4711));
    assert!(!fixture.orders["db2"].writer.as_ref().unwrap().hold);
    assert_eq!(fixture.answers.len(), 1, "it is not known yet what comes of it");
    fixture.settle();
    assert_eq!(
        fixture.answers.last().unwrap(),
        "OK: Role 'writer' has been moved from 'db1' to 'db2'. Now you can wait some time and check new roles info!"
    );
}

#[test]
fn a_move_whose_target_does_not_catch_up_leaves_everything_as_it_was() {
    let mut fixture = Fixture::running(pair());
    fixture.command("move_role writer db2");
    fixture.approached(Err("it is 300 s behind".into()));
    assert!(fixture.answers[0].starts_with("ERROR: Role 'writer(192.168.8.30)' stays on 'db1'"));
    fixture.command("move_role writer db2");
    fixture.pass(5);
    assert!(fixture.answers[0].contains("did not say in time"));
    assert_eq!(fixture.writer(), "db1");
}

#[test]
fn the_role_is_never_granted_while_the_old_holder_has_address_or_open_server() {
    for keep_address in [true, false] {
        let mut fixture = Fixture::running(pair());
        fixture.command("set_offline --force db1");
        let order = fixture.orders["db1"].clone();
        fixture.report("db1", |status| {
            status.taken_in = Some(order.id);
            if keep_address {
                status.server = ServerView::Up { writable: false };
            } else {
                status.held.clear();
            }
        });
        fixture.pass(600);
        assert!(!fixture.ordered("db2").contains("writer"), "address kept: {keep_address}");
        fixture.agent_obeys("db1");
        assert!(fixture.ordered("db2").contains("writer"));
    }
}

#[test]
fn taking_the_writer_offline_hands_its_role_over_in_order_first() {
    let mut fixture = Fixture::running(pair());
    assert_eq!(fixture.command("set_offline db1"), "");
    assert_eq!(
        fixture.cluster.state_of("db1"),
        Some(HostState::Online),
        "it serves until its successor is ready"
    );
    fixture.approached(Ok(()));
    fixture.agent_obeys("db1");
    assert!(matches!(takeover(&fixture, "db2"), Takeover::After(_)));
    assert_eq!(fixture.state("db1"), HostState::Online, "the role may still come back");
    fixture.settle();
    assert!(fixture.answers.last().unwrap().starts_with("OK: State of 'db1' changed to ADMIN_OFFLINE."));
    assert_eq!(fixture.state("db1"), HostState::AdminOffline);
}

#[test]
fn the_writer_stays_online_when_its_successor_does_not_catch_up() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db1");
    fixture.approached(Err("behind".into()));
    assert!(fixture.answers[0].starts_with("ERROR: Role 'writer(192.168.8.30)' stays on 'db1'"));
    assert_eq!(fixture.cluster.state_of("db1"), Some(HostState::Online));
}

#[test]
fn a_status_that_does_not_answer_the_order_is_no_release() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.report("db1", |status| {
        status.held.clear();
        status.server = GONE;
    });
    assert!(!fixture.ordered("db2").contains("writer"));
}

#[test]
fn the_prefered_host_gets_its_role_back_after_catching_up_and_not_again_at_once_when_it_could_not() {
    let mut fixture = Fixture::running(preferring("db2"));
    assert_eq!(fixture.writer(), "db2");
    fixture.report("db2", |status| {
        status.server = GONE;
        status.held.clear();
    });
    fixture.settle();
    assert_eq!(fixture.writer(), "db1");
    fixture.report("db1", |status| {
        status.holding = true;
        status.gtid = Some(gtid(12, 5, 5));
    });
    fixture.report("db2", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = Some(gtid(13, 5, 5));
    });
    fixture.settle();
    fixture.approached(Err("behind".into()));
    fixture.settle();
    assert!(fixture.approaches.is_empty(), "it rests after a failed move");
    fixture.pass(61);
    fixture.tick();
    fixture.approached(Ok(()));
    fixture.settle();
    assert!(fixture.ordered("db2").contains("writer"));
    assert!(
        fixture.logged("INFO Moving role 'writer(192.168.8.30)' from host 'db1' to preferred host 'db2'")
    );
}

/// The writer is lost in every way, while db2 could not take over: it was back only after the last renewal.
pub(super) fn lost_with_an_empty_list(kill_host: Result<(), String>) -> Fixture {
    let mut settings = pair();
    settings.kill_host = kill_host;
    let mut fixture = Fixture::running(settings);
    fixture.command("set_offline db2");
    fixture.pass(2);
    fixture.lose("db1");
    fixture.command("set_online db2");
    fixture.fail("db1", CheckKind::Ping);
    fixture
}

#[test]
fn a_writer_that_is_not_heard_of_any_more_is_replaced_when_its_lease_has_run_out() {
    let mut fixture = Fixture::running(pair());
    fixture.lose("db1");
    fixture.pass(5);
    assert_eq!((fixture.writer().as_str(), fixture.writing()), ("db1", vec![]), "the wait is longer than it");
    fixture.pass(1);
    let promotion = fixture.promotion("db2").unwrap();
    assert!(matches!(promotion.proof, Proof::RanOut(_)), "{promotion:?}");
    assert_eq!((promotion.takeover, promotion.hold), (Takeover::Lost, true));
    assert!(fixture.logged(
        "FATAL State of host 'db1' changed from ONLINE to HARD_OFFLINE because its lease has run out and its agent can't be reached"
    ));
}

#[test]
fn a_dead_writer_whose_lease_does_not_run_out_is_killed_before_its_role_goes_on() {
    let mut fixture = lost_with_an_empty_list(Ok(()));
    assert_eq!((fixture.kills.len(), fixture.state("db1")), (1, HostState::HardOffline));
    fixture.pass(600);
    assert!(!fixture.ordered("db2").contains("writer"));
    fixture.kill_ends(Ok(()));
    fixture.tick();
    assert_eq!(takeover(&fixture, "db2"), Takeover::Lost);
    let promotion = fixture.promotion("db2").unwrap();
    assert!(matches!(promotion.proof, Proof::Ended(_, Ended::Dead)) && promotion.hold, "{promotion:?}");
}

#[test]
fn a_failed_kill_keeps_the_role_where_it_is_and_is_tried_again() {
    let mut fixture = lost_with_an_empty_list(Ok(()));
    fixture.kill_ends(Err("exit status 1".to_owned()));
    fixture.pass(9);
    assert_eq!((fixture.kills.len(), fixture.ordered("db2").contains("writer")), (0, false));
    fixture.pass(1);
    assert_eq!(fixture.kills.len(), 1);
}

#[test]
fn without_a_program_for_killing_a_lease_that_does_not_run_out_keeps_the_role() {
    let mut fixture = lost_with_an_empty_list(Err("kill_host".into()));
    fixture.pass(3600);
    assert!(fixture.kills.is_empty() && !fixture.ordered("db2").contains("writer"));
}

#[test]
fn an_agent_away_while_its_host_is_well_and_nobody_could_take_over_keeps_its_roles() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.pass(2);
    fixture.lose("db1");
    fixture.pass(600);
    assert_eq!((fixture.state("db1"), fixture.writer().as_str()), (HostState::Online, "db1"));
    assert_eq!(fixture.writing(), ["db1"]);
}

#[test]
fn a_host_that_dies_right_after_set_offline_does_not_keep_the_role_for_ever() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.lose("db1");
    fixture.pass(5);
    assert!(!fixture.ordered("db2").contains("writer"), "it may still write");
    fixture.pass(1);
    assert!(fixture.ordered("db2").contains("writer"));
}

#[test]
fn a_writer_that_lost_the_role_before_it_served_catches_up_when_it_gets_it_again() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline --force db1");
    fixture.agent_obeys("db1");
    assert!(matches!(takeover(&fixture, "db2"), Takeover::After(_)));
    // It never served: its server is gone before it has caught up.
    fixture.report("db2", |status| status.server = GONE);
    fixture.agent_obeys("db2");
    fixture.report("db2", |status| status.server = ServerView::Up { writable: false });
    fixture.settle();
    assert!(matches!(takeover(&fixture, "db2"), Takeover::After(_)), "{:?}", takeover(&fixture, "db2"));
}

#[test]
fn a_writer_that_served_and_is_back_first_has_nothing_to_catch_up_with() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.report("db1", |status| {
        status.server = GONE;
        status.held.remove(&role(WRITER));
    });
    fixture.agents_obey();
    fixture.report("db1", |status| status.server = ServerView::Up { writable: false });
    fixture.tick();
    fixture.tick();
    assert_eq!(takeover(&fixture, "db1"), Takeover::Keep);
}

pub(super) fn gtid(server_id: u64, own: u64, applied: u64) -> GtidView {
    let peer = 25 - server_id;
    GtidView {
        server_id,
        binlog_state: format!("{server_id}-{server_id}-{own}"),
        slave_pos: format!("{peer}-{peer}-{applied}"),
    }
}

/// db1 was lost as the writer with `own` transactions; db2 serves with `applied` of them.
pub(super) fn after_a_loss(own: u64, applied: u64) -> Fixture {
    after_a_loss_of(pair(), own, applied)
}

pub(super) fn after_a_loss_of(settings: Settings, own: u64, applied: u64) -> Fixture {
    let mut fixture = Fixture::running(settings);
    fixture.lose_with_transactions(own, applied);
    fixture
}

impl Fixture {
    /// The writer db1 is lost and comes back, having written so many transactions, of which db2 has so many.
    pub(super) fn lose_with_transactions(&mut self, own: u64, applied: u64) {
        self.report("db1", |status| {
            status.server = GONE;
            status.held.clear();
        });
        self.settle();
        self.report("db2", |status| {
            status.holding = true;
            status.gtid = Some(gtid(13, 5, applied));
        });
        assert!(self.orders["db2"].writer.as_ref().unwrap().hold);
        self.report("db1", |status| {
            status.server = ServerView::Up { writable: false };
            status.gtid = Some(gtid(12, own, 5));
        });
    }
}

#[test]
fn replication_from_a_lost_writer_goes_on_once_all_it_wrote_is_on_the_new_one() {
    let fixture = after_a_loss(40, 40);
    assert!(!fixture.orders["db2"].writer.as_ref().unwrap().hold);
}

#[test]
fn replication_from_a_lost_writer_with_transactions_of_its_own_stays_held() {
    let mut fixture = after_a_loss(43, 40);
    fixture.settle();
    assert!(fixture.orders["db2"].writer.as_ref().unwrap().hold);
    assert!(fixture.log.iter().any(|line| line.contains("db1' has 3 transactions nobody else has")));
    assert!(fixture.command("show").contains("# Warning: replication from db1"));
}

#[test]
fn a_lost_writer_with_transactions_of_its_own_fails_until_they_are_merged_by_command() {
    let mut fixture = after_a_loss(43, 40);
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail);
    let asked = fixture.orders["db1"].surplus.clone().unwrap();
    assert_eq!(asked.transactions.to_string(), "12-12-41..43");
    assert!(fixture.command("set_online db1").contains("It has 3 transactions nobody else has"));
    assert!(fixture.command("diverged db1").contains("3 transactions nobody else has: 12-12-41..43"));
    assert!(fixture.command("rejoin db1").contains("mmm_control rejoin --merge db1"));
    assert!(fixture.command("rejoin db2").contains("Nothing keeps 'db2'"));
    assert!(fixture.command("rejoin --merge db2").starts_with("ERROR: "));
    fixture.pass(120);
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail, "nothing happens by itself");

    assert!(fixture.command("rejoin --merge db1").starts_with("OK: "));
    assert!(!fixture.orders["db2"].writer.as_ref().unwrap().hold);
    fixture.report("db2", |status| {
        status.holding = false;
        status.gtid = Some(gtid(13, 5, 43));
    });
    fixture.pass(3);
    fixture.settle();
    assert!(fixture.logged("INFO The 3 transactions of 'db1' that nobody else had are on 'db2' now"));
    assert_eq!(fixture.state("db1"), HostState::Online);
    assert_eq!(fixture.orders["db1"].surplus, None);
    assert_eq!(
        fixture.command("diverged"),
        "OK: No host is known to have transactions that nobody else has."
    );
}

#[test]
fn a_merge_that_meets_a_conflict_is_held_again() {
    let mut fixture = after_a_loss(43, 40);
    fixture.command("rejoin --merge db1");
    fixture.report("db2", |status| {
        status.holding = false;
        status.applier_error = Some("Duplicate entry '7' for key 'PRIMARY' (1062)".to_owned());
    });
    assert!(!fixture.orders["db2"].writer.as_ref().unwrap().hold, "it may be an old one");
    fixture.pass(3);
    assert!(fixture.orders["db2"].writer.as_ref().unwrap().hold);
    assert!(fixture.logged_part("FATAL 'db2' can't apply what only 'db1' has: Duplicate entry '7'"));
    fixture.report("db2", |status| status.holding = true);
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail);
    assert!(fixture.command("show").contains("# Warning: replication from db1"));
}

#[test]
fn with_diverged_merge_nobody_has_to_say_so() {
    let mut fixture = after_a_loss_of(Settings { diverged: Diverged::Merge, ..pair() }, 43, 40);
    assert!(!fixture.orders["db2"].writer.as_ref().unwrap().hold);
    fixture.settle();
    assert_eq!(fixture.state("db1"), HostState::ReplicationFail, "not before they are there");
}

#[test]
fn the_last_host_is_promoted_with_what_nobody_else_has_and_that_is_told() {
    let mut fixture = after_a_loss(43, 40);
    fixture.settle();
    fixture.report("db2", |status| {
        status.server = GONE;
        status.held.clear();
    });
    fixture.settle();
    assert_eq!((fixture.writer().as_str(), fixture.state("db1")), ("db1", HostState::Online));
    assert!(!fixture.command("show").contains("replication from db1"), "it is nobody's lost writer any more");
    assert!(
        fixture
            .logged_part("FATAL Host 'db1' is promoted with 3 transactions nobody else has (12-12-41..43)")
    );
}
