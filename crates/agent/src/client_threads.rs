//! Ends the connections of clients to the server on this host.

use std::time::Duration;

use mmm_mysql::{ServerError, Session};
use tokio::time::Instant;

/// A single statement that needs no lock.
const QUICK: Duration = Duration::from_secs(2);

/// How many were ended, of those that were there.
pub(crate) struct Ended {
    pub(crate) ended: usize,
    pub(crate) of: usize,
}

impl Ended {
    pub(crate) fn all(&self) -> bool {
        self.ended == self.of
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
    for (ended, thread) in threads.into_iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Ended { ended, of });
        }
        session.kill(thread.id, QUICK.min(left)).await?;
    }
    Ok(Ended { ended: of, of })
}
