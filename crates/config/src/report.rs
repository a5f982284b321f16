//! What was read and what was found wrong with it, collected while a configuration is loaded.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::problem::Problem;
use crate::source::{Sources, Span};

/// More than anybody reads; behind it reading stops, so that garbage costs neither memory nor time.
const MOST: usize = 200;

/// Sources and diagnostics of one run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) sources: Sources,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    more: bool,
}

impl Report {
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether no more errors are taken in, so that reading on is of no use.
    pub(crate) fn is_full(&self) -> bool {
        self.errors >= MOST
    }

    /// Tells the reader of the report that not everything was looked at.
    pub(crate) fn stop(&mut self) {
        self.more = true;
    }

    /// An error at a place; `expected` is written under it.
    pub(crate) fn error(&mut self, problem: Problem, at: Span, expected: &str, hint: Option<String>) {
        self.error_with(problem, (at, expected), None, hint);
    }

    /// An error at a place that another place explains.
    pub(crate) fn error_with(
        &mut self,
        problem: Problem,
        at: (Span, &str),
        related: Option<(Span, &str)>,
        hint: Option<String>,
    ) {
        if self.is_full() {
            self.more = true;
            return;
        }
        let place = Some(self.place(at.0, at.1));
        let related = related.map(|(span, label)| self.place(span, label));
        self.push(Diagnostic {
            severity: Severity::Error,
            problem,
            place,
            file: None,
            related,
            note: None,
            hint,
            position: (at.0.file, at.0.start),
        });
    }

    pub(crate) fn warning(&mut self, problem: Problem, at: Span, label: &str, hint: &str) {
        let place = Some(self.place(at, label));
        self.push(Diagnostic {
            severity: Severity::Warning,
            problem,
            place,
            file: None,
            related: None,
            note: None,
            hint: Some(hint.to_owned()),
            position: (at.file, at.start),
        });
    }

    /// An error of a whole file, or of something that stands in none.
    pub(crate) fn file_error(
        &mut self,
        problem: Problem,
        file: Option<&Path>,
        note: Option<String>,
        hint: Option<String>,
    ) {
        let position = (self.sources.len(), 0);
        let file = file.map(PathBuf::from);
        self.push(Diagnostic {
            severity: Severity::Error,
            problem,
            place: None,
            file,
            related: None,
            note,
            hint,
            position,
        });
    }

    /// Everything, in the order of the files.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        if self.more {
            self.diagnostics.push(Diagnostic {
                severity: Severity::Error,
                problem: Problem::More,
                place: None,
                file: None,
                related: None,
                note: None,
                hint: Some("mend those above and look again".to_owned()),
                position: (usize::MAX, 0),
            });
        }
        self.diagnostics
    }

    fn place(&self, span: Span, label: &str) -> Place {
        let shown = self.sources.shown(span);
        Place {
            path: shown.path,
            line: shown.number,
            text: shown.text,
            range: shown.range,
            label: label.to_owned(),
        }
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        let same = match diagnostic.severity {
            Severity::Error => self.errors,
            Severity::Warning => self.diagnostics.len() - self.errors,
        };
        if same < MOST {
            self.errors += usize::from(diagnostic.severity == Severity::Error);
            self.diagnostics.push(diagnostic);
        } else if diagnostic.severity == Severity::Error {
            self.more = true;
        }
    }
}
