//! Gives this host all its data anew from the writer.
//!
//! It is done in a task of its own. How far it is stands in a file beside the epoch file before each step that can't be taken back,
//! so that an agent that is started anew goes on with it; until it is done the mind leaves the server alone.

mod back_channel;
mod backup_desk;
mod folders;
mod journal;
mod mariadb;
mod mysql;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::diverged::{Saved, Surplus};
use mmm_core::rebuild::{RebuildOrder, RebuildStage, RebuildStatus};
use mmm_core::{AgentEvent, OrderId};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub(crate) use self::backup_desk::{BACKUP_TOOLS, BackupDesk};
pub(crate) use self::journal::Journal;
use self::journal::Phase;
use crate::setup::Setup;

/// Before it is begun again when the data are not whole.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Where the worker hands in what is ordered.
#[derive(Debug)]
pub(crate) struct Rebuilds {
    wanted: watch::Sender<Option<Asked>>,
}

/// What is ordered, with what was saved before of what only this host has.
type Asked = (RebuildOrder, Option<Box<Saved>>);

/// Why a step did not work out.
enum Trouble {
    /// Nothing was changed yet, or nothing that would have to be made good.
    Vain(String),
    /// The data are not whole.
    Broken(String),
}

impl Trouble {
    fn vain(error: impl std::fmt::Display) -> Self {
        Self::Vain(error.to_string())
    }

    fn broken(error: impl std::fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The file of a host beside its epoch file.
pub(crate) fn journal_path(setup: &Setup) -> PathBuf {
    setup.epoch_path.with_extension("rebuild")
}

/// What the mind begins with.
pub(crate) fn status_of(journal: &Result<Option<Journal>, String>, setup: &Setup) -> Option<RebuildStatus> {
    match journal {
        Ok(journal) => journal.as_ref().map(Journal::status),
        Err(why) => {
            let stage = RebuildStage::Unreadable(why.clone());
            tracing::error!("{stage}");
            Some(RebuildStatus { id: OrderId::default(), from: setup.host.clone(), stage })
        }
    }
}

impl Rebuilds {
    /// Must be called inside a tokio runtime. `journal` is what an earlier worker left, as far as it can be read.
    pub(crate) fn start(
        setup: watch::Receiver<Arc<Setup>>,
        journal: Result<Option<Journal>, String>,
        events: mpsc::Sender<AgentEvent>,
    ) -> Self {
        let (wanted, asked) = watch::channel(None);
        let path = journal_path(&setup.borrow());
        let keeps_file = journal.is_err();
        tokio::spawn(Work { setup, path, asked, events, keeps_file }.run(journal.ok().flatten()));
        Self { wanted }
    }

    /// `surplus` is what only this host has, and `saved` what was saved of it: none of it is thrown away otherwise.
    pub(crate) fn begin(
        &self,
        order: RebuildOrder,
        surplus: Option<&Surplus>,
        saved: Option<Box<Saved>>,
    ) -> Result<(), String> {
        if let Some(surplus) = surplus {
            let name = surplus.transactions.to_string();
            let kept = saved.as_ref().is_some_and(|saved| {
                saved.of == name
                    && saved.whole
                    && !saved.files.is_empty()
                    && saved.files.iter().all(|file| PathBuf::from(file).is_file())
            });
            if !kept {
                return Err(format!("what only this host has ({name}) is not saved here"));
            }
        }
        self.wanted.send_replace(Some((order, saved.filter(|_| surplus.is_some()))));
        Ok(())
    }
}

struct Work {
    setup: watch::Receiver<Arc<Setup>>,
    path: PathBuf,
    asked: watch::Receiver<Option<Asked>>,
    events: mpsc::Sender<AgentEvent>,
    /// It can't be read, and stays as it is until another rebuild has changed something: who reads it anew must not take the data
    /// for whole.
    keeps_file: bool,
}

impl Work {
    async fn run(mut self, journal: Option<Journal>) {
        let mut journal = journal;
        if let Some(journal) = journal.as_ref().filter(|journal| journal.phase != Phase::Over) {
            tracing::warn!("Going on with the rebuild of this host from '{}'", journal.from);
        }
        while !self.events.is_closed() {
            if self.asked.has_changed().unwrap_or(false)
                && let Some((order, saved)) = self.asked.borrow_and_update().clone()
            {
                // The same order is carried out once.
                journal = Some(match journal.take().filter(|journal| journal.id == order.id) {
                    Some(journal) => Journal { from: order.from, ..journal },
                    None => Journal::new(order, saved),
                });
            }
            match journal.as_mut().filter(|journal| journal.phase != Phase::Over) {
                Some(journal) => self.turn(journal).await,
                None => self.wait_for_an_order().await,
            }
        }
    }

    async fn turn(&mut self, journal: &mut Journal) {
        let stage = match self.go_on(journal).await {
            Ok(()) => RebuildStage::Done { bytes: journal.bytes },
            Err(Trouble::Vain(why)) if journal.phase == Phase::Prepare => RebuildStage::Failed(why),
            Err(Trouble::Vain(why) | Trouble::Broken(why)) => RebuildStage::Again(why),
        };
        tell(journal, &stage);
        if let RebuildStage::Again(_) = stage {
            self.report(journal, stage).await;
            let _ = timeout(AGAIN_AFTER, self.wait_for_an_order()).await;
            return;
        }
        (journal.phase, journal.end) = (Phase::Over, Some(stage.clone()));
        let stays = self.keeps_file && matches!(stage, RebuildStage::Failed(_));
        if !stays && let Err(error) = journal.write(&self.path) {
            tracing::error!("{error}: an agent that is started anew may go on with what is done already");
        }
        self.report(journal, stage).await;
    }

    /// Returns at once where one was not looked at yet.
    async fn wait_for_an_order(&self) {
        // A look of its own: the order is still news to who takes it.
        let mut asked = self.asked.clone();
        if asked.changed().await.is_err() {
            // The worker is ending.
            std::future::pending::<()>().await;
        }
    }

    async fn go_on(&self, journal: &mut Journal) -> Result<(), Trouble> {
        loop {
            match journal.phase {
                Phase::Prepare => self.prepare(journal).await?,
                Phase::Copy => self.copy(journal).await?,
                Phase::Start => self.bring_back(journal).await?,
                Phase::Attach => {
                    self.attach(journal).await?;
                    return Ok(());
                }
                Phase::Over => return Ok(()),
            }
        }
    }

    /// The next phase stands in the file before anything of it happens.
    fn enter(&self, journal: &mut Journal, phase: Phase) -> Result<(), Trouble> {
        let next = Journal { phase, ..journal.clone() };
        next.write(&self.path).map_err(Trouble::vain)?;
        *journal = next;
        Ok(())
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.borrow())
    }

    async fn report(&self, journal: &Journal, stage: RebuildStage) {
        let status = RebuildStatus { id: journal.id, from: journal.from.clone(), stage };
        // The worker is ending when nobody listens.
        let _ = self.events.send(AgentEvent::RebuildSeen(status)).await;
    }
}

fn tell(journal: &Journal, stage: &RebuildStage) {
    let from = &journal.from;
    if let RebuildStage::Done { .. } = stage {
        tracing::warn!("This host was rebuilt from '{from}': {stage}");
    } else {
        tracing::error!("The rebuild of this host from '{from}': {stage}");
    }
}
