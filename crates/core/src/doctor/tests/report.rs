use std::collections::BTreeSet;

use super::fixture::{cluster, name};
use crate::doctor::{Finding, describe, judge_cluster, news};

fn findings() -> Vec<Finding> {
    let mut facts = cluster();
    facts.host("db1").ahead_ms = Some(2000);
    facts.server("db2").running().applies = false;
    judge_cluster(&facts)
}

#[test]
fn errors_come_first_so_that_the_first_word_is_the_verdict() {
    let hosts = BTreeSet::from([name("db1"), name("db2"), name("db3")]);
    let text = describe(&findings(), &hosts);
    assert_eq!(
        text,
        "\
ERROR db2 replication: replication from 192.168.8.32 is stopped (applying)
      why: it falls behind and could not take over (the monitor stops it on purpose after a failover, until nothing is missing: see its log)
      fix on db2, SQL: START SLAVE
WARN  db1 clock: its clock is 2000 ms ahead of the monitor's
      why: logs can't be read together, and timestamps jump when the writer role moves (leases do not depend on it)
      fix on db1, shell: timedatectl set-ntp true
OK    db3: nothing found
# 1 errors, 1 warnings; looked at db1, db2, db3"
    );
    assert!(describe(&[], &hosts).starts_with("OK    db1: nothing found\n"));
}

#[test]
fn what_others_wrote_makes_no_lines_of_its_own() {
    let mut findings = findings();
    findings[0].what = "x\nERROR db9 \u{1b}[2J".to_owned();
    let text = describe(&findings, &BTreeSet::new());
    assert!(!text.contains('\u{1b}'));
    assert!(text.lines().all(|line| !line.starts_with("ERROR db9")));
}

#[test]
fn the_log_hears_of_changes_only() {
    let found = findings();
    let (new, gone) = news(&[], &found);
    assert_eq!((new.len(), gone.len()), (2, 0));
    assert!(new.iter().any(|line| line.starts_with("Doctor: ERROR db2 replication: ")
        && line.ends_with(" Fix on db2, SQL: START SLAVE")));
    assert_eq!(news(&found, &found), (Vec::new(), Vec::new()));
    let (new, gone) = news(&found, &found[1..]);
    assert_eq!(new.len(), 0);
    assert_eq!(gone.len(), 1);
}
