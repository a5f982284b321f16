//! Lines over real connections, with a mind that is what the recorded agents were.

#[path = "../../../wire/tests/protocol1/recorded.rs"]
#[allow(dead_code, reason = "what monitors said is of use to others")]
mod recorded;

use std::collections::BTreeSet;

use mmm_core::HostState;
use mmm_wire::{Accepted, Answering, Features, accept_caller};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// How an agent of 2.2.1 was found by the one who typed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Before any monitor.
    Alone,
    Writer,
    Replica,
    /// The writer's address is here as well, put there by hand.
    Stray,
}

fn role(text: &str) -> Role {
    Role::parse(text).unwrap()
}

impl Standing {
    fn held(self) -> BTreeSet<Role> {
        let (reader, writer) = (role("reader(192.168.8.34)"), role("writer(192.168.8.30)"));
        let other = role("reader(192.168.8.35)");
        match self {
            Self::Alone => BTreeSet::new(),
            Self::Writer => BTreeSet::from([reader, writer]),
            Self::Replica => BTreeSet::from([other]),
            Self::Stray => BTreeSet::from([other, writer]),
        }
    }

    fn answer(&mut self, request: &LineRequest) -> LineAnswer {
        let roles = if *self == Self::Stray { Self::Replica.held() } else { self.held() };
        let state = if *self == Self::Alone { HostState::Unknown } else { HostState::Online };
        let source = if matches!(self, Self::Writer | Self::Alone) { "192.168.8.33" } else { "192.168.8.32" };
        match request {
            LineRequest::AgentStatus => LineAnswer::AgentStatus { state, roles, active_master: None },
            LineRequest::SystemStatus => LineAnswer::SystemStatus {
                writable: *self == Self::Writer,
                roles: self.held(),
                source_ip: Some(source.parse().unwrap()),
            },
            LineRequest::ClearBadRoles => {
                let stray = *self == Self::Stray;
                if stray {
                    *self = Self::Replica;
                }
                LineAnswer::Removed(stray.into())
            }
            LineRequest::SetStatus { .. } => LineAnswer::Applied,
        }
    }
}

struct Scene {
    address: std::net::SocketAddr,
    asked: mpsc::UnboundedReceiver<LineRequest>,
}

fn port(host: &str, may_change: bool) -> (LinePort, mpsc::Receiver<AgentEvent>) {
    let (events, inbox) = mpsc::channel(16);
    let roles = ["reader(192.168.8.34)", "reader(192.168.8.35)", "writer(192.168.8.30)"].map(role);
    let roles = roles.into_iter().map(|role| (role.ip(), role)).collect();
    let configured = LineRules { roles, may_change, answer_limit: LIMIT };
    let (_, rules_now) = watch::channel(Arc::new(configured));
    let port = LinePort {
        host: HostName::from(host),
        rules: rules_now,
        refusal_told: AtomicBool::new(false),
        places: Semaphore::new(3),
        askers: Arc::new(LineAskers::default()),
        events,
    };
    (port, inbox)
}

/// An agent's port whose mind answers by what the host is.
async fn scene_of(host: &'static str, mut standing: Standing, may_change: bool) -> Scene {
    let (port, mut inbox) = port(host, may_change);
    let port = Arc::new(port);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, asked) = mpsc::unbounded_channel();
    let askers = Arc::clone(&port.askers);
    tokio::spawn(async move {
        while let Some(event) = inbox.recv().await {
            let AgentEvent::LineAsked { asker, request } = event else { panic!("{event:?}") };
            askers.answer(asker, standing.answer(&request));
            let _ = seen.send(request);
        }
    });
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let port = Arc::clone(&port);
            tokio::spawn(async move {
                let features = Features::default();
                let answering = Answering { host, caller: "test", secret: None, features: &features };
                let accepted = accept_caller(stream, &answering, LIMIT, |_| panic!("not judged")).await;
                if let Ok(Accepted::Lines(lines)) = accepted {
                    port.serve(lines).await;
                }
            });
        }
    });
    Scene { address, asked }
}

impl Scene {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back for these bytes when the caller then says nothing more.
    async fn said_to(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(timeout(LIMIT, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(line).unwrap()
}

/// The text with every uptime left out; each has two decimals.
fn without_uptimes(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let (answer, uptime) = line.rsplit_once("|UP:").unwrap_or_else(|| panic!("no uptime: {line}"));
        assert!(uptime.parse::<f64>().is_ok() && uptime.split_once('.').unwrap().1.len() == 2, "{line}");
        lines.push(answer);
    }
    lines.join("\n")
}

#[tokio::test]
async fn what_was_typed_to_agents_of_2_2_1_is_answered_in_the_same_bytes() {
    let typed = recorded::typed("raw_bytes");
    let (to_writer, to_replica) = typed.split_at(16);
    let (to_replica, to_stray) = to_replica.split_at(3);
    let parts = [
        ("db1", Standing::Alone, recorded::typed("agent_alone")),
        ("db1", Standing::Writer, to_writer.to_vec()),
        ("db2", Standing::Replica, to_replica.to_vec()),
        ("db2", Standing::Stray, to_stray.to_vec()),
    ];
    let mut count = 0;
    for (host, standing, exchanges) in parts {
        let scene = scene_of(host, standing, true).await;
        for (request, answer) in exchanges {
            // Two ask for what 2.2.1 does with a client that goes on; another test does.
            let Some(answer) = answer.strip_suffix("<EOF>") else { continue };
            assert_eq!(
                without_uptimes(&scene.said_to(&request).await),
                without_uptimes(answer),
                "{request:?}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 23);
}

#[tokio::test]
async fn a_connection_stays_open_as_long_as_its_caller_likes_and_one_that_is_silent_holds_up_nobody() {
    let scene = scene_of("db1", Standing::Writer, true).await;
    let _silent = scene.connect().await;
    let mut halted = scene.connect().await;
    halted.write_all(b"PING|1|d").await.unwrap();
    let mut open = scene.connect().await;
    for _ in 0..3 {
        open.write_all(b"PING|1|db1\n").await.unwrap();
        assert_eq!(without_uptimes(&read_line(&mut open).await), "OK: Pinged!");
    }
    assert_eq!(
        without_uptimes(&scene.said_to("PING|1|db1").await),
        "OK: Pinged!",
        "a last line without newline"
    );
    halted.write_all(b"b1\n").await.unwrap();
    assert_eq!(without_uptimes(&read_line(&mut halted).await), "OK: Pinged!");
}

#[tokio::test]
async fn more_connections_than_there_are_places_for_are_closed() {
    let scene = scene_of("db1", Standing::Writer, true).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = scene.connect().await;
        stream.write_all(b"PING|1|db1\n").await.unwrap();
        read_line(&mut stream).await;
        open.push(stream);
    }
    assert_eq!(scene.said_to("PING|1|db1\n").await, "");
    open.pop();
    let until = Instant::now() + LIMIT;
    while scene.said_to("PING|1|db1\n").await.is_empty() {
        assert!(Instant::now() < until, "the place is not free again");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn recorded_statuses_reach_the_mind_as_they_were_meant() {
    let mut scene = scene_of("db1", Standing::Writer, true).await;
    let mut count = 0;
    for exchange in recorded::exchanges() {
        if exchange.host == "db1" && exchange.request.starts_with("SET_STATUS") {
            let answer = scene.said_to(&exchange.request).await;
            assert_eq!(without_uptimes(&answer), without_uptimes(&exchange.answer));
            let Some(LineRequest::SetStatus { state, roles, active_master }) = scene.asked.recv().await
            else {
                panic!("no status: {}", exchange.request)
            };
            let roles = Role::join(&roles, ",");
            let master = active_master.map(|master| master.to_string()).unwrap_or_default();
            assert_eq!(exchange.request, format!("SET_STATUS|1|db1|{state}|{roles}|{master}\n"));
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

#[tokio::test]
async fn a_role_that_is_not_configured_here_and_a_damaged_status_reach_nobody() {
    let mut scene = scene_of("db1", Standing::Writer, true).await;
    for (roles, why) in [
        ("writer(192.168.8.31)", "has no role writer(192.168.8.31)"),
        ("reader(192.168.8.30)", "has no role reader(192.168.8.30)"),
        ("writer", "is not a role with its address"),
    ] {
        let answer = scene.said_to(&format!("SET_STATUS|1|db1|ONLINE|{roles}|db1\n")).await;
        assert!(answer.starts_with("ERROR: ") && answer.contains(why), "{answer}");
        assert!(answer.contains("Nothing was changed"), "{answer}");
    }
    assert!(scene.asked.try_recv().is_err());
}

#[tokio::test]
async fn where_a_secret_is_set_lines_may_ask_and_change_nothing() {
    let mut scene = scene_of("db1", Standing::Writer, false).await;
    for line in ["SET_STATUS|1|db1|ADMIN_OFFLINE||\n", "CLEAR_BAD_ROLES|1|db1\n"] {
        let answer = scene.said_to(line).await;
        assert!(
            answer.starts_with("ERROR: Nothing was changed: ") && answer.contains("allow_protocol1 yes"),
            "{answer}"
        );
    }
    assert!(scene.asked.try_recv().is_err());
    for line in ["PING|1|db1\n", "GET_AGENT_STATUS|1|db1\n", "GET_SYSTEM_STATUS|1|db1\n"] {
        assert!(scene.said_to(line).await.starts_with("OK: "), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mind_that_does_not_answer_is_waited_for_no_longer_than_the_limit() {
    let (port, _inbox) = port("db1", true);
    let began = Instant::now();
    let reply = port.reply(Command::SystemStatus, "test").await;
    assert!(matches!(&reply, Reply::Error(why) if why.contains("did not get to it in time")), "{reply:?}");
    assert_eq!(began.elapsed(), LIMIT);
    assert!(port.askers.lock().waiting.is_empty());
}
