//! Checks, before anything is made, that the lab can work here: root, and the programs of a few Debian packages.

use std::path::Path;

use crate::error::{LabError, Result};

/// Programs the lab starts and the Debian package each is in.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
];

const DIRECTORIES: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

pub(crate) fn is_installed(program: &str) -> bool {
    DIRECTORIES.iter().any(|dir| Path::new(dir).join(program).is_file())
}

/// Fails with the first thing that is missing.
pub(crate) fn check() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    match PROGRAMS.iter().find(|(program, _)| !is_installed(program)) {
        Some(&(program, package)) => Err(LabError::MissingPackage { program, package }),
        None => Ok(()),
    }
}
