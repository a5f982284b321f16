//! Who a server is, so that an answer from the wrong one never counts.

use std::path::PathBuf;

use crate::dialect::{Dialect, Flavour, Version};
use crate::record::Record;

/// What a server says about itself; read once when a session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub flavour: Flavour,
    pub version: Version,
    /// The version as the server writes it.
    pub version_text: String,
    pub server_id: u64,
    /// `server_uuid` of `MySQL`, `server_uid` of newer `MariaDB`.
    pub uuid: Option<String>,
    pub hostname: String,
    /// Absolute; on the server's own host this leads to its process.
    pub pid_file: Option<PathBuf>,
    pub datadir: Option<PathBuf>,
    /// Whether transactions carry GTIDs: always on `MariaDB`, by `gtid_mode` on `MySQL`.
    pub gtid: bool,
    /// Whether there is a binary log at all; without it a server can't be a master.
    pub binlog: bool,
    /// Whether replicated changes are written to the own binary log.
    pub logs_replicated: bool,
}

impl Identity {
    /// Reads the rows of the identity statement; `Err` tells what was missing.
    pub(crate) fn from_records(records: &[Record]) -> Result<Self, String> {
        let variable = |name: &str| {
            let named = |record: &&Record| {
                record.text(&["Variable_name"]).is_some_and(|n| n.eq_ignore_ascii_case(name))
            };
            records
                .iter()
                .find(named)
                .and_then(|record| record.text(&["Value"]))
                .filter(|value| !value.is_empty())
        };
        let wanted = |name: &str| variable(name).ok_or_else(|| format!("it did not tell its {name}"));
        let on =
            |name: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("ON") || value == "1");

        let version_text = wanted("version")?.to_owned();
        let (flavour, version) =
            Dialect::detect(&version_text, variable("version_comment").unwrap_or_default());
        let server_id = wanted("server_id")?;
        let datadir = variable("datadir").map(PathBuf::from);
        Ok(Self {
            flavour,
            version,
            server_id: server_id.parse().map_err(|_| format!("its server_id is '{server_id}'"))?,
            // MariaDB writes "unknown" where it could not make one.
            uuid: variable("server_uuid")
                .or(variable("server_uid"))
                .filter(|id| *id != "unknown")
                .map(str::to_owned),
            hostname: variable("hostname").unwrap_or_default().to_owned(),
            pid_file: variable("pid_file").and_then(|path| absolute(path, datadir.as_ref())),
            datadir,
            gtid: flavour == Flavour::MariaDb || on("gtid_mode"),
            binlog: on("log_bin"),
            logs_replicated: on("log_slave_updates") || on("log_replica_updates"),
            version_text,
        })
    }

    /// Whether both were said by the same server. A new version of it is still the same server.
    pub fn is_same_server(&self, other: &Identity) -> bool {
        let unequal_uuids = matches!((&self.uuid, &other.uuid), (Some(a), Some(b)) if a != b);
        self.server_id == other.server_id && self.hostname == other.hostname && !unequal_uuids
    }

    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::new(self.flavour, self.version)
    }
}

/// A relative name of the process file is relative to the data directory.
fn absolute(path: &str, datadir: Option<&PathBuf>) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Some(path) } else { datadir.map(|dir| dir.join(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(values: &[(&str, &str)]) -> Vec<Record> {
        let one = |(name, value): &(&str, &str)| {
            Record::of(&[("Variable_name", Some(name)), ("Value", Some(value))])
        };
        values.iter().map(one).collect()
    }

    fn db1() -> Identity {
        Identity::from_records(&records(&[
            ("version", "10.11.19-MariaDB-log"),
            ("server_id", "12"),
            ("server_uid", "abc"),
            ("hostname", "db1"),
            ("pid_file", "db1.pid"),
            ("datadir", "/var/lib/mysql/"),
            ("log_bin", "ON"),
        ]))
        .unwrap()
    }

    #[test]
    fn a_relative_pid_file_is_looked_for_in_the_data_directory() {
        assert_eq!(db1().pid_file, Some(PathBuf::from("/var/lib/mysql/db1.pid")));
    }

    #[test]
    fn an_answer_without_server_id_is_refused() {
        let answer = Identity::from_records(&records(&[("version", "10.11.19-MariaDB")]));
        assert_eq!(answer.unwrap_err(), "it did not tell its server_id");
    }

    #[test]
    fn a_server_with_another_id_host_or_uuid_is_another_server() {
        let known = db1();
        let other_id = Identity { server_id: 13, ..db1() };
        let other_host = Identity { hostname: "db2".into(), ..db1() };
        let other_uuid = Identity { uuid: Some("xyz".into()), ..db1() };
        let upgraded = Identity { version: Version { major: 11, minor: 8, patch: 6 }, ..db1() };
        assert!(known.is_same_server(&upgraded));
        for other in [other_id, other_host, other_uuid] {
            assert!(!known.is_same_server(&other));
        }
    }
}
