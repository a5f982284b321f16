//! The source's side of replication, as far as a server needs it that is to apply what another server had in its log when it died.
//!
//! Nothing of this is for clients: it answers the few questions that a receiving thread asks before it wants the log, and then
//! hands out whole transactions under the names and positions that they had where they were written. It lets in whoever knows the
//! name of the channel's account; who may reach it at all is for the caller to decide.

mod answers;
mod packets;

use std::io::{self, Read as _, Seek as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::binlog::{BinlogReader, LogFormat, each_transaction_of};
use crate::dialect::Flavour;
use answers::{Answer, answer};
use packets::Packets;

/// A receiver asks its questions at once.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);
/// A server has one receiver, and a few that it has given up.
const CONNECTIONS_MAX: usize = 4;
const HEADER: usize = 19;
const CHECKSUM: usize = 4;
const ROTATE: u8 = 4;
/// Made for the connection, in no file.
const ARTIFICIAL: u16 = 0x20;
const IN_USE: u8 = 0x1;
/// Where the first event of a file says when its server began.
const CREATED: std::ops::Range<usize> = HEADER + 52..HEADER + 56;

/// Where an event says at which place it ends.
const POSITION: std::ops::Range<usize> = 13..17;
const FLAGS: usize = 17;
/// Behind the magic of a file.
const LOG_BEGINS: u64 = 4;

/// A part of one file of a log that holds whole transactions and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The file's name where it was written.
    pub name: String,
    /// The event that its file begins with.
    pub opening: Vec<u8>,
    pub from: u64,
    pub to: u64,
    /// Where in the spool its first byte stands.
    pub at: u64,
}

/// What a source hands out, and whom it stands in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLog {
    pub flavour: Flavour,
    /// Of the server that wrote the log.
    pub server_version: String,
    pub server_id: u32,
    pub server_uuid: Option<String>,
    pub gtid_mode: bool,
    pub checksums: bool,
    /// The account by which the server logs in that is to apply it.
    pub user: String,
    pub spool: PathBuf,
    /// In their order.
    pub pieces: Vec<LogPiece>,
}

/// A source that serves until it is dropped.
#[derive(Debug)]
pub struct LogSource {
    pub address: SocketAddr,
    task: AbortHandle,
}

impl Drop for LogSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LogSource {
    /// Listens on a port of this host's own that nobody else can reach. `may_call` judges each caller by both ends of its
    /// connection.
    pub async fn start(
        log: SourceLog,
        may_call: impl Fn(SocketAddr, SocketAddr) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?;
        let address = listener.local_addr()?;
        let (log, places) = (Arc::new(log), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        let serve = async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, from)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                if !may_call(from, address) {
                    tracing::warn!(
                        "Somebody on this host who is not its server asked for a log that is being salvaged"
                    );
                    continue;
                }
                let log = Arc::clone(&log);
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = serve(stream, &log).await {
                        tracing::debug!("The receiver of the salvaged log is served no more: {error}");
                    }
                });
            }
        };
        Ok(Self { address, task: tokio::spawn(serve).abort_handle() })
    }
}

async fn serve(stream: TcpStream, log: &SourceLog) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut packets = Packets::new(stream);
    packets.greet(log).await?;
    // What a receiver of `MariaDB` has, said before it asks for the log.
    let mut state = None;
    loop {
        let question = match timeout(QUESTION_LIMIT, packets.read_command()).await {
            Ok(question) => question?,
            Err(_) => return Err(io::Error::other("it asked nothing for too long")),
        };
        tracing::debug!("The receiver asks {}", String::from_utf8_lossy(&question).escape_debug());
        match answer(&question, log) {
            Answer::Ok => packets.ok().await?,
            Answer::Acknowledging => {
                packets.ask_for_no_acknowledgement();
                packets.ok().await?;
            }
            Answer::State(said) => {
                state = Some(said);
                packets.ok().await?;
            }
            Answer::Row { columns, values } => packets.row(&columns, &values).await?,
            Answer::Error { code, text } => packets.error(code, &text).await?,
            Answer::Over => return Ok(()),
            Answer::Dump { place } => {
                let place = match (place, state) {
                    (None, Some(state)) => behind(log, &state)?,
                    (place, _) => place,
                };
                return hand_out(packets, log, place).await;
            }
        }
    }
}

/// The end of the last transaction here that a receiver has already, in words of `MariaDB`.
fn behind(log: &SourceLog, state: &str) -> io::Result<Option<(String, u64)>> {
    let known: Vec<&str> = state.split(',').map(str::trim).collect();
    let mut place = None;
    for piece in &log.pieces {
        let mut spool = std::fs::File::open(&log.spool)?;
        spool.seek(io::SeekFrom::Start(piece.at))?;
        let format = LogFormat {
            server_version: log.server_version.clone(),
            server_id: log.server_id,
            checksums: log.checksums,
        };
        let reader = BinlogReader::resume(spool.take(piece.to - piece.from), format, piece.from);
        let read = each_transaction_of(reader, |one| {
            if one.gtid.is_some_and(|gtid| known.contains(&gtid.to_string().as_str())) {
                place = Some((piece.name.clone(), one.to));
            }
            ControlFlow::Continue(())
        });
        read.map_err(io::Error::other)?;
    }
    Ok(place)
}

/// Files of a log are numbered.
fn number_of(name: &str) -> Option<u64> {
    name.rsplit_once('.')?.1.parse().ok()
}

/// Sends what is behind a place, or all where none is asked for, and keeps the line until the receiver leaves.
async fn hand_out(mut packets: Packets, log: &SourceLog, place: Option<(String, u64)>) -> io::Result<()> {
    let mut spool = File::open(&log.spool).await?;
    let asked = place.as_ref().map(|(name, position)| (number_of(name), *position));
    let is_behind = |piece: &&LogPiece| asked.is_none_or(|asked| (number_of(&piece.name), piece.to) > asked);
    let mut told = None;
    for piece in log.pieces.iter().filter(is_behind) {
        let within = place.as_ref().filter(|(name, _)| *name == piece.name).map(|(_, position)| *position);
        let from = within.map_or(piece.from, |position| position.clamp(piece.from, piece.to));
        if told != Some(&piece.name) {
            if told.is_none() && place.is_none() && log.flavour == Flavour::MySql {
                packets.event(&rotate(log, &piece.name, LOG_BEGINS)).await?;
                packets.event(&opening_in_place(piece)).await?;
            }
            packets.event(&rotate(log, &piece.name, from)).await?;
            packets.event(&opening(piece)).await?;
            told = Some(&piece.name);
        }
        send_piece(&mut packets, &mut spool, piece, from).await?;
    }
    if let (None, Some((name, position)), Some(last)) = (told, &place, log.pieces.last()) {
        packets.event(&rotate(log, name, *position)).await?;
        packets.event(&opening(last)).await?;
    }
    packets.flush().await?;
    packets.wait_for_end().await
}

async fn send_piece(packets: &mut Packets, spool: &mut File, piece: &LogPiece, from: u64) -> io::Result<()> {
    spool.seek(io::SeekFrom::Start(piece.at + (from - piece.from))).await?;
    let mut left = piece.to - from;
    while left > 0 {
        let mut header = [0; HEADER];
        spool.read_exact(&mut header).await?;
        let size = u64::from(u32::from_le_bytes([header[9], header[10], header[11], header[12]]));
        if size < HEADER as u64 || size > left {
            return Err(io::Error::other("the salvaged log is damaged"));
        }
        packets.event_from(&header, spool, size).await?;
        left -= size;
    }
    Ok(())
}

/// Tells the receiver which file follows, and from where.
fn rotate(log: &SourceLog, name: &str, position: u64) -> Vec<u8> {
    let body = [&position.to_le_bytes()[..], name.as_bytes()].concat();
    let tail = if log.checksums { CHECKSUM } else { 0 };
    let size = u32::try_from(HEADER + body.len() + tail).unwrap_or(u32::MAX);
    let mut event = vec![0; 4];
    event.push(ROTATE);
    event.extend(log.server_id.to_le_bytes());
    event.extend(size.to_le_bytes());
    event.extend(0_u32.to_le_bytes());
    event.extend(ARTIFICIAL.to_le_bytes());
    event.extend(body);
    if log.checksums {
        event.extend(crc32fast::hash(&event).to_le_bytes());
    }
    event
}

/// The first event of the file, without what would make the receiver think that the server began anew with it.
fn opening(piece: &LogPiece) -> Vec<u8> {
    let mut event = opening_in_place(piece);
    if let Some(position) = event.get_mut(POSITION) {
        position.fill(0);
    }
    with_sum(event)
}

/// The same at its place in the file. `MySQL` drops the half of a transaction that it has received when it sees this, and takes the
/// whole one that follows; without it, it ends with a segmentation fault (9.7.4).
fn opening_in_place(piece: &LogPiece) -> Vec<u8> {
    let mut event = piece.opening.clone();
    if let Some(created) = event.get_mut(CREATED) {
        created.fill(0);
    }
    if let Some(flags) = event.get_mut(FLAGS) {
        *flags &= !IN_USE;
    }
    with_sum(event)
}

fn with_sum(mut event: Vec<u8>) -> Vec<u8> {
    let Some(body) = event.len().checked_sub(CHECKSUM) else { return event };
    let sum = crc32fast::hash(&event[..body]).to_le_bytes();
    event[body..].copy_from_slice(&sum);
    event
}
