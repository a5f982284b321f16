//! Looks whether writes get through the server on this host, over connections of its own: nothing that hangs here holds up the watch.
//!
//! The write into our own table is made only while the mind allows it, one at a time. One that hangs is left alone as long as it may be:
//! its end tells that writes go on. When this host may not write any more, its connection is ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::{AgentEvent, Moment, ProbeSight, WriteSight};
use mmm_mysql::{ErrorKind, ServerError, Session, WritePlaces};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock;
use crate::heartbeat_delay::HeartbeatDelay;
use crate::setup::Setup;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// A write that stands still is watched for as long as this host is the writer, but not for ever.
const PROBE_LIMIT: Duration = Duration::from_secs(3600);
/// A file system with less room than this is full.
const ROOM_LEAST: u64 = 64 * 1024;

pub(crate) struct WriteWatch {
    setup: watch::Receiver<Arc<Setup>>,
    may_probe: watch::Receiver<bool>,
    events: mpsc::Sender<AgentEvent>,
    look: Option<Look>,
    probe: Probe,
    delay: HeartbeatDelay,
    told: bool,
}

/// The connection that looks.
struct Look {
    session: Session,
    places: WritePlaces,
    io: Option<PathBuf>,
    written: Option<u64>,
}

/// The connection that writes.
#[derive(Default)]
enum Probe {
    #[default]
    None,
    Idle(Box<Session>),
    Writing {
        since: Moment,
        connection: Option<u64>,
        task: JoinHandle<Result<Session, ServerError>>,
    },
}

impl WriteWatch {
    pub(crate) fn new(
        setup: watch::Receiver<Arc<Setup>>,
        may_probe: watch::Receiver<bool>,
        events: mpsc::Sender<AgentEvent>,
    ) -> Self {
        Self {
            setup,
            may_probe,
            events,
            look: None,
            probe: Probe::None,
            delay: HeartbeatDelay::default(),
            told: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.events.is_closed() {
            tokio::select! {
                _ = tick.tick() => {}
                Ok(()) = self.setup.changed() => {
                    self.look = None;
                    self.end_probe().await;
                }
                Ok(()) = self.may_probe.changed() => if !*self.may_probe.borrow_and_update() {
                    self.end_probe().await;
                },
                else => return,
            }
            let asked = clock::now();
            let probe = self.tend_probe(asked).await;
            // A server that can't be looked into is for the watch to judge: nothing is known here then.
            let sight = self.sight(probe).await;
            let news = sight.is_some() || self.told;
            self.told = sight.is_some();
            if news && self.events.send(AgentEvent::WritesSeen(sight, asked)).await.is_err() {
                return;
            }
        }
    }

    async fn sight(&mut self, probe: ProbeSight) -> Option<WriteSight> {
        let connection = match &self.probe {
            Probe::Writing { connection, .. } => *connection,
            Probe::None | Probe::Idle(_) => None,
        };
        if self.look.is_none() {
            self.look = self.open_look().await;
        }
        let setup = Arc::clone(&self.setup.borrow());
        let is_writer = *self.may_probe.borrow();
        let look = self.look.as_mut()?;
        let delay = match setup.heartbeat_schema.as_deref().filter(|_| !is_writer) {
            Some(schema) => self.delay.measure(&mut look.session, &setup, schema).await,
            None => None,
        };
        let threads = look.session.write_threads(connection, look.places.connections_max, LOOK_LIMIT).await;
        let Ok(threads) = threads else {
            self.look = None;
            return None;
        };
        let written = look.io.as_deref().and_then(written_by);
        let before = std::mem::replace(&mut look.written, written);
        Some(WriteSight {
            probe,
            committing: threads.committing,
            inside: threads.inside,
            held_up_by: threads.held_up_by,
            full_disk: full_disk(look.places.folders.clone()).await,
            connections: threads.connections,
            delay,
            written: written.zip(before).map(|(now, before)| now.saturating_sub(before)),
        })
    }

    async fn open_look(&self) -> Option<Look> {
        let setup = Arc::clone(&self.setup.borrow());
        let mut session = Session::connect(&setup.server, &setup.account, LOOK_LIMIT).await.ok()?;
        let places = session.write_places(LOOK_LIMIT).await.ok()?;
        let pid_file = session.identity().pid_file.clone().unwrap_or_else(|| setup.server_pid_file.clone());
        let pid = std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
        let io = pid.map(|pid| PathBuf::from(format!("/proc/{pid}/io")));
        Some(Look { session, places, io, written: None })
    }

    /// Writes where that may be, and says how the last write went.
    async fn tend_probe(&mut self, now: Moment) -> ProbeSight {
        let setup = Arc::clone(&self.setup.borrow());
        let Some(schema) = setup.heartbeat_schema.clone() else { return ProbeSight::Off };
        let may = *self.may_probe.borrow();
        let ended = match std::mem::take(&mut self.probe) {
            Probe::Writing { since, connection, task } if !task.is_finished() => {
                self.probe = Probe::Writing { since, connection, task };
                return ProbeSight::Waiting(now.since(since));
            }
            Probe::Writing { task, .. } => match task.await {
                Ok(Ok(session)) => {
                    self.probe = Probe::Idle(Box::new(session));
                    ProbeSight::Written
                }
                Ok(Err(error)) => failure(&error),
                Err(_) => ProbeSight::Off,
            },
            idle => {
                self.probe = idle;
                ProbeSight::Off
            }
        };
        if may {
            let idle = match std::mem::take(&mut self.probe) {
                Probe::Idle(session) => Some(*session),
                _ => None,
            };
            let connection = idle.as_ref().map(Session::connection_id);
            self.probe =
                Probe::Writing { since: now, connection, task: tokio::spawn(write(setup, schema, idle)) };
        }
        ended
    }

    /// Ends the connection of the probe, and what it is doing, before anybody else becomes the writer.
    async fn end_probe(&mut self) {
        if let Probe::Writing { connection, task, .. } = std::mem::take(&mut self.probe) {
            task.abort();
            if let (Some(id), Some(look)) = (connection, self.look.as_mut()) {
                // A server that does not hear this is closed or ended by the lanes.
                let _ = look.session.kill(id, LOOK_LIMIT).await;
            }
        }
    }
}

async fn write(setup: Arc<Setup>, schema: String, idle: Option<Session>) -> Result<Session, ServerError> {
    let mut session = match idle {
        Some(session) if session.is_usable() => session,
        _ => Session::connect(&setup.server, &setup.account, LOOK_LIMIT).await?,
    };
    session.write_heartbeat(&schema, PROBE_LIMIT).await?;
    Ok(session)
}

/// A server that said no; that one is not reached is for the watch to tell.
fn failure(error: &ServerError) -> ProbeSight {
    match &error.kind {
        ErrorKind::Said { code, message } if !error.while_connecting() => {
            ProbeSight::Failed { code: *code, text: message.clone() }
        }
        _ => ProbeSight::Off,
    }
}

fn written_by(io: &std::path::Path) -> Option<u64> {
    let text = std::fs::read_to_string(io).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.trim().parse().ok())
}

/// The first of these folders whose file system has no room. One that does not even tell is no full one.
async fn full_disk(folders: Vec<String>) -> Option<String> {
    let look = tokio::task::spawn_blocking(move || {
        folders.into_iter().find(|folder| {
            rustix::fs::statvfs(folder.as_str())
                .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM_LEAST)
        })
    });
    timeout(LOOK_LIMIT, look).await.ok()?.ok()?
}
