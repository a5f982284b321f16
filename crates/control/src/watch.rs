//! `mmm_control watch`: the answer to `show`, again each second, for as long as somebody looks.
//!
//! A monitor that is away does not end it: the last answer stays with the time it was given, and the trouble is
//! shown above it.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::ask::{AskError, ask};
use crate::target::Target;

const PERIOD: Duration = Duration::from_secs(1);

/// A picture that is to be new each second does not wait longer than this for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// Shows the cluster `count` times or until Ctrl-C. With a count, the exit code tells whether the last question
/// was answered.
pub(crate) async fn watch(target: &Target, limit: Duration, count: Option<u64>) -> anyhow::Result<ExitCode> {
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let monitor = target.monitor;
    let limit = limit.min(ANSWER_LIMIT);
    let mut screen = Screen { monitor, last: None, terminal: io::stdout().is_terminal() };
    let mut shown = 0;
    loop {
        let next = Instant::now() + PERIOD;
        let asked = tokio::select! {
            asked = ask(target, "show", limit) => asked,
            _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
        };
        let asked = match asked {
            Ok(answer) if answer.is_empty() => Err(AskError::NoAnswer { monitor }),
            asked => asked,
        };
        let answered = asked.is_ok();
        match screen.draw(asked) {
            // Whoever read the output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            drawn => drawn?,
        }
        shown += 1;
        if count == Some(shown) {
            return Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        tokio::select! {
            () = sleep_until(next) => {}
            _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
        }
    }
}

struct Screen {
    monitor: SocketAddr,
    /// The last whole answer and the time of day it came.
    last: Option<(String, Vec<u8>)>,
    terminal: bool,
}

impl Screen {
    fn draw(&mut self, asked: Result<Vec<u8>, AskError>) -> io::Result<()> {
        let trouble = match asked {
            Ok(answer) => {
                self.last = Some((jiff::Zoned::now().strftime("%H:%M:%S").to_string(), answer));
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let mut stdout = io::stdout().lock();
        if self.terminal {
            write!(stdout, "{CLEAR_SCREEN}")?;
        }
        let since = self.last.as_ref().map_or("none yet", |(time, _)| time.as_str());
        writeln!(stdout, "Monitor {}, last answer: {since}", self.monitor)?;
        if let Some(trouble) = trouble {
            writeln!(stdout, "# Warning: no answer now: {trouble}")?;
        }
        if let Some((_, answer)) = &self.last {
            stdout.write_all(answer)?;
        }
        writeln!(stdout)?;
        stdout.flush()
    }
}
