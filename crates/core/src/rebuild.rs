//! Giving a host all its data anew from the writer: what the monitor orders, and how far the host's agent is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::message::OrderId;
use crate::names::HostName;

/// To throw away what the server of a host has, and to copy what another one has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RebuildOrder {
    /// Names one rebuild: the same order is carried out once.
    pub id: OrderId,
    pub from: HostName,
}

/// What the agent of that host tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RebuildStatus {
    pub id: OrderId,
    pub from: HostName,
    pub stage: RebuildStage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RebuildStage {
    /// Looks whether it can be done; nothing was changed yet.
    Preparing,
    Copying {
        done: u64,
        /// All there is to copy, where that is known.
        of: Option<u64>,
    },
    /// The copy is made usable, in words.
    Working(String),
    /// The data are there, and the server did not come back by itself.
    AwaitsServer,
    /// The server runs on the new data, and is pointed at the writer.
    Attaching,
    /// It did not work out, the data are not whole, and it is begun again soon.
    Again(String),
    Done {
        bytes: u64,
    },
    /// It was given up before anything was changed.
    Failed(String),
    /// The file that says how far one is can't be read: nobody knows whose data these are, and whether they are whole.
    Unreadable(String),
}

/// Agent to the agent of the writer: hand out a backup of the server there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BackupRequest {
    BeginBackup,
    /// The bytes from this place on.
    BackupPart {
        number: u64,
        at: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BackupAnswer {
    Begun {
        number: u64,
    },
    /// Base64, and their CRC-32; none where the backup is at work and has nothing to tell yet.
    Part {
        at: u64,
        bytes: String,
        sum: u32,
    },
    /// All of it was handed out, and the backup ended well.
    End,
    /// For people.
    Failed(String),
    /// The agent was started anew, or nothing was asked for too long.
    Forgotten,
}

impl RebuildStatus {
    /// Only another rebuild, or a person, makes sure of the data.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.stage, RebuildStage::Unreadable(_))
    }

    /// Until it is done nobody may use the data of that host.
    pub fn is_running(&self) -> bool {
        !matches!(self.stage, RebuildStage::Done { .. } | RebuildStage::Failed(_))
    }
}

/// In the unit that an operator thinks in.
pub fn in_megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

impl fmt::Display for RebuildStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preparing => f.write_str("looking whether it can be done; nothing was changed yet"),
            Self::Copying { done, of: Some(of) } if *of > 0 => {
                let percent = u128::from(*done) * 100 / u128::from(*of);
                let (done, of) = (in_megabytes(*done), in_megabytes(*of));
                write!(f, "{done} of {of} copied ({} %)", percent.min(100))
            }
            Self::Copying { done, .. } => write!(f, "{} copied", in_megabytes(*done)),
            Self::Working(what) => f.write_str(what),
            Self::AwaitsServer => f.write_str(
                "the data are copied, and the server has ended and was not started again: start it (or set server_start_command)",
            ),
            Self::Attaching => f.write_str("its server runs on the copy and is pointed at the writer"),
            Self::Again(why) => write!(f, "{why}. Its data are not whole; it is tried again until it works out"),
            Self::Done { bytes } => write!(f, "done, {} copied", in_megabytes(*bytes)),
            Self::Failed(why) => write!(f, "given up, nothing was changed: {why}"),
            Self::Unreadable(why) => write!(
                f,
                "it can't be told how far a rebuild of this host is ({why}): its data may be those of before, or not whole, so it serves nothing. Rebuild it anew (`mmm_control rejoin --clone`), or, if its data are surely whole, remove that file and start its agent again"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_bytes_and_per_cent_where_that_is_known() {
        let copying = |done, of| RebuildStage::Copying { done, of }.to_string();
        assert_eq!(copying(74_093_562, Some(148_187_124)), "74.0 MB of 148.1 MB copied (50 %)");
        assert_eq!(copying(999_999, None), "0.9 MB copied");
        assert_eq!(copying(5_000_000, Some(0)), "5.0 MB copied");
        // Pages that change while they are copied are copied twice.
        assert_eq!(copying(u64::MAX, Some(1_000_000)), "18446744073709.5 MB of 1.0 MB copied (100 %)");
    }
}
