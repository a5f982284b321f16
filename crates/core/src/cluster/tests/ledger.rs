//! What is recorded of each way in which the writer role comes to another host, or stays.

use std::time::Duration;

use super::fixture::{Fixture, WRITER, four, pair, preferring, role};
use crate::check::CheckKind;
use crate::cluster::ledger::{Kind, Outcome, Record, StepKind, table, tale};
use crate::gtid::GtidView;
use crate::message::ServerView;
use crate::settings::Settings;
use crate::state::Mode;

fn clock(unix_ms: i64) -> String {
    format!("t{unix_ms}")
}

impl Fixture {
    fn record(&self) -> &Record {
        self.records.values().last().expect("something was recorded")
    }

    fn server_ends(&mut self, host: &str) {
        self.report(host, |status| {
            status.server = ServerView::Gone;
            status.held.remove(&role(WRITER));
        });
    }

    fn expect(&self, kind: Kind, from: &str, to: &str, outcome: Outcome) -> &Record {
        let record = self.record();
        let tale = tale(record, &clock);
        assert_eq!((record.kind, record.outcome), (kind, Some(outcome)), "{tale}");
        assert_eq!(record.from.as_ref().map_or("-", |host| host.as_str()), from, "{tale}");
        assert_eq!(record.to.as_ref().map_or("-", |host| host.as_str()), to, "{tale}");
        assert!(self.cluster.open_record().is_none());
        record
    }

    /// The times of these steps, which must come in this order.
    fn times(&self, steps: &[StepKind]) -> Vec<i64> {
        let record = self.record();
        let at = |kind| record.steps.iter().find(|step| step.step == kind).map(|step| step.at_ms);
        let times: Vec<i64> = steps
            .iter()
            .map(|kind| at(*kind).unwrap_or_else(|| panic!("no step {kind:?}: {}", tale(record, &clock))))
            .collect();
        assert!(times.is_sorted(), "{times:?}: {}", tale(record, &clock));
        times
    }
}

const TAKEOVER: [StepKind; 5] =
    [StepKind::Promoted, StepKind::Leased, StepKind::CaughtUp, StepKind::Open, StepKind::Address];

#[test]
fn a_crashed_server_is_recorded_from_the_word_of_its_agent_to_the_new_writer() {
    let mut fixture = Fixture::running(pair());
    fixture.server_ends("db1");
    fixture.pass_ms(20);
    fixture.agents_obey();
    fixture.pass_ms(30);
    fixture.settle();
    let record = fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done);
    eprintln!("{}{}", table([record], &clock), tale(record, &clock));
    assert_eq!(record.trigger.what, "agent on db1: its server has ended");
    assert_eq!(record.trigger.rule.as_deref(), Some("ServerLost"));
    assert!(record.evidence.iter().any(|seen| seen.source == "check mysql of db1" && seen.age_ms.is_some()));
    fixture.times(&[StepKind::Closed, StepKind::Taken, StepKind::Released]);
    fixture.times(&TAKEOVER);
    let record = fixture.record();
    assert_eq!((record.gap.from_ms, record.gap.possible_until_ms), (Some(0), Some(0)));
    assert_eq!(record.gap.length_ms(), Some(20));
    assert!(record.proof.contains("given back"), "{}", record.proof);
    assert!(record.has(StepKind::Applied));
    assert!(
        record.said.iter().any(|said| said.text.starts_with("Granting role 'writer(192.168.8.30)' to 'db2'"))
    );
    let why: Vec<_> =
        record.candidates.iter().map(|candidate| (candidate.chosen, candidate.why.as_str())).collect();
    assert_eq!(why, [(false, "it is HARD_OFFLINE"), (true, "no other host can take the role")]);
}

#[test]
fn a_vanished_writer_is_recorded_with_what_is_not_known_of_its_last_writes() {
    let mut fixture = Fixture::running(pair());
    let last_sign = fixture.now;
    fixture.lose("db1");
    fixture.pass(10);
    fixture.settle();
    let record = fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done);
    eprintln!("{}", tale(record, &clock));
    assert_eq!(record.trigger.rule.as_deref(), Some("LeaseRanOut"));
    let gap = &record.gap;
    let (from, possible, until) =
        (gap.from_ms.unwrap(), gap.possible_until_ms.unwrap(), gap.until_ms.unwrap());
    assert!(from < 0 && from < possible && possible <= until, "{gap:?}");
    // The last renewal is all that there was to hear.
    assert!(fixture.now.since(last_sign) >= Duration::from_millis(u64::try_from(until - from).unwrap()));
    assert!(!record.has(StepKind::Closed), "nobody knows when it closed");
    assert!(record.evidence.iter().any(|seen| seen.what == "agent on db1 can't be reached"));
    assert!(tale(record, &clock).contains("the old writer could have taken writes until"));
}

/// What happens to come in when the lease is over is not why the role moves: word of another host, a good check, a question.
#[test]
fn what_happens_to_be_heard_when_a_writer_is_given_up_is_not_told_as_the_reason() {
    let beside: [fn(&mut Fixture); 4] = [
        |fixture| fixture.good("db1", CheckKind::Ping),
        |fixture| fixture.good("db2", CheckKind::Ping),
        |fixture| fixture.report("db2", |status| status.problem = Some("slow".to_owned())),
        |fixture| drop(fixture.command("show")),
    ];
    for event in beside {
        let mut fixture = Fixture::running(pair());
        let records = fixture.records.len();
        fixture.lose("db1");
        for _ in 0..200 {
            if fixture.records.len() > records {
                break;
            }
            fixture.now = fixture.now + Duration::from_millis(100);
            event(&mut fixture);
        }
        let trigger = &fixture.record().trigger;
        assert_eq!(trigger.what, "agent on db1 has not been heard for too long");
        assert_eq!(trigger.by, "the monitor");
        assert_eq!(trigger.rule.as_deref(), Some("LeaseRanOut"));
    }
}

/// Its checks fail before its lease is over: until then it is the lease that the role waits for, as the other one is well.
#[test]
fn a_role_that_waits_for_a_lease_alone_is_not_said_to_lack_a_host() {
    let mut settings = pair();
    settings.trap.insert(CheckKind::Ping, Duration::from_secs(2));
    let mut fixture = Fixture::running(settings);
    fixture.lose("db1");
    fixture.bad("db1", CheckKind::Ping);
    fixture.pass(3);
    fixture.bad("db1", CheckKind::Ping);
    let waits: Vec<_> =
        fixture.record().steps.iter().filter(|step| step.step == StepKind::Waits).cloned().collect();
    let [wait] = &waits[..] else { panic!("{waits:?}") };
    assert!(wait.note.starts_with("for the lease of db1, "), "{}", wait.note);
    fixture.pass(10);
    fixture.settle();
    fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done);
}

#[test]
fn a_planned_move_is_recorded_from_the_command_on_and_its_gap_begins_when_the_old_writer_closes() {
    let mut fixture = Fixture::running(pair());
    fixture.command("move_role writer db2");
    assert_eq!(fixture.record().outcome, None);
    fixture.pass(2);
    fixture.approached(Ok(()));
    fixture.pass_ms(10);
    fixture.agent_obeys("db1");
    fixture.pass_ms(15);
    fixture.settle();
    let record = fixture.expect(Kind::Move, "db1", "db2", Outcome::Done);
    eprintln!("{}", tale(record, &clock));
    assert_eq!(record.trigger.what, "move_role writer db2");
    assert_eq!(record.trigger.by, "an operator, by mmm_control");
    assert_eq!(record.gap.length_ms(), Some(15));
    let times = fixture.times(&[StepKind::Asked, StepKind::Approached, StepKind::Taken, StepKind::Closed]);
    assert_eq!(times, [0, 2000, 2000, 2010]);
    fixture.times(&TAKEOVER);
}

#[test]
fn a_move_whose_target_does_not_catch_up_is_refused_and_nothing_was_stopped() {
    let mut fixture = Fixture::running(pair());
    fixture.command("move_role writer db2");
    fixture.approached(Err("it is 300 s behind".into()));
    let record = fixture.expect(Kind::Move, "db1", "db2", Outcome::Refused);
    assert!(record.outcome_why.contains("it is 300 s behind"), "{}", record.outcome_why);
    assert!(!record.has(StepKind::Taken) && record.gap.until_ms.is_none());
    assert!(tale(record, &clock).contains("none, nothing was stopped"));
    fixture.pass(5);
    assert_eq!(fixture.records.len(), 1);
}

#[test]
fn a_move_that_a_crash_overtakes_is_followed_by_the_record_of_the_failover() {
    let mut fixture = Fixture::running(pair());
    fixture.command("move_role writer db2");
    fixture.server_ends("db1");
    fixture.settle();
    let first = fixture.records.values().next().unwrap();
    assert_eq!((first.kind, first.outcome), (Kind::Move, Some(Outcome::Refused)));
    fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done);
}

#[test]
fn a_target_that_is_lost_while_it_takes_the_role_leaves_two_records_and_one_gap() {
    let mut fixture = Fixture::running(pair());
    fixture.command("move_role writer db2");
    fixture.approached(Ok(()));
    fixture.agent_obeys("db1");
    fixture.pass_ms(200);
    fixture.server_ends("db2");
    fixture.settle();
    assert_eq!(fixture.writer(), "db1");
    let outcomes: Vec<_> = fixture.records.values().map(|record| record.outcome).collect();
    for record in fixture.records.values() {
        eprintln!("{}", tale(record, &clock));
    }
    assert!(
        matches!(outcomes[..], [Some(Outcome::Superseded), Some(Outcome::Done)] | [Some(Outcome::Undone)]),
        "{outcomes:?}"
    );
    assert!(fixture.record().gap.length_ms().unwrap() >= 200);
}

#[test]
fn a_server_that_is_restarted_in_place_leaves_a_record_that_is_undone() {
    let settings = Settings { failover_grace: Duration::from_secs(5), ..pair() };
    let mut fixture = Fixture::running(settings);
    fixture.server_ends("db1");
    let record = fixture.record();
    assert!(record.decision.contains("failover_grace 5 s"), "{}", record.decision);
    fixture.pass_ms(1500);
    fixture.report("db1", |status| {
        status.server = ServerView::Up { writable: true };
        status.held.insert(role(WRITER));
    });
    fixture.settle();
    let record = fixture.expect(Kind::Failover, "db1", "db1", Outcome::Undone);
    assert_eq!(record.gap.length_ms(), Some(1500));
    assert!(!record.has(StepKind::Taken));
}

#[test]
fn in_manual_mode_the_record_stays_open_and_says_why_nothing_moves() {
    let mut fixture = Fixture::running(Settings { mode: Mode::Manual, ..pair() });
    fixture.server_ends("db1");
    fixture.pass(60);
    let record = fixture.record();
    assert!(record.outcome.is_none() && record.decision.contains("manual mode"), "{}", tale(record, &clock));
    fixture.command("set_active");
    fixture.settle();
    fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done);
    assert!(fixture.record().gap.length_ms().unwrap() >= 60_000);
}

#[test]
fn a_first_start_is_recorded_and_an_old_writer_is_not_known() {
    let mut fixture = Fixture::new(four());
    fixture.start();
    fixture.settle();
    fixture.pass(15);
    fixture.settle();
    let record = fixture.expect(Kind::Start, "-", "db1", Outcome::Done);
    eprintln!("{}", tale(record, &clock));
    assert_eq!(record.gap.length_ms(), None);
    assert!(tale(record, &clock).contains("not known since when"));
}

#[test]
fn a_monitor_that_is_restarted_beside_a_writer_that_is_well_records_nothing() {
    let mut fixture = Fixture::running(pair());
    fixture.records.clear();
    fixture.restart_with_state();
    fixture.start();
    fixture.settle();
    fixture.pass(30);
    assert!(fixture.records.is_empty(), "{:?}", fixture.records);
}

#[test]
fn a_cold_start_without_the_last_writer_is_recorded_as_such() {
    let mut fixture = Fixture::running(pair());
    fixture.records.clear();
    fixture.server_ends("db1");
    fixture.agent_obeys("db1");
    fixture.restart_with_state();
    fixture.server_ends("db1");
    fixture.start();
    for kind in [CheckKind::Mysql, CheckKind::RepThreads] {
        fixture.fail("db1", kind);
    }
    fixture.settle();
    fixture.pass(20);
    let record = fixture.record();
    eprintln!("{}", tale(record, &clock));
    assert_eq!((record.to.as_ref().unwrap().as_str(), record.outcome), ("db2", Some(Outcome::Done)));
}

#[test]
fn the_next_monitor_finishes_what_the_one_before_it_began() {
    let mut fixture = Fixture::running(pair());
    fixture.server_ends("db1");
    fixture.pass_ms(20);
    let begun = fixture.record().clone();
    assert!(begun.outcome.is_none());
    fixture.restart_with_state();
    fixture.cluster.recall(fixture.now, vec![(begun.clone(), Duration::from_secs(3))]);
    fixture.start();
    for kind in [CheckKind::Mysql, CheckKind::RepThreads] {
        fixture.bad("db1", kind);
    }
    fixture.settle();
    fixture.pass(20);
    fixture.settle();
    for record in fixture.records.values() {
        eprintln!("{}", tale(record, &clock));
    }
    let record = fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done);
    assert_eq!(record.number, begun.number);
    assert!(record.has(StepKind::NextMonitor));
    assert!(record.gap.length_ms().unwrap() >= 3000, "{:?}", record.gap);
}

#[test]
fn a_move_that_was_only_asked_for_ends_with_the_monitor_that_asked() {
    let mut fixture = Fixture::running(pair());
    fixture.command("move_role writer db2");
    let begun = fixture.record().clone();
    fixture.restart_with_state();
    fixture.cluster.recall(fixture.now, vec![(begun, Duration::from_secs(3))]);
    fixture.start();
    fixture.settle();
    fixture.expect(Kind::Move, "db1", "db2", Outcome::Undone);
}

#[test]
fn what_only_the_old_writer_has_is_added_to_its_record_when_it_is_back() {
    let mut fixture = Fixture::running(pair());
    let gtid = |binlog: &str, applied: &str, id| {
        Some(GtidView { server_id: id, binlog_state: binlog.into(), slave_pos: applied.into() })
    };
    fixture.lose("db1");
    fixture.pass(10);
    fixture.settle();
    let number = fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done).number;
    fixture.report("db2", |status| {
        status.holding = true;
        status.gtid = gtid("0-12-40,0-13-3", "0-12-40", 13);
    });
    fixture.report("db1", |status| {
        super::host::fence(status);
        status.gtid = gtid("0-12-45", "0-13-1", 12);
    });
    fixture.connect("db1");
    fixture.well("db1");
    fixture.settle();
    let record = &fixture.records[&number];
    assert_eq!(record.diverged.len(), 1, "{}", tale(record, &clock));
    assert!(
        tale(record, &clock).contains("Only on db1: 5 transactions 0-12-41..45"),
        "{}",
        tale(record, &clock)
    );
    assert!(table([record], &clock).contains("done (5 diverged)"), "{}", table([record], &clock));
}

#[test]
fn the_move_to_the_preferred_host_is_recorded_as_the_monitors_own() {
    let mut fixture = Fixture::running(preferring("db2"));
    fixture.server_ends("db2");
    fixture.settle();
    let gtid = |id, binlog: &str, applied: &str| {
        Some(GtidView { server_id: id, binlog_state: binlog.into(), slave_pos: applied.into() })
    };
    fixture.report("db1", |status| {
        status.holding = true;
        status.gtid = gtid(12, "0-12-5,0-13-5", "0-13-5");
    });
    fixture.report("db2", |status| {
        status.server = ServerView::Up { writable: false };
        status.gtid = gtid(13, "0-13-5", "0-12-5");
    });
    fixture.settle();
    fixture.approached(Ok(()));
    fixture.settle();
    let record = fixture.expect(Kind::Move, "db1", "db2", Outcome::Done);
    assert_eq!(record.trigger.by, "the monitor");
    assert!(record.trigger.what.contains("preferred host"), "{}", record.trigger.what);
}

#[test]
fn a_role_that_is_taken_from_its_host_while_nobody_is_chosen_is_followed_to_the_next_one() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_passive");
    fixture.command("set_offline --force db1");
    fixture.settle();
    assert_eq!(fixture.writer(), "");
    fixture.command("set_active");
    fixture.settle();
    let (epoch, record) = (fixture.promotion("db2").unwrap().epoch, fixture.record());
    assert!(record.tells_of(epoch), "{}", tale(record, &clock));
}

#[test]
fn a_writer_with_nobody_to_follow_it_leaves_an_open_record_that_says_so() {
    let mut fixture = Fixture::running(pair());
    fixture.command("set_offline db2");
    fixture.settle();
    fixture.server_ends("db1");
    fixture.settle();
    let record = fixture.record();
    assert!(record.outcome.is_none(), "{}", tale(record, &clock));
    assert!(record.has(StepKind::Waits), "{}", tale(record, &clock));
    assert_eq!(record.decision, "nobody can take the role now");
    fixture.command("set_online db2");
    fixture.settle();
    fixture.expect(Kind::Failover, "db1", "db2", Outcome::Done);
}

#[test]
fn nothing_that_is_recorded_grows_without_bound() {
    let mut fixture = Fixture::running(pair());
    fixture.server_ends("db1");
    for _ in 0..200 {
        fixture.settle();
        let (old, new) = if fixture.writer() == "db1" { ("db1", "db2") } else { ("db2", "db1") };
        fixture.report(new, |status| status.server = ServerView::Up { writable: false });
        fixture.command(&format!("set_online {new}"));
        fixture.settle();
        fixture.server_ends(old);
    }
    let longest = fixture.records.values().map(|record| serde_json::to_string(record).unwrap().len()).max();
    assert!(longest.unwrap() < 32 * 1024, "{longest:?}");
}

#[test]
fn a_record_is_read_back_as_it_was_written_and_one_of_an_earlier_version_too() {
    let mut fixture = Fixture::running(pair());
    fixture.server_ends("db1");
    fixture.settle();
    let record = fixture.record().clone();
    let line = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    let old = r#"{"number":3,"kind":"failover","role":"writer(192.168.8.30)"}"#;
    assert_eq!(serde_json::from_str::<Record>(old).unwrap().number, 3);
}
