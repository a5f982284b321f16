//! How fast `mmm_control show` answers: idle, and while the control port is under attack; and whether writes notice the attack.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mmm_lab::{Lab, M1, MON, Moment};

use crate::cluster::Cluster;
use crate::figure::{Figure, Judged};
use crate::options::Options;

const ASKED: usize = 50;
const PAUSE: Duration = Duration::from_millis(40);
const SHOW_MS: f64 = 100.0;

pub(crate) fn measure(options: &Options) -> Result<Vec<Figure>> {
    let cluster = Cluster::fresh(&options.make())?;
    let lab = &cluster.lab;
    let probe = lab.start_probe()?;
    probe.wait_write_by(cluster.server_id(M1)?, Moment::from_micros(0), Duration::from_secs(10))?;
    let calm = Moment::now();
    let idle = ask(lab)?;
    let mut attacker = Attacker::start(lab)?;
    let from = Moment::now();
    let pressed = ask(lab)?;
    let until = Moment::now();
    let floods = attacker.floods();
    attacker.end();
    let record = probe.stop()?;
    cluster.keep_evidence("show", &record)?;
    if floods == 0 {
        bail!("not one flood was begun while `show` was asked: the attack did not happen");
    }
    println!("show: {floods} floods of 1 MB were begun while it was asked under attack");
    let gap = |from, until| {
        record.longest_gap(from, until).map_or(f64::NAN, |gap| gap.length().as_secs_f64() * 1000.0)
    };
    Ok(vec![
        Figure::new("mmm_control show, whole command", "ms", idle).at_most(Judged::Maximum, SHOW_MS),
        Figure::new("show with 500 idle connections and floods of 1 MB", "ms", pressed)
            .at_most(Judged::Maximum, SHOW_MS),
        Figure::new("longest time without a write before the attack", "ms", vec![gap(calm, from)]),
        Figure::new("longest time without a write during the attack", "ms", vec![gap(from, until)]),
    ])
}

/// The whole command, as an operator waits for it: with entering the host and starting the program.
fn ask(lab: &Lab) -> Result<Vec<f64>> {
    let program = lab.program("mmm_control")?.display().to_string();
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let mut command = lab.command(MON, &[program.as_str(), "show"])?;
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output().context("run mmm_control")?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.contains("master/ONLINE") {
            bail!("`mmm_control show` answered: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        thread::sleep(PAUSE);
    }
    Ok(times)
}

/// The attack, in a process of its own on the monitor's host; ends with this value.
struct Attacker {
    child: Child,
    floods: Arc<AtomicU64>,
}

impl Attacker {
    fn start(lab: &Lab) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?.display().to_string();
        let mut command = lab.command(MON, &[program.as_str(), "attack"])?;
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start the attack")?;
        let mut lines = BufReader::new(child.stdout.take().context("read from the attack")?).lines();
        let floods = Arc::new(AtomicU64::new(0));
        let attacker = Self { child, floods: Arc::clone(&floods) };
        if !matches!(lines.next(), Some(Ok(line)) if line == "ready") {
            bail!("the attack could not open its connections");
        }
        thread::spawn(move || {
            for _ in lines.map_while(Result::ok) {
                floods.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(attacker)
    }

    fn floods(&self) -> u64 {
        self.floods.load(Ordering::Relaxed)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.end();
    }
}
