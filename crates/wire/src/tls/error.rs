//! Why there is no connection; every error names the peer and what to do.

use std::io;
use std::time::Duration;

use tokio_rustls::rustls;

use super::reason::{self, Reason};

/// A connection could not be made by `<socket>`. It is closed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error(
        "{peer} did not finish the TLS handshake within {} s: does its <socket> have type ssl, as here?",
        limit.as_secs_f64()
    )]
    Silent { peer: String, limit: Duration },
    #[error(
        "{peer} closed the connection during the TLS handshake: does its <socket> have type ssl, as here?"
    )]
    Closed { peer: String },
    #[error("the connection to {peer} broke: {source}")]
    Broken { peer: String, source: io::Error },
    #[error(
        "{peer} speaks plain text and was refused, since <socket> has type ssl here: give all hosts the same <socket>"
    )]
    SpeaksPlain { peer: String },
    #[error(
        "{peer} speaks TLS and was refused, since <socket> has no type ssl here: give all hosts the same <socket>"
    )]
    SpeaksTls { peer: String },
    /// Its certificate is not good enough, or there is none.
    #[error("{peer} was refused: {reason}")]
    Refused { peer: String, reason: String },
    #[error("no TLS connection with {peer}: {reason}")]
    Failed { peer: String, reason: String },
}

impl TransportError {
    /// Somebody who said nothing that one could act upon: a probe of a port, or a program that ended.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Closed { .. } | Self::Broken { .. })
    }

    pub(super) fn silent(peer: &str, limit: Duration) -> Self {
        Self::Silent { peer: peer.to_owned(), limit }
    }

    pub(super) fn closed(peer: &str) -> Self {
        Self::Closed { peer: peer.to_owned() }
    }

    pub(super) fn broken(peer: &str, source: io::Error) -> Self {
        Self::Broken { peer: peer.to_owned(), source }
    }

    pub(super) fn of(peer: &str, error: io::Error) -> Self {
        let peer = peer.to_owned();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => match reason::of(inner) {
                Reason::TheirCertificate(reason) => Self::Refused { peer, reason },
                Reason::Other(reason) => Self::Failed { peer, reason },
            },
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed { peer },
            None => Self::Broken { peer, source: error },
        }
    }
}
