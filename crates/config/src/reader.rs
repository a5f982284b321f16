//! Reads files, follows their includes and puts sections and variables into the document.
//!
//! Goes on after every error, so that one run shows all of them. Values are not interpreted here.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::document::{Document, Entry};
use crate::fault;
use crate::file;
use crate::line::{Line, LineError, RawValue, is_name, take_apart};
use crate::names::{self, NameError};
use crate::problem::Problem;
use crate::report::Report;
use crate::request::{folder_of, listed, look_up};
use crate::section::{SectionId, SectionKind};
use crate::source::Span;

const DEEPEST: usize = 16;
const MOST_FILES: usize = 64;
const LONGEST_LINE: usize = 8192;

/// The section a line is in.
enum Inside {
    Nothing,
    Section {
        id: SectionId,
        tag: Span,
    },
    /// A section that is wrong itself; what it contains is not looked at.
    Unknown {
        word: String,
        tag: Span,
    },
}

pub(crate) struct Reader<'a> {
    report: &'a mut Report,
    document: Document,
    folders: Vec<PathBuf>,
    /// The files being read, from the main file to the innermost included one.
    stack: Vec<PathBuf>,
    mmm3: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(report: &'a mut Report, folders: Vec<PathBuf>) -> Self {
        Self { report, document: Document::default(), folders, stack: Vec::new(), mmm3: false }
    }

    /// Reads the main file, and `mmm3.conf` beside it where there is one.
    pub(crate) fn read_all(mut self, main: &Path) -> Document {
        self.document.open(SectionId::unique(SectionKind::Global), None);
        self.read_file(main);
        let ours = folder_of(main).join("mmm3.conf");
        if file::exists(&ours) {
            self.mmm3 = true;
            self.read_file(&ours);
        }
        self.document
    }

    fn read_file(&mut self, path: &Path) {
        let bytes = match file::read(path) {
            Ok(bytes) => bytes,
            Err(refused) => {
                self.report.file_error(refused.problem, Some(path), None, Some(refused.hint));
                self.document.incomplete = true;
                return;
            }
        };
        let broken = std::str::from_utf8(&bytes).err().map(|error| error.valid_up_to());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let file = self.report.sources.add(path, text);
        if let Some(at) = broken {
            // Up to the first broken byte the lossy text is the file's own.
            let at = Span { file, start: at, end: at + char::REPLACEMENT_CHARACTER.len_utf8() };
            let hint = format!("convert it, for example: iconv -f GB18030 -t UTF-8 {}", path.display());
            self.report.error(Problem::NotUtf8, at, "expected UTF-8, this byte is not", Some(hint));
        }
        self.stack.push(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
        self.read_lines(file);
        self.stack.pop();
    }

    fn read_lines(&mut self, file: usize) {
        let mut inside = Inside::Nothing;
        for line in 0..self.report.sources.line_count(file) {
            if self.report.is_full() {
                self.report.stop();
                self.document.incomplete = true;
                return;
            }
            let mut range = self.report.sources.line_range(file, line);
            if line == 0 && self.report.sources.slice(file, range.clone()).starts_with('\u{feff}') {
                range.start += '\u{feff}'.len_utf8();
            }
            if range.len() > LONGEST_LINE {
                let at = Span { file, start: range.start, end: range.end };
                let expected = format!("expected at most {LONGEST_LINE} bytes");
                self.report.error(Problem::LineTooLong, at, &expected, None);
                continue;
            }
            let text = self.report.sources.slice(file, range.clone()).to_owned();
            let scope = Scope { file, start: range.start, text: &text };
            match take_apart(&text) {
                Ok(None) => {}
                Ok(Some(Line::Include(value))) => self.include(&scope, &inside, &value),
                Ok(Some(Line::Variable { name, value })) => self.variable(&scope, &inside, name, &value),
                Ok(Some(Line::Open { tag, kind, name, empty })) => {
                    let opened = self.open(&scope, &inside, tag, &kind, name);
                    inside = if empty { Inside::Nothing } else { opened };
                }
                Ok(Some(Line::Close { tag, kind })) => {
                    self.close(&scope, &inside, &tag, &kind);
                    inside = Inside::Nothing;
                }
                Err(error) => {
                    self.line_error(&scope, &error);
                    inside = self.after_broken_line(&scope, inside);
                }
            }
        }
        self.missing_end(&inside);
    }

    fn include(&mut self, scope: &Scope, inside: &Inside, value: &RawValue) {
        let at = scope.span(&value.range);
        let name = value.text.clone();
        self.warn_quotes(scope, value);
        if let Some(section) = inside.title() {
            let problem = Problem::IncludeInSection { section };
            let hint = "move it in front of the section".to_owned();
            self.report.error(problem, at, "expected outside of sections", Some(hint));
            return;
        }
        if self.report.sources.len() >= MOST_FILES {
            let expected = format!("expected at most {MOST_FILES} files");
            self.report.error(Problem::TooManyFiles, at, &expected, None);
            return;
        }
        if self.stack.len() >= DEEPEST {
            let expected = format!("expected at most {DEEPEST} levels");
            self.report.error(Problem::IncludeTooDeep, at, &expected, None);
            return;
        }
        let mut folders = vec![folder_of(self.report.sources.path(scope.file))];
        folders.extend(self.folders.iter().cloned());
        let Some(path) = look_up(&name, &folders) else {
            let hint = format!("looked in {}", listed(&folders));
            let problem = Problem::IncludeNotFound { name };
            self.document.incomplete = true;
            self.report.error(problem, at, "expected the name of a file", Some(hint));
            return;
        };
        if self.stack.contains(&fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            let hint = "take this line out".to_owned();
            self.report.error(
                Problem::IncludeCycle { name },
                at,
                "this file is being read already",
                Some(hint),
            );
            return;
        }
        self.read_file(&path);
    }

    fn variable(&mut self, scope: &Scope, inside: &Inside, name: Range<usize>, value: &RawValue) {
        let word = &scope.text[name.clone()];
        let section = match inside {
            Inside::Nothing => SectionId::unique(SectionKind::Global),
            Inside::Section { id, .. } => id.clone(),
            Inside::Unknown { .. } => return,
        };
        let variable = match names::variable(&section, word, &value.text, self.mmm3) {
            Ok(variable) => variable,
            Err(error) => return self.name_error(scope.span(&name), error),
        };
        self.warn_quotes(scope, value);
        let command_or_password = word.ends_with("_password") || word.ends_with("_command");
        if let Some(comment) = value.comment.as_ref().filter(|_| command_or_password) {
            self.report.warning(
                Problem::CommentStripped { name: word.to_owned() },
                scope.span(comment),
                "taken as a comment; 2.x took it as part of the value",
                "put the value in double quotes where the text belongs to it",
            );
        }
        let exact = !value.text.contains('"');
        let entry =
            Entry { text: value.text.clone(), span: scope.span(&value.range), exact, quoted: value.quoted };
        self.document.set(section, variable.name, entry);
    }

    fn open(
        &mut self,
        scope: &Scope,
        inside: &Inside,
        tag: Range<usize>,
        kind: &Range<usize>,
        name: Option<Range<usize>>,
    ) -> Inside {
        // Sections do not nest: a new one shows that the end tag of the last is missing.
        self.missing_end(inside);
        let word = &scope.text[kind.clone()];
        let span = scope.span(&tag);
        match names::section(word, name.as_ref().map(|name| &scope.text[name.clone()])) {
            Ok(id) => {
                self.document.open(id.clone(), Some(span));
                Inside::Section { id, tag: span }
            }
            Err(error) => {
                let at = match error.problem {
                    Problem::UnknownCheck { .. } => name.unwrap_or(tag),
                    Problem::UnknownSection { .. } => kind.clone(),
                    _ => tag,
                };
                self.name_error(scope.span(&at), error);
                Inside::Unknown { word: word.to_owned(), tag: span }
            }
        }
    }

    fn close(&mut self, scope: &Scope, inside: &Inside, tag: &Range<usize>, kind: &Range<usize>) {
        let name = scope.text[kind.clone()].to_owned();
        let span = scope.span(tag);
        match inside {
            Inside::Nothing => {
                let problem = Problem::StrayEndTag { name };
                self.report.error(problem, span, "no section is open here", None);
            }
            Inside::Section { id, tag } if id.kind.tag() != name => {
                let expected = format!("expected </{}>", id.kind.tag());
                let problem = Problem::WrongEndTag { name, section: id.to_string() };
                let related = Some((*tag, "the section begins here"));
                self.report.error_with(problem, (span, &expected), related, None);
            }
            // Whatever ends a section that was wrong itself, it has been reported.
            Inside::Section { .. } | Inside::Unknown { .. } => {}
        }
    }

    /// A broken tag is still a tag: taking it for nothing would blame every line behind it.
    fn after_broken_line(&mut self, scope: &Scope, inside: Inside) -> Inside {
        let start = scope.text.len() - scope.text.trim_start().len();
        let Some(rest) = scope.text[start..].strip_prefix('<') else { return inside };
        if rest.trim_start().starts_with('/') {
            return Inside::Nothing;
        }
        if rest.contains('/') {
            return inside;
        }
        self.missing_end(&inside);
        let word: String =
            rest.trim_start().chars().take_while(|c| is_name(c.encode_utf8(&mut [0; 4]))).collect();
        Inside::Unknown { word, tag: scope.span(&(start..scope.text.trim_end().len())) }
    }

    fn missing_end(&mut self, inside: &Inside) {
        let (section, word, tag) = match inside {
            Inside::Nothing => return,
            Inside::Section { id, tag } => (id.to_string(), id.kind.tag(), *tag),
            Inside::Unknown { word, tag } => (format!("section <{word}>"), word.as_str(), *tag),
        };
        let expected = format!("expected </{word}> before the next section and the end of the file");
        let hint = "the file may be only half written".to_owned();
        self.report.error(Problem::MissingEndTag { section }, tag, &expected, Some(hint));
    }

    fn warn_quotes(&mut self, scope: &Scope, value: &RawValue) {
        if value.quoted && !self.mmm3 {
            self.report.warning(
                Problem::QuotesStripped,
                scope.span(&value.range),
                "2.x took the quotes as part of the value",
                "leave them away while a 2.x program reads this file, too",
            );
        }
    }

    fn name_error(&mut self, at: Span, error: NameError) {
        self.report.error(error.problem, at, &error.expected, error.hint);
    }

    fn line_error(&mut self, scope: &Scope, error: &LineError) {
        let word = &scope.text[error.range.clone()];
        self.name_error(scope.span(&error.range), fault::explained(error.fault, word));
    }
}

impl Inside {
    fn title(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Section { id, .. } => Some(id.to_string()),
            Self::Unknown { word, .. } => Some(format!("section <{word}>")),
        }
    }
}

/// One line and where it is.
struct Scope<'a> {
    file: usize,
    start: usize,
    text: &'a str,
}

impl Scope<'_> {
    fn span(&self, range: &Range<usize>) -> Span {
        Span { file: self.file, start: self.start + range.start, end: self.start + range.end }
    }
}
