//! Everything that can be wrong with a configuration, one variant each.
//!
//! A variant says what happened. Where, what was expected and what to do stand in the diagnostic around it.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong, or, for a warning, what an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    // Files.
    #[error("no configuration file `{name}` was found")]
    NotFound { name: String },
    #[error("`{cluster}` cannot be the name of a cluster")]
    ClusterName { cluster: String },
    #[error("cannot read configuration file {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("configuration file {} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("configuration file {} is world-readable (mode {mode:04o})", path.display())]
    WorldReadable { path: PathBuf, mode: u32 },
    #[error("configuration file {} is world-writable (mode {mode:04o})", path.display())]
    WorldWritable { path: PathBuf, mode: u32 },
    #[error("configuration file {} is too large", path.display())]
    FileTooLarge { path: PathBuf },
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("the line is too long")]
    LineTooLong,
    #[error("included file `{name}` was not found")]
    IncludeNotFound { name: String },
    #[error("file `{name}` includes itself")]
    IncludeCycle { name: String },
    #[error("includes are nested too deeply")]
    IncludeTooDeep,
    #[error("too many files are included")]
    TooManyFiles,
    #[error("`include` inside of {section}")]
    IncludeInSection { section: String },

    // Lines.
    #[error("a control character in the line")]
    ControlCharacter,
    #[error("`{word}` is not a name of a variable")]
    VariableName { word: String },
    #[error("variable `{name}` has no value")]
    NoValue { name: String },
    #[error("the quoted value does not end")]
    QuoteNotClosed,
    #[error("text behind the quoted value")]
    TextBehindQuote,
    #[error("the tag does not end")]
    TagNotClosed,
    #[error("malformed tag")]
    MalformedTag,
    #[error("text behind the tag")]
    TextBehindTag,

    // Sections.
    #[error("unknown section <{name}>")]
    UnknownSection { name: String },
    #[error("unknown check `{name}`")]
    UnknownCheck { name: String },
    #[error("section <{kind}> needs a name")]
    SectionNeedsName { kind: &'static str },
    #[error("section <{kind}> has no name")]
    SectionTakesNoName { kind: &'static str },
    #[error("`{name}` is a variable, not a section")]
    VariableAsSection { name: String },
    #[error("variable `{name}` where a section belongs")]
    SectionAsVariable { name: String },
    #[error("{section} has no end tag")]
    MissingEndTag { section: String },
    #[error("end tag </{name}> without a section")]
    StrayEndTag { name: String },
    #[error("end tag </{name}> inside of {section}")]
    WrongEndTag { name: String, section: String },
    #[error("section <{kind}> is missing")]
    MissingSection { kind: &'static str },

    // Variables and values.
    #[error("unknown variable `{name}` in {section}")]
    UnknownVariable { name: String, section: String },
    #[error("variable `{name}` belongs into mmm3.conf")]
    BelongsIntoMmm3 { name: String },
    #[error("variable `{name}` does not belong into mmm3.conf")]
    NotForMmm3 { name: String },
    #[error("variable `{name}` is missing in {section}")]
    MissingVariable { name: &'static str, section: String },
    #[error("bad value `{value}` of variable `{name}`")]
    BadValue { name: &'static str, value: String },

    // References and rules.
    #[error("unknown host `{name}`")]
    UnknownHost { name: String },
    #[error("unknown role `{name}`")]
    UnknownRole { name: String },
    #[error("unknown copy method `{name}`")]
    UnknownCopyMethod { name: String },
    #[error("host `{host}` is its own peer")]
    PeerIsItself { host: String },
    #[error("peer `{peer}` of host `{host}` is not a master")]
    PeerNotMaster { host: String, peer: String },
    #[error("host `{host}` has peer `{peer}`, but `{peer}` has peer `{other}`")]
    PeerNotMutual { host: String, peer: String, other: String },
    #[error("role `{role}` prefers host `{host}`, which cannot have it")]
    PreferNotInHosts { role: String, host: String },
    #[error("balanced role `{role}` prefers a host")]
    PreferOfBalanced { role: String },
    #[error("exclusive role `{role}` has {count} addresses")]
    ExclusiveIps { role: String, count: usize },
    #[error("active_master_role `{role}` is not exclusive")]
    ActiveMasterRoleBalanced { role: String },
    #[error("address {ip} is used twice")]
    DuplicateIp { ip: String },
    #[error("host `{host}` stands twice in one list")]
    DuplicateHost { host: String },
    #[error("address {ip} cannot belong to a host or role")]
    UnusableIp { ip: String },
    #[error("there are more problems than these")]
    More,

    // Warnings.
    #[error("the text behind `#` is not taken as part of `{name}`")]
    CommentStripped { name: String },
    #[error("the quotes are not taken as part of the value")]
    QuotesStripped,
}
