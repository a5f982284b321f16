//! `mmm_chaos`: clusters of real servers under load, on which two things go wrong at random times and one is mended; then everything is,
//! and the cluster must be whole, its data as clients were told. A seed says what goes wrong and when.
#![forbid(unsafe_code)]

mod account;
mod evidence;
mod fault;
mod foresight;
mod ledger;
mod plan;
mod progress;
mod random;
mod run;
mod surplus;
mod verdict;
mod whole;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use mmm_lab::{Lab, base_dir};

use progress::Progress;
use run::Rules;

/// Runs seeds of chaos on the lab, one after the other; needs root and the built programs
#[derive(Debug, Parser)]
#[command(name = "mmm_chaos", version)]
struct Options {
    /// How many seeds, from 1 on; those that have ended already are not run again
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Only this one, whatever became of it before
    #[arg(long)]
    seed: Option<u64>,
    /// Only clusters that can't lose anything: semi-synchronous ones, `failover_policy consistency`
    #[arg(long)]
    strict: bool,
    /// Only print what the seeds mean
    #[arg(long)]
    plan: bool,
    /// Directory for what has ended and for the logs of seeds that failed
    #[arg(long, default_value = "target/chaos", value_name = "DIR")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    match chaos(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all seeds ended well.
fn chaos(options: &Options) -> Result<bool> {
    let seeds = options.seed.map_or(1..=options.seeds, |seed| seed..=seed);
    if options.plan {
        for seed in seeds {
            println!("seed {seed}: {}", plan::Plan::of(seed, options.strict));
        }
        return Ok(true);
    }
    let file = if options.strict { "progress-strict" } else { "progress" };
    let mut progress = Progress::open(&options.dir.join(file))?;
    let rules = Rules { strict: options.strict, evidence: &options.dir };
    let mut failed = Vec::new();
    for seed in seeds {
        let word = if let Some(word) = progress.ended.get(&seed).filter(|_| options.seed.is_none()) {
            println!("seed {seed}: {word} (run before)");
            word.clone()
        } else {
            // Left by a run that was broken off.
            Lab::down_by_name(&base_dir(), run::LAB)?;
            let wrong = run::run(seed, rules)?;
            let word = if wrong.is_empty() { "ok".to_owned() } else { wrong.join(" | ") };
            println!("seed {seed}: {word}");
            progress.note(seed, &word)?;
            word
        };
        if word != "ok" {
            failed.push(seed);
        }
    }
    if failed.is_empty() {
        println!("no seed failed");
    } else {
        println!("seeds that failed: {failed:?}; `make chaos SEED=n` runs one again");
    }
    Ok(failed.is_empty())
}
