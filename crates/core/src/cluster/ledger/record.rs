//! What is kept of one failover, move or promotion. Everything in it is bounded, since files and answers are made of it.

use serde::{Deserialize, Serialize};

use super::rebuilt::RebuildAccount;
use crate::lease::Epoch;
use crate::names::{HostName, Role};
use crate::state::HostState;

/// More steps than any course of events takes that a person would read.
const STEPS_MAX: usize = 80;
const WORDS_MAX: usize = 60;
const HOSTS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 2000;

/// Why the writer role was on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The holder was lost, or lost the role.
    Failover,
    /// Somebody wanted it elsewhere.
    Move,
    /// Nobody was known to hold it, as after a start of the whole cluster.
    Start,
    /// The same host was promoted anew.
    Again,
    /// No role moved: a host got all its data anew.
    Rebuild,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Move => "move",
            Self::Start => "start",
            Self::Again => "again",
            Self::Rebuild => "rebuild",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new writer takes writes at its address.
    Done,
    /// Nothing was stopped: it was not begun, or its target could not follow.
    Refused,
    /// The role is where it was.
    Undone,
    /// Something else happened before the end; the next record goes on from here.
    Superseded,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Undone => "undone",
            Self::Superseded => "superseded",
        }
    }
}

/// What was seen, in which event and by which rule, and who asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Trigger {
    pub what: String,
    pub by: String,
    /// The rule of the state table, where one applied.
    pub rule: Option<String>,
}

/// One thing that was known when it began, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    pub source: String,
    pub what: String,
    pub age_ms: Option<u64>,
}

/// A host that could be the writer, when the choice was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    pub host: HostName,
    pub state: HostState,
    pub chosen: bool,
    /// Why it was chosen or not.
    #[serde(default)]
    pub why: String,
    /// What it has received, and what it has applied, in the words of its server.
    #[serde(default)]
    pub received: Option<String>,
    #[serde(default)]
    pub applied: Option<String>,
    /// How long ago its agent said so last.
    #[serde(default)]
    pub age_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// It began.
    Seen,
    /// The target of a move was asked to catch up before anything is stopped.
    Asked,
    /// The target said that it caught up.
    Approached,
    /// The role left its holder.
    Taken,
    /// A host was chosen.
    Chosen,
    /// What keeps the chosen host from being promoted.
    Waits,
    /// The old writer takes no writes any more.
    Closed,
    /// The old writer's address is off.
    AddressOff,
    /// The old lease is over.
    Released,
    /// The new writer was told, with epoch and proof.
    Promoted,
    /// The new writer has its first lease.
    Leased,
    /// The new writer has applied what it had to.
    CaughtUp,
    /// The new writer takes writes.
    Open,
    /// The new writer has the address.
    Address,
    /// The new writer's order is carried out.
    Applied,
    /// The monitor that goes on is another one.
    NextMonitor,
    /// What only the host to be rebuilt has is in files.
    Saved,
    /// Its agent looks whether it can be done.
    Preparing,
    Copying,
    /// The copy is made usable.
    Working,
    /// The server on the copy is pointed at the writer.
    Attaching,
    /// It did not work out, and is begun anew.
    Retried,
}

impl StepKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Asked => "asked",
            Self::Approached => "approached",
            Self::Taken => "taken",
            Self::Chosen => "chosen",
            Self::Waits => "waits",
            Self::Closed => "closed",
            Self::AddressOff => "address off",
            Self::Released => "released",
            Self::Promoted => "promoted",
            Self::Leased => "leased",
            Self::CaughtUp => "caught up",
            Self::Open => "open",
            Self::Address => "address",
            Self::Applied => "applied",
            Self::NextMonitor => "next monitor",
            Self::Saved => "saved",
            Self::Preparing => "preparing",
            Self::Copying => "copying",
            Self::Working => "working",
            Self::Attaching => "attaching",
            Self::Retried => "retried",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StepTaken {
    pub step: StepKind,
    /// Milliseconds since the record began; below zero for what was noticed before.
    pub at_ms: i64,
    #[serde(default)]
    pub host: Option<HostName>,
    #[serde(default)]
    pub note: String,
}

/// A line that the monitor logged meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Said {
    pub at_ms: i64,
    pub level: String,
    pub text: String,
}

/// The time without a writer, as far as the monitor knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Gap {
    /// The last moment at which the old writer is known to have taken writes; none where nobody knows.
    pub from_ms: Option<i64>,
    /// How that is known.
    pub from_by: String,
    /// The last moment at which it could have taken writes, where that is later; none where nobody knows.
    pub possible_until_ms: Option<i64>,
    /// The new writer takes writes at its address, and a commit comes back.
    pub until_ms: Option<i64>,
    /// It was so already when somebody looked.
    pub until_at_latest: bool,
}

impl Gap {
    pub fn length_ms(&self) -> Option<u64> {
        u64::try_from(self.until_ms?.checked_sub(self.from_ms?)?).ok()
    }
}

/// Transactions of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transactions {
    pub host: HostName,
    /// None where it is only known that there are some.
    pub count: Option<u64>,
    /// By name, as far as they have one.
    pub names: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    pub number: u64,
    pub kind: Kind,
    pub role: Role,
    /// Milliseconds since 1970, put in by the shell: the mind has no wall clock.
    #[serde(default)]
    pub began_unix_ms: Option<i64>,
    #[serde(default)]
    pub trigger: Trigger,
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    #[serde(default)]
    pub from: Option<HostName>,
    /// Who takes the role; none while nobody is chosen.
    #[serde(default)]
    pub to: Option<HostName>,
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    #[serde(default)]
    pub decision: String,
    #[serde(default)]
    pub epoch: Option<Epoch>,
    #[serde(default)]
    pub proof: String,
    #[serde(default)]
    pub steps: Vec<StepTaken>,
    #[serde(default)]
    pub said: Vec<Said>,
    #[serde(default)]
    pub gap: Gap,
    /// Handed to the new writer from the lost one's log.
    #[serde(default)]
    pub salvaged: Vec<Transactions>,
    /// Acknowledged by the lost writer and on no server any more.
    #[serde(default)]
    pub lost: Vec<Transactions>,
    /// Only on the old writer.
    #[serde(default)]
    pub diverged: Vec<Transactions>,
    /// In the log of nobody who could be asked.
    #[serde(default)]
    pub gone: Vec<Transactions>,
    /// Only on a replica.
    #[serde(default)]
    pub errant: Vec<Transactions>,
    /// Of a rebuild.
    #[serde(default)]
    pub rebuild: Option<RebuildAccount>,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    #[serde(default)]
    pub outcome_why: String,
    #[serde(default)]
    pub ended_ms: Option<i64>,
}

impl Record {
    pub(super) fn new(number: u64, kind: Kind, role: Role) -> Self {
        Self {
            number,
            kind,
            role,
            began_unix_ms: None,
            trigger: Trigger::default(),
            evidence: Vec::new(),
            from: None,
            to: None,
            candidates: Vec::new(),
            decision: String::new(),
            epoch: None,
            proof: String::new(),
            steps: Vec::new(),
            said: Vec::new(),
            gap: Gap::default(),
            salvaged: Vec::new(),
            lost: Vec::new(),
            diverged: Vec::new(),
            gone: Vec::new(),
            errant: Vec::new(),
            rebuild: None,
            outcome: None,
            outcome_why: String::new(),
            ended_ms: None,
        }
    }

    /// Whether something was asked for and nothing was stopped yet.
    pub(super) fn is_only_asked(&self) -> bool {
        self.has(StepKind::Asked) && !self.has(StepKind::Taken)
    }

    pub fn has(&self, step: StepKind) -> bool {
        self.steps.iter().any(|taken| taken.step == step)
    }

    /// Whether a promotion with this epoch is told of.
    pub fn tells_of(&self, epoch: Epoch) -> bool {
        let note = format!("epoch {epoch}");
        let told = |step: &StepTaken| step.step == StepKind::Promoted && step.note.starts_with(&note);
        self.epoch == Some(epoch) || self.steps.iter().any(told)
    }

    pub(super) fn push_step(&mut self, step: StepTaken) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(StepTaken { note: short(&step.note), ..step });
        }
    }

    pub(super) fn push_said(&mut self, said: Said) {
        if self.said.len() < WORDS_MAX {
            self.said.push(Said { text: short(&said.text), ..said });
        }
    }

    pub(super) fn set_candidates(&mut self, mut candidates: Vec<Candidate>) {
        candidates.truncate(HOSTS_MAX);
        for candidate in &mut candidates {
            candidate.received = candidate.received.as_deref().map(short);
            candidate.applied = candidate.applied.as_deref().map(short);
        }
        self.candidates = candidates;
    }

    /// Notes transactions of a host in place of what was noted of it before; true when that is news.
    pub(super) fn note(
        list: &mut Vec<Transactions>,
        host: &HostName,
        count: Option<u64>,
        names: &str,
    ) -> bool {
        let noted = Transactions { host: host.clone(), count, names: short(names) };
        if let Some(other) = list.iter_mut().find(|other| other.host == *host) {
            let is_news = *other != noted;
            *other = noted;
            return is_news;
        }
        let has_room = list.len() < HOSTS_MAX;
        if has_room {
            list.push(noted);
        }
        has_room
    }
}

fn short(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = TEXT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}
