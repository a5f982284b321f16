//! The kinds of sections and what tells one section from another.

use std::fmt;

/// A kind of section; the order is the one in which values are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectionKind {
    /// Outside of any section.
    Global,
    /// `<monitor>`
    Monitor,
    /// `<host NAME>`
    Host,
    /// `<role NAME>`
    Role,
    /// `<check NAME>`
    Check,
    /// `<socket>`
    Socket,
    /// `<copy_method NAME>`
    CopyMethod,
}

/// The checks that exist, in the order in which they are listed.
pub(crate) const CHECKS: [&str; 4] = ["ping", "mysql", "rep_backlog", "rep_threads"];

/// The name of the section that is a template for the others of its kind.
pub(crate) const TEMPLATE: &str = "default";

impl SectionKind {
    /// The kinds that are written as tags.
    pub(crate) const TAGS: [Self; 6] =
        [Self::Monitor, Self::Host, Self::Role, Self::Check, Self::Socket, Self::CopyMethod];

    /// The word in the tag; empty for the global section.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Global => "",
            Self::Monitor => "monitor",
            Self::Host => "host",
            Self::Role => "role",
            Self::Check => "check",
            Self::Socket => "socket",
            Self::CopyMethod => "copy_method",
        }
    }

    pub(crate) fn from_tag(tag: &str) -> Option<Self> {
        Self::TAGS.into_iter().find(|kind| kind.tag() == tag)
    }

    /// Whether such a section carries a name.
    pub const fn is_named(self) -> bool {
        matches!(self, Self::Host | Self::Role | Self::Check | Self::CopyMethod)
    }

    /// Whether the section called `default` fills in what others leave out.
    pub const fn has_template(self) -> bool {
        matches!(self, Self::Host | Self::Check | Self::CopyMethod)
    }
}

/// One section of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SectionId {
    pub(crate) kind: SectionKind,
    pub(crate) name: Option<String>,
}

impl SectionId {
    pub(crate) const fn unique(kind: SectionKind) -> Self {
        Self { kind, name: None }
    }

    pub(crate) fn named(kind: SectionKind, name: &str) -> Self {
        Self { kind, name: Some(name.to_owned()) }
    }

    pub(crate) fn is_template(&self) -> bool {
        self.kind.has_template() && self.name.as_deref() == Some(TEMPLATE)
    }

    /// The name, empty where the section has none.
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, &self.name) {
            (SectionKind::Global, _) => f.write_str("the global section"),
            (kind, None) => write!(f, "section <{}>", kind.tag()),
            (kind, Some(name)) => write!(f, "section <{} {name}>", kind.tag()),
        }
    }
}
