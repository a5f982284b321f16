//! Where replication pointed before it was turned to a salvaged log: kept on disk until it points there again, so that no crash in
//! the middle leaves it pointing at nothing.

use std::io::{self, ErrorKind};
use std::path::Path;

use mmm_mysql::{Channel, Coordinates, GtidUse, StartAt};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    by_gtid: Option<bool>,
    /// Where it stood, in case it has applied nothing since.
    place: Option<(String, u64)>,
}

impl Journal {
    pub(crate) fn of(channel: &Channel) -> Self {
        let status = &channel.status;
        Self {
            host: status.source_host.clone(),
            port: status.source_port,
            tls: channel.tls,
            by_gtid: match channel.gtid {
                GtidUse::No => None,
                GtidUse::SlavePos => Some(false),
                GtidUse::CurrentPos => Some(true),
            },
            place: status.applied.as_ref().map(|place| (place.file.clone(), place.pos)),
        }
    }

    /// From where it goes on, having applied this.
    pub(crate) fn start_at(&self, applied: Option<Coordinates>) -> Option<StartAt> {
        match self.by_gtid {
            Some(true) => Some(StartAt::Gtid(GtidUse::CurrentPos)),
            Some(false) => Some(StartAt::Gtid(GtidUse::SlavePos)),
            None => {
                let before = self.place.clone().map(|(file, pos)| Coordinates { file, pos });
                applied.filter(|place| !place.file.is_empty()).or(before).map(StartAt::Log)
            }
        }
    }

    /// From where it goes on receiving, having received this.
    pub(crate) fn receive_from(&self, received: Option<Coordinates>) -> Option<StartAt> {
        match self.start_at(None) {
            Some(by_gtid @ StartAt::Gtid(_)) => Some(by_gtid),
            Some(StartAt::Log(_)) | None => received.filter(|place| !place.file.is_empty()).map(StartAt::Log),
        }
    }

    pub(crate) fn load(path: &Path) -> Option<Self> {
        let read = mmm_daemon::read_state(path);
        read.inspect_err(|error| tracing::error!("It is not known where replication pointed: {error}"))
            .ok()
            .flatten()
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string(self).map_err(io::Error::other)?;
        mmm_daemon::write_state(path, &text)
    }

    pub(crate) fn remove(path: &Path) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::error!("Can't remove {}: {error}", path.display());
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_by_place_goes_on_behind_what_it_has_applied() {
        let journal = Journal {
            host: "192.168.8.32".into(),
            port: 3306,
            tls: true,
            by_gtid: None,
            place: Some(("bin.000002".into(), 900)),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert_eq!(Journal::load(&path), None);
        journal.write(&path).unwrap();
        assert_eq!(Journal::load(&path).as_ref(), Some(&journal));
        let at = |file: &str, pos| Coordinates { file: file.into(), pos };
        assert_eq!(journal.start_at(None), Some(StartAt::Log(at("bin.000002", 900))));
        assert_eq!(journal.start_at(Some(at("bin.000003", 4))), Some(StartAt::Log(at("bin.000003", 4))));
        assert_eq!(journal.receive_from(Some(at("bin.000003", 4))), Some(StartAt::Log(at("bin.000003", 4))));
        assert_eq!(journal.receive_from(None), None, "it would begin with the first file of the log");
        let by_gtid = Journal { by_gtid: Some(false), ..journal };
        assert_eq!(by_gtid.receive_from(None), Some(StartAt::Gtid(GtidUse::SlavePos)));
        assert_eq!(by_gtid.start_at(None), Some(StartAt::Gtid(GtidUse::SlavePos)));
        Journal::remove(&path);
        assert_eq!(Journal::load(&path), None);
        std::fs::write(&path, "no").unwrap();
        assert_eq!(Journal::load(&path), None);
    }
}
