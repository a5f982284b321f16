//! The cluster of one run and the loop that lets its happenings come true.

use std::collections::{BTreeMap, VecDeque};

use mmm_core::lease::{LeaseRule, LeaseRules};
use mmm_core::{DataRule, HostName, HostState, Mode};

use crate::aim;
use crate::data::{Change, Data};
use crate::drill::{self, Progress};
use crate::fault::{self, Fault, Theme};
use crate::happening::{Happening, Node, ToMonitor};
use crate::host::{Clock, Host};
use crate::invariants;
use crate::monitor::Monitor;
use crate::queue::Queue;
use crate::random::Random;
use crate::run::{Options, Report, Violation};
use crate::semi_sync::SemiSync;
use crate::server::{Copied, Server};
use crate::settings::{self, Replication, Shape};
use crate::trace::Trace;

/// Faults come between these two times.
const FAULTS_FROM: u64 = 12_000;
const FAULTS_UNTIL: u64 = 30_000;
/// Whatever is still broken by then is mended.
const HEALED_AT: u64 = 36_000;

#[expect(clippy::struct_excessive_bools, reason = "settings of the run and marks of its progress")]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rules: LeaseRules,
    pub(crate) now: u64,
    pub(crate) queue: Queue<Happening>,
    pub(crate) random: Random,
    /// For what is decided about data, so that the rest of a seed stays what it was.
    pub(crate) data_random: Random,
    pub(crate) shape: Shape,
    pub(crate) theme: Theme,
    pub(crate) hosts: BTreeMap<HostName, Host>,
    pub(crate) monitors: Vec<Monitor>,
    /// Directions in which nothing passes, and how many faults keep each so.
    pub(crate) cuts: BTreeMap<(Node, Node), u32>,
    /// Directions in which packets take longer, by how much and until when.
    pub(crate) slow: BTreeMap<(Node, Node), (u64, u64)>,
    /// Kernels take addresses off as late as they ever do.
    pub(crate) late_kernels: bool,
    /// What is on its way on each session, to the monitor or to the agent: nothing overtakes what was sent before it.
    pub(crate) to_monitor: BTreeMap<u64, VecDeque<ToMonitor>>,
    pub(crate) to_agent: BTreeMap<u64, VecDeque<mmm_core::ToAgent>>,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    /// Who took writes last.
    pub(crate) last_opened: Option<HostName>,
    pub(crate) sessions: u64,
    pub(crate) healed: bool,
    pub(crate) healed_since: Option<u64>,
    pub(crate) well_since: Option<u64>,
    /// One host stays away once all else is healed.
    pub(crate) one_stays_away: bool,
    pub(crate) seen: invariants::Seen,
    pub(crate) data: Data,
    pub(crate) drill: Progress,
    pub(crate) events: u64,
    pub(crate) openings: u64,
    pub(crate) writes: u64,
    finished: bool,
}

/// A server that has nothing of anybody yet.
fn server_of(index: usize, names: &[HostName], replication: Replication, writable: bool) -> Server {
    let mut server = Server::new(12 + index as u64, writable);
    server.semi_sync = SemiSync::new(replication);
    let others = names.iter().enumerate().filter(|(other, _)| *other != index);
    server.copied = others.map(|(_, other)| (other.clone(), Copied::default())).collect();
    server
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let mut random = Random::new(options.seed);
        let mut data_random = Random::new(options.seed ^ 0x0da7_a0da_7a0d_a7a0);
        let candidates = match random.between(0, 9) {
            _ if options.aim.is_some() => 2,
            _ if matches!(options.left_out, Some(DataRule::ReceivedDecides | DataRule::TheLostStayHeld)) => 3,
            _ if options.left_out == Some(DataRule::ReplicasLend) => 2,
            0..=6 => 2,
            7..=8 => 3,
            _ => 4,
        };
        let beside = random.one_in(4) || options.left_out == Some(DataRule::ReplicasLend);
        let hosts = (candidates + usize::from(beside)).min(settings::NAMES.len());
        let aimed = LeaseRule::ALL[usize::try_from(random.between(0, 10)).unwrap_or_default()];
        let mut theme = match random.between(0, 11) {
            0..=4 => Theme::Everything,
            5..=6 => Theme::Network,
            7..=8 => Theme::Crashes,
            9 => Theme::MonitorOnly,
            _ => Theme::Aimed(aimed),
        };
        if let Some(rule) = options.aim {
            theme = Theme::Aimed(rule);
        }
        let (replication, outage) = settings::replication(&mut data_random, &options, candidates);
        if outage {
            theme = Theme::Outage;
        } else if options.left_out.is_some() || options.drill.is_some() {
            theme = Theme::Crashes;
        }
        let shape = Shape {
            candidates,
            hosts,
            kills: random.one_in(5),
            prefer: random.one_in(6),
            // A lease of 3 s leaves promises only 0.3 s, which answers in here exceed now and then.
            lease: if theme == Theme::MonitorOnly { 5 } else { random.between(3, 5) },
            replication,
        };
        let shape = if options.drill.is_some() { drill::SHAPE } else { shape };
        let replication = shape.replication;
        let one_stays_away = options.drill.is_none() && theme != Theme::MonitorOnly && random.one_in(3);
        let names = settings::names(shape.hosts);
        let made = names.iter().enumerate().map(|(index, name)| {
            let server = server_of(index, &names, replication, random.one_in(2));
            let host = Host {
                name: name.clone(),
                powered: true,
                boot: 1,
                clock: Clock { zero: 0, rate: random.between(9_900, 10_100) },
                addresses: BTreeMap::new(),
                told: BTreeMap::new(),
                server,
                agent: None,
                agent_life: 0,
                parent: true,
                frozen_until: 0,
                memory: None,
                durable: None,
                durable_before: None,
                durable_boot: 0,
                slow_until: 0,
                disk_full: false,
                session: None,
                chosen: None,
                away_for_good: false,
            };
            (name.clone(), host)
        });
        let (hosts, rate) = (made.collect(), random.between(9_900, 10_100));
        Self {
            rules: options.rules,
            options,
            now: 0,
            queue: Queue::new(),
            shape,
            theme,
            hosts,
            monitors: vec![Monitor::new(rate), Monitor::new(10_000)],
            cuts: BTreeMap::new(),
            slow: BTreeMap::new(),
            late_kernels: false,
            to_monitor: BTreeMap::new(),
            to_agent: BTreeMap::new(),
            trace: Trace { wanted: options.trace, lines: Vec::new() },
            violation: None,
            last_opened: None,
            sessions: 0,
            healed: false,
            healed_since: None,
            well_since: None,
            one_stays_away,
            seen: invariants::Seen::default(),
            data: Data::default(),
            drill: Progress::default(),
            data_random,
            events: 0,
            openings: 0,
            writes: 0,
            finished: false,
            random,
        }
    }

    pub(crate) fn run(mut self) -> Report {
        self.plan();
        while let Some((at, happening)) = self.queue.take() {
            self.now = at;
            self.events += 1;
            self.happen(happening);
            invariants::check(&mut self);
            if self.violation.is_some() || self.finished {
                break;
            }
        }
        if let Some(violation) = &self.violation {
            let text = violation.to_string();
            self.trace.tell(self.now, || format!("BROKEN {text}"));
        }
        Report {
            violation: self.violation,
            trace: self.trace.lines,
            ended: self.now,
            events: self.events,
            openings: self.openings,
            writes: self.writes,
            lacked: self.data.changes.iter().map(Change::lost).sum(),
            steps: self.drill.steps,
        }
    }

    fn plan(&mut self) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        let (shape, theme, away) = (self.shape, self.theme, self.one_stays_away);
        self.trace.tell(0, || format!("settings: {shape:?}, {theme:?}, one host stays away: {away}"));
        let at = self.random.between(0, 300);
        self.queue.put(at, Happening::MonitorStarts { monitor: 0 });
        for host in &names {
            let at = self.random.between(0, 300);
            self.queue.put(at, Happening::AgentStarts { host: host.clone(), boot: 1 });
            self.queue.put(self.random.between(1, 100), Happening::Replicates { host: host.clone() });
            self.queue.put(at + 100, Happening::ParentLooks { host: host.clone(), boot: 1 });
        }
        self.queue.put(100, Happening::ClientWrites);
        if self.options.drill.is_some() {
            self.plan_drill();
            return;
        }
        if let Theme::Aimed(rule) = self.theme {
            let (lease, faults) = aim::plan(&mut self.random, rule, FAULTS_FROM + 4_000);
            self.shape.lease = lease;
            if rule == LeaseRule::WaitersCountLonger {
                self.monitors[0].rate = 10_100;
            }
            for (at, fault) in faults {
                self.queue.put(at, Happening::Fault(fault));
            }
            self.queue.put(HEALED_AT, Happening::Heal);
            return;
        }
        let candidates = settings::names(self.shape.candidates);
        let aimed = self
            .options
            .left_out
            .and_then(|rule| aim::data_plan(&mut self.data_random, rule, FAULTS_FROM + 4_000));
        if let Some(faults) = aimed {
            for (at, fault) in faults {
                self.queue.put(at, Happening::Fault(fault));
            }
            self.queue.put(HEALED_AT, Happening::Heal);
            return;
        }
        if self.theme == Theme::Outage {
            let hosts: Vec<HostName> = self.hosts.keys().cloned().collect();
            let faults = fault::outages(&mut self.data_random, &hosts, FAULTS_FROM + 2_000, FAULTS_UNTIL);
            for (at, fault) in faults {
                self.queue.put(at, Happening::Fault(fault));
            }
            self.queue.put(HEALED_AT, Happening::Heal);
            return;
        }
        for (at, fault) in fault::plan(&mut self.random, self.theme, &candidates, FAULTS_FROM, FAULTS_UNTIL) {
            self.queue.put(at, Happening::Fault(fault));
        }
        self.queue.put(HEALED_AT, Happening::Heal);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::MonitorStarts { monitor } => self.start_monitor(monitor),
            Happening::MonitorTick { monitor, life } => self.tick_monitor(monitor, life),
            Happening::NetworkChecked { monitor, life } => self.check_network(monitor, life),
            Happening::Connect { monitor, life, host } => self.connect(monitor, life, &host),
            Happening::ConnectFailed { monitor, life, host, refused } => {
                self.fail_to_connect(monitor, life, &host, refused);
            }
            Happening::ProbeBegins { monitor, life, host, kind } => {
                self.begin_probe(monitor, life, host, kind);
            }
            Happening::ProbeEnds { monitor, life, host, kind, started, hung } => {
                self.end_probe(monitor, life, host, kind, started, hung);
            }
            Happening::KillEnded { monitor, life, host, epoch, outcome } => {
                self.end_kill(monitor, life, host, epoch, outcome);
            }
            Happening::StateWritten { monitor, life, number, state } => {
                self.end_state(monitor, life, number, state);
            }
            Happening::MonitorBeat { monitor, life, host, session } => {
                self.beat_monitor(monitor, life, &host, session);
            }
            Happening::ToMonitor { monitor, session, host } => {
                self.deliver_to_monitor(monitor, session, &host);
            }
            Happening::ToAgent { session, host } => self.deliver_to_agent(session, &host),
            Happening::AgentBeat { life, host, session } => self.beat_agent(life, &host, session),
            Happening::SessionGone { session, host } => self.lose_session(session, &host),
            Happening::AgentStarts { host, boot } => self.start_agent(&host, boot),
            Happening::AgentTick { life, host } => self.tick_agent(life, &host),
            Happening::ParentLooks { host, boot } => self.parent_looks(&host, boot),
            Happening::ParentFences { host, boot } => self.parent_fences(&host, boot),
            Happening::AddressesListed { life, host } => self.list_addresses(life, &host),
            Happening::KernelTimer { host, role, due } => self.expire_address(&host, &role, due),
            Happening::Look { life, host, cause } => self.look(life, &host, cause),
            Happening::LookAnswered { life, host, asked, sample } => {
                self.answer_look(life, &host, asked, sample);
            }
            Happening::StepActs { life, host, step, tries } => self.act(life, &host, step, tries),
            Happening::StepEnds { life, host, step, outcome } => self.end_step(life, &host, step, outcome),
            Happening::DurableWritten { life, host, number, durable } => {
                self.end_durable(life, &host, number, durable);
            }
            Happening::MemoryWritten { life, host, number, memory } => {
                self.end_memory(life, &host, number, memory);
            }
            Happening::PeerRequest { from, from_life, to, request } => {
                self.deliver_request(&from, from_life, &to, request);
            }
            Happening::PeerAnswer { from, to, to_life, answer } => {
                self.deliver_answer(&from, &to, to_life, answer);
            }
            Happening::ServerStarts { host, boot } => self.start_server(&host, boot),
            Happening::Thaws { host, server_life } => self.thaw(&host, server_life),
            Happening::LockReleased { host, server_life } => self.release_lock(&host, server_life),
            Happening::Boots { host, boot } => self.boot(&host, boot),
            Happening::Replicates { host } => self.replicate(&host),
            Happening::ClientWrites => self.write_rows(),
            Happening::LinkHealed { from, to } => self.heal_link(from, to),
            Happening::DiskFreed { host, monitor } => self.free_disk(host.as_ref(), monitor),
            Happening::Fault(fault) => self.strike(fault),
            Happening::Heal => self.heal(),
            Happening::Settle => self.settle(),
            Happening::DrillBegins => self.begin_drill(),
        }
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn put_in(&mut self, after: u64, happening: Happening) {
        self.queue.put(self.now + after, happening);
    }

    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        self.trace.tell(self.now, text);
    }

    pub(crate) fn break_promise(&mut self, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation { at: self.now, invariant, text });
    }

    /// Whether a packet from one end arrives at the other now.
    pub(crate) fn passes(&self, from: &Node, to: &Node) -> bool {
        let powered = |node: &Node| match node {
            Node::Monitor(_) => true,
            Node::Host(name) => self.hosts.get(name).is_some_and(|host| host.powered),
        };
        powered(from) && powered(to) && !self.cuts.contains_key(&(from.clone(), to.clone()))
    }

    /// Whether a question and its answer get through.
    pub(crate) fn reaches(&self, one: &Node, other: &Node) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    /// Mostly quick, now and then slow.
    pub(crate) fn delay(&mut self) -> u64 {
        if self.random.one_in(5) { self.random.between(1, 200) } else { self.random.between(1, 10) }
    }

    /// The same on this way, which may be slow.
    pub(crate) fn delay_between(&mut self, from: &Node, to: &Node) -> u64 {
        let now = self.now;
        let extra = self.slow.get(&(from.clone(), to.clone())).filter(|(_, until)| now < *until);
        extra.map_or(0, |(extra, _)| *extra) + self.delay()
    }

    pub(crate) fn server_ids(&self) -> BTreeMap<HostName, u64> {
        self.hosts.iter().map(|(name, host)| (name.clone(), host.server.id)).collect()
    }

    /// The hosts that have the writer's address and a running server that takes writes. A frozen server will take them
    /// again as soon as it goes on.
    pub(crate) fn writers(&self) -> Vec<HostName> {
        self.hosts
            .values()
            .filter(|host| host.powered && host.server.serves_writes())
            .filter(|host| host.addresses.keys().any(|role| role.name().as_str() == settings::WRITER))
            .map(|host| host.name.clone())
            .collect()
    }

    fn replicate(&mut self, name: &HostName) {
        let pause = self.random.between(50, 400);
        self.put_in(pause, Happening::Replicates { host: name.clone() });
        let some = self.random.between(0, 100);
        let here = Node::Host(name.clone());
        let sources: BTreeMap<HostName, u64> = self
            .hosts
            .values()
            .filter(|other| other.name != *name && other.server.answers())
            .filter(|other| self.passes(&Node::Host(other.name.clone()), &here))
            .map(|other| (other.name.clone(), other.server.own))
            .collect();
        let Some(host) = self.hosts.get_mut(name) else { return };
        let server = &mut host.server;
        if !host.powered || !server.answers() {
            return;
        }
        let receiving = server.receiving;
        let mut arrived = Vec::new();
        for (source, copied) in &mut server.copied {
            if let Some(own) = sources.get(source).filter(|_| receiving) {
                copied.received = copied.received.max(*own);
            }
            if server.applying && copied.applied < copied.received {
                copied.applied += (copied.received - copied.applied).min(some);
                arrived.push((source.clone(), copied.applied));
            }
        }
        for (source, applied) in arrived {
            invariants::named::arrived(self, name, &source, applied);
        }
        let source = self.source_of(name);
        if receiving && sources.contains_key(&source) {
            if let Some(host) = self.hosts.get_mut(name) {
                host.server.reached = true;
            }
            self.acknowledge(name, &source);
        }
    }

    fn write_rows(&mut self) {
        let pause = self.random.between(50, 200);
        self.put_in(pause, Happening::ClientWrites);
        let rows = self.random.between(1, 15);
        self.fall_back();
        let Some(name) = self.writers().into_iter().next() else { return };
        let now = self.now;
        let Some(server) = self.hosts.get_mut(&name).map(|host| &mut host.server) else { return };
        if !server.answers() || server.semi_sync.as_ref().is_some_and(SemiSync::takes_no_more) {
            return;
        }
        self.note_writer(&name);
        let Some(server) = self.hosts.get_mut(&name).map(|host| &mut host.server) else { return };
        server.own += rows;
        self.writes += rows;
        if server.semi_sync.as_mut().is_none_or(|semi_sync| semi_sync.commits(server.own, now)) {
            server.acknowledged = server.own;
        }
    }

    /// Everything that is still broken is mended; from now on there are no faults, but that one host may stay away.
    fn heal(&mut self) {
        self.healed = true;
        self.disturb_all();
        self.tell(|| "everything is healed".to_owned());
        self.cuts.clear();
        self.end_second_monitor();
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        if self.one_stays_away {
            let index = self.random.between(0, self.shape.candidates as u64 - 1);
            if let Some(name) = usize::try_from(index).ok().and_then(|index| names.get(index)) {
                self.power_off(name, u64::MAX / 4);
                if let Some(host) = self.hosts.get_mut(name) {
                    host.away_for_good = true;
                }
                self.tell(|| format!("{name} stays away for good"));
            }
        }
        let now = self.now;
        for name in &names {
            let Some(host) = self.hosts.get_mut(name).filter(|host| !host.away_for_good) else { continue };
            let boot = host.boot;
            if host.server.frozen {
                host.server.thaw();
            }
            host.server.lock_held = false;
            host.disk_full = false;
            host.frozen_until = host.frozen_until.min(now);
            host.parent = true;
            if host.powered {
                self.put_in(0, Happening::ServerStarts { host: name.clone(), boot });
                self.put_in(0, Happening::AgentStarts { host: name.clone(), boot });
            } else {
                self.put_in(0, Happening::Boots { host: name.clone(), boot });
            }
        }
        self.mend_monitor();
        self.put_in(0, Happening::MonitorStarts { monitor: 0 });
        self.put_in(2_000, Happening::Settle);
    }

    /// The operator puts right what no program may put right by itself.
    fn settle(&mut self) {
        self.put_in(3_000, Happening::Settle);
        let Some(cluster) = self.monitors.first().and_then(|monitor| monitor.cluster.as_ref()) else {
            return;
        };
        let knows_leases = cluster.knows_leases();
        let mut lines = Vec::new();
        if cluster.mode() != Mode::Active {
            lines.push("set_active".to_owned());
        }
        for (name, host) in &self.hosts {
            if host.away_for_good && !knows_leases {
                lines.push(format!("confirm_dead --yes {name}"));
            } else if host.away_for_good && self.shape.replication.is_told() {
                // What only that host has is not to be had any more. Where nobody waits for it, nothing is done.
                lines.push(format!("confirm_loss --yes {name}"));
            } else if cluster.state_of(name.as_str()) == Some(HostState::AdminOffline) {
                lines.push(format!("set_online {name}"));
            } else if cluster.state_of(name.as_str()) == Some(HostState::ReplicationFail) {
                // Nothing is in conflict here. Where there is nothing to merge, nothing is done.
                lines.push(format!("rejoin --merge {name}"));
            }
        }
        for line in lines {
            self.strike(Fault::Command { line });
        }
        // An agent whose run directory was emptied no longer knows that it was itself who stopped the replication. Whether it is to be
        // held the monitor says, as soon as it has heard of all.
        if !knows_leases {
            return;
        }
        for host in self.hosts.values_mut() {
            let holding =
                host.memory.as_ref().is_some_and(|memory| memory.holding || memory.stopped_for_offline);
            if host.server.answers() && !holding {
                (host.server.receiving, host.server.applying) = (true, true);
            }
        }
    }
}
