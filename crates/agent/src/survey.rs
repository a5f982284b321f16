//! What a planned move would meet on this host's server, looked at when the monitor asks. In a task and over connections of its own,
//! with a deadline on everything: neither the mind nor a session waits for it, and nothing is changed.

use std::sync::Arc;
use std::time::Duration;

use mmm_core::survey::{Lag, Reach, Survey};
use mmm_core::{LogPosition, OrderId};
use mmm_mysql::{ServerError, Session, ThreadState};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::setup::Setup;

/// All of it; the monitor waits a little longer.
const LIMIT: Duration = Duration::from_millis(2000);
/// On some servers this question waits behind a commit that does not end.
const LOG_END_LIMIT: Duration = Duration::from_millis(800);
const ANSWERS_MAX: usize = 8;

/// A question, and the session it came over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) session: u64,
    pub(crate) id: OrderId,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) session: u64,
    pub(crate) survey: Survey,
}

/// Where sessions hand in questions and hear of answers.
#[derive(Clone, Debug)]
pub(crate) struct Surveyor {
    pub(crate) questions: mpsc::Sender<Question>,
    answers: broadcast::Sender<Answer>,
}

impl Surveyor {
    pub(crate) fn answers(&self) -> broadcast::Receiver<Answer> {
        self.answers.subscribe()
    }
}

/// Starts the task that looks.
pub(crate) fn start(setup: watch::Receiver<Arc<Setup>>) -> Surveyor {
    let (questions, mut inbox) = mpsc::channel::<Question>(2);
    let (answers, _) = broadcast::channel(ANSWERS_MAX);
    let told = answers.clone();
    tokio::spawn(async move {
        while let Some(Question { session, id }) = inbox.recv().await {
            let now = Arc::clone(&setup.borrow());
            let survey = look(&now, id).await;
            // Nobody listens any more where that session has ended.
            let _ = told.send(Answer { session, survey });
        }
    });
    Surveyor { questions, answers }
}

async fn look(setup: &Setup, id: OrderId) -> Survey {
    let until = Instant::now() + LIMIT;
    let (seen, end) =
        tokio::join!(timeout(LIMIT, look_at_connections(setup, id, until)), timeout(LIMIT, log_end(setup)));
    let mut survey = match seen {
        Ok(Ok(survey)) => survey,
        Ok(Err(error)) => unseen(id, format!("its connections could not be looked at: {error}")),
        Err(_) => {
            unseen(id, format!("its connections could not be looked at within {} ms", LIMIT.as_millis()))
        }
    };
    match end {
        Ok(Ok((end, trouble))) => {
            survey.end = end;
            survey.unseen.extend(trouble);
        }
        Ok(Err(error)) => survey.unseen.push(format!("the end of its log could not be read: {error}")),
        Err(_) => survey
            .unseen
            .push(format!("the end of its log could not be read within {} ms", LIMIT.as_millis())),
    }
    survey
}

fn unseen(id: OrderId, why: String) -> Survey {
    Survey { id, unseen: vec![why], ..Survey::default() }
}

async fn look_at_connections(setup: &Setup, id: OrderId, until: Instant) -> Result<Survey, ServerError> {
    let left = || until.saturating_duration_since(Instant::now());
    let mut session = Session::connect(&setup.server, &setup.account, left()).await?;
    let own: Vec<&str> = setup.own_users.iter().map(String::as_str).collect();
    let (connections, trouble) = session.survey_connections(&own, left()).await?;
    let mut survey = Survey::of(id, &connections);
    survey.unseen.extend(trouble);
    survey.replica = session.replica_status(left()).await?.map(|status| Lag {
        // Without a connection to its source it only seems to be up to date.
        delay_s: status.delay_seconds.filter(|_| status.io == ThreadState::Yes),
        receives: status.io == ThreadState::Yes,
        applies: status.sql == ThreadState::Yes,
    });
    // Last, since an answer that does not come takes the connection along.
    match session.prepared_branches(left()).await {
        Ok(prepared) => survey.prepared = prepared,
        Err(error) => survey.unseen.push(format!("prepared transactions could not be looked at: {error}")),
    }
    session.close().await;
    Ok(survey)
}

/// Over a connection of its own: a question that hangs takes it along.
async fn log_end(setup: &Setup) -> Result<(Option<Reach>, Option<String>), ServerError> {
    let mut session = Session::connect(&setup.server, &setup.account, LIMIT).await?;
    let server_id = session.identity().server_id;
    let has_gtid = session.identity().gtid;
    let gtid = if has_gtid { session.gtid_state(LIMIT).await?.binlog_state } else { String::new() };
    let (position, trouble) = match session.log_position(LOG_END_LIMIT).await {
        Ok(end) => (end, None),
        Err(error) => (None, Some(format!("the position of its log could not be read: {error}"))),
    };
    let position = position.map(|end| LogPosition { file: end.file, position: end.pos });
    session.close().await;
    let known = position.is_some() || !gtid.is_empty();
    Ok((known.then_some(Reach { server_id, position, gtid }), trouble))
}

/// One that looks at nothing, for tests of what is around it.
#[cfg(test)]
pub(crate) fn idle() -> Surveyor {
    Surveyor { questions: mpsc::channel(1).0, answers: broadcast::channel(1).0 }
}
