//! The one session with the monitor: what it orders goes to the mind, what the mind reports goes to it.

use std::io::ErrorKind;
use std::time::Duration;

use mmm_core::lease::Renewal;
use mmm_core::{AgentEvent, AgentStatus, ToAgent, ToMonitor};
use mmm_wire::{Connection, FrameError, FrameReader, FrameWriter, Session};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock;
use crate::doctor::{Question, Surgery};
use crate::holder::{Leaving, Place};
use crate::survey::{self, Surveyor};

/// Both sides say something this often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A monitor that said nothing for this long has no session any more.
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(2500);

/// What a session gives to the mind and gets from it.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) events: mpsc::Sender<AgentEvent>,
    pub(crate) reports: watch::Receiver<AgentStatus>,
    /// The number of the last session of which the mind knows that it began.
    pub(crate) begun: watch::Receiver<u64>,
    pub(crate) surgery: Surgery,
    pub(crate) surveyor: Surveyor,
}

/// Why a session ended, and what that says about the monitor.
struct End {
    why: String,
    how: Leaving,
}

impl End {
    fn closed(why: impl Into<String>) -> Self {
        Self { why: why.into(), how: Leaving::Closed }
    }

    fn silent(why: impl Into<String>) -> Self {
        Self { why: why.into(), how: Leaving::Silent }
    }

    fn of(error: &FrameError) -> Self {
        let how = match error {
            FrameError::Read { source, .. } | FrameError::Write { source, .. } => match source.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                    Leaving::Closed
                }
                // The network, or what is left of it, gave up on the monitor.
                _ => Leaving::Silent,
            },
            FrameError::CutShort { .. } => Leaving::Closed,
            _ => Leaving::Silent,
        };
        Self { why: error.to_string(), how }
    }
}

/// Serves one session until it ends, and says why it did.
pub(crate) async fn serve(
    session: Session<Connection>,
    (place, renewals): (Place, mpsc::Receiver<Renewal>),
    desk: Desk,
) -> String {
    let Session { reader, writer, .. } = session;
    let (number, events) = (place.number(), desk.events.clone());
    let questions = (desk.surgery.questions.clone(), desk.surveyor.questions.clone());
    let mut writing = tokio::spawn(write(writer, number, renewals, desk));
    let end = tokio::select! {
        end = read(reader, &place, &events, &questions) => end,
        end = &mut writing => {
            end.unwrap_or_else(|error| End::silent(format!("the writing side failed: {error}")))
        }
    };
    writing.abort();
    place.leave(end.how);
    // The agent is ending when nobody listens.
    let _ = events.send(AgentEvent::SessionEnded { session: number }).await;
    end.why
}

async fn read(
    mut reader: FrameReader<ReadHalf<Connection>>,
    place: &Place,
    events: &mpsc::Sender<AgentEvent>,
    (questions, surveys): &(mpsc::Sender<Question>, mpsc::Sender<survey::Question>),
) -> End {
    let mut has_begun = false;
    loop {
        let message = match timeout(DEAD_AFTER, reader.next::<ToAgent>()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return End::closed("the monitor closed it"),
            Ok(Err(error)) => return End::of(&error),
            Err(_) => {
                return End::silent(format!("the monitor said nothing for {} ms", DEAD_AFTER.as_millis()));
            }
        };
        place.heard();
        if !has_begun && !matches!(message, ToAgent::Begin { .. }) {
            return End::closed(
                "the monitor did not say first by which state it goes; is it of this version?",
            );
        }
        let event = match message {
            ToAgent::Begin { lineage } => {
                has_begun = true;
                AgentEvent::SessionBegan { session: place.number(), lineage }
            }
            ToAgent::Order(order) => {
                place.note_length(order.terms.length);
                AgentEvent::Ordered(order)
            }
            ToAgent::Approach { id, limit, reach } => AgentEvent::ApproachOrdered { id, limit, reach },
            ToAgent::Announce(role) => AgentEvent::AnnouncementOrdered(role),
            ToAgent::Look { id } => AgentEvent::LookOrdered { id },
            ToAgent::Grant(grant) => AgentEvent::Granted(grant),
            ToAgent::Heartbeat { echo: Some(echo) } => AgentEvent::Heard { echo },
            ToAgent::Heartbeat { echo: None } => continue,
            ToAgent::Examine { number } => {
                // One question is enough for a doctor who is still busy with an earlier one; the monitor waits for no answer.
                let _ = questions.try_send(Question { session: place.number(), number });
                continue;
            }
            ToAgent::Survey { id } => {
                // Nor does a move wait for long.
                let _ = surveys.try_send(survey::Question { session: place.number(), id });
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return End::closed("the agent is ending");
        }
    }
}

async fn write(
    mut writer: FrameWriter<WriteHalf<Connection>>,
    number: u64,
    mut renewals: mpsc::Receiver<Renewal>,
    mut desk: Desk,
) -> End {
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The monitor begins with what is, not with what changes next.
    desk.reports.mark_changed();
    desk.surgery.answers.mark_unchanged();
    let mut surveys = desk.surveyor.answers();
    let mut has_begun = false;
    loop {
        // A frame is never sent inside the select: one that is cut off in the middle would end the session.
        let message = tokio::select! {
            biased;
            // The lease hangs on it: nothing else goes first.
            renewal = renewals.recv() => match renewal {
                Some(renewal) => ToMonitor::Renew(renewal),
                None => return End::closed("the monitor opened a new connection"),
            },
            _ = beat.tick() => ToMonitor::Heartbeat { reading: clock::now() },
            begun = desk.begun.wait_for(|begun| *begun >= number), if !has_begun => {
                if begun.is_err() {
                    return End::closed("the agent is ending");
                }
                has_begun = true;
                continue;
            }
            // Not before the mind knows this monitor: what it says of an earlier one would be taken for its own state.
            changed = desk.reports.changed(), if has_begun => {
                if changed.is_err() {
                    return End::closed("the agent is ending");
                }
                let mut status = desk.reports.borrow_and_update().clone();
                status.uptime = clock::now().since_zero();
                ToMonitor::Status(Box::new(status))
            }
            answer = surveys.recv() => match answer {
                Ok(answer) if answer.session == number => ToMonitor::Surveyed(Box::new(answer.survey)),
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return End::closed("the agent is ending"),
            },
            Ok(()) = desk.surgery.answers.changed() => {
                let answer = desk.surgery.answers.borrow_and_update().clone();
                match answer.filter(|answer| answer.session == number) {
                    Some(answer) => ToMonitor::Examined(Box::new(answer.checkup)),
                    None => continue,
                }
            }
        };
        if let Err(error) = writer.send(&message).await {
            return End::of(&error);
        }
    }
}

#[cfg(test)]
mod tests;
