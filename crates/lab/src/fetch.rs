//! Brings servers that the system does not carry from the other suites of its own distribution into the cache, without touching the
//! system: apt works in a folder of its own, packages are unpacked but not installed, and the programs are made to use the loader and
//! the libraries that came with them, so that they run like any other program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::command::{Output, must, run};
use crate::error::{LabError, Result, at};
use crate::flavour::{Flavour, Source, is_elf};
use crate::template::cache_dir;

/// Changed whenever what is made below changes, so that an older cache is not taken for a newer one.
const REVISION: u32 = 1;

/// Where programs are in a folder of unpacked packages.
pub(crate) const PROGRAM_FOLDERS: [&str; 2] = ["usr/sbin", "usr/bin"];

/// Lists and packages come over the network, some 100 MB at most.
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(10);
const LOCAL_LIMIT: Duration = Duration::from_mins(2);
/// How long a mirror's no is believed, so that a whole run of tests asks once.
const REFUSAL_AGE: Duration = Duration::from_mins(15);
/// Written last, beside the tree: without it the tree is not complete.
const READY: &str = "ready";

/// What packages need besides libraries: nothing of it is needed to run a server.
const NOT_NEEDED: [&str; 6] = ["perl", "libperl", "dpkg_", "debconf_", "tar_", "libconfig-"];

/// The folder of a server's unpacked packages; fetched now if this is the first call on this machine. Parallel callers wait.
pub(crate) fn obtain(flavour: Flavour) -> Result<PathBuf> {
    let cache = cache_dir();
    at(fs::create_dir_all(&cache), "cannot create", &cache)?;
    let tree = cache.join(format!("server-{flavour}-r{REVISION}"));
    let path = cache.join(format!("lock-{flavour}"));
    let lock = at(File::create(&path), "cannot create", &path)?;
    at(flock(&lock, FlockOperation::LockExclusive).map_err(Into::into), "cannot lock", &path)?;
    if tree.join(READY).is_file() {
        return Ok(tree);
    }
    let refusal = cache.join(format!("refused-{flavour}"));
    if let Some(reason) = young(&refusal) {
        return Err(LabError::Unavailable { server: flavour.name(), reason });
    }
    for left in left_behind(&cache, flavour, &tree) {
        at(fs::remove_dir_all(&left), "cannot remove", &left)?;
    }
    // A name of its own: the apt of a build that was killed may still be writing to the last one's folder.
    let work = cache.join(format!("{flavour}.new-{}", std::process::id()));
    let made = Fetch { flavour, source: flavour.source(), work: work.clone(), tree: tree.clone() }.make();
    let _ = fs::remove_dir_all(&work);
    if let Err(LabError::Unavailable { reason, .. }) = &made {
        at(fs::write(&refusal, reason), "cannot write", &refusal)?;
    }
    made.map(|()| tree)
}

/// What a mirror said, unless that is long ago.
fn young(refusal: &Path) -> Option<String> {
    let age = SystemTime::now().duration_since(fs::metadata(refusal).ok()?.modified().ok()?).ok()?;
    (age < REFUSAL_AGE).then(|| fs::read_to_string(refusal).unwrap_or_default())
}

/// Folders of builds that were ended half-way. Only the holder of the lock may ask.
fn left_behind(cache: &Path, flavour: Flavour, tree: &Path) -> Vec<PathBuf> {
    let prefix = format!("{flavour}.new-");
    let entries = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&prefix) || path == tree
        })
        .collect()
}

/// One build.
struct Fetch {
    flavour: Flavour,
    source: Source,
    work: PathBuf,
    /// Where the files will lie in the end.
    tree: PathBuf,
}

impl Fetch {
    fn make(&self) -> Result<()> {
        for (program, package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("patchelf", "patchelf")] {
            if !crate::requirements::is_installed(program) {
                return Err(LabError::MissingPackage { program, package });
            }
        }
        for folder in ["tree", "lists/partial", "archives/partial", "alone"] {
            let path = self.work.join(folder);
            at(fs::create_dir_all(&path), "cannot create", &path)?;
        }
        self.configure()?;
        self.download()?;
        self.unpack()?;
        self.patch()?;
        let unpacked = self.work.join("tree");
        at(fs::rename(&unpacked, &self.tree), "cannot rename", &unpacked)?;
        self.prove()
    }

    /// Files that keep apt away from the system's own lists, packages and hooks.
    fn configure(&self) -> Result<()> {
        let dir = self.work.display();
        let conf = format!(
            "Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::State::lists \"{dir}/lists/\";\nDir::State::status \"{dir}/status\";\n\
             Dir::State::extended_states \"{dir}/extended_states\";\n\
             Dir::Cache::archives \"{dir}/archives/\";\nDir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n\
             APT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\nAcquire::Languages \"none\";\n\
             Acquire::Retries \"2\";\nAcquire::http::Timeout \"30\";\nAcquire::https::Timeout \"30\";\n\
             #clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
             #clear DPkg::Post-Invoke;\n#clear DPkg::Pre-Install-Pkgs;\n"
        );
        let list = format!("deb {}{} {} main\n", signed_by(), mirror()?, self.source.suite);
        for (name, text) in [("apt.conf", conf), ("sources.list", list), ("status", String::new())] {
            let path = self.work.join(name);
            at(fs::write(&path, text), "cannot write", &path)?;
        }
        Ok(())
    }

    fn apt(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new("apt-get");
        command.arg("-q").arg("-c").arg(self.work.join("apt.conf")).args(words);
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C")
            .current_dir(self.work.join("alone"));
        let output = run(command, DOWNLOAD_LIMIT)?;
        if output.success() {
            return Ok(output);
        }
        let text = output.text();
        let complaints: Vec<&str> = text.lines().filter(|line| line.starts_with("E: ")).collect();
        let reason = if complaints.is_empty() { text.trim().to_owned() } else { complaints.join("; ") };
        Err(self.unavailable(&format!("apt-get {} for {}: {reason}", words[0], self.source.suite)))
    }

    fn download(&self) -> Result<()> {
        self.apt(&["update"])?;
        let install = ["install", "-y", "--no-install-recommends", "--download-only"];
        self.apt(&[&install[..], self.source.packages].concat())?;
        if !self.source.alone.is_empty() {
            self.apt(&[&["download"], self.source.alone].concat())?;
        }
        Ok(())
    }

    fn unpack(&self) -> Result<()> {
        let tree = self.work.join("tree");
        for folder in ["archives", "alone"] {
            let folder = self.work.join(folder);
            for package in at(fs::read_dir(&folder), "cannot list", &folder)?.flatten() {
                let name = package.file_name().to_string_lossy().into_owned();
                let is_package = package.path().extension().is_some_and(|ending| ending == "deb");
                if is_package && !NOT_NEEDED.iter().any(|word| name.starts_with(word)) {
                    let mut command = Command::new("dpkg-deb");
                    command.arg("-x").arg(package.path()).arg(&tree);
                    must(command, "", LOCAL_LIMIT)?;
                }
            }
        }
        // Nothing in a cache that everybody may read should run as somebody else.
        let mut command = Command::new("chmod");
        command.args(["-R", "u-s,g-s"]).arg(&tree);
        must(command, "", LOCAL_LIMIT).map(drop)
    }

    /// Leads the programs to the loader and the libraries of the tree, where it will lie in the end.
    fn patch(&self) -> Result<()> {
        let unpacked = self.work.join("tree");
        let libraries = library_folders(&unpacked);
        let final_place = |path: &Path| self.tree.join(path.strip_prefix(&unpacked).unwrap_or(path));
        let rpath: Vec<String> =
            libraries.iter().map(|folder| final_place(folder).display().to_string()).collect();
        for folder in PROGRAM_FOLDERS.map(|folder| unpacked.join(folder)) {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.is_symlink() || !is_elf(&path) {
                    continue;
                }
                let mut ask = Command::new("patchelf");
                ask.arg("--print-interpreter").arg(&path);
                let loader = must(ask, "", LOCAL_LIMIT)?.stdout;
                let name = Path::new(loader.trim()).file_name().unwrap_or_default().to_owned();
                // The loader under its plain name may be a link that leads out of the tree; beside the libraries it does not.
                let Some(loader) =
                    libraries.iter().map(|folder| folder.join(&name)).find(|path| path.exists())
                else {
                    return Err(self.unavailable(&format!("no {} among its packages", name.display())));
                };
                let mut patch = Command::new("patchelf");
                patch.arg("--set-interpreter").arg(final_place(&loader));
                // The older kind of path is the one that libraries of libraries are looked for in, too.
                patch.args(["--force-rpath", "--set-rpath", &rpath.join(":")]).arg(&path);
                must(patch, "", LOCAL_LIMIT)?;
            }
        }
        Ok(())
    }

    /// The server must run and be the one that was asked for.
    fn prove(&self) -> Result<()> {
        let server = self.tree.join("usr/sbin").join(self.source.family.server());
        let mut command = Command::new(&server);
        command.args(["--no-defaults", "--version"]);
        let said = must(command, "", LOCAL_LIMIT)?.stdout;
        if !said.contains(&format!("Ver {}", self.source.version)) {
            let version = said.split_whitespace().skip_while(|word| *word != "Ver").nth(1).unwrap_or("?");
            return Err(self.unavailable(&format!("{} has version {version} now", self.source.suite)));
        }
        let ready = self.tree.join(READY);
        at(fs::write(&ready, said), "cannot write", &ready)
    }

    fn unavailable(&self, reason: &str) -> LabError {
        LabError::Unavailable { server: self.flavour.name(), reason: reason.to_owned() }
    }
}

/// Folders of libraries in a tree, both as older and as newer suites have them.
fn library_folders(tree: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for above in ["lib", "usr/lib"].map(|folder| tree.join(folder)) {
        let entries = fs::read_dir(&above).into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(entries.filter(|path| path.is_dir() && path.to_string_lossy().contains("-linux-gnu")));
    }
    found
}

/// The place this system's own packages come from. Other suites of the distribution are beside its own.
fn mirror() -> Result<String> {
    let path = Path::new("/etc/os-release");
    let text = at(fs::read_to_string(path), "cannot read", path)?;
    let own = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("sid");
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]);
    let targets = must(command, "", LOCAL_LIMIT)?.stdout;
    mirror_of(&targets, own.trim_matches('"')).ok_or_else(|| {
        LabError::Other(format!(
            "the sources of apt have no entry for this system's own suite `{own}`, so other suites can't be looked for beside it"
        ))
    })
}

fn mirror_of(targets: &str, suite: &str) -> Option<String> {
    // Others publish under the names of the distribution's suites too, but not its `main`.
    targets.lines().find_map(|line| line.strip_prefix(suite)?.strip_prefix(" main ")).map(str::to_owned)
}

/// The keys of the whole archive, where they are installed; else those that apt trusts anyway.
fn signed_by() -> &'static str {
    let keys = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
    if keys.is_file() { "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_where_the_own_suite_comes_from() {
        let targets = "bookworm stable http://elsewhere.example/\nbookworm-updates main http://a.example/debian/\n\
                       bookworm main http://b.example/debian/\nbookworm-security main http://c.example/\n";
        assert_eq!(mirror_of(targets, "bookworm").as_deref(), Some("http://b.example/debian/"));
        assert_eq!(mirror_of(targets, "trixie"), None);
    }

    #[test]
    fn only_what_this_server_left_behind_is_removed() {
        let cache = std::env::temp_dir().join(format!("mmm-fetch-{}", std::process::id()));
        for name in ["mysql-9.7.new-1", "mariadb-10.5.new-1", "server-mysql-9.7-r1", "template-10.11"] {
            fs::create_dir_all(cache.join(name)).unwrap();
        }
        let mut left = left_behind(&cache, Flavour::MySql97, &cache.join("server-mysql-9.7-r1"));
        left.sort();
        assert_eq!(left, ["mysql-9.7.new-1", "server-mysql-9.7-r1"].map(|name| cache.join(name)));
        fs::remove_dir_all(&cache).unwrap();
    }

    #[test]
    fn a_refusal_is_believed_for_a_while_only() {
        let path = std::env::temp_dir().join(format!("mmm-refused-{}", std::process::id()));
        assert_eq!(young(&path), None);
        fs::write(&path, "no such suite").unwrap();
        assert_eq!(young(&path).as_deref(), Some("no such suite"));
        let old = SystemTime::now() - REFUSAL_AGE * 2;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(young(&path), None);
        fs::remove_file(&path).unwrap();
    }
}
