//! What the agents of other hosts ask here: each connection asks one thing at a time, and is answered by the mind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mmm_core::following::TearRequest;
use mmm_core::rebuild::BackupRequest;
use mmm_core::salvage::TailRequest;
use mmm_core::{AgentEvent, HostName, PeerAnswer, PeerRequest};
use mmm_wire::{Connection, Refusal, RefusalCode, Session};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::rebuild::BackupDesk;
use crate::salvage::TailDesk;

/// Connections that one host may have; its agent needs one, and some more that it has given up.
const CONNECTIONS_MAX: usize = 16;
/// A connection over which nothing is asked for so long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Who asks has given up long before.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Requests that the mind has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Askers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<PeerAnswer>>,
}

impl Askers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> (u64, oneshot::Receiver<PeerAnswer>) {
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
    pub(crate) fn answer(&self, asker: u64, answer: PeerAnswer) {
        if let Some(waiting) = self.lock().waiting.remove(&asker) {
            let _ = waiting.send(answer);
        }
    }
}

/// What comes over one connection.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Asked {
    OfTheMind(PeerRequest),
    ForTheLog(TailRequest),
    ForABackup(BackupRequest),
    ForATear(TearRequest),
}

/// Who may call, and how often at a time.
#[derive(Debug)]
pub(crate) struct PeerPort {
    places: Mutex<BTreeMap<HostName, Arc<Semaphore>>>,
    askers: Arc<Askers>,
    tails: TailDesk,
    backups: BackupDesk,
    events: mpsc::Sender<AgentEvent>,
}

impl PeerPort {
    pub(crate) fn new<'a>(
        peers: impl IntoIterator<Item = &'a HostName>,
        askers: Arc<Askers>,
        tails: TailDesk,
        backups: BackupDesk,
        events: mpsc::Sender<AgentEvent>,
    ) -> Self {
        let port = Self { places: Mutex::default(), askers, tails, backups, events };
        port.follow(peers);
        port
    }

    /// From now on these may call; who has a connection keeps it.
    pub(crate) fn follow<'a>(&self, peers: impl IntoIterator<Item = &'a HostName>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::take(&mut *places);
        *places = peers
            .into_iter()
            .map(|host| {
                let place = earlier.get(host).map(Arc::clone);
                (host.clone(), place.unwrap_or_else(|| Arc::new(Semaphore::new(CONNECTIONS_MAX))))
            })
            .collect();
    }

    /// A place for one more connection of this host.
    pub(crate) fn judge(&self, host: &str) -> Result<OwnedSemaphorePermit, Refusal> {
        let known = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(places) = known.get(host) else {
            let known = known.keys().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            let reason = format!(
                "this agent takes calls from monitors and from the agents of {known}, not of '{host}': give both hosts the same mmm_common.conf"
            );
            return Err(Refusal::new(RefusalCode::UnknownPeer, reason));
        };
        Arc::clone(places).try_acquire_owned().map_err(|_| {
            let reason = format!(
                "the agent of '{host}' has {CONNECTIONS_MAX} connections to this one already; it needs one"
            );
            Refusal::new(RefusalCode::UnknownPeer, reason)
        })
    }

    /// Answers what comes over one connection until it ends, and says why it did.
    /// `at_home`: it is surely the agent of that host, or comes from that host's address at least. Data go to no other.
    pub(crate) async fn serve(&self, session: Session<Connection>, from: &HostName, at_home: bool) -> String {
        let Session { mut reader, mut writer, .. } = session;
        loop {
            let request = match timeout(IDLE_LIMIT, reader.next::<Asked>()).await {
                Ok(Ok(Some(Asked::OfTheMind(request)))) => request,
                Ok(Ok(Some(Asked::ForTheLog(_) | Asked::ForABackup(_) | Asked::ForATear(_)))) if !at_home => {
                    return "it asked for data from an address that is not its host's".to_owned();
                }
                Ok(Ok(Some(Asked::ForTheLog(request)))) => {
                    let answer = self.tails.answer(from, request).await;
                    if let Err(error) = writer.send(&answer).await {
                        return error.to_string();
                    }
                    continue;
                }
                Ok(Ok(Some(Asked::ForABackup(request)))) => {
                    let answer = self.backups.answer(from, request).await;
                    if let Err(error) = writer.send(&answer).await {
                        return error.to_string();
                    }
                    continue;
                }
                Ok(Ok(Some(Asked::ForATear(request)))) => {
                    let answer = self.tails.torn_end(request).await;
                    if let Err(error) = writer.send(&answer).await {
                        return error.to_string();
                    }
                    continue;
                }
                Ok(Ok(None)) => return "it was closed".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("nothing was asked for {} s", IDLE_LIMIT.as_secs()),
            };
            let Some(answer) = self.ask(from, request).await else {
                // Without an answer the next one would be taken for it.
                return "there was no answer in time".to_owned();
            };
            if let Err(error) = writer.send(&answer).await {
                return error.to_string();
            }
        }
    }

    async fn ask(&self, from: &HostName, request: PeerRequest) -> Option<PeerAnswer> {
        let (asker, answered) = self.askers.begin();
        let exchange = async {
            self.events.send(AgentEvent::PeerAsked { asker, from: from.clone(), request }).await.ok()?;
            answered.await.ok()
        };
        let answer = timeout(ANSWER_LIMIT, exchange).await.ok().flatten();
        self.askers.give_up(asker);
        answer
    }
}
