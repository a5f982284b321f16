//! The cluster of one run and the loop that lets its happenings come true.

use std::collections::{BTreeMap, BTreeSet};

use mmm_core::{AgentMemory, Cluster, HostName, HostState, Moment};

use crate::fault::{self, Fault};
use crate::happening::Happening;
use crate::host::{Host, Session};
use crate::invariants;
use crate::queue::Queue;
use crate::random::Random;
use crate::run::{Options, Report, Violation};
use crate::server::Server;
use crate::settings::{self, NAMES};
use crate::trace::Trace;

/// Faults come between these two times.
const FAULTS_FROM: u64 = 12_000;
const FAULTS_UNTIL: u64 = 26_000;
/// Whatever is still broken by then is mended.
const HEALED_AT: u64 = 29_000;

#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) cluster: Option<Cluster>,
    pub(crate) life: u64,
    pub(crate) started: u64,
    /// The status file, which outlives the monitor.
    pub(crate) status: Option<String>,
    /// It dies in the middle of its next actions and is away for so long.
    pub(crate) dies_midway: Option<u64>,
}

#[expect(clippy::struct_excessive_bools, reason = "two settings of the run and two marks of its progress")]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: u64,
    pub(crate) queue: Queue<Happening>,
    pub(crate) random: Random,
    pub(crate) hosts: BTreeMap<HostName, Host>,
    pub(crate) monitor: Monitor,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    pub(crate) kills: bool,
    pub(crate) prefer: bool,
    /// Who took writes last.
    pub(crate) last_opened: Option<HostName>,
    pub(crate) sessions: u64,
    pub(crate) healed: bool,
    pub(crate) healed_since: Option<u64>,
    pub(crate) well_since: Option<u64>,
    pub(crate) events: u64,
    pub(crate) openings: u64,
    pub(crate) writes: u64,
    finished: bool,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let mut random = Random::new(options.seed);
        let kills = random.one_in(3);
        let prefer = random.one_in(5);
        let hosts = [(0, 33), (1, 32)]
            .map(|(index, peer): (usize, u8)| {
                let name = HostName::from(NAMES[index]);
                let writable = random.one_in(2);
                let host = Host {
                    name: name.clone(),
                    peer: HostName::from(NAMES[1 - index]),
                    peer_ip: settings::ip(peer),
                    powered: true,
                    boot: 1,
                    addresses: BTreeSet::new(),
                    server: Server::new(12 + index as u64, writable),
                    agent: None,
                    agent_life: 0,
                    memory: AgentMemory::default(),
                    session: Session::default(),
                    chosen: None,
                };
                (name, host)
            })
            .into();
        Self {
            options,
            now: 0,
            queue: Queue::new(),
            random,
            hosts,
            monitor: Monitor { cluster: None, life: 0, started: 0, status: None, dies_midway: None },
            trace: Trace { wanted: options.trace, lines: Vec::new() },
            violation: None,
            kills,
            prefer,
            last_opened: None,
            sessions: 0,
            healed: false,
            healed_since: None,
            well_since: None,
            events: 0,
            openings: 0,
            writes: 0,
            finished: false,
        }
    }

    pub(crate) fn run(mut self) -> Report {
        self.plan();
        while let Some((at, happening)) = self.queue.take() {
            self.now = at;
            self.events += 1;
            self.happen(happening);
            invariants::check_safety(&mut self);
            invariants::check_liveness(&mut self);
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
        }
    }

    fn plan(&mut self) {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        let (kills, prefer) = (self.kills, self.prefer);
        self.trace.tell(0, || format!("settings: kill_host {kills}, prefer {prefer}"));
        let at = self.random.between(0, 300);
        self.queue.put(at, Happening::MonitorStarts);
        for host in &names {
            let at = self.random.between(0, 300);
            self.queue.put(at, Happening::AgentStarts { host: host.clone(), boot: 1 });
            self.queue.put(self.random.between(1, 100), Happening::Replicates { host: host.clone() });
        }
        self.queue.put(100, Happening::ClientWrites);
        for (at, fault) in fault::plan(&mut self.random, &names, FAULTS_FROM, FAULTS_UNTIL) {
            self.queue.put(at, Happening::Fault(fault));
        }
        self.queue.put(HEALED_AT, Happening::Heal);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::MonitorStarts => self.start_monitor(),
            Happening::MonitorTick { life } => self.tick_monitor(life),
            Happening::NetworkChecked { life } => self.check_network(life),
            Happening::Connect { life, host } => self.connect(life, &host),
            Happening::ConnectFailed { life, host } => self.fail_to_connect(life, &host),
            Happening::ProbeBegins { life, host, kind } => self.begin_probe(life, host, kind),
            Happening::ProbeEnds { life, host, kind, started, hung } => {
                self.end_probe(life, host, kind, started, hung);
            }
            Happening::KillEnded { life, host, outcome } => self.end_kill(life, host, outcome),
            Happening::ToMonitor { session, host, message } => {
                self.deliver_to_monitor(session, &host, message);
            }
            Happening::ToAgent { session, host, message } => self.deliver_to_agent(session, &host, message),
            Happening::AgentStarts { host, boot } => self.start_agent(&host, boot),
            Happening::AgentTick { life, host } => self.tick_agent(life, &host),
            Happening::AddressesListed { life, host } => self.list_addresses(life, &host),
            Happening::Look { life, host, again } => self.look(life, &host, again),
            Happening::LookAnswered { life, host, asked, sample } => {
                self.answer_look(life, &host, asked, sample);
            }
            Happening::StepActs { life, host, step, tries } => self.act(life, &host, step, tries),
            Happening::StepEnds { life, host, step, outcome } => self.end_step(life, &host, step, outcome),
            Happening::ServerStarts { host, boot } => self.start_server(&host, boot),
            Happening::Thaws { host, server_life } => self.thaw(&host, server_life),
            Happening::LockReleased { host, server_life } => self.release_lock(&host, server_life),
            Happening::Boots { host, boot } => self.boot(&host, boot),
            Happening::Replicates { host } => self.replicate(&host),
            Happening::ClientWrites => self.write_rows(),
            Happening::Fault(fault) => self.strike(fault),
            Happening::Heal => self.heal(),
            Happening::Settle => self.settle(),
        }
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn put_in(&mut self, after: u64, happening: Happening) {
        self.queue.put(self.now + after, happening);
    }

    pub(crate) fn moment_since(&self, started: u64) -> Moment {
        // No program's clock begins at nought when it starts.
        Moment::from_millis(self.now - started + 1_000)
    }

    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        self.trace.tell(self.now, text);
    }

    pub(crate) fn break_promise(&mut self, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation { at: self.now, invariant, text });
    }

    fn replicate(&mut self, name: &HostName) {
        let pause = self.random.between(50, 400);
        self.put_in(pause, Happening::Replicates { host: name.clone() });
        let some = self.random.between(0, 100);
        let Some(host) = self.hosts.get(name) else { return };
        let source = self
            .hosts
            .get(&host.peer)
            .filter(|peer| peer.powered && peer.server.answers())
            .map(|peer| peer.server.own);
        let Some(host) = self.hosts.get_mut(name) else { return };
        let server = &mut host.server;
        if !server.answers() {
            return;
        }
        if let Some(own) = source.filter(|_| server.receiving) {
            server.received = server.received.max(own);
        }
        if server.applying {
            server.applied += (server.received - server.applied).min(some);
        }
    }

    fn write_rows(&mut self) {
        let pause = self.random.between(50, 200);
        self.put_in(pause, Happening::ClientWrites);
        let rows = self.random.between(1, 15);
        let writer = self.hosts.values_mut().find(|host| {
            host.addresses.iter().any(|role| role.name().as_str() == settings::WRITER)
                && host.server.answers()
                && host.server.writable
        });
        if let Some(writer) = writer {
            writer.server.own += rows;
            self.writes += rows;
        }
    }

    /// Everything that is still broken is mended; from now on there are no faults.
    fn heal(&mut self) {
        self.healed = true;
        self.tell(|| "everything is healed".to_owned());
        self.monitor.dies_midway = None;
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        for name in &names {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            let boot = host.boot;
            if host.server.frozen {
                host.server.thaw();
            }
            host.server.lock_held = false;
            if host.powered {
                self.put_in(0, Happening::ServerStarts { host: name.clone(), boot });
                self.put_in(0, Happening::AgentStarts { host: name.clone(), boot });
            } else {
                self.put_in(0, Happening::Boots { host: name.clone(), boot });
            }
        }
        self.put_in(0, Happening::MonitorStarts);
        self.put_in(2_000, Happening::Settle);
    }

    /// The operator puts right what no program may put right by itself.
    fn settle(&mut self) {
        self.put_in(3_000, Happening::Settle);
        let Some(cluster) = &self.monitor.cluster else { return };
        let mut lines = Vec::new();
        if cluster.mode() != mmm_core::Mode::Active {
            lines.push("set_active".to_owned());
        }
        for name in self.hosts.keys() {
            if cluster.state_of(name.as_str()) == Some(HostState::AdminOffline) {
                lines.push(format!("set_online {name}"));
            }
        }
        for line in lines {
            self.strike(Fault::Command { line });
        }
    }
}
