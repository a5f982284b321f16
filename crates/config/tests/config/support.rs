//! A folder with configuration files of its own for each test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mmm_config::{Failure, Loaded, Program, Request, describe, load, main_config_name};
use tempfile::TempDir;

pub(crate) struct Folder {
    dir: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A folder with the tutorial's files, as on each of its hosts.
    pub(crate) fn tutorial() -> Self {
        let folder = Self::new();
        folder.write("mmm_common.conf", &data("mmm_common.conf"));
        folder.write("mmm_mon.conf", &data("mon/mmm_mon.conf"));
        folder.write("mmm_agent.conf", &data("m1/mmm_agent.conf"));
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        self.set_mode(name, 0o640);
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Replaces text in a file; the text must be there.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from} is not in {name}");
        self.write(name, &text.replacen(from, to, 1));
    }

    pub(crate) fn request(&self, program: Program) -> Request {
        Request { config: Some(self.path(&main_config_name(program, None))), ..Request::new(program) }
    }

    pub(crate) fn load(&self, program: Program) -> Result<Loaded, Failure> {
        load(&self.request(program))
    }

    pub(crate) fn loaded(&self, program: Program) -> Loaded {
        self.load(program).unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// What is printed when the program does not start; `DIR` stands for the folder.
    pub(crate) fn failure(&self, program: Program) -> String {
        match self.load(program) {
            Ok(_) => panic!("{program} started"),
            Err(failure) => self.neutral(&failure.to_string()),
        }
    }

    pub(crate) fn described(&self, program: Program) -> String {
        self.neutral(&describe(&self.loaded(program).settings, program))
    }

    /// Makes what `--check` prints the configuration, each part in its file.
    pub(crate) fn configure_as_described(&self, program: Program) {
        let described = self.described(program);
        let (main, ours) = described.split_once("# In mmm3.conf:\n").unwrap_or((&described, ""));
        self.write(&main_config_name(program, None), main);
        self.write("mmm3.conf", ours);
    }

    pub(crate) fn warnings(&self, program: Program) -> Vec<String> {
        self.loaded(program).warnings.iter().map(|warning| self.neutral(&warning.to_string())).collect()
    }

    fn neutral(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "DIR")
    }
}

pub(crate) fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tutorial").join(name);
    fs::read_to_string(path).unwrap()
}
