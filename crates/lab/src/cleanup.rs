//! Taking a lab down, whatever state it is in: complete, half built, or left behind by a crash. Only what is certainly the lab's is
//! touched: processes in its namespaces or with its mark, namespaces with its names, mounts and files under its directory.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::run;
use crate::disks;
use crate::error::{LabError, Result, at};
use crate::holder::MARK;
use crate::network::{self, namespace_file};
use crate::process::{ProcessId, all_pids};
use crate::state::Store;

/// Processes whose network namespace is one of these.
pub(crate) fn processes_in(namespaces: &[String]) -> Vec<ProcessId> {
    let inodes: Vec<(u64, u64)> = namespaces
        .iter()
        .filter_map(|name| fs::metadata(namespace_file(name)).ok())
        .map(|data| (data.dev(), data.ino()))
        .collect();
    find(|pid| {
        fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|data| inodes.contains(&(data.dev(), data.ino())))
    })
}

/// Processes that were started for the lab in this directory and have not entered its namespaces yet, or have left them.
fn processes_marked(dir: &Path) -> Vec<ProcessId> {
    let mark = format!("{MARK}={}", dir.display()).into_bytes();
    find(|pid| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| text.split(|b| *b == 0).any(|word| word == mark))
    })
}

fn find(is_wanted: impl Fn(i32) -> bool) -> Vec<ProcessId> {
    all_pids().into_iter().filter(|pid| is_wanted(*pid)).filter_map(ProcessId::of).collect()
}

/// Ends and removes everything of the lab `name` in `dir`.
pub(crate) fn down(name: &str, dir: &Path) -> Result<()> {
    // A state file that cannot be read is no reason to leave things behind: names and marks find the rest.
    let state = Store::new(dir).read().ok();
    let mut namespaces = network::namespaces_of(name);
    if let Some(state) = &state {
        namespaces.extend(state.hosts.iter().map(|host| host.namespace.clone()));
    }
    namespaces.sort();
    namespaces.dedup();
    for holder in state.iter().flat_map(|state| state.running.values()).filter_map(|running| running.holder) {
        if holder.is_alive() {
            disks::resume(holder);
        }
    }
    let recorded = state.map(|state| state.started).unwrap_or_default();
    for round in 1.. {
        end_processes(name, dir, &namespaces, &recorded)?;
        network::remove(&namespaces)?;
        remove_mounts(dir);
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            // Somebody made a file while the others were removed: another look finds who.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && round < 3 => {}
            result => {
                at(result, "cannot remove", dir)?;
                break;
            }
        }
    }
    // The common directory goes with the last lab.
    if let Some(base) = dir.parent().filter(|base| base.ends_with("mmm-lab")) {
        let _ = fs::remove_dir(base);
    }
    Ok(())
}

fn end_processes(name: &str, dir: &Path, namespaces: &[String], recorded: &[ProcessId]) -> Result<()> {
    let began = Instant::now();
    // `down` may be called from a shell inside the lab; that line of processes ends by itself.
    let spared = ProcessId::current().with_ancestors();
    let mut clean = 0;
    while clean < 2 {
        let mut found = processes_in(namespaces);
        found.extend(processes_marked(dir));
        found.extend(recorded.iter().copied().filter(|process| process.is_alive()));
        found.retain(|process| !spared.contains(&process.pid));
        if found.is_empty() {
            // Looked at twice: a process that was just being started may have slipped through the first look.
            clean += 1;
        } else {
            clean = 0;
            for process in &found {
                process.signal(Signal::KILL);
            }
            if began.elapsed() > Duration::from_secs(20) {
                return Err(LabError::Other(format!(
                    "lab `{name}`: these processes do not end although they were killed: {found:?}"
                )));
            }
        }
        thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

/// Mounts of the hosts live in their own namespaces and end with them; this is for one that escaped.
fn remove_mounts(dir: &Path) {
    let Ok(table) = fs::read_to_string("/proc/self/mountinfo") else { return };
    for place in table.lines().rev().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(place).starts_with(dir) {
            let mut command = Command::new("umount");
            command.args(["-l", place]);
            // If it stays, removing the directory fails and says so.
            let _ = run(command, Duration::from_secs(10));
        }
    }
}

/// Takes down every lab under `base` whose owner has ended without doing so.
pub(crate) fn down_abandoned(base: &Path) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    let Ok(entries) = fs::read_dir(base) else { return Ok(ended) };
    for dir in entries.flatten().map(|entry| entry.path()) {
        let Ok(state) = Store::new(&dir).read() else { continue };
        if state.owner.is_some_and(|owner| !owner.is_alive()) {
            down(&state.name, &dir)?;
            ended.push(state.name);
        }
    }
    Ok(ended)
}
