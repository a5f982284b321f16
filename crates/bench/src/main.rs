//! `mmm_bench`: measures what the issue promises, on real servers with the tutorial's configuration, and prints it beside the targets.
#![forbid(unsafe_code)]

mod absence;
mod attack;
mod bench;
mod busy;
mod cluster;
mod control_port;
mod data;
mod figure;
mod idle;
mod interrupt;
mod lease;
mod machine;
mod options;
mod rejoin;
mod report;
mod takeover;

use std::process::ExitCode;

use clap::Parser;

use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.helper {
        Some(options::Helper::Attack(attack)) => attack.run().map(|()| true),
        None => bench::run(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
