//! Ctrl-C and SIGTERM: the cluster is made of processes and namespaces that outlive this process, so it must not just end.

use std::thread;

use anyhow::{Context, Result};
use mmm_lab::{Lab, base_dir};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// From now on an interrupt takes the lab down (unless it is to be kept) and ends the process.
pub(crate) fn take_down_when_interrupted(lab: &'static str, keep: bool) -> Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("start a runtime for signals")?;
    // Registered before anything is made, not some time later in the thread.
    let streams = {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).context("listen for signals");
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?)
    };
    thread::spawn(move || {
        let (mut interrupt, mut terminate, mut hangup) = streams;
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hangup.recv() => 129,
            }
        });
        if keep {
            eprintln!("interrupted; the cluster is left as it is, `mmm_lab --lab {lab} down` ends it");
        } else {
            eprintln!("interrupted; taking the cluster down");
            if let Err(error) = Lab::down_by_name(&base_dir(), lab) {
                eprintln!("error: the cluster was not taken down completely: {error}");
            }
        }
        std::process::exit(code);
    });
    Ok(())
}
