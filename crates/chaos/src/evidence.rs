//! What is kept of a run in which something was wrong.

use std::fs;
use std::path::Path;
use std::time::Instant;

use mmm_lab::Lab;

use crate::fault::PROGRAMS;

/// What else is asked of a cluster in which something was wrong.
const EVIDENCE: [(&str, &[&str]); 4] = [
    ("history.json", &["--json", "history", "all"]),
    ("history", &["history", "all"]),
    ("explain", &["explain"]),
    ("diverged", &["diverged"]),
];

/// Everything that a person needs who looks into a failure. What can't be kept is no second failure.
pub(crate) fn keep_evidence(lab: &Lab, dir: &Path) {
    let began = Instant::now();
    let _ = fs::create_dir_all(dir);
    for (host, program) in PROGRAMS {
        let name = format!("{host}-{program}.log");
        let _ = fs::write(dir.join(name), lab.log(host, program).unwrap_or_default());
    }
    let shown =
        lab.control(&["show", "--long"]).map_or_else(|error| error.to_string(), |shown| shown.to_string());
    let _ = fs::write(dir.join("show"), shown);
    for (name, words) in EVIDENCE {
        let told = lab.control(words).map_or_else(|error| error.to_string(), |told| told.to_string());
        let _ = fs::write(dir.join(name), told);
    }
    for record in lab.client_records().unwrap_or_default() {
        let name =
            record.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy().into_owned());
        let name = name.collect::<Vec<_>>().join("-");
        let _ = fs::copy(&record, dir.join(name));
    }
    println!("  evidence in {} ({:?})", dir.display(), began.elapsed());
}
