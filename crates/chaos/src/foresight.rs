//! `explain` held against what comes of it: the holder that it names, and who takes over by its word when that one is lost.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mmm_lab::{Clients, Lab, LabError, Moment, Program, WRITER, wait_for};
use serde_json::Value;

use crate::account::other;
use crate::plan::Plan;
use crate::random::Random;

/// Beyond what was foretold, on a machine with other things to do.
const LATE: Duration = Duration::from_secs(6);
const ALONE: Duration = Duration::from_secs(11);
/// For so long nobody takes over where nobody is said to: longer than a lease and the wait after it.
const NOBODY: Duration = Duration::from_secs(9);
const SOON: Duration = Duration::from_secs(20);
/// Two answers that lie so far apart and say the same are not about something that is under way.
const CALM: Duration = Duration::from_millis(1200);

/// The ways of losing a writer that `explain` tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    Server,
    Host,
    Agent,
}

impl Death {
    pub(crate) fn draw(random: &mut Random) -> Self {
        random.one_of(&[Self::Server, Self::Server, Self::Host, Self::Agent])
    }

    /// What was not sent can still be had from the host.
    pub(crate) fn loses_nothing(self) -> bool {
        self == Self::Server
    }

    fn word(self) -> &'static str {
        match self {
            Self::Server => "server_dies",
            Self::Host => "host_vanishes",
            Self::Agent => "agent_lost",
        }
    }

    fn make(self, lab: &Lab, host: &str) -> Result<Moment, LabError> {
        match self {
            Self::Server => lab.kill(host, Program::Server),
            Self::Host => lab.unplug(host),
            Self::Agent => lab.kill(host, Program::Agent),
        }
    }

    fn mend(self, lab: &Lab, host: &str) -> Result<(), LabError> {
        match self {
            Self::Server => lab.start(host, Program::Server).map(drop),
            Self::Host => lab.replug(host).map(drop),
            Self::Agent => lab.start(host, Program::Agent).map(drop),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "kill the writer's server",
            Self::Host => "unplug the writer",
            Self::Agent => "kill the writer's agent",
        })
    }
}

/// What was foretold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foretold {
    holder: String,
    to: Option<String>,
    after: Duration,
    why: String,
}

fn ask(lab: &Lab, death: Death) -> Result<Foretold> {
    let answer = lab.control(&["--json", "explain"])?;
    ensure!(answer.success(), "`explain --json` is refused: {answer}");
    let explained: Value = serde_json::from_str(&answer.stdout).context("understand `explain --json`")?;
    let holder = explained["held"].as_array().and_then(|held| held.first()?["host"].as_str());
    let holder = holder.with_context(|| format!("nobody holds the role: {}", answer.stdout))?.to_owned();
    let ways = explained["if_lost"].as_array().context("`explain` foretells nothing")?;
    let way = ways.iter().find(|way| way["way"] == death.word()).context("`explain` leaves a way out")?;
    ensure!(way["not_known"].is_null(), "`explain` does not know: {way}");
    Ok(Foretold {
        holder,
        to: way["to"].as_str().map(str::to_owned),
        after: Duration::from_millis(way["after_ms"].as_u64().unwrap_or_default()),
        why: way["why"].as_str().unwrap_or_default().to_owned(),
    })
}

/// What is foretold by a cluster in which nothing is under way.
fn ask_calmly(lab: &Lab, death: Death) -> Result<Foretold> {
    let mut last: Option<(Moment, Foretold)> = None;
    let foretold = wait_for("an explanation that stays as it is", SOON, || {
        let foretold = ask(lab, death).map_err(|error| format!("{error:#}"))?;
        let is_same =
            |(_, last): &&(Moment, Foretold)| (&last.holder, &last.to) == (&foretold.holder, &foretold.to);
        let since = last.as_ref().filter(is_same).map_or_else(Moment::now, |(since, _)| *since);
        last = Some((since, foretold.clone()));
        if Moment::now() - since > CALM { Ok(foretold) } else { Err(format!("{foretold:?}")) }
    })?;
    Ok(foretold)
}

/// Loses the writer in this way, and mends that again: what of it was not as `explain` had said.
pub(crate) fn comes_true(lab: &Lab, clients: &Clients, plan: &Plan) -> Result<Vec<String>> {
    let death = plan.death;
    // The first commits of the next writer wait for somebody who is not there.
    let patience = if plan.semi_sync { LATE + ALONE } else { LATE };
    let foretold = ask_calmly(lab, death)?;
    let mut wrong = Vec::new();
    let show = lab.show()?;
    if show.holder(WRITER) != Some(foretold.holder.as_str()) {
        return Ok(vec![format!(
            "`explain` says that {} holds the role, `show` says\n{}",
            foretold.holder, show.text
        )]);
    }
    let holders = lab.holders(WRITER)?;
    if holders != [foretold.holder.as_str()] {
        wrong.push(format!(
            "`explain` says that {} holds the role, the address is on {holders:?}",
            foretold.holder
        ));
    }
    let successor = other(&foretold.holder);
    let id = lab.host(successor)?.server_id.unwrap_or_default();
    let lost = death.make(lab, &foretold.holder)?;
    match foretold.to.as_deref() {
        Some(to) if to == successor => match clients.wait_by(id, lost, foretold.after + patience) {
            Ok(first) => println!(
                "  {to} takes over {:?} after that, {:?} were foretold",
                first.end - lost,
                foretold.after
            ),
            Err(error) => wrong.push(format!(
                "`explain` said that {to} takes over after {:?}{}: {error}",
                foretold.after, foretold.why
            )),
        },
        Some(to) => wrong.push(format!("`explain` says that {to} follows {}", foretold.holder)),
        None => {
            println!("  nobody is to take over: {}", foretold.why);
            if foretold.why.contains(" holds it with epoch ") {
                wrong.push(format!("`explain` gives no reason why nobody takes over: {}", foretold.why));
            }
            if let Ok(first) = clients.wait_by(id, lost, NOBODY) {
                wrong.push(format!(
                    "`explain` said that nobody takes over ({}), and {successor} did after {:?}",
                    foretold.why,
                    first.end - lost
                ));
            }
        }
    }
    death.mend(lab, &foretold.holder)?;
    Ok(wrong)
}
