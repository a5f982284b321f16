//! The part of the server lane that takes a receiver past an end of its source's log that was torn when that server died.
//!
//! The agent beside that log is asked what the file holds, which nobody waits for; whether it can be gone past is decided by
//! `mmm_core::following::judge_torn`, once with both threads running and once when they stand still.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::following::{Passing, Running, TearAnswer, TearRequest, TornPlace, judge_torn};
use mmm_core::{HostName, LogPosition, StepOutcome};
use mmm_mysql::{Channel, Coordinates, GtidUse, ReplicaStatus, ServerError, StartAt, ThreadState};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::following::stopped_at;
use crate::peer_calls::open_session;
use crate::server_steps::{POLL, QUICK, REPLICATION_LIMIT, ServerLane};
use crate::setup::Setup;

/// The other agent reads a part of one file for it.
const ASK_LIMIT: Duration = Duration::from_secs(20);
const GREET_LIMIT: Duration = Duration::from_secs(2);
/// What had been received when receiving stopped is mostly applied within milliseconds.
const REST_LIMIT: Duration = Duration::from_millis(500);
/// An answer that is there at once spares a turn.
const AT_ONCE: Duration = Duration::from_millis(100);

type Answer = Result<TearAnswer, String>;

/// What is being asked.
#[derive(Debug, Default)]
pub(crate) struct TearDesk(Option<(TornPlace, JoinHandle<Answer>)>);

impl Drop for TearDesk {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl TearDesk {
    fn give_up(&mut self) {
        if let Some((_, task)) = self.0.take() {
            task.abort();
        }
    }

    /// The answer about this place; none while it is on its way.
    async fn ask(&mut self, setup: &Arc<Setup>, host: &HostName, place: &TornPlace) -> Option<Answer> {
        if self.0.as_ref().is_none_or(|(asked, _)| asked != place) {
            self.give_up();
            let (setup, host, asked) = (Arc::clone(setup), host.clone(), place.clone());
            let task = tokio::spawn(async move {
                match timeout(ASK_LIMIT, ask(&setup, &host, asked)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(format!("no answer within {} s", ASK_LIMIT.as_secs())),
                }
            });
            self.0 = Some((place.clone(), task));
        }
        let (_, task) = self.0.as_mut()?;
        let ended = timeout(AT_ONCE, task).await.ok()?;
        self.0 = None;
        Some(ended.unwrap_or_else(|error| Err(error.to_string())))
    }
}

async fn ask(setup: &Setup, host: &HostName, place: TornPlace) -> Answer {
    let address = setup.peers.get(host).ok_or("this host's configuration does not have it")?;
    let stream = timeout(GREET_LIMIT, TcpStream::connect(address)).await;
    let stream = stream.map_err(|_| format!("no answer from {address}"))?;
    let stream = stream.map_err(|error| format!("can't connect to {address}: {error}"))?;
    let mut line = open_session(setup, host, *address, stream, GREET_LIMIT).await?;
    line.writer.send(&TearRequest::Torn(place)).await.map_err(|error| error.to_string())?;
    let answer = line.reader.next::<TearAnswer>().await.map_err(|error| error.to_string())?;
    answer.ok_or_else(|| "it closed the connection: it may be of an earlier version".to_owned())
}

/// Where the receiver of a channel stopped for good.
fn place_of(channel: &Channel) -> Option<TornPlace> {
    let LogPosition { file, position: received } = stopped_at(channel)?;
    let applied = channel.status.applied.as_ref().filter(|applied| applied.file == file);
    let source_id = channel.status.source_server_id;
    // In an earlier file there is something to be applied still.
    Some(TornPlace { source_id, applied: applied.map_or(0, |applied| applied.pos), file, received })
}

/// The host whose server a channel replicates from.
fn source_of<'a>(setup: &'a Setup, channel: &Channel) -> Option<&'a HostName> {
    let source = channel.status.source_host.as_str();
    let is_there =
        |host: &HostName, ip: IpAddr| host.as_str() == source || source.parse::<IpAddr>() == Ok(ip);
    setup.peers.iter().find(|(host, address)| is_there(host, address.ip())).map(|(host, _)| host)
}

impl ServerLane {
    pub(crate) async fn go_past_tear(&mut self, start: Running) -> Result<StepOutcome, ServerError> {
        let channel = self.session().await?.channel(QUICK).await?;
        if channel.as_ref().is_some_and(|channel| channel.status.misnamed) {
            return self.name_file(start).await;
        }
        let Some((place, channel)) = channel.and_then(|channel| Some((place_of(&channel)?, channel))) else {
            self.start_threads(start).await?;
            return Ok(StepOutcome::Done);
        };
        let setup = Arc::clone(&self.setup.borrow());
        let Some(host) = source_of(&setup, &channel) else { return Ok(StepOutcome::Done) };
        let end = match self.tear.ask(&setup, host, &place).await {
            None => return Ok(StepOutcome::NotYet(format!("asking the agent of '{host}'"))),
            Some(Ok(TearAnswer::Torn(end))) => end,
            Some(Ok(TearAnswer::Not(why)) | Err(why)) => {
                tracing::debug!(
                    "Why receiving from '{host}' stopped is not told by the end of its log: {why}"
                );
                return Ok(StepOutcome::Done);
            }
        };
        let next = match judge_torn(&place, &end) {
            Passing::GoOn(next) => next,
            Passing::Wait(what) => return Ok(StepOutcome::NotYet(what)),
            Passing::Refuse(why) => return Ok(StepOutcome::Refused(why)),
        };
        tracing::warn!(
            "The log of '{host}' ends at {} {} in the middle of an event, as its server died. All that is whole was received, and \
             the next file, {}, begins with a start of that server: replication goes on there",
            place.file,
            end.torn,
            next.file
        );
        self.go_on_at(next, &place, start).await?;
        Ok(StepOutcome::Done)
    }

    /// Tells the server to go on where it is, so that it has the name of the file that it is in. What it would do with the other one
    /// after a crash, or anybody who points it there, is to apply the same transactions twice.
    async fn name_file(&mut self, start: Running) -> Result<StepOutcome, ServerError> {
        self.session().await?.stop_receiving(REPLICATION_LIMIT).await?;
        let seen = self.see_it_rest().await?;
        self.stop_replication().await?;
        let session = self.session().await?;
        let mut stopped = session.channel(QUICK).await?;
        if let (Some(stopped), Some(seen)) = (&mut stopped, &seen) {
            stopped.status.name_as(seen);
        }
        let Some(channel) = stopped.filter(|stopped| stopped.status.misnamed) else {
            self.start_threads(start).await?;
            return Ok(StepOutcome::NotYet("what it has received is not applied yet".to_owned()));
        };
        // By GTID a server whose threads stood still asks for its place anew.
        if let Some(place) = channel.status.applied.clone().filter(|_| channel.gtid == GtidUse::No) {
            session.replicate_at(&StartAt::Log(place.clone()), REPLICATION_LIMIT).await?;
            tracing::info!(
                "The log of {} ends in the middle of a transaction, and the server went on giving the name of that file: it goes on at {place}",
                channel.status.source_host
            );
        }
        self.start_threads(start).await?;
        Ok(StepOutcome::Done)
    }

    /// Nothing is received any more.
    async fn see_it_rest(&mut self) -> Result<Option<ReplicaStatus>, ServerError> {
        let until = Instant::now() + REST_LIMIT;
        loop {
            let status = self.session().await?.replica_status(QUICK).await?;
            let may_rest =
                status.as_ref().is_some_and(|status| !status.misnamed && status.sql == ThreadState::Yes);
            if !may_rest || Instant::now() >= until {
                return Ok(status);
            }
            sleep(POLL).await;
        }
    }

    /// What has changed by the time when the threads stand still is looked at anew.
    async fn go_on_at(
        &mut self,
        next: LogPosition,
        place: &TornPlace,
        start: Running,
    ) -> Result<(), ServerError> {
        self.stop_replication().await?;
        let session = self.session().await?;
        let stopped = session.channel(QUICK).await?;
        if stopped.as_ref().and_then(place_of).as_ref() == Some(place) {
            let next = StartAt::Log(Coordinates { file: next.file, pos: next.position });
            session.replicate_at(&next, REPLICATION_LIMIT).await?;
        }
        self.start_threads(start).await
    }
}
