//! Ends the connections of clients to the server on this host.

use std::collections::BTreeSet;
use std::time::Duration;

use mmm_mysql::{ClientThread, Flavour, ServerError, Session};
use tokio::time::{Instant, sleep};

/// A single statement that needs no lock.
const QUICK: Duration = Duration::from_secs(2);

/// Clients that are named in the log; of more only the number is told.
const NAMES_MAX: usize = 20;

/// How long a client that was ended in its `SLEEP()` may take to wake up before the next one is ended.
const WAKING: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(1);

const ER_KILL_DENIED: u16 = 1095;

/// How many were ended, of those that were there.
pub(crate) struct Ended {
    pub(crate) done: usize,
    /// What may not be ended by us, and does no harm; see [`may_stay`].
    pub(crate) spared: usize,
    pub(crate) of: usize,
    /// The first of those that were ended, for the log.
    pub(crate) names: Vec<String>,
    pub(crate) ids: BTreeSet<u64>,
}

impl Ended {
    pub(crate) fn describe(&self) -> String {
        let more = if self.done > self.names.len() { ", and others" } else { "" };
        format!("Ended {} client threads: {}{more}", self.done, self.names.join(", "))
    }

    pub(crate) fn all(&self) -> bool {
        self.done + self.spared == self.of
    }
}

/// Ends them one after the other until `limit` has passed, and spares the accounts of MMM itself.
pub(crate) async fn end_client_threads(
    session: &mut Session,
    own_users: &[String],
    limit: Duration,
) -> Result<Ended, ServerError> {
    let until = Instant::now() + limit;
    let own: Vec<&str> = own_users.iter().map(String::as_str).collect();
    let threads = session.client_threads(&own, QUICK.min(limit)).await?;
    let of = threads.len();
    let mut ended = Ended { done: 0, spared: 0, of, names: Vec::new(), ids: BTreeSet::new() };
    let mut waking = None;
    for thread in threads {
        if let Some(id) = waking.take_if(|_| thread.sleeps()) {
            wait_until_gone(session, &own, id, until).await?;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match session.kill(thread.id, QUICK.min(left)).await {
            Ok(()) => {
                ended.done += 1;
                if wakes_slowly(session, &thread) {
                    waking = Some(thread.id);
                }
                ended.ids.insert(thread.id);
                if ended.names.len() < NAMES_MAX {
                    ended.names.push(format!("{} of '{}' from {}", thread.id, thread.user, thread.host));
                }
            }
            Err(error) if may_stay(session, &error) => {
                ended.spared += 1;
                tracing::warn!(
                    "Connection {} of '{}' can't be ended; it takes CONNECTION_ADMIN, and SYSTEM_USER for accounts that have it: {error}",
                    thread.id,
                    thread.user
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

/// On `MariaDB` all who sleep share a mutex. `KILL` of one while the one before is waking up holds a lock that the woken one waits for
/// with that mutex in its hands, and `KILL` waits for the mutex: for 2 s, then it gives up. Seen in 4 of 160 moves past two who slept.
fn wakes_slowly(session: &Session, thread: &ClientThread) -> bool {
    thread.sleeps() && session.identity().flavour == Flavour::MariaDb
}

async fn wait_until_gone(
    session: &mut Session,
    own: &[&str],
    id: u64,
    until: Instant,
) -> Result<(), ServerError> {
    let awake_by = until.min(Instant::now() + WAKING);
    while Instant::now() < awake_by {
        // The statement's own limit is the step's: one that ran out would cost the session.
        let left = until.saturating_duration_since(Instant::now());
        let threads = session.client_threads(own, QUICK.min(left)).await?;
        if !threads.iter().any(|thread| thread.id == id) {
            break;
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// On `MySQL` the accounts of administrators are out of our reach. `super_read_only` holds them back as well, so that
/// they need not keep a role from moving.
fn may_stay(session: &Session, error: &ServerError) -> bool {
    error.code() == Some(ER_KILL_DENIED) && session.identity().flavour == Flavour::MySql
}
