//! Cuts what arrives on the monitor's control port into lines.
//!
//! Pure: bytes in, events out. It neither splits words nor knows commands, since 2.2.1 shows the line as it came
//! in some answers.

/// Greatest length of a command line, newline not included.
pub const CONTROL_LINE_BYTES_MAX: usize = 4096;

/// The answer to [`ControlEvent::TooLong`], after which the connection is closed.
pub const LINE_TOO_LONG_ANSWER: &str =
    "ERROR: Command line is longer than 4096 bytes! Closing the connection.";

/// What a control client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlEvent {
    /// A line without its newline; a carriage return stays, an empty line is a line.
    Line(String),
    /// The line `quit`: answer nothing more and close.
    Quit,
    /// A line above the limit: answer [`LINE_TOO_LONG_ANSWER`] and close.
    TooLong,
}

/// Incremental decoder of one control connection: [`push`](Self::push) what was read, then call
/// [`next_event`](Self::next_event) until there is nothing more, and only then read on. So a client that sends
/// commands faster than they are answered is slowed down by its own connection.
#[derive(Debug, Default)]
pub struct ControlDecoder {
    buffer: Vec<u8>,
    taken: usize,
    half_closed: bool,
    finished: bool,
}

impl ControlDecoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes; they are dropped when the connection is over for the protocol.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.finished && !self.half_closed {
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The client will send nothing more: a last line without newline counts.
    pub fn half_close(&mut self) {
        self.half_closed = true;
    }

    /// Whether no event will ever come again: after `Quit`, after `TooLong`, or when all is taken after a half-close.
    pub fn is_finished(&self) -> bool {
        self.finished || (self.half_closed && self.taken == self.buffer.len())
    }

    /// The next event in what was pushed.
    pub fn next_event(&mut self) -> Option<ControlEvent> {
        if self.finished {
            return None;
        }
        let rest = &self.buffer[self.taken..];
        let seen = &rest[..rest.len().min(CONTROL_LINE_BYTES_MAX + 1)];
        let (length, consumed) = match seen.iter().position(|byte| *byte == b'\n') {
            Some(newline) => (newline, newline + 1),
            None if rest.len() > CONTROL_LINE_BYTES_MAX => {
                self.finish();
                return Some(ControlEvent::TooLong);
            }
            None if self.half_closed && !rest.is_empty() => (rest.len(), rest.len()),
            None => return None,
        };
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.taken += consumed;
        if line == "quit" {
            self.finish();
            return Some(ControlEvent::Quit);
        }
        Some(ControlEvent::Line(line))
    }

    fn finish(&mut self) {
        self.finished = true;
        self.buffer = Vec::new();
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything a client can be understood to say that sends these pieces and half-closes.
    fn events(pieces: &[&[u8]]) -> Vec<ControlEvent> {
        let mut decoder = ControlDecoder::new();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            events.extend(std::iter::from_fn(|| decoder.next_event()));
        }
        decoder.half_close();
        events.extend(std::iter::from_fn(|| decoder.next_event()));
        assert!(decoder.is_finished());
        events
    }

    fn line(text: &str) -> ControlEvent {
        ControlEvent::Line(text.to_owned())
    }

    #[test]
    fn several_commands_are_lines_until_quit() {
        assert_eq!(events(&[b"ping\nmode\nquit\nshow\n"]), [line("ping"), line("mode"), ControlEvent::Quit]);
    }

    #[test]
    fn a_carriage_return_stays_and_makes_quit_a_command() {
        assert_eq!(events(&[b"ping\r\nquit\r\n"]), [line("ping\r"), line("quit\r")]);
        assert_eq!(events(&[b" quit\nquit \n"]), [line(" quit"), line("quit ")]);
    }

    #[test]
    fn a_last_line_without_newline_counts_only_at_the_half_close() {
        let mut decoder = ControlDecoder::new();
        decoder.push(b"ping");
        assert_eq!(decoder.next_event(), None);
        assert!(!decoder.is_finished());
        decoder.half_close();
        assert_eq!(decoder.next_event(), Some(line("ping")));
        assert_eq!(decoder.next_event(), None);
        assert!(decoder.is_finished());
        assert_eq!(events(&[b"quit"]), [ControlEvent::Quit]);
    }

    #[test]
    fn an_empty_line_and_a_zero_are_lines_like_any_other() {
        assert_eq!(events(&[b"\n0\n\nping\n"]), [line(""), line("0"), line(""), line("ping")]);
        assert_eq!(events(&[b""]), []);
    }

    #[test]
    fn a_line_of_the_greatest_length_passes_and_one_byte_more_ends_the_connection() {
        let mut bytes = vec![b'x'; CONTROL_LINE_BYTES_MAX];
        bytes.push(b'\n');
        assert_eq!(events(&[&bytes]), [line(&"x".repeat(CONTROL_LINE_BYTES_MAX))]);
        bytes.insert(0, b'x');
        assert_eq!(events(&[&bytes, b"ping\n"]), [ControlEvent::TooLong]);
        assert!(LINE_TOO_LONG_ANSWER.contains(&CONTROL_LINE_BYTES_MAX.to_string()));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_replacements() {
        assert_eq!(events(&[b"show \xff\n"]), [line("show \u{fffd}")]);
    }

    #[test]
    fn nothing_is_kept_of_what_comes_after_the_end() {
        let mut decoder = ControlDecoder::new();
        decoder.push(b"quit\n");
        assert_eq!(decoder.next_event(), Some(ControlEvent::Quit));
        decoder.push(&[b'x'; 10_000]);
        assert!(decoder.buffer.is_empty());
        assert_eq!(decoder.next_event(), None);
    }

    /// Bytes in which newlines, `quit` and long runs are likely.
    fn client_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\n".to_vec()),
            Just(b"quit\n".to_vec()),
            Just(b"quit".to_vec()),
            Just(b"\r".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
            (4000_usize..4200).prop_map(|length| vec![b'y'; length]),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_split_makes_no_difference(
            bytes in client_bytes(), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in cuts {
                pieces.push(&bytes[start..cut]);
                start = cut;
            }
            pieces.push(&bytes[start..]);
            prop_assert_eq!(events(&pieces), events(&[&bytes]));
        }
    }
}
