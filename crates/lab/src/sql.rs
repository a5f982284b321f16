//! SQL as the lab itself needs it: through a server's socket, so that it works whatever the network, the
//! addresses or read-only are doing. The write probe has its own connection.

use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};

use crate::error::{LabError, Result};

/// The answer to a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<String>,
    /// Values as text; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// A column of the first row; `None` where there is no row, no such column, or NULL.
    pub fn get(&self, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        self.rows.first()?.get(index)?.as_deref()
    }

    /// The first column of the first row.
    pub fn value(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

async fn ask(socket: &str, statement: &str) -> mysql_async::Result<Table> {
    let options = OptsBuilder::default()
        .socket(Some(socket))
        .prefer_socket(false)
        .user(Some("lab"))
        .pass(Some("lab"))
        .max_allowed_packet(Some(16 * 1024 * 1024))
        .wait_timeout(Some(3600))
        .stmt_cache_size(0);
    let mut conn = Conn::new(options).await?;
    let mut result = conn.query_iter(statement).await?;
    let mut table = Table::default();
    // Several statements in one text give several results; an error in any of them must not go unseen. The last rows count.
    while !result.is_empty() {
        let columns: Vec<String> =
            result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
        let rows: Vec<Row> = result.collect().await?;
        if !columns.is_empty() {
            let rows = rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect();
            table = Table { columns, rows };
        }
    }
    drop(result);
    conn.disconnect().await?;
    Ok(table)
}

/// Runs a statement, or several with `;` between, on the server that listens on this socket.
pub(crate) fn query(server: &str, socket: &Path, statement: &str, limit: Duration) -> Result<Table> {
    let fail = |reason: String| LabError::Sql {
        server: server.to_owned(),
        statement: statement.chars().take(200).collect(),
        reason,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| fail(error.to_string()))?;
    let socket = socket.to_string_lossy();
    let answer = runtime.block_on(async { tokio::time::timeout(limit, ask(&socket, statement)).await });
    match answer {
        Ok(Ok(table)) => Ok(table),
        Ok(Err(error)) => Err(fail(error.to_string())),
        Err(_) => Err(fail(format!("no answer within {limit:?}"))),
    }
}
