//! Making a lab: the description, and who owns what comes of it. `furnish` builds what was described.

mod furnish;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cleanup;
use crate::error::{LabError, Result, at};
use crate::flavour::{Flavour, Software};
use crate::host::{Extras, Host};
use crate::lab::{Lab, base_dir};
use crate::process::ProcessId;
use crate::requirements;
use crate::settings::ConfigFile;
use crate::state::{State, Store};
use crate::template;

type Edit = Box<dyn Fn(&Host, ConfigFile, String) -> String>;

/// How much of the cluster is started; each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Parts {
    Hosts,
    Servers,
    Daemons,
}

/// Whose wall clock the daemons see; each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Clocks {
    Machine,
    Movable,
    MovableWithServers,
}

/// Semi-synchronous replication on every server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SemiSync {
    /// As the server has it by default; some have to load a part for it.
    Unknown,
    Off,
    On {
        timeout_ms: u32,
    },
}

/// What a lab is to be made of. The default is the tutorial's cluster with its daemons, for the calling process only.
pub struct Builder {
    name: String,
    base: PathBuf,
    bin_dir: Option<PathBuf>,
    extras: Extras,
    clocks: Clocks,
    parts: Parts,
    gtid: bool,
    server: Option<Flavour>,
    server_lines: Vec<String>,
    semi_sync: SemiSync,
    edits: Vec<Edit>,
    stays: bool,
    replaces: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("base", &self.base).finish_non_exhaustive()
    }
}

/// Names go into namespace names, where `-` separates them from the host's.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits { Ok(()) } else { Err(LabError::BadName { name: name.to_owned() }) }
}

/// Where the product's programs are when nobody says: beside this executable; for a test, one directory up.
fn default_bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("MMM_BIN_DIR") {
        return PathBuf::from(dir);
    }
    let exe = std::env::current_exe().unwrap_or_default();
    let dir = exe.parent().unwrap_or(Path::new("/usr/bin"));
    match dir.parent() {
        Some(above) if dir.ends_with("deps") => above.to_owned(),
        _ => dir.to_owned(),
    }
}

impl Builder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            base: base_dir(),
            bin_dir: None,
            extras: Extras::default(),
            clocks: Clocks::Machine,
            parts: Parts::Daemons,
            gtid: false,
            server: None,
            server_lines: Vec::new(),
            semi_sync: SemiSync::Unknown,
            edits: Vec::new(),
            stays: false,
            replaces: true,
        }
    }

    /// A lab for one test: the name is made unique with the pid.
    pub(crate) fn for_test(name: &str) -> Self {
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(28).collect();
        Self::new(&format!("{name}_{}", std::process::id()))
    }

    /// Directory that holds the lab's directory.
    #[must_use]
    pub fn base(mut self, dir: &Path) -> Self {
        dir.clone_into(&mut self.base);
        self
    }

    /// Where `mmm_mond`, `mmm_agentd`, `mmm_control` and `mmm_lab` are.
    #[must_use]
    pub fn bin_dir(mut self, dir: &Path) -> Self {
        self.bin_dir = Some(dir.to_owned());
        self
    }

    /// Replicas behind the first master, 4 at most.
    #[must_use]
    pub fn replicas(mut self, count: u8) -> Self {
        self.extras.replicas = count;
        self
    }

    /// A second client host, so that there are clients on both sides of a partition.
    #[must_use]
    pub fn second_client(mut self) -> Self {
        self.extras.second_client = true;
        self
    }

    /// A host that does nothing but answer pings, at [`GATEWAY_IP`](crate::GATEWAY_IP).
    #[must_use]
    pub fn gateway(mut self) -> Self {
        self.extras.gateway = true;
        self
    }

    /// The daemons' wall clocks can be moved by [`Lab::set_clock`]. Needs the package faketime.
    #[must_use]
    pub fn movable_clocks(mut self) -> Self {
        self.clocks = Clocks::Movable;
        self
    }

    /// As [`Builder::movable_clocks`], and the servers' clocks move too: those of the whole host.
    #[must_use]
    pub fn movable_server_clocks(mut self) -> Self {
        self.clocks = Clocks::MovableWithServers;
        self
    }

    /// Neither agents nor monitor are started.
    #[must_use]
    pub fn without_daemons(mut self) -> Self {
        self.parts = self.parts.min(Parts::Servers);
        self
    }

    /// Hosts and network only.
    #[must_use]
    pub fn without_servers(mut self) -> Self {
        self.parts = Parts::Hosts;
        self
    }

    /// Replication by GTID in place of the tutorial's file and position.
    #[must_use]
    pub fn gtid(mut self) -> Self {
        self.gtid = true;
        self
    }

    /// Servers of this flavour in place of the system's own; brought here first where they are not.
    #[must_use]
    pub fn server(mut self, flavour: Flavour) -> Self {
        self.server = Some(flavour);
        self
    }

    /// One more line for every server's my.cnf, for example `read_only = 1`.
    #[must_use]
    pub fn server_line(mut self, line: &str) -> Self {
        self.server_lines.push(line.to_owned());
        self
    }

    /// Semi-synchronous replication, both sides of it on every server; the server of a lost replica falls back after `timeout_ms`.
    #[must_use]
    pub fn semi_sync(mut self, timeout_ms: u32) -> Self {
        self.semi_sync = SemiSync::On { timeout_ms };
        self
    }

    /// The servers could replicate semi-synchronously, and nobody has switched it on.
    #[must_use]
    pub fn semi_sync_off(mut self) -> Self {
        self.semi_sync = SemiSync::Off;
        self
    }

    /// Changes configuration files before they are written; gets the tutorial's text and gives back what is to be used.
    #[must_use]
    pub fn edit(mut self, change: impl Fn(&Host, ConfigFile, String) -> String + 'static) -> Self {
        self.edits.push(Box::new(change));
        self
    }

    /// Adds text at the end of a configuration file, where it overrides what stands before.
    #[must_use]
    pub fn append(self, file: ConfigFile, text: &str) -> Self {
        let more = text.to_owned();
        self.edit(move |_, this, text| if this == file { format!("{text}{more}\n") } else { text })
    }

    /// Sets `auto_set_online`, in seconds (the tutorial has 10).
    #[must_use]
    pub fn auto_set_online(self, seconds: u32) -> Self {
        self.append(ConfigFile::Monitor, &format!("<monitor>\nauto_set_online {seconds}\n</monitor>"))
    }

    /// The lab stays up when the value is dropped and when this process ends.
    #[must_use]
    pub fn stays(mut self) -> Self {
        self.stays = true;
        self
    }

    /// Refuses, in place of taking it down first, when a lab of this name is up.
    #[must_use]
    pub fn refuse_if_up(mut self) -> Self {
        self.replaces = false;
        self
    }

    /// Makes the lab. When that fails, what was made is taken down again (unless `MMM_LAB_KEEP` is set).
    pub fn up(self) -> Result<Lab> {
        requirements::check()?;
        check_name(&self.name)?;
        let keep = self.stays || std::env::var_os("MMM_LAB_KEEP").is_some();
        cleanup::down_abandoned(&self.base)?;
        let dir = self.base.join(&self.name);
        self.clear(&dir)?;
        let software = match self.server {
            Some(flavour) => flavour.obtain()?,
            None => Software::system()?,
        };
        let template = if self.parts >= Parts::Servers { Some(template::obtain(&software)?) } else { None };
        let lab = self.found(&dir, software, keep)?;
        if let Err(error) = self.furnish(&lab, template.as_deref()) {
            if std::env::var_os("MMM_LAB_KEEP").is_none() {
                lab.down()?;
            }
            return Err(error);
        }
        Ok(lab)
    }

    fn clear(&self, dir: &Path) -> Result<()> {
        let state = Store::new(dir).read().ok();
        let is_up = state.is_some_and(|state| {
            state.running.values().filter_map(|running| running.holder).any(ProcessId::is_alive)
        });
        if is_up && !self.replaces {
            return Err(LabError::AlreadyUp { name: self.name.clone() });
        }
        cleanup::down(&self.name, dir)
    }

    /// Writes the plan down before anything exists, so that a crash at any later point leaves nothing unknown.
    fn found(&self, dir: &Path, software: Software, keep: bool) -> Result<Lab> {
        // Another lab that goes down may take the empty common directory away between two steps of this call.
        let made = (0..3)
            .map(|_| fs::create_dir_all(dir))
            .find(Result::is_ok)
            .unwrap_or_else(|| fs::create_dir_all(dir));
        at(made, "cannot create", dir)?;
        let dir = at(dir.canonicalize(), "cannot resolve", dir)?;
        let covered = ["/run", "/etc", "/proc", "/sys", "/var/lib", "/var/log"];
        if let Some(place) = covered.iter().find(|place| dir.starts_with(place)) {
            return Err(LabError::Other(format!(
                "a lab cannot lie in {}: every host has a {place} of its own; use a directory under /tmp",
                dir.display()
            )));
        }
        let hosts = Host::plan(&self.name, &dir, self.extras);
        let state = State {
            name: self.name.clone(),
            owner: if keep { None } else { Some(ProcessId::current()) },
            bin_dir: self.bin_dir.clone().unwrap_or_else(default_bin_dir),
            movable_clocks: self.clocks >= Clocks::Movable,
            movable_server_clocks: self.clocks == Clocks::MovableWithServers,
            software,
            hosts,
            running: BTreeMap::new(),
            stalled: BTreeSet::new(),
            cuts: Vec::new(),
            probes: Vec::new(),
            started: Vec::new(),
        };
        Store::new(&dir).write(&state)?;
        Ok(Lab::from_state(state, dir, !keep))
    }
}

impl Lab {
    /// The description of a lab for one test, with a name of its own.
    pub fn for_test(name: &str) -> Builder {
        Builder::for_test(name)
    }
}
