//! One kept connection to one server.
//!
//! Every call has a deadline. A call that misses it, is cancelled, or loses the connection ends the session: all later
//! calls fail at once, and the owner connects anew. An error packet from the server ends nothing.

mod log_home;
mod read_only;
mod rebuilding;
mod replication;
mod repointing;
mod semi_sync;
mod writes;

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::log_home::LogHome;
pub use self::read_only::ReadOnlyOutcome;
pub use self::rebuilding::{CloneStatus, DataFolders};
pub use self::writes::{Heartbeat, WritePlaces, WriteThreads};
use crate::address::{Account, Endpoint};
use crate::dialect;
use crate::error::{ErrorKind, ServerError};
use crate::identity::Identity;
use crate::line::{ClosedWatch, Line};
use crate::record::Record;
use crate::threads::{self, ClientThread, Unacknowledged};

/// Answers larger than this are refused; a list of ten thousand connections fits.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Only tells the library how long a connection may be idle before it distrusts it; the server's own value rules.
const IDLE_SECONDS_MAX: usize = 28_800;
/// A polite good-bye is worth this much waiting.
const CLOSE_LIMIT: Duration = Duration::from_millis(200);
const ER_NO_SUCH_THREAD: u16 = 1094;

/// A kept connection, checked to lead to a server that told who it is.
pub struct Session {
    /// Absent while a call runs and after the session was given up: a cancelled call can't leave it half read.
    conn: Option<Conn>,
    /// Declared after `conn`, but ended before it (see `give_up`).
    line: Option<Line>,
    connection_id: u64,
    endpoint: Endpoint,
    account: Account,
    identity: Identity,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("endpoint", &self.endpoint)
            .field("user", &self.account.user)
            .field("connection_id", &self.connection_id)
            .field("usable", &self.is_usable())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, logs in and asks the server who it is, all within `limit`.
    pub async fn connect(
        endpoint: &Endpoint,
        account: &Account,
        limit: Duration,
    ) -> Result<Self, ServerError> {
        let deadline = Instant::now() + limit;
        let conn = open(endpoint, account, limit).await?;
        let failed =
            |kind| ServerError { kind, endpoint: *endpoint, user: account.user.clone(), doing: None };
        let first = async {
            let mut conn = conn;
            let own: Option<Row> = conn.query_first(dialect::OWN_CLIENT).await?;
            let rows: Vec<Row> = conn.query(dialect::IDENTITY).await?;
            Ok((
                conn,
                own.map(|row| Record::from_row(&row)),
                rows.iter().map(Record::from_row).collect::<Vec<_>>(),
            ))
        };
        let (conn, own, rows) = bounded(first, deadline.saturating_duration_since(Instant::now()))
            .await
            .map_err(|kind| match kind {
                ErrorKind::TimedOut { .. } => failed(ErrorKind::TimedOut { after: limit }),
                other => failed(other),
            })?;
        let identity = Identity::from_records(&rows).map_err(|what| failed(ErrorKind::unexpected(what)))?;
        let line = find_line(*endpoint, own.as_ref());
        let connection_id = u64::from(conn.id());
        Ok(Self {
            conn: Some(conn),
            line,
            connection_id,
            endpoint: *endpoint,
            account: account.clone(),
            identity,
        })
    }

    /// Who the server said it was when this session began.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The number of this connection in the server's process list.
    pub fn connection_id(&self) -> u64 {
        self.connection_id
    }

    /// Whether calls can still succeed. `false` after a missed deadline, a lost connection or a cancelled call.
    pub fn is_usable(&self) -> bool {
        self.conn.is_some()
    }

    /// A handle that notices the end of this connection at once and costs nothing while it lives. `None` where the
    /// system forbids it (a sandbox without `pidfd_getfd`) or something between changes our port: then call
    /// [`Self::check_alive`] every 100 to 250 ms instead.
    pub fn watch(&self) -> Option<ClosedWatch> {
        self.line.as_ref().and_then(|line| line.watch().ok())
    }

    /// One small query: the server answers on this connection.
    pub async fn check_alive(&mut self, limit: Duration) -> Result<(), ServerError> {
        self.rows("asking for a sign of life", dialect::ALIVE, limit).await.map(drop)
    }

    /// Who the server is now; differs from [`Self::identity`] only when variables were changed meanwhile.
    pub async fn identify(&mut self, limit: Duration) -> Result<Identity, ServerError> {
        let doing = "asking who the server is";
        let rows = self.rows(doing, dialect::IDENTITY, limit).await?;
        Identity::from_records(&rows).map_err(|what| self.error(doing, ErrorKind::unexpected(what)))
    }

    /// `auto_increment_increment` and `auto_increment_offset` as new connections get them.
    pub async fn auto_increment(&mut self, limit: Duration) -> Result<(u64, u64), ServerError> {
        let doing = "asking for the automatic numbers";
        let rows = self.rows(doing, dialect::AUTO_INCREMENT, limit).await?;
        rows.first()
            .and_then(|row| Some((row.number(&["increment_by"])?, row.number(&["begins_at"])?)))
            .ok_or_else(|| self.error(doing, ErrorKind::unexpected("no numbers in the answer")))
    }

    /// The connections of clients: never ours, never one of `spare_users`, never a thread that the server or a replica
    /// of it needs.
    pub async fn client_threads(
        &mut self,
        spare_users: &[&str],
        limit: Duration,
    ) -> Result<Vec<ClientThread>, ServerError> {
        let rows = self.rows("listing the connections", dialect::THREADS, limit).await?;
        Ok(threads::clients(&rows, self.connection_id, spare_users))
    }

    /// Who waits for an acknowledgement, also while the connection `closer` makes the server read-only.
    pub async fn unacknowledged(
        &mut self,
        closer: Option<u64>,
        spare_users: &[&str],
        limit: Duration,
    ) -> Result<Unacknowledged, ServerError> {
        let rows = self.rows("looking who waits for an acknowledgement", dialect::THREADS, limit).await?;
        Ok(threads::unacknowledged(&rows, self.connection_id, closer, spare_users))
    }

    /// Ends a connection; one that has ended by itself is fine.
    pub async fn kill(&mut self, id: u64, limit: Duration) -> Result<(), ServerError> {
        match self.rows("ending a connection", &format!("KILL {id}"), limit).await {
            Err(error) if error.code() == Some(ER_NO_SUCH_THREAD) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Says good-bye to the server, so that it does not count an aborted client.
    pub async fn close(mut self) {
        if let Some(conn) = self.conn.take() {
            // Nothing depends on it: the server notices the closed socket too.
            let _ = timeout(CLOSE_LIMIT, conn.disconnect()).await;
        }
    }

    /// Runs one statement and reads all of its answer.
    pub(crate) async fn rows(
        &mut self,
        doing: &'static str,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<Record>, ServerError> {
        let Some(conn) = self.conn.take() else {
            return Err(
                self.error(doing, ErrorKind::closed("this session was given up after an earlier failure"))
            );
        };
        // Should the caller drop this future, the line is dropped with it, and that ends the connection.
        let line = self.line.take();
        let call = async move {
            let mut conn = conn;
            let answer: Result<Vec<Row>, _> = conn.query(sql).await;
            match answer {
                Ok(rows) => Ok((conn, Ok(rows.iter().map(Record::from_row).collect()))),
                Err(error) => match ErrorKind::from_driver(&error) {
                    said @ ErrorKind::Said { .. } => Ok((conn, Err(said))),
                    _ => Err(error),
                },
            }
        };
        match bounded(call, limit).await {
            Ok((conn, answer)) => {
                self.conn = Some(conn);
                self.line = line;
                answer.map_err(|kind| self.error(doing, kind))
            }
            Err(kind) => Err(self.error(doing, kind.on_kept_connection())),
        }
    }

    fn error(&self, doing: &'static str, kind: ErrorKind) -> ServerError {
        ServerError { kind, endpoint: self.endpoint, user: self.account.user.clone(), doing: Some(doing) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The library would say good-bye in a task without deadline; on an ended connection that task fails at once.
        self.line = None;
    }
}

/// Whether the server accepts and serves somebody new: connects, logs in, leaves. A kept session can't tell that.
pub async fn probe_accepts(
    endpoint: &Endpoint,
    account: &Account,
    limit: Duration,
) -> Result<(), ServerError> {
    let conn = open(endpoint, account, limit).await?;
    let _ = timeout(CLOSE_LIMIT, conn.disconnect()).await;
    Ok(())
}

/// Whether something takes connections there: the server's system does so too while the server itself lets nobody in.
pub async fn takes_connections(endpoint: &Endpoint, limit: Duration) -> bool {
    matches!(timeout(limit, TcpStream::connect((endpoint.ip, endpoint.port))).await, Ok(Ok(_)))
}

async fn open(endpoint: &Endpoint, account: &Account, limit: Duration) -> Result<Conn, ServerError> {
    let options = OptsBuilder::default()
        .ip_or_hostname(endpoint.ip.to_string())
        .tcp_port(endpoint.port)
        .user(Some(account.user.clone()))
        .pass(Some(account.password.expose_secret().to_owned()))
        // On by default, and then the library reads the server's socket path and opens it on *this* host: an agent
        // asking its peer would hear itself.
        .prefer_socket(false)
        .tcp_nodelay(true)
        .max_allowed_packet(Some(ANSWER_BYTES_MAX))
        .wait_timeout(Some(IDLE_SECONDS_MAX))
        .stmt_cache_size(0);
    bounded(Conn::new(options), limit).await.map_err(|kind| ServerError {
        kind,
        endpoint: *endpoint,
        user: account.user.clone(),
        doing: None,
    })
}

/// Runs a call of the library under a deadline. Its parsers may panic on garbage; that must stay one failed call.
async fn bounded<T>(
    call: impl Future<Output = Result<T, mysql_async::Error>>,
    limit: Duration,
) -> Result<T, ErrorKind> {
    match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(error))) => Err(ErrorKind::from_driver(&error)),
        Ok(Err(_panic)) => Err(ErrorKind::unexpected("its answer could not be read at all")),
        Err(_elapsed) => Err(ErrorKind::TimedOut { after: limit }),
    }
}

/// The server's view of our address looks like `192.168.8.31:51234`.
fn find_line(endpoint: Endpoint, own: Option<&Record>) -> Option<Line> {
    let port = own?.first()?.rsplit_once(':')?.1.parse().ok()?;
    match Line::find(endpoint, port) {
        Ok(line) => Some(line),
        Err(error) => {
            tracing::debug!(%endpoint, %error, "the end of this connection can only be noticed by asking");
            None
        }
    }
}
