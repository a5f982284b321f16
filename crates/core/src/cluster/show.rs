//! Answers that show how things are: `show`, `checks`, `mode`, as text word for word like 2.2.1 and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Cluster;
use crate::check::CheckKind;
use crate::message::ServerView;
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::state::Mode;

impl Cluster {
    /// Warnings that belong above the hosts, without the leading `# `.
    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .refused
            .keys()
            .map(|name| {
                format!("Warning: the agent on host {name} has another monitor: this one decides nothing. Stop one of them")
            })
            .collect();
        if let Some(trouble) = &self.keeper.trouble {
            warnings.push(format!(
                "Warning: the monitor's epoch file can't be written ({trouble}): nobody is promoted until it can be"
            ));
        }
        for (name, host) in &self.hosts {
            if host.agent.tried && !host.agent.connected {
                warnings.push(format!("Warning: agent on host {name} is not reachable"));
            }
            if host.agent.protocol1.is_some() {
                warnings.push(format!("Warning: agent on host {name} speaks protocol 1: not fenced"));
            }
            if self.is_open_without_role(name) {
                warnings.push(format!(
                    "Warning: host {name} takes writes though it is not the writer, and its agent speaks protocol 1: make its server read-only by hand"
                ));
            }
            if let Some(problem) = host.agent.status.problem.as_ref().filter(|_| host.agent.connected) {
                warnings.push(format!("Warning: host {name}: {problem}"));
            }
            if let Some(astray) = host.agent.status.astray.as_ref().filter(|_| host.agent.connected) {
                warnings.push(format!("Warning: host {name}: {}", astray.text));
            }
            if host.agent.connected && host.agent.status.server == ServerView::Refusing {
                warnings.push(format!(
                    "Warning: host {name}: its server lets the agent not in, so the agent can't open or close it for writes; see the agent's log and its account's grants"
                ));
            }
            for kind in CheckKind::ALL {
                if let Some(failed) = host.check(kind).mostly_failing() {
                    warnings.push(format!(
                        "Warning: host {name}: {failed} of the last 10 runs of check '{kind}' failed: it answers now and then, so it is neither lost nor well"
                    ));
                }
            }
            let reachable = host.good(CheckKind::Ping) && host.good(CheckKind::Mysql);
            if self.active_master() == Some(name) && !reachable && host.vouched() {
                warnings.push(format!(
                    "Warning: the checks of host {name} fail, but its agent says that the server is well: it stays the writer"
                ));
            }
            if host.only_logins_wait() {
                warnings.push(format!(
                    "Warning: the server of host {name} lets nobody new in, but answers its agent: it counts as well (does it wait for a name server? see skip_name_resolve)"
                ));
            }
            if host.flapping {
                warnings.push(format!(
                    "Warning: host {name} is flapping: it left ONLINE more than {} times within {} s, and comes back by \
                     'set_online {name}'",
                    self.settings.flap_count,
                    self.settings.flap_duration.as_secs()
                ));
            }
        }
        warnings.extend(self.semi_sync_warnings());
        warnings.extend(self.write_warnings());
        warnings.extend(self.salvage_warning());
        for name in &self.unfenced_losses {
            warnings.push(format!(
                "Warning: host {name} vanished as the writer, its agent spoke protocol 1, and no kill_host is configured: it was replaced as 2.2.1 did, and there are two writers if it lives. Make sure that it is off"
            ));
        }
        warnings.extend(self.hold_warnings());
        warnings.extend(self.rebuild_warnings());
        warnings.extend(self.errant_warnings());
        warnings
    }

    pub(super) fn show(&self) -> String {
        let mut text = String::new();
        if self.mode == Mode::Passive {
            text.push_str("# --- Monitor is in PASSIVE MODE ---\n");
            let mut lines = self.passive_cause.lines();
            let _ = writeln!(text, "# Cause: {}", lines.next().unwrap_or_default());
            for line in lines {
                let _ = writeln!(text, "# {line}");
            }
            if self.passive_cause.contains('\n') {
                text.push_str("# \n");
            }
        }
        for warning in self.warnings() {
            let _ = writeln!(text, "# {warning}");
        }
        for (name, host) in &self.hosts {
            let Some(settings) = self.settings.hosts.get(name) else { continue };
            let roles = Role::join(&self.roles_of(name), ", ");
            let mode = settings.mode.as_str();
            let _ = writeln!(text, "  {name}({}) {mode}/{}. Roles: {roles}", settings.ip, host.state);
        }
        for (name, role) in &self.settings.roles {
            let Some(prefer) = &role.prefer else { continue };
            let holder = self
                .slots
                .iter()
                .find(|(slot, _)| slot.name() == name)
                .and_then(|(_, slot)| slot.holder.as_ref());
            let _ = match holder {
                Some(holder) if holder == prefer => {
                    writeln!(text, "# Role {name} is assigned to it's preferred host {prefer}.")
                }
                Some(holder) => writeln!(
                    text,
                    "# Role {name} has {prefer} configured as it's preferred host but is assigned to {holder} at the moment."
                ),
                None => writeln!(text, "# Role {name} has {prefer} configured as it's preferred host."),
            };
        }
        text
    }

    pub(super) fn show_json(&self, now: Moment) -> Value {
        let hosts: Vec<Value> = self
            .hosts
            .iter()
            .filter_map(|(name, host)| {
                let settings = self.settings.hosts.get(name)?;
                let roles: Vec<Value> = self
                    .roles_of(name)
                    .iter()
                    .map(|role| json!({"name": role.name(), "ip": role.ip()}))
                    .collect();
                Some(json!({
                    "name": name,
                    "ip": settings.ip,
                    "mode": settings.mode.as_str(),
                    "state": host.state,
                    "roles": roles,
                    "agent_reachable": host.agent.connected,
                    "flapping": host.flapping,
                    "writes": self.writes_json(name),
                    "rebuild": self.rebuild_json(name),
                }))
            })
            .collect();
        json!({
            "mode": self.mode,
            "passive_cause": (self.mode == Mode::Passive).then_some(&self.passive_cause),
            "warnings": self.warnings(),
            "hosts": hosts,
            "writer": self.lease_json(now),
            "semi_sync": self.semi_sync_json(now),
        })
    }

    fn selected(&self, words: &[&str]) -> Result<(Vec<&HostName>, Vec<CheckKind>), String> {
        let hosts = match words.first() {
            None | Some(&"all") => self.hosts.keys().collect(),
            Some(name) => match self.hosts.get_key_value(*name) {
                Some((name, _)) => vec![name],
                None => return Err(format!("ERROR: Unknown host name '{name}'!")),
            },
        };
        let kinds = match words.get(1) {
            None | Some(&"all") => CheckKind::ALL.to_vec(),
            Some(word) => match CheckKind::ALL.into_iter().find(|kind| kind.as_str() == *word) {
                Some(kind) => vec![kind],
                None => return Err(format!("ERROR: Unknown check '{word}'!")),
            },
        };
        Ok((hosts, kinds))
    }

    pub(super) fn checks(&self, words: &[&str]) -> String {
        let (hosts, kinds) = match self.selected(words) {
            Ok(selected) => selected,
            Err(answer) => return answer,
        };
        // One host and one check stand alone: there is nothing to line up with.
        let single = matches!(words, [host, kind] if *host != "all" && *kind != "all");
        let (host_width, kind_width) = if single {
            (0, 0)
        } else {
            (self.hosts.keys().map(|name| name.as_str().len()).max().unwrap_or(0), 11)
        };
        let mut text = String::new();
        for name in hosts {
            for kind in &kinds {
                let Some(check) = self.hosts.get(name).map(|host| host.check(*kind)) else { continue };
                let _ = writeln!(
                    text,
                    "{name:<host_width$}  {kind:<kind_width$}  [last change: {}]  {}",
                    check.stamp(),
                    check.message()
                );
            }
            if !single && let Some(row) = self.write_check(name) {
                let _ = writeln!(text, "{row}");
            }
        }
        text
    }

    pub(super) fn checks_json(&self, words: &[&str]) -> Result<Value, String> {
        let (hosts, kinds) = self.selected(words)?;
        let rows: Vec<Value> = hosts
            .into_iter()
            .flat_map(|name| kinds.iter().map(move |kind| (name, *kind)))
            .filter_map(|(name, kind)| {
                let check = self.hosts.get(name)?.check(kind);
                Some(json!({
                    "host": name,
                    "check": kind,
                    "good": check.good(),
                    "last_change": check.stamp(),
                    "message": check.message(),
                }))
            })
            .collect();
        Ok(Value::Array(rows))
    }
}
