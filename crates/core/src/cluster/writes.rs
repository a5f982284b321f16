//! Servers that answer and take no writes, as the monitor follows them: shown always, acted on by `on_stalled_writes`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::moment::Moment;
use crate::names::HostName;
use crate::settings::OnStalledWrites;
use crate::write_path::{WritePath, WriteStatus};

/// The way of writes in words, where there is something to tell.
fn describe(path: &WritePath) -> Option<String> {
    Some(match path {
        WritePath::Well => return None,
        WritePath::Blocked { by } => {
            format!(
                "writes are blocked, and its server lives, so the role stays there. They wait behind: {by}"
            )
        }
        WritePath::FullDisk { at } => format!(
            "no write gets through: the disk is full ({at}); once there is room the server goes on within a minute"
        ),
        WritePath::Stalled => {
            "no write gets through: the storage of its server does not answer, though the server does"
                .to_owned()
        }
        WritePath::Unprobed { why } => {
            format!(
                "the agent can't write into its table mmm_heartbeat ({why}); `mmm_control doctor` tells what it needs"
            )
        }
    })
}

impl Cluster {
    /// What a host's agent says of writes, where that is to be believed now.
    fn writes_of(&self, name: &HostName) -> Option<&WriteStatus> {
        let agent = &self.hosts.get(name)?.agent;
        agent.status.writes.as_ref().filter(|_| agent.connected)
    }

    /// Since when no write gets through on a host, and why, where its agent says so.
    pub(super) fn useless(&self, name: &HostName) -> Option<(Moment, String)> {
        let since = self.hosts.get(name)?.agent.useless_since?;
        Some((since, describe(&self.writes_of(name)?.path)?))
    }

    /// Notes since when it has been as it is.
    pub(super) fn note_writes(&mut self, now: Moment, name: &HostName, actions: &mut Vec<Action>) {
        let policy = self.settings.on_stalled_writes;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let path = host.agent.status.writes.as_ref().map(|writes| writes.path.clone()).unwrap_or_default();
        let is_useless = path.is_useless();
        let was_useless = host.agent.useless_since.is_some();
        if !is_useless {
            host.agent.useless_since = None;
        } else if !was_useless {
            host.agent.useless_since = Some(now);
        }
        if host.agent.told_writes == path {
            return;
        }
        let before = std::mem::replace(&mut host.agent.told_writes, path.clone());
        let (level, text) = match describe(&path) {
            Some(what) if is_useless => {
                let then = match policy {
                    OnStalledWrites::Show => " (on_stalled_writes show: nothing is moved)",
                    OnStalledWrites::Move => "",
                };
                (LogLevel::Fatal, format!("Host '{name}': {what}{then}"))
            }
            Some(what) => (LogLevel::Warn, format!("Host '{name}': {what}")),
            None if before == WritePath::default() => return,
            None => (LogLevel::Info, format!("Host '{name}': writes get through again")),
        };
        actions.push(Action::log(level, text));
    }

    /// The writer's server takes no writes, has not for the trap period of the mysql check, and another host could do better: then it
    /// counts as one that does not answer.
    fn is_to_be_given_up(&self, now: Moment, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name) else { return false };
        let trap = self.settings.trap_of(CheckKind::Mysql);
        let long = host.agent.useless_since.is_some_and(|since| now.since(since) >= trap);
        let role = &self.settings.active_master_role;
        let well = |other: &HostName| {
            self.eligible(now, role, other)
                && !self.writes_of(other).is_some_and(|writes| writes.path.is_useless())
        };
        host.agent.connected
            && long
            && self.settings.candidates().iter().any(|other| other != name && well(other))
    }

    /// Gives up a writer that is useless, until it has given back what it holds: an agent that is to give the role back writes
    /// nothing any more, so it can't say either whether writes get through.
    pub(super) fn give_up_useless(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(name) = self.active_master().cloned() else { return };
        if self.settings.on_stalled_writes == OnStalledWrites::Show || self.is_given_up(&name) {
            return;
        }
        let Some(epoch) =
            self.running_record().filter(|record| record.host == name).map(|record| record.epoch)
        else {
            return;
        };
        if !self.is_to_be_given_up(now, &name) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&name) else { return };
        host.given_up = Some(epoch);
        let seconds = host.agent.useless_since.map(|since| now.since(since).as_secs()).unwrap_or_default();
        let text = format!(
            "Host '{name}' has taken no writes for {seconds} s: its roles go to another host (on_stalled_writes move)"
        );
        actions.push(Action::log(LogLevel::Fatal, text));
    }

    /// Whether the lease that this host has was given up because its server is useless.
    pub(super) fn is_given_up(&self, name: &HostName) -> bool {
        let epoch = self.running_record().filter(|record| record.host == *name).map(|record| record.epoch);
        epoch.is_some() && self.hosts.get(name).is_some_and(|host| host.given_up == epoch)
    }

    pub(super) fn write_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for name in self.hosts.keys() {
            let Some(writes) = self.writes_of(name) else { continue };
            // Told in more detail by semi-synchronous replication itself.
            let told =
                self.hanging_commits(name).is_some() && matches!(writes.path, WritePath::Blocked { .. });
            if let Some(what) = describe(&writes.path).filter(|_| !told) {
                warnings.push(format!("Warning: host {name}: {what}"));
            }
            if let Some(most) = writes.connections_used_up {
                warnings.push(format!(
                    "Warning: host {name}: all {most} connections of its server are used up: clients are refused (error 1040), the server lives and the role stays there. See max_connections"
                ));
            }
        }
        warnings
    }

    /// For `show --long`: since when, and how far the others are behind.
    pub(super) fn describe_writes(&self, now: Moment, text: &mut String) {
        for name in self.hosts.keys().filter(|name| self.active_master() != Some(*name)) {
            let Some(delay) = self.writes_of(name).and_then(|writes| writes.delay) else { continue };
            let but = if delay.compared { "" } else { ", if both clocks agree: they could not be compared" };
            let _ = writeln!(text, "# {name} is {} ms behind the writer by its heartbeat{but}.", delay.ms);
        }
        for (name, host) in &self.hosts {
            let Some(since) = host.agent.useless_since.filter(|_| host.agent.connected) else { continue };
            let then = match self.settings.on_stalled_writes {
                OnStalledWrites::Show => "on_stalled_writes show: the role stays".to_owned(),
                OnStalledWrites::Move => format!(
                    "on_stalled_writes move: the writer role leaves it after {} s, if another host is well",
                    self.settings.trap_of(CheckKind::Mysql).as_secs()
                ),
            };
            let _ =
                writeln!(text, "# {name} has taken no writes for {} s; {then}.", now.since(since).as_secs());
        }
    }

    /// Rows of `checks`, only where there is something to tell, so that the others stay as they were.
    pub(super) fn write_check(&self, name: &HostName) -> Option<String> {
        let what = describe(&self.writes_of(name)?.path)?;
        Some(format!("{name}  write_path  ERROR: {what}"))
    }

    pub(super) fn writes_json(&self, name: &HostName) -> Value {
        let Some(writes) = self.writes_of(name) else { return Value::Null };
        json!({
            "path": writes.path,
            "connections_used_up": writes.connections_used_up,
            "delay_ms": writes.delay.map(|delay| delay.ms),
            "clocks_compared": writes.delay.map(|delay| delay.compared),
        })
    }
}
