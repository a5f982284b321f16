//! The server's process while its data are replaced: it ends, and somebody has to start it again.

use std::process::Stdio;
use std::time::Duration;

use mmm_core::rebuild::RebuildStage;
use mmm_mysql::Session;
use mmm_net::ProcessHandle;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::journal::{Journal, Phase};
use super::{Trouble, Work};
use crate::server_process::find_server;

/// A server that a supervisor starts again is there by then.
const BY_ITSELF: Duration = Duration::from_secs(10);
const COMMAND_LIMIT: Duration = Duration::from_mins(2);
const COMMAND_AGAIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
/// After that it is asked whether it ends at all.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Longer than that is told of in the log.
const ENDS_SOON: Duration = Duration::from_mins(1);
/// A server that was told to break its copy off, and says nothing for so long, hangs.
const HANGS: Duration = Duration::from_secs(30);
const NEITHER: &str = "its copy was broken off, and its server has ended and was not started again: start it (or set server_start_command), and it is copied anew";
const SAID_MAX: usize = 300;

impl Work {
    pub(super) async fn session(&self) -> Result<Session, mmm_mysql::ServerError> {
        let setup = self.setup();
        Session::connect(&setup.server, &setup.account, LOGIN_LIMIT).await
    }

    /// The process that this session leads to.
    pub(super) fn process_of(&self, session: &Session) -> Option<ProcessHandle> {
        let setup = self.setup();
        let named = session.identity().pid_file.clone();
        find_server(named.as_deref().into_iter().chain([setup.server_pid_file.as_path()]))
    }

    /// Waits until another server than the one before answers, started by a supervisor, by the configured command, or by the operator.
    pub(super) async fn bring_back(&self, journal: &mut Journal) -> Result<(), Trouble> {
        self.wait_for_the_end(journal).await?;
        let began = Instant::now();
        let mut tried: Option<Instant> = None;
        loop {
            if let Ok(session) = self.session().await {
                session.close().await;
                return self.enter(journal, Phase::Attach);
            }
            let due = tried.is_none_or(|at| at.elapsed() >= COMMAND_AGAIN);
            if began.elapsed() >= BY_ITSELF && due && self.server_is_gone(journal) {
                self.start_server(journal, tried.is_none()).await;
                tried = Some(Instant::now());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The server that made the copy writes out what it has and ends, which takes as long as it takes.
    async fn wait_for_the_end(&self, journal: &mut Journal) -> Result<(), Trouble> {
        let Some((pid, start)) = journal.server else { return Ok(()) };
        let Ok(before) = ProcessHandle::open(pid) else { return Ok(()) };
        if before.start_time() != start {
            return Ok(());
        }
        let (began, mut is_told) = (Instant::now(), false);
        loop {
            let passed = began.elapsed().as_secs();
            let ending = if journal.broken_off {
                format!(
                    "its copy was broken off, and its server (process {pid}) has not answered for {passed} s"
                )
            } else {
                format!(
                    "the copy is whole; its server (process {pid}) has been ending for {passed} s, see its error log if that takes long"
                )
            };
            self.report(journal, RebuildStage::Working(ending.clone())).await;
            if timeout(ENDS_WITHIN, before.exited()).await.is_ok() {
                return Ok(());
            }
            if began.elapsed() >= ENDS_SOON && !is_told {
                is_told = true;
                tracing::error!("The rebuild of this host from '{}': {ending}", journal.from);
            }
            let mut session = match self.session().await {
                Ok(session) => session,
                Err(error) if error.is_timeout() && journal.broken_off && began.elapsed() >= HANGS => {
                    // Its data are copied anew in any case.
                    tracing::error!("The rebuild of this host from '{}': {ending}: killing it", journal.from);
                    before.kill().map_err(Trouble::broken)?;
                    continue;
                }
                Err(_) => continue,
            };
            let status = session.clone_status(LOGIN_LIMIT).await.ok().flatten().unwrap_or_default();
            if !status.is_under_way() && !status.is_completed() {
                self.enter(journal, Phase::Copy)?;
                return Err(Trouble::Broken(format!("the copy was broken off ({})", status.error)));
            }
        }
    }

    /// One that runs and does not answer yet is on its way.
    fn server_is_gone(&self, journal: &Journal) -> bool {
        let setup = self.setup();
        find_server(journal.pid_file.as_deref().into_iter().chain([setup.server_pid_file.as_path()]))
            .is_none()
    }

    async fn start_server(&self, journal: &Journal, first: bool) {
        let Some(command) = self.setup().server_start_command.clone() else {
            let stage = if journal.broken_off {
                RebuildStage::Working(NEITHER.to_owned())
            } else {
                RebuildStage::AwaitsServer
            };
            if first {
                tracing::error!("The rebuild of this host from '{}': {stage}", journal.from);
            }
            self.report(journal, stage).await;
            return;
        };
        tracing::info!("Starting the server: {command}");
        let copy = if journal.broken_off { "was broken off" } else { "is whole" };
        self.report(journal, RebuildStage::Working(format!("the copy {copy}; its server is started"))).await;
        if let Err(why) = run(&command).await {
            let text =
                format!("server_start_command failed: {why}. Start the server by hand, or mend the command");
            tracing::error!("{text}");
            self.report(journal, RebuildStage::Working(text)).await;
        }
    }
}

/// By a shell, since an operator wrote it.
async fn run(command: &str) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = shell.kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
    let output = timeout(COMMAND_LIMIT, child.wait_with_output())
        .await
        .map_err(|_| format!("it did not end within {} s", COMMAND_LIMIT.as_secs()))?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(SAID_MAX).collect();
    Err(format!("it ended with {}: {said}", output.status))
}
