//! The server lane: carries out its steps over a connection of its own, each within a limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::following::Running;
use mmm_core::{AgentEvent, HostName, LogPosition, OrderId, Step, StepOutcome, Takeover, is_gtid_subset};
use mmm_mysql::{
    Account, Coordinates, Endpoint, ErrorKind, Flavour, ReplicaStatus, ServerError, Session, ThreadState,
    WaitOutcome,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::approach::Closeness;
use crate::letting_go::LastLook;
use crate::pace::Pace;
use crate::salvage::{Salvage, SalvagePaths};
use crate::setup::Setup;
use crate::source_position::final_position_of;
use crate::torn::TearDesk;
use crate::watch::LOGIN_PATIENCE;

/// A single statement that needs no lock.
pub(crate) const QUICK: Duration = Duration::from_secs(2);
/// Starting and stopping replication waits for what its threads are doing.
pub(crate) const REPLICATION_LIMIT: Duration = Duration::from_secs(10);
/// One turn of waiting for replication: no more urgent step waits longer than this for its turn.
pub(crate) const TURN: Duration = Duration::from_millis(500);
/// An applier with nothing to do stops at once; a new writer waits for this.
const STILL_LIMIT: Duration = Duration::from_millis(500);
/// Looks, [`POLL`] apart, at an applier that seems to have nothing to do: one that is still to be woken does so as well, and on a busy
/// machine that takes its time.
const SURELY_IDLE: u32 = 25;
/// A connection that is used this often outlasts any sensible `wait_timeout`.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// How long the server waits by itself between two looks.
const OWN_WAIT: Duration = Duration::from_millis(20);
pub(crate) const POLL: Duration = Duration::from_millis(2);

pub(crate) struct ServerLane {
    pub(crate) endpoint: Endpoint,
    pub(crate) account: Account,
    pub(crate) own_users: Vec<String>,
    /// By which a replica of each host logs in there.
    pub(crate) replication: BTreeMap<HostName, Account>,
    pub(crate) events: mpsc::Sender<AgentEvent>,
    pub(crate) setup: watch::Receiver<Arc<Setup>>,
    pub(crate) salvage: Salvage,
    pub(crate) tear: TearDesk,
    /// What the last turn of an approach knew.
    pub(crate) approaching: Option<(OrderId, Closeness)>,
    /// Waiting for acknowledgements is off for a step that applies something.
    pub(crate) is_unwaiting: bool,
    pace: Pace,
    session: Option<Session>,
    /// One that is being made.
    login: Option<JoinHandle<Result<Session, ServerError>>>,
}

/// The session that came of a login, where one came of it; for ever where there is none under way.
async fn ended(login: &mut Option<JoinHandle<Result<Session, ServerError>>>) -> Option<Session> {
    match login {
        Some(login) => login.await.ok().and_then(Result::ok),
        None => std::future::pending().await,
    }
}

impl ServerLane {
    pub(crate) fn new(mut setup: watch::Receiver<Arc<Setup>>, events: mpsc::Sender<AgentEvent>) -> Self {
        let now = Arc::clone(&setup.borrow_and_update());
        Self {
            endpoint: now.server,
            account: now.account.clone(),
            own_users: now.own_users.clone(),
            replication: now.replication_at.clone(),
            events,
            salvage: Salvage::new(SalvagePaths::beside(&now.epoch_path)),
            tear: TearDesk::default(),
            approaching: None,
            setup,
            is_unwaiting: false,
            pace: Pace::default(),
            session: None,
            login: None,
        }
    }

    /// Goes by what is configured now; a connection of another account or to another port is given up.
    fn follow_setup(&mut self) {
        if !self.setup.has_changed().unwrap_or(false) {
            return;
        }
        let setup = Arc::clone(&self.setup.borrow_and_update());
        if !setup.reaches_server_as(&self.endpoint, &self.account) {
            (self.session, self.login) = (None, None);
        }
        (self.endpoint, self.account) = (setup.server, setup.account.clone());
        self.own_users.clone_from(&setup.own_users);
        self.replication.clone_from(&setup.replication_at);
    }

    pub(crate) async fn run(mut self, mut steps: mpsc::Receiver<Step>) {
        self.keep_session().await;
        loop {
            let step = tokio::select! {
                biased;
                step = steps.recv() => match step {
                    Some(step) => step,
                    None => return,
                },
                session = ended(&mut self.login) => {
                    (self.login, self.session) = (None, session);
                    continue;
                }
                () = sleep(KEEP_EVERY) => {
                    self.keep_session().await;
                    continue;
                }
            };
            self.follow_setup();
            let began = Instant::now();
            let mut outcome = self.carry_out(&step).await;
            // A kept connection may have died with an earlier server: that says nothing about this one.
            if self.session.as_ref().is_none_or(|session| !session.is_usable())
                && matches!(outcome, Err(ref error) if matches!(error.kind, ErrorKind::Closed { .. }))
            {
                self.session = None;
                outcome = self.carry_out(&step).await;
            }
            let outcome = outcome.unwrap_or_else(|error| StepOutcome::Failed(error.to_string()));
            tracing::debug!("{} took {} us: {outcome:?}", step.describe(), began.elapsed().as_micros());
            if self.events.send(AgentEvent::StepEnded { step, outcome }).await.is_err() {
                return;
            }
        }
    }

    /// A login may take long just when a step is urgent, so there is a connection before that. It is waited for only where no step
    /// waits for it: one that is carried out late may be wrong by then.
    async fn keep_session(&mut self) {
        self.follow_setup();
        match self.session.as_mut().filter(|session| session.is_usable()) {
            // One that fails is given up, and the next turn makes another.
            Some(session) => drop(session.check_alive(QUICK).await),
            None if self.login.is_none() => {
                let (endpoint, account) = (self.endpoint, self.account.clone());
                let login = async move { Session::connect(&endpoint, &account, LOGIN_PATIENCE).await };
                self.login = Some(tokio::spawn(login));
            }
            None => {}
        }
    }

    pub(crate) async fn session(&mut self) -> Result<&mut Session, ServerError> {
        if self.session.as_ref().is_some_and(|session| !session.is_usable()) {
            self.session = None;
        }
        if self.session.is_none() && self.login.is_some() {
            let Ok(session) = timeout(QUICK, ended(&mut self.login)).await else {
                let (kind, user) = (ErrorKind::TimedOut { after: QUICK }, self.account.user.clone());
                return Err(ServerError { kind, endpoint: self.endpoint, user, doing: None });
            };
            (self.login, self.session) = (None, session);
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::connect(&self.endpoint, &self.account, QUICK).await?,
        };
        Ok(self.session.insert(session))
    }

    async fn carry_out(&mut self, step: &Step) -> Result<StepOutcome, ServerError> {
        let outcome = self.act(step).await;
        match self.wait_again().await {
            Ok(()) => outcome,
            Err(error) => outcome.and(Err(error)),
        }
    }

    async fn act(&mut self, step: &Step) -> Result<StepOutcome, ServerError> {
        if self.salvage.must_put_back(step) {
            self.put_back(false).await?;
            self.salvage.forget();
        }
        match step {
            Step::CloseWrites => self.set_read_only(true).await,
            Step::CloseReturned => self.close_returned().await,
            Step::OpenWrites => {
                self.salvage.give_up_fetching();
                let outcome = self.set_read_only(false).await?;
                if matches!(outcome, StepOutcome::Done) {
                    // Of no use to the old writer any more, and this is not what opening fails of.
                    if let Err(error) = self.let_go_of_half().await {
                        tracing::warn!("A transaction that was received by half may keep its locks: {error}");
                    }
                }
                Ok(outcome)
            }
            Step::ReadPosition => self.read_position().await,
            Step::EndClients => self.end_clients().await,
            Step::EndWriters => self.end_writers().await,
            Step::FetchTail(order) => self.fetch_tail(order).await,
            Step::ApplyTail(order) => self.apply_tail(order).await,
            Step::CatchUp(takeover) => Ok(match self.catch_up(takeover).await? {
                // Before it is opened, and at the price of five short questions.
                StepOutcome::Done => match self.note_junction(takeover).await {
                    Some(junction) => StepOutcome::CaughtUp(Box::new(junction)),
                    None => StepOutcome::Done,
                },
                other => other,
            }),
            Step::StopReplication => done(self.stop_replication().await),
            Step::StartReplication => done(self.session().await?.start_replication(REPLICATION_LIMIT).await),
            Step::StopReceiving => done(self.session().await?.stop_receiving(REPLICATION_LIMIT).await),
            Step::ResumeReceiving => {
                // An applier that was stopped by a conflict tries again, and before there is more to apply.
                self.start_threads(Running { receives: false, applies: true }).await?;
                done(self.session().await?.start_receiving(REPLICATION_LIMIT).await)
            }
            Step::StopApplying => done(self.session().await?.stop_applying(STILL_LIMIT).await),
            Step::StartThreads(threads) => done(self.start_threads(*threads).await),
            Step::Approach(order, reach) => self.approach(*order, reach.as_deref()).await,
            Step::Follow { source, start } => self.follow(source, *start).await,
            Step::LeaveGtid { since, start } => self.leave_gtid(since, *start).await,
            Step::GoPastTear { start } => self.go_past_tear(*start).await,
            Step::SetSemiSync { side, on } => {
                done(self.session().await?.set_semi_sync(*side, *on, QUICK).await)
            }
            Step::LetGo => self.let_go().await,
            Step::ReceiveAnew => self.receive_anew().await,
            Step::AddAddress(..) | Step::DropAddress(_) | Step::KeepAddresses(_) | Step::KillServer => {
                Ok(StepOutcome::Failed(format!("'{}' is no step of the server", step.describe())))
            }
        }
    }

    /// A stop that takes long is left to the server: a more urgent step is not to wait for it.
    async fn receive_anew(&mut self) -> Result<StepOutcome, ServerError> {
        self.session().await?.stop_receiving(QUICK).await?;
        done(self.session().await?.start_receiving(QUICK).await)
    }

    async fn read_position(&mut self) -> Result<StepOutcome, ServerError> {
        let position = self.session().await?.log_position(QUICK).await?;
        Ok(match position {
            Some(Coordinates { file, pos }) => StepOutcome::Position(LogPosition { file, position: pos }),
            // Without a binary log there is no position, and nobody replicates from here.
            None => StepOutcome::Done,
        })
    }

    async fn catch_up(&mut self, takeover: &Takeover) -> Result<StepOutcome, ServerError> {
        match takeover {
            Takeover::Keep => Ok(StepOutcome::Done),
            Takeover::Fresh => self.apply_received().await,
            Takeover::AskSource => self.catch_up_with_source().await,
            Takeover::Lost => {
                let status = self.session().await?.replica_status(QUICK).await?;
                if status.as_ref().is_some_and(ReplicaStatus::keeps_only_while_receiving) {
                    match self.apply_received().await? {
                        StepOutcome::Done => {}
                        other => return Ok(other),
                    }
                }
                if status.is_some() {
                    self.session().await?.stop_receiving(REPLICATION_LIMIT).await?;
                }
                self.apply_received().await
            }
            Takeover::After(position) => {
                let target = Coordinates { file: position.file.clone(), pos: position.position };
                Ok(match self.look_for_position(&target).await? {
                    WaitOutcome::Reached => StepOutcome::Done,
                    WaitOutcome::TimedOut => StepOutcome::NotYet(format!(
                        "{target} of the old writer's log is not applied yet; still waiting"
                    )),
                    WaitOutcome::NotAReplica => StepOutcome::Failed(
                        "this server does not replicate, so it can't get the old writer's last transactions: start its replication (START SLAVE, or START REPLICA on MySQL), or move the role back".to_owned(),
                    ),
                })
            }
        }
    }

    /// Looks again and again whether the source's log has been applied up to here. The server's own wait ends at once on `MariaDB`,
    /// but for where it does not know itself in which file it is; and up to 0.3 s late on `MySQL` where several threads apply.
    async fn look_for_position(&mut self, target: &Coordinates) -> Result<WaitOutcome, ServerError> {
        let until = Instant::now() + TURN;
        let (mut idle_seen, mut last) = (0, LastLook::new());
        loop {
            self.help_appliers(&mut last).await?;
            let session = self.session().await?;
            if session.identity().flavour == Flavour::MariaDb
                && session.wait_for_position(target, OWN_WAIT).await? == WaitOutcome::Reached
            {
                return Ok(WaitOutcome::Reached);
            }
            let Some(status) = session.replica_status(QUICK).await? else {
                return Ok(WaitOutcome::NotAReplica);
            };
            if status.sql == ThreadState::No {
                return Ok(WaitOutcome::NotAReplica);
            }
            let reaches =
                |place: &Option<Coordinates>| place.as_ref().is_some_and(|place| place.reaches(target));
            if reaches(&status.applied)
                || (reaches(&status.received) && self.is_at_rest(&status, &mut idle_seen).await?)
            {
                return Ok(WaitOutcome::Reached);
            }
            if Instant::now() >= until {
                return Ok(WaitOutcome::TimedOut);
            }
            sleep(POLL).await;
        }
    }

    /// Whether everything that was received is applied, by the best that this server tells of it.
    async fn is_at_rest(&mut self, status: &ReplicaStatus, idle_seen: &mut u32) -> Result<bool, ServerError> {
        if status.received == status.applied || has_all_retrieved(status) {
            return Ok(true);
        }
        // The last transaction may have arrived in part only: then the applier waits for a rest that never comes.
        let idle = status.applier_is_idle() && self.session().await?.busy_appliers(QUICK).await? == 0;
        *idle_seen = if idle { *idle_seen + 1 } else { 0 };
        Ok(*idle_seen >= SURELY_IDLE)
    }

    /// Asks the source for the end of its log and waits for that; without an answer, for what was received.
    async fn catch_up_with_source(&mut self) -> Result<StepOutcome, ServerError> {
        let Some(status) = self.session().await?.replica_status(QUICK).await? else {
            return Ok(StepOutcome::Done);
        };
        let target = match final_position_of(&status, &self.account).await {
            Ok(target) => target,
            Err(why) => {
                tracing::warn!("Going on with what was received from the old writer: {why}");
                return self.apply_received().await;
            }
        };
        match self.look_for_position(&target).await? {
            WaitOutcome::Reached => Ok(StepOutcome::Done),
            WaitOutcome::TimedOut => Ok(StepOutcome::NotYet(format!(
                "{target} of the log of {} is not applied yet; still waiting",
                status.source_host
            ))),
            WaitOutcome::NotAReplica => self.apply_received().await,
        }
    }

    /// Waits until everything that was received is applied.
    pub(crate) async fn apply_received(&mut self) -> Result<StepOutcome, ServerError> {
        let until = Instant::now() + TURN;
        let (mut idle_seen, mut last) = (0, LastLook::new());
        loop {
            self.help_appliers(&mut last).await?;
            let Some(status) = self.session().await?.replica_status(QUICK).await? else {
                return Ok(StepOutcome::Done);
            };
            if self.is_at_rest(&status, &mut idle_seen).await? {
                self.pace.begin();
                return Ok(StepOutcome::Done);
            }
            if status.sql == ThreadState::No {
                return Ok(StepOutcome::Failed(stopped_applier(&status)));
            }
            if Instant::now() >= until {
                let (applied, received) = (status.applied.as_ref(), status.received.as_ref());
                let left = applied
                    .zip(received)
                    .and_then(|(applied, received)| self.pace.left(Instant::now(), applied, received));
                let estimate = left.map(|left| format!(", about {} s left", left.as_secs().max(1)));
                return Ok(StepOutcome::NotYet(format!(
                    "{} of {} received{}",
                    place(applied),
                    place(received),
                    estimate.unwrap_or_default()
                )));
            }
            sleep(POLL).await;
        }
    }
}

fn done(result: Result<(), ServerError>) -> Result<StepOutcome, ServerError> {
    result.map(|()| StepOutcome::Done)
}

/// Where transactions have GTIDs, `MySQL` tells which arrived whole. Its position may be some 0.3 s behind what it has
/// applied, since several threads apply and their progress is written down now and then only.
fn has_all_retrieved(status: &ReplicaStatus) -> bool {
    let Some((retrieved, executed)) = &status.gtid_sets else { return false };
    !retrieved.is_empty() && is_gtid_subset(retrieved, executed) == Some(true)
}

pub(crate) fn place(coordinates: Option<&Coordinates>) -> String {
    coordinates.map_or("nothing".to_owned(), ToString::to_string)
}

pub(crate) fn stopped_applier(status: &ReplicaStatus) -> String {
    let start = "START SLAVE SQL_THREAD, or START REPLICA SQL_THREAD on MySQL";
    match &status.sql_error {
        Some((code, text)) => format!(
            "replication does not apply (the SQL thread is stopped: {text} ({code})): mend that and start it ({start})"
        ),
        None => format!("replication does not apply (somebody stopped the SQL thread): start it ({start})"),
    }
}
