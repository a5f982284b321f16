//! `mmm_sim`: runs seeds, and tells the story of one.

use std::process::ExitCode;

use mmm_sim::{Options, Report, Sabotage, run};

const USAGE: &str = "\
Usage: mmm_sim --seeds N [--from S] [--sabotage forged-release|forged-catch-up]
       mmm_sim --seed S            [--sabotage forged-release|forged-catch-up]

  --seeds N   run N seeds and stop at the first that breaks a promise
  --from S    the first of them (0 unless told)
  --seed S    run one seed and print what happened in it
  --sabotage  put a fault into the simulator itself, to see it noticed
";

enum Task {
    Many { from: u64, count: u64 },
    One(u64),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match parse(&arguments) {
        Ok((task, sabotage)) => carry_out(&task, sabotage),
        Err(why) => {
            eprint!("error: {why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<(Task, Sabotage), String> {
    let (mut seed, mut count, mut from, mut sabotage) = (None, None, 0, Sabotage::None);
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("'{option}' is not an option with a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("'{value}' after {option} is not a number"));
        match option.as_str() {
            "--seed" => seed = Some(number()?),
            "--seeds" => count = Some(number()?),
            "--from" => from = number()?,
            "--sabotage" => {
                sabotage = match value.as_str() {
                    "forged-release" => Sabotage::ForgedRelease,
                    "forged-catch-up" => Sabotage::ForgedCatchUp,
                    _ => return Err(format!("'{value}' is no sabotage that is known")),
                };
            }
            _ => return Err(format!("'{option}' is not an option")),
        }
    }
    match (seed, count) {
        (Some(seed), None) => Ok((Task::One(seed), sabotage)),
        (None, Some(count)) => Ok((Task::Many { from, count }, sabotage)),
        _ => Err("one of --seed and --seeds has to be given".to_owned()),
    }
}

fn carry_out(task: &Task, sabotage: Sabotage) -> ExitCode {
    match *task {
        Task::One(seed) => {
            let report = run(Options { seed, sabotage, trace: true });
            for line in &report.trace {
                println!("{line}");
            }
            judge(seed, sabotage, &report)
        }
        Task::Many { from, count } => {
            let (mut events, mut openings, mut virtual_ms) = (0, 0, 0);
            for seed in from..from.saturating_add(count) {
                let report = run(Options { seed, sabotage, trace: false });
                if report.violation.is_some() {
                    return judge(seed, sabotage, &report);
                }
                events += report.events;
                openings += report.openings;
                virtual_ms += report.ended;
            }
            println!(
                "{count} seeds from {from}: every promise held ({events} events, {} s of virtual time, {openings} servers opened)",
                virtual_ms / 1000
            );
            ExitCode::SUCCESS
        }
    }
}

fn judge(seed: u64, sabotage: Sabotage, report: &Report) -> ExitCode {
    let Some(violation) = &report.violation else {
        println!("seed {seed}: every promise held");
        return ExitCode::SUCCESS;
    };
    let sabotage = match sabotage {
        Sabotage::None => "",
        Sabotage::ForgedRelease => " --sabotage forged-release",
        Sabotage::ForgedCatchUp => " --sabotage forged-catch-up",
    };
    println!("seed {seed} breaks a promise: {violation}");
    println!("reproduce: cargo run -p mmm-sim --release -- --seed {seed}{sabotage}");
    ExitCode::FAILURE
}
