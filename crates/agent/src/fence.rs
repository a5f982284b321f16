//! What the parent does to this host when its lease is over and no worker is there to do it: role addresses off, the
//! server read-only, and as the last resort the end of the server.
//!
//! It does not know whether any of this has to be done. What it needs from the kernel and the server is opened for one
//! fencing and given back after it, as the parent has to stay small.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use mmm_mysql::{Account, Endpoint, ErrorKind, ReadOnlyOutcome, ServerError, Session};
use mmm_net::{Addresses, Error};
use tokio::task::JoinSet;

use crate::client_threads::end_client_threads;
use crate::leaving_address::{drop_everywhere, turn_clients_away};
use crate::server_process::find_server;
use crate::setup::Setup;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Writes of clients queue behind a waiting `SET read_only`, and others may be about to write elsewhere.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const READ_ONLY_LIMIT: Duration = Duration::from_secs(1);
const END_LIMIT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Fence {
    interface: String,
    addresses: BTreeSet<IpAddr>,
    server: Endpoint,
    account: Account,
    own_users: Vec<String>,
    server_pid_file: PathBuf,
}

/// What became of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fenced {
    /// It takes no writes of clients, or there is none.
    Closed,
    /// Nobody knows. The pid file is what the server itself named, if it spoke at all.
    MayWrite { pid_file: Option<PathBuf> },
}

impl Fence {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            interface: setup.interface.clone(),
            addresses: setup.roles.keys().copied().collect(),
            server: setup.server,
            account: setup.account.clone(),
            own_users: setup.own_users.clone(),
            server_pid_file: setup.server_pid_file.clone(),
        }
    }

    /// Takes the addresses off and closes the server, neither waiting for the other. Ends within some seconds.
    pub(crate) async fn carry_out(&self) -> Fenced {
        let ((), fenced) = tokio::join!(self.take_addresses_off(), self.close_server());
        fenced
    }

    /// Whether a role address is still on this host, as far as can be seen.
    pub(crate) async fn is_address_left(&self) -> bool {
        match self.find_addresses().await {
            Ok((_, found)) => !found.is_empty(),
            Err(error) => {
                tracing::warn!("The parent fences: can't see which addresses this host has: {error}");
                true
            }
        }
    }

    async fn find_addresses(&self) -> Result<(Addresses, BTreeSet<IpAddr>), Error> {
        let (kernel, _changes) = Addresses::open()?;
        let held = kernel.list().await?;
        let found = held.into_iter().map(|held| held.ip).filter(|ip| self.addresses.contains(ip)).collect();
        Ok((kernel, found))
    }

    /// All of them at the same time, so that many connections to one do not delay the others.
    async fn take_addresses_off(&self) {
        let (kernel, found) = match self.find_addresses().await {
            Ok(found) => found,
            Err(error) => {
                let all = self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                mmm_daemon::fatal!("The parent fences: can't take {all} off this host: {error}");
                return;
            }
        };
        let mut leaving = JoinSet::new();
        for ip in found {
            leaving.spawn(take_off(kernel.clone(), self.interface.clone(), ip));
        }
        // Each tells of itself.
        leaving.join_all().await;
    }

    async fn close_server(&self) -> Fenced {
        let mut session = match Session::connect(&self.server, &self.account, CONNECT_LIMIT).await {
            Ok(session) => session,
            Err(error) if is_gone(&error) => {
                tracing::info!("The parent fences: no server takes connections on {}", self.server);
                return Fenced::Closed;
            }
            Err(error) => {
                mmm_daemon::fatal!("The parent fences: can't make the server read-only: {error}");
                return Fenced::MayWrite { pid_file: None };
            }
        };
        let closed = match self.make_read_only(&mut session).await {
            Ok(ReadOnlyOutcome::Done) => true,
            Ok(ReadOnlyOutcome::LockHeld) => {
                mmm_daemon::fatal!(
                    "The parent fences: can't make the server read-only: somebody's lock stands in the way, also after the end of the client threads"
                );
                false
            }
            Err(error) => {
                mmm_daemon::fatal!("The parent fences: can't make the server read-only: {error}");
                is_gone(&error)
            }
        };
        let pid_file = session.identity().pid_file.clone();
        session.close().await;
        if closed { Fenced::Closed } else { Fenced::MayWrite { pid_file } }
    }

    /// Client threads end in any case: first who holds the locks, then who could go on with what it had begun.
    async fn make_read_only(&self, session: &mut Session) -> Result<ReadOnlyOutcome, ServerError> {
        let mut outcome = session.set_read_only(true, LOCK_WAIT, READ_ONLY_LIMIT).await?;
        if outcome == ReadOnlyOutcome::LockHeld {
            self.end_clients(session).await;
            outcome = session.set_read_only(true, LOCK_WAIT, READ_ONLY_LIMIT).await?;
        }
        if outcome == ReadOnlyOutcome::Done {
            tracing::info!("The parent fences: the server is read-only");
            self.end_clients(session).await;
        }
        Ok(outcome)
    }

    async fn end_clients(&self, session: &mut Session) {
        match end_client_threads(session, &self.own_users, END_LIMIT).await {
            Ok(threads) => {
                tracing::info!("The parent fences: ended {} of {} client threads", threads.done, threads.of);
            }
            Err(error) => tracing::warn!("The parent fences: can't end the client threads: {error}"),
        }
    }

    /// Sends SIGKILL to the server. Must be called inside a tokio runtime.
    pub(crate) fn kill_server(&self, named: Option<PathBuf>) {
        let pid_files = [named, Some(self.server_pid_file.clone())];
        let pid_files: Vec<PathBuf> = pid_files.into_iter().flatten().collect();
        let Some(process) = find_server(pid_files.iter().map(PathBuf::as_path)) else {
            mmm_daemon::fatal!(
                "The parent fences: the server may still take writes, and its process can't be found (pid file {}): end it by hand",
                self.server_pid_file.display()
            );
            return;
        };
        let pid = process.pid();
        match process.kill() {
            Ok(()) => mmm_daemon::fatal!(
                "The parent fences: killed the server (pid {pid}), which may still have taken writes"
            ),
            Err(error) => mmm_daemon::fatal!(
                "The parent fences: the server (pid {pid}) may still take writes and can't be killed ({error}): end it by hand"
            ),
        }
    }
}

/// Nothing is refused for the address afterwards, as the worker's lane does: a worker that comes back might put it on
/// again, and what it serves then would be refused.
async fn take_off(kernel: Addresses, interface: String, ip: IpAddr) {
    if let Err(error) = turn_clients_away(&kernel, &interface, ip, || ()).await {
        tracing::warn!("The parent fences: clients of {ip} may wait for their own time limits: {error}");
    }
    match drop_everywhere(&kernel, &interface, ip).await {
        Ok(()) => tracing::info!("The parent fences: {ip} is off this host"),
        Err(error) => mmm_daemon::fatal!("The parent fences: can't take {ip} off this host: {error}"),
    }
}

/// Nobody listens, or the server says itself that it is shutting down.
fn is_gone(error: &ServerError) -> bool {
    match error.kind {
        ErrorKind::Refused => true,
        ErrorKind::Said { .. } => !error.proves_life(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
