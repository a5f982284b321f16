//! The write probe itself, as it runs on the client host: one connection, one numbered row every few milliseconds, each attempt
//! recorded. It never repeats a number, so that an attempt without an answer stays an open question for the judge.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::error::{LabError, Result, at};
use crate::moment::Moment;
use crate::record::{Attempt, Outcome};

/// What to write, where to, how often.
#[derive(Clone, Debug)]
pub struct Writer {
    pub target: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub first: u64,
    pub every: Duration,
    /// Limit on connecting and on reading, each.
    pub limit: Duration,
    pub record: PathBuf,
}

/// How one attempt went: outcome, server that acknowledged, error.
type Tried = (Outcome, Option<u32>, String);

impl Writer {
    /// Writes until SIGTERM or SIGINT.
    pub fn run(&self) -> Result<()> {
        let fail = |error: std::io::Error| LabError::Other(format!("the probe could not start: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
        runtime.block_on(async {
            let mut term = signal(SignalKind::terminate()).map_err(fail)?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
            tokio::select! {
                result = self.write_for_ever() => result,
                _ = term.recv() => Ok(()),
                _ = interrupt.recv() => Ok(()),
            }
        })
    }

    fn options(&self) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname(self.target.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            // Without this the client would ask the server for its socket's path and open that path here.
            .prefer_socket(false)
            // Known beforehand, so that connecting needs no query of its own.
            .max_allowed_packet(Some(16 * 1024 * 1024))
            .wait_timeout(Some(3600))
            .stmt_cache_size(0)
            .into()
    }

    async fn write_for_ever(&self) -> Result<()> {
        let mut file = at(File::create(&self.record), "cannot create", &self.record)?;
        let options = self.options();
        let mut conn = None;
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for number in self.first.. {
            tick.tick().await;
            let start = Moment::now();
            let (outcome, server_id, error) = self.attempt(&options, &mut conn, number).await;
            let end = Moment::now();
            let attempt = Attempt { number, start, end, outcome, server_id, error };
            // One write call a line: whatever ends this process, the line is there or it is not.
            at(file.write_all(format!("{attempt}\n").as_bytes()), "cannot write", &self.record)?;
        }
        Ok(())
    }

    async fn attempt(&self, options: &Opts, slot: &mut Option<(Conn, u32)>, number: u64) -> Tried {
        let (mut conn, server_id) = match slot.take() {
            Some(open) => open,
            None => match timeout(self.limit, connect(options)).await {
                Ok(Ok(open)) => open,
                Ok(Err(error)) => return (Outcome::Failed, None, format!("connect: {error}")),
                Err(_) => return (Outcome::Failed, None, format!("connect: no answer in {:?}", self.limit)),
            },
        };
        let statement = format!("INSERT INTO lab.probe (id, server_id) VALUES ({number}, @@server_id)");
        match timeout(self.limit, conn.query_drop(statement)).await {
            Ok(Ok(())) => {
                *slot = Some((conn, server_id));
                (Outcome::Acknowledged, Some(server_id), String::new())
            }
            // The server itself says that it did not do it. The connection is thrown away all the same: behind the same
            // address there may by now be a server that would.
            Ok(Err(mysql_async::Error::Server(error))) => (Outcome::Failed, None, format!("insert: {error}")),
            Ok(Err(error)) => (Outcome::Unknown, None, format!("insert: {error}")),
            Err(_) => (Outcome::Unknown, None, format!("insert: no answer in {:?}", self.limit)),
        }
    }
}

/// A connection, and the server at its other end. Not every server can tell that with each row.
async fn connect(options: &Opts) -> mysql_async::Result<(Conn, u32)> {
    let mut conn = Conn::new(options.clone()).await?;
    let server_id = conn.query_first("SELECT @@server_id").await?;
    Ok((conn, server_id.unwrap_or_default()))
}
