//! How long nobody took writes: what is known of its beginning, and what is not.

use super::{Cause, StepKind};
use crate::cluster::Cluster;
use crate::lease::Proof;
use crate::moment::Moment;
use crate::names::HostName;
use crate::write_path::STANDS_STILL;

/// Later word of when the server closed says nothing of when it last took a write.
const STOOD_STILL: &str = "its agent saw no write get through from then on";
/// Nor of when clients last heard of a commit.
const HUNG: &str = "no commit on it came back from then on (semi-synchronous replication)";

impl Cluster {
    /// Who was heard, and whether that shows the holder taking writes.
    pub(super) fn note_signs(&mut self, now: Moment, cause: &Cause) {
        let (name, spoke) = match cause {
            Cause::Agent(name) => (name, true),
            Cause::Renewed(name) => (name, false),
            _ => return,
        };
        if spoke {
            self.ledger.heard.insert(name.clone(), now);
        }
        if self.is_serving(name) {
            self.ledger.sign = Some((name.clone(), now));
        }
    }

    /// Whether a host, heard of just now, takes writes at the writer's address by a grant of ours.
    pub(in crate::cluster) fn is_serving(&self, name: &HostName) -> bool {
        let Some((role, slot)) = self.writer_role().and_then(|role| self.slots.get_key_value(role)) else {
            return false;
        };
        let Some(host) = self.hosts.get(name) else { return false };
        let status = &host.agent.status;
        let granted = slot.holder.as_ref() == Some(name) && slot.grant.is_some();
        granted && host.agent.connected && status.server.is_writable() && status.held.contains(role)
    }

    /// Whether nothing was missed of this host since it was last known to take writes.
    fn was_heard_throughout(&self, name: &HostName) -> bool {
        let since = self.ledger.sign.as_ref().filter(|(host, _)| host == name).map(|(_, at)| *at);
        self.hosts.get(name).is_some_and(|host| {
            host.agent.connected && since.is_some_and(|since| host.agent.lost_at <= since)
        })
    }

    /// The gap of a record that begins now.
    pub(super) fn begin_gap(&mut self, now: Moment) {
        let sign = self.ledger.sign.clone();
        let from = self.ledger.open.as_ref().and_then(|page| page.record.from.clone());
        let useless = from.as_ref().and_then(|from| self.useless(from)).map(|(since, _)| since);
        let hangs = from.as_ref().and_then(|from| self.hangs_since(now, from));
        let Some(page) = &mut self.ledger.open else { return };
        if let Some(since) = hangs {
            page.record.gap.from_ms = Some(page.at(since));
            HUNG.clone_into(&mut page.record.gap.from_by);
            return;
        }
        if let Some(since) = useless {
            // It is noticed once it has lasted for so long.
            page.record.gap.from_ms =
                Some(page.at(since) - i64::try_from(STANDS_STILL.as_millis()).unwrap_or_default());
            STOOD_STILL.clone_into(&mut page.record.gap.from_by);
            return;
        }
        match sign.filter(|(host, _)| Some(host) == from.as_ref()) {
            Some((_, at)) => {
                page.record.gap.from_ms = Some(page.at(at));
                "the last time it was heard to take writes".clone_into(&mut page.record.gap.from_by);
            }
            None => {
                "this monitor had not seen anybody take writes".clone_into(&mut page.record.gap.from_by);
            }
        }
    }

    /// The old writer takes no writes any more, as its agent says.
    pub(super) fn close_gap_start(&mut self, at: Moment, name: &HostName) {
        let throughout = self.was_heard_throughout(name);
        let Some(page) = &mut self.ledger.open else { return };
        let at_ms = page.at(at);
        let gap = &mut page.record.gap;
        if throughout && ![STOOD_STILL, HUNG].contains(&gap.from_by.as_str()) {
            gap.from_ms = Some(at_ms);
            gap.possible_until_ms = Some(at_ms);
            "its agent said when it ended".clone_into(&mut gap.from_by);
        } else if gap.possible_until_ms.is_none() {
            gap.possible_until_ms = Some(at_ms);
        }
    }

    /// Nobody but the new writer can take writes from here on: until when the old one could have.
    pub(super) fn bound_gap_start(&mut self, now: Moment, proof: Proof) {
        let ends = self.keeper.book.ends();
        let Some(page) = &mut self.ledger.open else { return };
        if page.record.gap.possible_until_ms.is_some() {
            return;
        }
        let released = page.record.steps.iter().find(|step| step.step == StepKind::Released);
        page.record.gap.possible_until_ms = match proof {
            Proof::RanOut(_) => Some(page.at(ends.filter(|ends| *ends <= now).unwrap_or(now))),
            Proof::Ended(..) => released.map(|step| step.at_ms),
            Proof::Nobody | Proof::Own => None,
        };
    }
}
