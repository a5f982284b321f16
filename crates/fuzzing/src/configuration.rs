//! The configuration files, read for each program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mmm_config::{Program, Request, describe, differences, load};

/// The password in the corpus.
const PASSWORD: &str = "Xsecret-wordX";

/// The bytes are the main file. What is accepted differs in nothing from itself, and its passwords are shown nowhere.
pub fn configuration(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("mmm.conf");
    fs::write(&path, data).expect("a file in our own folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
    for program in [Program::Monitor, Program::Agent, Program::Control, Program::Tools] {
        let request = Request {
            config: Some(path.clone()),
            config_dir: Some(PathBuf::from("/nonexistent")),
            ..Request::new(program)
        };
        match load(&request) {
            Ok(loaded) => {
                let settings = &loaded.settings;
                assert!(differences(settings, settings).is_empty());
                let shown = format!("{}{settings:?}", describe(settings, program));
                let leaks = is_only_a_password(data) && shown.contains(PASSWORD);
                assert!(!leaks, "a password is shown: {shown}");
            }
            Err(failure) => assert!(failure.errors().count() > 0 && !failure.to_string().is_empty()),
        }
    }
}

/// Whether the word stands where a password does and nowhere else.
fn is_only_a_password(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines().filter(|line| line.contains(PASSWORD));
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(
        words[..],
        ["agent_password" | "monitor_password" | "replication_password" | "tools_password", PASSWORD]
    )
}
