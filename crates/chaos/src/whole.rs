//! When a cluster is in service again, and what of it is kept out for a reason that is told.

use std::time::Duration;

use anyhow::{Result, bail};
use mmm_lab::{Clients, Lab, Moment, Show, WRITER, wait_for};

use crate::fault::{self, MASTERS};

/// Until the cluster is whole again once nothing is broken any more.
const RECOVERY: Duration = Duration::from_mins(2);
/// For so long it must look whole.
const STEADY: Duration = Duration::from_secs(3);

/// Waits until the cluster is in service: a writer that clients reach, and both masters ONLINE or, with the reason told, kept out. What
/// waits for an operator is set online as one would do it.
pub(crate) fn whole(lab: &Lab, clients: &Clients) -> Result<()> {
    let mut since = (Moment::now(), None);
    let show = wait_for("both masters in service again", RECOVERY, || {
        fault::keep_running(lab).map_err(|error| error.to_string())?;
        let show = lab.show().map_err(|error| error.to_string())?;
        for host in MASTERS {
            if ["AWAITING_RECOVERY", "ADMIN_OFFLINE"].contains(&show.state(host)) {
                // Refused as long as its checks are not good.
                let _ = lab.control(&["set_online", host]);
            }
        }
        let in_service = |host: &str| show.state(host) == "ONLINE" || is_kept_out(&show, host);
        let writer = show.holder(WRITER).filter(|host| show.state(host) == "ONLINE").map(str::to_owned);
        // A server whose disk was full looks for room once a minute.
        let is_stuck = show.text.contains("no write gets through");
        let is_whole = writer.is_some() && !is_stuck && MASTERS.into_iter().all(in_service);
        if !is_whole || writer != since.1 {
            since = (Moment::now(), writer.filter(|_| is_whole));
        }
        // A monitor that has just been started shows what it remembers.
        if is_whole && Moment::now() - since.0 > STEADY { Ok(show) } else { Err(format!("\n{}", show.text)) }
    })?;
    let began = Moment::now();
    let Some(writer) = show.holder(WRITER) else { bail!("no writer") };
    let id = lab.host(writer)?.server_id.unwrap_or_default();
    clients.wait_by(id, began, Duration::from_secs(20))?;
    Ok(())
}

/// The host has what nobody else has, and `show` says so.
pub(crate) fn is_kept_out(show: &Show, host: &str) -> bool {
    show.state(host) == "REPLICATION_FAIL" || is_told(show, host)
}

pub(crate) fn is_told(show: &Show, host: &str) -> bool {
    show.text.lines().any(|line| {
        line.contains(host)
            && ["is held", "diverged", "never received"].iter().any(|word| line.contains(word))
    })
}
