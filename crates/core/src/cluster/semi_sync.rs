//! Semi-synchronous replication as the monitor follows it: who acknowledges what the writer commits, and whether anybody does.
//!
//! Commits that hang are told and shown, and never a reason to call a server dead.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Action, Cluster, LogLevel};
use crate::moment::Moment;
use crate::names::HostName;
use crate::semi_sync::{SemiSync, SemiSyncSource};
use crate::settings::SemiSyncMode;

/// What was last told of the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SemiSyncTold {
    writer: Option<HostName>,
    waits: Option<bool>,
    hangs: bool,
}

impl Cluster {
    /// What a host's agent says of it, where that is to be believed now.
    pub(super) fn semi_sync_of(&self, name: &HostName) -> Option<&SemiSync> {
        let agent = &self.hosts.get(name)?.agent;
        let heard = agent.connected && agent.status.server.is_up();
        agent.status.semi_sync.as_ref().filter(|known| heard && !known.outdated)
    }

    pub(super) fn semi_sync_source_of(&self, name: &HostName) -> Option<&SemiSyncSource> {
        self.semi_sync_of(name)?.source.as_ref()
    }

    /// Hosts that acknowledge what this one commits.
    pub(super) fn acknowledging(&self, writer: &HostName) -> Vec<&HostName> {
        let Some(ip) = self.settings.hosts.get(writer).map(|host| host.ip) else { return Vec::new() };
        let acknowledges = |name: &HostName| {
            self.semi_sync_of(name).is_some_and(|known| known.acknowledges)
                && self.hosts.get(name).is_some_and(|host| host.agent.status.source_ip == Some(ip))
        };
        self.hosts.keys().filter(|name| *name != writer && acknowledges(name)).collect()
    }

    /// Why nothing that needs read-only can be done on this host, while its commits hang.
    pub(super) fn hanging_commits(&self, name: &HostName) -> Option<String> {
        let hanging = self.semi_sync_source_of(name)?.hanging?;
        Some(format!(
            "since {} commits on '{name}' hang: they wait for the acknowledgement of another host (semi-synchronous replication), and its server can't become read-only before they end. Mend the replication of the hosts that acknowledge, and say it again",
            hanging.commits
        ))
    }

    /// Tells when the writer falls back to asynchronous replication, when it waits again, and when its commits hang.
    pub(super) fn watch_semi_sync(&mut self, actions: &mut Vec<Action>) {
        if self.settings.semi_sync == SemiSyncMode::Off {
            return;
        }
        let writer = self.active_master().cloned();
        if self.semi_sync_told.writer != writer {
            self.semi_sync_told = SemiSyncTold { writer: writer.clone(), ..SemiSyncTold::default() };
        }
        let Some(writer) = writer else { return };
        // What is not known now is told neither as good nor as bad.
        let Some(known) = self.semi_sync_of(&writer) else { return };
        let waits = known.source.as_ref().map(|source| source.fallen_back.is_none());
        let hanging = known.source.as_ref().and_then(|source| source.hanging);
        let timeout = known.source.as_ref().map_or(0, |source| source.timeout_ms);
        let who = self.names_of_acknowledging(&writer);
        let told = &self.semi_sync_told;
        let news = match (told.waits, waits) {
            (None, Some(true)) => Some((
                LogLevel::Info,
                format!(
                    "Commits on '{writer}' wait for an acknowledgement (semi-synchronous replication); acknowledging: {who}"
                ),
            )),
            (None | Some(true), Some(false)) => Some((
                LogLevel::Fatal,
                format!(
                    "Semi-synchronous replication on '{writer}' has fallen back to asynchronous: commits are acknowledged to clients while perhaps no other host has them (nobody acknowledged within {timeout} ms; acknowledging now: {who})"
                ),
            )),
            (Some(false), Some(true)) => Some((
                LogLevel::Warn,
                format!(
                    "Semi-synchronous replication on '{writer}' is back: commits wait for an acknowledgement again; acknowledging: {who}"
                ),
            )),
            (Some(_), None) => Some((
                LogLevel::Warn,
                format!(
                    "Semi-synchronous replication was switched off on '{writer}': commits wait for no other host"
                ),
            )),
            _ => None,
        };
        let hangs = match (told.hangs, hanging) {
            (false, Some(hanging)) => Some((
                LogLevel::Fatal,
                format!(
                    "Commits on '{writer}' hang: {} wait for the acknowledgement of another host (for {timeout} ms at most; acknowledging: {who}). Its server lives, so the role stays there",
                    hanging.commits
                ),
            )),
            (true, None) => Some((LogLevel::Warn, format!("Commits on '{writer}' go on"))),
            _ => None,
        };
        self.semi_sync_told.waits = waits;
        self.semi_sync_told.hangs = hanging.is_some();
        actions.extend(news.into_iter().chain(hangs).map(|(level, text)| Action::log(level, text)));
    }

    fn names_of_acknowledging(&self, writer: &HostName) -> String {
        let names: Vec<&str> = self.acknowledging(writer).into_iter().map(HostName::as_str).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }

    /// Whether a commit on the writer comes back, `waited` after it was opened: where it waits for nobody, where enough hosts say that
    /// they acknowledge, and in any case when its own patience is over.
    pub(super) fn commits_return(&self, writer: &HostName, waited: Duration) -> bool {
        let known = self.semi_sync_source_of(writer).filter(|_| self.settings.semi_sync != SemiSyncMode::Off);
        let Some(source) = known.filter(|source| source.fallen_back.is_none()) else { return true };
        // Its own count may have connections in it whose other end is dead.
        let acknowledged = self.acknowledging(writer).len() >= source.wanted as usize;
        let at_once = !source.waits_for_absent && source.clients < source.wanted;
        let is_over = waited >= Duration::from_millis(source.timeout_ms);
        (acknowledged || at_once || is_over) && source.hanging.is_none()
    }

    /// Since when no commit on this host has come back, as its agent said last.
    pub(super) fn hangs_since(&self, now: Moment, name: &HostName) -> Option<Moment> {
        let known = self.hosts.get(name)?.agent.status.semi_sync.as_ref()?;
        let hanging = known.source.as_ref()?.hanging?;
        Some(Moment::ZERO + now.since_zero().saturating_sub(self.age(now, name, hanging.since)))
    }

    /// How long ago something was by a moment of an agent's clock.
    fn age(&self, now: Moment, name: &HostName, at: Moment) -> Duration {
        let Some(agent) = self.hosts.get(name).map(|host| &host.agent) else { return Duration::ZERO };
        agent.status.uptime.saturating_sub(at.since_zero()) + now.since(agent.status_at)
    }

    pub(super) fn semi_sync_warnings(&self) -> Vec<String> {
        if self.settings.semi_sync == SemiSyncMode::Off {
            return Vec::new();
        }
        let Some(writer) = self.active_master() else { return Vec::new() };
        let Some(source) = self.semi_sync_source_of(writer) else { return Vec::new() };
        let mut warnings = Vec::new();
        if source.fallen_back.is_some() {
            warnings.push(format!(
                "Warning: host {writer}: semi-synchronous replication has fallen back to asynchronous: what it acknowledges to clients now may be on no other host"
            ));
        }
        if let Some(hanging) = source.hanging {
            warnings.push(format!(
                "Warning: host {writer} is blocked: {} commits wait for the acknowledgement of another host; the server lives, and the role stays there",
                hanging.commits
            ));
        }
        warnings
    }

    /// For `show --long`.
    pub(super) fn describe_semi_sync(&self, now: Moment, text: &mut String) {
        let Some(writer) = self.active_master() else { return };
        let Some(source) = self.semi_sync_source_of(writer) else { return };
        let who = self.names_of_acknowledging(writer);
        let state = match source.fallen_back {
            None => format!("commits wait for {} acknowledgement(s)", source.wanted),
            Some(at) => format!("fallen back to asynchronous {} s ago", self.age(now, writer, at).as_secs()),
        };
        let point = if source.after_sync { "AFTER_SYNC" } else { "AFTER_COMMIT" };
        let _ = writeln!(
            text,
            "# Semi-sync on {writer}: {state}; acknowledging: {who}; {} connected; timeout {} ms; {point}.",
            source.clients, source.timeout_ms
        );
        if let Some(hanging) = source.hanging {
            let age = self.age(now, writer, hanging.since).as_secs();
            let _ = writeln!(
                text,
                "# {writer} is blocked: {} commits have been waiting for an acknowledgement for {age} s.",
                hanging.commits
            );
        }
    }

    pub(super) fn semi_sync_json(&self, now: Moment) -> Value {
        let Some(writer) = self.active_master() else { return Value::Null };
        let Some(source) = self.semi_sync_source_of(writer) else { return Value::Null };
        let age = |at| self.age(now, writer, at).as_secs_f64();
        json!({
            "writer": writer,
            "waits": source.fallen_back.is_none(),
            "fallen_back_for_seconds": source.fallen_back.map(age),
            "acknowledging": self.acknowledging(writer),
            "clients": source.clients,
            "wanted": source.wanted,
            "timeout_ms": source.timeout_ms,
            "wait_point": if source.after_sync { "AFTER_SYNC" } else { "AFTER_COMMIT" },
            "waits_for_absent": source.waits_for_absent,
            "hanging_commits": source.hanging.map_or(0, |hanging| hanging.commits),
            "hanging_for_seconds": source.hanging.map(|hanging| age(hanging.since)),
        })
    }
}
