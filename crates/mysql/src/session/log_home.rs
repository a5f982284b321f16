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
    /// Each transaction is on the disk before it counts, so that none outlives its place in the log.
    pub synced: bool,
    /// What the server replicates is in it as well.
    pub has_replicated: bool,
}

impl Session {
    /// `None` where it keeps no log.
    pub async fn log_home(&mut self, limit: Duration) -> Result<Option<LogHome>, ServerError> {
        let sql = "SELECT @@global.log_bin_index, @@global.datadir, @@global.sync_binlog";
        let rows = self.rows("asking where the binary log is", sql, limit).await?;
        let fields: Vec<Option<&str>> =
            rows.iter().flat_map(|row| row.fields().map(|(_, value)| value)).collect();
        let [Some(index), Some(data), synced] = fields[..] else { return Ok(None) };
        let data = PathBuf::from(data);
        if index.is_empty() {
            return Ok(None);
        }
        let (index, synced) = (data.join(index), synced == Some("1"));
        // Its name is another one for each family.
        let sql = r"SHOW GLOBAL VARIABLES LIKE 'log\_%\_updates'";
        let rows = self.rows("asking what is in the binary log", sql, limit).await?;
        let has_replicated = rows.iter().any(|row| row.text(&["Value"]) == Some("ON"));
        Ok(Some(LogHome { index, data, synced, has_replicated }))
    }
}
