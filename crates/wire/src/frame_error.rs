//! What can go wrong with the frames of a session; every error names the peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::FRAME_BYTES_MAX;

/// A frame could not be read or written. The session is over after any of these, except `TooLargeToSend` and
/// `Encode`, which leave the connection as it was.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("cannot read from {peer}: {source}")]
    Read { peer: Arc<str>, source: io::Error },
    #[error("cannot write to {peer}: {source}")]
    Write { peer: Arc<str>, source: io::Error },
    #[error("{peer} took no data for {} s", limit.as_secs_f64())]
    WriteTimeout { peer: Arc<str>, limit: Duration },
    #[error("the connection to {peer} is unusable, since an earlier message was sent only in part")]
    WriteInterrupted { peer: Arc<str> },
    #[error("{peer} announced a message of {length} bytes, at most {limit} are accepted")]
    TooLarge { peer: Arc<str>, length: usize, limit: usize },
    #[error("{peer} closed the connection in the middle of a message ({received} bytes of it had arrived)")]
    CutShort { peer: Arc<str>, received: usize },
    #[error("{peer} sent a message that cannot be understood: {source}")]
    Decode { peer: Arc<str>, source: serde_json::Error },
    #[error("a message for {peer} cannot be written as JSON: {source}")]
    Encode { peer: Arc<str>, source: serde_json::Error },
    #[error("a message of {length} bytes for {peer} is over the limit of {FRAME_BYTES_MAX} and was not sent")]
    TooLargeToSend { peer: Arc<str>, length: usize },
}
