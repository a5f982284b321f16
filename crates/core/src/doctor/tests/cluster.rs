use super::fixture::{after, cluster, ip, name, told};
use crate::doctor::{Checkup, Finding, Login, Severity, judge_cluster};

fn check(finding: &Finding, severity: Severity, host: &str, check: &str, fixes: &[&str]) {
    let fixes = fixes.iter().map(|fix| (*fix).to_owned()).collect();
    assert_eq!(told(finding), (severity, host, check, fixes));
}

#[test]
fn a_cluster_that_is_set_up_well_is_no_finding() {
    assert_eq!(judge_cluster(&cluster()), []);
}

#[test]
fn what_an_agent_found_is_handed_on() {
    let theirs = after(|facts| facts.host("db1").ahead_ms = Some(5000));
    let found = after(|facts| facts.checkup("db2").findings.push(theirs.clone()));
    assert_eq!(found, theirs);
}

#[test]
fn an_agent_without_an_answer_is_told_with_the_reason_and_its_server_is_judged_all_the_same() {
    let finding = after(|facts| facts.host("db2").agent = Err("its agent did not answer".to_owned()));
    check(&finding, Severity::Error, "db2", "agent", &["db2 sh: mmm_agentd --daemon"]);
    let mut facts = cluster();
    facts.host("db2").agent = Err("gone".to_owned());
    facts.server("db2").set("log_bin", "OFF");
    let checks: Vec<String> = judge_cluster(&facts).into_iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["agent", "log_bin"]);
}

#[test]
fn the_monitors_own_account() {
    let finding = after(|facts| {
        let missing = vec!["REPLICA MONITOR".to_owned()];
        facts.host("db1").account.login = Login::In { account: "'m'@'%'".to_owned(), missing };
    });
    let fix = ["db1 sql: GRANT REPLICA MONITOR ON *.* TO 'm'@'%'"];
    check(&finding, Severity::Error, "db1", "grants of monitor (replica monitor)", &fix);
}

#[test]
fn a_clock_that_is_off_either_way() {
    for (ahead, words) in [(2500, "2500 ms ahead of"), (-2500, "2500 ms behind")] {
        let finding = after(|facts| facts.host("db2").ahead_ms = Some(ahead));
        check(&finding, Severity::Warn, "db2", "clock", &["db2 sh: timedatectl set-ntp true"]);
        assert!(finding.what.contains(words), "{}", finding.what);
    }
    let mut facts = cluster();
    facts.host("db2").ahead_ms = Some(i64::MIN);
    assert_eq!(judge_cluster(&facts).len(), 1);
}

#[test]
fn configurations_that_differ_are_told_value_by_value() {
    let finding = after(|facts| {
        facts.checkup("db2").shared.insert("<role writer> ips".to_owned(), "192.168.8.31".to_owned());
    });
    let fix = ["db2 mmm: ips 192.168.8.30 # in <role writer>"];
    check(&finding, Severity::Error, "db2", "configuration (<role writer> ips)", &fix);
    assert!(finding.what.contains("192.168.8.31 in its configuration, and 192.168.8.30 in the monitor's"));
    let finding = after(|facts| {
        facts.checkup("db2").shared.remove("<host db1> ip");
    });
    let fix = ["db2 mmm: ip 192.168.8.32 # in <host db1>"];
    check(&finding, Severity::Error, "db2", "configuration (<host db1> ip)", &fix);
    let finding = after(|facts| {
        facts.checkup("db2").shared.insert("<host db9> ip".to_owned(), "192.168.8.39".to_owned());
    });
    let fix = ["db2 mmm: # remove <host db9>, or add it to the monitor's"];
    check(&finding, Severity::Error, "db2", "configuration (<host db9> ip)", &fix);
}

#[test]
fn an_agents_file_may_leave_out_what_it_does_not_need_and_an_agent_may_tell_nothing() {
    let mut facts = cluster();
    facts.checkup("db1").shared.remove("<host db1> mode");
    facts.host("db2").agent = Ok(Checkup::default());
    assert_eq!(judge_cluster(&facts), []);
}

#[test]
fn a_stranger_that_answers_for_a_role_address() {
    let answer = |who: &str| [(ip("192.168.8.30"), [who.to_owned()].into())].into();
    let finding = after(|facts| facts.checkup("db1").answers = answer("02:00:00:00:00:99"));
    assert_eq!((finding.severity, finding.check.as_str()), (Severity::Error, "duplicate 192.168.8.30"));
    // The other host of the cluster is no stranger, and where one of them is not known nobody is.
    let mut facts = cluster();
    facts.checkup("db1").answers = answer("02:00:00:00:00:33");
    assert_eq!(judge_cluster(&facts), []);
    facts.checkup("db1").answers = answer("02:00:00:00:00:99");
    facts.checkup("db2").hardware = None;
    assert_eq!(judge_cluster(&facts), []);
}

#[test]
fn two_servers_with_one_number() {
    let finding = after(|facts| facts.server("db2").set("server_id", "11"));
    let fixes = [
        "db2 sql: SET GLOBAL server_id = 1",
        "db2 sql: STOP SLAVE",
        "db2 sql: START SLAVE",
        "db2 cnf: server_id = 1",
    ];
    check(&finding, Severity::Error, "db2", "server_id", &fixes);
}

#[test]
fn masters_that_may_create_the_same_numbers() {
    for (increment, offset) in [("1", "1"), ("2", "1"), ("2", "3")] {
        let finding = after(|facts| {
            facts.server("db2").set("auto_increment_increment", increment);
            facts.server("db2").set("auto_increment_offset", offset);
        });
        let (severity, host, check, fixes) = told(&finding);
        assert_eq!((severity, host, check), (Severity::Warn, "db1", "auto_increment"));
        assert!(fixes.contains(&"db2 sql: SET GLOBAL auto_increment_offset = 2".to_owned()));
        assert!(fixes.contains(&"db1 cnf: auto_increment_increment = 2".to_owned()));
    }
}

#[test]
fn masters_with_different_gtid_modes() {
    let finding = after(|facts| {
        facts.server("db1").set("gtid_mode", "ON");
        facts.server("db2").set("gtid_mode", "OFF");
    });
    let (severity, _, check, fixes) = told(&finding);
    assert_eq!((severity, check), (Severity::Error, "gtid_mode of the pair"));
    assert!(fixes.contains(&"db2 cnf: gtid_mode = ON".to_owned()));
}

#[test]
fn masters_of_two_families() {
    let finding = after(|facts| facts.server("db2").set("version", "9.7.4"));
    assert_eq!((finding.severity, finding.check.as_str()), (Severity::Error, "flavour"));
}

#[test]
fn a_writer_that_waits_for_an_acknowledgement_nobody_gives() {
    let finding = after(|facts| facts.server("db1").set("rpl_semi_sync_master_enabled", "ON"));
    let fixes = [
        "db2 sql: SET GLOBAL rpl_semi_sync_slave_enabled = 1",
        "db2 sql: STOP SLAVE IO_THREAD",
        "db2 sql: START SLAVE IO_THREAD",
        "db2 cnf: rpl_semi_sync_slave_enabled = 1",
    ];
    check(&finding, Severity::Warn, "db2", "semi_sync of the pair", &fixes);
}

#[test]
fn a_server_that_cannot_be_asked_hides_nothing_of_the_other() {
    let mut facts = cluster();
    facts.host("db1").server = Err("no answer".to_owned());
    facts.server("db2").running().applies = false;
    let findings = judge_cluster(&facts);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].host, name("db2"));
}

/// What lets commits wait for nobody, or proves nothing where the policy asks for a proof.
#[test]
fn acknowledgements_that_never_come_or_prove_nothing() {
    let waits = |name: &'static str, value: &'static str, proof_ms: Option<u64>| {
        let mut facts = cluster();
        facts.periods.proof_ms = proof_ms;
        facts.server("db2").set("rpl_semi_sync_slave_enabled", "ON");
        for (name, value) in [("rpl_semi_sync_master_enabled", "ON"), (name, value)] {
            facts.server("db1").set(name, value);
        }
        judge_cluster(&facts)
    };
    let many = waits("rpl_semi_sync_master_wait_for_slave_count", "9", None);
    let fixes = [
        "db1 sql: SET GLOBAL rpl_semi_sync_master_wait_for_slave_count = 1",
        "db1 cnf: rpl_semi_sync_master_wait_for_slave_count = 1",
    ];
    check(&many[0], Severity::Error, "db1", "semi_sync count", &fixes);
    let fixes = [
        "db1 sql: SET GLOBAL rpl_semi_sync_master_timeout = 8400",
        "db1 cnf: rpl_semi_sync_master_timeout = 8400",
    ];
    let short = waits("rpl_semi_sync_master_timeout", "8000", Some(8400));
    check(&short[0], Severity::Warn, "db1", "semi_sync timeout", &fixes);
    assert_eq!(waits("rpl_semi_sync_master_timeout", "8000", None), []);
    assert_eq!(waits("rpl_semi_sync_master_timeout", "8400", Some(8400)), []);
    let fixes = [
        "db1 sql: SET GLOBAL rpl_semi_sync_master_wait_no_slave = 1",
        "db1 cnf: rpl_semi_sync_master_wait_no_slave = 1",
    ];
    let absent = waits("rpl_semi_sync_master_wait_no_slave", "OFF", Some(8400));
    check(&absent[0], Severity::Warn, "db1", "semi_sync wait_no", &fixes);
}
