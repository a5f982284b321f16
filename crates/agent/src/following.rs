//! The part of the server lane that points a replica at the active master.
//!
//! What is possible is decided by `mmm_core::following`; here the server is asked, stopped, told and asked again.

use std::time::Duration;

use mmm_core::following::{
    Applied, How, Junction, Running, ServerAddress, ServerIdentity, Source, Stand, Verdict, judge,
};
use mmm_core::{AtTear, LogPosition, ReplicaView, StepOutcome, Takeover, Unreached};
use mmm_mysql::{
    Channel, Coordinates, GtidState, GtidUse, Identity, ReplicaStatus, Repoint, ServerError, StartAt,
    ThreadState,
};
use tokio::time::{Instant, sleep, timeout};

use crate::server_steps::{QUICK, REPLICATION_LIMIT, ServerLane, TURN};

/// How long the new source may take to send its first answer before the step goes on without having heard it.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
const CONNECTED_LOOKS: u32 = 5;
/// Errors of a login that the source refuses: access denied, in three ways, a host that is not allowed, a password that is
/// expired, an account that is locked, and logins without TLS where it is demanded.
const LETS_NOBODY_IN: [u32; 8] = [1044, 1045, 1130, 1698, 1862, 2061, 3118, 3159];
/// The source's word for everything that keeps it from sending its log.
const CANT_READ_ITS_LOG: u32 = 1236;
/// A new writer's clients wait for this, so it is rather left out.
const NOTE_LIMIT: Duration = Duration::from_millis(500);
/// What writing a place down may take itself.
const WRITTEN_DOWN: Duration = Duration::from_millis(100);

/// What the mind wants to know of replication at every look.
pub(crate) fn replica_view(channel: &Channel, gtid: &GtidState, without_gtid: bool) -> ReplicaView {
    ReplicaView {
        source: address(channel),
        source_id: channel.status.source_server_id,
        by_gtid: channel.gtid != GtidUse::No,
        without_gtid,
        connected: channel.status.io == ThreadState::Yes,
        running: running(channel),
        slave_pos: progress(&gtid.binlog_state, &gtid.slave_pos),
        unreached: unreached(&channel.status),
        applier_error: applier_error(&channel.status),
        tear: match stopped_at(channel) {
            Some(place) => Some(AtTear::Stopped(place)),
            None => channel.status.misnamed.then_some(AtTear::Misnamed),
        },
    }
}

/// What changes whenever something was applied. `MySQL` has one set for everything.
fn progress(binlog_state: &str, slave_pos: &str) -> String {
    if slave_pos.is_empty() { binlog_state } else { slave_pos }.to_owned()
}

/// A receiver that waits for its next attempt, and what came of the last one.
fn unreached(status: &ReplicaStatus) -> Option<Unreached> {
    let (code, text) = status.io_error.as_ref().filter(|_| status.io == ThreadState::Connecting)?;
    // Servers put in front how often they have tried, which would be news at each look.
    let text = text.rsplit_once("essage: ").map_or(text.as_str(), |(_, message)| message);
    Some(Unreached { text: format!("{text} ({code})"), refused: LETS_NOBODY_IN.contains(code) })
}

/// How far a receiver had come that its source can't send any more to. By GTID the source finds the place where it goes on itself.
pub(crate) fn stopped_at(channel: &Channel) -> Option<LogPosition> {
    let status = &channel.status;
    let (code, _) = status.io_error.as_ref().filter(|_| status.io == ThreadState::No)?;
    let is_meant = channel.gtid == GtidUse::No && *code == CANT_READ_ITS_LOG;
    status.received.as_ref().filter(|_| is_meant).map(position)
}

fn applier_error(status: &ReplicaStatus) -> Option<String> {
    let (code, text) = status.sql_error.as_ref().filter(|_| status.sql == ThreadState::No)?;
    Some(format!("{text} ({code})"))
}

fn address(channel: &Channel) -> ServerAddress {
    ServerAddress { host: channel.status.source_host.clone(), port: channel.status.source_port }
}

/// A thread that stopped over an error is one that is wanted.
fn running(channel: &Channel) -> Running {
    let status = &channel.status;
    Running {
        receives: status.io != ThreadState::No || status.io_error.is_some(),
        applies: status.sql != ThreadState::No || status.sql_error.is_some(),
    }
}

fn position(coordinates: &Coordinates) -> LogPosition {
    LogPosition { file: coordinates.file.clone(), position: coordinates.pos }
}

fn identity(identity: &Identity) -> ServerIdentity {
    ServerIdentity { server_id: identity.server_id, uuid: identity.uuid.clone() }
}

fn stand(own: &Identity, channel: &Channel, gtid: &GtidState) -> Stand {
    let status = &channel.status;
    Stand {
        own: identity(own),
        source: address(channel),
        source_id: status.source_server_id,
        by_gtid: channel.gtid != GtidUse::No,
        running: running(channel),
        connected: status.io == ThreadState::Yes,
        received: status.received.as_ref().map(position),
        applied: status.applied.as_ref().map(position),
        binlog_state: gtid.binlog_state.clone(),
        slave_pos: gtid.slave_pos.clone(),
    }
}

impl ServerLane {
    /// Where this server's own log ends, and how much of the old writer's it had applied. `None` where it can't be said
    /// for certain: replicas then go by GTID, or not at all.
    pub(crate) async fn note_junction(&mut self, takeover: &Takeover) -> Option<Junction> {
        if *takeover == Takeover::Lost
            && let Err(error) = self.wait_for_place().await
        {
            tracing::warn!("How much of the old writer's log is applied may be told a little late: {error}");
        }
        let noted = timeout(NOTE_LIMIT, self.read_junction(takeover)).await;
        match noted {
            Ok(Ok(junction)) => junction,
            Ok(Err(error)) => {
                tracing::warn!("The end of the log could not be noted for the replicas: {error}");
                None
            }
            Err(_) => {
                tracing::warn!("The end of the log could not be noted for the replicas in {NOTE_LIMIT:?}");
                None
            }
        }
    }

    /// Where several threads apply, their place is written down now and then only. With GTIDs it is not what replicas are told by.
    /// Stopping them would write it down too, but they would wait up to a minute for the rest of a transaction that arrived in part.
    pub(crate) async fn wait_for_place(&mut self) -> Result<(), ServerError> {
        let session = self.session().await?;
        if session.identity().gtid {
            return Ok(());
        }
        let until = Instant::now() + session.place_period(QUICK).await?.min(NOTE_LIMIT) + WRITTEN_DOWN;
        while Instant::now() < until {
            let status = self.session().await?.replica_status(QUICK).await?;
            if status.is_none_or(|status| status.sql != ThreadState::Yes || status.received == status.applied)
            {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn read_junction(&mut self, takeover: &Takeover) -> Result<Option<Junction>, ServerError> {
        let session = self.session().await?;
        let before = session.channel(QUICK).await?;
        let own = session.log_position(QUICK).await?;
        let gtid = session.gtid_state(QUICK).await?;
        let after = session.channel(QUICK).await?;
        let applied = |channel: &Option<Channel>| {
            let status = &channel.as_ref()?.status;
            Some(Applied {
                source: address(channel.as_ref()?),
                server_id: status.source_server_id,
                position: position(status.applied.as_ref()?),
            })
        };
        let quiet = applied(&before) == applied(&after) && own == session.log_position(QUICK).await?;
        let mut applied = applied(&after);
        if let (Takeover::After(end), Some(applied)) = (takeover, &mut applied) {
            // That was waited for, and nothing came behind it.
            applied.position = end.clone();
        }
        Ok(own.filter(|_| quiet).map(|own| Junction {
            writer: identity(session.identity()),
            own: position(&own),
            applied,
            gtid: gtid.binlog_state,
        }))
    }

    async fn look(&mut self) -> Result<Option<(Channel, Stand)>, ServerError> {
        self.look_again(None).await
    }

    /// After a look of a moment ago.
    async fn look_again(&mut self, seen: Option<&Channel>) -> Result<Option<(Channel, Stand)>, ServerError> {
        let session = self.session().await?;
        let Some(mut channel) = session.channel(QUICK).await? else { return Ok(None) };
        if let Some(seen) = seen {
            channel.status.name_as(&seen.status);
        }
        let gtid = session.gtid_state(QUICK).await?;
        let stand = stand(session.identity(), &channel, &gtid);
        Ok(Some((channel, stand)))
    }

    pub(crate) async fn follow(
        &mut self,
        source: &Source,
        start: Running,
    ) -> Result<StepOutcome, ServerError> {
        let until = Instant::now() + TURN;
        loop {
            let Some((seen, stand)) = self.look().await? else {
                return Ok(StepOutcome::Failed("its replication is not set up".to_owned()));
            };
            // Started since the mind looked last, perhaps.
            let start = start.or(stand.running);
            let outcome = match judge(source, &stand) {
                Verdict::There => {
                    self.start_threads(start).await?;
                    return Ok(StepOutcome::Done);
                }
                Verdict::Repoint(_) => return self.stop_and_repoint(source, start, &seen).await,
                Verdict::Wait(what) => StepOutcome::NotYet(what),
                Verdict::Refuse(why) => StepOutcome::Refused(why),
            };
            // An earlier attempt may have left it stopped, and it is to go on as it is.
            if stand.running != start {
                self.start_threads(start).await?;
            }
            if matches!(outcome, StepOutcome::Refused(_)) || Instant::now() >= until {
                return Ok(outcome);
            }
            sleep(POLL).await;
        }
    }

    pub(crate) async fn start_threads(&mut self, start: Running) -> Result<(), ServerError> {
        self.session().await?.start_threads(start.receives, start.applies, REPLICATION_LIMIT).await
    }

    /// Only a server whose threads stand still can be judged for good.
    async fn stop_and_repoint(
        &mut self,
        source: &Source,
        start: Running,
        seen: &Channel,
    ) -> Result<StepOutcome, ServerError> {
        self.stop_replication().await?;
        let Some((before, stand)) = self.look_again(Some(seen)).await? else {
            return Ok(StepOutcome::Failed("its replication is not set up any more".to_owned()));
        };
        match judge(source, &stand) {
            Verdict::Repoint(how) => self.repoint(source, start, how, &before, &stand).await,
            Verdict::There => {
                self.start_threads(start).await?;
                Ok(StepOutcome::Done)
            }
            Verdict::Wait(what) => {
                self.start_threads(start).await?;
                Ok(StepOutcome::NotYet(what))
            }
            Verdict::Refuse(why) => {
                self.start_threads(start).await?;
                Ok(StepOutcome::Refused(why))
            }
        }
    }

    async fn repoint(
        &mut self,
        source: &Source,
        start: Running,
        how: How,
        before: &Channel,
        stand: &Stand,
    ) -> Result<StepOutcome, ServerError> {
        let Some(account) = self.replication.get(&source.host).cloned() else {
            self.start_threads(start).await?;
            return Ok(StepOutcome::Refused(format!(
                "this host's configuration has no replication_user and replication_password for '{}': set them in mmm_common.conf",
                source.host
            )));
        };
        let at = match &how {
            How::ByGtid => StartAt::Gtid(before.gtid),
            How::ThroughGtid => StartAt::Gtid(GtidUse::SlavePos),
            How::At(place) => StartAt::Log(Coordinates { file: place.file.clone(), pos: place.position }),
        };
        let to = Repoint { host: source.ip.to_string(), port: source.port, account, at };
        self.session().await?.repoint(&to, REPLICATION_LIMIT).await?;
        let Some(after) = self.session().await?.channel(QUICK).await? else {
            return Ok(StepOutcome::Failed("its replication vanished while it was changed".to_owned()));
        };
        if let Some(text) = difference(&to, before, &after) {
            // The channel points where it should, so it is started all the same.
            tracing::error!("Replication was pointed at '{}', but {text}: set it right by hand", source.host);
        }
        self.start_threads(start).await?;
        if let Some(why) = self.first_error(start).await? {
            return self.undo(why, start, &how, before).await;
        }
        let slave_pos = progress(&stand.binlog_state, &stand.slave_pos);
        Ok(StepOutcome::Followed { how, slave_pos })
    }

    /// What the new source says at once; a source that says nothing for a while is no error.
    async fn first_error(&mut self, start: Running) -> Result<Option<String>, ServerError> {
        let until = Instant::now() + FIRST_ANSWER;
        let mut connected = 0;
        while start.receives && Instant::now() < until {
            let Some(channel) = self.session().await?.channel(QUICK).await? else { return Ok(None) };
            // It is connected a moment before the source looks for the place it is asked for.
            connected += u32::from(channel.status.io == ThreadState::Yes);
            if connected > CONNECTED_LOOKS {
                return Ok(None);
            }
            if let (ThreadState::No, Some((code, text))) = (channel.status.io, channel.status.io_error) {
                return Ok(Some(format!("{text} ({code})")));
            }
            sleep(POLL).await;
        }
        Ok(None)
    }

    /// The new source does not have what the replica asks it for: a channel by file and position gets its old place back.
    async fn undo(
        &mut self,
        why: String,
        start: Running,
        how: &How,
        before: &Channel,
    ) -> Result<StepOutcome, ServerError> {
        if let (How::ThroughGtid, Some(place)) = (how, &before.status.applied) {
            let session = self.session().await?;
            session.stop_replication(REPLICATION_LIMIT).await?;
            session.repoint_back(before, place, REPLICATION_LIMIT).await?;
            self.start_threads(start).await?;
        }
        Ok(StepOutcome::Refused(format!("the new writer does not know its place: {why}")))
    }

    /// Once something came by GTID, the place behind it is known as file and position too.
    pub(crate) async fn leave_gtid(
        &mut self,
        since: &str,
        start: Running,
    ) -> Result<StepOutcome, ServerError> {
        self.stop_replication().await?;
        let Some((channel, stand)) = self.look().await? else {
            return Ok(StepOutcome::Failed("its replication is not set up any more".to_owned()));
        };
        let place = channel.status.applied.clone().filter(|place| !place.file.is_empty());
        let has_moved_on = progress(&stand.binlog_state, &stand.slave_pos) != since;
        let Some(place) = place.filter(|_| has_moved_on && stand.by_gtid) else {
            self.start_threads(start).await?;
            return Ok(StepOutcome::NotYet("nothing was applied from there yet".to_owned()));
        };
        self.session().await?.replicate_at(&StartAt::Log(place), REPLICATION_LIMIT).await?;
        self.start_threads(start).await?;
        Ok(StepOutcome::Done)
    }
}

/// What of the channel is not as it was asked for, or not as it was before.
fn difference(to: &Repoint, before: &Channel, after: &Channel) -> Option<String> {
    let there = (after.status.source_host.as_str(), after.status.source_port);
    if there != (to.host.as_str(), to.port) {
        return Some(format!("it says {}", address(after)));
    }
    if after.status.source_user != to.account.user {
        return Some(format!("it logs in as '{}'", after.status.source_user));
    }
    let gtid = match &to.at {
        StartAt::Gtid(gtid) => *gtid,
        StartAt::Log(_) => GtidUse::No,
    };
    if after.gtid != gtid {
        return Some(format!("its use of GTIDs is {:?} in place of {gtid:?}", after.gtid));
    }
    after.changed_option(before)
}
