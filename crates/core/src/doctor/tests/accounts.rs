use super::fixture::{account, only, told};
use crate::doctor::{Login, Severity, Whose, judge_account};

#[test]
fn an_account_with_all_its_privileges_is_no_finding() {
    for whose in [Whose::Monitor, Whose::Agent, Whose::Replication] {
        assert_eq!(judge_account(&account(whose, "db1")), []);
    }
}

#[test]
fn each_missing_privilege_is_a_finding_with_its_own_statement() {
    let mut facts = account(Whose::Agent, "db1");
    let missing = vec!["READ ONLY ADMIN".to_owned(), "CONNECTION ADMIN".to_owned()];
    facts.login = Login::In { account: "'mmm_agent'@'192.168.8.%'".to_owned(), missing };
    let findings = judge_account(&facts);
    assert_eq!(findings.len(), 2);
    let expected = vec!["db1 sql: GRANT READ ONLY ADMIN ON *.* TO 'mmm_agent'@'192.168.8.%'".to_owned()];
    assert_eq!(told(&findings[0]), (Severity::Error, "db1", "grants of agent (read only admin)", expected));
    assert_ne!(findings[0].check, findings[1].check);
    assert_ne!(findings[0].why, findings[1].why);
}

#[test]
fn an_account_that_is_not_let_in_is_made_without_printing_a_password() {
    let mut facts = account(Whose::Replication, "db2");
    facts.user = "re'pl".to_owned();
    facts.login = Login::Denied("Access denied".to_owned());
    let finding = only(judge_account(&facts));
    let (severity, host, check, fixes) = told(&finding);
    assert_eq!((severity, host, check), (Severity::Error, "db2", "login of replication"));
    assert_eq!(
        fixes[0],
        "db2 sql: CREATE USER IF NOT EXISTS 're''pl'@'192.168.8.32' IDENTIFIED BY 'replication_password'"
    );
    assert_eq!(fixes[2], "db2 sql: GRANT PROCESS, READ ONLY ADMIN ON *.* TO 're''pl'@'192.168.8.32'");
}

#[test]
fn a_server_that_cannot_be_asked_is_not_taken_for_one_that_refuses() {
    let mut facts = account(Whose::Monitor, "db1");
    facts.login = Login::Failed("no answer within 3000 ms".to_owned());
    let finding = only(judge_account(&facts));
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.what.contains("can't be asked: no answer within 3000 ms"));
}
