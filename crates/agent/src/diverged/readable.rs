//! The same transactions as text, by the server's own tool.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

use crate::server_process::tools_beside_server;

const LIMIT: Duration = Duration::from_mins(2);
const NAMES: [&str; 2] = ["mariadb-binlog", "mysqlbinlog"];
const MODE: u32 = 0o600;
const SAID_MAX: usize = 300;

/// The tools that may do it: those beside the server first, which are of its version.
pub(super) fn tools(pid_file: &Path) -> Vec<PathBuf> {
    tools_beside_server(pid_file, &NAMES)
}

/// Writes it beside the log; the first tool that understands the log does it.
pub(super) async fn write(tools: &[PathBuf], log: &Path) -> Result<PathBuf> {
    let mut failure = None;
    for tool in tools {
        match write_by(tool, log).await {
            Ok(sql) => return Ok(sql),
            // What the tool beside the server says is more to the point than what the others say.
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    match failure {
        Some(error) => Err(error),
        None => bail!("there is neither mariadb-binlog nor mysqlbinlog on this host"),
    }
}

async fn write_by(tool: &Path, log: &Path) -> Result<PathBuf> {
    let sql = log.with_added_extension("sql");
    let beside = sql.with_added_extension("tmp");
    let result = run(tool, log, &beside).await;
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result?;
    fs::rename(&beside, &sql).with_context(|| format!("write {}", sql.display()))?;
    Ok(sql)
}

async fn run(tool: &Path, log: &Path, beside: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(beside);
    let file = file.with_context(|| format!("write {}", beside.display()))?;
    let mut command = Command::new(tool);
    // Not what an operator's my.cnf tells clients.
    command.args(["--no-defaults", "--verbose", "--base64-output=DECODE-ROWS"]).arg(log);
    command.stdin(Stdio::null()).stdout(file).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("start {}", tool.display()))?;
    let output = timeout(LIMIT, child.wait_with_output())
        .await
        .with_context(|| format!("{} did not end within {} s", tool.display(), LIMIT.as_secs()))??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().take(SAID_MAX).collect();
        bail!("{} failed ({}): {said}", tool.display(), output.status);
    }
    Ok(())
}
