//! Fetches what is lacking of a dead server's log from the agent there, over a connection of its own: promises and leases go
//! on beside it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mmm_core::HostName;
use mmm_core::salvage::{
    Lacking, PART_MAX, SalvageOrder, SalvageState, TailAnswer, TailFound, TailRequest, Vain,
};
use mmm_wire::{Connection, Session};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::peer_calls::open_session;
use crate::setup::Setup;

/// Introductions included, over a connection that stands.
const GREET_LIMIT: Duration = Duration::from_secs(2);
/// The network's own second attempt comes after a second: rather a new one before.
const CONNECT_LIMIT: Duration = Duration::from_millis(400);
/// A host that is there answers at once; as long as it has never answered there is nothing to hope for after this.
const HOST_PATIENCE: Duration = Duration::from_secs(1);
/// The host is there and its agent is not: it may be on its way up again, a second after its end and as long as it takes to start.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// A part is read and sent at once, or not at all.
const PART_LIMIT: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The end of a log, as it lies beside now.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) found: TailFound,
    pub(crate) spool: PathBuf,
}

/// Why an attempt ended.
enum Trouble {
    Vain(Vain),
    Again(String),
    /// Nobody takes connections there.
    Away {
        why: String,
        patience: Duration,
    },
}

impl Trouble {
    fn again(why: impl std::fmt::Display) -> Self {
        Self::Again(why.to_string())
    }
}

/// What has been fetched so far.
struct Progress {
    found: Option<TailFound>,
    spool: Option<File>,
    range: usize,
    /// In the file that the range is of.
    at: u64,
    done: u64,
    last: Instant,
    /// The agent there has let this one in.
    is_known: bool,
    /// How much a replica had applied of what it is to hand over.
    applied: Option<u64>,
}

impl Progress {
    fn begin_anew(&mut self) {
        (self.found, self.spool) = (None, None);
        (self.range, self.at, self.done) = (0, 0, 0);
    }
}

pub(crate) struct Fetch {
    pub(crate) setup: Arc<Setup>,
    pub(crate) order: SalvageOrder,
    pub(crate) lacking: Lacking,
    pub(crate) spool: PathBuf,
    pub(crate) state: watch::Sender<SalvageState>,
}

impl Fetch {
    /// Goes on after each broken connection, until nothing has come for as long as the order says. The error has the number of
    /// transactions that are known to be lacking.
    pub(crate) async fn run(self) -> Result<Fetched, (Vain, Option<u64>)> {
        let began = Instant::now();
        let mut progress = Progress {
            found: None,
            spool: None,
            range: 0,
            at: 0,
            done: 0,
            last: began,
            is_known: false,
            applied: None,
        };
        loop {
            let patience = self.order.patience;
            let why = match self.attempt(&mut progress).await {
                Ok(()) => {
                    let Some(found) = progress.found.take() else { continue };
                    return Ok(Fetched { found, spool: self.spool.clone() });
                }
                Err(Trouble::Vain(why)) => return Err((why, lacking(&progress))),
                Err(Trouble::Away { why, patience: enough }) => {
                    let tried = began.elapsed();
                    if !progress.is_known && tried >= enough.min(patience) {
                        return Err((Vain::Unreachable { tried, last: why }, None));
                    }
                    why
                }
                Err(Trouble::Again(why)) => why,
            };
            if progress.last.elapsed() >= patience {
                return Err((Vain::NoAnswer { patience, last: why }, lacking(&progress)));
            }
            tracing::debug!("Fetching the end of the log of '{}' again: {why}", self.order.from);
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn attempt(&self, progress: &mut Progress) -> Result<(), Trouble> {
        let mut line = self.open().await?;
        progress.is_known = true;
        if progress.found.is_none() {
            let found = self.find(progress, &mut line).await?;
            check(&found).map_err(|why| Trouble::Vain(Vain::Unreadable(why)))?;
            progress.last = Instant::now();
            progress.at = found.ranges.first().map_or(0, |range| range.from);
            progress.found = Some(found);
        }
        let has_any = progress.found.as_ref().is_some_and(|found| !found.ranges.is_empty());
        if progress.spool.is_none() && has_any {
            let spool = File::create(&self.spool).await.map_err(|error| cant_keep(&self.spool, &error))?;
            progress.spool = Some(spool);
        }
        while self.next_part(progress, &mut line).await? {}
        if let Some(spool) = &mut progress.spool {
            spool.flush().await.map_err(|error| cant_keep(&self.spool, &error))?;
        }
        Ok(())
    }

    /// What is lacking there, as soon as it is known to be whole.
    async fn find(
        &self,
        progress: &mut Progress,
        line: &mut Session<Connection>,
    ) -> Result<TailFound, Trouble> {
        let ask = TailRequest::Find(Box::new(self.lacking.clone()));
        loop {
            let asked = Instant::now();
            // Files are looked through for this; where the server of that host is being looked for, that takes a moment.
            let answer = ask_over(line, &ask, self.order.patience.max(PART_LIMIT)).await?;
            let (have, of) = match answer {
                TailAnswer::Found(found) => return Ok(*found),
                TailAnswer::Vain(why) => return Err(Trouble::Vain(why)),
                TailAnswer::NotYet => {
                    return Err(Trouble::again("it is not sure that the server there is dead"));
                }
                TailAnswer::Applying { have, of } => (have, of),
                TailAnswer::Part { .. } | TailAnswer::Forgotten => {
                    return Err(Trouble::again("no sensible answer"));
                }
            };
            self.state.send_replace(SalvageState::Waiting { have, of });
            if progress.applied.is_none_or(|before| have > before) {
                progress.last = Instant::now();
                progress.applied = Some(have);
            }
            if progress.last.elapsed() >= self.order.patience {
                return Err(Trouble::again(format!("its server has applied {have} of {of} transactions")));
            }
            // Its log is read again for each question.
            sleep(AGAIN_AFTER.max(asked.elapsed() * 2)).await;
        }
    }

    /// False when there is no more.
    async fn next_part(
        &self,
        progress: &mut Progress,
        line: &mut Session<Connection>,
    ) -> Result<bool, Trouble> {
        let (Some(found), Some(spool)) = (&progress.found, &mut progress.spool) else { return Ok(false) };
        let Some(range) = found.ranges.get(progress.range) else { return Ok(false) };
        let ask = TailRequest::Part { number: found.number, range: progress.range, at: progress.at };
        let bytes = match ask_over(line, &ask, PART_LIMIT).await? {
            TailAnswer::Part { at, bytes, sum } if at == progress.at => {
                let bytes = STANDARD.decode(bytes).map_err(Trouble::again)?;
                if mmm_mysql::binlog::checksum(&bytes) != sum {
                    return Err(Trouble::again("a part arrived damaged"));
                }
                bytes
            }
            TailAnswer::Vain(why) => return Err(Trouble::Vain(why)),
            TailAnswer::NotYet => return Err(Trouble::again("it is not sure that the server there is dead")),
            TailAnswer::Forgotten => {
                progress.begin_anew();
                return Err(Trouble::again("the agent there was started anew"));
            }
            TailAnswer::Part { .. } | TailAnswer::Found(_) | TailAnswer::Applying { .. } => {
                return Err(Trouble::again("no sensible answer"));
            }
        };
        let length = bytes.len() as u64;
        if length == 0 || length > PART_MAX || length > range.to - progress.at {
            return Err(Trouble::again("a part that was not asked for"));
        }
        if let Err(error) = spool.write_all(&bytes).await {
            return Err(cant_keep(&self.spool, &error));
        }
        progress.at += length;
        progress.done += length;
        progress.last = Instant::now();
        if progress.at == range.to {
            progress.range += 1;
            progress.at = found.ranges.get(progress.range).map_or(0, |range| range.from);
        }
        self.state.send_replace(SalvageState::Fetching { done: progress.done, bytes: found.bytes() });
        Ok(true)
    }

    async fn open(&self) -> Result<Session<Connection>, Trouble> {
        let from: &HostName = &self.order.from;
        let Some(address) = self.setup.peers.get(from) else {
            let why = format!("this host's configuration does not have '{from}'");
            return Err(Trouble::Vain(Vain::Unreadable(why)));
        };
        let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                let why = format!("nobody listens at {address}: its agent does not run");
                return Err(Trouble::Away { why, patience: START_PATIENCE });
            }
            Ok(Err(error)) => {
                let why = format!("can't connect to {address}: {error}");
                return Err(Trouble::Away { why, patience: HOST_PATIENCE });
            }
            Err(_) => {
                let why = format!("no answer from {address}");
                return Err(Trouble::Away { why, patience: HOST_PATIENCE });
            }
        };
        let opening = timeout(GREET_LIMIT, open_session(&self.setup, from, *address, stream, GREET_LIMIT));
        let session =
            opening.await.map_err(|_| Trouble::again("it takes connections and does not answer"))?;
        session.map_err(Trouble::again)
    }
}

fn lacking(progress: &Progress) -> Option<u64> {
    progress.found.as_ref().map(|found| found.transactions)
}

fn cant_keep(spool: &Path, error: &std::io::Error) -> Trouble {
    Trouble::Vain(Vain::NotApplied(format!("{} can't be written: {error}", spool.display())))
}

/// What the other side says is used for names and sizes here.
fn check(found: &TailFound) -> Result<(), String> {
    for range in &found.ranges {
        let is_name = !range.file.is_empty() && range.file.len() < 512 && !range.file.contains(['/', '\0']);
        if !is_name || range.from >= range.to {
            return Err(format!("a range from {} to {} of '{}'", range.from, range.to, range.file));
        }
    }
    Ok(())
}

async fn ask_over(
    line: &mut Session<Connection>,
    ask: &TailRequest,
    limit: Duration,
) -> Result<TailAnswer, Trouble> {
    let exchange = async {
        line.writer.send(ask).await.map_err(Trouble::again)?;
        let answer = line.reader.next::<TailAnswer>().await.map_err(Trouble::again)?;
        answer.ok_or_else(|| Trouble::again("it closed the connection"))
    };
    timeout(limit, exchange).await.map_err(|_| Trouble::again("its answer did not come in time"))?
}
