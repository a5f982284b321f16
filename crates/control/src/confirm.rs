//! Asks the operator for a word that only he can give: that a host is dead, or that what only it has may be lost.

use std::io::{self, BufRead, IsTerminal, Read, Write};

/// A line that is longer is no yes.
const REPLY_BYTES_MAX: u64 = 1024;

/// What is to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Dead,
    Loss,
}

impl Word {
    pub(crate) fn of(command: &str) -> Option<Self> {
        [Self::Dead, Self::Loss].into_iter().find(|word| word.command() == command)
    }

    fn command(self) -> &'static str {
        match self {
            Self::Dead => "confirm_dead",
            Self::Loss => "confirm_loss",
        }
    }

    /// The line that is not asked about.
    pub(crate) fn sure(self, host: &str) -> String {
        format!("{} --yes {host}", self.command())
    }

    fn question(self, host: &str) -> String {
        match self {
            Self::Dead => format!("Confirm that {host} is dead?"),
            Self::Loss => format!("Confirm that what only {host} has may be lost?"),
        }
    }
}

/// The monitor neither did it nor refused: it says what may come of it, and waits for more than a name.
pub(crate) fn is_explanation(answer: &[u8]) -> bool {
    !(answer.is_empty()
        || answer.starts_with(b"OK:")
        || answer.starts_with(b"ERROR")
        || answer.starts_with(b"Invalid command"))
}

/// Whether the operator says yes. Nobody is asked where nobody can answer: the word of a script must be in the script.
pub(crate) fn ask_operator(word: Word, host: &str) -> io::Result<bool> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        eprintln!(
            "Nothing was changed: there is no terminal to ask on. Once you are sure: mmm_control {}",
            word.sure(host)
        );
        return Ok(false);
    }
    ask_on(&word.question(host), &mut stdin.lock(), &mut io::stdout().lock())
}

fn ask_on(question: &str, replies: &mut impl BufRead, screen: &mut impl Write) -> io::Result<bool> {
    write!(screen, "{question} [yes/no] ")?;
    screen.flush()?;
    let mut reply = String::new();
    replies.take(REPLY_BYTES_MAX).read_line(&mut reply)?;
    let is_confirmed = reply.trim() == "yes";
    if !is_confirmed {
        writeln!(screen, "Nothing was changed.")?;
    }
    Ok(is_confirmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_confirms() {
        for (reply, wanted) in [
            ("yes\n", true),
            ("yes", true),
            ("y\n", false),
            ("no\n", false),
            ("\n", false),
            ("", false),
            ("yes or no\n", false),
        ] {
            let mut screen = Vec::new();
            assert_eq!(
                ask_on(&Word::Dead.question("db1"), &mut reply.as_bytes(), &mut screen).unwrap(),
                wanted,
                "{reply:?}"
            );
            let shown = String::from_utf8(screen).unwrap();
            assert!(shown.starts_with("Confirm that db1 is dead? [yes/no] "), "{shown}");
            assert_eq!(shown.contains("Nothing was changed"), !wanted, "{shown}");
        }
    }

    #[test]
    fn what_was_done_or_refused_needs_no_question() {
        assert!(is_explanation(b"Host 'db1' can't be reached and may still be writing."));
        for answer in
            ["OK: done", "ERROR: Unknown host name 'db1'!", "", "Invalid command 'confirm_dead db1'"]
        {
            assert!(!is_explanation(answer.as_bytes()), "{answer}");
        }
    }
}
