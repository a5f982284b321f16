//! `mmm_agentd`: acts on its host for the monitor. This file starts it; the deciding is done in `mmm-core`.
#![forbid(unsafe_code)]

mod addresses;
mod approach;
mod client_threads;
mod clock;
mod closing;
mod diverged;
mod doctor;
mod epoch_file;
mod fence;
mod following;
mod half_received;
mod heartbeat;
mod heartbeat_delay;
mod holder;
mod lease_on_disk;
mod leaving_address;
mod letting_go;
mod line_port;
mod listener;
mod log_places;
mod memory;
mod options;
mod pace;
mod parent;
mod peer_calls;
mod peer_port;
mod process_lane;
mod rebuild;
mod reload;
mod salvage;
mod server_process;
mod server_steps;
mod session;
mod setup;
mod source_position;
mod stand_in;
mod survey;
mod torn;
mod watch;
mod watchdog;
mod worker;
mod write_watch;

use std::process::ExitCode;

use clap::Parser;
use mmm_config::{Program, Settings};

use options::Options;
use reload::Files;
use setup::Setup;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.daemon.detached {
        mmm_daemon::become_detached();
    }
    match options.daemon.load(Program::Agent) {
        Ok(settings) => mmm_daemon::exit_with(run(&settings, &options)),
        Err(code) => code,
    }
}

fn run(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let setup = Setup::new(settings, options)?;
    if options.doctor {
        return doctor::run(&setup);
    }
    if options.daemon.must_detach() {
        mmm_daemon::detach(&options.daemon.arguments(), &setup.pid_path)?;
        return Ok(ExitCode::SUCCESS);
    }
    mmm_daemon::start_log(setup.log_settings(!options.daemon.detached));
    if options.worker {
        worker::run(&setup, Files { config: settings.clone(), options: options.clone() })
    } else {
        parent::run(&setup, options)
    }
}
