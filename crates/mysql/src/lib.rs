//! Everything that MMM says to a database server, and everything it concludes from the answers.
//!
//! One [`Session`] is one kept connection. Each call on it has a deadline, and a session that missed one is never used
//! again, because nobody can tell which answer would come next. Statements are chosen in one place (`dialect`), columns
//! are read by name. The checks of the monitor are pure functions over results, so that they can be tested without a
//! server.
//!
//! This crate decides nothing about hosts or roles and keeps no state beyond its connections.

#![forbid(unsafe_code)]

mod address;
pub mod binlog;
mod check;
mod dialect;
mod doctor;
mod error;
mod grants;
mod identity;
mod line;
pub mod log_source;
mod record;
mod replica;
mod repoint;
mod session;
mod survey;
mod threads;

pub use address::{Account, Endpoint};
pub use check::{CheckVerdict, keeps_up, mysql_check, rep_backlog_check, rep_threads_check};
pub use dialect::{Flavour, Version};
pub use doctor::{extras, log_in, set_by_hand};
pub use error::{ErrorKind, ServerError};
pub use grants::{AccountKind, grants};
pub use identity::Identity;
pub use line::ClosedWatch;
pub use replica::{Coordinates, GtidState, LogEvent, ReplicaStatus, ThreadState, WaitOutcome};
pub use repoint::{Channel, GtidUse, Repoint, StartAt};
pub use session::{
    CloneStatus, DataFolders, Heartbeat, LogHome, ReadOnlyOutcome, Session, WritePlaces, WriteThreads,
    probe_accepts, takes_connections,
};
pub use threads::{ClientThread, Unacknowledged};
