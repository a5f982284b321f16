//! Real servers for one test: each test has its own network namespace, each server its own data directory.
//!
//! Nothing here touches the machine's own network or a server of the system. Servers are ended by their own process
//! when the test ends, also when it panics.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mmm_mysql::{Account, AccountKind, Endpoint, Flavour, Session, Version, grants};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) const LIMIT: Duration = Duration::from_secs(5);
const START_LIMIT: Duration = Duration::from_secs(30);

/// Runs a test on a thread of its own network, in which only `lo` exists.
pub(crate) fn in_own_network(test: impl Future<Output = ()>) {
    #[expect(
        deprecated,
        reason = "deprecated for what it does to a thread's file table; only the network is unshared"
    )]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
        .expect("these tests need root: they make network namespaces");
    let up =
        Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("package iproute2 is needed");
    assert!(up.success(), "ip could not set lo up");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

pub(crate) struct Server {
    process: Child,
    dir: TempDir,
    pub(crate) endpoint: Endpoint,
}

impl Server {
    pub(crate) async fn start(server_id: u16) -> Self {
        Self::start_with(server_id, &[]).await
    }

    pub(crate) async fn start_with(server_id: u16, options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let software = software();
        software.copy_data(&data).unwrap();
        fs::write(dir.path().join("init.sql"), init_file()).unwrap();
        let port = 3300 + server_id;
        let log = File::create(dir.path().join("log")).unwrap();
        let process = software
            .server_command()
            .args(["--user=root", "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .args(["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--log-bin=bin"])
            .arg(format!("--{}-net-timeout=4", if software.is_mysql() { "replica" } else { "slave" }))
            .arg("--pid-file=mysqld.pid")
            .arg(format!("--tmpdir={}", dir.path().display()))
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", dir.path().join("sock").display()))
            .arg(format!("--init-file={}", dir.path().join("init.sql").display()))
            .args([format!("--port={port}"), format!("--server-id={server_id}")])
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the server cannot be run");
        let endpoint = Endpoint::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let server = Self { process, dir, endpoint };
        server.wait_until_it_serves().await;
        server
    }

    async fn wait_until_it_serves(&self) {
        let began = Instant::now();
        while let Err(error) = Session::connect(&self.endpoint, &agent(), LIMIT).await {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < START_LIMIT, "the server does not start: {error}\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where the server keeps its data and, under the name `bin`, its log.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Stops every thread of the server; the signal alone lets some run on for a moment.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid());
        let running = async || {
            let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let stats = fs::read_dir(&tasks).unwrap().map(|task| stat(task.unwrap()));
            stats.filter(|stat| !stat.contains(") T ") && !stat.is_empty()).count()
        };
        eventually(running, |count| *count == 0).await;
    }

    pub(crate) async fn session(&self, account: &Account) -> Session {
        Session::connect(&self.endpoint, account, LIMIT).await.unwrap()
    }

    /// A plain connection without any of this crate's care, as an application has it.
    pub(crate) async fn client(&self, account: &str) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.endpoint.ip.to_string())
            .tcp_port(self.endpoint.port)
            .user(Some(account))
            .pass(Some(account))
            .prefer_socket(false);
        Conn::new(options).await.unwrap()
    }

    /// Makes this server a replica of `source`, from the beginning of its log.
    pub(crate) async fn replicate_from(&self, source: &Server) {
        let (change, word) = match flavour() {
            Flavour::MariaDb => ("CHANGE MASTER TO", "MASTER"),
            Flavour::MySql => ("CHANGE REPLICATION SOURCE TO", "SOURCE"),
        };
        let change = format!(
            "{change} {word}_HOST='127.0.0.1', {word}_PORT={}, {word}_USER='repl', {word}_PASSWORD='repl', \
             {word}_CONNECT_RETRY=1, {word}_LOG_FILE='bin.000001', {word}_LOG_POS=4",
            source.endpoint.port
        );
        self.client("boss").await.query_drop(change).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn agent() -> Account {
    Account::new("mmm_agent", "mmm_agent")
}

pub(crate) fn monitor() -> Account {
    Account::new("mmm_monitor", "mmm_monitor")
}

/// All servers that are tried here have the finer privileges.
const NEW: Version = Version { major: 99, minor: 0, patch: 0 };

/// The accounts of an installation with exactly the privileges that the crate names, one application, one superuser.
fn init_file() -> String {
    let kinds = [
        ("mmm_agent", AccountKind::Agent),
        ("mmm_monitor", AccountKind::Monitor),
        ("repl", AccountKind::Replication),
    ];
    let ours = kinds
        .iter()
        .flat_map(|(user, kind)| grants(*kind, flavour(), NEW, &format!("'{user}'@'127.0.0.%'"), user));
    let rest = [
        "CREATE USER 'app'@'127.0.0.%' IDENTIFIED BY 'app'",
        "CREATE DATABASE app",
        "GRANT ALL ON app.* TO 'app'@'127.0.0.%'",
        "CREATE TABLE app.a (n INT PRIMARY KEY)",
        "CREATE TABLE app.b (n INT PRIMARY KEY)",
        // So that a detour through the socket would succeed and be seen.
        "CREATE USER 'mmm_monitor'@'localhost' IDENTIFIED BY 'mmm_monitor'",
        "CREATE USER 'boss'@'127.0.0.%' IDENTIFIED BY 'boss'",
        "GRANT ALL ON *.* TO 'boss'@'127.0.0.%'",
    ];
    let statements =
        std::iter::once("SET sql_log_bin = 0".to_owned()).chain(ours).chain(rest.map(str::to_owned));
    statements.map(|statement| statement + ";\n").collect()
}

/// The server that is tested: the system's, or the one that `MMM_TEST_SERVER` names as `mmm_lab servers` does.
fn software() -> mmm_lab::Software {
    match std::env::var("MMM_TEST_SERVER") {
        Ok(name) => name.parse::<mmm_lab::Flavour>().unwrap().obtain().unwrap(),
        Err(_) => mmm_lab::Software::system().unwrap(),
    }
}

pub(crate) fn flavour() -> Flavour {
    if software().is_mysql() { Flavour::MySql } else { Flavour::MariaDb }
}

/// Asks again and again until the answer is wanted; panics with the last one when it never is.
pub(crate) async fn eventually<T: std::fmt::Debug>(
    mut ask: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "still {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
