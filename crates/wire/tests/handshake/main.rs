//! The handshake between a monitor and an agent over connections in memory, with honest, mistaken and hostile peers.

// Helpers of a test may fail the test too; the lint knows only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod peers;

use std::time::Duration;

use mmm_wire::protocol1::{Answer, Line, Reply, Uptime};
use mmm_wire::{
    Accepted, Answering, Calling, Features, FrameReader, FrameWriter, Greeting, HandshakeError, HexBytes,
    Nonce, PeerInfo, Purpose, Refusal, RefusalCode, Secret, Session, accept_caller, greet_agent,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(3);

type Outcome = Result<Session<DuplexStream>, HandshakeError>;

fn secret(text: &str) -> Secret {
    Secret::from_bytes(text.as_bytes().to_vec()).unwrap()
}

async fn call(stream: DuplexStream, secret: Option<&Secret>, features: &[&str]) -> Outcome {
    call_as(Purpose::Monitor, stream, secret, features).await
}

async fn call_as(
    purpose: Purpose,
    stream: DuplexStream,
    secret: Option<&Secret>,
    features: &[&str],
) -> Outcome {
    let calling = Calling {
        host: "db1",
        address: "10.0.0.1:9989",
        secret,
        purpose,
        instance: 77,
        cluster: Some("c1"),
        features: &Features::of(features.iter().copied()),
    };
    greet_agent(stream, &calling, LIMIT).await
}

async fn answer(
    stream: DuplexStream,
    host: &str,
    secret: Option<&Secret>,
    judge: impl FnOnce(&PeerInfo) -> Result<(), Refusal>,
) -> Outcome {
    let features = Features::of(["lease", "tail"]);
    let answering = Answering { host, caller: "10.0.0.9:4711", secret, features: &features };
    match accept_caller(stream, &answering, LIMIT, judge).await? {
        Accepted::Session(session) => Ok(session),
        Accepted::Lines(lines) => panic!("lines instead of a session: {lines:?}"),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a judge")]
fn anyone(_: &PeerInfo) -> Result<(), Refusal> {
    Ok(())
}

/// Both real sides against each other: the monitor's outcome, then the agent's.
async fn meet(monitor: Option<&str>, agent: Option<&str>) -> (Outcome, Outcome) {
    let (monitor, agent) = (monitor.map(secret), agent.map(secret));
    let (near, far) = duplex(1024);
    tokio::join!(call(near, monitor.as_ref(), &["lease", "new"]), answer(far, "db1", agent.as_ref(), anyone))
}

/// A peer made by hand.
struct Stranger {
    reader: FrameReader<BufReader<ReadHalf<DuplexStream>>>,
    writer: FrameWriter<WriteHalf<DuplexStream>>,
}

/// A stranger calls an agent with this greeting.
async fn stranger_calls(stream: DuplexStream, greeting: &Greeting) -> Stranger {
    let (reader, mut writer) = split(stream);
    writer.write_all(greeting.line().as_bytes()).await.unwrap();
    Stranger {
        reader: FrameReader::new(BufReader::new(reader), "agent"),
        writer: FrameWriter::new(writer, "agent"),
    }
}

/// A stranger takes a monitor's call and shows the greeting line it got.
async fn stranger_answers(mut stream: DuplexStream) -> (Stranger, String) {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await.unwrap());
    }
    let (reader, writer) = split(stream);
    let reader = FrameReader::new(BufReader::new(reader), "monitor");
    let stranger = Stranger { reader, writer: FrameWriter::new(writer, "monitor") };
    (stranger, String::from_utf8(line).unwrap())
}

fn greeting_to(host: &str, version: u32) -> Greeting {
    Greeting {
        host: host.to_owned(),
        version,
        features: Features::default(),
        nonce: Nonce::random().unwrap(),
    }
}

/// What an agent sends back to these bytes, and its error.
async fn agent_answers(bytes: &[u8]) -> (String, HandshakeError) {
    let (mut near, far) = duplex(64 * 1024);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let outcome = answer(far, "db1", None, |_| panic!("a stranger must not be judged")).await;
    let mut text = Vec::new();
    near.read_to_end(&mut text).await.unwrap();
    (String::from_utf8(text).unwrap(), outcome.unwrap_err())
}

/// What a monitor makes of an agent that answers these bytes to its greeting.
async fn monitor_hears(bytes: &[u8]) -> HandshakeError {
    let (near, mut far) = duplex(64 * 1024);
    far.write_all(bytes).await.unwrap();
    far.shutdown().await.unwrap();
    call(near, None, &[]).await.unwrap_err()
}

#[tokio::test]
async fn without_a_secret_on_both_sides_the_session_opens_and_says_that_nobody_is_authenticated() {
    let (monitor, agent) = meet(None, None).await;
    let (mut monitor, mut agent) = (monitor.unwrap(), agent.unwrap());
    assert!(!monitor.peer.authenticated && !agent.peer.authenticated);
    assert_eq!(monitor.peer.features, Features::of(["lease"]));
    assert_eq!(agent.peer.features, Features::of(["lease"]));
    assert_eq!((&monitor.peer.purpose, &agent.peer.purpose), (&Purpose::Monitor, &Purpose::Monitor));
    assert_eq!((agent.peer.instance, agent.peer.cluster.as_deref()), (77, Some("c1")));
    assert_eq!((monitor.peer.protocol, agent.peer.protocol), (2, 2));
    assert_eq!(&*monitor.peer.name, "agent of db1 at 10.0.0.1:9989");
    monitor.writer.send(&json!({"order": 1})).await.unwrap();
    agent.writer.send(&"x".repeat(100)).await.unwrap();
    assert_eq!(agent.reader.next::<Value>().await.unwrap(), Some(json!({"order": 1})));
    assert_eq!(monitor.reader.next::<String>().await.unwrap(), Some("x".repeat(100)));
}

#[tokio::test]
async fn after_the_handshake_frames_may_be_as_large_as_the_protocol_allows() {
    let (monitor, agent) = meet(None, None).await;
    let (mut monitor, mut agent) = (monitor.unwrap(), agent.unwrap());
    let large = "x".repeat(200_000);
    let (sent, received) = tokio::join!(monitor.writer.send(&large), agent.reader.next::<String>());
    sent.unwrap();
    assert_eq!(received.unwrap(), Some(large));
}

#[tokio::test]
async fn the_same_secret_on_both_sides_authenticates_both() {
    let (monitor, agent) = meet(Some("correct horse battery"), Some("correct horse battery")).await;
    assert!(monitor.unwrap().peer.authenticated);
    assert!(agent.unwrap().peer.authenticated);
}

#[tokio::test]
async fn two_different_secrets_are_refused_and_both_sides_say_so() {
    let (monitor, agent) = meet(Some("correct horse battery"), Some("wrong horse battery!")).await;
    assert!(matches!(monitor, Err(HandshakeError::WrongSecret { .. })), "{monitor:?}");
    let Err(HandshakeError::Refused { refusal, .. }) = agent else { panic!("{agent:?}") };
    assert_eq!(refusal.code, RefusalCode::Unauthenticated);
}

#[tokio::test]
async fn a_monitor_with_a_secret_refuses_an_agent_without_one() {
    let (monitor, agent) = meet(Some("correct horse battery"), None).await;
    assert!(matches!(monitor, Err(HandshakeError::NoSecret { .. })), "{monitor:?}");
    let Err(HandshakeError::Refused { refusal, .. }) = agent else { panic!("{agent:?}") };
    assert_eq!(refusal.code, RefusalCode::Unauthenticated);
    assert!(refusal.reason.contains("this agent has none"), "{refusal}");
}

#[tokio::test]
async fn an_agent_with_a_secret_refuses_a_monitor_without_one() {
    let (monitor, agent) = meet(None, Some("correct horse battery")).await;
    assert!(matches!(agent, Err(HandshakeError::NoSecret { .. })), "{agent:?}");
    let Err(HandshakeError::Refused { refusal, .. }) = monitor else { panic!("{monitor:?}") };
    assert!(refusal.reason.contains("this monitor has none"), "{refusal}");
}

#[tokio::test]
async fn a_proof_recorded_in_one_session_opens_no_other_session() {
    let shared = secret("correct horse battery");
    let greeting = greeting_to("db1", 2);

    // A man in the middle hands everything through and keeps the monitor's proof.
    let (monitor_end, middle_monitor) = duplex(4096);
    let (agent_end, middle_agent) = duplex(4096);
    let middle = async {
        let (mut to_monitor, line) = stranger_answers(middle_monitor).await;
        let (reader, mut writer) = split(middle_agent);
        writer.write_all(line.as_bytes()).await.unwrap();
        let mut to_agent = Stranger {
            reader: FrameReader::new(BufReader::new(reader), "agent"),
            writer: FrameWriter::new(writer, "agent"),
        };
        let hello: Value = to_agent.reader.next().await.unwrap().unwrap();
        to_monitor.writer.send(&hello).await.unwrap();
        let auth: Value = to_monitor.reader.next().await.unwrap().unwrap();
        to_agent.writer.send(&auth).await.unwrap();
        let verdict: Value = to_agent.reader.next().await.unwrap().unwrap();
        to_monitor.writer.send(&verdict).await.unwrap();
        (line, hello, auth)
    };
    let (monitor, agent, (line, hello, auth)) = tokio::join!(
        call(monitor_end, Some(&shared), &[]),
        answer(agent_end, "db1", Some(&shared), anyone),
        middle
    );
    assert!(monitor.unwrap().peer.authenticated && agent.unwrap().peer.authenticated);

    // The recording of the monitor, the very same greeting included, played to the agent.
    let (near, far) = duplex(4096);
    let replay = async {
        let (reader, mut writer) = split(near);
        writer.write_all(line.as_bytes()).await.unwrap();
        let mut stranger = Stranger {
            reader: FrameReader::new(BufReader::new(reader), "agent"),
            writer: FrameWriter::new(writer, "agent"),
        };
        stranger.reader.next::<Value>().await.unwrap();
        stranger.writer.send(&auth).await.unwrap();
        stranger.reader.next::<Value>().await.unwrap().unwrap()
    };
    let (outcome, verdict) =
        tokio::join!(answer(far, "db1", Some(&shared), |_| panic!("must not be judged")), replay);
    assert!(matches!(outcome, Err(HandshakeError::WrongSecret { .. })), "{outcome:?}");
    assert_eq!(verdict["refused"]["code"], "unauthenticated");

    // The recording of the agent, played to the monitor.
    let (near, far) = duplex(4096);
    let replay = async {
        let (mut stranger, _) = stranger_answers(far).await;
        stranger.writer.send(&hello).await.unwrap();
        stranger.reader.next::<Value>().await.unwrap().unwrap()
    };
    let (outcome, verdict) = tokio::join!(call(near, Some(&shared), &[]), replay);
    assert!(matches!(outcome, Err(HandshakeError::WrongSecret { .. })), "{outcome:?}");
    assert_eq!(verdict["refused"]["code"], "unauthenticated");

    // The agent's own proof, sent back to it as if it were the monitor's.
    let (near, far) = duplex(4096);
    let reflect = async {
        let mut stranger = stranger_calls(near, &greeting).await;
        let hello: Value = stranger.reader.next().await.unwrap().unwrap();
        let proof = &hello["hello"]["proof"];
        let auth = json!({"auth": {"instance": 1, "cluster": null, "program": "3", "proof": proof}});
        stranger.writer.send(&auth).await.unwrap();
        stranger.reader.next::<Value>().await.unwrap().unwrap()
    };
    let (outcome, _) = tokio::join!(answer(far, "db1", Some(&shared), anyone), reflect);
    assert!(matches!(outcome, Err(HandshakeError::WrongSecret { .. })), "{outcome:?}");
}

#[tokio::test]
async fn the_secret_never_crosses_the_wire() {
    let shared = secret("correct horse battery");
    let (near, far) = duplex(4096);
    let listen = async {
        let mut stranger = stranger_calls(near, &greeting_to("db1", 2)).await;
        stranger.reader.next::<Value>().await.unwrap().unwrap().to_string()
    };
    let (outcome, hello) = tokio::join!(answer(far, "db1", Some(&shared), anyone), listen);
    assert!(matches!(outcome, Err(HandshakeError::Closed { .. })), "{outcome:?}");
    assert!(hello.contains("proof") && !hello.contains("horse"), "{hello}");
}

#[tokio::test]
async fn an_agent_may_refuse_a_second_monitor_by_its_start_number() {
    let (near, far) = duplex(1024);
    let judge = |peer: &PeerInfo| match peer.instance {
        76 => Ok(()),
        other => {
            Err(Refusal::new(RefusalCode::OtherMonitor, format!("monitor 76 has the session, not {other}")))
        }
    };
    let (monitor, agent) = tokio::join!(call(near, None, &[]), answer(far, "db1", None, judge));
    assert!(matches!(agent, Err(HandshakeError::Declined { .. })), "{agent:?}");
    let Err(HandshakeError::Refused { refusal, .. }) = monitor else { panic!("{monitor:?}") };
    assert_eq!(refusal.code, RefusalCode::OtherMonitor);
    assert_eq!(refusal.reason, "monitor 76 has the session, not 77");
}

#[tokio::test]
async fn the_agent_of_another_host_refuses_and_gives_its_name() {
    let (near, far) = duplex(1024);
    let (monitor, agent) = tokio::join!(call(near, None, &[]), answer(far, "db2", None, anyone));
    assert!(matches!(agent, Err(HandshakeError::Declined { .. })), "{agent:?}");
    let Err(HandshakeError::Refused { refusal, .. }) = monitor else { panic!("{monitor:?}") };
    assert_eq!(refusal.code, RefusalCode::WrongHost);
    assert_eq!(refusal.reason, "Invalid hostname in command (db1)! My name is 'db2'");
}

#[tokio::test]
async fn a_monitor_does_not_take_a_hello_from_another_host_or_of_a_version_it_did_not_offer() {
    for (host, version) in [("db2", 2), ("db1", 3), ("db1", 1)] {
        let (near, far) = duplex(4096);
        let stranger = async {
            let (mut stranger, _) = stranger_answers(far).await;
            let nonce = HexBytes([1; 16]).to_string();
            let hello = json!({"hello": {"host": host, "version": version, "features": [], "program": "x", "nonce": nonce}});
            stranger.writer.send(&hello).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(call(near, None, &[]), stranger);
        let error = outcome.unwrap_err();
        match version {
            2 => assert!(matches!(error, HandshakeError::WrongHost { .. }), "{error}"),
            _ => assert!(matches!(error, HandshakeError::Protocol { .. }), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_newer_monitor_is_met_at_the_agents_version_and_an_older_one_refused() {
    let (near, far) = duplex(4096);
    let newer = async {
        let mut stranger = stranger_calls(near, &greeting_to("db1", 9)).await;
        let hello: Value = stranger.reader.next().await.unwrap().unwrap();
        assert_eq!(hello["hello"]["version"], 2);
        let auth = json!({"auth": {"instance": 1, "program": "4.0", "news": true}});
        stranger.writer.send(&auth).await.unwrap();
        stranger.reader.next::<Value>().await.unwrap().unwrap()
    };
    let (outcome, verdict) = tokio::join!(answer(far, "db1", None, anyone), newer);
    let peer = outcome.unwrap().peer;
    assert_eq!((peer.protocol, peer.purpose), (2, Purpose::Monitor));
    assert_eq!(verdict, json!({"welcome": {}}));

    let (near, far) = duplex(4096);
    let older = async {
        let mut stranger = stranger_calls(near, &greeting_to("db1", 1)).await;
        stranger.reader.next::<Value>().await.unwrap().unwrap()
    };
    let (outcome, verdict) = tokio::join!(answer(far, "db1", None, anyone), older);
    assert!(matches!(outcome, Err(HandshakeError::Declined { .. })), "{outcome:?}");
    assert_eq!(verdict["refused"]["code"], "protocol");
}

/// The lines that arrive at an agent which is called with these bytes, each answered with the same refusal; and what the
/// caller gets to see.
async fn agent_takes(bytes: &[u8]) -> (Vec<Line>, String) {
    let (mut near, far) = duplex(64 * 1024);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let features = Features::default();
    let answering = Answering { host: "db1", caller: "10.0.0.9:4711", secret: None, features: &features };
    let accepted = accept_caller(far, &answering, LIMIT, |_| panic!("lines are not judged")).await.unwrap();
    let Accepted::Lines(mut lines) = accepted else { panic!("a session") };
    assert_eq!(&**lines.caller(), "10.0.0.9:4711");
    let mut taken = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        taken.push(line);
        let answer = Answer { reply: Reply::Error("no".to_owned()), uptime: Uptime::of_host() };
        assert!(answer.uptime > Uptime::default());
        lines.answer(&answer).await.unwrap();
    }
    lines.finish().await;
    let mut text = String::new();
    near.read_to_string(&mut text).await.unwrap();
    (taken, text)
}

#[tokio::test]
async fn lines_of_protocol_1_are_handed_on_from_the_first_and_answered_over_a_half_closed_connection() {
    let line = |text: &str, ended| Line { text: text.to_owned(), ended };
    let (taken, text) = agent_takes(b"PING|1|db1\nGET_AGENT_STATUS|1|db1\n\n0\nPING|1|db1").await;
    let ended = ["PING|1|db1", "GET_AGENT_STATUS|1|db1", "", "0"].map(|text| line(text, true));
    assert_eq!(taken, [&ended[..], &[line("PING|1|db1", false)]].concat());
    assert_eq!(text.matches("ERROR: no|UP:").count(), 5, "{text}");
    // An empty first line is a line, and what only begins like a greeting is none.
    for first in ["", "MMM3", "M", "MMM2|1|db1|2||"] {
        assert_eq!(agent_takes(format!("{first}\n").as_bytes()).await.0, [line(first, true)]);
    }
    let long = format!("SET_STATUS|1|db1|ONLINE|{}|db1", "reader(10.0.0.1),".repeat(500));
    assert_eq!(agent_takes(format!("{long}\n").as_bytes()).await.0, [line(&long, true)]);
}

#[tokio::test]
async fn a_malformed_greeting_is_answered_once() {
    let (text, error) = agent_answers(b"MMM3|1|db1|two||\n\n\n").await;
    assert!(text.starts_with("ERROR: malformed greeting: 'two' is not a protocol version"), "{text}");
    assert_eq!(text.matches("ERROR:").count(), 1);
    assert!(matches!(error, HandshakeError::Greeting { .. }), "{error}");
}

#[tokio::test]
async fn a_first_line_without_end_is_cut_off_at_its_limit() {
    let greeting = [b"MMM3|1|db1|2|".as_slice(), &[b'x'; 500], b"\n"].concat();
    for (bytes, most) in [(vec![b'x'; 20_000], 16_384), (greeting, 512)] {
        let (text, error) = agent_answers(&bytes).await;
        assert!(matches!(error, HandshakeError::LineTooLong { limit, .. } if limit == most), "{error}");
        assert!(text.starts_with("ERROR: The line is too long!|UP:"), "{text}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_at_once_is_told_from_one_that_talks() {
    let (text, error) = agent_answers(b"").await;
    assert_eq!(text, "");
    assert!(matches!(error, HandshakeError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn an_unknown_peer_gets_no_room_for_large_frames() {
    let (near, far) = duplex(4096);
    let stranger = async {
        let mut stranger = stranger_calls(near, &greeting_to("db1", 2)).await;
        stranger.reader.next::<Value>().await.unwrap();
        let _ = stranger.writer.send(&"x".repeat(5000)).await;
    };
    let (outcome, ()) = tokio::join!(answer(far, "db1", None, anyone), stranger);
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("announced a message of 5002 bytes, at most 4096"), "{error}");
    let error = monitor_hears(&[0, 1, 0, 0]).await;
    assert!(error.to_string().contains("announced a message of 65536 bytes"), "{error}");
}

#[tokio::test]
async fn a_monitor_recognises_an_agent_of_2_2_1_and_services_that_are_no_agents() {
    let error = monitor_hears(b"ERROR: Invalid command 'MMM3'!|UP:12.34\n").await;
    let HandshakeError::OldAgent { answer, .. } = &error else { panic!("{error}") };
    assert_eq!(answer, "ERROR: Invalid command 'MMM3'!|UP:12.34");
    let error = monitor_hears(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    assert!(matches!(&error, HandshakeError::NotAnAgent { .. }), "{error}");
    assert!(error.to_string().contains("SSH-2.0-OpenSSH_9.2"), "{error}");
    assert!(matches!(monitor_hears(b"").await, HandshakeError::Closed { .. }));
    assert!(matches!(monitor_hears(b"\0\0").await, HandshakeError::Frame(_)));
    assert!(matches!(monitor_hears(b"\0\0\0\x02[]").await, HandshakeError::Frame(_)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_left_after_the_limit() {
    let start = Instant::now();
    let (near, _far) = duplex(1024);
    let error = call(near, None, &[]).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Timeout { .. }), "{error}");
    assert_eq!(start.elapsed(), LIMIT);
    let (_near, far) = duplex(1024);
    let error = answer(far, "db1", None, anyone).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "monitor at 10.0.0.9:4711 did not answer within 3 s while saying who it is"
    );
    assert_eq!(start.elapsed(), LIMIT * 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_a_byte_now_and_then_cannot_stretch_the_limit() {
    let start = Instant::now();
    let (mut near, far) = duplex(1024);
    let drip = async {
        while near.write_all(b"M").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let (outcome, ()) = tokio::join!(answer(far, "db1", None, anyone), drip);
    assert!(matches!(outcome, Err(HandshakeError::Timeout { .. })), "{outcome:?}");
    assert!(start.elapsed() < LIMIT + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_left_after_the_limit() {
    let (near, _never_reads) = duplex(8);
    let start = Instant::now();
    let error = call(near, None, &[]).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Timeout { .. } | HandshakeError::Frame(_)), "{error}");
    assert_eq!(start.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_monitor_stops_after_the_greeting_gives_up() {
    let (near, far) = duplex(4096);
    let greeting = greeting_to("db1", 2);
    let (outcome, _stranger) = tokio::join!(
        answer(far, "db1", None, |_| panic!("must not be judged")),
        stranger_calls(near, &greeting)
    );
    let error = outcome.unwrap_err();
    assert!(error.to_string().ends_with("while proving itself"), "{error}");
}
