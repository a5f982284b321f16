//! One finding: what, on which host, why it matters, and the exact lines that mend it.

use serde::{Deserialize, Serialize};

use crate::names::HostName;

/// The most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// A failover would fail, or lose something.
    Error,
    /// A failover works, and something about it would be worse than it need be.
    Warn,
    Ok,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Ok => "OK",
        }
    }
}

/// Where a line of a fix belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// Typed into the server as an account with all rights.
    Sql,
    /// Under `[mysqld]`; counts from the next start of the server.
    MyCnf,
    /// Typed as root.
    Shell,
    /// In the configuration of MMM; counts from the next start of its programs.
    MmmConf,
}

impl Place {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "SQL",
            Self::MyCnf => "my.cnf [mysqld]",
            Self::Shell => "shell",
            Self::MmmConf => "mmm_common.conf",
        }
    }
}

/// One line of a fix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fix {
    pub host: HostName,
    pub place: Place,
    pub line: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    pub host: HostName,
    /// One word for what was looked at; with the host it names a finding.
    pub check: String,
    pub what: String,
    pub why: String,
    pub fixes: Vec<Fix>,
}

impl Finding {
    pub(super) fn new(
        severity: Severity,
        host: &HostName,
        check: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        let (check, what, why) = (check.into(), what.into(), why.into());
        Self { severity, host: host.clone(), check, what, why, fixes: Vec::new() }
    }

    pub(super) fn error(
        host: &HostName,
        check: impl Into<String>,
        what: impl Into<String>,
        why: &str,
    ) -> Self {
        Self::new(Severity::Error, host, check, what, why)
    }

    pub(super) fn warn(
        host: &HostName,
        check: impl Into<String>,
        what: impl Into<String>,
        why: &str,
    ) -> Self {
        Self::new(Severity::Warn, host, check, what, why)
    }

    /// On the finding's own host.
    #[must_use]
    pub(super) fn fix(self, place: Place, line: impl Into<String>) -> Self {
        let host = self.host.clone();
        self.fix_on(&host, place, line)
    }

    #[must_use]
    pub(super) fn fix_on(mut self, host: &HostName, place: Place, line: impl Into<String>) -> Self {
        self.fixes.push(Fix { host: host.clone(), place, line: line.into() });
        self
    }

    /// What is the same as long as the same thing is wrong.
    pub(super) fn key(&self) -> (&HostName, &str) {
        (&self.host, &self.check)
    }
}
