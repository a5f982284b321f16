//! The operator's words about a host with transactions that nobody else has: `diverged` lists them, `rejoin` says what can be
//! done, and does it.

use std::fmt::Write as _;

use super::command::unknown_host;
use super::holds::Held;
use super::{Action, Cluster};
use crate::diverged::Saved;
use crate::names::HostName;

impl Cluster {
    /// `diverged` and `diverged HOST`.
    pub(super) fn diverged(&self, name: Option<&str>) -> String {
        if let Some(name) = name {
            if !self.hosts.contains_key(name) {
                return unknown_host(name);
            }
            return self.diverged_host(&name.into()).unwrap_or_else(|| {
                format!("OK: Host '{name}' is not known to have transactions of its own.")
            });
        }
        let told: Vec<String> = self.hosts.keys().filter_map(|name| self.diverged_host(name)).collect();
        if told.is_empty() {
            return "OK: No host is known to have transactions that nobody else has.".to_owned();
        }
        told.join("\n")
    }

    fn diverged_host(&self, name: &HostName) -> Option<String> {
        if let Some(surplus) = self.errant_of(name) {
            let (counted, names) = (surplus.counted(), surplus.transactions);
            return Some(format!(
                "Host {name} has {counted} that the writer never had: {names}\nThey are in its own binary log.\n"
            ));
        }
        let surplus = self.held_surplus(name)?;
        let mut text = format!(
            "Host {name} has {} nobody else has: {}\n",
            self.counted_surplus(name)?,
            surplus.transactions
        );
        let unacknowledged = self.unacknowledged(name).trim_start();
        if !unacknowledged.is_empty() {
            let _ = writeln!(text, "{unacknowledged}");
        }
        match self.saved_of(name) {
            Some(saved) => list(name, saved, &mut text),
            None if self.hosts.get(name).is_some_and(|host| host.agent.connected) => {
                let _ = writeln!(text, "They are not saved yet.");
            }
            None => {
                let _ = writeln!(text, "They are not saved: the agent on {name} is not reachable.");
            }
        }
        Some(text)
    }

    /// What the agent of a host has saved, if it is an answer to what it was asked last.
    fn saved_of(&self, name: &HostName) -> Option<&Saved> {
        let surplus = self.held_surplus(name)?;
        let saved = self.hosts.get(name)?.agent.status.saved.as_deref()?;
        (saved.of == surplus.transactions.to_string()).then_some(saved)
    }

    /// How many transactions nobody else has: as counted in the log where that was done, else as far as can be told from outside.
    pub(super) fn counted_surplus(&self, name: &HostName) -> Option<String> {
        let surplus = self.held_surplus(name)?;
        Some(match self.saved_of(name).filter(|saved| saved.problem.is_none()) {
            Some(saved) if saved.count == 1 => "1 transaction".to_owned(),
            Some(saved) => format!("{} transactions", saved.count),
            None => surplus.counted(),
        })
    }

    /// `rejoin HOST`.
    pub(super) fn rejoin(&self, name: &str) -> String {
        let Some(host) = self.hosts.get(name) else { return unknown_host(name) };
        let name = HostName::from(name);
        let writer = self.active_master().map_or("nobody", HostName::as_str);
        if self.is_doubtful(&name) {
            return format!(
                "OK: Nobody knows whether the data of '{name}' are whole. Nothing was changed. See `mmm_control show` for why, and `mmm_control rejoin --clone {name}` gets all its data anew from '{writer}'."
            );
        }
        if self.is_rebuilding(&name) {
            return format!("OK: '{name}' is being rebuilt. See `mmm_control show` for how far it is.");
        }
        match (self.held_of(&name), self.counted_surplus(&name)) {
            (Some(Held::Merging { .. }), Some(counted)) => {
                format!(
                    "OK: '{writer}' is receiving the {counted} that only '{name}' has. Please, wait some time."
                )
            }
            (Some(_), Some(counted)) => format!(
                "OK: '{name}' has {counted} nobody else has, and replication from it is held. Nothing was changed. You can:\n  \
                 mmm_control diverged {name}          see which, and where they are saved\n  \
                 mmm_control rejoin --merge {name}    let '{writer}' receive exactly those; the first that is in conflict with its data stops it\n  \
                 mmm_control rejoin --clone {name}    throw all data of '{name}' away and get them anew from '{writer}'; what only '{name}' has stays in the saved files"
            ),
            (Some(Held::Unreadable), None) => format!(
                "OK: What '{name}' and '{writer}' have can't be compared (see the monitor's log). Nothing was changed. Rebuild '{name}' from '{writer}'."
            ),
            (Some(_), None) => format!(
                "OK: '{name}' was lost as the writer and joins by itself as soon as it was compared with '{writer}'. Nothing was changed."
            ),
            (None, _) if self.errant_of(&name).is_some() => format!(
                "OK: '{name}' has transactions that the writer never had (see `mmm_control diverged {name}`) and goes on as it is, but becomes the writer only when no other host can. Nothing was changed. Carry over what is needed, `mmm_control set_offline {name}`, and `mmm_control rejoin --clone {name}` gets all its data anew from '{writer}'."
            ),
            (None, _) => {
                format!(
                    "OK: Nothing keeps '{name}' ({}) from joining but its own checks. Nothing was changed.",
                    host.state
                )
            }
        }
    }

    /// `rejoin --merge HOST`.
    pub(super) fn rejoin_by_merge(&mut self, name: &str, actions: &mut Vec<Action>) -> String {
        let Some(host) = self.hosts.get(name) else { return unknown_host(name) };
        let connected = host.agent.connected;
        let name = HostName::from(name);
        let role = self.writer_role().cloned();
        if self.is_rebuilding(&name) {
            return format!(
                "ERROR: The data of '{name}' are being replaced, or nobody knows whether they are whole: nothing of them can be merged. See `mmm_control show`."
            );
        }
        match (self.held_of(&name), role) {
            (Some(Held::Merging { .. }), _) => {
                format!("OK: The new writer receives what only '{name}' has already. Please, wait some time.")
            }
            (Some(Held::Diverged(_)), Some(role)) if connected => {
                self.begin_merge(&role, &name, "rejoin --merge", actions);
                format!(
                    "OK: The new writer receives what only '{name}' has. Now you can wait some time and check `mmm_control show`!"
                )
            }
            (Some(Held::Diverged(_)), _) => {
                format!("ERROR: Can't reach agent daemon on '{name}'! Nothing was changed.")
            }
            _ => format!("ERROR: Host '{name}' has nothing that could be merged. Nothing was changed."),
        }
    }
}

fn list(name: &HostName, saved: &Saved, text: &mut String) {
    for transaction in &saved.listed {
        let _ = writeln!(text, "  {}  {}  {} bytes", transaction.name, transaction.what, transaction.bytes);
    }
    let more = saved.count.saturating_sub(saved.listed.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    for file in &saved.files {
        let _ = writeln!(text, "Saved on {name}: {file}");
    }
    if let Some(problem) = &saved.problem {
        let _ = writeln!(text, "Warning: {problem}");
    }
}
