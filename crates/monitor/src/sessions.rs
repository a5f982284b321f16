//! One session with each agent, kept open and opened again when it ends.

use std::sync::Arc;
use std::time::Duration;

use mmm_core::{Event, Moment, ToAgent, ToMonitor};
use mmm_wire::{
    Calling, Connection, Features, FrameReader, FrameWriter, HandshakeError, Purpose, RefusalCode, Session,
    greet_agent,
};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::checkups::Checkups;
use crate::protocol1::{Ended, Failure, Limits, OldAgent};
use crate::setup::HostSetup;
use crate::shell::Wiring;

const HEARTBEAT: Duration = Duration::from_millis(500);
/// An agent that said nothing for this long has no session any more.
const DEAD_AFTER: Duration = Duration::from_millis(2500);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(250);

pub(crate) struct AgentSession {
    pub(crate) wiring: Wiring,
    pub(crate) host: HostSetup,
    pub(crate) checkups: Arc<Checkups>,
}

/// What the answer of an agent of 2.2.1 to our greeting begins with.
const NO_SUCH_COMMAND: &str = "ERROR: Invalid command";

/// Why there is no session.
enum Unopened {
    Failed(String),
    /// One of both does not take the other's certificate, or only one speaks TLS.
    Insecure(String),
    /// It gave no answer in time, which an agent of 2.2.1 may do while it is busy.
    NoAnswer(String),
    /// It speaks protocol 1.
    Protocol1,
    /// The agent has one with another monitor.
    OtherMonitor(String),
}

impl AgentSession {
    pub(crate) async fn run(self, mut messages: mpsc::Receiver<ToAgent>) {
        let mut warned = false;
        // The mind tells of the first failure only, which may be another one: an agent that is not there yet.
        let (mut tried, mut told) = (false, false);
        // While it is known to speak protocol 1.
        let mut old_agent: Option<OldAgent> = None;
        loop {
            let host = self.host.name.clone();
            if let Some(agent) = old_agent.as_mut().filter(|agent| !agent.is_due()) {
                let setup = self.wiring.setup();
                agent.follow(&setup.transport, Limits::new(setup.max_kill_retries));
                match agent.drive(&mut messages).await {
                    Ended::Due => {}
                    Ended::Over => return,
                    Ended::Lost(Failure { reason }) => {
                        if self.wiring.events.send(Event::AgentLost { host, reason }).await.is_err() {
                            return;
                        }
                        sleep(AGAIN).await;
                    }
                }
                continue;
            }
            let event = match (self.open(&mut warned).await, &mut old_agent) {
                (Ok(session), _) => {
                    old_agent = None;
                    told = false;
                    let reason = self.serve(session, &mut messages).await;
                    Event::AgentLost { host, reason }
                }
                (Err(Unopened::Protocol1), known) => {
                    let setup = self.wiring.setup();
                    let limits = Limits::new(setup.max_kill_retries);
                    let (transport, events) = (setup.transport.clone(), self.wiring.events.clone());
                    let new = || OldAgent::new(self.host.clone(), transport, limits, events);
                    known.get_or_insert_with(new).was_offered();
                    self.checkups.end("it speaks protocol 1, which has no words for a doctor");
                    continue;
                }
                (Err(Unopened::NoAnswer(_)), Some(agent)) => {
                    agent.was_offered();
                    continue;
                }
                (Err(Unopened::Insecure(reason)), _) => {
                    old_agent = None;
                    if tried && !std::mem::replace(&mut told, true) {
                        tracing::error!("No session with the agent on host '{host}': {reason}");
                    }
                    Event::AgentLost { host, reason }
                }
                (Err(Unopened::OtherMonitor(reason)), _) => {
                    old_agent = None;
                    Event::AgentRefused { host, reason }
                }
                (Err(Unopened::Failed(reason) | Unopened::NoAnswer(reason)), _) => {
                    old_agent = None;
                    Event::AgentLost { host, reason }
                }
            };
            tried = true;
            if let Event::AgentLost { reason, .. } | Event::AgentRefused { reason, .. } = &event {
                self.checkups.end(reason);
            }
            if self.wiring.events.send(event).await.is_err() {
                return;
            }
            sleep(AGAIN).await;
        }
    }

    async fn open(&self, warned: &mut bool) -> Result<Session<Connection>, Unopened> {
        let address = self.host.agent;
        let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Unopened::Failed(format!("can't connect to {address}: {error}")));
            }
            Err(_) => {
                let limit = CONNECT_LIMIT.as_secs();
                let reason = format!("can't connect to {address}: no answer within {limit} s");
                return Err(Unopened::NoAnswer(reason));
            }
        };
        if let Err(error) = mmm_net::guard(&stream, DEAD_AFTER) {
            tracing::debug!("Can't set the limits on the connection to {address}: {error}");
        }
        let setup = self.wiring.setup();
        let peer = format!("agent of {} at {address}", self.host.name);
        let connecting = setup.transport.connect(stream, &peer, HANDSHAKE_LIMIT).await;
        let stream = connecting.map_err(|error| {
            let unopened = if error.is_silence() { Unopened::NoAnswer } else { Unopened::Insecure };
            unopened(error.to_string())
        })?;
        let calling = Calling {
            host: self.host.name.as_str(),
            address: &address.to_string(),
            secret: setup.secret.as_ref(),
            purpose: Purpose::Monitor,
            instance: setup.mind.instance,
            cluster: setup.cluster.as_deref(),
            features: &Features::of([mmm_core::DOCTOR]),
        };
        let session = greet_agent(stream, &calling, HANDSHAKE_LIMIT).await.map_err(|error| match &error {
            HandshakeError::Refused { refusal, .. } if refusal.code == RefusalCode::OtherMonitor => {
                Unopened::OtherMonitor(refusal.reason.clone())
            }
            // What the agent thinks of this side's certificate comes in place of its first answer.
            HandshakeError::Frame(_) if setup.transport.is_authenticated() => {
                Unopened::Insecure(error.to_string())
            }
            HandshakeError::TlsOnly { .. } => Unopened::Insecure(error.to_string()),
            HandshakeError::OldAgent { answer, .. } if answer.starts_with(NO_SUCH_COMMAND) => {
                if setup.secret.is_none() || setup.allow_protocol1 {
                    Unopened::Protocol1
                } else {
                    Unopened::Failed(format!(
                        "{error}; with secret_file set it is served only with allow_protocol1 yes in mmm3.conf"
                    ))
                }
            }
            HandshakeError::Timeout { .. } => Unopened::NoAnswer(error.to_string()),
            _ => Unopened::Failed(error.to_string()),
        })?;
        let known = session.peer.authenticated || setup.transport.is_authenticated();
        if !known && !std::mem::replace(warned, true) {
            tracing::warn!(
                "The session with the {} is not authenticated: anybody in this network could give orders. Set secret_file in mmm3.conf, or <socket> with type ssl, on all hosts",
                session.peer.name
            );
        }
        Ok(session)
    }

    /// Serves a session until it ends, and says why it did.
    async fn serve(&self, session: Session<Connection>, messages: &mut mpsc::Receiver<ToAgent>) -> String {
        let Session { reader, writer, peer } = session;
        let knows_doctor = peer.features.contains(mmm_core::DOCTOR);
        let questions = self.checkups.begin(knows_doctor);
        // What waits here was meant for an earlier session; the mind tells everything anew.
        while messages.try_recv().is_ok() {}
        let (read, readings) = watch::channel(None);
        tokio::select! {
            why = self.read(reader, read) => why,
            why = write(writer, self.wiring.lineage, messages, readings, questions) => why,
        }
    }

    async fn read(
        &self,
        mut reader: FrameReader<ReadHalf<Connection>>,
        readings: watch::Sender<Option<Moment>>,
    ) -> String {
        let host = &self.host.name;
        let mut connected = false;
        loop {
            let message = match timeout(DEAD_AFTER, reader.next::<ToMonitor>()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return "it closed the session".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("it said nothing for {} ms", DEAD_AFTER.as_millis()),
            };
            let event = match message {
                ToMonitor::Status(status) if connected => Event::AgentReported { host: host.clone(), status },
                ToMonitor::Status(status) => {
                    connected = true;
                    Event::AgentConnected { host: host.clone(), status }
                }
                ToMonitor::Renew(renewal) => Event::Renewed { host: host.clone(), renewal },
                ToMonitor::Heartbeat { reading } => {
                    readings.send_replace(Some(reading));
                    continue;
                }
                ToMonitor::Surveyed(survey) => Event::Surveyed { host: host.clone(), survey },
                ToMonitor::Examined(checkup) => {
                    self.checkups.take_in(&checkup);
                    continue;
                }
            };
            if self.wiring.events.send(event).await.is_err() {
                return "the monitor is ending".to_owned();
            }
        }
    }
}

async fn write(
    mut writer: FrameWriter<WriteHalf<Connection>>,
    lineage: u64,
    messages: &mut mpsc::Receiver<ToAgent>,
    mut readings: watch::Receiver<Option<Moment>>,
    mut questions: Option<watch::Receiver<u64>>,
) -> String {
    // The agent takes nothing before it knows by which state this monitor goes.
    if let Err(error) = writer.send(&ToAgent::Begin { lineage }).await {
        return error.to_string();
    }
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // A frame is never sent inside the select: one that is cut off in the middle would end the session.
        let message = tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(message) => message,
                None => return "the monitor is ending".to_owned(),
            },
            // At once, since the agent counts from its own reading how long ago it was surely heard.
            Ok(()) = readings.changed() => ToAgent::Heartbeat { echo: *readings.borrow_and_update() },
            _ = beat.tick() => ToAgent::Heartbeat { echo: *readings.borrow() },
            number = next(&mut questions) => ToAgent::Examine { number },
        };
        if let Err(error) = writer.send(&message).await {
            return error.to_string();
        }
    }
}

/// The doctor's next question; never where the agent would not understand it.
async fn next(questions: &mut Option<watch::Receiver<u64>>) -> u64 {
    if let Some(questions) = questions
        && questions.changed().await.is_ok()
    {
        return *questions.borrow_and_update();
    }
    std::future::pending().await
}
