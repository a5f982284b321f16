//! The cluster as its monitor tells it: `mmm_control`, `show`, and waiting for what they say.

use std::time::Duration;

use crate::command::Output;
use crate::error::{LabError, Result};
use crate::host::MON;
use crate::lab::Lab;
use crate::show::Show;
use crate::wait::wait_for;

impl Lab {
    /// Runs `mmm_control` with these words on a host, with the configuration that is there.
    pub fn control_on(&self, host: &str, words: &[&str]) -> Result<Output> {
        let program = self.program("mmm_control")?;
        let mut argv = vec![program.to_string_lossy().into_owned()];
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        self.exec(host, &argv)
    }

    /// Runs `mmm_control` with these words on the monitor's host.
    pub fn control(&self, words: &[&str]) -> Result<Output> {
        self.control_on(MON, words)
    }

    /// `mmm_control show`, taken apart.
    pub fn show(&self) -> Result<Show> {
        let output = self.control(&["show"])?;
        if !output.success() {
            return Err(LabError::Command {
                command: "mmm_control show".to_owned(),
                code: output.code.to_string(),
                output: output.text().trim().to_owned(),
            });
        }
        Ok(Show::parse(&output.stdout))
    }

    /// Waits until `show` reads as `pattern`: line by line without the white space around, `*` standing for any text.
    pub fn expect_show(&self, pattern: &str, limit: Duration) -> Result<Show> {
        self.wait_show(&format!("`show` reading\n{pattern}\n"), limit, |show| show.matches(pattern))
    }

    /// Waits until the host has this state and exactly these roles, written as in `show` (`writer(192.168.8.30)`); a role without
    /// its address (`reader`) stands for one such role with any address.
    pub fn expect_host(&self, host: &str, state: &str, roles: &[&str], limit: Duration) -> Result<Show> {
        self.wait_show(&format!("{host} {state} with roles {roles:?}"), limit, |show| {
            show.host(host).is_some_and(|shown| shown.state == state && shown.has_exactly(roles))
        })
    }

    /// Waits until `show` satisfies a condition.
    pub fn wait_show(&self, what: &str, limit: Duration, accept: impl Fn(&Show) -> bool) -> Result<Show> {
        wait_for(what, limit, || match self.show() {
            Ok(show) if accept(&show) => Ok(show),
            Ok(show) => Err(format!("\n{}", show.text)),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Waits until the writer knows that another host could take over. Before that it keeps its lease whatever happens, so that
    /// there is nothing to measure. Where the monitor shows no lease there is none to wait for.
    pub fn wait_covered(&self, limit: Duration) -> Result<()> {
        wait_for("a writer's lease that another host could take over", limit, || {
            let answer = self.control(&["show", "--long"]).map_err(|error| error.to_string())?;
            let has = |start: &str| answer.stdout.lines().any(|line| line.starts_with(start));
            let confirmed = has("# Could take over: ") && !answer.stdout.contains("(not confirmed yet)");
            if confirmed || !has("# Role ") { Ok(()) } else { Err(answer.to_string()) }
        })
    }
}
