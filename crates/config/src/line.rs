//! One line of a configuration, taken apart.
//!
//! Knows what a line looks like and nothing of what its words mean. Ranges are bytes of the line.

use std::ops::Range;

/// What stands on a line that is neither blank nor a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Include(RawValue),
    Variable { name: Range<usize>, value: RawValue },
    Open { tag: Range<usize>, kind: Range<usize>, name: Option<Range<usize>>, empty: bool },
    Close { tag: Range<usize>, kind: Range<usize> },
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawValue {
    pub(crate) text: String,
    /// With the quotes, if there are any.
    pub(crate) range: Range<usize>,
    pub(crate) quoted: bool,
    pub(crate) comment: Option<Range<usize>>,
}

/// Why a line cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineError {
    pub(crate) fault: LineFault,
    pub(crate) range: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFault {
    ControlCharacter,
    NameCharacters,
    NoValue,
    QuoteNotClosed,
    TextBehindQuote,
    TagNotClosed,
    TagWords,
    TextBehindTag,
}

/// `None` for a blank line and a comment.
pub(crate) fn take_apart(line: &str) -> Result<Option<Line>, LineError> {
    let text = line.trim_end();
    let start = text.len() - text.trim_start().len();
    if start == text.len() || text[start..].starts_with('#') {
        return Ok(None);
    }
    if let Some((at, character)) = text.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
        return Err(LineError { fault: LineFault::ControlCharacter, range: at..at + character.len_utf8() });
    }
    if text[start..].starts_with('<') {
        return tag(text, start).map(Some);
    }
    let name = start..word_end(text, start);
    if !is_name(&text[name.clone()]) {
        return Err(LineError { fault: LineFault::NameCharacters, range: name });
    }
    let value = value(text, &name)?;
    if &text[name.clone()] == "include" {
        return Ok(Some(Line::Include(value)));
    }
    Ok(Some(Line::Variable { name, value }))
}

/// Whether a word can be a variable, a tag or the name of a section.
pub(crate) fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Writes a value so that reading it gives the same value.
pub(crate) fn written(value: &str) -> String {
    let blank_before_hash =
        value.char_indices().any(|(at, c)| c == '#' && value[..at].ends_with(char::is_whitespace));
    let plain =
        !value.is_empty() && value.trim() == value && !value.starts_with(['"', '#']) && !blank_before_hash;
    if plain { value.to_owned() } else { format!("\"{}\"", value.replace('"', "\"\"")) }
}

fn word_end(text: &str, start: usize) -> usize {
    text[start..].find(char::is_whitespace).map_or(text.len(), |length| start + length)
}

fn skip_blanks(text: &str, start: usize) -> usize {
    text.len() - text[start..].trim_start().len()
}

fn value(text: &str, name: &Range<usize>) -> Result<RawValue, LineError> {
    let start = skip_blanks(text, name.end);
    match text[start..].chars().next() {
        None | Some('#') => Err(LineError { fault: LineFault::NoValue, range: name.clone() }),
        Some('"') => quoted(text, start),
        Some(_) => {
            let hash = comment_start(text, start);
            let end = hash.map_or(text.len(), |at| start + text[start..at].trim_end().len());
            Ok(RawValue {
                text: text[start..end].to_owned(),
                range: start..end,
                quoted: false,
                comment: hash.map(|at| at..text.len()),
            })
        }
    }
}

/// The first `#` behind a blank.
fn comment_start(text: &str, start: usize) -> Option<usize> {
    text[start..]
        .match_indices('#')
        .map(|(at, _)| start + at)
        .find(|at| text[start..*at].ends_with(char::is_whitespace))
}

/// Two quotes inside of a quoted value stand for one, so that every value can be written.
fn quoted(text: &str, start: usize) -> Result<RawValue, LineError> {
    let mut value = String::new();
    let mut at = start + 1;
    loop {
        let Some(length) = text[at..].find('"') else {
            return Err(LineError { fault: LineFault::QuoteNotClosed, range: start..text.len() });
        };
        value.push_str(&text[at..at + length]);
        at += length + 1;
        if !text[at..].starts_with('"') {
            break;
        }
        value.push('"');
        at += 1;
    }
    let rest = skip_blanks(text, at);
    let comment = text[rest..].starts_with('#') && rest > at;
    if rest < text.len() && !comment {
        return Err(LineError { fault: LineFault::TextBehindQuote, range: rest..text.len() });
    }
    Ok(RawValue { text: value, range: start..at, quoted: true, comment: comment.then_some(rest..text.len()) })
}

fn tag(text: &str, start: usize) -> Result<Line, LineError> {
    let Some(length) = text[start..].find('>') else {
        return Err(LineError { fault: LineFault::TagNotClosed, range: start..text.len() });
    };
    let tag = start..start + length + 1;
    let behind = skip_blanks(text, tag.end);
    if behind < text.len() && !text[behind..].starts_with('#') {
        return Err(LineError { fault: LineFault::TextBehindTag, range: behind..text.len() });
    }
    let mut inner = tag.start + 1..tag.end - 1;
    let close = text[inner.clone()].trim_start().starts_with('/');
    if close {
        inner.start = skip_blanks(text, inner.start) + 1;
    }
    let trimmed = text[inner.clone()].trim_end();
    let empty = !close && trimmed.ends_with('/');
    if empty {
        inner.end = inner.start + trimmed.len() - 1;
    }
    let words = words(text, inner);
    let named = words.iter().all(|word| is_name(&text[word.clone()]));
    match (words.as_slice(), close) {
        _ if !named => Err(LineError { fault: LineFault::TagWords, range: tag }),
        ([kind], true) => Ok(Line::Close { tag, kind: kind.clone() }),
        ([kind], false) => Ok(Line::Open { tag, kind: kind.clone(), name: None, empty }),
        ([kind, name], false) => Ok(Line::Open { tag, kind: kind.clone(), name: Some(name.clone()), empty }),
        _ => Err(LineError { fault: LineFault::TagWords, range: tag }),
    }
}

fn words(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = range.start;
    for part in text[range].split(char::is_whitespace) {
        if !part.is_empty() {
            words.push(at..at + part.len());
        }
        at += part.len();
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    words
}

#[cfg(test)]
mod tests;
