//! A configuration after all its files are read: sections with their variables, nothing interpreted.

use std::collections::BTreeMap;

use crate::section::SectionId;
use crate::source::Span;

/// The last value a variable was given.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) text: String,
    /// The value as written, with quotes.
    pub(crate) span: Span,
    /// Whether bytes of `text` are bytes of the source, `quote` bytes further on.
    pub(crate) exact: bool,
    pub(crate) quoted: bool,
}

impl Entry {
    /// The part of the source that a part of the text came from.
    pub(crate) fn part(&self, range: &std::ops::Range<usize>) -> Span {
        if !self.exact {
            return self.span;
        }
        let start = self.span.start + usize::from(self.quoted);
        Span { file: self.span.file, start: start + range.start, end: start + range.end }
    }
}

/// One section, merged from all places where it appears.
pub(crate) struct Section {
    /// Its first tag; the global section has none.
    pub(crate) tag: Option<Span>,
    pub(crate) entries: BTreeMap<&'static str, Entry>,
}

/// All sections.
#[derive(Default)]
pub(crate) struct Document {
    pub(crate) sections: BTreeMap<SectionId, Section>,
    /// Whether a file could not be read, so that what is missing may stand there.
    pub(crate) incomplete: bool,
}

impl Document {
    /// Enters a section, which may have been there before.
    pub(crate) fn open(&mut self, id: SectionId, tag: Option<Span>) {
        self.sections.entry(id).or_insert_with(|| Section { tag, entries: BTreeMap::new() });
    }

    /// A later value takes the place of an earlier one.
    pub(crate) fn set(&mut self, id: SectionId, name: &'static str, entry: Entry) {
        let section =
            self.sections.entry(id).or_insert_with(|| Section { tag: None, entries: BTreeMap::new() });
        section.entries.insert(name, entry);
    }
}
