//! The options that both daemons take.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use mmm_config::{Program, Request, Settings};

use crate::detach::DETACHED_FLAG;

#[derive(Clone, Debug, Args)]
pub struct DaemonOptions {
    /// Name of the cluster, with an @ before it: reads the configuration file of that cluster.
    #[arg(value_name = "@CLUSTER", value_parser = cluster)]
    cluster: Option<String>,
    /// Read this file and look nowhere else.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, print what would be used, and exit with 0 or 1.
    #[arg(long)]
    check: bool,
    /// Go into the background (for init scripts).
    #[arg(long)]
    daemon: bool,
    #[arg(long = "detached", hide = true)]
    pub detached: bool,
}

/// `@NAME` → `NAME`
fn cluster(word: &str) -> Result<String, String> {
    word.strip_prefix('@')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| "expected the name of a cluster with an @ before it, as in @C1".to_owned())
}

impl DaemonOptions {
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// `_CLUSTER`, or nothing: the end of the names of logs and state files.
    pub fn suffix(&self) -> String {
        self.cluster.as_ref().map(|cluster| format!("_{cluster}")).unwrap_or_default()
    }

    fn request(&self, program: Program) -> Request {
        Request {
            program,
            cluster: self.cluster.clone(),
            config: self.config.clone(),
            config_dir: std::env::var_os("MMM_CONFIG_DIR").map(PathBuf::from),
        }
    }

    /// Loads the configuration and shows what is wrong with it on stderr; with `--check` it also looks at the
    /// certificates and prints what would be used.
    /// `Err` holds the status to exit with.
    pub fn load(&self, program: Program) -> Result<Settings, ExitCode> {
        let loaded = mmm_config::load(&self.request(program)).map_err(|failure| {
            eprintln!("{failure}");
            ExitCode::FAILURE
        })?;
        for warning in &loaded.warnings {
            eprintln!("{warning}");
        }
        if self.check {
            match crate::transport(&loaded.settings.socket) {
                Ok(transport) => {
                    transport.warnings().iter().for_each(|warning| eprintln!("warning: <socket>: {warning}"));
                }
                Err(error) => {
                    eprintln!("error: <socket>: {error}");
                    return Err(ExitCode::FAILURE);
                }
            }
            print!("{}", mmm_config::describe(&loaded.settings, program));
            return Err(ExitCode::SUCCESS);
        }
        Ok(loaded.settings)
    }

    /// Reads the same configuration again. What is wrong with it goes to the log; then there is none, and the program goes
    /// on with what it has.
    pub fn load_again(&self, program: Program) -> Option<Settings> {
        match mmm_config::load(&self.request(program)) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                Some(loaded.settings)
            }
            Err(failure) => {
                let count = failure.errors().count();
                let plural = if count == 1 { "" } else { "s" };
                let listed: Vec<String> = failure.diagnostics().iter().map(ToString::to_string).collect();
                tracing::error!(
                    "The configuration has {count} error{plural} and is not taken in; nothing is changed:\n\n{}\n",
                    listed.join("\n\n")
                );
                None
            }
        }
    }

    /// Whether this process has to start its detached self and end.
    pub fn must_detach(&self) -> bool {
        self.daemon && !self.detached
    }

    /// The arguments that make another process of this program read the same configuration.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = self.cluster.iter().map(|cluster| format!("@{cluster}")).collect();
        if let Some(config) = &self.config {
            // A process in the background works in another folder.
            let path = std::path::absolute(config).unwrap_or_else(|_| config.clone());
            arguments.extend(["--config".to_owned(), path.display().to_string()]);
        }
        if self.detached {
            arguments.push(DETACHED_FLAG.to_owned());
        }
        arguments
    }
}
