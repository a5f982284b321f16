//! Pointing replication at a salvaged log and back.
//!
//! Where the server allows it only the receiver is stopped for that. What is left of a transaction that arrived in part then goes on
//! being applied as soon as its rest comes, while an applier of several threads that is to be stopped waits up to a minute for it.

use mmm_mysql::{Channel, ServerError, Session, StartAt, ThreadState};

use super::journal::Journal;
use crate::server_steps::{QUICK, REPLICATION_LIMIT};

/// How replication here is to be pointed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The applier runs on; by place it goes on behind what was received.
    Receiver(StartAt),
    /// What was received and is not applied is dropped, and received again.
    Both(StartAt),
}

impl Turn {
    /// Stops what has to stand still, and looks at what that leaves. `None` where there is no replication, or no place to go on from.
    pub(super) async fn prepare(
        session: &mut Session,
        journal: impl Fn(&Channel) -> Journal,
    ) -> Result<Option<(Self, Channel, Journal)>, ServerError> {
        if session.turns_while_applying() {
            session.stop_receiving(REPLICATION_LIMIT).await?;
            let Some(channel) = session.channel(QUICK).await? else { return Ok(None) };
            let made = journal(&channel);
            if channel.status.sql != ThreadState::No
                && let Some(at) = made.receive_from(channel.status.received.clone())
            {
                return Ok(Some((Self::Receiver(at), channel, made)));
            }
        }
        let seen = session.replica_status(QUICK).await?;
        // Where several threads apply, the place is written down now and then only, and when they stop.
        session.stop_replication(REPLICATION_LIMIT).await?;
        let Some(mut channel) = session.channel(QUICK).await? else { return Ok(None) };
        if let Some(seen) = seen {
            channel.status.name_as(&seen);
        }
        let journal = journal(&channel);
        let at = journal.start_at(channel.status.applied.clone());
        Ok(at.map(|at| (Self::Both(at), channel, journal)))
    }

    pub(super) async fn carry_out(
        &self,
        session: &mut Session,
        before: &Channel,
        journal: &Journal,
        (host, port, tls): (&str, u16, bool),
    ) -> Result<(), ServerError> {
        match self {
            Self::Both(at) => session.redirect(host, port, tls, at, REPLICATION_LIMIT).await,
            Self::Receiver(at) => {
                session.turn_receiver(host, port, tls, at, REPLICATION_LIMIT).await?;
                let status = session.replica_status(QUICK).await?;
                let has_stopped = status.is_none_or(|status| status.sql == ThreadState::No);
                let at = journal.start_at(before.status.applied.clone()).filter(|_| has_stopped);
                let Some(at) = at else { return Ok(()) };
                // It was stopped just before: then the server has dropped what was received.
                session.redirect(host, port, tls, &at, REPLICATION_LIMIT).await
            }
        }
    }
}
