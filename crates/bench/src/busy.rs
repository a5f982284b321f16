//! A planned move under load that an application makes hard: a client left a transaction open, another reads for half a minute.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_lab::{CLIENT, Flavour, Judge, M1, M2, Moment, WRITER};

use crate::cluster::{Cluster, Make};
use crate::figure::{Figure, Judged};
use crate::options::Options;
use crate::takeover::{BEFORE, LIMIT, MOVE_MS, PHASE, millis, move_role};

/// A session of the server's own client program on the client host, ended when it goes out of scope.
struct Session(Child);

impl Session {
    fn open(cluster: &Cluster, flavour: Option<Flavour>, statement: &str) -> Result<Self> {
        let program = if flavour == Some(Flavour::MySql97) { "mysql" } else { "mariadb" };
        let argv = [program, "--no-defaults", "-h", WRITER, "-uprobe", "-pprobe", "-n", "lab"];
        let mut command: Command = cluster.lab.command(CLIENT, &argv)?;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("start a client")?;
        let stdin = child.stdin.as_mut().context("speak to a client")?;
        stdin.write_all(format!("{statement};\n").as_bytes()).context("speak to a client")?;
        Ok(Self(child))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended when its connection was closed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    let mut cluster = Cluster::fresh(&Make { gtid: true, ..options.make() })?;
    let (mut gaps, mut lost) = (Vec::new(), Vec::new());
    for number in 1..=options.runs {
        let (gap, missing) = one(number, options, &cluster)?;
        println!("busy-move {number:>2}: gap {gap:.1} ms, lost {missing}");
        gaps.push(gap);
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
        lost.push(missing as f64);
        if number < options.runs {
            cluster = cluster.again(false, &format!("busy-move {number:>2}"))?;
        }
    }
    let what = "move_role writer, open transaction and 30 s read";
    Ok(vec![
        Figure::new(format!("{what}: write gap"), "ms", gaps).at_most(Judged::Median, MOVE_MS),
        Figure::new(format!("{what}: lost"), "rows", lost).at_most(Judged::Sum, 0.0),
    ])
}

fn one(number: u32, options: &Options, cluster: &Cluster) -> Result<(f64, usize)> {
    let lab = &cluster.lab;
    let (old, new) = cluster.writer_and_other()?;
    let row = 4_000_000_000_000_000_000 + u64::from(number);
    let open = format!("START TRANSACTION; INSERT INTO probe VALUES ({row}, 0)");
    let sessions =
        [&*open, "SELECT SLEEP(30)"].map(|statement| Session::open(cluster, options.server, statement));
    let probe = lab.start_probe()?;
    probe.wait_write_by(cluster.server_id(old)?, Moment::from_micros(0), LIMIT)?;
    thread::sleep(BEFORE + PHASE * (number % 8));
    let event = move_role(lab, new)?;
    probe.wait_write_by(cluster.server_id(new)?, event, LIMIT)?;
    thread::sleep(Duration::from_millis(700));
    let record = probe.stop()?;
    cluster.keep_evidence(&format!("busy-move-{number:02}"), &record)?;
    for session in sessions {
        drop(session?);
    }
    let gap = record.gap_after(event).context("the probe made no attempt after the event")?;
    cluster.wait_equal()?;
    let judge = Judge::new(lab, record);
    let lost = judge.lost(M1)?.len().max(judge.lost(M2)?.len());
    Ok((millis(gap.length()), lost))
}
