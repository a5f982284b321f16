//! Whether a word names a section or a variable, and what to say when it does not.

use crate::line::is_name;
use crate::nearest::nearest;
use crate::problem::Problem;
use crate::registry::{self, Variable};
use crate::section::{CHECKS, SectionId, SectionKind, TEMPLATE};

/// Why a word names nothing.
pub(crate) struct NameError {
    pub(crate) problem: Problem,
    pub(crate) expected: String,
    pub(crate) hint: Option<String>,
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The section of a tag.
pub(crate) fn section(word: &str, name: Option<&str>) -> Result<SectionId, NameError> {
    let Some(kind) = SectionKind::from_tag(word) else { return Err(unknown_section(word)) };
    match (kind.is_named(), name) {
        (true, None) => Err(NameError {
            problem: Problem::SectionNeedsName { kind: kind.tag() },
            expected: format!("expected <{} NAME>", kind.tag()),
            hint: None,
        }),
        (false, Some(_)) => Err(NameError {
            problem: Problem::SectionTakesNoName { kind: kind.tag() },
            expected: format!("expected <{}>", kind.tag()),
            hint: None,
        }),
        (true, Some(name)) if kind == SectionKind::Check && name != TEMPLATE && !CHECKS.contains(&name) => {
            Err(NameError {
                problem: Problem::UnknownCheck { name: name.to_owned() },
                expected: format!("expected one of {}, or {TEMPLATE}", CHECKS.join(", ")),
                hint: nearest(name, CHECKS.into_iter().chain([TEMPLATE])).map(did_you_mean),
            })
        }
        (true, Some(name)) => Ok(SectionId::named(kind, name)),
        (false, None) => Ok(SectionId::unique(kind)),
    }
}

fn tags() -> impl Iterator<Item = &'static str> {
    SectionKind::TAGS.into_iter().map(SectionKind::tag)
}

fn unknown_section(word: &str) -> NameError {
    let tags: Vec<&str> = tags().collect();
    let expected = format!("expected one of {}", tags.join(", "));
    if !registry::homes(word).is_empty() {
        return NameError {
            problem: Problem::VariableAsSection { name: word.to_owned() },
            expected,
            hint: Some(format!("write `{word} VALUE`")),
        };
    }
    NameError {
        problem: Problem::UnknownSection { name: word.to_owned() },
        expected,
        hint: nearest(word, tags).map(did_you_mean),
    }
}

/// The variable of that name in that section; `mmm3` tells whether the file is one that only 3.x reads.
pub(crate) fn variable(
    section: &SectionId,
    word: &str,
    value: &str,
    mmm3: bool,
) -> Result<&'static Variable, NameError> {
    let Some(variable) = registry::find(section.kind, word) else {
        return Err(unknown_variable(section, word, value, mmm3));
    };
    match (variable.mmm3_only, mmm3) {
        (true, false) => Err(NameError {
            problem: Problem::BelongsIntoMmm3 { name: word.to_owned() },
            expected: "expected in mmm3.conf, which only 3.x reads".to_owned(),
            hint: Some(
                "2.x would not start with it here; put it into mmm3.conf beside the main file".to_owned(),
            ),
        }),
        (false, true) => Err(NameError {
            problem: Problem::NotForMmm3 { name: word.to_owned() },
            expected: "expected a variable that only 3.x has".to_owned(),
            hint: Some("put it into the main file, where 2.x finds it, too".to_owned()),
        }),
        _ => Ok(variable),
    }
}

fn unknown_variable(section: &SectionId, word: &str, value: &str, mmm3: bool) -> NameError {
    if let Some(kind) = SectionKind::from_tag(word) {
        let tag = match kind.is_named() {
            true if is_name(value) => format!("<{word} {value}>"),
            true => format!("<{word} NAME>"),
            false => format!("<{word}>"),
        };
        return NameError {
            problem: Problem::SectionAsVariable { name: word.to_owned() },
            expected: "expected a section".to_owned(),
            hint: Some(format!("write `{tag}`, its variables, and `</{word}>`")),
        };
    }
    NameError {
        problem: Problem::UnknownVariable { name: word.to_owned(), section: section.to_string() },
        expected: format!("expected a variable of {section}{}", if mmm3 { " that only 3.x has" } else { "" }),
        hint: variable_hint(section, word, mmm3),
    }
}

fn variable_hint(section: &SectionId, word: &str, mmm3: bool) -> Option<String> {
    let homes: Vec<String> = registry::homes(word)
        .into_iter()
        .map(|kind| match kind {
            SectionKind::Global => "outside of sections".to_owned(),
            kind if kind.is_named() => format!("into <{} NAME>", kind.tag()),
            kind => format!("into <{}>", kind.tag()),
        })
        .collect();
    if !homes.is_empty() {
        return Some(format!("`{word}` belongs {}", homes.join(" or ")));
    }
    let here = registry::in_section(section.kind).filter(|variable| variable.mmm3_only == mmm3);
    if let Some(name) = nearest(word, here.map(|variable| variable.name)) {
        return Some(did_you_mean(name));
    }
    if let Some(tag) = nearest(word, tags()).filter(|_| section.kind == SectionKind::Global) {
        return Some(format!("did you mean the section <{tag}>?"));
    }
    registry::VARIABLES.iter().find(|variable| nearest(word, [variable.name]).is_some()).map(|variable| {
        let section = match variable.section {
            SectionKind::Global => "the global section".to_owned(),
            kind => format!("<{}>", kind.tag()),
        };
        format!("the nearest is `{}` of {section}", variable.name)
    })
}
