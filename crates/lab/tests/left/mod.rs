//! What must not be there any more when a lab is down.

use std::fs;
use std::path::Path;

/// Everything on this machine that still belongs to a lab, in words.
pub(crate) fn of_lab(name: &str, dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.starts_with(&format!("mmmlab-{name}-")) {
            left.push(format!("namespace {file}"));
        }
    }
    let mark = format!("MMM_LAB={}", dir.display());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let read = |file: &str| fs::read(path.join(file)).unwrap_or_default();
        if read("environ").split(|b| *b == 0).any(|word| word == mark.as_bytes()) {
            left.push(format!("process {} {}", path.display(), String::from_utf8_lossy(&read("cmdline"))));
        }
        let mounts = String::from_utf8_lossy(&read("mountinfo")).into_owned();
        if mounts.lines().any(|line| line.contains(&format!("{}/", dir.display()))) {
            left.push(format!("mounts seen by {}", path.display()));
        }
    }
    if dir.exists() {
        left.push(format!("directory {}", dir.display()));
    }
    left
}
