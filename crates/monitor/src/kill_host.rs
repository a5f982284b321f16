//! Runs the operator's program that turns a host off.

use std::process::Stdio;
use std::time::Duration;

use mmm_core::lease::Epoch;
use mmm_core::{Event, HostName};
use tokio::process::Command;
use tokio::time::timeout;

use crate::shell::Wiring;

/// Powering a host off through its management board may take a while, but not for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `kill_host HOST PING` (PING is 1 when the host answered the last pings, 0 otherwise). Only exit status 0 means
/// that the host is off, and with it whatever it held by `epoch` or an earlier one.
pub(crate) async fn kill_host(wiring: Wiring, host: HostName, ping: bool, epoch: Epoch) {
    let setup = wiring.setup();
    let outcome = run(&setup.kill_host_bin, &host, ping).await;
    let event = Event::HostKillEnded { host, epoch, outcome };
    // The monitor is ending when nobody listens.
    let _ = wiring.events.send(event).await;
}

async fn run(program: &std::path::Path, host: &HostName, ping: bool) -> Result<(), String> {
    let name = program.display();
    let mut child = Command::new(program)
        .arg(host.as_str())
        .arg(if ping { "1" } else { "0" })
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("can't start {name}: {error}"))?;
    match timeout(LIMIT, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{name} ended with {status}")),
        Ok(Err(error)) => Err(format!("can't wait for {name}: {error}")),
        Err(_) => Err(format!("{name} did not end within {} s and was ended", LIMIT.as_secs())),
    }
}
