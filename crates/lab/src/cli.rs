//! The commands of `mmm_lab`, their help texts, and what each prints.

mod fault;
mod probe;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use mmm_lab::{Flavour, HostKind, Lab, Life, Program, base_dir};

/// Runs whole MMM clusters on this machine: hosts as namespaces, real `MariaDB` or `MySQL` servers, agents, monitor, faults and a write probe.
///
/// The cluster is the tutorial's: MySQL-MON 192.168.8.31, MySQL-M1 .32, MySQL-M2 .33, a client .40, replicas MySQL-R1 .36 and on;
/// writer 192.168.8.30, readers .34 and .35, all on eth0. Several labs live side by side under their names.
#[derive(Debug, Parser)]
#[command(name = "mmm_lab", version)]
pub(crate) struct Cli {
    /// Which lab (letters, digits and `_`)
    #[arg(long, global = true, default_value = "demo")]
    lab: String,
    /// Directory that holds the labs' directories [default: $`MMM_LAB_DIR` or /tmp/mmm-lab]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the lab: hosts, servers with replication, agents and monitor
    Up(Up),
    /// Fetches servers that the system does not carry, and says which of them are here: one line each
    Servers {
        /// Which ones [default: all]
        wanted: Vec<Flavour>,
    },
    /// Shows hosts, addresses, programs and cuts of the lab
    Status,
    /// Runs a program inside a host, for example: `mmm_lab exec MySQL-M1 -- ip addr`
    Exec {
        host: String,
        /// Program and arguments; a shell when there are none
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Runs `mmm_control` with these words on the monitor's host
    Control {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Prints what a program logged on a host
    Log {
        host: String,
        /// server, agent or monitor
        program: Program,
    },
    /// Makes something fail, or mends it
    #[command(subcommand)]
    Fault(fault::Fault),
    /// Starts, stops and judges the write probe on the client host
    #[command(subcommand)]
    Probe(probe::Probe),
    /// The write probe itself; `probe start` runs it on the client host
    #[command(hide = true)]
    ProbeRun(probe::Run),
    /// Clients that change data in many ways; tests run them
    #[command(hide = true)]
    ClientsRun(probe::RunClients),
    /// Ends the lab and removes everything of it, also after a crash
    Down {
        /// Every lab whose owner (a test) ended without taking it down
        #[arg(long)]
        abandoned: bool,
    },
}

/// Hosts that are there only when asked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Extra {
    /// A second client, 192.168.8.41
    Client2,
    /// Answers pings and does nothing else, 192.168.8.1
    Gw,
}

#[derive(Debug, Args)]
struct Up {
    /// Replicas behind MySQL-M1, 4 at most
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=4))]
    replicas: u8,
    /// A further host; may be repeated
    #[arg(long, value_name = "HOST")]
    with: Vec<Extra>,
    /// Servers only: neither agents nor monitor
    #[arg(long)]
    no_daemons: bool,
    /// Where `mmm_mond`, `mmm_agentd` and `mmm_control` are [default: beside `mmm_lab`]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Replication by GTID in place of file and position
    #[arg(long)]
    gtid: bool,
    /// mysql-9.7, mariadb-11.8, mariadb-10.11 or mariadb-10.5; fetched when it is not on this machine [default: the system's]
    #[arg(long, value_name = "SERVER")]
    server: Option<Flavour>,
    /// One more line for every my.cnf, for example `read_only=1`; may be repeated
    #[arg(long = "server-line", value_name = "LINE")]
    server_lines: Vec<String>,
}

impl Cli {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let base = self.dir.clone().unwrap_or_else(base_dir);
        match self.command {
            Command::ProbeRun(run) => {
                run.run()?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::ClientsRun(run) => {
                run.run()?;
                return Ok(ExitCode::SUCCESS);
            }
            _ => {}
        }
        if !rustix::process::geteuid().is_root() {
            bail!(mmm_lab::LabError::NotRoot);
        }
        match self.command {
            Command::Up(up) => up.run(&self.lab, &base)?,
            Command::Servers { wanted } => servers(&wanted)?,
            Command::Down { abandoned: true } => {
                for name in Lab::down_abandoned(&base)? {
                    println!("lab `{name}` is down");
                }
            }
            Command::Down { abandoned: false } => {
                Lab::down_by_name(&base, &self.lab)?;
                println!("lab `{}` is down", self.lab);
            }
            command => return on_lab(command, &Lab::open(&base, &self.lab)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `mysql-9.7 9.7.4-2`, or `mysql-9.7 UNAVAILABLE` and the reason.
fn servers(wanted: &[Flavour]) -> Result<()> {
    let wanted = if wanted.is_empty() { &Flavour::ALL } else { wanted };
    for flavour in wanted {
        match flavour.obtain() {
            Ok(software) => println!("{flavour} {}", software.version()),
            Err(mmm_lab::LabError::Unavailable { reason, .. }) => {
                println!("{flavour} UNAVAILABLE {}", reason.replace('\n', " "));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The commands that need a lab that is up.
fn on_lab(command: Command, lab: &Lab) -> Result<ExitCode> {
    match command {
        Command::Status => emit(&status(lab)?),
        Command::Exec { host, argv } => {
            let argv = if argv.is_empty() { vec!["bash".to_owned()] } else { argv };
            // Only returns when it could not become the program.
            return Err(lab.command(&host, &argv)?.exec()).context("enter the host");
        }
        Command::Control { words } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = lab.control(&words)?;
            emit(&output.stdout);
            eprint!("{}", output.stderr);
            return Ok(ExitCode::from(u8::try_from(output.code).unwrap_or(1)));
        }
        Command::Log { host, program } => emit(&lab.log(&host, program)?),
        Command::Fault(fault) => fault.run(lab)?,
        Command::Probe(probe) => return probe.run(lab),
        Command::Up(_)
        | Command::Servers { .. }
        | Command::Down { .. }
        | Command::ProbeRun(_)
        | Command::ClientsRun(_) => {
            unreachable!("these need no lab and were handled before")
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Up {
    fn run(self, name: &str, base: &std::path::Path) -> Result<()> {
        let began = std::time::Instant::now();
        let mut builder = Lab::builder(name).base(base).replicas(self.replicas).stays().refuse_if_up();
        for extra in self.with {
            builder = match extra {
                Extra::Client2 => builder.second_client(),
                Extra::Gw => builder.gateway(),
            };
        }
        if self.no_daemons {
            builder = builder.without_daemons();
        }
        if let Some(dir) = self.bin_dir {
            builder =
                builder.bin_dir(&dir.canonicalize().with_context(|| format!("find {}", dir.display()))?);
        }
        if self.gtid {
            builder = builder.gtid();
        }
        if let Some(flavour) = self.server {
            builder = builder.server(flavour);
        }
        for line in &self.server_lines {
            builder = builder.server_line(line);
        }
        let lab = builder.up()?;
        let seconds = began.elapsed().as_secs_f64();
        let status = status(&lab)?;
        emit(&format!(
            "lab `{name}` is up after {seconds:.1} s\n{status}\n\
             mmm_lab --lab {name} exec MySQL-M1      a shell on a host\n\
             mmm_lab --lab {name} control show      the cluster\n\
             mmm_lab --lab {name} down              the end\n"
        ));
        Ok(())
    }
}

/// Prints in one go. A reader that has gone away (`| head`) is no error.
fn emit(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn status(lab: &Lab) -> Result<String> {
    let mut text = format!("lab `{}` in {}\n", lab.name(), lab.dir().display());
    for host in lab.hosts() {
        let addresses = lab.addresses(&host.name)?.join(" ");
        let cable = if lab.is_plugged(&host.name)? { "" } else { "  UNPLUGGED" };
        writeln!(text, "{:<10} {:<8} {addresses}{cable}", host.name, host.kind.to_string())?;
        for program in Program::ALL.into_iter().filter(|program| wanted(*program, host.kind)) {
            let state = match lab.process(&host.name, program)? {
                None => "not running".to_owned(),
                Some(process) if process.life() == Life::Stopped => {
                    format!("FROZEN, process {}", process.pid)
                }
                Some(process) => format!("running, process {}", process.pid),
            };
            writeln!(text, "{:<10} {:<8} {state}", "", program.to_string())?;
        }
    }
    for cut in lab.cuts()? {
        writeln!(text, "cut: {} -> {} ({:?})", cut.from, cut.to, cut.manner)?;
    }
    if let Ok(probe) = lab.last_probe() {
        let state = if probe.is_running() { "running" } else { "ended" };
        writeln!(text, "probe: {state}, record {}", probe.record_path().display())?;
    }
    Ok(text)
}

fn wanted(program: Program, kind: HostKind) -> bool {
    match kind {
        HostKind::Monitor => program == Program::Monitor,
        HostKind::Master | HostKind::Replica => program != Program::Monitor,
        HostKind::Client | HostKind::Gateway => false,
    }
}
