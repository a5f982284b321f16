//! What can go wrong with a server, sorted by what it proves about the server.
//!
//! The texts of failed connections are those of 2.2.1, since operators search their logs for them.

use std::io;
use std::time::Duration;

use crate::address::Endpoint;

/// The server is stopping: the packet comes from a living process, yet it proves that the service ends.
const ER_SERVER_SHUTDOWN: u16 = 1053;
/// `MariaDB` says this on a connection that was killed, just before closing it.
const ER_CONNECTION_KILLED: u16 = 1927;
/// `MySQL` says this on a connection that was idle for too long, just before closing it.
const ER_CLIENT_INTERACTION_TIMEOUT: u16 = 4031;
/// What the library makes of a packet that is no answer to what it asked.
const OUT_OF_SYNC: &str = "Packets out of sync";

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nobody listens on that port; the host itself answered.
    Refused,
    /// The network says that there is no way to the host.
    Unreachable { os_error: i32 },
    /// No answer within the limit: a frozen server, a dead host and a cut cable look the same here.
    TimedOut { after: Duration },
    /// The connection ended, or this session was given up after an earlier failure.
    Closed { why: String },
    /// The server answered with an error packet.
    Said { code: u16, message: String },
    /// An answer that cannot be understood.
    Unexpected { what: String },
}

/// One failed call: what happened, on which server, as whom, during what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct ServerError {
    pub kind: ErrorKind,
    pub endpoint: Endpoint,
    pub user: String,
    /// The statement or step in words; `None` while connecting.
    pub doing: Option<&'static str>,
}

impl ServerError {
    /// Whether this failure itself proves that a living server gave it. Silence and a closed port prove nothing, and a
    /// server that says it is shutting down does not count as alive.
    pub fn proves_life(&self) -> bool {
        matches!(self.kind, ErrorKind::Said { code, .. } if code != ER_SERVER_SHUTDOWN)
    }

    /// Whether no answer came in time; the server may go on with what it was told.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, ErrorKind::TimedOut { .. })
    }

    /// The number of the server's error packet, if there was one.
    pub fn code(&self) -> Option<u16> {
        match self.kind {
            ErrorKind::Said { code, .. } => Some(code),
            _ => None,
        }
    }

    pub fn while_connecting(&self) -> bool {
        self.doing.is_none()
    }

    fn text(&self) -> String {
        let detail = self.detail();
        match self.doing {
            None => {
                format!("Connect error (host = {}, user = {})! {detail}", self.endpoint, self.user)
            }
            Some(doing) => {
                format!("{doing} failed (host = {}, user = {}): {detail}", self.endpoint, self.user)
            }
        }
    }

    fn detail(&self) -> String {
        let connecting = self.while_connecting();
        let cannot_connect =
            |number: i32| format!("Can't connect to server on '{}' ({number})", self.endpoint.ip);
        match &self.kind {
            ErrorKind::Refused => cannot_connect(111),
            ErrorKind::Unreachable { os_error } => cannot_connect(*os_error),
            ErrorKind::TimedOut { .. } if connecting => cannot_connect(110),
            ErrorKind::TimedOut { after } => format!("no answer within {} ms", after.as_millis()),
            ErrorKind::Closed { why } if connecting => {
                format!(
                    "Lost connection to server at 'handshake: reading initial communication packet': {why}"
                )
            }
            ErrorKind::Closed { why } => format!("Lost connection to server: {why}"),
            ErrorKind::Said { message, .. } if connecting => message.clone(),
            ErrorKind::Said { code, message } => format!("{message} (error {code})"),
            ErrorKind::Unexpected { what } => {
                format!("unexpected answer, is this a MariaDB or MySQL server? {what}")
            }
        }
    }
}

impl ErrorKind {
    pub(crate) fn closed(why: impl Into<String>) -> Self {
        Self::Closed { why: why.into() }
    }

    pub(crate) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected { what: what.into() }
    }

    /// What this means on a connection that had been kept. What a server says there unasked is its good-bye, as that of
    /// `MySQL` to a client that was idle for too long; the library cannot tell that from a confused answer.
    pub(crate) fn on_kept_connection(self) -> Self {
        match self {
            Self::Unexpected { what } if what.ends_with(OUT_OF_SYNC) => {
                Self::closed("the server had ended it before anything was asked")
            }
            other => other,
        }
    }

    /// Sorts what the client library reports.
    pub(crate) fn from_driver(error: &mysql_async::Error) -> Self {
        use mysql_async::{DriverError, Error};
        match error {
            Error::Server(said)
                if [ER_CONNECTION_KILLED, ER_CLIENT_INTERACTION_TIMEOUT].contains(&said.code) =>
            {
                Self::closed(said.message.clone())
            }
            Error::Server(said) => Self::Said { code: said.code, message: said.message.clone() },
            Error::Io(mysql_async::IoError::Io(io)) => Self::from_io(io),
            Error::Driver(DriverError::ConnectionClosed) => Self::closed("the connection is closed"),
            other => Self::unexpected(other.to_string()),
        }
    }

    fn from_io(error: &io::Error) -> Self {
        use io::ErrorKind as Io;
        match error.kind() {
            Io::ConnectionRefused => Self::Refused,
            Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::AddrNotAvailable
            | Io::TimedOut
            | Io::NetworkDown => Self::Unreachable { os_error: error.raw_os_error().unwrap_or(113) },
            Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::BrokenPipe
            | Io::NotConnected
            | Io::UnexpectedEof
            | Io::WriteZero => Self::closed(error.to_string()),
            _ => Self::unexpected(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: ErrorKind, doing: Option<&'static str>) -> ServerError {
        let endpoint = Endpoint::new("192.168.8.32".parse().unwrap(), 3306);
        ServerError { kind, endpoint, user: "mmm_monitor".into(), doing }
    }

    #[test]
    fn a_refused_connection_reads_as_in_2_2_1() {
        assert_eq!(
            failed(ErrorKind::Refused, None).to_string(),
            "Connect error (host = 192.168.8.32:3306, user = mmm_monitor)! Can't connect to server on '192.168.8.32' (111)"
        );
    }

    #[test]
    fn a_silent_host_reads_as_in_2_2_1() {
        let error = failed(ErrorKind::TimedOut { after: Duration::from_secs(2) }, None);
        assert!(error.to_string().ends_with("Can't connect to server on '192.168.8.32' (110)"));
    }

    #[test]
    fn an_error_packet_proves_life_and_silence_does_not() {
        for code in [1040, 1045, 1129, 1227] {
            assert!(failed(ErrorKind::Said { code, message: String::new() }, None).proves_life());
        }
        let stopping = ErrorKind::Said { code: 1053, message: "Server shutdown in progress".into() };
        let silent = ErrorKind::TimedOut { after: Duration::from_secs(1) };
        for kind in [stopping, silent, ErrorKind::Refused, ErrorKind::closed("x")] {
            assert!(!failed(kind, None).proves_life());
        }
    }

    #[test]
    fn a_failed_query_names_the_statement_and_the_server() {
        let kind = ErrorKind::Said { code: 1227, message: "Access denied; you need SLAVE MONITOR".into() };
        assert_eq!(
            failed(kind, Some("reading the replication status")).to_string(),
            "reading the replication status failed (host = 192.168.8.32:3306, user = mmm_monitor): \
             Access denied; you need SLAVE MONITOR (error 1227)"
        );
    }

    #[test]
    fn what_is_said_unasked_on_a_kept_connection_is_its_end() {
        let unasked = mysql_async::Error::from(io::Error::other(OUT_OF_SYNC));
        let kind = ErrorKind::from_driver(&unasked);
        assert!(matches!(kind, ErrorKind::Unexpected { .. }), "while connecting it may be any garbage");
        assert!(matches!(kind.on_kept_connection(), ErrorKind::Closed { .. }));
        let refused = ErrorKind::Refused.on_kept_connection();
        assert_eq!(refused, ErrorKind::Refused);
    }

    #[test]
    fn a_killed_connection_counts_as_closed() {
        let killed = mysql_async::Error::Server(mysql_async::ServerError {
            code: 1927,
            message: "Connection was killed".into(),
            state: "70100".into(),
        });
        assert!(matches!(ErrorKind::from_driver(&killed), ErrorKind::Closed { .. }));
    }
}
