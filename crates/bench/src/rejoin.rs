//! How long an old writer that has nothing of its own takes to be ONLINE again once its server answers. The runs follow each other on one
//! cluster, without anybody's help: the role goes to and fro as often as there are runs.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_lab::{Moment, Program, wait_for};

use crate::cluster::{Cluster, Make};
use crate::figure::{Figure, Judged};
use crate::options::Options;
use crate::takeover::{LIMIT, millis};

/// The target, in ms.
const ONLINE_MS: f64 = 5000.0;
/// One fault after the other would be flapping to the monitor, which then waits for an operator.
const MONITOR: &str = "<monitor>\nauto_set_online 1\nflap_count 10000\n</monitor>";
const AT_REST: Duration = Duration::from_millis(500);

pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    let make = Make { gtid: true, monitor: Some(MONITOR), ..options.make() };
    let cluster = Cluster::fresh(&make)?;
    let mut times = Vec::new();
    for number in 1..=options.runs {
        let time = one(&cluster).with_context(|| format!("run rejoin-{number:02}"))?;
        println!("rejoin {number:>2}: {time:.1} ms from the server's answer to ONLINE");
        times.push(time);
    }
    let figure = Figure::new("old writer without divergence: ONLINE after its server answers", "ms", times);
    Ok(vec![figure.at_most(Judged::Maximum, ONLINE_MS)])
}

fn one(cluster: &Cluster) -> Result<f64> {
    let lab = &cluster.lab;
    let (old, new) = cluster.writer_and_other()?;
    // Written to, and then at rest: what is unsent when a server dies is another figure.
    let probe = lab.start_probe()?;
    probe.wait_write_by(cluster.server_id(old)?, Moment::from_micros(0), LIMIT)?;
    thread::sleep(AT_REST);
    probe.stop()?;
    cluster.wait_equal()?;
    let killed = lab.kill(old, Program::Server)?;
    let probe = lab.start_probe()?;
    probe.wait_write_by(cluster.server_id(new)?, killed, LIMIT)?;
    // Returns when the server answers.
    lab.start(old, Program::Server)?;
    let answers = Moment::now();
    wait_for(&format!("{old} ONLINE"), LIMIT, || {
        let show = lab.show().map_err(|error| error.to_string())?;
        if show.state(old) == "ONLINE" { Ok(()) } else { Err(format!("\n{}", show.text)) }
    })?;
    let online = Moment::now();
    probe.stop()?;
    // Whole again by itself, or the next run can't begin.
    cluster.expect_whole()?;
    Ok(millis(online - answers))
}
