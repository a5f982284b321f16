//! Where a server keeps its binary log, for the time when it can't be asked any more.

use std::path::PathBuf;
use std::time::Duration;

use super::Session;
use crate::error::ServerError;

/// Where the files of a log are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHome {
    /// The list of the files.
    pub index: PathBuf,
    /// What names in the list are seen from.
    pub data: PathBuf,
}

impl Session {
    /// `None` where it keeps no log.
    pub async fn log_home(&mut self, limit: Duration) -> Result<Option<LogHome>, ServerError> {
        let sql = "SELECT @@global.log_bin_index, @@global.datadir";
        let rows = self.rows("asking where the binary log is", sql, limit).await?;
        let fields: Vec<Option<&str>> =
            rows.iter().flat_map(|row| row.fields().map(|(_, value)| value)).collect();
        let [Some(index), Some(data)] = fields[..] else { return Ok(None) };
        let data = PathBuf::from(data);
        Ok((!index.is_empty()).then(|| LogHome { index: data.join(index), data }))
    }
}
