//! How the demo looks: a heading for each step, the command after a prompt that names the host, its output as it came. Colour only on a
//! terminal.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use mmm_lab::{Lab, Output};

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";

pub(crate) struct Stage {
    coloured: bool,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { coloured: wanted && std::io::stdout().is_terminal() }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What happens next, as a sentence.
    pub(crate) fn heading(&self, text: &str) {
        print(&format!("\n== {}\n", self.paint(BOLD, text)));
    }

    /// A remark on what the reader sees.
    pub(crate) fn remark(text: &str) {
        print(&format!("   {text}\n"));
    }

    /// An expected state that was found.
    pub(crate) fn confirmed(&self, text: &str) {
        print(&format!("   {} {text}\n", self.paint(GREEN, "as expected:")));
    }

    pub(crate) fn failure(&self, text: &str) {
        print(&format!("\n{}\n", self.paint(RED, text)));
    }

    pub(crate) fn lines(text: &str) {
        if !text.trim().is_empty() {
            print(&format!("{}\n", text.trim_end()));
        }
    }

    /// The prompt and a command as an operator types it; not run here.
    pub(crate) fn command(&self, host: &str, typed: &str) {
        print(&format!("{} {}\n", self.paint(GREEN, &format!("{host} #")), self.paint(BOLD, typed)));
    }

    /// Runs a command line in the shell of a host and shows both; anything but exit code 0 is a failure.
    pub(crate) fn shell(&self, lab: &Lab, host: &str, typed: &str) -> Result<Output> {
        self.command(host, typed);
        let output = lab.exec(host, &["sh", "-c", typed])?;
        Self::lines(&output.text());
        if !output.success() {
            bail!("`{typed}` on {host} ended with {}", output.code);
        }
        Ok(output)
    }

    /// Runs `mmm_control` on the monitor's host and shows both.
    pub(crate) fn control(&self, lab: &Lab, host: &str, words: &[&str]) -> Result<Output> {
        let typed = format!("mmm_control {}", words.join(" "));
        self.command(host, &typed);
        let output = lab.control(words)?;
        Self::lines(&output.text());
        if !output.success() {
            bail!("`{typed}` ended with {}", output.code);
        }
        Ok(output)
    }
}

/// A reader that has gone away (`| head`) does not stop the play: it still has to take its cluster down.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
