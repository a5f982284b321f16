//! `mmm_mond` reads a configuration of 200 hosts again, whose agents are all faked here with the real wire code.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mmm_core::{AgentStatus, HostName, Moment, Order, Role, ServerView, ToAgent, ToMonitor};
use mmm_wire::{Accepted, Answering, Connection, Features, FrameWriter, Session, Transport, accept_caller};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

const HOSTS: usize = 200;
const SOON: Duration = Duration::from_secs(30);
/// The monitor sends one each 500 ms; an agent gives a session up after this long without one.
const HEARTBEAT_GAP_MAX: Duration = Duration::from_millis(2500);
/// The aim is 100 ms; a debug build on a machine that builds something else meanwhile takes longer.
const RELOAD_MAX: Duration = Duration::from_millis(500);

/// What one agent saw of the monitor.
#[derive(Debug, Default)]
struct Seen {
    sessions: usize,
    ended: usize,
    last_heartbeat: Option<Instant>,
    longest_gap: Duration,
    orders: usize,
    last_order: Option<Order>,
}

struct Agent {
    host: HostName,
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Agent {
    async fn start(number: usize) -> Self {
        let port = TcpListener::bind((format!("127.0.1.{number}"), 0)).await.unwrap();
        let address = port.local_addr().unwrap();
        let (host, seen) = (HostName::from(format!("h{number}")), Arc::new(Mutex::new(Seen::default())));
        tokio::spawn(serve(port, host.clone(), Arc::clone(&seen)));
        Self { host, address, seen }
    }

    fn look<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }
}

async fn serve(port: TcpListener, host: HostName, seen: Arc<Mutex<Seen>>) {
    loop {
        let (stream, caller) = port.accept().await.unwrap();
        let answering = Answering {
            host: host.as_str(),
            caller: &caller.to_string(),
            secret: None,
            features: &Features::default(),
        };
        let stream = Transport::Plain.accept(stream, "monitor", SOON).await.unwrap();
        let session = match accept_caller(stream, &answering, SOON, |_| Ok(())).await {
            Ok(Accepted::Session(session)) => session,
            // On a busy machine the monitor may have given up meanwhile; it comes again.
            Ok(Accepted::Lines(_)) | Err(_) => continue,
        };
        seen.lock().unwrap().sessions += 1;
        converse(session, &seen).await;
        let mut seen = seen.lock().unwrap();
        seen.ended += 1;
        seen.last_heartbeat = None;
    }
}

/// Takes in every order at once, for a server that is well; the writer role it never gets.
async fn converse(session: Session<Connection>, seen: &Mutex<Seen>) {
    let Session { mut reader, writer, .. } = session;
    let first = AgentStatus {
        server: ServerView::Up { writable: false },
        boot_id: "this boot".to_owned(),
        ..AgentStatus::default()
    };
    let (status, statuses) = watch::channel(first);
    let speaking = tokio::spawn(speak(writer, statuses));
    while let Ok(Some(message)) = reader.next::<ToAgent>().await {
        let mut seen = seen.lock().unwrap();
        match message {
            ToAgent::Begin { lineage } => status.send_modify(|status| status.lease.lineage = lineage),
            ToAgent::Heartbeat { .. } => {
                let now = Instant::now();
                if let Some(last) = seen.last_heartbeat.replace(now) {
                    seen.longest_gap = seen.longest_gap.max(now - last);
                }
            }
            ToAgent::Order(order) => {
                seen.orders += 1;
                status.send_modify(|status| obey(status, &order));
                seen.last_order = Some(order);
            }
            ToAgent::Approach { .. }
            | ToAgent::Announce(_)
            | ToAgent::Look { .. }
            | ToAgent::Grant(_)
            | ToAgent::Survey { .. }
            | ToAgent::Examine { .. } => {}
        }
    }
    speaking.abort();
}

fn obey(status: &mut AgentStatus, order: &Order) {
    let readers = |role: &&Role| role.name().as_str() != "writer";
    status.taken_in = Some(order.id);
    status.applied = Some(order.id);
    status.state = Some(order.state);
    status.roles = order.roles.iter().filter(readers).cloned().collect();
    status.held = status.roles.clone();
}

async fn speak(mut writer: FrameWriter<WriteHalf<Connection>>, mut statuses: watch::Receiver<AgentStatus>) {
    let mut beat = interval(Duration::from_millis(500));
    // The first status says by whose state this agent goes, so it waits for the monitor's first words.
    loop {
        let message = tokio::select! {
            Ok(()) = statuses.changed() => ToMonitor::Status(Box::new(statuses.borrow_and_update().clone())),
            _ = beat.tick() => ToMonitor::Heartbeat { reading: Moment::from_secs(1) },
        };
        if writer.send(&message).await.is_err() {
            return;
        }
    }
}

fn config(folder: &Path, agents: &[&Agent], port: u16, check_period: u32, ips: usize) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut text = format!(
        "active_master_role writer\n<monitor>\nip 127.0.0.1\nport {port}\nping_ips 127.0.0.1\npid_path {}\nstatus_path {}\n\
         bin_path /usr/libexec/mysql-mmm\n</monitor>\n<host default>\nmonitor_user somebody\nmonitor_password nothing\n\
         mysql_port 1\n</host>\n<check default>\ncheck_period {check_period}\n</check>\n",
        path("pid"),
        path("status"),
    );
    for (index, agent) in agents.iter().enumerate() {
        let mode = match index {
            0 => "mode master\npeer h2",
            1 => "mode master\npeer h1",
            _ => "mode slave",
        };
        let (ip, port) = (agent.address.ip(), agent.address.port());
        let _ = write!(text, "<host {}>\nip {ip}\nagent_port {port}\n{mode}\n</host>\n", agent.host);
    }
    let names: Vec<&str> = agents.iter().map(|agent| agent.host.as_str()).collect();
    let addresses: Vec<String> = (1..=ips).map(|last| format!("192.0.2.{last}")).collect();
    let _ = write!(
        text,
        "<role writer>\nmode exclusive\nhosts h1, h2\nips 198.51.100.1\n</role>\n\
         <role reader>\nmode balanced\nhosts {}\nips {}\n</role>\n",
        names.join(", "),
        addresses.join(", ")
    );
    text
}

fn write_config(folder: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join("mmm_mon.conf");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    path
}

/// The monitor and what it has logged.
struct Monitor {
    child: Child,
    log: watch::Receiver<String>,
    log_file: String,
}

impl Monitor {
    fn start(config: &Path) -> Self {
        // A name of its own, so that its log is nobody else's.
        let cluster = format!("reloadtest{}", std::process::id());
        let mut child = Command::new(env!("CARGO_BIN_EXE_mmm_mond"))
            .arg(format!("@{cluster}"))
            .arg("--config")
            .arg(config)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (collected, log) = watch::channel(String::new());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                collected.send_modify(|log| *log = format!("{log}{line}\n"));
            }
        });
        Self { child, log, log_file: format!("/var/log/mysql-mmm/mmm_mond_{cluster}.log") }
    }

    /// What it logged of one host, and the end of everything.
    fn about(&self, host: &HostName) -> String {
        let log = self.log.borrow().clone();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(15);
        let kept =
            lines.iter().enumerate().filter(|(number, line)| *number >= tail || line.contains(host.as_str()));
        kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    }

    fn hang_up(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    async fn logged(&mut self, words: &str) -> String {
        let found = timeout(SOON, self.log.wait_for(|log| log.contains(words))).await.is_ok();
        let log = self.log.borrow().clone();
        assert!(found, "no `{words}` in: {log}");
        log.lines().rfind(|line| line.contains(words)).unwrap().to_owned()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Where it could not be written there is none.
        let _ = fs::remove_file(&self.log_file);
    }
}

async fn all(monitor: &Monitor, agents: &[&Agent], what: &str, holds: impl Fn(&mut Seen) -> bool) {
    let until = Instant::now() + SOON;
    while let Some(agent) = agents.iter().find(|agent| !agent.look(&holds)) {
        let host = &agent.host;
        assert!(
            Instant::now() < until,
            "{host}: no {what}: {:?} in: {}",
            agent.look(|seen| format!("{seen:?}")),
            monitor.about(host)
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// The milliseconds in `… hosts, N ms`.
fn took(line: &str) -> Duration {
    let ms = line.strip_suffix(" ms").and_then(|line| line.rsplit(' ').next()).unwrap();
    Duration::from_secs_f64(ms.parse::<f64>().unwrap() / 1000.0)
}

#[tokio::test]
async fn two_hundred_hosts_are_reloaded_in_no_time_and_no_agent_notices() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let mut agents = Vec::new();
    for number in 1..=HOSTS + 1 {
        agents.push(Agent::start(number).await);
    }
    let (first, last, new) = (&agents[..HOSTS - 1], &agents[HOSTS - 1], &agents[HOSTS]);
    let kept: Vec<&Agent> = first.iter().collect();
    let before: Vec<&Agent> = kept.iter().copied().chain([last]).collect();
    let after: Vec<&Agent> = kept.iter().copied().chain([new]).collect();
    let path = write_config(folder.path(), &config(folder.path(), &before, port, 5, 20));
    let mut monitor = Monitor::start(&path);
    let started = Instant::now();
    all(&monitor, &before, "order", |seen| seen.orders > 0).await;
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "no check had to be made twice: {:?}",
        started.elapsed()
    );
    sleep(Duration::from_secs(2)).await;
    for agent in &agents {
        agent.look(|seen| seen.longest_gap = Duration::ZERO);
    }

    // Half a file: nothing changes, and the log says where it is wrong.
    write_config(
        folder.path(),
        &config(folder.path(), &after, port, 1, 20).replace("mode balanced", "mode ballanced"),
    );
    monitor.hang_up();
    monitor.logged("did you mean").await;
    monitor.logged("nothing is changed").await;
    // What may only change with a restart is refused as a whole.
    write_config(
        folder.path(),
        &config(folder.path(), &after, port, 1, 20).replace("master_role writer", "master_role reader"),
    );
    monitor.hang_up();
    monitor.logged("active_master_role").await;

    // Every check, one address, one host more and one less.
    write_config(folder.path(), &config(folder.path(), &after, port + 1, 4, 21));
    monitor.hang_up();
    let line = monitor.logged("The configuration is in force").await;
    for words in [
        "<host h200> is gone",
        "<host h201> is new",
        "<check ping> check_period is 4, it was 5",
        "only with a restart",
    ] {
        monitor.logged(words).await;
    }
    let applied = took(&line);
    all(&monitor, &[new], "order", |seen| seen.orders > 0).await;
    all(&monitor, &[last], "end of the session", |seen| seen.ended == 1 && seen.sessions == 1).await;
    monitor.logged("Host 'h200' has let go of its roles and is not watched any more").await;
    assert!(last.look(|seen| seen.last_order.take()).unwrap().roles.is_empty());
    sleep(Duration::from_secs(2)).await;
    all(&monitor, &kept, "unbroken session", |seen| seen.sessions == 1 && seen.ended == 0).await;
    let gap = kept.iter().map(|agent| agent.look(|seen| seen.longest_gap)).max().unwrap();
    println!("{HOSTS} hosts reloaded in {applied:?}; longest pause between two heartbeats {gap:?}");
    // The machine may have been busy with something else.
    let mut times = vec![applied];
    for period in [6, 7, 8] {
        let words = format!("<check ping> check_period is {period}");
        write_config(folder.path(), &config(folder.path(), &after, port + 1, period, 21));
        monitor.hang_up();
        monitor.logged(&words).await;
        sleep(Duration::from_millis(500)).await;
        times.push(took(&monitor.logged("The configuration is in force").await));
    }
    println!("all reloads: {times:?}");
    let best = times.into_iter().min().unwrap();
    assert!(best < RELOAD_MAX, "{best:?}");
    assert!(gap < HEARTBEAT_GAP_MAX, "a heartbeat was missed: {gap:?}");
    // Still where it was: its own port changes only with a restart.
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    monitor.child.kill().await.unwrap();
}
