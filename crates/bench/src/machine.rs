//! The machine the figures come from, because they mean little without it.

use std::fs;
use std::process::Command;
use std::thread;

use mmm_lab::Flavour;
use serde_json::{Value, json};

/// What a reader must know to compare the figures with others.
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    server: String,
    /// Load of the last minute when the bench began; above about 0.5 the figures are not to be trusted.
    load: String,
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Machine {
    /// `server` is what the clusters are made of, where that is not what the system has.
    pub(crate) fn look(server: Option<Flavour>) -> Self {
        let system = || {
            let asked = Command::new("mariadbd").args(["--no-defaults", "--version"]).output();
            asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let server = server.map_or_else(system, |flavour| flavour.to_string());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            server: server.split(" for ").next().unwrap_or_default().to_owned(),
            load: load.split_whitespace().next().unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "{}, {} cores, Linux {}, {}, load before {}",
            self.processor, self.cores, self.kernel, self.server, self.load
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({"processor": self.processor, "cores": self.cores, "kernel": self.kernel, "server": self.server, "load": self.load})
    }
}
