//! What most nights go without: ending half-received transactions, and getting a host all its data anew.

use super::finding::{Finding, Place};
use crate::names::HostName;

/// What the agent's account and its server lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The privilege for transactions of which only a part was received.
    pub half_received: Option<String>,
    /// For rebuilding this host or another one from it: privileges, as GRANT wants them, with what they are on.
    pub rebuilding: Vec<String>,
    pub lacks_plugin: bool,
    /// The program that has to be installed.
    pub lacks_program: Option<String>,
}

/// `account` is quoted, as GRANT wants it.
pub fn judge_extras(host: &HostName, account: &str, extras: &Extras) -> Vec<Finding> {
    let why = "this host could neither be rebuilt nor be the one that another is rebuilt from, and what diverged waits for a person";
    let mut findings = Vec::new();
    findings.extend(extras.half_received.iter().map(|privilege| {
        let check = format!("grants of agent ({})", privilege.to_ascii_lowercase());
        let why = "when a writer is lost in the middle of a transaction, an applier that waits for the rest keeps its locks for up to a minute, and the new writer opens that much later";
        Finding::warn(host, check, format!("{account} lacks {privilege}"), why)
            .fix(Place::Sql, format!("GRANT {privilege} ON *.* TO {account}"))
    }));
    findings.extend(extras.rebuilding.iter().map(|privilege| {
        let check = format!("grants of agent for a rebuild ({})", privilege.to_ascii_lowercase());
        Finding::warn(host, check, format!("{account} lacks {privilege}"), why)
            .fix(Place::Sql, format!("GRANT {privilege} TO {account}"))
    }));
    if extras.lacks_plugin {
        findings.push(
            Finding::warn(host, "clone plugin", "the clone plugin is not there", why)
                .fix(Place::Sql, "INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
                .fix(Place::MyCnf, "plugin-load-add = mysql_clone.so"),
        );
    }
    findings.extend(extras.lacks_program.iter().map(|program| {
        Finding::warn(host, "mariadb-backup", format!("there is no {program} on this host"), why)
            .fix(Place::Shell, "apt-get install mariadb-backup")
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_lacking_is_a_warning_with_the_line_that_mends_it() {
        let host = HostName::from("db1");
        assert_eq!(judge_extras(&host, "'a'@'%'", &Extras::default()), []);
        let extras = Extras {
            half_received: Some("SYSTEM_USER".into()),
            rebuilding: vec!["CLONE_ADMIN ON *.*".into(), "SELECT ON performance_schema.*".into()],
            lacks_plugin: true,
            lacks_program: Some("mbstream".into()),
        };
        let findings = judge_extras(&host, "'a'@'%'", &extras);
        let lines: Vec<&str> = findings.iter().map(|finding| finding.fixes[0].line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "GRANT SYSTEM_USER ON *.* TO 'a'@'%'",
                "GRANT CLONE_ADMIN ON *.* TO 'a'@'%'",
                "GRANT SELECT ON performance_schema.* TO 'a'@'%'",
                "INSTALL PLUGIN clone SONAME 'mysql_clone.so'",
                "apt-get install mariadb-backup",
            ]
        );
        assert!(findings.iter().all(|finding| finding.severity == super::super::finding::Severity::Warn));
    }
}
