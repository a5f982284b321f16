//! `mmm_sim`: runs seeds, and tells the story of one.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use mmm_core::DataRule;
use mmm_core::lease::{LeaseRule, LeaseRules};
use mmm_sim::{Options, Report, Sabotage, run};

const USAGE: &str = "\
Usage: mmm_sim --seeds N [--from S] [--mutate RULE] [--sabotage forged-release|forged-catch-up]
       mmm_sim --seed S            [--mutate RULE] [--sabotage forged-release|forged-catch-up]

  --seeds N   run N seeds and stop at the first that breaks a promise
  --from S    the first of them (0 unless told)
  --seed S    run one seed and print what happened in it
  --mutate    drop one rule, and aim the faults at it: to see two writers, none for ever, or data lost
  --sabotage  put a fault into the simulator itself, to see it noticed
";

enum Task {
    Many { from: u64, count: u64 },
    One(u64),
}

/// The rule that is dropped.
#[derive(Clone, Copy)]
enum Mutation {
    Lease(LeaseRule),
    Data(DataRule),
}

impl Mutation {
    fn named(name: &str) -> Option<Self> {
        let lease = LeaseRule::ALL.into_iter().find(|rule| rule.as_str() == name).map(Self::Lease);
        lease.or_else(|| DataRule::ALL.into_iter().find(|rule| rule.as_str() == name).map(Self::Data))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Lease(rule) => rule.as_str(),
            Self::Data(rule) => rule.as_str(),
        }
    }
}

/// What is wrong on purpose.
#[derive(Clone, Copy, Default)]
struct Wrong {
    sabotage: Sabotage,
    mutation: Option<Mutation>,
}

impl Wrong {
    fn options(self, seed: u64, trace: bool) -> Options {
        let (aim, left_out) = match self.mutation {
            None => (None, None),
            Some(Mutation::Lease(rule)) => (Some(rule), None),
            Some(Mutation::Data(rule)) => (None, Some(rule)),
        };
        let rules = aim.map_or(LeaseRules::ALL, LeaseRules::without);
        Options {
            seed,
            sabotage: self.sabotage,
            rules,
            aim,
            left_out,
            keep_all: false,
            untold: false,
            drill: None,
            trace,
        }
    }

    fn arguments(self) -> String {
        let sabotage = match self.sabotage {
            Sabotage::None => "",
            Sabotage::ForgedRelease => " --sabotage forged-release",
            Sabotage::ForgedCatchUp => " --sabotage forged-catch-up",
        };
        let mutation = self.mutation.map(|rule| format!(" --mutate {}", rule.as_str())).unwrap_or_default();
        format!("{mutation}{sabotage}")
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}\nRules:\n");
        for rule in LeaseRule::ALL {
            println!("  {}", rule.as_str());
        }
        for rule in DataRule::ALL {
            println!("  {} (about data)", rule.as_str());
        }
        return ExitCode::SUCCESS;
    }
    match parse(&arguments) {
        Ok((task, wrong)) => carry_out(&task, wrong),
        Err(why) => {
            eprint!("error: {why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<(Task, Wrong), String> {
    let (mut seed, mut count, mut from, mut wrong) = (None, None, 0, Wrong::default());
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("'{option}' is not an option with a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("'{value}' after {option} is not a number"));
        match option.as_str() {
            "--seed" => seed = Some(number()?),
            "--seeds" => count = Some(number()?),
            "--from" => from = number()?,
            "--mutate" => {
                let rule = Mutation::named(value);
                wrong.mutation = Some(rule.ok_or_else(|| format!("'{value}' is no rule (see --help)"))?);
            }
            "--sabotage" => {
                wrong.sabotage = match value.as_str() {
                    "forged-release" => Sabotage::ForgedRelease,
                    "forged-catch-up" => Sabotage::ForgedCatchUp,
                    _ => return Err(format!("'{value}' is no sabotage that is known")),
                };
            }
            _ => return Err(format!("'{option}' is not an option")),
        }
    }
    match (seed, count) {
        (Some(seed), None) => Ok((Task::One(seed), wrong)),
        (None, Some(count)) => Ok((Task::Many { from, count }, wrong)),
        _ => Err("one of --seed and --seeds has to be given".to_owned()),
    }
}

fn carry_out(task: &Task, wrong: Wrong) -> ExitCode {
    match *task {
        Task::One(seed) => {
            let report = run(wrong.options(seed, true));
            for line in &report.trace {
                println!("{line}");
            }
            judge(seed, wrong, &report)
        }
        Task::Many { from, count } => many(from, count, wrong),
    }
}

/// What all runs together were.
#[derive(Clone, Copy, Default)]
struct Sum {
    events: u64,
    openings: u64,
    virtual_ms: u64,
}

/// Runs the seeds on all processors; the first in the order of numbers that breaks a promise is the one that is told.
fn many(from: u64, count: u64, wrong: Wrong) -> ExitCode {
    let until = from.saturating_add(count);
    let (next, worst) = (AtomicU64::new(from), AtomicU64::new(u64::MAX));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut sum = Sum::default();
        let mut broken: Option<(u64, Report)> = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until || seed > worst.load(Ordering::Relaxed) {
                return (sum, broken);
            }
            let report = run(wrong.options(seed, false));
            sum.events += report.events;
            sum.openings += report.openings;
            sum.virtual_ms += report.ended;
            if report.violation.is_some() {
                worst.fetch_min(seed, Ordering::Relaxed);
                broken = Some((seed, report));
                return (sum, broken);
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    if let Some((seed, report)) =
        results.iter().filter_map(|(_, broken)| broken.as_ref()).min_by_key(|(seed, _)| *seed)
    {
        return judge(*seed, wrong, report);
    }
    let sum = results.iter().fold(Sum::default(), |all, (one, _)| Sum {
        events: all.events + one.events,
        openings: all.openings + one.openings,
        virtual_ms: all.virtual_ms + one.virtual_ms,
    });
    println!(
        "{count} seeds from {from}: every promise held ({} events, {} s of virtual time, {} servers opened)",
        sum.events,
        sum.virtual_ms / 1000,
        sum.openings
    );
    ExitCode::SUCCESS
}

fn judge(seed: u64, wrong: Wrong, report: &Report) -> ExitCode {
    let Some(violation) = &report.violation else {
        println!("seed {seed}: every promise held");
        return ExitCode::SUCCESS;
    };
    println!("seed {seed} breaks a promise: {violation}");
    println!("reproduce: cargo run -p mmm-sim --release -- --seed {seed}{}", wrong.arguments());
    ExitCode::FAILURE
}
