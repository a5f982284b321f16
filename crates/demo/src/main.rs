//! `mmm_demo`: plays the tutorial on real servers in front of the reader, and fails when a step of it does not happen.
#![forbid(unsafe_code)]

mod events;
mod interrupt;
mod play;
mod stage;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use mmm_lab::{Lab, M1, M2, MON, Program, base_dir};

use play::Play;
use stage::Stage;

/// The lab's name; also the default of `mmm_lab --lab`.
const LAB: &str = "demo";
/// What of each log is shown when a step has failed.
const TAIL: usize = 25;

/// Plays the tutorial on a real master pair: start, failover, return, planned move, maintenance; a client writes all the time.
///
/// The hosts are network namespaces of this machine; nothing is added to its own interfaces. Takes less than 90 seconds and ends
/// with 1 when a step does not come out as the tutorial says.
#[derive(Debug, Parser)]
#[command(name = "mmm_demo", version)]
struct Options {
    /// Leave the cluster up at the end, and say how to talk to it and how to end it
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(error) = interrupt::take_down_when_interrupted(LAB, options.keep) {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    run(options.keep)
}

fn run(keep: bool) -> ExitCode {
    let began = Instant::now();
    let stage = Stage::new();
    let lab = match hosts(keep) {
        Ok(lab) => lab,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let played = Play::new(&lab, &stage).and_then(Play::run);
    let failed = played.is_err();
    if let Err(error) = played {
        stage.failure(&format!("the demo ends here: {error:#}"));
        logs(&lab, &stage);
    }
    if keep {
        Stage::lines(&how_to_go_on(&lab));
    } else if let Err(error) = lab.down() {
        eprintln!("error: the cluster was not taken down completely: {error}");
        return ExitCode::FAILURE;
    }
    Stage::lines(&format!("The demo took {:.1} s.", began.elapsed().as_secs_f64()));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Hosts and servers that replicate from each other. A cluster that an earlier run left behind is taken down first.
fn hosts(keep: bool) -> mmm_lab::Result<Lab> {
    let builder = Lab::builder(LAB).without_daemons();
    if keep { builder.stays().up() } else { builder.up() }
}

fn logs(lab: &Lab, stage: &Stage) {
    for (host, program) in [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)] {
        let text = lab.log(host, program).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = text.lines().collect();
        if !lines.is_empty() {
            stage.failure(&format!("the end of the {program}'s log on {host}:"));
            Stage::lines(&lines[lines.len().saturating_sub(TAIL)..].join("\n"));
        }
    }
}

fn how_to_go_on(lab: &Lab) -> String {
    let program = lab.program("mmm_lab").map_or_else(|_| "mmm_lab".into(), |path| path.display().to_string());
    // Given only where it is not where `mmm_lab` looks by itself.
    let base = base_dir();
    let dir = match std::env::var_os("MMM_LAB_DIR") {
        Some(_) => format!(" --dir {}", base.display()),
        None => String::new(),
    };
    let start = format!("{program}{dir} --lab {LAB}");
    format!(
        "The cluster stays up. To talk to it:\n\
         \x20   {start} control show                  mmm_control, with any of its words\n\
         \x20   {start} control watch                 the same each second, until Ctrl-C\n\
         \x20   {start} exec MySQL-M1                 a shell on a host (also MySQL-M2, MySQL-MON, client)\n\
         \x20   {start} fault kill MySQL-M2 server    something fails; `fault --help` names what can\n\
         \x20   {start} fault start MySQL-M2 server   and is mended\n\
         \x20   {start} log MySQL-MON monitor         what was logged\n\
         \x20   {start} probe start                   the client writes again\n\
         \x20   {start} probe stop                    and this is how its writes went\n\
         To end it:\n\
         \x20   {start} down\n"
    )
}
