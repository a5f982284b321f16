//! Which configuration to load, and where files are looked for.

use std::path::{Path, PathBuf};

use crate::file;
use crate::line::is_name;
use crate::problem::Problem;
use crate::program::{Program, main_config_name};
use crate::report::Report;

/// Folders in which 2.x looked, in its order.
const FOLDERS: [&str; 3] = ["/etc", "/etc/mmm", "/etc/mysql-mmm"];

/// Which configuration to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub program: Program,
    /// `@CLUSTER`, without the `@`.
    pub cluster: Option<String>,
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `$MMM_CONFIG_DIR`, read by the binary.
    pub config_dir: Option<PathBuf>,
}

impl Request {
    /// A request for the program's usual file.
    pub fn new(program: Program) -> Self {
        Self { program, cluster: None, config: None, config_dir: None }
    }

    /// The folders to look in, first one first.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let usual = FOLDERS.into_iter().map(PathBuf::from);
        self.config_dir.iter().cloned().chain(usual).collect()
    }

    /// The main file.
    pub(crate) fn main_file(&self, report: &mut Report) -> Option<PathBuf> {
        if let Some(cluster) = self.cluster.as_deref().filter(|cluster| !is_name(cluster)) {
            let hint = "a cluster's name consists of letters, digits, `_`, `-` and `.`".to_owned();
            let problem = Problem::ClusterName { cluster: cluster.to_owned() };
            report.file_error(problem, None, None, Some(hint));
            return None;
        }
        if let Some(config) = &self.config {
            return Some(config.clone());
        }
        let name = main_config_name(self.program, self.cluster.as_deref());
        let folders = self.folders();
        let found = look_up(&name, &folders);
        if found.is_none() {
            let note = format!("looked in {}", listed(&folders));
            let hint = "create it there, or name one with --config FILE".to_owned();
            report.file_error(Problem::NotFound { name }, None, Some(note), Some(hint));
        }
        found
    }
}

/// The first readable file of that name; where none is readable, the first there is, so that its error is shown.
pub(crate) fn look_up(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let candidates = || folders.iter().map(|folder| folder.join(name));
    candidates().find(|path| file::is_readable(path)).or_else(|| candidates().find(|path| file::exists(path)))
}

pub(crate) fn listed(folders: &[PathBuf]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    folders.join(", ")
}

/// The folder a file is in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
