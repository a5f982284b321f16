//! TLS below everything that is said: both sides show a certificate, and each checks the other's chain and dates against
//! its `ca_file`. Names in certificates are not looked at, as by 2.2.1, whose users often have none in them: whoever has
//! a certificate of that authority belongs to the cluster.
//!
//! Whether a connection is TLS is decided before its first line, so that it carries every protocol. Nothing here decides
//! about sessions that are open already.

mod certificates;
mod error;
mod files;
mod keeper;
mod peer_check;
mod reason;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::Connection;
pub use error::TransportError;
pub use files::{TlsFileError, TlsFiles};
pub use keeper::Tls;
pub(crate) use reason::explained;

/// What a port that speaks TLS answers to plain text, so that it can be read in the other side's log.
pub const TLS_ONLY_ANSWER: &str =
    "ERROR: This port speaks TLS only: set type ssl and the certificate files in <socket> here too";

/// What a port that speaks plain text answers to TLS; no TLS library takes it for its own, and people can read it.
const PLAIN_ONLY_ANSWER: &str = "ERROR: This port speaks plain text: <socket> has no type ssl here";

/// The type of the record that begins every TLS connection; no line of any protocol begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;

/// A peer that is refused may go on sending for so long and so much; to close before would take the answer away from it.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// How connections are made on both ends: by `<socket>` of the configuration.
#[derive(Clone, Debug)]
pub enum Transport {
    Plain,
    Tls(Arc<Tls>),
}

impl Transport {
    /// `None`: plain text.
    pub fn new(files: Option<TlsFiles>) -> Result<Self, TlsFileError> {
        Ok(match files {
            None => Self::Plain,
            Some(files) => Self::Tls(Arc::new(Tls::load(files)?)),
        })
    }

    /// Whether who is at the other end has shown that it belongs here.
    pub fn is_authenticated(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether connections are made in the same way, by the same files.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain, Self::Plain) => true,
            (Self::Tls(one), Self::Tls(other)) => one.files() == other.files(),
            (Self::Plain, Self::Tls(_)) | (Self::Tls(_), Self::Plain) => false,
        }
    }

    /// What is wrong with the own certificate although it can be used: who trusts nobody else may still trust it.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Plain => Vec::new(),
            Self::Tls(tls) => tls.warnings(),
        }
    }

    /// Takes a connection to a port of this program within `limit`. `caller` is how errors call it.
    pub async fn accept(
        &self,
        stream: TcpStream,
        caller: &str,
        limit: Duration,
    ) -> Result<Connection, TransportError> {
        let until = Instant::now() + limit;
        let silent = || TransportError::silent(caller, limit);
        let mut first = [0];
        let peeked = timeout_at(until, stream.peek(&mut first)).await.map_err(|_| silent())?;
        let length = peeked.map_err(|source| TransportError::broken(caller, source))?;
        let speaks_tls = first == [HANDSHAKE_RECORD];
        match self {
            // Who closed at once is left to those who read.
            Self::Plain if length == 0 || !speaks_tls => Ok(Connection::Plain(stream)),
            Self::Plain => {
                part(stream, PLAIN_ONLY_ANSWER).await;
                Err(TransportError::SpeaksTls { peer: caller.to_owned() })
            }
            Self::Tls(_) if length == 0 => Err(TransportError::closed(caller)),
            Self::Tls(_) if !speaks_tls => {
                part(stream, TLS_ONLY_ANSWER).await;
                Err(TransportError::SpeaksPlain { peer: caller.to_owned() })
            }
            Self::Tls(tls) => {
                let accepting = async {
                    let config = tls.current().await.server;
                    TlsAcceptor::from(config).accept(stream).into_fallible().await
                };
                let stream = handshake(accepting, caller, until, limit).await?;
                Ok(Connection::Tls(Box::new(TlsStream::Server(stream))))
            }
        }
    }

    /// Makes of a fresh connection what the port at the other end expects, within `limit`. `peer` is how errors call it.
    pub async fn connect(
        &self,
        stream: TcpStream,
        peer: &str,
        limit: Duration,
    ) -> Result<Connection, TransportError> {
        let Self::Tls(tls) = self else { return Ok(Connection::Plain(stream)) };
        let until = Instant::now() + limit;
        let address = stream.peer_addr().map_err(|source| TransportError::broken(peer, source))?;
        let connecting = async {
            let config = tls.current().await.client;
            let name = ServerName::IpAddress(address.ip().into());
            TlsConnector::from(config).connect(name, stream).into_fallible().await
        };
        let stream = handshake(connecting, peer, until, limit).await?;
        Ok(Connection::Tls(Box::new(TlsStream::Client(stream))))
    }
}

async fn handshake<S>(
    shaking: impl Future<Output = Result<S, (io::Error, TcpStream)>>,
    peer: &str,
    until: Instant,
    limit: Duration,
) -> Result<S, TransportError> {
    match timeout_at(until, shaking).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, stream))) => {
            // What the library has to say to the peer is sent already.
            let error = TransportError::of(peer, error);
            if !error.is_silence() {
                part(stream, "").await;
            }
            Err(error)
        }
        Err(_) => Err(TransportError::silent(peer, limit)),
    }
}

/// Tells a peer why it is left, and leaves it when it has heard it.
async fn part(mut stream: TcpStream, answer: &str) {
    let farewell = async {
        if !answer.is_empty() {
            stream.write_all(format!("{answer}\n").as_bytes()).await?;
        }
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(FAREWELL_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // Whether it hears it changes nothing here.
    let _ = timeout(FAREWELL_LIMIT, farewell).await;
}
