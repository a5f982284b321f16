//! `mmm_control`: sends one command to the monitor and prints its answer, or shows the state of the cluster again and again.
//!
//! It knows no command but `watch`, and of `confirm_dead` and `confirm_loss` that they must be confirmed: words travel as they were typed and the monitor answers for them, so that an older
//! and a newer program understand each other.
#![forbid(unsafe_code)]

mod arguments;
mod ask;
mod command;
mod confirm;
mod target;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::arguments::{Arguments, USAGE};
use crate::ask::{AskError, ask};
use crate::command::Command;
use crate::target::Target;

/// What 2.2.1 exits with when it is called without a command.
const EXIT_USAGE: u8 = 255;

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os());
    if arguments.words.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(EXIT_USAGE);
    }
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // A configuration's errors are a page of their own with places and hints.
            let prefix = if error.is::<mmm_config::Failure>() { "" } else { "ERROR: " };
            eprintln!("{prefix}{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let command = Command::from_words(&arguments.words, arguments.json)?;
    let target = target::find(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = Duration::from_secs(arguments.timeout);
    match command {
        Command::Ask { line, expects_answer } => {
            let asked = runtime.block_on(ask(&target, &line, limit));
            Ok(print(&target, asked, expects_answer)?)
        }
        Command::Confirm { line, word, host } => {
            let asked = runtime.block_on(ask(&target, &line, limit));
            if !asked.as_ref().is_ok_and(|answer| confirm::is_explanation(answer)) {
                return Ok(print(&target, asked, true)?);
            }
            print(&target, asked, true)?;
            if !confirm::ask_operator(word, &host)? {
                return Ok(ExitCode::FAILURE);
            }
            let asked = runtime.block_on(ask(&target, &word.sure(&host), limit));
            Ok(print(&target, asked, true)?)
        }
        Command::Watch { count } => runtime.block_on(watch::watch(&target, limit, count)),
    }
}

/// Prints as 2.2.1 did: the answer and a newline on standard output. What it never said goes to standard error.
fn print(target: &Target, asked: Result<Vec<u8>, AskError>, expects_answer: bool) -> io::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    let (answer, trouble) = match asked {
        Ok(answer) if answer.is_empty() && expects_answer => {
            (answer, Some(AskError::NoAnswer { monitor: target.monitor }))
        }
        Ok(answer) => (answer, None),
        Err(mut error) => (error.take_partial_answer(), Some(error)),
    };
    match &trouble {
        Some(AskError::Connect { .. } | AskError::Secure(_)) => {
            writeln!(stdout, "ERROR: Can't connect to monitor daemon!")?;
        }
        Some(_) if answer.is_empty() => {}
        _ => {
            stdout.write_all(&answer)?;
            stdout.write_all(b"\n")?;
        }
    }
    stdout.flush()?;
    Ok(match trouble {
        Some(error @ (AskError::Connect { .. } | AskError::Secure(_))) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Some(error) => {
            eprintln!("ERROR: {error}");
            ExitCode::FAILURE
        }
        None if answer.starts_with(b"ERROR") => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}
