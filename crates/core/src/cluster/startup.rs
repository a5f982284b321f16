//! Start-up: wait for the network, for one run of every check and for every agent, then vote on where each role is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::{Action, Cluster, LogLevel};
use crate::check::CheckKind;
use crate::message::ServerView;
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::settings::HostMode;
use crate::state::{HostState, Mode};

/// Checks and agents that have said nothing by then have no vote.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    WaitingForNetwork,
    Checking { since: Moment },
    Running,
}

/// Who says that a host has a role.
#[derive(Clone, Copy, Debug, Default)]
struct Claim {
    stored: bool,
    system: bool,
    agent: bool,
}

type Claims = BTreeMap<(Role, HostName), Claim>;

impl Cluster {
    pub(super) fn has_started(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn try_start(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Phase::Checking { since } = self.phase else { return };
        let complete = self.hosts.iter().filter(|(name, _)| !self.is_departing(name)).all(|(_, host)| {
            // An agent that has not looked at its server yet would vote that it is not writable. One that can't be had
            // on a host that answers is starting or being restarted: voting without it could give its roles to
            // somebody else while it still has them.
            let heard = if host.agent.connected {
                host.agent.status.server != ServerView::Unknown
            } else {
                host.agent.tried && !host.good(CheckKind::Ping)
            };
            heard && host.checks.values().all(crate::check::Check::has_run)
        });
        if !self.network || (!complete && now.since(since) < PATIENCE) {
            return;
        }
        self.start(now, actions);
    }

    fn start(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if let Err(path) = &self.settings.kill_host {
            let text = format!("No binary found for killing hosts ({path}).");
            actions.push(Action::log(LogLevel::Warn, text));
        }
        self.warn_about_strangers(actions);
        self.restore_trust(now, actions);
        let claims = self.claims();
        for (name, state) in self.initial_states() {
            if let Some(host) = self.hosts.get_mut(&name) {
                host.state = state;
                host.since = now;
            }
        }
        let conflict = self.vote_on_writer(now, &claims, actions);
        self.vote_on_other_roles(&claims);
        let table = self.startup_table(&claims);
        actions.push(Action::log(LogLevel::Info, format!("Startup status:\n\n{table}")));
        self.warn_about_pairs(actions);
        if conflict && self.settings.careful_startup {
            self.mode = Mode::Passive;
            self.conflict = true;
            self.passive_cause = format!("Conflicting roles during startup:\n\nStartup status:\n\n{table}");
        }
        let word = self.mode.as_str().to_ascii_lowercase();
        actions.push(Action::log(LogLevel::Info, format!("Monitor started in {word} mode.")));
        self.phase = Phase::Running;
    }

    fn claims(&self) -> Claims {
        let mut claims = Claims::new();
        let names = || self.settings.hosts.keys();
        for (role, name) in self.slots.keys().flat_map(|role| names().map(move |name| (role, name))) {
            let status =
                self.hosts.get(name).filter(|host| host.agent.connected).map(|host| &host.agent.status);
            let stored = self.restored.as_ref().and_then(|restored| restored.hosts.get(name));
            let claim = Claim {
                stored: stored.is_some_and(|(_, roles)| roles.contains(role)),
                system: status.is_some_and(|status| status.held.contains(role)),
                agent: status.is_some_and(|status| status.roles.contains(role)),
            };
            if claim.stored || claim.system || claim.agent {
                claims.insert((role.clone(), name.clone()), claim);
            }
        }
        claims
    }

    fn initial_states(&self) -> BTreeMap<HostName, HostState> {
        let ranked = [
            HostState::AdminOffline,
            HostState::HardOffline,
            HostState::ReplicationFail,
            HostState::ReplicationDelay,
            HostState::Online,
        ];
        self.hosts
            .iter()
            .filter(|(name, _)| !self.is_departing(name))
            .map(|(name, host)| {
                let said = [self.stored_state(name), host.agent.status.state];
                let state = ranked.into_iter().find(|state| said.contains(&Some(*state)));
                (name.clone(), state.unwrap_or(HostState::AwaitingRecovery))
            })
            .collect()
    }

    fn stored_state(&self, name: &HostName) -> Option<HostState> {
        Some(self.restored.as_ref()?.hosts.get(name)?.0)
    }

    /// Gives the writer role to the host with most votes; true when its address is on more than one host.
    fn vote_on_writer(&mut self, now: Moment, claims: &Claims, actions: &mut Vec<Action>) -> bool {
        let Some(role) = self.slots.keys().find(|role| self.settings.is_writer(role)).cloned() else {
            return false;
        };
        let named: BTreeSet<HostName> =
            claims.keys().filter(|(claimed, _)| *claimed == role).map(|(_, host)| host.clone()).collect();
        let votes: BTreeMap<&HostName, usize> =
            named.iter().map(|host| (host, self.votes(&role, host, claims))).collect();
        let winner = votes.iter().rev().filter(|(_, votes)| **votes > 0).max_by_key(|(_, votes)| **votes);
        let configured: Vec<&HostName> = named
            .iter()
            .filter(|host| claims.get(&(role.clone(), (*host).clone())).is_some_and(|c| c.system))
            .collect();
        let conflict = configured.len() > 1;
        if conflict {
            let text =
                format!("Role '{role}' was configured on {} hosts during monitor startup.", configured.len());
            actions.push(Action::log(LogLevel::Warn, text));
        }
        // Where it is known who had the last lease, that decides; the vote is for a cluster that never had one.
        let recorded = self.record().map(|record| (record.host.clone(), record.ended.is_some()));
        if let Some(slot) = self.slots.get_mut(&role) {
            slot.last = recorded.as_ref().map(|(host, _)| host.clone());
        }
        let elected = winner.map(|(winner, _)| (*winner).clone());
        let winner = match recorded {
            Some((holder, false)) => {
                let host = self.hosts.get(&holder);
                let there = host.is_some_and(|host| host.agent.connected || host.state == HostState::Online);
                let wanted = host.is_some_and(|host| host.state != HostState::AdminOffline);
                Some(holder).filter(|_| there && wanted)
            }
            Some((_, true)) => elected,
            None => {
                if let Some(slot) = self.slots.get_mut(&role) {
                    slot.last = elected.clone().filter(|host| {
                        claims.get(&(role.clone(), host.clone())).is_some_and(|claim| claim.system)
                    });
                }
                elected
            }
        };
        let Some(winner) = winner else { return conflict };
        if let Some(host) = self.hosts.get_mut(&winner)
            && host.state != HostState::Online
        {
            let text = format!(
                "State of host '{winner}' changed from {} to {} because it is the active master",
                host.state,
                HostState::Online
            );
            actions.push(Action::log(LogLevel::Fatal, text));
            host.state = HostState::Online;
            host.since = now;
        }
        self.assign(&role, &winner);
        conflict
    }

    fn votes(&self, role: &Role, name: &HostName, claims: &Claims) -> usize {
        let Some(host) = self.hosts.get(name) else { return 0 };
        let out = match host.state {
            HostState::AdminOffline => true,
            HostState::HardOffline => self.mode != Mode::Manual,
            _ => false,
        };
        if out {
            return 0;
        }
        let claim = claims.get(&(role.clone(), name.clone())).copied().unwrap_or_default();
        let ip = self.settings.hosts.get(name).map(|settings| settings.ip);
        let followers = self
            .settings
            .hosts
            .iter()
            .filter(|(_, settings)| settings.mode == HostMode::Slave)
            .filter(|(slave, _)| {
                let status = self.hosts.get(*slave).map(|host| &host.agent.status);
                ip.is_some() && status.is_some_and(|status| status.source_ip == ip)
            })
            .count();
        let writable = host.agent.connected && host.agent.status.server.is_writable();
        4 * usize::from(writable)
            + 2 * usize::from(claim.system)
            + usize::from(claim.stored)
            + usize::from(claim.agent)
            + followers
    }

    fn vote_on_other_roles(&mut self, claims: &Claims) {
        let roles: Vec<Role> =
            self.slots.keys().filter(|role| !self.settings.is_writer(role)).cloned().collect();
        for role in roles {
            let mut best: Option<(usize, HostName)> = None;
            for ((claimed, name), claim) in claims {
                if *claimed != role {
                    continue;
                }
                let state = self.hosts.get(name).map_or(HostState::Unknown, |host| host.state);
                let able = matches!(state, HostState::Online | HostState::AwaitingRecovery)
                    && self.settings.roles.get(role.name()).is_some_and(|role| role.hosts.contains(name));
                let votes =
                    4 * usize::from(claim.system) + 2 * usize::from(claim.stored) + usize::from(claim.agent);
                if able && best.as_ref().is_none_or(|(most, _)| votes > *most) {
                    best = Some((votes, name.clone()));
                }
            }
            match best {
                // Only ONLINE hosts carry roles: on a host that awaits recovery the address is taken off.
                Some((_, name))
                    if self.hosts.get(&name).is_some_and(|host| host.state == HostState::Online) =>
                {
                    self.adopt(&role, &name, claims);
                }
                Some(_) | None => self.evict(&role, self.possible_holders(&role, claims)),
            }
        }
    }

    /// Hosts that may have a role or be about to get it: by their own word, by an order of an earlier monitor that they
    /// have not answered yet, or because they cannot be asked.
    fn possible_holders(&self, role: &Role, claims: &Claims) -> BTreeSet<HostName> {
        self.hosts
            .iter()
            .filter(|(name, _)| {
                let seen = claims.get(&(role.clone(), (*name).clone())).is_some_and(|claim| claim.system);
                let may_have =
                    self.settings.roles.get(role.name()).is_some_and(|role| role.hosts.contains(name));
                seen || may_have || self.is_departing(name)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Takes over a role as it is found; every other host that may have it must let go first. A holder that does not
    /// have the address yet is granted the role anew, since nobody knows how far an earlier grant had come.
    fn adopt(&mut self, role: &Role, holder: &HostName, claims: &Claims) {
        let has_it = claims.get(&(role.clone(), holder.clone())).is_some_and(|claim| claim.system);
        let mut others = self.possible_holders(role, claims);
        others.remove(holder);
        if let Some(slot) = self.slots.get_mut(role) {
            slot.holder = Some(holder.clone());
            slot.unanswered = !has_it;
            if has_it {
                slot.last = Some(holder.clone());
                slot.grant = Some(super::slots::plain_grant());
            }
        }
        self.evict(role, others);
    }

    fn evict(&mut self, role: &Role, hosts: BTreeSet<HostName>) {
        let number = self.next_number;
        if let Some(slot) = self.slots.get_mut(role) {
            slot.leaving.extend(hosts.into_iter().map(|name| (name, number)));
        }
    }

    fn startup_table(&self, claims: &Claims) -> String {
        let yes = |said: bool| if said { "Yes" } else { "-" };
        let mut text = String::from("Roles:\n    Role                     Host    Stored  System  Agent\n");
        for ((role, name), claim) in claims {
            let (stored, system, agent) = (yes(claim.stored), yes(claim.system), yes(claim.agent));
            let _ = writeln!(text, "    {role:<24} {name:<7} {stored:<7} {system:<7} {agent:<5}");
        }
        text.push_str("\nHosts:\n    Host    Master  Writable  Stored state      Agent state     \n");
        for (name, host) in &self.hosts {
            let status = &host.agent.status;
            let source = status.source_ip.and_then(|ip| {
                self.settings
                    .hosts
                    .iter()
                    .find(|(_, settings)| settings.ip == ip)
                    .map(|(name, _)| name.as_str())
            });
            let is_slave = self.settings.hosts.get(name).is_some_and(|host| host.mode == HostMode::Slave);
            let master = source.filter(|_| is_slave).unwrap_or("-");
            let writable = if status.server.is_writable() { "Yes" } else { "No" };
            let stored = self.stored_state(name).unwrap_or(HostState::Unknown);
            let agent = status.state.unwrap_or(HostState::Unknown);
            let _ = writeln!(text, "    {name:<7} {master:<7} {writable:<9} {stored:<17} {agent:<16}");
        }
        text
    }

    fn warn_about_pairs(&self, actions: &mut Vec<Action>) {
        for (name, settings) in &self.settings.hosts {
            let Some(peer) = &settings.peer else { continue };
            let peer_ip = self.settings.hosts.get(peer).map(|peer| peer.ip);
            let Some(host) = self.hosts.get(name).filter(|host| host.agent.connected) else { continue };
            if host.agent.status.server.is_up() && host.agent.status.source_ip != peer_ip {
                let found = host.agent.status.source_ip.map_or("nobody".to_owned(), |ip| ip.to_string());
                actions.push(Action::log(
                    LogLevel::Warn,
                    format!(
                        "Master '{name}' should replicate from its peer '{peer}', but replicates from {found}"
                    ),
                ));
            }
        }
    }
}
