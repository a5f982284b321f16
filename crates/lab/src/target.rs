//! The server that a client of the lab writes to, and how it gets there.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::time::timeout;

/// An address with an account, and the limit on connecting and on each answer.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub limit: Duration,
}

/// A connection, and the `server_id` of the server at its other end. Not every server can tell that with each row.
pub(crate) type Open = (Conn, u32);

impl Target {
    fn options(&self) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            // Without this the client would ask the server for its socket's path and open that path here.
            .prefer_socket(false)
            // Known beforehand, so that connecting needs no query of its own.
            .max_allowed_packet(Some(16 * 1024 * 1024))
            .wait_timeout(Some(3600))
            .stmt_cache_size(0)
            .into()
    }

    /// A new connection, or why there is none.
    pub(crate) async fn connect(&self) -> Result<Open, String> {
        let connecting = async {
            let mut conn = Conn::new(self.options()).await?;
            let server_id: Option<u32> = conn.query_first("SELECT @@server_id").await?;
            Ok::<_, mysql_async::Error>((conn, server_id.unwrap_or_default()))
        };
        match timeout(self.limit, connecting).await {
            Ok(Ok(open)) => Ok(open),
            Ok(Err(error)) => Err(format!("connect: {error}")),
            Err(_) => Err(format!("connect: no answer in {:?}", self.limit)),
        }
    }
}
