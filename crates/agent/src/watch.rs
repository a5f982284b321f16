//! Watches the server on this host through a standing connection and a handle on its process.
//!
//! The end of either is noticed at once. What is seen is reported; nothing is decided here.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::{AgentEvent, AgentStatus, GtidView, Moment, OrderId, Place, Received, ServerView};
use mmm_mysql::{
    Account, ClosedWatch, Endpoint, ErrorKind, Flavour, GtidState, Identity, ReplicaStatus, ServerError,
    Session, ThreadState,
};
use mmm_net::ProcessHandle;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::following::replica_view;
use crate::log_places::LogPlaces;
use crate::salvage::LogKeeper;
use crate::server_process::find_server;
use crate::setup::Setup;

/// How often the server is asked whether it is read-only.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Replication and positions change often and are needed seldom.
const ASK_MORE_EVERY: u32 = 4;
/// Without an answer for this long the server counts as silent.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// Until another attempt at a second connection, where the server did not let one in.
const SECOND_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A server that asks a name server which is away lets somebody new in only after that gave up.
pub(crate) const LOGIN_PATIENCE: Duration = Duration::from_secs(30);
/// A process that ends closes its connections first, and is gone shortly after.
const GONE_WITHIN: Duration = Duration::from_millis(50);
/// Pause between two attempts to reach a server that is not there.
const LOOK_FOR_IT_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct ServerWatch {
    endpoint: Endpoint,
    account: Account,
    pid_file: PathBuf,
    setup: watch::Receiver<Arc<Setup>>,
    /// Looks that the monitor orders.
    looks: watch::Receiver<OrderId>,
    /// What is known of this host, of its writes among others.
    reported: watch::Receiver<AgentStatus>,
    events: mpsc::Sender<AgentEvent>,
    /// Where the server itself says that its pid stands, for who has to find its process later.
    named: watch::Sender<Option<PathBuf>>,
    last: ServerView,
    source_ip: Option<std::net::IpAddr>,
    gtid: Option<GtidView>,
    received: Option<Received>,
    receiving: Option<bool>,
    /// Only where there are no GTIDs.
    places: LogPlaces,
    keeper: Arc<LogKeeper>,
    /// The server that was last talked to, as long as its end has not been told.
    process: Option<ProcessHandle>,
    /// For everything but whether the server is writable: what is asked here may hang where a server lives, and a new connection as well.
    further: Option<Session>,
    /// When the server did not let that one in.
    shut_out: Option<Moment>,
    /// It takes writes, answered when it was asked for that, and did not when it was asked for its replication.
    is_half_silent: bool,
    /// It told everything when it was asked for that last.
    told_all: bool,
}

/// Why a connection is not kept any longer.
enum Ended {
    /// The process is gone: nothing has to be asked any more.
    ProcessGone,
    /// The connection closed, or an answer did not come: a new one tells what that means.
    Ask,
    /// Nobody listens to the events.
    Over,
}

impl ServerWatch {
    pub(crate) fn new(
        setup: watch::Receiver<Arc<Setup>>,
        looks: watch::Receiver<OrderId>,
        reported: watch::Receiver<AgentStatus>,
        events: mpsc::Sender<AgentEvent>,
        named: watch::Sender<Option<PathBuf>>,
        keeper: Arc<LogKeeper>,
    ) -> Self {
        let now = Arc::clone(&setup.borrow());
        Self {
            endpoint: now.server,
            account: now.account.clone(),
            pid_file: now.server_pid_file.clone(),
            setup,
            looks,
            reported,
            events,
            named,
            last: ServerView::Unknown,
            source_ip: None,
            gtid: None,
            received: None,
            receiving: None,
            places: LogPlaces::new(now.replication.clone()),
            keeper,
            process: None,
            further: None,
            shut_out: None,
            is_half_silent: false,
            told_all: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut refusal = String::new();
        while !self.events.is_closed() {
            self.follow();
            let asked = clock::now();
            let Some(login) = self.log_in(asked).await else { continue };
            match login {
                Ok(session) => {
                    refusal.clear();
                    match self.keep(session, clock::now()).await {
                        Ended::ProcessGone => self.say(ServerView::Gone, clock::now()).await,
                        Ended::Ask => {}
                        Ended::Over => return,
                    }
                }
                Err(error) => {
                    let view = self.meaning(&error);
                    if view == ServerView::Refusing && refusal != error.to_string() {
                        refusal = error.to_string();
                        tracing::error!(
                            "The server on this host lets the agent's account '{}' not in: {refusal}",
                            self.account.user
                        );
                    }
                    self.say(view, asked).await;
                    sleep(LOOK_FOR_IT_EVERY).await;
                }
            }
        }
    }

    /// Tells of a server that lets nobody in, and waits on: there is only one way to learn that it does after all. Nothing when it is
    /// to be reached in another way.
    async fn log_in(&mut self, asked: Moment) -> Option<Result<Session, ServerError>> {
        let (endpoint, account) = (self.endpoint, self.account.clone());
        let mut login = pin!(Session::connect(&endpoint, &account, LOGIN_PATIENCE));
        if let Ok(result) = timeout(SILENT_AFTER, &mut login).await {
            return Some(result);
        }
        self.say(ServerView::Silent { writable_before: self.was_writable() }, asked).await;
        tokio::select! {
            result = login => Some(result),
            () = self.events.closed() => None,
            Ok(()) = self.setup.changed() => None,
        }
    }

    /// Goes by what is configured now; false when the server is to be reached as before.
    fn follow(&mut self) -> bool {
        let setup = Arc::clone(&self.setup.borrow_and_update());
        let same =
            setup.reaches_server_as(&self.endpoint, &self.account) && setup.server_pid_file == self.pid_file;
        (self.endpoint, self.account) = (setup.server, setup.account.clone());
        self.pid_file.clone_from(&setup.server_pid_file);
        self.places.log_in_as(setup.replication.clone());
        !same
    }

    /// What a failed attempt to connect says about the server.
    fn meaning(&self, error: &ServerError) -> ServerView {
        match &error.kind {
            ErrorKind::Said { .. } if error.proves_life() => ServerView::Refusing,
            // Nobody listens, or it says itself that it is shutting down.
            ErrorKind::Refused | ErrorKind::Said { .. } => ServerView::Gone,
            ErrorKind::TimedOut { .. } => ServerView::Silent { writable_before: self.was_writable() },
            // Closed in the middle of the greeting, or no way to our own address: nothing is learnt by that.
            ErrorKind::Closed { .. } | ErrorKind::Unreachable { .. } | ErrorKind::Unexpected { .. } => {
                self.last
            }
        }
    }

    fn was_writable(&self) -> bool {
        match self.last {
            ServerView::Up { writable } | ServerView::Silent { writable_before: writable } => writable,
            ServerView::Unknown | ServerView::Refusing | ServerView::Gone => false,
        }
    }

    /// Whether the server that was talked to is gone, of which a closed connection tells before its process has ended.
    async fn is_gone(&mut self) -> bool {
        let Some(process) = &self.process else { return false };
        let gone = timeout(GONE_WITHIN, process.exited()).await.is_ok();
        if gone {
            self.process = None;
            self.keeper.see_end();
        }
        gone
    }

    async fn end_of_connection(&mut self) -> Ended {
        if self.is_gone().await { Ended::ProcessGone } else { Ended::Ask }
    }

    async fn keep(&mut self, mut session: Session, asked: Moment) -> Ended {
        // One that was started again before anybody found it missing is another one all the same.
        if self.is_gone().await {
            self.say(ServerView::Gone, asked).await;
        }
        self.process = self.find_process(&session);
        // It may have been open in between.
        self.places.forget_end();
        self.further = None;
        let closed = session.watch();
        // Whether it lives is asked first where the rest is answered late or not at all.
        let mut turn = u32::from(std::mem::take(&mut self.is_half_silent));
        let mut asked = asked;
        let mut look = None;
        loop {
            // What is asked of a look has to be asked after it was ordered.
            let everything = look.is_some() || turn % ASK_MORE_EVERY == 0;
            match self.ask(&mut session, everything, asked).await {
                Ok(writable) => {
                    self.say(ServerView::Up { writable }, asked).await;
                    // What is still to come on this connection would be taken for the next answer.
                    if !session.is_usable() {
                        self.is_half_silent = true;
                        return Ended::Ask;
                    }
                    if !everything || self.told_all {
                        self.say_looked(look.take()).await;
                    }
                }
                Err(error) if matches!(error.kind, ErrorKind::TimedOut { .. }) => {
                    self.say(ServerView::Silent { writable_before: self.was_writable() }, asked).await;
                    return Ended::Ask;
                }
                Err(error) if error.proves_life() => {
                    tracing::error!("The agent's account '{}' lacks a privilege: {error}", self.account.user);
                    self.say(ServerView::Refusing, asked).await;
                    sleep(SILENT_AFTER).await;
                }
                Err(_) => return self.end_of_connection().await,
            }
            turn = if everything { 1 } else { turn + 1 };
            tokio::select! {
                () = process_ended(self.process.as_ref()) => return self.end_of_connection().await,
                () = connection_closed(closed.as_ref()) => return self.end_of_connection().await,
                () = self.events.closed() => return Ended::Over,
                Ok(()) = self.setup.changed() => if self.follow() {
                    return Ended::Ask;
                },
                Ok(()) = self.looks.changed() => look = Some(*self.looks.borrow_and_update()),
                () = sleep(ASK_EVERY) => {}
            }
            asked = clock::now();
        }
    }

    /// Whether the server is writable; now and then also where its replication and its log are.
    async fn ask(
        &mut self,
        session: &mut Session,
        everything: bool,
        asked: Moment,
    ) -> Result<bool, ServerError> {
        let read_only = session.read_only(SILENT_AFTER).await?;
        if !everything {
            // Said once is enough: positions that were read before the last change must not be said again after it.
            (self.gtid, self.received) = (None, None);
            return Ok(!read_only);
        }
        self.told_all = false;
        match self.ask_further(session, read_only, asked).await {
            // The receiver of a writer can't write and keeps what is asked for locked: the server lives, and whether clients can write is
            // seen elsewhere. Of one that is to take the role over it says that it can't.
            Err(error) if !read_only && error.is_timeout() => (self.gtid, self.received) = (None, None),
            answer => answer?,
        }
        Ok(!read_only)
    }

    /// By the second connection where there is one.
    async fn ask_further(
        &mut self,
        own: &mut Session,
        read_only: bool,
        asked: Moment,
    ) -> Result<(), ServerError> {
        if self.further.is_none() && self.shut_out.is_none_or(|at| asked.since(at) >= SECOND_AGAIN_AFTER) {
            self.shut_out = None;
            match self.log_in_further().await {
                Ok(session) => self.further = Some(session),
                Err(error) if error.is_timeout() || error.proves_life() => {
                    tracing::debug!("No second connection to the server: {error}");
                    self.shut_out = Some(asked);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(mut session) = self.further.take() {
            // What does not come in time would be taken for the next answer: then this connection is given up.
            self.ask_for_replication(&mut session, read_only, asked).await?;
            self.further = Some(session);
        } else if !read_only && self.takes_no_writes() {
            // For a login of ours the server makes a temporary table, which it can't while its storage stands still. It lives as long as
            // it answers here, where nothing may be asked that hangs.
            (self.gtid, self.received) = (None, None);
            return Ok(());
        } else {
            self.ask_for_replication(own, read_only, asked).await?;
        }
        self.told_all = true;
        Ok(())
    }

    fn takes_no_writes(&self) -> bool {
        self.reported.borrow().writes.as_ref().is_some_and(|status| status.path.is_useless())
    }

    async fn log_in_further(&self) -> Result<Session, ServerError> {
        let mut session = Session::connect(&self.endpoint, &self.account, SILENT_AFTER).await?;
        match self.keeper.ask(&mut session, SILENT_AFTER).await {
            Err(error) if error.proves_life() => tracing::debug!("Can't ask where the log is: {error}"),
            answer => answer?,
        }
        Ok(session)
    }

    async fn ask_for_replication(
        &mut self,
        session: &mut Session,
        read_only: bool,
        asked: Moment,
    ) -> Result<(), ServerError> {
        let replica = session.channel(SILENT_AFTER).await?;
        let status = replica.as_ref().map(|channel| &channel.status);
        self.source_ip = status.and_then(|status| status.source_host.parse().ok());
        self.receiving = status.map(|status| status.io != ThreadState::No);
        let server_id = session.identity().server_id;
        let gtid = session.gtid_state(SILENT_AFTER).await?;
        let without_gtid = !session.identity().gtid;
        let view = replica.as_ref().map(|channel| replica_view(channel, &gtid, without_gtid));
        // The worker ends when its mind does; nobody is left to tell then.
        let _ = self.events.send(AgentEvent::ReplicaSeen(view, asked)).await;
        let semi_sync = session.semi_sync(SILENT_AFTER).await?;
        let _ = self.events.send(AgentEvent::SemiSyncSeen(semi_sync, asked)).await;
        self.received = Some(received_of(session.identity(), status, &gtid));
        // Without GTIDs the sets are empty, and would seem to say that nothing was ever written.
        let (binlog_state, slave_pos) = if session.identity().gtid {
            (gtid.binlog_state, gtid.slave_pos)
        } else {
            let end = if read_only { session.log_position(SILENT_AFTER).await? } else { None };
            self.places.look(server_id, end, replica.as_ref().map(|channel| &channel.status)).await
        };
        self.gtid = Some(GtidView { server_id, binlog_state, slave_pos });
        Ok(())
    }

    async fn say(&mut self, view: ServerView, asked: Moment) {
        self.last = view;
        self.keeper.see(view);
        let event = AgentEvent::ServerSeen {
            view,
            asked,
            source_ip: self.source_ip,
            gtid: self.gtid.clone(),
            receiving: self.receiving,
        };
        // The worker ends when its mind does; nobody is left to tell then.
        let _ = self.events.send(event).await;
        if let Some(received) = self.received.take().filter(|_| view.is_up()) {
            let _ = self.events.send(AgentEvent::ReceivedSeen(Box::new(received))).await;
        }
    }

    async fn say_looked(&self, look: Option<OrderId>) {
        if let Some(id) = look {
            let _ = self.events.send(AgentEvent::Looked { id }).await;
        }
    }

    /// The server's process by the pid file that the server itself names, or else the configured one.
    fn find_process(&self, session: &Session) -> Option<ProcessHandle> {
        let named = session.identity().pid_file.clone();
        if named.is_some() {
            self.named.send_replace(named.clone());
        }
        let found = find_server(named.iter().chain([&self.pid_file]).map(PathBuf::as_path));
        if found.is_none() {
            tracing::warn!(
                "Can't find the process of the server (pid file {}): its end is noticed by the connection only",
                named.as_ref().unwrap_or(&self.pid_file).display()
            );
        }
        found
    }
}

/// Everything that the server has or will have without receiving any more.
pub(crate) fn received_of(identity: &Identity, status: Option<&ReplicaStatus>, gtid: &GtidState) -> Received {
    let kept = status.filter(|status| !status.begins_anew());
    let place = status.and_then(|status| {
        let received = if kept.is_some() { status.received.as_ref() } else { status.applied.as_ref() }?;
        let source = status.source_host.parse().ok()?;
        Some(Place { source, file: received.file.clone(), position: received.pos })
    });
    // Of what waits in the relay log of a replica without GTIDs only the place is known.
    let known = identity.gtid && status.is_none_or(|status| status.received_gtids.is_some());
    let waiting = kept.and_then(|status| status.received_gtids.as_deref()).unwrap_or_default();
    let parts = [gtid.binlog_state.as_str(), gtid.slave_pos.as_str(), waiting];
    let gtids: Vec<&str> = parts.into_iter().filter(|part| known && !part.is_empty()).collect();
    Received {
        server_id: identity.server_id,
        server_uuid: identity.uuid.clone().filter(|_| identity.flavour == Flavour::MySql),
        gtids: gtids.join(","),
        place,
    }
}

async fn process_ended(process: Option<&ProcessHandle>) {
    match process {
        Some(process) => process.exited().await,
        None => std::future::pending().await,
    }
}

async fn connection_closed(closed: Option<&ClosedWatch>) {
    match closed {
        Some(closed) => closed.closed().await,
        None => std::future::pending().await,
    }
}
