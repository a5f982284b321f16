//! One question to the monitor: connect, send the line and `quit`, read until the monitor closes. Nothing here
//! waits for ever
//! and no answer grows without bound.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mmm_wire::TransportError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::target::Target;

const CONNECT_LIMIT: Duration = Duration::from_secs(3);

const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("The monitor at {monitor} cannot be reached: {source}. Is mmm_mond running there?")]
    Connect { monitor: SocketAddr, source: io::Error },
    #[error("{0}")]
    Secure(TransportError),
    #[error("the connection to the monitor at {monitor} was cut before its answer was complete: {source}")]
    Cut { monitor: SocketAddr, source: io::Error, partial: Vec<u8> },
    #[error("the monitor at {monitor} did not answer in full within {} s", limit.as_secs_f64())]
    Timeout { monitor: SocketAddr, limit: Duration, partial: Vec<u8> },
    #[error(
        "the answer of the monitor at {monitor} is longer than {ANSWER_BYTES_MAX} bytes, the rest was not read"
    )]
    TooLong { monitor: SocketAddr, partial: Vec<u8> },
    #[error("the monitor at {monitor} closed the connection without an answer")]
    NoAnswer { monitor: SocketAddr },
}

impl AskError {
    /// What had been read before it went wrong; it may be of use to a person.
    pub(crate) fn take_partial_answer(&mut self) -> Vec<u8> {
        match self {
            Self::Cut { partial, .. } | Self::Timeout { partial, .. } | Self::TooLong { partial, .. } => {
                std::mem::take(partial)
            }
            Self::Connect { .. } | Self::Secure(_) | Self::NoAnswer { .. } => Vec::new(),
        }
    }
}

/// The monitor's answer to `line`, which may be empty. `limit` covers all of it but the connecting, which has a
/// shorter limit of its own.
pub(crate) async fn ask(target: &Target, line: &str, limit: Duration) -> Result<Vec<u8>, AskError> {
    let monitor = target.monitor;
    let connecting = timeout(CONNECT_LIMIT.min(limit), TcpStream::connect(monitor)).await;
    let stream = connecting
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| AskError::Connect { monitor, source })?;
    let peer = format!("the monitor at {monitor}");
    let connecting = target.transport.connect(stream, &peer, CONNECT_LIMIT.min(limit)).await;
    let mut stream = connecting.map_err(AskError::Secure)?;

    let deadline = Instant::now() + limit;
    let mut partial = Vec::new();
    // What the monitor has not read when it closes would make its system cut the connection, so `quit` is said
    // only once.
    let request = if line == "quit" { "quit\n".to_owned() } else { format!("{line}\nquit\n") };
    let talk = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        while partial.len() <= ANSWER_BYTES_MAX {
            partial.reserve(16 * 1024);
            if stream.read_buf(&mut partial).await? == 0 {
                break;
            }
        }
        Ok(())
    };
    match timeout_at(deadline, talk).await {
        Err(_) => Err(AskError::Timeout { monitor, limit, partial }),
        Ok(Err(source)) => Err(AskError::Cut { monitor, source, partial }),
        Ok(Ok(())) if partial.len() > ANSWER_BYTES_MAX => {
            partial.truncate(ANSWER_BYTES_MAX);
            Err(AskError::TooLong { monitor, partial })
        }
        Ok(Ok(())) => Ok(partial),
    }
}
