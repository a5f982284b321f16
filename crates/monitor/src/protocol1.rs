//! An agent that speaks protocol 1, as those of 2.2.1 do: asked one thing a connection, each with a deadline.
//!
//! It says nothing by itself, so it is asked again and again; what it answers goes to the mind as one report. Nothing
//! here concerns another host.

use std::time::Duration;

use mmm_core::{Event, GtidView, HostState, LogPosition, Order, OrderId, Protocol1Report, ToAgent};
use mmm_mysql::{ServerError, Session};
use mmm_wire::Transport;
use mmm_wire::protocol1::{Answer, Asked, Command, LineReader, Reply, Request, SetStatus, SystemReport};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::setup::HostSetup;

/// Protocol 2 is offered again after this long: the agent may have been replaced between two questions.
const OFFER_AGAIN: Duration = Duration::from_secs(15);
/// A status is patiently waited for: the agent lets writes end before it closes the server.
const BEYOND_KILL_RETRIES: Duration = Duration::from_secs(20);
/// How long the server is asked where its log ends.
const SERVER_LIMIT: Duration = Duration::from_secs(1);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) set_status: Duration,
    /// Any other answer; the agent may be busy with what it does after every connection.
    pub(crate) answer: Duration,
    /// Without orders, it is asked for a sign of life after this long.
    pub(crate) idle: Duration,
}

impl Limits {
    pub(crate) fn new(max_kill_retries: u32) -> Self {
        Self {
            connect: Duration::from_secs(2),
            // A round of patience takes a second.
            set_status: Duration::from_secs(u64::from(max_kill_retries)) + BEYOND_KILL_RETRIES,
            answer: Duration::from_secs(15),
            idle: Duration::from_secs(4),
        }
    }
}

/// Why the agent is not driven any more.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It is time to offer protocol 2 again.
    Due,
    Lost(Failure),
    /// The monitor is ending.
    Over,
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

pub(crate) struct OldAgent {
    host: HostSetup,
    transport: Transport,
    limits: Limits,
    events: mpsc::Sender<Event>,
    offer_again: Instant,
    /// It has been asked what it has, since it was last out of reach.
    met: bool,
    /// The next order comes after a time without orders: addresses that belong to nobody are taken down with it.
    clear: bool,
    /// Kept connection to the host's server.
    server: Option<Session>,
}

impl OldAgent {
    pub(crate) fn new(
        host: HostSetup,
        transport: Transport,
        limits: Limits,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let offer_again = Instant::now() + OFFER_AGAIN;
        Self { host, transport, limits, events, offer_again, met: false, clear: true, server: None }
    }

    /// What is configured now counts from the next command on.
    pub(crate) fn follow(&mut self, transport: &Transport, limits: Limits) {
        self.transport = transport.clone();
        self.limits = limits;
    }

    /// Protocol 2 was offered, and not taken.
    pub(crate) fn was_offered(&mut self) {
        self.offer_again = Instant::now() + OFFER_AGAIN;
    }

    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.offer_again
    }

    /// Goes on until the agent is out of reach or may be asked for protocol 2 again.
    pub(crate) async fn drive(&mut self, messages: &mut mpsc::Receiver<ToAgent>) -> Ended {
        loop {
            let done = if self.met { self.turn(messages).await } else { self.meet(messages).await };
            match done {
                Ok(None) => {}
                Ok(Some(ended)) => return ended,
                Err(failure) => {
                    self.met = false;
                    self.clear = true;
                    // What answers badly, or not at all, may be another agent by now.
                    self.offer_again = Instant::now();
                    return Ended::Lost(failure);
                }
            }
        }
    }

    /// Asks what the agent has before it is told anything.
    async fn meet(&mut self, messages: &mut mpsc::Receiver<ToAgent>) -> Result<Option<Ended>, Failure> {
        // What waits here was meant for an earlier time; the mind tells everything anew.
        while messages.try_recv().is_ok() {}
        let said = match self.ask(Command::AgentStatus).await?.reply {
            Reply::AgentStatus(said) => said,
            other => return Err(unexpected(Asked::AgentStatus, &other)),
        };
        let state = Some(said.state).filter(|state| *state != HostState::Unknown);
        self.met = true;
        self.report(None, Some((state, said.roles)), None).await
    }

    /// One order, or one sign of life.
    async fn turn(&mut self, messages: &mut mpsc::Receiver<ToAgent>) -> Result<Option<Ended>, Failure> {
        let idle = Instant::now() + self.limits.idle;
        let until = idle.min(self.offer_again);
        let Ok(first) = tokio::time::timeout_at(until, messages.recv()).await else {
            if self.is_due() {
                return Ok(Some(Ended::Due));
            }
            self.clear = true;
            match self.ask(Command::Ping).await?.reply {
                Reply::Pinged => {}
                other => return Err(unexpected(Asked::Ping, &other)),
            }
            return self.report(None, None, None).await;
        };
        let Some(first) = first else { return Ok(Some(Ended::Over)) };
        // Each order is the whole truth: of those that came meanwhile only the last counts.
        let mut order = order_of(first);
        while let Ok(message) = messages.try_recv() {
            order = order_of(message).or(order);
        }
        match order {
            Some(order) => self.apply(&order).await,
            None => Ok(None),
        }
    }

    async fn apply(&mut self, order: &Order) -> Result<Option<Ended>, Failure> {
        let status = SetStatus {
            state: order.state,
            roles: order.roles.clone(),
            active_master: order.active_master.clone(),
        };
        match self.ask(Command::SetStatus(status)).await?.reply {
            Reply::Applied => {}
            other => return Err(unexpected(Asked::SetStatus, &other)),
        }
        if std::mem::take(&mut self.clear) {
            self.clear_bad_roles().await?;
        }
        self.report(Some(order.id), None, Some(order)).await
    }

    async fn clear_bad_roles(&mut self) -> Result<(), Failure> {
        match self.ask(Command::ClearBadRoles).await?.reply {
            Reply::Removed(0) => Ok(()),
            Reply::Removed(count) => {
                tracing::info!(
                    "Host '{}' had {count} addresses of roles that it does not have",
                    self.host.name
                );
                Ok(())
            }
            other => Err(unexpected(Asked::ClearBadRoles, &other)),
        }
    }

    /// Looks at the host and tells the mind.
    async fn report(
        &mut self,
        applied: Option<OrderId>,
        said: Option<(Option<HostState>, std::collections::BTreeSet<mmm_core::Role>)>,
        order: Option<&Order>,
    ) -> Result<Option<Ended>, Failure> {
        let (mut seen, mut uptime) = self.look().await?;
        let stray = order.is_some_and(|order| seen.roles.iter().any(|role| !order.roles.contains(role)));
        if stray {
            // An agent of 2.2.1 that was started anew does not know of the addresses it had before.
            self.clear_bad_roles().await?;
            (seen, uptime) = self.look().await?;
        }
        let closed = order.filter(|order| order.writer.is_none() && !seen.writable);
        let (position, gtid) = match closed {
            Some(order) => self.ask_server(order.release.is_some()).await,
            None => (None, None),
        };
        let report = Protocol1Report {
            applied,
            said,
            writable: seen.writable,
            held: seen.roles.into_iter().collect(),
            source_ip: seen.source.and_then(|source| source.parse().ok()),
            uptime,
            position,
            gtid,
        };
        let event = Event::Protocol1Reported { host: self.host.name.clone(), report: Box::new(report) };
        Ok(self.events.send(event).await.is_err().then_some(Ended::Over))
    }

    async fn look(&mut self) -> Result<(SystemReport, Duration), Failure> {
        let answer = self.ask(Command::SystemStatus).await?;
        match answer.reply {
            Reply::SystemStatus(seen) => Ok((seen, answer.uptime.as_duration())),
            other => Err(unexpected(Asked::SystemStatus, &other)),
        }
    }

    /// Where the log of a closed server ends, which its agent has no word for. A server that is gone answers nothing.
    async fn ask_server(&mut self, with_position: bool) -> (Option<LogPosition>, Option<GtidView>) {
        match self.ask_server_once(with_position).await {
            Ok(answer) => answer,
            Err(error) => {
                self.server = None;
                tracing::debug!(
                    "Can't ask the server of host '{}' for its position: {error}",
                    self.host.name
                );
                (None, None)
            }
        }
    }

    async fn ask_server_once(
        &mut self,
        with_position: bool,
    ) -> Result<(Option<LogPosition>, Option<GtidView>), ServerError> {
        let mut session = match self.server.take().filter(Session::is_usable) {
            Some(session) => session,
            None => Session::connect(&self.host.server, &self.host.account, SERVER_LIMIT).await?,
        };
        let position = if with_position {
            session
                .log_position(SERVER_LIMIT)
                .await?
                .map(|end| LogPosition { file: end.file, position: end.pos })
        } else {
            None
        };
        let gtid = session.gtid_state(SERVER_LIMIT).await?;
        let gtid = GtidView {
            server_id: session.identity().server_id,
            binlog_state: gtid.binlog_state,
            slave_pos: gtid.slave_pos,
        };
        self.server = Some(session);
        Ok((position, Some(gtid)))
    }

    async fn ask(&self, command: Command) -> Result<Answer, Failure> {
        let limit = match command {
            Command::SetStatus(_) => self.limits.set_status,
            Command::Ping | Command::AgentStatus | Command::SystemStatus | Command::ClearBadRoles => {
                self.limits.answer
            }
        };
        let word = command.asked().word();
        match timeout(limit, exchange(&self.host, &self.transport, command, self.limits.connect)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(format!("no answer to {word} within {} s", limit.as_secs_f32()))),
        }
    }
}

fn order_of(message: ToAgent) -> Option<Order> {
    match message {
        ToAgent::Order(order) => Some(order),
        // Protocol 1 has no words for these.
        ToAgent::Begin { .. }
        | ToAgent::Approach { .. }
        | ToAgent::Announce(_)
        | ToAgent::Look { .. }
        | ToAgent::Grant(_)
        | ToAgent::Examine { .. }
        | ToAgent::Survey { .. }
        | ToAgent::Heartbeat { .. } => None,
    }
}

fn unexpected(asked: Asked, reply: &Reply) -> Failure {
    let word = asked.word();
    Failure::new(match reply {
        Reply::Error(text) => format!("it answered {word} with ERROR: {text}"),
        other => format!("it answered {word} with {other:?}"),
    })
}

/// One request on a connection of its own.
async fn exchange(
    host: &HostSetup,
    transport: &Transport,
    command: Command,
    connect_limit: Duration,
) -> Result<Answer, Failure> {
    let (address, asked) = (host.agent, command.asked());
    let stream = match timeout(connect_limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(Failure::new(format!("can't connect to {address}: {error}")));
        }
        Err(_) => {
            let limit = connect_limit.as_secs_f32();
            return Err(Failure::new(format!("can't connect to {address}: no answer within {limit} s")));
        }
    };
    // A host that is gone is noticed long before an agent that is slow is given up.
    if let Err(error) = mmm_net::guard(&stream, connect_limit) {
        tracing::debug!("Can't set the limits on the connection to {address}: {error}");
    }
    let peer = format!("agent of {} at {address}", host.name);
    let connecting = transport.connect(stream, &peer, connect_limit).await;
    let mut stream = connecting.map_err(|error| Failure::new(error.to_string()))?;
    let word = asked.word();
    let request = Request::new(host.name.clone(), command).line();
    let failed = |error: std::io::Error| Failure::new(format!("can't send {word} to {address}: {error}"));
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let line = LineReader::new(&mut stream)
        .next()
        .await
        .map_err(|error| Failure::new(format!("no answer to {word}: {error}")))?;
    match line {
        Some(line) if line.ended => {
            Answer::parse(&line.text, asked).map_err(|error| Failure::new(error.to_string()))
        }
        Some(_) => {
            Err(Failure::new(format!("it closed the connection in the middle of its answer to {word}")))
        }
        None => Err(Failure::new(format!("it closed the connection without an answer to {word}"))),
    }
}

#[cfg(test)]
pub(crate) mod tests;
