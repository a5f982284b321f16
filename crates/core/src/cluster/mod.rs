//! The monitor's mind: hosts, roles and modes, stepped by events.
//!
//! It sees only what its events tell it and does nothing itself. Each event is taken in first; then every rule that can
//! apply is applied, and the orders that follow are handed out as actions.

mod choice;
mod command;
mod data_rules;
mod errants;
mod event;
mod explain;
mod followers;
mod holds;
mod host;
mod keeper;
mod lease;
pub mod ledger;
mod looks;
mod moves;
mod placement;
mod protocol1;
mod rebuilds;
mod rejoin;
mod reload;
mod rules;
mod salvaging;
mod semi_sync;
mod semi_sync_manage;
mod show;
mod show_lease;
mod slots;
mod startup;
mod surplus;
mod takeover;
mod transition;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use errants::Errants;
use host::Host;
use keeper::{Keeper, Trust};
use lease::Waiting;
use ledger::Ledger;
use moves::Move;
use reload::Leftovers;
use semi_sync::SemiSyncTold;
use semi_sync_manage::SemiSyncManaged;
use slots::Slot;
use startup::Phase;

use crate::check::{Check, CheckKind, Turn, Verdict};
use crate::lease::{Epoch, LeaseRules};
use crate::message::{AgentStatus, Order, OrderId, ToAgent};
use crate::moment::Moment;
use crate::names::{HostName, Role};
use crate::settings::{HostMode, Settings};
use crate::state::{HostState, Mode};

pub use data_rules::DataRule;
pub use event::{Action, Event, FoundState, LogLevel, MonitorState, Restored};
pub use lease::{Doubt, Evidence};
pub use protocol1::Protocol1Report;
pub use rules::Rule;

/// The full state is sent again after this long, as a repair and not as the way news travels.
const REPEAT: Duration = Duration::from_secs(3);

/// A monitor that an agent refused so recently decides nothing: the other one may.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// The deciding half of `mmm_mond`.
#[derive(Clone, Debug)]
pub struct Cluster {
    settings: Settings,
    hosts: BTreeMap<HostName, Host>,
    slots: BTreeMap<Role, Slot>,
    moves: Vec<Move>,
    phase: Phase,
    mode: Mode,
    /// Why the monitor is passive, for `show`.
    passive_cause: String,
    network: bool,
    /// Agents that have another monitor, and when they last said so.
    refused: BTreeMap<HostName, Moment>,
    network_since: Moment,
    restored: Option<Restored>,
    next_number: u64,
    keeper: Keeper,
    /// Promises that hosts have given: for which epoch, and until when on this clock.
    promises: BTreeMap<HostName, (Epoch, Moment)>,
    /// Hosts of which the operator said that they are dead while nothing was known of leases.
    confirmed_dead: BTreeSet<HostName>,
    /// The greatest epoch that each host was ever promoted with.
    promoted: BTreeMap<HostName, Epoch>,
    told_refusals: BTreeMap<HostName, Epoch>,
    /// Hosts that vanished with the writer role, speak protocol 1, and were replaced though nobody could end them.
    unfenced_losses: BTreeSet<HostName>,
    /// Passive since the start found the writer's address on several hosts.
    conflict: bool,
    /// The number of the last look that was asked for.
    last_look: u64,
    errants: Errants,
    rebuilds: BTreeMap<HostName, rebuilds::Rebuild>,
    choosing: Option<choice::Choosing>,
    last_step: Moment,
    /// When the first of both masters became ONLINE, in wait mode.
    first_master_online: Option<Moment>,
    saved: Option<String>,
    semi_sync_told: SemiSyncTold,
    semi_sync_managed: SemiSyncManaged,
    /// When the writer was last seen to wait for acknowledgements, or not to.
    evidence_at: Option<Moment>,
    /// The lease whose loss was told to be followed by nobody, and why.
    told_unproven: Option<(Epoch, String)>,
    leftovers: Leftovers,
    ledger: Ledger,
    /// Never in a program.
    left_out: Option<DataRule>,
}

impl Cluster {
    /// `restored` is what the status file says, `found` what the epoch file says.
    pub fn new(settings: Settings, restored: Option<Restored>, found: FoundState, now: Moment) -> Self {
        Self::with_rules(settings, restored, found, now, LeaseRules::ALL)
    }

    /// The same by other rules, to show what each of them is for.
    pub fn with_rules(
        settings: Settings,
        restored: Option<Restored>,
        found: FoundState,
        now: Moment,
        rules: LeaseRules,
    ) -> Self {
        let mut cluster = Self {
            hosts: settings.hosts.keys().map(|name| (name.clone(), Host::new())).collect(),
            slots: settings.all_roles().map(|role| (role, Slot::default())).collect(),
            moves: Vec::new(),
            phase: Phase::WaitingForNetwork,
            mode: settings.mode,
            passive_cause: String::new(),
            network: false,
            refused: BTreeMap::new(),
            network_since: Moment::ZERO,
            restored,
            next_number: 1,
            keeper: Keeper::new(found, settings.instance, rules, now),
            promises: BTreeMap::new(),
            confirmed_dead: BTreeSet::new(),
            promoted: BTreeMap::new(),
            told_refusals: BTreeMap::new(),
            unfenced_losses: BTreeSet::new(),
            conflict: false,
            last_look: 0,
            errants: Errants::default(),
            rebuilds: BTreeMap::new(),
            choosing: None,
            last_step: now,
            first_master_online: None,
            saved: None,
            semi_sync_told: SemiSyncTold::default(),
            semi_sync_managed: SemiSyncManaged::default(),
            evidence_at: None,
            told_unproven: None,
            leftovers: Leftovers::default(),
            ledger: Ledger::default(),
            left_out: None,
            settings,
        };
        cluster.watch_strangers(now);
        cluster.restore_lost(cluster.keeper.lost.clone());
        cluster
    }

    /// Takes in one event and says what to do.
    #[must_use]
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let before = self.before_step(&event);
        self.notice_stall(now);
        match event {
            Event::Tick => {}
            Event::Renewed { host, renewal } => self.take_in_renewal(now, &host, &renewal, &mut actions),
            Event::Surveyed { host, survey } => self.take_in_survey(&host, *survey),
            Event::StateSaved { number, outcome } => {
                self.keeper.take_in_saved(now, number, outcome, &mut actions);
            }
            Event::NetworkChecked { reachable } => self.take_in_network(now, reachable, &mut actions),
            Event::Checked { host, kind, verdict, started, stamp } => {
                self.take_in_check(now, &host, kind, &verdict, started, &stamp, &mut actions);
            }
            Event::Protocol1Reported { host, report } => {
                self.take_in_protocol1(now, &host, *report, &mut actions);
            }
            Event::AgentConnected { host, status } => {
                self.leave_protocol1(&host, &mut actions);
                self.take_in_agent(now, &host, &mut actions);
                self.take_in_status(now, &host, *status, &mut actions);
                self.doubt_promised(&host);
            }
            Event::AgentReported { host, status } => {
                self.take_in_status(now, &host, *status, &mut actions);
            }
            Event::AgentLost { host, reason } => self.lose_agent(now, &host, &reason, &mut actions),
            Event::AgentRefused { host, reason } => self.be_refused(now, &host, &reason, &mut actions),
            Event::HostKillEnded { host, epoch, outcome } => {
                self.end_kill(now, &host, epoch, outcome, &mut actions);
            }
            Event::Commanded { client, line } => self.obey(now, client, &line, &mut actions),
            Event::Reconfigured(settings) => self.take_in_settings(now, *settings, &mut actions),
        }
        self.react(now, &mut actions);
        self.keep_ledger(now, &before, &mut actions);
        actions
    }

    /// Whether it is known who was granted the last lease.
    pub fn knows_leases(&self) -> bool {
        self.keeper.trust == Trust::Known
    }

    /// The number of this monitor's state, with which each session begins.
    pub fn lineage(&self) -> u64 {
        self.keeper.lineage()
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// State of a host, for tests and the simulator.
    pub fn state_of(&self, host: &str) -> Option<HostState> {
        self.hosts.get(host).map(|host| host.state)
    }

    /// The host that has, or is about to get, the writer role.
    pub fn active_master(&self) -> Option<&HostName> {
        self.slots
            .iter()
            .find(|(role, _)| self.settings.is_writer(role))
            .and_then(|(_, slot)| slot.holder.as_ref())
    }

    /// Roles assigned to a host.
    pub fn roles_of(&self, host: &HostName) -> BTreeSet<Role> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.holder.as_ref() == Some(host))
            .map(|(role, _)| role.clone())
            .collect()
    }

    fn react(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.refused.retain(|_, at| now.since(*at) < REFUSED_FOR);
        self.note_contacts(now);
        self.take_evidence(now);
        self.keeper.save(now, actions);
        if !self.refused.is_empty() {
            return;
        }
        if !self.has_started() {
            self.try_start(now, actions);
        }
        if !self.has_started() || !self.network {
            return;
        }
        self.restore_trust(now, actions);
        if self.mode != Mode::Passive {
            self.give_up_useless(now, actions);
            self.update_states(now, actions);
            self.leave_wait_mode(now, actions);
            self.free_kept_roles(actions);
            self.pass_on_stuck_role(now, actions);
            self.progress_moves(now, actions);
            self.place_roles(now, actions);
            self.kill_lost_hosts(now, actions);
            self.give_up_unfenced(now, actions);
            self.settle_slots(now, actions);
            self.record_protocol1_writer(now, actions);
            self.settle_leftovers(now, actions);
            self.keeper.lost = self.lost_and_held();
            self.keeper.save(now, actions);
            self.watch_semi_sync(actions);
            self.manage_semi_sync(now, actions);
            self.tend_rebuilds(now, actions);
            self.tend_holds(now, actions);
            self.keeper.lost = self.lost_and_held();
            self.watch_errants(now, actions);
            self.tell_unproven(now, actions);
            self.send_orders(now, actions);
            self.save_status(actions);
        }
    }

    fn take_in_network(&mut self, now: Moment, reachable: bool, actions: &mut Vec<Action>) {
        let before = std::mem::replace(&mut self.network, reachable);
        if before != reachable {
            self.network_since = now;
            // What others did meanwhile could not be seen from here.
            self.keeper.wait_anew(now);
            // Failures from before count for nothing: nobody could see whether they lasted.
            for host in self.hosts.values_mut() {
                host.checks.values_mut().for_each(Check::forgive);
            }
        }
        match &self.phase {
            Phase::WaitingForNetwork if reachable => {
                actions.push(Action::log(LogLevel::Info, "Network connection is available."));
                actions.push(Action::log(LogLevel::Info, "Performing initial checks..."));
                self.phase = Phase::Checking { since: now };
            }
            Phase::Running if before != reachable => {
                let word = if reachable { "reachable" } else { "unreachable" };
                actions.push(Action::log(LogLevel::Fatal, format!("Network is {word}")));
            }
            Phase::WaitingForNetwork | Phase::Checking { .. } | Phase::Running => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn take_in_check(
        &mut self,
        now: Moment,
        name: &HostName,
        kind: CheckKind,
        verdict: &Verdict,
        started: Moment,
        stamp: &str,
        actions: &mut Vec<Action>,
    ) {
        // Without a network of its own the monitor sees every check fail and believes none of it.
        if (!self.network || started < self.network_since)
            && matches!(verdict, Verdict::Bad(_) | Verdict::Stalled(_))
        {
            return;
        }
        let trap = self.settings.trap_of(kind);
        let Some(host) = self.hosts.get_mut(name) else { return };
        if kind == CheckKind::Mysql
            && matches!(verdict, Verdict::Good(_))
            && !host.agent.connected
            && host.agent.gone_since.is_some_and(|gone| gone < started)
        {
            // The agent that said so is not there any more, and the server answered after it.
            host.agent.gone_since = None;
        }
        let check = host.checks.entry(kind).or_default();
        let turn = check.observe(now, trap, verdict, stamp);
        let message = check.message();
        match turn {
            Turn::Nothing => {}
            Turn::Recovered => {
                actions.push(Action::log(LogLevel::Info, format!("Check '{kind}' on '{name}' is ok!")));
            }
            Turn::Failed => actions.push(Action::log(
                LogLevel::Error,
                format!(
                    "Check '{kind}' on '{name}' has failed for {} seconds! Message: {message}",
                    trap.as_secs()
                ),
            )),
            Turn::FailedAtOnce => actions.push(Action::log(
                LogLevel::Error,
                format!("Check '{kind}' on '{name}' failed at the first look! Message: {message}"),
            )),
            Turn::Unclear => actions.push(Action::log(
                LogLevel::Warn,
                format!("Check '{kind}' on '{name}' is in unknown state! Message: {message}"),
            )),
        }
    }

    fn take_in_agent(&mut self, now: Moment, name: &HostName, actions: &mut Vec<Action>) {
        // It may have been asked by others what it has not told yet: their addresses last as long again.
        for host in self.hosts.values_mut().filter(|host| !host.agent.connected) {
            host.agent.lost_at = now;
        }
        let Some(host) = self.hosts.get_mut(name) else { return };
        let was_lost = host.agent.tried && !host.agent.connected;
        host.agent.connected = true;
        host.agent.was_answered = false;
        host.agent.tried = true;
        host.lease_lost = false;
        // Whatever was sent before may not have arrived.
        host.agent.sent = None;
        if host.kill != host::Kill::Running {
            host.kill = host::Kill::NotTried;
        }
        self.confirmed_dead.remove(name);
        self.unfenced_losses.remove(name);
        if was_lost {
            self.announce_all(actions);
            actions.push(Action::log(LogLevel::Info, format!("Agent on host '{name}' is reachable again")));
        }
    }

    fn take_in_status(
        &mut self,
        now: Moment,
        name: &HostName,
        status: AgentStatus,
        actions: &mut Vec<Action>,
    ) {
        self.note_salvage(name, &status, actions);
        let Some(host) = self.hosts.get_mut(name) else { return };
        let dropped: Vec<Role> = host.agent.status.held.difference(&status.held).cloned().collect();
        host.take_in_status(now, status);
        self.note_writes(now, name, actions);
        self.take_in_lease_status(now, name, actions);
        for role in dropped {
            let Some(slot) = self.slots.get(&role) else { continue };
            // A host that kept an address it had lost answered for it until now: whoever asked meanwhile knows it there.
            if let Some(holder) = slot.holder.clone().filter(|holder| holder != name && slot.grant.is_some())
            {
                actions.push(Action::Tell { host: holder, message: ToAgent::Announce(role) });
            }
        }
    }

    fn be_refused(&mut self, now: Moment, name: &HostName, reason: &str, actions: &mut Vec<Action>) {
        if self.refused.insert(name.clone(), now).is_none() {
            let text = format!(
                "The agent on host '{name}' has another monitor, so this one decides nothing: {reason}"
            );
            actions.push(Action::log(LogLevel::Fatal, text));
        }
        self.lose_agent(now, name, reason, actions);
    }

    fn lose_agent(&mut self, now: Moment, name: &HostName, reason: &str, actions: &mut Vec<Action>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let news = host.agent.connected || !host.agent.tried;
        if news {
            host.agent.lost_at = now;
        }
        host.agent.connected = false;
        host.agent.tried = true;
        // What the agent does not say any more is no evidence of a server that hangs.
        host.agent.silent_since = None;
        if news {
            let text = format!("Can't reach agent on host '{name}': {reason}");
            actions.push(Action::log(LogLevel::Error, text));
        }
    }

    fn leave_wait_mode(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.mode != Mode::Wait {
            return;
        }
        let masters: Vec<&HostName> = self.settings.masters().collect();
        let online =
            masters.iter().filter(|name| self.state_of(name.as_str()) == Some(HostState::Online)).count();
        if online == 0 {
            self.first_master_online = None;
            return;
        }
        let since = *self.first_master_online.get_or_insert(now);
        let limit = self.settings.wait_for_other_master;
        let all = online == masters.len();
        if !all && (limit.is_zero() || now.since(since) < limit) {
            return;
        }
        self.mode = Mode::Active;
        let why = if all { "both masters are ONLINE" } else { "the wait for the other master is over" };
        actions.push(Action::log(LogLevel::Info, format!("Switching into active mode: {why}")));
    }

    /// Roles that manual or wait mode kept on a failed host leave it once the mode is active.
    fn free_kept_roles(&mut self, actions: &mut Vec<Action>) {
        if self.mode.keeps_roles_of_failed_hosts() {
            return;
        }
        let failed: Vec<HostName> = self
            .hosts
            .iter()
            .filter(|(name, host)| host.state != HostState::Online && !self.roles_of(name).is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        for name in failed {
            self.remove_all_roles(&name, actions);
        }
    }

    fn send_orders(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for name in names {
            let id = OrderId { instance: self.settings.instance, number: self.next_number };
            let order = self.order_for(&name, id);
            let waits = self.must_not_be_told_yet(&name);
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            if !host.agent.connected || waits {
                continue;
            }
            let order = match &host.agent.sent {
                Some((sent, at)) if sent.asks_the_same(&order) => {
                    if now.since(*at) < REPEAT {
                        continue;
                    }
                    sent.clone()
                }
                Some(_) | None => {
                    self.next_number += 1;
                    order
                }
            };
            host.agent.sent = Some((order.clone(), now));
            actions.push(Action::Tell { host: name, message: ToAgent::Order(order) });
        }
    }

    /// An order without the writer role would take it from a host that may go on with it: it is told nothing before
    /// its promotion is ready, or before it is known who holds what.
    fn must_not_be_told_yet(&self, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name) else { return true };
        let lease = &host.agent.status.lease;
        let held = lease.held.is_some();
        if let Some(waits) = self.protocol1_waits(name) {
            return waits;
        }
        if self.keeper.trust != Trust::Known {
            let greatest = self.hosts.values().map(|host| host.agent.status.lease.accepted).max();
            return held && greatest.is_none_or(|greatest| lease.accepted >= greatest);
        }
        let slot = self.writer_role().and_then(|role| self.slots.get(role));
        held && slot.is_some_and(|slot| slot.holder.as_ref() == Some(name) && slot.grant.is_none())
    }

    fn order_for(&self, name: &HostName, id: OrderId) -> Order {
        let writer = self.slots.iter().find(|(role, _)| self.settings.is_writer(role)).map(|(_, slot)| slot);
        let granted_to = writer.filter(|slot| slot.grant.is_some()).and_then(|slot| slot.holder.clone());
        Order {
            id,
            state: self.hosts.get(name).map_or(HostState::Unknown, |host| host.state),
            roles: self
                .slots
                .iter()
                .filter(|(_, slot)| slot.grant.is_some() && slot.holder.as_ref() == Some(name))
                .map(|(role, _)| role.clone())
                .collect(),
            writer: writer.filter(|_| granted_to.as_ref() == Some(name)).and_then(|slot| slot.grant.clone()),
            active_master: self.told_active_master(name, granted_to),
            source: self.source_for(name),
            release: self.release_for(name),
            terms: self.settings.terms,
            absolved: self.hosts.get(name).is_some_and(|host| {
                self.keeper.absolved.get(name).is_some_and(|boot| *boot == host.agent.status.boot_id)
            }),
            stand_still: self.is_to_stand_still(name),
            surplus: self.surplus_to_save(name).cloned().map(Box::new),
            semi_sync: self.semi_sync_order(name),
            rebuild: self.rebuild_order(name).map(Box::new),
            generation: self.keeper.generation(),
        }
    }

    fn save_status(&mut self, actions: &mut Vec<Action>) {
        use std::fmt::Write as _;
        let mut text = String::new();
        // Those that are leaving too: the next start must know of them.
        for (name, host) in &self.hosts {
            let roles = self.roles_of(name);
            let _ = writeln!(text, "{name}|{}|{}", host.state, Role::join(&roles, ","));
        }
        if self.saved.as_ref() != Some(&text) {
            self.saved = Some(text.clone());
            actions.push(Action::SaveStatus(text));
        }
    }

    /// The host whose health is the witness for another one's replication.
    fn peer_of(&self, name: &HostName) -> Option<HostName> {
        let host = self.settings.hosts.get(name)?;
        match host.mode {
            HostMode::Master => host.peer.clone(),
            HostMode::Slave => self.active_master().cloned(),
        }
    }
}
