//! Getting all data of another server: `MySQL`'s clone plugin, and what has to be told to a server that runs on such a copy.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::Session;
use crate::address::{Account, Endpoint};
use crate::dialect::quoted;
use crate::error::{ErrorKind, ServerError};
use crate::replica::Coordinates;

/// The copy is whole, and nobody is there to start the server again after it.
const ER_RESTART_SERVER_FAILED: u16 = 3707;

const ER_BINLOG_MUST_BE_EMPTY: u16 = 1956;

/// The last copy that a server made of another one, as it tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloneStatus {
    pub state: String,
    /// Tells one copy from the one before.
    pub begun: String,
    pub error: String,
    pub gtid: String,
    /// In the log of the server that was copied.
    pub place: Option<Coordinates>,
}

/// Where the files of a server are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolders {
    /// A folder outside of the other one that has a part of them.
    pub elsewhere: Option<PathBuf>,
    pub data: PathBuf,
}

impl CloneStatus {
    pub fn is_under_way(&self) -> bool {
        self.state.eq_ignore_ascii_case("In Progress")
    }

    pub fn is_completed(&self) -> bool {
        self.state.eq_ignore_ascii_case("Completed")
    }
}

impl Session {
    /// Whether the clone plugin is there and active.
    pub async fn has_clone_plugin(&mut self, limit: Duration) -> Result<bool, ServerError> {
        let sql = "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'";
        let rows = self.rows("looking for the clone plugin", sql, limit).await?;
        Ok(rows.first().and_then(|row| row.first()) == Some("ACTIVE"))
    }

    /// It stays installed; nothing of it is written to the binary log.
    pub async fn install_clone_plugin(&mut self, limit: Duration) -> Result<(), ServerError> {
        let sql = "INSTALL PLUGIN clone SONAME 'mysql_clone.so'";
        self.rows("installing the clone plugin", sql, limit).await.map(drop)
    }

    /// Without it nobody can be told whether a copy is whole.
    pub async fn has_performance_schema(&mut self, limit: Duration) -> Result<bool, ServerError> {
        let sql = "SELECT @@global.performance_schema";
        let rows = self.rows("asking for the performance schema", sql, limit).await?;
        Ok(matches!(rows.first().and_then(|row| row.first()), Some("1" | "ON")))
    }

    /// `read_only` stays, so that ordinary clients write nothing; a copy is refused while `super_read_only` is on.
    pub async fn lift_super_read_only(&mut self, limit: Duration) -> Result<(), ServerError> {
        self.rows("clearing super_read_only", "SET GLOBAL super_read_only = 0", limit).await.map(drop)
    }

    /// `None` where it never made one.
    pub async fn clone_status(&mut self, limit: Duration) -> Result<Option<CloneStatus>, ServerError> {
        let sql = "SELECT STATE, CAST(BEGIN_TIME AS CHAR) AS BEGUN, ERROR_MESSAGE, GTID_EXECUTED, BINLOG_FILE, BINLOG_POSITION FROM performance_schema.clone_status";
        let rows = self.rows("asking for the last copy", sql, limit).await?;
        Ok(rows.first().map(|row| {
            let text = |name: &str| row.text(&[name]).unwrap_or_default().to_owned();
            CloneStatus {
                state: text("STATE"),
                begun: text("BEGUN"),
                error: text("ERROR_MESSAGE"),
                gtid: text("GTID_EXECUTED").split_whitespace().collect(),
                place: Coordinates::from_record(row, &["BINLOG_FILE"], &["BINLOG_POSITION"]),
            }
        }))
    }

    /// Bytes that are copied, and all there are; both are 0 before the first.
    pub async fn clone_progress(&mut self, limit: Duration) -> Result<(u64, u64), ServerError> {
        let sql = "SELECT CAST(SUM(DATA) AS UNSIGNED) AS DONE, CAST(SUM(ESTIMATE) AS UNSIGNED) AS ALL_OF_IT FROM performance_schema.clone_progress WHERE STAGE LIKE '% COPY'";
        let rows = self.rows("asking how much is copied", sql, limit).await?;
        let number = |name: &str| rows.first().and_then(|row| row.number(&[name])).unwrap_or(0);
        Ok((number("DONE"), number("ALL_OF_IT")))
    }

    /// Whether the last copy has begun to throw the server's own data away.
    pub async fn clone_has_dropped(&mut self, limit: Duration) -> Result<bool, ServerError> {
        let sql = "SELECT STATE FROM performance_schema.clone_progress WHERE STAGE = 'DROP DATA'";
        let rows = self.rows("asking how far the copy came", sql, limit).await?;
        Ok(rows
            .first()
            .and_then(|row| row.first())
            .is_some_and(|state| !state.eq_ignore_ascii_case("Not Started")))
    }

    /// Throws away what this server has and copies the other one. The server ends with it: a supervisor that it knows of starts
    /// it again, otherwise it stays down. An error means that the copy is not there, and perhaps nothing else any more.
    pub async fn clone_from(
        &mut self,
        donor: &Endpoint,
        account: &Account,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let donors = format!(
            "SET GLOBAL clone_valid_donor_list = {}",
            quoted(&format!("{}:{}", donor.ip, donor.port))
        );
        self.rows("naming the server to copy", &donors, Duration::from_secs(5)).await?;
        let sql = format!(
            "CLONE INSTANCE FROM {}@{}:{} IDENTIFIED BY {}",
            quoted(&account.user),
            quoted(&donor.ip.to_string()),
            donor.port,
            quoted(account.password.expose_secret())
        );
        match self.rows("copying another server", &sql, limit).await {
            Err(error) if error.code() == Some(ER_RESTART_SERVER_FAILED) => Ok(()),
            // What became of it is told by the server once it is back.
            Err(ServerError { kind: ErrorKind::Closed { .. }, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Where a `MariaDB` keeps what a backup of it has to bring along.
    pub async fn data_folders(&mut self, limit: Duration) -> Result<DataFolders, ServerError> {
        let sql = "SELECT @@global.datadir, @@global.innodb_data_home_dir, @@global.innodb_log_group_home_dir, @@global.innodb_undo_directory, @@global.aria_log_dir_path";
        let rows = self.rows("asking where the data are", sql, limit).await?;
        let mut fields = rows.iter().flat_map(|row| row.fields().map(|(_, value)| value.unwrap_or_default()));
        let data = PathBuf::from(fields.next().unwrap_or_default());
        let elsewhere = fields.filter(|other| !other.is_empty()).map(|other| data.join(other));
        let is_same = |other: &PathBuf| other.components().eq(data.components());
        let elsewhere =
            elsewhere.map(|path| path.components().collect::<PathBuf>()).find(|path| !is_same(path));
        Ok(DataFolders { elsewhere, data })
    }

    /// What this server counts as applied, and as its log's past. Its log has to be empty, and replication stopped.
    pub async fn set_gtid_history(
        &mut self,
        applied: &str,
        log_state: &str,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let doing = "saying which transactions the data have";
        if self.gtid_state(limit).await?.binlog_state != log_state {
            if self.log_has_transactions(limit).await? {
                self.rows("emptying the binary log", "RESET MASTER", limit).await?;
            }
            let sql = format!("SET GLOBAL gtid_binlog_state = {}", quoted(log_state));
            self.rows(doing, &sql, limit).await?;
        }
        let sql = format!("SET GLOBAL gtid_slave_pos = {}", quoted(applied));
        self.rows(doing, &sql, limit).await.map(drop)
    }

    /// Whether [`Session::set_gtid_history`] would be let; nothing is changed, since that is refused while the log holds anything.
    pub async fn may_set_gtid_history(&mut self, limit: Duration) -> Result<(), ServerError> {
        let sql = "SET GLOBAL gtid_binlog_state = ''";
        match self.rows("trying whether the past of the log may be set", sql, limit).await {
            Err(error) if error.code() == Some(ER_BINLOG_MUST_BE_EMPTY) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn log_has_transactions(&mut self, limit: Duration) -> Result<bool, ServerError> {
        Ok(!self.gtid_state(limit).await?.binlog_state.is_empty())
    }

    /// How a `MariaDB` channel logs in, and how soon it tries again. Both threads have to be stopped before.
    pub async fn set_channel_retry(
        &mut self,
        tls: bool,
        retry: u64,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let sql = format!("CHANGE MASTER TO MASTER_SSL = {}, MASTER_CONNECT_RETRY = {retry}", u8::from(tls));
        self.rows("saying how replication logs in", &sql, limit).await.map(drop)
    }

    /// How a `MySQL` channel logs in. Both threads have to be stopped before.
    pub async fn set_channel_login(
        &mut self,
        tls: bool,
        asks_for_key: bool,
        limit: Duration,
    ) -> Result<(), ServerError> {
        let sql = self.identity.dialect().channel_login(tls, asks_for_key);
        self.rows("saying how replication logs in", &sql, limit).await.map(drop)
    }
}
