//! The one session with the monitor: what it orders goes to the mind, what the mind reports goes to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mmm_core::{AgentEvent, AgentStatus, ToAgent, ToMonitor};
use mmm_wire::{FrameReader, FrameWriter, Refusal, RefusalCode, Session};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Both sides say something this often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A monitor that said nothing for this long has no session any more.
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(2500);

/// Which monitor has the session.
#[derive(Debug, Default)]
pub(crate) struct Holder(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// Counts sessions, so that an old one's end is not taken for the new one's.
    number: u64,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    instance: u64,
    name: String,
    heard: Instant,
    /// Dropped to end the session.
    _alive: mpsc::Sender<()>,
}

/// A place that was given to a session.
pub(crate) struct Place {
    number: u64,
    holder: Arc<Holder>,
}

/// Closes when another session of the same monitor took over.
pub(crate) struct Replaced(mpsc::Receiver<()>);

impl Holder {
    /// Refuses a second monitor while the first one is heard of. The same monitor may come back on a new connection
    /// before its old one was noticed to be dead.
    pub(crate) fn judge(&self, instance: u64) -> Result<(), Refusal> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &held.current {
            Some(current) if current.instance != instance && current.heard.elapsed() < DEAD_AFTER => {
                let reason = format!(
                    "this agent has a session with another monitor ({}), heard of {} ms ago; two monitors on one cluster would fight over it: stop one of them",
                    current.name,
                    current.heard.elapsed().as_millis()
                );
                Err(Refusal::new(RefusalCode::OtherMonitor, reason))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn take(self: &Arc<Self>, instance: u64, name: &str) -> (Place, Replaced) {
        let (alive, replaced) = mpsc::channel(1);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.number += 1;
        let number = held.number;
        held.current =
            Some(Current { number, instance, name: name.to_owned(), heard: Instant::now(), _alive: alive });
        (Place { number, holder: Arc::clone(self) }, Replaced(replaced))
    }
}

impl Place {
    fn heard(&self) {
        let mut held = self.holder.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = held.current.as_mut().filter(|current| current.number == self.number) {
            current.heard = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.holder.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.current.as_ref().is_some_and(|current| current.number == self.number) {
            held.current = None;
        }
    }
}

/// Serves one session until it ends, and says why it did.
pub(crate) async fn serve(
    session: Session<TcpStream>,
    (place, mut replaced): (Place, Replaced),
    events: mpsc::Sender<AgentEvent>,
    reports: watch::Receiver<AgentStatus>,
) -> String {
    let Session { reader, writer, .. } = session;
    let mut writing = tokio::spawn(write(writer, reports));
    let ended = tokio::select! {
        why = read(reader, &place, &events) => why,
        why = &mut writing => why.unwrap_or_else(|error| format!("the writing side failed: {error}")),
        () = replaced.wait() => "the monitor opened a new connection".to_owned(),
    };
    writing.abort();
    ended
}

impl Replaced {
    async fn wait(&mut self) {
        while self.0.recv().await.is_some() {}
    }
}

async fn read(
    mut reader: FrameReader<ReadHalf<TcpStream>>,
    place: &Place,
    events: &mpsc::Sender<AgentEvent>,
) -> String {
    loop {
        let message = match timeout(DEAD_AFTER, reader.next::<ToAgent>()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return "the monitor closed it".to_owned(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("the monitor said nothing for {} ms", DEAD_AFTER.as_millis()),
        };
        place.heard();
        let event = match message {
            ToAgent::Order(order) => AgentEvent::Ordered(order),
            ToAgent::Approach { id, limit } => AgentEvent::ApproachOrdered { id, limit },
            ToAgent::Announce(role) => AgentEvent::AnnouncementOrdered(role),
            ToAgent::Heartbeat => continue,
        };
        if events.send(event).await.is_err() {
            return "the agent is ending".to_owned();
        }
    }
}

async fn write(
    mut writer: FrameWriter<WriteHalf<TcpStream>>,
    mut reports: watch::Receiver<AgentStatus>,
) -> String {
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The monitor begins with what is, not with what changes next.
    reports.mark_changed();
    loop {
        // A frame is never sent inside the select: one that is cut off in the middle would end the session.
        let message = tokio::select! {
            biased;
            changed = reports.changed() => {
                if changed.is_err() {
                    return "the agent is ending".to_owned();
                }
                let mut status = reports.borrow_and_update().clone();
                status.uptime = mmm_net::uptime().unwrap_or_default();
                ToMonitor::Status(Box::new(status))
            }
            _ = beat.tick() => ToMonitor::Heartbeat,
        };
        if let Err(error) = writer.send(&message).await {
            return error.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_monitor_is_refused_until_the_first_has_been_silent() {
        let holder = Arc::new(Holder::default());
        assert!(holder.judge(1).is_ok());
        let (place, _) = holder.take(1, "monitor at a");
        assert!(holder.judge(1).is_ok(), "the same monitor may reconnect");
        let refusal = holder.judge(2).unwrap_err();
        assert!(refusal.reason.contains("monitor at a"), "{}", refusal.reason);
        tokio::time::advance(DEAD_AFTER / 2).await;
        place.heard();
        tokio::time::advance(DEAD_AFTER / 2).await;
        assert!(holder.judge(2).is_err());
        tokio::time::advance(DEAD_AFTER).await;
        assert!(holder.judge(2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_monitor_that_comes_back_ends_its_own_old_session_and_only_that() {
        let holder = Arc::new(Holder::default());
        let (old, mut replaced) = holder.take(1, "monitor at a");
        let _new = holder.take(1, "monitor at a");
        replaced.wait().await;
        drop(old);
        assert!(holder.judge(2).is_err(), "the new one is still there");
    }
}
