//! Reads frames: a length of four bytes, most significant first, then that many bytes of JSON.
//!
//! It has no deadline of its own. Waiting for the next message is what a session does all day, so the caller sets
//! it beside its other events; every method may be dropped while it waits and called again without losing a byte.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{FRAME_BYTES_MAX, FrameError};

const LENGTH_BYTES: usize = 4;

/// Memory grows by this much at a time as bytes really arrive, so that announcing a large frame costs the peer its bytes.
const READ_BYTES: usize = 8 * 1024;

/// The reading half of a session.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    peer: Arc<str>,
    buffer: Vec<u8>,
    frame_bytes_max: usize,
}

/// A line without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawLine {
    pub(crate) bytes: Vec<u8>,
    /// The newline was there.
    pub(crate) ended: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// `peer` is how errors call the other side.
    pub fn new(stream: R, peer: impl Into<Arc<str>>) -> Self {
        Self { stream, peer: peer.into(), buffer: Vec::new(), frame_bytes_max: FRAME_BYTES_MAX }
    }

    /// The next message; `None` when the peer closed the connection after a whole one. Cancellation-safe.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(end) = self.frame_end()? {
                let decoded = serde_json::from_slice(&self.buffer[LENGTH_BYTES..end]);
                self.discard(end);
                let peer = &self.peer;
                return decoded.map(Some).map_err(|source| FrameError::Decode { peer: peer.clone(), source });
            }
            if self.fill().await? == 0 {
                return match self.buffer.len() {
                    0 => Ok(None),
                    received => Err(FrameError::CutShort { peer: self.peer.clone(), received }),
                };
            }
        }
    }

    /// How errors call the other side from now on.
    pub(crate) fn rename(&mut self, peer: Arc<str>) {
        self.peer = peer;
    }

    /// Frames above `limit` are refused from now on. A stranger is not given the room of a peer.
    pub(crate) fn limit_frames(&mut self, limit: usize) {
        self.frame_bytes_max = limit.min(FRAME_BYTES_MAX);
    }

    /// The first `count` bytes, left where they are; fewer when the peer closed before. Cancellation-safe.
    pub(crate) async fn peek(&mut self, count: usize) -> Result<&[u8], FrameError> {
        while self.buffer.len() < count {
            if self.fill().await? == 0 {
                break;
            }
        }
        Ok(&self.buffer[..count.min(self.buffer.len())])
    }

    /// Gives the stream back with what was read of it and not used.
    pub(crate) fn into_parts(self) -> (R, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// A line, or what there is of it when the peer closes; `None` when it does not end within `line_bytes_max` bytes,
    /// newline included. Cancellation-safe.
    pub(crate) async fn line(&mut self, line_bytes_max: usize) -> Result<Option<RawLine>, FrameError> {
        loop {
            let seen = self.buffer.len().min(line_bytes_max);
            if let Some(newline) = self.buffer[..seen].iter().position(|byte| *byte == b'\n') {
                let bytes = self.buffer[..newline].to_vec();
                self.discard(newline + 1);
                return Ok(Some(RawLine { bytes, ended: true }));
            }
            if seen == line_bytes_max {
                return Ok(None);
            }
            if self.fill().await? == 0 {
                return Ok(Some(RawLine { bytes: std::mem::take(&mut self.buffer), ended: false }));
            }
        }
    }

    /// Where the first frame ends in the buffer, if all of it is there. The length is judged before anything is
    /// allocated for it.
    fn frame_end(&self) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        let limit = self.frame_bytes_max;
        if length > limit {
            return Err(FrameError::TooLarge { peer: self.peer.clone(), length, limit });
        }
        let end = LENGTH_BYTES + length;
        Ok((self.buffer.len() >= end).then_some(end))
    }

    async fn fill(&mut self) -> Result<usize, FrameError> {
        self.buffer.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.buffer).await;
        read.map_err(|source| FrameError::Read { peer: self.peer.clone(), source })
    }

    fn discard(&mut self, count: usize) {
        self.buffer.drain(..count);
        // One large message must not keep its memory for the life of the session.
        self.buffer.shrink_to(READ_BYTES);
    }
}

#[cfg(test)]
mod tests;
