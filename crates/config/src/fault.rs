//! What to say of a line that cannot be taken apart.

use crate::line::LineFault;
use crate::names::NameError;
use crate::problem::Problem;

const INNER_QUOTE: &str = "a `\"` inside is written `\"\"`";

/// `word` is the part of the line that is at fault.
pub(crate) fn explained(fault: LineFault, word: &str) -> NameError {
    let hint = |text: &str| Some(text.to_owned());
    let (problem, expected, hint) = match fault {
        LineFault::ControlCharacter => (Problem::ControlCharacter, "expected text", None),
        LineFault::NameCharacters => {
            let assignment = hint("write VARIABLE VALUE, without `=`");
            let comment = hint("a comment begins with `#`");
            let hint = if word.contains('=') { assignment } else { comment };
            // What follows may be a password.
            let word = word.split(['=', ':', '"', '\'']).next().unwrap_or_default().to_owned();
            (Problem::VariableName { word }, "expected letters, digits, `_`, `-` and `.`", hint)
        }
        LineFault::NoValue => (
            Problem::NoValue { name: word.to_owned() },
            "expected VARIABLE VALUE",
            hint("an empty value, or one that begins with `#`, stands in double quotes"),
        ),
        LineFault::QuoteNotClosed => {
            (Problem::QuoteNotClosed, "expected a `\"` at the end", hint(INNER_QUOTE))
        }
        LineFault::TextBehindQuote => (
            Problem::TextBehindQuote,
            "expected the end of the line, or a blank and a comment",
            Some(format!("put the whole value into one pair of quotes; {INNER_QUOTE}")),
        ),
        LineFault::TagNotClosed => (Problem::TagNotClosed, "expected `>`", None),
        LineFault::TagWords => (
            Problem::MalformedTag,
            "expected <TYPE>, <TYPE NAME>, <TYPE/>, <TYPE NAME/> or </TYPE>",
            hint("names consist of letters, digits, `_`, `-` and `.`"),
        ),
        LineFault::TextBehindTag => (
            Problem::TextBehindTag,
            "expected the end of the line",
            hint("write what follows on a line of its own"),
        ),
    };
    NameError { problem, expected: expected.to_owned(), hint }
}
