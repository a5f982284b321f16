//! Runs outside programs to their end under a deadline and keeps what they print. It knows nothing of hosts.

use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};

/// What a program printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 + the signal's number when a signal ended it, as shells tell it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// Both streams, first stdout.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}: {}", self.code, self.text().trim_end())
    }
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// The command as one would type it, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let mut text = words.join(" ");
    if text.len() > 300 {
        text = text.chars().take(297).collect::<String>() + "...";
    }
    text
}

fn collect(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // An error ends the text early; what came before it is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let gone = began.elapsed();
        if gone >= limit {
            return None;
        }
        thread::sleep(if gone < Duration::from_millis(50) {
            Duration::from_micros(500)
        } else {
            Duration::from_millis(5)
        });
    }
}

/// Runs a command with `input` on its stdin to the end.
pub(crate) fn run_with_input(mut command: Command, input: &str, limit: Duration) -> Result<Output> {
    let name = shown(&command);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| LabError::Spawn { command: name.clone(), source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything tells the reason by its own exit code and message.
        let _ = stdin.write_all(input.as_bytes());
    }
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, limit);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    // A grandchild may keep the pipes open for longer than the program lives; its output is not waited for.
    let stdout = stdout.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    let stderr = stderr.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    match status {
        Some(status) => Ok(Output { code: code_of(status), stdout, stderr }),
        None => Err(LabError::CommandTimeout { command: name, limit }),
    }
}

/// Runs a command to the end.
pub(crate) fn run(command: Command, limit: Duration) -> Result<Output> {
    run_with_input(command, "", limit)
}

/// Runs a command that must succeed, with `input` on its stdin.
pub(crate) fn must(command: Command, input: &str, limit: Duration) -> Result<Output> {
    let name = shown(&command);
    let output = run_with_input(command, input, limit)?;
    if output.success() {
        Ok(output)
    } else {
        Err(LabError::Command {
            command: name,
            code: output.code.to_string(),
            output: output.text().trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_at_the_limit() {
        let mut command = Command::new("sleep");
        command.arg("30");
        let began = Instant::now();
        let error = run(command, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, LabError::CommandTimeout { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn input_output_and_exit_code_are_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo oops >&2; exit 3"]);
        let output = run_with_input(command, "hello\n", Duration::from_secs(10)).unwrap();
        assert_eq!(output, Output { code: 3, stdout: "hello\n".into(), stderr: "oops\n".into() });
    }
}
