//! The data directory every server of every lab starts from: initialised once for each version of the server, kept in a cache,
//! with the accounts of the cluster already in it. Copying it costs a fraction of initialising.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::command::must;
use crate::error::{Result, at};
use crate::holder::MARK;

/// Changed whenever the content below changes, so that an older cache is not taken for a newer one.
const REVISION: u32 = 1;

/// Size of the redo log, which is fixed when the directory is initialised.
pub(crate) const REDO_LOG: &str = "16M";

/// Least privileges that work on `MariaDB` 10.11. `lab` is how the lab itself looks into a server, through the socket only.
const ACCOUNTS: &str = "\
FLUSH PRIVILEGES;
CREATE DATABASE lab;
CREATE TABLE lab.probe (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, server_id INT UNSIGNED NOT NULL) ENGINE=InnoDB;
CREATE USER repl@'192.168.8.%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'192.168.8.%';
CREATE USER mmm_agent@'192.168.8.%' IDENTIFIED BY 'mmm_agent';
GRANT BINLOG MONITOR, REPLICA MONITOR, PROCESS, REPLICATION SLAVE ADMIN, READ ONLY ADMIN, CONNECTION ADMIN \
ON *.* TO mmm_agent@'192.168.8.%';
CREATE USER mmm_monitor@'192.168.8.%' IDENTIFIED BY 'mmm_monitor';
GRANT BINLOG MONITOR, REPLICA MONITOR, PROCESS ON *.* TO mmm_monitor@'192.168.8.%';
CREATE USER probe@'192.168.8.%' IDENTIFIED BY 'probe';
GRANT ALL ON lab.* TO probe@'192.168.8.%';
CREATE USER lab@localhost IDENTIFIED BY 'lab';
GRANT ALL ON *.* TO lab@localhost WITH GRANT OPTION;
";

fn cache_dir() -> PathBuf {
    std::env::var_os("MMM_LAB_CACHE").map_or_else(|| PathBuf::from("/var/cache/mmm-lab"), PathBuf::from)
}

/// The server's version as a word that can be part of a file name.
fn version() -> Result<String> {
    let mut command = Command::new("mariadbd");
    command.args(["--no-defaults", "--version"]);
    let text = must(command, "", Duration::from_secs(10))?.stdout;
    let word = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1).unwrap_or("unknown");
    Ok(word.chars().filter(|c| c.is_ascii_alphanumeric() || "._-+".contains(*c)).collect())
}

/// The template for the installed server; made now if this is the first call on this machine. Parallel callers wait.
pub(crate) fn obtain() -> Result<PathBuf> {
    let cache = cache_dir();
    at(fs::create_dir_all(&cache), "cannot create", &cache)?;
    let template = cache.join(format!("template-{}-r{REVISION}", version()?));
    let path = cache.join("lock");
    let lock = at(File::create(&path), "cannot create", &path)?;
    at(flock(&lock, FlockOperation::LockExclusive).map_err(Into::into), "cannot lock", &path)?;
    if !template.is_dir() {
        let new = cache.join("template.new");
        // Left over from a build that was ended half-way.
        if new.exists() {
            at(fs::remove_dir_all(&new), "cannot remove", &new)?;
        }
        build(&new)?;
        at(fs::rename(&new, &template), "cannot rename", &new)?;
    }
    Ok(template)
}

fn build(dir: &Path) -> Result<()> {
    let minute = Duration::from_mins(1);
    let data = format!("--datadir={}", dir.display());
    let redo = format!("--innodb-log-file-size={REDO_LOG}");
    at(fs::create_dir_all(dir), "cannot create", dir)?;
    let mut owner = Command::new("chown");
    owner.arg("mysql:mysql").arg(dir);
    must(owner, "", minute)?;
    let mut init = Command::new("mariadb-install-db");
    init.args(["--no-defaults", "--user=mysql", "--skip-test-db", "--skip-name-resolve", &data, &redo]);
    must(init, "", minute)?;
    let mut accounts = Command::new("mariadbd");
    accounts.args(["--no-defaults", "--user=mysql", "--bootstrap", &data, &redo]);
    must(accounts, ACCOUNTS, minute).map(drop)
}

/// Copies the template into an empty directory of the lab in `lab_dir`.
pub(crate) fn copy(template: &Path, to: &Path, lab_dir: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto", "-T"]).arg(template).arg(to);
    // Marked, so that `down` ends it when this process is killed meanwhile.
    copy.env(MARK, lab_dir);
    must(copy, "", Duration::from_mins(1)).map(drop)
}
