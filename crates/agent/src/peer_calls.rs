//! What this agent asks the agents of other hosts: a task for each of them, with a connection that is opened when it is
//! first needed and kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::{AgentEvent, HostName, PeerAnswer, PeerRequest};
use mmm_wire::{Calling, Connection, Features, Purpose, Secret, Session, Transport, greet_agent};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::session::DEAD_AFTER;
use crate::setup::Setup;

/// From the request to its answer, connecting included: a round of promises must fit several times into a lease.
const LIMIT: Duration = Duration::from_millis(800);

/// What waits for its turn with one host. A newer request takes the place of an older one of its kind, which nobody would
/// want answered any more; one kind never takes the place of the other.
#[derive(Clone, Debug, Default)]
struct Waiting {
    promise: Option<PeerRequest>,
    contact: Option<PeerRequest>,
}

impl Waiting {
    fn put(&mut self, request: PeerRequest) {
        let place = match request {
            PeerRequest::Promise { .. } => &mut self.promise,
            PeerRequest::Contact { .. } => &mut self.contact,
        };
        *place = Some(request);
    }

    /// The writer's lease goes first.
    fn take(&mut self) -> Option<PeerRequest> {
        self.promise.take().or_else(|| self.contact.take())
    }
}

/// How this agent introduces itself.
#[derive(Clone, Debug)]
struct Caller {
    host: HostName,
    secret: Option<Secret>,
    transport: Transport,
    cluster: Option<String>,
    instance: u64,
}

impl Caller {
    fn new(setup: &Setup) -> Self {
        Self {
            host: setup.host.clone(),
            secret: setup.secret.clone(),
            transport: setup.transport.clone(),
            cluster: setup.cluster.clone(),
            instance: setup.instance,
        }
    }

    /// All else is the same for as long as the agent runs.
    fn calls_in_the_same_way(&self, other: &Self) -> bool {
        let same_secret = match (&self.secret, &other.secret) {
            (Some(one), Some(other)) => one.is(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_secret && self.transport.is_same(&other.transport)
    }
}

/// The tasks for all other hosts.
#[derive(Debug)]
pub(crate) struct PeerCalls(BTreeMap<HostName, Call>);

/// The task for one other host.
#[derive(Debug)]
struct Call {
    requests: watch::Sender<Waiting>,
    caller: Arc<Caller>,
    address: SocketAddr,
    task: AbortHandle,
}

impl PeerCalls {
    /// Must be called inside a tokio runtime.
    pub(crate) fn start(setup: &Setup, events: &mpsc::Sender<AgentEvent>) -> Self {
        Self::start_to(&setup.peers, &Arc::new(Caller::new(setup)), events)
    }

    /// Calls whom the configuration names now. A connection that is as it was stays.
    pub(crate) fn follow(&mut self, setup: &Setup, events: &mpsc::Sender<AgentEvent>) {
        let caller = Arc::new(Caller::new(setup));
        let mut fresh = Self::start_to(&setup.peers, &caller, events);
        for (host, call) in std::mem::take(&mut self.0) {
            match fresh.0.get_mut(&host) {
                Some(newer)
                    if newer.address == call.address && call.caller.calls_in_the_same_way(&caller) =>
                {
                    std::mem::replace(newer, call).task.abort();
                }
                Some(_) | None => call.task.abort(),
            }
        }
        *self = fresh;
    }

    fn start_to(
        peers: &BTreeMap<HostName, SocketAddr>,
        caller: &Arc<Caller>,
        events: &mpsc::Sender<AgentEvent>,
    ) -> Self {
        let calls = peers.iter().map(|(host, address)| {
            let (requests, waiting) = watch::channel(Waiting::default());
            let line = Line {
                caller: Arc::clone(caller),
                host: host.clone(),
                address: *address,
                session: None,
                is_failing: false,
                events: events.clone(),
            };
            let task = tokio::spawn(line.run(requests.clone(), waiting)).abort_handle();
            let caller = Arc::clone(caller);
            (host.clone(), Call { requests, caller, address: *address, task })
        });
        Self(calls.collect())
    }

    pub(crate) fn ask(&self, host: &HostName, request: PeerRequest) {
        if let Some(call) = self.0.get(host) {
            call.requests.send_modify(|waiting| waiting.put(request));
        } else {
            // The monitor's configuration has hosts that this one lacks.
            tracing::warn!(
                "Can't ask the agent on host '{host}' anything: this host's configuration does not have it. Give all hosts the same mmm_common.conf"
            );
        }
    }
}

/// The way to one other agent.
struct Line {
    caller: Arc<Caller>,
    host: HostName,
    address: SocketAddr,
    session: Option<Session<Connection>>,
    is_failing: bool,
    events: mpsc::Sender<AgentEvent>,
}

impl Line {
    async fn run(mut self, requests: watch::Sender<Waiting>, mut waiting: watch::Receiver<Waiting>) {
        loop {
            let mut next = None;
            requests.send_if_modified(|waiting| {
                next = waiting.take();
                false
            });
            let Some(request) = next else {
                tokio::select! {
                    () = self.events.closed() => return,
                    changed = waiting.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                }
            };
            let answer = self.ask_and_tell(&request).await;
            if let Some(answer) = answer
                && self
                    .events
                    .send(AgentEvent::PeerAnswered { host: self.host.clone(), answer })
                    .await
                    .is_err()
            {
                return;
            }
        }
    }

    async fn ask_and_tell(&mut self, request: &PeerRequest) -> Option<PeerAnswer> {
        let until = Instant::now() + LIMIT;
        let outcome = timeout_at(until, self.ask_twice(request)).await.unwrap_or_else(|_| {
            // What comes over this connection now would be the answer to something else.
            self.session = None;
            Err(format!("no answer within {} ms", LIMIT.as_millis()))
        });
        match outcome {
            Ok(answer) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("The agent on host '{}' answers again", self.host);
                }
                Some(answer)
            }
            Err(why) if std::mem::replace(&mut self.is_failing, true) => {
                tracing::debug!("The agent on host '{}' was asked in vain: {why}", self.host);
                None
            }
            Err(why) => {
                tracing::warn!("The agent on host '{}' was asked in vain: {why}", self.host);
                None
            }
        }
    }

    /// A kept connection that broke says nothing about the agent of now, so a new one is tried at once.
    async fn ask_twice(&mut self, request: &PeerRequest) -> Result<PeerAnswer, String> {
        if let Some(session) = self.session.take()
            && let Ok(answer) = self.ask(session, request).await
        {
            return Ok(answer);
        }
        let session = self.open().await?;
        self.ask(session, request).await
    }

    /// The connection is kept only when the answer came.
    async fn ask(
        &mut self,
        mut session: Session<Connection>,
        request: &PeerRequest,
    ) -> Result<PeerAnswer, String> {
        session.writer.send(request).await.map_err(|error| error.to_string())?;
        let answer = session.reader.next::<PeerAnswer>().await.map_err(|error| error.to_string())?;
        let answer = answer.ok_or_else(|| "it closed the connection".to_owned())?;
        self.session = Some(session);
        Ok(answer)
    }

    async fn open(&self) -> Result<Session<Connection>, String> {
        open_to(&self.caller, &self.host, self.address, LIMIT).await
    }
}

/// Introduces this agent over a connection for something that is not the mind's.
pub(crate) async fn open_session(
    setup: &Setup,
    host: &HostName,
    address: SocketAddr,
    stream: TcpStream,
    limit: Duration,
) -> Result<Session<Connection>, String> {
    open_over(&Caller::new(setup), host, address, stream, limit).await
}

async fn open_to(
    caller: &Caller,
    host: &HostName,
    address: SocketAddr,
    limit: Duration,
) -> Result<Session<Connection>, String> {
    let connecting = TcpStream::connect(address).await;
    let stream = connecting.map_err(|error| format!("can't connect to {address}: {error}"))?;
    open_over(caller, host, address, stream, limit).await
}

async fn open_over(
    caller: &Caller,
    host: &HostName,
    address: SocketAddr,
    stream: TcpStream,
    limit: Duration,
) -> Result<Session<Connection>, String> {
    if let Err(error) = mmm_net::guard(&stream, DEAD_AFTER) {
        tracing::debug!("Can't set the limits on the connection to {address}: {error}");
    }
    let peer = format!("agent of {host} at {address}");
    let connecting = caller.transport.connect(stream, &peer, limit).await;
    let stream = connecting.map_err(|error| error.to_string())?;
    let calling = Calling {
        host: host.as_str(),
        address: &address.to_string(),
        secret: caller.secret.as_ref(),
        purpose: Purpose::Peer { host: caller.host.as_str().to_owned() },
        instance: caller.instance,
        cluster: caller.cluster.as_deref(),
        features: &Features::default(),
    };
    greet_agent(stream, &calling, limit).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
