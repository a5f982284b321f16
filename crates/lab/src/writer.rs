//! The write probe itself, as it runs on the client host: one connection, one numbered row every few milliseconds, each attempt
//! recorded. It never repeats a number, so that an attempt without an answer stays an open question for the judge.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::error::{LabError, Result, at};
use crate::moment::Moment;
use crate::record::{Attempt, Outcome};
use crate::target::{Open, Target};

/// What to write, where to, how often.
#[derive(Clone, Debug)]
pub struct Writer {
    pub target: Target,
    pub first: u64,
    pub every: Duration,
    pub record: PathBuf,
}

/// Runs something that goes on for ever, until SIGTERM or SIGINT: then it is told, or broken off where there is no way to tell it.
pub(crate) fn until_told(work: impl Future<Output = Result<()>>, tell: Option<&dyn Fn()>) -> Result<()> {
    let fail = |error: std::io::Error| LabError::Other(format!("a client could not start: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).map_err(fail)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
        let mut work = std::pin::pin!(work);
        tokio::select! {
            result = &mut work => return result,
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        match tell {
            Some(tell) => {
                tell();
                work.await
            }
            None => Ok(()),
        }
    })
}

/// How one attempt went: outcome, server that acknowledged, error.
type Tried = (Outcome, Option<u32>, String);

impl Writer {
    /// Writes until SIGTERM or SIGINT.
    pub fn run(&self) -> Result<()> {
        until_told(self.write_for_ever(), None)
    }

    async fn write_for_ever(&self) -> Result<()> {
        let mut file = at(File::create(&self.record), "cannot create", &self.record)?;
        let mut conn = None;
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for number in self.first.. {
            tick.tick().await;
            let start = Moment::now();
            let (outcome, server_id, error) = self.attempt(&mut conn, number).await;
            let end = Moment::now();
            let attempt = Attempt { number, start, end, outcome, server_id, error };
            // One write call a line: whatever ends this process, the line is there or it is not.
            at(file.write_all(format!("{attempt}\n").as_bytes()), "cannot write", &self.record)?;
        }
        Ok(())
    }

    async fn attempt(&self, slot: &mut Option<Open>, number: u64) -> Tried {
        let (mut conn, server_id) = match slot.take() {
            Some(open) => open,
            None => match self.target.connect().await {
                Ok(open) => open,
                Err(error) => return (Outcome::Failed, None, error),
            },
        };
        let statement = format!("INSERT INTO lab.probe (id, server_id) VALUES ({number}, @@server_id)");
        match timeout(self.target.limit, conn.query_drop(statement)).await {
            Ok(Ok(())) => {
                *slot = Some((conn, server_id));
                (Outcome::Acknowledged, Some(server_id), String::new())
            }
            // The server itself says that it did not do it. The connection is thrown away all the same: behind the same
            // address there may by now be a server that would.
            Ok(Err(mysql_async::Error::Server(error))) => (Outcome::Failed, None, format!("insert: {error}")),
            Ok(Err(error)) => (Outcome::Unknown, None, format!("insert: {error}")),
            Err(_) => (Outcome::Unknown, None, format!("insert: no answer in {:?}", self.target.limit)),
        }
    }
}
