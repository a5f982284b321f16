//! Saves transactions that this host has and nobody else, before the server purges its logs: as a binary log, and as readable SQL.
//!
//! The monitor's orders name them. It is done in a task of its own, beside everything else, and tried again until it is done; what
//! was saved goes out with the agent's reports.

mod log_copy;
mod readable;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_core::AgentStatus;
use mmm_core::diverged::{Saved, Surplus};
use mmm_mysql::{LogHome, Session};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::log_copy::{Copied, copy};
use crate::setup::Setup;

const SERVER_LIMIT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(10);

/// Where the worker says what is to be saved.
#[derive(Debug)]
pub(crate) struct Diverged {
    wanted: watch::Sender<Option<Surplus>>,
}

impl Diverged {
    /// Must be called inside a tokio runtime.
    pub(crate) fn start(setup: watch::Receiver<Arc<Setup>>, reports: watch::Sender<AgentStatus>) -> Self {
        let (wanted, asked) = watch::channel(None);
        tokio::spawn(work(setup, asked, reports));
        Self { wanted }
    }

    /// What is to be saved.
    pub(crate) fn wanted(&self) -> Option<Surplus> {
        self.wanted.borrow().clone()
    }

    pub(crate) fn save(&self, surplus: Option<&Surplus>) {
        self.wanted.send_if_modified(|wanted| {
            let news = wanted.as_ref() != surplus;
            *wanted = surplus.cloned();
            news
        });
    }
}

async fn work(
    setup: watch::Receiver<Arc<Setup>>,
    mut asked: watch::Receiver<Option<Surplus>>,
    reports: watch::Sender<AgentStatus>,
) {
    // What a worker before this one saved, and tells still, stays until there is more to say.
    if asked.changed().await.is_err() {
        return;
    }
    loop {
        let wanted = asked.borrow_and_update().clone();
        let mut done = true;
        let saved = match wanted {
            None => None,
            Some(surplus) => {
                let now = Arc::clone(&setup.borrow());
                let saved = save(&now, &surplus).await.unwrap_or_else(|error| Saved {
                    problem: Some(format!("They could not be saved: {error:#}. It is tried again")),
                    ..Saved::default()
                });
                done = !saved.files.is_empty();
                tell(&surplus, &saved);
                Some(Box::new(Saved { of: surplus.transactions.to_string(), ..saved }))
            }
        };
        reports.send_if_modified(|status| {
            let news = status.saved != saved;
            status.saved = saved;
            news
        });
        let changed = async {
            // The worker is ending.
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if done {
            changed.await;
        } else {
            // Whichever comes first.
            let _ = timeout(AGAIN, changed).await;
        }
    }
}

fn tell(surplus: &Surplus, saved: &Saved) {
    if let Some(problem) = &saved.problem {
        tracing::error!("Nobody else has {} of this host's transactions: {problem}", surplus.transactions);
    }
    if !saved.files.is_empty() {
        tracing::warn!(
            "Saved {} transactions that nobody else has ({}) in {}",
            saved.count,
            surplus.transactions,
            saved.files.join(", ")
        );
    }
}

/// Where the files go, and what their names begin with.
fn target(setup: &Setup) -> (PathBuf, String) {
    let folder = setup.epoch_path.with_file_name("diverged");
    let name = setup.epoch_path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    (folder, name)
}

async fn save(setup: &Setup, surplus: &Surplus) -> Result<Saved> {
    let mut session = Session::connect(&setup.server, &setup.account, SERVER_LIMIT).await?;
    let home = session.log_home(SERVER_LIMIT).await?;
    let LogHome { index, data, .. } = home.context("the server keeps no binary log")?;
    let (server_id, pid_file) = (session.identity().server_id, session.identity().pid_file.clone());
    session.close().await;
    let (folder, name) = target(setup);
    let wanted = surplus.transactions.clone();
    let copied = spawn_blocking(move || copy(&index, &data, &wanted, server_id, (&folder, &name)));
    let Copied { mut saved, logs } = copied.await.context("the task that copies failed")??;
    let tools = readable::tools(pid_file.as_deref().unwrap_or(&setup.server_pid_file));
    for log in logs {
        match readable::write(&tools, &log).await {
            Ok(sql) => saved.files.push(sql.display().to_string()),
            Err(error) => {
                saved.problem.get_or_insert(format!("They could not be written as readable SQL: {error:#}"));
            }
        }
    }
    Ok(saved)
}
