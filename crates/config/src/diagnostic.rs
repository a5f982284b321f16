//! One problem with its place and what to do about it, and how that is printed.
//!
//! The printed form is rustc's, without colours, since it goes to logs as often as to terminals.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::problem::Problem;
use crate::program::Program;

/// Whether the program starts in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// A line of a file and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    /// Secrets are already hidden in it.
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
    pub(crate) label: String,
}

impl Place {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub(crate) severity: Severity,
    pub(crate) problem: Problem,
    pub(crate) place: Option<Place>,
    /// The file, where no line of it is to blame.
    pub(crate) file: Option<PathBuf>,
    pub(crate) related: Option<Place>,
    pub(crate) note: Option<String>,
    pub(crate) hint: Option<String>,
    /// Number of the file and byte in it; what puts diagnostics into the order of reading.
    pub(crate) position: (usize, usize),
}

impl Diagnostic {
    /// Whether it keeps the program from starting.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What happened.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Where it happened, if a line is to blame.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.problem.to_string()));
        if let Some(place) = &self.place {
            group = group.element(snippet(place, AnnotationKind::Primary));
        } else if let Some(file) = &self.file {
            group = group.element(Origin::path(file.to_string_lossy()));
        }
        if let Some(place) = &self.related {
            group = group.element(snippet(place, AnnotationKind::Context));
        }
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        f.write_str(&Renderer::plain().render(&[group]))
    }
}

fn snippet(place: &Place, kind: AnnotationKind) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(place.text.as_str())
        .line_start(place.line)
        .path(place.path.to_string_lossy())
        .annotation(kind.span(place.range.clone()).label(place.label.as_str()))
}

/// All that is wrong with a configuration.
#[derive(Debug)]
pub struct Failure {
    program: Program,
    diagnostics: Vec<Diagnostic>,
}

impl Failure {
    pub(crate) fn new(program: Program, diagnostics: Vec<Diagnostic>) -> Self {
        Self { program, diagnostics }
    }

    /// Errors and warnings in the order of the files.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The errors alone.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            write!(f, "{diagnostic}\n\n")?;
        }
        let count = self.errors().count();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "error: {} does not start: {count} error{plural} in its configuration", self.program)
    }
}

impl Error for Failure {}
