//! One kind after the other, each on a cluster of its own, then the report.

use std::time::Instant;

use anyhow::Result;

use crate::cluster::LAB;
use crate::machine::Machine;
use crate::options::{Kind, Options};
use crate::{absence, busy, control_port, data, idle, interrupt, lease, rejoin, report, takeover};

/// Measures and prints; `false` when a target was missed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    interrupt::take_down_when_interrupted(LAB)?;
    if cfg!(debug_assertions) {
        println!("warning: this is a debug build; the figures are for looking at the bench only");
    }
    let machine = Machine::look(options.server);
    println!("{}", machine.text());
    let began = Instant::now();
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        if !options.only.is_empty() && !options.only.contains(&kind) {
            continue;
        }
        figures.extend(match kind {
            Kind::Kill | Kind::Stop | Kind::Move => takeover::measure(kind, options)?,
            Kind::Idle => idle::measure(options)?,
            Kind::Show => control_port::measure(options)?,
            Kind::Unplug | Kind::Hang => lease::measure(kind, options)?,
            Kind::MonitorAway => absence::monitor_away(options)?,
            Kind::AgentRestart => absence::agent_restart(options)?,
            Kind::Behind | Kind::Unsent | Kind::SemiSync => data::measure(kind, options)?,
            Kind::BusyMove => busy::measure(options)?,
            Kind::Rejoin => rejoin::measure(options)?,
        });
    }
    println!("\n{}", report::table(&figures));
    println!("measured in {:.0} s", began.elapsed().as_secs_f64());
    if let Some(path) = &options.json {
        report::write_json(path, &machine, &figures)?;
    }
    Ok(figures.iter().all(|figure| figure.is_met() != Some(false)))
}
