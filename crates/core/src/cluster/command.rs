//! The operator's commands, answered word for word like 2.2.1 where 2.2.1 had an answer.

use serde_json::json;

use super::moves::Purpose;
use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::moment::Moment;
use crate::names::{HostName, RoleName};
use crate::state::{HostState, Mode};

const HELP: &str = "\
Valid commands are:
    help                              - show this message
    ping                              - ping monitor
    show                              - show status
    checks [<host>|all [<check>|all]] - show checks status
    set_online <host>                 - set host <host> online
    set_offline <host>                - set host <host> offline
    mode                              - print current mode.
    set_active                        - switch into active mode.
    set_manual                        - switch into manual mode.
    set_passive                       - switch into passive mode.
    move_role [--force] <role> <host> - move exclusive role <role> to host <host>
                                        (Only use --force if you know what you are doing!)
    set_ip <ip> <host>                - set role with ip <ip> to host <host>
";

/// Commands of 3.x, below 2.2.1's block.
const HELP_OF_3: &str = "
New in MMM 3:
    watch                             - show status again each second
    show --long                       - with the writer's lease, and why the role is where it is
    confirm_dead <host>               - your word that host <host> is off: another may take its role
    confirm_loss <host>               - your word that what only host <host> has may be lost
    set_offline --force <host>        - also when nobody can take over the writer role
    diverged [<host>]                 - list transactions that only host <host> has
    rejoin [--merge|--clone] <host>   - what host <host> needs to join again; --merge: give the writer what
                                        only <host> has; --clone: give <host> all data anew from the writer
    doctor [<host>|all]               - look for what would go wrong in a bad night
    explain [<role>]                  - what holds the role, what if its holder failed now, what forbids what
    history [all]                     - failovers and moves, the newest first
    history last|<number>             - one of them from its trigger to its end
    plan move_role <role> <host>      - what a move would do and wait for; nothing is done
    --json show|checks|mode|history|explain|plan
                                      - the same as JSON
";

const UNREACHABLE: &str = "Can't switch its state!";

impl Cluster {
    pub(super) fn obey(&mut self, now: Moment, client: u64, line: &str, actions: &mut Vec<Action>) {
        // Trailing white space is tolerated, leading white space makes another command, as in 2.2.1.
        let words: Vec<&str> = if line.starts_with(char::is_whitespace) {
            Vec::new()
        } else {
            line.split_whitespace().collect()
        };
        let invalid = || format!("Invalid command '{line}'\n\n{HELP}");
        let answer = match words.as_slice() {
            ["help"] => format!("{HELP}{HELP_OF_3}"),
            ["ping"] => "OK: Pinged successfully!".to_owned(),
            ["show"] => self.show(),
            ["show", "--long"] => self.show_long(now),
            ["--json", "show"] => self.show_json(now).to_string(),
            ["checks", rest @ ..] if rest.len() <= 2 => self.checks(rest),
            ["--json", "checks", rest @ ..] if rest.len() <= 2 => {
                self.checks_json(rest).map_or_else(|error| error, |value| value.to_string())
            }
            ["mode"] => self.mode.to_string(),
            ["--json", "mode"] => json!({"mode": self.mode}).to_string(),
            ["explain"] => self.explain(now, None),
            ["explain", role] => self.explain(now, Some(role)),
            ["--json", "explain"] => self.explain_json(now, None),
            ["--json", "explain", role] => self.explain_json(now, Some(role)),
            ["set_active"] => self.switch_mode(Mode::Active, actions),
            ["set_manual"] => self.switch_mode(Mode::Manual, actions),
            ["set_passive"] => self.switch_mode(Mode::Passive, actions),
            [
                "set_online" | "set_offline" | "move_role" | "set_ip" | "confirm_dead" | "confirm_loss"
                | "rejoin" | "plan",
                ..,
            ]
            | ["--json", "plan", ..]
                if !self.has_started() =>
            {
                "ERROR: The monitor has not finished its initial checks. Try again in some seconds."
                    .to_owned()
            }
            ["set_online", host] => self.set_online(now, host, actions),
            ["set_offline", host] => match self.set_offline(now, client, host, false, actions) {
                Some(answer) => answer,
                None => return,
            },
            ["set_offline", "--force", host] => match self.set_offline(now, client, host, true, actions) {
                Some(answer) => answer,
                None => return,
            },
            ["move_role", "--force", role, host] => self.force_role(now, role, host, actions),
            ["move_role", role, host] => {
                match self.move_role(now, Purpose::MoveRole(client), role, host, actions) {
                    Some(answer) => answer,
                    // The answer comes when the role has moved, or has not.
                    None => return,
                }
            }
            ["plan", "move_role", role, host] => {
                match self.move_role(now, Purpose::Plan { client, json: false }, role, host, actions) {
                    Some(answer) => answer,
                    None => return,
                }
            }
            ["--json", "plan", "move_role", role, host] => {
                match self.move_role(now, Purpose::Plan { client, json: true }, role, host, actions) {
                    Some(answer) => json!({"possible": false, "refusal": answer}).to_string(),
                    None => return,
                }
            }
            ["diverged"] => self.diverged(None),
            ["diverged", host] => self.diverged(Some(host)),
            ["rejoin", "--merge", host] | ["rejoin", host, "--merge"] => self.rejoin_by_merge(host, actions),
            ["rejoin", "--clone", host] | ["rejoin", host, "--clone"] => {
                self.rejoin_by_clone(now, host, actions)
            }
            ["rejoin", host] => self.rejoin(host),
            ["confirm_dead", host] => self.confirm_dead(now, host, false, actions),
            ["confirm_dead", "--yes", host] => self.confirm_dead(now, host, true, actions),
            ["confirm_loss", host] => self.confirm_loss(now, host, false, actions),
            ["confirm_loss", "--yes", host] => self.confirm_loss(now, host, true, actions),
            ["set_ip", ip, host] => self.set_ip(ip, host, actions),
            _ => invalid(),
        };
        actions.push(Action::Answer { client, text: answer });
    }

    fn switch_mode(&mut self, mode: Mode, actions: &mut Vec<Action>) -> String {
        let word = mode.as_str().to_ascii_lowercase();
        if self.mode == mode {
            return format!("OK: Already in {word} mode.");
        }
        let text = format!("Admin changed mode from '{}' to '{mode}'", self.mode);
        actions.push(Action::log(LogLevel::Info, text));
        self.mode = mode;
        self.conflict = false;
        "Admin switched to passive mode.".clone_into(&mut self.passive_cause);
        format!("OK: Switched into {word} mode.")
    }

    fn set_online(&mut self, now: Moment, name: &str, actions: &mut Vec<Action>) -> String {
        // One that has left the configuration and has not let go of everything yet gets nothing new.
        let Some(host) = self.hosts.get(name).filter(|_| self.settings.hosts.contains_key(name)) else {
            return unknown_host(name);
        };
        if self.is_rebuilding(&name.into()) {
            return format!(
                "ERROR: Host '{name}' is being rebuilt: it can't be switched to ONLINE before that is done."
            );
        }
        match host.state {
            HostState::Online => return "OK: This host is already ONLINE. Skipping command.".to_owned(),
            HostState::AdminOffline | HostState::AwaitingRecovery => {}
            HostState::Unknown
            | HostState::HardOffline
            | HostState::ReplicationDelay
            | HostState::ReplicationFail => {
                let why = match self.counted_surplus(&name.into()) {
                    Some(counted) => {
                        format!(" It has {counted} nobody else has: see `mmm_control rejoin {name}`.")
                    }
                    None => String::new(),
                };
                return format!(
                    "ERROR: Host '{name}' is '{}' at the moment. It can't be switched to ONLINE.{why}",
                    host.state
                );
            }
        }
        let trap = self.settings.trap_of(CheckKind::Mysql);
        if !host.good(CheckKind::Ping) || !host.server_well(trap, now) {
            return format!(
                "ERROR: Checks ping and/or mysql are not ok for host '{name}'. It can't be switched to ONLINE."
            );
        }
        let name = HostName::from(name);
        if self.is_uncompared(&name) && host.agent.status.server.is_writable() {
            return format!(
                "ERROR: Host '{name}' was lost as the writer and its server is not closed for writes yet, so that nobody can tell whether it has transactions of its own. It can't be switched to ONLINE. Please, wait some time."
            );
        }
        if let Some(peer_name) = self.peer_of(&name).filter(|peer| *peer != name)
            && let Some(peer) = self.hosts.get(&peer_name)
            && peer.state == HostState::Online
            && !(peer.good(CheckKind::RepThreads) && peer.good(CheckKind::RepBacklog))
            // Replication that we hold ourselves is no failure.
            && !peer.agent.status.holding
        {
            return format!(
                "ERROR: Some replication checks failed on peer '{peer_name}'. We can't set '{name}' online now. Please, wait some time."
            );
        }
        if !host.agent.connected {
            return format!("ERROR: Can't reach agent daemon on '{name}'! {UNREACHABLE}");
        }
        let text = format!("Admin changed state of '{name}' from {} to ONLINE", host.state);
        actions.push(Action::log(LogLevel::Fatal, text));
        if let Some(host) = self.hosts.get_mut(&name) {
            host.clear_flapping();
        }
        self.set_state(now, &name, HostState::Online, actions);
        format!(
            "OK: State of '{name}' changed to ONLINE. Now you can wait some time and check its new roles!"
        )
    }

    /// The writer hands its role over in order first; the answer comes when its successor has caught up.
    fn set_offline(
        &mut self,
        now: Moment,
        client: u64,
        name: &str,
        force: bool,
        actions: &mut Vec<Action>,
    ) -> Option<String> {
        let Some(host) = self.hosts.get(name) else { return Some(unknown_host(name)) };
        match host.state {
            HostState::AdminOffline => {
                return Some("OK: This host is already ADMIN_OFFLINE. Skipping command.".to_owned());
            }
            HostState::Online | HostState::ReplicationFail | HostState::ReplicationDelay => {}
            HostState::Unknown | HostState::HardOffline | HostState::AwaitingRecovery => {
                return Some(format!(
                    "ERROR: Host '{name}' is '{}' at the moment. It can't be switched to ADMIN_OFFLINE.",
                    host.state
                ));
            }
        }
        if !host.agent.connected {
            return Some(format!("ERROR: Can't reach agent daemon on '{name}'! {UNREACHABLE}"));
        }
        let name = HostName::from(name);
        if self.active_master() != Some(&name) || force {
            return Some(self.take_offline(now, &name, actions));
        }
        let writer = self.settings.active_master_role.clone();
        let successor =
            self.hosts.keys().find(|other| **other != name && self.eligible(now, &writer, other)).cloned();
        let address = self.slots.keys().find(|slot| *slot.name() == writer).cloned();
        let (Some(successor), Some(address)) = (successor, address) else {
            return Some(format!(
                "ERROR: Host '{name}' has the role '{writer}' and no other host can take it now: there would be no writer. Use 'set_offline --force {name}' if that is what you want."
            ));
        };
        if self.mode == Mode::Passive {
            return Some(self.take_offline(now, &name, actions));
        }
        if self.is_moving(&address) {
            return Some(format!("ERROR: Role '{writer}' is being moved already. Please, wait some time."));
        }
        self.begin_move(now, Purpose::SetOffline(client), &address, &name, &successor, actions);
        None
    }

    pub(super) fn take_offline(&mut self, now: Moment, name: &HostName, actions: &mut Vec<Action>) -> String {
        let before = self.hosts.get(name).map_or(HostState::Unknown, |host| host.state);
        let text = format!("Admin changed state of '{name}' from {before} to ADMIN_OFFLINE");
        actions.push(Action::log(LogLevel::Fatal, text));
        self.set_state(now, name, HostState::AdminOffline, actions);
        format!(
            "OK: State of '{name}' changed to ADMIN_OFFLINE. Now you can wait some time and check all roles!"
        )
    }

    fn move_role(
        &mut self,
        now: Moment,
        purpose: Purpose,
        role: &str,
        name: &str,
        actions: &mut Vec<Action>,
    ) -> Option<String> {
        if self.mode == Mode::Passive {
            return Some("ERROR: This command is not allowed in passive mode".to_owned());
        }
        let Some(host) = self.hosts.get(name) else { return Some(unknown_host(name)) };
        let Some((role, settings)) = self.settings.roles.get_key_value(role) else {
            return Some(format!("ERROR: Unknown role name '{role}'!"));
        };
        let name = HostName::from(name);
        if !settings.hosts.contains(&name) {
            return Some(format!(
                "ERROR: Host '{name}' can't handle role '{role}'. Only following hosts could: {}",
                join_hosts(&settings.hosts)
            ));
        }
        let role = role.clone();
        if !self.is_exclusive(&role) {
            if matches!(purpose, Purpose::Plan { .. }) {
                return Some(format!(
                    "Plan: balanced role '{role}' is removed from host '{name}' at once, and its addresses go to other hosts. Nothing has been done."
                ));
            }
            return Some(self.empty_balanced(&role, &name, actions));
        }
        if host.state != HostState::Online {
            return Some(format!("ERROR: Can't move role to host with state {}.", host.state));
        }
        let slot = self.slots.iter().find(|(slot, _)| *slot.name() == role)?;
        let (address, holder) = (slot.0.clone(), slot.1.holder.clone());
        if holder.as_ref() == Some(&name) {
            return Some(format!("OK: Role is on '{name}' already. Skipping command."));
        }
        if self.mode == Mode::Active && settings.prefer.is_some() && settings.prefer == holder {
            let prefer = settings.prefer.clone()?;
            return Some(format!(
                "ERROR: Role '{role}' is assigned to preferred host '{prefer}'. Can't move it!"
            ));
        }
        if !host.agent.connected {
            return Some(format!("ERROR: Can't reach agent daemon on '{name}'! Can't move roles there!"));
        }
        if self.settings.is_writer(&address) && !host.server_is_up() {
            return Some(format!(
                "ERROR: The agent on '{name}' says that its server does not answer. Can't move roles there!"
            ));
        }
        if self.is_moving(&address) {
            return Some(format!("ERROR: Role '{role}' is being moved already. Please, wait some time."));
        }
        let Some(from) = holder else {
            return Some(format!(
                "ERROR: Role '{role}' is on no host at the moment; it will be placed by itself."
            ));
        };
        self.begin_move(now, purpose, &address, &from, &name, actions);
        None
    }

    fn empty_balanced(&mut self, role: &RoleName, name: &HostName, actions: &mut Vec<Action>) -> String {
        let addresses = self.addresses_on(role, name);
        actions
            .push(Action::log(LogLevel::Info, format!("Removing balanced role {role} from host '{name}':")));
        for address in addresses {
            self.unassign(&address);
            let text = format!("    Removed role '{address}' from host '{name}'");
            actions.push(Action::log(LogLevel::Info, text));
        }
        format!(
            "OK: Balanced role {role} has been removed from host '{name}'. Now you can wait some time and check new roles info!"
        )
    }

    fn force_role(&mut self, now: Moment, role: &str, name: &str, actions: &mut Vec<Action>) -> String {
        if self.mode == Mode::Passive {
            return "ERROR: This command is not allowed in passive mode".to_owned();
        }
        let Some(host) = self.hosts.get(name) else { return unknown_host(name) };
        let Some((role, settings)) = self.settings.roles.get_key_value(role) else {
            return format!("ERROR: Unknown role name '{role}'!");
        };
        if *role != self.settings.active_master_role {
            return "ERROR: move_role --forced may be used for the active master role only!".to_owned();
        }
        let name = HostName::from(name);
        if !settings.hosts.contains(&name) {
            return format!(
                "ERROR: Host '{name}' can't handle role '{role}'. Only following hosts could: {}",
                join_hosts(&settings.hosts)
            );
        }
        match host.state {
            HostState::ReplicationFail | HostState::ReplicationDelay => {}
            state => return format!("ERROR: Can't force move of role to host with state {state}."),
        }
        if !host.agent.connected {
            return format!("ERROR: Can't reach agent daemon on '{name}'! Can't move roles there!");
        }
        let role = role.clone();
        let Some(address) = self.slots.keys().find(|slot| *slot.name() == role).cloned() else {
            return format!("ERROR: Unknown role name '{role}'!");
        };
        let from = self.active_master().map_or("nobody".to_owned(), ToString::to_string);
        let before = host.state;
        self.unassign(&address);
        actions.push(Action::log(
            LogLevel::Fatal,
            format!("Admin forced move of role '{role}' from '{from}' to '{name}'"),
        ));
        actions.push(Action::log(
            LogLevel::Fatal,
            format!("State of host '{name}' changed from {before} to ONLINE (because of move_role --force)"),
        ));
        self.set_state(now, &name, HostState::Online, actions);
        self.assign(&address, &name);
        if let Some(slot) = self.slots.get_mut(&address) {
            slot.forced = true;
        }
        format!(
            "OK: Role '{role}' has been moved from '{from}' to '{name}' enforcedly. Now you can wait some time and check new roles info!"
        )
    }

    fn set_ip(&mut self, ip: &str, name: &str, actions: &mut Vec<Action>) -> String {
        if self.mode != Mode::Passive {
            return "ERROR: This command is only allowed in passive mode".to_owned();
        }
        let Some(address) = self.slots.keys().find(|role| role.ip().to_string() == ip).cloned() else {
            return format!("ERROR: Unknown ip '{ip}'!");
        };
        let Some(host) = self.hosts.get(name) else { return unknown_host(name) };
        let name = HostName::from(name);
        let hosts =
            self.settings.roles.get(address.name()).map(|role| role.hosts.clone()).unwrap_or_default();
        if !hosts.contains(&name) {
            return format!(
                "ERROR: Host '{name}' can't handle role '{}'. Following hosts could: {}",
                address.name(),
                join_hosts(&hosts)
            );
        }
        if host.state != HostState::Online {
            return format!(
                "ERROR: Host '{name}' is '{}' at the moment. Can't move role with ip '{ip}' there.",
                host.state
            );
        }
        if self.slots.get(&address).is_some_and(|slot| slot.holder.as_ref() != Some(&name)) {
            self.unassign(&address);
            self.assign(&address, &name);
        }
        actions.push(Action::log(LogLevel::Fatal, format!("Admin set role '{address}' to host '{name}'")));
        format!("OK: Set role '{address}' to host '{name}'.")
    }
}

pub(super) fn unknown_host(name: &str) -> String {
    format!("ERROR: Unknown host name '{name}'!")
}

fn join_hosts(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
