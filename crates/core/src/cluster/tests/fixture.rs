//! Small clusters and agents that answer at once, so that a test says only what it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::check::{CheckKind, Verdict};
use crate::cluster::{Action, Cluster, Event, LogLevel, Restored};
use crate::message::{AgentStatus, Approached, LogPosition, Order, ServerView, ToAgent};
use crate::moment::Moment;
use crate::names::{HostName, Role, RoleName};
use crate::settings::{HostMode, HostSettings, RoleMode, RoleSettings, Settings};
use crate::state::{HostState, Mode};

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
    let master =
        |last, peer: &str| HostSettings { ip: ip(last), mode: HostMode::Master, peer: Some(peer.into()) };
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
        approach_limit: Duration::from_secs(3),
    }
}

/// Two masters and two slaves; the slaves and the second master read.
pub(super) fn four() -> Settings {
    let mut settings = pair();
    for (name, last) in [("db3", 36), ("db4", 37)] {
        let slave = HostSettings { ip: ip(last), mode: HostMode::Slave, peer: None };
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

pub(super) struct Fixture {
    pub(super) cluster: Cluster,
    pub(super) now: Moment,
    /// What each agent said last.
    pub(super) said: BTreeMap<HostName, AgentStatus>,
    /// The last order that each agent was sent.
    pub(super) orders: BTreeMap<HostName, Order>,
    pub(super) answers: Vec<String>,
    pub(super) log: Vec<String>,
    pub(super) kills: Vec<HostName>,
    pub(super) approaches: Vec<(HostName, crate::message::OrderId)>,
    pub(super) stored: Option<String>,
}

impl Fixture {
    pub(super) fn new(settings: Settings) -> Self {
        Self::restored(settings, None)
    }

    pub(super) fn restored(settings: Settings, stored: Option<&str>) -> Self {
        let said = settings.hosts.keys().map(|name| (name.clone(), sound())).collect();
        let restored = stored.map(|text| Restored::parse(text).0);
        Self {
            cluster: Cluster::new(settings, restored),
            now: Moment::from_secs(1_000),
            said,
            orders: BTreeMap::new(),
            answers: Vec::new(),
            log: Vec::new(),
            kills: Vec::new(),
            approaches: Vec::new(),
            stored: None,
        }
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
        }
        self.tick();
    }

    pub(super) fn start(&mut self) {
        self.network(true);
        let names: Vec<HostName> = self.said.keys().cloned().collect();
        for name in &names {
            self.connect(name.as_str());
            for kind in CheckKind::ALL {
                self.check(name.as_str(), kind, Verdict::Good("OK".into()));
            }
        }
    }

    pub(super) fn step(&mut self, event: Event) {
        let actions = self.cluster.step(self.now, event);
        for action in actions {
            match action {
                Action::Tell { host, message: ToAgent::Order(order) } => {
                    self.orders.insert(host, order);
                }
                Action::Tell { host, message: ToAgent::Approach { id, .. } } => {
                    self.approaches.push((host, id));
                }
                Action::Tell { message: ToAgent::Heartbeat | ToAgent::Announce(_), .. } => {}
                Action::KillHost { host, .. } => self.kills.push(host),
                Action::Answer { text, .. } => self.answers.push(text),
                Action::SaveStatus(text) => self.stored = Some(text),
                Action::Log(level, text) => self.log.push(format!("{} {text}", level.as_str())),
            }
        }
    }

    pub(super) fn tick(&mut self) {
        self.step(Event::Tick);
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.tick();
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
        self.now = self.now + Duration::from_secs(10);
        self.bad(host, kind);
    }

    pub(super) fn connect(&mut self, host: &str) {
        let status = Box::new(self.said[host].clone());
        self.step(Event::AgentConnected { host: host.into(), status });
    }

    pub(super) fn lose(&mut self, host: &str) {
        self.step(Event::AgentLost { host: host.into(), reason: "connection closed".into() });
    }

    pub(super) fn report(&mut self, host: &str, change: impl FnOnce(&mut AgentStatus)) {
        let status = self.said.get_mut(host).unwrap();
        change(status);
        let status = Box::new(status.clone());
        self.step(Event::AgentReported { host: host.into(), status });
    }

    /// One agent carries out the last order it was sent, as far as its server lets it.
    pub(super) fn agent_obeys(&mut self, host: &str) {
        let Some(order) = self.orders.get(host).cloned() else { return };
        self.report(host, |status| obey(status, &order));
    }

    pub(super) fn agents_obey(&mut self) {
        let names: Vec<HostName> = self.said.keys().cloned().collect();
        for name in names {
            self.agent_obeys(name.as_str());
        }
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

    /// Roles in the last order of a host.
    pub(super) fn ordered(&self, host: &str) -> String {
        self.orders.get(host).map(|order| Role::join(&order.roles, ",")).unwrap_or_default()
    }

    pub(super) fn logged(&self, line: &str) -> bool {
        self.log.iter().any(|logged| logged == line)
    }

    pub(super) fn forget(&mut self) {
        self.log.clear();
        self.answers.clear();
        self.kills.clear();
        self.approaches.clear();
    }

    pub(super) fn writer(&self) -> String {
        self.cluster.active_master().map(ToString::to_string).unwrap_or_default()
    }
}

pub(super) fn sound() -> AgentStatus {
    AgentStatus {
        server: ServerView::Up { writable: false },
        boot_id: "boot".to_owned(),
        ..AgentStatus::default()
    }
}

/// What an agent says once it has carried out an order.
pub(super) fn obey(status: &mut AgentStatus, order: &Order) {
    status.taken_in = Some(order.id);
    status.applied = Some(order.id);
    status.state = Some(order.state);
    if status.server.is_writable() && order.writer.is_none() {
        let position = LogPosition { file: "bin.000007".to_owned(), position: 4711 };
        status.released_at = Some((order.id, position));
    }
    if status.server.is_up() {
        status.server = ServerView::Up { writable: order.writer.is_some() };
    }
    status.roles.clone_from(&order.roles);
    status.held.clone_from(&order.roles);
}

pub(super) fn set(labels: &[&str]) -> BTreeSet<Role> {
    labels.iter().map(|label| role(label)).collect()
}

#[test]
fn levels_are_named_as_in_the_log_of_2_2_1() {
    let names = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Fatal];
    assert_eq!(names.map(LogLevel::as_str), ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);
}
