//! Replication between the lab's servers: set up as the tutorial does, looked at, waited for.

use std::time::Duration;

use crate::error::{LabError, Result};
use crate::flavour::Family;
use crate::host::{HostKind, M1, M2};
use crate::lab::Lab;
use crate::wait::wait_for;

/// Replication as the server tells it, whatever it calls its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub master: String,
    pub io_running: String,
    pub sql_running: String,
    pub behind: Option<u64>,
    /// Places in the master's log, each as file and position.
    pub received: [String; 2],
    pub applied: [String; 2],
    pub last_error: String,
}

impl Replication {
    pub fn is_running(&self) -> bool {
        self.io_running == "Yes" && self.sql_running == "Yes"
    }
}

/// What the lab itself says to a server of a family.
impl Family {
    fn log_status(self) -> &'static str {
        match self {
            Self::MariaDb => "SHOW MASTER STATUS",
            Self::MySql => "SHOW BINARY LOG STATUS",
        }
    }

    /// Follows a source: at a place in its log, or by GTID.
    fn follow(self, ip: &str, place: Option<(String, String)>) -> String {
        match (self, place) {
            (Self::MariaDb, place) => {
                let place = place.map_or("MASTER_USE_GTID = slave_pos".to_owned(), |(file, position)| {
                    format!("MASTER_LOG_FILE = '{file}', MASTER_LOG_POS = {position}")
                });
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '{ip}', MASTER_PORT = 3306, MASTER_USER = 'repl', \
                     MASTER_PASSWORD = 'repl', MASTER_CONNECT_RETRY = 1, {place}; START SLAVE"
                )
            }
            (Self::MySql, place) => {
                let place = place.map_or("SOURCE_AUTO_POSITION = 1".to_owned(), |(file, position)| {
                    format!("SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {position}")
                });
                // By default it gives up after ten attempts.
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{ip}', SOURCE_PORT = 3306, SOURCE_USER = 'repl', \
                     SOURCE_PASSWORD = 'repl', SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 100000, {place}; \
                     START REPLICA"
                )
            }
        }
    }

    fn replica_status(self) -> &'static str {
        match self {
            Self::MariaDb => "SHOW SLAVE STATUS",
            Self::MySql => "SHOW REPLICA STATUS",
        }
    }

    fn wait_for_position(self) -> &'static str {
        match self {
            Self::MariaDb => "MASTER_POS_WAIT",
            Self::MySql => "SOURCE_POS_WAIT",
        }
    }
}

impl Lab {
    /// Makes `replica` replicate from `master`, from where the master's binary log stands now (or by GTID), and starts it.
    pub fn replicate(&self, master: &str, replica: &str, gtid: bool) -> Result<()> {
        let family = self.software.family;
        let place = if gtid {
            None
        } else {
            let status = self.sql(master, family.log_status())?;
            let get = |column: &str| {
                status.get(column).map(str::to_owned).ok_or_else(|| {
                    LabError::Other(format!(
                        "{} on {master} has no {column}: is log-bin on?",
                        family.log_status()
                    ))
                })
            };
            Some((get("File")?, get("Position")?))
        };
        let ip = &self.host(master)?.ip;
        self.sql(replica, &family.follow(ip, place)).map(drop)
    }

    /// Both masters from each other, replicas from the first.
    pub(crate) fn replicate_all(&self, gtid: bool) -> Result<()> {
        self.replicate(M1, M2, gtid)?;
        self.replicate(M2, M1, gtid)?;
        for host in self.hosts.iter().filter(|host| host.kind == HostKind::Replica) {
            self.replicate(M1, &host.name, gtid)?;
        }
        for host in self.servers() {
            self.wait_replicating(host, Duration::from_secs(30))?;
        }
        Ok(())
    }

    /// Replication of a server; `None` where it is not set up.
    pub fn replication(&self, host: &str) -> Result<Option<Replication>> {
        let table = self.sql(host, self.software.family.replica_status())?;
        if table.rows.is_empty() {
            return Ok(None);
        }
        let find = |names: [&str; 2]| names.into_iter().find_map(|column| table.get(column));
        let get = |names| find(names).unwrap_or_default().to_owned();
        let errors = ["Last_IO_Error", "Last_SQL_Error"].map(|column| get([column, column]));
        Ok(Some(Replication {
            master: get(["Master_Host", "Source_Host"]),
            io_running: get(["Slave_IO_Running", "Replica_IO_Running"]),
            sql_running: get(["Slave_SQL_Running", "Replica_SQL_Running"]),
            received: [
                get(["Master_Log_File", "Source_Log_File"]),
                get(["Read_Master_Log_Pos", "Read_Source_Log_Pos"]),
            ],
            applied: [
                get(["Relay_Master_Log_File", "Relay_Source_Log_File"]),
                get(["Exec_Master_Log_Pos", "Exec_Source_Log_Pos"]),
            ],
            behind: find(["Seconds_Behind_Master", "Seconds_Behind_Source"])
                .and_then(|text| text.parse().ok()),
            last_error: errors.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "),
        }))
    }

    /// Waits until both threads of a server's replication run.
    pub fn wait_replicating(&self, host: &str, limit: Duration) -> Result<Replication> {
        wait_for(&format!("replication running on {host}"), limit, || match self.replication(host) {
            Ok(Some(status)) if status.is_running() => Ok(status),
            Ok(status) => Err(format!("{status:?}")),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Waits until `replica` has applied everything that is in the binary log of `master` at this moment. A replica that stands
    /// still for a while, such as one that is pointed elsewhere, is waited for.
    pub fn wait_replicated(&self, master: &str, replica: &str, limit: Duration) -> Result<()> {
        let status = self.sql(master, self.software.family.log_status())?;
        let (file, position) = (status.get("File").unwrap_or(""), status.get("Position").unwrap_or("0"));
        let wait = self.software.family.wait_for_position();
        let statement = format!("SELECT {wait}('{file}', {position}, {})", limit.as_secs().max(1));
        wait_for(&format!("{replica} applying {file}:{position} of {master}"), limit, || {
            let table = self.sql_within(replica, &statement, limit + Duration::from_secs(2));
            match table.map(|table| table.value().and_then(|text| text.parse::<i64>().ok())) {
                Ok(Some(events)) if events >= 0 => Ok(()),
                other => Err(format!("{other:?}: {:?}", self.replication(replica))),
            }
        })
    }
}
