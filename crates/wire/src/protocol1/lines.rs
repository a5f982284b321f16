//! Lines off a stream, of a bounded length.
//!
//! It has no deadline of its own. [`LineReader::next`] may be dropped while it waits and called again without losing a
//! byte.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::LINE_BYTES_MAX;

/// Memory grows by this much at a time as bytes really arrive.
const READ_BYTES: usize = 1024;

/// A line without its newline. Bytes that are no UTF-8 are replaced, since they can only be in a line that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// The newline was there. A last line without one is what a peer left that said no more: 2.2.1 counts it as a
    /// request, but an answer may have been cut off anywhere.
    pub ended: bool,
}

/// No further line can be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error("reading from the connection failed: {0}")]
    Read(#[from] io::Error),
    #[error("a line does not end within {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// Reads the lines of one direction of a connection.
#[derive(Debug)]
pub struct LineReader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// No newline is in so many bytes of the buffer.
    searched: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub fn new(stream: R) -> Self {
        Self::resume(stream, Vec::new())
    }

    /// Goes on with a stream of which these bytes were read already.
    pub(crate) fn resume(stream: R, buffer: Vec<u8>) -> Self {
        Self { stream, buffer, searched: 0 }
    }

    /// The next line; `None` when the peer has said all it wanted, which may be a half-closed connection that waits for
    /// answers. Cancellation-safe.
    pub async fn next(&mut self) -> Result<Option<Line>, LineError> {
        loop {
            let seen = self.buffer.len().min(LINE_BYTES_MAX);
            let fresh = &self.buffer[self.searched.min(seen)..seen];
            if let Some(newline) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = self.searched + newline;
                let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..=end);
                self.searched = 0;
                return Ok(Some(Line { text, ended: true }));
            }
            self.searched = seen;
            if seen == LINE_BYTES_MAX {
                return Err(LineError::TooLong);
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                let rest = std::mem::take(&mut self.buffer);
                self.searched = 0;
                let text = String::from_utf8_lossy(&rest).into_owned();
                return Ok((!rest.is_empty()).then_some(Line { text, ended: false }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, duplex};

    fn line(text: &str, ended: bool) -> Line {
        Line { text: text.to_owned(), ended }
    }

    async fn all(bytes: &[u8]) -> (Vec<Line>, Option<LineError>) {
        let mut reader = LineReader::new(bytes);
        let mut lines = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => return (lines, None),
                Err(error) => return (lines, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_a_last_one_without_newline_counts() {
        let (lines, error) = all(b"PING|1|db1\r\n\n0\nPING").await;
        assert_eq!(lines, [line("PING|1|db1\r", true), line("", true), line("0", true), line("PING", false)]);
        assert!(error.is_none());
        assert_eq!(all(b"").await.0, []);
        assert_eq!(all(b"\xff\n").await.0, [line("\u{fffd}", true)]);
    }

    #[tokio::test]
    async fn a_line_of_the_greatest_length_passes_and_one_byte_more_ends_it() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX - 1];
        bytes.push(b'\n');
        let (lines, error) = all(&bytes).await;
        assert_eq!((lines.len(), error.is_none()), (1, true));
        bytes.insert(0, b'x');
        let (lines, error) = all(&bytes).await;
        assert_eq!(lines, []);
        assert!(matches!(error, Some(LineError::TooLong)), "{error:?}");
    }

    #[tokio::test]
    async fn a_half_closed_connection_still_takes_an_answer_and_a_byte_at_a_time_makes_no_difference() {
        let (mut near, far) = duplex(4);
        let (read_half, mut write_half) = tokio::io::split(far);
        let mut reader = LineReader::new(read_half);
        let caller = async {
            for byte in b"PING|1|db1\nPING|1|db2" {
                near.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            near.shutdown().await.unwrap();
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let agent = async {
            assert_eq!(reader.next().await.unwrap(), Some(line("PING|1|db1", true)));
            assert_eq!(reader.next().await.unwrap(), Some(line("PING|1|db2", false)));
            assert_eq!(reader.next().await.unwrap(), None);
            write_half.write_all(b"OK: Pinged!|UP:1.00\n").await.unwrap();
            write_half.shutdown().await.unwrap();
        };
        let (answer, ()) = tokio::join!(caller, agent);
        assert_eq!(answer, "OK: Pinged!|UP:1.00\n");
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_loses_nothing() {
        let (mut near, far) = duplex(64);
        let mut reader = LineReader::new(far);
        near.write_all(b"PI").await.unwrap();
        let soon = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(soon, reader.next()).await.is_err());
        near.write_all(b"NG\n").await.unwrap();
        assert_eq!(reader.next().await.unwrap(), Some(line("PING", true)));
    }
}
