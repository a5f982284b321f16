//! SIGHUP: the configuration is read again while a daemon runs. What follows from it is for the daemon.

use std::io;
use std::time::Instant;

use mmm_config::{Difference, Program, SectionKind, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::options::DaemonOptions;

/// Hears SIGHUP, and reads one configuration at a time.
#[derive(Debug)]
pub struct Reloads {
    hangup: Signal,
    options: DaemonOptions,
    program: Program,
    began: Instant,
    reading: Option<JoinHandle<Option<Settings>>>,
}

impl Reloads {
    /// Must be called inside a tokio runtime. From then on SIGHUP does not end the process.
    pub fn new(options: &DaemonOptions, program: Program) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { hangup, options: options.clone(), program, began: Instant::now(), reading: None })
    }

    /// The next configuration that has nothing wrong in it, and when its signal came. May be given up at any time and
    /// asked for again.
    pub async fn next(&mut self) -> (Settings, Instant) {
        loop {
            if self.reading.is_none() {
                if self.hangup.recv().await.is_none() {
                    return std::future::pending().await;
                }
                tracing::info!("SIGHUP: reading the configuration again");
                self.began = Instant::now();
            }
            let (options, program) = (&self.options, self.program);
            let reading = self.reading.get_or_insert_with(|| {
                let options = options.clone();
                // Files may be slow; nothing else is to wait for them.
                spawn_blocking(move || options.load_again(program))
            });
            let read = reading.await;
            self.reading = None;
            match read {
                Ok(Some(settings)) => return (settings, self.began),
                Ok(None) => {}
                Err(error) => tracing::error!("Reading the configuration again has failed: {error}"),
            }
        }
    }
}

/// A variable that a daemon looks at only at its start.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    pub section: SectionKind,
    pub name: &'static str,
}

impl Fixed {
    pub const fn new(section: SectionKind, name: &'static str) -> Self {
        Self { section, name }
    }

    fn is(&self, difference: &Difference) -> bool {
        difference.section() == self.section && difference.variable() == Some(self.name)
    }
}

/// Logs every difference. Those that `waits` names take effect at the next start only.
pub fn log_differences(differences: &[Difference], fixed: &[Fixed], own_host: Option<&str>) {
    for difference in differences {
        if waits_for_restart(difference, fixed, own_host) {
            tracing::warn!("Configuration: {difference}. That takes effect only with a restart");
        } else {
            tracing::info!("Configuration: {difference}");
        }
    }
}

/// Variables of hosts are fixed for the program's own host only, if it has one.
fn waits_for_restart(difference: &Difference, fixed: &[Fixed], own_host: Option<&str>) -> bool {
    let elsewhere = difference.section() == SectionKind::Host && difference.section_name() != own_host;
    !elsewhere && fixed.iter().any(|fixed| fixed.is(difference))
}
