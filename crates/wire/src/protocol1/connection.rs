//! The agent's end of a connection over which lines come.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

use super::{Answer, Line, LineError, LineReader};
use crate::{FrameError, FrameWriter};

/// A connection whose first line is no greeting: a monitor of 2.2.1, or whoever passes for one.
#[derive(Debug)]
pub struct LineConnection<S> {
    first: Option<Line>,
    reader: LineReader<ReadHalf<S>>,
    writer: FrameWriter<WriteHalf<S>>,
    caller: Arc<str>,
}

impl<S: AsyncRead + AsyncWrite> LineConnection<S> {
    pub(crate) fn new(
        first: Line,
        reader: LineReader<ReadHalf<S>>,
        writer: FrameWriter<WriteHalf<S>>,
        caller: &str,
    ) -> Self {
        Self { first: Some(first), reader, writer, caller: caller.into() }
    }

    /// Who called, for messages.
    pub fn caller(&self) -> &Arc<str> {
        &self.caller
    }

    /// The next line; `None` when the caller has said all it wanted and may still wait for answers. Cancellation-safe.
    pub async fn next(&mut self) -> Result<Option<Line>, LineError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.reader.next().await,
        }
    }

    /// A caller that does not take an answer within [`crate::WRITE_LIMIT`] gets no other one.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), FrameError> {
        self.writer.send_bytes(answer.line().as_bytes()).await
    }

    /// Tells the caller that nothing more will come.
    pub async fn finish(mut self) {
        self.writer.finish().await;
    }
}
