//! In one sentence, where the writer role is or what it waits for.

use super::evidence::describe_unproven;
use super::{Waiting, join};
use crate::cluster::Cluster;
use crate::lease::Obstacle;
use crate::moment::Moment;
use crate::names::HostName;

impl Cluster {
    /// In one sentence, where the writer role is or what it waits for.
    pub(in crate::cluster) fn why(&self, now: Moment) -> String {
        if let Some((host, lost, why)) = self.nobody_proven(now) {
            return describe_unproven(&host, &lost, &why);
        }
        let holder = self.active_master();
        if let Some(slot) = self.writer_role().and_then(|role| self.slots.get(role))
            && let (Some(holder), Some(promotion)) = (holder, &slot.grant)
        {
            let granted = self
                .running_record()
                .is_some_and(|record| record.host == *holder && record.epoch == promotion.epoch);
            if granted {
                return format!("{holder} holds it with epoch {}", promotion.epoch);
            }
            return match self.lease_status(holder).and_then(|lease| lease.refusal.as_ref()) {
                Some((_, refusal)) => format!("{holder} was chosen and refuses: {refusal}"),
                None => format!("{holder} was promoted with epoch {} and is taking it", promotion.epoch),
            };
        }
        let host = match holder {
            Some(holder) => holder.clone(),
            None => match self.first_able(now) {
                Some(host) => host,
                None => return self.why_nobody(now),
            },
        };
        match self.writer_proof(now, &host) {
            Ok(_) => format!("{host} is about to be promoted"),
            Err(Waiting::Disk(trouble)) => {
                format!("nobody can be promoted: the monitor's epoch file can't be written ({trouble})")
            }
            Err(Waiting::StillServes(other)) => {
                format!("waiting for {other} to give up the address and its writes")
            }
            Err(Waiting::StateLost { why, unheard }) => format!(
                "nobody can be promoted ({why}): waiting for the report of {}, or confirm_dead",
                join(&unheard.iter().collect::<Vec<_>>())
            ),
            Err(Waiting::Unproven { lost, why }) => describe_unproven(&host, &lost, &why),
            Err(Waiting::Lease(Obstacle::StillRuns { holder, rest })) => {
                format!("waiting {:.1} s for the lease of {holder}", rest.as_secs_f32())
            }
            Err(Waiting::Lease(Obstacle::NotListed { holder })) => format!(
                "{holder} vanished before it knew that {host} could replace it: needs its return, kill_host, or confirm_dead"
            ),
            Err(Waiting::Lease(Obstacle::EmptyList { holder })) => {
                if self.hosts.get(&holder).is_some_and(|host| host.agent.connected) {
                    format!("waiting for {holder} to give it back")
                } else {
                    format!(
                        "{holder} vanished while nobody could replace it: needs its return, kill_host, or confirm_dead"
                    )
                }
            }
        }
    }

    pub(in crate::cluster) fn first_able(&self, now: Moment) -> Option<HostName> {
        let writer = &self.settings.active_master_role;
        self.settings.candidates().iter().find(|host| self.eligible(now, writer, host)).cloned()
    }

    pub(in crate::cluster) fn why_nobody(&self, now: Moment) -> String {
        match self.running_record() {
            Some(record) if self.promise_runs(now) => format!(
                "{} holds it with epoch {}, by the promise of {}",
                record.host,
                record.epoch,
                join(&self.promisers(now))
            ),
            Some(record) if self.hosts.get(&record.host).is_some_and(|host| !host.agent.connected) => {
                format!(
                    "{} vanished with epoch {}, and no host could take its place: needs a candidate that is ONLINE, its return, kill_host, or confirm_dead",
                    record.host, record.epoch
                )
            }
            Some(_) | None => {
                "no host that could take it is ONLINE with a running agent and server".to_owned()
            }
        }
    }
}
