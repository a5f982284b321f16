//! The table of the write probe: whether it is there, and the agent's account may use it.

use super::finding::{Finding, Place};
use crate::names::HostName;

/// No such schema (1049) or table (1146).
const MISSING: [u16; 2] = [1049, 1146];
/// No privilege on the schema (1044), the table (1142) or a column (1143).
const DENIED: [u16; 3] = [1044, 1142, 1143];

/// What the server said of a write that was only explained; none where it had nothing against it. What says nothing about the table
/// (the server is read-only, or gone) is no finding. `account` is quoted, as GRANT wants it.
pub fn judge_heartbeat(
    host: &HostName,
    schema: &str,
    account: &str,
    said: Option<(u16, &str)>,
) -> Option<Finding> {
    let (code, text) = said?;
    let table = format!("`{}`.mmm_heartbeat", schema.replace('`', "``"));
    let why = "without it a writer without clients that takes no writes (a full disk, storage that stands still) looks well";
    let finding = |what: String| Finding::error(host, "table mmm_heartbeat", what, why);
    let grant = format!("GRANT SELECT, INSERT, UPDATE ON {table} TO {account}");
    // Typed on the writer: the other servers get it by replication.
    if MISSING.contains(&code) {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (server_id INT UNSIGNED NOT NULL PRIMARY KEY, written_us BIGINT NOT NULL) ENGINE=InnoDB"
        );
        return Some(
            finding(format!("the table that heartbeat_schema names is not there: {text}"))
                .fix(Place::Sql, format!("CREATE DATABASE IF NOT EXISTS `{}`", schema.replace('`', "``")))
                .fix(Place::Sql, create)
                .fix(Place::Sql, grant),
        );
    }
    DENIED.contains(&code).then(|| {
        finding(format!("the agent's account may not use it, or it is not there: {text}"))
            .fix(Place::Sql, grant)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(code: u16) -> Option<Vec<String>> {
        let finding = judge_heartbeat(&"db1".into(), "mmm", "'mmm_agent'@'%'", Some((code, "no")))?;
        Some(finding.fixes.into_iter().map(|fix| fix.line).collect())
    }

    #[test]
    fn a_missing_table_is_made_and_a_missing_privilege_granted() {
        assert_eq!(judge_heartbeat(&"db1".into(), "mmm", "'mmm_agent'@'%'", None), None);
        let grant = "GRANT SELECT, INSERT, UPDATE ON `mmm`.mmm_heartbeat TO 'mmm_agent'@'%'";
        assert_eq!(lines(1142).unwrap(), [grant]);
        let made = lines(1146).unwrap();
        assert!(made[1].starts_with("CREATE TABLE IF NOT EXISTS `mmm`.mmm_heartbeat (server_id"), "{made:?}");
        assert_eq!((made.len(), made[2].as_str()), (3, grant));
        assert_eq!(lines(1290), None, "a closed server says nothing of the table");
    }
}
