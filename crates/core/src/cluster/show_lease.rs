//! The writer's lease as `show --long` and `--json show` tell it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Cluster;
use crate::lease::Listed;
use crate::moment::Moment;

impl Cluster {
    /// `show`, and below it the lease and why the role is where it is.
    pub(super) fn show_long(&self, now: Moment) -> String {
        let mut text = self.show();
        let role = &self.settings.active_master_role;
        let _ = writeln!(text, "# Role {role}: {}.", self.why(now));
        if let Some(record) = self.record() {
            let state = match (record.ended, self.keeper.book.ends()) {
                (Some(ended), _) => format!("ended ({})", ended.as_str()),
                (None, None) => "does not run out: nobody could take over".to_owned(),
                (None, Some(ends)) => format!("runs for {:.1} s", ends.since(now).as_secs_f32()),
            };
            let _ = writeln!(text, "# Lease: epoch {} of {}, {state}.", record.epoch, record.host);
            if !record.list.is_empty() && record.ended.is_none() {
                let list: Vec<String> = record
                    .list
                    .iter()
                    .map(|(name, listed)| match listed {
                        Listed::Joined => name.to_string(),
                        Listed::Named(_) | Listed::NamedBefore => format!("{name} (not confirmed yet)"),
                    })
                    .collect();
                let _ = writeln!(
                    text,
                    "# Could take over: {}. Without the monitor the writer depends on the promise of each.",
                    list.join(", ")
                );
            }
        }
        self.describe_semi_sync(now, &mut text);
        self.describe_writes(now, &mut text);
        for name in self.promisers(now) {
            let _ = writeln!(text, "# {name} vouches for the writer by a promise.");
        }
        for (name, host) in &self.hosts {
            let lease = &host.agent.status.lease;
            let said = if host.agent.connected { "" } else { ", as it said last" };
            let held = match &lease.held {
                Some(held) if held.by_promise => format!("holds epoch {} by promises", held.epoch),
                Some(held) => format!("holds epoch {}", held.epoch),
                None => "holds nothing".to_owned(),
            };
            let _ = writeln!(
                text,
                "# {name}: {held}; accepted {}, gave back {}{said}.",
                lease.accepted, lease.released
            );
        }
        text
    }

    pub(super) fn lease_json(&self, now: Moment) -> Value {
        let lease = self.record().map(|record| {
            let list: Vec<Value> = record
                .list
                .iter()
                .map(|(name, listed)| json!({"host": name, "confirmed": *listed == Listed::Joined}))
                .collect();
            json!({
                "holder": record.host,
                "epoch": record.epoch.number,
                "ended": record.ended.map(crate::lease::Ended::as_str),
                "runs_out_in_seconds": self.keeper.book.ends().map(|ends| ends.since(now).as_secs_f64()),
                "could_take_over": list,
                "vouched_by": self.promisers(now),
            })
        });
        let hosts: serde_json::Map<String, Value> = self
            .hosts
            .iter()
            .map(|(name, host)| {
                let lease = &host.agent.status.lease;
                let value = json!({
                    "accepted": lease.accepted.number,
                    "given_back": lease.released.number,
                    "holds": lease.held.as_ref().map(|held| held.epoch.number),
                    "by_promise": lease.held.as_ref().is_some_and(|held| held.by_promise),
                });
                (name.to_string(), value)
            })
            .collect();
        json!({"on": self.active_master(), "why": self.why(now), "lease": lease, "hosts": hosts})
    }
}
