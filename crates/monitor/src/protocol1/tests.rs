//! Agents of 2.2.1 over real sockets: they answer with the bytes that running ones were recorded to answer, or badly.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mmm_core::lease::Epoch;
use mmm_core::{Event, HostState, LeaseTerms, Order, OrderId, Protocol1Report, Role, ToAgent};
use mmm_mysql::Endpoint;
use mmm_wire::{Secret, Transport};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Ended, Limits, OldAgent};
use crate::sessions::AgentSession;
use crate::setup::{HostSetup, Setup};
use crate::shell::Wiring;

const RECORDED: [&str; 3] = [
    include_str!("../../../wire/tests/protocol1/recorded/raw_bytes.txt"),
    include_str!("../../../wire/tests/protocol1/recorded/steady.txt"),
    include_str!("../../../wire/tests/protocol1/recorded/move_role.txt"),
];
/// What an agent of 2.2.1 answers to the greeting of protocol 2.
const NO_SUCH_COMMAND: &str = "ERROR: Invalid command 'MMM3'!|UP:2057.70\n";
const SOON: Duration = Duration::from_secs(5);

/// What was answered to a request in the recordings, the `nth` time it was sent.
fn recorded(request: &str, nth: usize) -> String {
    let mut answers = Vec::new();
    for text in RECORDED {
        let literals: Vec<String> = text.lines().flat_map(literals).collect();
        answers.extend(literals.chunks(2).filter(|pair| pair[0] == request).map(|pair| pair[1].clone()));
    }
    let answer = answers.get(nth).unwrap_or_else(|| panic!("{request:?} was never recorded"));
    answer.trim_end_matches("<EOF>").to_owned()
}

/// The byte strings of a line, as Python prints them.
pub(crate) fn literals(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find("b'").into_iter().chain(rest.find("b\"")).min() {
        let quote = rest.as_bytes()[start + 1] as char;
        let (body, after) = rest[start + 2..].split_once(quote).expect("a quote ends");
        found.push(body.replace("\\n", "\n").replace("\\r", "\r"));
        rest = after;
    }
    found
}

/// How the double takes a request.
enum Play {
    Say(String),
    /// After a while.
    SayLate(Duration, String),
    /// This, and nothing more.
    Stop(String),
    HangUp,
}

/// An agent of 2.2.1: one connection at a time, and nobody else while that one lasts.
struct Double {
    seen: Arc<Mutex<Vec<String>>>,
    address: std::net::SocketAddr,
    task: JoinHandle<()>,
}

impl Double {
    async fn start(play: impl FnMut(&str) -> Play + Send + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), play).await
    }

    async fn start_at(
        address: std::net::SocketAddr,
        mut play: impl FnMut(&str) -> Play + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let word = if line.starts_with("MMM3|1|") { "greeting".to_owned() } else { line.clone() };
                log.lock().unwrap().push(word);
                let said = match play(&line) {
                    Play::Say(said) | Play::Stop(said) => said,
                    Play::SayLate(late, said) => {
                        sleep(late).await;
                        said
                    }
                    Play::HangUp => continue,
                };
                // Whether the monitor still listens is its own affair.
                let _ = stream.write_all(said.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        Self { seen, address, task }
    }

    /// One that answers as recorded, each request as it was answered the first time.
    async fn as_recorded() -> Self {
        Self::start(|request| Play::Say(recorded(request, 0))).await
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A configuration with the two masters of the recordings.
pub(crate) fn setup() -> Setup {
    use std::os::unix::fs::PermissionsExt as _;
    const TEXT: &str = "active_master_role writer\n\
        <monitor>\nip 127.0.0.1\npid_path /run/x.pid\nbin_path /usr/x\nstatus_path /x/x.status\nping_ips 127.0.0.1\n</monitor>\n\
        <host default>\nmode master\nmonitor_user m\nmonitor_password m\n</host>\n\
        <host db1>\nip 127.0.0.1\npeer db2\nmysql_port 1\n</host>\n\
        <host db2>\nip 127.0.0.1\npeer db1\nmysql_port 1\nagent_port 9990\n</host>\n\
        <role writer>\nhosts db1, db2\nips 192.168.8.30\nmode exclusive\n</role>\n";
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("mmm-monitor-protocol1-{}-{number}", std::process::id()));
    std::fs::write(&path, TEXT).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let request = mmm_config::Request {
        config: Some(path.clone()),
        ..mmm_config::Request::new(mmm_config::Program::Monitor)
    };
    let loaded = mmm_config::load(&request);
    std::fs::remove_file(&path).unwrap();
    let options = <crate::options::Options as clap::Parser>::parse_from(["mmm_mond"]);
    Setup::new(&loaded.unwrap_or_else(|failure| panic!("{failure}")).settings, &options).unwrap()
}

fn host(address: std::net::SocketAddr) -> HostSetup {
    let mut host = setup().hosts.into_iter().find(|host| host.name == "db2".into()).unwrap();
    host.agent = address;
    // Nobody listens there.
    host.server = Endpoint::new(address.ip(), 1);
    host
}

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(1),
        set_status: Duration::from_millis(1500),
        answer: Duration::from_millis(400),
        idle: Duration::from_secs(60),
    }
}

struct Driven {
    messages: mpsc::Sender<ToAgent>,
    events: mpsc::Receiver<Event>,
    ended: JoinHandle<Ended>,
}

impl Driven {
    fn new(double: &Double, limits: Limits) -> Self {
        let (events, told) = mpsc::channel(16);
        let (messages, mut inbox) = mpsc::channel(16);
        let mut agent = OldAgent::new(host(double.address), Transport::Plain, limits, events);
        let ended = tokio::spawn(async move { agent.drive(&mut inbox).await });
        Self { messages, events: told, ended }
    }

    async fn report(&mut self) -> Protocol1Report {
        match timeout(SOON, self.events.recv()).await.expect("a report") {
            Some(Event::Protocol1Reported { host, report }) => {
                assert_eq!(host, "db2".into());
                *report
            }
            other => panic!("{other:?}"),
        }
    }

    async fn order(&self, order: Order) {
        self.messages.send(ToAgent::Order(order)).await.unwrap();
    }

    async fn lost(self) -> String {
        match timeout(SOON, self.ended).await.expect("it is given up in time").unwrap() {
            Ended::Lost(failure) => failure.reason,
            other => panic!("{other:?}"),
        }
    }
}

fn roles(labels: &[&str]) -> BTreeSet<Role> {
    labels.iter().map(|label| Role::parse(label).unwrap()).collect()
}

fn order(number: u64, labels: &[&str], active_master: &str) -> Order {
    Order {
        id: OrderId { instance: 7, number },
        state: HostState::Online,
        roles: roles(labels),
        active_master: Some(active_master.into()),
        source: None,
        writer: None,
        release: Some(Epoch { number: 3, origin: 7 }),
        terms: LeaseTerms::default(),
        absolved: false,
        stand_still: false,
        surplus: None,
        semi_sync: None,
        rebuild: None,
        generation: 1,
    }
}

const READER: &str = "reader(192.168.8.35)";
const WRITER: &str = "writer(192.168.8.30)";
const GET_AGENT: &str = "GET_AGENT_STATUS|1|db2\n";
const GET_SYSTEM: &str = "GET_SYSTEM_STATUS|1|db2\n";
const CLEAR: &str = "CLEAR_BAD_ROLES|1|db2\n";
const SET: &str = "SET_STATUS|1|db2|ONLINE|reader(192.168.8.35)|db1\n";

#[tokio::test]
async fn an_agent_is_asked_what_it_has_and_then_told_byte_for_byte_as_2_2_1_did() {
    let double = Double::as_recorded().await;
    let mut driven = Driven::new(&double, limits());
    let first = driven.report().await;
    assert_eq!(first.said, Some((Some(HostState::Online), roles(&[READER]))));
    assert_eq!((first.applied, first.writable, first.held), (None, false, roles(&[READER])));
    assert_eq!(first.source_ip, Some("192.168.8.32".parse().unwrap()));
    assert_eq!(first.uptime, Duration::from_millis(2_069_740));
    assert_eq!(double.seen(), [GET_AGENT, GET_SYSTEM]);

    driven.order(order(5, &[READER], "db1")).await;
    let second = driven.report().await;
    assert_eq!(second.applied, Some(OrderId { instance: 7, number: 5 }));
    assert_eq!((second.said, second.position), (None, None), "its server is not there");
    // At the start of the monitor addresses that belong to nobody are taken down.
    assert_eq!(double.seen()[2..], [SET, CLEAR, GET_SYSTEM]);

    driven.order(order(6, &[READER], "db1")).await;
    driven.report().await;
    assert_eq!(double.seen()[5..], [SET, GET_SYSTEM]);
}

#[tokio::test]
async fn an_address_that_does_not_belong_there_is_cleared_and_looked_for_again() {
    let mut looks = 0;
    let double = Double::start(move |request| {
        // The writer's address was put there by hand when the recording was made.
        let nth = match request {
            GET_SYSTEM => looks,
            CLEAR => usize::from(looks == 2),
            _ => 0,
        };
        looks += usize::from(request == GET_SYSTEM);
        Play::Say(recorded(request, nth))
    })
    .await;
    let mut driven = Driven::new(&double, limits());
    assert_eq!(driven.report().await.held, roles(&[READER]));
    driven.order(order(5, &[READER], "db1")).await;
    assert_eq!(driven.report().await.held, roles(&[READER]));
    assert_eq!(double.seen()[2..], [SET, CLEAR, GET_SYSTEM, CLEAR, GET_SYSTEM]);
}

#[tokio::test]
async fn only_the_last_of_the_orders_that_came_meanwhile_is_sent() {
    let double = Double::start(|request| match request {
        SET => Play::SayLate(Duration::from_millis(600), recorded(request, 0)),
        _ => Play::Say(recorded(request, 0)),
    })
    .await;
    let mut driven = Driven::new(&double, limits());
    driven.report().await;
    driven.order(order(5, &[READER], "db1")).await;
    sleep(Duration::from_millis(200)).await;
    driven.order(order(6, &[READER], "db1")).await;
    driven.order(order(7, &[READER, WRITER], "db2")).await;
    // A status is patiently waited for, longer than any other answer.
    assert_eq!(driven.report().await.applied.unwrap().number, 5);
    assert_eq!(driven.report().await.applied.unwrap().number, 7);
    let sets: Vec<String> = double.seen().into_iter().filter(|line| line.starts_with("SET_STATUS")).collect();
    assert_eq!(
        sets,
        [SET, "SET_STATUS|1|db2|ONLINE|reader(192.168.8.35),writer(192.168.8.30)|db2\n"],
        "as recorded when the role was moved"
    );
}

#[tokio::test]
async fn without_orders_it_is_asked_for_a_sign_of_life() {
    let double = Double::as_recorded().await;
    let mut driven = Driven::new(&double, Limits { idle: Duration::from_millis(200), ..limits() });
    driven.report().await;
    assert_eq!(driven.report().await.applied, None);
    assert_eq!(double.seen()[2..4], ["PING|1|db2\n", GET_SYSTEM]);
    // The first order after that is followed by taking down what belongs to nobody, as when passive mode is left.
    driven.order(order(5, &[READER], "db1")).await;
    while driven.report().await.applied.is_none() {}
    let seen = double.seen();
    let at = seen.iter().position(|line| line == SET).unwrap();
    assert_eq!(seen[at..at + 3], [SET, CLEAR, GET_SYSTEM]);
}

#[tokio::test]
async fn an_agent_that_answers_badly_is_given_up_with_the_reason() {
    type Bad = fn() -> Play;
    let cases: [(Bad, &str); 8] = [
        (|| Play::Stop(String::new()), "no answer to SET_STATUS within 1.5 s"),
        (|| Play::Stop("OK: Status applied".to_owned()), "no answer to SET_STATUS within 1.5 s"),
        (|| Play::Say("0\n".to_owned()), "'0' is not an answer to SET_STATUS"),
        (|| Play::Say("\n".to_owned()), "is not an answer to SET_STATUS"),
        (|| Play::Say("OK: Pinged!|UP:1.00\n".to_owned()), "is not an answer to SET_STATUS"),
        (|| Play::Say("x".repeat(100_000)), "does not end within"),
        (
            || Play::Say("ERROR: Invalid hostname in command (db2)! My name is 'db9'|UP:1.00\n".to_owned()),
            "ERROR: Invalid hostname in command (db2)! My name is 'db9'",
        ),
        (|| Play::HangUp, "it closed the connection without an answer to SET_STATUS"),
    ];
    for (bad, words) in cases {
        let double = Double::start(move |request| match request {
            SET => bad(),
            _ => Play::Say(recorded(request, 0)),
        })
        .await;
        let mut driven = Driven::new(&double, limits());
        driven.report().await;
        driven.order(order(5, &[READER], "db1")).await;
        let reason = driven.lost().await;
        assert!(reason.contains(words), "{words}: {reason}");
    }
}

#[tokio::test]
async fn an_agent_that_hangs_delays_no_other() {
    let hangs = Double::start(|_| Play::Stop("OK: Ret".to_owned())).await;
    let quick = Double::as_recorded().await;
    let stuck = Driven::new(&hangs, Limits { answer: Duration::from_secs(2), ..limits() });
    let mut driven = Driven::new(&quick, limits());
    let began = Instant::now();
    driven.report().await;
    for number in 1..20 {
        driven.order(order(number, &[READER], "db1")).await;
        driven.report().await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!stuck.ended.is_finished());
    assert!(stuck.lost().await.contains("no answer to GET_AGENT_STATUS within 2 s"));
}

/// Waits for an event of this kind and gives its reason, where it has one.
async fn expect(events: &mut mpsc::Receiver<Event>, wanted: &str) -> String {
    let all = async {
        loop {
            match (events.recv().await.expect("the session goes on"), wanted) {
                (Event::Protocol1Reported { .. }, "reported") => return String::new(),
                (Event::AgentLost { reason, .. }, "lost") => return reason,
                (Event::Protocol1Reported { .. } | Event::AgentLost { .. }, _) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
    };
    timeout(SOON, all).await.unwrap_or_else(|_| panic!("{wanted}"))
}

fn old_words(request: &str) -> Play {
    if request.starts_with("MMM3|") {
        return Play::Say(NO_SUCH_COMMAND.to_owned());
    }
    Play::Say(recorded(request, 0))
}

#[tokio::test]
async fn protocol_2_is_offered_first_and_again_when_nobody_listened_meanwhile() {
    let double = Double::start(old_words).await;
    let address = double.address;
    let (wiring, mut events) = Wiring::for_test(setup());
    let (_messages, inbox) = mpsc::channel(16);
    let session =
        tokio::spawn(AgentSession { wiring, host: host(address), checkups: Arc::default() }.run(inbox));
    expect(&mut events, "reported").await;
    assert_eq!(double.seen(), ["greeting", GET_AGENT, GET_SYSTEM]);
    double.end().await;
    // It is asked only now and then, and gone only when it is asked.
    let lost = timeout(SOON + SOON, events.recv()).await.unwrap().unwrap();
    let Event::AgentLost { reason, .. } = lost else { panic!("{lost:?}") };
    assert!(reason.contains("can't connect to"), "{reason}");

    let double = Double::start_at(address, old_words).await;
    expect(&mut events, "reported").await;
    assert_eq!(double.seen(), ["greeting", GET_AGENT, GET_SYSTEM], "it may have been another agent");
    session.abort();
}

#[tokio::test]
async fn an_agent_that_answers_nonsense_once_is_offered_protocol_2_again() {
    let mut count = 0;
    let double = Double::start(move |request| {
        count += 1;
        if count == 3 { Play::Say("0\n".to_owned()) } else { old_words(request) }
    })
    .await;
    let (wiring, mut events) = Wiring::for_test(setup());
    let (_messages, inbox) = mpsc::channel(16);
    let session = tokio::spawn(
        AgentSession { wiring, host: host(double.address), checkups: Arc::default() }.run(inbox),
    );
    assert!(expect(&mut events, "lost").await.contains("'0' is not an answer to GET_SYSTEM_STATUS"));
    expect(&mut events, "reported").await;
    assert_eq!(double.seen(), ["greeting", GET_AGENT, GET_SYSTEM, "greeting", GET_AGENT, GET_SYSTEM]);
    session.abort();
}

#[tokio::test]
async fn what_is_no_agent_is_not_taken_for_one_of_2_2_1() {
    for answer in
        ["ERROR: Invalid hostname in command (db2)! My name is 'db9'|UP:1.00\n", "220 ready\n", "0\n"]
    {
        let double = Double::start(move |_| Play::Say(answer.to_owned())).await;
        let (wiring, mut events) = Wiring::for_test(setup());
        let (_messages, inbox) = mpsc::channel(16);
        let session = tokio::spawn(
            AgentSession { wiring, host: host(double.address), checkups: Arc::default() }.run(inbox),
        );
        let reason = expect(&mut events, "lost").await;
        assert!(reason.contains(answer.trim_end()), "{reason}");
        assert!(double.seen().iter().all(|line| line == "greeting"), "{:?}", double.seen());
        session.abort();
    }
}

/// It can't prove the secret, so that anybody could be one.
#[tokio::test]
async fn with_a_secret_an_agent_of_2_2_1_is_served_only_where_that_was_allowed() {
    for allowed in [false, true] {
        let double = Double::start(old_words).await;
        let secret = Secret::from_bytes(b"a very secret secret".to_vec()).unwrap();
        let mut setup = setup();
        (setup.secret, setup.allow_protocol1) = (Some(secret), allowed);
        let (wiring, mut events) = Wiring::for_test(setup);
        let (_messages, inbox) = mpsc::channel(16);
        let session = tokio::spawn(
            AgentSession { wiring, host: host(double.address), checkups: Arc::default() }.run(inbox),
        );
        if allowed {
            expect(&mut events, "reported").await;
        } else {
            let reason = expect(&mut events, "lost").await;
            assert!(reason.contains("only with allow_protocol1 yes in mmm3.conf"), "{reason}");
            assert!(double.seen().iter().all(|line| line == "greeting"), "{:?}", double.seen());
        }
        session.abort();
    }
}

#[tokio::test]
async fn an_agent_of_2_2_1_that_is_too_busy_for_a_greeting_is_still_one() {
    let mut greetings = 0;
    let double = Double::start(move |request| {
        greetings += usize::from(request.starts_with("MMM3|"));
        match (greetings, request) {
            // Busy when it is offered protocol 2 for the second time.
            (2, request) if request.starts_with("MMM3|") => Play::Stop(String::new()),
            (1, GET_SYSTEM) => Play::HangUp,
            (_, request) => old_words(request),
        }
    })
    .await;
    let (wiring, mut events) = Wiring::for_test(setup());
    let (_messages, inbox) = mpsc::channel(16);
    let session = tokio::spawn(
        AgentSession { wiring, host: host(double.address), checkups: Arc::default() }.run(inbox),
    );
    expect(&mut events, "lost").await;
    expect(&mut events, "reported").await;
    assert_eq!(double.seen(), ["greeting", GET_AGENT, GET_SYSTEM, "greeting", GET_AGENT, GET_SYSTEM]);
    session.abort();
}
