//! Pointing a replica elsewhere: what is asked for, and what of the channel must be the same afterwards.

use std::collections::BTreeMap;

use crate::address::Account;
use crate::record::Record;
use crate::replica::{Coordinates, ReplicaStatus};

/// Which of its positions a replica by GTID hands to its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GtidUse {
    No,
    SlavePos,
    /// `MariaDB` only.
    CurrentPos,
}

/// Where replication goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    Gtid(GtidUse),
    Log(Coordinates),
}

/// The new source of a replica.
#[derive(Clone, Debug)]
pub struct Repoint {
    pub host: String,
    pub port: u16,
    pub account: Account,
    pub at: StartAt,
}

/// A replication channel: its status, and those of its options that a repointing must not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub status: ReplicaStatus,
    pub gtid: GtidUse,
    /// It logs in over TLS, or not at all.
    pub tls: bool,
    options: BTreeMap<String, String>,
}

/// Columns of the status that are options, by the part of their name that both families and all versions share.
const OPTIONS: [&str; 17] = [
    "Connect_Retry",
    "_Retry_Count",
    "_SSL_",
    "_TLS_",
    "Replicate_",
    "SQL_Delay",
    "_Bind",
    "public_key",
    "Channel_Name",
    "Network_Namespace",
    "Heartbeat",
    "Parallel_Mode",
    "Compression",
    "Zstd_",
    "Privilege_Checks_User",
    "Require_",
    "Assign_",
];

impl Channel {
    pub(crate) fn from_record(record: &Record) -> Self {
        let by_auto_position = record.number(&["Auto_Position"]) == Some(1);
        let gtid = match record.text(&["Using_Gtid"]) {
            Some(text) if text.eq_ignore_ascii_case("Current_Pos") => GtidUse::CurrentPos,
            Some(text) if text.eq_ignore_ascii_case("Slave_Pos") => GtidUse::SlavePos,
            _ if by_auto_position => GtidUse::SlavePos,
            _ => GtidUse::No,
        };
        let is_option = |name: &str| OPTIONS.iter().any(|part| name.contains(part));
        let options = record
            .fields()
            .filter(|(name, _)| is_option(name))
            .map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_owned()))
            .collect();
        let tls = record.text(&["Source_SSL_Allowed", "Master_SSL_Allowed"]) == Some("Yes");
        Self { status: ReplicaStatus::from_record(record), gtid, tls, options }
    }

    /// Whether it asks its source for the key by which a password travels where there is no TLS.
    pub fn asks_for_key(&self) -> bool {
        self.options
            .iter()
            .any(|(name, value)| name.ends_with("_public_key") && name.starts_with("Get_") && value == "1")
    }

    /// Seconds between two attempts to reach its source.
    pub fn connect_retry(&self) -> Option<u64> {
        self.options.get("Connect_Retry")?.parse().ok()
    }

    /// The first option that is not what it was, for people.
    pub fn changed_option(&self, before: &Self) -> Option<String> {
        before.options.iter().find_map(|(name, was)| {
            let is = self.options.get(name).map_or("", String::as_str);
            (is != was).then(|| format!("{name} is '{is}' and was '{was}'"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(fields: &[(&str, Option<&str>)]) -> Channel {
        Channel::from_record(&Record::of(fields))
    }

    #[test]
    fn an_option_that_was_lost_is_named_and_what_must_change_is_none() {
        let before = channel(&[
            ("Master_Host", Some("a")),
            ("Connect_Retry", Some("1")),
            ("Master_SSL_Allowed", Some("Yes")),
            ("SQL_Delay", Some("3600")),
            ("SQL_Remaining_Delay", Some("12")),
        ]);
        let mut after = before.clone();
        after.status.source_host = "b".to_owned();
        assert_eq!(after.changed_option(&before), None);
        let lost = channel(&[
            ("Master_Host", Some("b")),
            ("Connect_Retry", Some("60")),
            ("Master_SSL_Allowed", Some("Yes")),
            ("SQL_Delay", Some("3600")),
        ]);
        assert_eq!(lost.changed_option(&before).unwrap(), "Connect_Retry is '60' and was '1'");
    }

    #[test]
    fn the_use_of_gtids_is_told_by_either_family() {
        assert_eq!(channel(&[("Using_Gtid", Some("Current_Pos"))]).gtid, GtidUse::CurrentPos);
        assert_eq!(channel(&[("Using_Gtid", Some("Slave_Pos"))]).gtid, GtidUse::SlavePos);
        assert_eq!(channel(&[("Using_Gtid", Some("No"))]).gtid, GtidUse::No);
        assert_eq!(channel(&[("Auto_Position", Some("1"))]).gtid, GtidUse::SlavePos);
        assert_eq!(channel(&[("Auto_Position", Some("0"))]).gtid, GtidUse::No);
    }
}
