//! One deadline for a whole handshake, so that a peer that sends a byte now and then cannot stretch it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::{FrameError, HandshakeError};

#[derive(Debug)]
pub(crate) struct Deadline {
    peer: Arc<str>,
    limit: Duration,
    at: Instant,
}

impl Deadline {
    pub(crate) fn new(peer: Arc<str>, limit: Duration) -> Self {
        Self { peer, limit, at: Instant::now() + limit }
    }

    /// How errors call the peer from now on.
    pub(crate) fn rename(&mut self, peer: Arc<str>) {
        self.peer = peer;
    }

    /// Runs one step, named as in "while SOMETHING".
    pub(crate) async fn step<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<T, FrameError>>,
    ) -> Result<T, HandshakeError> {
        match timeout_at(self.at, work).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(HandshakeError::Timeout { peer: self.peer.clone(), step, limit: self.limit }),
        }
    }

    /// As [`step`](Self::step), for a message that has to come.
    pub(crate) async fn message<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<Option<T>, FrameError>>,
    ) -> Result<T, HandshakeError> {
        let closed = HandshakeError::Closed { peer: self.peer.clone(), step };
        self.step(step, work).await?.ok_or(closed)
    }
}
