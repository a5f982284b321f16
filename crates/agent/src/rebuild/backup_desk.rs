//! The writer's side: runs `mariadb-backup` for the agent of another host, and hands out what it writes, part by part.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mmm_core::HostName;
use mmm_core::rebuild::{BackupAnswer, BackupRequest};
use mmm_core::salvage::PART_MAX;
use secrecy::ExposeSecret;
use tokio::fs;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::server_process::tools_beside_server;
use crate::setup::Setup;

pub(crate) const BACKUP_TOOLS: [&str; 2] = ["mariadb-backup", "mariabackup"];
/// Without a word for so long nobody wants it any more.
const ABANDONED: Duration = Duration::from_mins(2);
/// A backup that is at work without writing anything is told of.
const QUIET: Duration = Duration::from_secs(10);
const SAID_MAX: usize = 600;

/// Answers the agents of other hosts.
#[derive(Clone, Debug)]
pub(crate) struct BackupDesk {
    setup: Option<watch::Receiver<Arc<Setup>>>,
    running: Arc<Mutex<Option<Running>>>,
    instance: u64,
}

/// Ended when it is dropped.
#[derive(Debug)]
struct Running {
    number: u64,
    asker: HostName,
    child: Child,
    bytes: ChildStdout,
    folder: PathBuf,
    /// What was handed out last, in case it did not arrive, and where it ends.
    last: Vec<u8>,
    at: u64,
    ended: bool,
    asked: Instant,
}

impl BackupDesk {
    pub(crate) fn new(setup: watch::Receiver<Arc<Setup>>, instance: u64) -> Self {
        Self { setup: Some(setup), running: Arc::default(), instance }
    }

    /// That of a host without a server.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self { setup: None, running: Arc::default(), instance: 1 }
    }

    pub(crate) async fn answer(&self, from: &HostName, request: BackupRequest) -> BackupAnswer {
        match request {
            BackupRequest::BeginBackup => self.begin(from).await,
            BackupRequest::BackupPart { number, at } => self.part(from, number, at).await,
        }
    }

    async fn begin(&self, from: &HostName) -> BackupAnswer {
        let mut running = self.running.lock().await;
        let before = running.as_ref().map_or(self.instance, |running| running.number);
        if let Some(other) = running.as_ref()
            && other.asker != *from
            && !other.ended
            && other.asked.elapsed() < ABANDONED
        {
            return BackupAnswer::Failed(format!("it is making a backup for '{}'", other.asker));
        }
        // Its process ends with it.
        *running = None;
        let Some(setup) = self.setup.as_ref().map(|setup| Arc::clone(&setup.borrow())) else {
            return BackupAnswer::Failed("there is no server on that host".to_owned());
        };
        match start(&setup, before.wrapping_add(1), from).await {
            Ok(begun) => {
                tracing::warn!(
                    "A backup of this host's server goes to the agent of '{from}', which is rebuilt"
                );
                let number = begun.number;
                *running = Some(begun);
                tokio::spawn(end_abandoned(Arc::clone(&self.running), number));
                BackupAnswer::Begun { number }
            }
            Err(why) => BackupAnswer::Failed(why),
        }
    }

    async fn part(&self, from: &HostName, number: u64, at: u64) -> BackupAnswer {
        let mut held = self.running.lock().await;
        let known = held.as_mut().filter(|running| running.number == number && running.asker == *from);
        let Some(running) = known else { return BackupAnswer::Forgotten };
        running.asked = Instant::now();
        if at + running.last.len() as u64 == running.at && !running.last.is_empty() {
            return part(at, &running.last);
        }
        if at != running.at {
            return BackupAnswer::Forgotten;
        }
        let mut bytes = vec![0; usize::try_from(PART_MAX).unwrap_or(0)];
        match timeout(QUIET, running.bytes.read(&mut bytes)).await {
            Err(_) => part(at, &[]),
            Ok(Err(error)) => BackupAnswer::Failed(error.to_string()),
            Ok(Ok(0)) => running.end().await,
            Ok(Ok(count)) => {
                bytes.truncate(count);
                running.at += count as u64;
                let answer = part(at, &bytes);
                running.last = bytes;
                answer
            }
        }
    }
}

fn part(at: u64, bytes: &[u8]) -> BackupAnswer {
    BackupAnswer::Part { at, sum: mmm_mysql::binlog::checksum(bytes), bytes: STANDARD.encode(bytes) }
}

impl Running {
    async fn end(&mut self) -> BackupAnswer {
        let ended = timeout(QUIET, self.child.wait()).await;
        self.ended = true;
        match ended {
            Ok(Ok(status)) if status.success() => {
                tracing::info!("The backup for the agent of '{}' is done: {} bytes", self.asker, self.at);
                BackupAnswer::End
            }
            Ok(Ok(status)) => {
                let said = fs::read(self.folder.join("said")).await.unwrap_or_default();
                BackupAnswer::Failed(format!("mariadb-backup ended there with {status}: {}", last_of(&said)))
            }
            Ok(Err(error)) => BackupAnswer::Failed(error.to_string()),
            Err(_) => {
                BackupAnswer::Failed("mariadb-backup closed its output there and did not end".to_owned())
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The account's password is in it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a program said last.
pub(super) fn last_of(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let said: Vec<char> = said.trim().chars().collect();
    said[said.len().saturating_sub(SAID_MAX)..]
        .iter()
        .map(|c| if c.is_control() { ' ' } else { *c })
        .collect()
}

async fn end_abandoned(running: Arc<Mutex<Option<Running>>>, number: u64) {
    loop {
        sleep(ABANDONED / 4).await;
        let mut held = running.lock().await;
        match held.as_ref() {
            Some(running) if running.number == number => {
                if running.asked.elapsed() >= ABANDONED {
                    tracing::warn!("Nobody wants the backup for '{}' any more", running.asker);
                    *held = None;
                    return;
                }
            }
            Some(_) | None => return,
        }
    }
}

async fn start(setup: &Setup, number: u64, from: &HostName) -> Result<Running, String> {
    let tools = tools_beside_server(&setup.server_pid_file, &BACKUP_TOOLS);
    let tool = tools.first().ok_or("there is no mariadb-backup on the writer's host: install it there")?;
    let folder = setup.epoch_path.with_extension("backup");
    let failed = |error: std::io::Error| format!("{} can't be made: {error}", folder.display());
    let _ = fs::remove_dir_all(&folder).await;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).await.map_err(failed)?;
    let options = folder.join("options");
    fs::write(&options, options_of(setup)).await.map_err(failed)?;
    let said = std::fs::File::create(folder.join("said")).map_err(failed)?;
    let mut command = Command::new(tool);
    command.args(arguments(&options, &folder)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said);
    let mut child =
        command.kill_on_drop(true).spawn().map_err(|error| format!("start {}: {error}", tool.display()))?;
    let bytes = child.stdout.take().ok_or("its output can't be read")?;
    Ok(Running {
        number,
        asker: from.clone(),
        child,
        bytes,
        folder,
        last: Vec::new(),
        at: 0,
        ended: false,
        asked: Instant::now(),
    })
}

/// In a file that only root can read: what is on the command line everybody can.
fn options_of(setup: &Setup) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    format!(
        "[mariadb-backup]\nuser={}\npassword={}\nhost={}\nport={}\n",
        quoted(&setup.account.user),
        quoted(setup.account.password.expose_secret()),
        setup.server.ip,
        setup.server.port
    )
}

fn arguments(options: &Path, folder: &Path) -> Vec<String> {
    vec![
        format!("--defaults-extra-file={}", options.display()),
        "--backup".to_owned(),
        "--stream=mbstream".to_owned(),
        format!("--target-dir={}", folder.join("work").display()),
    ]
}
