//! `mmm_lab probe` and the probe process itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use mmm_lab::{CLIENT, ClientWorker, Judge, Lab, Target, WRITER, Writer};

#[derive(Debug, Subcommand)]
pub(crate) enum Probe {
    /// Start writing: a numbered row every 5 ms, 300 ms limits on connecting and reading
    Start {
        /// Address to write to
        #[arg(long, default_value = WRITER)]
        target: String,
        /// Host to write from
        #[arg(long, default_value = CLIENT)]
        on: String,
    },
    /// Stop writing and print the figures; ends with 1 when an acknowledged write is missing or double
    Stop {
        /// Hosts whose servers are looked at [default: all that answer]
        hosts: Vec<String>,
    },
    /// Print the figures of the run so far
    Report { hosts: Vec<String> },
}

impl Probe {
    pub(crate) fn run(self, lab: &Lab) -> Result<ExitCode> {
        match self {
            Self::Start { target, on } => {
                let probe = lab.start_probe_on(&on, &target)?;
                println!("probe writes to {target}, record {}", probe.record_path().display());
                Ok(ExitCode::SUCCESS)
            }
            Self::Stop { hosts } => {
                let record = lab.last_probe()?.stop()?;
                report(lab, record, hosts)
            }
            Self::Report { hosts } => {
                let record = lab.last_probe()?.record()?;
                report(lab, record, hosts)
            }
        }
    }
}

fn report(lab: &Lab, record: mmm_lab::Record, hosts: Vec<String>) -> Result<ExitCode> {
    let hosts = if hosts.is_empty() { answering(lab) } else { hosts };
    let judge = Judge::new(lab, record);
    let verdict = judge.verdict(&hosts.iter().map(String::as_str).collect::<Vec<_>>())?;
    print!("{verdict}");
    let mut gaps = judge.gaps();
    gaps.retain(|gap| gap.failures > 0 || gap.length() > Duration::from_millis(100));
    for gap in gaps {
        let side = |attempt: &Option<mmm_lab::Attempt>| {
            attempt
                .as_ref()
                .and_then(|attempt| attempt.server_id)
                .map_or("none".to_owned(), |id| id.to_string())
        };
        println!(
            "gap of {:.1} ms at {}: server {} before, {} after, {} attempts not acknowledged",
            gap.length().as_secs_f64() * 1000.0,
            gap.from,
            side(&gap.before),
            side(&gap.after),
            gap.failures
        );
    }
    Ok(if verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn answering(lab: &Lab) -> Vec<String> {
    let answers = |host: &&str| lab.sql_within(host, "SELECT 1", Duration::from_secs(2)).is_ok();
    lab.servers().into_iter().filter(answers).map(str::to_owned).collect()
}

/// Where a client writes to.
#[derive(Debug, Args)]
pub(crate) struct To {
    #[arg(long)]
    target: String,
    #[arg(long, default_value_t = 3306)]
    port: u16,
    #[arg(long, default_value = "probe")]
    user: String,
    #[arg(long, default_value = "probe")]
    password: String,
    #[arg(long, default_value_t = 300)]
    limit_ms: u64,
}

impl From<To> for Target {
    fn from(to: To) -> Self {
        Self {
            host: to.target,
            port: to.port,
            user: to.user,
            password: to.password,
            limit: Duration::from_millis(to.limit_ms),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    target: To,
    #[arg(long, default_value_t = 1)]
    first: u64,
    #[arg(long, default_value_t = 5)]
    every_ms: u64,
    #[arg(long)]
    record: PathBuf,
}

impl Run {
    pub(crate) fn run(self) -> Result<()> {
        let writer = Writer {
            target: self.target.into(),
            first: self.first,
            every: Duration::from_millis(self.every_ms.max(1)),
            record: self.record,
        };
        Ok(writer.run()?)
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunClients {
    #[command(flatten)]
    target: To,
    #[arg(long, default_value_t = 1)]
    first: u64,
    #[arg(long, default_value_t = 20)]
    every_ms: u64,
    /// A client for each
    records: Vec<PathBuf>,
}

impl RunClients {
    pub(crate) fn run(self) -> Result<()> {
        let worker = ClientWorker {
            target: self.target.into(),
            first: self.first,
            every: Duration::from_millis(self.every_ms.max(1)),
            records: self.records,
        };
        Ok(worker.run()?)
    }
}
