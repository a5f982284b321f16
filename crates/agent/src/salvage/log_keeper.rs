//! What must be known of the server's binary log once the server is dead: where it lies, whose it is, and whether the server is
//! surely dead. Kept on disk, since the agent may be started anew when nobody can be asked any more.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mmm_core::ServerView;
use mmm_mysql::{ServerError, Session};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::silence::is_alone;
use crate::server_process::find_server;

/// A handle tells at once whether its process has ended.
const AT_ONCE: Duration = Duration::from_millis(20);

/// A server's log, and how to find the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptLog {
    pub(crate) server_id: u64,
    pub(crate) server_uuid: Option<String>,
    /// None where it keeps no log.
    pub(crate) home: Option<Home>,
    pub(crate) pid_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Home {
    pub(crate) index: PathBuf,
    pub(crate) data: PathBuf,
    /// Each transaction is on the disk before it counts.
    #[serde(default)]
    pub(crate) synced: bool,
    /// What the server replicates is in its log as well.
    #[serde(default)]
    pub(crate) has_replicated: bool,
}

/// Whether a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Dead,
    Lives,
    /// It is being found out.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct LogKeeper {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    log: Option<KeptLog>,
    view: ServerView,
    /// Its process was seen to end, and no server since.
    ended: bool,
}

impl LogKeeper {
    /// With what the file holds that an earlier agent wrote.
    pub(crate) fn load(path: &Path) -> Self {
        let log = match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .inspect_err(|error| tracing::warn!("The file {} makes no sense: {error}", path.display()))
                .ok(),
            // Nothing was ever kept.
            Err(_) => None,
        };
        Self { path: path.to_owned(), kept: Mutex::new(Kept { log, ..Kept::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> Option<KeptLog> {
        self.lock().log.clone()
    }

    pub(crate) fn see(&self, view: ServerView) {
        let mut kept = self.lock();
        kept.view = view;
        kept.ended &= view == ServerView::Gone;
    }

    pub(crate) fn see_end(&self) {
        let mut kept = self.lock();
        kept.view = ServerView::Gone;
        kept.ended = true;
    }

    /// Asks a server that answers where its log is, and keeps that.
    pub(crate) async fn ask(&self, session: &mut Session, limit: Duration) -> Result<(), ServerError> {
        let home = session.log_home(limit).await?;
        let identity = session.identity();
        let log = KeptLog {
            server_id: identity.server_id,
            server_uuid: identity.uuid.clone(),
            home: home.map(|home| Home {
                index: home.index,
                data: home.data,
                synced: home.synced,
                has_replicated: home.has_replicated,
            }),
            pid_file: identity.pid_file.clone(),
        };
        let is_news = {
            let mut kept = self.lock();
            kept.log.replace(log.clone()) != Some(log.clone())
        };
        if is_news {
            self.write(log).await;
        }
        Ok(())
    }

    async fn write(&self, log: KeptLog) {
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_string(&log).map_err(std::io::Error::other)?;
            mmm_daemon::write_state(&path, &text)
        });
        match written.await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(
                "Can't write {}: after a restart of the agent the log of a dead server will not be found: {error}",
                self.path.display()
            ),
        }
    }

    /// A server that is stopping still writes for whoever is connected; one that does not answer may.
    pub(crate) async fn life(&self) -> Life {
        let (view, ended, pid_file) = {
            let kept = self.lock();
            (kept.view, kept.ended, kept.log.as_ref().and_then(|log| log.pid_file.clone()))
        };
        match view {
            ServerView::Gone if ended => Life::Dead,
            ServerView::Gone => match find_server(pid_file.as_deref()) {
                None => Life::Dead,
                Some(process) if timeout(AT_ONCE, process.exited()).await.is_ok() => Life::Dead,
                // It is stopping, and nobody hears of anything that it still does.
                Some(process) if is_alone(process.pid()) => Life::Dead,
                Some(_) => Life::Unknown,
            },
            ServerView::Unknown => Life::Unknown,
            ServerView::Up { .. } | ServerView::Silent { .. } | ServerView::Refusing => Life::Lives,
        }
    }
}
