//! Questions of the doctor to agents, over the sessions that are there, and their answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mmm_core::HostName;
use mmm_core::doctor::Checkup;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// The ways to all agents. Hosts come and go with the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllCheckups(Arc<Mutex<BTreeMap<HostName, Arc<Checkups>>>>);

impl AllCheckups {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostName, Arc<Checkups>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new way, for the session that is about to begin. Whoever waits for an answer over an older one waits no more.
    pub(crate) fn renew(&self, host: &HostName) -> Arc<Checkups> {
        let new = Arc::new(Checkups::default());
        if let Some(old) = self.lock().insert(host.clone(), Arc::clone(&new)) {
            old.end("another one begins");
        }
        new
    }

    pub(crate) fn remove(&self, host: &HostName) {
        if let Some(old) = self.lock().remove(host) {
            old.end("the host is configured no longer");
        }
    }

    pub(crate) fn of(&self, host: &HostName) -> Option<Arc<Checkups>> {
        self.lock().get(host).map(Arc::clone)
    }

    pub(crate) fn all_have_sessions(&self) -> bool {
        self.lock().values().all(|checkups| checkups.has_session())
    }
}

/// The way to the agent of one host.
#[derive(Debug)]
pub(crate) struct Checkups {
    /// Number of the last question; a session sends it on when it changes.
    asked: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    line: Line,
    waiting: Vec<(u64, oneshot::Sender<Checkup>)>,
}

#[derive(Debug)]
enum Line {
    /// No session, and the last reason for that.
    Down(String),
    Up {
        knows_doctor: bool,
    },
}

impl Default for Checkups {
    fn default() -> Self {
        let line = Line::Down("no session with its agent yet".to_owned());
        Self { asked: watch::Sender::new(0), state: Mutex::new(State { line, waiting: Vec::new() }) }
    }
}

impl Checkups {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins; it sends the questions that it hears of from now on.
    pub(crate) fn begin(&self, knows_doctor: bool) -> Option<watch::Receiver<u64>> {
        self.lock().line = Line::Up { knows_doctor };
        knows_doctor.then(|| self.asked.subscribe())
    }

    /// The session ended, or could not be opened.
    pub(crate) fn end(&self, why: &str) {
        let mut state = self.lock();
        state.line = Line::Down(format!("no session with its agent: {why}"));
        // Whoever waits need not wait for the whole time.
        state.waiting.clear();
    }

    fn has_session(&self) -> bool {
        matches!(self.lock().line, Line::Up { .. })
    }

    pub(crate) fn take_in(&self, checkup: &Checkup) {
        let mut state = self.lock();
        let mut later = Vec::new();
        for (number, waiting) in state.waiting.drain(..) {
            if number <= checkup.number {
                // Asked before this question went out, and sent together with it. Nobody listens any more where the time
                // ran out meanwhile.
                let _ = waiting.send(checkup.clone());
            } else {
                later.push((number, waiting));
            }
        }
        state.waiting = later;
    }

    /// Asks the agent; `Err` says why there is no answer.
    pub(crate) async fn ask(&self, limit: Duration) -> Result<Checkup, String> {
        let answer = {
            let mut state = self.lock();
            match &state.line {
                Line::Down(why) => return Err(why.clone()),
                Line::Up { knows_doctor: false } => {
                    return Err("its agent is of a version that does not know the doctor".to_owned());
                }
                Line::Up { knows_doctor: true } => {}
            }
            let (answer, answered) = oneshot::channel();
            let mut number = 0;
            self.asked.send_modify(|asked| {
                *asked += 1;
                number = *asked;
            });
            state.waiting.retain(|(_, waiting)| !waiting.is_closed());
            state.waiting.push((number, answer));
            answered
        };
        match timeout(limit, answer).await {
            Ok(Ok(checkup)) => Ok(checkup),
            Ok(Err(_)) => Err("the session with its agent ended before it answered".to_owned()),
            Err(_) => Err(format!("its agent did not answer within {} s", limit.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(6);

    #[tokio::test(start_paused = true)]
    async fn an_answer_reaches_whoever_asked_for_it_and_a_stray_one_nobody() {
        let checkups = Checkups::default();
        assert!(checkups.ask(LIMIT).await.unwrap_err().contains("no session"));
        let mut asked = checkups.begin(true).unwrap();
        let agent = async {
            asked.changed().await.unwrap();
            let number = *asked.borrow();
            checkups.take_in(&Checkup { number: number - 1, ..Checkup::default() });
            checkups.take_in(&Checkup { number, ..Checkup::default() });
            number
        };
        let (answer, number) = tokio::join!(checkups.ask(LIMIT), agent);
        assert_eq!(answer.unwrap().number, number);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit_and_not_at_all_for_a_session_that_ends() {
        let checkups = Checkups::default();
        let _asked = checkups.begin(true).unwrap();
        let began = tokio::time::Instant::now();
        assert!(checkups.ask(LIMIT).await.unwrap_err().contains("within 6 s"));
        assert_eq!(began.elapsed(), LIMIT);
        let (answer, ()) = tokio::join!(checkups.ask(LIMIT), async { checkups.end("unplugged") });
        assert!(answer.unwrap_err().contains("ended before"));
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test]
    async fn an_agent_that_does_not_know_the_doctor_is_not_asked() {
        let checkups = Checkups::default();
        assert!(checkups.begin(false).is_none());
        assert!(checkups.ask(LIMIT).await.unwrap_err().contains("does not know the doctor"));
    }
}
