//! A cluster to measure on: brought up, brought back to the same starting state between runs, looked at.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mmm_lab::{ConfigFile, Flavour, Lab, M1, M2, MON, Program, Record, WRITER, wait_for};

/// The lab's name. One bench at a time: two would measure each other.
pub(crate) const LAB: &str = "bench";
const START: Duration = Duration::from_secs(30);
/// For everything that must come before the next run; what takes longer needs a fresh cluster.
const SETTLE: Duration = Duration::from_secs(30);
/// The prompt of the operator between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a cluster is made with beside the tutorial's files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Make {
    /// Where logs and records are kept; the daemons then log with `debug 1`.
    pub(crate) evidence: Option<PathBuf>,
    /// `writer_lease`, in seconds; none leaves the default.
    pub(crate) lease: Option<u64>,
    /// What its servers are; none takes the system's. These replicate by GTID.
    pub(crate) server: Option<Flavour>,
    /// The system's servers replicate by GTID too.
    pub(crate) gtid: bool,
    /// More lines of every my.cnf.
    pub(crate) server_lines: Vec<&'static str>,
    /// More of `mmm_mon.conf`.
    pub(crate) monitor: Option<&'static str>,
}

pub(crate) struct Cluster {
    pub(crate) lab: Lab,
    make: Make,
}

impl Cluster {
    /// A fresh cluster of the tutorial, both masters ONLINE, MySQL-M1 the writer.
    pub(crate) fn fresh(make: &Make) -> Result<Self> {
        let mut builder = Lab::builder(LAB);
        if make.evidence.is_some() {
            builder = builder.append(ConfigFile::Common, "debug 1").append(ConfigFile::Monitor, "debug 1");
        }
        if let Some(seconds) = make.lease {
            builder = builder.append(ConfigFile::Three, &format!("writer_lease {seconds}"));
        }
        if let Some(flavour) = make.server {
            builder = builder.server(flavour).gtid();
        }
        if make.gtid {
            builder = builder.gtid();
        }
        for line in &make.server_lines {
            builder = builder.server_line(line);
        }
        if let Some(text) = make.monitor {
            builder = builder.append(ConfigFile::Monitor, text);
        }
        let lab = builder.up()?;
        lab.expect_host(M1, "ONLINE", &["writer", "reader"], START)?;
        let cluster = Self { lab, make: make.clone() };
        cluster.settle()?;
        Ok(cluster)
    }

    /// A cluster for the next run: this one when it becomes whole again by itself, else a fresh one. Rows that only the old writer
    /// has keep replication from it held for a person to look, so such a cluster is not waited for.
    pub(crate) fn again(self, has_diverged: bool, run: &str) -> Result<Self> {
        let settled =
            if has_diverged { Err(anyhow!("rows did not reach the other master")) } else { self.settle() };
        let Err(error) = settled else { return Ok(self) };
        println!("{run}: the next run gets a fresh cluster: {error:#}");
        let make = self.make.clone();
        drop(self);
        Self::fresh(&make)
    }

    /// The host that holds the writer address by `show`, and the other one.
    pub(crate) fn writer_and_other(&self) -> Result<(&'static str, &'static str)> {
        match self.lab.show()?.holder(WRITER) {
            Some(M1) => Ok((M1, M2)),
            Some(M2) => Ok((M2, M1)),
            other => bail!("the writer should be on {M1} or {M2}, but is on {other:?}"),
        }
    }

    pub(crate) fn server_id(&self, host: &str) -> Result<u32> {
        self.lab.host(host)?.server_id.with_context(|| format!("{host} has no server"))
    }

    /// Waits until the cluster is whole: both masters ONLINE with their roles, nothing to warn of, and each has applied all of the
    /// other. A host that waits to be set online (it has failed too often to come back by itself) is set online, as an operator
    /// would do it.
    pub(crate) fn settle(&self) -> Result<()> {
        wait_for("both masters ONLINE, and replication not held", SETTLE, || {
            let show = self.lab.show().map_err(|error| error.to_string())?;
            let whole =
                [M1, M2].iter().all(|host| show.state(host) == "ONLINE") && !show.text.contains("Warning");
            if whole && show.holder(WRITER).is_some() {
                return Ok(());
            }
            for host in [M1, M2] {
                if show.state(host) == "AWAITING_RECOVERY" {
                    // A refusal (the checks are not good yet) is asked again.
                    let _ = self.lab.control(&["set_online", host]);
                }
            }
            thread::sleep(LOOK_EVERY);
            Err(format!("\n{}", show.text))
        })?;
        self.wait_covered_and_equal()
    }

    /// As [`Cluster::settle`], and nobody helps.
    pub(crate) fn expect_whole(&self) -> Result<()> {
        wait_for("both masters ONLINE by themselves", SETTLE, || {
            let show = self.lab.show().map_err(|error| error.to_string())?;
            let whole =
                [M1, M2].iter().all(|host| show.state(host) == "ONLINE") && !show.text.contains("Warning");
            if whole { Ok(()) } else { Err(format!("\n{}", show.text)) }
        })?;
        self.wait_covered_and_equal()
    }

    fn wait_covered_and_equal(&self) -> Result<()> {
        for host in [M1, M2] {
            self.lab.wait_replicating(host, SETTLE)?;
        }
        self.wait_equal()?;
        Ok(self.lab.wait_covered(SETTLE)?)
    }

    /// Waits until each master has applied what is in the other's log now.
    pub(crate) fn wait_equal(&self) -> Result<()> {
        for (master, replica) in [(M1, M2), (M2, M1)] {
            self.lab.wait_replicated(master, replica, SETTLE)?;
        }
        Ok(())
    }

    /// Keeps logs and record of a run, where that was asked for.
    pub(crate) fn keep_evidence(&self, run: &str, record: &Record) -> Result<()> {
        let Some(base) = &self.make.evidence else { return Ok(()) };
        let dir = base.join(run);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        for (host, program) in [
            (MON, Program::Monitor),
            (M1, Program::Agent),
            (M2, Program::Agent),
            (M1, Program::Server),
            (M2, Program::Server),
        ] {
            let path = dir.join(format!("{host}-{program}.log"));
            fs::write(&path, self.lab.log(host, program)?)
                .with_context(|| format!("write {}", path.display()))?;
        }
        let lines: Vec<String> = record.attempts.iter().map(ToString::to_string).collect();
        let path = dir.join("probe.record");
        fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("write {}", path.display()))
    }
}
