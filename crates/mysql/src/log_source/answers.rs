//! What a receiving thread asks, and what it is told.

use super::SourceLog;
use crate::dialect::Flavour;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0E;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_REPLICA: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1E;
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
const ER_NOT_SUPPORTED_YET: u16 = 1235;

/// The answer to one question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    /// It acknowledges what it is asked to acknowledge.
    Acknowledging,
    /// The last transactions that a receiver of `MariaDB` has.
    State(String),
    Row {
        columns: Vec<&'static str>,
        values: Vec<String>,
    },
    Error {
        code: u16,
        text: String,
    },
    /// The log, from a place or, by GTID, from the beginning.
    Dump {
        place: Option<(String, u64)>,
    },
    Over,
}

pub(super) fn answer(question: &[u8], log: &SourceLog) -> Answer {
    let (Some(command), rest) = (question.first(), question.get(1..).unwrap_or_default()) else {
        return Answer::Over;
    };
    match *command {
        COM_QUIT => Answer::Over,
        COM_PING | COM_REGISTER_REPLICA => Answer::Ok,
        COM_QUERY => statement(&String::from_utf8_lossy(rest), log),
        COM_BINLOG_DUMP => {
            let position = rest.get(..4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
            let name = String::from_utf8_lossy(rest.get(10..).unwrap_or_default()).into_owned();
            // A receiver that goes by GTID names no file.
            Answer::Dump { place: (!name.is_empty()).then_some((name, u64::from(position))) }
        }
        COM_BINLOG_DUMP_GTID => Answer::Dump { place: None },
        other => {
            Answer::Error { code: ER_NOT_SUPPORTED_YET, text: format!("Command {other} is not known here") }
        }
    }
}

fn statement(statement: &str, log: &SourceLog) -> Answer {
    let asked = statement.trim().to_ascii_lowercase();
    let one = |value: String| Answer::Row { columns: vec!["value"], values: vec![value] };
    let variable = |name: &'static str, value: String| Answer::Row {
        columns: vec!["Variable_name", "Value"],
        values: vec![name.to_owned(), value],
    };
    if let Some(state) = asked.strip_prefix("set @slave_connect_state=") {
        return Answer::State(state.trim_matches('\'').to_owned());
    }
    if asked.starts_with("set @rpl_semi_sync_slave") || asked.starts_with("set @rpl_semi_sync_replica") {
        return Answer::Acknowledging;
    }
    if asked.starts_with("set ") {
        return Answer::Ok;
    }
    // `MariaDB` takes an error for one of the connection and tries again for ever; it goes on whatever the value is.
    if asked.starts_with("show variables like 'rpl_semi_sync_master_enabled'") {
        return variable("rpl_semi_sync_master_enabled", "OFF".to_owned());
    }
    if asked.contains("semi_sync") {
        let text = "Unknown system variable: what is salvaged is acknowledged to nobody".to_owned();
        return Answer::Error { code: ER_UNKNOWN_SYSTEM_VARIABLE, text };
    }
    if asked.starts_with("show variables like 'server_id'") {
        return variable("server_id", log.server_id.to_string());
    }
    if asked.contains("unix_timestamp()") {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        return one(since.map_or(0, |since| since.as_secs()).to_string());
    }
    if asked.contains("binlog_checksum") {
        return one(if log.checksums { "CRC32" } else { "NONE" }.to_owned());
    }
    if asked.contains("server_uuid") {
        return one(log.server_uuid.clone().unwrap_or_default());
    }
    if asked.contains("server_id") {
        return one(log.server_id.to_string());
    }
    if asked.contains("gtid_mode") {
        return one(if log.gtid_mode { "ON" } else { "OFF" }.to_owned());
    }
    if asked.contains("gtid_domain_id") && log.flavour == Flavour::MariaDb {
        return one("0".to_owned());
    }
    if asked.contains("version()") {
        return one(log.server_version.clone());
    }
    tracing::debug!("The receiver of a salvaged log asked what is not known here: {statement}");
    let text = "Unknown system variable: only a salvaged log is to be had here".to_owned();
    Answer::Error { code: ER_UNKNOWN_SYSTEM_VARIABLE, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> SourceLog {
        SourceLog {
            flavour: Flavour::MySql,
            server_version: "9.7.0".into(),
            server_id: 12,
            server_uuid: Some("u".into()),
            gtid_mode: true,
            checksums: true,
            user: "repl".into(),
            spool: "/none".into(),
            pieces: Vec::new(),
        }
    }

    #[test]
    fn a_receiver_is_told_whom_the_log_is_of() {
        let said = |text: &str| answer(&[&[COM_QUERY], text.as_bytes()].concat(), &log());
        let one = |value: &str| Answer::Row { columns: vec!["value"], values: vec![value.to_owned()] };
        assert_eq!(said("SELECT @@GLOBAL.SERVER_UUID"), one("u"));
        assert_eq!(said("SELECT @source_binlog_checksum"), one("CRC32"));
        assert_eq!(said("SET @source_heartbeat_period = 1"), Answer::Ok);
        assert_eq!(
            said("SET @slave_connect_state='0-12-4,1-12-5'"),
            Answer::State("0-12-4,1-12-5".to_owned())
        );
        assert!(matches!(said("SELECT @@global.rpl_semi_sync_source_enabled"), Answer::Error { .. }));
        let Answer::Row { values, .. } = said("SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'") else {
            panic!("a receiver of MariaDB gives up without a row");
        };
        assert_eq!(values, ["rpl_semi_sync_master_enabled", "OFF"]);
        assert_eq!(said("SET @rpl_semi_sync_slave= 1"), Answer::Acknowledging);
        assert!(matches!(said("DROP TABLE t"), Answer::Error { .. }));
    }

    #[test]
    fn the_log_is_asked_for_by_place_or_by_gtid() {
        let ask = [&[COM_BINLOG_DUMP, 0x84, 3, 0, 0, 0, 0, 1, 0, 0, 0][..], b"bin.000002"].concat();
        assert_eq!(answer(&ask, &log()), Answer::Dump { place: Some(("bin.000002".to_owned(), 900)) });
        assert_eq!(
            answer(&[COM_BINLOG_DUMP, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0], &log()),
            Answer::Dump { place: None }
        );
        assert_eq!(answer(&[COM_BINLOG_DUMP_GTID], &log()), Answer::Dump { place: None });
        assert_eq!(answer(&[], &log()), Answer::Over);
        assert_eq!(answer(&[COM_BINLOG_DUMP], &log()), Answer::Dump { place: None });
    }
}
