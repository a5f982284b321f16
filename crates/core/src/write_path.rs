//! Whether a server that answers also takes writes: a full disk, storage that stands still, commits that something holds up, connections
//! that are used up. Blocked is not dead: who waits behind a lock, a backup or an acknowledgement waits for somebody who may yet let go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// Writing takes milliseconds; what has stood in the middle of it for this long stands still.
pub(crate) const STANDS_STILL: Duration = Duration::from_secs(2);

/// How the agent's own write into its small table went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProbeSight {
    /// None is made: no table is configured, or this host may not write.
    #[default]
    Off,
    Written,
    /// It has been waiting for so long.
    Waiting(Duration),
    /// The server said no, with this number.
    Failed {
        code: u16,
        text: String,
    },
}

/// One look at everything that a write passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSight {
    pub probe: ProbeSight,
    /// Connections that are in the middle of a commit.
    pub committing: BTreeSet<u64>,
    /// Those of them that nobody's lock, backup or acknowledgement can hold up any more.
    pub inside: BTreeSet<u64>,
    /// What holds commits up, as the process list says it: an acknowledgement, a lock, a backup.
    pub held_up_by: Option<String>,
    /// A file system of the server that has no room left.
    pub full_disk: Option<String>,
    /// How many are connected, and how many may be.
    pub connections: Option<(u32, u32)>,
    /// How far this host is behind the writer, where that was measured.
    pub delay: Option<Delay>,
    /// Bytes that the server has written to storage since the look before; none where that can't be seen.
    pub written: Option<u64>,
}

/// What becomes of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WritePath {
    #[default]
    Well,
    /// It waits for somebody: never a reason to call the server dead.
    Blocked { by: String },
    /// The disk is full, here.
    FullDisk { at: String },
    /// It waits for nothing but the storage.
    Stalled,
    /// The table for the probe can't be used, and nothing else is wrong.
    Unprobed { why: String },
}

impl WritePath {
    /// Nobody's writes get through, and nobody can let them through but who mends the host.
    pub const fn is_useless(&self) -> bool {
        matches!(self, Self::FullDisk { .. } | Self::Stalled)
    }
}

/// What the agent says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriteStatus {
    pub path: WritePath,
    /// All connections are used up: so many there may be.
    #[serde(default)]
    pub connections_used_up: Option<u32>,
    #[serde(default)]
    pub delay: Option<Delay>,
}

/// How far the data of a host is behind the writer's, by the rows in `mmm_heartbeat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delay {
    /// Rounded up, so that it is no news each time it is measured.
    pub ms: u64,
    /// The clocks of both servers were compared, and what lies between them taken off.
    pub compared: bool,
}

impl Delay {
    /// Tens of milliseconds, above a second tenths of one.
    pub const fn new(ms: u64, compared: bool) -> Self {
        let step = if ms < 1000 { 10 } else { 100 };
        Self { ms: ms.div_ceil(step).saturating_mul(step), compared }
    }
}

/// Storage that takes in so much between two looks works: a commit that takes long beside it is a large one.
const BUSY_BYTES: u64 = 1024 * 1024;

/// No space (1021), table full (1114), error writing a file (3), tablespace full on `MySQL` (3675).
const FULL: [u16; 4] = [1021, 1114, 3, 3675];
/// A lock that was not to be had in time, and a deadlock.
const LOCKED: [u16; 2] = [1205, 1213];
/// Closed for writes: not a matter of the way of a write.
const READ_ONLY: [u16; 2] = [1290, 1836];

/// The looks of a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriteLooks {
    /// Since when each connection has been seen in the middle of its commit, without a look in which it was not.
    committing_since: BTreeMap<u64, Moment>,
    /// The same, past everything that somebody could hold.
    inside_since: BTreeMap<u64, Moment>,
    /// When somebody was last seen to hold writes up.
    held_at: Option<Moment>,
    /// When storage was last seen to take in a lot.
    busy_at: Option<Moment>,
    /// The full disk that writes began to stand still for: servers look again once a minute, so that they go on long after there is room.
    full_at: Option<String>,
}

impl WriteLooks {
    /// What a further look says.
    pub(crate) fn judge(&mut self, sight: &WriteSight, now: Moment) -> WriteStatus {
        let stands = stands_in(&mut self.committing_since, &sight.committing, now);
        let stands_inside = stands_in(&mut self.inside_since, &sight.inside, now);
        if sight.written.is_some_and(|bytes| bytes >= BUSY_BYTES) {
            self.busy_at = Some(now);
        }
        if sight.held_up_by.is_some() {
            self.held_at = Some(now);
        }
        let lately = |at: Option<Moment>| at.is_some_and(|at| now.since(at) < STANDS_STILL);
        let waits = matches!(&sight.probe, ProbeSight::Waiting(time) if *time >= STANDS_STILL);
        let connections_used_up =
            sight.connections.and_then(|(used, most)| (used >= most && most > 0).then_some(most));
        let stands_still = stands || waits;
        if !stands_still {
            self.full_at = None;
        } else if sight.full_disk.is_some() {
            self.full_at.clone_from(&sight.full_disk);
        }
        // Of our own write it is not known where it waits: as long as somebody holds others up, or just did, that may be why.
        let for_storage = stands_inside || (waits && !lately(self.held_at));
        let path = self.path_of(sight, stands_still, for_storage, lately(self.busy_at));
        WriteStatus { path, connections_used_up, delay: sight.delay }
    }

    fn path_of(&self, sight: &WriteSight, stands_still: bool, for_storage: bool, busy: bool) -> WritePath {
        let full = || sight.full_disk.as_ref().or(self.full_at.as_ref()).cloned();
        match &sight.probe {
            ProbeSight::Failed { code, text } if FULL.contains(code) => {
                return WritePath::FullDisk { at: full().unwrap_or_else(|| text.clone()) };
            }
            ProbeSight::Failed { code, text } if LOCKED.contains(code) => {
                let by = sight.held_up_by.clone().unwrap_or_else(|| text.clone());
                return WritePath::Blocked { by };
            }
            _ => {}
        }
        if for_storage {
            if let Some(at) = full() {
                return WritePath::FullDisk { at };
            }
            if !busy {
                return WritePath::Stalled;
            }
        }
        match (&sight.held_up_by, &sight.probe) {
            (Some(by), _) if stands_still => WritePath::Blocked { by: by.clone() },
            (_, ProbeSight::Failed { code, text }) if !READ_ONLY.contains(code) => {
                WritePath::Unprobed { why: text.clone() }
            }
            _ => WritePath::Well,
        }
    }
}

/// Whether one of these has stood there for a while.
fn stands_in(since: &mut BTreeMap<u64, Moment>, now_there: &BTreeSet<u64>, now: Moment) -> bool {
    since.retain(|id, _| now_there.contains(id));
    for id in now_there {
        since.entry(*id).or_insert(now);
    }
    since.values().any(|since| now.since(*since) >= STANDS_STILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(seconds: u64) -> WriteSight {
        WriteSight { probe: ProbeSight::Waiting(Duration::from_secs(seconds)), ..WriteSight::default() }
    }

    fn committing(all: &[u64], inside: &[u64], held_up_by: Option<&str>) -> WriteSight {
        let (committing, inside) = (all.iter().copied().collect(), inside.iter().copied().collect());
        WriteSight { committing, inside, held_up_by: held_up_by.map(str::to_owned), ..WriteSight::default() }
    }

    fn blocked(by: Option<&str>) -> WritePath {
        WritePath::Blocked { by: by.unwrap_or_default().to_owned() }
    }

    fn judge(sight: &WriteSight) -> WritePath {
        WriteLooks::default().judge(sight, Moment::from_secs(9)).path
    }

    fn failed(code: u16) -> WriteSight {
        let probe = ProbeSight::Failed { code, text: format!("error {code}") };
        WriteSight { probe, ..WriteSight::default() }
    }

    #[test]
    fn a_write_that_waits_for_nothing_is_stalled_and_beside_a_full_disk_that_is_why() {
        assert_eq!(judge(&waits(1)), WritePath::Well, "a busy disk");
        assert_eq!(judge(&waits(2)), WritePath::Stalled);
        let full = WriteSight { full_disk: Some("/data".to_owned()), ..waits(2) };
        assert_eq!(judge(&full), WritePath::FullDisk { at: "/data".to_owned() });
        let room_gone = WriteSight { full_disk: Some("/data".to_owned()), ..WriteSight::default() };
        assert_eq!(judge(&room_gone), WritePath::Well, "nothing waits for it yet");
    }

    #[test]
    fn a_write_that_waits_behind_somebody_is_blocked_and_not_useless() {
        for full_disk in [None, Some("/data".to_owned())] {
            let held = WriteSight { held_up_by: Some("a backup".to_owned()), full_disk, ..waits(600) };
            let path = judge(&held);
            assert_eq!(path, WritePath::Blocked { by: "a backup".to_owned() });
            assert!(!path.is_useless());
        }
        assert!(!judge(&failed(1205)).is_useless(), "its own limit on waiting for a lock");
        assert!(judge(&waits(2)).is_useless());
    }

    #[test]
    fn a_server_that_waited_for_room_goes_on_waiting_when_there_is_some() {
        let full = WriteSight { full_disk: Some("/data".to_owned()), ..waits(9) };
        let mut looks = WriteLooks::default();
        let mut look = |sight: &WriteSight| looks.judge(sight, Moment::from_secs(9)).path;
        look(&full);
        assert_eq!(look(&waits(30)), WritePath::FullDisk { at: "/data".to_owned() });
        assert_eq!(look(&WriteSight::default()), WritePath::Well);
        assert_eq!(look(&waits(9)), WritePath::Stalled, "another time, for another reason");
    }

    #[test]
    fn a_large_commit_is_slow_and_not_stalled() {
        let large = WriteSight { written: Some(50_000_000), ..waits(30) };
        let mut looks = WriteLooks::default();
        assert_eq!(looks.judge(&large, Moment::from_secs(9)).path, WritePath::Well);
        let trickle = WriteSight { written: Some(4096), ..waits(31) };
        assert_eq!(looks.judge(&trickle, Moment::from_secs(10)).path, WritePath::Well, "a pause");
        assert_eq!(looks.judge(&trickle, Moment::from_secs(11)).path, WritePath::Stalled);
    }

    #[test]
    fn what_the_server_says_is_a_full_disk_a_missing_table_or_no_matter() {
        for code in FULL {
            assert!(matches!(judge(&failed(code)), WritePath::FullDisk { .. }), "{code}");
        }
        assert_eq!(judge(&failed(1146)), WritePath::Unprobed { why: "error 1146".to_owned() });
        assert_eq!(judge(&failed(1290)), WritePath::Well);
    }

    #[test]
    fn commits_of_others_tell_as_much_when_the_same_ones_stand_for_a_while() {
        let sight = |ids: &[u64]| committing(ids, ids, None);
        let mut looks = WriteLooks::default();
        let mut look = |second, ids: &[u64]| looks.judge(&sight(ids), Moment::from_secs(second)).path;
        assert_eq!(look(1, &[5, 6]), WritePath::Well);
        assert_eq!(look(2, &[6, 7]), WritePath::Well, "busy, and going on");
        assert_eq!(look(3, &[7, 8]), WritePath::Well);
        assert_eq!(look(4, &[7, 8]), WritePath::Stalled, "connection 7");
        assert_eq!(look(5, &[8, 9]), WritePath::Stalled, "connection 8");
        assert_eq!(look(6, &[9]), WritePath::Well);
    }

    #[test]
    fn commits_that_stand_past_a_lock_are_not_held_up_by_who_waits_for_them_to_end() {
        // The old writer is being closed when its storage stalls: closing waits for 5, and all that come later wait for that.
        let backup = Some("Waiting for backup lock");
        let mut looks = WriteLooks::default();
        let mut look = |second, sight: &WriteSight| looks.judge(sight, Moment::from_secs(second)).path;
        assert_eq!(look(1, &committing(&[5, 6], &[5], backup)), WritePath::Well);
        assert_eq!(look(2, &committing(&[5, 6], &[5], backup)), WritePath::Well);
        assert_eq!(look(3, &committing(&[5, 6], &[5], backup)), WritePath::Stalled);
        let large = WriteSight { written: Some(BUSY_BYTES), ..committing(&[5, 6], &[5], backup) };
        assert_eq!(look(4, &large), blocked(backup), "it waits behind a large commit");
    }

    #[test]
    fn commits_that_go_on_when_they_are_let_are_not_stalled_by_having_waited() {
        let ack = Some("Waiting for semi-sync ACK");
        let mut looks = WriteLooks::default();
        let mut look = |second, sight: &WriteSight| looks.judge(sight, Moment::from_secs(second)).path;
        let held = WriteSight { probe: waits(4).probe, ..committing(&[5, 6], &[], ack) };
        assert_eq!(look(1, &held), blocked(ack));
        assert_eq!(look(5, &held), blocked(ack));
        let let_go = WriteSight { probe: waits(4).probe, ..committing(&[5, 6], &[5, 6], None) };
        assert_eq!(look(6, &let_go), WritePath::Well);
        assert_eq!(look(7, &let_go), WritePath::Stalled, "they do not go on");
    }

    #[test]
    fn delays_are_rounded_up() {
        let ms = [0, 1, 10, 999, 1000, 1001].map(|ms| Delay::new(ms, true).ms);
        assert_eq!(ms, [0, 10, 10, 1000, 1000, 1100]);
    }

    #[test]
    fn connections_that_are_used_up_are_told_beside_the_rest() {
        let sight = WriteSight { connections: Some((151, 151)), ..waits(3) };
        let status = WriteLooks::default().judge(&sight, Moment::from_secs(9));
        assert_eq!(
            status,
            WriteStatus { path: WritePath::Stalled, connections_used_up: Some(151), delay: None }
        );
        let sight = WriteSight { connections: Some((150, 151)), ..WriteSight::default() };
        assert_eq!(WriteLooks::default().judge(&sight, Moment::from_secs(9)), WriteStatus::default());
    }
}
