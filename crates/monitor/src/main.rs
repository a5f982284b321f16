//! `mmm_mond`: watches all hosts and decides. This file starts it; the deciding is done in `mmm-core`.
#![forbid(unsafe_code)]

mod checkups;
mod control;
mod doctor;
mod epoch_file;
mod history;
mod kill_host;
mod network;
mod options;
mod pairs;
mod probes;
mod protocol1;
mod reload;
mod sessions;
mod setup;
mod shell;
mod status_file;

use std::process::ExitCode;

use clap::Parser;
use mmm_config::{Program, Settings};
use mmm_daemon::PidFile;

use options::Options;
use reload::Files;
use setup::Setup;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.daemon.detached {
        mmm_daemon::become_detached();
    }
    match options.daemon.load(Program::Monitor) {
        Ok(settings) => mmm_daemon::exit_with(run(&settings, &options)),
        Err(code) => code,
    }
}

fn run(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let setup = Setup::new(settings, options)?;
    if options.daemon.must_detach() {
        mmm_daemon::detach(&options.daemon.arguments(), &setup.pid_path)?;
        return Ok(ExitCode::SUCCESS);
    }
    mmm_daemon::start_log(setup.log_settings(!options.daemon.detached));
    let mut pid_file = PidFile::acquire(&setup.pid_path, "mmm_mond")?;
    if pid_file.was_stale {
        tracing::warn!("Unclean start - found stale pid file!");
    }
    shell::run(setup, Files { config: settings.clone(), options: options.clone() }, &mut pid_file)
}
