//! The holder: one idle process for each host that keeps its mount and UTS namespaces alive, and the way into them.
//! What is private to a host: all of /run, /etc, /var/lib and /var/log, the host name and the boot id. Everything else of the
//! machine's file system is seen as it is, so that programs can be started from where they were built.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::{LabError, Result, at};
use crate::host::Host;
use crate::network::namespace_file;
use crate::process::ProcessId;

/// Environment variable that marks every process a lab starts.
pub(crate) const MARK: &str = "MMM_LAB";

/// Arguments: the host's directory, its name. Runs in new mount and UTS namespaces; what it mounts stays in them.
const SETUP: &str = r#"
dir=$1
hostname "$2"
# Names of other labs' network namespaces would be kept alive by this copy of the mount table.
umount -R -l /run/netns 2>/dev/null || true
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=0755 tmpfs "$dir/overlay"
for place in etc var/lib var/log; do
    upper=$dir/overlay/$place work=$dir/overlay/work/$place
    mkdir -p "$upper" "$work"
    mount -t overlay -o "lowerdir=/$place,upperdir=$upper,workdir=$work" overlay "/$place"
done
cover() { mkdir -p "$2"; mount --bind "$1" "$2"; }
cover "$dir/etc-mysql-mmm" /etc/mysql-mmm
cover "$dir/etc-mysql" /etc/mysql
cover "$dir/log" /var/log/mysql-mmm
cover "$dir/lib" /var/lib/mysql-mmm
cover "$dir/mysql" /var/lib/mysql
mount --bind "$dir/boot_id" /proc/sys/kernel/random/boot_id
rm -f /etc/hosts /etc/hostname /etc/nsswitch.conf
cp "$dir/hosts" /etc/hosts
echo "$2" >/etc/hostname
# Nobody answers name queries in the lab; asking would only cost time.
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' >/etc/nsswitch.conf
mount --bind "$dir/run" /run
echo ready
exec >/dev/null 2>&1 sleep infinity
"#;

/// Makes what the host's mounts need.
pub(crate) fn prepare(host: &Host, all: &[Host]) -> Result<()> {
    for sub in ["overlay", "etc-mysql-mmm", "etc-mysql", "log", "lib", "mysql", "run", "output"] {
        let path = host.dir.join(sub);
        at(fs::create_dir_all(&path), "cannot create", &path)?;
    }
    let mut names = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for host in all {
        let _ = writeln!(names, "{} {}", host.ip, host.name);
    }
    let hosts = host.dir.join("hosts");
    at(fs::write(&hosts, names), "cannot write", &hosts)?;
    boot(host)
}

/// Gives the host what a machine has right after its start: an empty /run and a new boot id.
pub(crate) fn boot(host: &Host) -> Result<()> {
    let run = host.dir.join("run");
    for entry in at(fs::read_dir(&run), "cannot list", &run)?.flatten() {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        at(removed, "cannot remove", &path)?;
    }
    for sub in ["lock", "mysqld", "mysql-mmm"] {
        let path = run.join(sub);
        at(fs::create_dir(&path), "cannot create", &path)?;
    }
    let (user, group) = server_user()?;
    let path = run.join("mysqld");
    at(chown(&path, Some(user), Some(group)), "cannot give to the user mysql", &path)?;
    let source = Path::new("/proc/sys/kernel/random/uuid");
    let id = at(fs::read(source), "cannot read", source)?;
    // Written in place: the mount over the kernel's own file holds on to this very file.
    let path = host.dir.join("boot_id");
    at(fs::write(&path, id), "cannot write", &path)
}

/// User and group the server runs as.
fn server_user() -> Result<(u32, u32)> {
    let path = Path::new("/etc/passwd");
    let text = at(fs::read_to_string(path), "cannot read", path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("mysql:")).unwrap_or_default();
    let mut ids = line.split(':').skip(1).map(str::parse);
    match (ids.next(), ids.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok((user, group)),
        _ => Err(LabError::MissingPackage { program: "user mysql", package: "mariadb-server" }),
    }
}

/// A holder that is setting its host up.
pub(crate) struct Starting {
    host: String,
    child: Child,
    ready: mpsc::Receiver<String>,
}

/// Starts the holder of a host.
pub(crate) fn start(lab_dir: &Path, host: &Host) -> Result<Starting> {
    let log = host.dir.join("output/holder.log");
    let stderr = at(fs::File::create(&log), "cannot create", &log)?;
    let mut command = Command::new("setsid");
    command.arg("nsenter").arg(format!("--net={}", namespace_file(&host.namespace).display()));
    command.args([
        "unshare",
        "--mount",
        "--uts",
        "--propagation",
        "slave",
        "sh",
        "-ec",
        SETUP,
        "mmm-lab-host",
    ]);
    command.arg(&host.dir).arg(&host.name);
    command.env(MARK, lab_dir).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let mut child = command
        .spawn()
        .map_err(|source| LabError::Spawn { command: "setsid nsenter …".to_owned(), source })?;
    let (sender, ready) = mpsc::sync_channel(1);
    let stdout = child.stdout.take();
    thread::spawn(move || {
        let mut line = String::new();
        if let Some(stdout) = stdout {
            // An unreadable pipe is the same as one that ended: not ready.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let _ = sender.send(line);
    });
    Ok(Starting { host: host.name.clone(), child, ready })
}

impl Starting {
    pub(crate) fn process(&self) -> Option<ProcessId> {
        i32::try_from(self.child.id()).ok().and_then(ProcessId::of)
    }

    /// Waits until the host's mounts are in place.
    pub(crate) fn finish(self, host: &Host) -> Result<ProcessId> {
        let line = self.ready.recv_timeout(Duration::from_secs(10)).unwrap_or_default();
        let process = self.process();
        reap(self.child);
        match process {
            Some(process) if line.trim() == "ready" => Ok(process),
            _ => Err(LabError::Died {
                host: self.host,
                program: "the host's setup".to_owned(),
                tail: fs::read_to_string(host.dir.join("output/holder.log")).unwrap_or_default(),
            }),
        }
    }
}

/// Collects the exit status of a child whenever it ends, so that no zombie is left in a long test run.
pub(crate) fn reap(mut child: Child) {
    thread::spawn(move || child.wait());
}

/// A command that runs inside the host's namespaces; the process that is spawned becomes the program itself.
pub(crate) fn enter(lab_dir: &Path, host: &Host, holder: ProcessId) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &holder.pid.to_string(), "--mount", "--uts", "--net", "--"]);
    command.env(MARK, lab_dir).env("MMM_LAB_HOST", &host.name).current_dir("/");
    command
}
