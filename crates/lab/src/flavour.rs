//! The servers a lab can be made of: what they are called, where they come from, what of them differs for the lab itself.
//! The one place to extend for another version.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::must;
use crate::error::{LabError, Result};
use crate::fetch;
use crate::template::{self, REDO_LOG};

/// The family of a server: what it is called and which words it understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    #[default]
    MariaDb,
    MySql,
}

impl Family {
    /// Name of the server's program.
    pub(crate) fn server(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadbd",
            Self::MySql => "mysqld",
        }
    }
}

/// A server that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    MySql97,
    MariaDb118,
    MariaDb1011,
    MariaDb105,
}

/// Where a flavour is found.
pub(crate) struct Source {
    /// What its version begins with.
    pub(crate) version: &'static str,
    pub(crate) family: Family,
    /// The suite of the distribution that carries it.
    pub(crate) suite: &'static str,
    /// Packages that are wanted with everything they need.
    pub(crate) packages: &'static [&'static str],
    /// Packages that are wanted for their plugins only.
    pub(crate) alone: &'static [&'static str],
}

impl Flavour {
    pub const ALL: [Self; 4] = [Self::MySql97, Self::MariaDb118, Self::MariaDb1011, Self::MariaDb105];

    pub fn name(self) -> &'static str {
        match self {
            Self::MySql97 => "mysql-9.7",
            Self::MariaDb118 => "mariadb-11.8",
            Self::MariaDb1011 => "mariadb-10.11",
            Self::MariaDb105 => "mariadb-10.5",
        }
    }

    pub(crate) fn source(self) -> Source {
        let maria = |version, suite| Source {
            version,
            family: Family::MariaDb,
            suite,
            packages: &["mariadb-server-core", "mariadb-client-core"],
            alone: &["mariadb-server"],
        };
        match self {
            Self::MySql97 => Source {
                version: "9.7.",
                family: Family::MySql,
                suite: "sid",
                packages: &["mysql-server-core", "mysql-client-core"],
                alone: &[],
            },
            Self::MariaDb118 => maria("11.8.", "trixie"),
            Self::MariaDb1011 => maria("10.11.", "bookworm"),
            Self::MariaDb105 => Source {
                packages: &["mariadb-server-core-10.5", "mariadb-client-core-10.5"],
                alone: &["mariadb-server-10.5"],
                ..maria("10.5.", "bullseye")
            },
        }
    }

    /// Brings the server to this machine, unless it is there already; other callers wait meanwhile. What was found.
    /// [`LabError::Unavailable`] where the distribution's mirror does not give it.
    pub fn obtain(self) -> Result<Software> {
        let source = self.source();
        let system = Software { family: source.family, ..Software::default() };
        if source.family == Family::MariaDb
            && let Ok(version) = system.ask_version()
            && version.starts_with(source.version)
        {
            return Ok(Software { version, ..system });
        }
        let tree = fetch::obtain(self)?;
        let mut software = Software { tree: Some(tree), ..system };
        software.version = software.ask_version()?;
        Ok(software)
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Flavour {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|flavour| flavour.name() == word)
            .ok_or_else(|| format!("`{word}` is no server of the lab; there are {known}"))
    }
}

/// A server that is on this machine. The default is the `MariaDB` of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    pub(crate) family: Family,
    /// The folder that its packages were unpacked in; none for the system's own.
    tree: Option<PathBuf>,
    /// As a word that can be part of a file name.
    pub(crate) version: String,
}

impl Software {
    /// The `MariaDB` that is installed on this machine.
    pub fn system() -> Result<Self> {
        let system = Self::default();
        Ok(Self { version: system.ask_version()?, ..system })
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn is_mysql(&self) -> bool {
        self.family == Family::MySql
    }

    /// The server itself as a command, with the options that lead to its own files and keep it small.
    pub fn server_command(&self) -> Command {
        let mut command = Command::new(self.server());
        command.arg("--no-defaults").args(self.options().map(|(name, value)| format!("--{name}={value}")));
        command
    }

    /// A data directory to begin with, that the accounts of a lab are in.
    pub fn copy_data(&self, to: &Path) -> Result<()> {
        template::copy(&template::obtain(self)?, to, to)
    }

    /// Options of the server, whatever it is used for.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&'static str, String)> {
        let mut options = match self.family {
            Family::MariaDb => vec![("innodb-log-file-size", REDO_LOG)],
            // A second listener, half of the memory and a folder that the system would have to have, for nothing.
            Family::MySql => vec![
                ("innodb-redo-log-capacity", REDO_LOG),
                ("mysqlx", "OFF"),
                ("performance-schema", "OFF"),
                ("secure-file-priv", "NULL"),
            ],
        };
        options.push(("innodb-buffer-pool-size", "32M"));
        let places = self.places().into_iter().map(|(name, place)| (name, place.display().to_string()));
        options.into_iter().map(|(name, value)| (name, value.to_owned())).chain(places)
    }

    /// What to call for one of its programs: a path, or a name where the system has it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        match &self.tree {
            None => PathBuf::from(name),
            Some(tree) => {
                let found = fetch::PROGRAM_FOLDERS.map(|folder| tree.join(folder).join(name));
                found.iter().find(|path| path.is_file()).unwrap_or(&found[0]).clone()
            }
        }
    }

    pub(crate) fn server(&self) -> PathBuf {
        self.program(self.family.server())
    }

    /// Folders to look for programs in before all others.
    pub(crate) fn path(&self) -> Option<String> {
        let tree = self.tree.as_ref()?;
        Some(fetch::PROGRAM_FOLDERS.map(|folder| tree.join(folder).display().to_string()).join(":"))
    }

    pub(crate) fn base(&self) -> Option<PathBuf> {
        self.tree.as_ref().map(|tree| tree.join("usr"))
    }

    /// Where its own files are, as options of the server: what was compiled in leads to those of the system.
    fn places(&self) -> Vec<(&'static str, PathBuf)> {
        let Some(base) = self.base() else { return Vec::new() };
        let share = ["mysql", "mariadb"].map(|name| base.join("share").join(name));
        // The messages of the server are beside its character sets.
        let share = share.iter().find(|path| path.join("charsets").is_dir()).unwrap_or(&share[0]).clone();
        let plugins = ["lib/mysql/plugin", "lib/mariadb/plugin", "lib/mariadb19/plugin"];
        let plugins = plugins.map(|name| base.join(name));
        let plugins = plugins.iter().find(|path| path.is_dir()).unwrap_or(&plugins[0]).clone();
        vec![
            ("character-sets-dir", share.join("charsets")),
            ("lc-messages-dir", share),
            ("plugin-dir", plugins),
            ("basedir", base),
        ]
    }

    fn ask_version(&self) -> Result<String> {
        let server = self.server();
        let mut command = Command::new(&server);
        command.args(["--no-defaults", "--version"]);
        let text = must(command, "", Duration::from_secs(10))?.stdout;
        word_of_version(&text)
            .ok_or_else(|| LabError::Other(format!("{} does not tell its version: {text}", server.display())))
    }
}

/// `mysqld  Ver 9.7.4-2 for Linux on x86_64` tells 9.7.4-2.
fn word_of_version(text: &str) -> Option<String> {
    let word = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1)?;
    Some(word.chars().filter(|c| c.is_ascii_alphanumeric() || "._-+".contains(*c)).collect())
}

/// Whether a file begins as an executable or a library does.
pub(crate) fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flavour_is_found_by_its_name() {
        for flavour in Flavour::ALL {
            assert_eq!(flavour.to_string().parse(), Ok(flavour));
        }
        let error = "postgres".parse::<Flavour>().unwrap_err();
        assert!(error.contains("mysql-9.7, mariadb-11.8, mariadb-10.11, mariadb-10.5"), "{error}");
    }

    #[test]
    fn versions_are_read_as_both_families_print_them() {
        let cases = [
            (
                "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64",
                "10.11.19-MariaDB-0+deb12u1",
            ),
            ("/x/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "9.7.4-2"),
        ];
        for (text, version) in cases {
            assert_eq!(word_of_version(text).as_deref(), Some(version));
        }
        assert_eq!(word_of_version("mysqld: unknown option"), None);
    }
}
