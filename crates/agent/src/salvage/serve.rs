//! The side of the dead server: finds what another agent lacks of its log, and hands it out.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mmm_core::salvage::{
    Candidate, Lack, Lacking, PART_MAX, TailAnswer, TailFound, TailRange, TailRequest, Vain,
};
use mmm_core::{HostName, Origin};
use mmm_mysql::binlog::{
    LogError, LogGtid, LogTransaction, Tail, TailError, TailPiece, find_tail, log_files,
};
use tokio::task::spawn_blocking;

use super::log_keeper::{KeptLog, Life, LogKeeper};

/// The number of a find, and its pieces.
type Found = (u64, Arc<Vec<TailPiece>>);

/// Answers the agents of other hosts while the server here is dead.
#[derive(Debug)]
pub(crate) struct TailDesk {
    keeper: Arc<LogKeeper>,
    /// What was found for each host, and its number.
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
        match self.keeper.life().await {
            Life::Dead => {}
            Life::Lives => return TailAnswer::Vain(Vain::ServerLives),
            Life::Unknown => return TailAnswer::NotYet,
        }
        let answer = match request {
            TailRequest::Find(lacking) => self.find(from, *lacking).await,
            TailRequest::Part { number, range, at } => self.part(from, number, range, at).await,
        };
        // It may have been started while its files were read.
        match self.keeper.life().await {
            Life::Dead => answer,
            Life::Lives => TailAnswer::Vain(Vain::ServerLives),
            Life::Unknown => TailAnswer::NotYet,
        }
    }

    async fn find(&self, from: &HostName, lacking: Lacking) -> TailAnswer {
        let Some(kept) = self.keeper.log() else { return TailAnswer::Vain(Vain::NoLog) };
        if lacking.source_id != 0 && lacking.source_id != kept.server_id {
            let (expected, found) = (lacking.source_id, kept.server_id);
            return TailAnswer::Vain(Vain::OtherServer { expected, found });
        }
        let uuid = kept.server_uuid.clone();
        let outcome = match spawn_blocking(move || find(&kept, &lacking)).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Vain::Unreadable(error.to_string())),
        };
        let tail = match outcome {
            Ok(tail) => tail,
            Err(why) => return TailAnswer::Vain(why),
        };
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        // Numbers of two starts of the agent must not be taken for each other.
        let number = all.values().map(|(number, _)| *number).max().unwrap_or(self.instance).wrapping_add(1);
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
            "The agent of '{from}' asked what the log of the dead server has that it lacks: {} transactions, {} bytes",
            found.transactions,
            found.bytes()
        );
        all.insert(from.clone(), (number, Arc::new(tail.pieces)));
        TailAnswer::Found(Box::new(found))
    }

    async fn part(&self, from: &HostName, number: u64, range: usize, at: u64) -> TailAnswer {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(from).cloned();
        let Some(pieces) = known.filter(|(known, _)| *known == number).map(|(_, pieces)| pieces) else {
            return TailAnswer::Forgotten;
        };
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
