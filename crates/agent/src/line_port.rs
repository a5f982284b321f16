//! Serves monitors of 2.2.1: lines over the same port, any number on a connection, each answered before the next is read.
//!
//! What a line means for this host is decided by the mind. Here it is read, and written within limits, so that a caller
//! that is slow, silent or greedy takes no more than its own connection.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mmm_core::{AgentEvent, HostName, LineAnswer, LineRequest, Role};
use mmm_wire::protocol1::{
    AgentReport, Answer, Command, LineConnection, LineError, Reply, Request, SetStatus, SystemReport, Uptime,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::setup::Setup;

/// Connections at a time. A monitor has one, and those that it has given up.
const CONNECTIONS_MAX: usize = 64;
/// A connection over which nothing is asked for so long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// The mind has an answer to everything before, be it that it did not get done.
const ANSWER_SLACK: Duration = Duration::from_secs(15);

/// Lines that the mind has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct LineAskers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<LineAnswer>>,
}

impl LineAskers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> (u64, oneshot::Receiver<LineAnswer>) {
        let (answer, answered) = oneshot::channel();
        let mut held = self.lock();
        held.last += 1;
        let number = held.last;
        held.waiting.insert(number, answer);
        (number, answered)
    }

    fn give_up(&self, asker: u64) {
        self.lock().waiting.remove(&asker);
    }

    /// Nobody may wait for it any more.
    pub(crate) fn answer(&self, asker: u64, answer: LineAnswer) {
        if let Some(waiting) = self.lock().waiting.remove(&asker) {
            let _ = waiting.send(answer);
        }
    }
}

/// What the configuration says of lines.
#[derive(Debug)]
pub(crate) struct LineRules {
    roles: BTreeMap<IpAddr, Role>,
    /// Lines can prove no secret: where one is set they may change something only if that was allowed.
    may_change: bool,
    answer_limit: Duration,
}

impl LineRules {
    pub(crate) fn new(setup: &Setup) -> Self {
        let patience = Duration::from_secs(setup.mind.max_kill_retries.into());
        Self {
            roles: setup.roles.clone(),
            may_change: setup.secret.is_none() || setup.allow_protocol1,
            answer_limit: patience + ANSWER_SLACK,
        }
    }
}

/// What is needed to answer lines.
pub(crate) struct LinePort {
    host: HostName,
    rules: watch::Receiver<Arc<LineRules>>,
    refusal_told: AtomicBool,
    places: Semaphore,
    askers: Arc<LineAskers>,
    events: mpsc::Sender<AgentEvent>,
}

impl LinePort {
    pub(crate) fn new(
        host: HostName,
        rules: watch::Receiver<Arc<LineRules>>,
        askers: Arc<LineAskers>,
        events: mpsc::Sender<AgentEvent>,
    ) -> Self {
        Self {
            host,
            rules,
            refusal_told: AtomicBool::new(false),
            places: Semaphore::new(CONNECTIONS_MAX),
            askers,
            events,
        }
    }

    /// Answers what comes over one connection until it ends, and says why it did.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite>(&self, mut lines: LineConnection<S>) -> String {
        let Ok(_place) = self.places.try_acquire() else {
            return format!("{CONNECTIONS_MAX} others are open already");
        };
        let mut version_told = false;
        let why = loop {
            let line = match timeout(IDLE_LIMIT, lines.next()).await {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) => break "it was closed".to_owned(),
                Ok(Err(error)) => {
                    if matches!(error, LineError::TooLong) {
                        let _ = lines.answer(&stamped(refused("The line is too long!"))).await;
                    }
                    break error.to_string();
                }
                Err(_) => break format!("nothing was asked for {} s", IDLE_LIMIT.as_secs()),
            };
            let reply = match Request::parse(&line.text, &self.host) {
                Ok(request) => {
                    if request.is_newer() && !std::mem::replace(&mut version_told, true) {
                        let word = request.command.asked().word();
                        tracing::warn!(
                            "Version in command '{word}' ({}) is greater than mine ({})",
                            request.version,
                            mmm_wire::protocol1::VERSION
                        );
                    }
                    self.reply(request.command, lines.caller()).await
                }
                Err(fault) => refused(fault.to_string()),
            };
            if let Err(error) = lines.answer(&stamped(reply)).await {
                return error.to_string();
            }
        };
        lines.finish().await;
        why
    }

    fn rules(&self) -> Arc<LineRules> {
        Arc::clone(&self.rules.borrow())
    }

    async fn reply(&self, command: Command, caller: &str) -> Reply {
        let configured = self.rules();
        let request = match command {
            Command::Ping => return Reply::Pinged,
            Command::AgentStatus => LineRequest::AgentStatus,
            Command::SystemStatus => LineRequest::SystemStatus,
            Command::SetStatus(_) | Command::ClearBadRoles if !configured.may_change => {
                if !self.refusal_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "The monitor at {caller} speaks protocol 1, which can't prove the secret that is set here: its orders are not followed (allow_protocol1 yes in mmm3.conf lets it)"
                    );
                }
                return refused(format!(
                    "Nothing was changed: a secret is set here and protocol 1 can't prove one. Set allow_protocol1 yes in mmm3.conf of host '{}' and reload its agent (SIGHUP), or use a monitor of version 3",
                    self.host
                ));
            }
            Command::SetStatus(SetStatus { state, roles, active_master }) => {
                if let Some(unknown) =
                    roles.iter().find(|role| configured.roles.get(&role.ip()) != Some(*role))
                {
                    return refused(format!(
                        "Nothing was changed: the configuration of host '{}' has no role {unknown}. Give monitor and agents the same mmm_common.conf",
                        self.host
                    ));
                }
                LineRequest::SetStatus { state, roles, active_master }
            }
            Command::ClearBadRoles => LineRequest::ClearBadRoles,
        };
        match self.ask(request).await {
            Some(LineAnswer::Applied) => Reply::Applied,
            Some(LineAnswer::AgentStatus { state, roles, active_master }) => {
                Reply::AgentStatus(AgentReport { state, roles, active_master })
            }
            Some(LineAnswer::SystemStatus { writable, roles, source_ip }) => {
                let roles = roles.into_iter().collect();
                Reply::SystemStatus(SystemReport {
                    writable,
                    roles,
                    source: source_ip.map(|ip| ip.to_string()),
                })
            }
            Some(LineAnswer::Removed(count)) => Reply::Removed(count),
            Some(LineAnswer::Refused(why)) => refused(why),
            None => refused("this agent did not get to it in time; its log may say why"),
        }
    }

    async fn ask(&self, request: LineRequest) -> Option<LineAnswer> {
        let (asker, answered) = self.askers.begin();
        let exchange = async {
            self.events.send(AgentEvent::LineAsked { asker, request }).await.ok()?;
            answered.await.ok()
        };
        let answer = timeout(self.rules().answer_limit, exchange).await.ok().flatten();
        self.askers.give_up(asker);
        answer
    }
}

fn refused(why: impl Into<String>) -> Reply {
    Reply::Error(why.into())
}

fn stamped(reply: Reply) -> Answer {
    Answer { reply, uptime: Uptime::of_host() }
}

#[cfg(test)]
mod tests;
