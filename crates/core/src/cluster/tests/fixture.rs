//! Small clusters and agents that answer at once, so that a test says only what it is about.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::host::{fence, obey, sound, take_in_grant};
use crate::check::{CheckKind, Verdict};
use crate::cluster::ledger::Record;
use crate::cluster::{Action, Cluster, Event, FoundState, LogLevel, MonitorState, Restored};
use crate::lease::{Duty, Epoch, Grant, LeaseLength, Promise, Renewal, wait_for};
use crate::message::{
    AgentStatus, Approached, LeaseTerms, Order, PromiseGiven, Promotion, ServerView, ToAgent,
};
use crate::moment::Moment;
use crate::names::{HostName, Role, RoleName};
use crate::settings::{HostMode, HostSettings, RoleMode, RoleSettings, Settings};
use crate::state::{HostState, Mode};
use crate::survey::{Reach, Survey};

pub(super) const STAMP: &str = "2026/11/22 11:17:23";
pub(super) const WRITER: &str = "writer(192.168.8.30)";

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 168, 8, last])
}

pub(super) fn role(label: &str) -> Role {
    Role::parse(label).unwrap()
}

fn roles(hosts: &[&str], readers: &[&str], reader_ips: &[u8]) -> BTreeMap<RoleName, RoleSettings> {
    let role = |mode, hosts: &[&str], ips: &[u8]| RoleSettings {
        mode,
        hosts: hosts.iter().map(|host| HostName::from(*host)).collect(),
        ips: ips.iter().map(|last| ip(*last)).collect(),
        prefer: None,
    };
    BTreeMap::from([
        (RoleName::from("writer"), role(RoleMode::Exclusive, hosts, &[30])),
        (RoleName::from("reader"), role(RoleMode::Balanced, readers, reader_ips)),
    ])
}

/// The tutorial's two masters.
pub(super) fn pair() -> Settings {
    let master = |last, peer: &str| HostSettings {
        ip: ip(last),
        port: 3306,
        mode: HostMode::Master,
        peer: Some(peer.into()),
    };
    Settings {
        instance: 7,
        hosts: BTreeMap::from([("db1".into(), master(32, "db2")), ("db2".into(), master(33, "db1"))]),
        roles: roles(&["db1", "db2"], &["db1", "db2"], &[34, 35]),
        active_master_role: RoleName::from("writer"),
        mode: Mode::Active,
        trap: BTreeMap::new(),
        flap_duration: Duration::from_secs(3600),
        flap_count: 3,
        auto_set_online: Duration::from_secs(10),
        careful_startup: true,
        wait_for_other_master: Duration::from_secs(120),
        kill_host: Err("/usr/lib/mysql-mmm/monitor/kill_host".to_owned()),
        terms: LeaseTerms::default(),
        leases_run_out: true,
        failover_grace: Duration::ZERO,
        reader_return_after: Duration::ZERO,
        diverged: crate::settings::Diverged::default(),
        failover_policy: crate::settings::FailoverPolicy::Availability,
        on_stalled_writes: crate::settings::OnStalledWrites::Show,
        semi_sync: crate::settings::SemiSyncMode::Watch,
        salvage_timeout: Duration::from_secs(10),
        approach_limit: Duration::from_secs(3),
        close_limit: Duration::from_secs(8),
        handover_limit: Duration::from_secs(5),
    }
}

/// Two masters and two slaves; the slaves and the second master read.
pub(super) fn four() -> Settings {
    let mut settings = pair();
    for (name, last) in [("db3", 36), ("db4", 37)] {
        let slave = HostSettings { ip: ip(last), port: 3306, mode: HostMode::Slave, peer: None };
        settings.hosts.insert(name.into(), slave);
    }
    settings.roles = roles(&["db1", "db2"], &["db1", "db2", "db3", "db4"], &[41, 42, 43, 44]);
    settings
}

pub(super) fn preferring(host: &str) -> Settings {
    let mut settings = pair();
    settings.roles.get_mut("writer").unwrap().prefer = Some(host.into());
    settings
}

/// The monitor's own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Quick,
    /// Writes end when the test says so.
    Slow,
    Full,
}

pub(super) struct Fixture {
    pub(super) cluster: Cluster,
    pub(super) settings: Settings,
    pub(super) now: Moment,
    /// What each agent said last.
    pub(super) said: BTreeMap<HostName, AgentStatus>,
    connected: BTreeSet<HostName>,
    /// The last order that each agent was sent.
    pub(super) orders: BTreeMap<HostName, Order>,
    /// The reading of each host's last renewal, and of the last grant it took in.
    readings: BTreeMap<HostName, Moment>,
    taken: BTreeMap<HostName, Moment>,
    /// When each holder's lease is over on its own clock.
    pub(super) ends: BTreeMap<HostName, Moment>,
    grants: VecDeque<(HostName, Grant)>,
    /// Every grant that left.
    pub(super) granted: Vec<(HostName, Grant)>,
    pub(super) disk: Disk,
    writing: Vec<(u64, MonitorState)>,
    /// What is on the monitor's disk.
    pub(super) kept: Option<MonitorState>,
    pub(super) answers: Vec<String>,
    pub(super) log: Vec<String>,
    pub(super) kills: Vec<(HostName, Epoch)>,
    pub(super) approaches: Vec<(HostName, crate::message::OrderId)>,
    pub(super) looks: Vec<(HostName, crate::message::OrderId)>,
    /// What the last approach is to reach.
    pub(super) reach: Option<Box<Reach>>,
    /// Hosts that were asked what a move would meet there.
    pub(super) surveys: Vec<(HostName, crate::message::OrderId)>,
    pub(super) stored: Option<String>,
    /// Hosts of which nothing is asked any more.
    pub(super) dismissed: Vec<HostName>,
    /// The ledger's file.
    pub(super) records: BTreeMap<u64, Record>,
}

impl Fixture {
    pub(super) fn new(settings: Settings) -> Self {
        Self::restored(settings, None)
    }

    pub(super) fn restored(settings: Settings, stored: Option<&str>) -> Self {
        let said = settings.hosts.keys().map(|name| (name.clone(), sound())).collect();
        let now = Moment::from_secs(1_000);
        let found = FoundState::Lost(None, "there is no state file yet".to_owned());
        let restored = stored.map(|text| Restored::parse(text).0);
        Self {
            cluster: Cluster::new(settings.clone(), restored, found, now),
            settings,
            now,
            said,
            connected: BTreeSet::new(),
            orders: BTreeMap::new(),
            readings: BTreeMap::new(),
            taken: BTreeMap::new(),
            ends: BTreeMap::new(),
            grants: VecDeque::new(),
            granted: Vec::new(),
            disk: Disk::Quick,
            writing: Vec::new(),
            kept: None,
            answers: Vec::new(),
            log: Vec::new(),
            kills: Vec::new(),
            approaches: Vec::new(),
            looks: Vec::new(),
            reach: None,
            surveys: Vec::new(),
            stored: None,
            dismissed: Vec::new(),
            records: BTreeMap::new(),
        }
    }

    /// The monitor is started again and finds this of its own state; no agent has a session with it yet.
    pub(super) fn restart(&mut self, found: FoundState) {
        self.settings.instance += 1;
        let restored = self.stored.as_deref().map(|text| Restored::parse(text).0);
        self.cluster = Cluster::new(self.settings.clone(), restored, found, self.now);
        self.connected.clear();
        self.orders.clear();
        self.writing.clear();
        self.grants.clear();
        self.forget();
    }

    /// The same with all that it had written.
    pub(super) fn restart_with_state(&mut self) {
        let kept = self.kept.clone().expect("a state was written");
        self.restart(FoundState::Good(kept));
    }

    /// A cluster that runs with every host ONLINE and every role in its place.
    pub(super) fn running(settings: Settings) -> Self {
        let lines: Vec<String> = settings.hosts.keys().map(|name| format!("{name}|ONLINE|\n")).collect();
        let text = lines.concat();
        let mut fixture = Self::restored(settings, Some(&text));
        fixture.start();
        fixture.settle();
        fixture.pass(120);
        fixture.forget();
        fixture
    }

    /// The agents answer until nothing new is asked of them.
    pub(super) fn settle(&mut self) {
        for _ in 0..10 {
            self.tick();
            self.agents_obey();
            self.agents_renew();
        }
        self.tick();
    }

    pub(super) fn start(&mut self) {
        self.network(true);
        for name in self.names() {
            self.connect(name.as_str());
            self.well(name.as_str());
        }
    }

    /// Every check of a host is good.
    pub(super) fn well(&mut self, host: &str) {
        for kind in CheckKind::ALL {
            self.good(host, kind);
        }
    }

    pub(super) fn is_connected(&self, host: &str) -> bool {
        self.connected.contains(host)
    }

    pub(super) fn names(&self) -> Vec<HostName> {
        self.said.keys().cloned().collect()
    }

    pub(super) fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut count = 0;
        while let Some(event) = events.pop_front() {
            count += 1;
            assert!(count < 100, "it goes on for ever: {event:?}");
            for action in self.cluster.step(self.now, event) {
                self.carry_out(action, &mut events);
            }
        }
        while let Some((host, grant)) = self.grants.pop_front() {
            self.grant_arrives(&host, &grant);
        }
    }

    fn carry_out(&mut self, action: Action, events: &mut VecDeque<Event>) {
        match action {
            Action::Tell { host, message: ToAgent::Order(order) } => {
                self.orders.insert(host, order);
            }
            Action::Tell { host, message: ToAgent::Approach { id, reach, .. } } => {
                self.approaches.push((host, id));
                self.reach = reach;
            }
            Action::Tell { host, message: ToAgent::Look { id } } => self.looks.push((host, id)),
            Action::Tell { host, message: ToAgent::Survey { id } } => self.surveys.push((host, id)),
            Action::Tell { host, message: ToAgent::Grant(grant) } => {
                self.granted.push((host.clone(), grant.clone()));
                self.grants.push_back((host, grant));
            }
            Action::Tell {
                message:
                    ToAgent::Heartbeat { .. }
                    | ToAgent::Announce(_)
                    | ToAgent::Begin { .. }
                    | ToAgent::Examine { .. },
                ..
            } => {}
            Action::KillHost { host, epoch, .. } => self.kills.push((host, epoch)),
            Action::SaveState { number, state } => match self.disk {
                Disk::Quick => {
                    self.kept = Some(state);
                    events.push_back(Event::StateSaved { number, outcome: Ok(()) });
                }
                Disk::Slow => self.writing.push((number, state)),
                Disk::Full => {
                    let outcome = Err("no space left".to_owned());
                    events.push_back(Event::StateSaved { number, outcome });
                }
            },
            Action::Answer { text, .. } => self.answers.push(text),
            Action::SaveStatus(text) => self.stored = Some(text),
            Action::Record(record) => {
                self.records.insert(record.number, *record);
            }
            Action::Dismiss { host } => self.dismissed.push(host),
            Action::Log(level, text) => self.log.push(format!("{} {text}", level.as_str())),
        }
    }

    /// What a slow disk was asked for is written now.
    pub(super) fn write_state(&mut self) {
        for (number, state) in std::mem::take(&mut self.writing) {
            self.kept = Some(state);
            self.step(Event::StateSaved { number, outcome: Ok(()) });
        }
    }

    fn grant_arrives(&mut self, host: &HostName, grant: &Grant) {
        let late = self.taken.get(host).is_some_and(|taken| grant.reading <= *taken);
        if late || !self.connected.contains(host) {
            return;
        }
        let Some(status) = self.said.get_mut(host) else { return };
        let Some(news) = take_in_grant(status, grant) else { return };
        self.taken.insert(host.clone(), grant.reading);
        let end = grant.reading + grant.length.duration();
        let ends = self.ends.entry(host.clone()).or_insert(end);
        *ends = end.max(*ends);
        if news {
            let order = self.orders.get(host).cloned();
            self.report(host.as_str(), |status| {
                if let Some(order) = order {
                    obey(status, &order);
                }
            });
        }
    }

    /// A host that has a lease asks for its renewal.
    pub(super) fn renews(&mut self, host: &str) {
        let Some(held) = self.said[host].lease.held.clone().filter(|_| self.connected.contains(host)) else {
            return;
        };
        let last = self.readings.get(host).copied().unwrap_or_default();
        let reading = self.now.max(last + Duration::from_millis(1));
        self.readings.insert(host.into(), reading);
        let taken = self.taken.get(host).copied();
        self.step(Event::Renewed {
            host: host.into(),
            renewal: Renewal { epoch: held.epoch, reading, taken },
        });
    }

    pub(super) fn agents_renew(&mut self) {
        for name in self.names() {
            self.renews(name.as_str());
        }
    }

    /// Time passes and nobody asks for anything.
    pub(super) fn pass_without_renewals(&mut self, ms: u64) {
        for _ in 0..ms / 500 {
            self.now = self.now + Duration::from_millis(500);
            self.tick();
        }
    }

    /// A host promises the writer not to take its role for one lease, which thereby lasts on.
    pub(super) fn promises(&mut self, host: &str, holder: &str) {
        let epoch = self.said[holder].lease.accepted;
        let length = LeaseLength::DEFAULT;
        let promise = Promise { holder: holder.into(), epoch, length };
        let until = self.now + wait_for(length);
        self.ends.insert(holder.into(), self.now + length.duration());
        self.report(host, |status| {
            status.lease.promised = epoch;
            status.lease.promise = Some(PromiseGiven { promise, until });
        });
    }

    /// Holders whose lease is over fence themselves, be they heard of or not.
    fn leases_end(&mut self) {
        for name in self.names() {
            let over = self.ends.get(&name).is_some_and(|end| *end <= self.now);
            let status = self.said.get_mut(&name).expect("it is one of them");
            if over && status.lease.held.as_ref().is_some_and(|held| !held.list.is_empty()) {
                fence(status);
                self.report(name.as_str(), |_| {});
            }
        }
    }

    pub(super) fn tick(&mut self) {
        self.step(Event::Tick);
    }

    /// Time passes, second by second; whoever has a lease and a session goes on renewing it.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.pass_ms(1000);
        }
    }

    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.leases_end();
        self.tick();
        self.agents_renew();
    }

    pub(super) fn network(&mut self, reachable: bool) {
        self.step(Event::NetworkChecked { reachable });
    }

    pub(super) fn check(&mut self, host: &str, kind: CheckKind, verdict: Verdict) {
        let (started, stamp) = (self.now, STAMP.to_owned());
        self.step(Event::Checked { host: host.into(), kind, verdict, started, stamp });
    }

    pub(super) fn good(&mut self, host: &str, kind: CheckKind) {
        self.check(host, kind, Verdict::Good("OK".into()));
    }

    pub(super) fn bad(&mut self, host: &str, kind: CheckKind) {
        self.check(host, kind, Verdict::Bad("ERROR: no".into()));
    }

    /// A check that fails for longer than its trap period.
    pub(super) fn fail(&mut self, host: &str, kind: CheckKind) {
        self.bad(host, kind);
        self.pass(10);
        self.bad(host, kind);
    }

    pub(super) fn connect(&mut self, host: &str) {
        // It has written down by which state this monitor goes before it says anything.
        let lineage = self.cluster.lineage();
        if let Some(said) = self.said.get_mut(host) {
            said.lease.lineage = lineage;
        }
        self.connected.insert(host.into());
        let status = Box::new(self.speak(host));
        self.step(Event::AgentConnected { host: host.into(), status });
    }

    pub(super) fn lose(&mut self, host: &str) {
        self.connected.remove(host);
        self.step(Event::AgentLost { host: host.into(), reason: "connection closed".into() });
    }

    pub(super) fn refuse(&mut self, host: &str) {
        self.connected.remove(host);
        self.step(Event::AgentRefused { host: host.into(), reason: "a reason".to_owned() });
    }

    fn speak(&mut self, host: &str) -> AgentStatus {
        let status = self.said.get_mut(host).unwrap();
        status.uptime = self.now.since_zero();
        status.clone()
    }

    /// Something changes on a host; whoever has a session with it hears of it.
    pub(super) fn report(&mut self, host: &str, change: impl FnOnce(&mut AgentStatus)) {
        change(self.said.get_mut(host).unwrap());
        if self.connected.contains(host) {
            let status = Box::new(self.speak(host));
            self.step(Event::AgentReported { host: host.into(), status });
        }
    }

    /// One agent carries out the last order it was sent, as far as its server lets it.
    pub(super) fn agent_obeys(&mut self, host: &str) {
        let Some(order) = self.orders.get(host).cloned() else { return };
        if !self.connected.contains(host) {
            return;
        }
        let before = self.said[host].lease.held.clone();
        self.report(host, |status| obey(status, &order));
        let after = self.said[host].lease.held.clone();
        if before.map(|held| held.epoch) != after.as_ref().map(|held| held.epoch) {
            self.taken.remove(host);
            self.renews(host);
        }
    }

    pub(super) fn agents_obey(&mut self) {
        for name in self.names() {
            self.agent_obeys(name.as_str());
        }
    }

    /// The program for killing hosts ends; one that ended well leaves a host that is off.
    pub(super) fn kill_ends(&mut self, outcome: Result<(), String>) {
        let (host, epoch) = self.kills.pop().expect("a host is being killed");
        if outcome.is_ok() {
            self.lose(host.as_str());
            let status = self.said.get_mut(&host).unwrap();
            fence(status);
            status.held.clear();
            status.server = ServerView::Gone;
        }
        self.step(Event::HostKillEnded { host, epoch, outcome });
    }

    /// What was asked last of a host is answered.
    pub(super) fn surveyed(&mut self, host: &str, survey: Survey) {
        let at = self.surveys.iter().rposition(|(asked, _)| asked.as_str() == host).expect("it was asked");
        let (host, id) = self.surveys.remove(at);
        let survey = Box::new(Survey { id, ..survey });
        self.step(Event::Surveyed { host, survey });
    }

    pub(super) fn approached(&mut self, outcome: Result<(), String>) {
        let (host, id) = self.approaches.pop().expect("an approach was ordered");
        self.report(host.as_str(), |status| status.approached = Some(Approached { id, outcome }));
    }

    pub(super) fn command(&mut self, line: &str) -> String {
        self.answers.clear();
        self.step(Event::Commanded { client: 1, line: line.to_owned() });
        self.answers.join("")
    }

    pub(super) fn state(&self, host: &str) -> HostState {
        self.cluster.state_of(host).unwrap()
    }

    pub(super) fn roles(&self, host: &str) -> String {
        Role::join(&self.cluster.roles_of(&host.into()), ",")
    }

    /// The promotion in the last order of a host.
    pub(super) fn promotion(&self, host: &str) -> Option<Promotion> {
        self.orders.get(host)?.writer.clone()
    }

    /// Whom the last grant of a host named; `None` when it was given none lately.
    pub(super) fn list_of(&self, host: &str) -> Option<Vec<&str>> {
        let (_, grant) = self.granted.iter().rev().find(|(name, _)| name.as_str() == host)?;
        Some(grant.list.iter().map(HostName::as_str).collect())
    }

    /// The next renewal of a host and whom its answer names.
    pub(super) fn renewed(&mut self, host: &str) -> Option<Vec<&str>> {
        self.granted.clear();
        self.renews(host);
        self.list_of(host)
    }

    /// Hosts that take writes by a lease, or have the writer's address.
    pub(super) fn writing(&self) -> Vec<&str> {
        let leased =
            |status: &AgentStatus| status.lease.held.as_ref().is_some_and(|held| held.duty == Duty::Write);
        let writes = |status: &AgentStatus| {
            status.held.contains(&role(WRITER)) || (leased(status) && status.server.is_writable())
        };
        self.said.iter().filter(|(_, status)| writes(status)).map(|(name, _)| name.as_str()).collect()
    }

    /// Roles in the last order of a host.
    pub(super) fn ordered(&self, host: &str) -> String {
        self.orders.get(host).map(|order| Role::join(&order.roles, ",")).unwrap_or_default()
    }

    pub(super) fn logged(&self, line: &str) -> bool {
        self.log.iter().any(|logged| logged == line)
    }

    pub(super) fn logged_part(&self, part: &str) -> bool {
        self.log.iter().any(|logged| logged.contains(part))
    }

    pub(super) fn forget(&mut self) {
        self.log.clear();
        self.answers.clear();
        self.kills.clear();
        self.approaches.clear();
        self.granted.clear();
        self.records.clear();
    }

    pub(super) fn writer(&self) -> String {
        self.cluster.active_master().map(ToString::to_string).unwrap_or_default()
    }
}

pub(super) fn set(labels: &[&str]) -> BTreeSet<Role> {
    labels.iter().map(|label| role(label)).collect()
}

#[test]
fn levels_are_named_as_in_the_log_of_2_2_1() {
    let names = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Fatal];
    assert_eq!(names.map(LogLevel::as_str), ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);
}
