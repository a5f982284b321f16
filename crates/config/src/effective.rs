//! Every value a program would use, with where it comes from, as `--check` prints it.
//!
//! Shows no secret: what is one is masked, and kept only to be compared.

use std::fmt::Write as _;

use secrecy::SecretString;

use crate::line::written;
use crate::program::Program;
use crate::registry::{self, Kind, Variable};
use crate::report::Report;
use crate::resolved::Resolved;
use crate::section::{SectionId, SectionKind};
use crate::settings::Settings;
use crate::source::MASK;

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    pub(crate) section: SectionId,
    pub(crate) name: &'static str,
    mmm3_only: bool,
    /// As it is shown.
    pub(crate) text: String,
    /// What the mask in `text` hides.
    pub(crate) hidden: Option<SecretString>,
    origin: String,
}

/// The values the program uses, in the order of the registry.
pub(crate) fn list(resolved: &Resolved, report: &Report, kill_host_bin: Option<&str>) -> Vec<Effective> {
    let mut values = Vec::new();
    for (id, section) in &resolved.sections {
        let used = registry::in_section(id.kind).filter(|v| v.used_by.contains(resolved.program));
        for variable in used {
            let Some(cell) = section.cells.get(variable.name) else { continue };
            let origin =
                cell.span().map_or_else(|| "default".to_owned(), |span| report.sources.location(span));
            let text = match (variable.kind, kill_host_bin) {
                (Kind::Secret, _) => MASK.to_owned(),
                (Kind::RelativePath, Some(path)) => written(path),
                _ => written(&cell.text),
            };
            let hidden = (variable.kind == Kind::Secret).then(|| SecretString::from(cell.text.clone()));
            let Variable { name, mmm3_only, .. } = *variable;
            values.push(Effective { section: id.clone(), name, mmm3_only, text, hidden, origin });
        }
    }
    values
}

/// What `--check` prints: every value the program would use, in the language of the configuration, each with its origin.
/// What belongs into `mmm3.conf` comes last, so that each of the two parts could be the file it speaks of.
pub fn describe(settings: &Settings, program: Program) -> String {
    let mut text = format!("# What {program} would use.\n");
    let (ours, shared): (Vec<&Effective>, Vec<_>) =
        settings.effective.iter().partition(|value| value.mmm3_only);
    describe_sections(&mut text, &shared);
    if !ours.is_empty() {
        text.push_str("# In mmm3.conf:\n");
        describe_sections(&mut text, &ours);
    }
    text
}

fn describe_sections(text: &mut String, values: &[&Effective]) {
    let mut values = values.iter().copied().peekable();
    while let Some(first) = values.next() {
        let mut block = vec![first];
        while let Some(value) = values.next_if(|value| value.section == first.section) {
            block.push(value);
        }
        describe_section(text, &block);
    }
}

fn describe_section(text: &mut String, block: &[&Effective]) {
    let section = &block[0].section;
    let global = section.kind == SectionKind::Global;
    let indent = if global { "" } else { "    " };
    if let Some(name) = &section.name {
        let _ = writeln!(text, "<{} {name}>", section.kind.tag());
    } else if !global {
        let _ = writeln!(text, "<{}>", section.kind.tag());
    }
    let length = |value: &Effective| value.name.len() + 1 + value.text.chars().count();
    let widest = block.iter().map(|value| length(value)).max().unwrap_or_default().min(60);
    for value in block {
        let padding = " ".repeat(widest.saturating_sub(length(value)));
        let _ = writeln!(text, "{indent}{} {}{padding}  # {}", value.name, value.text, value.origin);
    }
    if !global {
        let _ = writeln!(text, "</{}>", section.kind.tag());
    }
}
