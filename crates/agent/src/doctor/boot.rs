//! With which options the server would start, and whether it is read-only then. The running server can't tell, since variables
//! are set while it runs; so its program is asked.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mmm_core::doctor::AtBoot;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::server_process::find_server;

const LIMIT: Duration = Duration::from_millis(1500);
const BYTES_MAX: u64 = 64 * 1024;
/// Options that say where options come from; they count only in front of all others.
const FIRST_OPTIONS: [&str; 4] =
    ["--defaults-file=", "--defaults-extra-file=", "--defaults-group-suffix=", "--no-defaults"];

/// The options with which the server that one of these pid files leads to would start, the last of a name counting; or why
/// they can't be told.
pub(super) async fn options<'a>(
    pid_files: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<Vec<String>, String> {
    let process = find_server(pid_files.into_iter().map(PathBuf::as_path))
        .ok_or_else(|| "its process was not found by its pid file".to_owned())?;
    let pid = process.pid();
    let arguments =
        arguments_of(pid).ok_or_else(|| format!("the arguments of process {pid} can't be read"))?;
    let printed = match timeout(LIMIT, printed_defaults(pid, &arguments)).await {
        Ok(printed) => printed.map_err(|error| format!("its program does not print its options: {error}"))?,
        Err(_) => {
            return Err(format!("its program did not print its options within {} ms", LIMIT.as_millis()));
        }
    };
    // The first line says what follows; each argument begins with two dashes.
    let from_files = printed.split_whitespace().filter(|word| word.starts_with("--")).map(str::to_owned);
    Ok(from_files.chain(arguments).collect())
}

pub(super) fn at_boot(options: &Result<Vec<String>, String>) -> AtBoot {
    match options {
        Ok(words) if is_read_only(words.iter().map(String::as_str)) => AtBoot::ReadOnly,
        Ok(_) => AtBoot::Writable,
        Err(reason) => AtBoot::Unknown(reason.clone()),
    }
}

fn arguments_of(pid: u32) -> Option<Vec<String>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline")).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let words = bytes.split(|byte| *byte == 0).skip(1).filter(|word| !word.is_empty());
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// What the very program that runs would start with, also where its file was replaced meanwhile.
async fn printed_defaults(pid: u32, arguments: &[String]) -> std::io::Result<String> {
    let first = arguments
        .iter()
        .filter(|word| FIRST_OPTIONS.iter().any(|option| word.starts_with(option)))
        .map(String::as_str);
    let mut child = Command::new(format!("/proc/{pid}/exe"))
        .args(first.chain(["--print-defaults"]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut printed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(BYTES_MAX).read_to_end(&mut printed).await?;
    }
    let status = child.wait().await?;
    if status.success() {
        Ok(String::from_utf8_lossy(&printed).into_owned())
    } else {
        Err(std::io::Error::other(format!("it ended with {status}")))
    }
}

/// The last word counts. `-` and `_` are the same in options.
fn is_read_only<'a>(words: impl IntoIterator<Item = &'a str>) -> bool {
    let mut is_on = false;
    for word in words {
        let Some(option) = word.strip_prefix("--") else { continue };
        let (name, value) = option.split_once('=').unwrap_or((option, "ON"));
        let name = name.replace('_', "-");
        let name = name.strip_prefix("loose-").unwrap_or(&name);
        let says = !["0", "off", "false", "no"].contains(&value.to_ascii_lowercase().as_str());
        match name {
            "read-only" => is_on = says,
            // It brings the other one with it, and leaves it when it is off.
            "super-read-only" if says => is_on = true,
            "skip-read-only" | "disable-read-only" => is_on = false,
            _ => {}
        }
    }
    is_on
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_option_that_speaks_of_it_decides() {
        for (words, expected) in [
            (&[][..], false),
            (&["--read-only"], true),
            (&["--read_only=1", "--port=3306"], true),
            (&["--read_only=ON", "--read-only=0"], false),
            (&["--super_read_only=ON"], true),
            (&["--read-only=1", "--skip-read-only"], false),
            (&["--innodb-read-only=1"], false),
            (&["--loose_read_only=TRUE"], true),
        ] {
            assert_eq!(is_read_only(words.iter().copied()), expected, "{words:?}");
        }
    }
}
