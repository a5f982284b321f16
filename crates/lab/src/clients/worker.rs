//! The clients themselves, as they run on their host: a connection each, one deed after the other at a steady pace, each attempt on
//! record before the next begins.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::NUMBERS_PER_CLIENT;
use super::deed::{Deed, Done};
use crate::error::{LabError, Result, at};
use crate::moment::Moment;
use crate::record::{Attempt, Outcome};
use crate::target::{Open, Target};
use crate::writer::until_told;

/// Errors of a commit after which the server has surely rolled back: read-only (1290, 1836), a lock or deadlock (1205, 1213), a full disk or
/// table (1021, 1114). Whatever else it says (it stops, somebody killed the statement), the transaction may be there.
const ROLLED_BACK: [u16; 6] = [1290, 1836, 1205, 1213, 1021, 1114];

/// What to write, where to, how often; a client for each record.
#[derive(Clone, Debug)]
pub struct ClientWorker {
    pub target: Target,
    pub first: u64,
    pub every: Duration,
    pub records: Vec<PathBuf>,
}

/// How one attempt ended: outcome, server that acknowledged it, error.
type Ended = (Outcome, Option<u32>, String);

impl ClientWorker {
    /// Works until SIGTERM or SIGINT.
    pub fn run(&self) -> Result<()> {
        let (told, tells) = watch::channel(false);
        let clients = async {
            let mut clients = JoinSet::new();
            for (index, record) in self.records.iter().enumerate() {
                let first = self.first + u64::try_from(index).unwrap_or_default() * NUMBERS_PER_CLIENT;
                let (target, record, every) = (self.target.clone(), record.clone(), self.every);
                let tells = tells.clone();
                // Not all at the same moment: logins of a thousand at once would take longer than they wait.
                let place = u32::try_from(index).unwrap_or_default();
                let later = every * place / u32::try_from(self.records.len()).unwrap_or(u32::MAX);
                clients.spawn(async move {
                    sleep(later).await;
                    client(&target, first, every, &record, tells).await
                });
            }
            while let Some(ended) = clients.join_next().await {
                ended.map_err(|error| LabError::Other(format!("a client ended: {error}")))??;
            }
            Ok(())
        };
        let told_to_end = || {
            told.send_replace(true);
        };
        until_told(clients, Some(&told_to_end))
    }
}

/// Works until it is told to end, and then to the end of what it has begun: an attempt that is on no record would be one that nobody made.
async fn client(
    target: &Target,
    first: u64,
    every: Duration,
    record: &Path,
    mut told: watch::Receiver<bool>,
) -> Result<()> {
    let mut file = at(File::create(record), "cannot create", record)?;
    let mut slot = None;
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in first.. {
        tokio::select! {
            biased;
            _ = told.wait_for(|told| *told) => break,
            _ = tick.tick() => {}
        }
        let deed = Deed::of(number);
        let start = Moment::now();
        let (outcome, server_id, error) = attempt(target, &mut slot, number, deed).await;
        let end = Moment::now();
        let done = Done { deed, attempt: Attempt { number, start, end, outcome, server_id, error } };
        // One write call a line: whatever ends this process, the line is there or it is not.
        at(file.write_all(format!("{done}\n").as_bytes()), "cannot write", record)?;
    }
    Ok(())
}

async fn attempt(target: &Target, slot: &mut Option<Open>, number: u64, deed: Deed) -> Ended {
    let (mut conn, server_id) = match slot.take() {
        Some(open) => open,
        None => match target.connect().await {
            Ok(open) => open,
            Err(error) => return (Outcome::Failed, None, error),
        },
    };
    let (before, last) = deed.statements(number);
    if let Some(before) = before
        && let Err((_, error)) = say(&mut conn, before, target.limit).await
    {
        // Nothing asked for a commit yet, and the connection is thrown away.
        return (Outcome::Failed, None, format!("change: {error}"));
    }
    match say(&mut conn, last, target.limit).await {
        Ok(()) => {
            *slot = Some((conn, server_id));
            (Outcome::Acknowledged, Some(server_id), String::new())
        }
        Err((outcome, error)) => (outcome, None, format!("commit: {error}")),
    }
}

/// One text of statements; when it fails, whether its last one may have been done all the same.
async fn say(conn: &mut Conn, text: String, limit: Duration) -> Result<(), (Outcome, String)> {
    match timeout(limit, conn.query_drop(text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(mysql_async::Error::Server(error))) if ROLLED_BACK.contains(&error.code) => {
            Err((Outcome::Failed, error.to_string()))
        }
        Ok(Err(error)) => Err((Outcome::Unknown, error.to_string())),
        Err(_) => Err((Outcome::Unknown, format!("no answer in {limit:?}"))),
    }
}
