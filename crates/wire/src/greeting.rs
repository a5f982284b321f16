//! The first line on a connection to an agent, and how an agent tells a monitor of this protocol from anything else.
//!
//! Parsing only; reading the line off a connection and answering it is done by the handshake.

use std::fmt;

use crate::excerpt::excerpt;
use crate::{Features, Nonce};

/// Greatest length of the greeting line, newline included.
pub const GREETING_BYTES_MAX: usize = 512;

const EXPECTED: &str = "MMM3|1|HOST|version|features|nonce";

/// `MMM3|1|HOST|version|features|nonce`: a monitor asks for a session with the agent of `host`. The `1` stands where a
/// 2.2.1 agent looks for its protocol version, so that it answers with an error line instead of waiting for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The host whose agent the monitor believes to have reached.
    pub host: String,
    /// The greatest protocol version the monitor speaks.
    pub version: u32,
    pub features: Features,
    pub nonce: Nonce,
}

/// A line that begins as a greeting and does not go on as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed greeting: {what} (expected {EXPECTED})")]
pub struct GreetingError {
    what: String,
}

/// What the first line of a connection turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstLine {
    /// A monitor that speaks protocol 2.
    Greeting(Greeting),
    /// Meant as a greeting, but malformed.
    Malformed(GreetingError),
    /// Something else; lines of protocol 1 arrive here.
    Other(String),
}

impl FirstLine {
    /// Reads a line without its newline. Bytes that are no UTF-8 are replaced, since they can only be in
    /// a line that is refused.
    pub fn parse(line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line);
        let Some(fields) = line.strip_prefix("MMM3|") else {
            return Self::Other(line.into_owned());
        };
        match Greeting::parse_fields(fields) {
            Ok(greeting) => Self::Greeting(greeting),
            Err(what) => Self::Malformed(GreetingError { what }),
        }
    }
}

impl Greeting {
    /// The line with its newline.
    pub fn line(&self) -> String {
        format!("{self}\n")
    }

    fn parse_fields(fields: &str) -> Result<Self, String> {
        let fields: Vec<&str> = fields.split('|').collect();
        let [generation, host, version, features, nonce] = fields[..] else {
            return Err(format!("{} fields instead of 6", fields.len() + 1));
        };
        if generation != "1" {
            return Err(format!("'{}' where the 1 belongs", excerpt(generation)));
        }
        if !is_host_name(host) {
            return Err(format!("'{}' is not a host name", excerpt(host)));
        }
        let version = match version.parse() {
            Ok(number) if version.bytes().all(|byte| byte.is_ascii_digit()) => number,
            _ => return Err(format!("'{}' is not a protocol version", excerpt(version))),
        };
        let features = Features::parse(features)
            .ok_or_else(|| format!("'{}' is not a list of features", excerpt(features)))?;
        let nonce = nonce.parse().map_err(|error| format!("the nonce '{}': {error}", excerpt(nonce)))?;
        Ok(Self { host: host.to_owned(), version, features, nonce })
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MMM3|1|{}|{}|{}|{}", self.host, self.version, self.features, self.nonce)
    }
}

/// The configuration's rule for names; nothing that could end a field or the line.
pub(crate) fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn malformed(line: &str) -> String {
        match FirstLine::parse(line.as_bytes()) {
            FirstLine::Malformed(error) => error.to_string(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_greeting_reads_as_documented() {
        let line = format!("MMM3|1|MySQL-M1|2|lease,tail|{}", "0a".repeat(16));
        let FirstLine::Greeting(greeting) = FirstLine::parse(line.as_bytes()) else { panic!("{line}") };
        assert_eq!((greeting.host.as_str(), greeting.version), ("MySQL-M1", 2));
        assert_eq!(greeting.features, Features::of(["tail", "lease"]));
        assert_eq!(greeting.to_string(), line);
    }

    #[test]
    fn each_malformed_field_is_named() {
        let nonce = "00".repeat(16);
        assert!(malformed("MMM3|1|db1").contains("3 fields instead of 6"));
        assert!(malformed(&format!("MMM3|2|db1|2||{nonce}")).contains("'2' where the 1"));
        assert!(malformed(&format!("MMM3|1||2||{nonce}")).contains("host name"));
        assert!(malformed(&format!("MMM3|1|db1|+2||{nonce}")).contains("protocol version"));
        assert!(malformed(&format!("MMM3|1|db1|2|a b|{nonce}")).contains("features"));
        assert!(malformed("MMM3|1|db1|2||00\r").contains("32 hexadecimal"));
    }

    #[test]
    fn lines_of_protocol_1_are_something_else() {
        assert_eq!(FirstLine::parse(b"PING|1|db1"), FirstLine::Other("PING|1|db1".to_owned()));
        assert_eq!(FirstLine::parse(b"MMM3"), FirstLine::Other("MMM3".to_owned()));
    }

    proptest! {
        #[test]
        fn every_greeting_survives_its_line(
            host in "[A-Za-z0-9_.-]{1,60}", version: u32, nonce: [u8; 16],
            features in proptest::collection::vec("[a-z0-9_-]{1,12}", 0..6),
        ) {
            let features = Features::of(features.iter().map(String::as_str));
            let greeting = Greeting { host, version, features, nonce: crate::HexBytes(nonce) };
            let line = greeting.line();
            prop_assert!(line.len() <= GREETING_BYTES_MAX);
            prop_assert_eq!(FirstLine::parse(line.trim_end().as_bytes()), FirstLine::Greeting(greeting));
        }

        #[test]
        fn no_line_makes_the_parser_panic(line: Vec<u8>, tail in "MMM3(\\|[^\n]{0,8}){0,8}") {
            let _ = FirstLine::parse(&line);
            let _ = FirstLine::parse(tail.as_bytes());
        }
    }
}
