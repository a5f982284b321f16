//! The data directory every server of every lab starts from: initialised once for each version of the server, kept in a cache,
//! with the accounts of the cluster already in it. Copying it costs a fraction of initialising.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::clients;
use crate::command::must;
use crate::error::{Result, at};
use crate::flavour::{Family, Software};
use crate::holder::MARK;

/// Changed whenever the content below changes, so that an older cache is not taken for a newer one.
const REVISION: u32 = 4;

/// Size of the redo log, which is fixed when the directory is initialised.
pub(crate) const REDO_LOG: &str = "16M";

/// A busy machine may take a multiple of the usual seconds.
const LIMIT: Duration = Duration::from_mins(2);

/// What the monitor and the agent need at least, each tried on every flavour.
fn privileges(family: Family) -> [&'static str; 2] {
    match family {
        Family::MariaDb => [
            "BINLOG MONITOR, REPLICA MONITOR, PROCESS",
            "BINLOG MONITOR, REPLICA MONITOR, PROCESS, REPLICATION SLAVE ADMIN, READ ONLY ADMIN, CONNECTION ADMIN",
        ],
        Family::MySql => [
            "REPLICATION CLIENT, PROCESS",
            "REPLICATION CLIENT, PROCESS, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, SYSTEM_USER",
        ],
    }
}

/// The accounts of a cluster, one statement a line. `lab` is how the lab itself looks into a server, through the socket only.
fn accounts(family: Family) -> String {
    let [monitor, agent] = privileges(family);
    // While MariaDB bootstraps, accounts can be made only once the tables of privileges are read.
    let clients = clients::tables();
    let first = if family == Family::MariaDb { "FLUSH PRIVILEGES;\n" } else { "" };
    format!(
        "{first}\
CREATE DATABASE lab;
CREATE TABLE lab.probe (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, server_id INT UNSIGNED NOT NULL) ENGINE=InnoDB;
{clients}\
CREATE USER repl@'192.168.8.%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'192.168.8.%';
CREATE USER mmm_agent@'192.168.8.%' IDENTIFIED BY 'mmm_agent';
GRANT {agent} ON *.* TO mmm_agent@'192.168.8.%';
CREATE USER mmm_monitor@'192.168.8.%' IDENTIFIED BY 'mmm_monitor';
GRANT {monitor} ON *.* TO mmm_monitor@'192.168.8.%';
CREATE USER probe@'192.168.8.%' IDENTIFIED BY 'probe';
GRANT ALL ON lab.* TO probe@'192.168.8.%';
CREATE USER lab@localhost IDENTIFIED BY 'lab';
GRANT ALL ON *.* TO lab@localhost WITH GRANT OPTION;
"
    )
}

pub(crate) fn cache_dir() -> PathBuf {
    std::env::var_os("MMM_LAB_CACHE").map_or_else(|| PathBuf::from("/var/cache/mmm-lab"), PathBuf::from)
}

/// The template for a server; made now if this is the first call on this machine. Parallel callers wait.
pub(crate) fn obtain(software: &Software) -> Result<PathBuf> {
    let cache = cache_dir();
    at(fs::create_dir_all(&cache), "cannot create", &cache)?;
    let template = cache.join(format!("template-{}-r{REVISION}", software.version));
    let path = cache.join("lock");
    let lock = at(File::create(&path), "cannot create", &path)?;
    at(flock(&lock, FlockOperation::LockExclusive).map_err(Into::into), "cannot lock", &path)?;
    if !template.is_dir() {
        let new = cache.join("template.new");
        // Left over from a build that was ended half-way.
        if new.exists() {
            at(fs::remove_dir_all(&new), "cannot remove", &new)?;
        }
        build(software, &new)?;
        at(fs::rename(&new, &template), "cannot rename", &new)?;
    }
    Ok(template)
}

fn build(software: &Software, dir: &Path) -> Result<()> {
    at(fs::create_dir_all(dir), "cannot create", dir)?;
    let mut owner = Command::new("chown");
    owner.arg("mysql:mysql").arg(dir);
    must(owner, "", LIMIT)?;
    match software.family {
        Family::MariaDb => build_mariadb(software, dir),
        Family::MySql => build_mysql(software, dir),
    }
}

/// A server that only initialises: its own files are where it was unpacked, its data in `dir`.
fn server(software: &Software, dir: &Path) -> Command {
    let mut command = software.server_command();
    command.arg("--user=mysql").arg(format!("--datadir={}", dir.display()));
    command
}

fn build_mariadb(software: &Software, dir: &Path) -> Result<()> {
    let redo = format!("--innodb-log-file-size={REDO_LOG}");
    let mut init = Command::new(software.program("mariadb-install-db"));
    init.args(["--no-defaults", "--user=mysql", "--skip-test-db", "--skip-name-resolve", &redo]);
    init.arg(format!("--datadir={}", dir.display()));
    if let Some(base) = software.base() {
        init.arg(format!("--basedir={}", base.display()));
    }
    must(init, "", LIMIT)?;
    let mut accounts_server = server(software, dir);
    accounts_server.arg("--bootstrap");
    must(accounts_server, &accounts(Family::MariaDb), LIMIT).map(drop)
}

fn build_mysql(software: &Software, dir: &Path) -> Result<()> {
    // In front of its own folder: what initialises refuses one that is not empty.
    let script = dir.with_extension("sql");
    at(fs::write(&script, accounts(Family::MySql)), "cannot write", &script)?;
    let mut init = server(software, dir);
    init.args(["--initialize-insecure", "--skip-log-bin"]);
    init.arg(format!("--init-file={}", script.display()));
    must(init, "", LIMIT)?;
    at(fs::remove_file(&script), "cannot remove", &script)?;
    // Each server makes an identity of its own where there is none; with one and the same they would not replicate.
    match fs::remove_file(dir.join("auto.cnf")) {
        Err(error) if error.kind() != ErrorKind::NotFound => at(Err(error), "cannot remove auto.cnf in", dir),
        _ => Ok(()),
    }
}

/// Copies the template into an empty directory of the lab in `lab_dir`.
pub(crate) fn copy(template: &Path, to: &Path, lab_dir: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto", "-T"]).arg(template).arg(to);
    // Marked, so that `down` ends it when this process is killed meanwhile.
    copy.env(MARK, lab_dir);
    must(copy, "", Duration::from_mins(1)).map(drop)
}
