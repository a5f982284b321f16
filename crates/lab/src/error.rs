//! Everything that can go wrong in the lab, worded for the person who runs it. No recovery happens here.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the lab could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("the lab needs root to make namespaces and mounts; run it as root (for example with sudo)")]
    NotRoot,
    #[error(
        "program `{program}` is missing; it is in the package {package}: apt-get install -y {package} \
         (or scripts/install-packages.sh for everything at once)"
    )]
    MissingPackage { program: &'static str, package: &'static str },
    #[error(
        "program `{program}` was not found in {}; build it first (cargo build --bins) or name its directory with --bin-dir",
        dir.display()
    )]
    MissingProgram { program: String, dir: PathBuf },
    #[error("SKIPPED {server}: this server cannot be had here: {reason}")]
    Unavailable { server: &'static str, reason: String },
    #[error("lab name `{name}` cannot be used; letters, digits and `_` are allowed, 1 to 40 of them")]
    BadName { name: String },
    #[error("lab `{name}` is already up; `mmm_lab --lab {name} down` ends it")]
    AlreadyUp { name: String },
    #[error("there is no lab `{name}` ({} is missing); `mmm_lab --lab {name} up` makes it", path.display())]
    NoLab { name: String, path: PathBuf },
    #[error("lab `{lab}` has no host `{host}`; it has {known}")]
    NoHost { lab: String, host: String, known: String },
    #[error(
        "host {host} of lab `{lab}` is not up (its holder process has ended); take the lab down and up again"
    )]
    HostDown { lab: String, host: String },
    #[error("{program} on {host} is not running")]
    NotRunning { host: String, program: String },
    #[error("{program} on {host} is already running as process {pid}")]
    AlreadyRunning { host: String, program: String, pid: i32 },
    #[error("{host} has no {program}: it is a {kind}")]
    NotThere { host: String, program: String, kind: String },
    #[error("{program} on {host} ended while it was being started; the end of its output:\n{tail}")]
    Died { host: String, program: String, tail: String },
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("could not read the state file {}: {reason}; `mmm_lab down` still cleans up", path.display())]
    BadState { path: PathBuf, reason: String },
    #[error("could not run `{command}`: {source}")]
    Spawn { command: String, source: io::Error },
    #[error("`{command}` ended with {code}: {output}")]
    Command { command: String, code: String, output: String },
    #[error("`{command}` gave no result within {limit:?} and was ended")]
    CommandTimeout { command: String, limit: Duration },
    #[error("SQL on {server}: {reason} (statement: {statement})")]
    Sql { server: String, statement: String, reason: String },
    #[error("{what} did not happen within {limit:?}; last seen: {last}")]
    Timeout { what: String, limit: Duration, last: String },
    #[error("record line {line} of {}: {reason}", path.display())]
    BadRecord { path: PathBuf, line: usize, reason: String },
    #[error("no probe was started in this lab; `mmm_lab probe start` starts one")]
    NoProbe,
    #[error("{0}")]
    Other(String),
}

/// Result of everything the lab does.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// Gives an I/O error the operation and the file it belongs to.
pub(crate) fn at<T>(result: io::Result<T>, what: &'static str, path: &Path) -> Result<T> {
    result.map_err(|source| LabError::Io { what, path: path.to_owned(), source })
}
