//! The process of the server on this host, found by pid files.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use mmm_net::{ProcessHandle, process_name};

/// A number and the end of the line; whatever is longer is no pid file.
const PID_FILE_BYTES_MAX: u64 = 32;

/// The first of these pid files that names a running server leads to it. Must be called inside a tokio runtime.
pub(crate) fn find_server<'a>(pid_files: impl IntoIterator<Item = &'a Path>) -> Option<ProcessHandle> {
    pid_files.into_iter().find_map(|path| {
        // Held before its name is read: should the number change hands in between, what is held has ended.
        let process = ProcessHandle::open(read_pid(path)?).ok()?;
        let name = process_name(process.pid())?;
        // A pid file can be old and its number somebody else's by now.
        ["mysqld", "mariadbd"].iter().any(|server| name.starts_with(server)).then_some(process)
    })
}

fn read_pid(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(PID_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Programs of these names: those beside the server that runs first, which are of its version, then those in the PATH.
pub(crate) fn tools_beside_server(pid_file: &Path, names: &[&str]) -> Vec<PathBuf> {
    let pid = fs::read_to_string(pid_file).unwrap_or_default();
    let server = fs::read_link(format!("/proc/{}/exe", pid.trim())).unwrap_or_default();
    let beside = server.parent().into_iter().flat_map(|dir| [dir.to_owned(), dir.join("../bin")]);
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = beside.chain(env::split_paths(&path)).collect();
    let all = dirs.iter().flat_map(|dir| names.iter().map(|name| dir.join(name)));
    all.filter(|tool| tool.is_file()).collect()
}
