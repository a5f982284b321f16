//! Pointing a replica elsewhere, and reading what became of it.

use std::time::Duration;

use super::Session;
use crate::error::ServerError;
use crate::replica::Coordinates;
use crate::repoint::{Channel, Repoint, StartAt};

impl Session {
    /// The status of replication together with its options; `None` where it is not set up. With several sources, the
    /// first one.
    pub async fn channel(&mut self, limit: Duration) -> Result<Option<Channel>, ServerError> {
        let sql = self.identity.dialect().replica_status();
        let rows = self.rows("reading the replication status", sql, limit).await?;
        Ok(rows.first().map(Channel::from_record))
    }

    /// Replicates from another server from now on. Both threads have to be stopped before.
    pub async fn repoint(&mut self, to: &Repoint, limit: Duration) -> Result<(), ServerError> {
        let sql = self.identity.dialect().repoint(to);
        self.rows("pointing replication at another server", &sql, limit).await.map(drop)
    }

    /// The same back to where the channel pointed before, with the account that it kept.
    pub async fn repoint_back(
        &mut self,
        before: &Channel,
        place: &Coordinates,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let sql = self.identity.dialect().repoint_back(
            &before.status.source_host,
            before.status.source_port,
            place,
        );
        self.rows("pointing replication back at its server", &sql, limit).await.map(drop)
    }

    /// Replicates from another port, or again from the one before, with all options but the use of TLS as they are. Both threads
    /// have to be stopped before.
    pub async fn redirect(
        &mut self,
        host: &str,
        port: u16,
        tls: bool,
        at: &StartAt,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let sql = self.identity.dialect().redirect(host, port, tls, at);
        self.rows("pointing replication at another server for a while", &sql, limit).await.map(drop)
    }

    /// Whether [`Self::turn_receiver`] works here.
    pub fn turns_while_applying(&self) -> bool {
        self.identity.dialect().turns_while_applying()
    }

    /// Like [`Self::redirect`], with only the receiver stopped: what it has fetched stays and is applied.
    pub async fn turn_receiver(
        &mut self,
        host: &str,
        port: u16,
        tls: bool,
        at: &StartAt,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let sql = self.identity.dialect().turn_receiver(host, port, tls, at);
        self.rows("pointing the receiver of replication at another server", &sql, limit).await.map(drop)
    }

    /// Goes on at another place of the same server's log. Both threads have to be stopped before.
    pub async fn replicate_at(&mut self, at: &StartAt, limit: Duration) -> Result<(), ServerError> {
        let sql = self.identity.dialect().change_place(at);
        self.rows("changing the position of replication", &sql, limit).await.map(drop)
    }

    /// Starts these threads and no others.
    pub async fn start_threads(
        &mut self,
        receives: bool,
        applies: bool,
        limit: Duration,
    ) -> Result<(), ServerError> {
        match self.identity.dialect().start_some(receives, applies) {
            Some(sql) => self.rows("starting replication", &sql, limit).await.map(drop),
            None => Ok(()),
        }
    }
}
