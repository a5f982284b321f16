//! Where the log of the server ends that this one replicates from, for a role that was taken away by a monitor which does
//! not pass on the old writer's final position.

use std::net::IpAddr;
use std::time::Duration;

use mmm_mysql::{Account, Coordinates, Endpoint, ReplicaStatus, Session};

/// The old writer answers at once or is not there; meanwhile nobody writes.
const LIMIT: Duration = Duration::from_secs(1);

/// The error says for people why there is no such position. Accounts of agents are the same on all hosts by custom.
pub(crate) async fn final_position_of(
    status: &ReplicaStatus,
    account: &Account,
) -> Result<Coordinates, String> {
    let host = &status.source_host;
    let ip: IpAddr = host.parse().map_err(|_| format!("its address is not known, only the name '{host}'"))?;
    let source = Endpoint::new(ip, status.source_port);
    let mut session = Session::connect(&source, account, LIMIT).await.map_err(|error| error.to_string())?;
    let writable = !session.read_only(LIMIT).await.map_err(|error| error.to_string())?;
    let position = session.log_position(LIMIT).await.map_err(|error| error.to_string())?;
    session.close().await;
    if writable {
        // What it writes from now on can't be waited for by any position.
        tracing::warn!("The server {source}, which this one replicates from, still takes writes");
    }
    position.ok_or_else(|| format!("the server {source} keeps no binary log"))
}
