//! The texts that were read, and places in them.
//!
//! Lines are shown to people from here only, so that this is also where secrets in them are hidden.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::registry;

/// What stands in place of a secret.
pub(crate) const MASK: &str = "********";

/// Lines are cut here when they are shown.
const LONGEST_SHOWN: usize = 1024;

/// Bytes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) file: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One file; not `Debug`, because its text holds passwords.
struct Source {
    path: PathBuf,
    text: String,
    line_starts: Vec<usize>,
}

/// All files of one run, in the order in which they were read.
#[derive(Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
}

/// A line as it may be shown, and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownLine {
    pub(crate) path: PathBuf,
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
}

impl Sources {
    pub(crate) fn add(&mut self, path: &Path, text: String) -> usize {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.files.push(Source { path: path.to_owned(), text, line_starts });
        self.files.len() - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn path(&self, file: usize) -> &Path {
        &self.files[file].path
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    pub(crate) fn line_count(&self, file: usize) -> usize {
        self.files[file].line_starts.len()
    }

    /// The bytes of a line (counted from 0) without its line end.
    pub(crate) fn line_range(&self, file: usize, line: usize) -> Range<usize> {
        let source = &self.files[file];
        let start = source.line_starts[line];
        let end = source.line_starts.get(line + 1).map_or(source.text.len(), |next| next - 1);
        start..end
    }

    pub(crate) fn slice(&self, file: usize, range: Range<usize>) -> &str {
        &self.files[file].text[range]
    }

    /// The number of the line, counted from 1.
    pub(crate) fn line_number(&self, span: Span) -> usize {
        self.files[span.file].line_starts.partition_point(|start| *start <= span.start)
    }

    /// `FILE:LINE`
    pub(crate) fn location(&self, span: Span) -> String {
        format!("{}:{}", self.path(span.file).display(), self.line_number(span))
    }

    /// The first line of the span, with a secret in it hidden.
    pub(crate) fn shown(&self, span: Span) -> ShownLine {
        let number = self.line_number(span);
        let line = self.line_range(span.file, number - 1);
        let text = self.slice(span.file, line.clone());
        let start = span.start.clamp(line.start, line.end) - line.start;
        let end = span.end.clamp(line.start + start, line.end) - line.start;
        let (text, range) = cut(text, start..end);
        let (text, range) = hide_secret(&text, range);
        ShownLine { path: self.path(span.file).to_owned(), number, text, range }
    }
}

fn cut(text: &str, range: Range<usize>) -> (String, Range<usize>) {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let mut end = text.len().min(LONGEST_SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text[..end].to_owned(), range.start.min(end)..range.end.min(end))
}

/// Everything behind the name goes, comments too: what looks like a comment may be half of the secret.
fn hide_secret(text: &str, range: Range<usize>) -> (String, Range<usize>) {
    let indent = text.len() - text.trim_start().len();
    let body = &text[indent..];
    let name_length =
        body.find(|c: char| c.is_whitespace() || matches!(c, '=' | ':' | '"' | '\'')).unwrap_or(body.len());
    let name = &body[..name_length];
    let name_end = indent + name_length;
    if text[name_end..].trim().is_empty() || !looks_secret(name) {
        return (text.to_owned(), range);
    }
    let shown = format!("{} {MASK}", &text[..name_end]);
    if range.end <= name_end {
        return (shown, range);
    }
    let end = shown.len();
    (shown, name_end + 1..end)
}

/// Errs on the side of hiding: a misspelt password is a password all the same.
fn looks_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    lower.contains("pass") || lower.contains("pwd") || registry::nearest_is_secret(&lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, range: Range<usize>) -> ShownLine {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("f.conf"), text.to_owned());
        sources.shown(Span { file, start: range.start, end: range.end })
    }

    #[test]
    fn a_place_knows_its_line() {
        let line = shown("one\ntwo\r\nthree", 4..7);
        assert_eq!((line.number, line.text.as_str()), (2, "two"));
        assert_eq!(line.range, 0..3);
    }

    #[test]
    fn a_secret_is_never_shown() {
        for text in [
            "agent_password hunter2",
            "  agent_password \"hunter2\" # hunter2",
            "agent_pasword hunter2",
            "replication_passwd=hunter2",
            "AGENT_PASSWORD: hunter2 hunter2",
            "agent_pssword hunter2",
        ] {
            let line = shown(text, 0..text.len());
            assert!(!line.text.contains("hunter2"), "{}", line.text);
            assert!(line.text.contains(MASK), "{}", line.text);
            assert!(line.range.end <= line.text.len());
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        let text = "secret_file /etc/mysql-mmm/secret";
        assert_eq!(shown(text, 0..3).text, text);
    }

    #[test]
    fn an_endless_line_is_cut_between_characters() {
        let text = "服".repeat(10_000);
        let line = shown(&text, 0..text.len());
        assert!(line.text.len() <= LONGEST_SHOWN);
        assert_eq!(line.range, 0..line.text.len());
    }
}
