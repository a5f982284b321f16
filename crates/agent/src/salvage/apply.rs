//! The part of the server lane that fetches the end of a dead server's log and has the server here apply it.
//!
//! For the time of applying, replication points at a source of this agent's own on the loopback; the channel keeps its account and
//! its options. What it pointed at before is written down first, and whatever ends this in the middle, the next step puts it back.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mmm_core::salvage::{Lacking, SalvageOrder, SalvageState, Vain};
use mmm_core::{LogPosition, Step, StepOutcome, is_gtid_subset};
use mmm_mysql::log_source::{LogPiece, LogSource, SourceLog};
use mmm_mysql::{
    Channel, Coordinates, Flavour, GtidState, GtidUse, Identity, ReplicaStatus, ServerError, StartAt,
    ThreadState,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::fetch::{Fetch, Fetched};
use super::journal::Journal;
use super::turn::Turn;
use super::{SalvagePaths, own_server};
use crate::letting_go::LastLook;
use crate::server_process::find_server;
use crate::server_steps::{POLL, QUICK, REPLICATION_LIMIT, ServerLane, TURN};
use crate::watch::received_of;

type Fetching = JoinHandle<Result<Fetched, (Vain, Option<u64>)>>;

/// How far the salvage is for which the lane keeps something.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    None,
    Fetching(SalvageOrder, Fetching, watch::Receiver<SalvageState>),
    Fetched(SalvageOrder, Box<Fetched>),
    Applying(Box<Applying>),
}

/// Replication points at the source here.
#[derive(Debug)]
struct Applying {
    fetched: Fetched,
    _source: LogSource,
    /// Where the log ends that is applied.
    end: Coordinates,
    /// What the receiver had of it when that was more than before, and when.
    got: Option<(Coordinates, Instant)>,
    /// Where the applier has had nothing to do, and since when.
    idle: Option<(Option<Coordinates>, Instant)>,
}

/// An applier that has not begun after this has nothing to begin with, where nothing else tells.
const SURELY_IDLE: Duration = Duration::from_secs(1);

/// A receiver that has an error and gets nothing for so long from a source on its own host never will.
const RECEIVES_WITHIN: Duration = Duration::from_secs(10);

impl Applying {
    /// Why the receiver does not get the rest, if it does not.
    fn why_nothing_comes(&mut self, status: &ReplicaStatus, now: Instant) -> Option<String> {
        let received = status.received.clone()?;
        match &self.got {
            Some((got, since)) if *got == received => {
                let (code, text) = status.io_error.as_ref()?;
                (now - *since >= RECEIVES_WITHIN).then(|| {
                    let seconds = RECEIVES_WITHIN.as_secs();
                    format!("the IO thread got nothing of it for {seconds} s: {text} ({code})")
                })
            }
            _ => {
                self.got = Some((received, now));
                None
            }
        }
    }
}

/// What the lane keeps of a salvage.
#[derive(Debug)]
pub(crate) struct Salvage {
    paths: SalvagePaths,
    stage: Stage,
    /// Replication may point at a source that is not there any more.
    is_astray: bool,
}

impl Drop for Salvage {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Salvage {
    pub(crate) fn new(paths: SalvagePaths) -> Self {
        let is_astray = paths.journal.exists();
        let salvage = Self { paths, stage: Stage::None, is_astray };
        // Of an agent that was killed.
        salvage.drop_spool();
        salvage
    }

    /// What was fetched is in the dead server's log as well, and it may be large.
    pub(crate) fn forget(&mut self) {
        match std::mem::take(&mut self.stage) {
            Stage::None => return,
            Stage::Fetching(_, task, _) => task.abort(),
            Stage::Fetched(..) | Stage::Applying(_) => {}
        }
        self.drop_spool();
    }

    /// The server is opened: whatever has not been applied by now is of no use.
    pub(crate) fn give_up_fetching(&mut self) {
        if matches!(self.stage, Stage::Fetching(..) | Stage::Fetched(..)) {
            self.forget();
        }
    }

    fn drop_spool(&self) {
        match std::fs::remove_file(&self.paths.spool) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!("Can't remove {}: {error}", self.paths.spool.display());
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Whether replication has to be put back where it pointed before this step. What opens and closes the server never waits for
    /// that.
    pub(crate) fn must_put_back(&self, step: &Step) -> bool {
        let goes_on = matches!((step, &self.stage), (Step::ApplyTail(_), Stage::Applying(_)));
        let is_apart = matches!(
            step,
            Step::CloseWrites
                | Step::CloseReturned
                | Step::OpenWrites
                | Step::ReadPosition
                | Step::EndClients
                | Step::EndWriters
                | Step::LetGo
                | Step::SetSemiSync { .. }
        );
        self.is_astray && !goes_on && !is_apart
    }
}

fn goes_on(state: SalvageState) -> StepOutcome {
    StepOutcome::Salvage(state, None)
}

fn in_vain(why: Vain, lacking: Option<u64>) -> StepOutcome {
    StepOutcome::Salvage(SalvageState::InVain { why, lacking }, None)
}

fn position(place: &Coordinates) -> LogPosition {
    LogPosition { file: place.file.clone(), position: place.pos }
}

impl ServerLane {
    pub(crate) async fn fetch_tail(&mut self, order: &SalvageOrder) -> Result<StepOutcome, ServerError> {
        if !matches!(&self.salvage.stage, Stage::Fetching(wanted, ..) if wanted == order) {
            self.salvage.forget();
            if let Some(outcome) = self.begin_fetching(order).await? {
                return Ok(outcome);
            }
        }
        let Stage::Fetching(_, task, state) = &mut self.salvage.stage else {
            return Ok(goes_on(SalvageState::Finding));
        };
        let Ok(ended) = timeout(TURN, task).await else {
            let state = state.borrow().clone();
            return Ok(goes_on(state));
        };
        self.salvage.stage = Stage::None;
        let fetched = match ended {
            Ok(Ok(fetched)) => fetched,
            Ok(Err((why, lacking))) => {
                self.salvage.drop_spool();
                return Ok(in_vain(why, lacking));
            }
            Err(error) => return Ok(in_vain(Vain::Unreadable(error.to_string()), None)),
        };
        let found = &fetched.found;
        if found.ranges.is_empty() {
            let (first, last, damage) = (None, None, found.damage.clone());
            return Ok(goes_on(SalvageState::Done { transactions: 0, first, last, damage }));
        }
        let transactions = found.transactions;
        self.salvage.stage = Stage::Fetched(order.clone(), Box::new(fetched));
        Ok(goes_on(SalvageState::Applying { transactions }))
    }

    /// Nothing more is to be received while it is asked for what comes behind.
    async fn begin_fetching(&mut self, order: &SalvageOrder) -> Result<Option<StepOutcome>, ServerError> {
        let session = self.session().await?;
        let Some(channel) = session.channel(QUICK).await? else {
            return Ok(Some(in_vain(Vain::NoPlace, None)));
        };
        let channel = if channel.status.io == ThreadState::No || channel.status.keeps_only_while_receiving() {
            channel
        } else {
            session.stop_receiving(REPLICATION_LIMIT).await?;
            let Some(channel) = session.channel(QUICK).await? else {
                return Ok(Some(in_vain(Vain::NoPlace, None)));
            };
            channel
        };
        if order.lent.is_some() && channel.gtid == GtidUse::No {
            return Ok(Some(in_vain(Vain::NotByGtid, None)));
        }
        let gtid = session.gtid_state(QUICK).await?;
        let received = received_of(session.identity(), Some(&channel.status), &gtid);
        let status = &channel.status;
        let lacking = if order.lent.is_some() {
            // Places in the log of another server say nothing here.
            let lent = order.lent.clone();
            Lacking { server_id: received.server_id, gtids: received.gtids, lent, ..Lacking::default() }
        } else {
            Lacking {
                server_id: received.server_id,
                source_id: status.source_server_id,
                gtids: received.gtids,
                applied: status.applied.as_ref().filter(|place| !place.file.is_empty()).map(position),
                received: status.received.as_ref().map(position),
                lent: None,
            }
        };
        let (said, state) = watch::channel(SalvageState::Finding);
        let fetch = Fetch {
            setup: Arc::clone(&self.setup.borrow()),
            order: order.clone(),
            lacking,
            spool: self.salvage.paths.spool.clone(),
            state: said,
        };
        self.salvage.stage = Stage::Fetching(order.clone(), tokio::spawn(Box::pin(fetch.run())), state);
        Ok(None)
    }

    pub(crate) async fn apply_tail(&mut self, order: &SalvageOrder) -> Result<StepOutcome, ServerError> {
        if let Stage::Fetched(wanted, _) = &self.salvage.stage
            && wanted == order
        {
            // What waits in the relay log would be dropped with it.
            match self.apply_received().await? {
                StepOutcome::Done => {}
                StepOutcome::Failed(why) | StepOutcome::Refused(why) => {
                    self.salvage.forget();
                    return Ok(in_vain(Vain::NotApplied(why), None));
                }
                other => return Ok(other),
            }
            let Stage::Fetched(_, fetched) = std::mem::take(&mut self.salvage.stage) else {
                return Ok(goes_on(SalvageState::Finding));
            };
            if let Err(outcome) = self.turn_to(*fetched).await? {
                return Ok(outcome);
            }
        }
        let Stage::Applying(applying) = &self.salvage.stage else {
            // An earlier agent had it, or it was broken off.
            return Ok(goes_on(SalvageState::Finding));
        };
        let (end, transactions) = (applying.end.clone(), applying.fetched.found.transactions);
        match self.wait_for_tail(&end).await? {
            None => Ok(goes_on(SalvageState::Applying { transactions })),
            Some(Ok(())) => self.end_well().await,
            Some(Err(why)) => {
                self.put_back(false).await?;
                self.salvage.forget();
                Ok(in_vain(Vain::NotApplied(why), Some(transactions)))
            }
        }
    }

    /// Points replication at a source of our own. The inner error is an outcome.
    async fn turn_to(&mut self, fetched: Fetched) -> Result<Result<(), StepOutcome>, ServerError> {
        let lacking = Some(fetched.found.transactions);
        let session = self.session().await?;
        let Some((turn, before, journal)) = Turn::prepare(session, Journal::of).await? else {
            return Ok(Err(in_vain(Vain::NoPlace, lacking)));
        };
        let identity = session.identity().clone();
        let Some(last) = fetched.found.ranges.last() else {
            return Ok(Err(in_vain(Vain::NoPlace, lacking)));
        };
        let end = Coordinates { file: last.file.clone(), pos: last.to };
        let log = match source_log(&fetched, &before, &identity) {
            Ok(log) => log,
            Err(why) => return Ok(Err(in_vain(why, lacking))),
        };
        let user = identity
            .pid_file
            .as_deref()
            .and_then(|pid_file| find_server([pid_file]))
            .and_then(|process| own_server::user_of(process.pid()));
        let source = LogSource::start(log, move |caller, called| {
            user.is_none_or(|user| own_server::belongs_to(caller, called, user))
        });
        let source = match source.await {
            Ok(source) => source,
            Err(error) => return Ok(Err(in_vain(Vain::NotApplied(error.to_string()), lacking))),
        };
        if let Err(error) = journal.write(&self.salvage.paths.journal) {
            let why = format!("{} can't be written: {error}", self.salvage.paths.journal.display());
            return Ok(Err(in_vain(Vain::NotApplied(why), lacking)));
        }
        self.salvage.is_astray = true;
        let address = source.address;
        self.salvage.stage =
            Stage::Applying(Box::new(Applying { fetched, _source: source, end, got: None, idle: None }));
        let session = self.session().await?;
        let (host, port) = (address.ip().to_string(), address.port());
        turn.carry_out(session, &before, &journal, (&host, port, false)).await?;
        session.start_replication(REPLICATION_LIMIT).await?;
        Ok(Ok(()))
    }

    /// One turn of waiting; the inner error says why there is nothing to wait for.
    async fn wait_for_tail(&mut self, end: &Coordinates) -> Result<Option<Result<(), String>>, ServerError> {
        let until = Instant::now() + TURN;
        let mut last = LastLook::new();
        loop {
            self.help_appliers(&mut last).await?;
            let Some(status) = self.session().await?.replica_status(QUICK).await? else {
                return Ok(Some(Err("replication vanished".to_owned())));
            };
            if status.applied.as_ref().is_some_and(|applied| applied.reaches(end)) {
                return Ok(Some(Ok(())));
            }
            let has_all = status.received.as_ref().is_some_and(|received| received.reaches(end));
            if has_all && let Some(ended) = self.has_ended(&status).await? {
                return Ok(Some(ended));
            }
            let stopped = |error: &Option<(u32, String)>| {
                error
                    .as_ref()
                    .map_or("without an error".to_owned(), |(code, text)| format!("{text} ({code})"))
            };
            if status.sql == ThreadState::No {
                return Ok(Some(Err(format!("the SQL thread stopped: {}", stopped(&status.sql_error)))));
            }
            if status.io == ThreadState::No && !has_all {
                return Ok(Some(Err(format!("the IO thread stopped: {}", stopped(&status.io_error)))));
            }
            let now = Instant::now();
            if let Stage::Applying(applying) = &mut self.salvage.stage
                && !has_all
                && let Some(why) = applying.why_nothing_comes(&status, now)
            {
                return Ok(Some(Err(why)));
            }
            if now >= until {
                return Ok(None);
            }
            sleep(POLL).await;
        }
    }

    /// Whether the applier is done with what was received, though its place is not the end: that may lie behind what this server leaves
    /// out, as what it wrote itself. An applier that has just been started, or is to be woken, looks as idle as one that is done: where
    /// there are GTIDs the last one tells, and otherwise only time.
    async fn has_ended(&mut self, status: &ReplicaStatus) -> Result<Option<Result<(), String>>, ServerError> {
        let is_idle = status.applier_is_idle() && self.session().await?.busy_appliers(QUICK).await? == 0;
        let last = match &mut self.salvage.stage {
            Stage::Applying(applying) if is_idle => applying.fetched.found.last.clone(),
            Stage::Applying(applying) => {
                applying.idle = None;
                return Ok(None);
            }
            _ => return Ok(None),
        };
        if let Some(last) = &last {
            let GtidState { binlog_state, slave_pos } = self.session().await?.gtid_state(QUICK).await?;
            let here = [binlog_state, slave_pos].into_iter().filter(|part| !part.is_empty());
            if is_gtid_subset(last, &here.collect::<Vec<_>>().join(",")) == Some(true) {
                return Ok(Some(Ok(())));
            }
        }
        let Stage::Applying(applying) = &mut self.salvage.stage else { return Ok(None) };
        let idle = applying.idle.take().filter(|(place, _)| *place == status.applied);
        let (_, since) =
            applying.idle.insert(idle.unwrap_or_else(|| (status.applied.clone(), Instant::now())));
        let limit = if last.is_some() { RECEIVES_WITHIN } else { SURELY_IDLE };
        Ok((since.elapsed() >= limit).then(|| match last {
            Some(last) => Err(format!("the applier has nothing left to do, and {last} is not here")),
            None => Ok(()),
        }))
    }

    async fn end_well(&mut self) -> Result<StepOutcome, ServerError> {
        self.put_back(false).await?;
        let gtid = self.session().await?.gtid_state(QUICK).await?;
        let Stage::Applying(applying) = &self.salvage.stage else {
            return Ok(goes_on(SalvageState::Finding));
        };
        let found = applying.fetched.found.clone();
        self.salvage.forget();
        let (transactions, first, last, damage) = (found.transactions, found.first, found.last, found.damage);
        Ok(StepOutcome::Salvage(
            SalvageState::Done { transactions, first, last, damage },
            Some(gtid.binlog_state),
        ))
    }

    /// Replication points where it pointed before, behind what it has applied, and applies; receiving is started only where it
    /// is said.
    pub(crate) async fn put_back(&mut self, receive: bool) -> Result<(), ServerError> {
        let Some(journal) = Journal::load(&self.salvage.paths.journal) else {
            self.salvage.is_astray = false;
            return Ok(());
        };
        let session = self.session().await?;
        let prepared = Turn::prepare(session, |_| journal.clone()).await?;
        if let Some((turn, now, _)) = prepared
            && (now.status.source_host.as_str(), now.status.source_port)
                != (journal.host.as_str(), journal.port)
        {
            turn.carry_out(session, &now, &journal, (&journal.host, journal.port, journal.tls)).await?;
            let from = match &turn {
                Turn::Receiver(StartAt::Log(place)) | Turn::Both(StartAt::Log(place)) => {
                    format!(", {place}")
                }
                Turn::Receiver(StartAt::Gtid(_)) | Turn::Both(StartAt::Gtid(_)) => String::new(),
            };
            tracing::info!("Replication points at {}:{} again{from}", journal.host, journal.port);
        }
        Journal::remove(&self.salvage.paths.journal);
        self.salvage.is_astray = false;
        self.session().await?.start_threads(receive, true, REPLICATION_LIMIT).await
    }
}

fn source_log(fetched: &Fetched, before: &Channel, own: &Identity) -> Result<SourceLog, Vain> {
    let found = &fetched.found;
    let flavour = if found.server_version.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
    if flavour != own.flavour {
        let why = format!("it is the log of {}, and this server is of another family", found.server_version);
        return Err(Vain::NotApplied(why));
    }
    let mut at = 0;
    let mut pieces = Vec::new();
    for range in &found.ranges {
        let opening = STANDARD.decode(&range.opening).map_err(|error| Vain::Unreadable(error.to_string()))?;
        pieces.push(LogPiece { name: range.file.clone(), opening, from: range.from, to: range.to, at });
        at += range.to - range.from;
    }
    Ok(SourceLog {
        flavour,
        server_version: found.server_version.clone(),
        server_id: found.server_id,
        server_uuid: found.server_uuid.clone(),
        gtid_mode: own.gtid,
        checksums: found.checksums,
        user: before.status.source_user.clone(),
        spool: fetched.spool.clone(),
        pieces,
    })
}
