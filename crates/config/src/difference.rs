//! What is different between two configurations of one program, a line for each variable and each section, for the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use secrecy::ExposeSecret;

use crate::effective::Effective;
use crate::section::{SectionId, SectionKind};
use crate::settings::Settings;

/// One difference. Its text shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    section: SectionId,
    variable: Option<&'static str>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Added(String),
    Removed(String),
    Changed {
        before: String,
        after: String,
    },
    /// A secret is another one now.
    ChangedSecret,
    AddedSection,
    RemovedSection,
}

impl Difference {
    pub fn section(&self) -> SectionKind {
        self.section.kind
    }

    /// The name in the tag; none where the section has none.
    pub fn section_name(&self) -> Option<&str> {
        self.section.name.as_deref()
    }

    /// The variable; none when the whole section came or went.
    pub fn variable(&self) -> Option<&'static str> {
        self.variable
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.section.kind, &self.section.name) {
            (SectionKind::Global, _) => {}
            (kind, None) => write!(f, "<{}> ", kind.tag())?,
            (kind, Some(name)) => write!(f, "<{} {name}> ", kind.tag())?,
        }
        if let Some(variable) = self.variable {
            write!(f, "{variable} ")?;
        }
        match &self.what {
            What::Added(value) => write!(f, "is new: {value}"),
            What::Removed(value) => write!(f, "is gone, it was {value}"),
            What::Changed { before, after } => write!(f, "is {after}, it was {before}"),
            What::ChangedSecret => f.write_str("is another one (not shown)"),
            What::AddedSection => f.write_str("is new"),
            What::RemovedSection => f.write_str("is gone"),
        }
    }
}

/// Everything that a program would use differently, in the order in which values are listed.
pub fn differences(before: &Settings, after: &Settings) -> Vec<Difference> {
    let (old, new) = (by_place(before), by_place(after));
    let (old_sections, new_sections) = (sections(&old), sections(&new));
    let mut found: BTreeMap<(SectionId, &'static str), Difference> = BTreeMap::new();
    let mut note = |section: &SectionId, variable: Option<&'static str>, what: What| {
        let difference = Difference { section: section.clone(), variable, what };
        found.insert((section.clone(), variable.unwrap_or_default()), difference);
    };
    for section in old_sections.symmetric_difference(&new_sections) {
        let what = if new_sections.contains(section) { What::AddedSection } else { What::RemovedSection };
        note(section, None, what);
    }
    for (place, value) in &new {
        let (section, variable) = (&place.0, Some(place.1));
        match old.get(place) {
            Some(earlier) if earlier.text == value.text && same_secret(earlier, value) => {}
            Some(_) if value.hidden.is_some() => note(section, variable, What::ChangedSecret),
            Some(earlier) => {
                let (before, after) = (earlier.text.clone(), value.text.clone());
                note(section, variable, What::Changed { before, after });
            }
            None if old_sections.contains(section) => {
                note(section, variable, What::Added(value.text.clone()));
            }
            None => {}
        }
    }
    for (place, value) in &old {
        if !new.contains_key(place) && new_sections.contains(&place.0) {
            note(&place.0, Some(place.1), What::Removed(value.text.clone()));
        }
    }
    found.into_values().collect()
}

type Places<'a> = BTreeMap<(SectionId, &'static str), &'a Effective>;

fn by_place(settings: &Settings) -> Places<'_> {
    settings.effective.iter().map(|value| ((value.section.clone(), value.name), value)).collect()
}

fn sections(places: &Places<'_>) -> BTreeSet<SectionId> {
    places.keys().map(|(section, _)| section.clone()).collect()
}

fn same_secret(one: &Effective, other: &Effective) -> bool {
    match (&one.hidden, &other.hidden) {
        (Some(one), Some(other)) => one.expose_secret() == other.expose_secret(),
        (one, other) => one.is_none() && other.is_none(),
    }
}
