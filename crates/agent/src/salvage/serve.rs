//! The side of the dead server: finds what another agent lacks of its log, and hands it out. The same of a replica whose server
//! lives, for what only that one has received: what stands in its log stays as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mmm_core::salvage::{
    Candidate, Gathered, Lack, Lacking, PART_MAX, TailAnswer, TailFound, TailRange, TailRequest, Vain,
};
use mmm_core::{HostName, Origin};
use mmm_mysql::binlog::{
    LogError, LogGtid, LogTransaction, Tail, TailError, TailPiece, find_tail, log_files,
};
use tokio::task::spawn_blocking;

use super::log_keeper::{KeptLog, Life, LogKeeper};

/// What was found for a host.
#[derive(Clone, Debug)]
struct Found {
    number: u64,
    pieces: Arc<Vec<TailPiece>>,
    /// Of a replica's log, whether its server lives or not.
    lent: bool,
}

/// Answers the agents of other hosts while the server here is dead.
#[derive(Debug)]
pub(crate) struct TailDesk {
    keeper: Arc<LogKeeper>,
    found: Mutex<BTreeMap<HostName, Found>>,
    instance: u64,
}

impl TailDesk {
    pub(crate) fn new(keeper: Arc<LogKeeper>, instance: u64) -> Self {
        Self { keeper, found: Mutex::default(), instance }
    }

    /// That of a host whose server was never seen.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self::new(Arc::new(LogKeeper::load(std::path::Path::new("/none"))), 1)
    }

    pub(super) fn log(&self) -> Option<KeptLog> {
        self.keeper.log()
    }

    pub(crate) async fn answer(&self, from: &HostName, request: TailRequest) -> TailAnswer {
        let lent = match &request {
            TailRequest::Find(lacking) => lacking.lent.is_some(),
            TailRequest::Part { number, .. } => self.found(from, *number).is_some_and(|found| found.lent),
        };
        if lent {
            return self.act_on(from, request).await;
        }
        match self.keeper.life().await {
            Life::Dead => {}
            Life::Lives => return TailAnswer::Vain(Vain::ServerLives),
            Life::Unknown => return TailAnswer::NotYet,
        }
        let answer = self.act_on(from, request).await;
        // It may have been started while its files were read.
        match self.keeper.life().await {
            Life::Dead => answer,
            Life::Lives => TailAnswer::Vain(Vain::ServerLives),
            Life::Unknown => TailAnswer::NotYet,
        }
    }

    async fn act_on(&self, from: &HostName, request: TailRequest) -> TailAnswer {
        match request {
            TailRequest::Find(lacking) => self.find(from, *lacking).await,
            TailRequest::Part { number, range, at } => self.part(from, number, range, at).await,
        }
    }

    /// What was found for a host when this number was given.
    fn found(&self, from: &HostName, number: u64) -> Option<Found> {
        let all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(from).filter(|found| found.number == number).cloned()
    }

    async fn find(&self, from: &HostName, lacking: Lacking) -> TailAnswer {
        let Some(kept) = self.keeper.log() else { return TailAnswer::Vain(Vain::NoLog) };
        if lacking.source_id != 0 && lacking.source_id != kept.server_id {
            let (expected, found) = (lacking.source_id, kept.server_id);
            return TailAnswer::Vain(Vain::OtherServer { expected, found });
        }
        let (uuid, lent) = (kept.server_uuid.clone(), lacking.lent.is_some());
        let search = move || if lent { find_lent(&kept, &lacking) } else { find(&kept, &lacking).map(Ok) };
        let outcome = match spawn_blocking(search).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Vain::Unreadable(error.to_string())),
        };
        let tail = match outcome {
            Ok(Ok(tail)) => tail,
            Ok(Err(early)) => return early,
            Err(why) => return TailAnswer::Vain(why),
        };
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        // Numbers of two starts of the agent must not be taken for each other.
        let number = all.values().map(|found| found.number).max().unwrap_or(self.instance).wrapping_add(1);
        let ranges = tail.pieces.iter().map(|piece| TailRange {
            file: name(piece),
            opening: STANDARD.encode(&piece.opening),
            from: piece.from,
            to: piece.to,
        });
        let found = TailFound {
            number,
            server_version: tail.format.server_version.clone(),
            server_id: tail.format.server_id,
            server_uuid: uuid,
            checksums: tail.format.checksums,
            ranges: ranges.collect(),
            transactions: tail.transactions,
            first: tail.first.as_ref().map(ToString::to_string),
            last: tail.last.as_ref().map(ToString::to_string),
            damage: tail.damage.clone(),
        };
        tracing::warn!(
            "The agent of '{from}' asked what the log of the {} has that it lacks: {} transactions, {} bytes",
            if lent { "server here" } else { "dead server" },
            found.transactions,
            found.bytes()
        );
        all.insert(from.clone(), Found { number, pieces: Arc::new(tail.pieces), lent });
        TailAnswer::Found(Box::new(found))
    }

    async fn part(&self, from: &HostName, number: u64, range: usize, at: u64) -> TailAnswer {
        let Some(Found { pieces, .. }) = self.found(from, number) else { return TailAnswer::Forgotten };
        let Some(piece) = pieces.get(range).filter(|piece| (piece.from..piece.to).contains(&at)).cloned()
        else {
            return TailAnswer::Forgotten;
        };
        let length = (piece.to - at).min(PART_MAX);
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            File::open(&piece.file)?.read_exact_at(&mut bytes, at)?;
            Ok::<_, std::io::Error>(bytes)
        });
        match read.await {
            Ok(Ok(bytes)) => TailAnswer::Part {
                at,
                sum: mmm_mysql::binlog::checksum(&bytes),
                bytes: STANDARD.encode(bytes),
            },
            Ok(Err(error)) => TailAnswer::Vain(Vain::Unreadable(error.to_string())),
            Err(error) => TailAnswer::Vain(Vain::Unreadable(error.to_string())),
        }
    }
}

fn name(piece: &TailPiece) -> String {
    piece.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn find(kept: &KeptLog, lacking: &Lacking) -> Result<Tail, Vain> {
    let home = kept.home.as_ref().ok_or(Vain::NoLog)?;
    let files = log_files(&home.index, &home.data)
        .map_err(|error| Vain::Unreadable(format!("{}: {error}", home.index.display())))?;
    let lack = Lack::new(lacking);
    let place = lacking.applied.as_ref().map(|place| (place.file.as_str(), place.position));
    let by_gtid = lack.goes_by_gtid();
    let lacks = |file: &str, transaction: &LogTransaction| {
        let gtid = transaction.gtid.as_ref().map(origin);
        lack.lacks(&Candidate { file, to: transaction.to, gtid })
    };
    // Where nothing is damaged the place that is known spares reading a whole file.
    if place.is_some() {
        let found = find_tail(&files, place, |_| false, lacks);
        match found {
            Ok(tail) if !by_gtid || tail.damage.is_none() => return Ok(tail),
            Err(error) if !by_gtid => return Err(vain(error)),
            Ok(_) | Err(_) => {}
        }
    }
    if !by_gtid {
        return Err(Vain::NoPlace);
    }
    find_tail(&files, None, |previous| lack.has_all(previous), lacks).map_err(vain)
}

/// What a replica has received and logged. The inner error is an answer: there is more to come.
fn find_lent(kept: &KeptLog, lacking: &Lacking) -> Result<Result<Tail, TailAnswer>, Vain> {
    let home = kept.home.as_ref().ok_or(Vain::NoLog)?;
    if !home.has_replicated {
        return Err(Vain::LogsOnlyItsOwn);
    }
    let mut gathered = Gathered::begin(lacking).ok_or(Vain::NoPlace)?;
    let files = log_files(&home.index, &home.data)
        .map_err(|error| Vain::Unreadable(format!("{}: {error}", home.index.display())))?;
    let lack = Lack::new(lacking);
    let lacks = |file: &str, transaction: &LogTransaction| {
        let gtid = transaction.gtid.as_ref().map(origin);
        let lacks = lack.lacks(&Candidate { file, to: transaction.to, gtid: gtid.clone() });
        if let Some((origin, number)) = gtid.filter(|_| lacks) {
            gathered.take_in(&origin, number);
        }
        lacks
    };
    let tail = find_tail(&files, None, |previous| lack.has_all(previous), lacks).map_err(vain)?;
    if !gathered.is_whole() {
        return Ok(Err(TailAnswer::Applying { have: gathered.have(), of: gathered.of() }));
    }
    // A server that lives may be writing behind the last whole one.
    Ok(Ok(Tail { damage: None, ..tail }))
}

fn vain(error: TailError) -> Vain {
    match error {
        TailError::Purged => Vain::Purged,
        TailError::File { error: LogError::Encrypted, .. } => Vain::Encrypted,
        TailError::Empty => Vain::NoLog,
        other @ (TailError::File { .. } | TailError::NoSuchPlace { .. }) => {
            Vain::Unreadable(other.to_string())
        }
    }
}

fn origin(gtid: &LogGtid) -> (Origin, u64) {
    match gtid {
        LogGtid::MariaDb { domain, server_id, sequence } => {
            (Origin::Server { domain: u64::from(*domain), server: u64::from(*server_id) }, *sequence)
        }
        LogGtid::MySql { uuid, tag, number } => {
            (Origin::Uuid { uuid: LogGtid::written_uuid(uuid), tag: tag.clone() }, *number)
        }
    }
}
