//! Semi-synchronous replication: a writer whose commits wait until another host has them.
//!
//! What a server tells at one look, and what its agent makes of several: since when it acknowledges by itself again, and
//! whether commits hang. Nothing here decides about roles.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// What a server tells of it at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SemiSyncReading {
    /// `None` where commits are not to wait for anybody.
    pub source: Option<SourceReading>,
    /// What this server receives is to be acknowledged.
    pub replica: bool,
    /// It is: its source counts it among those who acknowledge.
    pub acknowledges: bool,
    /// How many would have to acknowledge, waited for or not.
    pub wanted: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReading {
    /// Commits wait; otherwise it has fallen back to asynchronous replication.
    pub waits: bool,
    /// Connections of replicas that acknowledge. One that is dead may be among them.
    pub clients: u32,
    pub timeout_ms: u64,
    /// Acknowledged before the transaction is committed, so that nobody sees what no other host has.
    pub after_sync: bool,
    /// How many have to acknowledge.
    pub wanted: u32,
    /// Commits wait for the whole timeout also where fewer than that are connected.
    pub waits_for_absent: bool,
    /// Transactions that were answered, with an acknowledgement and without.
    pub answered: u64,
    /// Commits that wait at this moment.
    pub waiting: u64,
}

/// As an agent reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SemiSync {
    pub source: Option<SemiSyncSource>,
    pub replica: bool,
    pub acknowledges: bool,
    /// How many would have to acknowledge, waited for or not.
    #[serde(default)]
    pub wanted: u32,
    /// The last look is too long ago to tell how things are now.
    #[serde(default)]
    pub outdated: bool,
}

/// The side that waits. Moments are of the agent's clock, see [`AgentStatus::uptime`](crate::AgentStatus::uptime).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SemiSyncSource {
    /// Since when it does not wait any more.
    pub fallen_back: Option<Moment>,
    pub clients: u32,
    pub timeout_ms: u64,
    pub after_sync: bool,
    pub wanted: u32,
    pub waits_for_absent: bool,
    pub hanging: Option<Hanging>,
}

/// Commits for which no acknowledgement comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hanging {
    pub commits: u64,
    pub since: Moment,
}

/// The two sides of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SemiSyncSide {
    /// Commits wait for an acknowledgement.
    Source,
    /// What is received is acknowledged.
    Replica,
}

/// What an agent is to switch; `None`: it stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SemiSyncOrder {
    pub source: Option<bool>,
    pub replica: Option<bool>,
    /// The replica is to connect anew each time that this grows.
    pub nudge: u64,
}

/// How a server that has ended waited for acknowledgements: what only it has of what it wrote since is unacknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SemiSyncEnd {
    pub after_sync: bool,
    /// Commits that hung at the last look.
    pub hanging: u64,
}

impl SemiSync {
    /// What follows from a new reading, after what was known before.
    #[must_use]
    pub fn after(
        before: Option<(&SemiSync, &SemiSyncReading, Moment)>,
        reading: &SemiSyncReading,
        asked: Moment,
    ) -> Self {
        let known = before.and_then(|(known, ..)| known.source.as_ref());
        let previous = before.and_then(|(_, reading, asked)| Some((reading.source.as_ref()?, asked)));
        let source = reading.source.as_ref().map(|now| SemiSyncSource {
            fallen_back: (!now.waits).then(|| known.and_then(|known| known.fallen_back).unwrap_or(asked)),
            clients: now.clients,
            timeout_ms: now.timeout_ms,
            after_sync: now.after_sync,
            wanted: now.wanted,
            waits_for_absent: now.waits_for_absent,
            hanging: hanging(previous, now, known.and_then(|known| known.hanging)),
        });
        Self {
            source,
            replica: reading.replica,
            acknowledges: reading.acknowledges,
            wanted: reading.wanted,
            outdated: false,
        }
    }

    /// The side that waits, where it does.
    pub fn waiting_source(&self) -> Option<&SemiSyncSource> {
        self.source.as_ref().filter(|source| source.fallen_back.is_none())
    }

    /// What is to be known of a server that has ended since.
    pub fn end(&self) -> Option<SemiSyncEnd> {
        let source = self.waiting_source()?;
        Some(SemiSyncEnd {
            after_sync: source.after_sync,
            hanging: source.hanging.map_or(0, |hanging| hanging.commits),
        })
    }
}

/// Under writes somebody waits at nearly every look: commits hang only where none was answered between two of them.
/// Then none was since the first of these looks.
fn hanging(
    previous: Option<(&SourceReading, Moment)>,
    now: &SourceReading,
    known: Option<Hanging>,
) -> Option<Hanging> {
    let (previous, asked) = previous?;
    if now.waiting == 0 || previous.waiting == 0 || previous.answered != now.answered {
        return None;
    }
    Some(Hanging { commits: now.waiting, since: known.map_or(asked, |known| known.since) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(waits: bool, answered: u64, waiting: u64) -> SemiSyncReading {
        let source =
            SourceReading { waits, answered, waiting, timeout_ms: 10_000, ..SourceReading::default() };
        SemiSyncReading { source: Some(source), ..SemiSyncReading::default() }
    }

    fn seen(readings: &[(u64, SemiSyncReading)]) -> SemiSync {
        let mut known: Option<(SemiSync, &SemiSyncReading, Moment)> = None;
        for (second, reading) in readings {
            let at = Moment::from_secs(*second);
            let before = known.as_ref().map(|(known, reading, asked)| (known, *reading, *asked));
            known = Some((SemiSync::after(before, reading, at), reading, at));
        }
        known.unwrap().0
    }

    #[test]
    fn a_fall_back_is_dated_by_the_look_that_first_saw_it() {
        let fallen = seen(&[(1, reading(true, 5, 0)), (2, reading(false, 6, 0)), (3, reading(false, 9, 0))]);
        assert_eq!(fallen.source.as_ref().unwrap().fallen_back, Some(Moment::from_secs(2)));
        assert_eq!(fallen.end(), None, "what it wrote last was not waited for");
        let back = seen(&[(2, reading(false, 6, 0)), (3, reading(true, 9, 0))]);
        assert!(back.waiting_source().is_some());
    }

    #[test]
    fn commits_hang_where_none_is_answered_between_two_looks() {
        let busy = seen(&[(1, reading(true, 5, 2)), (2, reading(true, 80, 3))]);
        assert_eq!(busy.source.unwrap().hanging, None);
        let idle = seen(&[(1, reading(true, 5, 0)), (2, reading(true, 5, 1))]);
        assert_eq!(idle.source.unwrap().hanging, None, "it has just begun to wait");
        let hung = seen(&[(1, reading(true, 5, 1)), (2, reading(true, 5, 1)), (3, reading(true, 5, 4))]);
        assert_eq!(hung.end(), Some(SemiSyncEnd { after_sync: false, hanging: 4 }));
        let hanging = hung.source.unwrap().hanging;
        assert_eq!(hanging, Some(Hanging { commits: 4, since: Moment::from_secs(1) }));
    }
}
