//! Writes frames, each under a deadline: a peer that takes nothing must not hold its sender for ever.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::{FRAME_BYTES_MAX, FrameError};

/// How long one message may wait for a peer to take it, unless [`FrameWriter::set_limit`] says otherwise.
pub const WRITE_LIMIT: Duration = Duration::from_secs(2);

/// The writing half of a session.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    peer: Arc<str>,
    limit: Duration,
    interrupted: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// `peer` is how errors call the other side.
    pub fn new(stream: W, peer: impl Into<Arc<str>>) -> Self {
        Self { stream, peer: peer.into(), limit: WRITE_LIMIT, interrupted: false }
    }

    /// How errors call the other side from now on.
    pub(crate) fn rename(&mut self, peer: Arc<str>) {
        self.peer = peer;
    }

    /// Changes how long one message may wait for the peer.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Sends one message. Not cancellation-safe: when it is dropped halfway or runs into its deadline, the peer cannot
    /// know where the next frame begins, so every later call fails.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        let mut frame = vec![0; 4];
        serde_json::to_writer(&mut frame, message)
            .map_err(|source| FrameError::Encode { peer: self.peer.clone(), source })?;
        let length = frame.len() - 4;
        match u32::try_from(length) {
            Ok(announced) if length <= FRAME_BYTES_MAX => {
                frame[..4].copy_from_slice(&announced.to_be_bytes());
            }
            _ => return Err(FrameError::TooLargeToSend { peer: self.peer.clone(), length }),
        }
        self.send_bytes(&frame).await
    }

    /// Sends bytes that are no frame; the handshake has text lines in it.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        if self.interrupted {
            return Err(FrameError::WriteInterrupted { peer: self.peer.clone() });
        }
        // Set before the first byte leaves and cleared after the last, so that a dropped call is noticed too.
        self.interrupted = true;
        let written = timeout(self.limit, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {
                self.interrupted = false;
                Ok(())
            }
            Ok(Err(source)) => Err(FrameError::Write { peer: self.peer.clone(), source }),
            Err(_) => Err(FrameError::WriteTimeout { peer: self.peer.clone(), limit: self.limit }),
        }
    }

    /// Tells the peer that nothing more will come, as far as it can be told within the deadline.
    pub async fn finish(&mut self) {
        // A peer that is gone already needs no farewell.
        let _ = timeout(self.limit, self.stream.shutdown()).await;
    }
}
