//! The configuration with all values read, templates and defaults filled in, and what is required demanded.
//!
//! Rules between sections are not checked here.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::document::{Document, Entry, Section};
use crate::problem::Problem;
use crate::program::Program;
use crate::registry::{self, Variable, When};
use crate::report::Report;
use crate::section::{CHECKS, SectionId, SectionKind, TEMPLATE};
use crate::source::Span;
use crate::value::{Value, read};

/// One value that a variable has in a section.
#[derive(Clone)]
pub(crate) struct Cell {
    /// Absent when the text is no such value, which has been reported.
    pub(crate) value: Option<Value>,
    pub(crate) text: String,
    /// Where it was written; a default was written nowhere.
    pub(crate) entry: Option<Entry>,
}

impl Cell {
    pub(crate) fn span(&self) -> Option<Span> {
        self.entry.as_ref().map(|entry| entry.span)
    }

    pub(crate) fn part(&self, range: &Range<usize>) -> Option<Span> {
        self.entry.as_ref().map(|entry| entry.part(range))
    }
}

/// One section with everything filled in.
pub(crate) struct ResolvedSection {
    pub(crate) tag: Option<Span>,
    pub(crate) cells: BTreeMap<&'static str, Cell>,
}

impl ResolvedSection {
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.cells.get(name)?.value.as_ref()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Flag(true)))
    }
}

/// All sections; templates are no longer among them.
pub(crate) struct Resolved {
    pub(crate) program: Program,
    pub(crate) sections: BTreeMap<SectionId, ResolvedSection>,
}

impl Resolved {
    pub(crate) fn new(program: Program, document: &Document, report: &mut Report) -> Self {
        let mut sections = read_values(document, report);
        for kind in [SectionKind::Monitor, SectionKind::Socket] {
            sections.entry(SectionId::unique(kind)).or_insert_with(empty);
        }
        for check in CHECKS {
            sections.entry(SectionId::named(SectionKind::Check, check)).or_insert_with(empty);
        }
        fill_from_templates(&mut sections);
        sections.retain(|id, _| !id.is_template());
        fill_defaults(&mut sections);
        Self { program, sections }
    }

    pub(crate) fn of_kind(&self, kind: SectionKind) -> impl Iterator<Item = (&str, &ResolvedSection)> {
        self.sections.iter().filter(move |(id, _)| id.kind == kind).map(|(id, section)| (id.label(), section))
    }

    pub(crate) fn unique(&self, kind: SectionKind) -> Option<&ResolvedSection> {
        self.sections.get(&SectionId::unique(kind))
    }

    pub(crate) fn named(&self, kind: SectionKind, name: &str) -> Option<&ResolvedSection> {
        self.sections.get(&SectionId::named(kind, name))
    }

    pub(crate) fn global(&self, name: &str) -> Option<&Cell> {
        self.unique(SectionKind::Global)?.cells.get(name)
    }

    /// Reports what the program cannot do without.
    pub(crate) fn demand(&self, document: &Document, report: &mut Report) {
        let snapshots = self.uses_snapshots();
        let this = self.global("this").map(|cell| cell.text.as_str());
        for (id, section) in &self.sections {
            let missing: Vec<&Variable> = registry::in_section(id.kind)
                .filter(|variable| variable.required_by.contains(self.program))
                .filter(|variable| !section.cells.contains_key(variable.name))
                .filter(|variable| match variable.when {
                    When::Always => true,
                    When::OwnHost => this == Some(id.label()),
                    When::Master => section.text("mode") == Some("master"),
                    When::Ssl => section.text("type") == Some("ssl"),
                    When::Incremental => section.flag("incremental"),
                    When::Lvm => snapshots,
                })
                .collect();
            let absent = id.kind == SectionKind::Monitor && !document.sections.contains_key(id);
            if absent && !missing.is_empty() {
                let problem = Problem::MissingSection { kind: id.kind.tag() };
                let hint = format!("{} needs <{}>", self.program, id.kind.tag());
                report.file_error(problem, main_file(report).as_deref(), None, Some(hint));
                continue;
            }
            for variable in missing {
                missing_variable(id, section, variable, report);
            }
        }
    }

    fn uses_snapshots(&self) -> bool {
        self.of_kind(SectionKind::CopyMethod).any(|(_, section)| {
            ["backup_command", "incremental_command"]
                .iter()
                .any(|name| section.text(name).is_some_and(|text| text.contains("%SNAPSHOT%")))
        })
    }
}

fn main_file(report: &Report) -> Option<std::path::PathBuf> {
    report.sources.paths().into_iter().next()
}

fn missing_variable(
    id: &SectionId,
    section: &ResolvedSection,
    variable: &'static Variable,
    report: &mut Report,
) {
    let problem = Problem::MissingVariable { name: variable.name, section: id.to_string() };
    let meaning = format!("{}: {}", variable.name, variable.meaning);
    if let Some(tag) = section.tag {
        report.error(problem, tag, &format!("expected `{}` in this section", variable.name), Some(meaning));
    } else {
        report.file_error(problem, main_file(report).as_deref(), None, Some(meaning));
    }
}

fn empty() -> ResolvedSection {
    ResolvedSection { tag: None, cells: BTreeMap::new() }
}

fn read_values(document: &Document, report: &mut Report) -> BTreeMap<SectionId, ResolvedSection> {
    let mut sections = BTreeMap::new();
    for (id, section) in &document.sections {
        sections.insert(id.clone(), read_section(id, section, report));
    }
    sections
}

fn read_section(id: &SectionId, section: &Section, report: &mut Report) -> ResolvedSection {
    let mut cells = BTreeMap::new();
    for variable in registry::in_section(id.kind) {
        let Some(entry) = section.entries.get(variable.name) else { continue };
        let value = match read(variable.kind, &entry.text) {
            Ok(value) => Some(value),
            Err(rejected) => {
                let problem = Problem::BadValue { name: variable.name, value: entry.text.clone() };
                report.error(problem, entry.part(&rejected.range), &rejected.expected, rejected.hint);
                None
            }
        };
        cells.insert(variable.name, Cell { value, text: entry.text.clone(), entry: Some(entry.clone()) });
    }
    ResolvedSection { tag: section.tag, cells }
}

fn fill_from_templates(sections: &mut BTreeMap<SectionId, ResolvedSection>) {
    for kind in SectionKind::TAGS.into_iter().filter(|kind| kind.has_template()) {
        let Some(template) = sections.remove(&SectionId::named(kind, TEMPLATE)) else { continue };
        for (_, section) in sections.iter_mut().filter(|(id, _)| id.kind == kind) {
            for (name, cell) in &template.cells {
                section.cells.entry(name).or_insert_with(|| cell.clone());
            }
        }
    }
}

fn fill_defaults(sections: &mut BTreeMap<SectionId, ResolvedSection>) {
    for (id, section) in sections.iter_mut() {
        for variable in registry::in_section(id.kind) {
            let Some(text) = variable.default else { continue };
            section.cells.entry(variable.name).or_insert_with(|| Cell {
                value: read(variable.kind, text).ok(),
                text: text.to_owned(),
                entry: None,
            });
        }
    }
}
