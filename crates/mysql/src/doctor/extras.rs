//! What the agent's account and the server lack for what most nights go without.

use std::time::{Duration, Instant};

use mmm_core::doctor::Extras;

use super::{global_privileges, plain_name, super_suffices};
use crate::dialect::{Flavour, Version};
use crate::error::ServerError;
use crate::grants::{for_half_received, for_rebuilding};
use crate::session::Session;

/// `rebuilds`: hosts are to be rebuilt without anybody who prepares it.
pub async fn extras(session: &mut Session, rebuilds: bool, limit: Duration) -> Result<Extras, ServerError> {
    let until = Instant::now() + limit;
    let left = || until.saturating_duration_since(Instant::now());
    let (flavour, version) = (session.identity().flavour, session.identity().version);
    let (_, grants) = session.own_grants(left()).await?;
    let half_received = for_half_received(flavour, version);
    let half_received = half_received.filter(|name| !has(name, &grants, flavour, version));
    let mut extras = Extras { half_received: half_received.map(str::to_owned), ..Extras::default() };
    if rebuilds {
        let (everywhere, schema) = for_rebuilding(flavour);
        let lacks = |name: &&&str| !has(name, &grants, flavour, version);
        let everywhere = everywhere.iter().filter(lacks).map(|name| format!("{name} ON *.*"));
        let schema = schema.filter(|schema| !may_read(schema, &grants));
        extras.rebuilding = everywhere.chain(schema.map(|schema| format!("SELECT ON {schema}.*"))).collect();
        extras.lacks_plugin = flavour == Flavour::MySql && !session.has_clone_plugin(left()).await?;
    }
    Ok(extras)
}

fn has(name: &str, grants: &[String], flavour: Flavour, version: Version) -> bool {
    let mut held = grants.iter().filter_map(|line| global_privileges(line)).flatten();
    let plain = plain_name(name);
    // It stands for none of what came after it.
    let by_super = plain == "REPLICATION MASTER ADMIN" && super_suffices(&plain, flavour, version);
    held.any(|held| held == plain || held.starts_with("ALL") || (by_super && held == "SUPER"))
}

fn may_read(schema: &str, grants: &[String]) -> bool {
    let gives = |privileges: &str| {
        privileges.split(',').map(str::trim).any(|name| name == "SELECT" || name.starts_with("ALL"))
    };
    let on = |line: &str| {
        let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
        let (object, _) = rest.split_once(" TO ")?;
        Some(gives(privileges) && (object == "*.*" || object.replace('`', "") == format!("{schema}.*")))
    };
    grants.iter().any(|line| on(line) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Version = Version { major: 9, minor: 7, patch: 0 };

    #[test]
    fn privileges_of_newer_servers_stand_in_lines_of_their_own() {
        let lines = [
            "GRANT PROCESS, SUPER ON *.* TO `a`@`%`".to_owned(),
            "GRANT BACKUP_ADMIN,CLONE_ADMIN ON *.* TO `a`@`%`".to_owned(),
        ];
        assert!(has("CLONE_ADMIN", &lines, Flavour::MySql, NEW));
        assert!(!has("SYSTEM_USER", &lines, Flavour::MySql, NEW), "SUPER does not stand for it");
        let old = Version { major: 10, minor: 5, patch: 23 };
        assert!(has("REPLICATION MASTER ADMIN", &lines, Flavour::MariaDb, old));
        assert!(!has("RELOAD", &lines, Flavour::MariaDb, old));
    }

    #[test]
    fn reading_one_schema_is_given_on_it_or_everywhere() {
        let reads = |line: &str| may_read("performance_schema", &[line.to_owned()]);
        assert!(reads("GRANT SELECT ON `performance_schema`.* TO `a`@`%`"));
        assert!(reads("GRANT PROCESS, SELECT ON *.* TO `a`@`%`"));
        assert!(!reads("GRANT SELECT ON `lab`.* TO `a`@`%`"));
        assert!(!reads("GRANT INSERT ON `performance_schema`.* TO `a`@`%`"));
    }
}
